//! What must hold for any bytes at all: the functions that the fuzzers call, and that an ordinary test calls with the
//! corpus. Each asserts more than the absence of a panic: that no part is longer than the whole, that every byte of a PDU
//! is accounted for, that an error stands inside the input. In tests each parser is also held to memory and work that its
//! input pays for. Every public parser stands here: a test looks for them.

use crate::dcom::{
    ActivationReply, ActivationRequest, ComplexPingReply, ComplexPingRequest, Context, ErrorInfo, Objref, OrpcThat,
    OrpcThis, Reference, RemAddRefReply, RemQueryInterface2Reply, RemQueryInterfaceReply, RemQueryInterfaceRequest,
    RemReferencesRequest, RemReleaseReply, RemoteActivationReply, RemoteActivationRequest, ResolveOxidReply,
    ResolveOxidRequest, ServerAlive2Reply, ServerAliveReply, SimplePingReply, SimplePingRequest, UrlMoniker,
};
use crate::epm::{
    self, EptChangeRequest, EptInqObjectReply, EptLookupHandleFreeReply, EptLookupHandleFreeRequest, EptLookupReply,
    EptLookupRequest, EptMapReply, EptMapRequest, EptMgmtDeleteRequest, InqIfIdsReply, InqPrincNameReply,
    InqPrincNameRequest, InqStatsReply, InqStatsRequest, IsServerListeningReply, StopServerListeningReply, Tower,
};
use crate::error::Result;
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader, type_serialization_1, type_serialization_2};
use crate::oaut::{
    Bstr, CreateInstanceRequest, EnumNextReply, EnumNextRequest, GetDocumentationReply, GetDocumentationRequest,
    GetFuncDescReply, GetFuncDescRequest, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetNamesReply, GetNamesRequest,
    GetTypeAttrReply, GetTypeInfoCountReply, GetTypeInfoRequest, InterfacePointer, InterfaceReply, InvokeReply,
    InvokeRequest, Variant,
};
use crate::rpce::{
    Body, CommonHeader, DgHeader, DgPdu, Pdu, Prefix, Rts, VerificationTrailer, has_usual_representation, recognise,
    recognise_cut_datagram, recognise_datagram, recognise_next,
};
use crate::scmr::{
    self, ChangeServiceConfigRequest, CreateServiceRequest, OpenScManagerRequest, OpenServiceRequest,
    StartServiceRequest,
};
use crate::security::{self, AuthService, kdc, kerberos, mechanism_token, netlogon, ntlmssp, sealed::Sealed, spnego};
use crate::tsch::{self, RegisterTaskRequest, RunRequest};
use crate::wmi::{
    self, EstablishPositionRequest, ExecMethodRequest, NameRequest, Named, NtlmLoginRequest, Object, ObjectReply,
    PutRequest, QueryRequest, SetClientInfoRequest,
};

/// A check: takes any bytes, and panics when what must hold does not.
pub type Check = fn(&[u8]);

/// Every check by its name, which is that of its fuzz target.
pub const ALL: [(&str, Check); 10] = [
    ("activation", activation),
    ("connectionless", connectionless),
    ("dispatch", dispatch),
    ("management", management),
    ("ndr", ndr),
    ("objref", objref),
    ("pdu", pdu),
    ("security", security),
    ("smb", smb),
    ("tower", tower),
];

/// The four ways in which a stub can be written.
const WAYS: [(ByteOrder, Encoding); 4] = [
    (ByteOrder::Little, Encoding::Ndr20),
    (ByteOrder::Big, Encoding::Ndr20),
    (ByteOrder::Little, Encoding::Ndr64),
    (ByteOrder::Big, Encoding::Ndr64),
];

/// An error inside the input, or an answer.
pub(crate) fn placed<T>(bytes: &[u8], answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            assert!(!error.to_string().contains('\n'));
            None
        }
    }
}

/// What `read` gives. In tests it is counted what that takes, which the bytes have to pay for.
#[cfg(not(test))]
pub(crate) fn measured<T>(_: usize, read: impl FnOnce() -> T) -> T {
    read()
}

#[cfg(test)]
pub(crate) use tests::measured;

