//! What is written is read: logins, calls of `IWbemServices`, and the objects in them.

use proptest::prelude::*;

use super::*;
use crate::guid::Iid;
use crate::oaut::Bstr;
use crate::testing::{
    Sample, Writer, custom_objref, lasting, round_trips, round_trips_of, sample, samples, up_to, writes,
};

samples! {
    EstablishPositionRequest { orpc_this, reserved }
    NtlmLoginRequest { orpc_this, namespace, preferred_locale, flags }
    InterfaceReply<'static> { objref, status }
    SetClientInfoRequest { orpc_this, client_machine, client_fqdn, client_process, client_process_created }
    NameRequest { orpc_this, kind = kind(), name, flags }
    PutRequest { orpc_this, object = parameter(), flags }
    QueryRequest { orpc_this, language, query, flags }
    ExecMethodRequest { orpc_this, object_path, method, flags, in_parameters = parameter() }
    ObjectReply { object = parameter(), status }
}

const KINDS: [Named; 4] = [Named::Namespace, Named::ObjectPath, Named::Class, Named::Superclass];

fn kind() -> impl Strategy<Value = Named> {
    prop::sample::select(KINDS.as_slice())
}

fn parameter() -> impl Strategy<Value = Option<Result<Object>>> {
    prop::option::of(object(2).prop_map(Ok))
}

/// A class or an instance, with objects in it down to `depth`.
fn object(depth: u32) -> BoxedStrategy<Object> {
    let kind = prop_oneof![
        Just((ObjectFlags::INSTANCE, Vec::new())),
        up_to::<String>(3).prop_map(|methods| (ObjectFlags::CLASS, methods)),
    ];
    let names = (sample(), sample(), sample::<Option<(String, String)>>());
    (kind, names, prop::collection::vec(property(depth), 0..6))
        .prop_map(|((flags, methods), (class, superclass, origin), properties)| {
            let (server, namespace) = origin.unzip();
            let decorated = if server.is_some() {
                ObjectFlags::DECORATED
            } else {
                ObjectFlags::empty()
            };
            Object {
                flags: flags | decorated,
                server,
                namespace,
                class,
                superclass,
                properties,
                methods,
            }
        })
        .boxed()
}

/// A type and a value of it.
fn typed(depth: u32) -> BoxedStrategy<(CimType, Value)> {
    fn of<T: Sample>(cim_type: CimType, value: fn(T) -> Value) -> BoxedStrategy<(CimType, Value)> {
        sample::<T>().prop_map(move |it| (cim_type, value(it))).boxed()
    }
    let mut all = vec![
        of(CimType::BOOLEAN, Value::Boolean),
        of(CimType::CHAR16, Value::Character),
        of(CimType::SINT8, |it: i8| Value::Signed(it.into())),
        of(CimType::SINT16, |it: i16| Value::Signed(it.into())),
        of(CimType::SINT32, |it: i32| Value::Signed(it.into())),
        of(CimType::SINT64, Value::Signed),
        of(CimType::UINT8, |it: u8| Value::Unsigned(it.into())),
        of(CimType::UINT16, |it: u16| Value::Unsigned(it.into())),
        of(CimType::UINT32, |it: u32| Value::Unsigned(it.into())),
        of(CimType::UINT64, Value::Unsigned),
        of(CimType::REAL32, |it: i16| Value::Real(f64::from(it) / 8.0)),
        of(CimType::REAL64, |it: i32| Value::Real(f64::from(it) / 8.0)),
        of(CimType::STRING, Value::Text),
        of(CimType::DATETIME, Value::Text),
        of(CimType::REFERENCE, Value::Text),
    ];
    if let Some(depth) = depth.checked_sub(1) {
        all.push(
            object(depth)
                .prop_map(|it| (CimType::OBJECT, Value::Object(Box::new(it))))
                .boxed(),
        );
    }
    prop::strategy::Union::new(all).boxed()
}

