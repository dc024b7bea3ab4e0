//! A class used for lateral movement was activated from another machine, or someone tried.

use std::borrow::Cow;

use super::{Signature, address, alert, as_whom};
use crate::catalog::{Catalog, Class};
use crate::dcom::Record;
use crate::event::dcom::{Kind, Outcome};
use crate::event::{Alert, Dcom, Meta};
use crate::severity::Severity;

const SUCCEEDED: Signature = Signature {
    id: 1_021_301,
    text: "DCOM remote activation of a class used for lateral movement",
    note: "DCOM::Remote_Activation",
};
const ATTEMPTED: Signature = Signature {
    id: 1_021_302,
    text: "DCOM remote activation attempt on a class used for lateral movement",
    note: "DCOM::Remote_Activation_Attempt",
};

/// Classes of this severity and above are alerted on; the others are recorded.
const LEAST: Severity = Severity::High;
/// Someone tried and did not succeed, as far as was seen.
const ATTEMPT_SEVERITY: Severity = Severity::Medium;

pub(super) fn detect(record: &Record, catalog: &Catalog) -> Option<Alert> {
    let Record { meta, dcom, .. } = record;
    if dcom.kind != Kind::Activation {
        return None;
    }
    let class = catalog.class(dcom.clsid?)?;
    if class.benign.is_some() || class.severity < LEAST {
        return None;
    }
    let (signature, severity) = match dcom.outcome {
        Some(Outcome::Succeeded) => (SUCCEEDED, class.severity),
        _ => (ATTEMPTED, ATTEMPT_SEVERITY),
    };
    let message = message(meta, dcom, class);
    Some(alert(&signature, severity, class.confidence.name(), message, record))
}

/// Who did what to whom, and what came of it, in a sentence.
fn message(meta: &Meta, dcom: &Dcom, class: &Class) -> String {
    let result: Cow<'_, str> = match (dcom.outcome, &dcom.hresult_name, dcom.hresult, &dcom.fault) {
        (Some(Outcome::Succeeded), ..) => "it succeeded".into(),
        (Some(Outcome::Unanswered), ..) => "no answer was seen".into(),
        (_, _, _, Some(fault)) => format!("it failed with RPC fault {fault}").into(),
        (_, Some(name), ..) => format!("it failed with {name}").into(),
        (_, None, Some(hresult), _) => format!("it failed with {hresult}").into(),
        (..) => "its answer could not be read".into(),
    };
    let port = match &dcom.endpoint {
        Some(endpoint) => match (endpoint.port, endpoint.followed) {
            (Some(port), true) => format!(", and a connection to port {} followed", port.0),
            (Some(port), false) => format!(", and no connection to port {} was seen", port.0),
            (None, _) => String::new(),
        },
        None => String::new(),
    };
    format!(
        "{} asked {} for {} ({}){}: {result}{port}",
        address(meta.client),
        address(meta.server),
        class.name,
        dcom.operation,
        as_whom(dcom),
    )
}
