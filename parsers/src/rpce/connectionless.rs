//! Connectionless DCE/RPC: one PDU per UDP datagram, version 4.

use std::fmt;

use crate::error::{ErrorKind, Result};
use crate::guid::Guid;
use crate::input::{ByteOrder, Input};
use crate::named::named;

/// C706 12.5.2 PDU Types of the connectionless protocol: the kind of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DgPtype(pub u8);

named! {
    DgPtype {
        /// A call, client to server.
        REQUEST = 0 "request";
        /// The client asks how its call is doing.
        PING = 1 "ping";
        /// A call's result.
        RESPONSE = 2 "response";
        /// A call's failure while it ran.
        FAULT = 3 "fault";
        /// Answer to a ping: the call is being worked on.
        WORKING = 4 "working";
        /// Answer to a ping: there is no such call.
        NOCALL = 5 "nocall";
        /// The call was refused before it ran.
        REJECT = 6 "reject";
        /// The client has the response.
        ACK = 7 "ack";
        /// The client cancels a call.
        CL_CANCEL = 8 "cl_cancel";
        /// A fragment has arrived.
        FACK = 9 "fack";
        /// Answer to a cancel.
        CANCEL_ACK = 10 "cancel_ack";
    }
}

impl DgPtype {
    /// Does the client send it? None where both may.
    pub const fn sent_by_client(self) -> Option<bool> {
        match self {
            Self::REQUEST | Self::PING | Self::ACK | Self::CL_CANCEL => Some(true),
            Self::RESPONSE | Self::FAULT | Self::WORKING | Self::NOCALL | Self::REJECT | Self::CANCEL_ACK => {
                Some(false)
            }
            _ => None,
        }
    }

    /// The fewest bytes its body has.
    const fn least_body(self) -> u16 {
        match self {
            Self::FAULT | Self::REJECT => 4,
            Self::CL_CANCEL => 8,
            Self::CANCEL_ACK => 12,
            _ => 0,
        }
    }
}

impl fmt::Debug for DgPtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#04x}", self.0),
        }
    }
}

bitflags::bitflags! {
    /// C706 12.5.2.3 First Set of PDU Flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DgFlags: u8 {
        /// The last fragment.
        const LAST_FRAG = 0x02;
        /// One of several fragments.
        const FRAG = 0x04;
        /// No `fack` is wanted for it.
        const NO_FACK = 0x08;
        /// "Maybe" call semantics: no answer wanted.
        const MAYBE = 0x10;
        /// The call may be run twice.
        const IDEMPOTENT = 0x20;
        /// A broadcast.
        const BROADCAST = 0x40;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// C706 12.5.2.4 Second Set of PDU Flags, [MS-RPCE] 2.2.3.3 `PF2_UNRELATED` Flag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DgFlags2: u8 {
        /// A cancel was pending at the end of the call.
        const CANCEL_PENDING = 0x02;
        /// The call does not wait for those before it.
        const UNRELATED = 0x04;
        const _ = !0;
    }
}

/// C706 12.5.1 The Connectionless RPC PDU header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DgHeader {
    /// The kind of PDU.
    pub ptype: DgPtype,
    /// Its flags.
    pub flags: DgFlags,
    /// Its further flags.
    pub flags2: DgFlags2,
    /// Byte order of the integers in the PDU, out of `drep`.
    pub order: ByteOrder,
    /// Does `drep` say EBCDIC rather than ASCII?
    pub ebcdic: bool,
    /// `serial_hi` and `serial_lo`: counts the PDUs of a call, repeated ones too.
    pub serial: u16,
    /// The object, if one is called.
    pub object: Option<Guid>,
    /// The interface. Unlike in the connection-oriented protocol every PDU names it.
    pub interface: Guid,
    /// `if_vers`: major in the low half, minor in the high half.
    pub interface_version: u32,
    /// `act_id`: the client's thread of calls; ties the PDUs of a call together, with `sequence`.
    pub activity: Guid,
    /// When the server started; 0 when the client does not know.
    pub server_boot: u32,
    /// `seqnum`: which call of the activity.
    pub sequence: u32,
    /// Which operation of the interface.
    pub opnum: u16,
    /// Where the server may look the interface up; 0xffff when unset.
    pub interface_hint: u16,
    /// Where it may look the activity up; 0xffff when unset.
    pub activity_hint: u16,
    /// Length of the body, 0 to 65,535.
    pub length: u16,
    /// `fragnum`: 0 for the first fragment.
    pub fragment: u16,
    /// `auth_proto`: the security provider; 0 when there is no verifier.
    pub auth_service: u8,
}

impl DgHeader {
    /// Bytes in it.
    pub const LENGTH: usize = 80;

