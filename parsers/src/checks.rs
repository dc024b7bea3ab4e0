//! What must hold for any bytes at all: the functions that the fuzzers call, and that an ordinary test calls with the
//! corpus. Each asserts more than the absence of a panic: that no part is longer than the whole, that every byte of a PDU
//! is accounted for, that an error stands inside the input.

use crate::dcom::{
    ActivationReply, ActivationRequest, ComplexPingRequest, Context, ErrorInfo, Objref, OrpcThat, OrpcThis, Reference,
    RemAddRefReply, RemQueryInterface2Reply, RemQueryInterfaceReply, RemQueryInterfaceRequest, RemReferencesRequest,
    RemoteActivationReply, RemoteActivationRequest, ResolveOxidReply, ResolveOxidRequest, ServerAlive2Reply,
};
use crate::epm::{
    EptChangeRequest, EptLookupReply, EptLookupRequest, EptMapReply, EptMapRequest, EptMgmtDeleteRequest,
    InqIfIdsReply, InqPrincNameReply, InqStatsReply, Tower,
};
use crate::error::Result;
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader, type_serialization_1, type_serialization_2};
use crate::oaut::{
    EnumNextReply, GetFuncDescReply, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetNamesReply, GetTypeAttrReply,
    InterfaceReply, InvokeReply, InvokeRequest,
};
use crate::rpce::{
    Body, CommonHeader, DgHeader, DgPdu, Pdu, Prefix, VerificationTrailer, recognise, recognise_datagram,
};
use crate::security::{self, AuthService};
use crate::{scmr, tsch, wmi};

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

