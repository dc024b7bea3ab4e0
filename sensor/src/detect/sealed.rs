//! A sealed activation whose object is then called in a way that gives its class away: by the lengths of what is called,
//! or, where the object's own calls are not sealed, by their names.

mod candidate;
#[cfg(test)]
mod chance;
mod conversation;
mod shape;

use std::net::IpAddr;

use super::remembered::Remembered;
use super::{Context, Detection, Found, Seen, Settings};
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::event::Dcom;
use crate::event::dcom::{Kind, Outcome};
use crate::time::Timestamp;
use candidate::Waiting;
use conversation::{Conversation, read};

type Pair = (IpAddr, IpAddr);

/// Sealed activations of one pair of hosts that wait for calls.
const WAITING: usize = 16;
/// Conversations of one client on one port at a time.
const CONVERSATIONS: usize = 8;

/// Waits for calls after sealed activations.
pub(super) struct SealedActivation {
    /// Those whose objects were not called yet, the oldest first.
    waiting: Remembered<Pair, Vec<Waiting>>,
    /// By the client's host and the port of the object, the oldest first.
    conversations: Remembered<(IpAddr, Endpoint), Vec<Conversation>>,
    /// How many records were seen. Captures that are put one behind another need not have times in that order.
    seen: u64,
}

impl SealedActivation {
    pub(super) fn new(settings: &Settings) -> Self {
        let most = settings.remembered / 4;
        Self {
            waiting: Remembered::new(most, settings.sealed_patience),
            conversations: Remembered::new(most, settings.sealed_patience),
            seen: 0,
        }
    }

    fn called(&mut self, pair: Pair, record: &Record, context: &Context<'_>, found: &mut Vec<Found>) {
        let Record { meta, dcom, .. } = record;
        let (Some(ipid), Some(server)) = (dcom.ipid, meta.server) else {
            return;
        };
        // What was refused in clear called nothing, whatever object it names.
        if dcom.fault.is_some() && read(dcom, context.catalog).is_empty() {
            return;
        }
        let now = context.when(meta);
        let key = (pair.0, server);
        let mut here = self.conversations.remove(&key).unwrap_or_default();
        let own = here.iter().rposition(|known| known.has(meta.flow_id));
        // Further connections are of the latest.
        let mut at = own.or(here.len().checked_sub(1));
        let known = at.and_then(|at| here.get(at));
        let is_new = known.is_none_or(|known| known.may_be_new(ipid, meta.flow_id));
        // What is new on a connection may be of an activation that came in between. One that waited before that was refused,
        // or its object is never called. Another connection may be of any.
        let since = own.and(known).map_or(0, |known| known.seen);
        let waiting = self.waiting.get(&pair, now).filter(|_| is_new);
        if let Some(waiting) = waiting {
            waiting.retain(|waiting| !waiting.is_found());
            if let Some(latest) = waiting.last().filter(|latest| latest.seen() > since).cloned() {
                if let Some(known) = own.and_then(|own| here.get_mut(own)) {
                    // Or it is of the one before, whose objects go on to be called.
                    known.may_be_of(latest, false);
                } else {
                    if here.len() >= CONVERSATIONS {
                        here.remove(0).conclude(context, found);
                    }
                    latest.set_found();
                    let mut conversation = Conversation::of(record);
                    conversation.may_be_of(latest, true);
                    at = Some(here.len());
                    here.push(conversation);
                }
            }
        }
        let Some(conversation) = at.and_then(|at| here.get_mut(at)) else {
            return;
        };
        conversation.see(ipid, record, context, found);
        conversation.seen = self.seen;
        self.conversations.entry(key, now, || here);
    }

    /// Those in which nothing came for a while are over.
    fn overdue(&mut self, now: Timestamp, context: &Context<'_>, found: &mut Vec<Found>) {
        while let Some((_, over)) = self.conversations.overdue(now) {
            for mut conversation in over {
                conversation.conclude(context, found);
            }
        }
    }
}

/// An activation of which neither class nor result could be read, and whose answer has room for an object: one that was
/// refused has none.
pub(crate) fn is_sealed_activation(dcom: &Dcom) -> bool {
    dcom.kind == Kind::Activation
        && dcom.clsid.is_none()
        && dcom.sealed_stub_length.is_some()
        && !matches!(dcom.outcome, Some(Outcome::Failed | Outcome::Unanswered))
        && dcom.sealed_reply_length.is_none_or(|reply| reply >= shape::OBJECT)
}