    /// Reads the header without judging what it says beyond version and representation.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "connectionless header");
        let version = input.u8()?;
        if version != 4 {
            return Err(input.invalid("rpc_vers", version));
        }
        let ptype = DgPtype(input.u8()?);
        let flags = DgFlags::from_bits_retain(input.u8()?);
        let flags2 = DgFlags2::from_bits_retain(input.u8()?);
        let representation = input.u8()?;
        input.skip(2)?;
        let order = if representation & 0xf0 == 0 {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        };
        input.set_order(order);
        let serial_hi = input.u8()?;
        let object = Some(input.guid()?).filter(|object| !object.is_null());
        let interface = input.guid()?;
        let activity = input.guid()?;
        let server_boot = input.u32()?;
        let interface_version = input.u32()?;
        let sequence = input.u32()?;
        let opnum = input.u16()?;
        let interface_hint = input.u16()?;
        let activity_hint = input.u16()?;
        let length = input.u16()?;
        let fragment = input.u16()?;
        let auth_service = input.u8()?;
        let serial_lo = input.u8()?;
        Ok(Self {
            ptype,
            flags,
            flags2,
            order,
            ebcdic: representation & 0x0f == 1,
            serial: u16::from_be_bytes([serial_hi, serial_lo]),
            object,
            interface,
            interface_version,
            activity,
            server_boot,
            sequence,
            opnum,
            interface_hint,
            activity_hint,
            length,
            fragment,
            auth_service,
        })
    }

    /// Is this PDU all of its request or response?
    pub fn is_whole(&self) -> bool {
        !self.flags.contains(DgFlags::FRAG)
    }

    /// Could a datagram of `have` bytes be this PDU?
    fn fits(&self, have: usize) -> bool {
        let whole = Self::LENGTH.saturating_add(self.length.into());
        let fits = if self.auth_service == 0 {
            whole == have
        } else {
            whole < have
        };
        fits && self.length >= self.ptype.least_body() && !self.activity.is_null()
    }
}

/// C706 12.5.3.4 The fack PDU, [MS-RPCE] 2.2.3.6 fack Packet: what has arrived and how much more may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DgFack {
    /// `vers`.
    pub version: u8,
    /// How many more fragments the sender may have under way.
    pub window_size: u16,
    /// The largest datagram the receiver's transport takes.
    pub max_tsdu: u32,
    /// The largest it takes unfragmented.
    pub max_frag_size: u32,
    /// `serial_num` of the PDU that this answers.
    pub serial: u16,
    /// `selack`: a bit for each fragment beyond `fragment` that has arrived.
    pub selective: Vec<u32>,
}

impl DgFack {
    fn parse(input: &mut Input<'_>) -> Result<Self> {
        input.enter("fack");
        let version = input.u8()?;
        input.skip(1)?;
        let window_size = input.u16()?;
        let max_tsdu = input.u32()?;
        let max_frag_size = input.u32()?;
        let serial = input.u16()?;
        let count = input.u16()?;
        let need = usize::from(count).saturating_mul(4);
        if need > input.remaining() {
            let have = input.remaining();
            return Err(input.error(ErrorKind::Truncated { need, have }));
        }
        Ok(Self {
            version,
            window_size,
            max_tsdu,
            max_frag_size,
            serial,
            selective: (0..count).map(|_| input.u32()).collect::<Result<_>>()?,
        })
    }
}

