//! `IDispatch`: methods called by number, with their arguments as variants.

use std::borrow::Cow;

use dcom_parsers::dcom::OrpcThis;
use dcom_parsers::oaut::{
    Dispid, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetTypeInfoCountReply, GetTypeInfoRequest, InterfaceReply,
    InvokeReply, InvokeRequest, Variant,
};

use super::{Descent, Read};

const GET_TYPE_INFO_COUNT: u16 = 3;
const GET_TYPE_INFO: u16 = 4;
const GET_IDS_OF_NAMES: u16 = 5;
const INVOKE: u16 = 6;

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
    }
    if let Some(reply) = call.response(GetIdsOfNamesReply::parse) {
        let named = reply.dispids.iter().zip(&call.dcom.arguments);
        call.names = named.map(|(dispid, name)| (dispid.0.into(), name.clone())).collect();
        let dispids: Vec<_> = reply.dispids.iter().map(|dispid| dispid.0.to_string()).collect();
        call.dcom.result = (!dispids.is_empty()).then(|| dispids.join(" "));
        call.result(reply.hresult);
    }
}

fn invoke(call: &mut Read<'_>) {
    if let Some(request) = call.request(InvokeRequest::parse) {
        call.dcom.causality = Some(request.orpc_this.causality);
        call.dcom.dispid = Some(request.member.0.into());
        call.dcom.method = Some(method(call, request.member));
        call.dcom.arguments = request
            .arguments
            .iter()
            .map(|argument| argument.value.to_text())
            .collect();
        let runs = call.dcom.method.as_ref().and_then(|method| call.catalog.method(method));
        call.dcom.command_line = runs.and_then(|method| method.command_line(&call.dcom.arguments));
        if let (Some(error), Some(message)) = (&request.broken, call.exchange.request.as_ref()) {
            call.odd.push(super::unreadable(message, error));
        }
    }
    if let Some(reply) = call.response(InvokeReply::parse) {
        set_invoke_reply(call, &reply);
    }
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

/// By the name that the client was told, that the class gives the number, or that the specification gives it.
fn method(call: &Read<'_>, member: Dispid) -> Cow<'static, str> {
    let dispid = i64::from(member.0);
    let object = call.object;
    let told = object.and_then(|object| object.member(dispid));
    let class = object
        .and_then(|object| object.lineage.as_ref())
        .and_then(|lineage| call.catalog.class(lineage.clsid));
    if let Some(name) = told.or_else(|| class?.member(dispid)) {
        return name.to_owned().into();
    }
    match member.name() {
        Some(name) => name.into(),
        None => format!("[dispid {:#x}]", member.0.cast_unsigned()).into(),
    }
}
