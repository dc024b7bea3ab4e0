//! How to reach an exporter, and as whom it runs.

use std::fmt;

use crate::error::Result;
use crate::input::Input;
use crate::ndr::Reader;

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
        let (host, rest) = self.network_address.rsplit_once('[')?;
        let port = rest.strip_suffix(']')?.parse().ok()?;
        Some((host, port))
    }

    /// The host alone, name or address.
    pub fn host(&self) -> &str {
        match self.network_address.rsplit_once('[') {
            Some((host, endpoint)) if endpoint.ends_with(']') => host,
            _ => &self.network_address,
        }
    }
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
        let mut entries = input.sub(usize::from(count).saturating_mul(2))?;
        let units = (0..count).map(|_| entries.u16()).collect::<Result<Vec<_>>>()?;
        Ok(Self::from_units(&units, security_offset.into()))
    }

    /// Reads the IDL version ([MS-DCOM] 2.2.19.2): a conformant structure.
    pub(super) fn parse_ndr(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("DUALSTRINGARRAY");
        reader.count("aStringArray", 2, usize::from(u16::MAX))?;
        let count = reader.u16()?;
        let security_offset = reader.u16()?;
        let units = (0..count).map(|_| reader.u16()).collect::<Result<Vec<_>>>()?;
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
    (String::from_utf16_lossy(string), rest.get(1..).unwrap_or_default())
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