/// What a datagram says, by kind: C706 12.5.3 PDU Body Definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DgBody<'a> {
    /// `request`: this fragment's share of the stub.
    Request(&'a [u8]),
    /// `response`: this fragment's share of the stub.
    Response(&'a [u8]),
    /// `fault`: the status.
    Fault(u32),
    /// `reject`: the status.
    Reject(u32),
    /// `ping`.
    Ping,
    /// `working`.
    Working,
    /// `nocall`, which may carry what a `fack` does.
    Nocall(Option<DgFack>),
    /// `ack`.
    Ack,
    /// `cl_cancel`.
    Cancel {
        /// `cancel_id`.
        cancel_id: u32,
    },
    /// `fack`; an old one has no body.
    Fack(Option<DgFack>),
    /// `cancel_ack`.
    CancelAck {
        /// `cancel_id`.
        cancel_id: u32,
        /// `server_is_accepting`.
        accepting: u32,
    },
    /// A kind whose body we do not read.
    Other(&'a [u8]),
}

/// One connectionless PDU: C706 12.5 Connectionless RPC PDUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DgPdu<'a> {
    /// Its header.
    pub header: DgHeader,
    /// What it says.
    pub body: DgBody<'a>,
    /// What stands behind the body: the verifier ([MS-RPCE] 2.2.3.4 `sec_trailer_cl` Structure and token), when
    /// `auth_service` says that there is one.
    pub verifier: &'a [u8],
}

impl<'a> DgPdu<'a> {
    /// Reads the PDU out of a whole datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self> {
        let header = DgHeader::parse(datagram)?;
        let mut input = Input::new(datagram, header.order, header.ptype.name().unwrap_or("datagram"));
        input.skip(DgHeader::LENGTH)?;
        let mut body = input.sub(header.length.into())?;
        let body = match header.ptype {
            DgPtype::REQUEST => DgBody::Request(body.rest()),
            DgPtype::RESPONSE => DgBody::Response(body.rest()),
            DgPtype::FAULT => DgBody::Fault(body.u32()?),
            DgPtype::REJECT => DgBody::Reject(body.u32()?),
            DgPtype::PING => DgBody::Ping,
            DgPtype::WORKING => DgBody::Working,
            DgPtype::NOCALL => DgBody::Nocall(fack(&mut body)?),
            DgPtype::ACK => DgBody::Ack,
            DgPtype::CL_CANCEL => {
                body.skip(4)?; // vers
                DgBody::Cancel { cancel_id: body.u32()? }
            }
            DgPtype::FACK => DgBody::Fack(fack(&mut body)?),
            DgPtype::CANCEL_ACK => {
                body.skip(4)?; // vers
                DgBody::CancelAck {
                    cancel_id: body.u32()?,
                    accepting: body.u32()?,
                }
            }
            _ => DgBody::Other(body.rest()),
        };
        Ok(Self {
            header,
            body,
            verifier: input.rest(),
        })
    }
}

fn fack(body: &mut Input<'_>) -> Result<Option<DgFack>> {
    if body.is_empty() {
        return Ok(None);
    }
    DgFack::parse(body).map(Some)
}

/// Is this datagram connectionless DCE/RPC? Told by content alone, whatever the port: version 4, a known PTYPE, a data
/// representation that exists, an activity, and a body that ends where the datagram does. One random datagram in about
/// 2^42 passes.
pub fn recognise_datagram(datagram: &[u8]) -> Option<DgHeader> {
    recognise_cut_datagram(datagram, 0)
}

