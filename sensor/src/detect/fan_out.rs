//! One source activates on many targets, or many classes on one target.

use std::hash::Hash;
use std::net::IpAddr;

use dcom_parsers::guid::Clsid;

use super::managed::is_wmi;
use super::remembered::Remembered;
use super::signature::{MANY_CLASSES, MANY_TARGETS, Signature};
use super::{Context, Detection, Found, Seen, Settings, alert, as_whom};
use crate::dcom::Record;
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;
use crate::time::Timestamp;

/// What one source did: it asked a target for a class, as somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Deed {
    target: IpAddr,
    /// None where no class was seen.
    clsid: Option<Clsid>,
    whom: String,
}

/// That it did so, with when it did last.
#[derive(Clone, Debug)]
struct Done {
    deed: Deed,
    at: Timestamp,
    /// Did any succeed?
    succeeded: bool,
    /// How severe the class is, where the catalogue lists it as an attacker's.
    listed: Option<Severity>,
    /// Was it told lately?
    told: bool,
}

/// What was done within the window, the latest last.
#[derive(Debug, Default)]
struct Spread {
    done: Vec<Done>,
    /// When it was told, and how severe it was then.
    told: Option<(Timestamp, Severity)>,
}

/// Different things among what was done, in the window, as somebody: they are so many that they are told.
struct Many<T> {
    things: Vec<T>,
    whom: String,
    severity: Severity,
}

/// More are not counted: what matters is that they are many.
const MOST: usize = 1_000;

impl Spread {
    /// Takes one in; `known` is what was told of it, and whether it had succeeded then.
    fn push(&mut self, mut done: Done, known: Option<bool>, window: i64) {
        self.done.retain(|it| done.at.since(it.at) <= window);
        if let Some(place) = self.done.iter().position(|it| it.deed == done.deed) {
            done.succeeded |= self.done.remove(place).succeeded;
        } else if self.done.len() >= MOST {
            self.done.remove(0);
        }
        done.told = known.is_some_and(|succeeded| succeeded || !done.succeeded);
        self.done.push(done);
    }

    /// Worth what the worst class is worth, if attackers use it; else low: nothing says that it is an attack.
    fn severity(&self) -> Severity {
        let worst = self.done.iter().filter_map(|it| it.listed).max();
        worst.map_or(Severity::Low, |worst| worst.clamp(Severity::Medium, Severity::High))
    }

    /// As whom they were done.
    fn whom(&self) -> &str {
        match &*self.done {
            [first, rest @ ..] if rest.iter().all(|it| it.deed.whom == first.deed.whom) => &first.deed.whom,
            _ => " as several users",
        }
    }
}

/// One of the detections: of each source, or source and target, what was done and what of it was told.
struct Counted<K> {
    spreads: Remembered<K, Spread>,
    /// What is not told again for a while, and whether it had succeeded.
    told: Remembered<(K, Deed), bool>,
}

impl<K: Clone + Eq + Hash> Counted<K> {
    fn new(settings: &Settings, window: i64) -> Self {
        Self {
            spreads: Remembered::new(settings.remembered, window),
            told: Remembered::new(settings.remembered, settings.quiet),
        }
    }

    /// Takes one in; what there is to tell where there are so many within the window, and not all of it was told lately.
    fn count<T: PartialEq>(
        &mut self,
        key: K,
        done: Done,
        (window, least): (i64, usize),
        thing: impl Fn(&Deed) -> Option<T>,
    ) -> Option<Many<T>> {
        let now = done.at;
        let mut place = (key, done.deed.clone());
        let known = self.told.get(&place, now).copied();
        let spread = self.spreads.entry(place.0.clone(), now, Spread::default);
        spread.push(done, known, window);
        let severity = spread.severity();
        // What follows in the window after it was told, and is no worse, is the same story.
        let goes_on = |&(at, told): &(Timestamp, Severity)| now.since(at) <= window && severity <= told;
        if spread.told.as_ref().is_some_and(goes_on) {
            if let Some(done) = spread.done.last_mut().filter(|it| !it.told) {
                done.told = true;
                *self.told.entry(place, now, || false) |= done.succeeded;
            }
            return None;
        }
        if spread.done.iter().all(|it| it.told) {
            return None;
        }
        let mut things = Vec::new();
        for thing in spread.done.iter().filter_map(|it| thing(&it.deed)) {
            if !things.contains(&thing) {
                things.push(thing);
            }
        }
        if things.len() < least {
            return None;
        }
        spread.told = Some((now, severity));
        for done in &mut spread.done {
            done.told = true;
            place.1.clone_from(&done.deed);
            *self.told.entry(place.clone(), now, || false) |= done.succeeded;
        }
        Some(Many {
            things,
            whom: spread.whom().to_owned(),
            severity,
        })
    }

    fn keep_for(&mut self, window: i64, quiet: i64) {
        self.spreads.keep_for(window);
        self.told.keep_for(quiet);
    }

    fn clear(&mut self) {
        self.spreads.clear();
        self.told.clear();
    }

    fn forgotten(&self) -> u64 {
        self.spreads.forgotten() + self.told.forgotten()
    }
}

/// Both detections: they count the same activations.
pub(super) struct FanOut {
    targets: Counted<IpAddr>,
    classes: Counted<(IpAddr, IpAddr)>,
    settings: Settings,
}

