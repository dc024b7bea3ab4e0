//! The security verifier at the end of a PDU.

use super::common_header::CommonHeader;
use crate::error::Result;
use crate::input::Input;

/// [MS-RPCE] 2.2.2.11 `sec_trailer` structure, with the `auth_value` behind it.
///
/// ```text
/// | auth_type 1 | auth_level 1 | auth_pad_length 1 | auth_reserved 1 | auth_context_id 4 | auth_value auth_length |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecTrailer<'a> {
    /// The security provider ([MS-RPCE] 2.2.1.1.7).
    pub auth_type: u8,
    /// What it protects ([MS-RPCE] 2.2.1.1.8).
    pub auth_level: u8,
    /// Bytes of padding between the stub and the trailer; in clear even when the stub is sealed.
    pub auth_pad_length: u8,
    /// Which security context of the connection.
    pub auth_context_id: u32,
    /// The token or signature.
    pub auth_value: &'a [u8],
}

impl<'a> SecTrailer<'a> {
    /// Splits a PDU into what stands before its verifier (still with the header, without padding) and the verifier.
    pub(super) fn split(header: CommonHeader, pdu: &'a [u8]) -> Result<(&'a [u8], Option<Self>)> {
        if header.auth_length == 0 {
            return Ok((pdu, None));
        }
        let mut input = Input::new(pdu, header.order, "sec_trailer");
        let verifier = usize::from(header.auth_length).saturating_add(usize::from(CommonHeader::SEC_TRAILER_LENGTH));
        let Some(body_length) = pdu
            .len()
            .checked_sub(verifier)
            .filter(|&body| body >= CommonHeader::LENGTH)
        else {
            return Err(input.invalid("auth_length", header.auth_length));
        };
        let body = input.take(body_length)?;
        let auth_type = input.u8()?;
        let auth_level = input.u8()?;
        let auth_pad_length = input.u8()?;
        input.skip(1)?;
        let auth_context_id = input.u32()?;
        let auth_value = input.rest();
        // Padding longer than the body is a lie that costs us the padding, not the PDU.
        let unpadded = body_length
            .saturating_sub(usize::from(auth_pad_length))
            .max(CommonHeader::LENGTH);
        let body = body.get(..unpadded).unwrap_or(body);
        Ok((
            body,
            Some(Self {
                auth_type,
                auth_level,
                auth_pad_length,
                auth_context_id,
                auth_value,
            }),
        ))
    }
}
