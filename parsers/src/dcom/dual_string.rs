//! How to reach an exporter, and as whom it runs.

use std::fmt;
use std::net::IpAddr;

use crate::error::Result;
use crate::input::Input;
use crate::ndr::Reader;
use crate::utf16;

/// [MS-DCOM] 2.2.19.3 STRINGBINDING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringBinding {
    /// `wTowerId`: the protocol sequence; 7 is `ncacn_ip_tcp`, 15 `ncacn_np`.
    pub tower_id: u16,
    /// `aNetworkAddr`: `HOST[port]`; without a port where only the resolver is meant.
    pub network_address: String,
}

impl StringBinding {
    /// Tower id of TCP.
    pub const TCP: u16 = 7;

    /// Host and TCP port, when both are there and it is TCP.
    pub fn tcp(&self) -> Option<(&str, u16)> {
        if self.tower_id != Self::TCP {
            return None;
        }
        let port = self.endpoint()?.parse().ok()?;
        Some((self.host(), port))
    }

    /// The host alone, name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let (host, _) = self.parts();
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(host)
    }

    /// The endpoint, when one is named: a port, a pipe.
    pub fn endpoint(&self) -> Option<&str> {
        self.parts().1
    }

    /// The host as an address, when it is one; the zone of an IPv6 address is left out.
    pub fn address(&self) -> Option<IpAddr> {
        let host = self.host();
        let host = host.split_once('%').map_or(host, |(address, _)| address);
        host.parse().ok()
    }

    /// The protocol sequence that `tower_id` stands for: C706 appendix I, table I-2, as [MS-RPCE] 2.1 Transport uses it.
    pub const fn protocol_sequence(&self) -> Option<&'static str> {
        protocol_sequence(self.tower_id)
    }

    /// `HOST[endpoint]`; `[::1]` alone is a host.
    fn parts(&self) -> (&str, Option<&str>) {
        let all = self.network_address.as_str();
        let split = all.strip_suffix(']').and_then(|head| head.rsplit_once('['));
        match split {
            Some((host, endpoint)) if !host.is_empty() => (host, Some(endpoint)),
            _ => (all, None),
        }
    }
}

/// The protocol sequence with this identifier, as string bindings write it: C706 appendix I, table I-2, as [MS-RPCE] 2.1
/// Transport uses it.
pub const fn protocol_sequence(tower_id: u16) -> Option<&'static str> {
    Some(match tower_id {
        0x04 => "ncacn_dnet_nsp",
        0x07 => "ncacn_ip_tcp",
        0x08 => "ncadg_ip_udp",
        0x09 => "ncacn_nb_tcp",
        0x0c => "ncacn_spx",
        0x0d => "ncacn_nb_ipx",
        0x0e => "ncadg_ipx",
        0x0f => "ncacn_np",
        0x10 => "ncalrpc",
        0x13 => "ncacn_nb_nb",
        0x15 => "ncacn_nb_xns",
        0x16 => "ncacn_at_dsp",
        0x17 => "ncadg_at_ddp",
        0x1a => "ncacn_vns_spp",
        0x1d => "ncadg_mq",
        0x1f => "ncacn_http",
        _ => return None,
    })
}

impl fmt::Display for StringBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.network_address)
    }
}

/// [MS-DCOM] 2.2.19.4 SECURITYBINDING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityBinding {
    /// `wAuthnSvc`: the security provider ([MS-RPCE] 2.2.1.1.7).
    pub authn_service: u16,
    /// `aPrincName`: the account the server runs as, or its service principal name; often empty.
    pub principal_name: String,
}

/// [MS-DCOM] 2.2.19.1 DUALSTRINGARRAY.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DualStringArray {
    /// Where the exporter or its resolver listens.
    pub string_bindings: Vec<StringBinding>,
    /// How to authenticate there.
    pub security_bindings: Vec<SecurityBinding>,
}

impl DualStringArray {
    /// Reads the packet version ([MS-DCOM] 2.2.19.1): the counts, then the 16-bit entries.
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self> {
        input.enter("DUALSTRINGARRAY");
        let count = input.u16()?;
        let security_offset = input.u16()?;
        let units = input.units(count.into())?;
        Ok(Self::from_units(&units, security_offset.into()))
    }

    /// Steps over the packet version.
    pub(super) fn skip(input: &mut Input<'_>) -> Result<Self> {
        input.enter("DUALSTRINGARRAY");
        let count = input.u16()?;
        input.u16()?;
        input.skip(usize::from(count).saturating_mul(2))?;
        Ok(Self::default())
    }

    /// Reads the IDL version ([MS-DCOM] 2.2.19.2): a conformant structure.
    pub(super) fn parse_ndr(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("DUALSTRINGARRAY");
        reader.count("aStringArray", 2, usize::from(u16::MAX))?;
        let count = reader.u16()?;
        let security_offset = reader.u16()?;
        let units = reader.units(count.into())?;
        Ok(Self::from_units(&units, security_offset.into()))
    }

