//! What COM's own service complains of: refused launches, computers that cannot be reached, levels that are too low.

use super::finding::{Finding, as_whom, named, pattern};
use super::names::is_abused;
use crate::catalog::{Catalog, Class, Confidence};
use crate::detect::host_signature::{DENIED, UNREACHABLE, WEAK_LEVEL_LOGGED};
use crate::host_log::event::{DcomError, HostEvent, Process, Source};
use crate::severity::Severity;

/// A launch or activation was denied.
const PERMISSION: u16 = 10_016;
/// A computer did not answer.
const NO_ANSWER: u16 = 10_028;
/// The level of an activation was too low: at the server, by the client, by the client's default.
const LEVEL: [u16; 3] = [10_036, 10_037, 10_038];

/// How bad it is that this class could not be asked for, as the computer says that was to ask.
pub(crate) fn unreached(class: Option<&Class>) -> Severity {
    if class.is_some_and(|class| is_abused(class) && class.benign.is_none()) {
        Severity::Medium
    } else {
        Severity::Low
    }
}

/// What such an event tells. Nothing, where it is about this computer alone.
pub(super) fn finding(event: &HostEvent, error: &DcomError, catalog: &Catalog) -> Option<Finding> {
    let Source::System(id) = event.source else { return None };
    let mut finding = Finding::of(event, &error.account, &error.process, &Process::default());
    finding.event.clsid = error.clsid;
    finding.event.permission.clone_from(&error.permission);
    finding.event.source_ip = error.address;
    let known = error.clsid.and_then(|clsid| catalog.class(clsid));
    let class = match (known, error.clsid) {
        (Some(class), Some(clsid)) => format!("{} ({clsid})", class.name),
        (None, Some(clsid)) => format!("class {clsid}"),
        _ => "a class".to_owned(),
    };
    let who = as_whom(&error.account);
    let from = error
        .address
        .map(|address| format!(" from {address}"))
        .unwrap_or_default();
    let remote = error.address.is_some()
        || error
            .permission
            .as_deref()
            .is_some_and(|what| what.to_lowercase().starts_with("remote"));
    let (found, sentence) = match id {
        PERMISSION if remote => {
            let what = error.permission.as_deref().unwrap_or("permission");
            let who = who.trim_start_matches(" as ");
            let whom = if who.is_empty() {
                String::new()
            } else {
                format!(" to {who}")
            };
            (
                pattern(&DENIED, Severity::Medium, Confidence::High),
                format!("{what} of {class} denied{whom}{from}"),
            )
        }
        NO_ANSWER => {
            let target = error.target.as_deref().unwrap_or("another computer");
            finding.event.target.clone_from(&error.target);
            finding.event.target_ip = target.parse().ok();
            let by = named(&error.process);
            let by = if by.is_empty() { by } else { format!(" for {by}") };
            (
                pattern(&UNREACHABLE, unreached(known), Confidence::Medium),
                format!("{target} could not be reached to activate {class}{by}{who}"),
            )
        }
        _ if LEVEL.contains(&id) => (
            pattern(&WEAK_LEVEL_LOGGED, Severity::Medium, Confidence::Medium),
            format!("activation of {class} below packet integrity{who}{from}"),
        ),
        _ => return None,
    };
    finding.add(found);
    finding.sentence = Some(sentence);
    Some(finding)
}
