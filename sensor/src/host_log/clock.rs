//! Times as exporters write them.

use jiff::fmt::strtime;

use crate::time::{SECOND, Timestamp};

const DAY: i64 = 86_400 * SECOND;

/// A time as it stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its digits, as if they were UTC.
    pub(super) digits: Timestamp,
    /// Seconds east of UTC, where it says so.
    pub(super) zone: Option<i32>,
    /// Which of day and month comes first, where both are numbers and one of them can be the day alone.
    pub(super) order: Option<Order>,
    /// Its digits with the day first, where that may be meant as well.
    day_first: Option<Timestamp>,
    /// The text alone does not tell what is meant.
    doubtful: bool,
}

/// Of the day and the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    MonthFirst,
    DayFirst,
}

impl Written {
    /// A time that means one thing.
    pub(super) fn new(digits: Timestamp, zone: Option<i32>) -> Self {
        Self {
            digits,
            zone,
            order: None,
            day_first: None,
            doubtful: false,
        }
    }

    /// As the times around it tell the order of day and month.
    pub(super) fn in_order(mut self, order: Option<Order>) -> Self {
        if let (Some(day_first), Some(order)) = (self.day_first, order) {
            if order == Order::DayFirst {
                self.digits = day_first;
            }
            self.day_first = None;
            self.doubtful = false;
        }
        self
    }

    /// The same where whoever wrote it writes as its region does: America is not the only one that writes `PM`.
    pub(super) fn of_any_region(mut self) -> Self {
        self.doubtful |= self.day_first.is_some();
        self
    }

    /// Which of day and month comes first, by the time in UTC that this is in some zone.
    pub(super) fn order_by(self, utc: Timestamp) -> Option<Order> {
        let near = |digits: Timestamp| digits.since(utc).abs() <= DAY;
        match (near(self.digits), near(self.day_first?)) {
            (true, false) => Some(Order::MonthFirst),
            (false, true) => Some(Order::DayFirst),
            _ => None,
        }
    }

    /// Could it be another time altogether?
    pub(super) fn is_doubtful(self) -> bool {
        self.doubtful
    }

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
        .or_else(|| numeric(text))
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
    let mut doubtful = false;
    let zone = match rest {
        b"" => None,
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), zone @ ..] => Some(offset(*sign, zone)?),
        name => {
            let zone = abbreviated(str::from_utf8(name).ok()?)?;
            doubtful = zone.doubtful;
            zone.seconds
        }
    };
    let seconds = days(date) * 86_400 + hour * 3600 + minute * 60 + second;
    let mut written = Written::new(Timestamp::new(seconds, nanoseconds), zone);
    written.doubtful = doubtful;
    Some(written)
}

/// What an abbreviation says.
struct Abbreviated {
    seconds: Option<i32>,
    doubtful: bool,
}

/// Zones by their abbreviations in the tz database, which Splunk writes behind `_time`, in minutes east of UTC.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("SAST", 120),
    ("WAT", 60),
    ("CAT", 120),
    ("EAT", 180),
    ("IDT", 180),
    ("IST", 330),
    ("PKT", 300),
    ("WIB", 420),
    ("HKT", 480),
    ("JST", 540),
    ("KST", 540),
    ("AWST", 480),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("AKDT", -480),
    ("HST", -600),
];

/// Those that are other zones' too: China's and Cuba's, Israel's and Ireland's, the Philippines'.
const AMBIGUOUS: &[&str] = &["CST", "CDT", "IST", "PST"];

