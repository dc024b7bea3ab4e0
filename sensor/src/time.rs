//! The only clock there is: a frame's (or a host event's) own time.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

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

    /// Whole microseconds, cut, not rounded, so that they never lie ahead of the frame.
    pub fn microseconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// Length of a time as text, and where in it the digits behind the point stand.
pub(crate) const LENGTH: usize = 31;
pub(crate) const FRACTION: Range<usize> = 20..26;

impl Timestamp {
    /// Suricata's way: `2020-07-18T23:10:02.061141+0000`.
    pub(crate) fn text(self) -> [u8; LENGTH] {
        let (seconds, microseconds) = (
            self.0.div_euclid(1_000_000_000),
            self.microseconds().rem_euclid(1_000_000),
        );
        // An i64 of nanoseconds spans 1677 to 2262, all of it within what jiff knows.
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let civil = jiff::tz::Offset::UTC.to_datetime(time);
        let small = |number: i8| i64::from(number);
        // Every line has a time: its digits are put in place without asking `fmt` for each of the parts.
        let mut text = *b"0000-00-00T00:00:00.000000+0000";
        for (place, number) in [
            (0..4, i64::from(civil.year())),
            (5..7, small(civil.month())),
            (8..10, small(civil.day())),
            (11..13, small(civil.hour())),
            (14..16, small(civil.minute())),
            (17..19, small(civil.second())),
            (FRACTION, microseconds),
        ] {
            put(&mut text[place], number);
        }
        text
    }
}

/// Puts a number's digits where they stand.
pub(crate) fn put(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

impl Timestamp {
    /// What the clock of this machine says.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_beyond_microseconds_are_cut() {
        let time = Timestamp::new(1_595_113_802, 61_141_999);
        assert_eq!(time.to_string(), "2020-07-18T23:10:02.061141+0000");
        assert_eq!(time.microseconds(), 1_595_113_802_061_141);
    }

    #[test]
    fn every_time_there_is_has_four_digits_of_year() {
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999+0000");
        assert_eq!(Timestamp(i64::MIN).to_string(), "1677-09-21T00:12:43.145224+0000");
        assert_eq!(Timestamp(i64::MAX).to_string(), "2262-04-11T23:47:16.854775+0000");
    }
}
