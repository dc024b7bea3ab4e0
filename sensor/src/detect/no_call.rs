//! An object was made, and no call of it was answered: activation alone loads what was planted before.

use std::net::IpAddr;

use dcom_parsers::names::known;

use super::remembered::Remembered;
use super::signature::NO_CALL;
use super::{Context, Detection, Found, Seen, Settings, address, alert, as_whom};
use crate::catalog::Category;
use crate::dcom::Record;
use crate::event::Dcom;
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;
use crate::time::Timestamp;

/// An activation by its connection and time: live, frames have no number.
type Key = (u64, Timestamp);

/// Waits for a call on each object that was made.
pub(super) struct NoCall {
    /// Since when each does, and what it was.
    waiting: Remembered<Key, (Timestamp, Record)>,
    /// Activations whose objects were called: some are told only after that, since their records wait for the port.
    called: Remembered<Key, ()>,
    /// When a client last called an object of a server that could not be tied to an activation.
    loose: Remembered<(IpAddr, IpAddr), ()>,
    /// Bytes that are missing of a connection on which a client called objects of a server.
    lost: Remembered<(IpAddr, IpAddr), u64>,
}

impl NoCall {
    pub(super) fn new(settings: &Settings) -> Self {
        let patience = settings.no_call_patience;
        Self {
            waiting: Remembered::new(settings.remembered, patience),
            called: Remembered::new(settings.remembered, 2 * patience),
            loose: Remembered::new(settings.remembered, 2 * patience),
            lost: Remembered::new(settings.remembered, 2 * patience),
        }
    }

    fn is_called(&mut self, key: Key, record: &Record, now: Timestamp) -> bool {
        let pair = pair(record);
        self.called.get(&key, now).is_some() || pair.is_some_and(|pair| self.loose.get(&pair, now).is_some())
    }
}

impl Detection for NoCall {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        // Before anything is touched, since that forgets what is overdue.
        self.advance(context, found);
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let now = context.when(meta);
        if dcom.kind == Kind::Call
            && dcom.bytes_missing > 0
            && let Some(pair) = pair(record)
        {
            let lost = self.lost.entry(pair, now, || 0);
            *lost = (*lost).max(dcom.bytes_missing);
        }
        match dcom.kind {
            Kind::Activation if dcom.outcome == Some(Outcome::Succeeded) && dcom.clsid.is_some() => {
                let Some(flow) = meta.flow_id else { return };
                let key = (flow, meta.timestamp);
                if !self.is_called(key, record, now) {
                    self.waiting.entry(key, now, || (now, (*record).clone()));
                }
            }
            Kind::Call if is_real(dcom) => match &dcom.activation {
                Some(activation) => {
                    let key = (activation.flow_id, activation.timestamp);
                    self.waiting.remove(&key);
                    self.called.entry(key, now, || ());
                }
                None => {
                    if let Some(pair) = pair(record) {
                        self.loose.entry(pair, now, || ());
                    }
                }
            },
            _ => {}
        }
    }

    fn advance(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        while let Some((key, (at, record))) = self.waiting.overdue(context.now) {
            if !self.is_called(key, &record, at) {
                let lost = pair(&record).and_then(|pair| self.lost.get(&pair, at).copied());
                found.extend(judge(&record, lost.unwrap_or_default(), context));
            }
        }
    }

    fn set(&mut self, settings: &Settings) {
        let patience = settings.no_call_patience;
        self.waiting.keep_for(patience);
        self.called.keep_for(2 * patience);
        self.loose.keep_for(2 * patience);
        self.lost.keep_for(2 * patience);
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.called.clear();
        self.loose.clear();
        self.lost.clear();
    }

    fn forgotten(&self) -> u64 {
        self.waiting.forgotten() + self.called.forgotten() + self.loose.forgotten() + self.lost.forgotten()
    }
}