/// An error inside the input, or an answer, of what reads `bytes`.
fn entry<'a, T>(bytes: &'a [u8], parse: impl FnOnce(&'a [u8]) -> Result<T>) -> Option<T> {
    placed(bytes, measured(bytes.len(), || parse(bytes)))
}

/// Connection-oriented PDUs: every byte is header, body, padding or verifier.
///
/// # Panics
/// When it is not so.
pub fn pdu(bytes: &[u8]) {
    let next = recognise_next(bytes);
    if let Prefix::Header(header) = next {
        assert_eq!(CommonHeader::parse(bytes), Ok(header));
    }
    let anywhere = recognise(bytes);
    assert!(anywhere == next || (anywhere == Prefix::Foreign && !has_usual_representation(bytes)));
    let (before, trailer) = measured(bytes.len(), || VerificationTrailer::split(bytes));
    assert!(bytes.starts_with(before) && trailer.is_some() == (before.len() < bytes.len()));
    for order in [ByteOrder::Little, ByteOrder::Big] {
        entry(bytes, |bytes| Rts::parse(bytes, order));
    }
    let Some(pdu) = entry(bytes, Pdu::parse) else {
        return;
    };
    let _ = pdu.rts().map(|rts| placed(bytes, rts));
    for length in [bytes.len(), bytes.len().div_euclid(2)] {
        // A PDU whose end is lost.
        entry(bytes.get(..length).unwrap_or_default(), |part| {
            Body::parse(pdu.header, part)
        });
    }
    let verifier = pdu.verifier.map_or(0, |verifier| {
        assert!(verifier.auth_value.len() == usize::from(pdu.header.auth_length));
        8_usize
            .saturating_add(verifier.auth_value.len())
            .saturating_add(verifier.auth_pad_length.into())
    });
    let body = match &pdu.body {
        Body::Request(request) => {
            let object = if request.object.is_some() { 16 } else { 0 };
            request.stub.len().saturating_add(8).saturating_add(object)
        }
        Body::Response(response) => response.stub.len().saturating_add(8),
        Body::Bind(bind) | Body::AlterContext(bind) => {
            let syntaxes = bind.contexts.iter().map(|context| context.transfer_syntaxes.len());
            let least = syntaxes.fold(0_usize, usize::saturating_add).saturating_mul(20);
            assert!(least <= bytes.len());
            return;
        }
        _ => return,
    };
    assert_eq!(
        body.saturating_add(verifier).saturating_add(CommonHeader::LENGTH),
        bytes.len()
    );
}

/// Connectionless PDUs: every byte is header, body or verifier, and what is recognised can be read.
///
/// # Panics
/// When it is not so.
pub fn connectionless(bytes: &[u8]) {
    let recognised = recognise_datagram(bytes);
    if let Some(header) = recognised {
        assert_eq!(DgHeader::parse(bytes), Ok(header));
        let (head, cut) = bytes.split_at_checked(DgHeader::LENGTH).unwrap_or((bytes, &[]));
        assert_eq!(recognise_cut_datagram(head, cut.len()), recognised);
    }
    let Some(pdu) = entry(bytes, DgPdu::parse) else {
        return;
    };
    let whole = DgHeader::LENGTH
        .saturating_add(pdu.header.length.into())
        .saturating_add(pdu.verifier.len());
    assert_eq!(whole, bytes.len());
}

/// References, and what they carry.
///
/// # Panics
/// When a part is longer than the whole, or a reference is another one when its bindings are stepped over.
pub fn objref(bytes: &[u8]) {
    entry(bytes, Context::parse);
    entry(bytes, ErrorInfo::parse);
    entry(bytes, UrlMoniker::parse);
    let objref = entry(bytes, Objref::parse);
    let outline = |it: &Objref<'_>| (it.iid, it.std().copied(), it.clsid());
    let alone = entry(bytes, Objref::parse_reference);
    assert_eq!(alone.as_ref().map(outline), objref.as_ref().map(outline));
    let Some(objref) = objref else { return };
    match &objref.reference {
        Reference::Custom { data, .. } => assert!(bytes.ends_with(data)),
        Reference::Extended {
            element: Some(element), ..
        } => assert!(element.data.len() < bytes.len()),
        _ => {}
    }
    if let Some(resolver) = objref.resolver() {
        let units = resolver
            .string_bindings
            .iter()
            .map(|binding| binding.network_address.encode_utf16().count());
        assert!(units.fold(0_usize, usize::saturating_add).saturating_mul(2) <= bytes.len());
    }
}

