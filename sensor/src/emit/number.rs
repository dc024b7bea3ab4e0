//! Numbers as digits. Half of a log line is numbers, and `std::fmt` asks each of them for its width, sign and fill.

use std::net::IpAddr;

use super::json;

/// Writes a number.
pub(super) fn whole(out: &mut Vec<u8>, number: u64) {
    digits(out, number, 1);
}

/// Writes a number that may be negative.
pub(super) fn signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    whole(out, number.unsigned_abs());
}

/// Writes a number of thousandths, three decimals, or of millionths, six.
pub(super) fn decimal(out: &mut Vec<u8>, number: i64, decimals: u32) {
    let one = 10_u64.pow(decimals);
    if number < 0 {
        out.push(b'-');
    }
    let number = number.unsigned_abs();
    whole(out, number / one);
    out.push(b'.');
    digits(out, number % one, decimals as usize);
}

/// Writes an address.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return json::display(out, format_args!("{address}"));
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        whole(out, octet.into());
    }
}

/// Writes a number with zeroes before it, up to `least` digits.
fn digits(out: &mut Vec<u8>, mut number: u64, least: usize) {
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while number > 0 || buffer.len() - start < least {
        start -= 1;
        buffer[start] += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    out.extend_from_slice(&buffer[start..]);
}

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
        assert_eq!(written(|out| decimal(out, 0, 3)), "0.000");
        assert_eq!(
            written(|out| decimal(out, 1_595_113_802_061_141, 6)),
            "1595113802.061141"
        );
        assert_eq!(written(|out| decimal(out, -1_000_001, 6)), "-1.000001");
        assert_eq!(written(|out| decimal(out, -500, 3)), "-0.500");
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
