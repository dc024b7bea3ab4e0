//! One whole PDU.

use super::auth::SecTrailer;
use super::bind::{Bind, BindAck, BindNak};
use super::call::{Fault, Request, Response};
use super::common_header::{CommonHeader, PfcFlags, Ptype};
use super::rts::Rts;
use crate::error::Result;
use crate::input::Input;

/// What a PDU says, by kind: C706 12.6.4 Connection-oriented PDU definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// `bind`.
    Bind(Bind),
    /// `bind_ack`.
    BindAck(BindAck),
    /// `bind_nak`.
    BindNak(BindNak<'a>),
    /// `alter_context`.
    AlterContext(Bind),
    /// `alter_context_resp`.
    AlterContextResp(BindAck),
    /// `rpc_auth_3`: all it says stands in the verifier.
    Auth3,
    /// `request`.
    Request(Request<'a>),
    /// `response`.
    Response(Response<'a>),
    /// `fault`.
    Fault(Fault<'a>),
    /// `shutdown`.
    Shutdown,
    /// `co_cancel`.
    Cancel,
    /// `orphaned`.
    Orphaned,
    /// A kind whose body is not read here: `rts` ([`Pdu::rts`]), or one that the specifications do not know.
    Other(&'a [u8]),
}

/// One connection-oriented PDU: C706 12.6.4 Connection-oriented PDU definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu<'a> {
    /// Its header.
    pub header: CommonHeader,
    /// What it says.
    pub body: Body<'a>,
    /// Who vouches for it.
    pub verifier: Option<SecTrailer<'a>>,
}

impl<'a> Pdu<'a> {
    /// Reads a PDU out of exactly `frag_length` bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let header = CommonHeader::parse(bytes)?;
        let (body, verifier) = SecTrailer::split(header, bytes)?;
        Ok(Self {
            header,
            body: Body::parse(header, body)?,
            verifier,
        })
    }

    /// What an `rts` PDU says about its RPC over HTTP connection; None for other kinds.
    pub fn rts(&self) -> Option<Result<Rts>> {
        match self.body {
            Body::Other(body) if self.header.ptype == Ptype::RTS => Some(Rts::parse(body, self.header.order)),
            _ => None,
        }
    }
}

impl<'a> Body<'a> {
    /// Reads what a PDU says out of its bytes up to padding and verifier. Also for one whose end is lost: a stub is then
    /// as long as what there is of it.
    pub fn parse(header: CommonHeader, bytes: &'a [u8]) -> Result<Self> {
        let mut input = Input::new(bytes, header.order, header.ptype.name().unwrap_or("pdu"));
        input.skip(CommonHeader::LENGTH)?;
        Ok(match header.ptype {
            Ptype::BIND => Self::Bind(Bind::parse(&mut input)?),
            Ptype::BIND_ACK => Self::BindAck(BindAck::parse(&mut input, header.characters())?),
            Ptype::BIND_NAK => Self::BindNak(BindNak::parse(&mut input)?),
            Ptype::ALTER_CONTEXT => Self::AlterContext(Bind::parse(&mut input)?),
            Ptype::ALTER_CONTEXT_RESP => Self::AlterContextResp(BindAck::parse(&mut input, header.characters())?),
            Ptype::AUTH3 => Self::Auth3,
            Ptype::REQUEST => Self::Request(Request::parse(
                &mut input,
                header.flags.contains(PfcFlags::OBJECT_UUID),
            )?),
            Ptype::RESPONSE => Self::Response(Response::parse(&mut input)?),
            Ptype::FAULT => Self::Fault(Fault::parse(&mut input)?),
            Ptype::SHUTDOWN => Self::Shutdown,
            Ptype::CANCEL => Self::Cancel,
            Ptype::ORPHANED => Self::Orphaned,
            _ => Self::Other(input.rest()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Guid;
    use crate::rpce::{BindTimeFeatures, ContextResult, SyntaxId, bind_time_features};

    /// Puts a PDU together in either byte order, so that the same facts can be read from both.
    struct Writer {
        bytes: Vec<u8>,
        big: bool,
    }

    impl Writer {
        fn new(big: bool, ptype: Ptype, flags: u8) -> Self {
            let mut writer = Self {
                bytes: vec![5, 0, ptype.0, flags, if big { 0 } else { 0x10 }, 0, 0, 0],
                big,
            };
            writer.u16(0).u16(0).u32(7);
            writer
        }
        fn u8(&mut self, value: u8) -> &mut Self {
            self.bytes.push(value);
            self
        }
        fn u16(&mut self, value: u16) -> &mut Self {
            self.bytes.extend(if self.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
            self
        }
        fn u32(&mut self, value: u32) -> &mut Self {
            self.bytes.extend(if self.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
            self
        }
        fn guid(&mut self, guid: Guid) -> &mut Self {
            self.u32(guid.data1).u16(guid.data2).u16(guid.data3);
            self.raw(&guid.data4)
        }
        fn raw(&mut self, bytes: &[u8]) -> &mut Self {
            self.bytes.extend(bytes);
            self
        }
        fn verifier(&mut self, pad: u8, level: u8, value: &[u8]) -> &mut Self {
            self.raw(&vec![0xbb; pad.into()])
                .u8(10)
                .u8(level)
                .u8(pad)
                .u8(0)
                .u32(79_231)
                .raw(value);
            let length = u16::try_from(value.len()).unwrap();
            let length = if self.big {
                length.to_be_bytes()
            } else {
                length.to_le_bytes()
            };
            self.bytes[10..12].copy_from_slice(&length);
            self
        }
        fn finish(&mut self) -> Vec<u8> {
            let length = u16::try_from(self.bytes.len()).unwrap();
            let length = if self.big {
                length.to_be_bytes()
            } else {
                length.to_le_bytes()
            };
            self.bytes[8..10].copy_from_slice(&length);
            self.bytes.clone()
        }
    }

    const INTERFACE: Guid = Guid::com(0x1a0);
    const NDR20: Guid = Guid::new(0x8a88_5d04, 0x1ceb, 0x11c9, [0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60]);

    fn bodies(pdu: &[u8]) -> (Body<'_>, Option<SecTrailer<'_>>) {
        let pdu = Pdu::parse(pdu).unwrap();
        (pdu.body, pdu.verifier)
    }

    #[test]
    fn a_bind_reads_the_same_in_both_byte_orders() {
        let write = |big| {
            Writer::new(big, Ptype::BIND, 3)
                .u16(5840)
                .u16(5840)
                .u32(0)
                .u8(2)
                .u8(0)
                .u16(0)
                .u16(0)
                .u8(1)
                .u8(0)
                .guid(INTERFACE)
                .u32(0)
                .guid(NDR20)
                .u32(2)
                .u16(1)
                .u8(1)
                .u8(0)
                .guid(INTERFACE)
                .u32(0)
                .guid(Guid::new(0x6cb7_1c2c, 0x9812, 0x4540, [3, 0, 0, 0, 0, 0, 0, 0]))
                .u32(1)
                .finish()
        };
        let (little, big) = (write(false), write(true));
        assert_eq!(bodies(&little), bodies(&big));
        let Body::Bind(bind) = bodies(&big).0 else {
            panic!("not a bind")
        };
        assert_eq!(bind.max_recv_frag, 5840);
        assert_eq!(
            bind.contexts[0].abstract_syntax,
            SyntaxId {
                uuid: INTERFACE,
                version: 0
            }
        );
        assert!(!bind.contexts[0].is_bind_time_features());
        assert!(bind.contexts[1].is_bind_time_features());
        assert_eq!(
            bind_time_features(bind.contexts[1].transfer_syntaxes[0]),
            Some(BindTimeFeatures::SECURITY_CONTEXT_MULTIPLEXING | BindTimeFeatures::KEEP_CONNECTION_ON_ORPHAN)
        );
    }

    #[test]
    fn bind_ack_big_endian_is_read() {
        let write = |big| {
            Writer::new(big, Ptype::BIND_ACK, 3)
                .u16(5840)
                .u16(5840)
                .u32(0x1234)
                .u16(4)
                .raw(b"135\0")
                .raw(&[0; 2])
                .u8(2)
                .u8(0)
                .u16(0)
                .u16(ContextResult::ACCEPTANCE)
                .u16(0)
                .guid(NDR20)
                .u32(2)
                .u16(ContextResult::PROVIDER_REJECTION)
                .u16(2)
                .guid(Guid::NULL)
                .u32(0)
                .finish()
        };
        let (little, big) = (write(false), write(true));
        assert_eq!(bodies(&little), bodies(&big));
        let Body::BindAck(ack) = bodies(&big).0 else {
            panic!("not a bind_ack")
        };
        assert_eq!((ack.secondary_address.as_str(), ack.assoc_group_id), ("135", 0x1234));
        assert_eq!(ack.results[1].result, ContextResult::PROVIDER_REJECTION);
        assert_eq!(ack.results[0].transfer_syntax.version_text(), "2.0");
    }

    #[test]
    fn the_stub_ends_before_padding_and_verifier() {
        let pdu = Writer::new(false, Ptype::REQUEST, 0x83)
            .u32(5)
            .u16(2)
            .u16(6)
            .guid(INTERFACE)
            .raw(b"stub!")
            .verifier(3, 6, &[0xee; 16])
            .finish();
        let (body, verifier) = bodies(&pdu);
        let Body::Request(request) = body else {
            panic!("not a request")
        };
        assert_eq!((request.stub, request.opnum, request.context_id), (&b"stub!"[..], 6, 2));
        assert_eq!(request.object, Some(INTERFACE));
        let verifier = verifier.unwrap();
        assert_eq!(
            (verifier.auth_type, verifier.auth_level, verifier.auth_pad_length),
            (10, 6, 3)
        );
        assert_eq!((verifier.auth_context_id, verifier.auth_value.len()), (79_231, 16));
    }

    #[test]
    fn an_auth_length_beyond_the_pdu_is_named() {
        let mut pdu = Writer::new(false, Ptype::REQUEST, 3).u32(0).u16(0).u16(0).finish();
        pdu[10] = 0xff;
        let error = Pdu::parse(&pdu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sec_trailer: `auth_length` is 0xff, which is not valid (offset 0)"
        );
    }

    #[test]
    fn a_fault_without_reserved_bytes_keeps_its_status() {
        let pdu = Writer::new(false, Ptype::FAULT, 3).u32(0).u16(1).u16(0).u32(5).finish();
        let Body::Fault(fault) = bodies(&pdu).0 else {
            panic!("not a fault")
        };
        assert_eq!((fault.status, fault.stub), (5, &[][..]));
    }

    #[test]
    fn more_contexts_claimed_than_there_are_is_an_error_that_names_the_place() {
        let pdu = Writer::new(false, Ptype::BIND, 3)
            .u16(0)
            .u16(0)
            .u32(0)
            .u8(255)
            .u8(0)
            .u16(0)
            .finish();
        assert_eq!(
            Pdu::parse(&pdu).unwrap_err().to_string(),
            "p_cont_elem_t: 2 bytes needed, 0 there (offset 28)"
        );
    }

    #[test]
    fn a_bind_nak_keeps_reason_versions_and_extended_error() {
        use crate::input::ByteOrder;
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = crate::testing::pdu(order, Ptype::BIND_NAK, 3, |body| {
                let signature = Guid::parse("90740320-fad0-11d3-82d7-009027b130ab").unwrap();
                body.u16(8).u8(1).raw(&[5, 0]).align(4).guid(signature).raw(b"eerr");
            });
            let Body::BindNak(nak) = bodies(&bytes).0 else {
                panic!("not a bind_nak")
            };
            assert_eq!(nak.reason.name(), Some("authentication_type_not_recognized"));
            assert_eq!((nak.versions, nak.extended_error), (vec![(5, 0)], Some(&b"eerr"[..])));
        }
        let short = Writer::new(false, Ptype::BIND_NAK, 3).u16(1).finish();
        let Body::BindNak(nak) = bodies(&short).0 else {
            panic!("not a bind_nak")
        };
        assert_eq!((nak.reason.0, nak.versions, nak.extended_error), (1, vec![], None));
    }

    #[test]
    fn a_fault_tells_its_cancels_and_its_extended_error() {
        let pdu = Writer::new(false, Ptype::FAULT, 3)
            .u32(4)
            .u16(1)
            .u8(2)
            .u8(1)
            .u32(0x1c00_0009)
            .u32(0)
            .raw(b"eerr")
            .finish();
        let Body::Fault(fault) = bodies(&pdu).0 else {
            panic!("not a fault")
        };
        assert_eq!(
            (fault.cancel_count, fault.alloc_hint, fault.extended_error()),
            (2, 4, Some(&b"eerr"[..]))
        );
    }

    #[test]
    fn an_rts_pdu_is_read_on_request() {
        let pdu = Writer::new(true, Ptype::RTS, 3).u16(1).u16(0).finish();
        let pdu = Pdu::parse(&pdu).unwrap();
        assert_eq!(pdu.rts().unwrap().unwrap().flags, crate::rpce::RtsFlags::PING);
        let request = Writer::new(false, Ptype::REQUEST, 3).u32(0).u32(0).finish();
        assert_eq!(Pdu::parse(&request).unwrap().rts(), None);
    }

    #[test]
    fn an_ebcdic_server_names_its_endpoint_and_grants_features() {
        let mut pdu = Writer::new(true, Ptype::BIND_ACK, 7)
            .u32(0)
            .u32(0)
            .u16(4)
            .raw(&[0xf1, 0xf3, 0xf5, 0])
            .raw(&[0; 2])
            .u8(1)
            .u8(0)
            .u16(0)
            .u16(3)
            .u16(2)
            .guid(Guid::NULL)
            .u32(0)
            .finish();
        pdu[4] |= 1;
        let read = Pdu::parse(&pdu).unwrap();
        assert_eq!(read.header.supports_header_signing(), Some(true));
        let Body::BindAck(ack) = read.body else {
            panic!("not a bind_ack")
        };
        assert_eq!(ack.secondary_address, "135");
        assert_eq!(
            ack.results[0].features(),
            Some(BindTimeFeatures::KEEP_CONNECTION_ON_ORPHAN)
        );
        let request = Writer::new(false, Ptype::REQUEST, 7).u32(0).u32(0).finish();
        assert_eq!(CommonHeader::parse(&request).unwrap().supports_header_signing(), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Pdu::parse(&bytes);
        }

        #[test]
        fn any_body_is_read_or_refused(ptype in 0_u8..21, flags: u8, auth in 0_u16..64, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut pdu = Writer::new(false, Ptype(ptype), flags).raw(&body).finish();
            pdu[10..12].copy_from_slice(&auth.to_le_bytes());
            let _ = Pdu::parse(&pdu);
        }
    }
}
