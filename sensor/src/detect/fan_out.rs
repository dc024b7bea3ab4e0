//! One source activates on many targets, or many classes on one target.

use std::net::IpAddr;

use dcom_parsers::guid::Clsid;

use super::managed::is_wmi;
use super::remembered::Remembered;
use super::signature::{MANY_CLASSES, MANY_TARGETS, Signature};
use super::{Context, Detection, Found, Seen, Settings, alert, as_whom};
use crate::catalog::Class;
use crate::dcom::Record;
use crate::event::dcom::Kind;
use crate::severity::Severity;
use crate::time::Timestamp;

/// Different things that one source did.
#[derive(Debug)]
struct Spread<T> {
    things: Vec<Thing<T>>,
    /// When it was told, and how severe it was then.
    told: Option<(Timestamp, Severity)>,
}

/// One of them, with when it was done last.
#[derive(Debug)]
struct Thing<T> {
    what: T,
    at: Timestamp,
    /// The worst class beside it that the catalogue lists as an attacker's, with when it was asked for last.
    worst: Option<(Severity, Timestamp)>,
    /// As whom.
    whom: String,
    /// Was no class seen?
    sealed: bool,
}

/// One activation, as it counts.
struct Asked<'a> {
    at: Timestamp,
    class: Option<&'a Class>,
    record: &'a Record,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self {
            things: Vec::new(),
            told: None,
        }
    }
}

/// More are not counted: what matters is that they are many.
const MOST: usize = 1_000;

impl<T: PartialEq> Spread<T> {
    /// Takes one in; how severe it is where they are so many for the first time in the window, or worse than was told.
    fn push(&mut self, thing: T, asked: &Asked<'_>, window: i64, least: usize) -> Option<Severity> {
        let now = asked.at;
        let listed = asked.class.map(|class| class.severity);
        let whom = as_whom(&asked.record.dcom.client);
        let sealed = asked.record.dcom.clsid.is_none();
        self.things.retain(|it| now.since(it.at) <= window);
        let full = self.things.len() >= MOST;
        let worst = listed.map(|severity| (severity, now));
        match self.things.iter_mut().find(|it| it.what == thing) {
            Some(known) => {
                known.at = now;
                known.worst = known.worst.filter(|(_, at)| now.since(*at) <= window);
                if listed >= known.worst.map(|(severity, _)| severity) {
                    known.worst = worst;
                }
                known.whom = whom;
                known.sealed &= sealed;
            }
            None if full => {}
            None => self.things.push(Thing {
                what: thing,
                at: now,
                worst,
                whom,
                sealed,
            }),
        }
        if self.things.len() < least {
            return None;
        }
        let within = |&(_, at): &(Severity, Timestamp)| now.since(at) <= window;
        let worst = self.things.iter().filter_map(|it| it.worst.filter(within)).max();
        // Worth what the worst class is worth, if attackers use it; else low: nothing says that it is an attack.
        let severity = match worst {
            Some((worst, _)) => worst.clamp(Severity::Medium, Severity::High),
            None => Severity::Low,
        };
        if self
            .told
            .is_some_and(|(at, told)| now.since(at) <= window && severity <= told)
        {
            return None;
        }
        self.told = Some((now, severity));
        Some(severity)
    }

    /// As whom they were done.
    fn whom(&self) -> &str {
        match &*self.things {
            [first, rest @ ..] if rest.iter().all(|it| it.whom == first.whom) => &first.whom,
            _ => " as several users",
        }
    }
}

/// Both detections: they count the same activations.
pub(super) struct FanOut {
    targets: Remembered<IpAddr, Spread<IpAddr>>,
    classes: Remembered<(IpAddr, IpAddr), Spread<Clsid>>,
    settings: Settings,
}

impl FanOut {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            targets: Remembered::new(settings.remembered, settings.fanout_window),
            classes: Remembered::new(settings.remembered, settings.scan_window),
            settings,
        }
    }

    /// The sealed activation before it was for WMI, and does not count.
    fn was_for_wmi(&mut self, seen: &Seen<'_>, now: Timestamp) {
        let Some((source, target)) = seen.pair() else { return };
        if let Some(targets) = self.targets.get(&source, now) {
            targets.things.retain(|it| it.what != target || !it.sealed);
        }
    }
}

