//! `[[eve-log]]` and `[[notify]]`: where events go besides files. The first has Suricata's keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Seconds;
use super::secret::Secret;
use super::syslog::{Facility, Level, SyslogAddress};
use crate::document::{Document, Entry, Gravity};
use crate::severity::Severity;

/// One output for EVE lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EveLog {
    /// Is it in use?
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What sort of output it is.
    pub filetype: FileType,
    /// The socket, or the file.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub filename: PathBuf,
    /// Which lines go there.
    #[serde(default = "EventType::all")]
    pub types: Vec<EventType>,
    /// What stands before each line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Who speaks, in syslog.
    #[serde(default = "product")]
    pub identity: String,
    /// The facility, in syslog.
    #[serde(default)]
    pub facility: Facility,
    /// The level, in syslog.
    #[serde(default)]
    pub level: Level,
    /// The server and the key, in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisSettings>,
}

/// What sort of output an [`EveLog`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// A file.
    Regular,
    /// A Unix socket that takes a stream of lines.
    UnixStream,
    /// A Unix socket that takes a line a datagram.
    UnixDgram,
    /// A Redis server.
    Redis,
    /// The syslog of this machine.
    Syslog,
}

/// A kind of EVE line, by its `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// `alert`
    Alert,
    /// `dcom`
    Dcom,
    /// `dcerpc`
    Dcerpc,
    /// `anomaly`
    Anomaly,
    /// `flow`
    Flow,
    /// `stats`
    Stats,
}

impl EventType {
    fn all() -> Vec<Self> {
        vec![
            Self::Alert,
            Self::Dcom,
            Self::Dcerpc,
            Self::Anomaly,
            Self::Flow,
            Self::Stats,
        ]
    }

    /// As EVE spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Dcom => "dcom",
            Self::Dcerpc => "dcerpc",
            Self::Anomaly => "anomaly",
            Self::Flow => "flow",
            Self::Stats => "stats",
        }
    }
}

/// Where in Redis lines go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RedisSettings {
    /// An address, a name, or the path of a Unix socket.
    pub server: String,
    /// The TCP port.
    pub port: u16,
    /// What is done with a line.
    pub mode: RedisMode,
    /// The list, the channel or the stream.
    pub key: String,
    /// The most entries that a stream keeps; 0 sets no bound.
    pub stream_maxlen: u64,
    /// Is a stream cut to exactly that? It costs the server more.
    pub stream_trim_exact: bool,
    /// How many lines are sent before answers are waited for.
    pub pipelining: Pipelining,
    /// Who to log in as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// With which password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            server: "127.0.0.1".to_owned(),
            port: 6379,
            mode: RedisMode::List,
            key: "suricata".to_owned(),
            stream_maxlen: 100_000,
            stream_trim_exact: false,
            pipelining: Pipelining::default(),
            username: None,
            password: None,
        }
    }
}

/// What is done with a line in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// `LPUSH`: to the left end of a list.
    #[serde(alias = "lpush")]
    List,
    /// `RPUSH`: to the right end of a list.
    Rpush,
    /// `PUBLISH`: to those who listen.
    #[serde(alias = "publish")]
    Channel,
    /// `XADD`: to a stream, as its field `eve`.
    #[serde(alias = "xadd")]
    Stream,
}

/// How many lines are sent before answers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pipelining {
    /// More than one?
    pub enabled: bool,
    /// So many at most.
    pub batch_size: u32,
}

impl Default for Pipelining {
    fn default() -> Self {
        Self {
            enabled: true,
            batch_size: 100,
        }
    }
}

/// One place that alerts are told to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Is it in use?
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The address that alerts are posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Secret>,
    /// The syslog that is told in CEF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cef: Option<SyslogAddress>,
    /// Alerts of this severity and above are told.
    #[serde(default = "high")]
    pub min_severity: Severity,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Certificates of those who vouch for the server, in place of the system's.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub ca_file: PathBuf,
    /// How long an answer may take.
    #[serde(default = "ten")]
    pub timeout: Seconds,
    /// How often it is tried again.
    #[serde(default = "sixteen")]
    pub retries: u32,
    /// The facility, in syslog.
    #[serde(default)]
    pub facility: Facility,
}

fn yes() -> bool {
    true
}

fn high() -> Severity {
    Severity::High
}

fn ten() -> Seconds {
    Seconds(10)
}

fn sixteen() -> u32 {
    16
}

