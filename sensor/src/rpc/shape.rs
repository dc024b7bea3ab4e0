//! How a client writes, beside what it says: choices that the specifications leave open, and bytes that mean nothing, by
//! which one implementation differs from another. All of it is in clear, whatever is sealed.

use std::sync::Arc;

use dcom_parsers::names::known;
use dcom_parsers::rpce::{Bind, Body, CommonHeader, Pdu, SecTrailer, bind_time_features};
use dcom_parsers::security;
use dcom_parsers::security::ntlmssp::{Message, Version};

/// What was seen first of each, on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The bind.
    pub bind: Option<Noted<BindShape>>,
    /// `auth_context_id` of the client's verifiers.
    pub auth_context_id: Option<Noted<u32>>,
    /// The four bytes of an `rpc_auth_3` that mean nothing ([MS-RPCE] 2.2.2.10 `rpc_auth_3` PDU).
    pub auth3_padding: Option<Noted<[u8; 4]>>,
    /// What fills a request's stub up to its verifier, when it is one byte again and again.
    pub request_padding: Option<Noted<u8>>,
    /// NTLM's first message.
    pub negotiate: Option<Noted<NegotiateShape>>,
    /// NTLM's third message.
    pub response: Option<Noted<ResponseShape>>,
}

/// Something, and the frame in which it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted<T> {
    /// The frame.
    pub frame: u64,
    /// What was seen.
    pub value: T,
}

/// What a bind asks for beside interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindShape {
    /// `max_xmit_frag` and `max_recv_frag`, when they are the same.
    pub fragment: Option<u16>,
    /// Is NDR64 offered?
    pub ndr64: bool,
    /// Are features negotiated?
    pub features: bool,
}

/// [MS-NLMP] 2.2.1.1 `NEGOTIATE_MESSAGE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NegotiateShape {
    /// `NegotiateFlags`.
    pub flags: u32,
    /// `Version`.
    pub version: Option<Version>,
}

/// [MS-NLMP] 2.2.1.3 `AUTHENTICATE_MESSAGE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseShape {
    /// `MsvAvTargetName` in the response.
    pub target_name: Option<String>,
    /// Is a workstation named?
    pub workstation: bool,
    /// Does the response say that there is a message integrity code?
    pub mic: bool,
    /// Is there an LM response that is not all zeroes?
    pub lm_response: bool,
}

impl Shape {
    /// Takes note of what a PDU of the client shows. `bytes` is all of it.
    pub(super) fn learn(shape: &mut Arc<Self>, frame: u64, pdu: &Pdu<'_>, bytes: &[u8]) {
        let is_news = match &pdu.body {
            Body::Bind(_) | Body::AlterContext(_) | Body::Auth3 => true,
            Body::Request(_) => shape.request_padding.is_none() || shape.auth_context_id.is_none(),
            _ => false,
        };
        if !is_news {
            return;
        }
        let seen = Self::of(frame, pdu, bytes);
        // Others hold it too: it is copied when there is something new, which is a few times on each connection.
        if shape.lacks(&seen) {
            Arc::make_mut(shape).fill(seen);
        }
    }

    fn of(frame: u64, pdu: &Pdu<'_>, bytes: &[u8]) -> Self {
        let mut seen = Self::default();
        match &pdu.body {
            Body::Bind(bind) => seen.bind = noted(frame, Some(BindShape::of(bind))),
            Body::Auth3 => {
                let padding = bytes.get(16..20).and_then(|padding| padding.first_chunk());
                seen.auth3_padding = noted(frame, padding.copied());
            }
            _ => {}
        }
        let Some(verifier) = &pdu.verifier else { return seen };
        seen.auth_context_id = noted(frame, Some(verifier.auth_context_id));
        if matches!(pdu.body, Body::Request(_)) {
            seen.request_padding = noted(frame, padding(verifier, bytes));
            return seen;
        }
        match security::ntlm(verifier.auth_value) {
            Some(Message::Negotiate(message)) => {
                let (flags, version) = (message.flags.bits(), message.version);
                seen.negotiate = noted(frame, Some(NegotiateShape { flags, version }));
            }
            Some(Message::Authenticate(message)) => {
                let response = ResponseShape {
                    workstation: message.workstation.is_some(),
                    mic: message.mic,
                    lm_response: message.lm_response,
                    target_name: message.av_pairs.target_name,
                };
                seen.response = noted(frame, Some(response));
            }
            _ => {}
        }
        seen
    }

