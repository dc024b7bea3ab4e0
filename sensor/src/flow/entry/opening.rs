//! How a connection opens: who calls whom, and whether anybody answers.

use std::sync::Arc;

use super::{Flow, State};
use crate::decode::{Segment, Tunnel, VlanTags};
use crate::flow::recognise::Protocol;
use crate::flow::reopening::Reopening;
use crate::flow::table::End;
use crate::flow::traffic::{Reason, Seen};
use crate::flow::{Connection, Consumer, Opener, Output, Shared, Sides, Silence};

/// Of the endpoint mapper and of the activator ([MS-RPCE] 2.1.1.1 `NCACN_IP_TCP`): to ask for an object means to
/// come here first.
const MAPPER: u16 = 135;

impl<C: Consumer> Flow<C> {
    /// A SYN in the middle, if there was one.
    fn reopening(&mut self) -> Option<&mut Option<Reopening>> {
        match &mut self.state {
            State::Tracked(tracked) => Some(&mut tracked.reopening),
            State::Probing(probe) => Some(&mut probe.reopening),
            State::Fresh(_) | State::Foreign(_) => None,
        }
    }

    /// Another connection may begin here. One that was thought to begin before did not.
    fn may_reopen(&mut self, syn: Reopening) {
        let is_new =
            |before: &Option<Reopening>| !before.is_some_and(|before| (before.end, before.next) == (syn.end, syn.next));
        match &mut self.state {
            State::Tracked(tracked) if is_new(&tracked.reopening) => {
                tracked.take_back();
                tracked.reopening = Some(syn);
            }
            State::Probing(probe) if is_new(&probe.reopening) => probe.reopening = Some(syn),
            _ => {}
        }
    }

    /// SYN and SYN-ACK: who opens, and where each stream starts.
    pub(in crate::flow) fn shake_hands(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if !segment.syn || segment.rst {
            return;
        }
        let start = segment.sequence.wrapping_add(1);
        let opening = segment.acknowledgement.is_none();
        if self.next[end] == Some(start) && (opening || !matches!(self.state, State::Fresh(_))) {
            return; // sent again, or seen twice
        }
        let (closing, spoke) = (self.closing, self.spoke);
        let mut begun = None;
        if let Some(reopening) = self.reopening() {
            // Where only one direction is seen, there is nobody to acknowledge it.
            let alone = !spoke[1 - end];
            if opening && !closing && !alone {
                self.may_reopen(Reopening::new(segment, end));
                return;
            }
            begun = reopening.take_if(|syn| segment.acknowledgement == Some(syn.next));
            if !opening && !alone && begun.is_none() {
                return;
            }
        } else if !opening && self.next[end].is_some_and(|next| next != start) {
            return; // a second answer that does not fit the first
        }
        if !matches!(self.state, State::Fresh(_)) || (opening && self.next[end].is_some()) {
            let (opened, seen) = begun.map_or_else(
                || (segment.at, Seen::default()),
                |syn| (syn.at, Seen::of(syn.end, syn.packets)),
            );
            let new = Self {
                last: self.last,
                spoke: self.spoke,
                sound: self.sound,
                state: State::Fresh(seen),
                ..Self::new(self.key, opened)
            };
            std::mem::replace(self, new).end(Reason::Reused, shared, out);
            shared.counters.connections += 1;
        }
        self.next[end] = Some(start);
        let opener = if opening { end } else { 1 - end };
        self.opener = Some(opener == 1);
        self.awaiting = opening && self.key.ends[1 - end].port == MAPPER;
        if let Some(acknowledgement) = segment.acknowledgement {
            self.next[1 - end].get_or_insert(acknowledgement);
        }
    }

    /// Says once that there is a connection: its opener was answered, or data flows.
    pub(in crate::flow) fn announce(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let answered = segment.syn && segment.acknowledgement.is_some();
        if self.heard || segment.rst || (!answered && segment.payload.is_empty()) {
            return;
        }
        self.heard = true;
        shared.counters.heard += 1;
        shared.counters.heard_both_ways += u64::from(self.spoke == [true; 2]);
        let (first, opener_known) = match self.opener {
            Some(opener) => (usize::from(opener), Opener::First),
            None => (end, Opener::Unknown),
        };
        let ends = [self.key.ends[first], self.key.ends[1 - first]];
        out(Output::Heard {
            at: segment.at,
            ends,
            opener_known,
        });
    }

    /// A connection to the mapper's port may stay without an answer; whatever else is acknowledged is one.
    pub(in crate::flow) fn await_answer(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if !self.awaiting {
            return;
        }
        let by_opener = self.opener.map(usize::from) == Some(end);
        let lasted = segment.at.steady().since(self.opened.steady());
        let silence = match (segment.rst, segment.acknowledgement.is_some()) {
            (true, _) if !by_opener => Silence::Refused,
            (false, false) if segment.syn && lasted >= shared.bounds.limits.connect => Silence::Ignored,
            (false, true) => {
                self.awaiting = false;
                return;
            }
            _ => return,
        };
        let seed = shared.bounds.limits.community_id_seed;
        self.tell_unanswered(silence, (segment.vlan, segment.tunnel.copied()), seed, out);
    }

    pub(super) fn tell_unanswered(
        &mut self,
        silence: Silence,
        around: (VlanTags, Option<Tunnel>),
        seed: u16,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        self.awaiting = false;
        let Some(opener) = self.opener.map(usize::from) else {
            return;
        };
        let ends = Sides {
            client: self.key.ends[opener],
            server: self.key.ends[1 - opener],
        };
        let connection = Connection::new(ends, around, self.opened, true, Protocol::Rpc, seed);
        out(Output::Unanswered(Arc::new(connection), silence));
    }
}
