//! What is bound on a connection: each offer with its answer.

use dcom_parsers::rpce::{Bind, BindAck, CommonHeader, Pdu};

use super::super::contexts::{Answered, Contexts, Offer};
use super::super::{BindKind, Bound, Handling, Refusal, RpcBody, logins, name};
use super::Association;
use crate::capture::At;

impl Association {
    pub(super) fn offer(
        &mut self,
        at: At,
        (pdu, is_leg): (&Pdu<'_>, bool),
        kind: BindKind,
        bind: &Bind,
        handling: &mut Handling<'_>,
    ) {
        let header = pdu.header;
        if kind == BindKind::Bind && !self.bind_seen {
            self.bind_seen = true;
            self.logins.begin(pdu.verifier.is_some());
        }
        let limits = handling.bounds.limits;
        let room = limits.rpc_total.saturating_sub(handling.bounds.held);
        let offer = Offer {
            call_id: header.call_id,
            at,
            kind,
            group: bind.assoc_group_id,
            signs_headers: header.supports_header_signing() == Some(true),
            auth: pdu.verifier.as_ref().map(logins::state),
            is_leg,
            number: 0,
            contexts: Vec::new(),
        };
        let offer = |contexts: &mut Contexts| contexts.offer(offer, bind, limits.contexts, room);
        let refused = self.on_contexts(handling.bounds, offer);
        handling.bounds.counters.over_limit += refused;
    }

    pub(super) fn answer(
        &mut self,
        at: At,
        header: CommonHeader,
        kind: BindKind,
        ack: &BindAck,
        handling: &mut Handling<'_>,
    ) {
        if !ack.secondary_address.is_empty() {
            self.secondary_address = Some(name(&ack.secondary_address));
        }
        let answer = |contexts: &mut Contexts| contexts.answer(header.call_id, kind, ack);
        let (offer, contexts) = self.on_contexts(handling.bounds, answer);
        if let Some(offer) = &offer {
            self.settle(offer.number, &contexts);
        }
        let signs = |offer: &Offer| offer.signs_headers && header.supports_header_signing() == Some(true);
        let signing = offer.as_ref().filter(|offer| offer.auth.is_some()).map(signs);
        // An `alter_context` without the flag takes nothing back.
        let header_signing = signing.filter(|&signing| signing || kind == BindKind::Bind);
        let auth = offer.as_ref().and_then(|offer| offer.auth);
        let offered = offer.as_ref().map(|offer| offer.at);
        if let Some(offer) = offer.as_ref().filter(|offer| offer.is_leg)
            && header.auth_length == 0
        {
            self.logins.accept(offer.auth);
        }
        if kind == BindKind::Bind {
            self.logins
                .begin(offer.as_ref().is_none_or(|offer| offer.auth.is_some()));
            handling.bounds.counters.associations += 1;
            let joined = offer.is_some_and(|offer| offer.group != 0 && offer.group == ack.assoc_group_id);
            handling.bounds.counters.joined += u64::from(joined);
        }
        let (answered, call_id) = (Some(at), header.call_id);
        let claims = self.logins.claims(auth);
        handling.say(RpcBody::Bound(Box::new(Bound {
            kind,
            offered,
            answered,
            call_id,
            contexts,
            refused: None,
            claims,
            group: Some(ack.assoc_group_id),
            header_signing,
            auth,
            named_pipe: self.named_pipe(),
        })));
    }

    pub(super) fn refuse(
        &mut self,
        at: Option<At>,
        call_id: u32,
        refused: Option<Refusal>,
        handling: &mut Handling<'_>,
    ) {
        let mut offer = self.on_contexts(handling.bounds, |contexts| contexts.withdraw(call_id));
        let withdrawn = offer.as_mut().map(|offer| std::mem::take(&mut offer.contexts));
        let contexts: Answered = withdrawn
            .unwrap_or_default()
            .into_iter()
            .map(|element| (element, None))
            .collect();
        if at.is_some()
            && let Some(offer) = &offer
        {
            self.settle(offer.number, &contexts);
        }
        let kind = offer.as_ref().map_or(BindKind::Bind, |offer| offer.kind);
        let auth = offer.as_ref().and_then(|offer| offer.auth);
        let claims = self.logins.claims(auth);
        if offer.as_ref().is_some_and(|offer| offer.is_leg) {
            self.logins.refuse(auth);
        }
        let offered = offer.map(|offer| offer.at);
        handling.say(RpcBody::Bound(Box::new(Bound {
            kind,
            offered,
            answered: at,
            call_id,
            contexts,
            refused,
            claims,
            group: None,
            header_signing: None,
            auth,
            named_pipe: self.named_pipe(),
        })));
    }
}