/// Connection-oriented PDUs: every byte is header, body, padding or verifier.
///
/// # Panics
/// When it is not so.
pub fn pdu(bytes: &[u8]) {
    if let Prefix::Header(header) = recognise(bytes) {
        assert_eq!(CommonHeader::parse(bytes), Ok(header));
    }
    let (before, trailer) = VerificationTrailer::split(bytes);
    assert!(bytes.starts_with(before) && trailer.is_some() == (before.len() < bytes.len()));
    let Some(pdu) = placed(bytes, Pdu::parse(bytes)) else {
        return;
    };
    let _ = pdu.rts().map(|rts| placed(bytes, rts));
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
    }
    let Some(pdu) = placed(bytes, DgPdu::parse(bytes)) else {
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
/// When a part is longer than the whole.
pub fn objref(bytes: &[u8]) {
    let _ = placed(bytes, Context::parse(bytes));
    let _ = ErrorInfo::parse(bytes);
    let Some(objref) = placed(bytes, Objref::parse(bytes)) else {
        return;
    };
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
    let Some(tower) = placed(bytes, Tower::parse(bytes)) else {
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
        if let Some(answer) = placed(stub, parse(&mut reader)) {
            assert!(stub.ends_with(reader.rest()));
            check(&answer);
        }
    }
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
    stub(bytes, ResolveOxidReply::parse, |_| ());
    stub(bytes, ResolveOxidReply::parse_2, |_| ());
    stub(bytes, ServerAlive2Reply::parse, |_| ());
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
    stub(bytes, EptMapRequest::parse, |_| ());
    stub(bytes, EptMapReply::parse, |reply| fits(reply.towers.len(), 4));
    stub(bytes, EptLookupRequest::parse, |_| ());
    stub(bytes, EptLookupReply::parse, |reply| fits(reply.entries.len(), 28));
    stub(bytes, EptChangeRequest::parse_insert, |request| {
        fits(request.entries.len(), 28);
    });
    stub(bytes, EptMgmtDeleteRequest::parse, |_| ());
    stub(bytes, InqIfIdsReply::parse, |reply| fits(reply.interfaces.len(), 20));
    stub(bytes, InqStatsReply::parse, |reply| fits(reply.statistics.len(), 4));
    stub(bytes, InqPrincNameReply::parse, |_| ());
    for serialized in [type_serialization_1(bytes, "type"), type_serialization_2(bytes, "type")] {
        if let Some(reader) = placed(bytes, serialized) {
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
    for service in [AuthService::SPNEGO, AuthService::NTLM, AuthService::KERBEROS] {
        let Some(claims) = placed(bytes, security::read(service, bytes)) else {
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
    stub(bytes, GetTypeAttrReply::parse, |_| ());
    stub(bytes, GetFuncDescReply::parse, |_| ());
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
    stub(bytes, wmi::ObjectReply::parse, |reply| drop(reply.arguments()));
    stub(bytes, wmi::InterfaceReply::parse, |_| ());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::guid::Guid;
    use crate::rpce::{ContextElement, Ptype, SyntaxId};

    /// Every file of the corpus, by its name.
    fn corpus() -> Vec<(String, Vec<u8>)> {
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
    }

    fn all(bytes: &[u8]) {
        for (_, check) in ALL {
            check(bytes);
        }
    }

    #[test]
    fn the_corpus_passes_every_check() {
        for (name, bytes) in corpus() {
            assert!(!bytes.is_empty(), "{name}");
            all(&bytes);
        }
    }

    /// Each field of two, four and eight bytes, aligned or not, set to all ones: what a liar would send.
    #[test]
    fn lengths_of_all_ones_cost_nothing() {
        for (name, bytes) in corpus() {
            // Long samples repeat themselves; their first part holds the counts.
            let positions = bytes.len().min(400);
            let started = Instant::now();
            for position in 0..positions {
                for width in [2, 4, 8] {
                    let Some(end) = Some(position + width).filter(|&end| end <= bytes.len()) else {
                        continue;
                    };
                    let mut liar = bytes.clone();
                    liar[position..end].fill(0xff);
                    all(&liar);
                }
            }
            let spent = started.elapsed();
            assert!(spent < Duration::from_secs(4), "{name}: {spent:?}");
        }
    }

    #[test]
    fn every_truncation_of_the_corpus_passes() {
        for (_, bytes) in corpus() {
            for length in 0..bytes.len().min(600) {
                all(&bytes[..length]);
            }
        }
    }

    /// The longest list of contexts that 65,535 bytes can hold, and one that claims more than there are.
    #[test]
    fn as_many_contexts_as_a_pdu_can_hold_are_read_quickly() {
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
        let started = Instant::now();
        for _ in 0..100 {
            let Body::Bind(read) = Pdu::parse(&largest).unwrap().body else {
                panic!("not a bind")
            };
            assert_eq!(
                (read.contexts.len(), read.contexts[254].transfer_syntaxes.len()),
                (255, 11)
            );
        }
        let mut liar = bind(255, 0);
        liar[26..28].fill(0xff);
        for position in (28..liar.len()).step_by(24) {
            liar[position + 2] = 0xff;
        }
        all(&liar);
        assert!(started.elapsed() < Duration::from_secs(2));
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
    fn fragments_of_one_byte_are_read_one_by_one_in_linear_time() {
        let fragment = crate::testing::pdu(ByteOrder::Big, Ptype::REQUEST, 0, |writer| {
            writer.u32(65_535).u16(0).u16(4).u8(7);
        });
        let started = Instant::now();
        for _ in 0..65_535 {
            let Body::Request(request) = Pdu::parse(&fragment).unwrap().body else {
                panic!("not a request")
            };
            assert_eq!(request.stub, [7]);
        }
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    /// References within references end: a custom reference holds bytes, not another reader.
    #[test]
    fn a_deep_chain_of_references_is_read_one_link_deep() {
        let mut objref = crate::testing::standard_objref(Guid::com(1), 1, Guid::com(2));
        for _ in 0..2000 {
            objref = crate::testing::custom_objref(Guid::com(1), Guid::com(0x338), &objref);
        }
        let started = Instant::now();
        all(&objref);
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    proptest::proptest! {
        #[test]
        fn damaged_samples_pass_every_check(which: usize, position: usize, value: u8, second: usize, other: u8) {
            let files = corpus();
            let mut bytes = files[which % files.len()].1.clone();
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
