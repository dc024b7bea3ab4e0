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
mod queue;
mod redis;
mod stream;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cli::complain;
use crate::config::{Config, EveLog, EventType, Facility, FileType, Level, Notify, RedisSettings, SyslogAddress};
use crate::emit::{cef, eve};
use crate::event::{Alert, Body, Event};
use crate::severity::Severity;
use courier::Destination;
use datagrams::Datagrams;
use frame::Frame;
pub(crate) use queue::Pace;
use queue::{Counts, Line, MOST_WAITING, Queue};
use redis::Redis;
use stream::Stream;
use webhook::Webhook;

/// Where the system's syslog listens.
const DEV_LOG: &str = "/dev/log";

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

/// Outputs as they are configured, before anything is begun: what is read here may not be readable later.
pub(crate) struct Prepared {
    all: Vec<Ready>,
    host: String,
}

/// Its name in messages, its kind, what it wants, and what brings it there.
type Ready = (String, &'static str, Wants, Box<dyn Destination>);

impl Prepared {
    /// Reads what they need beside the settings.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let mut all = Vec::new();
        for log in config.eve_log.iter().filter(|log| log.enabled) {
            all.push(eve_log(log).context("[[eve-log]]")?);
        }
        for notify in config.notify.iter().filter(|notify| notify.enabled) {
            all.push(notice(notify).context("[[notify]]")?);
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self {
            all,
            host: host.replace(char::is_whitespace, "_"),
        })
    }

    /// Begins to deliver.
    pub(crate) fn start(self, pace: Pace) -> Result<Outputs> {
        let mut all: Vec<Output> = Vec::new();
        let mut kinds: Vec<&str> = Vec::new();
        for (name, kind, wants, destination) in self.all {
            let same = kinds.iter().filter(|&&other| other == kind);
            let key = match same.count() {
                0 => kind.to_owned(),
                earlier => format!("{kind}_{}", earlier + 1),
            };
            kinds.push(kind);
            let queue = Arc::new(Queue::new(MOST_WAITING));
            courier::start(name.clone(), Arc::clone(&queue), destination)?;
            all.push(Output {
                name,
                key,
                wants,
                queue,
            });
        }
        Ok(Outputs {
            all: all.into(),
            pace,
            host: self.host.into(),
        })
    }
}

fn eve_log(log: &EveLog) -> Result<Ready> {
    let path = || log.filename.clone();
    let shown = log.filename.display();
    let frame = |line_feed| Frame::new(&log.prefix, line_feed);
    let (name, key, destination): (_, _, Box<dyn Destination>) = match log.filetype {
        FileType::Regular => (
            format!("file {shown}"),
            "regular",
            Box::new(Stream::new(stream::Place::File(path()), frame(true))),
        ),
        FileType::UnixStream => (
            format!("unix_stream {shown}"),
            "unix_stream",
            Box::new(Stream::new(stream::Place::Unix(path()), frame(true))),
        ),
        FileType::UnixDgram => (
            format!("unix_dgram {shown}"),
            "unix_dgram",
            Box::new(Datagrams::new(datagrams::Place::Unix(path()), frame(true))),
        ),
        FileType::Syslog => {
            let socket = syslog_socket(log);
            let tag = tag(log.facility, log.level, &log.identity);
            let frame = Frame::new(&format!("{tag}{}", log.prefix), false);
            (
                format!("syslog {}", socket.display()),
                "syslog",
                Box::new(Datagrams::new(datagrams::Place::Unix(socket.to_owned()), frame)),
            )
        }
        FileType::Redis => {
            let settings = log.redis.clone().unwrap_or_default();
            let password = settings.password.as_ref().map(|password| {
                let read = password.read();
                read.map_err(|cause| anyhow::anyhow!("the password of Redis: {cause}"))
            });
            let name = if settings.server.contains('/') {
                format!("redis {}", settings.server)
            } else {
                format!("redis {}:{}", settings.server, settings.port)
            };
            let redis = Redis::new(settings, password.transpose()?, frame(false));
            (name, "redis", Box::new(redis))
        }
    };
    Ok((name, key, Wants::Lines(log.types.clone()), destination))
}

