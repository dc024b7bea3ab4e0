//! Which interface a call is of, and how it is read.

use dcom_parsers::dcom::{RemQueryInterfaceReply, RemQueryInterfaceRequest, RemReferencesRequest};
use dcom_parsers::error::Result;
use dcom_parsers::guid::{Guid, Ipid};
use dcom_parsers::names::{self, known};
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::oaut::{GetIdsOfNamesReply, GetIdsOfNamesRequest, InvokeRequest};

use super::{GET_IDS_OF_NAMES, INVOKE, management, references};
use crate::dcom::exchange::{parse_sound, response};
use crate::dcom::exporters::Known;
use crate::rpc::{Exchange, Message};

/// What sort of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// `IDispatch`, or the first operations of an interface derived from it.
    Dispatch,
    /// Counting and passing on of references, type information.
    References,
    /// WMI, the task scheduler, the service manager.
    Management,
    /// Pings, remote management.
    Services,
    /// Another call on an object.
    Other,
}

/// How it is known which interface is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Its context is bound to it.
    Context,
    /// A reply handed out the object, in this frame.
    Object(u64),
    /// The stub proves it.
    Stub,
}

/// Some clients bind once, and call all objects in that context: the interface that is called where it is another one
/// than the context's.
pub(super) fn other_than(context: Guid, exchange: &Exchange, opnum: u16, object: Option<&Known>) -> Option<(Guid, By)> {
    let ipid = exchange.object.map(Ipid)?;
    if let Some(known) = object.filter(|known| known.certain) {
        let iid = known.iid.0;
        // One may derive from the other. Nobody calls the methods of IUnknown.
        let operation = |interface| names::operation(interface, opnum);
        let same = iid == context
            || match operation(iid) {
                Some(name) => operation(context) == Some(name),
                None => sort(context, opnum, Some(ipid)) == Some(Sort::Dispatch),
            };
        return (!same && iid != known::IUNKNOWN).then_some((iid, By::Object(known.frame)));
    }
    let sort = sort(context, opnum, Some(ipid));
    if !matches!(sort, Some(Sort::Dispatch | Sort::References | Sort::Management)) {
        return None;
    }
    let is_rem_unknown = matches!(context, known::IREM_UNKNOWN | known::IREM_UNKNOWN2);
    if !is_rem_unknown && looks_like_rem_unknown(exchange) {
        return Some((known::IREM_UNKNOWN, By::Stub));
    }
    let is_dispatch = sort != Some(Sort::Dispatch) && looks_like_dispatch(exchange);
    is_dispatch.then_some((known::IDISPATCH, By::Stub))
}

pub(super) fn sort(interface: Guid, opnum: u16, ipid: Option<Ipid>) -> Option<Sort> {
    match interface {
        known::IDISPATCH => Some(Sort::Dispatch),
        known::IREM_UNKNOWN
        | known::IREM_UNKNOWN2
        | known::ICLASS_FACTORY
        | known::ICLASS_FACTORY2
        | known::ITYPE_INFO
        | known::ITYPE_INFO2
        | known::ITYPE_LIB
        | known::IENUM_VARIANT
        | known::IPROVIDE_CLASS_INFO => Some(Sort::References),
        known::IOBJECT_EXPORTER | known::MGMT => Some(Sort::Services),
        _ if management::is_read(interface) => Some(Sort::Management),
        // A dual interface starts with the four operations of IDispatch.
        _ if ipid.is_some() && (3..=6).contains(&opnum) && is_dual(interface) => Some(Sort::Dispatch),
        _ => ipid.map(|_| Sort::Other),
    }
}

