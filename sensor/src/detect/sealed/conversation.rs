//! What is called after a sealed activation, on one port.

use std::cmp::Reverse;

use dcom_parsers::guid::{Guid, Ipid};
use dcom_parsers::names::{self, known};
use dcom_parsers::ndr::Encoding;

use super::super::{Context, Found};
use super::candidate::{Candidate, Waiting};
use super::shape::{self, Calls, Fit, Operation, Origins, Sealed, Verdict, judge};
use crate::catalog::{Catalog, Class, Effect};
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::event::Dcom;

/// Activations that the calls of one conversation may be of.
const CANDIDATES: usize = 4;
/// Calls of one conversation that are kept, the last ones, and objects.
const CALLS: usize = 64;

/// What was called after a sealed activation, on one port.
pub(super) struct Conversation {
    /// Those that the calls may be of: the one that it began with, then those that came in between.
    candidates: Vec<Candidate>,
    /// The port that it is called on.
    server: Option<Endpoint>,
    /// The record that was seen last.
    pub(super) seen: u64,
    encoding: Encoding,
    /// The last ones.
    calls: Vec<Sealed>,
    /// The last ones that were called, in that order.
    objects: Vec<Object>,
    /// How many objects were called.
    numbers: u64,
    /// Connections and interfaces of which a call was seen.
    bound: Vec<(u64, Guid)>,
}

struct Object {
    ipid: Ipid,
    number: u64,
    /// Was it asked for the number of a name?
    asked: bool,
}

impl Conversation {
    pub(super) fn of(first: &Record) -> Self {
        Self {
            candidates: Vec::new(),
            server: first.meta.server,
            seen: 0,
            encoding: first.encoding.unwrap_or_default(),
            calls: Vec::new(),
            objects: Vec::new(),
            numbers: 0,
            bound: Vec::new(),
        }
    }

    /// The object that is called next may be of this activation.
    pub(super) fn may_be_of(&mut self, waiting: Waiting, own: bool) {
        if self.candidates.len() >= CANDIDATES {
            let elsewhere = self.candidates.iter().position(|candidate| !candidate.is_here());
            let told = self.candidates.iter().position(|candidate| candidate.told);
            self.candidates.remove(elsewhere.or(told).unwrap_or(1));
        }
        self.candidates.push(Candidate::new(waiting, own, self.numbers));
    }

    /// Was a call on this connection seen?
    pub(super) fn has(&self, flow: Option<u64>) -> bool {
        let flow = flow.unwrap_or_default();
        self.bound.iter().any(|(known, _)| *known == flow)
    }

    /// May the object have been given to the client after all that was called here? One of a process that runs anyway is
    /// the same for all who ask: a client that has done with it and calls it over another connection was given it again.
    pub(super) fn may_be_new(&self, ipid: Ipid, flow: Option<u64>) -> bool {
        let told = || self.candidates.iter().any(|candidate| candidate.told);
        let again = || self.bound.len() < CALLS && !self.has(flow);
        !self.objects.iter().any(|object| object.ipid == ipid) || (told() && again())
    }

    /// The object, which is the one that was called last from now on.
    fn object(&mut self, ipid: Ipid) -> Option<&mut Object> {
        if let Some(known) = self.objects.iter().position(|object| object.ipid == ipid) {
            let object = self.objects.remove(known);
            self.objects.push(object);
        } else {
            if self.objects.len() >= CALLS {
                self.objects.remove(0);
            }
            let number = self.numbers;
            self.numbers += 1;
            self.objects.push(Object {
                ipid,
                number,
                asked: false,
            });
        }
        self.objects.last_mut()
    }

    pub(super) fn see(&mut self, ipid: Ipid, record: &Record, context: &Context<'_>, found: &mut Vec<Found>) {
        let Record { meta, dcom, .. } = record;
        let bound = (
            meta.flow_id.unwrap_or_default(),
            dcom.interface.as_ref().map(|it| it.uuid).unwrap_or_default(),
        );
        let first = !self.bound.contains(&bound) && self.bound.len() < CALLS;
        if first {
            self.bound.push(bound);
        }
        for candidate in &mut self.candidates {
            candidate.whole &= dcom.bind_seen == Some(true) && dcom.bytes_missing == 0;
        }
        let Some(object) = self.object(ipid) else { return };
        let number = object.number;
        let classes = read(dcom, context.catalog);
        if !classes.is_empty() {
            return self.read(number, &classes, record, found);
        }
        let (Some(operation), Some(length)) = (operation(record, object.asked), dcom.sealed_stub_length) else {
            return;
        };
        object.asked |= operation == Operation::Lookup;
        // It is a root of the latest alone.
        let mut asked = Some(ipid).filter(|_| operation == Operation::Lookup);
        let candidates = self.candidates.iter_mut().rev();
        for candidate in candidates.filter(|candidate| candidate.since <= number) {
            candidate.calls += 1;
            candidate.asked = candidate.asked.or(asked.take());
        }
        if self.calls.len() >= CALLS {
            // A method that gave nothing leads nowhere.
            let leads = |call: &Sealed| call.operation == Operation::Lookup || call.gives();
            let idle = self.calls.iter().position(|call| !leads(call));
            self.calls.remove(idle.unwrap_or_default());
        }
        self.calls.push(Sealed {
            place: meta.place(),
            object: ipid,
            number,
            operation,
            length,
            reply: dcom.sealed_reply_length,
            first,
        });
        if operation == Operation::Invoke && self.candidates.iter().any(|candidate| !candidate.told) {
            self.judge(false, context.catalog, found);
        }
    }

    /// Nothing more will come: a part is told.
    pub(super) fn conclude(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        for _ in 0..self.candidates.len() {
            self.judge(true, context.catalog, found);
        }
    }

