//! WMI, the task scheduler and the service manager: lateral movement mixes them with DCOM.

use dcom_parsers::dcom::Objref;
use dcom_parsers::error::Result;
use dcom_parsers::guid::Guid;
use dcom_parsers::input::Input;
use dcom_parsers::ndr::Reader;
use dcom_parsers::{scmr, tsch, wmi};

use super::{Descent, Read, is_sealed, powershell};
use crate::catalog::Effect;
use crate::event::dcom::{Evidence, Outcome};
use crate::rpc::{Message, Stub};

/// [MS-WMI] 3.1.4.3 `IWbemServices` Interface: opnums.
const CREATE_CLASS_ENUM: u16 = 12;
const PUT_INSTANCE: u16 = 14;
const PUT_INSTANCE_ASYNC: u16 = 15;
const CREATE_INSTANCE_ENUM: u16 = 18;
const EXEC_QUERY: u16 = 20;
const EXEC_NOTIFICATION_QUERY: u16 = 22;
const EXEC_METHOD: u16 = 24;
const EXEC_METHOD_ASYNC: u16 = 25;

/// Classes whose instances make a permanent event subscription, with the properties that say what it runs, the telling one
/// first.
const SUBSCRIPTION: [(&str, &[&str]); 7] = [
    ("CommandLineEventConsumer", &["CommandLineTemplate", "ExecutablePath"]),
    ("ActiveScriptEventConsumer", &["ScriptText", "ScriptFileName"]),
    ("LogFileEventConsumer", &[]),
    ("NTEventLogEventConsumer", &[]),
    ("SMTPEventConsumer", &[]),
    ("__EventFilter", &[]),
    ("__FilterToConsumerBinding", &[]),
];

/// Classes of services: `Create` makes one, and `Change` gives one another program.
const SERVICES: [&str; 4] = [
    "Win32_Service",
    "Win32_BaseService",
    "Win32_SystemDriver",
    "Win32_TerminalService",
];

/// Is it one of theirs?
pub(super) fn is_read(interface: Guid) -> bool {
    matches!(
        interface,
        wmi::IWBEM_LEVEL1_LOGIN
            | wmi::IWBEM_LOGIN_CLIENT_ID
            | wmi::IWBEM_LOGIN_CLIENT_ID_EX
            | wmi::IWBEM_SERVICES
            | tsch::ITASK_SCHEDULER_SERVICE
            | scmr::SVCCTL
    )
}

/// True when the call says what was done. Of the scheduler and the service manager, only what is read here.
pub(super) fn read(call: &mut Read<'_>, interface: Guid, opnum: u16) -> bool {
    let arguments = move |reader: &mut Reader<'_>| -> Result<Option<Vec<(&'static str, String)>>> {
        let answer = match interface {
            tsch::ITASK_SCHEDULER_SERVICE => tsch::request_arguments(opnum, reader),
            scmr::SVCCTL => scmr::request_arguments(opnum, reader),
            _ => wmi::request_arguments(interface, opnum, reader),
        };
        answer.transpose()
    };
    let asked = call.request(arguments).flatten();
    let is_known = asked.is_some();
    call.dcom.arguments = asked
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if interface == wmi::IWBEM_SERVICES {
        set_effect(call, opnum);
    }
    reply(call, interface, opnum);
    is_known || is_wmi(interface) || is_sealed(call.exchange)
}

/// What a method run through WMI starts, and what an event filter or consumer is there for.
fn set_effect(call: &mut Read<'_>, opnum: u16) {
    match opnum {
        PUT_INSTANCE | PUT_INSTANCE_ASYNC => subscription(call),
        EXEC_METHOD | EXEC_METHOD_ASYNC => method(call),
        _ => return,
    }
    call.dcom.decoded_command = call.dcom.command_line.as_deref().and_then(powershell::decoded);
}

fn subscription(call: &mut Read<'_>) {
    let Some(Some(Ok(instance))) = call.request(wmi::PutRequest::parse).map(|request| request.object) else {
        return;
    };
    let class = instance.class.as_deref().unwrap_or_default();
    let Some((_, command)) = SUBSCRIPTION.iter().find(|(name, _)| name.eq_ignore_ascii_case(class)) else {
        return;
    };
    let text = |name: &&str| instance.get(name)?.as_text().filter(|text| !text.is_empty());
    call.dcom.effect = Some(Effect::Subscription);
    call.dcom.command_line = command.iter().find_map(text).map(str::to_owned);
}