/// Towers.
///
/// # Panics
/// When a part is longer than the whole.
pub fn tower(bytes: &[u8]) {
    let Some(tower) = entry(bytes, Tower::parse) else {
        return;
    };
    // A byte that is no UTF-8 becomes a replacement character of three bytes.
    let most = bytes.len().saturating_mul(3);
    for text in [&tower.named_pipe, &tower.local_port, &tower.netbios]
        .into_iter()
        .flatten()
    {
        assert!(text.len() <= most);
    }
}

/// Runs `parse` over `stub` in all four ways.
fn stub<'a, T>(stub: &'a [u8], parse: impl Fn(&mut Reader<'a>) -> Result<T>, check: impl Fn(&T)) {
    for (order, encoding) in WAYS {
        let mut reader = Reader::new(stub, order, encoding, "stub");
        measured(stub.len(), || {
            if let Some(answer) = placed(stub, parse(&mut reader)) {
                assert!(stub.ends_with(reader.rest()));
                check(&answer);
            }
        });
    }
}

/// The same for each of several that hold nothing to be counted.
macro_rules! plain {
    ($bytes:expr; $($parse:path),* $(,)?) => { $(stub($bytes, $parse, |_| ());)* };
}

/// The stubs of [MS-DCOM]: no list is longer than its bytes allow.
///
/// # Panics
/// When one is.
pub fn activation(bytes: &[u8]) {
    let fits = |count: usize, size: usize| assert!(count.saturating_mul(size) <= bytes.len());
    let request = |request: &ActivationRequest| {
        fits(request.instantiation.iids.len(), 16);
        let sizes = request.properties.header.properties.iter();
        let sizes = sizes.map(|&(_, size)| usize::try_from(size).unwrap_or(usize::MAX));
        fits(sizes.fold(0, usize::saturating_add), 1);
    };
    stub(bytes, ActivationRequest::parse_create_instance, request);
    stub(bytes, ActivationRequest::parse_get_class_object, request);
    stub(bytes, ActivationReply::parse, |reply| fits(reply.interfaces.len(), 20));
    stub(bytes, RemoteActivationRequest::parse, |request| {
        fits(request.iids.len(), 16);
    });
    stub(bytes, RemoteActivationReply::parse, |reply| {
        fits(reply.interfaces.len(), 4);
    });
    stub(bytes, ResolveOxidRequest::parse, |request| {
        fits(request.requested_protseqs.len(), 2);
    });
    plain! {
        bytes;
        ResolveOxidReply::parse,
        ResolveOxidReply::parse_2,
        ServerAlive2Reply::parse,
        ServerAliveReply::parse,
        SimplePingRequest::parse,
        SimplePingReply::parse,
        ComplexPingReply::parse,
        RemReleaseReply::parse,
    }
    stub(bytes, ComplexPingRequest::parse, |request| fits(request.added.len(), 8));
    stub(bytes, RemQueryInterfaceRequest::parse, |request| {
        fits(request.iids.len(), 16);
    });
    stub(bytes, RemQueryInterfaceRequest::parse_2, |request| {
        fits(request.iids.len(), 16);
    });
    stub(bytes, RemQueryInterfaceReply::parse, |reply| {
        fits(reply.results.len(), 44);
    });
    stub(bytes, RemQueryInterface2Reply::parse, |reply| {
        fits(reply.results.len(), 8);
    });
    stub(bytes, RemReferencesRequest::parse, |request| {
        fits(request.references.len(), 24);
    });
    stub(bytes, RemAddRefReply::parse, |reply| fits(reply.results.len(), 4));
    stub(bytes, OrpcThis::parse, |this| {
        this.extensions.iter().for_each(|extent| fits(extent.data.len(), 1));
    });
    stub(bytes, OrpcThat::parse, |that| drop(that.error_info()));
}

