//! What goes with an activation of the same pair of hosts: a connection of the target back to the activator, files written
//! to its administrative shares, its registry opened from afar.

use std::net::IpAddr;

use dcom_parsers::guid::Guid;
use dcom_parsers::names;

use super::remembered::Remembered;
use super::settings::is_near;
use super::signature::{BESIDE_FILES, REVERSE_CONNECTION};
use super::{Context, Detection, Found, Seen, Settings, alert, as_whom, class};
use crate::dcom::{Binding, File, Record};
use crate::decode::Endpoint;
use crate::event::Dcom;
use crate::event::dcom::{Kind, Outcome};
use crate::path::file_name;
use crate::rpc::FileOpened;
use crate::severity::Severity;
use crate::time::Timestamp;

type Pair = (IpAddr, IpAddr);

/// The interface of [MS-RRP] 2.1.1, remote registry.
const WINREG: Guid = Guid::new(
    0x338c_d001,
    0x2244,
    0x31f1,
    [0xaa, 0xaa, 0x90, 0x00, 0x38, 0x00, 0x10, 0x03],
);

/// An activation that is worth looking around at.
#[derive(Debug)]
struct Activation {
    at: Timestamp,
    record: Record,
    /// Does the catalogue list its class as an attacker's?
    listed: bool,
    told_reverse: bool,
    /// How severe it was when it was told.
    told_beside: Option<Severity>,
}

/// What else was seen of a pair.
#[derive(Debug, Default)]
struct Beside {
    at: Timestamp,
    what: String,
    /// How many windows off an activation may be: a class is prepared in the registry at more leisure than a file is fetched.
    windows: i64,
}

/// Since when a client does DCOM with a server, and how it did last.
#[derive(Clone, Copy, Debug)]
struct Usage {
    since: Timestamp,
    at: Timestamp,
    client: Endpoint,
    server: Endpoint,
    frame: Option<u64>,
}

/// How long activations, and what stands beside them, are waited for: two windows, and another for records that wait
/// themselves for the port that they name.
fn kept(settings: &Settings) -> i64 {
    3 * settings.pairing_window
}

/// Both: they wait for the same activations.
pub(super) struct BesideActivation {
    activations: Remembered<Pair, Activation>,
    /// DCOM by a client, in the direction of the client: kept for long, so that what is usual is known for that.
    dcom: Remembered<Pair, Usage>,
    beside: Remembered<Pair, Beside>,
    window: i64,
}

impl BesideActivation {
    pub(super) fn new(settings: &Settings) -> Self {
        let keep = kept(settings);
        Self {
            activations: Remembered::new(settings.remembered, keep),
            dcom: Remembered::new(settings.remembered, settings.quiet),
            beside: Remembered::new(settings.remembered, keep),
            window: settings.pairing_window,
        }
    }

    fn activated(&mut self, pair: Pair, record: &Record, context: &Context<'_>, found: &mut Vec<Found>) {
        let class = record.dcom.clsid.and_then(|clsid| context.catalog.class(clsid));
        // Where the request was lost, nobody knows whether the class is benign.
        let lost = record.dcom.clsid.is_none() && record.dcom.sealed_stub_length.is_none();
        if lost || class.is_some_and(|class| class.benign.is_some()) {
            return;
        }
        let now = context.when(&record.meta);
        let activation = Activation {
            at: now,
            record: record.clone(),
            listed: class.is_some(),
            told_reverse: false,
            told_beside: None,
        };
        // A class that is listed is not forgotten for one that is not. What was told holds for the same class, and for all
        // that are not listed.
        let known = self.activations.entry(pair, now, || activation.clone());
        let same = known.listed == activation.listed
            && (!known.listed || known.record.dcom.clsid == activation.record.dcom.clsid);
        if same {
            let (told_reverse, told_beside) = (known.told_reverse, known.told_beside);
            *known = Activation {
                told_reverse,
                told_beside,
                ..activation
            };
        } else if activation.listed || !is_near(known.at, now, self.window) {
            *known = activation;
        }
        self.reverse(pair, now, found);
        self.told_beside(pair, now, context.managed, found);
    }

