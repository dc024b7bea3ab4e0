//! What the user's keys do on one connection: sealed PDUs opened, signed ones checked.

use dcom_parsers::rpce::{Body, CommonHeader, Pdu, PfcFlags, Ptype, SecTrailer};
use dcom_parsers::security::AuthLevel;
use zeroize::Zeroizing;

use crate::flow::Side;
use crate::keys::{Credit, KeyCounters, KeyName, Keys, Learnt, Loss, Protected, Sessions, SharedTickets, Verdict, Who};

/// Anything odd that comes up: its name, and what exactly.
type Odd = Option<(&'static str, String)>;

/// The security contexts of one connection.
#[derive(Debug, Default)]
pub(super) struct Openings(Sessions);

/// What came of a PDU.
#[derive(Default)]
pub(super) struct Taken {
    /// It was sealed, and is open.
    pub(super) opening: Option<Opening>,
    /// It was a login, by whom only the key tells.
    pub(super) who: Option<Who>,
    /// It is a call's, and by its verifier of no login whose key is known.
    pub(super) is_strangers: bool,
    pub(super) odd: Odd,
}

impl From<Odd> for Taken {
    fn from(odd: Odd) -> Self {
        Self { odd, ..Self::default() }
    }
}

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
    /// Takes in a leg of a login.
    pub(super) fn login(
        &mut self,
        (keys, credit): (&Keys, &mut Credit),
        tickets: &SharedTickets,
        verifier: &SecTrailer<'_>,
        counters: &mut KeyCounters,
    ) -> Taken {
        let learnt = self.0.learn((keys, credit), tickets, verifier);
        counters.untried += std::mem::take(&mut credit.untried);
        let detail = match learnt {
            Learnt::Nothing => return Taken::default(),
            Learnt::Known(who) => {
                counters.logins += 1;
                return Taken {
                    who,
                    ..Taken::default()
                };
            }
            Learnt::Mismatch(name) => {
                format!("not by the key of {name}: that key is another, or the login was refused")
            }
            Learnt::OtherVersion { name, wanted, given } => {
                format!("by version {wanted} of the key of {name}, and version {given} is given")
            }
        };
        counters.mismatches += 1;
        Some(("key_mismatch", detail)).into()
    }

    /// Takes in a PDU of a call; others' verifiers say nothing.
    pub(super) fn call(
        &mut self,
        side: Side,
        pdu: &Pdu<'_>,
        verifier: &SecTrailer<'_>,
        bytes: &[u8],
        counters: &mut KeyCounters,
    ) -> Taken {
        let is_call = matches!(pdu.body, Body::Request(_) | Body::Response(_) | Body::Fault(_));
        let level = AuthLevel(verifier.auth_level);
        if !is_call || level < AuthLevel::CALL {
            self.pass_over(side, pdu);
            return Taken::default();
        }
        let is_sealed = level == AuthLevel::PKT_PRIVACY;
        *if is_sealed {
            &mut counters.sealed
        } else {
            &mut counters.signed
        } += 1;
        let Some(protected) = Protected::of(bytes, head_length(pdu.header), verifier) else {
            self.pass_over(side, pdu);
            return Taken::default();
        };
        let (verdict, key) = self.0.open(side, verifier.auth_context_id, &protected);
        match (verdict, key) {
            (Verdict::Right, Some(key)) if is_sealed => {
                counters.opened += 1;
                let plain = self.0.take_plain();
                Taken {
                    opening: Some(Opening { key, plain }),
                    ..Taken::default()
                }
            }
            (Verdict::Right, _) => {
                counters.verified += 1;
                Taken::default()
            }
            (Verdict::Bad, key) => {
                counters.bad += u64::from(!is_sealed);
                let whose = key.map_or_else(String::new, |key| format!(", by the key of {key}"));
                let detail = format!("{:?} of call {}{whose}", pdu.header.ptype, pdu.header.call_id);
                Some(("bad_signature", detail)).into()
            }
            (Verdict::StreamJustLost, _) => {
                counters.streams_lost += 1;
                let detail =
                    format!("{side:?}: sealed by a stream cipher, and too much was lost to find its place again");
                Some(("key_stream_lost", detail.to_lowercase())).into()
            }
            (Verdict::StreamLost, _) => Taken::default(),
            (Verdict::NoKey, _) => {
                self.pass_over(side, pdu);
                Taken {
                    is_strangers: true,
                    ..Taken::default()
                }
            }
        }
    }

    /// By its verifier the PDU is of no login whose key is known. A changed bit may say so: then it has used up its number,
    /// and its part of the key stream.
    fn pass_over(&mut self, side: Side, pdu: &Pdu<'_>) {
        let bytes = 0;
        self.0.lose(
            side,
            Loss {
                bytes,
                ..loss(pdu.header)
            },
        );
    }

    /// Bytes that the security contexts take, about.
    pub(super) fn kept(&self) -> usize {
        self.0.kept()
    }

    /// Something of this side was not seen.
    pub(super) fn lose(&mut self, side: Side, loss: Loss) {
        self.0.lose(side, loss);
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
