//! What the user named, as a list of captures.

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

/// The captures that the arguments name, in their order: files, folders (with all below them, sorted, but only what is
/// a capture by its content), patterns that the shell left alone, and `-`. With it, what could not be found.
pub fn expand(arguments: &[PathBuf]) -> (Vec<Input>, Vec<CaptureError>) {
    let mut inputs = Vec::new();
    let mut errors = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            inputs.push(Input::Stdin);
        } else if argument.exists() {
            path(argument, &mut inputs, &mut errors);
        } else {
            pattern(argument, &mut inputs, &mut errors);
        }
    }
    (inputs, errors)
}

fn path(path: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    if path.is_dir() {
        folder(path, inputs, errors);
    } else {
        inputs.push(Input::File(path.to_owned()));
    }
}

fn pattern(argument: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    let paths = match glob::glob(&argument.to_string_lossy()) {
        Ok(paths) => paths,
        Err(error) => {
            errors.push(Fault::whole(Cause::Pattern(error.msg)).of(argument.display()));
            return;
        }
    };
    let mut matched = false;
    for entry in paths {
        matched = true;
        match entry {
            Ok(found) => path(&found, inputs, errors),
            Err(error) => {
                let name = error.path().display().to_string();
                errors.push(Fault::whole(Cause::List(error.into())).of(name));
            }
        }
    }
    if !matched {
        errors.push(Fault::whole(Cause::NoMatch).of(argument.display()));
    }
}

fn folder(top: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    let mut found = false;
    for entry in WalkDir::new(top).follow_links(true).sort_by_file_name() {
        match entry {
            // Anything but a regular file, a pipe say, might never give a byte.
            Ok(entry) if entry.file_type().is_file() => match is_capture(entry.path()) {
                Ok(true) => {
                    found = true;
                    inputs.push(Input::File(entry.into_path()));
                }
                Ok(false) => {}
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

/// Looks at the first bytes, uncompressed. What does not open is an error, and so is what gives none of them: it may have
/// been a capture.
fn is_capture(path: &Path) -> Result<bool, Cause> {
    let mut first = Vec::new();
    let mut stored = Stored::open(path).map_err(Cause::Open)?;
    match stored.by_ref().take(12).read_to_end(&mut first) {
        Err(error) if first.is_empty() => Err(stored.undecided(error)),
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
        let (inputs, errors) = expand(std::slice::from_ref(&folder.0));
        assert!(errors.is_empty());
        assert_eq!(inputs, folder.files(&["a.bin", "b.pcap", "deeper/c"]));
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
        let (inputs, errors) = expand(std::slice::from_ref(&folder.0));
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
        let (inputs, errors) = expand(&[folder.0.join("*.pcap"), PathBuf::from("-"), folder.0.join("a.bin")]);
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
        let (inputs, errors) = expand(&[
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
