//! Where events go besides files: sockets, Redis, syslog, webhooks.
//!
//! ```text
//!  Outputs::offer    a line, made once                                the thread that has the event
//!    │ one bounded queue an output: what finds no room is counted     queue.rs
//!  Courier           connects, delivers, tries again                  one thread an output: courier.rs
//!    │
//!  Destination       stream.rs · datagrams.rs · redis.rs · webhook.rs
//! ```

mod courier;
mod datagrams;
mod frame;
mod needs;
mod prepare;
mod queue;
mod redis;
mod stream;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::complain;
use crate::config::{EventType, Facility, Level};
use crate::emit::{cef, eve};
use crate::event::{Alert, Body, Event};
use crate::severity::Severity;
pub(crate) use needs::Needs;
pub(crate) use prepare::Prepared;
pub(crate) use queue::Pace;
use queue::{Counts, Line, Queue};

/// Everything that is configured.
#[derive(Clone)]
pub(crate) struct Outputs {
    all: Arc<[Output]>,
    pace: Pace,
    /// The computer that the sensor runs on.
    host: Arc<str>,
}

struct Output {
    /// As messages have it.
    name: String,
    /// As counters have it.
    key: String,
    wants: Wants,
    queue: Arc<Queue>,
}

/// What goes to an output.
enum Wants {
    /// EVE lines of these kinds.
    Lines(Vec<EventType>),
    /// Alerts of this severity and above, as EVE lines.
    Alerts(Severity),
    /// The same in CEF, as this syslog reads it.
    Cef(Severity, Syslog),
}

/// How a message to syslog begins.
#[derive(Clone, Copy)]
enum Syslog {
    /// On this machine, where syslog knows time and host itself.
    Local(Facility),
    Remote(Facility),
}

/// What one output has done.
pub(crate) struct Told<'o> {
    /// Its name in counters.
    pub(crate) key: &'o str,
    /// Lines that it took.
    pub(crate) delivered: u64,
    /// Lines that found no room, or that it refused.
    pub(crate) dropped: u64,
    /// How often it could not be reached or failed.
    pub(crate) failures: u64,
    /// Bytes that wait for it.
    pub(crate) waiting: u64,
    /// Is all well with it?
    pub(crate) up: bool,
}

impl Outputs {
    /// Those of a program that has none.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            all: Arc::new([]),
            pace: Pace::Live,
            host: Arc::from(""),
        }
    }

    /// Are there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts an event where it is wanted. Takes no longer than [`Pace`] allows, whatever outputs do.
    pub(crate) fn offer(&self, event: &Event) {
        if self.all.is_empty() || !event.body.is_in_eve() {
            return;
        }
        let kind = event.body.eve_type().name;
        let alert = cef::alert(event);
        let mut line: Option<Line> = None;
        for output in self.all.iter() {
            let of_severity = |least: Severity| alert.filter(|alert| alert.severity >= least);
            let text = match &output.wants {
                Wants::Lines(types) if types.iter().any(|wanted| wanted.name() == kind) => {
                    Line::clone(line.get_or_insert_with(|| eve_line(event)))
                }
                Wants::Alerts(least) if of_severity(*least).is_some() => {
                    Line::clone(line.get_or_insert_with(|| eve_line(event)))
                }
                Wants::Cef(least, syslog) => match of_severity(*least) {
                    Some(alert) => self.cef(event, alert, *syslog),
                    None => continue,
                },
                Wants::Lines(_) | Wants::Alerts(_) => continue,
            };
            output
                .queue
                .offer(text, matches!(event.body, Body::Alert(_)), self.pace);
        }
    }

    fn cef(&self, event: &Event, alert: &Alert, syslog: Syslog) -> Line {
        let level = match alert.severity {
            Severity::Critical => Level::Critical,
            Severity::High => Level::Error,
            Severity::Medium => Level::Warning,
            Severity::Low => Level::Notice,
            Severity::Informational => Level::Info,
        };
        let mut text = match syslog {
            Syslog::Local(facility) => tag(facility, level, "dcom-sensor"),
            Syslog::Remote(facility) => {
                let mut head = format!("<{}>", facility.priority(level));
                cef::rfc3164(event.meta.timestamp, &self.host, &mut head);
                head
            }
        };
        cef::message(event, alert, &self.host, &mut text);
        Line::from(text.into_bytes())
    }

    /// Connects anew, and opens files anew.
    pub(crate) fn renew(&self) {
        for output in self.all.iter() {
            output.queue.renew();
        }
    }

    /// What each has done so far.
    pub(crate) fn tell(&self) -> impl Iterator<Item = Told<'_>> {
        self.all.iter().map(|output| {
            let counts = &output.queue.counts;
            Told {
                key: &output.key,
                delivered: Counts::get(&counts.delivered),
                dropped: Counts::get(&counts.dropped),
                failures: Counts::get(&counts.failures),
                waiting: output.queue.bytes(),
                up: !counts.ill.load(Ordering::Relaxed),
            }
        })
    }

    /// Ends a run over captures or logs, with time for outputs that are slow. True when all was delivered; else, or if asked,
    /// says what each came to.
    pub(crate) fn end(&self, tell: bool) -> bool {
        const MOST: Duration = Duration::from_secs(60);
        const STILL: Duration = Duration::from_secs(5);
        if self.all.is_empty() {
            return true;
        }
        let (told, lost) = self.finish(MOST, STILL, tell);
        if tell || lost > 0 {
            complain(&told, None);
        }
        lost == 0
    }

    /// Waits until all is delivered: so long at most, and for none longer than `still` in which nothing went. Says what
    /// `all` of them came to, or those that did not take everything; the number is that of lines that did not go.
    pub(crate) fn finish(&self, most: Duration, still: Duration, all: bool) -> (String, u64) {
        for output in self.all.iter() {
            output.queue.close();
        }
        let begin = Instant::now();
        let delivered = |output: &Output| Counts::get(&output.queue.counts.delivered);
        let mut last: Vec<(u64, Instant)> = self.all.iter().map(|output| (delivered(output), begin)).collect();
        let goes_on = |(output, last): (&Output, &mut (u64, Instant))| {
            if delivered(output) != last.0 {
                *last = (delivered(output), Instant::now());
            }
            !output.queue.has_ended() && last.1.elapsed() < still
        };
        // Each is looked at: what one has done must not be missed while another is waited for.
        while begin.elapsed() < most && self.all.iter().zip(&mut last).map(goes_on).filter(|&goes| goes).count() > 0 {
            sleep(Duration::from_millis(5));
        }
        let mut lost = 0;
        let told: Vec<String> = self
            .all
            .iter()
            .filter_map(|output| {
                output.queue.abandon();
                let counts = &output.queue.counts;
                let (delivered, dropped) = (Counts::get(&counts.delivered), Counts::get(&counts.dropped));
                let waiting = counts.waiting();
                lost += dropped + waiting;
                (all || dropped + waiting > 0).then(|| {
                    format!(
                        "{}: {delivered} delivered, {dropped} dropped, {waiting} still waiting",
                        output.name
                    )
                })
            })
            .collect();
        (format!("outputs: {}", told.join("; ")), lost)
    }
}

fn eve_line(event: &Event) -> Line {
    let mut text = Vec::with_capacity(1_024);
    eve::line(event, &mut text);
    Line::from(text)
}

/// RFC 3164 4.1.3 MSG: what messages on this machine begin with. Syslog adds time and host.
fn tag(facility: Facility, level: Level, identity: &str) -> String {
    format!("<{}>{identity}[{}]: ", facility.priority(level), std::process::id())
}
