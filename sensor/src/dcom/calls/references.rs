//! Bookkeeping: which interfaces an object has, who holds it, what its type is.

use dcom_parsers::dcom::{
    OrpcThis, RemAddRefReply, RemInterfaceRef, RemQueryInterface2Reply, RemQueryInterfaceReply,
    RemQueryInterfaceRequest, RemReferencesRequest, RemReleaseReply,
};
use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;
use dcom_parsers::ndr::Reader;
use dcom_parsers::oaut::{
    CreateInstanceRequest, EnumNextReply, EnumNextRequest, GetDocumentationReply, GetDocumentationRequest,
    GetFuncDescReply, GetFuncDescRequest, GetNamesReply, GetNamesRequest, GetTypeAttrReply, InterfacePointer,
    InterfaceReply,
};

use super::super::exchange::{FAILURE, response, set_refused};
use super::super::exporters::ToldBy;
use super::{Descent, Effect, Read};
use crate::event::dcom::NamedGuid;
use crate::rpc::Message;

/// References that are looked for in one answer.
const MAX_UNREAD: usize = 64;
/// `ITypeInfo::CreateInstance`: makes an object of whatever class the type information is of.
const CREATE_INSTANCE_OF_TYPE: u16 = 16;

/// `IClassFactory2::RemoteCreateInstanceLic`: the interface wanted, a licence, and what `CreateInstance` answers (Windows SDK,
/// ocidl.idl).
const CREATE_INSTANCE_LIC: u16 = 7;

/// [MS-OAUT] 3.11.4.4 `ITypeLib::GetTypeInfoOfGuid` (Opnum 6): the type information of the class or interface with this GUID.
const GET_TYPE_INFO_OF_GUID: u16 = 6;

/// [MS-DCOM] 3.1.1.5.6.1 `IRemUnknown` Methods: opnums.
pub(super) const REM_QUERY_INTERFACE: u16 = 3;
pub(super) const REM_ADD_REF: u16 = 4;
pub(super) const REM_RELEASE: u16 = 5;

/// True when the call says what was done: only where it makes an object out of type information.
pub(super) fn read(call: &mut Read<'_>, interface: Guid, opnum: u16) -> bool {
    match (interface, opnum) {
        (known::IREM_UNKNOWN | known::IREM_UNKNOWN2, 3) => query_interface(call),
        (known::IREM_UNKNOWN | known::IREM_UNKNOWN2, 4 | 5) => count_references(call, opnum),
        (known::IREM_UNKNOWN2, 6) => query_interface_2(call),
        (known::ICLASS_FACTORY | known::ICLASS_FACTORY2, 3)
        | (known::ITYPE_INFO | known::ITYPE_INFO2, CREATE_INSTANCE_OF_TYPE) => {
            create_instance(call);
        }
        (known::ICLASS_FACTORY2, CREATE_INSTANCE_LIC) => create_licensed_instance(call),
        (known::IPROVIDE_CLASS_INFO, 3) => {
            call.request(OrpcThis::parse);
            interface_reply(call, Descent::Aside);
        }
        (known::IENUM_VARIANT, 3) => enumerate(call),
        (known::ITYPE_INFO | known::ITYPE_INFO2, _) => type_info(call, opnum),
        (known::ITYPE_LIB, GET_TYPE_INFO_OF_GUID) => type_info_of(call),
        (known::ITYPE_LIB, _) => unread(call),
        _ => {}
    }
    is_of_interest(interface, opnum)
}

/// Does the call say what was done? Only where it makes an object out of type information.
pub(super) fn is_of_interest(interface: Guid, opnum: u16) -> bool {
    matches!(
        (interface, opnum),
        (known::ITYPE_INFO | known::ITYPE_INFO2, CREATE_INSTANCE_OF_TYPE)
    )
}

fn query_interface(call: &mut Read<'_>) {
    let Some(request) = call.request(RemQueryInterfaceRequest::parse) else {
        return;
    };
    say_query(call, &request);
    let Some(reply) = call.response(RemQueryInterfaceReply::parse) else {
        return;
    };
    let mut refused = Vec::new();
    for (iid, result) in request.iids.iter().copied().zip(&reply.results) {
        if result.hresult & FAILURE != 0 {
            refused.push((iid.0, result.hresult));
        }
        // [MS-DCOM] 2.2.24 REMQIRESULT: of what failed, the reference means nothing.
        if result.hresult & FAILURE == 0 && !result.std.ipid.0.is_null() {
            call.references.push((result.std, iid, Descent::Of(request.ipid)));
            call.shows(result.std.ipid);
            call.dcom.oxid = Some(result.std.oxid);
        }
    }
    if call.shown {
        set_refused(call.dcom, &refused);
    }
    call.result(reply.hresult);
}