/// Its name, its type, and a value, several, or none.
fn property(depth: u32) -> impl Strategy<Value = Property> {
    let value = (typed(depth), 0..4_usize, 0..3_u8).prop_map(|((cim_type, value), count, kind)| match kind {
        0 => (cim_type, Value::Null),
        1 => (CimType(cim_type.0 | 0x2000), Value::Array(vec![value; count])),
        _ => (cim_type, value),
    });
    (sample(), value).prop_map(|(name, (cim_type, value))| Property { name, cim_type, value })
}

/// [MS-WMIO] 2.2.66 Heap in the making.
#[derive(Default)]
struct Heap(Vec<u8>);

const NOTHING: [u8; 4] = [0xff; 4];

impl Heap {
    fn item(&mut self, bytes: &[u8]) -> [u8; 4] {
        let at = size(self.0.len());
        self.0.extend(bytes);
        at
    }

    fn string(&mut self, text: Option<&String>) -> [u8; 4] {
        text.map_or(NOTHING, |text| self.item(&encoded_string(text)))
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap() | 0x8000_0000;
        [&length.to_le_bytes()[..], &self.0].concat()
    }

    fn value(&mut self, cim_type: CimType, value: &Value) -> Vec<u8> {
        match value {
            // Where there is no value, anything may stand.
            Value::Null if cim_type.is_array() => NOTHING.into(),
            Value::Null => match cim_type.base() {
                CimType::SINT8 | CimType::UINT8 => vec![0xee],
                CimType::SINT16 | CimType::UINT16 | CimType::CHAR16 | CimType::BOOLEAN => vec![0xee; 2],
                CimType::SINT64 | CimType::UINT64 | CimType::REAL64 => vec![0xee; 8],
                _ => vec![0xee; 4],
            },
            Value::Array(values) => {
                let mut array = size(values.len()).to_vec();
                for value in values {
                    array.extend(self.value(cim_type.base(), value));
                }
                self.item(&array).into()
            }
            Value::Boolean(it) => vec![if *it { 0xff } else { 0 }; 2],
            Value::Character(it) => it.to_le_bytes().into(),
            Value::Real(it) if cim_type == CimType::REAL64 => it.to_le_bytes().into(),
            #[expect(clippy::cast_possible_truncation, reason = "it was made of 16 bits")]
            Value::Real(it) => (*it as f32).to_le_bytes().into(),
            Value::Signed(it) => narrowed(cim_type, it.to_le_bytes()),
            Value::Unsigned(it) => narrowed(cim_type, it.to_le_bytes()),
            Value::Text(it) => self.string(Some(it)).into(),
            Value::Object(it) => {
                let block = block(it);
                self.item(&[&size(block.len())[..], &block].concat()).into()
            }
            Value::Unreadable => panic!("nothing to write"),
        }
    }
}

fn narrowed(cim_type: CimType, bytes: [u8; 8]) -> Vec<u8> {
    let width = match cim_type {
        CimType::SINT8 | CimType::UINT8 => 1,
        CimType::SINT16 | CimType::UINT16 => 2,
        CimType::SINT32 | CimType::UINT32 => 4,
        _ => 8,
    };
    bytes[..width].into()
}

fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_le_bytes()
}

/// What follows a length that counts itself.
fn counted(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&size(body.len() + 4)[..], &body].concat()
}

/// In the narrow form if it can be.
fn encoded_string(text: &str) -> Vec<u8> {
    if text.chars().all(|letter| u32::from(letter) < 0x100) {
        let narrow = text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap());
        [0].into_iter().chain(narrow).chain([0]).collect()
    } else {
        [1].into_iter()
            .chain(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes))
            .collect()
    }
}

/// The flags of all properties, and their values.
fn table(properties: &[Property], heap: &mut Heap, null: impl Fn(&Property) -> bool) -> Vec<u8> {
    let mut states = vec![0; properties.len().div_ceil(4)];
    let mut values = Vec::new();
    for (index, property) in properties.iter().enumerate() {
        if null(property) {
            states[index / 4] |= 1 << (index % 4 * 2);
        }
        let value = if null(property) { &Value::Null } else { &property.value };
        values.extend(heap.value(property.cim_type, value));
    }
    [states, values].concat()
}