fn method(call: &mut Read<'_>) {
    let Some(request) = call.request(wmi::ExecMethodRequest::parse) else {
        return;
    };
    let method = request.method.unwrap_or_default();
    // An object's path may begin with server and namespace.
    let path = request.object_path.unwrap_or_default();
    let class = path.rsplit([':', '\\', '/']).next().unwrap_or_default();
    let parameters = request.in_parameters.and_then(Result::ok);
    let given = |name| {
        parameters
            .as_ref()
            .and_then(|it| it.get(name)?.as_text().map(str::to_owned))
    };
    let is = |known: &str| class.eq_ignore_ascii_case(known);
    if method.eq_ignore_ascii_case("Create") {
        let command = given("CommandLine");
        // A class that somebody derived from it has the method too, by whatever name.
        if !is("Win32_Process") && command.is_some() {
            call.dcom.evidence = Evidence::Inferred;
            let because =
                format!("{class}.Create takes a CommandLine, as it does where the class derives from Win32_Process");
            call.dcom.because.push(because.into());
        }
        if is("Win32_Process") || command.is_some() {
            call.dcom.effect = Some(Effect::Process);
            call.dcom.command_line = command;
        }
    }
    // An instance is named behind its class: Win32_Service.Name="x".
    let of_class = class.split('.').next().unwrap_or_default();
    let is_service = SERVICES.iter().any(|known| of_class.eq_ignore_ascii_case(known));
    let takes_program = ["Create", "Change"]
        .iter()
        .any(|known| method.eq_ignore_ascii_case(known));
    if let (true, true, Some(program)) = (is_service, takes_program, given("PathName")) {
        call.dcom.effect = Some(Effect::Service);
        call.dcom.command_line = Some(program).filter(|program| !program.is_empty());
    }
    call.dcom.method = (!method.is_empty()).then(|| method.into());
}

fn is_wmi(interface: Guid) -> bool {
    !matches!(interface, tsch::ITASK_SCHEDULER_SERVICE | scmr::SVCCTL)
}

fn reply(call: &mut Read<'_>, interface: Guid, opnum: u16) {
    match (interface, opnum) {
        (wmi::IWBEM_LEVEL1_LOGIN, 6) => {
            if let Some(reply) = call.response(wmi::InterfaceReply::parse) {
                if let Some(objref) = reply.objref.and_then(|bytes| Objref::parse_reference(bytes).ok()) {
                    // What is logged in to is the namespace.
                    let namespace = call.dcom.arguments.iter().find_map(|it| it.strip_prefix("namespace="));
                    call.member = Some(format!("NTLMLogin({:?})", namespace.unwrap_or_default()).replace("\\\\", "\\"));
                    call.refer(&objref, Descent::Member);
                }
                call.result(reply.status);
            }
        }
        (wmi::IWBEM_SERVICES, CREATE_CLASS_ENUM | CREATE_INSTANCE_ENUM | EXEC_QUERY | EXEC_NOTIFICATION_QUERY) => {
            if let Some(reply) = call.response(wmi::InterfaceReply::parse) {
                if let Some(objref) = reply.objref.and_then(|bytes| Objref::parse_reference(bytes).ok()) {
                    call.member = Some(call.dcom.operation.clone().into());
                    call.refer(&objref, Descent::Member);
                }
                call.result(reply.status);
            }
        }
        (wmi::IWBEM_SERVICES, 6 | 24) => {
            if let Some(reply) = call.response(wmi::ObjectReply::parse) {
                call.result(reply.status);
                if opnum == EXEC_METHOD
                    && let Some(Ok(object)) = &reply.object
                {
                    call.dcom.result = Some(object.to_string());
                    process_created(call, object);
                }
            }
        }
        _ => {
            // Every operation ends with its status, an HRESULT or a Win32 code.
            let last = super::response(call.exchange).and_then(status);
            if let Some(status) = last {
                call.result(status);
            }
        }
    }
}

/// `Win32_Process.Create` that ran, and created nothing, says so in what it returns: 0 alone is success. So it is with services.
fn process_created(call: &mut Read<'_>, returned: &wmi::Object) {
    let told = match call.dcom.effect {
        Some(Effect::Process) => "Win32_Process.Create returned {}: no process was created",
        Some(Effect::Service) => "the method returned {}: the service is as it was",
        _ => return,
    };
    let value = returned.get("ReturnValue").and_then(wmi::Value::as_unsigned);
    if let Some(value) = value.filter(|&value| value != 0) {
        call.dcom.outcome = Some(Outcome::Failed);
        call.dcom.because.push(told.replace("{}", &value.to_string()).into());
    }
}

