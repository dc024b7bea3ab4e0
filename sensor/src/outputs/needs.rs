//! What outputs need of the system.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::{Config, FileType, RedisSettings, SyslogAddress};

/// What a process that gives up its rights has to keep for outputs, to connect anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Unix sockets.
    pub(crate) local: bool,
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
                FileType::UnixStream | FileType::UnixDgram | FileType::Syslog => needs.local = true,
            }
        }
        for notify in config.notify.iter().filter(|notify| notify.enabled) {
            match &notify.cef {
                Some(SyslogAddress::Local(_)) => needs.local = true,
                Some(SyslogAddress::Udp(host) | SyslogAddress::Tcp(host)) => {
                    needs.internet = true;
                    needs.names |= host.parse::<SocketAddr>().is_err();
                }
                // Its address may be a secret, and there may be a proxy with a name.
                None => (needs.internet, needs.names) = (true, true),
            }
        }
        needs
    }

    /// Is there anything to connect to?
    pub(crate) fn has_sockets(&self) -> bool {
        self.local || self.internet || self.names
    }

    fn redis(&mut self, redis: &RedisSettings) {
        if redis.server.contains('/') {
            self.local = true;
        } else {
            self.internet = true;
            self.names |= redis.server.parse::<IpAddr>().is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn needs(settings: &str) -> Needs {
        let read = Config::read(Path::new("/etc/s.toml"), settings);
        Needs::of(&read.unwrap_or_else(|problems| panic!("{problems}")))
    }

    #[test]
    fn what_is_needed_is_what_is_configured() {
        assert_eq!(needs(""), Needs::default());
        let local = Needs {
            local: true,
            ..Needs::default()
        };
        for settings in [
            "[[eve-log]]\nfiletype = \"syslog\"\n",
            "[[notify]]\ncef = \"/dev/log\"\n",
            "[[eve-log]]\nfiletype = \"redis\"\nredis = { server = \"/run/redis.sock\" }\n",
        ] {
            assert_eq!(needs(settings), local, "{settings}");
        }
        let file = needs("[[eve-log]]\nfiletype = \"regular\"\nfilename = \"more.json\"\n");
        assert_eq!(file.files, [Path::new("/etc/more.json")]);
        for (settings, internet, names) in [
            ("[[eve-log]]\nfiletype = \"redis\"\n", true, false),
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
