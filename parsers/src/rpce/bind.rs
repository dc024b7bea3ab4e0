//! Association set-up: which interfaces a connection is for.

use std::fmt;

use super::character_set::CharacterSet;
use crate::error::Result;
use crate::guid::Guid;
use crate::input::Input;

/// C706 12.6.3.1 `p_syntax_id_t`: an interface or a transfer syntax, with its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyntaxId {
    /// `if_uuid`.
    pub uuid: Guid,
    /// `if_version`: major in the low half, minor in the high half.
    pub version: u32,
}

impl SyntaxId {
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self> {
        Ok(Self {
            uuid: input.guid()?,
            version: input.u32()?,
        })
    }

    /// Version as people write it: `1.0`.
    pub fn version_text(self) -> String {
        format!("{}.{}", self.version & 0xffff, self.version >> 16)
    }
}

impl fmt::Display for SyntaxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.uuid, self.version_text())
    }
}

bitflags::bitflags! {
    /// [MS-RPCE] 2.2.2.14 `BindTimeFeatureNegotiationBitmask` and 2.2.2.15
    /// `BindTimeFeatureNegotiationResponseBitmask`: what a client asks for and a server grants.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct BindTimeFeatures: u16 {
        /// Several security contexts on one connection.
        const SECURITY_CONTEXT_MULTIPLEXING = 0x01;
        /// The connection outlives a call that its client gave up.
        const KEEP_CONNECTION_ON_ORPHAN = 0x02;
        const _ = !0;
    }
}

/// [MS-RPCE] 2.2.2.14 `BindTimeFeatureNegotiationBitmask`: the flags hidden in a transfer syntax that negotiates features
/// (6cb71c2c-9812-4540-…), or None when `syntax` is an ordinary one.
pub fn bind_time_features(syntax: SyntaxId) -> Option<BindTimeFeatures> {
    let Guid {
        data1: 0x6cb7_1c2c,
        data2: 0x9812,
        data3: 0x4540,
        data4: [flags, ..],
    } = syntax.uuid
    else {
        return None;
    };
    Some(BindTimeFeatures::from_bits_retain(flags.into()))
}

/// C706 12.6.3.1 `p_cont_elem_t`: one presentation context as offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextElement {
    /// `p_cont_id`: by which calls will name it. Ids are used again after a refusal.
    pub context_id: u16,
    /// The interface.
    pub abstract_syntax: SyntaxId,
    /// The encodings the client can speak, best first. 255 at most.
    pub transfer_syntaxes: Vec<SyntaxId>,
}

impl ContextElement {
    fn parse(input: &mut Input<'_>) -> Result<Self> {
        input.enter("p_cont_elem_t");
        let context_id = input.u16()?;
        let count = input.u8()?;
        input.skip(1)?;
        let abstract_syntax = SyntaxId::parse(input)?;
        let transfer_syntaxes = (0..count).map(|_| SyntaxId::parse(input)).collect::<Result<_>>()?;
        Ok(Self {
            context_id,
            abstract_syntax,
            transfer_syntaxes,
        })
    }

    /// Is this no interface at all but the item that negotiates features?
    pub fn is_bind_time_features(&self) -> bool {
        matches!(self.transfer_syntaxes.as_slice(), [only] if bind_time_features(*only).is_some())
    }
}

/// C706 12.6.4.3 The bind PDU; an `alter_context` (12.6.4.1) has the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Longest fragment the client will send.
    pub max_xmit_frag: u16,
    /// Longest fragment it can take.
    pub max_recv_frag: u16,
    /// The association group to join; 0 asks for a new one.
    pub assoc_group_id: u32,
    /// What is offered. 255 at most.
    pub contexts: Vec<ContextElement>,
}

impl Bind {
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self> {
        let max_xmit_frag = input.u16()?;
        let max_recv_frag = input.u16()?;
        let assoc_group_id = input.u32()?;
        let count = input.u8()?;
        input.skip(3)?;
        let contexts = (0..count)
            .map(|_| ContextElement::parse(input))
            .collect::<Result<_>>()?;
        Ok(Self {
            max_xmit_frag,
            max_recv_frag,
            assoc_group_id,
            contexts,
        })
    }
}

/// C706 12.6.3.1 `p_result_t`, [MS-RPCE] 2.2.2.4 `negotiate_ack`: the answer to one offered context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextResult {
    /// `p_cont_def_result_t`: see the constants.
    pub result: u16,
    /// Why it was refused; with `NEGOTIATE_ACK` the features granted.
    pub reason: u16,
    /// The encoding chosen.
    pub transfer_syntax: SyntaxId,
}

