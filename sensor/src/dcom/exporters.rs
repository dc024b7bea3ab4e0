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

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::dcom::{RemInterfaceRef, SetId, StdObjref};
use dcom_parsers::guid::{Clsid, Iid, Ipid, Oid, Oxid};

use super::generations::Generations;
use crate::event::dcom::{ActivationRecord, Proof};
use crate::flow::Connection;
use crate::hash::HashMap;
use crate::limits::Limits;
use crate::time::Timestamp;

/// Names remembered for one interface: an object has few members that anyone asks for by name.
const MAX_NAMES: usize = 64;
/// Bytes of the longest name remembered. No identifier is that long.
const MAX_NAME: usize = 255;
/// How many times fewer names are remembered of classes than of interfaces.
const SHARE_OF_CLASSES: usize = 16;
/// Bytes of the longest path that is made longer still.
const MAX_PATH: usize = 256;
/// Names asked for that are kept of an interface: of two nobody can say which is called.
const MAX_ASKED: usize = 2;
/// Clients and servers for which one IPID is kept, activations kept for one exporter, addresses of one machine, and ping sets
/// of one object.
const MAX_ALIKE: usize = 16;
/// What stands for an object that nothing was seen to hand out, at the start of a path.
pub(super) const UNSEEN: &str = "?";

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

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lineage {
    /// The class that was activated, where that was read.
    pub(super) clsid: Option<Clsid>,
    /// Its name in the catalogue.
    pub(super) class: Option<String>,
    /// How the object was reached from there, as code would write it.
    pub(super) path: String,
    /// The activation, where it was seen, and what ties the object to it.
    pub(super) activation: Option<ActivationRecord>,
    /// The one class that was activated in its exporter, where nothing else ties the object to the activation.
    pub(super) beside: Option<Clsid>,
}

impl Lineage {
    /// An object that nothing was seen to hand out.
    pub(super) fn unseen() -> Self {
        Self {
            clsid: None,
            class: None,
            path: UNSEEN.to_owned(),
            activation: None,
            beside: None,
        }
    }

    /// The members that led here from the class on, without what they were given; nothing for an object that nobody saw come.
    pub(super) fn members(&self) -> Option<String> {
        let clsid = self.clsid?.to_string();
        let members = self.path.strip_prefix(self.class.as_deref().unwrap_or(&clsid))?;
        Some(without_arguments(members.strip_prefix('.').unwrap_or(members)))
    }

    /// The object that `member` of this one gave. Each may give the next without end: where a path is too long, it says so
    /// and grows no more.
    pub(super) fn member(&self, member: &str) -> Self {
        let path = if self.path.len() + member.len() <= MAX_PATH {
            format!("{}.{member}", self.path)
        } else if self.path.ends_with(".…") {
            self.path.clone()
        } else {
            format!("{}.…", self.path)
        };
        Self { path, ..self.clone() }
    }

    /// Is an object that is handed out again to be told by this, no longer by what was `known` of it?
    ///
    /// Within one activation it is the same object, and where it came from first stands. What another activation hands out
    /// later is that one's from then on, were it the same object: who is given it anew calls it by that.
    fn supersedes(&self, known: &Self) -> bool {
        let strong = |lineage: &Self| lineage.activation.clone().filter(|it| it.proof == Proof::Strong);
        let when = |activation: ActivationRecord| (activation.timestamp, activation.frame);
        match (strong(self), strong(known)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(new), Some(known)) => when(new) > when(known),
        }
    }

    /// The same, less sure.
    fn weak(&self) -> Self {
        let weak = |activation| ActivationRecord {
            proof: Proof::Weak,
            ..activation
        };
        Self {
            activation: self.activation.clone().map(weak),
            ..self.clone()
        }
    }
}

