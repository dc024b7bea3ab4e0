//! Where a syslog listens, and what its messages are filed under.

use std::fmt;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_facility_and_level() {
        assert_eq!(Facility::Local5.priority(Level::Info), 174);
        assert_eq!(Facility::Kern.priority(Level::Emergency), 0);
    }
}
