//! Files that grow: rotated by another name, truncated, written to in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use walkdir::WalkDir;

use super::{Cutter, LINE, Once, Sink, add};
use crate::host_log::{self, Lines};

/// How often files are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// How often folders are listed.
const LISTING: Duration = Duration::from_secs(2);
/// What a file has already when it is found first is read from so many bytes before its end: for what it says of zones and
/// of processes that run.
const BEFORE: u64 = 1 << 20;
/// Bytes of one file that are read in one go: the others must not wait.
const AT_A_TIME: usize = 16 << 20;
/// What is held back for later lines is given out when none have come for so long.
const QUIET: Duration = Duration::from_millis(500);
/// Files that are followed at a time.
const MOST: usize = 1_000;

/// Follows files until told to stop.
pub(super) fn run(paths: &[PathBuf], mut sink: Sink, stop: &AtomicBool) {
    let mut follower = Follower::new(paths.to_vec());
    while !stop.load(Ordering::Relaxed) {
        follower.look(&mut sink);
        sleep(PERIOD);
    }
}

struct Follower {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Followed>,
    /// Files that were put away, with how far they were read: under another name they are no new ones. As long as they are
    /// there.
    done: BTreeMap<Identity, u64>,
    listed: Option<Instant>,
    told: Once,
}

/// Device and inode: another file of the same name is another file.
type Identity = (u64, u64);

/// A file, as far as it was read.
enum Followed {
    /// Lines that grow.
    Growing(Box<Growing>),
    /// What is no text is read once it has stopped to grow: EVTX, and what is compressed.
    Whole { size: u64, read: Option<u64> },
}

struct Growing {
    file: File,
    identity: Identity,
    /// The file that had the name before, and how far that was read.
    put_away: Option<(Identity, u64)>,
    offset: u64,
    /// Is what comes next the rest of a line whose beginning was not read?
    midway: bool,
    cutter: Cutter,
    lines: Lines,
    /// When something came last, and was not given out yet.
    fresh: Option<Instant>,
}

impl Follower {
    fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            files: BTreeMap::new(),
            done: BTreeMap::new(),
            listed: None,
            told: Once::default(),
        }
    }

    fn look(&mut self, sink: &mut Sink) {
        let first = self.listed.is_none();
        if self.listed.is_none_or(|listed| listed.elapsed() >= LISTING) {
            self.listed = Some(Instant::now());
            self.list(first, sink);
        }
        let mut gone = Vec::new();
        for (path, followed) in &mut self.files {
            let looked = followed.look(path, sink);
            if let Followed::Growing(growing) = followed {
                self.done.extend(growing.put_away.take());
            }
            match looked {
                Ok(true) => {}
                Ok(false) => gone.push(path.clone()),
                Err(error) => {
                    let name = path.display().to_string();
                    self.told.complain(&name, &format!("{name}: {error}"));
                }
            }
        }
        for path in gone {
            self.files.remove(&path);
        }
        sink.send();
    }

    /// What is in a folder that cannot be listed is not read, which is not the same as nothing.
    fn cannot_list(&self, error: &walkdir::Error, sink: &Sink) {
        let Some(path) = error.path() else { return };
        // What went away while it was listed is no matter.
        let Some(cause) = error.io_error().filter(|cause| cause.kind() != io::ErrorKind::NotFound) else {
            return;
        };
        let name = path.display();
        let is_named = self.paths.iter().any(|named| named == path);
        let hint = if is_named && cause.kind() == io::ErrorKind::PermissionDenied {
            "; a folder that was made anew after the start is kept closed by the jail until the sensor is started anew"
        } else {
            ""
        };
        // Under another name than where it was not there yet.
        if self
            .told
            .complain(&format!("{name}/"), &format!("{name}: {cause}{hint}"))
        {
            add(&sink.counts.unreadable);
        }
    }

    /// Finds files that are new. Those that were there from the beginning are not read from theirs.
    fn list(&mut self, first: bool, sink: &Sink) {
        let mut found: BTreeSet<PathBuf> = BTreeSet::new();
        for path in &self.paths {
            if path.is_dir() {
                for entry in WalkDir::new(path).sort_by_file_name() {
                    match entry {
                        Ok(it) if it.file_type().is_file() => {
                            found.insert(it.into_path());
                        }
                        Ok(_) => {}
                        Err(error) => self.cannot_list(&error, sink),
                    }
                }
            } else if path.exists() {
                found.insert(path.clone());
            } else {
                let name = path.display().to_string();
                self.told
                    .complain(&name, &format!("{name} is not there yet; waiting for it"));
            }
        }
        // A file that was rotated is still read to its end under its old name; under its new one it is none that is new.
        let mut known: BTreeSet<Identity> = self.files.values().filter_map(Followed::identity).collect();
        let there = |path: &PathBuf| fs::metadata(path).ok().map(|it| (identity(&it), it.len()));
        let there: BTreeMap<Identity, u64> = found.iter().filter_map(there).collect();
        // A number that is used again is that of a shorter file.
        self.done
            .retain(|identity, length| there.get(identity).is_some_and(|now| now >= length));
        known.extend(self.done.keys());
        for path in found {
            if self.files.contains_key(&path) {
                continue;
            }
            if self.files.len() >= MOST {
                let message = format!("more than {MOST} files: the others are not followed");
                self.told.complain("", &message);
                return;
            }
            match Followed::open(&path, first, &known) {
                Ok(Some(followed)) => {
                    add(&sink.counts.files);
                    self.files.insert(path, followed);
                }
                Ok(None) => {}
                Err(error) => {
                    let name = path.display().to_string();
                    add(&sink.counts.unreadable);
                    self.told.complain(&name, &format!("{name}: {error}"));
                }
            }
        }
    }
}

