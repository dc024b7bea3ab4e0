//! Activations that were refused before their class could be seen: sealed ones that ended in a fault, logins that failed,
//! binds that were refused.

use std::net::IpAddr;

use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;

use super::remembered::Remembered;
use super::signature::ACTIVATION_REFUSED;
use super::{Context, Detection, Found, Seen, Settings, address, alert, as_whom, build};
use crate::dcom::Binding;
use crate::event::dcom::{Dcom, Kind, Outcome};
use crate::severity::Severity;

/// [MS-RPCE] 2.2.2.4, C706 12.6.4.4: a context that was accepted.
const ACCEPTED: u16 = 0;

/// Told once for each pair and cause in a while: who tries, tries often. A cause is what refused it, in words.
pub(super) struct Refused {
    told: Remembered<(IpAddr, IpAddr, String), ()>,
}

impl Refused {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            told: Remembered::new(settings.remembered, settings.quiet),
        }
    }
}

impl Detection for Refused {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let (meta, cause) = match seen {
            Seen::Record(record) if is_refused(&record.dcom) => {
                (&record.meta, super::result(&record.dcom).into_owned())
            }
            Seen::Bound(binding) if has_no_activator(binding) => {
                let why = binding.refused.as_deref().unwrap_or("the interface was refused");
                (&binding.meta, why.to_owned())
            }
            _ => return,
        };
        let (Some(client), Some(server)) = (meta.client, meta.server) else {
            return;
        };
        let now = context.when(meta);
        let key = (client.address, server.address, cause.clone());
        if self.told.get(&key, now).is_some() {
            return;
        }
        self.told.entry(key, now, || ());
        let (who, whom) = (address(meta.client), address(meta.server));
        found.push(match seen {
            Seen::Record(record) => {
                let message = format!(
                    "{who} asked {whom} for a class that was not seen{}: {cause}",
                    as_whom(&record.dcom.client),
                );
                alert(&ACTIVATION_REFUSED, Severity::Low, "medium", message, record)
            }
            Seen::Bound(binding) => {
                let message = format!(
                    "{who} was refused the activator of {whom}{}: {cause}",
                    as_whom(&binding.client),
                );
                Found {
                    meta: binding.meta.clone(),
                    alert: build(
                        &ACTIVATION_REFUSED,
                        Severity::Low,
                        "medium",
                        message,
                        None,
                        Some(binding.dcerpc.clone()),
                    ),
                }
            }
            _ => return,
        });
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

fn is_refused(dcom: &Dcom) -> bool {
    let outcome = dcom.outcome;
    dcom.kind == Kind::Activation
        && dcom.clsid.is_none()
        && matches!(outcome, Some(Outcome::Failed | Outcome::Unanswered))
}

/// Was the activator offered and not to be had, in any way it was offered?
fn has_no_activator(binding: &Binding) -> bool {
    let is_activator = |uuid: Guid| matches!(uuid, known::IREMOTE_SCM_ACTIVATOR | known::IACTIVATION);
    let mut offered = binding
        .interfaces
        .iter()
        .filter(|(uuid, _)| is_activator(*uuid))
        .peekable();
    if offered.peek().is_none() {
        return false;
    }
    // A bind that nobody answered was not refused.
    binding.refused.is_some() || offered.all(|(_, result)| result.is_some_and(|result| result != ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;
    use crate::event::login::ByLogin;

    fn binding(interface: Guid, results: &[Option<u16>], refused: Option<&str>) -> Binding {
        let record = activation("").from(9).to(1);
        Binding {
            meta: record.meta,
            dcerpc: record.dcerpc,
            interfaces: results.iter().map(|result| (interface, *result)).collect(),
            refused: refused.map(str::to_owned),
            client: ByLogin::default(),
        }
    }

    fn told(bindings: &[Binding]) -> usize {
        let mut rig = Rig::new(Refused::new(&Settings::default()));
        for binding in bindings {
            rig.show(&Seen::Bound(binding), binding.meta.timestamp);
        }
        rig.found().len()
    }

    #[test]
    fn a_bind_is_refused_when_no_way_to_the_activator_is_left() {
        let activator = known::IREMOTE_SCM_ACTIVATOR;
        assert_eq!(told(&[binding(activator, &[Some(2), Some(2)], None)]), 1);
        assert_eq!(told(&[binding(activator, &[None], Some("invalid_checksum"))]), 1);
        assert_eq!(
            told(&[binding(activator, &[Some(2), Some(0)], None)]),
            0,
            "one was accepted"
        );
        assert_eq!(told(&[binding(activator, &[None], None)]), 0, "no answer");
        assert_eq!(told(&[binding(known::IDISPATCH, &[Some(2)], None)]), 0);
    }

    #[test]
    fn each_cause_is_told() {
        let activator = known::IREMOTE_SCM_ACTIVATOR;
        let refused = |why: &str| binding(activator, &[None], Some(why));
        assert_eq!(told(&["a", "b", "a", "b"].map(refused)), 2);
    }

    #[test]
    fn a_failure_without_a_class_is_told_once_for_a_pair() {
        let mut rig = Rig::new(Refused::new(&Settings::default()));
        for _ in 0..10 {
            let mut record = activation("").from(9).to(1);
            record.dcom.outcome = Some(Outcome::Failed);
            record.dcom.fault = Some("nca_s_fault_access_denied".to_owned());
            rig.see(record);
        }
        let mut read = activation("MMC20.Application").from(9).to(1);
        read.dcom.outcome = Some(Outcome::Failed);
        rig.see(read);
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].alert.severity, Severity::Low);
        assert!(found[0].alert.message.contains("nca_s_fault_access_denied"));
    }
}