/// The zone that an abbreviation stands for; none of one that is not known.
fn abbreviated(name: &str) -> Option<Abbreviated> {
    let is_one = (2..=5).contains(&name.len()) && name.bytes().all(|letter| letter.is_ascii_uppercase());
    if !is_one || matches!(name, "AM" | "PM") {
        return None;
    }
    let known = ABBREVIATIONS.iter().find(|(known, _)| *known == name);
    Some(Abbreviated {
        seconds: known.map(|(_, minutes)| minutes * 60),
        doubtful: known.is_none() || AMBIGUOUS.contains(&name),
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

/// `9/18/2020, 5:05:52.782 PM`, `18/09/2020 17:05:52`, `18.9.2020, 17:05:52`, `2020/9/18 17:05:52`: day and month as numbers, in
/// the order of whoever exports. Between slashes it is the American one unless that cannot be, or other times tell; with `AM` and
/// `PM` and numbers as America writes them, or with a zone behind, as exporters of that one form do, there is no doubt.
fn numeric(text: &str) -> Option<Written> {
    let (text, zone) = split_zone(text)?;
    let (date, time) = text.split_once([',', ' '])?;
    let separator = date.chars().find(|letter| matches!(*letter, '/' | '.' | '-'))?;
    let mut numbers = date.split(separator).map(|number| {
        let is_number = number.len() <= 4 && number.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| number.parse::<i16>().ok()).flatten()
    });
    let (first, second, third) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    let mut parts = time.split_whitespace();
    let time = parts.next()?;
    // `PM`, `p. m.`
    let half: String = parts.flat_map(str::chars).filter(char::is_ascii_alphanumeric).collect();
    let half = (!half.is_empty()).then_some(&*half);
    let (second_of_day, nanoseconds) = time_of_day(time, half)?;
    let at = |year: i16, month: i16, day: i16| {
        let date = jiff::civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        Some(Timestamp::new(days(date) * 86_400 + second_of_day, nanoseconds))
    };
    if first >= FIRST_YEAR {
        return Some(Written::new(at(first, second, third)?, zone));
    }
    if third < FIRST_YEAR {
        return None;
    }
    let month_first = (separator == '/').then(|| at(third, first, second)).flatten();
    let day_first = at(third, second, first);
    let mut written = Written::new(month_first.or(day_first)?, zone);
    match (month_first, day_first) {
        (Some(month_first), Some(day_first)) if month_first != day_first => {
            let padded = date.split(separator).any(|number| number.starts_with('0'));
            let american = zone.is_some() || (!padded && matches!(half, Some("AM" | "PM")));
            (written.day_first, written.doubtful) = (Some(day_first), !american);
        }
        (Some(_), None) => written.order = Some(Order::MonthFirst),
        (None, Some(_)) if separator == '/' => written.order = Some(Order::DayFirst),
        _ => {}
    }
    Some(written)
}

/// A year has four digits.
const FIRST_YEAR: i16 = 1000;

/// `17:05:52.782`, `17.05.52`, or `5:05:52.782` of the half of the day behind it: seconds, and nanoseconds.
fn time_of_day(text: &str, half: Option<&str>) -> Option<(i64, i64)> {
    let (separator, fraction_behind) = if text.contains(':') {
        (':', ['.', ','])
    } else {
        ('.', [','; 2])
    };
    let (whole, fraction) = text.split_once(fraction_behind).unwrap_or((text, ""));
    let mut numbers = whole.split(separator).map(|number| {
        let is_number = number.len() <= 2 && number.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| number.parse::<i64>().ok()).flatten()
    });
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let hour = match half.map(str::to_ascii_lowercase).as_deref() {
        None => hour,
        Some("am") if (1..=12).contains(&hour) => hour % 12,
        Some("pm") if (1..=12).contains(&hour) => hour % 12 + 12,
        Some(_) => return None,
    };
    if numbers.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, nanoseconds(fraction)?))
}

/// What stands behind the point of a second.
fn nanoseconds(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (sum, _) = fraction.bytes().take(9).fold((0, 100_000_000), |(sum, unit), digit| {
        (sum + i64::from(digit - b'0') * unit, unit / 10)
    });
    Some(sum)
}

/// The zone behind a time, as Sumo Logic ends its own: `… +0000`.
fn split_zone(text: &str) -> Option<(&str, Option<i32>)> {
    match text.rsplit_once(' ') {
        Some((before, zone)) if zone.starts_with(['+', '-']) => {
            let (sign, digits) = zone.as_bytes().split_first()?;
            Some((before, Some(offset(*sign, digits)?)))
        }
        _ => Some((text, None)),
    }
}

/// Forms of which jiff knows the parts.
const FORMS: &[&str] = &[
    "%b %d, %Y @ %H:%M:%S%.f",
    "%b %d, %Y %I:%M:%S%.f %p",
    "%b %d, %Y, %I:%M:%S%.f %p",
];

fn civil(text: &str) -> Option<Written> {
    let (text, zone) = split_zone(text)?;
    FORMS.iter().find_map(|form| {
        let time = strtime::parse(form, text).and_then(|parts| parts.to_datetime()).ok()?;
        let time = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
        let digits = Timestamp::new(time.as_second(), i64::from(time.subsec_nanosecond()));
        Some(Written::new(digits, zone))
    })
}

/// Seconds with or without a fraction, or milliseconds; `/Date(1600448752782)/` is what PowerShell makes of it.
fn since_1970(text: &str) -> Option<Written> {
    let text = text
        .strip_prefix("/Date(")
        .and_then(|t| t.strip_suffix(")/"))
        .unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 16 || !whole.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    epoch(whole.parse().ok()?, nanoseconds(fraction)?)
}

