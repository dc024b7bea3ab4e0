//! Presentation contexts of one connection: what a context id means, and since when.
//!
//! Ids are used again: the id of a refused context, or of the item that negotiates features, is given to another interface
//! by a later `alter_context`. INVARIANT: a context that was refused is never resolved.

use std::collections::{BTreeMap, VecDeque};

use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{Bind, BindAck, ContextElement, ContextResult, SyntaxId};

use super::{AuthState, BindKind};
use crate::capture::At;

/// What a context id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// Offered; the answer has not been seen.
    Offered(SyntaxId, Option<Encoding>),
    /// Accepted, with this encoding.
    Accepted(SyntaxId, Option<Encoding>),
    /// Refused, or no context at all but the feature item.
    Refused,
}

/// An offer on its way.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) call_id: u32,
    pub(super) at: At,
    pub(super) kind: BindKind,
    /// The association group to join, or 0.
    pub(super) group: u32,
    pub(super) signs_headers: bool,
    pub(super) auth: Option<AuthState>,
    /// Is it a leg of a login that goes on with it?
    pub(super) is_leg: bool,
    /// Which of the connection's offers it is.
    pub(super) number: u64,
    pub(super) contexts: Vec<ContextElement>,
}

/// The table of contexts and the offers that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    /// Each with the number of the offer that it is of, as long as that one is on its way.
    table: BTreeMap<u16, (Context, u64)>,
    /// In the order in which they were made. Servers answer them in that order, whatever call ids they have.
    offers: VecDeque<Offer>,
    /// How many offers were seen.
    made: u64,
    /// Bytes of both.
    kept: usize,
}

/// Bytes that a context in the table takes, about.
const ENTRY: usize = 2 * size_of::<(u16, (Context, u64))>();

/// Bytes that an offer takes, about.
fn weight(offer: &[ContextElement]) -> usize {
    let syntaxes: usize = offer.iter().map(|element| element.transfer_syntaxes.len()).sum();
    size_of::<Offer>() + size_of_val(offer) + syntaxes * size_of::<SyntaxId>()
}

/// More offers than these at a time no client makes.
const MAX_OFFERS: usize = 16;

impl Contexts {
    /// What a context id means now; None when no offer of it was seen.
    pub(super) fn resolve(&self, context_id: u16) -> Option<Context> {
        self.table.get(&context_id).map(|&(context, _)| context)
    }

    /// The offer on its way that would give the context its meaning.
    pub(super) fn offered(&self, context_id: u16) -> Option<u64> {
        match self.table.get(&context_id) {
            Some(&(Context::Offered(..), number)) => Some(number),
            _ => None,
        }
    }