impl Followed {
    fn open(path: &Path, first: bool, known: &BTreeSet<Identity>) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if known.contains(&identity(&metadata)) {
            return Ok(None);
        }
        let mut start = Vec::new();
        file.by_ref().take(8).read_to_end(&mut start)?;
        let compressed = start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        if compressed || start.starts_with(b"ElfFile\0") {
            let size = metadata.len();
            // What is complete when the sensor begins is of another time.
            let read = first.then_some(size);
            return Ok(Some(Self::Whole { size, read }));
        }
        let offset = if first {
            metadata.len().saturating_sub(BEFORE)
        } else {
            0
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Self::Growing(Box::new(Growing {
            identity: identity(&metadata),
            put_away: None,
            file,
            offset,
            midway: offset > 0,
            cutter: Cutter::default(),
            lines: Lines::new(path.display().to_string().into()),
            fresh: None,
        }))))
    }

    fn identity(&self) -> Option<Identity> {
        match self {
            Self::Growing(growing) => Some(growing.identity),
            Self::Whole { .. } => None,
        }
    }

    /// Reads what is new. False when the file is gone and was read to its end.
    fn look(&mut self, path: &Path, sink: &mut Sink) -> io::Result<bool> {
        match self {
            Self::Growing(growing) => growing.look(path, sink),
            Self::Whole { size, read } => {
                let Ok(metadata) = fs::metadata(path) else {
                    return Ok(false);
                };
                let settled = metadata.len() == *size;
                *size = metadata.len();
                if settled && *read != Some(*size) {
                    *read = Some(*size);
                    let done = host_log::read(path, None, &mut |event| {
                        sink.batch.push(event);
                        if sink.batch.len() >= super::BATCH {
                            sink.send();
                        }
                    });
                    if let Err(error) = done {
                        add(&sink.counts.unreadable);
                        return Err(io::Error::other(error.cause));
                    }
                }
                Ok(true)
            }
        }
    }
}

