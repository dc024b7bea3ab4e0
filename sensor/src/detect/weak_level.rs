//! Activations that a hardened server would refuse (KB5004442, CVE-2021-26414): below packet integrity, and anonymous ones.

use std::net::IpAddr;

use super::remembered::Remembered;
use super::signature::{ANONYMOUS, WEAK_LEVEL};
use super::{Context, Detection, Found, Seen, Settings, address, alert, as_whom, class, result};
use crate::dcom::Record;
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;

/// Levels below packet integrity, as they stand in `auth.level`.
const WEAK: [&str; 4] = ["none", "connect", "call", "pkt"];

/// Both: an anonymous activation is a weak one too, and told as the worse.
pub(super) struct WeakLevel {
    /// What was told of each pair.
    told: Remembered<(IpAddr, IpAddr, bool), ()>,
}

impl WeakLevel {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            told: Remembered::new(settings.remembered, settings.quiet),
        }
    }
}

impl Detection for WeakLevel {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Kind::Activation, Some(client), Some(server)) = (dcom.kind, meta.client, meta.server) else {
            return;
        };
        // A login of nobody has whatever level it asks for: [MS-NLMP] 3.2.5.1.2 Server Receives an AUTHENTICATE_MESSAGE from
        // the Client.
        let as_nobody = dcom.client.anonymous == Some(true);
        let anonymous = as_nobody || dcom.auth.service.as_deref() == Some("none");
        // Without the bind nobody knows the level of a call that has no verifier.
        let Some(level) = dcom
            .auth
            .level
            .as_deref()
            .filter(|level| as_nobody || WEAK.contains(level))
        else {
            return;
        };
        // Clients of administration ask at the level that Windows has for them, all day; nothing is odd about it.
        let listed = dcom.clsid.and_then(|clsid| context.catalog.class(clsid));
        if !anonymous && listed.is_some_and(|class| class.benign.is_some()) {
            return;
        }
        let key = (client.address, server.address, anonymous);
        if self.told.get(&key, context.when(meta)).is_some() {
            return;
        }
        self.told.entry(key, context.when(meta), || ());
        let (who, whom) = (address(meta.client), address(meta.server));
        let class = class(dcom);
        let result = result(dcom);
        let alert = if anonymous {
            let severity = match dcom.outcome {
                Some(Outcome::Succeeded) => Severity::Medium,
                _ => Severity::Low,
            };
            let how = if as_nobody {
                "logged in as nobody"
            } else {
                "without logging in"
            };
            let message = format!("{who} asked {whom} for {class} {how}: {result}");
            alert(&ANONYMOUS, severity, "high", message, record)
        } else {
            let message = format!(
                "{who} asked {whom} for {class}{} at level {level}, which a hardened server refuses: {result}",
                as_whom(&dcom.client),
            );
            alert(&WEAK_LEVEL, Severity::Informational, "high", message, record)
        };
        found.push(alert);
    }

    fn set(&mut self, settings: &Settings) {
        self.told.keep_for(settings.quiet);
    }

    fn forget(&mut self) {
        self.told.clear();
    }

    fn forgotten(&self) -> u64 {
        self.told.forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;

    fn at_level(service: &'static str, level: &'static str) -> Record {
        let mut record = activation("MMC20.Application").from(9).to(1);
        record.dcom.auth.service = Some(service.into());
        record.dcom.auth.level = Some(level.into());
        record
    }

    #[test]
    fn what_administration_activates_is_not_told_and_hides_nothing() {
        let mut rig = Rig::new(WeakLevel::new(&Settings::default()));
        let wmi = |service, level| {
            let mut record = at_level(service, level);
            record.dcom.clsid = activation("WbemLevel1Login (WMI)").dcom.clsid;
            record
        };
        rig.see(wmi("ntlm", "connect"));
        assert_eq!(rig.told(), []);
        let mut unlisted = at_level("ntlm", "connect");
        unlisted.dcom.clsid = None;
        rig.see(unlisted);
        assert_eq!(rig.told(), [(WEAK_LEVEL.id, Severity::Informational)]);
        rig.see(wmi("none", "none"));
        assert_eq!(rig.told(), [(ANONYMOUS.id, Severity::Medium)], "nobody administers");
    }

    #[test]
    fn weak_levels_are_told_once_for_a_pair_and_strong_ones_never() {
        let mut rig = Rig::new(WeakLevel::new(&Settings::default()));
        for level in ["connect", "pkt", "pkt_integrity", "pkt_privacy"] {
            rig.see(at_level("ntlm", level));
        }
        rig.see(at_level("none", "none"));
        let mut nobody = at_level("ntlm", "pkt_integrity").from(8);
        nobody.dcom.client.anonymous = Some(true);
        rig.see(nobody);
        let mut unseen = activation("MMC20.Application");
        unseen.dcom.auth.level = None;
        rig.see(unseen);
        assert_eq!(
            rig.told(),
            [
                (WEAK_LEVEL.id, Severity::Informational),
                (ANONYMOUS.id, Severity::Medium),
                (ANONYMOUS.id, Severity::Medium)
            ]
        );
    }
}
