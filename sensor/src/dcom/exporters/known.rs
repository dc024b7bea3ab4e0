//! One interface of one object, as one client was given it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::dcom::StdObjref;
use dcom_parsers::guid::{Iid, Ipid, Oid};

use super::Pair;
use super::classes::Place;
use super::lineage::{Lineage, Tie};
use super::names::{MAX_NAMES, Member, Names, is_name};
use crate::event::dcom::Proof;
use crate::time::Timestamp;

/// Names asked for that are kept of an interface: of two nobody can say which is called.
const MAX_ASKED: usize = 2;

/// Who told the name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ToldBy {
    /// The client's own question, whose answer was not seen, and the call that followed it.
    Question,
    /// Type information.
    TypeInfo,
    /// The object itself, asked for the number of the name.
    GetIdsOfNames,
}

/// One interface of one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// The interface.
    pub(crate) iid: Iid,
    /// The frame of the reply that told it.
    pub(crate) frame: u64,
    /// Did a reply or a stub tell the interface, not merely the context of a call?
    pub(crate) certain: bool,
    /// Where the object comes from, when that was seen.
    pub(crate) lineage: Option<Arc<Lineage>>,
    /// Of type information: the object that it is about.
    pub(crate) describes: Option<Ipid>,
    /// Who was given it, and by whom.
    pub(super) pair: Pair,
    /// Names of members, by number.
    names: Names,
    /// Names of members' parameters, by the numbers of both. The one that was told first is forgotten first.
    parameters: VecDeque<(i64, i64, String)>,
    /// Names that the client asked for, where the answers were not seen and no call has followed yet.
    asked: Vec<String>,
    /// The object, for pings.
    pub(super) oid: Option<Oid>,
    /// References that the client holds, public and private ones: the object goes when it has none of either ([MS-DCOM]
    /// 3.1.1.5.6.1.3 `IRemUnknown::RemRelease` (Opnum 5)).
    references: [u64; 2],
    pub(super) used: Timestamp,
    pub(super) released: Option<Timestamp>,
    /// It answered after its last reference was released.
    outlived: bool,
}

/// What a reply tells of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) ipid: Ipid,
    pub(crate) iid: Iid,
    pub(crate) frame: u64,
    /// The interface is told by what says so, not merely by the context of a call.
    pub(crate) certain: bool,
    pub(crate) lineage: Option<Arc<Lineage>>,
    pub(crate) describes: Option<Ipid>,
    /// The reference itself, where there is one.
    pub(crate) reference: Option<StdObjref>,
}