    /// What the offers on their way may make of a context.
    pub(super) fn may_become(&self, context_id: u16) -> impl Iterator<Item = SyntaxId> + '_ {
        let elements = self.offers.iter().flat_map(|offer| &offer.contexts);
        let of_id = elements.filter(move |element| element.context_id == context_id);
        of_id.map(|element| element.abstract_syntax)
    }

    /// How many offers were made.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// A bind or `alter_context` was seen. At most `limit` contexts are kept, and they and the offer in at most `room`
    /// bytes; gives how many found no room.
    pub(super) fn offer(&mut self, mut offer: Offer, bind: &Bind, limit: usize, room: usize) -> u64 {
        let mut refused = 0;
        let most = self.kept.saturating_add(room);
        offer.number = self.made;
        self.made += 1;
        for element in &bind.contexts {
            let accepted = matches!(self.resolve(element.context_id), Some(Context::Accepted(..)));
            // An accepted context keeps its meaning until the server agrees to another.
            let known = self.table.contains_key(&element.context_id);
            let room = known || (self.table.len() < limit && self.kept + ENTRY <= most);
            if accepted || !room {
                refused += u64::from(!room);
                continue;
            }
            let context = if element.is_bind_time_features() {
                Context::Refused
            } else {
                let encodings: Vec<_> = element
                    .transfer_syntaxes
                    .iter()
                    .filter_map(|&syntax| Encoding::of(syntax))
                    .collect();
                // One encoding offered is the one that will be used.
                let same = encodings.windows(2).all(|pair| pair[0] == pair[1]);
                Context::Offered(element.abstract_syntax, encodings.first().copied().filter(|_| same))
            };
            if self.table.insert(element.context_id, (context, offer.number)).is_none() {
                self.kept += ENTRY;
            }
        }
        let weight = weight(&bind.contexts);
        // The earlier ones are answered first.
        if self.offers.len() < MAX_OFFERS && self.kept + weight <= most {
            self.kept += weight;
            offer.contexts.clone_from(&bind.contexts);
            self.offers.push_back(offer);
        } else {
            refused += 1;
        }
        refused
    }

    fn take_offer(&mut self, place: Option<usize>) -> Option<Offer> {
        let offer = self.offers.remove(place?)?;
        self.kept -= weight(&offer.contexts);
        Some(offer)
    }

    /// The answer to an offer was seen. Gives the offer, with each context's answer as far as there is one.
    pub(super) fn answer(&mut self, call_id: u32, kind: BindKind, ack: &BindAck) -> (Option<Offer>, Answered) {
        // Should an answer be lost, the kind and how many were offered tell more than the order.
        let fits = |offer: &Offer| offer.kind == kind && offer.contexts.len() == ack.results.len();
        let of_id = |offer: &&Offer| offer.call_id == call_id;
        let all = || self.offers.iter().filter(of_id);
        let number = all()
            .find(|offer| fits(offer))
            .or_else(|| all().next())
            .map(|offer| offer.number);
        let place = self.offers.iter().position(|offer| Some(offer.number) == number);
        let Some(mut offer) = self.take_offer(place) else {
            return (None, Vec::new());
        };
        let mut results = ack.results.iter().copied();
        let contexts = std::mem::take(&mut offer.contexts);
        let answered: Answered = contexts.into_iter().map(|element| (element, results.next())).collect();
        for (element, result) in &answered {
            let Some(result) = result else { continue };
            let Some((context, number)) = self.table.get_mut(&element.context_id) else {
                continue;
            };
            if result.result == ContextResult::ACCEPTANCE {
                *context = Context::Accepted(element.abstract_syntax, Encoding::of(result.transfer_syntax));
            } else if matches!(context, Context::Offered(..)) && *number == offer.number {
                *context = Context::Refused;
            }
        }
        (Some(offer), answered)
    }

    /// The offer was refused as a whole, or nothing will answer it any more.
    pub(super) fn withdraw(&mut self, call_id: u32) -> Option<Offer> {
        let place = self.offers.iter().position(|offer| offer.call_id == call_id);
        let offer = self.take_offer(place)?;
        for element in &offer.contexts {
            if let Some((context @ Context::Offered(..), number)) = self.table.get_mut(&element.context_id)
                && *number == offer.number
            {
                *context = Context::Refused;
            }
        }
        Some(offer)
    }

    /// Bytes of the client are lost, perhaps an offer among them: what was refused may mean something else by now.
    pub(super) fn doubt(&mut self) {
        let before = self.table.len();
        self.table.retain(|_, (context, _)| *context != Context::Refused);
        self.kept -= (before - self.table.len()) * ENTRY;
    }

    /// The call ids of the offers that wait.
    pub(super) fn waiting(&self) -> Vec<u32> {
        self.offers.iter().map(|offer| offer.call_id).collect()
    }

    /// Does an offer with this call id wait?
    pub(super) fn waits(&self, call_id: u32) -> bool {
        self.offers.iter().any(|offer| offer.call_id == call_id)
    }
}