    /// Tells what the calls fit best, if that was not told yet. What they are of one activation is not taken for another's.
    fn judge(&mut self, over: bool, catalog: &Catalog, found: &mut Vec<Found>) {
        let mut best: Option<((Fit, bool), usize, Verdict<'_>)> = None;
        let activated: Vec<_> = self.candidates.iter().map(|candidate| candidate.since).collect();
        let origins = Origins::of(&self.calls, &activated);
        for (index, candidate) in self.candidates.iter().enumerate() {
            let calls = Calls {
                all: &self.calls,
                since: candidate.since,
                until: activated.get(index + 1).copied(),
                asked: candidate.asked,
                origins: &origins,
            };
            if candidate.asked.is_none() && candidate.calls != calls.own().count() {
                continue;
            }
            let Some(verdict) = judge(calls, self.encoding, catalog, over) else {
                continue;
            };
            let worth = (verdict.fit, !candidate.told);
            if best.as_ref().is_none_or(|(best, ..)| *best <= worth) && (candidate.is_here() || verdict.is_strong()) {
                best = Some((worth, index, verdict));
            }
        }
        let Some((_, index, verdict)) = best else { return };
        self.calls.remove(verdict.last);
        let (before, rest) = self.candidates.split_at_mut(index);
        let Some(candidate) = rest.first_mut() else { return };
        // One that is elsewhere gave none of these objects, but when no other is left.
        let mut others = before.iter_mut().rev().filter(|_| !candidate.is_here());
        let other = others.find(|other| other.is_here() && !other.told);
        match other {
            Some(other) => other.tell(verdict, self.server, catalog, found),
            None if !candidate.told => candidate.tell(verdict, self.server, catalog, found),
            None => {}
        }
    }

    /// The object's calls are not sealed, and their names have told the class, or which it may be.
    fn read(&mut self, number: u64, classes: &[&Class], call: &Record, found: &mut Vec<Found>) {
        // Each member on the way to this object was called on another one before.
        let path = call.dcom.object_path.as_deref().unwrap_or_default();
        let members = path.split('.').filter(|member| !matches!(*member, "" | "?")).count();
        let mut before: Vec<_> = self.objects.iter().map(|object| object.number).collect();
        before.retain(|other| *other <= number);
        before.sort_unstable_by_key(|number| Reverse(*number));
        let root = before.get(members).or(before.last()).copied().unwrap_or_default();
        let latest = self
            .candidates
            .iter_mut()
            .rev()
            .find(|candidate| candidate.since <= root);
        if let Some(candidate) = latest.filter(|candidate| !candidate.told) {
            candidate.read(classes, call, found);
        }
    }
}

/// The class that the names of a call's members have told; where calls before it may be missing, those that it may be.
pub(super) fn read<'a>(dcom: &Dcom, catalog: &'a Catalog) -> Vec<&'a Class> {
    if dcom.clsid.is_some() {
        return Vec::new();
    }
    if let Some(name) = &dcom.class {
        return catalog.find(name).into_iter().take(1).collect();
    }
    let path = dcom.object_path.as_deref().and_then(|path| path.strip_prefix("?."));
    let (Some(Effect::Execution), Some(path), Some(method)) = (dcom.effect, path, &dcom.method) else {
        return Vec::new();
    };
    let members = format!("{path}.{method}");
    let mut classes: Vec<_> = catalog.with_members(&members).map(|(class, _)| class).collect();
    classes.dedup_by_key(|class| class.clsid);
    classes
}

/// A call of `IDispatch`, or of an interface that may derive from it; or of an object that is called in the context of
/// another one's `IRemUnknown` or `IUnknown`, as clients do that bind once. `asked` says whether the object was asked for a
/// name so.
fn operation(record: &Record, asked: bool) -> Option<Operation> {
    let dcom = &record.dcom;
    let interface = dcom.interface.as_ref()?;
    let opnum = dcom.opnum?;
    let may_be = |name| match names::operation(interface.uuid, opnum) {
        Some(known) => known == name,
        None => interface.name.is_none(),
    };
    // An answer of RemRelease has no room for a number beside its HRESULT.
    let of_another = || {
        let any = [known::IUNKNOWN, known::IREM_UNKNOWN, known::IREM_UNKNOWN2];
        any.contains(&interface.uuid)
            && (asked || dcom.sealed_reply_length == Some(shape::looked_up(record.encoding.unwrap_or_default())))
    };
    match opnum {
        5 if may_be("GetIDsOfNames") || of_another() => Some(Operation::Lookup),
        6 if may_be("Invoke") || (asked && of_another()) => Some(Operation::Invoke),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Settings;
    use super::super::super::testing::Rig;
    use super::super::SealedActivation;
    use super::super::tests::{LOOKUP, sealed, sealed_activation};
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn what_is_kept_of_a_conversation_is_bounded() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        for number in 0..300_u32 {
            let mut record = sealed(u8::try_from(number % 200).unwrap(), LOOKUP, 100 + number % 50 * 4, 20);
            record.meta.flow_id = Some(number.into());
            rig.see(record);
        }
        let mut kept = rig.detection.conversations.overdue(Timestamp(i64::MAX)).unwrap().1;
        assert_eq!(kept.len(), 1);
        let mut kept = kept.remove(0);
        assert!(kept.calls.len() == CALLS && kept.objects.len() == CALLS && kept.bound.len() == CALLS);
        kept.conclude(
            &Context {
                catalog: &Catalog::built_in(),
                now: Timestamp(0),
                set_back: 0,
                managed: false,
            },
            &mut Vec::new(),
        );
    }
}
