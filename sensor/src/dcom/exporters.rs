//! What an IPID stands for: its interface, the activation it descends from, and the names of its members; learned from
//! what replies hand out.
//!
//! IPIDs are unique within an exporter's machine, not across machines: what one server says is kept apart from what
//! another says. A machine answers at several addresses: those that it says itself, in its string bindings, are its own.
//! What was handed to one client is kept apart from what was handed to another, since the objects of a process that runs
//! anyway (`ShellWindows`) are the same for all who ask.
//!
//! An object is over some time after its last reference was released, when its pings end, or when nothing was heard of it for
//! long. That is concluded, and what was released, pinged or held elsewhere need not have been seen: an object that answers is
//! there, and known again.

mod activations;
mod classes;
mod known;
mod life;
mod lineage;
mod machines;
mod names;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::dcom::{RemInterfaceRef, SetId};
use dcom_parsers::guid::{Ipid, Oid, Oxid};

use crate::flow::Connection;
use crate::hash::HashMap;
use crate::limits::Limits;
use crate::time::Timestamp;
use activations::Activations;
use classes::Classes;
use life::Life;
use machines::Machines;
use names::{Member, is_name};

pub(super) use known::{Known, Told, ToldBy};
pub(super) use lineage::{Lineage, Tie, UNSEEN};

/// How many times fewer names are remembered of classes than of interfaces.
const SHARE_OF_CLASSES: usize = 16;
/// Clients and servers for which one IPID is kept, activations kept for one exporter, addresses of one machine, and ping sets
/// of one object.
const MAX_ALIKE: usize = 16;

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
}

impl From<&Connection> for Pair {
    fn from(connection: &Connection) -> Self {
        Self {
            client: connection.client.address,
            server: connection.server.address,
        }
    }
}

/// The interfaces of all servers, with the names of their members. The oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Exporters {
    interfaces: HashMap<Ipid, Vec<Known>>,
    /// Names in all of them.
    names: usize,
    classes: Classes,
    order: VecDeque<(Ipid, Pair)>,
    activations: Activations,
    machines: Machines,
    life: Life,
    limits: Limits,
    now: Timestamp,
    /// How many were forgotten to make room.
    forgotten: u64,
}