impl Detection for SealedActivation {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Some(client), Some(server)) = (meta.client, meta.server) else {
            return;
        };
        let (pair, now) = ((client.address, server.address), context.when(meta));
        self.seen += 1;
        if is_sealed_activation(dcom) {
            let waiting = self.waiting.entry(pair, now, Vec::new);
            if waiting.len() >= WAITING {
                waiting.remove(0);
            }
            waiting.push(Waiting::new(self.seen, (*record).clone()));
        } else if dcom.kind == Kind::Call {
            self.overdue(now, context, found);
            self.called(pair, record, context, found);
        }
    }

    fn advance(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        self.overdue(context.now, context, found);
    }

    fn conclude(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        self.overdue(Timestamp(i64::MAX), context, found);
    }

    fn set(&mut self, settings: &Settings) {
        self.waiting.keep_for(settings.sealed_patience);
        self.conversations.keep_for(settings.sealed_patience);
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.conversations.clear();
    }

    fn forgotten(&self) -> u64 {
        self.waiting.forgotten() + self.conversations.forgotten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use dcom_parsers::guid::Ipid;
    use dcom_parsers::names::{self, known};

    use super::super::testing::{Rig, activation, call, end};
    use super::*;
    use crate::catalog::Effect;
    use crate::event::Shared;
    use crate::event::dcom::{Evidence, Interface, LearnedFrom};
    use crate::event::host::HostRecord;
    use crate::event::record::Port;
    use crate::severity::Severity;

    const SECOND: i64 = 1_000_000_000;
    pub(super) const LOOKUP: u16 = 5;
    const INVOKE: u16 = 6;
    const OBJECT: u32 = 228;
    const NOTHING: u32 = 80;

    pub(super) fn sealed_activation() -> Record {
        // Its samples read the whole catalogue.
        static SAMPLE: LazyLock<Record> = LazyLock::new(sample);
        SAMPLE.clone()
    }

    fn sample() -> Record {
        let mut record = activation("").from(9).to(1);
        record.dcom.class = None;
        record.dcom.clsid = None;
        record.dcom.outcome = None;
        record.dcom.sealed_stub_length = Some(464);
        record.dcom.sealed_reply_length = Some(600);
        record.dcom.host = Some(Shared::new(HostRecord::default()));
        record.dcom.evidence = Evidence::Header;
        record
    }

    fn ipid(object: u8) -> Ipid {
        let mut uuid = known::IUNKNOWN;
        uuid.data1 = object.into();
        Ipid(uuid)
    }

    pub(super) fn sealed(object: u8, opnum: u16, length: u32, reply: u32) -> Record {
        static SAMPLE: LazyLock<Record> = LazyLock::new(|| call(&sealed_activation(), ""));
        let mut record = SAMPLE.clone();
        record.meta.server = Some(end(1, 49_670));
        record.meta.timestamp = Timestamp(SECOND);
        record.dcom.bind_seen = Some(true);
        record.dcom.bytes_missing = 0;
        record.dcom.opnum = Some(opnum);
        record.dcom.ipid = Some(ipid(object));
        record.dcom.interface = Some(Interface {
            uuid: known::IDISPATCH,
            name: Some("IDispatch".into()),
        });
        (record.dcom.sealed_stub_length, record.dcom.sealed_reply_length) = (Some(length), Some(reply));
        record
    }

    fn told(calls: &[(u8, u16, u32, u32)]) -> Vec<Found> {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        for &(object, opnum, length, reply) in calls {
            rig.see(sealed(object, opnum, length, reply));
        }
        rig.conclude(9 * SECOND);
        rig.conclude(9 * SECOND);
        rig.found()
    }

    fn worth(found: &[Found]) -> Vec<(Option<&str>, Severity, &str)> {
        let worth = found.iter().map(|found| {
            let class = found.alert.dcom.as_ref().and_then(|dcom| dcom.class.as_deref());
            (class, found.alert.severity, &*found.alert.metadata.confidence[0])
        });
        worth.collect()
    }

    const MMC20: [(u8, u16, u32, u32); 8] = [
        (1, LOOKUP, 96, 20),
        (1, INVOKE, 88, OBJECT),
        (1, LOOKUP, 88, 20),
        (2, LOOKUP, 100, 20),
        (2, INVOKE, 88, OBJECT),
        (3, LOOKUP, 116, 20),
        (3, INVOKE, 344, NOTHING),
        (1, INVOKE, 88, NOTHING),
    ];

    #[test]
    fn objects_that_are_called_in_a_context_of_another_are_told_by_their_lengths() {
        for context in [
            known::IUNKNOWN,
            known::IREM_UNKNOWN,
            known::IREM_UNKNOWN2,
            known::ITYPE_INFO,
        ] {
            let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
            rig.see(sealed_activation());
            // Two references released, and two interfaces asked for, have lengths of lookups and of calls.
            let bookkeeping = [(7, 5, 88, 12), (7, 6, 88, 300)];
            for (object, opnum, length, reply) in bookkeeping.into_iter().chain(MMC20) {
                let mut record = sealed(object, opnum, length, reply);
                let name = names::interface(context).map(Into::into);
                record.dcom.interface = Some(Interface { uuid: context, name });
                rig.see(record);
            }
            let found = rig.found();
            let told = [(Some("MMC20.Application"), Severity::High, "high")];
            let told = if context == known::ITYPE_INFO { &[][..] } else { &told };
            assert_eq!(worth(&found), told, "{context}");
        }
    }

    #[test]
    fn a_whole_path_is_told_once_with_what_it_rests_on() {
        let found = told(&MMC20);
        assert_eq!(worth(&found), [(Some("MMC20.Application"), Severity::High, "high")]);
        let dcom = found[0].alert.dcom.as_ref().unwrap();
        assert_eq!((dcom.evidence, dcom.clsid), (Evidence::Inferred, None));
        assert!(
            dcom.because
                .iter()
                .any(|why| why.contains("116 bytes fits `ExecuteShellCommand`"))
        );
        assert_eq!(
            found[0].meta.server,
            Some(end(1, 135)),
            "it is the activation that is told"
        );
        let endpoint = dcom.endpoint.as_ref().unwrap();
        assert_eq!(
            (endpoint.ip, endpoint.port, endpoint.learned_from, endpoint.followed),
            (Some(end(1, 0).address), Some(Port(49_670)), LearnedFrom::Calls, true)
        );
        assert_eq!(dcom.host, None, "hosts were asked when the class was not known");
    }

    #[test]
    fn what_vouches_for_a_bind_and_extensions_of_every_call_are_allowed_for() {
        let mut trailed = MMC20;
        trailed[0].2 += 52;
        assert_eq!(worth(&told(&trailed)).len(), 1);
        let longer = MMC20.map(|(object, opnum, length, reply)| (object, opnum, length + 56, reply));
        assert_eq!(
            worth(&told(&longer)),
            [(Some("MMC20.Application"), Severity::High, "high")]
        );
        let mut uneven = longer;
        uneven[3].2 -= 8;
        let high = |found: &[Found]| found.iter().any(|it| it.alert.severity >= Severity::High);
        assert!(!high(&told(&uneven)), "one name is another");
    }

    #[test]
    fn shell_windows_is_not_taken_for_what_it_leads_through() {
        let calls = [
            (1, LOOKUP, 88, 20),
            (1, INVOKE, 120, OBJECT),
            (2, LOOKUP, 96, 20),
            (2, INVOKE, 88, OBJECT),
            (3, LOOKUP, 100, 20),
            (3, INVOKE, 88, OBJECT),
            (4, LOOKUP, 104, 20),
            (4, INVOKE, 392, NOTHING),
        ];
        assert_eq!(worth(&told(&calls)), [(Some("ShellWindows"), Severity::High, "high")]);
        assert_eq!(
            worth(&told(&calls[2..])),
            [(Some("ShellBrowserWindow"), Severity::High, "medium")]
        );
    }

    #[test]
    fn a_part_is_told_at_the_end_and_without_a_class_where_several_fit() {
        let found = told(&MMC20[..5]);
        assert_eq!(worth(&found), [(None, Severity::Medium, "low")]);
        assert_eq!(
            found[0].alert.metadata.classes,
            ["MMC20.Application", "ShellBrowserWindow"]
        );
        assert!(told(&MMC20[..3]).is_empty(), "one name is none");
    }

    #[test]
    fn one_call_says_little_and_calls_without_names_less() {
        let excel = [
            (1, LOOKUP, 100, 20),
            (1, INVOKE, 208, NOTHING),
            (1, INVOKE, 88, NOTHING),
        ];
        let found = told(&excel);
        assert_eq!(worth(&found), [(None, Severity::Medium, "low")]);
        assert_eq!(
            found[0].alert.metadata.classes.len(),
            3,
            "{:?}",
            found[0].alert.metadata.classes
        );
        let shell = [
            (1, INVOKE, 88, 296),
            (2, INVOKE, 88, 296),
            (3, INVOKE, 88, 296),
            (4, INVOKE, 10_648, 116),
        ];
        assert_eq!(worth(&told(&shell)), [(Some("ShellWindows"), Severity::Medium, "low")]);
        assert_eq!(worth(&told(&shell[1..])), [(None, Severity::Medium, "low")]);
        assert!(told(&shell[2..]).is_empty());
    }

    #[test]
    fn lengths_objects_or_answers_that_do_not_fit_are_none() {
        let change = |index: usize, change: fn(&mut (u8, u16, u32, u32))| {
            let mut calls = MMC20;
            change(&mut calls[index]);
            told(&calls[..7])
                .iter()
                .filter(|it| it.alert.severity >= Severity::High)
                .count()
        };
        assert_eq!(change(0, |_| ()), 1);
        assert_eq!(change(0, |call| call.2 = 104), 0, "another name");
        assert_eq!(change(0, |call| call.3 = 24), 0, "two names");
        assert_eq!(change(1, |call| call.3 = NOTHING), 0, "no object");
        assert_eq!(change(6, |call| call.2 = 196), 0, "too few arguments");
        assert_eq!(change(6, |call| call.3 = OBJECT), 0, "an object");
        assert_eq!(change(6, |call| call.0 = 1), 0, "on another object");
    }

    #[test]
    fn calls_of_others_or_after_a_failure_or_of_wmi_are_none() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        let play = |rig: &mut Rig<SealedActivation>| {
            for (object, opnum, length, reply) in MMC20 {
                rig.see(sealed(object, opnum, length, reply));
            }
        };
        play(&mut rig);
        let mut failed = sealed_activation();
        failed.dcom.outcome = Some(Outcome::Failed);
        rig.see(failed);
        rig.see(sealed_activation().from(8));
        play(&mut rig);
        // What was activated was WMI, as its own calls tell.
        rig.see(sealed_activation());
        let mut wmi = sealed(7, 6, 92, 160);
        wmi.dcom.interface.as_mut().unwrap().uuid = dcom_parsers::wmi::IWBEM_LEVEL1_LOGIN;
        wmi.meta.server = Some(end(1, 49_671));
        rig.see(wmi);
        play(&mut rig);
        rig.conclude(9 * SECOND);
        assert!(rig.found().is_empty());
    }

    #[test]
    fn each_of_several_activations_is_told() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        for round in 0..3 {
            rig.see(sealed_activation());
            for (object, opnum, length, reply) in MMC20 {
                rig.see(sealed(object + 10 * round, opnum, length, reply));
            }
        }
        assert_eq!(rig.found().len(), 3);
    }

    #[test]
    fn calls_that_are_not_sealed_are_read() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        let mut read = sealed(3, INVOKE, 0, 0);
        read.dcom.class = Some("MMC20.Application".to_owned());
        read.dcom.sealed_stub_length = None;
        rig.see(read.clone());
        rig.see(read);
        let found = rig.found();
        assert_eq!(worth(&found), [(Some("MMC20.Application"), Severity::High, "high")]);
        assert_eq!(found[0].alert.dcom.as_ref().unwrap().evidence, Evidence::Inferred);
    }

    #[test]
    fn where_calls_may_be_missing_every_class_that_fits_is_told() {
        let told = |missing, method: &str, class: Option<&str>| {
            let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
            rig.see(sealed_activation());
            let mut read = sealed(3, INVOKE, 0, 0);
            read.dcom.sealed_stub_length = None;
            (read.dcom.clsid, read.dcom.class) = (None, class.map(str::to_owned));
            read.dcom.bytes_missing = missing;
            read.dcom.object_path = Some("?.Document.Application".to_owned());
            read.dcom.method = Some(method.to_owned().into());
            read.dcom.effect = Some(Effect::Execution);
            rig.see(read);
            rig.found()
        };
        let found = told(288, "ShellExecute", None);
        assert_eq!(worth(&found), [(None, Severity::High, "medium")]);
        assert_eq!(found[0].alert.metadata.classes, ["ShellWindows", "ShellBrowserWindow"]);
        let because = &found[0].alert.dcom.as_ref().unwrap().because;
        assert!(because.iter().any(|why| why.contains("288 bytes")), "{because:?}");
        let found = told(288, "ShellExecute", Some("MMC20.Application"));
        assert_eq!(worth(&found), [(Some("MMC20.Application"), Severity::High, "medium")]);
        assert!(told(288, "Navigate", None).is_empty());
    }

    #[test]
    fn an_object_that_is_called_over_another_connection_may_be_that_of_the_next_activation() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        let mut play = |flow, activated: bool| {
            if activated {
                rig.see(sealed_activation());
            }
            for (object, opnum, length, reply) in MMC20 {
                let mut record = sealed(object, opnum, length, reply);
                record.meta.flow_id = Some(flow);
                rig.see(record);
            }
            rig.found().len()
        };
        assert_eq!((play(5, true), play(6, true)), (1, 1));
        assert_eq!(play(7, false), 0, "no activation");
        assert_eq!(play(7, true), 0, "of something else: these calls go on as they were");
    }

    #[test]
    fn an_activation_whose_object_is_never_called_hides_none_that_comes_after_it() {
        let told = |first: &[Record], between: Option<Record>| {
            let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
            for record in first {
                rig.see(record.clone());
            }
            let mut real = sealed_activation();
            real.meta.frame = Some(77);
            rig.see(real);
            for (number, (object, opnum, length, reply)) in MMC20.into_iter().enumerate() {
                rig.see(sealed(object, opnum, length, reply));
                if let (1, Some(record)) = (number, &between) {
                    rig.see(record.clone());
                }
            }
            let found = rig.found();
            let frames: Vec<_> = found.iter().map(|found| found.meta.frame).collect();
            (worth(&found).len(), frames)
        };
        let refused = || {
            let mut record = sealed_activation();
            record.dcom.sealed_reply_length = Some(16);
            record
        };
        let mut late = sealed_activation();
        late.meta.timestamp = Timestamp(9 * SECOND);
        let right = (1, vec![Some(77)]);
        assert_eq!(told(&[sealed_activation(), sealed_activation()], None), right);
        assert_eq!(
            told(&[late], None),
            right,
            "times go backwards where captures are put together"
        );
        assert_eq!(told(&[refused()], Some(refused())), right);
    }

    #[test]
    fn two_at_once_over_connections_of_their_own_are_told() {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        rig.see(sealed_activation());
        for (object, opnum, length, reply) in MMC20 {
            for (flow, object) in [(5, object), (6, object + 10)] {
                let mut record = sealed(object, opnum, length, reply);
                record.meta.flow_id = Some(flow);
                rig.see(record);
            }
        }
        let class = (Some("MMC20.Application"), Severity::High, "high");
        assert_eq!(worth(&rig.found()), [class, class]);
    }

    const HIGH: (Option<&str>, Severity, &str) = (Some("MMC20.Application"), Severity::High, "high");
    const LOOSE: (Option<&str>, Severity, &str) = (Some("MMC20.Application"), Severity::High, "medium");

    /// What is told of calls, with others that come in front of one of them.
    fn told_with(at: usize, others: impl IntoIterator<Item = Record>) -> Vec<Found> {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        let mut others = Some(others);
        for (number, (object, opnum, length, reply)) in MMC20.into_iter().enumerate() {
            for other in others.take_if(|_| number == at).into_iter().flatten() {
                rig.see(other);
            }
            rig.see(sealed(object, opnum, length, reply));
        }
        rig.conclude(9 * SECOND);
        rig.found()
    }

    #[test]
    fn calls_that_were_refused_in_clear_hide_none() {
        let refused = |object, opnum, length| {
            let mut record = sealed(object, opnum, length, 0);
            record.dcom.sealed_reply_length = None;
            record.dcom.fault = Some("RPC_E_DISCONNECTED".to_owned());
            record.dcom.outcome = Some(Outcome::Failed);
            record
        };
        for at in 0..6 {
            let calls = [refused(99, LOOKUP, 96), refused(1, INVOKE, 16), refused(98, INVOKE, 88)];
            assert_eq!(worth(&told_with(at, calls)), [HIGH], "{at}");
        }
        let mut last = MMC20.map(|(object, opnum, length, reply)| sealed(object, opnum, length, reply));
        last[6] = refused(3, INVOKE, 344);
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        for record in last {
            rig.see(record);
        }
        assert!(rig.found().is_empty(), "what was refused ran nothing");
    }

    #[test]
    fn a_call_that_is_too_short_hides_none() {
        for at in 0..6 {
            let short = [sealed(1, INVOKE, 16, NOTHING), sealed(1, INVOKE, 84, NOTHING)];
            assert_eq!(worth(&told_with(at, short)), [HIGH], "{at}");
        }
    }

    #[test]
    fn other_objects_that_are_called_as_well_hide_none() {
        assert_eq!(
            worth(&told_with(0, [sealed(50, LOOKUP, 84, 20)])),
            [LOOSE],
            "asked first"
        );
        let another = |object| [sealed(1, INVOKE, 88, OBJECT), sealed(object, LOOKUP, 84, 20)];
        for at in [2, 3, 5] {
            assert_eq!(worth(&told_with(at, another(50))), [LOOSE], "one more was given: {at}");
        }
        let shell = [(1, 96), (2, 100), (3, 104)];
        let asked = [sealed(50, LOOKUP, 84, 20)].into_iter();
        let calls = shell.into_iter().flat_map(|(object, name)| {
            let (length, reply) = if object == 3 { (408, NOTHING) } else { (88, OBJECT) };
            [sealed(object, LOOKUP, name, 20), sealed(object, INVOKE, length, reply)]
        });
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        rig.see(sealed_activation());
        for record in asked.chain(calls) {
            rig.see(record);
        }
        let class = Some("ShellBrowserWindow");
        assert_eq!(worth(&rig.found()), [(class, Severity::Medium, "low")], "no rare name");
        let unknown = [sealed(50, LOOKUP, 84, 20), sealed(50, INVOKE, 88, NOTHING)];
        assert!(
            !worth(&told_with(3, unknown)).contains(&LOOSE),
            "it is the one that was given: nobody gave another"
        );
    }

    #[test]
    fn many_calls_hide_none() {
        for at in 0..7 {
            let calls = (0..300).map(|_| sealed(1, INVOKE, 88, NOTHING));
            assert_eq!(worth(&told_with(at, calls)), [HIGH], "{at}");
            let objects = (0..60).map(|object| sealed(100 + object, INVOKE, 200, NOTHING));
            let told = told_with(at, objects);
            assert!(told.len() <= 1, "{at}");
        }
        let others = (0..200_u8).map(|object| sealed(10 + object, LOOKUP, 84, 20));
        assert_eq!(worth(&told_with(0, others)), [LOOSE]);
    }

    /// Two activations that are told apart by their frames, and what is told of them.
    fn beside(records: impl IntoIterator<Item = Record>) -> Vec<(Option<u64>, Severity)> {
        let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
        for record in records {
            rig.see(record);
        }
        rig.conclude(9 * SECOND);
        let found = rig.found();
        found
            .iter()
            .map(|found| (found.meta.frame, found.alert.severity))
            .collect()
    }

    fn activated(frame: u64) -> Record {
        let mut record = sealed_activation();
        record.meta.frame = Some(frame);
        record
    }

    /// The calls on MMC20's objects, over a connection, to a port.
    fn mmc20(flow: u64, objects: u8, port: u16) -> impl Iterator<Item = Record> + Clone {
        MMC20.into_iter().map(move |(object, opnum, length, reply)| {
            let mut record = sealed(object + objects, opnum, length, reply);
            record.meta.flow_id = Some(flow);
            record.meta.server = Some(end(1, port));
            record
        })
    }

    #[test]
    fn an_activation_between_two_calls_hides_neither() {
        let wmi = |frame: u64| {
            let mut record = sealed(77, 6, 92, 160);
            record.dcom.interface.as_mut().unwrap().uuid = dcom_parsers::wmi::IWBEM_LEVEL1_LOGIN;
            record.meta.server = Some(end(1, 49_671));
            record.meta.flow_id = Some(frame);
            record
        };
        for at in 1..7 {
            let first = mmc20(5, 0, 49_670);
            let (before, after) = (first.clone().take(at), first.clone().skip(at));
            let records = [activated(1)].into_iter().chain(before.clone());
            let records = records.chain([activated(2)]);
            let with_wmi = records.clone().chain(after.clone().take(1)).chain([wmi(9)]);
            let with_wmi = with_wmi.chain(after.clone().skip(1));
            assert_eq!(beside(with_wmi), [(Some(1), Severity::High)], "a WMI login at {at}");
            for port in [49_670, 49_671] {
                for late in 0..=after.clone().count() {
                    let records = records.clone().chain(after.clone().take(late));
                    let records = records.chain(mmc20(6, 10, port)).chain(after.clone().skip(late));
                    let mut told = beside(records);
                    told.sort_by_key(|(frame, _)| *frame);
                    let both = [(Some(1), Severity::High), (Some(2), Severity::High)];
                    assert_eq!(told, both, "{at} {late} {port}");
                }
            }
        }
    }

    #[test]
    fn two_at_once_over_one_connection_are_told() {
        for at in 1..7 {
            let (first, second) = (mmc20(5, 0, 49_670), mmc20(5, 10, 49_670));
            let records = [activated(1)]
                .into_iter()
                .chain(first.clone().take(at))
                .chain([activated(2)]);
            let turns = first.skip(at).zip(second.clone()).flat_map(|(one, other)| [other, one]);
            let rest = second.skip(8 - at);
            let mut told = beside(records.chain(turns).chain(rest));
            told.sort_by_key(|(frame, _)| *frame);
            assert_eq!(told, [(Some(1), Severity::High), (Some(2), Severity::High)], "{at}");
        }
    }

    #[test]
    fn what_is_read_is_of_the_activation_before_the_first_object() {
        let read = |object: u8, path: Option<&str>| {
            let mut record = sealed(object, INVOKE, 0, 0);
            record.dcom.sealed_stub_length = None;
            record.dcom.class = path.map(|_| "MMC20.Application".to_owned());
            record.dcom.object_path = path.map(str::to_owned);
            record
        };
        let run = |first: u8| {
            let path = Some("Document.ActiveView");
            [
                read(first, None),
                read(first + 1, None),
                read(first + 2, path),
                read(first, path),
            ]
        };
        let mut between = vec![activated(1)];
        between.extend(run(1));
        between.insert(2, activated(2));
        assert_eq!(beside(between), [(Some(1), Severity::High)]);
        let after = [activated(1)].into_iter().chain(run(1)).chain([activated(2)]);
        let after = after.chain(run(11));
        assert_eq!(beside(after), [(Some(1), Severity::High), (Some(2), Severity::High)]);
    }

    #[test]
    fn where_sealed_calls_may_be_missing_every_class_that_leads_to_these_is_told() {
        let calls = [
            (1, LOOKUP, 96, 20),
            (1, INVOKE, 88, OBJECT),
            (2, LOOKUP, 100, 20),
            (2, INVOKE, 88, OBJECT),
            (3, LOOKUP, 104, 20),
            (3, INVOKE, 408, NOTHING),
        ];
        for missing in [0, 152] {
            let mut rig = Rig::new(SealedActivation::new(&Settings::default()));
            rig.see(sealed_activation());
            for (object, opnum, length, reply) in calls {
                let mut record = sealed(object, opnum, length, reply);
                record.dcom.bytes_missing = missing;
                rig.see(record);
            }
            let found = rig.found();
            let class = (missing == 0).then_some("ShellBrowserWindow");
            assert_eq!(worth(&found), [(class, Severity::High, "medium")]);
            let others = &found[0].alert.metadata.classes;
            assert_eq!(others.len(), if missing == 0 { 0 } else { 2 }, "{others:?}");
        }
    }
}
