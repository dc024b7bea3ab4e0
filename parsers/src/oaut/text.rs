//! Values as an analyst reads them.

use std::fmt::{self, Write as _};

use super::safe_array::{Elements, SafeArray};
use super::variant::{Decimal, Variant};

/// The most bytes of text one value becomes: twice the longest command line Windows starts.
pub const MAX_TEXT: usize = 65_536;

/// `DISP_E_PARAMNOTFOUND`, which stands for an argument left out ([MS-OAUT] 3.1.4.4.3).
const PARAM_NOT_FOUND: u32 = 0x8002_0004;

/// `value` written out, cut at [`MAX_TEXT`] bytes and marked where it is cut. About `expected` bytes will come.
pub(super) fn bounded(value: &impl fmt::Display, expected: usize) -> String {
    let mut sink = Bounded(String::with_capacity(expected.min(MAX_TEXT)));
    // The one error there can be is our own: the text is full.
    let _ = write!(sink, "{value}");
    sink.0
}

struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(boundary(text, room));
        self.0.push('…');
        Err(fmt::Error)
    }
}

/// The whole value: strings bare, numbers decimal, an argument left out as nothing, dates as ISO 8601, arrays in brackets.
impl fmt::Display for Variant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty | Self::Error(PARAM_NOT_FOUND) => Ok(()),
            Self::Null => f.write_str("null"),
            Self::I1(value) => value.fmt(f),
            Self::I2(value) => value.fmt(f),
            Self::I4(value) | Self::Int(value) => value.fmt(f),
            Self::I8(value) => value.fmt(f),
            Self::Ui1(value) => value.fmt(f),
            Self::Ui2(value) => value.fmt(f),
            Self::Ui4(value) | Self::Uint(value) => value.fmt(f),
            Self::Ui8(value) => value.fmt(f),
            Self::R4(value) => number(f64::from(*value), &value, f),
            Self::R8(value) => number(*value, value, f),
            Self::Bool(value) => value.fmt(f),
            Self::Error(code) => write!(f, "{code:#010x}"),
            Self::Currency(value) => currency(*value, f),
            Self::Date(value) => date(*value, f),
            Self::Bstr(value) => value.fmt(f),
            Self::Decimal(value) => value.fmt(f),
            Self::Unknown(None) | Self::Dispatch(None) | Self::Array(None) => f.write_str("nothing"),
            Self::Unknown(Some(pointer)) => write!(f, "IUnknown {pointer}"),
            Self::Dispatch(Some(pointer)) => write!(f, "IDispatch {pointer}"),
            Self::ByRef(value) => value.fmt(f),
            Self::Array(Some(array)) => array.fmt(f),
            Self::Record(record) => write!(f, "record of {} bytes", record.data.len()),
            Self::Other { var_type, length } => write!(f, "{var_type} of {length} bytes"),
            Self::Unread => f.write_str("?"),
        }
    }
}

impl fmt::Display for SafeArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.elements {
            Elements::Scalars { .. } => list(self.elements.iter(), f),
            Elements::Values(values) => list(values, f),
        }
    }
}

fn list(elements: impl IntoIterator<Item: fmt::Display>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("[")?;
    let mut separator = "";
    for element in elements {
        write!(f, "{separator}{element}")?;
        separator = ", ";
    }
    f.write_str("]")
}

/// A float with its own shortest digits, in powers of ten where plain digits would run on for hundreds of places.
fn number(value: f64, shown: &(impl fmt::Display + fmt::LowerExp), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-7..1e16).contains(&magnitude) && value.is_finite() {
        write!(f, "{shown:e}")
    } else {
        write!(f, "{shown}")
    }
}

/// [MS-OAUT] 2.2.24 CURRENCY: ten thousandths.
fn currency(value: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if value < 0 { "-" } else { "" };
    let magnitude = value.unsigned_abs();
    write!(f, "{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.magnitude, width = scale.saturating_add(1));
        let (whole, fraction) = digits
            .split_at_checked(digits.len().saturating_sub(scale))
            .unwrap_or((&digits, ""));
        f.write_str(whole)?;
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        Ok(())
    }
}

