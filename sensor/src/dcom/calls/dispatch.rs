//! `IDispatch`: methods called by number, with their arguments as variants.

use std::borrow::Cow;

use dcom_parsers::dcom::OrpcThis;
use dcom_parsers::oaut::{
    Dispid, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetTypeInfoCountReply, GetTypeInfoRequest, InterfaceReply,
    InvokeFlags, InvokeReply, InvokeRequest, Variant,
};

use super::super::exporters::ToldBy;
use super::{Descent, Effect, Read, powershell};
use crate::event::dcom::Evidence;
use crate::rpc::Reply;

const GET_TYPE_INFO_COUNT: u16 = 3;
const GET_TYPE_INFO: u16 = 4;
const GET_IDS_OF_NAMES: u16 = 5;
const INVOKE: u16 = 6;
/// How the path of an object begins that nothing was seen to hand out.
const UNSEEN_ROOT: &str = "?.";

/// True when the call says what was done.
pub(super) fn read(call: &mut Read<'_>, opnum: u16) -> bool {
    match opnum {
        GET_TYPE_INFO_COUNT => {
            call.request(OrpcThis::parse);
            if let Some(reply) = call.response(GetTypeInfoCountReply::parse) {
                call.dcom.result = Some(reply.count.to_string());
                call.result(reply.hresult);
            }
        }
        GET_TYPE_INFO => {
            call.request(GetTypeInfoRequest::parse);
            if let Some(reply) = call.response(InterfaceReply::parse) {
                call.hand_out(reply.interface, Descent::Aside);
                call.result(reply.hresult);
            }
        }
        GET_IDS_OF_NAMES => get_ids_of_names(call),
        INVOKE => invoke(call),
        _ => {}
    }
    matches!(opnum, GET_IDS_OF_NAMES | INVOKE)
}

fn get_ids_of_names(call: &mut Read<'_>) {
    if let Some(request) = call.request(GetIdsOfNamesRequest::parse) {
        call.dcom.causality = Some(request.orpc_this.causality);
        call.dcom.arguments = request.names;
        // Further names are those of parameters.
        if let (Reply::Unanswered, Some(ipid), Some(name)) =
            (&call.exchange.reply, call.dcom.ipid, call.dcom.arguments.first())
        {
            call.effects.push(Effect::Ask(ipid, name.clone()));
        }
    }
    if let Some(reply) = call.response(GetIdsOfNamesReply::parse) {
        for (dispid, name) in reply.dispids.iter().zip(call.dcom.arguments.clone()) {
            // -1 says that there is no such member.
            if *dispid != Dispid::UNKNOWN {
                call.name(dispid.0.into(), name, ToldBy::GetIdsOfNames);
            }
        }
        let dispids: Vec<_> = reply.dispids.iter().map(|dispid| dispid.0.to_string()).collect();
        call.dcom.result = (!dispids.is_empty()).then(|| dispids.join(" "));
        call.result(reply.hresult);
    }
}

fn invoke(call: &mut Read<'_>) {
    if let Some(request) = call.request(InvokeRequest::parse) {
        call.dcom.causality = Some(request.orpc_this.causality);
        call.dcom.dispid = Some(request.member.0.into());
        call.dcom.arguments = request
            .arguments
            .iter()
            .map(|argument| argument.value.to_text())
            .collect();
        let (method, by) = method(call, request.member);
        if by == Some(ToldBy::Question) {
            call.dcom.evidence = Evidence::Inferred;
            call.dcom
                .because
                .push(format!("the client asked for the number of {method}, and called this one").into());
            call.name(request.member.0.into(), method.to_string(), ToldBy::Question);
        }
        call.member = Some(member(&method, &request));
        call.dcom.method = Some(method);
        conclude_class(call);
        set_effect(call);
        if let (Some(error), Some(message)) = (&request.broken, call.exchange.request.as_ref()) {
            if message.cut().is_some() {
                call.dcom.evidence = Evidence::Inferred;
            }
            call.odd.push(super::unreadable(message, error));
        }
    }
    if let Some(reply) = call.response(InvokeReply::parse) {
        set_invoke_reply(call, &reply);
    }
}