    /// Does `seen` show something for the first time?
    fn lacks(&self, seen: &Self) -> bool {
        let Self {
            bind,
            auth_context_id,
            auth3_padding,
            request_padding,
            negotiate,
            response,
        } = self;
        bind.is_none() && seen.bind.is_some()
            || auth_context_id.is_none() && seen.auth_context_id.is_some()
            || auth3_padding.is_none() && seen.auth3_padding.is_some()
            || request_padding.is_none() && seen.request_padding.is_some()
            || negotiate.is_none() && seen.negotiate.is_some()
            || response.is_none() && seen.response.is_some()
    }

    fn fill(&mut self, seen: Self) {
        self.bind = self.bind.or(seen.bind);
        self.auth_context_id = self.auth_context_id.or(seen.auth_context_id);
        self.auth3_padding = self.auth3_padding.or(seen.auth3_padding);
        self.request_padding = self.request_padding.or(seen.request_padding);
        self.negotiate = self.negotiate.or(seen.negotiate);
        self.response = self.response.take().or(seen.response);
    }
}

fn noted<T>(frame: u64, value: Option<T>) -> Option<Noted<T>> {
    value.map(|value| Noted { frame, value })
}

/// The byte that fills the stub up to the verifier.
fn padding(verifier: &SecTrailer<'_>, bytes: &[u8]) -> Option<u8> {
    let length = usize::from(verifier.auth_pad_length);
    let trailer = usize::from(CommonHeader::SEC_TRAILER_LENGTH) + verifier.auth_value.len();
    let end = bytes.len().checked_sub(trailer)?;
    let (&first, rest) = bytes.get(end.checked_sub(length)?..end)?.split_first()?;
    rest.iter().all(|&byte| byte == first).then_some(first)
}

impl BindShape {
    fn of(bind: &Bind) -> Self {
        let syntaxes = || bind.contexts.iter().flat_map(|context| &context.transfer_syntaxes);
        Self {
            fragment: (bind.max_xmit_frag == bind.max_recv_frag).then_some(bind.max_xmit_frag),
            ndr64: syntaxes().any(|syntax| syntax.uuid == known::NDR64),
            features: syntaxes().any(|&syntax| bind_time_features(syntax).is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `rpc_auth_3` under security context 79231 with an empty token of SPNEGO, and a padded request.
    fn pdu(ptype: u8, body: &[u8], pad: &[u8]) -> Vec<u8> {
        let mut bytes = vec![5, 0, ptype, 3, 0x10, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        bytes.extend(body);
        bytes.extend(pad);
        bytes.extend([9, 6, u8::try_from(pad.len()).unwrap(), 0, 0x7f, 0x35, 1, 0]);
        bytes.extend([0; 4]);
        bytes[8] = u8::try_from(bytes.len()).unwrap();
        bytes
    }

    #[test]
    fn what_is_seen_first_stays_and_what_others_hold_does_not_change() {
        let mut shape = Arc::default();
        let learn = |shape: &mut Arc<Shape>, frame, bytes: &[u8]| {
            Shape::learn(shape, frame, &Pdu::parse(bytes).unwrap(), bytes);
        };
        learn(&mut shape, 7, &pdu(16, b"    ", &[]));
        let before = Arc::clone(&shape);
        assert_eq!(shape.auth3_padding.unwrap().value, *b"    ");
        assert_eq!(
            shape.auth_context_id,
            Some(Noted {
                frame: 7,
                value: 79_231
            })
        );
        learn(&mut shape, 8, &pdu(0, &[0; 10], &[0xbb; 2]));
        assert_eq!(shape.request_padding, Some(Noted { frame: 8, value: 0xbb }));
        assert_eq!(
            (shape.auth_context_id.unwrap().frame, before.request_padding),
            (7, None)
        );
        let before = Arc::clone(&shape);
        learn(&mut shape, 9, &pdu(0, &[0; 10], &[0xcc; 2]));
        learn(&mut shape, 10, &pdu(16, &[0; 4], &[]));
        assert!(Arc::ptr_eq(&shape, &before));
    }

    #[test]
    fn padding_of_several_bytes_says_nothing() {
        let bytes = pdu(0, &[0; 9], &[1, 2, 3]);
        let request = Pdu::parse(&bytes).unwrap();
        assert_eq!(padding(&request.verifier.unwrap(), &bytes), None);
        let bytes = pdu(0, &[0; 12], &[]);
        let request = Pdu::parse(&bytes).unwrap();
        assert_eq!(padding(&request.verifier.unwrap(), &bytes), None);
    }
}
