//! What is written is read: activation, references, their upkeep, and the object resolver.

use proptest::prelude::*;

use super::*;
use crate::guid::{Clsid, Guid, Iid, Oxid};
use crate::input::{ByteOrder, Input};
use crate::names::known;
use crate::ndr::Encoding;
use crate::testing::{
    Sample, Write, Writer, custom_objref, dual_string_packet, flags, little_endian_round_trips, objref, round_trips,
    round_trips_of, sample, samples, type_serialization_1, wrapped, writes,
};

wrapped! { SetId(u64) }
flags! { ActivationFlags(u32) }

samples! {
    ComVersion { major, minor }
    OrpcExtent { id, data }
    OrpcThis { version = sample().prop_map(|minor| ComVersion { major: 5, minor }), flags, causality, extensions }
    OrpcThat { flags, extensions }
    ErrorInfo { version, help_context, iid, source, description, help_file }
    UrlMoniker { url }
    StringBinding { tower_id = 1..=u16::MAX, network_address }
    SecurityBinding { authn_service = 1..=u16::MAX, principal_name }
    DualStringArray { string_bindings, security_bindings }
    StdObjref { flags, public_refs, oxid, oid, ipid }
    DataElement<'static> { id, data }
    Objref<'static> { iid, reference }
    ContextProperty { clsid, policy, flags, length = 0..9_u32 }
    InstantiationInfo {
        clsid, class_context, activation_flags, is_surrogate, instance_flags, iids, client_version
    }
    SpecialProperties {
        session_id = sample::<Option<u32>>().prop_map(|session| session.filter(|&id| id != u32::MAX)),
        remote_this_session_id, client_impersonating, partition, default_authn_level, prt_flags,
        original_class_context, flags
    }
    InstanceInfo { file_name, mode, running_object, storage }
    ScmRequestInfo { impersonation_level, requested_protseqs }
    ActivationContextInfo { client_ok, client_context, prototype_context }
    LocationInfo { machine_name, process_id, apartment_id, context_id }
    SecurityInfo { authn_flags, server_name }
    ScmReplyInfo { oxid = nonzero(), bindings, ipid_rem_unknown, authn_hint, server_version }
    InterfaceResult { iid, hresult, objref }
    ActivationReply { hresult, scm, interfaces }
    RemoteActivationRequest {
        orpc_this, clsid, object_name, storage, impersonation_level, mode, iids, requested_protseqs
    }
    RemoteActivationReply { hresult, scm, interfaces = without_iids(), status }
    ResolveOxidRequest { oxid, requested_protseqs }
    ResolveOxidReply { bindings, ipid_rem_unknown, authn_hint, server_version, status }
    ServerAlive2Reply { version, bindings, status }
    SimplePingRequest { set_id }
    SimplePingReply { status }
    ComplexPingRequest { set_id, sequence, added, deleted }
    ComplexPingReply { set_id, backoff_factor, status }
    ServerAliveReply { status }
    RemQueryInterfaceRequest { orpc_this, ipid, references, iids }
    RemQiResult { hresult, std }
    RemQueryInterfaceReply { orpc_that, results, hresult }
    RemQi2Result { hresult, objref }
    RemQueryInterface2Reply { orpc_that, results, hresult }
    RemInterfaceRef { ipid, public_refs, private_refs }
    RemReferencesRequest { orpc_this, references }
    RemAddRefReply { orpc_that, results, hresult }
    RemReleaseReply { orpc_that, hresult }
}

/// An OXID of zeroes stands for none.
fn nonzero() -> impl Strategy<Value = Oxid> {
    (1..=u64::MAX).prop_map(Oxid)
}

fn without_iids() -> impl Strategy<Value = Vec<InterfaceResult>> {
    sample::<Vec<InterfaceResult>>().prop_map(|mut results| {
        for result in &mut results {
            result.iid = Iid::default();
        }
        results
    })
}