/// NDR's own parts and the endpoint mapper's stubs, which are lists of counted things.
///
/// # Panics
/// When a part is longer than the whole.
pub fn ndr(bytes: &[u8]) {
    let fits = |count: usize, size: usize| assert!(count.saturating_mul(size) <= bytes.len());
    stub(bytes, Reader::wide_string, |text| fits(text.encode_utf16().count(), 2));
    stub(bytes, Reader::string, |text| fits(text.chars().count(), 1));
    stub(
        bytes,
        |reader| reader.array("array", 4, usize::MAX, Reader::u32),
        |list| fits(list.len(), 4),
    );
    stub(bytes, |reader| reader.union_tag(8), |_| ());
    stub(bytes, EptMapReply::parse, |reply| fits(reply.towers.len(), 4));
    stub(bytes, EptLookupReply::parse, |reply| fits(reply.entries.len(), 28));
    stub(bytes, EptChangeRequest::parse_insert, |request| {
        fits(request.entries.len(), 28);
    });
    stub(bytes, InqIfIdsReply::parse, |reply| fits(reply.interfaces.len(), 20));
    stub(bytes, InqStatsReply::parse, |reply| fits(reply.statistics.len(), 4));
    stub(bytes, EptChangeRequest::parse_delete, |request| {
        fits(request.entries.len(), 28);
    });
    plain! {
        bytes;
        EptMapRequest::parse,
        EptLookupRequest::parse,
        EptMgmtDeleteRequest::parse,
        EptLookupHandleFreeRequest::parse,
        EptLookupHandleFreeReply::parse,
        EptInqObjectReply::parse,
        epm::parse_status,
        InqStatsRequest::parse,
        IsServerListeningReply::parse,
        StopServerListeningReply::parse,
        InqPrincNameRequest::parse,
        InqPrincNameReply::parse,
    }
    for serialized in [type_serialization_1, type_serialization_2] {
        if let Some(reader) = entry(bytes, |bytes| serialized(bytes, "type")) {
            fits(reader.rest().len(), 1);
        }
    }
}

/// Security tokens: no name is longer than its token.
///
/// # Panics
/// When one is.
pub fn security(bytes: &[u8]) {
    let most = bytes.len().saturating_mul(3);
    if entry(bytes, ntlmssp::Message::parse).is_some() {
        assert!(ntlmssp::Message::is_one(bytes) && !kerberos::Message::is_one(bytes));
    }
    entry(bytes, spnego::Token::parse);
    let _ = (security::is_kerberos_answer(bytes), security::is_last_word(bytes));
    entry(bytes, kerberos::Message::parse);
    entry(bytes, Sealed::parse);
    entry(bytes, kdc::Message::parse);
    entry(bytes, kdc::FastResponse::parse);
    measured(bytes.len(), || mechanism_token(bytes));
    entry(bytes, netlogon::NlAuthMessage::parse);
    let services = [
        AuthService::SPNEGO,
        AuthService::NTLM,
        AuthService::KERBEROS,
        AuthService::NETLOGON,
    ];
    for service in services {
        let Some(claims) = entry(bytes, |bytes| security::read(service, bytes)) else {
            continue;
        };
        for name in [
            claims.user,
            claims.domain,
            claims.workstation,
            claims.service,
            claims.realm,
        ] {
            assert!(name.is_none_or(|name| name.len() <= most));
        }
    }
}

/// SMB, with or without its session service: bytes are never taken from outside their message, and the start of one says
/// what all of it says.
///
/// # Panics
/// When it is not so.
pub fn smb(bytes: &[u8]) {
    crate::smb::checks::all(bytes);
}