fn say_query(call: &mut Read<'_>, request: &RemQueryInterfaceRequest) {
    call.is_about(request.ipid);
    if call.shown {
        call.dcom.arguments = vec![request.ipid.to_string()];
        call.dcom.iids = request.iids.iter().map(|iid| NamedGuid::of(iid.0)).collect();
    }
}

fn query_interface_2(call: &mut Read<'_>) {
    let Some(request) = call.request(RemQueryInterfaceRequest::parse_2) else {
        return;
    };
    say_query(call, &request);
    let Some(reply) = call.response(RemQueryInterface2Reply::parse) else {
        return;
    };
    let found = reply.results.into_iter().filter(|result| result.hresult & FAILURE == 0);
    for outline in found.filter_map(|result| result.objref) {
        if let Some(std) = outline.std {
            call.references.push((std, outline.iid, Descent::Of(request.ipid)));
            call.shows(std.ipid);
            call.dcom.oxid = Some(std.oxid);
        }
    }
    call.result(reply.hresult);
}

fn count_references(call: &mut Read<'_>, opnum: u16) {
    if let Some(request) = call.request(RemReferencesRequest::parse) {
        for reference in &request.references {
            call.is_about(reference.ipid);
        }
        if call.shown {
            let ipids = request.references.iter().map(|reference| reference.ipid.to_string());
            call.dcom.arguments = ipids.collect();
        }
        let effect: fn(RemInterfaceRef) -> Effect = if opnum == REM_ADD_REF {
            Effect::AddRef
        } else {
            Effect::Release
        };
        call.effects.extend(request.references.into_iter().map(effect));
    }
    let hresult = if opnum == REM_ADD_REF {
        call.response(RemAddRefReply::parse).map(|reply| reply.hresult)
    } else {
        call.response(RemReleaseReply::parse).map(|reply| reply.hresult)
    };
    if let Some(hresult) = hresult {
        call.result(hresult);
    }
}

fn create_instance(call: &mut Read<'_>) {
    if let Some(request) = call.request(CreateInstanceRequest::parse)
        && call.shown
    {
        call.dcom.iids = vec![NamedGuid::of(request.iid.0)];
    }
    interface_reply(call, Descent::Same);
}

fn create_licensed_instance(call: &mut Read<'_>) {
    let request = |reader: &mut Reader<'_>| {
        OrpcThis::parse(reader)?;
        reader.guid()
    };
    if let Some(iid) = call.request(request) {
        call.dcom.iids = vec![NamedGuid::of(iid)];
    }
    interface_reply(call, Descent::Same);
}

fn interface_reply(call: &mut Read<'_>, descent: Descent) {
    if let Some(reply) = call.response(InterfaceReply::parse) {
        call.hand_out(reply.interface, descent);
        call.result(reply.hresult);
    }
}

fn type_info_of(call: &mut Read<'_>) {
    let request = |reader: &mut Reader<'_>| {
        OrpcThis::parse(reader)?;
        reader.guid()
    };
    if let Some(guid) = call.request(request) {
        call.member = Some(format!("{}(\"{guid}\")", call.dcom.operation));
    }
    unread(call);
}

/// What a call hands out whose answer nobody reads here: the objects that it refers to, as members of the one that is called.
pub(super) fn unread(call: &mut Read<'_>) {
    let stub = response(call.exchange).and_then(Message::readable);
    let Some((stub, order)) = stub else { return };
    for pointer in InterfacePointer::all_in(stub, order).take(MAX_UNREAD) {
        if call.member.is_none() {
            let name = call.dcom.operation.as_ref();
            // A property is called by its name.
            call.member = Some(name.strip_prefix("get_").unwrap_or(name).to_owned());
        }
        call.hand_out(Some(pointer), Descent::Member);
    }
}

fn enumerate(call: &mut Read<'_>) {
    if let Some(request) = call.request(EnumNextRequest::parse)
        && call.shown
    {
        call.dcom.arguments = vec![request.count.to_string()];
    }
    if let Some(reply) = call.response(EnumNextReply::parse) {
        for element in &reply.elements {
            call.hand_out(element.target().interface(), Descent::Same);
        }
        if call.shown {
            let elements: Vec<_> = reply.elements.iter().map(ToString::to_string).collect();
            call.dcom.result = (!elements.is_empty()).then(|| elements.join(", "));
        }
        call.result(reply.hresult);
    }
}

