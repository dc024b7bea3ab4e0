//! Exchanges in the words of Suricata's and Zeek's own DCE/RPC logs.

use std::borrow::Cow;

use dcom_parsers::guid::Guid;
use dcom_parsers::names;
use dcom_parsers::rpce::{BindTimeFeatures, ContextElement, ContextResult};

use super::exchange::{fault_name, key, login, response, sealed};
use super::logins::Who;
use crate::decode::Transport;
use crate::event::dcerpc::{
    Circumstances, DcerpcInterface, InterfaceVersion, NtlmRow, RequestSize, ResponseSize, ZeekRow,
};
use crate::event::dcom::Flags;
use crate::event::few::Few;
use crate::event::{Dcerpc, Dcom};
use crate::flow::{Connection, Protocol};
use crate::rpc::{BindKind, Bound, Exchange, Login, Named, Refusal, Reply};

const VERSION: &str = "5.0";
const CONNECTIONLESS: &str = "4.0";

/// A bind or `alter_context` and its answer.
pub(super) fn bound(connection: &Connection, bound: &Bound) -> Dcerpc {
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
        request: Some(if bound.offered.is_some() { offer } else { "REQUEST_LOST" }),
        interfaces: bound.contexts.iter().map(offered).collect(),
        response: Some(response),
        call_id: bound.call_id,
        rpc_version: VERSION,
        circumstances: Circumstances {
            named_pipe: bound.named_pipe.clone(),
            auth: bound.auth.map(login).unwrap_or_default().into(),
            header_signing: bound.header_signing,
            association_group: bound.group.map(Flags),
            features: bound.contexts.iter().flat_map(features).collect(),
            refusal: bound.refused.map(refusal),
            refused_contexts: bound.contexts.iter().filter_map(refused).collect(),
            ..carried(connection)
        },
        ..Dcerpc::default()
    }
}

/// What carried it: the protocol sequences of C706 appendix I and [MS-RPCE] 2.1.
pub(super) fn protocol_sequence(connection: &Connection) -> &'static str {
    match (connection.transport, connection.protocol) {
        (Transport::Udp, _) => "ncadg_ip_udp",
        (Transport::Tcp, Protocol::Rpc) => "ncacn_ip_tcp",
        (Transport::Tcp, Protocol::Smb) => "ncacn_np",
        (Transport::Tcp, Protocol::Http) => "ncacn_http",
    }
}

fn carried(connection: &Connection) -> Circumstances {
    Circumstances {
        protocol_sequence: protocol_sequence(connection),
        ..Circumstances::default()
    }
}

/// The features granted by the answer to an offer, if it is one.
fn features((_, result): &(ContextElement, Option<ContextResult>)) -> impl Iterator<Item = &'static str> + use<> {
    let granted = result.and_then(|result| result.features()).unwrap_or_default();
    let named = [
        (
            BindTimeFeatures::SECURITY_CONTEXT_MULTIPLEXING,
            "security_context_multiplexing",
        ),
        (BindTimeFeatures::KEEP_CONNECTION_ON_ORPHAN, "keep_connection_on_orphan"),
    ];
    named
        .into_iter()
        .filter(move |(feature, _)| granted.contains(*feature))
        .map(|(_, name)| name)
}

/// A context that was refused, and why.
fn refused((element, result): &(ContextElement, Option<ContextResult>)) -> Option<String> {
    let result = result
        .filter(|result| [ContextResult::USER_REJECTION, ContextResult::PROVIDER_REJECTION].contains(&result.result))?;
    let reason = result
        .refusal()
        .map_or_else(|| format!("reason {}", result.reason), str::to_owned);
    Some(format!("{}: {reason}", element.context_id))
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
        service: names::interface(uuid),
        procedure: None,
    }
}

/// A call and its answer. `dcom` is what it was recognised as, which names the interface when no bind did.
pub(super) fn exchange(connection: &Connection, exchange: &Exchange, who: &Who, dcom: Option<&Dcom>) -> Dcerpc {
    let told = dcom
        .and_then(|dcom| dcom.interface.as_ref())
        .map(|interface| (interface.uuid, 0));
    let named = match exchange.interface {
        // Where the call is one of another interface than its context's, that one is named.
        Named::Interface(interface) => told
            .filter(|(uuid, _)| *uuid != interface.uuid)
            .or(Some((interface.uuid, interface.version))),
        Named::Refused => None,
        Named::Unseen => told,
    };
    let procedure = named
        .zip(exchange.opnum)
        .and_then(|((uuid, _), opnum)| names::operation(uuid, opnum));
    let interface = named.map(|(uuid, version)| DcerpcInterface {
        // Without a connection nothing is offered, and nothing accepted.
        ack_result: (matches!(exchange.interface, Named::Interface(bound) if bound.uuid == uuid)
            && exchange.activity.is_none())
        .then_some(0),
        procedure,
        ..interface(uuid, version)
    });
    let zeek_row = zeek_row(exchange, interface.as_ref());
    let answer = response(exchange);
    let response = match &exchange.reply {
        Reply::Response(_) => "RESPONSE",
        Reply::Fault { .. } => "FAULT",
        Reply::Unanswered | Reply::NotWanted => "UNREPLIED",
    };
    Dcerpc {
        request: Some(if exchange.request.is_some() {
            "REQUEST"
        } else {
            "REQUEST_LOST"
        }),
        req: exchange
            .request
            .as_ref()
            .zip(exchange.opnum)
            .map(|(message, opnum)| RequestSize {
                opnum,
                frag_cnt: message.fragments,
                stub_data_size: message.stub_length,
            }),
        interfaces: interface.map_or_else(Few::default, Few::One),
        response: Some(response),
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
        zeek_row,
        circumstances: Circumstances {
            named_pipe: exchange.named_pipe.clone(),
            auth: who.auth.clone(),
            fault: match exchange.reply {
                Reply::Fault { status, .. } => Some(fault_name(status)),
                _ => None,
            },
            sealed_stub_length: sealed(exchange.request.as_ref()),
            sealed_reply_length: sealed(answer),
            decrypted: key(exchange).map(|_| true),
            key: key(exchange),
            ..carried(connection)
        },
    }
}

/// Zeek's row: there for a response to a request, not for faults and unanswered calls.
fn zeek_row(exchange: &Exchange, interface: Option<&DcerpcInterface>) -> Option<ZeekRow> {
    let (Reply::Response(_), Some(opnum)) = (&exchange.reply, exchange.opnum) else {
        return None;
    };
    let endpoint = interface.map(|it| match it.service {
        Some(name) => Cow::Borrowed(name),
        None => format!("unknown-{}", it.uuid).into(),
    });
    let procedure = interface.and_then(|it| it.procedure);
    let operation = procedure.map_or_else(|| format!("unknown-{opnum}").into(), Cow::Borrowed);
    Some(ZeekRow {
        named_pipe: exchange.secondary_address.clone(),
        endpoint,
        operation: Some(operation),
    })
}

/// Zeek's row of a login.
pub(super) fn ntlm_row(login: &Login) -> NtlmRow {
    let claims = &login.claims;
    NtlmRow {
        username: claims.user.clone().filter(|user| !user.is_empty()),
        hostname: claims.workstation.clone(),
        domainname: claims.domain.clone(),
        server_nb_computer_name: claims.server_netbios.clone(),
        server_dns_computer_name: claims.server_dns.clone(),
        server_tree_name: claims.server_tree.clone(),
        success: login.success,
    }
}