/// The lookup table is not in the order of declaration: the last property comes first.
fn class_part(object: &Object, has_values: bool) -> Vec<u8> {
    let mut heap = Heap::default();
    let class = heap.string(object.class.as_ref().filter(|_| has_values));
    let table = table(&object.properties, &mut heap, |it| {
        !has_values || it.value == Value::Null
    });
    let mut lookup = Vec::new();
    let mut offset = table.len();
    for (order, property) in object.properties.iter().enumerate().rev() {
        offset -= Heap::default().value(property.cim_type, &Value::Null).len();
        lookup.extend(heap.string(Some(&property.name)));
        let at = size(offset - object.properties.len().div_ceil(4));
        let order = u16::try_from(order).unwrap().to_le_bytes();
        lookup.extend(
            heap.item(
                &[
                    &property.cim_type.0.to_le_bytes()[..],
                    &order,
                    &at,
                    &[0; 4],
                    &[4, 0, 0, 0],
                ]
                .concat(),
            ),
        );
    }
    let superclass = object
        .superclass
        .as_ref()
        .map(|text| encoded_string(text))
        .unwrap_or_default();
    let derivation = counted(&[&superclass]);
    let head = [&[0][..], &class, &size(table.len())].concat();
    counted(&[
        &head,
        &derivation,
        &counted(&[]),
        &size(object.properties.len()),
        &lookup,
        &table,
        &heap.bytes(),
    ])
}

fn methods(names: &[String]) -> Vec<u8> {
    let mut heap = Heap::default();
    let descriptions: Vec<u8> = names
        .iter()
        .flat_map(|name| [&heap.string(Some(name))[..], &[0xee; 20]].concat())
        .collect();
    let count = u16::try_from(names.len()).unwrap().to_le_bytes();
    counted(&[&count, &[0xee; 2], &descriptions, &heap.bytes()])
}

/// [MS-WMIO] 2.2.5 `ObjectBlock`.
fn block(object: &Object) -> Vec<u8> {
    let mut bytes = vec![object.flags.bits()];
    bytes.extend(
        object
            .server
            .iter()
            .chain(&object.namespace)
            .flat_map(|text| encoded_string(text)),
    );
    if object.flags.contains(ObjectFlags::CLASS) {
        bytes.extend(class_part(&Object::default(), true));
        bytes.extend(methods(&[]));
        bytes.extend(class_part(object, true));
        bytes.extend(methods(&object.methods));
    } else {
        bytes.extend(class_part(object, false));
        let mut heap = Heap::default();
        let class = heap.string(object.class.as_ref());
        let table = table(&object.properties, &mut heap, |it| it.value == Value::Null);
        // Qualifiers of every property, each an empty set.
        let qualifiers = [counted(&[]), vec![2], counted(&[]).repeat(object.properties.len())].concat();
        bytes.extend(counted(&[&[0xee], &class, &table, &qualifiers, &heap.bytes()]));
    }
    bytes
}

/// [MS-WMIO] 2.2.1 `EncodingUnit`.
fn unit(object: &Object) -> Vec<u8> {
    let block = block(object);
    [&[0x78, 0x56, 0x34, 0x12][..], &size(block.len()), &block].concat()
}

