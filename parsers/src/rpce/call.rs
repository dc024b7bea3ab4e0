//! Calls and their answers, a fragment at a time.

use crate::error::Result;
use crate::guid::Guid;
use crate::input::Input;

/// C706 12.6.4.9 The request PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// How long the whole stub will be, all fragments together; a hint.
    pub alloc_hint: u32,
    /// `p_cont_id`: the presentation context, hence the interface.
    pub context_id: u16,
    /// Which operation of the interface.
    pub opnum: u16,
    /// The object UUID; in DCOM the IPID.
    pub object: Option<Guid>,
    /// This fragment's share of the stub, padding taken off; sealed when the verifier says so.
    pub stub: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(input: &mut Input<'a>, has_object: bool) -> Result<Self> {
        Ok(Self {
            alloc_hint: input.u32()?,
            context_id: input.u16()?,
            opnum: input.u16()?,
            object: if has_object { Some(input.guid()?) } else { None },
            stub: input.rest(),
        })
    }
}

/// C706 12.6.4.10 The response PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// How long the whole stub will be; a hint.
    pub alloc_hint: u32,
    /// The request's presentation context.
    pub context_id: u16,
    /// How many cancels the server received.
    pub cancel_count: u8,
    /// This fragment's share of the stub, padding taken off.
    pub stub: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        let alloc_hint = input.u32()?;
        let context_id = input.u16()?;
        let cancel_count = input.u8()?;
        input.skip(1)?;
        Ok(Self {
            alloc_hint,
            context_id,
            cancel_count,
            stub: input.rest(),
        })
    }
}

bitflags::bitflags! {
    /// [MS-RPCE] 2.2.2.8 `rpc_fault` Packet: the flags in what was a reserved byte.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FaultFlags: u8 {
        /// The stub holds extended error information.
        const EXTENDED_ERROR_INFO_PRESENT = 0x01;
        const _ = !0;
    }
}

/// C706 12.6.4.7 The fault PDU, [MS-RPCE] 2.2.2.8 `rpc_fault` Packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// How long the whole stub will be; a hint.
    pub alloc_hint: u32,
    /// The request's presentation context.
    pub context_id: u16,
    /// How many cancels the server received.
    pub cancel_count: u8,
    /// Windows' flags.
    pub flags: FaultFlags,
    /// `nca_*` or a Win32 code; 0 means that the stub holds a user exception.
    pub status: u32,
    /// What follows: extended error information on Windows.
    pub stub: &'a [u8],
}

impl<'a> Fault<'a> {
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        let alloc_hint = input.u32()?;
        let context_id = input.u16()?;
        let cancel_count = input.u8()?;
        let flags = FaultFlags::from_bits_retain(input.u8()?);
        let status = input.u32()?;
        // Some implementations end here, without the four reserved bytes.
        let stub = input.rest().get(4..).unwrap_or_default();
        Ok(Self {
            alloc_hint,
            context_id,
            cancel_count,
            flags,
            status,
            stub,
        })
    }

    /// The stub, when it is extended error information ([MS-EERR] 2.2.1 `ExtendedErrorInfo`, serialized).
    pub fn extended_error(&self) -> Option<&'a [u8]> {
        let told = self.flags.contains(FaultFlags::EXTENDED_ERROR_INFO_PRESENT);
        (told && !self.stub.is_empty()).then_some(self.stub)
    }
}
