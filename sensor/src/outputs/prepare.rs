//! Outputs out of the settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::courier::{self, Destination};
use super::datagrams::{self, Datagrams};
use super::frame::Frame;
use super::queue::{MOST_WAITING, Pace, Queue};
use super::redis::Redis;
use super::stream::{self, Stream};
use super::webhook::Webhook;
use super::{Output, Outputs, Syslog, Wants, tag};
use crate::config::{Config, EveLog, FileType, Notify, SyslogAddress};

/// Where the system's syslog listens.
const DEV_LOG: &str = "/dev/log";

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