/// What was offered, each with its answer.
pub(super) type Answered = Vec<(ContextElement, Option<ContextResult>)>;

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;
    use dcom_parsers::names::known;

    use super::*;

    const NDR20: SyntaxId = SyntaxId {
        uuid: known::NDR20,
        version: 2,
    };
    const NDR64: SyntaxId = SyntaxId {
        uuid: known::NDR64,
        version: 1,
    };
    const FEATURES: SyntaxId = SyntaxId {
        uuid: Guid::new(0x6cb7_1c2c, 0x9812, 0x4540, [3, 0, 0, 0, 0, 0, 0, 0]),
        version: 1,
    };

    fn interface(data1: u32) -> SyntaxId {
        SyntaxId {
            uuid: Guid::com(data1),
            version: 0,
        }
    }

    fn bind(contexts: &[(u16, u32, SyntaxId)]) -> Bind {
        let contexts = contexts
            .iter()
            .map(|&(context_id, data1, syntax)| ContextElement {
                context_id,
                abstract_syntax: interface(data1),
                transfer_syntaxes: vec![syntax],
            })
            .collect();
        Bind {
            max_xmit_frag: 0,
            max_recv_frag: 0,
            assoc_group_id: 0,
            contexts,
        }
    }

    /// Offers by a bind.
    fn offer(
        contexts: &mut Contexts,
        call_id: u32,
        offered: &[(u16, u32, SyntaxId)],
        limit: usize,
        room: usize,
    ) -> u64 {
        let offer = Offer {
            call_id,
            at: At::default(),
            kind: BindKind::Bind,
            group: 0,
            signs_headers: false,
            auth: None,
            is_leg: false,
            number: 0,
            contexts: Vec::new(),
        };
        contexts.offer(offer, &bind(offered), limit, room)
    }

    fn ack(results: &[(u16, SyntaxId)]) -> BindAck {
        let results = results
            .iter()
            .map(|&(result, transfer_syntax)| ContextResult {
                result,
                reason: 0,
                transfer_syntax,
            })
            .collect();
        BindAck {
            max_xmit_frag: 0,
            max_recv_frag: 0,
            assoc_group_id: 0,
            secondary_address: String::new(),
            results,
        }
    }

    #[test]
    fn the_id_of_the_feature_item_becomes_another_interface() {
        let mut contexts = Contexts::default();
        offer(
            &mut contexts,
            1,
            &[(0, 0x1a0, NDR20), (1, 0x1a0, FEATURES)],
            100,
            usize::MAX,
        );
        contexts.answer(1, BindKind::Bind, &ack(&[(0, NDR20), (3, FEATURES)]));
        assert_eq!(
            contexts.resolve(0),
            Some(Context::Accepted(interface(0x1a0), Some(Encoding::Ndr20)))
        );
        assert_eq!(contexts.resolve(1), Some(Context::Refused));
        offer(&mut contexts, 2, &[(1, 0x99, NDR20)], 100, usize::MAX);
        contexts.answer(2, BindKind::Bind, &ack(&[(0, NDR20)]));
        assert_eq!(
            contexts.resolve(1),
            Some(Context::Accepted(interface(0x99), Some(Encoding::Ndr20)))
        );
    }

    #[test]
    fn a_refused_context_is_not_resolved_and_an_accepted_one_survives_a_refusal() {
        let mut contexts = Contexts::default();
        offer(&mut contexts, 1, &[(0, 1, NDR20), (1, 1, NDR64)], 100, usize::MAX);
        contexts.answer(1, BindKind::Bind, &ack(&[(0, NDR20), (2, NDR64)]));
        assert_eq!(contexts.resolve(1), Some(Context::Refused));
        offer(&mut contexts, 2, &[(0, 7, NDR20)], 100, usize::MAX);
        contexts.answer(2, BindKind::Bind, &ack(&[(2, NDR20)]));
        assert_eq!(
            contexts.resolve(0),
            Some(Context::Accepted(interface(1), Some(Encoding::Ndr20)))
        );
    }

    #[test]
    fn an_offer_without_an_answer_is_used_with_its_only_encoding() {
        let mut contexts = Contexts::default();
        offer(&mut contexts, 1, &[(0, 1, NDR64)], 100, usize::MAX);
        assert_eq!(
            contexts.resolve(0),
            Some(Context::Offered(interface(1), Some(Encoding::Ndr64)))
        );
        contexts.withdraw(1);
        assert_eq!(contexts.resolve(0), Some(Context::Refused));
    }

    #[test]
    fn after_a_loss_a_refused_id_is_unknown_and_an_accepted_one_is_kept() {
        let mut contexts = Contexts::default();
        offer(&mut contexts, 1, &[(0, 1, NDR20), (1, 1, FEATURES)], 100, usize::MAX);
        contexts.answer(1, BindKind::Bind, &ack(&[(0, NDR20), (3, FEATURES)]));
        contexts.doubt();
        assert_eq!(contexts.resolve(1), None);
        assert!(matches!(contexts.resolve(0), Some(Context::Accepted(..))));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut contexts = Contexts::default();
        for id in 0..500 {
            offer(&mut contexts, id.into(), &[(id, 1, NDR20)], 100, usize::MAX);
        }
        assert_eq!((contexts.table.len(), contexts.offers.len()), (100, MAX_OFFERS));
    }

    #[test]
    fn contexts_and_offers_take_no_more_than_there_is_room_for() {
        let mut contexts = Contexts::default();
        let many: Vec<_> = (0..200).map(|id| (id, 1, NDR20)).collect();
        for call_id in 0..50 {
            let room = 10_000 - contexts.kept();
            assert!(offer(&mut contexts, call_id, &many, 1000, room) > 0);
            assert!(contexts.kept() <= 10_000);
        }
        let table = contexts.table.len() * ENTRY;
        contexts.waiting().into_iter().for_each(|call_id| {
            contexts.withdraw(call_id);
        });
        assert_eq!(contexts.kept(), table);
    }
    #[test]
    fn offers_under_one_call_id_are_answered_in_their_order() {
        let mut contexts = Contexts::default();
        offer(&mut contexts, 2, &[(2, 0x99, NDR20)], 100, usize::MAX);
        offer(&mut contexts, 2, &[(1, 0x1a0, NDR20)], 100, usize::MAX);
        contexts.answer(2, BindKind::Bind, &ack(&[(2, NDR20)]));
        contexts.answer(2, BindKind::Bind, &ack(&[(0, NDR20)]));
        assert_eq!(contexts.resolve(2), Some(Context::Refused));
        assert!(matches!(contexts.resolve(1), Some(Context::Accepted(..))));
    }

    #[test]
    fn a_refusal_is_that_of_its_own_offer_alone() {
        let mut contexts = Contexts::default();
        offer(&mut contexts, 1, &[(1, 0x1a0, NDR64)], 100, usize::MAX);
        offer(&mut contexts, 2, &[(1, 0x1a0, NDR20)], 100, usize::MAX);
        contexts.answer(1, BindKind::Bind, &ack(&[(2, NDR64)]));
        assert!(matches!(contexts.resolve(1), Some(Context::Offered(..))));
        contexts.withdraw(2);
        assert_eq!(contexts.resolve(1), Some(Context::Refused));
    }
}
