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
    /// This fragment's share of the stub, padding taken off.
    pub stub: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        let alloc_hint = input.u32()?;
        let context_id = input.u16()?;
        input.skip(2)?;
        Ok(Self {
            alloc_hint,
            context_id,
            stub: input.rest(),
        })
    }
}

/// C706 12.6.4.7 The fault PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The request's presentation context.
    pub context_id: u16,
    /// `nca_*` or a Win32 code; 0 means that the stub holds a user exception.
    pub status: u32,
    /// What follows: extended error information on Windows.
    pub stub: &'a [u8],
}

impl<'a> Fault<'a> {
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        input.skip(4)?;
        let context_id = input.u16()?;
        input.skip(2)?;
        let status = input.u32()?;
        // Some implementations end here, without the four reserved bytes.
        let stub = input.rest().get(4..).unwrap_or_default();
        Ok(Self {
            context_id,
            status,
            stub,
        })
    }
}