impl FanOut {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            targets: Counted::new(&settings, settings.fanout_window),
            classes: Counted::new(&settings, settings.scan_window),
            settings,
        }
    }

    /// The sealed activation before it was for WMI, and does not count.
    fn was_for_wmi(&mut self, seen: &Seen<'_>, now: Timestamp) {
        let Some((source, target)) = seen.pair() else { return };
        if let Some(spread) = self.targets.spreads.get(&source, now) {
            let is_it = |deed: &Deed| deed.target == target && deed.clsid.is_none();
            spread.done.retain(|it| !is_it(&it.deed));
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
        let (source, target) = (client.address, server.address);
        let Settings {
            fanout_targets,
            fanout_window,
            scan_classes,
            scan_window,
            ..
        } = self.settings;

        let done = Done {
            deed: Deed {
                target,
                clsid: dcom.clsid,
                whom: as_whom(&dcom.client),
            },
            at: context.when(meta),
            succeeded: dcom.outcome == Some(Outcome::Succeeded),
            listed: class.map(|class| class.severity),
            told: false,
        };
        let many = self
            .targets
            .count(source, done.clone(), (fanout_window, fanout_targets), |deed| {
                Some(deed.target)
            });
        if let Some(Many { things, whom, severity }) = many {
            let names: Vec<_> = things.iter().map(ToString::to_string).collect();
            let message = format!(
                "{source}{whom} asked for classes on {} targets within {} s",
                names.len(),
                fanout_window / 1_000_000_000,
            );
            let mut alert = spread(&MANY_TARGETS, severity, message, record, names.len());
            alert.alert.metadata.targets = names;
            found.push(alert);
        }
        if dcom.clsid.is_none() {
            return;
        }
        let many = self
            .classes
            .count((source, target), done, (scan_window, scan_classes), |deed| deed.clsid);
        if let Some(Many { things, whom, severity }) = many {
            let name = |clsid: &Clsid| {
                context
                    .catalog
                    .class(*clsid)
                    .map_or_else(|| clsid.to_string(), |it| it.name.clone())
            };
            let names: Vec<_> = things.iter().map(name).collect();
            let message = format!(
                "{source}{whom} asked {target} for {} classes within {} s: {}",
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
        self.targets.keep_for(settings.fanout_window, settings.quiet);
        self.classes.keep_for(settings.scan_window, settings.quiet);
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
    use dcom_parsers::guid::Guid;

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
        assert_eq!(from(of_nobody, 400), [], "and is not told again so soon");
        assert_eq!(from(of_nobody, 4_000), [Severity::Low], "what was worse is long ago");
    }

    /// A poll of so many targets, after so many seconds; does it succeed, and as whom?
    fn poll(rig: &mut Rig<FanOut>, targets: u8, seconds: i64, succeeds: bool, user: &str) -> usize {
        for target in 1..=targets {
            let mut asked = activation("").from(9).to(target).at(SECOND * seconds);
            asked.dcom.outcome = Some(if succeeds { Outcome::Succeeded } else { Outcome::Failed });
            asked.dcom.client = ClientIdentity {
                user: Some(user.to_owned()),
                ..ClientIdentity::default()
            }
            .into();
            rig.see(asked);
        }
        rig.told().len()
    }

    #[test]
    fn what_goes_on_all_day_is_told_once_an_hour() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let told: usize = (0..48).map(|k| poll(&mut rig, 20, 600 * k, true, "opc")).sum();
        assert_eq!(told, 8, "in eight hours, every ten minutes");
    }

    #[test]
    fn what_is_new_is_told_within_the_hour() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let mut ask = |targets, seconds, succeeds, user| poll(&mut rig, targets, seconds, succeeds, user);
        assert_eq!(ask(5, 0, false, "opc"), 1);
        assert_eq!(ask(5, 400, false, "opc"), 0);
        assert_eq!(ask(6, 800, false, "opc"), 1, "another target");
        assert_eq!(ask(6, 1_200, true, "opc"), 1, "it succeeds now");
        assert_eq!(ask(6, 1_600, false, "opc"), 0, "no worse than before");
        assert_eq!(ask(6, 2_000, true, "eve"), 1, "somebody else");
        for target in 1..=5 {
            rig.see(activation("MMC20.Application").from(9).to(target).at(SECOND * 2_010));
        }
        assert_eq!(
            rig.told(),
            [(MANY_TARGETS.id, Severity::High)],
            "a worse class, at once"
        );
    }

    #[test]
    fn of_many_some_may_be_new() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        assert_eq!(poll(&mut rig, 5, 0, true, "opc"), 1);
        for target in [11, 12, 13, 14] {
            rig.see(activation("").from(9).to(target).at(SECOND * 800));
        }
        assert_eq!(
            poll(&mut rig, 1, 800, true, "opc"),
            1,
            "the last was told, those before it were not"
        );
    }

    #[test]
    fn a_server_with_many_classes_is_told_once_an_hour_until_another_is_asked_for() {
        let mut rig = Rig::new(FanOut::new(Settings::default()));
        let mut ask = |classes: u32, minutes: i64| {
            for class in 0..classes {
                let mut asked = activation("").from(9).to(1).at(60 * SECOND * minutes);
                asked.dcom.clsid = Some(Clsid(Guid::com(class)));
                rig.see(asked);
            }
            rig.told().len()
        };
        let told: usize = (0..12).map(|k| ask(6, 10 * k)).sum();
        assert_eq!(told, 2);
        assert_eq!(ask(7, 115), 1);
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