impl Detection for FanOut {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        if is_wmi(seen) && !context.managed {
            self.was_for_wmi(seen, context.when(meta));
        }
        let (Kind::Activation, Some(client), Some(server)) = (dcom.kind, meta.client, meta.server) else {
            return;
        };
        let class = dcom.clsid.and_then(|clsid| context.catalog.class(clsid));
        // What administration activates everywhere, all day.
        if class.is_some_and(|class| class.benign.is_some()) {
            return;
        }
        // It is most likely for WMI, as what came before it.
        if context.managed && dcom.clsid.is_none() {
            return;
        }
        let (source, target, now) = (client.address, server.address, context.when(meta));
        let Settings {
            fanout_targets,
            fanout_window,
            scan_classes,
            scan_window,
            ..
        } = self.settings;

        let asked = Asked { at: now, class, record };
        let targets = self.targets.entry(source, now, Spread::default);
        if let Some(severity) = targets.push(target, &asked, fanout_window, fanout_targets) {
            let names: Vec<_> = targets.things.iter().map(|it| it.what.to_string()).collect();
            let message = format!(
                "{source}{} asked for classes on {} targets within {} s",
                targets.whom(),
                names.len(),
                fanout_window / 1_000_000_000,
            );
            let mut alert = spread(&MANY_TARGETS, severity, message, record, names.len());
            alert.alert.metadata.targets = names;
            found.push(alert);
        }
        let Some(clsid) = dcom.clsid else { return };
        let classes = self.classes.entry((source, target), now, Spread::default);
        if let Some(severity) = classes.push(clsid, &asked, scan_window, scan_classes) {
            let name = |clsid: Clsid| {
                context
                    .catalog
                    .class(clsid)
                    .map_or_else(|| clsid.to_string(), |it| it.name.clone())
            };
            let names: Vec<_> = classes.things.iter().map(|it| name(it.what)).collect();
            let message = format!(
                "{source}{} asked {target} for {} classes within {} s: {}",
                classes.whom(),
                names.len(),
                scan_window / 1_000_000_000,
                names.join(", "),
            );
            let mut alert = spread(&MANY_CLASSES, severity, message, record, names.len());
            alert.alert.metadata.classes = names;
            found.push(alert);
        }
    }

    fn set(&mut self, settings: &Settings) {
        self.settings = *settings;
        self.targets.keep_for(settings.fanout_window);
        self.classes.keep_for(settings.scan_window);
    }

    fn forget(&mut self) {
        self.targets.clear();
        self.classes.clear();
    }

    fn forgotten(&self) -> u64 {
        self.targets.forgotten() + self.classes.forgotten()
    }
}

