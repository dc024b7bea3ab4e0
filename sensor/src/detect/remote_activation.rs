//! A class used for lateral movement was activated from another machine, or someone tried.

use super::signature::{REMOTE_ACTIVATION, REMOTE_ACTIVATION_ATTEMPT};
use super::{Context, Detection, Found, Seen, address, alert, as_whom, result};
use crate::catalog::{Category, Class};
use crate::dcom::Record;
use crate::event::dcom::{Hresult, Kind, Outcome};
use crate::event::{Dcom, Meta};
use crate::severity::Severity;

/// Activation, by class.
pub(super) struct RemoteActivation;

impl Detection for RemoteActivation {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        if dcom.kind != Kind::Activation {
            return;
        }
        let Some(class) = dcom.clsid.and_then(|clsid| context.catalog.class(clsid)) else {
            return;
        };
        if class.benign.is_some() {
            return;
        }
        let is_loaded = class.category == Category::Trigger && is_answer_of_what_was_loaded(dcom);
        let (signature, severity) = match dcom.outcome {
            Some(Outcome::Succeeded) => (&REMOTE_ACTIVATION, class.severity),
            _ if is_loaded => (&REMOTE_ACTIVATION_ATTEMPT, class.severity),
            _ => (&REMOTE_ACTIVATION_ATTEMPT, attempt(class.severity)),
        };
        let mut message = message(meta, dcom, class);
        if is_loaded {
            message.push_str("; what was planted is loaded or started before it can end so");
        }
        found.push(alert(signature, severity, class.confidence.name(), message, record));
    }
}

/// Did it fail in what the activator loads or starts, so that this was loaded or started? A planted program is no COM server,
/// and a planted library has no class object ([MS-ERREF] 2.1.1 HRESULT Values).
fn is_answer_of_what_was_loaded(dcom: &Dcom) -> bool {
    const NO_INTERFACE: u32 = 0x8000_4002;
    const DISCONNECTED: u32 = 0x8001_0108;
    const CLASS_NOT_AVAILABLE: u32 = 0x8004_0111;
    const PROCEDURE_NOT_FOUND: u32 = 0x8007_007f;
    const SERVER_UNAVAILABLE: u32 = 0x8007_06ba;
    const CALL_FAILED: u32 = 0x8007_06be;
    const SERVER_EXECUTION_FAILED: u32 = 0x8008_0005;
    matches!(
        dcom.hresult,
        Some(Hresult(
            NO_INTERFACE
                | DISCONNECTED
                | CLASS_NOT_AVAILABLE
                | PROCEDURE_NOT_FOUND
                | SERVER_UNAVAILABLE
                | CALL_FAILED
                | SERVER_EXECUTION_FAILED
        ))
    )
}

/// Nothing ran, as far as was seen: a step below what the class is worth, and medium at most.
fn attempt(severity: Severity) -> Severity {
    match severity {
        Severity::Critical | Severity::High => Severity::Medium,
        Severity::Medium => Severity::Low,
        Severity::Low | Severity::Informational => Severity::Informational,
    }
}

/// Who did what to whom, and what came of it, in a sentence.
fn message(meta: &Meta, dcom: &Dcom, class: &Class) -> String {
    let port = match &dcom.endpoint {
        Some(endpoint) => match (endpoint.port, endpoint.followed) {
            (Some(port), true) => format!(", and a connection to port {} followed", port.0),
            (Some(port), false) => format!(", and no connection to port {} was seen", port.0),
            (None, _) => String::new(),
        },
        None => String::new(),
    };
    format!(
        "{} asked {} for {} ({}){}: {}{port}",
        address(meta.client),
        address(meta.server),
        class.name,
        dcom.operation,
        as_whom(&dcom.client),
        result(dcom),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;

    #[test]
    fn a_trigger_may_fail_after_it_has_worked() {
        let told = |class: &str, hresult| {
            let mut failed = activation(class).from(9).to(1);
            (failed.dcom.outcome, failed.dcom.hresult) = (Some(Outcome::Failed), Some(Hresult(hresult)));
            let mut rig = Rig::new(RemoteActivation);
            rig.see(failed);
            let found = rig.found();
            (found[0].alert.signature_id, found[0].alert.severity)
        };
        for (class, hresult, severity) in [
            ("WordPad Document", 0x8008_0005, Severity::High),
            ("WordPad Document", 0x8000_4002, Severity::High),
            ("WordPad Document", 0x8007_0005, Severity::Medium),
            ("WordPad Document", 0x8004_0154, Severity::Medium),
            ("MMC20.Application", 0x8008_0005, Severity::Medium),
        ] {
            assert_eq!(told(class, hresult), (1_021_302, severity), "{class} {hresult:x}");
        }
    }
}
