//! Names that hosts are given on the wire beside RPC: answers of name servers (DNS) and of address servers (DHCP).
//!
//! LLMNR and `NetBIOS` names are not read: whoever answers there may answer anything, and attackers do.

use std::net::IpAddr;

use dcom_parsers::{dhcp, dns};

use crate::decode::Datagram;

/// Are such answers read? Only those who join host logs ask whose an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NameAnswers {
    /// They are.
    Read,
    /// They are not looked at.
    #[default]
    PassedOver,
}

const DNS: u16 = 53;
/// RFC 2131 4.1: servers' and clients' ports.
const DHCP: [u16; 2] = [67, 68];

/// May a datagram be such an answer?
#[inline]
pub(crate) fn is_answer(datagram: &Datagram<'_>) -> bool {
    let (from, to) = (datagram.source.port, datagram.destination.port);
    from == DNS || (from == DHCP[0] && DHCP.contains(&to))
}

/// Names and addresses that it tells. What is damaged tells none.
pub(crate) fn read(datagram: &Datagram<'_>) -> Vec<(String, IpAddr)> {
    if datagram.source.port == DNS {
        return dns::addresses(datagram.payload).unwrap_or_default();
    }
    let told = dhcp::acknowledged(datagram.payload).ok().flatten();
    told.into_iter().map(|(name, address)| (name, address.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::At;
    use crate::decode::{Endpoint, VlanTags};

    #[test]
    fn answers_are_told_by_their_ports() {
        let asked = |from: u16, to: u16| {
            let end = |port| Endpoint {
                address: [10, 0, 0, 1].into(),
                port,
            };
            is_answer(&Datagram {
                at: At::default(),
                vlan: VlanTags::default(),
                tunnel: None,
                source: end(from),
                destination: end(to),
                payload: &[],
                cut: 0,
                length: 0,
            })
        };
        assert!(asked(53, 49_000) && asked(67, 68) && asked(67, 67));
        assert!(!asked(49_000, 53) && !asked(68, 67) && !asked(67, 9) && !asked(5355, 49_000));
    }
}
