//! The trailer by which a client lets the server check what it negotiated.

use super::bind::SyntaxId;
use super::common_header::Ptype;
use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// [MS-RPCE] 2.2.2.13.1 `rpc_sec_verification_trailer`: the signature it starts with.
const SIGNATURE: [u8; 8] = [0x8a, 0xe3, 0x13, 0x71, 0x02, 0xf4, 0x36, 0x71];
/// How far from the end of a stub a trailer may begin: the three commands there are take 88 bytes.
const REACH: usize = 512;
/// `SEC_VT_COMMAND_END`: no command follows.
const COMMAND_END: u16 = 0x4000;
/// The bits that say which command it is.
const COMMAND_MASK: u16 = 0x3fff;

bitflags::bitflags! {
    /// [MS-RPCE] 2.2.2.13.2 `rpc_sec_vt_bitmask`: `bits`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VerificationBits: u32 {
        /// The client can sign PDU headers.
        const CLIENT_SUPPORT_HEADER_SIGNING = 0x0000_0001;
        const _ = !0;
    }
}

/// [MS-RPCE] 2.2.2.13.3 `rpc_sec_vt_header2`: the request's header as its sender meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationHeader {
    /// `PTYPE`.
    pub ptype: Ptype,
    /// `drep`.
    pub drep: [u8; 4],
    /// `call_id`.
    pub call_id: u32,
    /// `p_cont_id`.
    pub context_id: u16,
    /// `opnum`.
    pub opnum: u16,
}

/// [MS-RPCE] 2.2.2.13.4 `rpc_sec_vt_pcontext`: what the context was negotiated for. With no bind seen, this names the
/// interface all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationContext {
    /// `interfaceId`.
    pub abstract_syntax: SyntaxId,
    /// `transferSyntax`.
    pub transfer_syntax: SyntaxId,
}

/// [MS-RPCE] 2.2.2.13 Verification Trailer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerificationTrailer {
    /// `rpc_sec_vt_bitmask`.
    pub bits: Option<VerificationBits>,
    /// `rpc_sec_vt_header2`.
    pub header: Option<VerificationHeader>,
    /// `rpc_sec_vt_pcontext`.
    pub context: Option<VerificationContext>,
    /// How many commands were of a kind we do not read.
    pub unread: u16,
}

impl VerificationTrailer {
    /// Parts a request's whole stub, all fragments joined and unsealed, from the trailer behind it. The stub may keep up to
    /// three bytes of padding. A signature that no sound trailer follows is part of the arguments.
    pub fn split(stub: &[u8]) -> (&[u8], Option<Self>) {
        let from = stub.len().saturating_sub(REACH);
        let tail = stub.get(from..).unwrap_or_default();
        let [.., last] = SIGNATURE;
        // From the end, as there the trailer is.
        let mut before = tail;
        while let Some(at) = memchr::memrchr(last, before) {
            if let Some(head) = tail.get(..=at).and_then(|signed| signed.strip_suffix(&SIGNATURE))
                && let Some([_, commands @ ..]) = tail.get(at..)
                && let Ok(trailer) = Self::parse(commands)
            {
                let start = from.saturating_add(head.len());
                return (stub.get(..start).unwrap_or(stub), Some(trailer));
            }
            before = before.get(..at).unwrap_or_default();
        }
        (stub, None)
    }

    /// Reads the commands; they are little-endian and must end where the stub ends.
    fn parse(commands: &[u8]) -> Result<Self> {
        let mut input = Input::new(commands, ByteOrder::Little, "rpc_sec_verification_trailer");
        let mut trailer = Self::default();
        loop {
            let command = input.u16()?;
            let length = input.u16()?;
            let value = input.sub(length.into())?;
            trailer.read(command & COMMAND_MASK, value)?;
            if command & COMMAND_END != 0 {
                break;
            }
        }
        if input.is_empty() {
            Ok(trailer)
        } else {
            Err(input.invalid("length", u64::try_from(input.remaining()).unwrap_or(u64::MAX)))
        }
    }

    fn read(&mut self, command: u16, mut value: Input<'_>) -> Result<()> {
        match command {
            1 => self.bits = Some(VerificationBits::from_bits_retain(value.u32()?)),
            2 => {
                self.context = Some(VerificationContext {
                    abstract_syntax: SyntaxId::parse(&mut value)?,
                    transfer_syntax: SyntaxId::parse(&mut value)?,
                });
            }
            3 => {
                let ptype = Ptype(value.u8()?);
                value.skip(3)?;
                let mut drep = [0; 4];
                drep.copy_from_slice(value.take(4)?);
                self.header = Some(VerificationHeader {
                    ptype,
                    drep,
                    call_id: value.u32()?,
                    context_id: value.u16()?,
                    opnum: value.u16()?,
                });
            }
            _ => self.unread = self.unread.saturating_add(1),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Guid;
    use crate::names::known;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    fn trailer() -> Vec<u8> {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.raw(&SIGNATURE);
        writer.u16(1).u16(4).u32(1);
        writer.u16(0x8002).u16(40);
        writer
            .guid(known::IREMOTE_SCM_ACTIVATOR)
            .u32(0)
            .guid(known::NDR20)
            .u32(2);
        writer.u16(0x4003).u16(16);
        writer.u8(0).u8(0).u16(0).raw(&[0x10, 0, 0, 0]).u32(7).u16(2).u16(4);
        writer.bytes()
    }

    #[test]
    fn the_trailer_names_interface_and_operation_and_leaves_the_stub() {
        let stub = [b"arguments!!!".to_vec(), trailer()].concat();
        let (arguments, trailer) = VerificationTrailer::split(&stub);
        let trailer = trailer.unwrap();
        assert_eq!(arguments, b"arguments!!!");
        assert_eq!(trailer.bits, Some(VerificationBits::CLIENT_SUPPORT_HEADER_SIGNING));
        assert_eq!(trailer.context.unwrap().abstract_syntax.uuid, Guid::com(0x1a0));
        let header = trailer.header.unwrap();
        assert_eq!(
            (header.ptype, header.call_id, header.context_id, header.opnum),
            (Ptype::REQUEST, 7, 2, 4)
        );
        assert_eq!(trailer.unread, 0);
    }

    #[test]
    fn a_real_client_appends_bitmask_and_context() {
        let stub = include_bytes!("../../corpus/verification_trailer/ept-lookup-request.bin");
        let (arguments, trailer) = VerificationTrailer::split(stub);
        let trailer = trailer.unwrap();
        assert_eq!(stub.len() - arguments.len(), 60);
        assert_eq!(trailer.context.unwrap().abstract_syntax.uuid, known::EPMAPPER);
        assert!(trailer.bits.is_some() && trailer.header.is_none());
    }

    #[test]
    fn a_signature_without_sound_commands_is_an_argument() {
        let whole = trailer();
        for length in 0..whole.len() {
            assert_eq!(VerificationTrailer::split(&whole[..length]), (&whole[..length], None));
        }
        let longer = [whole, vec![0]].concat();
        assert_eq!(VerificationTrailer::split(&longer).1, None);
    }

    #[test]
    fn a_stub_full_of_signatures_is_searched_in_bounded_time() {
        let stub = SIGNATURE.repeat(8192);
        let started = std::time::Instant::now();
        assert_eq!(VerificationTrailer::split(&stub), (&stub[..], None));
        assert!(started.elapsed().as_millis() < 100);
    }
}