fn notice(notify: &Notify) -> Result<Ready> {
    let least = notify.min_severity;
    let Some(address) = &notify.cef else {
        let webhook = Webhook::new(notify)?;
        let name = format!("webhook {}", webhook.shown());
        return Ok((name, "webhook", Wants::Alerts(least), Box::new(webhook)));
    };
    let (syslog, destination): (_, Box<dyn Destination>) = match address {
        SyslogAddress::Local(path) => (
            Syslog::Local(notify.facility),
            Box::new(Datagrams::new(
                datagrams::Place::Unix(path.clone()),
                Frame::new("", false),
            )),
        ),
        SyslogAddress::Udp(host) => (
            Syslog::Remote(notify.facility),
            Box::new(Datagrams::new(
                datagrams::Place::Udp(host.clone()),
                Frame::new("", false),
            )),
        ),
        SyslogAddress::Tcp(host) => (
            Syslog::Remote(notify.facility),
            Box::new(Stream::new(stream::Place::Tcp(host.clone()), Frame::new("", true))),
        ),
    };
    Ok((format!("cef {address}"), "cef", Wants::Cef(least, syslog), destination))
}

fn syslog_socket(log: &EveLog) -> &Path {
    match log.filename.as_path() {
        path if path.as_os_str().is_empty() => Path::new(DEV_LOG),
        path => path,
    }
}

/// RFC 3164 4.1.3 MSG: what messages on this machine begin with. Syslog adds time and host.
fn tag(facility: Facility, level: Level, identity: &str) -> String {
    format!("<{}>{identity}[{}]: ", facility.priority(level), std::process::id())
}

/// What a process that gives up its rights has to keep for outputs, to connect anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// IP.
    pub(crate) internet: bool,
    /// To ask for addresses of names.
    pub(crate) names: bool,
    /// Files that are written.
    pub(crate) files: Vec<PathBuf>,
}

impl Needs {
    pub(crate) fn of(config: &Config) -> Self {
        let mut needs = Self::default();
        for log in config.eve_log.iter().filter(|log| log.enabled) {
            match log.filetype {
                FileType::Redis => needs.redis(&log.redis.clone().unwrap_or_default()),
                FileType::Regular => needs.files.push(log.filename.clone()),
                FileType::UnixStream | FileType::UnixDgram | FileType::Syslog => {}
            }
        }
        for notify in config.notify.iter().filter(|notify| notify.enabled) {
            match &notify.cef {
                Some(SyslogAddress::Local(_)) => {}
                Some(SyslogAddress::Udp(host) | SyslogAddress::Tcp(host)) => {
                    needs.internet = true;
                    needs.names |= host.parse::<std::net::SocketAddr>().is_err();
                }
                // Its address may be a secret, and there may be a proxy with a name.
                None => (needs.internet, needs.names) = (true, true),
            }
        }
        needs
    }

    fn redis(&mut self, redis: &RedisSettings) {
        if !redis.server.contains('/') {
            self.internet = true;
            self.names |= redis.server.parse::<std::net::IpAddr>().is_err();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(settings: &str) -> Needs {
        let read = Config::read(Path::new("/etc/s.toml"), settings);
        Needs::of(&read.unwrap_or_else(|problems| panic!("{problems}")))
    }

    #[test]
    fn what_is_needed_is_what_is_configured() {
        assert_eq!(needs(""), Needs::default());
        assert_eq!(
            needs("[[eve-log]]\nfiletype = \"syslog\"\n[[notify]]\ncef = \"/dev/log\"\n"),
            Needs::default()
        );
        let file = needs("[[eve-log]]\nfiletype = \"regular\"\nfilename = \"more.json\"\n");
        assert_eq!(file.files, [Path::new("/etc/more.json")]);
        for (settings, internet, names) in [
            ("[[eve-log]]\nfiletype = \"redis\"\n", true, false),
            (
                "[[eve-log]]\nfiletype = \"redis\"\nredis = { server = \"/run/redis.sock\" }\n",
                false,
                false,
            ),
            (
                "[[eve-log]]\nfiletype = \"redis\"\nredis = { server = \"db\" }\n",
                true,
                true,
            ),
            ("[[notify]]\ncef = \"udp://[::1]:514\"\n", true, false),
            ("[[notify]]\ncef = \"tcp://siem:514\"\n", true, true),
            ("[[notify]]\nwebhook = \"https://192.0.2.1/\"\n", true, true),
            (
                "[[notify]]\nenabled = false\nwebhook = \"https://192.0.2.1/\"\n",
                false,
                false,
            ),
        ] {
            let needs = needs(settings);
            assert_eq!((needs.internet, needs.names), (internet, names), "{settings}");
        }
    }
}
