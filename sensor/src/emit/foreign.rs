//! What stands where output is to go: nothing that is read is overwritten, and no other program's log, nor gone on with.
//!
//! Logs of an earlier run are. Those that only this program writes say so; those that Zeek writes under the same
//! names (`dce_rpc.log`) look the same, and are taken for ours where a log stands beside them that is.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Format, LINES, names_of};

/// So much of a log tells whose it is.
const LOOK: u64 = 64 << 10;
/// What stands in our logs alone, beside what stands in our events: the sensor's name, and what we add to others' forms.
const OURS: [&str; 3] = ["dcom-sensor", "#path\tdcom", "DCOM::"];

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Occupied {
    /// It is an input.
    #[error("{}: would be overwritten while it is read\nhint: name another place for what is written", .0.display())]
    Input(PathBuf),
    /// It is a log already.
    #[error("{}: is a log already, and would have each line twice\nhint: name another file in [[eve-log]]", .0.display())]
    Twice(PathBuf),
    /// It is a log, and something else is to be kept in it.
    #[error("{}: is where a log is to be written\nhint: name another file", .0.display())]
    Log(PathBuf),
    /// Two things are to be kept in it.
    #[error("{}: is where something else is to be written\nhint: name a file for each", .0.display())]
    Shared(PathBuf),
    /// It is another's.
    #[error(
        "{}: is not a log of this program, and stays as it is\nhint: `-o` another folder, or move that file away",
        .0.display()
    )]
    Foreign(PathBuf),
}

/// What a file is, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    /// A log in a form of Zeek's.
    Zeeks,
    Anothers,
}

/// The files of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// What it reads.
    pub(crate) inputs: &'a [PathBuf],
    /// Logs are written in these forms,
    pub(crate) formats: &'a [Format],
    /// in this folder,
    pub(crate) folder: Option<&'a Path>,
    /// and lines of EVE into these.
    pub(crate) outputs: &'a [PathBuf],
    /// Something else is kept in these.
    pub(crate) kept: &'a [PathBuf],
}

impl Files<'_> {
    /// Refuses to begin when one is in the place of another, or of another program's log.
    pub(crate) fn refuse(&self) -> Result<(), Occupied> {
        self.refuse_but_of(None)
    }

    /// The same of logs that go on: what belongs to the user that the sensor has to itself is its own, also where it does not
    /// tell (a line that was torn, a log in Zeek's form alone).
    pub(crate) fn refuse_but_of(&self, user: Option<u32>) -> Result<(), Occupied> {
        if let Some(folder) = self.folder {
            self.refuse_logs(folder, user)?;
        }
        let mut before: Vec<&Path> = Vec::new();
        let outputs = self.outputs.iter().map(|file| (file, true));
        for (file, is_output) in outputs.chain(self.kept.iter().map(|file| (file, false))) {
            refuse_input(file, self.inputs)?;
            match self.is_log(file) {
                true if is_output => return Err(Occupied::Twice(file.clone())),
                true => return Err(Occupied::Log(file.clone())),
                false => {}
            }
            if !is_output && before.iter().any(|&other| is_one_place(other, file)) {
                return Err(Occupied::Shared(file.clone()));
            }
            before.push(file);
        }
        Ok(())
    }

    fn refuse_logs(&self, folder: &Path, user: Option<u32>) -> Result<(), Occupied> {
        let mut doubtful = Vec::new();
        let mut ours = false;
        for (name, is_told) in names_of(self.formats) {
            let path = folder.join(name);
            let Ok(found) = path.metadata() else { continue };
            refuse_input(&path, self.inputs)?;
            // A pipe or a device holds nothing that could be lost.
            if !found.is_file() || found.len() == 0 || user == Some(found.uid()) {
                continue;
            }
            match whose(&path).unwrap_or(Whose::Anothers) {
                Whose::Ours => ours = true,
                Whose::Zeeks if !is_told => doubtful.push(path),
                Whose::Zeeks | Whose::Anothers => return Err(Occupied::Foreign(path)),
            }
        }
        match doubtful.into_iter().next() {
            Some(path) if !ours => Err(Occupied::Foreign(path)),
            _ => Ok(()),
        }
    }

    /// Is this file one of the logs, or will it be one?
    fn is_log(&self, file: &Path) -> bool {
        let Some(folder) = self.folder else { return false };
        names_of(self.formats).any(|(name, _)| is_one_place(&folder.join(name), file))
    }
}

