//! Where live events go. A disk that is full delays them, and never stops the sensor.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::ending::Left;
use super::rotation::{Moved, Rotation};
use super::screen::Screen;
use crate::catalog::Catalog;
use crate::cli::{Live, complain, output_width};
use crate::emit::console::printable;
use crate::emit::reasons::Reasons;
use crate::emit::{self, Emitters, Format, eve, naming, refuse_pipe};
use crate::event::{Body, Event};
use crate::outputs::Outputs;
use crate::time::Timestamp;

/// Bytes that wait for room on the disk; beyond it alerts alone are still taken.
const MOST_WAITING: usize = 8 << 20;
/// Bytes that wait with alerts among them; beyond it these are lost too.
const MOST_ALERTS: usize = 64 << 20;

/// How long outputs may take for what is left at the end: who stops a service waits.
const LAST: Duration = Duration::from_millis(700);

/// Logs are looked at so often, whether they are still there.
const LOOK: Duration = Duration::from_secs(5);

/// What to do when a log cannot be opened. Logs may have been made by another user's run, or by logrotate.
const NOT_OURS: &str =
    "it has to belong to the user that the sensor runs as (chown; in logrotate's rule, `create` with that user)";

pub(super) struct Outlet {
    folder: PathBuf,
    formats: Vec<Format>,
    emitters: Emitters,
    outputs: Outputs,
    rotation: Rotation,
    screen: Option<Screen>,
    json: bool,
    /// What explains alerts, if that was asked for.
    reasons: Option<Reasons>,
    first: Option<Timestamp>,
    /// Events that found no room, or no time.
    lost: u64,
    /// What there is time for, now that it is to end.
    left: Left,
    /// Logs that could not be ended whole.
    unfinished: u64,
    /// Is writing impossible now? Said once.
    stuck: bool,
    /// Are logs to be opened anew once what waits is written?
    renewal_is_due: bool,
    looked: Instant,
    /// The folder, whatever stands in its place later.
    opened: Option<Identity>,
    /// A log that was removed, and could not be begun anew so far: what is written is nowhere. Said once.
    removed: Option<PathBuf>,
}

impl Outlet {
    pub(super) fn new(
        options: &Live,
        folder: &Path,
        formats: &[Format],
        catalog: Arc<Catalog>,
        outputs: Outputs,
    ) -> Result<Self> {
        let mut outlet = Self {
            folder: folder.to_owned(),
            formats: formats.to_vec(),
            emitters: Emitters::go_on(folder, formats).map_err(hinted)?,
            outputs,
            rotation: Rotation::new(options.rotate_size, options.rotate_minutes, options.compress, folder),
            screen: (options.json || !options.quiet).then(Screen::start).transpose()?,
            json: options.json,
            reasons: options.verbose.then(|| Reasons::new(catalog)),
            first: None,
            lost: 0,
            left: Left::Everything,
            unfinished: 0,
            stuck: false,
            renewal_is_due: false,
            looked: Instant::now(),
            opened: identity(folder),
            removed: None,
        };
        outlet.make_room(Timestamp::now());
        Ok(outlet)
    }

    /// Alerts are explained by other classes from now on.
    pub(super) fn replace_catalog(&mut self, catalog: Catalog) {
        if let Some(reasons) = &mut self.reasons {
            reasons.replace_catalog(Arc::new(catalog));
        }
    }

    /// Logs of these forms are written from when they are opened anew on.
    pub(super) fn set_formats(&mut self, formats: &[Format]) {
        formats.clone_into(&mut self.formats);
    }

    /// Events that could not be written so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// There is time for this much. Where it is not for everything, alerts are written, and what was counted.
    pub(super) fn hurry(&mut self, left: Left) {
        self.left = left;
    }