/// How much it matters that no call was seen, where so many bytes of the calls between the two are missing.
fn judge(record: &Record, lost: u64, context: &Context<'_>) -> Option<Found> {
    let Record { meta, dcom, .. } = record;
    let class = context.catalog.class(dcom.clsid?);
    if class.is_some_and(|class| class.benign.is_some()) {
        return None;
    }
    let followed = dcom.endpoint.as_ref().is_some_and(|endpoint| endpoint.followed);
    let whole = followed && dcom.bytes_missing == 0 && lost == 0;
    let severity = match class.map(|class| class.category) {
        Some(Category::Trigger) => Severity::High,
        Some(_) => Severity::Low,
        // Of a class that nobody lists, only what was seen whole is worth a word.
        None if whole => Severity::Informational,
        None => return None,
    };
    // Without a connection to the object, calls may have gone where the sensor does not look.
    let (confidence, seen) = if whole {
        ("medium", "no call on it was answered")
    } else {
        ("low", "no call on it was seen")
    };
    let name = dcom.class_name()?;
    let message = format!(
        "{} got {name} from {}{}, and {seen}: activation alone may have loaded a planted file",
        address(meta.client),
        address(meta.server),
        as_whom(&dcom.client),
    );
    let mut record = record.clone();
    if lost > 0 {
        let missing = format!("{lost} bytes are missing of a connection on which its objects may have been called");
        record.dcom.because.push(missing.into());
    }
    Some(alert(&NO_CALL, severity, confidence, message, &record))
}

/// Is it a call of what the object is for, not one that counts references or asks for type information? One that the server
/// refused by a fault has called nothing: there need not be an object.
fn is_real(dcom: &Dcom) -> bool {
    let Some(interface) = dcom.interface.as_ref().filter(|_| dcom.fault.is_none()) else {
        return false;
    };
    match interface.uuid {
        known::IREM_UNKNOWN
        | known::IREM_UNKNOWN2
        | known::IOBJECT_EXPORTER
        | known::MGMT
        | known::ITYPE_INFO
        | known::ITYPE_LIB
        | known::IPROVIDE_CLASS_INFO
        | known::ICLASS_FACTORY
        | known::ICLASS_FACTORY2 => false,
        known::IDISPATCH => dcom.opnum.is_some_and(|opnum| opnum >= 5),
        _ => dcom.ipid.is_some(),
    }
}