/// Of an interface that nobody reads: may it be an object that is called? RPC of other kinds names objects too, as PROFINET does.
/// An `ORPCTHIS` of version 5 is the first argument of every object call, and the three operations of `IUnknown` stay at home.
pub(super) fn may_be_object_call(exchange: &Exchange, opnum: u16) -> bool {
    let stub = exchange.request.as_ref().and_then(Message::readable);
    opnum > 2
        && stub.is_none_or(|(stub, order)| {
            let encoding = exchange.encoding.unwrap_or(Encoding::Ndr20);
            Reader::new(stub, order, encoding, "stub").u16() == Ok(5)
        })
}

/// Does the interface derive from `IDispatch`, as far as names are known?
fn is_dual(interface: Guid) -> bool {
    names::operation(interface, 6) == Some("Invoke")
}

/// Of an interface whose operation of this number nobody knows: may it be one that derives from `IDispatch`?
pub(super) fn may_be_dispatch(interface: Guid, opnum: u16, ipid: Option<Ipid>) -> bool {
    ipid.is_some() && matches!(opnum, GET_IDS_OF_NAMES | INVOKE) && names::operation(interface, opnum).is_none()
}

/// Without an interface that says so: is this an `Invoke` to the last argument, or a `GetIDsOfNames` to the last byte or with
/// an answer to each name?
pub(super) fn looks_like_dispatch(exchange: &Exchange) -> bool {
    let whole = |reader: &mut Reader<'_>| match exchange.opnum {
        Some(INVOKE) => {
            let request = InvokeRequest::parse(reader)?;
            Ok(request.iid.0.is_null() && request.broken.is_none())
        }
        Some(GET_IDS_OF_NAMES) => {
            let request = GetIdsOfNamesRequest::parse(reader)?;
            let names = request.names.len();
            let numbered = |reply: &GetIdsOfNamesReply| reply.dispids.len() == names;
            let is_whole = reader.rest().is_empty() || is_answered(exchange, GetIdsOfNamesReply::parse, numbered);
            Ok(request.iid.0.is_null() && names > 0 && is_whole)
        }
        _ => Ok(false),
    };
    looks_like(exchange, whole)
}

/// The same: is this one of the first operations of `IRemUnknown`, about some interface, to the last byte or with an answer to
/// each?
pub(super) fn looks_like_rem_unknown(exchange: &Exchange) -> bool {
    let whole = |reader: &mut Reader<'_>| match exchange.opnum {
        Some(references::REM_QUERY_INTERFACE) => {
            let iids = RemQueryInterfaceRequest::parse(reader)?.iids.len();
            let told = |reply: &RemQueryInterfaceReply| reply.results.len() == iids;
            let is_whole = reader.rest().is_empty() || is_answered(exchange, RemQueryInterfaceReply::parse, told);
            Ok(iids > 0 && is_whole)
        }
        Some(references::REM_ADD_REF | references::REM_RELEASE) => {
            let references = RemReferencesRequest::parse(reader)?.references;
            Ok(!references.is_empty() && reader.rest().is_empty())
        }
        _ => Ok(false),
    };
    looks_like(exchange, whole)
}

/// Is it a request to an object, such as this reads?
fn looks_like<'a>(exchange: &'a Exchange, is_it: impl Fn(&mut Reader<'a>) -> Result<bool>) -> bool {
    let outcome = |message| parse_sound(message, exchange.encoding, is_it, |&fits| fits);
    exchange.object.is_some() && matches!(exchange.request.as_ref().and_then(outcome), Some(Ok((true, _))))
}

/// Is the answer what was asked for? A server passes over what is left behind the arguments.
fn is_answered<'a, T>(
    exchange: &'a Exchange,
    read: impl Fn(&mut Reader<'a>) -> Result<T>,
    fits: impl Fn(&T) -> bool,
) -> bool {
    let outcome = |message| parse_sound(message, exchange.encoding, read, &fits);
    response(exchange)
        .and_then(outcome)
        .is_some_and(|read| read.is_ok_and(|(reply, _)| fits(&reply)))
}