/// Seconds, milliseconds or microseconds since 1970, told by their size: seconds beyond 2001 have ten digits.
pub(super) fn epoch(number: i64, nanoseconds: i64) -> Option<Written> {
    let digits = match number {
        900_000_000..=99_999_999_999 => Timestamp::new(number, nanoseconds),
        900_000_000_000..=99_999_999_999_999 => Timestamp(number.checked_mul(1_000_000)?),
        900_000_000_000_000..=9_999_999_999_999_999 => Timestamp(number.checked_mul(1_000)?),
        _ => return None,
    };
    Some(Written::new(digits, Some(0)))
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
            ("18-09-2020 17:05:52", "2020-09-18T17:05:52.000000+0000 None"),
            ("18.9.2020 17.05.52", "2020-09-18T17:05:52.000000+0000 None"),
            ("2020/9/18 17:05:52", "2020-09-18T17:05:52.000000+0000 None"),
            ("18/09/2020 05:05:52 p. m.", "2020-09-18T17:05:52.000000+0000 None"),
            ("Sep 18, 2020 @ 17:05:52.782", "2020-09-18T17:05:52.782000+0000 None"),
            ("12/31/9999 23:59:59", "2262-04-11T23:47:16.854775+0000 None"),
            ("1600448752.782", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("1600448752782", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("/Date(1600448752782)/", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            (
                "2020-09-18 19:05:52.782 CEST",
                "2020-09-18T17:05:52.782000+0000 Some(7200)",
            ),
            (
                "2020-09-18 12:05:52 EST",
                "2020-09-18T17:05:52.000000+0000 Some(-18000)",
            ),
            ("2020-09-18 17:05:52.782 GMT", "2020-09-18T17:05:52.782000+0000 Some(0)"),
            ("2020-09-18 17:05:52 XYZ", "2020-09-18T17:05:52.000000+0000 None"),
            ("1969-12-31 23:59:59", "1969-12-31T23:59:59.000000+0000 None"),
            ("2020-02-29 00:00:00", "2020-02-29T00:00:00.000000+0000 None"),
        ] {
            assert_eq!(text(form), expected, "{form}");
        }
    }

    #[test]
    fn an_abbreviation_of_several_zones_leaves_a_doubt() {
        for (zone, doubtful) in [("EST", false), ("CST", true), ("XYZ", true), ("Z", false)] {
            let written = written(&format!("2020-09-18 17:05:52 {zone}")).unwrap();
            assert_eq!(written.is_doubtful(), doubtful, "{zone}");
            assert_eq!(
                written.in_order(Some(Order::DayFirst)).is_doubtful(),
                doubtful,
                "{zone}"
            );
        }
    }

    #[test]
    fn day_and_month_are_told_apart_where_they_can_be() {
        let time = |month, day| jiff::civil::date(2020, month, day).at(17, 5, 52, 0);
        let told = |text: &str| {
            let written = written(text).unwrap();
            let date = |order| {
                let second = written.in_order(order).digits.0.div_euclid(1_000_000_000);
                jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap())
            };
            let day_first = date(Some(Order::DayFirst));
            (date(None), day_first, written.order, written.is_doubtful())
        };
        let (march, may) = (time(3, 5), time(5, 3));
        // Nobody can tell.
        for text in [
            "03/05/2020 17:05:52",
            "03/05/2020, 17:05:52",
            "3/5/2020 17:05:52",
            "03/05/2020, 5:05:52 pm",
        ] {
            assert_eq!(told(text), (march, may, None, true), "{text}");
        }
        // What is written as Americans do, or by an exporter with one form, is sure unless others of the log are not.
        for text in [
            "3/5/2020, 5:05:52 PM",
            "3/5/2020 5:05:52 PM",
            "03/05/2020 17:05:52.000 +0000",
        ] {
            assert_eq!(told(text), (march, may, None, false), "{text}");
        }
        for text in ["3/18/2020, 5:05:52 PM", "03/18/2020 17:05:52"] {
            let time = time(3, 18);
            assert_eq!(told(text), (time, time, Some(Order::MonthFirst), false), "{text}");
        }
        for text in ["18/03/2020 17:05:52", "18/3/2020, 5:05:52\u{202f}pm"] {
            let time = time(3, 18);
            assert_eq!(told(text), (time, time, Some(Order::DayFirst), false), "{text}");
        }
        assert_eq!(told("5.3.2020, 17:05:52,000"), (march, march, None, false));
        assert_eq!(told("05/05/2020 17:05:52"), (time(5, 5), time(5, 5), None, false));
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
            "2020-09-18 13:05:52 PM",
            "2020-09-18 13:05:52 or so",
            "31/31/2020 17:05:52",
            "9/18/2020 13:05:52 PM",
            "9/18/20 5:05:52 PM",
            "9/18/2020/1 5:05:52 PM",
            "9/18/2020 24:05:52",
            "1.9.18 17:05:52",
        ] {
            assert_eq!(written(form), None, "{form}");
        }
    }
}
