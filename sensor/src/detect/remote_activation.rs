//! A class used for lateral movement was activated from another machine, or someone tried.

use super::signature::{REMOTE_ACTIVATION, REMOTE_ACTIVATION_ATTEMPT};
use super::{Context, Detection, Found, Seen, address, alert, as_whom, result};
use crate::catalog::Class;
use crate::dcom::Record;
use crate::event::dcom::{Kind, Outcome};
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
        let (signature, severity) = match dcom.outcome {
            Some(Outcome::Succeeded) => (&REMOTE_ACTIVATION, class.severity),
            _ => (&REMOTE_ACTIVATION_ATTEMPT, attempt(class.severity)),
        };
        let message = message(meta, dcom, class);
        found.push(alert(signature, severity, class.confidence.name(), message, record));
    }
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
