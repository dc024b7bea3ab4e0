//! Numbers as digits. Half of a log line is numbers, and `std::fmt` asks each of them for its width, sign and fill.

use std::cell::Cell;
use std::net::IpAddr;

use dcom_parsers::guid;

use super::json;
use crate::time::{self, EIGHT_DIGITS, Timestamp, digits};

/// Writes a number.
#[inline]
pub(super) fn whole(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        // Flags, results, small counts.
        Ok(digit @ 0..10) => out.push(b'0' + digit),
        _ => several_digits(out, number),
    }
}

fn several_digits(out: &mut Vec<u8>, number: u64) {
    let mut digits = u64::from_le_bytes(digits(number));
    let mut length = 8;
    if number < EIGHT_DIGITS {
        // They begin with the first that is not 0.
        let zeroes = (digits & 0x0f0f_0f0f_0f0f_0f0f).trailing_zeros() / 8;
        digits >>= 8 * zeroes;
        length -= zeroes as usize;
    } else {
        whole(out, number / EIGHT_DIGITS);
    }
    let end = out.len() + length;
    // All eight, as that is one instruction.
    out.extend_from_slice(&digits.to_le_bytes());
    out.truncate(end);
}

/// Writes a number that may be negative.
pub(super) fn signed(out: &mut Vec<u8>, number: i64) {
    let number = without_sign(out, number);
    whole(out, number);
}

/// Writes a number of thousandths.
pub(super) fn thousandths(out: &mut Vec<u8>, number: i64) {
    let number = without_sign(out, number);
    whole(out, number / 1_000);
    let mut fraction = digits(number % 1_000);
    fraction[4] = b'.';
    out.extend_from_slice(&fraction[4..]);
}

/// Writes a number of millionths.
pub(super) fn millionths(out: &mut Vec<u8>, number: i64) {
    let number = without_sign(out, number);
    whole(out, number / 1_000_000);
    let mut fraction = digits(number % 1_000_000);
    fraction[1] = b'.';
    out.extend_from_slice(&fraction[1..]);
}

/// Writes a number's sign, and gives what is left.
fn without_sign(out: &mut Vec<u8>, number: i64) -> u64 {
    if number < 0 {
        out.push(b'-');
    }
    number.unsigned_abs()
}

/// Writes `0x` and a number's hexadecimal digits, with zeroes before it up to `least`.
pub(super) fn hexadecimal(out: &mut Vec<u8>, number: u64, least: usize) {
    let half = |number: u64| guid::hexadecimal(u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default());
    let [high, low] = [number >> 32, number].map(|number| u64::from_le_bytes(half(number)));
    // As in `whole`.
    let zeroes = (number.leading_zeros() as usize / 4).min(16 - least);
    let digits = ((u128::from(low) << 64) | u128::from(high)) >> (8 * zeroes);
    out.extend_from_slice(b"0x");
    let end = out.len() + 16 - zeroes;
    out.extend_from_slice(&digits.to_le_bytes());
    out.truncate(end);
}

/// Writes two numbers with a point between them.
pub(super) fn dotted(out: &mut Vec<u8>, left: u16, right: u16) {
    whole(out, left.into());
    out.push(b'.');
    whole(out, right.into());
}

/// Writes a time as Suricata does. Lines that follow one another are mostly of one second, whose date is kept.
pub(super) fn time(out: &mut Vec<u8>, time: Timestamp) {
    thread_local! {
        static LAST: Cell<(i64, [u8; time::LENGTH])> = const { Cell::new((i64::MIN, [0; time::LENGTH])) };
    }
    let second = time.0.div_euclid(1_000_000_000);
    let (known, mut text) = LAST.get();
    if known == second {
        text[time::FRACTION].copy_from_slice(&time.fraction());
    } else {
        text = time.text();
        LAST.set((second, text));
    }
    out.extend_from_slice(&text);
}

/// Writes an address.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return json::display(out, format_args!("{address}"));
    };
    let mut text = [0; 16];
    let mut end = 0;
    for octet in address.octets() {
        let (digits, length) = OCTETS[usize::from(octet)];
        text[end..end + 4].copy_from_slice(&digits);
        end += usize::from(length);
    }
    // Without the last point.
    let end = out.len() + end - 1;
    out.extend_from_slice(&text);
    out.truncate(end);
}

/// Each octet with the point behind it, and how long that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0_u8;
    loop {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let (text, length) = &mut octets[octet as usize];
        let mut digit = if octet >= 100 {
            0
        } else if octet >= 10 {
            1
        } else {
            2
        };
        while digit < 3 {
            text[*length as usize] = b'0' + digits[digit];
            *length += 1;
            digit += 1;
        }
        *length += 1;
        if octet == u8::MAX {
            break octets;
        }
        octet += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 65_535, 1 << 51, u64::MAX] {
            assert_eq!(written(|out| whole(out, number)), number.to_string());
        }
        for number in [i64::MIN, -10, -1, 0, 1, i64::MAX] {
            assert_eq!(written(|out| signed(out, number)), number.to_string());
        }
    }

    #[test]
    fn decimals_keep_their_zeroes_and_sign() {
        assert_eq!(written(|out| thousandths(out, 0)), "0.000");
        assert_eq!(
            written(|out| millionths(out, 1_595_113_802_061_141)),
            "1595113802.061141"
        );
        assert_eq!(written(|out| millionths(out, -1_000_001)), "-1.000001");
        assert_eq!(written(|out| thousandths(out, -500)), "-0.500");
    }

    #[test]
    fn hexadecimal_is_written_as_the_standard_library_writes_it() {
        for number in [0, 9, 0x10, 0x8007_0005, 0xbed0_5b18_ecb1_3abf, u64::MAX] {
            assert_eq!(written(|out| hexadecimal(out, number, 1)), format!("{number:#x}"));
            assert_eq!(written(|out| hexadecimal(out, number, 8)), format!("0x{number:08x}"));
            assert_eq!(written(|out| hexadecimal(out, number, 16)), format!("0x{number:016x}"));
        }
    }

    #[test]
    fn times_are_written_as_they_print_whatever_came_before() {
        let first = 1_595_113_802_061_141_999;
        for nanoseconds in [
            first,
            first + 7_000,
            first,
            first + 1_000_000_000,
            -1,
            -999_999_000,
            0,
            i64::MIN,
            i64::MAX,
        ] {
            let at = Timestamp(nanoseconds);
            assert_eq!(written(|out| time(out, at)), at.to_string());
        }
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for text in [
            "0.0.0.0",
            "192.0.2.10",
            "255.255.255.255",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(written(|out| address(out, text.parse().unwrap())), text);
        }
    }
}
