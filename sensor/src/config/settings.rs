//! Sections of plain settings: each key declared once, with its default and what it means.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::emit::Format;

/// A key of a section, as `--print-config` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it means: the lines of its documentation.
    pub doc: &'static [&'static str],
    /// What a number may be, where not all numbers make sense.
    pub range: Option<(i64, i64)>,
}

/// A range as the table of keys has it.
macro_rules! range {
    () => {
        None
    };
    ($least:literal, $most:expr) => {
        Some(($least, $most))
    };
}

/// Makes a section: a struct whose fields are the keys, their defaults, and the table of keys.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, $least:literal to $most:expr)?; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )+
        }

        impl $name {
            /// Its keys, in the order in which they are shown.
            pub const KEYS: &'static [Key] = &[
                $( Key { name: stringify!($key), doc: &[$($doc),+], range: range!($($least, $most)?) }, )+
            ];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }
    };
}

/// A length of time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl Seconds {
    /// In the pipeline's unit.
    pub fn nanoseconds(self) -> i64 {
        i64::from(self.0) * 1_000_000_000
    }
}

/// What has no other bound.
const MOST: i64 = u32::MAX as i64;

section! {
    /// Windows and thresholds of the detections that count. All times are the traffic's own.
    pub struct DetectSettings {
        /// So many targets on which one source activates classes are a fan-out.
        fanout_targets: u32 = 5, 1 to MOST;
        /// Within so many seconds.
        fanout_window: Seconds = Seconds(300), 1 to MOST;
        /// So many different classes that one source asks one target for are a scan for classes.
        scan_classes: u32 = 5, 1 to MOST;
        /// Within so many seconds.
        scan_window: Seconds = Seconds(60), 1 to MOST;
        /// So many targets whose object resolver or endpoint mapper one source asks are a sweep.
        sweep_targets: u32 = 10, 1 to MOST;
        /// Within so many seconds.
        sweep_window: Seconds = Seconds(60), 1 to MOST;
        /// So many entries that an endpoint mapper lists to one source are a dump of it.
        lookup_towers: u32 = 5, 1 to MOST;
        /// An activation without a call after so many seconds has none.
        no_call_patience: Seconds = Seconds(30), 1 to MOST;
        /// DCOM and files opened by the same two machines within so many seconds belong together; the remote registry within
        /// twice as many.
        pairing_window: Seconds = Seconds(60), 1 to MOST;
        /// Calls on the object of a sealed activation are compared with the shapes of classes for so many seconds.
        sealed_patience: Seconds = Seconds(600), 1 to MOST;
        /// What goes on all day (weak levels, refusals, dumps) is told once in so many seconds for the same two machines;
        /// many targets or classes for the same source, as long as none of them is new.
        quiet: Seconds = Seconds(3600);
    }
}

section! {
    /// What is known of classes.
    pub struct CatalogSettings {
        /// Files of classes that are added to the built-in ones or replace them; relative to this file.
        files: Vec<PathBuf> = Vec::new();
    }
}

section! {
    /// What is learned of ordinary traffic.
    pub struct BaselineSettings {
        /// Where it is kept which source activates which class on which target; none when empty. Relative to this file.
        file: PathBuf = PathBuf::new();
    }
}

section! {
    /// How traffic and host logs are joined.
    pub struct HostSettings {
        /// Traces of what was seen are looked for in host logs for so many seconds after it.
        window: Seconds = Seconds(120), 1 to 86_400;
    }
}

section! {
    /// Where results go.
    pub struct OutputSettings {
        /// The folder for logs of a sensor that listens; relative to this file. Captures are logged where --log-dir says.
        log_dir: PathBuf = PathBuf::from("/var/log/dcom-sensor");
        /// Which logs are written: eve, zeek, zeek-json, ecs, ocsf.
        logs: Vec<Format> = vec![Format::Eve, Format::Zeek];
        /// Community ID's seed, from 0 to 65535: that of the other tools whose results are to be compared.
        community_id_seed: u16 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_means_and_durations_their_unit() {
        for keys in [
            DetectSettings::KEYS,
            CatalogSettings::KEYS,
            BaselineSettings::KEYS,
            HostSettings::KEYS,
            OutputSettings::KEYS,
        ] {
            for key in keys {
                assert!(key.doc.iter().all(|line| !line.trim().is_empty()), "{}", key.name);
                let timed = key.name.ends_with("_window") || key.name.ends_with("_patience");
                assert!(!timed || key.doc.concat().contains("seconds"), "{}", key.name);
            }
        }
    }
}