    /// So many events will not come.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// Writes the events, and leaves none.
    pub(super) fn take(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            if self.left != Left::Everything && !matches!(event.body, Body::Alert(_) | Body::Stats(_)) {
                self.lost += 1;
                continue;
            }
            self.first.get_or_insert(event.meta.timestamp);
            let most = match event.body {
                Body::Alert(_) => MOST_ALERTS,
                _ => MOST_WAITING,
            };
            let (whole, written) = if self.stuck && self.emitters.pending() > most {
                self.emitters.write_where_possible(&event)
            } else {
                (true, self.emitters.write(&event))
            };
            self.judge(written);
            self.lost += u64::from(!whole || self.removed.is_some());
            self.outputs.offer(&event);
            self.show(&event);
        }
    }

    /// Has whoever read standard output closed it? Then nobody wants more.
    pub(super) fn is_closed(&self) -> bool {
        self.screen.as_ref().is_some_and(Screen::is_closed)
    }

    /// Brings what was written to the files.
    pub(super) fn flush(&mut self) {
        let flushed = self.emitters.flush();
        self.judge(flushed);
        if self.renewal_is_due && !self.stuck {
            self.renewal_is_due = false;
            if self.reopen(Timestamp::now()) {
                complain("logs opened anew", None);
            }
        }
        if let Some(screen) = &mut self.screen {
            screen.flush();
        }
    }

    /// What outputs have done so far.
    pub(super) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Ends the logs and begins new ones of the same names: whoever moved the old ones away wants that. False when that is
    /// not possible now; why is told.
    pub(super) fn reopen(&mut self, now: Timestamp) -> bool {
        let flushed = self.emitters.flush();
        self.judge(flushed);
        if self.stuck {
            // What waits would be lost with the log that it waits for.
            self.renewal_is_due = true;
            complain("logs will be opened anew when what is held back has been written", None);
            return false;
        }
        let opened = self
            .openable()
            .and_then(|()| Emitters::go_on(&self.folder, &self.formats));
        match opened {
            Ok(mut emitters) => {
                self.removed = None;
                self.opened = identity(&self.folder);
                emitters.take_over(&mut self.emitters);
                self.end(emitters, now);
                self.make_room(now);
                true
            }
            Err(error) => {
                let hint = (error.kind() == ErrorKind::PermissionDenied).then_some(if self.is_another_folder() {
                    "the folder for logs is another one than at the start: the jail holds to the old one until the sensor is started anew"
                } else {
                    NOT_OURS
                });
                complain(&format!("{error}; the logs that were open stay open"), hint);
                false
            }
        }
    }

    /// Puts logs away that were ended, by an earlier run or because they are of another form: rows behind that are in no
    /// log that a reader knows.
    fn make_room(&mut self, now: Timestamp) {
        let ended = emit::ended(&self.folder, &self.formats);
        if ended.is_empty() {
            return;
        }
        let moved = self.rotation.move_away(&ended, now);
        let names: Vec<_> = moved.iter().filter_map(Moved::names).collect();
        if let Some((_, first)) = names.first() {
            let logs: Vec<_> = names.iter().map(|(from, _)| &**from).collect();
            let logs = logs.join(", ");
            complain(
                &format!("{logs}: nothing can be added to what is there; put away, as {first} and so on"),
                None,
            );
        }
        self.rotation.compress(moved);
    }

    /// Can logs be opened that are opened at their first row?
    fn openable(&self) -> io::Result<()> {
        for path in self.emitters.paths() {
            refuse_pipe(&path)?;
            match OpenOptions::new().append(true).open(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(naming(&path, &error)),
            }
        }
        if self.is_another_folder() {
            // A folder of that name may be one that the jail keeps closed.
            fs::create_dir_all(&self.folder).map_err(|error| naming(&self.folder, &error))?;
            let probe = self.folder.join(".probe");
            fs::write(&probe, [])
                .and_then(|()| fs::remove_file(&probe))
                .map_err(|error| naming(&self.folder, &error))?;
        }
        Ok(())
    }

    fn is_another_folder(&self) -> bool {
        identity(&self.folder) != self.opened
    }

    /// Were logs removed while they are open, with their folder or without? What is written would be nowhere.
    fn look(&mut self, now: Timestamp) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        if self.removed.is_some() {
            return;
        }
        self.removed = self.emitters.removed().next().map(Path::to_path_buf);
        let Some(path) = &self.removed else { return };
        let message = format!("{}: removed while it was open; what was in it is gone", path.display());
        complain(&message, None);
        if self.reopen(now) {
            complain("logs opened anew", None);
        }
    }

    /// Begins new logs if it is time to.
    pub(super) fn rotate(&mut self, now: Timestamp) {
        self.look(now);
        if self.stuck || !self.rotation.is_due(self.emitters.longest()) {
            return;
        }
        let logs = self.emitters.paths();
        let flushed = self.emitters.flush();
        self.judge(flushed);
        if self.stuck {
            return;
        }
        let moved = self.rotation.move_away(&logs, now);
        // What ends them is that others are opened; before, they are not whole.
        if self.reopen(now) {
            self.rotation.compress(moved);
        } else {
            self.rotation.move_back(&moved);
        }
    }

    /// Ends everything. Was all of it written, and shown?
    pub(super) fn finish(&mut self, now: Timestamp) -> bool {
        self.end(Emitters::default(), now);
        if self.lost > 0 {
            // What was not looked at any more may have come to several each.
            let more = if self.left == Left::Nothing { ", or more," } else { "" };
            complain(&format!("{} events{more} could not be written", self.lost), None);
        }
        let is_closed = self.is_closed();
        let not_shown = self.screen.take().map_or(0, Screen::finish);
        // Whoever has gone misses nothing.
        let not_shown = if is_closed { 0 } else { not_shown };
        if not_shown > 0 {
            complain(&format!("standard output: {not_shown} events were not shown"), None);
        }
        if !self.outputs.is_empty() {
            let (told, _) = self.outputs.finish(LAST, LAST, true);
            complain(&told, None);
        }
        self.lost + self.unfinished + not_shown == 0
    }

    fn end(&mut self, next: Emitters, now: Timestamp) {
        let over = std::mem::replace(&mut self.emitters, next);
        for unfinished in over.end(self.first.take().unwrap_or(now), now) {
            self.unfinished += 1;
            complain(&unfinished.to_string(), None);
        }
    }

    /// What went wrong is said when it begins and when it is over.
    fn judge(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) if self.stuck && self.emitters.pending() == 0 => {
                self.stuck = false;
                complain(
                    &format!("logs are written again; {} events found no room", self.lost),
                    None,
                );
            }
            Ok(()) => {}
            Err(error) => {
                if !self.stuck {
                    complain(
                        &format!("{error}; what is seen meanwhile is held back, alerts longest"),
                        None,
                    );
                }
                self.stuck = true;
            }
        }
    }

    fn show(&mut self, event: &Event) {
        let Some(screen) = &mut self.screen else { return };
        if self.json {
            screen.show(|out| eve::line(event, out));
        } else if let Body::Alert(alert) = &event.body {
            let reasons = &self.reasons;
            screen.show(|out| {
                // Names come off the wire: nothing in them is to command a terminal.
                let message = printable(&alert.message);
                // Writing to memory cannot fail.
                let _ = writeln!(out, "{} {} {message}", event.meta.timestamp, alert.severity.name());
                if let Some(reasons) = reasons {
                    let explained = reasons.explain(&event.meta, alert, output_width());
                    let _ = write!(out, "{explained}");
                }
            });
        }
    }
}

/// What tells a folder from another one of the same name.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(folder: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).ok().map(|about| (about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

/// With what to do about it.
fn hinted(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::PermissionDenied {
        return io::Error::new(error.kind(), format!("{error}\nhint: {NOT_OURS}"));
    }
    error
}
