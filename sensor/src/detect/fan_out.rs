//! One source activates on many targets, or many classes on one target.

use std::net::IpAddr;

use dcom_parsers::guid::Clsid;

use super::pairs::Remembered;
use super::signature::{MANY_CLASSES, MANY_TARGETS, Signature};
use super::{Context, Detection, Found, Seen, Settings, alert, as_whom};
use crate::dcom::Record;
use crate::event::dcom::Kind;
use crate::severity::Severity;
use crate::time::Timestamp;

/// Different things that one source did, each with when it did it last.
#[derive(Debug)]
struct Spread<T> {
    things: Vec<(T, Timestamp)>,
    /// The worst class among them that the catalogue lists as an attacker's.
    worst: Option<Severity>,
    told: Option<Timestamp>,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self {
            things: Vec::new(),
            worst: None,
            told: None,
        }
    }
}

/// More are not counted: what matters is that they are many.
const MOST: usize = 1_000;

impl<T: PartialEq> Spread<T> {
    /// Takes one in; true when they are so many for the first time in the window.
    fn push(&mut self, thing: T, now: Timestamp, window: i64, least: usize) -> bool {
        self.things.retain(|(_, at)| now.since(*at) <= window);
        let full = self.things.len() >= MOST;
        match self.things.iter_mut().find(|(known, _)| *known == thing) {
            Some((_, at)) => *at = now,
            None if full => {}
            None => self.things.push((thing, now)),
        }
        let quiet = self.told.is_some_and(|told| now.since(told) <= window);
        if self.things.len() < least || quiet {
            return false;
        }
        self.told = Some(now);
        true
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
}

impl Detection for FanOut {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Kind::Activation, Some(client), Some(server)) = (dcom.kind, meta.client, meta.server) else {
            return;
        };
        let class = dcom.clsid.and_then(|clsid| context.catalog.class(clsid));
        // What administration activates everywhere, all day.
        if class.is_some_and(|class| class.benign.is_some()) {
            return;
        }
        let severity = class.map(|class| class.severity);
        let (source, target, now) = (client.address, server.address, context.when(meta));
        let Settings {
            fanout_targets,
            fanout_window,
            scan_classes,
            scan_window,
            ..
        } = self.settings;

        let targets = self.targets.entry(source, now, Spread::default);
        targets.worst = targets.worst.max(severity);
        if targets.push(target, now, fanout_window, fanout_targets) {
            let names: Vec<_> = targets.things.iter().map(|(target, _)| target.to_string()).collect();
            let message = format!(
                "{source}{} asked for classes on {} targets within {} s",
                as_whom(&dcom.client),
                names.len(),
                fanout_window / 1_000_000_000,
            );
            let mut alert = spread(&MANY_TARGETS, targets.worst, message, record, names.len());
            alert.alert.metadata.targets = names;
            found.push(alert);
        }
        let Some(clsid) = dcom.clsid else { return };
        let classes = self.classes.entry((source, target), now, Spread::default);
        classes.worst = classes.worst.max(severity);
        if classes.push(clsid, now, scan_window, scan_classes) {
            let name = |clsid: Clsid| {
                context
                    .catalog
                    .class(clsid)
                    .map_or_else(|| clsid.to_string(), |it| it.name.clone())
            };
            let names: Vec<_> = classes.things.iter().map(|(clsid, _)| name(*clsid)).collect();
            let message = format!(
                "{source}{} asked {target} for {} classes within {} s: {}",
                as_whom(&dcom.client),
                names.len(),
                scan_window / 1_000_000_000,
                names.join(", "),
            );
            let mut alert = spread(&MANY_CLASSES, classes.worst, message, record, names.len());
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

/// Worth what the worst class is worth, if attackers use it; else low: nothing says that it is an attack.
fn spread(
    signature: &'static Signature,
    worst: Option<Severity>,
    message: String,
    record: &Record,
    count: usize,
) -> Found {
    let (severity, confidence) = match worst {
        Some(worst) if worst >= Severity::High => (Severity::High, "high"),
        Some(_) => (Severity::Medium, "medium"),
        None => (Severity::Low, "low"),
    };
    let mut found = alert(signature, severity, confidence, message, record);
    found.alert.metadata.count = vec![count.to_string()];
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;

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
