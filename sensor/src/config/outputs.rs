//! `[[eve-log]]` and `[[notify]]`: where events go besides files. The first has Suricata's keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Seconds;
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
    /// `stats`
    Stats,
}

impl EventType {
    fn all() -> Vec<Self> {
        vec![Self::Alert, Self::Dcom, Self::Dcerpc, Self::Anomaly, Self::Stats]
    }

    /// As EVE spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Dcom => "dcom",
            Self::Dcerpc => "dcerpc",
            Self::Anomaly => "anomaly",
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

/// A facility of syslog; Suricata's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Facility {
    Kern = 0,
    User = 1,
    Mail = 2,
    Daemon = 3,
    #[serde(alias = "security")]
    Auth = 4,
    Syslog = 5,
    Lpr = 6,
    News = 7,
    Uucp = 8,
    Cron = 9,
    Authpriv = 10,
    Ftp = 11,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    #[default]
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// A level of syslog; Suricata's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Level {
    #[serde(alias = "emergency")]
    Emergency = 0,
    #[serde(alias = "alert")]
    Alert = 1,
    #[serde(alias = "critical")]
    Critical = 2,
    #[serde(alias = "error")]
    Error = 3,
    #[serde(alias = "warning")]
    Warning = 4,
    #[serde(alias = "notice")]
    Notice = 5,
    #[default]
    #[serde(alias = "info")]
    Info = 6,
    #[serde(alias = "debug")]
    Debug = 7,
}

impl Facility {
    /// RFC 5424 6.2.1 PRI: the number that a message begins with.
    pub fn priority(self, level: Level) -> u8 {
        self as u8 * 8 + level as u8
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

/// Where a syslog listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix socket that takes datagrams.
    Local(PathBuf),
    /// A host and a port.
    Udp(String),
    /// A host and a port.
    Tcp(String),
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Udp(host) => write!(f, "udp://{host}"),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

impl Serialize for SyslogAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SyslogAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = match text.split_once("://") {
            None if text.starts_with('/') => Some(Self::Local(PathBuf::from(&text))),
            Some(("udp", host)) if has_port(host) => Some(Self::Udp(host.to_owned())),
            Some(("tcp", host)) if has_port(host) => Some(Self::Tcp(host.to_owned())),
            _ => None,
        };
        read.ok_or_else(|| {
            Error::custom(format!(
                "`{text}` is no address of a syslog\nsuch as /dev/log, udp://siem.example:514 or tcp://[2001:db8::1]:601"
            ))
        })
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| {
        let bare = !name.contains(':') || (name.starts_with('[') && name.ends_with(']'));
        !name.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// What is shown in place of a secret.
const HIDDEN: &str = "(not shown)";

/// A text that is not for everybody: written in the settings, or where else it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the settings.
    Plain(Zeroizing<String>),
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

impl Secret {
    /// The text itself. The error says where it was looked for.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read_to_string(path).map(Zeroizing::new) {
                Ok(text) => Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(Zeroizing::new(text)),
                Err(error) => Err(format!("the variable {name}: {error}")),
            },
        }
    }
}

impl Secret {
    /// The file it is in.
    fn path(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Plain(_) | Self::Env(_) => None,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str(HIDDEN),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = Elsewhere::default();
        match self {
            Self::Plain(_) => return serializer.serialize_str(HIDDEN),
            Self::File(path) => place.file = Some(path.clone()),
            Self::Env(name) => place.env = Some(name.clone()),
        }
        place.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrPlace)
    }
}

/// Where a secret is kept.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

struct TextOrPlace;

impl<'de> Visitor<'de> for TextOrPlace {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { file = \"…\" } or { env = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        match text {
            HIDDEN => Err(E::custom(format!(
                "`{HIDDEN}` stands for a text that was not printed\nwrite it, or {{ file = \"…\" }} or {{ env = \"…\" }}"
            ))),
            text => Ok(Secret::Plain(Zeroizing::new(text.to_owned()))),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Secret, M::Error> {
        match Elsewhere::deserialize(MapAccessDeserializer::new(map))? {
            Elsewhere {
                file: Some(path),
                env: None,
            } => Ok(Secret::File(path)),
            Elsewhere {
                file: None,
                env: Some(name),
            } => Ok(Secret::Env(name)),
            _ => Err(Error::custom("either `file` or `env` is expected")),
        }
    }
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
            if redis.pipelining.batch_size == 0 {
                let cause = "`batch-size` is 0".to_owned();
                complain(document, &entry, "redis", cause, "write 1 or more");
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
#   types          which lines: [\"alert\", \"dcom\", \"dcerpc\", \"anomaly\", \"stats\"]; all if left out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_facility_and_level() {
        assert_eq!(Facility::Local5.priority(Level::Info), 174);
        assert_eq!(Facility::Kern.priority(Level::Emergency), 0);
    }

    #[test]
    fn a_secret_is_read_from_where_it_is_and_never_shown() {
        let plain = Secret::Plain(Zeroizing::new("hush".to_owned()));
        assert_eq!(plain.read().unwrap().as_str(), "hush");
        assert_eq!(format!("{plain:?}"), HIDDEN);
        let file = std::env::temp_dir().join(format!("dcom-sensor-secret-{}", std::process::id()));
        std::fs::write(&file, "Bearer 12\nmore\n").unwrap();
        let read = Secret::File(file.clone()).read();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap().as_str(), "Bearer 12");
        let error = Secret::File(file.clone()).read().unwrap_err();
        assert!(error.contains(&*file.to_string_lossy()), "{error}");
        assert_eq!(
            Secret::Env("PATH".to_owned()).read().unwrap().as_str(),
            std::env::var("PATH").unwrap()
        );
        let error = Secret::Env("DCOM_SENSOR_NO_SUCH".to_owned()).read().unwrap_err();
        assert!(error.contains("DCOM_SENSOR_NO_SUCH"), "{error}");
    }
}