    /// Bindings end at a zero unit or at the end; entries without a terminator keep what is there.
    fn from_units(units: &[u16], security_offset: usize) -> Self {
        let (strings, security) = units.split_at_checked(security_offset).unwrap_or((units, &[]));
        let mut array = Self::default();
        let mut rest = strings;
        while let [tower_id @ 1..=u16::MAX, tail @ ..] = rest {
            let (network_address, tail) = text(tail);
            array.string_bindings.push(StringBinding {
                tower_id: *tower_id,
                network_address,
            });
            rest = tail;
        }
        let mut rest = security;
        while let [authn_service @ 1..=u16::MAX, _reserved, tail @ ..] = rest {
            let (principal_name, tail) = text(tail);
            array.security_bindings.push(SecurityBinding {
                authn_service: *authn_service,
                principal_name,
            });
            rest = tail;
        }
        array
    }
}

/// A zero-terminated string and what follows its terminator.
fn text(units: &[u16]) -> (String, &[u16]) {
    let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    let (string, rest) = units.split_at_checked(end).unwrap_or((units, &[]));
    (utf16::text(string), rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().chain([0]).collect()
    }

    fn wire(strings: &[u16], security: &[u16]) -> Vec<u8> {
        let count = u16::try_from(strings.len() + security.len()).unwrap();
        let mut all = vec![count, u16::try_from(strings.len()).unwrap()];
        all.extend(strings);
        all.extend(security);
        all.into_iter().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn names_addresses_pipes_and_principals_are_told_apart() {
        let mut strings = vec![15];
        strings.extend(units("\\\\HOST[\\PIPE\\atsvc]"));
        strings.push(7);
        strings.extend(units("host[49670]"));
        strings.push(7);
        strings.extend(units("fe80::1[49670]"));
        strings.push(0);
        let mut security = vec![10, 0xffff];
        security.extend(units("NT AUTHORITY\\SYSTEM"));
        security.extend([9, 0xffff, 0, 0]);
        let bytes = wire(&strings, &security);
        let array = DualStringArray::parse(&mut Input::new(&bytes, ByteOrder::Little, "test")).unwrap();
        let tcp: Vec<_> = array.string_bindings.iter().map(StringBinding::tcp).collect();
        assert_eq!(tcp, [None, Some(("host", 49670)), Some(("fe80::1", 49670))]);
        assert_eq!(array.string_bindings[0].host(), "\\\\HOST");
        assert_eq!(array.security_bindings[0].principal_name, "NT AUTHORITY\\SYSTEM");
        assert_eq!(
            (array.security_bindings[1].authn_service, array.security_bindings.len()),
            (9, 2)
        );
    }

    #[test]
    fn addresses_of_both_families_are_read_in_every_spelling() {
        for (text, host, endpoint, address) in [
            ("192.0.2.1[135]", "192.0.2.1", Some("135"), Some("192.0.2.1")),
            ("2001:db8::1[135]", "2001:db8::1", Some("135"), Some("2001:db8::1")),
            ("[2001:db8::1][135]", "2001:db8::1", Some("135"), Some("2001:db8::1")),
            ("[2001:db8::1]", "2001:db8::1", None, Some("2001:db8::1")),
            ("fe80::1%12", "fe80::1%12", None, Some("fe80::1")),
            ("server.example", "server.example", None, None),
            ("[]", "", None, None),
            ("", "", None, None),
        ] {
            let binding = StringBinding {
                tower_id: 7,
                network_address: text.into(),
            };
            assert_eq!((binding.host(), binding.endpoint()), (host, endpoint), "{text}");
            assert_eq!(
                binding.address(),
                address.map(|address| address.parse().unwrap()),
                "{text}"
            );
            assert_eq!(binding.protocol_sequence(), Some("ncacn_ip_tcp"));
        }
    }

    #[test]
    fn an_address_without_a_port_or_with_a_wrong_one_gives_none() {
        for address in ["host", "host[]", "host[70000]", "host[135"] {
            let binding = StringBinding {
                tower_id: 7,
                network_address: address.into(),
            };
            assert_eq!(binding.tcp(), None, "{address}");
        }
    }

    #[test]
    fn a_security_offset_beyond_the_end_and_missing_terminators_lose_nothing_else() {
        let mut strings = vec![7];
        strings.extend("host[1]".encode_utf16());
        let mut bytes = wire(&strings, &[]);
        bytes[2..4].copy_from_slice(&999_u16.to_le_bytes());
        let array = DualStringArray::parse(&mut Input::new(&bytes, ByteOrder::Little, "test")).unwrap();
        assert_eq!(array.string_bindings[0].tcp(), Some(("host", 1)));
        assert_eq!(array.security_bindings, []);
    }
}