impl ContextResult {
    /// The context may be used.
    pub const ACCEPTANCE: u16 = 0;
    /// The client may not.
    pub const USER_REJECTION: u16 = 1;
    /// The server cannot.
    pub const PROVIDER_REJECTION: u16 = 2;
    /// Not a context but the answer to the feature item.
    pub const NEGOTIATE_ACK: u16 = 3;

    /// C706 12.6.3.1 `p_provider_reason_t`: why it was refused, by the specification's name where there is one.
    pub const fn refusal(&self) -> Option<&'static str> {
        if !matches!(self.result, Self::USER_REJECTION | Self::PROVIDER_REJECTION) {
            return None;
        }
        Some(match self.reason {
            0 => "reason_not_specified",
            1 => "abstract_syntax_not_supported",
            2 => "proposed_transfer_syntaxes_not_supported",
            3 => "local_limit_exceeded",
            _ => return None,
        })
    }

    /// The features granted, when this is the answer to the feature item.
    pub fn features(&self) -> Option<BindTimeFeatures> {
        (self.result == Self::NEGOTIATE_ACK).then(|| BindTimeFeatures::from_bits_retain(self.reason))
    }
}

/// C706 12.6.4.4 The `bind_ack` PDU; an `alter_context_resp` (12.6.4.2) has the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAck {
    /// Longest fragment the server will send.
    pub max_xmit_frag: u16,
    /// Longest fragment it can take.
    pub max_recv_frag: u16,
    /// The group the association belongs to.
    pub assoc_group_id: u32,
    /// `sec_addr`: the endpoint to use for further connections, e.g. `49670` or `\PIPE\lsass`; empty in an
    /// `alter_context_resp`.
    pub secondary_address: String,
    /// One answer for each offer, in the order of the offers.
    pub results: Vec<ContextResult>,
}

impl BindAck {
    pub(super) fn parse(input: &mut Input<'_>, characters: CharacterSet) -> Result<Self> {
        let max_xmit_frag = input.u16()?;
        let max_recv_frag = input.u16()?;
        let assoc_group_id = input.u32()?;
        let length = input.u16()?;
        let secondary_address = characters.text(input.take(length.into())?);
        input.align(0, 4)?;
        let count = input.u8()?;
        input.skip(3)?;
        let results = (0..count)
            .map(|_| {
                input.enter("p_result_t");
                Ok(ContextResult {
                    result: input.u16()?,
                    reason: input.u16()?,
                    transfer_syntax: SyntaxId::parse(input)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            max_xmit_frag,
            max_recv_frag,
            assoc_group_id,
            secondary_address,
            results,
        })
    }
}

/// C706 12.6.3.1 `p_reject_reason_t`, [MS-RPCE] 2.2.2.5: why a bind was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectReason(pub u16);

impl RejectReason {
    /// The specification's name, where there is one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "reason_not_specified",
            1 => "temporary_congestion",
            2 => "local_limit_exceeded",
            4 => "protocol_version_not_supported",
            8 => "authentication_type_not_recognized",
            9 => "invalid_checksum",
            _ => return None,
        })
    }
}

/// C706 12.6.4.5 The `bind_nak` PDU, [MS-RPCE] 2.2.2.9 `bind_nak` Packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindNak<'a> {
    /// `provider_reject_reason`.
    pub reason: RejectReason,
    /// The protocol versions that the server speaks, major and minor; often left out.
    pub versions: Vec<(u8, u8)>,
    /// Extended error information ([MS-EERR]), when its signature stands before it.
    pub extended_error: Option<&'a [u8]>,
}

/// [MS-RPCE] 2.2.1.1.2 Extended Error Information Signature Value.
const EXTENDED_ERROR: Guid = Guid::new(
    0x9074_0320,
    0xfad0,
    0x11d3,
    [0x82, 0xd7, 0x00, 0x90, 0x27, 0xb1, 0x30, 0xab],
);

impl<'a> BindNak<'a> {
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        let reason = RejectReason(input.u16()?);
        // What follows is left out by many; what is there of it does not cost us the reason.
        let count = input.u8().unwrap_or_default();
        let versions = (0..count)
            .map_while(|_| Some((input.u8().ok()?, input.u8().ok()?)))
            .collect();
        let mut rest = *input;
        let signed = rest.align(0, 4).and_then(|()| rest.guid()).ok() == Some(EXTENDED_ERROR);
        Ok(Self {
            reason,
            versions,
            extended_error: signed.then(|| rest.rest()),
        })
    }
}
