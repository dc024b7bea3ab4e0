//! Times as exporters write them.

use jiff::fmt::strtime;

use crate::time::Timestamp;

/// A time as it stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its digits, as if they were UTC.
    pub(super) digits: Timestamp,
    /// Seconds east of UTC, where it says so.
    pub(super) zone: Option<i32>,
}

impl Written {
    /// By its own zone.
    pub(super) fn utc(self) -> Timestamp {
        Timestamp(
            self.digits
                .0
                .saturating_sub(i64::from(self.zone.unwrap_or(0)) * 1_000_000_000),
        )
    }
}

/// `2020-09-18T17:05:52.7821234Z`, `2020-09-18 13:05:52 -0400`, and the forms of spreadsheets and portals.
pub(super) fn written(text: &str) -> Option<Written> {
    let text = text.trim();
    iso(text.as_bytes())
        .or_else(|| civil(text))
        .or_else(|| since_1970(text))
}

fn iso(text: &[u8]) -> Option<Written> {
    let digits = |from: usize, count: usize| {
        text.get(from..from + count)?.iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let stands = |at: usize, what: &[u8]| text.get(at).is_some_and(|byte| what.contains(byte));
    if !(stands(4, b"-/") && stands(7, b"-/") && stands(10, b"T t") && stands(13, b":") && stands(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let small = |number: i64| i8::try_from(number).ok();
    let date = jiff::civil::Date::new(i16::try_from(year).ok()?, small(month)?, small(day)?).ok()?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if stands(at, b".,") {
        at += 1;
        let mut unit = 100_000_000;
        while let Some(digit) = digits(at, 1) {
            nanoseconds += digit * unit;
            unit /= 10;
            at += 1;
        }
    }
    let rest = text.get(at..)?.trim_ascii();
    let zone = match rest {
        b"" => None,
        b"Z" | b"z" | b"UTC" | b"GMT" => Some(0),
        [sign @ (b'+' | b'-'), zone @ ..] => Some(offset(*sign, zone)?),
        _ => return None,
    };
    let seconds = days(date) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Written {
        digits: Timestamp::new(seconds, nanoseconds),
        zone,
    })
}

/// `04:00`, `0400`, `04`.
fn offset(sign: u8, zone: &[u8]) -> Option<i32> {
    let mut number = 0;
    let mut count = 0;
    for byte in zone.iter().filter(|byte| **byte != b':') {
        number = number * 10 + i32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        count += 1;
        if count > 4 {
            return None;
        }
    }
    let minutes = match count {
        2 => number * 60,
        4 => number / 100 * 60 + number % 100,
        _ => return None,
    };
    (minutes <= 18 * 60).then_some(if sign == b'-' { -minutes * 60 } else { minutes * 60 })
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days(date: jiff::civil::Date) -> i64 {
    let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Forms of which jiff knows the parts. The American order of day and month is the exporters' own.
const FORMS: &[&str] = &[
    "%m/%d/%Y, %I:%M:%S%.f %p",
    "%m/%d/%Y %I:%M:%S%.f %p",
    "%m/%d/%Y %H:%M:%S%.f",
    "%b %d, %Y @ %H:%M:%S%.f",
    "%b %d, %Y %I:%M:%S%.f %p",
    "%b %d, %Y, %I:%M:%S%.f %p",
];

fn civil(text: &str) -> Option<Written> {
    // `… +0000`, as Sumo Logic ends its own.
    let (text, zone) = match text.rsplit_once(' ') {
        Some((before, zone)) if zone.starts_with(['+', '-']) => {
            let (sign, digits) = zone.as_bytes().split_first()?;
            (before, Some(offset(*sign, digits)?))
        }
        _ => (text, None),
    };
    FORMS.iter().find_map(|form| {
        let time = strtime::parse(form, text).and_then(|parts| parts.to_datetime()).ok()?;
        let time = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
        Some(Written {
            digits: Timestamp::new(time.as_second(), i64::from(time.subsec_nanosecond())),
            zone,
        })
    })
}

/// Seconds with or without a fraction, or milliseconds; `/Date(1600448752782)/` is what PowerShell makes of it.
fn since_1970(text: &str) -> Option<Written> {
    let text = text
        .strip_prefix("/Date(")
        .and_then(|t| t.strip_suffix(")/"))
        .unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 16 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let nanoseconds = fraction.bytes().take(9).fold((0, 100_000_000), |(sum, unit), digit| {
        (sum + i64::from(digit - b'0') * unit, unit / 10)
    });
    epoch(number, nanoseconds.0)
}

/// Seconds, milliseconds or microseconds since 1970, told by their size: seconds beyond 2001 have ten digits.
pub(super) fn epoch(number: i64, nanoseconds: i64) -> Option<Written> {
    let digits = match number {
        900_000_000..=99_999_999_999 => Timestamp::new(number, nanoseconds),
        900_000_000_000..=99_999_999_999_999 => Timestamp(number.checked_mul(1_000_000)?),
        900_000_000_000_000..=9_999_999_999_999_999 => Timestamp(number.checked_mul(1_000)?),
        _ => return None,
    };
    Some(Written { digits, zone: Some(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(written_as: &str) -> String {
        written(written_as).map_or_else(|| "none".into(), |time| format!("{} {:?}", time.utc(), time.zone))
    }

    #[test]
    fn every_exporter_s_form_is_read() {
        for (form, expected) in [
            ("2020-09-18 13:05:52", "2020-09-18T13:05:52.000000+0000 None"),
            (
                "2020-09-18T17:05:52.7821234Z",
                "2020-09-18T17:05:52.782123+0000 Some(0)",
            ),
            (
                "2020-09-18T13:05:52.782-04:00",
                "2020-09-18T17:05:52.782000+0000 Some(-14400)",
            ),
            (
                "2020-09-18 13:05:52 -0400",
                "2020-09-18T17:05:52.000000+0000 Some(-14400)",
            ),
            (
                "2020-09-18 22:50:52 +0545",
                "2020-09-18T17:05:52.000000+0000 Some(20700)",
            ),
            ("9/18/2020, 5:05:52.782 PM", "2020-09-18T17:05:52.782000+0000 None"),
            (
                "09/18/2020 17:05:52.782 +0000",
                "2020-09-18T17:05:52.782000+0000 Some(0)",
            ),
            ("Sep 18, 2020 @ 17:05:52.782", "2020-09-18T17:05:52.782000+0000 None"),
            ("1600448752.782", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("1600448752782", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("/Date(1600448752782)/", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("1969-12-31 23:59:59", "1969-12-31T23:59:59.000000+0000 None"),
            ("2020-02-29 00:00:00", "2020-02-29T00:00:00.000000+0000 None"),
        ] {
            assert_eq!(text(form), expected, "{form}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for form in [
            "",
            "-",
            "2019-02-29 00:00:00",
            "2020-09-18 24:05:52",
            "2020-09-18",
            "12",
            "2020-09-18 13:05:52 -9900",
            "1e9",
        ] {
            assert_eq!(written(form), None, "{form}");
        }
    }
}
