//! The only clock there is: a frame's (or a host event's) own time.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

/// A second, in nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds and nanoseconds, saturating.
    pub fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
    }

    /// Time from `earlier` to `self` in nanoseconds; negative when they stand the other way round.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many seconds later, saturating.
    #[must_use]
    pub fn later(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(i64::from(seconds) * SECOND))
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
        let seconds = self.0.div_euclid(1_000_000_000);
        // An i64 of nanoseconds spans 1677 to 2262, all of it within what jiff knows.
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let civil = jiff::tz::Offset::UTC.to_datetime(time);
        let row = |first: i16, second: i8, third: i8| {
            let number = (i64::from(first) * 100 + i64::from(second)) * 100 + i64::from(third);
            digits(number.unsigned_abs())
        };
        let [y0, y1, y2, y3, m0, m1, d0, d1] = row(civil.year(), civil.month(), civil.day());
        let [_, _, h0, h1, n0, n1, s0, s1] = row(civil.hour().into(), civil.minute(), civil.second());
        let [f0, f1, f2, f3, f4, f5] = self.fraction();
        [
            y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'.', f0, f1, f2, f3,
            f4, f5, b'+', b'0', b'0', b'0', b'0',
        ]
    }

    /// The digits behind the point.
    pub(crate) fn fraction(self) -> [u8; 6] {
        let [_, _, fraction @ ..] = digits(self.0.rem_euclid(1_000_000_000).unsigned_abs() / 1_000);
        fraction
    }
}

/// The first number that has more than eight digits.
pub(crate) const EIGHT_DIGITS: u64 = 100_000_000;

/// The last eight decimal digits of a number, all at a time: every line has a dozen numbers and a time.
pub(crate) fn digits(number: u64) -> [u8; 8] {
    let number = number % EIGHT_DIGITS;
    // Halves of four digits, quarters of two, then each in a byte of its own, the first lowest. What is divided is small
    // enough for a product and a shift.
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | ((quarters - tens * 10) << 8);
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
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
    fn digits_are_those_of_the_standard_library() {
        for number in (0..10_000).map(|half| half * 10_000 + half) {
            assert_eq!(digits(number), *format!("{number:08}").as_bytes());
        }
        assert_eq!(digits(u64::MAX), *b"09551615");
    }

    #[test]
    fn every_time_there_is_has_four_digits_of_year() {
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999+0000");
        assert_eq!(Timestamp(i64::MIN).to_string(), "1677-09-21T00:12:43.145224+0000");
        assert_eq!(Timestamp(i64::MAX).to_string(), "2262-04-11T23:47:16.854775+0000");
    }
}
