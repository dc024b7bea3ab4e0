//! Handing over what root made: folders and files become the user's that the sensor goes on as, if they are the sensor's own.
//!
//! A file is its own by its name, and by what is in it where other programs use that name. A folder is when it is empty, or when nothing but such files is in it: what else root
//! keeps there is not for the user.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::libc;
use nix::unistd::{Gid, Uid};
use rustix::fs::{Access, access};

use super::jail::folder;
use crate::config::Config;
use crate::emit::{self, foreign};
use crate::failures;
use crate::outputs::Needs;

/// What is in every folder at which a disk is mounted. It stays whose it is.
const OF_THE_DISK: &str = "lost+found";

/// A folder that is written to.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    names: Vec<Name>,
    /// What names another one.
    option: &'static str,
    /// What is in it that is not the sensor's: for that it stayed root's.
    foreign: Option<OsString>,
}

/// What the sensor calls a file.
enum Name {
    /// A log: also what becomes of it when it is put away, by the sensor or by logrotate. Others' may be called so.
    Log(String),
    /// The same of what goes to a file that the settings name.
    Output(String),
    /// The baseline: also while it is written.
    Baseline(String),
}

impl Place {
    /// The folder for logs, and the baseline's.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let place = |folder: PathBuf, option| Self {
            folder,
            names: Vec::new(),
            option,
            foreign: None,
        };
        let mut all = vec![place(config.output.log_dir.clone(), "--log-dir")];
        let mut names: Vec<_> = emit::file_names()
            .map(|name| (config.output.log_dir.clone(), Name::Log(name)))
            .collect();
        if let Some(file) = config.baseline_file() {
            all.push(place(folder(&file).to_owned(), "--baseline"));
            names.extend(named(&file, Name::Baseline));
        }
        names.extend(
            Needs::of(config)
                .files
                .iter()
                .filter_map(|file| named(file, Name::Output)),
        );
        // However it is spelled, a folder is one.
        let same = |one: &Path, other: &Path| {
            fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|it| it == one))
        };
        if let [logs, baseline] = &*all
            && same(&logs.folder, &baseline.folder)
        {
            all.pop();
        }
        for (folder, name) in names {
            if let Some(place) = all.iter_mut().find(|place| same(&place.folder, &folder)) {
                place.names.push(name);
            }
        }
        all
    }

    /// Gives the folder and the sensor's files in it to the user, as far as they are root's. Was there anything to give?
    pub(super) fn hand_over(&mut self, user: Uid, group: Gid) -> io::Result<bool> {
        let about = fs::metadata(&self.folder)?;
        let is_theirs = about.uid() == user.as_raw();
        if about.uid() != 0 && !is_theirs {
            return Ok(false);
        }
        let opened = match File::open(&self.folder) {
            // Root without all of its rights, as in a container: nothing of root's is in there.
            Err(error) if is_theirs && error.kind() == ErrorKind::PermissionDenied => return Ok(false),
            opened => opened?,
        };
        let mut own = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if self.is_own(&entry)? {
                own.push(entry.path());
            } else if entry.file_name() != OF_THE_DISK {
                self.foreign.get_or_insert(entry.file_name());
            }
        }
        if !is_theirs {
            if self.foreign.is_some() {
                return Ok(false);
            }
            fchown(&opened, Some(user.as_raw()), Some(group.as_raw()))?;
        }
        let mut given = !is_theirs;
        for path in own {
            given |= give(&path, user, group)?;
            if path.is_dir() {
                for entry in fs::read_dir(path)? {
                    given |= give(&entry?.path(), user, group)?;
                }
            }
        }
        Ok(given)
    }

    fn is_own(&self, entry: &fs::DirEntry) -> io::Result<bool> {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return Ok(false) };
        if entry.file_type()?.is_dir() {
            if name != failures::FOLDER {
                return Ok(false);
            }
            for frame in fs::read_dir(entry.path())? {
                let frame = frame?;
                if !frame.file_type()?.is_file() || !frame.file_name().to_str().is_some_and(failures::is_kept) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let is_possible = |own: &Name| match own {
            Name::Log(log) => foreign::may_be_ours(&entry.path(), log),
            Name::Output(_) | Name::Baseline(_) => true,
        };
        let is_own = |own: &Name| own.is_of(name) && is_possible(own);
        Ok(self.names.iter().any(is_own))
    }

    /// Whoever we are by now, can we write there? If not, that is better known before anything is seen.
    pub(super) fn must_be_writable(&self, who: &str) -> Result<()> {
        let Err(error) = access(&self.folder, Access::WRITE_OK | Access::EXEC_OK) else {
            return Ok(());
        };
        let (folder, option) = (self.folder.display(), self.option);
        let why = match &self.foreign {
            Some(file) => format!(
                "; it stays as it is, since it holds more than the sensor's own files: {}",
                file.display()
            ),
            None => String::new(),
        };
        bail!(
            "{folder}: {who} cannot write there: {}{why}\n\
             hint: name a folder of the sensor's own with {option}, let that user write to this one, or name another with --user",
            io::Error::from(error)
        )
    }
}