/// Are these one file, or will be one? They may not be there yet, nor may their folder.
fn is_one_place(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (one.canonicalize(), other.canonicalize()) {
        return one == other;
    }
    let folder = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let folders = (folder(one), folder(other));
    let found = (folders.0.canonicalize(), folders.1.canonicalize());
    one.file_name() == other.file_name()
        && (folders.0 == folders.1 || matches!(found, (Ok(one), Ok(other)) if one == other))
}

/// Logs of ours in that folder which are of other forms than these: they are of an earlier run, and not of this one.
pub(super) fn of_other_forms(folder: &Path, formats: &[Format]) -> Vec<PathBuf> {
    let own: Vec<String> = names_of(formats).map(|(name, _)| name).collect();
    let mut others: Vec<PathBuf> = names_of(&Format::ALL)
        .filter(|(name, _)| !own.contains(name))
        .map(|(name, _)| folder.join(name))
        // A pipe has nothing of an earlier run.
        .filter(|path| path.metadata().is_ok_and(|found| found.is_file()))
        .filter(|path| whose(path).is_ok_and(|whose| whose == Whose::Ours))
        .collect();
    others.sort();
    others
}

/// Refuses to write over an input.
pub(crate) fn refuse_input(path: &Path, inputs: &[PathBuf]) -> Result<(), Occupied> {
    let id = |found: Metadata| (found.dev(), found.ino());
    let is_file = |found: &Metadata| found.is_file();
    let Some(place) = path.metadata().ok().filter(is_file).map(id) else {
        return Ok(());
    };
    let is_it = |input: &PathBuf| input.metadata().ok().map(id) == Some(place);
    if inputs.iter().any(is_it) {
        return Err(Occupied::Input(path.to_owned()));
    }
    Ok(())
}

/// Can this be a log that we call `log`, or once called so, as far as it tells? What cannot be read tells nothing.
pub(crate) fn may_be_ours(path: &Path, log: &str) -> bool {
    let is_empty = || path.metadata().is_ok_and(|found| found.len() == 0);
    let is_packed = || path.extension().is_some_and(|ending| ending == "gz" || ending == "zst");
    let is_told = LINES.iter().any(|&(_, name, _)| name == log);
    let by_content = || match whose(path) {
        Ok(Whose::Ours) | Err(_) => true,
        Ok(Whose::Zeeks) => !is_told,
        Ok(Whose::Anothers) => false,
    };
    is_packed() || is_empty() || by_content()
}

/// Is there an event in this text that only this program writes, as eve.json has them?
pub(crate) fn has_our_event(text: &[u8]) -> bool {
    has(text, "\"dcom\":") || has(text, "\"host_event\":")
}

fn has(text: &[u8], mark: &str) -> bool {
    memchr::memmem::find(text, mark.as_bytes()).is_some()
}