impl Sample for Reference<'static> {
    fn sample() -> BoxedStrategy<Self> {
        prop_oneof![
            (sample(), sample()).prop_map(|(std, resolver)| Self::Standard { std, resolver }),
            (sample(), sample(), sample()).prop_map(|(std, clsid, resolver)| Self::Handler { std, clsid, resolver }),
            (sample(), sample()).prop_map(|(clsid, data)| Self::Custom { clsid, data }),
            (sample(), sample(), sample()).prop_map(|(std, resolver, element)| Self::Extended {
                std,
                resolver,
                element
            }),
        ]
        .boxed()
    }
}

impl Sample for ObjrefOutline {
    fn sample() -> BoxedStrategy<Self> {
        sample::<Objref<'_>>().prop_map(|objref| Self::from(&objref)).boxed()
    }
}

impl Sample for Context {
    fn sample() -> BoxedStrategy<Self> {
        let numbers = (sample(), sample(), sample(), sample());
        ((sample(), sample()), numbers, sample::<Vec<ContextProperty>>())
            .prop_map(|(version, (id, flags, marshal_flags, frozen), properties)| Self {
                version,
                id,
                flags,
                marshal_flags,
                count: u32::try_from(properties.len()).unwrap(),
                frozen,
                properties,
            })
            .boxed()
    }
}

/// A context in the custom reference that carries one, or another reference.
impl Sample for MarshaledContext {
    fn sample() -> BoxedStrategy<Self> {
        let of_context = (sample(), sample::<Context>()).prop_map(|(iid, context)| Self {
            objref: ObjrefOutline {
                iid,
                clsid: Some(Clsid(known::CLSID_CONTEXT_MARSHALER)),
                data_length: little_endian(&context).len(),
                ..ObjrefOutline::default()
            },
            context: Some(context),
        });
        let of_another = sample().prop_map(|objref| Self { objref, context: None });
        prop_oneof![of_context, of_another].boxed()
    }
}

/// The header says what the properties come to, so they are written to find it.
impl Sample for ActivationRequest {
    fn sample() -> BoxedStrategy<Self> {
        let known = (
            sample(),
            sample(),
            sample(),
            sample(),
            sample(),
            sample::<Option<SecurityInfo>>(),
        );
        let more = proptest::collection::vec(sample(), 0..3);
        let head = (sample(), sample(), sample(), sample(), sample::<Vec<Guid>>(), more);
        (known, head)
            .prop_map(
                |(known, (orpc_this, instantiation, destination_context, class_info, unread, more))| {
                    let (special, instance, scm_request, context, location, security) = known;
                    let special: Option<SpecialProperties> = special;
                    let mut request = Self {
                        orpc_this,
                        instantiation,
                        session_id: special.and_then(|special| special.session_id),
                        console_session: special.is_some_and(|special| special.asks_for_console()),
                        server_name: security.as_ref().and_then(|security| security.server_name.clone()),
                        properties: ActivationProperties {
                            header: CustomHeader {
                                destination_context,
                                class_info,
                                ..CustomHeader::default()
                            },
                            special,
                            instance,
                            scm_request,
                            context,
                            location,
                            security,
                            more,
                            unread,
                        },
                    };
                    request.server_name = request.server_name.filter(|name| !name.is_empty());
                    let properties = request.written_properties(ByteOrder::Little);
                    complete(&mut request.properties.header, &properties);
                    request
                },
            )
            .boxed()
    }
}

impl ActivationRequest {
    fn written_properties(&self, order: ByteOrder) -> Vec<(Guid, Vec<u8>)> {
        fn one<T: Write>(order: ByteOrder, id: Guid, value: Option<&T>) -> Option<(Guid, Vec<u8>)> {
            value.map(|value| (id, type_serialization_1(order, |writer| _ = writer.put(value))))
        }
        let all = &self.properties;
        let known = [
            one(order, known::CLSID_SPECIAL_SYSTEM_PROPERTIES, all.special.as_ref()),
            one(order, known::CLSID_INSTANTIATION_INFO, Some(&self.instantiation)),
            one(order, known::CLSID_ACTIVATION_CONTEXT_INFO, all.context.as_ref()),
            one(order, known::CLSID_SECURITY_INFO, all.security.as_ref()),
            one(order, known::CLSID_SERVER_LOCATION_INFO, all.location.as_ref()),
            one(order, known::CLSID_SCM_REQUEST_INFO, all.scm_request.as_ref()),
            one(order, known::CLSID_INSTANCE_INFO, all.instance.as_ref()),
        ];
        let more = all
            .more
            .iter()
            .filter_map(|more| one(order, known::CLSID_INSTANTIATION_INFO, Some(more)));
        let unread = all.unread.iter().map(|&id| (id, vec![0xee; 8]));
        known.into_iter().flatten().chain(more).chain(unread).collect()
    }
}

