//! Exchanges in the words of Suricata's and Zeek's own DCE/RPC logs.

use std::borrow::Cow;

use dcom_parsers::guid::Guid;
use dcom_parsers::names;
use dcom_parsers::rpce::{ContextElement, ContextResult};

use super::exchange::fault_name;
use crate::event::dcerpc::{DcerpcInterface, InterfaceVersion, RequestSize, ResponseSize, ZeekRow};
use crate::event::{Dcerpc, Dcom};
use crate::rpc::{BindKind, Bound, Exchange, Named, Refusal, Reply};

const VERSION: Cow<'static, str> = Cow::Borrowed("5.0");
const CONNECTIONLESS: Cow<'static, str> = Cow::Borrowed("4.0");

/// A bind or `alter_context` and its answer.
pub(super) fn bound(bound: &Bound) -> Dcerpc {
    let (offer, answer) = match bound.kind {
        BindKind::Bind => ("BIND", "BINDACK"),
        BindKind::AlterContext => ("ALTER_CONTEXT", "ALTER_CONTEXT_RESP"),
    };
    let response = match (bound.refused, bound.answered) {
        (Some(Refusal::Nak(_)), _) => "BINDNAK",
        (Some(Refusal::Fault(_)), _) => "FAULT",
        (None, Some(_)) => answer,
        (None, None) => "UNREPLIED",
    };
    Dcerpc {
        request: Some(if bound.offered.is_some() { offer } else { "REQUEST_LOST" }.into()),
        interfaces: bound.contexts.iter().map(offered).collect(),
        response: Some(response.into()),
        call_id: bound.call_id,
        rpc_version: VERSION,
        ..Dcerpc::default()
    }
}

/// Why an offer was refused as a whole.
pub(super) fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::Nak(reason) => reason
            .name()
            .map_or_else(|| format!("reason {}", reason.0), str::to_owned),
        Refusal::Fault(status) => fault_name(status),
    }
}

fn offered((element, result): &(ContextElement, Option<ContextResult>)) -> DcerpcInterface {
    let mut interface = interface(element.abstract_syntax.uuid, element.abstract_syntax.version);
    interface.ack_result = result.map(|result| result.result);
    interface
}

fn interface(uuid: Guid, version: u32) -> DcerpcInterface {
    let [major_low, major_high, minor_low, minor_high] = version.to_le_bytes();
    DcerpcInterface {
        uuid,
        version: InterfaceVersion {
            major: u16::from_le_bytes([major_low, major_high]),
            minor: u16::from_le_bytes([minor_low, minor_high]),
        },
        ack_result: None,
        service: names::interface(uuid).map(Cow::Borrowed),
        procedure: None,
    }
}

/// A call and its answer. `dcom` is what it was recognised as, which names the interface when no bind did.
pub(super) fn exchange(exchange: &Exchange, dcom: Option<&Dcom>) -> Dcerpc {
    let told = dcom
        .and_then(|dcom| dcom.interface.as_ref())
        .map(|interface| (interface.uuid, 0));
    let named = match exchange.interface {
        Named::Interface(interface) => Some((interface.uuid, interface.version)),
        Named::Refused => None,
        Named::Unseen => told,
    };
    let procedure = named
        .zip(exchange.opnum)
        .and_then(|((uuid, _), opnum)| names::operation(uuid, opnum));
    let interfaces = named.into_iter().map(|(uuid, version)| DcerpcInterface {
        // Without a connection nothing is offered, and nothing accepted.
        ack_result: (matches!(exchange.interface, Named::Interface(_)) && exchange.activity.is_none()).then_some(0),
        procedure: procedure.map(Cow::Borrowed),
        ..interface(uuid, version)
    });
    let response = match &exchange.reply {
        Reply::Response(_) => "RESPONSE",
        Reply::Fault { .. } => "FAULT",
        Reply::Unanswered | Reply::NotWanted => "UNREPLIED",
    };
    Dcerpc {
        request: Some(
            if exchange.request.is_some() {
                "REQUEST"
            } else {
                "REQUEST_LOST"
            }
            .into(),
        ),
        req: exchange
            .request
            .as_ref()
            .zip(exchange.opnum)
            .map(|(message, opnum)| RequestSize {
                opnum,
                frag_cnt: message.fragments,
                stub_data_size: message.stub_length,
            }),
        interfaces: interfaces.collect(),
        response: Some(response.into()),
        res: match &exchange.reply {
            Reply::Response(message) => Some(ResponseSize {
                frag_cnt: message.fragments,
                stub_data_size: message.stub_length,
            }),
            _ => None,
        },
        call_id: exchange.call_id,
        activityuuid: exchange.activity,
        seqnum: exchange.activity.map(|_| exchange.call_id),
        rpc_version: exchange.activity.map_or(VERSION, |_| CONNECTIONLESS),
        zeek_row: zeek_row(exchange, named.map(|(uuid, _)| uuid), procedure),
    }
}

/// Zeek's row: there for a response to a request, not for faults and unanswered calls.
fn zeek_row(exchange: &Exchange, interface: Option<Guid>, procedure: Option<&'static str>) -> Option<ZeekRow> {
    let (Reply::Response(_), Some(opnum)) = (&exchange.reply, exchange.opnum) else {
        return None;
    };
    let endpoint =
        interface.map(|uuid| names::interface(uuid).map_or_else(|| format!("unknown-{uuid}").into(), Cow::Borrowed));
    let operation = procedure.map_or_else(|| format!("unknown-{opnum}").into(), Cow::Borrowed);
    Some(ZeekRow {
        named_pipe: exchange.secondary_address.clone(),
        endpoint,
        operation: Some(operation),
    })
}
