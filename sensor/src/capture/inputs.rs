//! What the user named, as a list of captures.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::{CaptureError, Cause, Fault};
use super::file;
use super::stored::Stored;

/// One capture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// As the user would name it: `-` or the path.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What arguments name.
#[derive(Debug, Default)]
pub struct Expanded {
    /// Captures, in the order of the arguments.
    pub inputs: Vec<Input>,
    /// What could not be found.
    pub errors: Vec<CaptureError>,
    /// Files of folders that are no captures.
    pub passed_over: Vec<PathBuf>,
}

/// The captures that the arguments name: files, folders (with all below them, sorted, but only what is a capture by its
/// content), patterns that the shell left alone, and `-`.
pub fn expand(arguments: &[PathBuf]) -> Expanded {
    let mut expanded = Expanded::default();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            expanded.inputs.push(Input::Stdin);
        } else if argument.exists() {
            path(argument, &mut expanded);
        } else {
            pattern(argument, &mut expanded);
        }
    }
    expanded
}

fn path(path: &Path, expanded: &mut Expanded) {
    if path.is_dir() {
        folder(path, expanded);
    } else {
        expanded.inputs.push(Input::File(path.to_owned()));
    }
}

fn pattern(argument: &Path, expanded: &mut Expanded) {
    let paths = match glob::glob(&argument.to_string_lossy()) {
        Ok(paths) => paths,
        Err(error) => {
            let error = Fault::whole(Cause::Pattern(error.msg)).of(argument.display());
            expanded.errors.push(error);
            return;
        }
    };
    let mut matched = false;
    for entry in paths {
        matched = true;
        match entry {
            Ok(found) => path(&found, expanded),
            Err(error) => {
                let name = error.path().display().to_string();
                expanded.errors.push(Fault::whole(Cause::List(error.into())).of(name));
            }
        }
    }
    if !matched {
        expanded
            .errors
            .push(Fault::whole(Cause::NoMatch).of(argument.display()));
    }
}

fn folder(top: &Path, expanded: &mut Expanded) {
    let Expanded {
        inputs,
        errors,
        passed_over,
    } = expanded;
    let mut found = false;
    let walk = WalkDir::new(top).follow_links(true);
    for entry in walk.sort_by(|one, other| in_order(one.file_name(), other.file_name())) {
        match entry {
            // Anything but a regular file, a pipe say, might never give a byte.
            Ok(entry) if entry.file_type().is_file() => match is_capture(entry.path()) {
                Ok(true) => {
                    found = true;
                    inputs.push(Input::File(entry.into_path()));
                }
                Ok(false) => passed_over.push(entry.into_path()),
                Err(cause) => {
                    found = true;
                    errors.push(Fault::whole(cause).of(entry.path().display()));
                }
            },
            Ok(_) => {}
            Err(error) => {
                found = true;
                let name = error.path().unwrap_or(top).display().to_string();
                errors.push(Fault::whole(Cause::List(error.into())).of(name));
            }
        }
    }
    if !found {
        errors.push(Fault::whole(Cause::NoCaptureInFolder).of(top.display()));
    }
}