impl Name {
    fn is_of(&self, name: &str) -> bool {
        match self {
            Self::Log(log) | Self::Output(log) => {
                // `eve.json`, `eve.json.1.gz`, `eve.json-20201118`.
                let is_put_away = |rest: &str| rest.is_empty() || rest.starts_with(['.', '-']);
                // `eve-2020-07-18T23-10-02.061141.json.zst`.
                let by_time = || {
                    let (stem, ending) = log.rsplit_once('.')?;
                    let (time, rest) = name
                        .strip_prefix(stem)?
                        .strip_prefix('-')?
                        .split_once(&format!(".{ending}"))?;
                    Some(time.starts_with(|c: char| c.is_ascii_digit()) && is_put_away(rest))
                };
                name.strip_prefix(&**log).is_some_and(is_put_away) || by_time() == Some(true)
            }
            Self::Baseline(file) => {
                let being_written = || {
                    let process = name
                        .strip_prefix('.')?
                        .strip_prefix(&**file)?
                        .strip_prefix('.')?
                        .strip_suffix(".new")?;
                    Some(process.bytes().all(|byte| byte.is_ascii_digit()))
                };
                name == file || being_written() == Some(true)
            }
        }
    }
}

/// A file's folder, and its name there.
fn named(file: &Path, name: fn(String) -> Name) -> Option<(PathBuf, Name)> {
    let called = file.file_name().and_then(OsStr::to_str)?;
    Some((folder(file).to_owned(), name(called.to_owned())))
}

/// Others' files stay theirs, and no link, of either kind, leads out of here.
fn give(path: &Path, user: Uid, group: Gid) -> io::Result<bool> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    // A link, or gone by now.
    let Ok(opened) = opened else { return Ok(false) };
    let about = opened.metadata()?;
    if about.uid() != 0 || !(about.is_dir() || about.is_file() && about.nlink() == 1) {
        return Ok(false);
    }
    fchown(&opened, Some(user.as_raw()), Some(group.as_raw()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_known_by_their_names_also_when_they_are_over() {
        let log = Name::Log("eve.json".to_owned());
        for own in [
            "eve.json",
            "eve.json.1",
            "eve.json.14.gz",
            "eve.json-20201118",
            "eve-2020-07-18T23-10-02.061141.json",
            "eve-2020-07-18T23-10-02.061141.json.zst",
        ] {
            assert!(log.is_of(own), "{own}");
        }
        for foreign in [
            "eve.jsonl",
            "eve",
            "eve-box.json",
            "evening.json",
            "shadow",
            "eve-2020.yaml",
            "",
        ] {
            assert!(!log.is_of(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_baseline_is_known_by_its_name_also_while_it_is_written() {
        let baseline = Name::Baseline("usual".to_owned());
        assert!(baseline.is_of("usual") && baseline.is_of(".usual.4242.new"));
        assert!(!baseline.is_of("usual.old") && !baseline.is_of(".usual.swp") && !baseline.is_of(".usual.x.new"));
    }

    #[test]
    fn what_cannot_be_written_is_told_with_what_to_do() {
        let place = Place {
            folder: PathBuf::from("/nonexistent/logs"),
            names: Vec::new(),
            option: "--log-dir",
            foreign: Some("shadow".into()),
        };
        let said = place.must_be_writable("nobody").unwrap_err().to_string();
        for part in [
            "/nonexistent/logs: nobody cannot write there",
            ": shadow",
            "\nhint: ",
            "--log-dir",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