/// Is the stub of this operation, or of its answer, read here? Any that is called on an object may be one that the catalogue
/// lists.
pub(in crate::dcom) fn is_read(interface: Guid, opnum: u16, object: Option<Guid>) -> bool {
    object.is_some() || sort(interface, opnum, None).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dcom_parsers::guid::{Clsid, Iid};

    use super::*;
    use crate::dcom::exporters::{Lineage, Told};
    use crate::dcom::rig::{Bytes, OBJECT, Rig, exchange};
    use crate::event::dcom::{ActivationRecord, Evidence};
    use crate::rpc::Stub;

    /// An interface that no table knows.
    const UNKNOWN: Guid = Guid::com(0x0002_fff5);

    /// `GetIDsOfNames` of one name.
    fn question(name: &str) -> Bytes {
        let units: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let count = u32::try_from(units.len() / 2).unwrap();
        let name = Bytes::request().guid(Guid::NULL).words(&[1, 0x2_0000, count, 0, count]);
        name.with(units).align(4).words(&[1, 0x409])
    }

    /// `Invoke` of a method with one text.
    fn invocation(dispid: u32, text: &str) -> Bytes {
        invocation_with(dispid, &[text])
    }

    /// The same with some texts: the last comes first.
    fn invocation_with(dispid: u32, texts: &[&str]) -> Bytes {
        let head = Bytes::request().words(&[dispid]).guid(Guid::NULL).words(&[0x409, 1]);
        let count = u32::try_from(texts.len()).unwrap();
        let head = head.words(&[0x2_0000, 0, count, 0, count]);
        let head = head.words(&vec![0x7265_7355; texts.len()]);
        let arguments = texts
            .iter()
            .rev()
            .fold(head, |bytes, text| bytes.variant_referent(text));
        arguments.align(4).words(&[0, 0, 0])
    }

    #[test]
    fn a_dual_interface_that_nobody_knows_is_idispatch_where_the_stub_is() {
        let mut rig = Rig::new().reached("Excel.Application", "Excel.Application");
        let numbers = Bytes::reply().words(&[1, 30, 0]).0;
        let asked = rig.call(UNKNOWN, 5, question("RegisterXLL").into(), Some(numbers));
        assert_eq!(
            (asked.operation.as_ref(), &asked.arguments[..]),
            ("GetIDsOfNames", &["RegisterXLL".to_owned()][..])
        );
        let called = rig.call(UNKNOWN, 6, invocation(30, "c:\\x.xll").into(), None);
        assert_eq!(
            (called.operation.as_ref(), called.method.as_deref()),
            ("Invoke", Some("RegisterXLL"))
        );
        assert_eq!(called.command_line.as_deref(), Some("c:\\x.xll"));
        assert_eq!(called.interface.as_ref().unwrap().uuid, UNKNOWN, "as the bind says");
        assert!(called.because.iter().any(|because| because.contains("IDispatch")));
    }

    #[test]
    fn another_operation_of_that_number_stays_what_it_is() {
        let mut longer = question("RegisterXLL");
        longer.0.push(0);
        let mut shorter = invocation(30, "c:\\x.xll");
        shorter.0.pop();
        let mut for_an_interface = invocation(30, "c:\\x.xll");
        for_an_interface.0[36] = 1;
        for (opnum, stub) in [
            (5, longer),
            (5, Bytes::request().bstr("text")),
            (6, shorter),
            (6, for_an_interface),
        ] {
            let mut rig = Rig::new();
            let dcom = rig.call(UNKNOWN, opnum, stub.into(), None);
            assert_eq!(dcom.operation, format!("unknown-{opnum}"));
            assert_eq!((dcom.evidence, &rig.odd[..]), (Evidence::Header, &[][..]));
        }
        // IHxHelpPaneServer.Execute: its number has a name.
        let named = Guid::parse("8cec592c-07a1-11d9-b15e-000d56bfe6ee").unwrap();
        let dcom = Rig::new().call(named, 6, invocation(30, "x").into(), None);
        assert_eq!(dcom.operation, "Execute");
    }

    #[test]
    fn an_object_uuid_alone_makes_no_object_call() {
        let called = |mut rig: Rig, opnum, stub| {
            let mut exchange = exchange(Some(UNKNOWN), opnum, stub, None);
            exchange.object = Some(OBJECT.0);
            rig.read(&exchange).is_some()
        };
        let orpc = || Stub::from(Bytes::request());
        let other = || Stub::from(Bytes::default().words(&[1, 2, 3, 4, 5, 6, 7, 8]));
        for (opnum, stub, is_call) in [
            (3, orpc(), true),
            (3, Stub::Sealed, true),
            (3, Stub::Incomplete, true),
            (2, orpc(), false),
            (0, Stub::Sealed, false),
            (3, other(), false),
            (5, Bytes::default().into(), false),
        ] {
            assert_eq!(called(Rig::new(), opnum, stub.clone()), is_call, "{opnum}: {stub:?}");
            assert!(called(handed_out(UNKNOWN), opnum, stub), "a reply handed it out");
        }
    }

    #[test]
    fn what_is_left_behind_the_names_hides_no_question_that_was_answered() {
        for interface in [UNKNOWN, known::IREM_UNKNOWN2] {
            let mut rig = Rig::new();
            let numbers = Bytes::reply().words(&[1, 0x104, 0]).0;
            let asked = question("ExecuteLine").words(&[1]);
            let asked = rig.call(interface, 5, asked.into(), Some(numbers));
            assert_eq!(asked.operation, "GetIDsOfNames");
            let called = rig.call(interface, 6, invocation(0x104, "x").into(), None);
            assert_eq!(called.method.as_deref(), Some("ExecuteLine"));
        }
        let denied = Bytes::reply().words(&[0x8007_0005]).0;
        let asked = question("ExecuteLine").words(&[1]);
        let asked = Rig::new().call(UNKNOWN, 5, asked.into(), Some(denied));
        assert_eq!(asked.operation, "unknown-5");
    }

    #[test]
    fn without_a_bind_names_and_interfaces_are_asked_for_as_methods_are_called() {
        let mut rig = Rig::new();
        let mut call = |object: Ipid, opnum, stub: Bytes, answer: Option<Bytes>| {
            let mut exchange = exchange(None, opnum, stub.into(), answer.map(|answer| answer.0));
            exchange.object = Some(object.0);
            rig.read(&exchange)
                .map(|read| (read.dcom.operation.clone(), read.dcom.method.clone()))
        };
        // RemQueryInterface hands out another interface of it, and that is asked for a number.
        let found = Ipid(Guid::com(0xbbbb));
        let asked = Bytes::request()
            .guid(OBJECT.0)
            .words(&[1])
            .with([1, 0, 0, 0])
            .words(&[1]);
        let answer = Bytes::reply()
            .words(&[0x2_0000, 1, 0, 0, 0, 5, 7, 0, 9, 0])
            .guid(found.0)
            .words(&[0]);
        let asked = call(Ipid(Guid::com(0xa)), 3, asked.guid(known::IDISPATCH), Some(answer));
        assert_eq!(asked.unwrap().0, "RemQueryInterface");
        for object in [found, OBJECT] {
            let numbers = Bytes::reply().words(&[1, 77, 0]);
            let asked = call(object, 5, question("RegisterXLL"), Some(numbers));
            assert_eq!(asked.unwrap().0, "GetIDsOfNames");
            let called = call(object, 6, invocation(77, "c:\\x.xll"), None).unwrap();
            assert_eq!(called.1.as_deref(), Some("RegisterXLL"));
        }
        assert_eq!(call(Ipid(Guid::com(0xe)), 5, Bytes::request(), None), None);
    }

    const OTHER: Guid = Guid::com(0x77);
    /// `IWbemLevel1Login` is known, and has no operation of many a number.
    const LOGIN: Guid = dcom_parsers::wmi::IWBEM_LEVEL1_LOGIN;

    /// A reply handed out the object with this interface.
    fn handed_out(interface: Guid) -> Rig {
        let mut rig = Rig::new().reached("MMC20.Application", "MMC20.Application.Document.ActiveView");
        let told = Told::interface(OBJECT, Iid(interface), 7);
        rig.exporters.learn(Rig::pair(), told);
        rig
    }

    #[test]
    fn an_object_is_called_by_its_ipid_whatever_its_context_was_bound_to() {
        for context in [known::IREM_UNKNOWN2, known::IUNKNOWN, LOGIN, known::ICLASS_FACTORY] {
            let mut rig = handed_out(known::IDISPATCH);
            let numbers = Bytes::reply().words(&[1, 54, 0]).0;
            let asked = rig.call(context, 5, question("ExecuteShellCommand").into(), Some(numbers));
            assert_eq!(asked.operation, "GetIDsOfNames");
            let called = rig.call(context, 6, invocation(54, "cmd.exe").into(), None);
            assert_eq!(called.interface.as_ref().unwrap().uuid, known::IDISPATCH);
            assert_eq!(called.method.as_deref(), Some("ExecuteShellCommand"));
            assert_eq!(called.evidence, Evidence::Arguments);
            let because = &called.because[0];
            assert!(
                because.starts_with("interface told by its IPID, from frame 7; the context"),
                "{because}"
            );
            assert!(rig.odd.is_empty(), "{:?}", rig.odd);
        }
    }

    #[test]
    fn a_context_stands_where_the_call_is_none_of_the_objects_interface() {
        // The object is known by an interface that has no such operation, as one of which another derives.
        let mut rig = handed_out(known::IREM_UNKNOWN);
        let dcom = rig.call(known::IREM_UNKNOWN2, 6, Stub::Sealed, None);
        assert_eq!((dcom.operation.as_ref(), dcom.because.len()), ("RemQueryInterface2", 0));
        let mut rig = handed_out(known::IDISPATCH);
        let dual = Guid::parse("6efc2da2-b38c-457e-9abb-ed2d189b8c38").unwrap();
        let dcom = rig.call(dual, 33, Stub::Sealed, None);
        assert_eq!(
            (dcom.operation.as_ref(), dcom.because.len()),
            ("ExecuteShellCommand", 0)
        );
        let mut rig = handed_out(OTHER);
        let dcom = rig.call(known::IDISPATCH, 6, invocation(54, "cmd.exe").into(), None);
        assert_eq!((dcom.operation.as_ref(), dcom.because.len()), ("Invoke", 0));
        assert!(rig.odd.is_empty(), "{:?}", rig.odd);
    }

    #[test]
    fn what_a_context_told_alone_does_not_outweigh_another_context() {
        let mut rig = Rig::new();
        let first = rig.call(known::IENUM_VARIANT, 4, Bytes::request().words(&[1]).into(), None);
        assert_eq!(first.interface.as_ref().unwrap().uuid, known::IENUM_VARIANT);
        let second = rig.call(known::IDISPATCH, 6, invocation(54, "cmd.exe").into(), None);
        assert_eq!((second.operation.as_ref(), second.because.len()), ("Invoke", 0));
    }

    #[test]
    fn of_an_object_that_nobody_saw_handed_out_the_stub_tells_the_interface() {
        let mut rig = Rig::new();
        let asked = rig.call(known::IREM_UNKNOWN2, 5, question("Document").into(), None);
        assert_eq!(asked.operation, "GetIDsOfNames");
        assert!(asked.because[0].contains("the content of the stub; the context was bound to IRemUnknown2"));
        let called = rig.call(known::IREM_UNKNOWN2, 6, invocation(54, "cmd.exe").into(), None);
        assert!(
            called.because[0].starts_with("interface told by its IPID"),
            "{:?}",
            called.because
        );
        let ipid = Guid::com(0xb);
        let query = Bytes::request()
            .guid(ipid)
            .words(&[1])
            .with([1, 0, 0, 0])
            .words(&[1])
            .guid(OTHER);
        let release = Bytes::request()
            .with([1, 0, 0, 0])
            .words(&[1])
            .guid(ipid)
            .words(&[5, 0]);
        for (opnum, stub, operation) in [(3, query, "RemQueryInterface"), (5, release, "RemRelease")] {
            let mut rig = Rig::new();
            let dcom = rig.call(LOGIN, opnum, stub.clone().into(), None);
            assert_eq!((dcom.operation.as_ref(), &rig.odd[..]), (operation, &[][..]));
            let mut rig = Rig::new();
            rig.call(known::IREM_UNKNOWN, opnum, stub.words(&[0]).into(), None);
            assert!(rig.odd.is_empty(), "its own context: what follows is none of ours");
        }
    }

    #[test]
    fn a_number_alone_is_a_member_of_excel_where_the_object_is_known() {
        let called = |mut rig: Rig| rig.call(known::IDISPATCH, 6, invocation(30, "c:\\x.xll").into(), None);
        for path in ["Excel.Application", "Excel.Application.Workbooks.Add.Application"] {
            let dcom = called(Rig::new().reached("Excel.Application", path));
            assert_eq!(dcom.method.as_deref(), Some("RegisterXLL"), "{path}");
            assert_eq!(
                (dcom.command_line.as_deref(), dcom.evidence),
                (Some("c:\\x.xll"), Evidence::Arguments)
            );
        }
        for rig in [
            Rig::new(),
            Rig::new().reached("Lab.Inventory", "Lab.Inventory"),
            Rig::new().reached("Excel.Application", "Excel.Application.ActiveSheet.Shapes"),
        ] {
            let dcom = called(rig);
            assert_eq!((dcom.method.as_deref(), dcom.effect), (Some("[dispid 0x1e]"), None));
        }
    }

    #[test]
    fn the_application_of_a_class_that_nobody_lists_may_be_any() {
        let clsid = Clsid(Guid::com(5));
        let called = |members: &str| {
            let mut rig = Rig::new();
            let told = Told {
                lineage: Some(Arc::new(Lineage {
                    clsid: Some(clsid),
                    path: format!("{clsid}{members}"),
                    activation: Some(ActivationRecord::default()),
                    ..Lineage::unseen()
                })),
                ..Told::interface(OBJECT, Iid(known::IDISPATCH), 1)
            };
            rig.exporters.learn(Rig::pair(), told);
            let numbers = Bytes::reply().words(&[1, 30, 0]).0;
            rig.call(known::IDISPATCH, 5, question("Run").into(), Some(numbers));
            let call = rig.call(known::IDISPATCH, 6, invocation(30, "C:\\x.dotm!go").into(), None);
            (call.effect.is_some(), call.evidence)
        };
        for (members, runs) in [
            (".Application", true),
            (".Item(\"a.b\").application", true),
            ("", false),
            (".Application.Documents", false),
        ] {
            let evidence = if runs { Evidence::Inferred } else { Evidence::Arguments };
            assert_eq!(called(members), (runs, evidence), "{members}");
        }
    }

    #[test]
    fn numbers_that_are_those_of_the_class_that_was_activated_there_are_told_as_its() {
        let mut rig = Rig::new();
        let clsid = rig.catalog.find("MMC20.Application")[0].clsid;
        let mut called = |beside| {
            let lineage = Lineage {
                path: "?.[dispid 0x4].[dispid 0x6]".to_owned(),
                beside,
                ..Lineage::unseen()
            };
            let told = Told {
                lineage: Some(Arc::new(lineage)),
                ..Told::interface(OBJECT, Iid(known::IDISPATCH), 1)
            };
            rig.exporters.learn(Rig::pair(), told);
            let stub = invocation_with(54, &["cmd.exe", "", "/c whoami", "7"]);
            let call = rig.call(known::IDISPATCH, 6, stub.into(), None);
            assert_eq!(call.command_line.as_deref(), Some("cmd.exe /c whoami"));
            (call.clsid, call.object_path.clone().unwrap(), call.evidence)
        };
        let path = "MMC20.Application.Document.ActiveView".to_owned();
        assert_eq!(called(Some(clsid)), (Some(clsid), path, Evidence::Arguments));
        let (other, _, evidence) = called(Some(Clsid(Guid::com(5))));
        assert_eq!((other, evidence), (None, Evidence::Inferred));
    }

    #[test]
    fn a_number_of_an_object_that_nobody_saw_come_is_told_by_all_arguments_whatever_else_lives_there() {
        let called = |activation: Option<ActivationRecord>, dispid, texts: &[&str]| {
            let mut rig = Rig::new();
            let told = Told {
                lineage: Some(Arc::new(Lineage {
                    activation,
                    ..Lineage::unseen()
                })),
                ..Told::interface(OBJECT, Iid(known::IDISPATCH), 1)
            };
            rig.exporters.learn(Rig::pair(), told);
            let call = rig.call(known::IDISPATCH, 6, invocation_with(dispid, texts).into(), None);
            (call.method.clone().unwrap(), call.class.clone(), call.evidence)
        };
        for activation in [None, Some(ActivationRecord::default())] {
            let command = called(activation.clone(), 54, &["cmd.exe", "", "/c whoami", "7"]);
            assert_eq!(
                command,
                (
                    "ExecuteShellCommand".into(),
                    Some("MMC20.Application".to_owned()),
                    Evidence::Inferred
                )
            );
            let number = 0x6003_0001;
            let command = called(activation.clone(), number, &["cmd.exe", "/c whoami", "", "open", "0"]);
            assert_eq!(
                command,
                ("ShellExecute".into(), None, Evidence::Inferred),
                "one of two classes"
            );
            let less = called(activation.clone(), number, &["Sheet1"]);
            assert_eq!(less, ("[dispid 0x60030001]".into(), None, Evidence::Arguments));
            let library = called(activation, 30, &["Sheet1"]);
            assert_eq!(library, ("[dispid 0x1e]".into(), None, Evidence::Arguments));
        }
    }

    #[test]
    fn a_method_of_an_object_that_nobody_saw_come_is_graded_by_what_it_may_be() {
        let called = |mut rig: Rig, name: &str, text: &str| {
            let numbers = Bytes::reply().words(&[1, 30, 0]).0;
            rig.call(known::IDISPATCH, 5, question(name).into(), Some(numbers));
            rig.call(known::IDISPATCH, 6, invocation(30, text).into(), None)
        };
        let run = called(Rig::new(), "Run", "http://192.0.2.66/m.dotm!go");
        assert_eq!(
            (run.effect, run.evidence),
            (Some(crate::catalog::Effect::Execution), Evidence::Inferred)
        );
        assert_eq!(run.command_line.as_deref(), Some("http://192.0.2.66/m.dotm!go"));
        assert!(run.because[0].contains("Excel.Application or"), "{:?}", run.because);
        let sure = called(Rig::new(), "RegisterXLL", "c:\\x.xll");
        assert_eq!(sure.evidence, Evidence::Arguments);
        assert_eq!(called(Rig::new(), "Run", "").effect, None);
        assert_eq!(
            called(Rig::new(), "Open", "DSN=x").effect,
            None,
            "means too many things"
        );
        assert_eq!(
            called(Rig::new().reached("Lab.Inventory", "Lab.Inventory"), "Run", "x").effect,
            None
        );
        let part = Rig::new().reached("Lab.Inventory", "?.Document.ActivePage");
        assert_eq!(called(part, "Run", "C:\\update.exe").effect, None);
    }
}