/// As sure as it is severe.
fn spread(signature: &'static Signature, severity: Severity, message: String, record: &Record, count: usize) -> Found {
    let confidence = match severity {
        Severity::High | Severity::Critical => "high",
        Severity::Medium => "medium",
        Severity::Low | Severity::Informational => "low",
    };
    let mut found = alert(signature, severity, confidence, message, record);
    found.alert.metadata.count = vec![count.to_string()];
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation, call};
    use super::*;
    use crate::event::dcom::{ClientIdentity, Interface};

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn so_many_targets_within_the_window_are_told_once() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        for target in 1..=4 {
            rig.see(
                activation("MMC20.Application")
                    .from(9)
                    .to(target)
                    .at(SECOND * i64::from(target)),
            );
        }
        assert!(rig.found().is_empty());
        for target in 5..=20 {
            rig.see(
                activation("MMC20.Application")
                    .from(9)
                    .to(target)
                    .at(SECOND * i64::from(target)),
            );
        }
        let found = rig.found();
        assert_eq!(found.len(), 1, "once");
        assert_eq!(found[0].alert.signature_id, MANY_TARGETS.id);
        assert_eq!(found[0].alert.severity, Severity::High);
        assert_eq!(found[0].alert.metadata.targets.len(), 5);
    }

    #[test]
    fn it_is_as_severe_as_what_is_within_the_window_and_told_again_when_it_gets_worse() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let mut from = |class: &str, seconds: i64| {
            for target in 1..=6 {
                let at = SECOND * (seconds + i64::from(target));
                rig.see(activation(class).from(9).to(target).at(at));
            }
            let found = rig.found();
            found.iter().map(|it| it.alert.severity).collect::<Vec<_>>()
        };
        let (of_nobody, worse) = ("", "MMC20.Application");
        assert_eq!(from(of_nobody, 0), [Severity::Low]);
        assert_eq!(from(worse, 10), [Severity::High]);
        assert_eq!(from(worse, 20), [], "that was told");
        assert_eq!(from(of_nobody, 200), [], "that too");
        assert_eq!(from(of_nobody, 400), [Severity::Low], "what was worse is long ago");
    }

    #[test]
    fn sealed_activations_before_calls_of_wmi_are_none() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let mut poll = |wmi: bool, seconds: i64| {
            for target in 1..=9 {
                let at = SECOND * (seconds + i64::from(target));
                let sealed = activation("").from(9).to(target).at(at);
                rig.see(sealed.clone());
                if wmi {
                    let mut login = call(&sealed, "NTLMLogin");
                    login.dcom.interface = Some(Interface {
                        uuid: dcom_parsers::wmi::IWBEM_LEVEL1_LOGIN,
                        name: None,
                    });
                    rig.see(login);
                }
            }
            rig.told().len()
        };
        assert_eq!(poll(true, 0), 0);
        assert_eq!(poll(false, 60), 0, "who asked for WMI a minute ago");
        assert_eq!(poll(false, 10_000), 1);
    }

    #[test]
    fn several_users_are_not_taken_for_the_last() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        for target in 1..=5 {
            let mut asked = activation("MMC20.Application").from(9).to(target);
            asked.dcom.client = ClientIdentity {
                user: Some(format!("user{}", target / 3)),
                ..ClientIdentity::default()
            }
            .into();
            rig.see(asked);
        }
        let message = &rig.found()[0].alert.message;
        assert!(
            message.contains(" as several users asked for classes on 5"),
            "{message}"
        );
    }

    #[test]
    fn other_settings_forget_nothing() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let mut go_on = |targets: std::ops::RangeInclusive<u8>, settings: Settings| {
            rig.detection.set(&settings);
            for target in targets {
                rig.see(activation("MMC20.Application").from(9).to(target));
            }
            rig.found().len()
        };
        assert_eq!(go_on(1..=3, Settings::default()), 0);
        let more = Settings {
            fanout_targets: 7,
            ..Settings::default()
        };
        assert_eq!(go_on(4..=6, more), 0, "so many are none any more");
        assert_eq!(go_on(7..=7, more), 1);
        assert_eq!(go_on(8..=20, Settings::default()), 0, "it was told");
    }

    #[test]
    fn slow_benign_or_repeated_activations_are_none() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        for target in 1..=20 {
            rig.see(
                activation("MMC20.Application")
                    .from(8)
                    .to(target)
                    .at(100 * SECOND * i64::from(target)),
            );
            rig.see(activation("WbemLevel1Login (WMI)").from(9).to(target));
            rig.see(activation("MMC20.Application").from(7).to(1));
        }
        assert!(rig.found().is_empty());
    }

    #[test]
    fn a_scan_of_classes_is_told_with_their_names() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        for class in [
            "MMC20.Application",
            "ShellWindows",
            "ShellBrowserWindow",
            "Excel.Application",
            "Word.Application",
        ] {
            rig.see(activation(class).from(9).to(1));
        }
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].alert.signature_id, MANY_CLASSES.id);
        assert!(found[0].alert.message.contains("ShellWindows, ShellBrowserWindow"));
    }
}