    /// Does the target do DCOM with the activator, since the activation?
    fn reverse(&mut self, pair: Pair, now: Timestamp, found: &mut Vec<Found>) {
        let Some(usage) = self.dcom.get(&(pair.1, pair.0), now) else {
            return;
        };
        let Some(activation) = self.activations.get(&pair, now) else {
            return;
        };
        let record = &activation.record;
        let after = usage.at.since(activation.at) >= 0 && is_near(usage.at, activation.at, self.window);
        // What the target did before, it does not do because of the activation.
        let usual = usage.since < activation.at;
        let refused = record.dcom.outcome == Some(Outcome::Failed);
        // Callbacks are how many classes tell of events: only a listed class makes them worth a word.
        if activation.told_reverse || !activation.listed || !after || usual || refused {
            return;
        }
        activation.told_reverse = true;
        let (client, server) = pair;
        let message = format!(
            "{server} came back to {client} by DCOM after {client} had asked it for {}{}",
            class(&record.dcom),
            as_whom(&record.dcom.client),
        );
        let mut record = record.clone();
        let frame = usage.frame.map_or_else(String::new, |frame| format!(", frame {frame}"));
        let back = format!("back by DCOM: {} to {}{frame}", usage.client, usage.server);
        record.dcom.because.push(back.into());
        found.push(alert(&REVERSE_CONNECTION, Severity::Medium, "medium", message, &record));
    }

    fn told_beside(&mut self, pair: Pair, now: Timestamp, managed: bool, found: &mut Vec<Found>) {
        let Some(beside) = self.beside.get(&pair, now) else {
            return;
        };
        let Some(activation) = self.activations.get(&pair, now) else {
            return;
        };
        let record = &activation.record;
        // A sealed activation between these is most likely for WMI, as others were.
        if managed && record.dcom.clsid.is_none() {
            return;
        }
        let severity = match (activation.listed, record.dcom.outcome) {
            (true, Some(Outcome::Succeeded)) => Severity::High,
            (true, _) => Severity::Medium,
            (false, _) => Severity::Low,
        };
        let window = self.window * beside.windows;
        if activation.told_beside >= Some(severity) || !is_near(beside.at, activation.at, window) {
            return;
        }
        activation.told_beside = Some(severity);
        let (client, server) = pair;
        let message = format!(
            "{client} asked {server} for {}{}, and within {} s {}",
            class(&record.dcom),
            as_whom(&record.dcom.client),
            window / 1_000_000_000,
            beside.what,
        );
        let confidence = if activation.listed { "high" } else { "low" };
        let mut record = record.clone();
        record
            .dcom
            .because
            .push(format!("the same client {}", beside.what).into());
        found.push(alert(&BESIDE_FILES, severity, confidence, message, &record));
    }

    fn bound(&mut self, binding: &Binding, context: &Context<'_>, found: &mut Vec<Found>) {
        let (Some(client), Some(server)) = (binding.meta.client, binding.meta.server) else {
            return;
        };
        let accepted = binding
            .interfaces
            .iter()
            .any(|&(uuid, result)| uuid == WINREG && result == Some(0));
        if accepted {
            let name = names::interface(WINREG).unwrap_or("the remote registry");
            let beside = Beside {
                at: context.when(&binding.meta),
                what: format!("bound to its registry ({name})"),
                windows: 2,
            };
            self.was_beside((client.address, server.address), beside, context.managed, found);
        }
    }

    /// A file written there, or what a command wrote there fetched: impacket's names for that begin with two underscores.
    fn opened(&mut self, file: &File, context: &Context<'_>, found: &mut Vec<Found>) {
        let (Some(client), Some(server)) = (file.meta.client, file.meta.server) else {
            return;
        };
        let FileOpened {
            share, name, to_write, ..
        } = &file.opened;
        let what = match (to_write, file_name(name).starts_with("__")) {
            (true, _) => "opened a file for writing",
            (false, true) => "fetched a file that looks like a command's output",
            (false, false) => return,
        };
        let what = format!("{what}: {share}\\{}", name.trim_start_matches('\\'));
        let beside = Beside {
            at: context.when(&file.meta),
            what,
            windows: 1,
        };
        self.was_beside((client.address, server.address), beside, context.managed, found);
    }

    fn was_beside(&mut self, pair: Pair, beside: Beside, managed: bool, found: &mut Vec<Found>) {
        let now = beside.at;
        *self.beside.entry(pair, now, Beside::default) = beside;
        self.told_beside(pair, now, managed, found);
    }
}

impl Clone for Activation {
    fn clone(&self) -> Self {
        Self {
            record: self.record.clone(),
            ..*self
        }
    }
}