/// Makes the header say what the properties come to.
fn complete(header: &mut CustomHeader, properties: &[(Guid, Vec<u8>)]) {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    header.properties = properties.iter().map(|(id, bytes)| (*id, size(bytes))).collect();
    header.header_size = size(&type_serialization_1(ByteOrder::Little, |writer| {
        _ = writer.put(header);
    }));
    header.total_size = header
        .properties
        .iter()
        .fold(header.header_size, |sum, (_, size)| sum + size);
}

/// [MS-DCOM] 2.2.22 Activation Properties BLOB in its `OBJREF_CUSTOM`.
fn blob(order: ByteOrder, ids: [Guid; 2], header: &CustomHeader, properties: &[(Guid, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.u32(header.total_size).u32(0);
    writer.raw(&type_serialization_1(order, |writer| _ = writer.put(header)));
    for (_, bytes) in properties {
        writer.raw(bytes);
    }
    custom_objref(ids[0], ids[1], &writer.bytes())
}

fn little_endian(value: &impl Write) -> Vec<u8> {
    Writer::new(ByteOrder::Little, Encoding::Ndr20).put(value).bytes()
}

fn pairs(array: &DualStringArray) -> [Vec<(u16, &str)>; 2] {
    let strings = array.string_bindings.iter();
    let security = array.security_bindings.iter();
    [
        strings
            .map(|binding| (binding.tower_id, binding.network_address.as_str()))
            .collect(),
        security
            .map(|binding| (binding.authn_service, binding.principal_name.as_str()))
            .collect(),
    ]
}

fn packet(array: &DualStringArray) -> Vec<u8> {
    let [strings, security] = pairs(array);
    dual_string_packet(&strings, &security)
}

fn std_packet(std: &StdObjref) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer
        .u32(std.flags)
        .u32(std.public_refs)
        .u64(std.oxid.0)
        .u64(std.oid.0)
        .guid(std.ipid.0);
    writer.bytes()
}

fn standard(iid: Iid, std: &StdObjref, resolver: &DualStringArray) -> Vec<u8> {
    objref(1, iid.0, &[std_packet(std), packet(resolver)].concat())
}

fn handler(iid: Iid, std: &StdObjref, clsid: Clsid, resolver: &DualStringArray) -> Vec<u8> {
    objref(
        2,
        iid.0,
        &[std_packet(std), little_endian(&clsid), packet(resolver)].concat(),
    )
}

/// Little-endian whatever the PDU says.
fn reference(objref: &Objref<'_>) -> Vec<u8> {
    match &objref.reference {
        Reference::Standard { std, resolver } => standard(objref.iid, std, resolver),
        Reference::Handler { std, clsid, resolver } => handler(objref.iid, std, *clsid, resolver),
        Reference::Custom { clsid, data } => custom_objref(objref.iid.0, clsid.0, data),
        Reference::Extended { std, resolver, element } => {
            let mut tail = Writer::new(ByteOrder::Little, Encoding::Ndr20);
            tail.u32(u32::from(element.is_some())).raw(b"VYSN");
            if let Some(element) = element {
                let size = element.data.len();
                tail.guid(element.id).u32(u32::try_from(size).unwrap());
                tail.u32(u32::try_from(size.next_multiple_of(8)).unwrap())
                    .raw(element.data);
                tail.raw(&vec![0xdd; size.next_multiple_of(8) - size]);
            }
            let rest = [std_packet(std), b"VYSN".to_vec(), packet(resolver), tail.bytes()];
            crate::testing::objref(8, objref.iid.0, &rest.concat())
        }
    }
}

/// A reference of which this is the outline.
fn outlined(outline: &ObjrefOutline) -> Vec<u8> {
    let ObjrefOutline {
        iid,
        std,
        clsid,
        resolver,
        data_length,
    } = outline;
    match (std, clsid) {
        (Some(std), None) => standard(*iid, std, resolver),
        (Some(std), Some(clsid)) => handler(*iid, std, *clsid, resolver),
        (None, clsid) => custom_objref(iid.0, clsid.unwrap_or_default().0, &vec![0xdd; *data_length]),
    }
}

impl Writer {
    /// Pointers to references, and behind them all the references.
    fn interface_pointers(&mut self, objrefs: &[Option<Vec<u8>>]) -> &mut Self {
        self.wide(objrefs.len());
        for objref in objrefs {
            self.pointer_if(objref.is_some());
        }
        for objref in objrefs.iter().flatten() {
            self.interface_pointer(objref);
        }
        self
    }

    fn extensions(&mut self, extensions: &[OrpcExtent]) -> &mut Self {
        if extensions.is_empty() {
            return self.null();
        }
        self.pointer()
            .align_pointer()
            .long_count(extensions.len())
            .u32(0)
            .pointer();
        // There is always an even number of places.
        self.wide(extensions.len().next_multiple_of(2));
        self.pointers(extensions.len());
        if extensions.len() & 1 == 1 {
            self.null();
        }
        for extent in extensions {
            let room = extent.data.len().next_multiple_of(8);
            self.wide(room)
                .put(&extent.id)
                .long_count(extent.data.len())
                .raw(&extent.data);
            self.raw(&vec![0xdd; room - extent.data.len()]);
        }
        self
    }
}

writes! {
    ComVersion: |it, w| w.put(&it.major).put(&it.minor);
    OrpcThis: |it, w| {
        w.align_pointer().put(&it.version).put(&it.flags).u32(0).put(&it.causality).extensions(&it.extensions)
    };
    OrpcThat: |it, w| w.align_pointer().put(&it.flags).extensions(&it.extensions);
    DualStringArray: |it, w| {
        let [strings, security] = pairs(it);
        w.dual_string_array(&strings, &security)
    };
    StdObjref: |it, w| {
        w.align(8).put(&it.flags).put(&it.public_refs).put(&it.oxid).put(&it.oid).put(&it.ipid)
    };
    Objref<'static>: |it, w| w.raw(&reference(it));
    ObjrefOutline: |it, w| w.interface_pointer(&outlined(it));
    MarshaledContext: |it, w| match &it.context {
        Some(context) => {
            let data = little_endian(context);
            w.interface_pointer(&custom_objref(it.objref.iid.0, known::CLSID_CONTEXT_MARSHALER, &data))
        }
        None => w.put(&it.objref),
    };
    UrlMoniker: |it, w| {
        let units: Vec<u16> = it.url.encode_utf16().chain([0]).collect();
        w.u32(u32::try_from(units.len() * 2).unwrap());
        for unit in units {
            w.u16(unit);
        }
    };
    Context: |it, w| {
        w.put(&it.version.0).put(&it.version.1).guid(it.id).u32(it.flags).raw(&[0xdd; 12]);
        w.u32(it.marshal_flags).u32(it.count).u32(it.frozen);
        for property in &it.properties {
            w.guid(property.clsid.0).guid(property.policy).u32(property.flags).u32(property.length);
            w.raw(&vec![0xdd; property.length as usize]);
        }
    };
    ErrorInfo: |it, w| {
        let mut data = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        data.u32(it.version).u32(it.help_context).guid(it.iid.0);
        for text in [&it.source, &it.description, &it.help_file] {
            let units: Option<Vec<u16>> = text.as_ref().map(|text| text.encode_utf16().chain([0]).collect());
            data.u32(if units.is_some() { u32::MAX } else { 0 });
            if let Some(units) = units {
                let count = u32::try_from(units.len()).unwrap();
                data.u32(count).u32(0).u32(count);
                for unit in units {
                    data.u16(unit);
                }
            }
        }
        w.raw(&custom_objref(Guid::com(0x1cf), known::CLSID_ERROR_OBJECT, &data.bytes()))
    };
    CustomHeader: |it, w| {
        let (ids, sizes): (Vec<Guid>, Vec<u32>) = it.properties.iter().copied().unzip();
        w.put(&it.total_size).put(&it.header_size).u32(0).put(&it.destination_context).long_count(ids.len());
        w.put(&it.class_info).pointer().pointer().null().array(&ids).array(&sizes)
    };
    InstantiationInfo: |it, w| {
        w.put(&it.clsid).put(&it.class_context).put(&it.activation_flags).u32(u32::from(it.is_surrogate));
        w.long_count(it.iids.len()).put(&it.instance_flags).pointer_if(!it.iids.is_empty());
        w.u32(0).put(&it.client_version);
        if !it.iids.is_empty() {
            w.array(&it.iids);
        }
    };
    SpecialProperties: |it, w| {
        w.put(&it.session_id.unwrap_or(u32::MAX)).put(&it.remote_this_session_id).put(&it.client_impersonating);
        w.u32(u32::from(it.partition.is_some())).put(&it.default_authn_level);
        w.put(&it.partition.unwrap_or(Guid::com(1))).put(&it.prt_flags).put(&it.original_class_context);
        w.put(&it.flags).u32(0).ndr_u64(0).raw(&[0; 20])
    };
    InstanceInfo: |it, w| {
        w.pointer_if(it.file_name.is_some()).put(&it.mode);
        w.pointer_if(it.running_object.is_some()).pointer_if(it.storage.is_some());
        w.each(&it.file_name).each(&it.running_object).each(&it.storage)
    };
    ScmRequestInfo: |it, w| {
        w.null().pointer().put(&it.impersonation_level).short_count(it.requested_protseqs.len());
        w.optional_array(&it.requested_protseqs)
    };
    ActivationContextInfo: |it, w| {
        w.put(&it.client_ok).u32(0).u32(0).u32(0).pointer_if(it.client_context.is_some());
        w.pointer_if(it.prototype_context.is_some()).each(&it.client_context).each(&it.prototype_context)
    };
    LocationInfo: |it, w| {
        w.pointer_if(it.machine_name.is_some()).put(&it.process_id).put(&it.apartment_id).put(&it.context_id);
        w.each(&it.machine_name)
    };
    SecurityInfo: |it, w| {
        w.put(&it.authn_flags).pointer().null().u32(0).pointer_if(it.server_name.is_some()).null().u32(0);
        w.each(&it.server_name)
    };
    ScmReplyInfo: |it, w| {
        w.null().pointer().put(&it.oxid).pointer().put(&it.ipid_rem_unknown).put(&it.authn_hint);
        w.put(&it.server_version).put(&it.bindings)
    };
    ActivationReply: |it, w| {
        w.orpc_that();
        let mut properties = Vec::new();
        let order = w.order();
        if let Some(scm) = &it.scm {
            let bytes = type_serialization_1(order, |w| _ = w.put(scm));
            properties.push((known::CLSID_SCM_REPLY_INFO, bytes));
        }
        if !it.interfaces.is_empty() {
            let bytes = type_serialization_1(order, |w| {
                let objref = |it: &InterfaceResult| it.objref.map(|std| standard(it.iid, &std, &DualStringArray::default()));
                let objrefs: Vec<_> = it.interfaces.iter().map(objref).collect();
                w.long_count(it.interfaces.len()).pointer().pointer().pointer().wide(objrefs.len());
                w.each(it.interfaces.iter().map(|it| &it.iid)).wide(objrefs.len());
                w.each(it.interfaces.iter().map(|it| &it.hresult)).interface_pointers(&objrefs);
            });
            properties.push((known::CLSID_PROPS_OUT_INFO, bytes));
        }
        w.pointer_if(!properties.is_empty());
        if !properties.is_empty() {
            let mut header = CustomHeader::default();
            complete(&mut header, &properties);
            let ids = [known::IID_ACTIVATION_PROPERTIES_OUT, known::CLSID_ACTIVATION_PROPERTIES_OUT];
            w.interface_pointer(&blob(order, ids, &header, &properties));
        }
        w.put(&it.hresult)
    };
    RemoteActivationRequest: |it, w| {
        w.put(&it.orpc_this).put(&it.clsid).optional(it.object_name.as_ref()).pointer_if(it.storage.is_some());
        if let Some(storage) = &it.storage {
            // What is no reference is still something.
            let unreadable = || b"no OBJREF".to_vec();
            w.interface_pointer(&storage.as_ref().map_or_else(unreadable, outlined));
        }
        w.put(&it.impersonation_level).put(&it.mode).long_count(it.iids.len()).optional_array(&it.iids);
        w.short_count(it.requested_protseqs.len()).array(&it.requested_protseqs)
    };
    RemoteActivationReply: |it, w| {
        let scm = it.scm.clone().unwrap_or_default();
        w.orpc_that().put(&scm.oxid).optional(it.scm.as_ref().map(|scm| &scm.bindings));
        w.put(&scm.ipid_rem_unknown).put(&scm.authn_hint).put(&scm.server_version).put(&it.hresult);
        let objref = |it: &InterfaceResult| it.objref.map(|std| standard(it.iid, &std, &DualStringArray::default()));
        w.interface_pointers(&it.interfaces.iter().map(objref).collect::<Vec<_>>()).wide(it.interfaces.len());
        w.each(it.interfaces.iter().map(|it| &it.hresult)).put(&it.status)
    };
    ResolveOxidRequest: |it, w| {
        w.put(&it.oxid).short_count(it.requested_protseqs.len()).array(&it.requested_protseqs)
    };
    ResolveOxidReply: |it, w| {
        w.optional(it.bindings.as_ref()).put(&it.ipid_rem_unknown).put(&it.authn_hint);
        w.each(&it.server_version).put(&it.status)
    };
    ServerAlive2Reply: |it, w| w.put(&it.version).optional(it.bindings.as_ref()).ndr_u32(0).put(&it.status);
    SimplePingRequest: |it, w| w.put(&it.set_id);
    SimplePingReply: |it, w| w.put(&it.status);
    ComplexPingRequest: |it, w| {
        w.put(&it.set_id).put(&it.sequence).short_count(it.added.len()).short_count(it.deleted.len());
        w.optional_array(&it.added).optional_array(&it.deleted)
    };
    ComplexPingReply: |it, w| w.put(&it.set_id).put(&it.backoff_factor).put(&it.status);
    ServerAliveReply: |it, w| w.put(&it.status);
    RemQueryInterfaceRequest: |it, w| {
        w.put(&it.orpc_this).put(&it.ipid).each(&it.references).short_count(it.iids.len()).array(&it.iids)
    };
    RemQiResult: |it, w| w.align(8).put(&it.hresult).put(&it.std);
    RemQueryInterfaceReply: |it, w| w.put(&it.orpc_that).optional_array(&it.results).put(&it.hresult);
    RemQueryInterface2Reply: |it, w| {
        w.put(&it.orpc_that).wide(it.results.len()).each(it.results.iter().map(|it| &it.hresult));
        let objref = |it: &RemQi2Result| it.objref.as_ref().map(outlined);
        w.interface_pointers(&it.results.iter().map(objref).collect::<Vec<_>>()).put(&it.hresult)
    };
    RemInterfaceRef: |it, w| w.put(&it.ipid).put(&it.public_refs).put(&it.private_refs);
    RemReferencesRequest: |it, w| w.put(&it.orpc_this).short_count(it.references.len()).array(&it.references);
    RemAddRefReply: |it, w| w.put(&it.orpc_that).array(&it.results).put(&it.hresult);
    RemReleaseReply: |it, w| w.put(&it.orpc_that).put(&it.hresult);
}

impl ActivationRequest {
    fn write_blob(&self, writer: &mut Writer) {
        let properties = self.written_properties(writer.order());
        let ids = [
            known::IID_ACTIVATION_PROPERTIES_IN,
            known::CLSID_ACTIVATION_PROPERTIES_IN,
        ];
        let blob = blob(writer.order(), ids, &self.properties.header, &properties);
        writer.pointer().interface_pointer(&blob);
    }
}

/// The stub of `RemoteGetClassObject`.
#[derive(Debug, PartialEq)]
struct GetClassObject(ActivationRequest);

/// The stub of `RemoteCreateInstance`, within an outer object or not.
#[derive(Debug, PartialEq)]
struct CreateInstance(bool, ActivationRequest);

writes! {
    GetClassObject: |it, w| it.0.write_blob(w.put(&it.0.orpc_this));
    CreateInstance: |it, w| {
        w.put(&it.1.orpc_this).optional(it.0.then(ObjrefOutline::default).as_ref());
        it.1.write_blob(w);
    };
}

#[test]
fn every_activation_is_read_as_it_was_written() {
    for inner in [false, true] {
        round_trips_of(sample().prop_map(move |it| CreateInstance(inner, it)), |reader| {
            ActivationRequest::parse_create_instance(reader).map(|it| CreateInstance(inner, it))
        });
    }
    round_trips_of(sample().prop_map(GetClassObject), |reader| {
        ActivationRequest::parse_get_class_object(reader).map(GetClassObject)
    });
    round_trips(ActivationReply::parse);
    round_trips(RemoteActivationRequest::parse);
    round_trips(RemoteActivationReply::parse);
}

#[test]
fn what_stands_before_arguments_and_results_is_read_as_it_was_written() {
    round_trips(OrpcThis::parse);
    round_trips(OrpcThat::parse);
    little_endian_round_trips(ErrorInfo::parse);
    little_endian_round_trips(Context::parse);
}

#[test]
fn every_reference_is_read_as_it_was_written() {
    little_endian_round_trips(Objref::parse);
    little_endian_round_trips(UrlMoniker::parse);
    round_trips(DualStringArray::parse_ndr);
    proptest!(|(array in sample::<DualStringArray>())| {
        let bytes = packet(&array);
        let mut input = Input::new(&bytes, ByteOrder::Little, "test");
        prop_assert_eq!(DualStringArray::parse(&mut input), Ok(array));
        prop_assert!(input.is_empty());
    });
}

#[test]
fn every_operation_of_the_object_resolver_is_read_as_it_was_written() {
    round_trips(ResolveOxidRequest::parse);
    let reply = |newer: bool| {
        sample::<ResolveOxidReply>().prop_map(move |reply| ResolveOxidReply {
            server_version: newer.then(|| reply.server_version.unwrap_or_default()),
            ..reply
        })
    };
    round_trips_of(reply(false), ResolveOxidReply::parse);
    round_trips_of(reply(true), ResolveOxidReply::parse_2);
    round_trips(ServerAliveReply::parse);
    round_trips(ServerAlive2Reply::parse);
    round_trips(SimplePingRequest::parse);
    round_trips(SimplePingReply::parse);
    round_trips(ComplexPingRequest::parse);
    round_trips(ComplexPingReply::parse);
}

#[test]
fn every_operation_on_remote_references_is_read_as_it_was_written() {
    let request = |older: bool| {
        sample::<RemQueryInterfaceRequest>().prop_map(move |request| RemQueryInterfaceRequest {
            references: older.then(|| request.references.unwrap_or(5)),
            ..request
        })
    };
    round_trips_of(request(true), RemQueryInterfaceRequest::parse);
    round_trips_of(request(false), RemQueryInterfaceRequest::parse_2);
    round_trips(RemQueryInterfaceReply::parse);
    round_trips(RemQueryInterface2Reply::parse);
    round_trips(RemReferencesRequest::parse);
    round_trips(RemAddRefReply::parse);
    round_trips(RemReleaseReply::parse);
}