impl Writer {
    fn bstr(&mut self, text: Option<&String>) -> &mut Self {
        let bytes = text.map(|text| lasting(text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        self.optional(bytes.map(Bstr::new).as_ref())
    }

    fn object(&mut self, object: Option<&Result<Object>>) -> &mut Self {
        match object {
            Some(object) => {
                let unit = unit(object.as_ref().unwrap());
                let iid = Iid::default().0;
                self.pointer()
                    .interface_pointer(&custom_objref(iid, CLSID_WBEM_CLASS_OBJECT.0, &unit))
            }
            None => self.null(),
        }
    }
}

writes! {
    EstablishPositionRequest: |it, w| w.put(&it.orpc_this).optional(it.reserved.as_ref()).ndr_u32(0);
    NtlmLoginRequest: |it, w| {
        w.put(&it.orpc_this).optional(it.namespace.as_ref()).optional(it.preferred_locale.as_ref());
        w.put(&it.flags).null()
    };
    InterfaceReply<'_>: |it, w| {
        w.orpc_that().pointer_if(it.objref.is_some());
        if let Some(bytes) = &it.objref {
            w.interface_pointer(bytes);
        }
        w.put(&it.status)
    };
    SetClientInfoRequest: |it, w| {
        w.put(&it.orpc_this).optional(it.client_machine.as_ref());
        if it.client_process_created.is_some() {
            w.optional(it.client_fqdn.as_ref());
        }
        w.put(&it.client_process);
        if let Some(created) = it.client_process_created {
            w.long_count((created & 0xffff_ffff) as usize).long_count((created >> 32) as usize);
        }
    };
    NameRequest: |it, w| w.put(&it.orpc_this).bstr(it.name.as_ref()).put(&it.flags);
    PutRequest: |it, w| w.put(&it.orpc_this).object(it.object.as_ref()).put(&it.flags);
    QueryRequest: |it, w| {
        w.put(&it.orpc_this).bstr(it.language.as_ref()).bstr(it.query.as_ref()).put(&it.flags)
    };
    ExecMethodRequest: |it, w| {
        w.put(&it.orpc_this).bstr(it.object_path.as_ref()).bstr(it.method.as_ref()).put(&it.flags).null();
        w.object(it.in_parameters.as_ref())
    };
    ObjectReply: |it, w| w.orpc_that().pointer().object(it.object.as_ref()).null().put(&it.status);
}

/// The reply of `OpenNamespace`, whose reference stands behind two pointers.
#[derive(Debug, PartialEq)]
struct OpenNamespace(InterfaceReply<'static>);

/// A reply that is a status.
#[derive(Debug, PartialEq)]
struct Status(u32);

writes! {
    OpenNamespace: |it, w| {
        w.orpc_that().pointer().pointer_if(it.0.objref.is_some());
        if let Some(bytes) = &it.0.objref {
            w.interface_pointer(bytes);
        }
        w.null().put(&it.0.status)
    };
    Status: |it, w| w.orpc_that().pointer().pointer().interface_pointer(b"call result").put(&it.0);
}

#[test]
fn every_login_is_read_as_it_was_written() {
    round_trips(EstablishPositionRequest::parse);
    round_trips(NtlmLoginRequest::parse);
    round_trips(InterfaceReply::parse);
    let client = |newer: bool| {
        sample::<SetClientInfoRequest>().prop_map(move |it| SetClientInfoRequest {
            client_fqdn: it.client_fqdn.filter(|_| newer),
            client_process_created: newer.then_some(it.client_process_created.unwrap_or(1 << 40)),
            ..it
        })
    };
    round_trips_of(client(false), SetClientInfoRequest::parse);
    round_trips_of(client(true), SetClientInfoRequest::parse_ex);
}

#[test]
fn every_call_of_iwbemservices_is_read_as_it_was_written() {
    for kind in KINDS {
        let request = sample::<NameRequest>().prop_map(move |it| NameRequest { kind, ..it });
        round_trips_of(request, |reader| NameRequest::parse(kind, reader));
    }
    round_trips(PutRequest::parse);
    round_trips(QueryRequest::parse);
    round_trips(ExecMethodRequest::parse);
    round_trips(ObjectReply::parse);
    round_trips_of(sample().prop_map(OpenNamespace), |reader| {
        InterfaceReply::parse_open_namespace(reader).map(OpenNamespace)
    });
    round_trips_of(sample().prop_map(Status), |reader| parse_status(reader).map(Status));
}

proptest! {
    /// The byte order of objects is fixed.
    #[test]
    fn every_object_is_read_as_it_was_written(object in object(3)) {
        let read = Object::parse_block(&block(&object));
        prop_assert_eq!(read.as_ref(), Ok(&object));
        prop_assert_eq!(Object::parse(&unit(&object)), Ok(object));
    }
}