impl Exporters {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            interfaces: HashMap::default(),
            names: 0,
            classes: Classes::default(),
            order: VecDeque::new(),
            activations: Activations::default(),
            machines: Machines::new(limits.interfaces),
            life: Life::new(limits),
            limits: *limits,
            now: Timestamp::default(),
            forgotten: 0,
        }
    }

    /// Time has come this far.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.life.as_of = self.now;
    }

    /// What is asked for next is looked at as it was then.
    pub(super) fn look_back(&mut self, asked: Timestamp) {
        self.life.as_of = asked;
    }

    /// A reply tells an interface.
    pub(super) fn learn(&mut self, pair: Pair, told: Told) {
        let ipid = told.ipid;
        if ipid.0.is_null() {
            return;
        }
        let alike = self.interfaces.entry(ipid).or_default();
        let given = given(alike, pair, &self.machines);
        let was_alive = given.is_none_or(|at| self.life.is_alive(&alike[at]));
        let at = given.unwrap_or_else(|| {
            if alike.len() >= MAX_ALIKE {
                self.names -= alike.remove(0).named();
            }
            self.order.push_back((ipid, pair));
            alike.push(Known::new(pair, &told, self.now));
            alike.len() - 1
        });
        alike[at].learn(told, was_alive, self.now, self.limits.object_released);
        self.make_room();
    }

    /// A name takes as much room as an interface.
    fn make_room(&mut self) {
        while self.order.len() + self.names > self.limits.interfaces {
            let Some((ipid, pair)) = self.order.pop_front() else {
                return;
            };
            let Some(alike) = self.interfaces.get_mut(&ipid) else {
                continue;
            };
            if let Some(index) = alike.iter().position(|known| known.pair == pair) {
                let known = alike.remove(index);
                self.names -= known.named();
                self.forgotten += 1;
            }
            if alike.is_empty() {
                self.interfaces.remove(&ipid);
            }
        }
    }

    /// An activation's reply names its exporter.
    pub(super) fn activated(&mut self, pair: Pair, oxid: Oxid, lineage: &Lineage) {
        self.activations
            .add(pair, oxid, lineage, self.now, self.limits.interfaces);
    }

    /// The activation that an object of this exporter may descend from: `is_made` says whether a class object made it.
    pub(super) fn by_exporter(&self, pair: Pair, oxid: Oxid, is_made: bool) -> Option<Arc<Lineage>> {
        self.activations.of(pair, oxid, is_made, (&self.machines, &self.life))
    }

    /// The machine at `server` says that it has these addresses too.
    pub(super) fn has_addresses(&mut self, server: IpAddr, addresses: impl Iterator<Item = IpAddr>) {
        self.machines.say(server, addresses, self.now);
    }

    /// What the machine at `server` said that its other addresses are.
    pub(super) fn addresses_of(&self, server: IpAddr) -> &[IpAddr] {
        self.machines.others(server)
    }

    /// The client was told the number of a member of `ipid`; `matters` says whether the name means something where it is
    /// called.
    pub(super) fn name(&mut self, pair: Pair, ipid: Ipid, number: i64, name: &str, by: ToldBy, matters: bool) {
        let Some(known) = self.called(pair, ipid).filter(|_| is_name(name)) else {
            return;
        };
        let is_question = by == ToldBy::Question;
        // What one client asks says nothing of what another calls.
        if is_question && !known.is_held_by(pair.client) {
            return;
        }
        let member = Member {
            number,
            name: name.to_owned(),
            by,
            matters,
        };
        let place = if is_question { None } else { known.place() };
        let is_new = known.name(member.clone());
        self.names += usize::from(is_new);
        if let Some(place) = place {
            let most = self.limits.interfaces / SHARE_OF_CLASSES;
            self.classes.learn(place, member, most);
        }
        self.make_room();
    }

    /// The client was told the number of a parameter of a member of `ipid`.
    pub(super) fn parameter(&mut self, pair: Pair, ipid: Ipid, member: i64, dispid: i64, name: &str) {
        if let Some(known) = self.called(pair, ipid).filter(|_| is_name(name)) {
            self.names += usize::from(known.name_parameter(member, dispid, name));
            self.make_room();
        }
    }

    /// The client asked for the number of a member of `ipid`, and the answer was not seen.
    pub(super) fn asked(&mut self, pair: Pair, ipid: Ipid, name: &str) {
        if let Some(known) = self.held(pair, ipid) {
            known.ask(name);
        }
    }

    /// What `ipid` is on a server, for a client; where another client was given it, what it is for that one.
    pub(super) fn find(&self, pair: Pair, ipid: Ipid) -> Option<&Known> {
        let alike = self.interfaces.get(&ipid)?;
        alike.get(alive(alike, pair, &self.machines, &self.life)?)
    }

    /// Where an object comes from that is there for certain, since the server has done something with it: perhaps it was taken
    /// for over.
    pub(super) fn lineage_of(&self, pair: Pair, ipid: Ipid) -> Option<Arc<Lineage>> {
        if let Some(known) = self.find(pair, ipid) {
            return known.lineage_for(pair.client);
        }
        let alike = self.interfaces.get(&ipid)?;
        let known = alike.get(given(alike, pair, &self.machines)?)?;
        Some(Arc::new(known.lineage.as_ref()?.weak(Tie::Released)))
    }

    /// The member that a number stands for, as the server told of another object like this one.
    pub(super) fn member_of_alike(&self, object: &Known, dispid: i64) -> Option<&str> {
        self.classes.member(&object.place()?, dispid)
    }

    /// The object was called: it is in use.
    pub(super) fn used(&mut self, pair: Pair, ipid: Ipid) {
        let (asked, limit) = (self.life.as_of, self.limits.object_released);
        if let Some(known) = self.held(pair, ipid) {
            known.call(asked, limit);
        }
    }

    /// The object has answered a call: it is there, though it was taken for over.
    pub(super) fn answered(&mut self, pair: Pair, ipid: Ipid) {
        let (asked, limit) = (self.life.as_of, self.limits.object_released);
        if let Some(known) = self.held(pair, ipid) {
            known.answer(asked, limit);
        } else {
            self.adopt(pair, ipid);
        }
    }

    /// The object has answered where nothing says that its machine is. An IPID is one interface's of one object alone ([MS-DCOM]
    /// 2.2.9 IPID): what this client was given of that IPID, by one machine, is known there too, and what is told there is told of
    /// that address alone.
    fn adopt(&mut self, pair: Pair, ipid: Ipid) {
        let Some(alike) = self.interfaces.get_mut(&ipid) else {
            return;
        };
        if alike.len() >= MAX_ALIKE || alive(alike, pair, &self.machines, &self.life).is_some() {
            return;
        }
        let is_own = |known: &&Known| known.pair.client == pair.client && self.life.is_alive(known);
        let mut own = alike.iter().filter(is_own);
        let (Some(known), None) = (own.next(), own.next()) else {
            return;
        };
        let known = known.elsewhere(pair, self.now);
        self.names += known.named();
        self.order.push_back((ipid, pair));
        alike.push(known);
        self.make_room();
    }

    /// The client holds more references.
    pub(super) fn add_references(&mut self, pair: Pair, more: &RemInterfaceRef) {
        if let Some(known) = self.held(pair, more.ipid) {
            known.add_references([more.public_refs, more.private_refs]);
        }
    }

    /// The client holds fewer references; with none, the object is soon forgotten.
    pub(super) fn release(&mut self, pair: Pair, less: &RemInterfaceRef) {
        let now = self.now;
        if let Some(known) = self.held(pair, less.ipid) {
            known.release([less.public_refs, less.private_refs], now);
        }
    }

    /// A client keeps objects alive.
    pub(super) fn ping(&mut self, server: IpAddr, set: SetId, added: &[Oid], deleted: &[Oid]) {
        self.life.ping(server, set, added, deleted, self.now);
    }

    /// What the client was given.
    fn held(&mut self, pair: Pair, ipid: Ipid) -> Option<&mut Known> {
        let alike = self.interfaces.get_mut(&ipid)?;
        let at = given(alike, pair, &self.machines)?;
        alike.get_mut(at)
    }

    /// What the client calls: what another one was given, where this one was not seen to be given it.
    fn called(&mut self, pair: Pair, ipid: Ipid) -> Option<&mut Known> {
        let Self {
            interfaces,
            machines,
            life,
            ..
        } = self;
        let alike = interfaces.get_mut(&ipid)?;
        let at = alive(alike, pair, machines, life).or_else(|| given(alike, pair, machines))?;
        alike.get_mut(at)
    }

    /// How many were forgotten to make room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The capture is over.
    pub(super) fn clear(&mut self) {
        let limits = self.limits;
        *self = Self {
            forgotten: self.forgotten,
            ..Self::new(&limits)
        };
    }
}

