//! The sixteen bytes every connection-oriented PDU starts with.

use std::fmt;

use super::character_set::CharacterSet;
use crate::error::Result;
use crate::input::{ByteOrder, Input};
use crate::named::named;

/// C706 12.6.3.1 Declarations, `PTYPE`: the kind of a PDU.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ptype(pub u8);

named! {
    Ptype {
        /// A call, client to server.
        REQUEST = 0 "request";
        /// Its result.
        RESPONSE = 2 "response";
        /// Its failure.
        FAULT = 3 "fault";
        /// Opens an association and offers presentation contexts.
        BIND = 11 "bind";
        /// Answers a bind.
        BIND_ACK = 12 "bind_ack";
        /// Refuses a bind.
        BIND_NAK = 13 "bind_nak";
        /// Offers more presentation contexts.
        ALTER_CONTEXT = 14 "alter_context";
        /// Answers an `alter_context`.
        ALTER_CONTEXT_RESP = 15 "alter_context_resp";
        /// The third leg of an authentication, [MS-RPCE] 2.2.2.10 `rpc_auth_3` PDU.
        AUTH3 = 16 "rpc_auth_3";
        /// The server asks the client to close the connection.
        SHUTDOWN = 17 "shutdown";
        /// The client cancels a call.
        CANCEL = 18 "co_cancel";
        /// The client gives a call up.
        ORPHANED = 19 "orphaned";
        /// RPC over HTTP connection management, [MS-RPCH] 2.2.3.
        RTS = 20 "rts";
    }
}

impl Ptype {
    /// Does the client send it? None where both may.
    pub const fn sent_by_client(self) -> Option<bool> {
        match self {
            Self::REQUEST | Self::BIND | Self::ALTER_CONTEXT | Self::AUTH3 | Self::CANCEL | Self::ORPHANED => {
                Some(true)
            }
            Self::RESPONSE
            | Self::FAULT
            | Self::BIND_ACK
            | Self::BIND_NAK
            | Self::ALTER_CONTEXT_RESP
            | Self::SHUTDOWN => Some(false),
            _ => None,
        }
    }

    /// The fewest bytes such a PDU has, header included.
    const fn least_length(self) -> u16 {
        match self {
            Self::BIND | Self::ALTER_CONTEXT | Self::FAULT => 28,
            Self::BIND_ACK | Self::ALTER_CONTEXT_RESP | Self::REQUEST | Self::RESPONSE => 24,
            Self::BIND_NAK => 18,
            Self::RTS | Self::AUTH3 => 20,
            _ => 16,
        }
    }
}

impl fmt::Debug for Ptype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#04x}", self.0),
        }
    }
}

bitflags::bitflags! {
    /// C706 12.6.3.1 Declarations, `pfc_flags`; [MS-RPCE] 2.2.2.3 `PFC_SUPPORT_HEADER_SIGN` Flag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PfcFlags: u8 {
        /// First fragment of a call.
        const FIRST_FRAG = 0x01;
        /// Last fragment of a call.
        const LAST_FRAG = 0x02;
        /// A cancel is pending; in a bind: header signing is supported ([`CommonHeader::supports_header_signing`]).
        const PENDING_CANCEL = 0x04;
        /// The connection may carry several calls at a time.
        const CONC_MPX = 0x10;
        /// With a fault: the call was not executed.
        const DID_NOT_EXECUTE = 0x20;
        /// "Maybe" call semantics: no answer wanted.
        const MAYBE = 0x40;
        /// An object UUID follows the request header.
        const OBJECT_UUID = 0x80;
        const _ = !0;
    }
}

/// C706 12.6.3.1 Common header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommonHeader {
    /// `rpc_vers_minor`: 0 or 1.
    pub version_minor: u8,
    /// The kind of PDU.
    pub ptype: Ptype,
    /// Its flags.
    pub flags: PfcFlags,
    /// Byte order of the integers in the PDU, out of `packed_drep`.
    pub order: ByteOrder,
    /// Does `packed_drep` say EBCDIC rather than ASCII?
    pub ebcdic: bool,
    /// Length of the PDU in bytes, header and verifier included: 16 to 65,535.
    pub frag_length: u16,
    /// Length of the verifier's `auth_value`; 0 when there is no verifier.
    pub auth_length: u16,
    /// Ties requests, fragments and answers together.
    pub call_id: u32,
}

