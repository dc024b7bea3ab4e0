//! WMI, the task scheduler and the service manager: lateral movement mixes them with DCOM.

use dcom_parsers::error::Result;
use dcom_parsers::guid::Guid;
use dcom_parsers::ndr::Reader;
use dcom_parsers::{scmr, tsch, wmi};

use super::{Descent, Read, is_sealed};
use crate::rpc::{Message, Stub};

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
    reply(call, interface, opnum);
    is_known || is_wmi(interface) || is_sealed(call.exchange)
}

fn is_wmi(interface: Guid) -> bool {
    !matches!(interface, tsch::ITASK_SCHEDULER_SERVICE | scmr::SVCCTL)
}

fn reply(call: &mut Read<'_>, interface: Guid, opnum: u16) {
    match (interface, opnum) {
        (wmi::IWBEM_LEVEL1_LOGIN, 6) => {
            if let Some(reply) = call.response(wmi::InterfaceReply::parse) {
                if let Some(objref) = reply
                    .objref
                    .and_then(|bytes| dcom_parsers::dcom::Objref::parse(bytes).ok())
                {
                    call.refer(&objref, Descent::Same);
                }
                call.result(reply.status);
            }
        }
        (wmi::IWBEM_SERVICES, 6 | 24) => {
            if let Some(reply) = call.response(wmi::ObjectReply::parse) {
                if opnum == 24
                    && let Some(Ok(object)) = &reply.object
                {
                    call.dcom.result = Some(object.to_string());
                }
                call.result(reply.status);
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

/// The last four bytes of a whole response.
fn status(message: &Message) -> Option<u32> {
    let Stub::Whole(stub) = &message.stub else { return None };
    let bytes: [u8; 4] = stub.get(stub.len().checked_sub(4)?..)?.try_into().ok()?;
    Some(match message.order {
        dcom_parsers::input::ByteOrder::Little => u32::from_le_bytes(bytes),
        dcom_parsers::input::ByteOrder::Big => u32::from_be_bytes(bytes),
    })
}
