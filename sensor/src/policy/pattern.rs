//! What entries compare with: patterns, addresses, days and hours, each as it is written.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use glob::{MatchOptions, Pattern};
use ipnet::IpNet;
use serde::de::value::{I64Deserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::time::Timestamp;

const DAY: i64 = 24 * HOUR;
const HOUR: i64 = 60 * MINUTE;
const MINUTE: i64 = 60_000_000_000;

/// One value, or a list of which one must fit. Empty: anything does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf<T>(pub Vec<T>);

impl<T> Default for AnyOf<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> AnyOf<T> {
    /// Is nothing asked for?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does one of them fit, or is nothing asked for?
    pub fn fits(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.is_empty() || self.0.iter().any(fits)
    }
}

impl<T: Serialize> Serialize for AnyOf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnyOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore(PhantomData))
    }
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = AnyOf<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AnyOf<T>, E> {
        T::deserialize(StrDeserializer::new(text)).map(|one| AnyOf(vec![one]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<AnyOf<T>, E> {
        T::deserialize(I64Deserializer::new(number)).map(|one| AnyOf(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<AnyOf<T>, A::Error> {
        let list = Vec::deserialize(SeqAccessDeserializer::new(items))?;
        if list.is_empty() {
            return Err(A::Error::custom(
                "the list is empty\nleave the key out to ask for nothing",
            ));
        }
        Ok(AnyOf(list))
    }
}

/// Implements serde for what is one word in a file, and is written as it was read.
macro_rules! written {
    ($($type:ty),+) => {
        $(
            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(deserializer)?;
                    Self::read(&text).map_err(D::Error::custom)
                }
            }

            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(&self.text)
                }
            }
        )+
    };
}

written!(Words, Network, Host, Expiry, Hours);

/// A text in which `*` stands for anything and `?` for one character. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    text: String,
    pattern: Pattern,
}

impl Words {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the text is empty\nwrite `*` for any".to_owned());
        }
        // The crate knows more signs than these two; in a command line they are characters like others.
        let mut quoted = String::with_capacity(text.len() + 8);
        for character in text.to_lowercase().chars() {
            match character {
                '[' | ']' => quoted.extend(['[', character, ']']),
                '*' if quoted.ends_with('*') => {}
                other => quoted.push(other),
            }
        }
        let pattern = Pattern::new(&quoted).map_err(|error| format!("`{text}` is no pattern: {}", error.msg))?;
        Ok(Self {
            text: text.to_owned(),
            pattern,
        })
    }

    /// Does the whole of it fit?
    pub fn fit(&self, text: &str) -> bool {
        self.pattern.matches_with(&text.to_lowercase(), MatchOptions::new())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// An address, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    text: String,
    range: IpNet,
}

impl Network {
    fn read(text: &str) -> Result<Self, String> {
        let range = match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address)),
            Err(_) => text.trim().parse::<IpNet>(),
        };
        match range {
            Ok(range) => Ok(Self {
                text: text.to_owned(),
                range,
            }),
            Err(_) => Err(format!(
                "`{text}` is no address and no range of addresses\nsuch as 10.0.0.5, 10.0.0.0/8 or 2001:db8::/32"
            )),
        }
    }

    /// Is the address in it? One of IPv4 that is written as IPv6 is the same address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.range.contains(&address.to_canonical())
    }
}

/// A host: by address, by range, or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    text: String,
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    Network(Network),
    Name(Words),
}

impl Host {
    fn read(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        // No name of a host looks like that: it would fit nothing.
        let of_numbers = |c: char| c.is_ascii_digit() || matches!(c, '.' | '*' | '?' | '-');
        let of_an_address = trimmed.contains('.') && trimmed.contains(|c: char| c.is_ascii_digit());
        let numeric = trimmed.contains(['/', ':']) || (of_an_address && trimmed.chars().all(of_numbers));
        let by = if numeric {
            By::Network(Network::read(trimmed)?)
        } else {
            By::Name(Words::read(trimmed)?)
        };
        Ok(Self {
            text: text.to_owned(),
            by,
        })
    }

    /// Is it this one? Of a name with dots the part before the first is a name too.
    pub fn is(&self, address: Option<IpAddr>, names: &[&str]) -> bool {
        match &self.by {
            By::Network(network) => address.is_some_and(|address| network.holds(address)),
            By::Name(words) => names.iter().any(|name| {
                let name = name.trim_start_matches('\\').trim_end_matches('.');
                let short = name.split_once('.').map(|(short, _)| short);
                words.fit(name) || short.is_some_and(|short| words.fit(short))
            }),
        }
    }
}

/// The moment from which an entry no longer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    text: String,
    at: Timestamp,
}

impl Expiry {
    fn read(text: &str) -> Result<Self, String> {
        let midnight = || {
            let day = text.parse::<jiff::civil::Date>().ok()?;
            let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            Some(midnight.timestamp())
        };
        // What has a time of day and no zone would be read as a day.
        let is_day = text.trim().len() <= "2027-01-31".len();
        let moment = if is_day { midnight() } else { text.parse().ok() };
        match moment.and_then(|moment: jiff::Timestamp| i64::try_from(moment.as_nanosecond()).ok()) {
            Some(nanoseconds) => Ok(Self {
                text: text.to_owned(),
                at: Timestamp(nanoseconds),
            }),
            None => Err(format!(
                "`{text}` is no date\nsuch as 2027-01-31 or 2027-01-31T12:00:00Z"
            )),
        }
    }