/// A path without the texts that its members were given.
pub(super) fn without_arguments(path: &str) -> String {
    let (mut members, mut rest) = (String::new(), path);
    while let Some((before, given)) = rest.split_once("(\"") {
        members.push_str(before);
        let ends = given.match_indices("\")").map(|(end, _)| end + 2);
        let mut behind = ends.filter_map(|end| given.get(end..));
        rest = behind
            .find(|rest| rest.is_empty() || rest.starts_with('.'))
            .unwrap_or_default();
    }
    members.push_str(rest);
    members
}

/// Who told the name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ToldBy {
    /// The client's own question, whose answer was not seen, and the call that followed it.
    Question,
    /// Type information.
    TypeInfo,
    /// The object itself, asked for the number of the name.
    GetIdsOfNames,
}

/// One interface of one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The interface.
    pub(super) iid: Iid,
    /// The frame of the reply that told it.
    pub(super) frame: u64,
    /// Did a reply or a stub tell the interface, not merely the context of a call?
    pub(super) certain: bool,
    /// Where the object comes from, when that was seen.
    pub(super) lineage: Option<Arc<Lineage>>,
    /// Of type information: the object that it is about.
    pub(super) describes: Option<Ipid>,
    /// Who was given it, and by whom.
    pair: Pair,
    /// Names of members, by number.
    names: Vec<(i64, String, ToldBy)>,
    /// Names of members' parameters, by the numbers of both.
    parameters: Vec<(i64, i64, String)>,
    /// Names that the client asked for, where the answers were not seen and no call has followed yet.
    asked: Vec<String>,
    /// The object, for pings.
    oid: Option<Oid>,
    /// References that the client holds, public and private ones: the object goes when it has none of either ([MS-DCOM]
    /// 3.1.1.5.6.1.3 `IRemUnknown::RemRelease` (Opnum 5)).
    references: [u64; 2],
    used: Timestamp,
    released: Option<Timestamp>,
    /// It answered after its last reference was released.
    outlived: bool,
}

/// What a reply tells of an interface.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) ipid: Ipid,
    pub(super) iid: Iid,
    pub(super) frame: u64,
    /// The interface is told by what says so, not merely by the context of a call.
    pub(super) certain: bool,
    pub(super) lineage: Option<Arc<Lineage>>,
    pub(super) describes: Option<Ipid>,
    /// The reference itself, where there is one.
    pub(super) reference: Option<StdObjref>,
}

impl Told {
    /// An interface of which nothing else is known.
    pub(super) fn interface(ipid: Ipid, iid: Iid, frame: u64) -> Self {
        Self {
            ipid,
            iid,
            frame,
            certain: true,
            lineage: None,
            describes: None,
            reference: None,
        }
    }
}

/// Objects of a class that are alike: those of one server that the same members lead to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    server: IpAddr,
    clsid: Clsid,
    path: String,
}

/// Names of members that a server told of such objects. Clients need not ask again for the next of them
/// ([MS-OAUT] 3.2.4 Message Processing and Sequencing Rules).
#[derive(Debug, Default)]
struct Classes {
    names: HashMap<Place, Vec<(i64, String)>>,
    order: VecDeque<Place>,
    count: usize,
}

impl Classes {
    fn learn(&mut self, place: Place, dispid: i64, name: &str, most: usize) {
        if !self.names.contains_key(&place) {
            self.order.push_back(place.clone());
        }
        let names = self.names.entry(place).or_default();
        let full = names.len() >= MAX_NAMES;
        match names.iter_mut().find(|(number, _)| *number == dispid) {
            Some((_, told)) => name.clone_into(told),
            None if full => return,
            None => {
                names.push((dispid, name.to_owned()));
                self.count += 1;
            }
        }
        while self.count > most {
            let Some(oldest) = self.order.pop_front() else { return };
            self.count -= self.names.remove(&oldest).map_or(0, |names| names.len());
        }
    }

    fn member(&self, place: &Place, dispid: i64) -> Option<&str> {
        let named = self.names.get(place)?.iter().find(|(number, _)| *number == dispid);
        named.map(|(_, name)| name.as_str())
    }
}

