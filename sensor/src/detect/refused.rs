//! Activations that were refused before their class could be seen: sealed ones that ended in a fault, logins that failed,
//! binds that were refused.

use std::net::IpAddr;

use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;

use super::pairs::Remembered;
use super::signature::ACTIVATION_REFUSED;
use super::{Context, Detection, Found, Seen, Settings, address, alert, as_whom, build};
use crate::dcom::{Binding, Record};
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;

/// [MS-RPCE] 2.2.2.4, C706 12.6.4.4: a context that was accepted.
const ACCEPTED: u16 = 0;

/// Told once for each pair and cause in a while: who tries, tries often.
pub(super) struct Refused {
    told: Remembered<(IpAddr, IpAddr, Cause), ()>,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cause {
    Call,
    Unanswered,
    Bind,
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
            Seen::Record(record) => match cause(record) {
                Some(cause) => (&record.meta, cause),
                None => return,
            },
            Seen::Bound(binding) if is_refused(binding) => (&binding.meta, Cause::Bind),
            _ => return,
        };
        let (Some(client), Some(server)) = (meta.client, meta.server) else {
            return;
        };
        let key = (client.address, server.address, cause);
        if self.told.get(&key, context.when(meta)).is_some() {
            return;
        }
        self.told.entry(key, context.when(meta), || ());
        let (who, whom) = (address(meta.client), address(meta.server));
        found.push(match seen {
            Seen::Record(record) => {
                let message = format!(
                    "{who} asked {whom} for a class that was not seen{}: {}",
                    as_whom(&record.dcom.client),
                    super::result(&record.dcom),
                );
                alert(&ACTIVATION_REFUSED, Severity::Low, "medium", message, record)
            }
            Seen::Bound(binding) => {
                let why = binding.refused.as_deref().unwrap_or("the interface was refused");
                let message = format!(
                    "{who} was refused the activator of {whom}{}: {why}",
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

fn cause(record: &Record) -> Option<Cause> {
    let dcom = &record.dcom;
    match (dcom.kind, dcom.clsid, dcom.outcome) {
        (Kind::Activation, None, Some(Outcome::Failed)) => Some(Cause::Call),
        (Kind::Activation, None, Some(Outcome::Unanswered)) => Some(Cause::Unanswered),
        _ => None,
    }
}

/// Was the activator offered and not to be had, in any way it was offered?
fn is_refused(binding: &Binding) -> bool {
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
