//! The only clock there is: a frame's (or a host event's) own time.

use std::fmt;

/// Nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds and nanoseconds, saturating.
    pub fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// Time from `earlier` to `self` in nanoseconds; negative when they stand the other way round.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Zeek's way: seconds with six decimals, cut, not rounded, so that it never lies ahead of the frame.
    pub fn seconds(self) -> String {
        let microseconds = self.0.div_euclid(1_000);
        format!(
            "{}.{:06}",
            microseconds.div_euclid(1_000_000),
            microseconds.rem_euclid(1_000_000)
        )
    }
}

/// Suricata's way: `2020-07-18T23:10:02.061141+0000`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An i64 of nanoseconds spans 1677 to 2262, all of it within what jiff knows.
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default();
        let civil = jiff::tz::Offset::UTC.to_datetime(time);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+0000",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            self.0.div_euclid(1_000).rem_euclid(1_000_000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations() {
        let time = Timestamp::new(1_595_113_802, 61_141_999);
        assert_eq!(time.to_string(), "2020-07-18T23:10:02.061141+0000");
        assert_eq!(time.seconds(), "1595113802.061141");
    }
}