    /// Is it over at that time?
    pub fn is_over(&self, at: Timestamp) -> bool {
        at >= self.at
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A part of the day, in UTC; over midnight when it ends before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    text: String,
    /// Nanoseconds since midnight.
    from: i64,
    to: i64,
}

impl Hours {
    fn read(text: &str) -> Result<Self, String> {
        let of_day = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u8>().ok()).flatten();
            let (hours, minutes) = (i64::from(two(hours)?), i64::from(two(minutes)?));
            let known = (hours < 24 && minutes < 60) || (hours, minutes) == (24, 0);
            known.then_some(hours * HOUR + minutes * MINUTE)
        };
        let parts = text.split_once('-');
        match parts.and_then(|(from, to)| Some((of_day(from)?, of_day(to)?))) {
            Some((from, to)) if from != to => Ok(Self {
                text: text.to_owned(),
                from,
                to,
            }),
            _ => Err(format!("`{text}` is no time of day\nsuch as 22:00-06:00, in UTC")),
        }
    }

    /// Does the time lie in it?
    pub fn hold(&self, at: Timestamp) -> bool {
        let of_day = at.0.rem_euclid(DAY);
        if self.from < self.to {
            (self.from..self.to).contains(&of_day)
        } else {
            of_day >= self.from || of_day < self.to
        }
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Day {
    #[serde(alias = "monday")]
    Mon,
    #[serde(alias = "tuesday")]
    Tue,
    #[serde(alias = "wednesday")]
    Wed,
    #[serde(alias = "thursday")]
    Thu,
    #[serde(alias = "friday")]
    Fri,
    #[serde(alias = "saturday")]
    Sat,
    #[serde(alias = "sunday")]
    Sun,
}

impl Day {
    /// The day of that time, in UTC.
    pub fn of(at: Timestamp) -> Self {
        // 1970-01-01 was a Thursday.
        match at.0.div_euclid(DAY).rem_euclid(7) {
            0 => Self::Thu,
            1 => Self::Fri,
            2 => Self::Sat,
            3 => Self::Sun,
            4 => Self::Mon,
            5 => Self::Tue,
            _ => Self::Wed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_as_a_whole_in_any_case_and_know_two_signs() {
        for (pattern, text, fits) in [
            ("MMC20.*", "mmc20.application", true),
            ("MMC20", "MMC20.Application", false),
            ("svc-?", "SVC-1", true),
            ("svc-?", "svc-12", false),
            ("*[Convert]*", "powershell [convert]::x", true),
            ("[ab]", "a", false),
            ("**a**", "cab", true),
            ("c:\\windows\\*", "C:\\Windows\\System32/cmd.exe", true),
            ("ÄRGER*", "ärgerlich", true),
            ("*", "", true),
        ] {
            assert_eq!(Words::read(pattern).unwrap().fit(text), fits, "{pattern} {text}");
        }
        assert!(Words::read(" ").is_err());
    }

    #[test]
    fn a_pattern_of_many_stars_does_not_take_long_on_a_long_text() {
        let words = Words::read(&"*a".repeat(20)).unwrap();
        assert!(!words.fit(&("a".repeat(100_000) + "b")));
    }

    #[test]
    fn hosts_are_addresses_ranges_and_names() {
        let address = |text: &str| Some(text.parse().unwrap());
        let host = |text| Host::read(text).unwrap();
        assert!(host("10.0.0.0/8").is(address("10.1.2.3"), &[]));
        assert!(host("10.0.0.0/8").is(address("::ffff:10.1.2.3"), &[]));
        assert!(!host("10.0.0.0/8").is(address("11.1.2.3"), &["10.1.2.3"]));
        assert!(host("fe80::1").is(address("fe80::1"), &[]));
        assert!(host("fs01").is(None, &["FS01.corp.example"]));
        assert!(host("fs*.corp.example").is(None, &["FS01.corp.example."]));
        assert!(!host("fs01.corp").is(None, &["FS01.corp.example"]));
        assert!(!host("*").is(None, &[]));
        assert!(host(" fs01 ").is(None, &["FS01"]) && host(" ::1").is(address("::1"), &[]));
        for wrong in [
            "10.0.0.0/33",
            "1.2.3.400",
            "10.0.0.2-10.0.0.30",
            "10.0.0.*",
            "10.0.0.5:135",
            "2001:db8::*",
        ] {
            assert!(Host::read(wrong).is_err(), "{wrong}");
        }
        for name in ["*", "10-20", "7", "srv-10.0.corp", "3com.example"] {
            assert!(Host::read(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn days_and_hours_are_those_of_utc() {
        // 2020-07-18T23:10:02Z, a Saturday.
        let at = Timestamp::new(1_595_113_802, 0);
        assert_eq!(Day::of(at), Day::Sat);
        assert_eq!(Day::of(Timestamp(-1)), Day::Wed);
        for (hours, holds) in [
            ("22:00-06:00", true),
            ("23:10-23:11", true),
            ("00:00-23:10", false),
            ("23:11-24:00", false),
        ] {
            assert_eq!(Hours::read(hours).unwrap().hold(at), holds, "{hours}");
        }
        for wrong in ["22-6", "22:00", "25:00-26:00", "10:00-10:00", "9:00-10:00"] {
            assert!(Hours::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_holds_until_its_day_begins() {
        let midnight = Timestamp::new(1_595_116_800, 0);
        let day = Expiry::read("2020-07-19").unwrap();
        assert!(day.is_over(midnight) && !day.is_over(Timestamp(midnight.0 - 1)));
        let noon = Expiry::read("2020-07-18T12:00:00+02:00").unwrap();
        assert!(noon.is_over(Timestamp::new(1_595_066_400, 0)));
        assert!(!noon.is_over(Timestamp::new(1_595_066_399, 0)));
        for wrong in ["2020-07-19T00:00:00", "2020-02-30", "soon", ""] {
            assert!(Expiry::read(wrong).is_err(), "{wrong}");
        }
    }
}