/// What the first bytes of a stream say about it: C706 12.6.3.1 Common header fields, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// They are a connection-oriented DCE/RPC header.
    Header(CommonHeader),
    /// They may become one.
    TooShort,
    /// They are not.
    Foreign,
}

impl CommonHeader {
    /// Bytes in it.
    pub const LENGTH: usize = 16;
    /// Bytes that stand before the `auth_value` of a verifier.
    pub const SEC_TRAILER_LENGTH: u16 = 8;

    /// Reads the header without judging what it says beyond version and representation.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "common header");
        if let Some(&version) = bytes.first()
            && version != 5
        {
            return Err(input.invalid("rpc_vers", version));
        }
        // Each PDU comes through here, some twice: bytes are taken together.
        let [_, version_minor, ptype, flags, representation, ..]: [u8; 8] = input.array()?;
        let order = if representation & 0xf0 == 0 {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        };
        input.set_order(order);
        Ok(Self {
            version_minor,
            ptype: Ptype(ptype),
            flags: PfcFlags::from_bits_retain(flags),
            order,
            ebcdic: representation & 0x0f == 1,
            frag_length: input.u16()?,
            auth_length: input.u16()?,
            call_id: input.u32()?,
        })
    }

    /// [MS-RPCE] 2.2.2.3 `PFC_SUPPORT_HEADER_SIGN` Flag: does the sender of a bind or of its answer say that it can sign
    /// PDU headers too? None in PDUs whose flag means something else.
    pub fn supports_header_signing(self) -> Option<bool> {
        matches!(
            self.ptype,
            Ptype::BIND | Ptype::BIND_ACK | Ptype::ALTER_CONTEXT | Ptype::ALTER_CONTEXT_RESP | Ptype::AUTH3
        )
        .then(|| self.flags.contains(PfcFlags::PENDING_CANCEL))
    }

    /// How the sender represents characters.
    pub fn characters(self) -> CharacterSet {
        if self.ebcdic {
            CharacterSet::Ebcdic
        } else {
            CharacterSet::Ascii
        }
    }

    /// Is there more that marks the first of so many bytes as a PDU than the header's own fields?
    fn is_marked(self, bytes: usize) -> bool {
        let whole = PfcFlags::FIRST_FRAG | PfcFlags::LAST_FRAG;
        let opens = matches!(self.ptype, Ptype::BIND | Ptype::BIND_ACK) && self.flags.contains(whole);
        opens || usize::from(self.frag_length) == bytes
    }

    /// Could a PDU of this kind be as long as it says, with a verifier as long as it says?
    pub(super) fn lengths_agree(self) -> bool {
        let verifier = match self.auth_length {
            0 => Some(0),
            length => length.checked_add(Self::SEC_TRAILER_LENGTH),
        };
        let header = u16::try_from(Self::LENGTH).unwrap_or(u16::MAX);
        self.frag_length >= self.ptype.least_length()
            && verifier
                .and_then(|verifier| verifier.checked_add(header))
                .is_some_and(|needed| needed <= self.frag_length)
    }
}

/// Is this the start of a connection-oriented DCE/RPC PDU, in bytes that may be anything? Told by content alone, whatever
/// the port: version 5.0 or 5.1, a known PTYPE, a data representation that exists, lengths that agree. One random
/// sixteen-byte string in about 2^40 passes.
///
/// Receivers pass over the reserved bytes of the data representation. Where they are not zero, they are no mark any more,
/// and something else has to be: a PDU that opens an association, in one fragment as they all are, or one that is as long
/// as the bytes given.
pub fn recognise(bytes: &[u8]) -> Prefix {
    let exists = |index: usize, good: fn(u8) -> bool| bytes.get(index).is_none_or(|&byte| good(byte));
    if !(exists(4, |integers| integers & 0x0f <= 1) && exists(5, |floats| floats <= 3)) {
        return Prefix::Foreign;
    }
    match recognise_next(bytes) {
        Prefix::Header(header) if !has_usual_representation(bytes) && !header.is_marked(bytes.len()) => Prefix::Foreign,
        prefix => prefix,
    }
}