impl Growing {
    fn look(&mut self, path: &Path, sink: &mut Sink) -> io::Result<bool> {
        let now = fs::metadata(path).ok();
        if self.file.metadata()?.len() < self.offset {
            // Whoever truncates begins anew.
            add(&sink.counts.truncated);
            self.begin_anew()?;
        }
        let all = self.read(sink)?;
        let same = now.as_ref().is_some_and(|now| identity(now) == self.identity);
        if all && !same {
            // Nothing will be added to a file that was put away: its last line needs no end.
            let last = std::mem::take(&mut self.cutter.partial);
            if !last.is_empty() && !self.midway {
                sink.line(&mut self.lines, &last);
            }
            sink.flush(&mut self.lines);
            self.fresh = None;
            self.put_away = Some((self.identity, self.offset));
            let Some(now) = now else { return Ok(false) };
            add(&sink.counts.rotated);
            self.file = File::open(path)?;
            self.identity = identity(&now);
            self.begin_anew()?;
            self.read(sink)?;
        }
        if self.fresh.is_some_and(|fresh| fresh.elapsed() >= QUIET) {
            self.fresh = None;
            sink.flush(&mut self.lines);
        }
        Ok(true)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(0))?;
        self.midway = false;
        self.cutter.clear();
        Ok(())
    }

    /// Reads on. True when there is no more for now.
    fn read(&mut self, sink: &mut Sink) -> io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        while total < AT_A_TIME {
            let count = match self.file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                return Ok(true);
            }
            total += count;
            self.offset += u64::try_from(count).unwrap_or_default();
            let mut bytes = buffer.get(..count).unwrap_or_default();
            if self.midway {
                let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                    continue;
                };
                bytes = bytes.get(end + 1..).unwrap_or_default();
                self.midway = false;
            }
            let Self { cutter, lines, .. } = self;
            let counts = std::sync::Arc::clone(&sink.counts);
            cutter.push(bytes, LINE, &counts, |line| sink.line(lines, line));
            self.fresh = Some(Instant::now());
        }
        Ok(false)
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::super::Counts;
    use super::*;
    use crate::host_log::{HostBody, HostEvent};

    struct Rig {
        folder: PathBuf,
        follower: Follower,
        sink: Sink,
        events: Receiver<Vec<HostEvent>>,
    }

    impl Rig {
        fn new(test: &str, before: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("dcom-sensor-follow-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("host.ndjson"), before).unwrap();
            let (out, events) = sync_channel(64);
            let sink = Sink {
                out,
                counts: Arc::new(Counts::default()),
                batch: Vec::new(),
            };
            let mut rig = Self {
                follower: Follower::new(vec![folder.clone()]),
                folder,
                sink,
                events,
            };
            rig.pids();
            rig
        }

        fn path(&self) -> PathBuf {
            self.folder.join("host.ndjson")
        }

        fn append(&self, text: &str) {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.path())
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// Process ids of what was read since the last time.
        fn pids(&mut self) -> Vec<u32> {
            // Folders are listed, and what is held back is given out, as if time had gone by.
            self.follower.listed = self.follower.listed.and(Instant::now().checked_sub(LISTING));
            self.follower.look(&mut self.sink);
            for followed in self.follower.files.values_mut() {
                if let Followed::Growing(growing) = followed {
                    self.sink.flush(&mut growing.lines);
                }
            }
            let pid = |event: HostEvent| match event.body {
                HostBody::ProcessCreate(create) => create.process.pid,
                _ => None,
            };
            self.events.try_iter().flatten().filter_map(pid).collect()
        }

        fn counts(&self) -> [u64; 3] {
            let Counts {
                rotated,
                truncated,
                too_long,
                ..
            } = &*self.sink.counts;
            [rotated, truncated, too_long].map(|counter| counter.load(Ordering::Relaxed))
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn line(pid: u32) -> String {
        format!(
            "{{\"EventID\":1,\"SourceName\":\"Microsoft-Windows-Sysmon\",\"Hostname\":\"WS6\",\
             \"UtcTime\":\"2026-01-02 03:04:05.678\",\"ProcessId\":\"{pid}\",\"Image\":\"C:\\\\a.exe\",\
             \"CommandLine\":\"a\",\"ParentProcessId\":\"1\",\"ParentImage\":\"C:\\\\b.exe\"}}\n"
        )
    }

    #[test]
    fn lines_come_as_they_are_written_and_half_a_line_waits() {
        let mut rig = Rig::new("grows", "");
        rig.append(&line(1));
        let next = line(2);
        let (half, rest) = next.split_at(40);
        rig.append(half);
        assert_eq!(rig.pids(), [1]);
        rig.append(rest);
        rig.append(&line(3));
        assert_eq!(rig.pids(), [2, 3]);
        assert!(rig.pids().is_empty());
    }

    #[test]
    fn a_file_put_away_is_read_to_its_end_and_the_next_from_its_beginning() {
        let mut rig = Rig::new("rotates", "");
        rig.append(&line(1));
        assert_eq!(rig.pids(), [1]);
        rig.append(line(2).trim_end());
        fs::rename(rig.path(), rig.folder.join("host.ndjson.1")).unwrap();
        rig.append(&line(3));
        assert_eq!(rig.pids(), [2, 3]);
        // Under its new name it is not read again.
        assert!(rig.pids().is_empty());
        rig.append(&line(4));
        assert_eq!(rig.pids(), [4]);
        assert_eq!(rig.counts(), [1, 0, 0]);
    }

    #[test]
    fn a_truncated_file_is_read_from_its_beginning() {
        let mut rig = Rig::new("truncated", "");
        rig.append(&line(1));
        rig.append(&line(2));
        assert_eq!(rig.pids(), [1, 2]);
        fs::write(rig.path(), line(3)).unwrap();
        assert_eq!(rig.pids(), [3]);
        assert_eq!(rig.counts(), [0, 1, 0]);
    }

    #[test]
    fn of_what_was_there_before_the_end_alone_is_read_and_a_new_file_whole() {
        let old = line(7).repeat(3 * usize::try_from(BEFORE).unwrap() / line(7).len());
        let mut rig = Rig::new("before", &old);
        let lines = rig.sink.counts.lines.load(Ordering::Relaxed);
        let most = BEFORE / u64::try_from(line(7).len()).unwrap() + 1;
        assert!((most - 3..=most).contains(&lines), "{lines} {most}");
        fs::write(rig.folder.join("other.ndjson"), line(9)).unwrap();
        assert_eq!(rig.pids(), [9]);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_counted_once() {
        let rig = Rig::new("unlisted", "");
        assert_eq!(rig.sink.counts.unreadable.load(Ordering::Relaxed), 0);
        // Longer than any path may be: whoever runs this, nobody can list it.
        let long = rig.folder.join("x".repeat(300));
        for error in WalkDir::new(&long).into_iter().chain(WalkDir::new(&long)) {
            rig.follower.cannot_list(&error.unwrap_err(), &rig.sink);
        }
        for error in WalkDir::new(rig.folder.join("gone")) {
            rig.follower.cannot_list(&error.unwrap_err(), &rig.sink);
        }
        assert_eq!(rig.sink.counts.unreadable.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_line_without_an_end_takes_bounded_memory() {
        let mut rig = Rig::new("long", "");
        for _ in 0..3 {
            rig.append(&"x".repeat(LINE));
            assert!(rig.pids().is_empty());
        }
        rig.append(&format!("\n{}", line(5)));
        assert_eq!(rig.pids(), [5]);
        assert_eq!(rig.counts(), [0, 0, 1]);
    }

    #[test]
    fn an_event_log_is_read_once_it_has_stopped_to_grow() {
        let mut rig = Rig::new("whole", "");
        fs::write(rig.folder.join("a.evtx"), b"ElfFile\0 and nothing").unwrap();
        assert!(rig.pids().is_empty());
        let unreadable = |rig: &Rig| rig.sink.counts.unreadable.load(Ordering::Relaxed);
        let before = unreadable(&rig);
        for _ in 0..3 {
            rig.pids();
        }
        assert!(unreadable(&rig) <= before + 1, "once");
    }
}