impl Detection for BesideActivation {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let record = match seen {
            Seen::Record(record) => *record,
            Seen::Bound(binding) => return self.bound(binding, context, found),
            Seen::File(file) => return self.opened(file, context, found),
            Seen::Unanswered(_) => return,
        };
        let (Some(client), Some(server)) = (record.meta.client, record.meta.server) else {
            return;
        };
        let (pair, now) = ((client.address, server.address), context.when(&record.meta));
        if is_dcom(&record.dcom) {
            let latest = Usage {
                since: now,
                at: now,
                client,
                server,
                frame: record.meta.frame,
            };
            let usage = self.dcom.often(pair, now, || latest);
            *usage = Usage {
                since: usage.since,
                ..latest
            };
            self.reverse((pair.1, pair.0), now, found);
        }
        if record.dcom.kind == Kind::Activation {
            self.activated(pair, record, context, found);
        }
    }

    fn set(&mut self, settings: &Settings) {
        self.window = settings.pairing_window;
        let keep = kept(settings);
        self.activations.keep_for(keep);
        self.dcom.keep_for(settings.quiet);
        self.beside.keep_for(keep);
    }

    fn forget(&mut self) {
        self.activations.clear();
        self.dcom.clear();
        self.beside.clear();
    }

    fn forgotten(&self) -> u64 {
        self.activations.forgotten() + self.dcom.forgotten() + self.beside.forgotten()
    }
}

