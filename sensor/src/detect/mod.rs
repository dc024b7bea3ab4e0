//! Detections: one file each. Every one is described under `docs/detections`.

mod loss;
mod remote_activation;

pub(crate) use loss::doubtful;

use crate::catalog::Catalog;
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::event::alert::{Action, Metadata};
use crate::event::{Alert, Dcom};
use crate::severity::Severity;

/// Everything that fires on a finished record.
pub fn detect(record: &Record, catalog: &Catalog) -> impl Iterator<Item = Alert> {
    remote_activation::detect(record, catalog).into_iter()
}

/// What tells one alert from another.
struct Signature {
    id: u32,
    text: &'static str,
    note: &'static str,
}

fn alert(
    signature: &Signature,
    severity: Severity,
    confidence: &'static str,
    message: String,
    record: &Record,
) -> Alert {
    Alert {
        action: Action::Allowed,
        gid: 1,
        signature_id: signature.id,
        rev: 1,
        signature: signature.text.into(),
        category: "Lateral Movement".into(),
        severity,
        metadata: Metadata {
            confidence: vec![confidence.into()],
            mitre_tactic_id: vec!["TA0008".into()],
            mitre_tactic_name: vec!["Lateral_Movement".into()],
            mitre_technique_id: vec!["T1021.003".into()],
            mitre_technique_name: vec!["Distributed_Component_Object_Model".into()],
        },
        note: signature.note.into(),
        message,
        dcom: Some(record.dcom.clone()),
        dcerpc: Some(record.dcerpc.clone()),
    }
}

/// As whom the client called, when that was read.
fn as_whom(dcom: &Dcom) -> String {
    match (&dcom.client.domain, &dcom.client.user) {
        (Some(domain), Some(user)) => format!(" as {domain}\\{user}"),
        (None, Some(user)) => format!(" as {user}"),
        _ => String::new(),
    }
}

fn address(end: Option<Endpoint>) -> String {
    end.map_or_else(String::new, |end| end.address.to_string())
}