/// The same for a datagram whose last `cut` bytes are not at hand.
pub fn recognise_cut_datagram(datagram: &[u8], cut: usize) -> Option<DgHeader> {
    // The last byte of the data representation is reserved: receivers pass over it.
    let [4, ptype, flags, flags2, integers, floats, _, ..] = datagram else {
        return None;
    };
    let plausible = DgPtype(*ptype).name().is_some()
        && flags & 0x80 == 0
        && flags2 & !0x07 == 0
        && matches!(integers, 0x00 | 0x01 | 0x10 | 0x11)
        && *floats <= 3;
    if !plausible {
        return None;
    }
    DgHeader::parse(datagram)
        .ok()
        .filter(|header| header.fits(datagram.len().saturating_add(cut)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    const INTERFACE: Guid = Guid::com(0x1a0);
    const ACTIVITY: Guid = Guid::new(1, 2, 3, [4; 8]);

    fn datagram(order: ByteOrder, ptype: DgPtype, body: impl Fn(&mut Writer), auth: u8) -> Vec<u8> {
        let mut inner = Writer::new(order, Encoding::Ndr20);
        body(&mut inner);
        let inner = inner.bytes();
        let mut writer = Writer::new(order, Encoding::Ndr20);
        let drep = if order == ByteOrder::Big { 0 } else { 0x10 };
        writer.raw(&[4, ptype.0, 0x0e, 0x04, drep, 0, 0, 0x12]);
        writer.guid(Guid::NULL).guid(INTERFACE).guid(ACTIVITY);
        writer.u32(99).u32(0x0002_0001).u32(7).u16(3).u16(0xffff).u16(0xfffe);
        writer.u16(u16::try_from(inner.len()).unwrap()).u16(5).u8(auth).u8(0x34);
        writer.raw(&inner);
        writer.bytes()
    }

    #[test]
    fn a_request_reads_the_same_in_both_byte_orders() {
        let write = |order| datagram(order, DgPtype::REQUEST, |body| _ = body.raw(b"stub"), 0);
        let (little, big) = (write(ByteOrder::Little), write(ByteOrder::Big));
        let pdu = DgPdu::parse(&little).unwrap();
        let other = DgPdu::parse(&big).unwrap();
        assert_eq!(
            pdu.header,
            DgHeader {
                order: ByteOrder::Little,
                ..other.header
            }
        );
        assert_eq!((&pdu.body, pdu.verifier), (&DgBody::Request(b"stub"), &[][..]));
        let header = pdu.header;
        assert_eq!(
            (header.interface, header.activity, header.object),
            (INTERFACE, ACTIVITY, None)
        );
        assert_eq!(
            (header.serial, header.fragment, header.sequence, header.opnum),
            (0x1234, 5, 7, 3)
        );
        assert_eq!((header.interface_version, header.server_boot), (0x0002_0001, 99));
        assert!(header.flags.contains(DgFlags::LAST_FRAG | DgFlags::FRAG) && !header.is_whole());
        assert_eq!(header.flags2, DgFlags2::UNRELATED);
        assert_eq!(recognise_datagram(&little), Some(header));
        assert_eq!(recognise_datagram(&big), Some(other.header));
    }

    #[test]
    fn every_kind_of_body_is_read() {
        let fack = |body: &mut Writer| {
            body.u8(1)
                .u8(0)
                .u16(8)
                .u32(4096)
                .u32(1432)
                .u16(0x1234)
                .u16(2)
                .u32(5)
                .u32(6);
        };
        let read = |ptype, body: &dyn Fn(&mut Writer)| {
            let bytes = datagram(ByteOrder::Big, ptype, body, 0);
            format!("{:?}", DgPdu::parse(&bytes).unwrap().body)
        };
        assert_eq!(
            read(DgPtype::FAULT, &|body| _ = body.u32(0x1c01_0002)),
            "Fault(469827586)"
        );
        assert_eq!(read(DgPtype::REJECT, &|body| _ = body.u32(5)), "Reject(5)");
        assert_eq!(read(DgPtype::PING, &|_| ()), "Ping");
        assert_eq!(read(DgPtype::WORKING, &|_| ()), "Working");
        assert_eq!(read(DgPtype::ACK, &|_| ()), "Ack");
        assert_eq!(read(DgPtype::NOCALL, &|_| ()), "Nocall(None)");
        let told = read(DgPtype::FACK, &fack);
        assert!(
            told.contains("window_size: 8") && told.contains("selective: [5, 6]"),
            "{told}"
        );
        assert!(read(DgPtype::NOCALL, &fack).contains("max_frag_size: 1432"));
        assert_eq!(
            read(DgPtype::CL_CANCEL, &|body| _ = body.u32(0).u32(3)),
            "Cancel { cancel_id: 3 }"
        );
        assert_eq!(
            read(DgPtype::CANCEL_ACK, &|body| _ = body.u32(0).u32(3).u32(1)),
            "CancelAck { cancel_id: 3, accepting: 1 }"
        );
    }

    #[test]
    fn a_verifier_behind_the_body_is_kept_apart() {
        let mut bytes = datagram(ByteOrder::Little, DgPtype::RESPONSE, |body| _ = body.raw(b"result"), 10);
        bytes.extend(b"verifier");
        let pdu = DgPdu::parse(&bytes).unwrap();
        assert_eq!(
            (pdu.body, pdu.verifier),
            (DgBody::Response(b"result"), &b"verifier"[..])
        );
        assert!(recognise_datagram(&bytes).is_some());
    }

    #[test]
    fn other_datagrams_and_cut_ones_are_not_recognised() {
        let whole = datagram(ByteOrder::Little, DgPtype::REQUEST, |body| _ = body.raw(b"stub"), 0);
        for length in 0..whole.len() {
            assert_eq!(recognise_datagram(&whole[..length]), None, "{length} bytes");
            assert!(DgPdu::parse(&whole[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(recognise_datagram(&[whole.clone(), vec![0]].concat()), None);
        let header = recognise_datagram(&whole);
        assert_eq!(recognise_cut_datagram(&whole[..DgHeader::LENGTH], 4), header);
        assert_eq!(recognise_cut_datagram(&whole[..DgHeader::LENGTH], 3), None);
        assert_eq!(recognise_cut_datagram(&whole[..DgHeader::LENGTH - 1], 5), None);
        assert_eq!(recognise_datagram(&[4; 200]), None);
        assert_eq!(recognise_datagram(&[5, 0, 11, 3, 0x10, 0, 0, 0]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(ptype in 0_u8..12, length: u16, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut bytes = datagram(ByteOrder::Little, DgPtype(ptype), |inner| _ = inner.raw(&body), 0);
            let _ = DgPdu::parse(&bytes);
            bytes[74..76].copy_from_slice(&length.to_le_bytes());
            if let Ok(pdu) = DgPdu::parse(&bytes) {
                proptest::prop_assert_eq!(
                    DgHeader::LENGTH + usize::from(pdu.header.length) + pdu.verifier.len(),
                    bytes.len()
                );
            }
        }
    }
}