/// Calls by number, their variants, and what answers them: a text is never much longer than what it was read from.
///
/// # Panics
/// When a part is longer than the whole.
pub fn dispatch(bytes: &[u8]) {
    let fits = |count: usize, size: usize| assert!(count.saturating_mul(size) <= bytes.len());
    // A sample of few bytes can hold many zeroes that print as numbers, each with its separator.
    let short = |text: &str| assert!(text.len() <= bytes.len().saturating_mul(64).saturating_add(1024));
    stub(bytes, GetIdsOfNamesRequest::parse, |request| {
        request.names.iter().for_each(|name| short(name));
    });
    stub(bytes, GetIdsOfNamesReply::parse, |reply| fits(reply.dispids.len(), 4));
    stub(bytes, InvokeRequest::parse, |request| {
        request
            .arguments
            .iter()
            .for_each(|argument| short(&argument.value.to_text()));
    });
    stub(bytes, InvokeReply::parse, |reply| short(&reply.result.to_text()));
    stub(bytes, EnumNextReply::parse, |reply| {
        reply.elements.iter().for_each(|element| short(&element.to_text()));
    });
    stub(bytes, Variant::parse, |value| short(&value.to_text()));
    stub(bytes, Bstr::parse, |text| short(&text.to_text()));
    stub(bytes, Bstr::parse_blob, |text| fits(text.bytes().len(), 1));
    plain! {
        bytes;
        GetTypeInfoCountReply::parse,
        GetTypeInfoRequest::parse,
        CreateInstanceRequest::parse,
        InterfacePointer::parse,
        EnumNextRequest::parse,
        GetTypeAttrReply::parse,
        GetFuncDescRequest::parse,
        GetFuncDescReply::parse,
        GetNamesRequest::parse,
        GetDocumentationRequest::parse,
        GetDocumentationReply::parse,
    }
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for pointer in InterfacePointer::all_in(bytes, order) {
            fits(pointer.bytes().len(), 1);
            let _ = pointer.objref();
        }
    }
    stub(bytes, GetNamesReply::parse, |reply| fits(reply.names.len(), 1));
    stub(bytes, InterfaceReply::parse, |reply| {
        if let Some(pointer) = reply.interface {
            fits(pointer.bytes().len(), 1);
        }
    });
}