/// Something that only a client of an object does.
fn is_dcom(dcom: &Dcom) -> bool {
    // Other operations of the resolver are pings, and questions for names.
    match dcom.kind {
        Kind::Activation | Kind::OxidResolution => true,
        Kind::Call => dcom.ipid.is_some(),
        Kind::EndpointMapping | Kind::HostConfirmation => false,
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Clsid;

    use super::super::testing::{Rig, activation, call};
    use super::*;
    use crate::event::dcom::ClientIdentity;

    const SECOND: i64 = 1_000_000_000;

    fn rig() -> Rig<BesideActivation> {
        Rig::new(BesideActivation::new(&Settings::default()))
    }

    fn winreg(client: u8, server: u8, at: i64) -> Binding {
        let record = activation("").from(client).to(server).at(at);
        Binding {
            meta: record.meta,
            dcerpc: record.dcerpc,
            interfaces: vec![(WINREG, Some(0))],
            refused: None,
            client: ClientIdentity::default().into(),
        }
    }

    fn ids(found: &[Found]) -> Vec<u32> {
        found.iter().map(|it| it.alert.signature_id).collect()
    }

    #[test]
    fn a_target_that_comes_back_is_told_once_in_either_order_of_telling() {
        for order in [[0, 1], [1, 0]] {
            let mut rig = rig();
            let there = activation("htafile").from(9).to(1);
            let back = activation("").from(1).to(9).at(SECOND);
            for which in order {
                rig.see(if which == 0 { there.clone() } else { back.clone() });
            }
            rig.see(back.clone().at(2 * SECOND));
            assert_eq!(ids(&rig.found()), [REVERSE_CONNECTION.id], "{order:?}");
        }
    }

    #[test]
    fn what_came_before_or_much_later_or_with_a_benign_class_is_none() {
        let mut rig = rig();
        rig.see(activation("").from(1).to(9));
        rig.see(activation("htafile").from(9).to(1).at(SECOND));
        rig.see(activation("").from(1).to(9).at(90 * SECOND));
        rig.see(activation("WbemLevel1Login (WMI)").from(8).to(1).at(SECOND));
        let callback = activation("").from(1).to(8).at(2 * SECOND);
        rig.see(call(&callback, "OnDataChange"));
        assert!(rig.found().is_empty());
    }

    #[test]
    fn the_registry_opened_by_the_same_pair_is_told_with_the_activation() {
        for first in [true, false] {
            let mut rig = rig();
            let binding = winreg(9, 1, 5 * SECOND);
            let (now, there) = (binding.meta.timestamp, activation("MSTSWebProxy").from(9).to(1));
            if first {
                rig.show(&Seen::Bound(&binding), now);
                rig.see(there.clone());
            } else {
                rig.see(there.clone());
                rig.show(&Seen::Bound(&binding), now);
            }
            rig.see(there);
            let found = rig.found();
            assert_eq!(ids(&found), [BESIDE_FILES.id]);
            assert_eq!(found[0].alert.severity, Severity::High);
        }
        let mut rig = rig();
        rig.see(activation("MSTSWebProxy").from(9).to(1));
        let other = winreg(8, 1, 5 * SECOND);
        rig.show(&Seen::Bound(&other), other.meta.timestamp);
        assert!(rig.found().is_empty(), "another client");
    }

    #[test]
    fn the_registry_may_be_two_windows_off() {
        for (at, told) in [(119, true), (121, false)] {
            for first in [true, false] {
                let mut rig = rig();
                let (late, activation) = (at * SECOND, activation("MSTSWebProxy").from(9).to(1));
                let binding = winreg(9, 1, if first { 0 } else { late });
                if first {
                    rig.show(&Seen::Bound(&binding), binding.meta.timestamp);
                    rig.see(activation.at(late));
                } else {
                    rig.see(activation);
                    rig.show(&Seen::Bound(&binding), binding.meta.timestamp);
                }
                assert_eq!(rig.found().len(), usize::from(told), "{at} s, first {first}");
            }
        }
    }

    #[test]
    fn a_listed_class_is_told_whatever_was_told_before() {
        let mut rig = rig();
        let registry = |rig: &mut Rig<BesideActivation>, at: i64| {
            let binding = winreg(9, 1, at);
            rig.show(&Seen::Bound(&binding), binding.meta.timestamp);
        };
        let mut unlisted = activation("").from(9).to(1);
        unlisted.dcom.clsid = Guid::parse("f8582cf0-88fb-11d0-b850-00c0f0999999").map(Clsid);
        rig.see(unlisted.clone());
        registry(&mut rig, SECOND);
        let mut refused = activation("MSTSWebProxy").from(9).to(1).at(10 * SECOND);
        refused.dcom.outcome = Some(Outcome::Failed);
        rig.see(refused);
        rig.see(activation("MSTSWebProxy").from(9).to(1).at(20 * SECOND));
        rig.see(unlisted.at(30 * SECOND));
        rig.see(activation("MSTSWebProxy").from(9).to(1).at(40 * SECOND));
        let severities: Vec<_> = rig.found().iter().map(|it| it.alert.severity).collect();
        assert_eq!(severities, [Severity::Low, Severity::Medium, Severity::High]);
        rig.see(activation("htafile").from(9).to(1).at(50 * SECOND));
        assert_eq!(rig.found().len(), 1, "another class");
    }

    #[test]
    fn a_registry_that_was_refused_or_did_not_answer_was_not_bound_to() {
        for result in [Some(2), None] {
            let mut rig = rig();
            rig.see(activation("MSTSWebProxy").from(9).to(1));
            let mut binding = winreg(9, 1, 5 * SECOND);
            binding.interfaces = vec![(WINREG, result)];
            rig.show(&Seen::Bound(&binding), binding.meta.timestamp);
            assert!(rig.found().is_empty(), "{result:?}");
        }
    }

    fn file(name: &str, to_write: bool) -> File {
        let record = activation("").from(9).to(1).at(5 * SECOND);
        File {
            meta: record.meta,
            opened: FileOpened {
                at: crate::capture::At::default(),
                share: "\\\\host\\ADMIN$".into(),
                name: name.into(),
                to_write,
            },
        }
    }

    #[test]
    fn files_written_to_administrative_shares_or_fetched_as_output_are_told() {
        let told = |name: &str, to_write: bool, class: &str| {
            let mut rig = rig();
            let file = file(name, to_write);
            rig.show(&Seen::File(&file), file.meta.timestamp);
            rig.see(activation(class).from(9).to(1));
            rig.show(&Seen::File(&file), file.meta.timestamp);
            let found = rig.found();
            assert!(found.len() < 2, "once");
            found.first().map(|it| it.alert.message.clone())
        };
        let message = told("Temp\\a.dll", true, "MMC20.Application").unwrap();
        assert!(
            message.ends_with("opened a file for writing: \\\\host\\ADMIN$\\Temp\\a.dll"),
            "{message}"
        );
        assert!(
            told("__1700000000.5", false, "ShellWindows")
                .unwrap()
                .contains("output")
        );
        assert_eq!(told("Temp\\a.dll", false, "MMC20.Application"), None, "read");
        assert_eq!(told("__1700000000.5", false, "WbemLevel1Login (WMI)"), None, "benign");
    }
}
