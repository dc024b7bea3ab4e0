//! Activations that ask for something clients do not ask for: another session, a file or storage to load from; and objects
//! made out of type information.

use std::borrow::Cow;

use dcom_parsers::names::known;

use super::signature::{CROSS_SESSION, STORAGE_ACTIVATION, TRAPPED_OBJECT};
use super::{Context, Detection, Found, Seen, address, alert, as_whom, result};
use crate::dcom::Record;
use crate::event::Dcom;
use crate::event::dcom::{Kind, Outcome};
use crate::severity::Severity;

/// [MS-OAUT] 3.7.4.11 `ITypeInfo::CreateInstance`, which `ITypeInfo2` has too.
const CREATE_INSTANCE: u16 = 16;

/// The session of the services: nobody is signed in there.
const SERVICES: u32 = 0;

/// All three.
pub(super) struct OddActivation;

impl Detection for OddActivation {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        // Few are odd: what alerts would say is not put into words for the others.
        if !is_odd(dcom) {
            return;
        }
        let (who, whom, user) = (address(meta.client), address(meta.server), as_whom(&dcom.client));
        let class = dcom.class_name().unwrap_or("an object".into());
        let result = result(dcom);
        match dcom.kind {
            Kind::Activation => {
                let listed = dcom.clsid.and_then(|clsid| context.catalog.class(clsid));
                let is_abused =
                    listed.is_some_and(|class| class.benign.is_none() && class.severity >= Severity::Medium);
                if let Some(session) = session(dcom) {
                    let is_users = dcom.console_session == Some(true) || dcom.session_id != Some(SERVICES);
                    let severity = severity(
                        dcom,
                        if is_abused && is_users {
                            Severity::High
                        } else {
                            Severity::Medium
                        },
                    );
                    let message = format!("{who} asked {whom} for {class} in {session}{user}: {result}");
                    found.push(alert(&CROSS_SESSION, severity, "high", message, record));
                }
                if dcom.storage == Some(true) {
                    let severity = severity(dcom, Severity::High);
                    let message = format!(
                        "{who} asked {whom} for {class} and to load it from a storage of its own{user}: {result}"
                    );
                    found.push(alert(&STORAGE_ACTIVATION, severity, "medium", message, record));
                } else if let Some(file) = &dcom.file_name {
                    let severity = severity(dcom, Severity::Medium);
                    let message = format!("{who} asked {whom} for {class} and to open {file}{user}: {result}");
                    found.push(alert(&STORAGE_ACTIVATION, severity, "medium", message, record));
                }
            }
            Kind::Call => {
                let severity = severity(dcom, Severity::High);
                let message =
                    format!("{who} had {whom} make an object out of the type information of {class}{user}: {result}");
                found.push(alert(&TRAPPED_OBJECT, severity, "medium", message, record));
            }
            _ => {}
        }
    }
}

/// An activation in another session or from a storage, or an object made out of type information.
fn is_odd(dcom: &Dcom) -> bool {
    match dcom.kind {
        Kind::Activation => session(dcom).is_some() || dcom.storage == Some(true) || dcom.file_name.is_some(),
        Kind::Call => {
            let interface = dcom.interface.as_ref().map(|interface| interface.uuid);
            dcom.opnum == Some(CREATE_INSTANCE) && matches!(interface, Some(known::ITYPE_INFO | known::ITYPE_INFO2))
        }
        _ => false,
    }
}

/// The session that is asked for, if one is. [MS-DCOM] 2.2.22.2.2 `SpecialPropertiesData`: the console's goes before a number.
fn session(dcom: &Dcom) -> Option<Cow<'static, str>> {
    match (dcom.console_session, dcom.session_id) {
        (Some(true), _) => Some("the session at its console".into()),
        (_, Some(SERVICES)) => Some("session 0, that of the services".into()),
        (_, number) => number.map(|number| format!("session {number}").into()),
    }
}

/// What failed is worth less.
fn severity(dcom: &Dcom, severity: Severity) -> Severity {
    if dcom.outcome == Some(Outcome::Failed) {
        severity.min(Severity::Low)
    } else {
        severity
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation, call};
    use super::*;
    use crate::event::dcom::Interface;

    #[test]
    fn each_oddity_has_its_signature_and_ordinary_activations_none() {
        let mut rig = Rig::new(OddActivation);
        let plain = activation("MMC20.Application").from(9).to(1);
        let with = |change: &dyn Fn(&mut Dcom)| {
            let mut record = plain.clone();
            change(&mut record.dcom);
            record
        };
        rig.see(plain.clone());
        rig.see(call(&plain, "Invoke"));
        assert!(rig.found().is_empty());
        rig.see(with(&|dcom| dcom.session_id = Some(2)));
        rig.see(with(&|dcom| dcom.session_id = Some(SERVICES)));
        rig.see(with(&|dcom| dcom.console_session = Some(true)));
        rig.see(with(&|dcom| dcom.storage = Some(true)));
        rig.see(with(&|dcom| dcom.file_name = Some("\\\\host\\share\\x.xls".to_owned())));
        for uuid in [known::ITYPE_INFO, known::ITYPE_INFO2] {
            let mut trapped = call(&plain, "CreateInstance");
            trapped.dcom.opnum = Some(CREATE_INSTANCE);
            trapped.dcom.interface = Some(Interface { uuid, name: None });
            rig.see(trapped);
        }
        rig.see(with(&|dcom| {
            dcom.session_id = Some(2);
            dcom.outcome = Some(Outcome::Failed);
        }));
        assert_eq!(
            rig.told(),
            [
                (CROSS_SESSION.id, Severity::High),
                (CROSS_SESSION.id, Severity::Medium),
                (CROSS_SESSION.id, Severity::High),
                (STORAGE_ACTIVATION.id, Severity::High),
                (STORAGE_ACTIVATION.id, Severity::Medium),
                (TRAPPED_OBJECT.id, Severity::High),
                (TRAPPED_OBJECT.id, Severity::High),
                (CROSS_SESSION.id, Severity::Low),
            ]
        );
    }
}
