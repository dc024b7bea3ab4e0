//! Something was run through an object, or someone tried: a call that the catalogue knows to run something.

use super::signature::{COERCION, EXECUTION_ATTEMPT, EXECUTION_CALL, WMI_PROCESS, WMI_SUBSCRIPTION};
use super::{Context, Detection, Found, Seen, address, alert, as_whom, result};
use crate::catalog::Effect;
use crate::dcom::Record;
use crate::event::dcom::{Evidence, Kind, Outcome};
use crate::severity::Severity;

/// Execution, and authentication that an object is made to do.
pub(super) struct Execution;

impl Detection for Execution {
    fn see(&mut self, seen: &Seen<'_>, _: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Kind::Call, Some(effect)) = (dcom.kind, dcom.effect) else {
            return;
        };
        let failed = dcom.outcome == Some(Outcome::Failed);
        let (signature, severity) = match (effect, failed) {
            (Effect::Execution, false) if dcom.evidence == Evidence::Arguments => (&EXECUTION_CALL, Severity::Critical),
            (Effect::Execution, false) => (&EXECUTION_CALL, Severity::High),
            (Effect::Execution, true) => (&EXECUTION_ATTEMPT, Severity::Medium),
            (Effect::Coercion, false) => (&COERCION, Severity::High),
            (Effect::Coercion, true) => (&COERCION, Severity::Medium),
            // A subscription has parts; those without a command prepare it.
            (Effect::Subscription, false) if dcom.command_line.is_some() => (&WMI_SUBSCRIPTION, Severity::High),
            (Effect::Subscription, _) => (&WMI_SUBSCRIPTION, Severity::Medium),
            (Effect::Process, false) => (&WMI_PROCESS, Severity::Medium),
            (Effect::Process, true) => (&WMI_PROCESS, Severity::Low),
        };
        let confidence = if dcom.evidence == Evidence::Arguments {
            "high"
        } else {
            "medium"
        };
        let what = dcom.method.as_deref().unwrap_or(&dcom.operation);
        let object = dcom
            .object_path
            .as_deref()
            .or(dcom.class.as_deref())
            .unwrap_or("an object");
        let command = match &dcom.command_line {
            Some(command_line) => format!(": {command_line}"),
            None => String::new(),
        };
        let message = format!(
            "{} called {what} of {object} on {}{}; {}{command}",
            address(meta.client),
            address(meta.server),
            as_whom(&dcom.client),
            result(dcom),
        );
        found.push(alert(signature, severity, confidence, message, record));
    }
}