impl Told {
    /// An interface of which nothing else is known.
    pub(crate) fn interface(ipid: Ipid, iid: Iid, frame: u64) -> Self {
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

impl Known {
    pub(super) fn new(pair: Pair, told: &Told, now: Timestamp) -> Self {
        Self {
            iid: told.iid,
            frame: told.frame,
            certain: told.certain,
            lineage: None,
            describes: None,
            pair,
            names: Names::default(),
            parameters: VecDeque::new(),
            asked: Vec::new(),
            oid: None,
            references: [0; 2],
            used: now,
            released: None,
            outlived: false,
        }
    }

    /// The same as it is known at another address, at which it has answered.
    pub(super) fn elsewhere(&self, pair: Pair, now: Timestamp) -> Self {
        let weak = |lineage: &Arc<Lineage>| Arc::new(lineage.weak(Tie::OtherServer));
        Self {
            pair,
            lineage: self.lineage.as_ref().map(weak),
            oid: None,
            references: [0; 2],
            used: now,
            released: None,
            outlived: false,
            ..self.clone()
        }
    }

    /// A reply tells it. `was_alive` says whether it was there until now, and `limit` how long one is whose last reference
    /// was released.
    pub(super) fn learn(&mut self, told: Told, was_alive: bool, now: Timestamp, limit: i64) {
        // A call alone does not bring it back: of one that nobody answered, the object may be gone.
        if told.reference.is_some() && self.is_over(now, limit) {
            self.begin_again();
        }
        (self.iid, self.frame, self.certain, self.used) = (told.iid, told.frame, told.certain, now);
        self.describes = told.describes.or(self.describes);
        if let Some(reference) = told.reference {
            self.oid = Some(reference.oid);
            self.add_references([reference.public_refs, 0]);
            (self.released, self.outlived) = (None, false);
        }
        if let Some(new) = told.lineage
            && (!was_alive || self.lineage.as_ref().is_none_or(|old| new.supersedes(old)))
        {
            self.lineage = Some(new);
        }
    }

    /// The client was told the number of a member. Is that one name more?
    pub(super) fn name(&mut self, member: Member) -> bool {
        self.asked.retain(|asked| *asked != member.name);
        self.names.learn(member)
    }

    /// The client was told the number of a member's parameter. Is that one name more?
    pub(super) fn name_parameter(&mut self, member: i64, dispid: i64, name: &str) -> bool {
        let same = |(of, number, _): &&mut (i64, i64, String)| (*of, *number) == (member, dispid);
        if let Some((.., told)) = self.parameters.iter_mut().find(same) {
            name.clone_into(told);
            return false;
        }
        let full = self.parameters.len() >= MAX_NAMES;
        if full {
            self.parameters.pop_front();
        }
        self.parameters.push_back((member, dispid, name.to_owned()));
        !full
    }

    /// The client asked for the number of a member, and the answer was not seen.
    pub(super) fn ask(&mut self, name: &str) {
        let new = !self.asked.iter().any(|asked| asked == name) && !self.names.has(name);
        if new && self.asked.len() < MAX_ASKED && is_name(name) {
            self.asked.push(name.to_owned());
        }
    }

    /// It was called: it is in use, unless it is over.
    pub(super) fn call(&mut self, asked: Timestamp, limit: i64) {
        if !self.is_over(asked, limit) {
            self.used = self.used.max(asked);
            // One that waited long may have been made before the last reference was released.
            self.released = self.released.filter(|&released| released > asked);
        }
    }

    /// It has answered a call: it is there, though it was taken for over. An IPID is never another object's
    /// ([MS-DCOM] 2.2.9 IPID); only how the client came by it may be something else than what was seen.
    pub(super) fn answer(&mut self, asked: Timestamp, limit: i64) {
        self.used = self.used.max(asked);
        if self.is_over(asked, limit) {
            (self.released, self.outlived) = (None, true);
            self.lineage = self.lineage.take().map(|lineage| Arc::new(lineage.weak(Tie::Released)));
        }
    }

    /// Was its last reference released so long ago that whoever calls it must have been given it anew?
    pub(super) fn is_over(&self, now: Timestamp, limit: i64) -> bool {
        self.released.is_some_and(|released| now.since(released) > limit)
    }

    /// It was released, and is handed out again: nobody knows from where, and its members are the same.
    fn begin_again(&mut self) {
        (self.lineage, self.references, self.released, self.outlived) = (None, [0; 2], None, false);
        self.asked.clear();
    }

    /// The client holds more references, public and private ones.
    pub(super) fn add_references(&mut self, more: [u32; 2]) {
        for (held, more) in self.references.iter_mut().zip(more) {
            *held = held.saturating_add(more.into());
        }
    }

    /// The client holds fewer references; with none, the object is soon forgotten.
    pub(super) fn release(&mut self, less: [u32; 2], now: Timestamp) {
        for (held, less) in self.references.iter_mut().zip(less) {
            *held = held.saturating_sub(less.into());
        }
        if self.references == [0; 2] {
            self.released = Some(now);
        }
    }

    /// Did it answer after its last reference was released, as far as that was seen?
    pub(crate) fn has_outlived(&self) -> bool {
        self.outlived
    }

    /// The member that a number stands for, as the client was told.
    pub(crate) fn member(&self, dispid: i64) -> Option<(&str, ToldBy)> {
        self.names.member(dispid)
    }

    /// The parameter of a member that a number stands for, as the client was told.
    pub(crate) fn parameter(&self, member: i64, dispid: i64) -> Option<&str> {
        let told = |(of, number, _): &&(i64, i64, String)| (*of, *number) == (member, dispid);
        self.parameters.iter().find(told).map(|(.., name)| name.as_str())
    }

    /// Names of members and of their parameters.
    pub(super) fn named(&self) -> usize {
        self.names.len() + self.parameters.len()
    }

    /// Where it stands below its class, if each step of the way was seen.
    pub(super) fn place(&self) -> Option<Place> {
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
    pub(crate) fn question(&self) -> Option<&str> {
        match self.asked.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// Where it comes from, for a client that calls it: less sure, where another one was given it.
    pub(crate) fn lineage_for(&self, client: IpAddr) -> Option<Arc<Lineage>> {
        let lineage = self.lineage.as_ref()?;
        Some(if self.is_held_by(client) {
            Arc::clone(lineage)
        } else {
            Arc::new(lineage.weak(Tie::OtherClient))
        })
    }

    /// Was it given to this client?
    pub(crate) fn is_held_by(&self, client: IpAddr) -> bool {
        self.pair.client == client
    }
}