/// An activation that named an exporter.
#[derive(Debug)]
struct Activated {
    pair: Pair,
    lineage: Arc<Lineage>,
    at: Timestamp,
}

/// The interfaces of all servers, with the names of their members. The oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Exporters {
    interfaces: HashMap<Ipid, Vec<Known>>,
    /// Names in all of them.
    names: usize,
    classes: Classes,
    order: VecDeque<(Ipid, Pair)>,
    /// The activations that named each exporter.
    activated: HashMap<Oxid, Vec<Activated>>,
    activated_order: VecDeque<Oxid>,
    /// Further addresses of machines, as they say themselves.
    addresses: Generations<IpAddr, Vec<IpAddr>>,
    /// The ping sets of each object: every client has its own, and each keeps the object alive by itself ([MS-DCOM] 3.1.2.6
    /// Timer Events).
    pinged: Generations<(IpAddr, Oid), Vec<SetId>>,
    /// When each set was pinged.
    sets: Generations<(IpAddr, SetId), Timestamp>,
    limits: Limits,
    now: Timestamp,
    /// When the call at hand was made: it may have waited long for its answer.
    as_of: Timestamp,
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
            activated: HashMap::default(),
            activated_order: VecDeque::new(),
            addresses: Generations::new(limits.interfaces, i64::MAX),
            // Said once, when a set begins; the set is said again and again.
            pinged: Generations::new(limits.interfaces, i64::MAX),
            sets: Generations::new(limits.interfaces, limits.object_idle),
            limits: *limits,
            now: Timestamp::default(),
            as_of: Timestamp::default(),
            forgotten: 0,
        }
    }

    /// Time has come this far.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.as_of = self.now;
    }

    /// What is asked for next is looked at as it was then.
    pub(super) fn look_back(&mut self, asked: Timestamp) {
        self.as_of = asked;
    }

    /// A reply tells an interface.
    pub(super) fn learn(&mut self, pair: Pair, told: Told) {
        let Told {
            ipid,
            iid,
            frame,
            certain,
            lineage,
            describes,
            reference,
        } = told;
        if ipid.0.is_null() {
            return;
        }
        let now = self.now;
        let earlier = self.earlier(pair, ipid);
        let is_alive = earlier.is_none_or(|known| self.is_alive(known));
        let pair = earlier.map_or(pair, |known| known.pair);
        let is_new = earlier.is_none();
        let alike = self.interfaces.entry(ipid).or_default();
        if is_new {
            if alike.len() >= MAX_ALIKE {
                let forgotten = alike.remove(0);
                self.names -= forgotten.named();
            }
            self.order.push_back((ipid, pair));
            alike.push(Known {
                iid,
                frame,
                certain,
                lineage: None,
                describes,
                pair,
                names: Vec::new(),
                parameters: Vec::new(),
                asked: Vec::new(),
                oid: None,
                references: [0; 2],
                used: now,
                released: None,
                outlived: false,
            });
        }
        let Some(known) = alike.iter_mut().find(|known| known.pair == pair) else {
            return;
        };
        // A call alone does not bring it back: of one that nobody answered, the object may be gone.
        if reference.is_some() && known.is_over(now, self.limits.object_released) {
            known.begin_again();
        }
        (known.iid, known.frame, known.certain, known.used) = (iid, frame, certain, now);
        known.describes = describes.or(known.describes);
        if let Some(reference) = reference {
            known.oid = Some(reference.oid);
            known.add([reference.public_refs, 0]);
            (known.released, known.outlived) = (None, false);
        }
        if let Some(new) = lineage
            && (!is_alive || known.lineage.as_ref().is_none_or(|old| new.supersedes(old)))
        {
            known.lineage = Some(new);
        }
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
    pub(super) fn activated(&mut self, pair: Pair, oxid: Oxid, lineage: &Arc<Lineage>) {
        let activations = self.activated.entry(oxid).or_default();
        if activations.is_empty() {
            self.activated_order.push_back(oxid);
        }
        activations.retain(|activated| activated.pair != pair || activated.lineage.clsid != lineage.clsid);
        if activations.len() >= MAX_ALIKE {
            activations.remove(0);
        }
        activations.push(Activated {
            pair,
            lineage: Arc::new(lineage.weak()),
            at: self.now,
        });
        if self.activated.len() > self.limits.interfaces
            && let Some(oldest) = self.activated_order.pop_front()
        {
            self.activated.remove(&oldest);
        }
    }

    /// The activation that an object of this exporter may descend from: the last one by the same client. Where that client
    /// activated several classes there, nobody can say of which the object is; nor where no class object made it (`is_made`).
    pub(super) fn by_exporter(&self, pair: Pair, oxid: Oxid, is_made: bool) -> Option<Arc<Lineage>> {
        let fresh = |activated: &&Activated| self.as_of.since(activated.at) <= self.limits.object_idle;
        let here = |activated: &&Activated| {
            activated.pair.client == pair.client && self.is_same_machine(activated.pair.server, pair.server)
        };
        let mut activated = self.activated.get(&oxid)?.iter().rev().filter(fresh).filter(here);
        let Activated { lineage: last, .. } = activated.next()?;
        let is_one = activated.all(|other| other.lineage.clsid == last.clsid);
        if is_made && is_one {
            return Some(Arc::clone(last));
        }
        Some(Arc::new(Lineage {
            activation: last.activation.clone(),
            beside: last.clsid.filter(|_| is_one),
            ..Lineage::unseen()
        }))
    }

    /// The machine at `server` says that it has these addresses too.
    pub(super) fn has_addresses(&mut self, server: IpAddr, addresses: impl Iterator<Item = IpAddr>) {
        for address in addresses.filter(|address| *address != server && !address.is_loopback()) {
            let others = self.addresses.touch(server, self.now);
            if !others.contains(&address) && others.len() < MAX_ALIKE {
                others.push(address);
            }
        }
    }

    fn is_same_machine(&self, one: IpAddr, other: IpAddr) -> bool {
        let says = |one, other| self.addresses.get(&one).is_some_and(|others| others.contains(&other));
        one == other || says(one, other) || says(other, one)
    }

    /// The client was told the number of a member of `ipid`.
    pub(super) fn name(&mut self, pair: Pair, ipid: Ipid, dispid: i64, name: &str, by: ToldBy) {
        let Some(holder) = self.holder(pair, ipid) else { return };
        // What one client asks says nothing of what another calls.
        if (by == ToldBy::Question && holder.client != pair.client) || name.is_empty() || name.len() > MAX_NAME {
            return;
        }
        let alike = self.interfaces.get_mut(&ipid);
        let Some(known) = alike.and_then(|alike| alike.iter_mut().find(|known| known.pair == holder)) else {
            return;
        };
        known.asked.retain(|asked| asked != name);
        if by != ToldBy::Question
            && let Some(place) = known.place()
        {
            let most = self.limits.interfaces / SHARE_OF_CLASSES;
            self.classes.learn(place, dispid, name, most);
        }
        let full = known.named() >= MAX_NAMES;
        match known.names.iter_mut().find(|(number, ..)| *number == dispid) {
            Some((_, _, told)) if *told > by => return,
            Some(entry) => *entry = (dispid, name.to_owned(), by),
            None if full => return,
            None => {
                known.names.push((dispid, name.to_owned(), by));
                self.names += 1;
            }
        }
        self.make_room();
    }

    /// The client was told the number of a parameter of a member of `ipid`.
    pub(super) fn parameter(&mut self, pair: Pair, ipid: Ipid, member: i64, dispid: i64, name: &str) {
        let holder = self.holder(pair, ipid);
        let Some(known) = holder.and_then(|holder| self.held(holder, ipid)) else {
            return;
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return;
        }
        let full = known.named() >= MAX_NAMES;
        let same = |(of, number, _): &&mut (i64, i64, String)| (*of, *number) == (member, dispid);
        match known.parameters.iter_mut().find(same) {
            Some((.., told)) => name.clone_into(told),
            None if full => return,
            None => {
                known.parameters.push((member, dispid, name.to_owned()));
                self.names += 1;
            }
        }
        self.make_room();
    }

    /// The client asked for the number of a member of `ipid`, and the answer was not seen.
    pub(super) fn asked(&mut self, pair: Pair, ipid: Ipid, name: &str) {
        let Some(known) = self.held(pair, ipid) else { return };
        let new =
            !known.asked.iter().any(|asked| asked == name) && !known.names.iter().any(|(_, known, _)| known == name);
        if new && known.asked.len() < MAX_ASKED && !name.is_empty() && name.len() <= MAX_NAME {
            known.asked.push(name.to_owned());
        }
    }

    /// What `ipid` is on a server, for a client; where another client was given it, what it is for that one.
    pub(super) fn find(&self, pair: Pair, ipid: Ipid) -> Option<&Known> {
        let rank = |known: &&Known| {
            let same_server = known.pair.server == pair.server;
            let same_client = known.pair.client == pair.client;
            (!same_client, !same_server)
        };
        let alike = self.interfaces.get(&ipid)?;
        // Mostly it was this client that was given it here, and not long ago: nothing ranks before that.
        if let Some(known) = alike.iter().rev().find(|known| known.pair == pair)
            && self.is_alive(known)
        {
            return Some(known);
        }
        alike
            .iter()
            .filter(|known| self.is_same_machine(known.pair.server, pair.server) && self.is_alive(known))
            .min_by_key(rank)
    }

    /// Where an object comes from that is there for certain, since the server has done something with it: perhaps it was taken
    /// for over.
    pub(super) fn lineage_of(&self, pair: Pair, ipid: Ipid) -> Option<Arc<Lineage>> {
        if let Some(known) = self.find(pair, ipid) {
            return known.lineage_for(pair.client);
        }
        let known = self.earlier(pair, ipid)?;
        Some(Arc::new(known.lineage.as_ref()?.weak()))
    }

    /// The member that a number stands for, as the server told of another object like this one.
    pub(super) fn member_of_alike(&self, object: &Known, dispid: i64) -> Option<&str> {
        self.classes.member(&object.place()?, dispid)
    }

    /// The object was called: it is in use.
    pub(super) fn used(&mut self, pair: Pair, ipid: Ipid) {
        let (asked, limit) = (self.as_of, self.limits.object_released);
        if let Some(known) = self.held(pair, ipid)
            && !known.is_over(asked, limit)
        {
            known.used = known.used.max(asked);
            // One that waited long may have been made before the last reference was released.
            known.released = known.released.filter(|&released| released > asked);
        }
    }

    /// The object has answered a call: it is there, though it was taken for over. An IPID is never another object's
    /// ([MS-DCOM] 2.2.9 IPID); only how the client came by it may be something else than what was seen.
    pub(super) fn answered(&mut self, pair: Pair, ipid: Ipid) {
        let (asked, limit) = (self.as_of, self.limits.object_released);
        let Some(known) = self.held(pair, ipid) else { return };
        known.used = known.used.max(asked);
        if known.is_over(asked, limit) {
            (known.released, known.outlived) = (None, true);
            known.lineage = known.lineage.take().map(|lineage| Arc::new(lineage.weak()));
        }
    }

    /// The client holds more references.
    pub(super) fn add_references(&mut self, pair: Pair, more: &RemInterfaceRef) {
        if let Some(known) = self.held(pair, more.ipid) {
            known.add([more.public_refs, more.private_refs]);
        }
    }

    /// The client holds fewer references; with none, the object is soon forgotten.
    pub(super) fn release(&mut self, pair: Pair, less: &RemInterfaceRef) {
        let now = self.now;
        if let Some(known) = self.held(pair, less.ipid) {
            for (held, less) in known.references.iter_mut().zip([less.public_refs, less.private_refs]) {
                *held = held.saturating_sub(less.into());
            }
            if known.references == [0; 2] {
                known.released = Some(now);
            }
        }
    }

    /// A client keeps objects alive.
    pub(super) fn ping(&mut self, server: IpAddr, set: SetId, added: &[Oid], deleted: &[Oid]) {
        *self.sets.touch((server, set), self.now) = self.now;
        for &oid in added {
            let sets = self.pinged.touch((server, oid), self.now);
            if !sets.contains(&set) {
                if sets.len() >= MAX_ALIKE {
                    sets.remove(0);
                }
                sets.push(set);
            }
        }
        for oid in deleted {
            if let Some(sets) = self.pinged.get_mut(&(server, *oid)) {
                sets.retain(|other| *other != set);
            }
        }
    }

    /// What the client was given: here, or at another address of the machine.
    fn earlier(&self, pair: Pair, ipid: Ipid) -> Option<&Known> {
        let alike = self.interfaces.get(&ipid)?;
        let here = alike.iter().find(|known| known.pair == pair);
        here.or_else(|| {
            let own = |known: &&Known| known.pair.client == pair.client;
            let mut own = alike.iter().filter(own);
            own.find(|known| self.is_same_machine(known.pair.server, pair.server))
        })
    }

    fn held(&mut self, pair: Pair, ipid: Ipid) -> Option<&mut Known> {
        let pair = self.earlier(pair, ipid)?.pair;
        let alike = self.interfaces.get_mut(&ipid)?;
        alike.iter_mut().find(|known| known.pair == pair)
    }

    /// Who holds what this client calls: another one, where this one was not seen to be given it.
    fn holder(&self, pair: Pair, ipid: Ipid) -> Option<Pair> {
        let known = self.find(pair, ipid).or_else(|| self.earlier(pair, ipid))?;
        Some(known.pair)
    }

    fn is_alive(&self, known: &Known) -> bool {
        if known.released.is_some() {
            return !known.is_over(self.as_of, self.limits.object_released);
        }
        let since = self.as_of.since(known.used);
        let server = known.pair.server;
        let sets = known.oid.and_then(|oid| self.pinged.get(&(server, oid)));
        let pinged = sets
            .into_iter()
            .flatten()
            .filter_map(|&set| self.sets.get(&(server, set)));
        match pinged.max() {
            Some(&pinged) => since.min(self.as_of.since(pinged)) <= self.limits.object_unpinged,
            None => since <= self.limits.object_idle,
        }
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

impl Known {
    /// Was its last reference released so long ago that whoever calls it must have been given it anew?
    fn is_over(&self, now: Timestamp, limit: i64) -> bool {
        self.released.is_some_and(|released| now.since(released) > limit)
    }

    /// It was released, and is handed out again: nobody knows from where, and its members are the same.
    fn begin_again(&mut self) {
        (self.lineage, self.references, self.released, self.outlived) = (None, [0; 2], None, false);
        self.asked.clear();
    }

    fn add(&mut self, more: [u32; 2]) {
        for (held, more) in self.references.iter_mut().zip(more) {
            *held = held.saturating_add(more.into());
        }
    }

    /// Did it answer after its last reference was released, as far as that was seen?
    pub(super) fn has_outlived(&self) -> bool {
        self.outlived
    }

    /// The member that a number stands for, as the client was told.
    pub(super) fn member(&self, dispid: i64) -> Option<(&str, ToldBy)> {
        let named = self.names.iter().find(|(number, ..)| *number == dispid);
        named.map(|(_, name, by)| (name.as_str(), *by))
    }

    /// The parameter of a member that a number stands for, as the client was told.
    pub(super) fn parameter(&self, member: i64, dispid: i64) -> Option<&str> {
        let told = |(of, number, _): &&(i64, i64, String)| (*of, *number) == (member, dispid);
        self.parameters.iter().find(told).map(|(.., name)| name.as_str())
    }

    /// Names of members and of their parameters.
    fn named(&self) -> usize {
        self.names.len() + self.parameters.len()
    }

    /// Where it stands below its class, if each step of the way was seen.
    fn place(&self) -> Option<Place> {
        let lineage = self.lineage.as_ref()?;
        let seen = lineage.activation.as_ref()?.proof == Proof::Strong;
        Some(Place {
            server: self.pair.server,
            clsid: lineage.clsid.filter(|_| seen)?,
            path: lineage.path.clone(),
        })
    }

    /// The one member whose number the client asked for without an answer that was seen: what it calls next by a number
    /// that has no name. Of several nobody can say which.
    pub(super) fn question(&self) -> Option<&str> {
        match self.asked.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// Where it comes from, for a client that calls it: less sure, where another one was given it.
    pub(super) fn lineage_for(&self, client: IpAddr) -> Option<Arc<Lineage>> {
        let lineage = self.lineage.as_ref()?;
        Some(if self.is_held_by(client) {
            Arc::clone(lineage)
        } else {
            Arc::new(lineage.weak())
        })
    }

    /// Was it given to this client?
    pub(super) fn is_held_by(&self, client: IpAddr) -> bool {
        self.pair.client == client
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::*;

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
    fn what_a_client_is_told_at_one_address_of_a_machine_holds_at_the_others() {
        let mut exporters = room_for(9);
        exporters.has_addresses(address(1), [address(5)].into_iter());
        exporters.learn(pair(9, 1), handed_out(1, 4, 1));
        exporters.name(pair(9, 5), ipid(1), 2000, "Run", ToldBy::GetIdsOfNames);
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
        exporters.name(pair(8, 1), ipid(1), 2000, "Run", ToldBy::GetIdsOfNames);
        exporters.name(pair(8, 1), ipid(1), 2001, "Guess", ToldBy::Question);
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
        exporters.name(pair(9, 1), ipid(1), 54, "Run", ToldBy::GetIdsOfNames);
        exporters.name(pair(9, 1), ipid(1), 54, "Walk", ToldBy::TypeInfo);
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
            exporters.name(pair(9, 1), ipid(1), 3, "Run", ToldBy::TypeInfo);
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
        exporters.name(pair(9, 1), ipid(1), 3, "Run", ToldBy::Question);
        assert_eq!(
            question(&exporters).as_deref(),
            Some("Quit"),
            "the first has its number now"
        );
        exporters.name(pair(9, 1), ipid(1), 4, "Quit", ToldBy::GetIdsOfNames);
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
        exporters.activated(pair(9, 1), Oxid(5), &other.into());
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
            exporters.name(pair(9, 1), ipid(number), 1, "Run", ToldBy::GetIdsOfNames);
        }
        exporters.name(pair(9, 1), ipid(2), 1, "Run", ToldBy::GetIdsOfNames);
        exporters.name(pair(9, 1), ipid(2), 2, &"n".repeat(MAX_NAME + 1), ToldBy::GetIdsOfNames);
        assert_eq!((exporters.names, exporters.forgotten()), (2, 0));
        assert_eq!(exporters.find(pair(9, 1), ipid(2)).unwrap().member(2), None);
        exporters.name(pair(9, 1), ipid(2), 3, "Quit", ToldBy::GetIdsOfNames);
        assert_eq!((exporters.names, exporters.forgotten()), (2, 1));
        assert_eq!(exporters.find(pair(9, 1), ipid(1)), None);
        exporters.clear();
        assert_eq!(exporters.names, 0);
    }

    #[test]
    fn parameters_have_numbers_of_their_own_and_take_room() {
        let mut exporters = room_for(1 + MAX_NAMES);
        exporters.learn(pair(9, 1), told(1, 7));
        exporters.name(pair(9, 1), ipid(1), 0, "Item", ToldBy::GetIdsOfNames);
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
        assert_eq!((exporters.names, exporters.forgotten()), (MAX_NAMES, 0));
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
        exporters.name(pair(9, 1), ipid(1), 30, "Register", ToldBy::GetIdsOfNames);
        exporters.name(pair(9, 1), ipid(1), 31, "Guess", ToldBy::Question);
        exporters.learn(pair(9, 1), at(2, 5, "B", weak));
        exporters.name(pair(9, 1), ipid(2), 30, "Other", ToldBy::GetIdsOfNames);
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
            exporters.name(pair(9, 1), ipid(number), 30, "Register", ToldBy::TypeInfo);
        }
        assert_eq!((exporters.classes.count, exporters.classes.names.len()), (100, 100));
        exporters.learn(pair(8, 1), at(17, 5, "A", strong));
        let known = exporters.find(pair(8, 1), ipid(17)).unwrap();
        assert_eq!(exporters.member_of_alike(known, 30), None, "the oldest are forgotten");
    }

    #[test]
    fn an_ipid_that_everybody_hands_out_is_bounded() {
        let mut exporters = room_for(1000);
        for client in 0..100 {
            exporters.learn(pair(client, 1), told(1, 7));
            exporters.name(pair(client, 1), ipid(1), 1, "Run", ToldBy::GetIdsOfNames);
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
    fn what_is_pinged_is_bounded_and_what_is_new_finds_room() {
        let mut exporters = room_for(100);
        let oids: Vec<_> = (1_000..20_000).map(Oid).collect();
        exporters.ping(address(1), SetId(1), &oids, &[]);
        for set in 0..1_000 {
            exporters.ping(address(1), SetId(set), &[Oid(5)], &[]);
            exporters.has_addresses(IpAddr::from([10, 1, 1, 1]), [address(2)].into_iter());
        }
        assert!(exporters.pinged.get(&(address(1), Oid(1_000))).is_none());
        assert_eq!(exporters.pinged.get(&(address(1), Oid(5))).unwrap().len(), MAX_ALIKE);
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

    #[test]
    fn members_are_told_without_what_they_were_given() {
        for (path, members) in [
            ("", ""),
            ("Document.ActiveView", "Document.ActiveView"),
            (r#"Item("a.b").Document"#, "Item.Document"),
            (
                r#"CreateObject("Shell.Application", "x").Windows("(").Item"#,
                "CreateObject.Windows.Item",
            ),
            (r#"Item("a") b").Count"#, "Item.Count"),
            (r#"Item("never ends"#, "Item"),
        ] {
            assert_eq!(without_arguments(path), members, "{path}");
            let clsid = Some(Clsid(Guid::com(5)));
            let lineage = |class: Option<&str>, path| Lineage {
                clsid,
                class: class.map(str::to_owned),
                path,
                ..Lineage::unseen()
            };
            let dot = if path.is_empty() { "" } else { "." };
            let named = lineage(Some("A.Class"), format!("A.Class{dot}{path}"));
            assert_eq!(named.members().as_deref(), Some(members));
            let nameless = lineage(None, format!("{}{dot}{path}", Guid::com(5)));
            assert_eq!(nameless.members().as_deref(), Some(members));
        }
        assert_eq!(Lineage::unseen().member("Document").members(), None);
    }

    #[test]
    fn a_path_without_end_stops_growing() {
        let mut lineage = Lineage {
            path: "A".to_owned(),
            ..Lineage::unseen()
        };
        for _ in 0..1_000 {
            lineage = lineage.member("Next");
        }
        assert!(lineage.path.starts_with("A.Next.Next") && lineage.path.ends_with(".Next.…"));
        assert!(lineage.path.len() <= MAX_PATH + "Next".len() + ".…".len());
    }
}