fn product() -> String {
    "dcom-sensor".to_owned()
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// Reads `[[eve-log]]`.
pub(super) fn eve_log(document: &mut Document<'_>) -> Vec<EveLog> {
    let mut all = Vec::new();
    for entry in document.sections::<EveLog>("eve-log") {
        let log = &entry.read;
        let named = !is_empty(&log.filename);
        let needs_name = matches!(
            log.filetype,
            FileType::Regular | FileType::UnixStream | FileType::UnixDgram
        );
        if needs_name && !named {
            let hint = "it is the socket's path, or the file's";
            complain(document, &entry, "filetype", "`filename` is missing".to_owned(), hint);
        }
        if log.filetype == FileType::Redis && named {
            let cause = "`filename` has no meaning in Redis".to_owned();
            complain(document, &entry, "filename", cause, "`redis.server` is the server");
        }
        if log.redis.is_some() && log.filetype != FileType::Redis {
            let cause = "`redis` has no meaning here".to_owned();
            complain(document, &entry, "redis", cause, "write filetype = \"redis\"");
        }
        if log.types.is_empty() {
            let cause = "`types` is empty, and nothing would go there".to_owned();
            complain(document, &entry, "types", cause, "leave it out, and all go there");
        }
        if let Some(redis) = &log.redis {
            for (key, is_zero) in [
                ("port", redis.port == 0),
                ("batch-size", redis.pipelining.batch_size == 0),
            ] {
                if is_zero {
                    complain(document, &entry, "redis", format!("`{key}` is 0"), "write 1 or more");
                }
            }
            if redis.username.is_some() && redis.password.is_none() {
                let cause = "`username` goes with `password`".to_owned();
                complain(
                    document,
                    &entry,
                    "redis",
                    cause,
                    "such as password = { env = \"NAME\" }",
                );
            }
        }
        all.push(entry.read);
    }
    all
}

/// Reads `[[notify]]`.
pub(super) fn notify(document: &mut Document<'_>) -> Vec<Notify> {
    let mut all = Vec::new();
    for entry in document.sections::<Notify>("notify") {
        let notify = &entry.read;
        if notify.webhook.is_some() == notify.cef.is_some() {
            let cause = "an entry has either `webhook` or `cef`".to_owned();
            document.problem(Gravity::Error, entry.place(), cause, None);
        }
        if let Some(Secret::Plain(url)) = &notify.webhook
            && !is_url(url)
        {
            let cause = "`webhook` is no address that can be posted to".to_owned();
            complain(document, &entry, "webhook", cause, "such as https://soc.example/hook");
        }
        let of_webhook = [
            ("headers", !notify.headers.is_empty()),
            ("ca_file", !is_empty(&notify.ca_file)),
        ];
        for (key, _) in of_webhook.iter().filter(|(_, set)| *set && notify.webhook.is_none()) {
            let cause = format!("`{key}` goes with `webhook`");
            complain(document, &entry, key, cause, "syslog has no such thing");
        }
        if notify.timeout.0 == 0 {
            let cause = "`timeout` is 0, and nobody answers that fast".to_owned();
            complain(document, &entry, "timeout", cause, "write 1 or more");
        }
        all.push(entry.read);
    }
    all
}

/// The paths in them, which begin where the file is.
pub(super) fn paths<'c>(eve_log: &'c mut [EveLog], notify: &'c mut [Notify]) -> impl Iterator<Item = &'c mut PathBuf> {
    let of_logs = eve_log.iter_mut().flat_map(|log| {
        let password = log.redis.as_mut().and_then(|redis| redis.password.as_mut());
        [Some(&mut log.filename), password.and_then(Secret::path)]
    });
    let of_notices = notify.iter_mut().flat_map(|notify| {
        let secrets = notify.webhook.iter_mut().chain(notify.headers.values_mut());
        secrets.map(Secret::path).chain([Some(&mut notify.ca_file)])
    });
    of_logs.chain(of_notices).flatten()
}

/// Can that be posted to?
pub(crate) fn is_url(text: &str) -> bool {
    let parsed = text.parse::<ureq::http::Uri>();
    parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

fn complain<T>(document: &mut Document<'_>, entry: &Entry<'_, T>, key: &str, cause: String, hint: &str) {
    document.problem(Gravity::Error, entry.place_of(key), cause, Some(hint.to_owned()));
}

pub(super) const ABOUT_EVE_LOG: &str = "\
# Where EVE lines go besides eve.json, in Suricata's words: [[eve-log]]
#   enabled        false: not now
#   filetype       unix_stream, unix_dgram, redis, syslog, or regular for a file
#   filename       the socket or the file; relative to this file. Of syslog: its socket, if it is not /dev/log
#   types          which lines: [\"alert\", \"dcom\", \"dcerpc\", \"anomaly\", \"flow\", \"stats\"]; all if left out
#   prefix         what stands before each line, such as \"@cee: \"
#   identity, facility, level   of syslog: \"dcom-sensor\", \"local5\", \"Info\"
# and with filetype = \"redis\" a table [eve-log.redis]:
#   server, port   \"127.0.0.1\", 6379; a server with a / is a Unix socket
#   mode           list (or lpush), rpush, channel (or publish), stream (or xadd)
#   key            the list, channel or stream: \"suricata\"
#   stream-maxlen, stream-trim-exact   what a stream keeps: about 100000 entries; 0 sets no bound
#   pipelining     { enabled = true, batch-size = 100 }: lines that are sent before answers are waited for
#   username, password
# A password is a text, { file = \"…\" } or { env = \"NAME\" }.";

pub(super) const ABOUT_NOTIFY: &str = "\
# Who is told of alerts as they come: [[notify]]
#   enabled        false: not now
#   min_severity   of this severity and above: critical, high, medium, low, informational. Default: high
#   webhook        an https:// or http:// address that each alert is posted to, as its EVE line
#   headers        of the request: { Authorization = { file = \"token\" }, X-Team = \"soc\" }
#   ca_file        certificates (PEM) that vouch for the server in place of the system's; relative to this file
#   timeout        seconds that an answer may take. Default: 10
#   retries        how often a post that failed is tried again. Default: 16
# or
#   cef            a syslog that is told in CEF: /dev/log, udp://HOST:PORT or tcp://HOST:PORT
#   facility       of its messages. Default: local5
# The webhook and headers are texts, { file = \"…\" } or { env = \"NAME\" }.";