fn type_info(call: &mut Read<'_>, opnum: u16) {
    match opnum {
        3 => {
            call.request(OrpcThis::parse);
            if let Some(reply) = call.response(GetTypeAttrReply::parse) {
                let attributes = reply.attributes.filter(|_| call.shown);
                call.dcom.result = attributes.map(|attributes| attributes.guid.to_string());
                call.result(reply.hresult);
            }
        }
        5 => {
            if let Some(request) = call.request(GetFuncDescRequest::parse) {
                call.dcom.arguments = vec![request.index.to_string()];
            }
            if let Some(reply) = call.response(GetFuncDescReply::parse) {
                call.dcom.result = reply.function.map(|function| function.member.0.to_string());
                call.result(reply.hresult);
            }
        }
        7 => {
            if let Some(request) = call.request(GetNamesRequest::parse) {
                call.dcom.dispid = Some(request.member.0.into());
            }
            if let Some(reply) = call.response(GetNamesReply::parse) {
                let names: Vec<_> = reply.names.iter().map(|name| name.to_text()).collect();
                // The member's own name comes first, those of its parameters follow.
                if let (Some(dispid), Some(name)) = (call.dcom.dispid, names.first()) {
                    call.name(dispid, name.clone(), ToldBy::TypeInfo);
                }
                call.dcom.result = (!names.is_empty()).then(|| names.join(" "));
                call.result(reply.hresult);
            }
        }
        12 => {
            if let Some(request) = call.request(GetDocumentationRequest::parse) {
                call.dcom.dispid = Some(request.member.0.into());
            }
            if let Some(reply) = call.response(GetDocumentationReply::parse) {
                call.dcom.result = Some(reply.name.to_text()).filter(|name| !name.is_empty());
                if let (Some(dispid), Some(name)) = (call.dcom.dispid, call.dcom.result.clone()) {
                    call.name(dispid, name, ToldBy::TypeInfo);
                }
                call.result(reply.hresult);
            }
        }
        _ => unread(call),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dcom_parsers::dcom::StdObjref;
    use dcom_parsers::guid::{Clsid, Iid, Ipid, Oxid};

    use super::super::super::exporters::{Lineage, Pair, Told};
    use super::super::super::rig::{Bytes, OBJECT, Rig, exchange};
    use super::*;
    use crate::capture::At;
    use crate::event::dcom::{ActivationRecord, Proof};
    use crate::rpc::Reply;
    use crate::time::Timestamp;

    const FOUND: Ipid = Ipid(Guid::com(0xbbb1));
    const NOT_FOUND: Ipid = Ipid(Guid::com(0xbbb2));

    /// [MS-DCOM] 2.2.18.1 STDOBJREF.
    fn std(bytes: Bytes, ipid: Ipid) -> Bytes {
        bytes.words(&[0, 5, 7, 0, 9, 0]).guid(ipid.0)
    }

    #[test]
    fn of_interfaces_that_an_object_lacks_no_reference_is_learnt() {
        let mut rig = Rig::new().reached("MMC20.Application", "MMC20.Application");
        let asked = Bytes::request()
            .guid(OBJECT.0)
            .words(&[5])
            .with([2, 0, 0, 0])
            .words(&[2]);
        let asked = asked.guid(Guid::com(1)).guid(known::IDISPATCH);
        let answer = Bytes::reply().words(&[0x2_0000, 2, 0x8000_4002, 0]);
        let answer = std(std(answer, NOT_FOUND).words(&[0, 0]), FOUND).words(&[1]);
        let dcom = rig.call(known::IREM_UNKNOWN, 3, asked.into(), Some(answer.0));
        assert_eq!(dcom.ipids, [FOUND]);
        assert_eq!(
            dcom.object_path.as_deref(),
            Some("MMC20.Application"),
            "what is asked about"
        );
        assert!(
            dcom.because[0].ends_with("(E_NOINTERFACE 0x80004002)"),
            "{:?}",
            dcom.because
        );
        assert_eq!(rig.exporters.find(Rig::pair(), NOT_FOUND), None);
        let found = rig.exporters.find(Rig::pair(), FOUND).unwrap();
        assert_eq!(found.lineage.as_ref().unwrap().path, "MMC20.Application");
    }

    #[test]
    fn of_an_object_that_nobody_saw_come_only_what_a_class_object_makes_is_of_the_class() {
        const UNSEEN: Ipid = Ipid(Guid::com(0xbbb4));
        let mut rig = Rig::new();
        let lineage = Lineage {
            clsid: Some(Clsid(Guid::com(5))),
            path: "Excel.Application".to_owned(),
            activation: Some(ActivationRecord::default()),
            ..Lineage::unseen()
        };
        rig.exporters.activated(Rig::pair(), Oxid(7), &Arc::new(lineage));
        let asked = Bytes::request().guid(UNSEEN.0).words(&[5]).with([1, 0, 0, 0]);
        let asked = asked.words(&[1]).guid(known::IDISPATCH);
        let answer = std(Bytes::reply().words(&[0x2_0000, 1, 0, 0]), FOUND).words(&[0]);
        rig.call(known::IREM_UNKNOWN, 3, asked.into(), Some(answer.0));
        let found = rig.exporters.find(Rig::pair(), FOUND).unwrap();
        let lineage = found.lineage.as_ref().unwrap();
        assert_eq!((lineage.path.as_str(), lineage.clsid), ("?", None));
        assert_eq!(lineage.activation.as_ref().unwrap().proof, Proof::Weak);
        let asked = Bytes::request().guid(known::IDISPATCH);
        rig.call_on(UNSEEN, known::ICLASS_FACTORY, 3, asked.into(), Some(made().0));
        let found = rig.exporters.find(Rig::pair(), FOUND).unwrap();
        assert_eq!(found.lineage.as_ref().unwrap().clsid, Some(Clsid(Guid::com(5))));
    }

    /// What `CreateInstance` answers.
    fn made() -> Bytes {
        made_by(known::IDISPATCH)
    }

    /// The same of another interface.
    fn made_by(interface: Guid) -> Bytes {
        let objref = std(Bytes::default().with("MEOW").words(&[1]).guid(interface), FOUND);
        let objref = objref.with([2, 0, 1, 0, 0, 0, 0, 0]).0;
        let length = u32::try_from(objref.len()).unwrap();
        Bytes::reply()
            .words(&[0x2_0000, length, length])
            .with(objref)
            .align(4)
            .words(&[0])
    }

    #[test]
    fn what_a_call_hands_out_that_nobody_reads_is_a_member_of_what_was_called() {
        let mut rig = Rig::new().reached("MMC20.Application", "MMC20.Application");
        let other = Guid::com(0x77);
        let application = Guid::parse("a3afb9cc-b653-4741-86ab-f0470ec1384c").unwrap();
        for (interface, opnum, path) in [
            (other, 7, "MMC20.Application.unknown-7"),
            (application, 9, "MMC20.Application.Document"),
        ] {
            let answer = made_by(other);
            rig.call(interface, opnum, Bytes::request().into(), Some(answer.0));
            let found = rig.exporters.find(Rig::pair(), FOUND).unwrap();
            assert_eq!(found.iid, Iid(other));
            assert_eq!(found.lineage.as_ref().unwrap().path, path);
            rig.exporters.clear();
            rig = rig.reached("MMC20.Application", "MMC20.Application");
        }
        let text = Bytes::reply().with("no OBJREF: MEOW").align(4).words(&[0]);
        rig.call(other, 7, Bytes::request().into(), Some(text.0));
        assert_eq!(rig.exporters.find(Rig::pair(), FOUND), None);
    }

    #[test]
    fn what_led_to_an_object_that_is_tied_weakly_is_why() {
        let mut rig = Rig::new();
        let lineage = Lineage {
            activation: Some(ActivationRecord::default()),
            ..Lineage::unseen()
        };
        let told = Told {
            lineage: Some(Arc::new(lineage)),
            ..Told::interface(OBJECT, Iid(known::IDISPATCH), 1)
        };
        let client = std::net::IpAddr::from([192, 0, 2, 77]);
        rig.exporters.learn(Pair { client, ..Rig::pair() }, told);
        let answer = made_by(known::IDISPATCH);
        let mut call = |object, answer| {
            let call = rig.call_on(
                object,
                known::IDISPATCH,
                4,
                Bytes::request().words(&[0, 0]).into(),
                answer,
            );
            assert_eq!(call.activation.as_ref().unwrap().proof, Proof::Weak);
            call.because.last().unwrap().to_string()
        };
        assert!(call(OBJECT, Some(answer.0)).starts_with("the object was handed to another address"));
        assert!(call(FOUND, None).starts_with("what led to the object was handed to another address"));
    }

    #[test]
    fn type_libraries_lead_from_one_type_to_another() {
        let mut rig = Rig::new().reached("WaaSRemediation", "WaaSRemediation.GetTypeInfo()");
        let mut object = OBJECT;
        for (interface, opnum, asked, given, path) in [
            (
                known::ITYPE_INFO,
                18,
                Bytes::request(),
                known::ITYPE_LIB,
                ".GetContainingTypeLib",
            ),
            (
                known::ITYPE_LIB,
                6,
                Bytes::request().guid(known::IDISPATCH),
                known::ITYPE_INFO,
                ".GetContainingTypeLib.GetTypeInfoOfGuid(\"00020400-0000-0000-c000-000000000046\")",
            ),
        ] {
            rig.call_on(object, interface, opnum, asked.into(), Some(made_by(given).0));
            object = FOUND;
            let found = rig.exporters.find(Rig::pair(), FOUND).unwrap();
            let path = format!("WaaSRemediation.GetTypeInfo(){path}");
            assert_eq!((found.iid, &found.lineage.as_ref().unwrap().path), (Iid(given), &path));
        }
        assert!(rig.odd.is_empty(), "{:?}", rig.odd);
    }

    #[test]
    fn a_release_that_the_server_refuses_releases_nothing() {
        let faulted = || Reply::Fault {
            at: At::default(),
            status: 0x8001_0108,
        };
        let answered = |hresult| {
            let answer = Bytes::reply().words(&[hresult]).0;
            exchange(None, REM_RELEASE, Bytes::default().into(), Some(answer)).reply
        };
        for (reply, is_released) in [
            (faulted(), false),
            (answered(0x8007_0057), false),
            (answered(0), true),
            (Reply::Unanswered, true),
        ] {
            let mut rig = Rig::new();
            let reference = StdObjref {
                public_refs: 5,
                ipid: FOUND,
                ..StdObjref::default()
            };
            let told = Told {
                reference: Some(reference),
                ..Told::interface(FOUND, Iid(known::IDISPATCH), 1)
            };
            rig.exporters.learn(Rig::pair(), told);
            let asked = Bytes::request().words(&[1, 1]).guid(FOUND.0).words(&[255, 0]);
            let mut call = exchange(Some(known::IREM_UNKNOWN), REM_RELEASE, asked.into(), None);
            (call.object, call.reply) = (Some(OBJECT.0), reply);
            let dcom = rig.read(&call).unwrap().dcom;
            assert_eq!(dcom.arguments, [FOUND.to_string()]);
            rig.exporters.advance(Timestamp(61_000_000_000));
            let found = rig.exporters.find(Rig::pair(), FOUND);
            assert_eq!(found.is_none(), is_released, "{:?}", call.reply);
        }
    }

    #[test]
    fn an_object_made_with_a_licence_is_of_its_class() {
        let mut rig = Rig::new().reached("MMC20.Application", "MMC20.Application");
        let asked = Bytes::request().guid(known::IDISPATCH).bstr("LICENCE");
        let dcom = rig.call(known::ICLASS_FACTORY2, 7, asked.into(), Some(made().0));
        assert_eq!(dcom.iids[0].uuid, known::IDISPATCH);
        let made = rig.exporters.find(Rig::pair(), FOUND).unwrap();
        assert_eq!(made.lineage.as_ref().unwrap().path, "MMC20.Application");
        assert!(rig.odd.is_empty(), "{:?}", rig.odd);
    }

    #[test]
    fn type_information_of_either_version_names_members_and_makes_objects() {
        const INFORMATION: Ipid = Ipid(Guid::com(0xbbb3));
        for interface in [known::ITYPE_INFO, known::ITYPE_INFO2] {
            let mut rig = Rig::new().reached("Excel.Application", "Excel.Application");
            let mut about = Told::interface(INFORMATION, Iid(known::ITYPE_INFO), 1);
            about.describes = Some(OBJECT);
            rig.exporters.learn(Rig::pair(), about);
            // The one is asked for the other.
            let asked = Bytes::request()
                .guid(INFORMATION.0)
                .words(&[5])
                .with([1, 0, 0, 0])
                .words(&[1]);
            let answer = std(Bytes::reply().words(&[0x2_0000, 1, 0, 0]), FOUND).words(&[0]);
            rig.call(known::IREM_UNKNOWN, 3, asked.guid(interface).into(), Some(answer.0));
            let asked = Bytes::request().words(&[77, 1]);
            let named = Bytes::reply().bstr("RegisterXLL").words(&[0, 0, 0, 0]);
            rig.call_on(FOUND, interface, 12, asked.into(), Some(named.0));
            let object = rig.exporters.find(Rig::pair(), OBJECT).unwrap();
            assert_eq!(
                object.member(77).map(|(name, _)| name),
                Some("RegisterXLL"),
                "{interface}"
            );
            let asked = Bytes::request().guid(known::IUNKNOWN);
            let made = rig.call_on(FOUND, interface, CREATE_INSTANCE_OF_TYPE, asked.into(), None);
            assert_eq!(made.iids[0].uuid, known::IUNKNOWN);
            assert!(is_of_interest(interface, CREATE_INSTANCE_OF_TYPE));
        }
    }
}
