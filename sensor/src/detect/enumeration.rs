//! Somebody looks around: OXID resolvers asked for names, endpoint mappers for all they know. Informational, and told once
//! for many calls.

use std::net::IpAddr;

use dcom_parsers::names::known;

use super::remembered::Remembered;
use super::signature::{MAPPER_DUMP, RESOLVER_SWEEP};
use super::{Context, Detection, Found, Seen, Settings, alert};
use crate::dcom::Record;
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;
use crate::time::Timestamp;

/// [MS-DCOM] 3.1.2.5.1: `ServerAlive` and `ServerAlive2`.
const SERVER_ALIVE: [u16; 2] = [3, 5];
/// C706 appendix O: `ept_lookup`.
const EPT_LOOKUP: u16 = 2;
/// More targets are not counted.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
struct Sweep {
    targets: Vec<(IpAddr, Timestamp)>,
    told: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Dump {
    towers: usize,
    lookups: usize,
    told: Option<Timestamp>,
}

/// Sweeps and dumps.
pub(super) struct Enumeration {
    sweeps: Remembered<IpAddr, Sweep>,
    dumps: Remembered<(IpAddr, IpAddr), Dump>,
    settings: Settings,
}

impl Enumeration {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            sweeps: Remembered::new(settings.remembered, settings.sweep_window),
            dumps: Remembered::new(settings.remembered, settings.quiet),
            settings,
        }
    }

    fn server_alive(
        &mut self,
        record: &Record,
        now: Timestamp,
        (source, target): (IpAddr, IpAddr),
        found: &mut Vec<Found>,
    ) {
        let window = self.settings.sweep_window;
        let sweep = self.sweeps.entry(source, now, Sweep::default);
        sweep
            .targets
            .retain(|(known, at)| *known != target && now.since(*at) <= window);
        if sweep.targets.len() < MOST {
            sweep.targets.push((target, now));
        }
        let quiet = sweep.told.is_some_and(|told| now.since(told) <= window);
        if sweep.targets.len() < self.settings.sweep_targets || quiet {
            return;
        }
        sweep.told = Some(now);
        let targets: Vec<_> = sweep.targets.iter().map(|(target, _)| target.to_string()).collect();
        let message = format!(
            "{source} asked the OXID resolvers of {} targets for their names within {} s",
            targets.len(),
            window / 1_000_000_000,
        );
        let mut alert = alert(&RESOLVER_SWEEP, Severity::Informational, "high", message, record);
        alert.alert.metadata.count = vec![targets.len().to_string()];
        alert.alert.metadata.targets = targets;
        found.push(alert);
    }

    fn lookup(&mut self, record: &Record, now: Timestamp, (source, target): (IpAddr, IpAddr), found: &mut Vec<Found>) {
        let dump = self.dumps.entry((source, target), now, Dump::default);
        if dump.told.is_some_and(|told| now.since(told) > self.settings.quiet) {
            *dump = Dump::default();
        }
        dump.lookups += 1;
        dump.towers = dump.towers.saturating_add(record.dcom.towers.len());
        if dump.told.is_some() || dump.towers < self.settings.lookup_towers {
            return;
        }
        dump.told = Some(now);
        let message = format!(
            "{source} had the endpoint mapper of {target} list its entries: {} in {} so far",
            dump.towers,
            if dump.lookups == 1 {
                "one call".to_owned()
            } else {
                format!("{} calls", dump.lookups)
            },
        );
        let mut alert = alert(&MAPPER_DUMP, Severity::Informational, "high", message, record);
        alert.alert.metadata.count = vec![dump.towers.to_string()];
        found.push(alert);
    }
}

impl Detection for Enumeration {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Some(client), Some(server)) = (meta.client, meta.server) else {
            return;
        };
        let (now, between) = (context.when(meta), (client.address, server.address));
        let is_resolver = dcom
            .interface
            .as_ref()
            .is_some_and(|it| it.uuid == known::IOBJECT_EXPORTER);
        if is_resolver && dcom.opnum.is_some_and(|opnum| SERVER_ALIVE.contains(&opnum)) {
            self.server_alive(record, now, between, found);
        } else if dcom.kind == Kind::EndpointMapping
            && dcom.opnum == Some(EPT_LOOKUP)
            && dcom.outcome != Some(Outcome::Failed)
        {
            self.lookup(record, now, between, found);
        }
    }

    fn set(&mut self, settings: &Settings) {
        self.settings = *settings;
        self.sweeps.keep_for(settings.sweep_window);
        self.dumps.keep_for(settings.quiet);
    }

    fn forget(&mut self) {
        self.sweeps.clear();
        self.dumps.clear();
    }

    fn forgotten(&self) -> u64 {
        self.sweeps.forgotten() + self.dumps.forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;
    use crate::event::dcom::{Interface, TowerRecord};

    fn server_alive() -> Record {
        let mut record = activation("");
        record.dcom.kind = Kind::Call;
        record.dcom.opnum = Some(5);
        record.dcom.interface = Some(Interface {
            uuid: known::IOBJECT_EXPORTER,
            name: None,
        });
        record
    }

    fn lookup(towers: usize) -> Record {
        let mut record = activation("");
        record.dcom.kind = Kind::EndpointMapping;
        record.dcom.opnum = Some(EPT_LOOKUP);
        record.dcom.towers = vec![TowerRecord::default(); towers];
        record
    }

    #[test]
    fn a_sweep_is_told_once_and_one_target_is_none() {
        let mut rig = Rig::new(Enumeration::new(Settings::default()));
        for _ in 0..100 {
            rig.see(server_alive().from(8).to(1));
        }
        for target in 0..100 {
            rig.see(server_alive().from(9).to(target));
        }
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].alert.metadata.targets.len(), 10);
        assert_eq!(found[0].alert.severity, Severity::Informational);
    }

    #[test]
    fn a_dump_that_goes_on_is_told_once_an_hour() {
        let mut rig = Rig::new(Enumeration::new(Settings::default()));
        for half_hour in 0..6 {
            rig.see(lookup(346).from(9).to(1).at(half_hour * 1_800 * 1_000_000_000));
        }
        assert_eq!(rig.found().len(), 2);
    }

    #[test]
    fn a_dump_is_told_once_for_a_pair_however_it_is_cut() {
        let mut rig = Rig::new(Enumeration::new(Settings::default()));
        for _ in 0..20 {
            rig.see(lookup(1).from(9).to(1));
            rig.see(lookup(0).from(9).to(2));
        }
        rig.see(lookup(346).from(9).to(3));
        let found = rig.found();
        assert_eq!(found.len(), 2);
        assert!(
            found[0].alert.message.ends_with("5 in 5 calls so far"),
            "{}",
            found[0].alert.message
        );
        assert!(found[1].alert.message.ends_with("346 in one call so far"));
    }
}
