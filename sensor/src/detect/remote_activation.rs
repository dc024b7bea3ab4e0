//! A class used for lateral movement was activated from another machine, or someone tried.

use std::borrow::Cow;

use crate::catalog::{Catalog, Class};
use crate::dcom::Record;
use crate::event::alert::{Action, Metadata};
use crate::event::dcom::{Kind, Outcome};
use crate::event::{Alert, Dcom, Meta};
use crate::severity::Severity;

/// What tells one alert from another.
struct Signature {
    id: u32,
    text: &'static str,
    note: &'static str,
}

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
    let Record { meta, dcom, dcerpc } = record;
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
    Some(Alert {
        action: Action::Allowed,
        gid: 1,
        signature_id: signature.id,
        rev: 1,
        signature: signature.text.into(),
        category: "Lateral Movement".into(),
        severity,
        metadata: Metadata {
            confidence: vec![class.confidence.name().into()],
            mitre_tactic_id: vec!["TA0008".into()],
            mitre_tactic_name: vec!["Lateral_Movement".into()],
            mitre_technique_id: vec!["T1021.003".into()],
            mitre_technique_name: vec!["Distributed_Component_Object_Model".into()],
        },
        note: signature.note.into(),
        message: message(meta, dcom, class),
        dcom: dcom.clone(),
        dcerpc: Some(dcerpc.clone()),
    })
}

/// Who did what to whom, and what came of it, in a sentence.
fn message(meta: &Meta, dcom: &Dcom, class: &Class) -> String {
    let end = |end: Option<crate::decode::Endpoint>| end.map_or_else(String::new, |end| end.address.to_string());
    let user = match (&dcom.client.domain, &dcom.client.user) {
        (Some(domain), Some(user)) => format!(" as {domain}\\{user}"),
        (None, Some(user)) => format!(" as {user}"),
        _ => String::new(),
    };
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
        "{} asked {} for {} ({}){user}: {result}{port}",
        end(meta.client),
        end(meta.server),
        class.name,
        dcom.operation,
    )
}