/// Names in the order in which people count: `x.pcap2` stands before `x.pcap10`.
fn in_order(one: &OsStr, other: &OsStr) -> Ordering {
    let (mut left, mut right) = (one.as_encoded_bytes(), other.as_encoded_bytes());
    loop {
        let order = if let (Some((a, behind)), Some((b, beyond))) = (number(left), number(right)) {
            (left, right) = (behind, beyond);
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else if let (Some((a, behind)), Some((b, beyond))) = (left.split_first(), right.split_first()) {
            (left, right) = (behind, beyond);
            a.cmp(b)
        } else {
            // One ends here, or both do and differ by zeros before a number at most.
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The digits that a name begins with, but for zeros before them, and what is behind.
fn number(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = name.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, behind) = name.split_at(end.unwrap_or(name.len()));
    let first = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    (!digits.is_empty()).then(|| (digits.split_at(first).1, behind))
}

/// How captures of other tools begin (`NetMon`, `snoop`, `NetXray`, Sniffer), and files that bzip2, xz and lz4 compressed.
const OTHERS: [&[u8]; 8] = [
    b"RTSS",
    b"GMBU",
    b"snoop\0\0\0",
    b"XCP\0",
    b"TRSNIFF data",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x04\x22\x4d\x18",
];

/// Looks at the first bytes, uncompressed. What does not open is an error, and so is what may be a capture but cannot be read:
/// what gives no byte, and what begins as those of other tools.
fn is_capture(path: &Path) -> Result<bool, Cause> {
    let mut first = Vec::new();
    let mut stored = Stored::open(path).map_err(Cause::Open)?;
    match stored.by_ref().take(12).read_to_end(&mut first) {
        Err(error) if first.is_empty() => Err(stored.undecided(error)),
        _ if OTHERS.iter().any(|other| first.starts_with(other)) => Err(Cause::NotACapture { first }),
        _ => Ok(file::recognise(&first)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::ByteOrder;
    use super::super::testing::Writer;
    use super::*;

    /// A folder of its own for one test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dcom-sensor-{}-{test}", std::process::id()));
            fs::create_dir_all(path.join("deeper")).unwrap();
            let capture = Writer::new(ByteOrder::Little).pcap_header(0xa1b2_c3d4, 0, 1).bytes;
            fs::write(path.join("b.pcap"), &capture).unwrap();
            fs::write(path.join("a.bin"), &capture).unwrap();
            fs::write(
                path.join("deeper/c"),
                zstd::stream::encode_all(&capture[..], 1).unwrap(),
            )
            .unwrap();
            fs::write(path.join("notes.pcap"), "no capture for all its name").unwrap();
            fs::write(path.join("empty.pcap"), "").unwrap();
            Self(path)
        }

        fn files(&self, names: &[&str]) -> Vec<Input> {
            names.iter().map(|name| Input::File(self.0.join(name))).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_folder_gives_its_captures_sorted_and_leaves_the_rest_out() {
        let folder = Folder::new("folder");
        let expanded = expand(std::slice::from_ref(&folder.0));
        assert!(expanded.errors.is_empty());
        assert_eq!(expanded.inputs, folder.files(&["a.bin", "b.pcap", "deeper/c"]));
        let passed_over = ["empty.pcap", "notes.pcap"].map(|name| folder.0.join(name));
        assert_eq!(expanded.passed_over, passed_over);
    }

    #[test]
    fn files_of_a_ring_come_in_the_order_of_their_numbers() {
        let folder = Folder::new("ring");
        let names = [
            "x.pcap",
            "x.pcap1",
            "x.pcap2",
            "x.pcap9",
            "x.pcap10",
            "x.pcap11",
            "x.pcap011",
            "y1.pcap",
        ];
        for name in names {
            fs::copy(folder.0.join("b.pcap"), folder.0.join(name)).unwrap();
        }
        let Expanded { inputs, .. } = expand(std::slice::from_ref(&folder.0));
        let numbered = [
            "x.pcap",
            "x.pcap1",
            "x.pcap2",
            "x.pcap9",
            "x.pcap10",
            "x.pcap011",
            "x.pcap11",
            "y1.pcap",
        ];
        assert_eq!(inputs[3..], folder.files(&numbered));
    }

    #[test]
    fn captures_of_other_tools_are_not_passed_over() {
        let folder = Folder::new("others");
        fs::write(folder.0.join("dc.cap"), "GMBU and what NetMon writes").unwrap();
        fs::write(folder.0.join("dc.pcap.lz4"), b"\x04\x22\x4d\x18\x64\x40\xa7").unwrap();
        let Expanded { inputs, errors, .. } = expand(std::slice::from_ref(&folder.0));
        assert_eq!(inputs, folder.files(&["a.bin", "b.pcap", "deeper/c"]));
        assert!(
            errors[0]
                .to_string()
                .contains("dc.cap: not a capture: it begins with 47 4d 42 55")
        );
        assert!(errors[0].hint().unwrap().contains("editcap"));
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn what_is_compressed_and_gives_nothing_is_told() {
        let folder = Folder::new("undecided");
        let capture = fs::read(folder.0.join("b.pcap")).unwrap();
        let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(28).unwrap();
        std::io::Write::write_all(&mut wide, &capture).unwrap();
        fs::write(folder.0.join("wide"), wide.finish().unwrap()).unwrap();
        let whole = zstd::stream::encode_all(&capture[..], 1).unwrap();
        fs::write(folder.0.join("cut"), &whole[..whole.len() / 2]).unwrap();
        fs::write(folder.0.join("damaged"), b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff").unwrap();
        let Expanded { inputs, errors, .. } = expand(std::slice::from_ref(&folder.0));
        assert_eq!(inputs, folder.files(&["a.bin", "b.pcap", "deeper/c"]));
        let told: Vec<String> = errors.iter().map(|error| error.cause.to_string()).collect();
        assert_eq!(
            told[0],
            "the zstd stream stops before its end, and nothing of it tells what it is"
        );
        assert!(told[1].starts_with("the gzip stream is damaged: "), "{told:?}");
        assert_eq!(
            told[2],
            "the zstd stream says that it needs a window of more than 128 MiB, and nothing of it tells what it is"
        );
    }

    #[test]
    fn a_pattern_gives_what_it_matches_and_a_file_is_never_left_out() {
        let folder = Folder::new("pattern");
        let Expanded { inputs, errors, .. } =
            expand(&[folder.0.join("*.pcap"), PathBuf::from("-"), folder.0.join("a.bin")]);
        assert!(errors.is_empty());
        let mut expected = folder.files(&["b.pcap", "empty.pcap", "notes.pcap"]);
        expected.push(Input::Stdin);
        expected.extend(folder.files(&["a.bin"]));
        assert_eq!(inputs, expected);
        assert_eq!(Input::Stdin.to_string(), "-");
    }

    #[test]
    fn what_is_not_there_is_told_and_the_others_are_kept() {
        let folder = Folder::new("missing");
        fs::create_dir(folder.0.join("nothing")).unwrap();
        let Expanded { inputs, errors, .. } = expand(&[
            folder.0.join("x.pcap"),
            folder.0.join("b.pcap"),
            folder.0.join("nothing"),
            "[".into(),
        ]);
        assert_eq!(inputs, folder.files(&["b.pcap"]));
        assert!(matches!(errors[0].cause, Cause::NoMatch));
        assert!(matches!(errors[1].cause, Cause::NoCaptureInFolder));
        assert!(matches!(errors[2].cause, Cause::Pattern(_)));
    }
}