/// WMI with its objects, tasks, services.
///
/// # Panics
/// When an argument is shown longer than it may be.
pub fn management(bytes: &[u8]) {
    type Asked = Option<Vec<(&'static str, String)>>;
    let shown = |arguments: &Asked| {
        let longest = crate::arguments::MAX_SHOWN.saturating_add(1);
        let texts = arguments.iter().flatten();
        texts.for_each(|(_, text)| assert!(text.chars().count() <= longest));
    };
    let interfaces = [
        wmi::IWBEM_LEVEL1_LOGIN,
        wmi::IWBEM_LOGIN_CLIENT_ID,
        wmi::IWBEM_LOGIN_CLIENT_ID_EX,
        wmi::IWBEM_SERVICES,
    ];
    for opnum in 3..26 {
        for interface in interfaces {
            let read = move |reader: &mut Reader<'_>| wmi::request_arguments(interface, opnum, reader).transpose();
            stub(bytes, read, shown);
        }
        stub(
            bytes,
            move |reader: &mut Reader<'_>| scmr::request_arguments(opnum, reader).transpose(),
            shown,
        );
    }
    for opnum in [1, 12] {
        stub(
            bytes,
            move |reader: &mut Reader<'_>| tsch::request_arguments(opnum, reader).transpose(),
            shown,
        );
    }
    for kind in [Named::Namespace, Named::ObjectPath, Named::Class, Named::Superclass] {
        stub(bytes, |reader| NameRequest::parse(kind, reader), |_| ());
    }
    stub(bytes, ObjectReply::parse, |reply| drop(reply.arguments()));
    plain! {
        bytes;
        EstablishPositionRequest::parse,
        NtlmLoginRequest::parse,
        SetClientInfoRequest::parse,
        SetClientInfoRequest::parse_ex,
        wmi::InterfaceReply::parse,
        wmi::InterfaceReply::parse_open_namespace,
        PutRequest::parse,
        QueryRequest::parse,
        ExecMethodRequest::parse,
        wmi::parse_status,
        RegisterTaskRequest::parse,
        RunRequest::parse,
        OpenScManagerRequest::parse,
        OpenScManagerRequest::parse_narrow,
        OpenServiceRequest::parse,
        OpenServiceRequest::parse_narrow,
        CreateServiceRequest::parse,
        CreateServiceRequest::parse_narrow,
        ChangeServiceConfigRequest::parse,
        ChangeServiceConfigRequest::parse_narrow,
        StartServiceRequest::parse,
    }
    entry(bytes, Object::parse);
    entry(bytes, Object::parse_block);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::LazyLock;

    use super::*;
    use crate::guid::Guid;
    use crate::input;
    use crate::rpce::{ContextElement, Ptype, SyntaxId};
    use crate::testing::Writer;

    /// Memory and work for each byte of input, and what an empty input may take.
    const MOST_BYTES: (usize, usize) = (128, 300_000);
    const MOST_READS: (usize, usize) = (8, 5_000);

    /// Counts the bytes that are allocated at a time, and the reads that are made: both grow with the input, never with
    /// what it claims, and never faster than it.
    pub(crate) fn measured<T>(length: usize, read: impl FnOnce() -> T) -> T {
        let before = input::reads();
        let mut answer = None;
        let memory = allocation_counter::measure(|| answer = Some(read()));
        let reads = input::reads() - before;
        let most = |(each, fixed): (usize, usize)| length * each + fixed;
        let bytes = usize::try_from(memory.bytes_max).unwrap();
        assert!(bytes <= most(MOST_BYTES), "{bytes} bytes allocated for {length}");
        let all = usize::try_from(memory.bytes_total).unwrap();
        assert!(all <= 8 * most(MOST_BYTES), "{all} bytes allocated in all for {length}");
        assert!(reads <= most(MOST_READS), "{reads} reads for {length} bytes");
        answer.unwrap()
    }

    /// Every file of the corpus, by its name.
    static CORPUS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let mut files = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "bin") {
                    files.push((path.display().to_string(), fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        assert!(files.len() > 40);
        files
    });

    fn all(bytes: &[u8]) {
        for (_, check) in ALL {
            check(bytes);
        }
    }

    /// Public functions that read bytes, as `Type::function` or `function`, out of the sources.
    fn parsers(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                parsers(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap_or_default();
            let source = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
            let mut of = "";
            for line in source.lines() {
                if let Some(rest) = line.strip_prefix("impl") {
                    let rest = rest.strip_prefix("<'a>").unwrap_or(rest).trim_start();
                    of = rest.split(['<', ' ', '{']).next().unwrap();
                    of = if rest.contains(" for ") { "" } else { of };
                } else if line.starts_with('}') {
                    of = "";
                }
                let Some((name, rest)) = line
                    .trim_start()
                    .strip_prefix("pub fn ")
                    .and_then(|it| it.split_once('('))
                else {
                    continue;
                };
                let name = name.split('<').next().unwrap();
                let takes_bytes = [
                    "reader: &mut Reader<",
                    "bytes: &",
                    "datagram: &",
                    "stub: &",
                    "token: &",
                    "extent: &",
                    "body: &",
                ];
                if takes_bytes.iter().any(|argument| rest.contains(argument)) && !rest.starts_with("&self") {
                    found.push(if of.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{of}::{name}")
                    });
                }
            }
        }
    }

    #[test]
    fn every_public_parser_is_checked() {
        let mut found = Vec::new();
        parsers(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let checks = concat!(include_str!("checks.rs"), include_str!("smb/checks.rs"));
        let checks = checks.split("\nmod tests {").collect::<String>();
        // The floor that all others stand on, and text.
        let floor = [
            "Input::new",
            "Reader::new",
            "CharacterSet::text",
            "CommonHeader::",
            "Bstr::new",
            "recognise_windows",
        ];
        let missing: Vec<_> = found
            .iter()
            .filter(|name| !checks.contains(name.as_str()) && !floor.iter().any(|it| name.starts_with(it)))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(found.len() > 90, "{} found", found.len());
    }

    /// What is read off the wire says by which section of which specification.
    #[test]
    fn every_structure_cites_its_section() {
        fn uncited(folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    uncited(&path, found);
                    continue;
                }
                let source = fs::read_to_string(&path).unwrap_or_default();
                let mut doc = String::new();
                for line in source.split("\n#[cfg(test)]\nmod tests").next().unwrap().lines() {
                    let line = line.trim_start();
                    if let Some(text) = line.strip_prefix("///") {
                        doc.push_str(text);
                    } else if let Some(name) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum ")) {
                        let cited = ["[MS-", "C706", "RFC ", "X.690", "Windows SDK", "draft-"];
                        if !cited.iter().any(|it| doc.contains(it)) {
                            found.push(name.split(['(', '<', ' ', ';']).next().unwrap().to_owned());
                        }
                    }
                    if !line.starts_with("///") && !line.starts_with("#[") {
                        doc.clear();
                    }
                }
            }
        }
        let mut found = Vec::new();
        uncited(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.sort();
        // Those of no specification: the floor, a sum of several tokens, a slice of one of several commands, and names
        // that macros give.
        let ours = [
            "$name",
            "$name",
            "$type",
            "Claims",
            "ErrorKind",
            "Input",
            "ParseError",
            "Payload",
            "Reader",
        ];
        assert_eq!(found, ours);
    }

    #[test]
    fn the_corpus_passes_every_check() {
        for (name, bytes) in CORPUS.iter() {
            assert!(!bytes.is_empty(), "{name}");
            all(bytes);
        }
    }

    /// Each field of four bytes set to all ones, what a liar would send: at every place of the first part, which holds most
    /// counts, and at every fourth behind it. Fields of two and eight bytes at the even places of the first.
    #[test]
    fn lengths_of_all_ones_cost_nothing() {
        for (_, bytes) in CORPUS.iter() {
            let first = bytes.len().min(256);
            let four = (0..first).chain((first..bytes.len()).step_by(4)).map(|at| (at, 4));
            let others = (0..first).step_by(2).flat_map(|at| [(at, 2), (at, 8)]);
            for (at, width) in four.chain(others).filter(|(at, width)| at + width <= bytes.len()) {
                let mut liar = bytes.clone();
                liar[at..at + width].fill(0xff);
                all(&liar);
            }
        }
    }

    #[test]
    fn every_truncation_of_the_corpus_passes() {
        for (_, bytes) in CORPUS.iter() {
            for length in 0..bytes.len().min(600) {
                all(&bytes[..length]);
            }
        }
    }

    /// Long inputs that go on as a sample begins: counts of what would fit, pointers, lengths and nothing, over and over.
    #[test]
    fn long_inputs_cost_no_more_for_each_byte_than_short_ones() {
        let patterns: [&[u8]; 9] = [
            &[0],
            &[0xff],
            &[1, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 1],
            &[4, 0],
            &[0x30, 0x80],
            &[0xa0, 0x84, 0, 0, 0xff, 0xff],
            &[0, 0x10, 0, 0],
        ];
        let long = |start: &[u8], pattern: &[u8], length| {
            let rest = pattern.iter().copied().cycle().take(length);
            start.iter().copied().chain(rest).collect::<Vec<_>>()
        };
        for pattern in patterns {
            all(&long(&[], pattern, 1 << 17));
        }
        for (_, bytes) in CORPUS.iter() {
            for start in (0..bytes.len().min(160)).step_by(16) {
                for pattern in patterns {
                    all(&long(&bytes[..start], pattern, 4096));
                }
            }
            all(&long(bytes, bytes, 1 << 16));
        }
    }

    /// The longest list of contexts that 65,535 bytes can hold, and one that claims more than there are.
    #[test]
    fn as_many_contexts_as_a_pdu_can_hold_are_read() {
        let bind = |contexts: u8, syntaxes: u8| {
            crate::testing::pdu(ByteOrder::Little, Ptype::BIND, 3, |writer| {
                writer.u16(5840).u16(5840).u32(0).u8(contexts).raw(&[0; 3]);
                for context in 0..contexts {
                    writer.u16(context.into()).u8(syntaxes).u8(0).guid(Guid::NULL).u32(0);
                    writer.raw(&vec![0; usize::from(syntaxes) * 20]);
                }
            })
        };
        let largest = bind(255, 11);
        let Body::Bind(read) = Pdu::parse(&largest).unwrap().body else {
            panic!("not a bind")
        };
        assert_eq!(
            (read.contexts.len(), read.contexts[254].transfer_syntaxes.len()),
            (255, 11)
        );
        all(&largest);
        let mut liar = bind(255, 0);
        liar[26..28].fill(0xff);
        for position in (28..liar.len()).step_by(24) {
            liar[position + 2] = 0xff;
        }
        all(&liar);
        let features = ContextElement {
            context_id: 0,
            abstract_syntax: SyntaxId {
                uuid: Guid::NULL,
                version: 0,
            },
            transfer_syntaxes: Vec::new(),
        };
        assert!(!features.is_bind_time_features());
    }

    #[test]
    fn each_of_65535_fragments_of_one_byte_costs_the_same() {
        let fragment = crate::testing::pdu(ByteOrder::Big, Ptype::REQUEST, 0, |writer| {
            writer.u32(65_535).u16(0).u16(4).u8(7);
        });
        let before = input::reads();
        for _ in 0..65_535 {
            let Body::Request(request) = Pdu::parse(&fragment).unwrap().body else {
                panic!("not a request")
            };
            assert_eq!(request.stub, [7]);
        }
        assert!(input::reads() - before <= 65_535 * 20);
    }

    /// References within references end: a custom reference holds bytes, not another reader.
    #[test]
    fn a_deep_chain_of_references_is_read_one_link_deep() {
        let mut objref = crate::testing::standard_objref(Guid::com(1), 1, Guid::com(2));
        for _ in 0..2000 {
            objref = crate::testing::custom_objref(Guid::com(1), Guid::com(0x338), &objref);
        }
        all(&objref);
    }

    /// Variants in references and in arrays of variants, types of types, towers of floors, elements within elements.
    #[test]
    fn deep_chains_of_pointers_end_in_every_parser() {
        for (order, encoding) in WAYS {
            for reply in [false, true] {
                let head = || {
                    let mut writer = Writer::new(order, encoding);
                    if reply {
                        writer.orpc_that();
                    } else {
                        writer.orpc_this(Guid::com(1));
                    }
                    writer
                };
                let mut by_ref = head();
                let mut arrays = head();
                let mut types = head();
                types.pointer();
                by_ref.pointer();
                arrays.pointer();
                for _ in 0..3000 {
                    types
                        .align(4)
                        .align_ndr64(8)
                        .ndr_u16(0x1a)
                        .align_ndr64(8)
                        .pointer()
                        .ndr_u16(0x1a)
                        .align_ndr64(8);
                    by_ref.little_endian(|w| {
                        w.align(8)
                            .u32(4)
                            .u32(0)
                            .u16(0x400c)
                            .raw(&[0; 6])
                            .align_ndr64(8)
                            .ndr_u32(0x400c)
                            .align_ndr64(8);
                        w.pointer().pointer();
                    });
                    arrays.little_endian(|w| {
                        w.align(8)
                            .u32(9)
                            .u32(0)
                            .u16(0x200c)
                            .raw(&[0; 6])
                            .align_ndr64(8)
                            .ndr_u32(0x2000)
                            .align_ndr64(8);
                        w.pointer()
                            .pointer()
                            .wide(1)
                            .align_ndr64(8)
                            .ndr_u16(1)
                            .ndr_u16(0)
                            .ndr_u32(16)
                            .ndr_u32(0);
                        w.align_ndr64(8)
                            .ndr_u32(12)
                            .align_ndr64(8)
                            .ndr_u32(1)
                            .pointer()
                            .ndr_u32(1)
                            .ndr_u32(0);
                        w.wide(1).pointer();
                    });
                }
                for writer in [by_ref, arrays, types] {
                    all(&writer.bytes());
                }
            }
        }
        let floors = [vec![0xff, 0xff], [1, 0, 0x77, 0, 0].repeat(20_000)].concat();
        all(&floors);
        for tag in [0x30, 0x60, 0x6e, 0xa0, 0xa1] {
            all(&[tag, 0x84, 0, 1, 0, 0].repeat(15_000));
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_samples_pass_every_check(which: usize, position: usize, value: u8, second: usize, other: u8) {
            let mut bytes = CORPUS[which % CORPUS.len()].1.clone();
            let length = bytes.len();
            bytes[position % length] = value;
            bytes[second % length] = other;
            all(&bytes);
        }

        #[test]
        fn any_bytes_pass_every_check(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            all(&bytes);
        }
    }
}