/// The same where a PDU has to start, because the one before it ended there: what the receiver passes over is not looked
/// at.
pub fn recognise_next(bytes: &[u8]) -> Prefix {
    let known = |index: usize, good: fn(u8) -> bool| bytes.get(index).is_none_or(|&byte| good(byte));
    let plausible = known(0, |version| version == 5)
        && known(1, |minor| minor <= 1)
        && known(2, |ptype| Ptype(ptype).name().is_some())
        && known(4, |integers| integers <= 0x1f);
    if !plausible {
        return Prefix::Foreign;
    }
    if bytes.len() < CommonHeader::LENGTH {
        return Prefix::TooShort;
    }
    match CommonHeader::parse(bytes) {
        Ok(header) if header.lengths_agree() => Prefix::Header(header),
        _ => Prefix::Foreign,
    }
}

/// C706 14.1 Data Representation Format Label: does a header's say what exists, and nothing in its reserved bytes?
pub fn has_usual_representation(header: &[u8]) -> bool {
    matches!(header.get(4..8), Some([0x00 | 0x01 | 0x10 | 0x11, 0..=3, 0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// impacket's bind header: little-endian, 72 bytes.
    const BIND: [u8; 16] = [5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0];

    #[test]
    fn a_bind_is_recognised_at_sixteen_bytes_and_not_before() {
        for length in 0..16 {
            assert_eq!(recognise(&BIND[..length]), Prefix::TooShort, "{length} bytes");
        }
        let Prefix::Header(header) = recognise(&BIND) else {
            panic!("not recognised")
        };
        assert_eq!((header.ptype, header.frag_length, header.call_id), (Ptype::BIND, 72, 1));
        assert!(header.flags.contains(PfcFlags::FIRST_FRAG | PfcFlags::LAST_FRAG));
    }

    #[test]
    fn a_big_endian_header_reads_its_own_lengths() {
        let bytes = [5, 0, 0, 0x83, 0x00, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0, 9];
        let Prefix::Header(header) = recognise(&bytes) else {
            panic!("not recognised")
        };
        assert_eq!(
            (header.order, header.frag_length, header.call_id),
            (ByteOrder::Big, 0x0102, 9)
        );
    }

    #[test]
    fn other_protocols_are_foreign_from_their_first_bytes_on() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"\x00\x00\x00\x54\xfeSMB",
            b"\x05\x02\x00\x02",
            b"\x05\x00\x05",
        ] {
            assert_eq!(recognise(bytes), Prefix::Foreign, "{bytes:?}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_foreign() {
        let mut short = BIND;
        short[8] = 20;
        assert_eq!(recognise(&short), Prefix::Foreign);
        let mut verifier = BIND;
        verifier[10] = 60;
        assert_eq!(recognise(&verifier), Prefix::Foreign);
    }

    #[test]
    fn reserved_bytes_are_passed_over_where_something_else_marks_a_pdu() {
        let with = |ptype: u8, flags: u8, reserved: [u8; 2]| {
            let mut bytes = BIND;
            (bytes[2], bytes[3]) = (ptype, flags);
            bytes[6..8].copy_from_slice(&reserved);
            bytes
        };
        for reserved in [[1, 0], [0, 0xff]] {
            for (ptype, flags, told) in [
                (11, 3, true),
                (12, 7, true),
                (11, 1, false),
                (0, 3, false),
                (2, 3, false),
            ] {
                let bytes = with(ptype, flags, reserved);
                assert_eq!(matches!(recognise(&bytes), Prefix::Header(_)), told, "{bytes:?}");
                assert!(matches!(recognise_next(&bytes), Prefix::Header(_)));
                assert!(!has_usual_representation(&bytes));
                // As long as it says.
                let whole = [&bytes[..], &[0; 56]].concat();
                assert!(matches!(recognise(&whole), Prefix::Header(_)));
                assert_eq!(matches!(recognise(&whole[..71]), Prefix::Header(_)), told);
            }
        }
        // Nor are characters and numbers that do not exist looked at where a PDU has to start.
        let mut bytes = BIND;
        (bytes[4], bytes[5]) = (0x17, 9);
        assert_eq!(recognise(&bytes), Prefix::Foreign);
        assert!(matches!(recognise_next(&bytes), Prefix::Header(header) if header.order == ByteOrder::Little));
    }
}