/// The last four bytes of a whole response.
pub(super) fn status(message: &Message) -> Option<u32> {
    let Stub::Whole(stub) = &message.stub else { return None };
    let bytes = stub.get(stub.len().checked_sub(4)?..)?;
    Input::new(bytes, message.order, "status").u32().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::rig::Rig;
    use super::*;

    #[test]
    fn a_class_that_takes_a_command_line_to_create_is_one_of_processes() {
        let stub = include_bytes!("../../../../parsers/corpus/wmi/exec-method-create-request.bin").to_vec();
        let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let (name, other) = (utf16("Win32_Process"), utf16("Win32_Updater"));
        let at = stub.windows(name.len()).position(|bytes| bytes == name).unwrap();
        let mut derived = stub.clone();
        derived[at..at + other.len()].copy_from_slice(&other);
        let called = |stub: Vec<u8>| Rig::new().call(wmi::IWBEM_SERVICES, EXEC_METHOD, Stub::Whole(stub), None);
        let known = called(stub);
        let told = called(derived.clone());
        assert_eq!((told.effect, &told.command_line), (known.effect, &known.command_line));
        assert!(told.command_line.is_some());
        assert_eq!(
            (known.evidence, told.evidence),
            (Evidence::Arguments, Evidence::Inferred)
        );
        assert!(
            told.because[0].starts_with("Win32_Updater.Create"),
            "{:?}",
            told.because
        );
        let at = derived.windows(11).position(|bytes| bytes == b"CommandLine").unwrap();
        derived[at..at + 11].copy_from_slice(b"PathName\0\0\0");
        assert_eq!(called(derived).effect, None, "no class of services");
    }

    /// `Create` of this class, whose name is as long as `Win32_Process`, with a `PathName`.
    fn service(class: &str, method: &str) -> crate::event::Shared<crate::event::Dcom> {
        let mut stub = include_bytes!("../../../../parsers/corpus/wmi/exec-method-create-request.bin").to_vec();
        let mut replace = |old: &[u8], new: &[u8]| {
            let at = stub.windows(old.len()).position(|bytes| bytes == old).unwrap();
            stub[at..at + new.len()].copy_from_slice(new);
        };
        let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        replace(&utf16("Win32_Process"), &utf16(class));
        replace(&utf16("Create"), &utf16(method));
        replace(b"CommandLine", b"PathName\0\0\0");
        Rig::new().call(wmi::IWBEM_SERVICES, EXEC_METHOD, Stub::Whole(stub), None)
    }

    #[test]
    fn a_service_that_gets_a_program_is_told_with_it() {
        for method in ["Create", "Change"] {
            let dcom = service("win32_service", method);
            assert_eq!(dcom.effect, Some(Effect::Service));
            assert_eq!(
                (dcom.command_line.is_some(), dcom.evidence),
                (true, Evidence::Arguments)
            );
        }
        assert_eq!(service("Win32_Service", "Delete").effect, None);
        assert_eq!(service("Win32_Printer", "Create").effect, None);
    }

    #[test]
    fn every_standard_consumer_is_part_of_a_subscription() {
        let stub = include_bytes!("../../../../parsers/corpus/wmi/put-instance-command-line-consumer-request.bin");
        let name = b"CommandLineEventConsumer";
        let windows = stub.windows(name.len()).enumerate();
        let places: Vec<_> = windows
            .filter_map(|(at, bytes)| (bytes == name).then_some(at))
            .collect();
        let consumers = ["LogFileEventConsumer", "NTEventLogEventConsumer", "SMTPEventConsumer"];
        for other in consumers {
            let mut stub = stub.to_vec();
            for &at in &places {
                stub[at..at + name.len()].fill(0);
                stub[at..at + other.len()].copy_from_slice(other.as_bytes());
            }
            let dcom = Rig::new().call(wmi::IWBEM_SERVICES, PUT_INSTANCE, Stub::Whole(stub), None);
            assert_eq!(
                (dcom.effect, &dcom.command_line),
                (Some(Effect::Subscription), &None),
                "{other}"
            );
        }
    }

    fn create(returned: u32) -> crate::event::Shared<crate::event::Dcom> {
        let request = include_bytes!("../../../../parsers/corpus/wmi/exec-method-create-request.bin");
        let mut reply = include_bytes!("../../../../parsers/corpus/wmi/exec-method-create-reply.bin").to_vec();
        let process = 0x1267_u32.to_le_bytes();
        let at = reply.windows(4).position(|bytes| bytes == process).unwrap();
        reply[at + 4..at + 8].copy_from_slice(&returned.to_le_bytes());
        Rig::new().call(
            wmi::IWBEM_SERVICES,
            EXEC_METHOD,
            Stub::Whole(request.to_vec()),
            Some(reply),
        )
    }

    #[test]
    fn a_process_that_was_not_created_is_no_success() {
        let created = create(0);
        assert_eq!(
            (created.outcome, &created.because[..]),
            (Some(Outcome::Succeeded), &[][..])
        );
        let denied = create(2);
        assert_eq!(denied.outcome, Some(Outcome::Failed));
        assert_eq!(
            denied.because,
            ["Win32_Process.Create returned 2: no process was created"]
        );
        assert_eq!(
            denied.result.as_deref(),
            Some("__PARAMETERS { ProcessId: 4711, ReturnValue: 2 }")
        );
    }
}