fn whose(path: &Path) -> io::Result<Whose> {
    let mut first = Vec::new();
    File::open(path)?.take(LOOK).read_to_end(&mut first)?;
    let is_log = first.starts_with(b"#separator") || first.starts_with(b"{");
    let is_ours = || has_our_event(&first) || OURS.iter().any(|mark| has(&first, mark));
    Ok(match is_log {
        true if is_ours() => Whose::Ours,
        true => Whose::Zeeks,
        false => Whose::Anothers,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Scratch;
    use super::*;

    const ZEEK: &str = "#separator \\x09\n#path\tdce_rpc\n#fields\tts\tuid\n1\tC1\n";
    const SURICATA: &str = "{\"timestamp\":\"2020-09-18T17:08:35.743329+0000\",\"event_type\":\"dcerpc\"}\n";

    fn logs<'a>(folder: &'a Path, formats: &'a [Format]) -> Files<'a> {
        Files {
            formats,
            folder: Some(folder),
            ..Files::default()
        }
    }

    #[test]
    fn logs_of_an_earlier_run_give_way_and_others_do_not() {
        for (name, text, free) in [
            ("eve.json", "{\"event_type\":\"flow\",\"dcom\":{}}\n", true),
            ("eve.json", "", true),
            ("eve.json", SURICATA, false),
            ("eve.json", "\u{a}\u{d}\u{d}\u{a}dcom-sensor", false),
            ("dcom.log", "#separator \\x09\n#path\tdcom\n", true),
            ("dce_rpc.log", ZEEK, false),
            ("stats.log", "#separator \\x09\n1\tdcom-sensor\n", true),
            ("conn.log", ZEEK, true),
            ("dce_rpc.json", "{\"ts\":1}\n", true),
        ] {
            let scratch = Scratch::new(&format!("foreign-{name}-{}", text.len()));
            fs::write(scratch.0.join(name), text).unwrap();
            let refused = logs(&scratch.0, &[Format::Eve, Format::Zeek]).refuse();
            assert_eq!(refused.is_ok(), free, "{name}: {refused:?}");
        }
        // Beside a log that is ours, Zeek's form is ours, too.
        let scratch = Scratch::new("foreign-beside");
        fs::write(scratch.0.join("dce_rpc.log"), ZEEK).unwrap();
        fs::write(scratch.0.join("stats.log"), "#separator \\x09\n1\tdcom-sensor\n").unwrap();
        logs(&scratch.0, &[Format::Zeek]).refuse().unwrap();
        logs(&scratch.0.join("missing"), &[Format::Zeek]).refuse().unwrap();
    }

    #[test]
    fn what_belongs_to_the_sensors_user_is_its_own() {
        let scratch = Scratch::new("foreign-user");
        let path = scratch.0.join("dce_rpc.log");
        fs::write(&path, ZEEK).unwrap();
        let user = path.metadata().unwrap().uid();
        for (user, free) in [(None, false), (Some(user), true), (Some(user + 1), false)] {
            let refused = logs(&scratch.0, &[Format::Zeek]).refuse_but_of(user);
            assert_eq!(refused.is_ok(), free, "{user:?}: {refused:?}");
        }
    }

    #[test]
    fn what_suricata_wrote_is_not_ours() {
        let scratch = Scratch::new("foreign-may-be");
        for (name, text, ours) in [
            ("eve.json", SURICATA, false),
            ("eve.json", "", true),
            ("eve.json", "{\"dcom\":{}}\n", true),
            ("eve.json.1", "GIF89a", false),
            ("eve.json.2.gz", "\x1f\u{8b}", true),
            ("dce_rpc.log", ZEEK, true),
        ] {
            let path = scratch.0.join(name);
            let log = if name.starts_with("eve") { "eve.json" } else { name };
            fs::write(&path, text).unwrap();
            assert_eq!(may_be_ours(&path, log), ours, "{name}: {text}");
        }
    }

    #[test]
    fn an_output_is_no_input_and_no_log() {
        let scratch = Scratch::new("foreign-outputs");
        let file = |name: &str| scratch.0.join(name);
        fs::write(file("capture.pcap"), "a capture").unwrap();
        let refused = |output: &str| {
            let files = Files {
                inputs: &[file("capture.pcap")],
                outputs: &[file(output)],
                ..logs(&scratch.0, &[Format::Eve, Format::Zeek])
            };
            files.refuse()
        };
        assert!(matches!(refused("capture.pcap"), Err(Occupied::Input(_))));
        assert!(matches!(refused("eve.json"), Err(Occupied::Twice(_))));
        assert!(matches!(refused("./dcom.log"), Err(Occupied::Twice(_))));
        assert!(refused("ecs.json").is_ok() && refused("other/eve.json").is_ok());
    }

    #[test]
    fn what_else_is_kept_has_a_file_of_its_own_also_in_a_folder_to_come() {
        let scratch = Scratch::new("beside");
        for folder in [scratch.0.clone(), scratch.0.join("to-come")] {
            let kept = |names: &[&str]| {
                let files = Files {
                    outputs: &[folder.join("more.json"), folder.join("more.json")],
                    kept: &names.iter().map(|name| folder.join(name)).collect::<Vec<_>>(),
                    ..logs(&folder, &[Format::Eve])
                };
                files.refuse()
            };
            assert!(matches!(kept(&["eve.json"]), Err(Occupied::Log(_))));
            assert!(matches!(kept(&["more.json"]), Err(Occupied::Shared(_))));
            assert!(matches!(
                kept(&["stubs", "baseline", "./stubs"]),
                Err(Occupied::Shared(_))
            ));
            assert!(kept(&["baseline.txt", "notice.log"]).is_ok());
        }
    }

    #[test]
    fn an_input_is_not_written_over_by_whatever_name() {
        let scratch = Scratch::new("foreign-input");
        let (eve, other) = (scratch.0.join("eve.json"), scratch.0.join("other"));
        fs::write(&eve, "{\"dcom\":{}}\n").unwrap();
        std::os::unix::fs::symlink(&eve, &other).unwrap();
        let files = Files {
            inputs: std::slice::from_ref(&other),
            ..logs(&scratch.0, &[Format::Eve])
        };
        let error = files.refuse().unwrap_err();
        assert!(error.to_string().contains("eve.json: would be overwritten"), "{error}");
        assert!(refuse_input(&other, &[eve]).is_err());
        refuse_input(Path::new("/dev/null"), &["/dev/null".into()]).unwrap();
    }
}
