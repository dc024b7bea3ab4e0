//! Something was run through an object, or someone tried: a call that the catalogue knows to run something.

use super::signature::{COERCION, EXECUTION_ATTEMPT, EXECUTION_CALL, WMI_PROCESS, WMI_SERVICE, WMI_SUBSCRIPTION};
use super::{Context, Detection, Found, Seen, address, alert, as_whom, result};
use crate::catalog::{Catalog, Effect};
use crate::dcom::{Record, members_of_unseen};
use crate::event::Dcom;
use crate::event::dcom::{Evidence, Hresult, Kind, Outcome};
use crate::severity::Severity;

/// Execution, and authentication that an object is made to do.
pub(super) struct Execution;

impl Detection for Execution {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record { meta, dcom, .. } = *record;
        let (Kind::Call, Some(effect)) = (dcom.kind, dcom.effect) else {
            return;
        };
        let failed = dcom.outcome == Some(Outcome::Failed);
        let unsure = may_be_another(dcom, context.catalog);
        let raised = failed && !unsure && may_have_raised(dcom, context.catalog);
        let (signature, severity) = match (effect, failed) {
            (Effect::Execution, false) if unsure => (&EXECUTION_CALL, Severity::Medium),
            (Effect::Execution, true) if unsure => (&EXECUTION_ATTEMPT, Severity::Low),
            (Effect::Execution, false) if dcom.evidence == Evidence::Arguments => (&EXECUTION_CALL, Severity::Critical),
            (Effect::Execution, false) => (&EXECUTION_CALL, Severity::High),
            (Effect::Execution, true) if raised => (&EXECUTION_ATTEMPT, Severity::High),
            (Effect::Execution, true) => (&EXECUTION_ATTEMPT, Severity::Medium),
            (Effect::Coercion, false) if unsure => (&COERCION, Severity::Medium),
            (Effect::Coercion, true) if unsure => (&COERCION, Severity::Low),
            (Effect::Coercion, false) => (&COERCION, Severity::High),
            (Effect::Coercion, true) => (&COERCION, Severity::Medium),
            // A subscription has parts; those without a command prepare it.
            (Effect::Subscription, false) if dcom.command_line.is_some() => (&WMI_SUBSCRIPTION, Severity::High),
            (Effect::Subscription, _) => (&WMI_SUBSCRIPTION, Severity::Medium),
            (Effect::Process, false) => (&WMI_PROCESS, Severity::Medium),
            (Effect::Process, true) => (&WMI_PROCESS, Severity::Low),
            (Effect::Service, false) => (&WMI_SERVICE, Severity::Medium),
            (Effect::Service, true) => (&WMI_SERVICE, Severity::Low),
        };
        let confidence = if dcom.evidence == Evidence::Arguments {
            "high"
        } else if unsure {
            "low"
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
        let raised = if raised {
            ", which the code itself may have raised"
        } else {
            ""
        };
        let message = format!(
            "{} called {what} of {object} on {}{}; {}{raised}{command}",
            address(meta.client),
            address(meta.server),
            as_whom(&dcom.client),
            result(dcom),
        );
        found.push(alert(signature, severity, confidence, message, record));
    }
}

/// Does the method run something on objects of some classes alone, and nothing told the class of this one?
fn may_be_another(dcom: &Dcom, catalog: &Catalog) -> bool {
    let name = dcom.method.as_deref().unwrap_or_default();
    catalog
        .method(name, dcom.object_path.as_deref(), &dcom.arguments)
        .is_none()
        && members_of_unseen(dcom)
            .is_some_and(|members| catalog.method_of_unseen(name, &members, &dcom.arguments).is_some())
}

/// Did an exception end the call of a method that runs code? What it ran may have raised that: `DISP_E_EXCEPTION`, or an error of
/// the script's or the application's own ([MS-ERREF] 2.1.1 HRESULT Values: the facility).
fn may_have_raised(dcom: &Dcom, catalog: &Catalog) -> bool {
    const EXCEPTION: u32 = 0x8002_0009;
    const CONTROL: u32 = 0x800a;
    let name = dcom.method.as_deref().unwrap_or_default();
    dcom.hresult
        .is_some_and(|Hresult(it)| it == EXCEPTION || it >> 16 == CONTROL)
        && catalog
            .method(name, dcom.object_path.as_deref(), &dcom.arguments)
            .is_some_and(|method| method.code)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation, call};
    use super::*;

    #[test]
    fn what_may_be_another_method_is_graded_less() {
        let told = |method: &str, outcome, known: bool| {
            let mut record = call(&activation("Word.Application").from(9).to(1), "");
            if !known {
                (record.dcom.class, record.dcom.clsid, record.dcom.activation) = (None, None, None);
            }
            record.dcom.object_path = known.then(|| "Word.Application".to_owned());
            record.dcom.method = Some(method.to_owned().into());
            record.dcom.arguments = vec!["C:\\x.dotm!go".to_owned()];
            record.dcom.effect = Some(Effect::Execution);
            record.dcom.evidence = Evidence::Inferred;
            record.dcom.outcome = Some(outcome);
            let mut rig = Rig::new(Execution);
            rig.see(record);
            let found = rig.found();
            let alert = &found[0].alert;
            (
                alert.signature_id,
                alert.severity,
                alert.metadata.confidence[0].to_string(),
            )
        };
        let low = || "low".to_owned();
        let medium = || "medium".to_owned();
        assert_eq!(
            told("Run", Outcome::Succeeded, false),
            (1_021_303, Severity::Medium, low())
        );
        assert_eq!(told("Run", Outcome::Failed, false), (1_021_304, Severity::Low, low()));
        assert_eq!(
            told("Run", Outcome::Succeeded, true),
            (1_021_303, Severity::High, medium())
        );
        assert_eq!(
            told("RegisterXLL", Outcome::Succeeded, false),
            (1_021_303, Severity::High, medium())
        );
    }

    #[test]
    fn an_exception_may_come_of_the_code_that_was_run() {
        let told = |method: &str, hresult| {
            let mut record = call(&activation("Excel.Application").from(9).to(1), method);
            record.dcom.object_path = Some("Excel.Application".to_owned());
            record.dcom.arguments = vec!["Err.Raise 5".to_owned()];
            record.dcom.effect = Some(Effect::Execution);
            (record.dcom.outcome, record.dcom.hresult) = (Some(Outcome::Failed), Some(Hresult(hresult)));
            record.dcom.method = Some(method.to_owned().into());
            let mut rig = Rig::new(Execution);
            rig.see(record);
            let found = rig.found();
            (found[0].alert.signature_id, found[0].alert.severity)
        };
        for (method, hresult, severity) in [
            ("Run", 0x8002_0009, Severity::High),
            ("ExecuteExcel4Macro", 0x800a_03ec, Severity::High),
            ("Run", 0x8007_0005, Severity::Medium),
            ("DDEInitiate", 0x8002_0009, Severity::Medium),
        ] {
            assert_eq!(told(method, hresult), (1_021_304, severity), "{method} {hresult:x}");
        }
    }
}
