//! What the user's keys do on one connection: sealed PDUs opened, signed ones checked.

use dcom_parsers::rpce::{Body, CommonHeader, Pdu, PfcFlags, Ptype, SecTrailer};
use dcom_parsers::security::AuthLevel;
use zeroize::Zeroizing;

use crate::flow::Side;
use crate::keys::{KeyCounters, KeyName, Keys, Learnt, Loss, Protected, Sessions, Verdict};

/// Anything odd that comes up: its name, and what exactly.
type Odd = Option<(&'static str, String)>;

/// The security contexts of one connection.
#[derive(Debug, Default)]
pub(super) struct Openings(Sessions);

/// A PDU that was opened.
pub(super) struct Opening {
    pub(super) key: KeyName,
    plain: Zeroizing<Vec<u8>>,
}

impl Opening {
    /// The stub, which is as long as the sealed one: what follows it is padding.
    pub(super) fn stub<'a>(&'a self, sealed: &[u8]) -> &'a [u8] {
        self.plain.get(..sealed.len()).unwrap_or(&self.plain)
    }
}

impl Openings {
    /// Takes in a PDU: a leg of a login, or a call.
    pub(super) fn take(
        &mut self,
        keys: &Keys,
        pdu: &Pdu<'_>,
        verifier: &SecTrailer<'_>,
        bytes: &[u8],
        counters: &mut KeyCounters,
    ) -> (Option<Opening>, Odd) {
        let side = match pdu.header.ptype.sent_by_client() {
            Some(true) => Side::Client,
            Some(false) => Side::Server,
            None => return (None, None),
        };
        if matches!(pdu.body, Body::Request(_) | Body::Response(_) | Body::Fault(_)) {
            self.call(side, pdu, verifier, bytes, counters)
        } else {
            (None, self.login(keys, side, verifier, counters))
        }
    }

    fn login(&mut self, keys: &Keys, side: Side, verifier: &SecTrailer<'_>, counters: &mut KeyCounters) -> Odd {
        match self.0.learn(keys, side, verifier) {
            Learnt::Nothing => None,
            Learnt::Known => {
                counters.logins += 1;
                None
            }
            Learnt::Mismatch(name) => {
                counters.mismatches += 1;
                let detail = format!("not by the key of {name}: that key is another, or the login was refused");
                Some(("key_mismatch", detail))
            }
        }
    }

    fn call(
        &mut self,
        side: Side,
        pdu: &Pdu<'_>,
        verifier: &SecTrailer<'_>,
        bytes: &[u8],
        counters: &mut KeyCounters,
    ) -> (Option<Opening>, Odd) {
        let level = AuthLevel(verifier.auth_level);
        if level < AuthLevel::CALL {
            return (None, None);
        }
        let is_sealed = level == AuthLevel::PKT_PRIVACY;
        *if is_sealed {
            &mut counters.sealed
        } else {
            &mut counters.signed
        } += 1;
        let Some(protected) = Protected::of(bytes, head_length(pdu.header), verifier) else {
            return (None, None);
        };
        let (verdict, key) = self.0.open(side, verifier.auth_context_id, &protected);
        match (verdict, key) {
            (Verdict::Right, Some(key)) if is_sealed => {
                counters.opened += 1;
                let plain = self.0.take_plain();
                (Some(Opening { key, plain }), None)
            }
            (Verdict::Right, _) => {
                counters.verified += 1;
                (None, None)
            }
            (Verdict::Bad, key) => {
                counters.bad += u64::from(!is_sealed);
                let whose = key.map_or_else(String::new, |key| format!(", by the key of {key}"));
                let detail = format!("{:?} of call {}{whose}", pdu.header.ptype, pdu.header.call_id);
                (None, Some(("bad_signature", detail)))
            }
            (Verdict::StreamJustLost, _) => {
                counters.streams_lost += 1;
                let detail =
                    format!("{side:?}: sealed by a stream cipher, and too much was lost to find its place again");
                (None, Some(("key_stream_lost", detail.to_lowercase())))
            }
            (Verdict::StreamLost | Verdict::NoKey, _) => (None, None),
        }
    }

    /// Something of this side was not seen.
    pub(super) fn lose(&mut self, side: Side, loss: Loss) {
        self.0.lose(side, loss);
    }

    /// Gives back the room in which a PDU was opened.
    pub(super) fn put_back(&mut self, opening: Opening) {
        self.0.put_back(opening.plain);
    }
}

/// Where a stub begins.
fn head_length(header: CommonHeader) -> usize {
    match header.ptype {
        Ptype::REQUEST if header.flags.contains(PfcFlags::OBJECT_UUID) => 40,
        Ptype::FAULT => 32,
        _ => 24,
    }
}

/// What is lost with a PDU of which only the header was seen.
pub(super) fn loss(header: CommonHeader) -> Loss {
    let is_call = matches!(header.ptype, Ptype::REQUEST | Ptype::RESPONSE | Ptype::FAULT);
    if header.auth_length == 0 || !is_call {
        return Loss::default();
    }
    let verifier = u64::from(header.auth_length) + 8;
    let stub = u64::from(header.frag_length).saturating_sub(head_length(header) as u64 + verifier);
    // That there was a loss is told by one byte at least.
    Loss { stubs: stub, bytes: 1 }
}