fn pair(record: &Record) -> Option<(IpAddr, IpAddr)> {
    Some((record.meta.client?.address, record.meta.server?.address))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation, call};
    use super::*;
    use crate::event::dcom::{Interface, NamedGuid};

    const SECOND: i64 = 1_000_000_000;

    fn invoke(activation: &Record) -> Record {
        on(activation, known::IDISPATCH, 6)
    }

    fn on(activation: &Record, interface: dcom_parsers::guid::Guid, opnum: u16) -> Record {
        let mut record = call(activation, "Invoke");
        record.dcom.opnum = Some(opnum);
        record.dcom.ipid = Some(dcom_parsers::guid::Ipid(known::IUNKNOWN));
        let NamedGuid { uuid, name } = NamedGuid::of(interface);
        record.dcom.interface = Some(Interface { uuid, name });
        record
    }

    fn rig() -> Rig<NoCall> {
        Rig::new(NoCall::new(&Settings::default()))
    }

    #[test]
    fn a_planted_trigger_that_nobody_calls_is_told_after_a_while() {
        let mut rig = rig();
        let trigger = activation("WordPad Document").from(9).to(1);
        rig.see(trigger.clone());
        rig.see(on(&trigger, known::IREM_UNKNOWN2, 5));
        rig.see(on(&trigger, known::IDISPATCH, 4));
        rig.advance(29 * SECOND);
        assert!(rig.found().is_empty());
        rig.advance(31 * SECOND);
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].alert.signature_id, found[0].alert.severity),
            (NO_CALL.id, Severity::High)
        );
        rig.advance(99 * SECOND);
        assert!(rig.found().is_empty(), "once");
    }

    #[test]
    fn what_waits_does_so_as_long_as_the_settings_say_now() {
        let mut rig = rig();
        rig.see(activation("WordPad Document").from(9).to(1));
        let patient = |seconds: i64| Settings {
            no_call_patience: seconds * SECOND,
            ..Settings::default()
        };
        rig.detection.set(&patient(60));
        rig.advance(59 * SECOND);
        assert!(rig.found().is_empty());
        rig.detection.set(&patient(10));
        rig.advance(59 * SECOND);
        assert_eq!(rig.found().len(), 1);
    }

    #[test]
    fn a_call_before_or_after_the_record_is_a_call() {
        let mut rig = rig();
        let trigger = activation("WordPad Document").from(9).to(1);
        rig.see(trigger.clone());
        rig.see(invoke(&trigger));
        let mut late = activation("ShapeCollector").from(9).to(2);
        late.meta.flow_id = Some(7);
        rig.see(invoke(&late));
        rig.see(late);
        let mut loose = activation("ShapeCollector").from(9).to(3);
        loose.meta.flow_id = Some(8);
        let mut untied = invoke(&loose);
        untied.dcom.activation = None;
        rig.see(loose);
        rig.see(untied);
        rig.advance(40 * SECOND);
        assert!(rig.found().is_empty());
    }

    #[test]
    fn where_calls_may_have_been_lost_none_is_claimed_not_to_be_there() {
        let mut rig = rig();
        let trigger = activation("WordPad Document").from(9).to(1);
        let mut elsewhere = on(&trigger, known::IREM_UNKNOWN2, 5).to(2);
        elsewhere.dcom.bytes_missing = 99;
        let mut released = on(&trigger, known::IREM_UNKNOWN2, 5);
        for lost in [0, 512] {
            let trigger = trigger.clone().at(lost * SECOND);
            rig.see(trigger.clone());
            rig.see(elsewhere.clone());
            released.dcom.bytes_missing = u64::try_from(lost).unwrap();
            rig.see(released.clone().at(lost * SECOND));
            rig.advance((lost + 31) * SECOND);
            let found = rig.found();
            let confidence = if lost == 0 { "medium" } else { "low" };
            assert_eq!(
                (found.len(), &*found[0].alert.metadata.confidence),
                (1, &[confidence.into()][..])
            );
            let because = format!("{:?}", found[0].alert.about().because);
            assert_eq!(because.contains("512 bytes are missing"), lost > 0, "{because}");
        }
    }

    #[test]
    fn a_call_that_ended_in_a_fault_is_none() {
        let mut rig = rig();
        let trigger = activation("WordPad Document").from(9).to(1);
        rig.see(trigger.clone());
        for tied in [true, false] {
            let mut refused = invoke(&trigger);
            refused.dcom.fault = Some("RPC_E_DISCONNECTED (0x80010108)".to_owned());
            if !tied {
                refused.dcom.activation = None;
            }
            rig.see(refused);
        }
        rig.advance(31 * SECOND);
        assert_eq!(rig.found().len(), 1);
    }

    #[test]
    fn an_object_waits_its_time_for_a_call_though_the_clock_was_set_back() {
        let mut rig = rig();
        // By now 300 seconds ahead of the frames' own time.
        rig.set_back(300);
        rig.advance(400 * SECOND);
        let made = activation("WordPad Document").from(9).to(1).at(100 * SECOND);
        rig.show(&Seen::Record(&made), Timestamp(400 * SECOND));
        rig.advance(429 * SECOND);
        assert!(rig.found().is_empty());
        rig.advance(430 * SECOND);
        assert_eq!(rig.found().len(), 1);
        // It was made before the clock was set back, and told after.
        let before = activation("ShapeCollector").from(9).to(2).at(399 * SECOND);
        rig.show(&Seen::Record(&before), Timestamp(431 * SECOND));
        rig.advance(462 * SECOND);
        assert_eq!(rig.found().len(), 1);
    }

    #[test]
    fn benign_classes_failures_and_the_end_of_the_capture_say_nothing() {
        let mut rig = rig();
        rig.see(activation("WbemLevel1Login (WMI)").from(9).to(1));
        let mut failed = activation("WordPad Document").from(9).to(1);
        failed.meta.flow_id = Some(2);
        failed.dcom.outcome = Some(Outcome::Failed);
        rig.see(failed);
        rig.advance(40 * SECOND);
        rig.see(activation("WordPad Document").from(9).to(1).at(50 * SECOND));
        rig.forget();
        rig.advance(99 * SECOND);
        assert!(rig.found().is_empty());
    }
}