/// [MS-OAUT] 2.2.25 DATE: days since 1899-12-30, where the fraction is the time of day also before that day. Without a
/// zone, as the wire knows none. What is no date between the years 100 and 9999 is written as the number it is.
fn date(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !(-657_435.0..2_958_466.0).contains(&value) {
        return number(value, &value, f);
    }
    let days = integer(value.trunc());
    let milliseconds = integer((value.fract().abs() * 86_400_000.0).round());
    // Rounding may fill the day.
    let days = days.saturating_add(milliseconds / 86_400_000);
    let milliseconds = milliseconds % 86_400_000;
    let (year, month, day) = civil(days);
    let seconds = milliseconds / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    match milliseconds % 1000 {
        0 => Ok(()),
        rest => write!(f, ".{rest:03}"),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "whole numbers of a few million, and such a cast saturates"
)]
fn integer(value: f64) -> i64 {
    value as i64
}

/// The Gregorian date that many days after 1899-12-30.
fn civil(days: i64) -> (i64, i64, i64) {
    // Days counted from 0000-03-01, so that the leap day ends a year; the era is the Gregorian cycle of 400 years.
    let days = days.saturating_add(693_899);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let leap_days = (of_era / 1460)
        .saturating_sub(of_era / 36_524)
        .saturating_add(of_era / 146_096);
    let year_of_era = of_era.saturating_sub(leap_days) / 365;
    let before_year = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100);
    let of_year = of_era.saturating_sub(before_year);
    // Five months from March on have 153 days, whichever five.
    let month = of_year.saturating_mul(5).saturating_add(2) / 153;
    let before_month = month.saturating_mul(153).saturating_add(2) / 5;
    let day = of_year.saturating_sub(before_month).saturating_add(1);
    let year = era.saturating_mul(400).saturating_add(year_of_era);
    if month < 10 {
        (year, month.saturating_add(3), day)
    } else {
        (year.saturating_add(1), month.saturating_sub(9), day)
    }
}

/// The start of `text`, `room` bytes of it at most, cut between characters.
fn boundary(text: &str, room: usize) -> &str {
    let whole = (0..=room.min(text.len())).rev().find_map(|end| text.get(..end));
    whole.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oaut::Bstr;

    #[test]
    fn dates_are_iso_8601() {
        for (value, text) in [
            (0.0, "1899-12-30T00:00:00"),
            (5.25, "1900-01-04T06:00:00"),
            (2.0, "1900-01-01T00:00:00"),
            (-1.25, "1899-12-29T06:00:00"),
            (44_030.965_312_5, "2020-07-18T23:10:03"),
            (36_585.0, "2000-02-29T00:00:00"),
            (61.0, "1900-03-01T00:00:00"),
            (2_958_465.5, "9999-12-31T12:00:00"),
            (-657_434.0, "0100-01-01T00:00:00"),
            (0.999_999_999_999, "1899-12-31T00:00:00"),
            (1.000_005_787_037, "1899-12-31T00:00:00.500"),
            (1e9, "1000000000"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Variant::Date(value).to_text(), text, "{value}");
        }
    }

    #[test]
    fn money_has_four_decimals() {
        for (value, text) in [(52_500, "5.2500"), (-1, "-0.0001"), (i64::MIN, "-922337203685477.5808")] {
            assert_eq!(Variant::Currency(value).to_text(), text);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (magnitude, scale, negative, text) in [
            (0, 0, false, "0"),
            (12_345, 2, true, "-123.45"),
            (5, 4, false, "0.0005"),
            (u128::MAX >> 32, 28, false, "7.9228162514264337593543950335"),
        ] {
            let decimal = Decimal {
                magnitude,
                scale,
                negative,
            };
            assert_eq!(Variant::Decimal(decimal).to_text(), text);
        }
    }

    #[test]
    fn values_read_as_they_would_be_written() {
        let text: Vec<u8> = "cmd".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (value, shown) in [
            (Variant::Empty, ""),
            (Variant::Error(PARAM_NOT_FOUND), ""),
            (Variant::Error(0x8000_4005), "0x80004005"),
            (Variant::Null, "null"),
            (Variant::Bool(true), "true"),
            (Variant::I1(-7), "-7"),
            (Variant::R4(0.1), "0.1"),
            (Variant::R8(2.0), "2"),
            (Variant::R8(1e300), "1e300"),
            (Variant::Dispatch(None), "nothing"),
            (Variant::ByRef(Box::new(Variant::Bstr(Bstr::new(&text)))), "cmd"),
            (Variant::Unread, "?"),
        ] {
            assert_eq!(value.to_text(), shown);
        }
    }
}