/// The member as code writes it: with its texts, where it is a method that takes some.
fn member(method: &str, request: &InvokeRequest<'_>) -> String {
    let texts: Vec<_> = request
        .arguments
        .iter()
        .filter(|argument| argument.value.bstr().is_some())
        .map(|argument| format!("\"{}\"", argument.value.to_text()))
        .collect();
    let assigned = request
        .flags
        .intersects(InvokeFlags::PROPERTY_PUT | InvokeFlags::PROPERTY_PUT_REF);
    if texts.is_empty() || assigned {
        method.to_owned()
    } else {
        format!("{method}({})", texts.join(", "))
    }
}

/// Of an object whose class nobody saw, the members may tell it.
fn conclude_class(call: &mut Read<'_>) {
    if call.dcom.class.is_some() || call.dcom.clsid.is_some() {
        return;
    }
    let Some(method) = call.dcom.method.clone() else { return };
    let members = match call
        .dcom
        .object_path
        .as_deref()
        .map(|path| path.strip_prefix(UNSEEN_ROOT))
    {
        Some(Some(path)) => format!("{path}.{method}"),
        Some(None) => return,
        None => method.to_string(),
    };
    // Where the bind was seen, the conversation was seen from its start; but for the answers, perhaps, and what was lost.
    let heard = call.dcom.bind_seen == Some(true) && call.dcom.bytes_missing == 0;
    // What an activation that was read handed out is known: what is not is something else of that process.
    let whole = heard && call.dcom.activation.is_none() && call.dcom.evidence == Evidence::Arguments;
    let Some((class, path)) = call.catalog.by_members(&members, whole) else {
        return;
    };
    let named = path.rsplit('.').next().unwrap_or_default();
    if method.starts_with('[') {
        call.dcom.method = Some(named.to_owned().into());
    }
    call.dcom.class = Some(class.name.clone());
    call.dcom
        .because
        .push(format!("class concluded from the members called: {path}").into());
}

/// Does the method run something?
fn set_effect(call: &mut Read<'_>) {
    let Some(name) = call.dcom.method.as_deref() else {
        return;
    };
    let path = call.dcom.object_path.as_deref();
    let Some(method) = call.catalog.method(name, path, &call.dcom.arguments) else {
        return;
    };
    call.dcom.effect = Some(method.effect);
    call.dcom.command_line = method.command_line(&call.dcom.arguments);
    call.dcom.decoded_command = call.dcom.command_line.as_deref().and_then(powershell::decoded);
}

fn set_invoke_reply(call: &mut Read<'_>, reply: &InvokeReply<'_>) {
    for variant in std::iter::once(&reply.result).chain(&reply.references) {
        call.hand_out(variant.target().interface(), Descent::Member);
    }
    if !matches!(reply.result, Variant::Empty) {
        call.dcom.result = Some(reply.result.to_text());
    }
    call.result(reply.hresult);
    // DISP_E_EXCEPTION says that something failed; the exception says what.
    if let Some(exception) = &reply.exception {
        call.dcom.result = Some(exception.description.to_text());
    }
}

/// By the name that the client was told, that the class gives the number, that the specification gives it, or that the client
/// asked for last.
fn method(call: &Read<'_>, member: Dispid) -> (Cow<'static, str>, Option<ToldBy>) {
    let dispid = i64::from(member.0);
    let object = call.object;
    let told = object.and_then(|object| object.member(dispid));
    let class = object
        .and_then(|object| object.lineage.as_ref())
        .and_then(|lineage| call.catalog.class(lineage.clsid?));
    let given = || class?.member(dispid).or_else(|| member.name());
    if let (None, Some(name)) = (told, given()) {
        return (name.to_owned().into(), None);
    }
    let asked = || Some((object?.question()?, ToldBy::Question));
    match told.or_else(asked) {
        Some((name, by)) => (name.to_owned().into(), Some(by)),
        None => (format!("[dispid {:#x}]", member.0.cast_unsigned()).into(), None),
    }
}