/// The place of what the client was given: here, or at another address of the machine.
fn given(alike: &[Known], pair: Pair, machines: &Machines) -> Option<usize> {
    let here = alike.iter().position(|known| known.pair == pair);
    here.or_else(|| {
        let own = |known: &Known| known.pair.client == pair.client;
        let at_this_machine = |known: &Known| machines.is_same(known.pair.server, pair.server);
        alike.iter().position(|known| own(known) && at_this_machine(known))
    })
}

/// The place of what is there for a client: what it was given here, else what ranks next.
fn alive(alike: &[Known], pair: Pair, machines: &Machines, life: &Life) -> Option<usize> {
    // Mostly it was this client that was given it here, and not long ago: nothing ranks before that.
    if let Some(at) = alike.iter().rposition(|known| known.pair == pair)
        && life.is_alive(&alike[at])
    {
        return Some(at);
    }
    let rank = |(_, known): &(usize, &Known)| {
        let same_server = known.pair.server == pair.server;
        let same_client = known.pair.client == pair.client;
        (!same_client, !same_server)
    };
    let there = |(_, known): &(usize, &Known)| machines.is_same(known.pair.server, pair.server) && life.is_alive(known);
    let best = alike.iter().enumerate().filter(there).min_by_key(rank);
    best.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use dcom_parsers::dcom::StdObjref;
    use dcom_parsers::guid::{Clsid, Guid, Iid};

    use super::names::{MAX_NAME, MAX_NAMES};
    use super::*;
    use crate::event::dcom::{ActivationRecord, Proof};

    const DISPATCH: Iid = Iid(Guid::com(0x2_0400));
    const SECOND: i64 = 1_000_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn pair(client: u8, server: u8) -> Pair {
        Pair {
            client: address(client),
            server: address(server),
        }
    }

    fn ipid(number: u32) -> Ipid {
        Ipid(Guid::com(number))
    }

    fn told(number: u32, frame: u64) -> Told {
        Told::interface(ipid(number), DISPATCH, frame)
    }

    fn references(number: u32, public_refs: u32, private_refs: u32) -> RemInterfaceRef {
        RemInterfaceRef {
            ipid: ipid(number),
            public_refs,
            private_refs,
        }
    }

    fn reference(number: u32, oid: u64, public_refs: u32) -> StdObjref {
        StdObjref {
            flags: 0,
            public_refs,
            oxid: Oxid(1),
            oid: Oid(oid),
            ipid: ipid(number),
        }
    }

    fn handed_out(number: u32, oid: u64, public_refs: u32) -> Told {
        Told {
            reference: Some(reference(number, oid, public_refs)),
            ..told(number, 7)
        }
    }

    fn lineage(path: &str) -> Arc<Lineage> {
        Arc::new(Lineage {
            path: path.to_owned(),
            activation: Some(ActivationRecord::default()),
            ..Lineage::unseen()
        })
    }

    fn room_for(interfaces: usize) -> Exporters {
        Exporters::new(&Limits {
            interfaces,
            ..Limits::default()
        })
    }

    #[test]
    fn an_ipid_is_known_on_its_server_only_and_the_oldest_is_forgotten() {
        let mut exporters = room_for(2);
        exporters.learn(pair(9, 1), told(1, 7));
        let known = exporters.find(pair(9, 1), ipid(1)).unwrap();
        assert_eq!((known.iid, known.frame), (DISPATCH, 7));
        assert_eq!(exporters.find(pair(9, 2), ipid(1)), None);
        exporters.learn(pair(9, 1), Told::interface(Ipid::default(), DISPATCH, 7));
        exporters.learn(pair(9, 1), told(2, 8));
        exporters.learn(pair(9, 1), told(3, 9));
        assert_eq!((exporters.find(pair(9, 1), ipid(1)), exporters.forgotten()), (None, 1));
    }

    #[test]
    fn a_machine_is_known_at_the_addresses_that_it_says_are_its_own() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), told(1, 7));
        exporters.has_addresses(address(1), [address(1), address(5)].into_iter());
        assert!(exporters.find(pair(9, 5), ipid(1)).is_some());
        assert_eq!(exporters.find(pair(9, 6), ipid(1)), None);
    }

    #[test]
    fn what_answers_at_an_address_that_nobody_named_is_known_there_weakly() {
        let mut exporters = room_for(9);
        let lineage = Some(activated(1, "A", Proof::Strong));
        exporters.learn(pair(9, 1), Told { lineage, ..told(1, 7) });
        exporters.name(pair(9, 1), ipid(1), 1, "Run", ToldBy::GetIdsOfNames, false);
        exporters.answered(pair(8, 5), ipid(1));
        assert_eq!(exporters.find(pair(8, 5), ipid(1)), None, "another client");
        exporters.answered(pair(9, 5), ipid(1));
        exporters.answered(pair(9, 5), ipid(1));
        exporters.name(pair(9, 5), ipid(1), 1, "Walk", ToldBy::GetIdsOfNames, false);
        let known = exporters.find(pair(9, 5), ipid(1)).unwrap();
        let activation = known.lineage.as_ref().unwrap().activation.as_ref().unwrap();
        assert_eq!((known.member(1).unwrap().0, activation.proof), ("Walk", Proof::Weak));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)).unwrap().member(1).unwrap().0, "Run");
        assert_eq!((exporters.order.len(), exporters.names), (2, 2));
        exporters.answered(pair(9, 6), ipid(1));
        assert_eq!(exporters.find(pair(9, 6), ipid(1)), None, "of one of two");
    }

    #[test]
    fn what_a_client_is_told_at_one_address_of_a_machine_holds_at_the_others() {
        let mut exporters = room_for(9);
        exporters.has_addresses(address(1), [address(5)].into_iter());
        exporters.learn(pair(9, 1), handed_out(1, 4, 1));
        exporters.name(pair(9, 5), ipid(1), 2000, "Run", ToldBy::GetIdsOfNames, false);
        exporters.parameter(pair(9, 5), ipid(1), 2000, 0, "MacroName");
        exporters.asked(pair(9, 5), ipid(1), "Quit");
        exporters.learn(pair(9, 5), told(1, 8));
        for server in [1, 5] {
            let known = exporters.find(pair(9, server), ipid(1)).unwrap();
            assert_eq!(known.member(2000), Some(("Run", ToldBy::GetIdsOfNames)), "{server}");
            assert_eq!(
                (known.parameter(2000, 0), known.question()),
                (Some("MacroName"), Some("Quit"))
            );
        }
        exporters.release(pair(9, 5), &references(1, 1, 0));
        exporters.advance(Timestamp(SECOND * 61));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
    }

    #[test]
    fn an_object_that_another_client_was_given_has_its_members_and_is_tied_weakly() {
        let mut exporters = room_for(9);
        let lineage = Some(activated(1, "A", Proof::Strong));
        exporters.learn(
            pair(9, 1),
            Told {
                lineage,
                ..handed_out(1, 4, 1)
            },
        );
        exporters.name(pair(8, 1), ipid(1), 2000, "Run", ToldBy::GetIdsOfNames, false);
        exporters.name(pair(8, 1), ipid(1), 2001, "Guess", ToldBy::Question, false);
        exporters.release(pair(8, 1), &references(1, 1, 0));
        exporters.advance(Timestamp(SECOND * 61));
        let known = exporters.find(pair(8, 1), ipid(1)).unwrap();
        assert_eq!(known.member(2000), Some(("Run", ToldBy::GetIdsOfNames)));
        assert_eq!(known.member(2001), None);
        for (client, proof) in [(9, Proof::Strong), (8, Proof::Weak)] {
            let by_client = known.lineage_for(address(client)).unwrap();
            assert_eq!(by_client.activation.as_ref().unwrap().proof, proof);
            let of_it = exporters.lineage_of(pair(client, 1), ipid(1));
            assert_eq!(of_it, Some(by_client));
        }
    }

    #[test]
    fn what_one_client_was_given_is_not_what_another_was_given() {
        let mut exporters = room_for(9);
        for (client, path) in [(8, "A"), (9, "B")] {
            let lineage = Some(lineage(path));
            exporters.learn(pair(client, 1), Told { lineage, ..told(1, 7) });
        }
        let path = |client| {
            let known = exporters.find(pair(client, 1), ipid(1)).unwrap();
            (
                known.lineage.as_ref().unwrap().path.clone(),
                known.is_held_by(address(client)),
            )
        };
        assert_eq!((path(8), path(9)), (("A".to_owned(), true), ("B".to_owned(), true)));
        assert!(!path(7).1, "somebody else's");
    }

    #[test]
    fn an_object_keeps_its_first_origin_and_the_names_of_its_members() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), told(1, 7));
        for (frame, path) in [(8, "A.B"), (9, "A.C")] {
            let lineage = Some(lineage(path));
            exporters.learn(
                pair(9, 1),
                Told {
                    lineage,
                    ..told(1, frame)
                },
            );
        }
        exporters.name(pair(9, 1), ipid(1), 54, "Run", ToldBy::GetIdsOfNames, false);
        exporters.name(pair(9, 1), ipid(1), 54, "Walk", ToldBy::TypeInfo, false);
        let known = exporters.find(pair(9, 1), ipid(1)).unwrap();
        assert_eq!(known.lineage.as_ref().unwrap().member("Run").path, "A.B.Run");
        assert_eq!(
            (known.member(54), known.member(6)),
            (Some(("Run", ToldBy::GetIdsOfNames)), None)
        );
    }

    /// An activation at that second, and what is reached from it.
    fn activated(second: i64, path: &str, proof: Proof) -> Arc<Lineage> {
        let activation = ActivationRecord {
            timestamp: Timestamp(second * SECOND),
            proof,
            ..ActivationRecord::default()
        };
        Arc::new(Lineage {
            activation: Some(activation),
            ..(*lineage(path)).clone()
        })
    }

    fn path(exporters: &Exporters, client: u8) -> Option<&str> {
        let known = exporters.find(pair(client, 1), ipid(1))?;
        known.lineage.as_ref().map(|lineage| lineage.path.as_str())
    }

    #[test]
    fn what_a_later_activation_hands_out_again_is_its_own_from_then_on() {
        let mut exporters = room_for(9);
        let mut learn = |client, lineage| {
            exporters.learn(pair(client, 1), Told { lineage, ..told(1, 7) });
            path(&exporters, client).unwrap_or_default().to_owned()
        };
        assert_eq!(learn(9, Some(activated(1, "A", Proof::Strong))), "A");
        assert_eq!(learn(8, Some(activated(2, "Other", Proof::Strong))), "Other");
        assert_eq!(
            learn(9, Some(activated(1, "A.Self", Proof::Strong))),
            "A",
            "the same object"
        );
        assert_eq!(learn(9, Some(activated(3, "Weak", Proof::Weak))), "A", "a guess");
        assert_eq!(learn(9, Some(Lineage::unseen().into())), "A");
        assert_eq!(learn(9, Some(activated(3, "B", Proof::Strong))), "B");
        assert_eq!(
            learn(9, Some(activated(1, "A.Again", Proof::Strong))),
            "B",
            "the newest stands"
        );
        assert_eq!(
            path(&exporters, 8),
            Some("Other"),
            "what another client was given is its own"
        );
    }

    #[test]
    fn an_object_that_is_over_begins_again_and_one_that_was_idle_is_told_by_whatever_comes() {
        for (released, after) in [(true, 61), (false, 3601)] {
            let mut exporters = room_for(9);
            let lineage = Some(activated(1, "A", Proof::Strong));
            exporters.learn(
                pair(9, 1),
                Told {
                    lineage,
                    ..handed_out(1, 4, 5)
                },
            );
            exporters.name(pair(9, 1), ipid(1), 3, "Run", ToldBy::TypeInfo, false);
            if released {
                exporters.release(pair(9, 1), &references(1, 5, 0));
            }
            exporters.advance(Timestamp(after * SECOND));
            if released {
                exporters.learn(pair(9, 1), handed_out(1, 4, 5));
            } else {
                // Called without anybody having seen it handed out.
                exporters.used(pair(9, 1), ipid(1));
            }
            assert_eq!(path(&exporters, 9), (!released).then_some("A"));
            let known = exporters.find(pair(9, 1), ipid(1)).unwrap();
            assert_eq!(known.member(3), Some(("Run", ToldBy::TypeInfo)));
        }
        let mut exporters = room_for(9);
        for (second, path, proof) in [(1, "A", Proof::Strong), (1, "B", Proof::Weak)] {
            let lineage = Some(activated(second, path, proof));
            exporters.learn(
                pair(9, 1),
                Told {
                    lineage,
                    ..handed_out(1, 4, 5)
                },
            );
            exporters.advance(Timestamp(3601 * SECOND));
        }
        exporters.used(pair(9, 1), ipid(1));
        assert_eq!(path(&exporters, 9), Some("B"));
    }

    #[test]
    fn the_one_open_question_names_the_next_call_and_of_two_neither_does() {
        let mut exporters = Exporters::new(&Limits::default());
        let question = |exporters: &Exporters| {
            let known = exporters.find(pair(9, 1), ipid(1));
            known.and_then(Known::question).map(str::to_owned)
        };
        exporters.asked(pair(9, 1), ipid(1), "Run");
        assert_eq!(question(&exporters), None, "of an interface that nobody knows");
        exporters.learn(pair(9, 1), told(1, 1));
        exporters.asked(pair(9, 1), ipid(1), "Run");
        exporters.asked(pair(9, 1), ipid(1), "Run");
        assert_eq!(question(&exporters).as_deref(), Some("Run"));
        exporters.asked(pair(9, 1), ipid(1), "Quit");
        exporters.asked(pair(9, 1), ipid(1), "More");
        assert_eq!(question(&exporters), None);
        exporters.name(pair(9, 1), ipid(1), 3, "Run", ToldBy::Question, false);
        assert_eq!(
            question(&exporters).as_deref(),
            Some("Quit"),
            "the first has its number now"
        );
        exporters.name(pair(9, 1), ipid(1), 4, "Quit", ToldBy::GetIdsOfNames, false);
        exporters.asked(pair(9, 1), ipid(1), "Quit");
        assert_eq!(question(&exporters), None, "what has a number is no question");
    }

    #[test]
    fn an_exporter_ties_weakly_and_to_the_same_client_alone() {
        let mut exporters = room_for(9);
        exporters.activated(pair(9, 1), Oxid(5), &lineage("A"));
        exporters.activated(pair(8, 1), Oxid(5), &lineage("B"));
        let tied = exporters.by_exporter(pair(9, 1), Oxid(5), true).unwrap();
        assert_eq!(
            (tied.path.as_str(), tied.activation.as_ref().unwrap().proof),
            ("A", Proof::Weak)
        );
        assert_eq!(exporters.by_exporter(pair(7, 1), Oxid(5), false), None);
        exporters.activated(pair(9, 1), Oxid(6), &lineage("D"));
        let path = |is_made| {
            exporters
                .by_exporter(pair(9, 1), Oxid(6), is_made)
                .unwrap()
                .path
                .clone()
        };
        assert_eq!((path(true), path(false)), ("D".to_owned(), UNSEEN.to_owned()));
        let other = Lineage {
            clsid: Some(Clsid(Guid::com(3))),
            ..(*lineage("C")).clone()
        };
        exporters.activated(pair(9, 1), Oxid(5), &other);
        let tied = exporters.by_exporter(pair(9, 1), Oxid(5), true).unwrap();
        assert_eq!((tied.path.as_str(), tied.clsid), (UNSEEN, None), "of one or the other");
        assert_eq!(tied.activation.as_ref().unwrap().proof, Proof::Weak);
        exporters.advance(Timestamp(Limits::default().object_idle + 1));
        assert_eq!(exporters.by_exporter(pair(9, 1), Oxid(5), false), None, "long ago");
    }

    #[test]
    fn names_take_room_and_no_name_takes_much() {
        let mut exporters = room_for(4);
        for number in 1..=2 {
            exporters.learn(pair(9, 1), told(number, 7));
            exporters.name(pair(9, 1), ipid(number), 1, "Run", ToldBy::GetIdsOfNames, false);
        }
        exporters.name(pair(9, 1), ipid(2), 1, "Run", ToldBy::GetIdsOfNames, false);
        exporters.name(
            pair(9, 1),
            ipid(2),
            2,
            &"n".repeat(MAX_NAME + 1),
            ToldBy::GetIdsOfNames,
            false,
        );
        assert_eq!((exporters.names, exporters.forgotten()), (2, 0));
        assert_eq!(exporters.find(pair(9, 1), ipid(2)).unwrap().member(2), None);
        exporters.name(pair(9, 1), ipid(2), 3, "Quit", ToldBy::GetIdsOfNames, false);
        assert_eq!((exporters.names, exporters.forgotten()), (2, 1));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
        exporters.clear();
        assert_eq!(exporters.names, 0);
    }

    #[test]
    fn parameters_have_numbers_of_their_own_and_take_room() {
        let mut exporters = room_for(2 + MAX_NAMES);
        exporters.learn(pair(9, 1), told(1, 7));
        exporters.name(pair(9, 1), ipid(1), 0, "Item", ToldBy::GetIdsOfNames, false);
        exporters.parameter(pair(9, 1), ipid(1), 0, 0, "first");
        exporters.parameter(pair(9, 1), ipid(1), 0, 0, "index");
        exporters.parameter(pair(9, 1), ipid(1), 0, 1, &"n".repeat(MAX_NAME + 1));
        let known = exporters.find(pair(9, 1), ipid(1)).unwrap();
        assert_eq!(known.member(0), Some(("Item", ToldBy::GetIdsOfNames)));
        assert_eq!((known.parameter(0, 0), known.parameter(1, 0)), (Some("index"), None));
        assert_eq!((known.parameter(0, 1), exporters.names), (None, 2));
        for number in 0..1_000 {
            exporters.parameter(pair(9, 1), ipid(1), 5, number, "more");
        }
        assert_eq!((exporters.names, exporters.forgotten()), (1 + MAX_NAMES, 0));
        exporters.learn(pair(9, 1), told(2, 8));
        assert_eq!((exporters.names, exporters.forgotten()), (0, 1));
    }

    #[test]
    fn what_was_told_of_an_object_is_known_of_the_next_at_its_place() {
        let mut exporters = room_for(100 * SHARE_OF_CLASSES);
        let at = |number, class, path, proof| Told {
            lineage: Some(Arc::new(Lineage {
                clsid: Some(Clsid(Guid::com(class))),
                path: String::from(path),
                activation: Some(ActivationRecord {
                    proof,
                    ..ActivationRecord::default()
                }),
                ..Lineage::unseen()
            })),
            ..told(number, 7)
        };
        let (strong, weak) = (Proof::Strong, Proof::Weak);
        exporters.learn(pair(9, 1), at(1, 5, "A", strong));
        exporters.name(pair(9, 1), ipid(1), 30, "Register", ToldBy::GetIdsOfNames, false);
        exporters.name(pair(9, 1), ipid(1), 31, "Guess", ToldBy::Question, false);
        exporters.learn(pair(9, 1), at(2, 5, "B", weak));
        exporters.name(pair(9, 1), ipid(2), 30, "Other", ToldBy::GetIdsOfNames, false);
        for (number, server, class, path, proof, name) in [
            (11, 1, 5, "A", strong, Some("Register")),
            (12, 1, 5, "A", weak, None),
            (13, 1, 5, "A.B", strong, None),
            (14, 1, 5, "B", strong, None),
            (15, 1, 6, "A", strong, None),
            (16, 2, 5, "A", strong, None),
        ] {
            exporters.learn(pair(8, server), at(number, class, path, proof));
            let known = exporters.find(pair(8, server), ipid(number)).unwrap();
            assert_eq!(known.member(30), None);
            assert_eq!(exporters.member_of_alike(known, 30), name, "{number}");
            assert_eq!(exporters.member_of_alike(known, 31), None);
        }
        for number in 100..1_000 {
            exporters.learn(pair(9, 1), at(number, number, "A", strong));
            exporters.name(pair(9, 1), ipid(number), 30, "Register", ToldBy::TypeInfo, false);
        }
        exporters.learn(pair(8, 1), at(17, 5, "A", strong));
        let known = exporters.find(pair(8, 1), ipid(17)).unwrap();
        assert_eq!(exporters.member_of_alike(known, 30), None, "the oldest are forgotten");
    }

    #[test]
    fn an_ipid_that_everybody_hands_out_is_bounded() {
        let mut exporters = room_for(1000);
        for client in 0..100 {
            exporters.learn(pair(client, 1), told(1, 7));
            exporters.name(pair(client, 1), ipid(1), 1, "Run", ToldBy::GetIdsOfNames, false);
        }
        assert_eq!(
            (exporters.interfaces[&ipid(1)].len(), exporters.names),
            (MAX_ALIKE, MAX_ALIKE)
        );
    }

    #[test]
    fn an_object_is_forgotten_once_released_unless_it_is_called_again() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.add_references(pair(9, 1), &references(1, 2, 0));
        exporters.release(pair(9, 1), &references(1, 5, 0));
        exporters.advance(Timestamp(SECOND * 1000));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some(), "two references are left");
        exporters.release(pair(9, 1), &references(1, 2, 0));
        exporters.advance(Timestamp(SECOND * 1030));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some(), "not yet");
        exporters.used(pair(9, 1), ipid(1));
        exporters.advance(Timestamp(SECOND * 1200));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some(), "somebody holds it yet");
        exporters.release(pair(9, 1), &references(1, 1, 0));
        exporters.advance(Timestamp(SECOND * 1300));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
    }

    #[test]
    fn a_private_reference_holds_an_object_as_a_public_one_does() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.add_references(pair(9, 1), &references(1, 0, 1));
        exporters.release(pair(9, 1), &references(1, 255, 0));
        exporters.advance(Timestamp(SECOND * 1000));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some());
        exporters.release(pair(9, 1), &references(1, 0, 1));
        exporters.advance(Timestamp(SECOND * 1100));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
    }

    #[test]
    fn what_answers_is_there_and_what_was_released_is_tied_weakly() {
        for (released, after, proof) in [(true, 61, Proof::Weak), (false, 3601, Proof::Strong)] {
            let mut exporters = room_for(9);
            let lineage = Some(activated(1, "A", Proof::Strong));
            exporters.learn(
                pair(9, 1),
                Told {
                    lineage,
                    ..handed_out(1, 4, 5)
                },
            );
            if released {
                exporters.release(pair(9, 1), &references(1, 5, 0));
            }
            exporters.advance(Timestamp(after * SECOND));
            assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
            let of_it = exporters.lineage_of(pair(9, 1), ipid(1)).unwrap();
            assert_eq!(of_it.activation.as_ref().unwrap().proof, Proof::Weak);
            // Refused, or called so that nobody saw the answer.
            if released {
                exporters.used(pair(9, 1), ipid(1));
                exporters.learn(pair(9, 1), told(1, 9));
                assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
            }
            exporters.answered(pair(9, 1), ipid(1));
            exporters.answered(pair(8, 1), ipid(1));
            let known = exporters.find(pair(9, 1), ipid(1)).unwrap();
            let lineage = known.lineage.as_ref().unwrap();
            assert_eq!(lineage.path, "A");
            assert_eq!(lineage.activation.as_ref().unwrap().proof, proof);
            assert_eq!(known.has_outlived(), released);
            exporters.learn(pair(9, 1), handed_out(1, 4, 5));
            assert!(!exporters.find(pair(9, 1), ipid(1)).unwrap().has_outlived());
        }
    }

    #[test]
    fn a_call_that_waited_long_is_one_to_the_object_as_it_was_when_it_was_asked() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), handed_out(1, 1, 1));
        exporters.advance(Timestamp(SECOND * 1000));
        exporters.release(pair(9, 1), &references(1, 9, 0));
        exporters.advance(Timestamp(SECOND * 1100));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
        exporters.look_back(Timestamp(SECOND * 990));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some(), "not released by then");
        exporters.used(pair(9, 1), ipid(1));
        exporters.advance(Timestamp(SECOND * 1100));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None, "released after it was asked");
    }

    #[test]
    fn pings_keep_an_object_and_their_end_ends_it() {
        let mut exporters = room_for(9);
        let alive = |exporters: &Exporters| exporters.find(pair(9, 1), ipid(1)).is_some();
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.ping(address(1), SetId(6), &[Oid(4)], &[]);
        for minute in 1..600 {
            exporters.advance(Timestamp(SECOND * 60 * minute));
            exporters.ping(address(1), SetId(6), &[], &[]);
            assert!(alive(&exporters), "{minute}");
        }
        exporters.advance(Timestamp(SECOND * 60 * 604));
        assert!(alive(&exporters));
        exporters.advance(Timestamp(SECOND * 60 * 607));
        assert!(!alive(&exporters));
    }

    #[test]
    fn an_object_in_several_ping_sets_lives_while_one_of_them_is_pinged() {
        let mut exporters = room_for(100);
        let alive = |exporters: &Exporters| exporters.find(pair(9, 1), ipid(1)).is_some();
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.ping(address(1), SetId(6), &[Oid(4)], &[]);
        // Another client's, or another one of this client's.
        exporters.ping(address(1), SetId(7), &[Oid(4)], &[]);
        exporters.ping(address(1), SetId(8), &[Oid(4)], &[]);
        exporters.ping(address(1), SetId(8), &[], &[Oid(4)]);
        for minute in 1..20 {
            exporters.advance(Timestamp(SECOND * 60 * minute));
            exporters.ping(address(1), SetId(6), &[], &[]);
            assert!(alive(&exporters), "{minute}");
        }
        exporters.ping(address(1), SetId(6), &[], &[Oid(4)]);
        exporters.advance(Timestamp(SECOND * 60 * 20));
        assert!(!alive(&exporters), "the other set ended long ago");
    }

    #[test]
    fn what_is_pinged_anew_finds_room() {
        let mut exporters = room_for(100);
        let oids: Vec<_> = (1_000..20_000).map(Oid).collect();
        exporters.ping(address(1), SetId(1), &oids, &[]);
        for set in 0..1_000 {
            exporters.ping(address(1), SetId(set), &[Oid(5)], &[]);
            exporters.has_addresses(IpAddr::from([10, 1, 1, 1]), [address(2)].into_iter());
        }
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.ping(address(1), SetId(6), &[Oid(4)], &[]);
        exporters.advance(Timestamp(SECOND * 361));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None, "its pings ended");
    }

    #[test]
    fn without_pings_an_object_lives_while_it_is_used() {
        let mut exporters = room_for(9);
        exporters.learn(pair(9, 1), handed_out(1, 4, 5));
        exporters.advance(Timestamp(Limits::default().object_idle));
        exporters.used(pair(9, 1), ipid(1));
        exporters.advance(Timestamp(2 * Limits::default().object_idle));
        assert!(exporters.find(pair(9, 1), ipid(1)).is_some());
        exporters.advance(Timestamp(2 * Limits::default().object_idle + 1));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
    }
}
