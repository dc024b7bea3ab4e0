//! What is written is read: late-bound calls, variants of every type, type information.

use proptest::prelude::*;

use super::*;
use crate::dcom::OrpcThis;
use crate::input::ByteOrder;
use crate::ndr::Encoding;
use crate::testing::{
    Sample, WAYS, Write, Writer, flags, lasting, round_trips, sample, samples, up_to, wrapped, writes,
};

wrapped! { TypeKind(u32) InvokeKind(u32) }
flags! { InvokeFlags(u32) }

samples! {
    GetTypeInfoCountReply { count, hresult }
    GetTypeInfoRequest { orpc_this, index, lcid }
    GetIdsOfNamesRequest { orpc_this, iid, names, lcid }
    GetIdsOfNamesReply { dispids, hresult }
    CreateInstanceRequest { orpc_this, iid }
    InterfaceReply<'static> { interface, hresult }
    EnumNextRequest { orpc_this, count }
    EnumNextReply<'static> { elements, hresult }
    ExcepInfo<'static> {
        code, source, description, help_file, help_context, scode = 1..=u32::MAX
    }
    SafeArrayBound { count, lower }
    Decimal { magnitude = 0..1_u128 << 96, scale, negative }
    Record<'static> { info, data }
    TypeAttr { guid, kind, functions, variables, interfaces, flags, version }
    GetTypeAttrReply { attributes, hresult }
    GetFuncDescRequest { orpc_this, index }
    FuncDesc { member, kind, parameters, result }
    GetFuncDescReply { function, hresult }
    GetNamesRequest { orpc_this, member, max_names }
    GetNamesReply<'static> { names, hresult }
    GetDocumentationRequest { orpc_this, member, wanted }
    GetDocumentationReply<'static> { name, description, help_context, help_file, hresult }
}

impl Sample for Dispid {
    fn sample() -> BoxedStrategy<Self> {
        sample().prop_map(Self).boxed()
    }
}

impl Write for Dispid {
    fn write(&self, writer: &mut Writer) {
        writer.ndr_u32(self.0.cast_unsigned());
    }
}

/// Text, bytes of any number, nothing, and null.
impl Sample for Bstr<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let text = sample::<String>().prop_map(|text| Self::new(lasting(utf16(&text))));
        prop_oneof![text, sample().prop_map(Self::new), Just(Self::default())].boxed()
    }
}

impl Sample for InterfacePointer<'static> {
    fn sample() -> BoxedStrategy<Self> {
        sample().prop_map(Self::new).boxed()
    }
}

/// A type that a parameter can have: all those that have a name.
impl Sample for VarType {
    fn sample() -> BoxedStrategy<Self> {
        (0..0x27_u16)
            .prop_map(Self)
            .prop_filter("a type", |it| it.name().is_some())
            .boxed()
    }
}

/// A float that equals itself.
fn number() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL | prop::num::f64::INFINITE
}

fn plain() -> impl Strategy<Value = Variant<'static>> {
    let small = prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::INFINITE;
    let numbers = prop_oneof![
        sample().prop_map(Variant::I1),
        sample().prop_map(Variant::I2),
        sample().prop_map(Variant::I4),
        sample().prop_map(Variant::I8),
        sample().prop_map(Variant::Ui1),
        sample().prop_map(Variant::Ui2),
        sample().prop_map(Variant::Ui4),
        sample().prop_map(Variant::Ui8),
        sample().prop_map(Variant::Int),
        sample().prop_map(Variant::Uint),
    ];
    let measures = prop_oneof![
        small.prop_map(Variant::R4),
        number().prop_map(Variant::R8),
        number().prop_map(Variant::Date),
        sample().prop_map(Variant::Currency),
        sample().prop_map(Variant::Decimal),
        sample().prop_map(Variant::Bool),
        sample().prop_map(Variant::Error),
    ];
    prop_oneof![
        Just(Variant::Empty),
        Just(Variant::Null),
        numbers,
        measures,
        sample().prop_map(Variant::Bstr),
        sample().prop_map(Variant::Unknown),
        sample().prop_map(Variant::Dispatch),
        Just(Variant::Array(None)),
    ]
}

/// What [`plain`] gives, what cannot be passed by reference as such, and nestings of both.
impl Sample for Variant<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let other = (0x48..0x0fff_u16, 4..9_usize);
        let other = other.prop_map(|(id, size)| Variant::Other {
            var_type: VarType(id),
            length: size * 8,
        });
        let leaf = prop_oneof![6 => plain(), 1 => sample().prop_map(Variant::Record), 1 => other];
        let nested = |inner: BoxedStrategy<Self>| {
            let by_ref = inner.clone().prop_map(|value| Variant::ByRef(Box::new(value)));
            prop_oneof![
                4 => inner.clone(),
                1 => by_ref,
                1 => array(inner).prop_map(|array| Variant::Array(Some(Box::new(array)))),
            ]
        };
        leaf.prop_recursive(3, 24, 4, move |inner| nested(inner.boxed()))
            .boxed()
    }
}

fn array(inner: BoxedStrategy<Variant<'static>>) -> impl Strategy<Value = SafeArray<'static>> {
    let scalars: Vec<VarType> = (0..0x18)
        .map(VarType)
        .filter(|it| it.scalar_width().is_some())
        .collect();
    let scalars = (prop::sample::select(scalars), up_to::<u8>(40)).prop_map(|(var_type, mut bytes)| {
        bytes.truncate(bytes.len() / var_type.scalar_width().unwrap() * var_type.scalar_width().unwrap());
        Elements::Scalars {
            var_type,
            bytes: lasting(bytes),
        }
    });
    let elements = prop_oneof![
        scalars,
        sample::<Vec<_>>().prop_map(|it| Elements::Values(it.into_iter().map(Variant::Bstr).collect())),
        sample::<Vec<_>>().prop_map(|it| Elements::Values(it.into_iter().map(Variant::Unknown).collect())),
        sample::<Vec<_>>().prop_map(|it| Elements::Values(it.into_iter().map(Variant::Dispatch).collect())),
        sample::<Vec<_>>().prop_map(|it| Elements::Values(it.into_iter().map(Variant::Record).collect())),
        prop::collection::vec(inner, 0..4).prop_map(Elements::Values),
    ];
    (sample(), sample(), sample(), elements).prop_map(|(features, iid, bounds, elements): (u16, Option<_>, _, _)| {
        // Only arrays of references name the interface of all.
        let of_objects = |it: &Variant<'_>| matches!(it, Variant::Unknown(_));
        let named =
            matches!(&elements, Elements::Values(values) if !values.is_empty() && values.iter().all(of_objects));
        SafeArray {
            features,
            iid: iid.filter(|_| named),
            bounds,
            elements,
        }
    })
}

/// Those with a name come last, as a programmer writes them.
impl Sample for InvokeRequest<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let head = (sample::<OrpcThis>(), sample(), sample(), sample(), sample());
        (head, up_to::<Variant<'_>>(5), sample::<Vec<Dispid>>())
            .prop_map(|((orpc_this, member, iid, lcid, flags), values, names)| {
                let unnamed = values.len().saturating_sub(names.len());
                let names = std::iter::repeat_n(None, unnamed).chain(names.into_iter().map(Some));
                let each = values.into_iter().zip(names);
                let arguments = each.map(|(value, name)| Argument { name, value }).collect();
                Self {
                    orpc_this,
                    member,
                    iid,
                    lcid,
                    flags,
                    arguments,
                    broken: None,
                }
            })
            .boxed()
    }
}

/// What an exception and a blamed argument say counts only with the HRESULTs that go with them.
impl Sample for InvokeReply<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let blamed = prop_oneof![Just(0x8002_0004), Just(0x8002_0005)];
        let outcome = prop_oneof![
            (blamed, any::<u32>()).prop_map(|(hresult, argument)| (hresult, Some(argument))),
            (0x8002_000a..u32::MAX).prop_map(|hresult| (hresult, None)),
            Just((0x8002_0009, None)),
            Just((0, None)),
        ];
        (sample(), ExcepInfo::sample(), outcome, sample())
            .prop_map(|(result, exception, (hresult, argument_error), references)| Self {
                result,
                exception: (hresult == 0x8002_0009).then_some(exception),
                argument_error,
                references,
                hresult,
            })
            .boxed()
    }
}

/// Runs `check` in both byte orders and both encodings.
pub(super) fn every_way(check: impl Fn(ByteOrder, Encoding)) {
    for (order, encoding) in WAYS {
        check(order, encoding);
    }
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn element_type(array: &SafeArray<'_>) -> VarType {
    let all = |values: &[Variant<'_>], of: fn(&Variant<'_>) -> bool| values.iter().all(of);
    match &array.elements {
        Elements::Scalars { var_type, .. } => *var_type,
        Elements::Values(values) if all(values, |it| matches!(it, Variant::Bstr(_))) => VarType::BSTR,
        Elements::Values(values) if all(values, |it| matches!(it, Variant::Unknown(_))) => VarType::UNKNOWN,
        Elements::Values(values) if all(values, |it| matches!(it, Variant::Dispatch(_))) => VarType::DISPATCH,
        Elements::Values(values) if all(values, |it| matches!(it, Variant::Record(_))) => VarType::RECORD,
        Elements::Values(_) => VarType::VARIANT,
    }
}

fn type_of(variant: &Variant<'_>) -> VarType {
    match variant {
        Variant::Empty => VarType::EMPTY,
        Variant::Null => VarType::NULL,
        Variant::I1(_) => VarType::I1,
        Variant::I2(_) => VarType::I2,
        Variant::I4(_) => VarType::I4,
        Variant::I8(_) => VarType::I8,
        Variant::Ui1(_) => VarType::UI1,
        Variant::Ui2(_) => VarType::UI2,
        Variant::Ui4(_) => VarType::UI4,
        Variant::Ui8(_) => VarType::UI8,
        Variant::Int(_) => VarType::INT,
        Variant::Uint(_) => VarType::UINT,
        Variant::R4(_) => VarType::R4,
        Variant::R8(_) => VarType::R8,
        Variant::Bool(_) => VarType::BOOL,
        Variant::Error(_) => VarType::ERROR,
        Variant::Currency(_) => VarType::CY,
        Variant::Date(_) => VarType::DATE,
        Variant::Bstr(_) => VarType::BSTR,
        Variant::Decimal(_) => VarType::DECIMAL,
        Variant::Unknown(_) => VarType::UNKNOWN,
        Variant::Dispatch(_) => VarType::DISPATCH,
        Variant::Record(_) => VarType::RECORD,
        Variant::ByRef(inner) if as_variant(inner) => VarType(VarType::VARIANT.0 | VarType::BYREF),
        Variant::ByRef(inner) => VarType(type_of(inner).0 | VarType::BYREF),
        Variant::Array(array) => {
            let element = array.as_ref().map(|array| element_type(array)).unwrap_or_default();
            VarType(element.0 | VarType::ARRAY)
        }
        Variant::Other { var_type, .. } => *var_type,
        Variant::Unread => panic!("nothing to write"),
    }
}

/// A reference leads to another variant where the type of what it leads to leaves no room for the flag.
fn as_variant(inner: &Variant<'_>) -> bool {
    matches!(inner, Variant::ByRef(_) | Variant::Record(_) | Variant::Other { .. })
}

impl Writer {
    fn hresult(&mut self, hresult: u32) -> &mut Self {
        self.ndr_u32(hresult)
    }

    fn value(&mut self, variant: &Variant<'_>) -> &mut Self {
        match variant {
            Variant::Empty | Variant::Null => self,
            Variant::I1(value) => self.u8(value.cast_unsigned()),
            Variant::Ui1(value) => self.u8(*value),
            Variant::I2(value) => self.ndr_u16(value.cast_unsigned()),
            Variant::Ui2(value) => self.ndr_u16(*value),
            Variant::Bool(value) => self.ndr_u16(if *value { 0xffff } else { 0 }),
            Variant::I4(value) | Variant::Int(value) => self.ndr_u32(value.cast_unsigned()),
            Variant::Ui4(value) | Variant::Uint(value) | Variant::Error(value) => self.ndr_u32(*value),
            Variant::R4(value) => self.ndr_u32(value.to_bits()),
            Variant::I8(value) | Variant::Currency(value) => self.ndr_u64(value.cast_unsigned()),
            Variant::Ui8(value) => self.ndr_u64(*value),
            Variant::R8(value) | Variant::Date(value) => self.ndr_u64(value.to_bits()),
            Variant::Bstr(text) => self.pointer().put(text),
            Variant::Decimal(decimal) => {
                self.align(8)
                    .u16(0)
                    .u8(decimal.scale)
                    .u8(if decimal.negative { 0x80 } else { 0 });
                self.u32(u32::try_from(decimal.magnitude >> 64).unwrap());
                self.u64(u64::try_from(decimal.magnitude & u128::from(u64::MAX)).unwrap())
            }
            Variant::Unknown(pointer) | Variant::Dispatch(pointer) => self.optional(pointer.as_ref()),
            Variant::Record(record) => self.pointer().put(record),
            Variant::ByRef(inner) if as_variant(inner) => self.pointer().pointer().put(&**inner),
            Variant::ByRef(inner) => self.pointer().value(inner),
            Variant::Array(Some(array)) => self.pointer().pointer().put(&**array),
            Variant::Array(None) => self.null(),
            Variant::Other { .. } | Variant::Unread => panic!("not written: {variant:?}"),
        }
    }

    /// Pointers to variants, and behind them all the variants.
    pub(super) fn variants(&mut self, values: &[Variant<'_>]) -> &mut Self {
        self.wide(values.len());
        self.pointers(values.len());
        self.each(values)
    }

    /// A TYPEDESC without its referent.
    pub(super) fn type_desc(&mut self, var_type: VarType) -> &mut Self {
        self.align(4).align_ndr64(8).ndr_u16(var_type.0).align_ndr64(8);
        match var_type {
            VarType::PTR | VarType::SAFEARRAY | VarType::CARRAY => _ = self.pointer(),
            VarType::USERDEFINED => _ = self.ndr_u32(0x1234),
            _ => {}
        }
        self.ndr_u16(var_type.0).align_ndr64(8)
    }

    /// What a TYPEDESC points to: a pointer to a type of its own, an array of two dimensions.
    fn type_referent(&mut self, var_type: VarType) -> &mut Self {
        match var_type {
            VarType::PTR | VarType::SAFEARRAY => self.type_desc(VarType::PTR).type_desc(VarType::USERDEFINED),
            VarType::CARRAY => {
                self.wide(2).type_desc(VarType::UI1).ndr_u16(2);
                self.ndr_u32(8).ndr_u32(0).ndr_u32(9).ndr_u32(1).align_ndr64(8)
            }
            _ => self,
        }
    }

    /// A parameter; those that take a pointer have a default.
    fn elem_desc(&mut self, var_type: VarType) -> &mut Self {
        self.type_desc(var_type)
            .pointer_if(var_type == VarType::PTR)
            .ndr_u16(1)
            .align_ndr64(8)
    }

    fn elem_referents(&mut self, var_type: VarType) -> &mut Self {
        self.type_referent(var_type);
        if var_type == VarType::PTR {
            self.align_pointer().ndr_u32(24).pointer().put(&Variant::I4(1));
        }
        self
    }
}

writes! {
    Bstr<'_>: |it, w| w.little_endian(|w| {
        let (bytes, units) = (it.bytes(), it.bytes().len().div_ceil(2));
        w.wide(units).ndr_u32(if it.is_null() { u32::MAX } else { u32::try_from(bytes.len()).unwrap() });
        w.long_count(units).raw(bytes);
        w.raw(if bytes.len() & 1 == 1 { &[0xdd] } else { &[] });
    });
    InterfacePointer<'_>: |it, w| w.interface_pointer(it.bytes());
    Record<'_>: |it, w| {
        w.align_pointer().ndr_u32(1).long_count(it.data.len()).pointer_if(it.info.is_some()).pointer().each(&it.info);
        w.wide(it.data.len()).raw(it.data)
    };
    Variant<'_>: |it, w| w.little_endian(|w| {
        let var_type = type_of(it).0;
        let start = w.align(8).len();
        w.u32(0).u32(0).u16(var_type).raw(&[0; 6]).align_ndr64(8);
        // For arrays the second type lacks that of the elements.
        w.ndr_u32(u32::from(if var_type & VarType::ARRAY == 0 { var_type } else { var_type & !0x0fff }));
        w.align_ndr64(8);
        if let Variant::Other { length, .. } = it {
            w.raw(&vec![0xdd; start + length - w.len()]);
        } else {
            w.value(it);
        }
        if type_of(it).scalar_width().is_some() {
            w.align_ndr64(8);
        }
        let size = u32::try_from((w.len() - start).div_ceil(8)).unwrap();
        w.patch(start, &size.to_le_bytes());
    });
    SafeArray<'_>: |it, w| {
        let element = element_type(it);
        let width = element.scalar_width();
        let kind = match width {
            Some(1) => VarType::I1,
            Some(2) => VarType::I2,
            Some(4) => VarType::I4,
            Some(_) => VarType::I8,
            None => element,
        };
        let kind = if it.iid.is_some() { 0x800d } else { kind.0.into() };
        w.wide(it.bounds.len()).align_ndr64(8).short_count(it.bounds.len()).ndr_u16(it.features);
        w.long_count(width.unwrap_or(4)).ndr_u32(u32::from(element.0) << 16).align_ndr64(8);
        w.ndr_u32(kind).align_ndr64(8).long_count(it.elements.len()).pointer().each(&it.iid);
        for bound in &it.bounds {
            w.ndr_u32(bound.count).ndr_u32(bound.lower.cast_unsigned());
        }
        w.wide(it.elements.len());
        match &it.elements {
            Elements::Scalars { bytes, .. } => _ = w.align(width.unwrap()).raw(bytes),
            Elements::Values(values) => {
                let null = [Variant::Unknown(None), Variant::Dispatch(None)];
                let typed = element != VarType::VARIANT;
                for value in values {
                    w.pointer_if(!(typed && null.contains(value)));
                }
                for value in values {
                    match value {
                        Variant::Bstr(text) if typed => _ = w.put(text),
                        Variant::Record(record) if typed => _ = w.put(record),
                        Variant::Unknown(pointer) | Variant::Dispatch(pointer) if typed => _ = w.each(pointer),
                        value => _ = w.put(value),
                    }
                }
            }
        }
    };
    InvokeRequest<'_>: |it, w| {
        let (mut values, mut references) = (Vec::new(), Vec::new());
        for (index, argument) in it.arguments.iter().rev().enumerate() {
            // What is passed by reference stands apart and leaves a hole.
            if let Variant::ByRef(_) = argument.value {
                references.push((u32::try_from(index).unwrap(), argument.value.clone()));
                values.push(Variant::Empty);
            } else {
                values.push(argument.value.clone());
            }
        }
        let names: Vec<Dispid> = it.arguments.iter().rev().filter_map(|argument| argument.name).collect();
        let (indices, references): (Vec<u32>, Vec<_>) = references.into_iter().unzip();
        w.put(&it.orpc_this).put(&it.member).put(&it.iid).put(&it.lcid).put(&it.flags).align_pointer();
        w.pointer_if(!values.is_empty()).pointer_if(!names.is_empty());
        w.long_count(values.len()).long_count(names.len());
        if !values.is_empty() {
            w.variants(&values);
        }
        if !names.is_empty() {
            w.array(&names);
        }
        w.long_count(indices.len()).array(&indices).variants(&references)
    };
    ExcepInfo<'_>: |it, w| {
        let texts = [it.source, it.description, it.help_file];
        w.align_pointer().put(&it.code).ndr_u16(0);
        for text in &texts {
            w.pointer_if(!text.is_null());
        }
        w.put(&it.help_context).wide(0).wide(0).put(&it.scode).align_ndr64(8);
        w.each(texts.iter().filter(|text| !text.is_null()))
    };
    InvokeReply<'_>: |it, w| {
        // What stands there without an exception says nothing.
        let stale = ExcepInfo { scode: 7, ..ExcepInfo::default() };
        w.orpc_that().pointer().put(&it.result).put(&it.exception.unwrap_or(stale));
        w.put(&it.argument_error.unwrap_or(7)).variants(&it.references).hresult(it.hresult)
    };
    GetTypeInfoCountReply: |it, w| w.orpc_that().put(&it.count).hresult(it.hresult);
    GetTypeInfoRequest: |it, w| w.put(&it.orpc_this).put(&it.index).put(&it.lcid);
    GetIdsOfNamesRequest: |it, w| {
        w.put(&it.orpc_this).put(&it.iid).wide(it.names.len());
        w.pointers(it.names.len());
        w.each(&it.names).long_count(it.names.len()).put(&it.lcid)
    };
    GetIdsOfNamesReply: |it, w| w.orpc_that().array(&it.dispids).hresult(it.hresult);
    CreateInstanceRequest: |it, w| w.put(&it.orpc_this).put(&it.iid);
    InterfaceReply<'_>: |it, w| w.orpc_that().optional(it.interface.as_ref()).hresult(it.hresult);
    EnumNextRequest: |it, w| w.put(&it.orpc_this).put(&it.count);
    EnumNextReply<'_>: |it, w| {
        w.orpc_that().wide(it.elements.len() + 1).wide(0).variants(&it.elements);
        w.long_count(it.elements.len()).hresult(it.hresult)
    };
    GetTypeAttrReply: |it, w| w.orpc_that().optional(it.attributes.as_ref()).ndr_u32(0).hresult(it.hresult);
    TypeAttr: |it, w| {
        w.align_pointer().put(&it.guid);
        for &it in &[0, 0, u32::MAX, u32::MAX] {
            w.ndr_u32(it);
        }
        w.null().ndr_u32(8).put(&it.kind).put(&it.functions).put(&it.variables).put(&it.interfaces);
        w.ndr_u16(0).ndr_u16(8).put(&it.flags).put(&it.version.0).put(&it.version.1);
        w.type_desc(VarType::PTR).ndr_u32(0).ndr_u16(0).align_ndr64(8).type_referent(VarType::PTR)
    };
    GetFuncDescRequest: |it, w| w.put(&it.orpc_this).put(&it.index);
    FuncDesc: |it, w| {
        w.align_pointer().put(&it.member).pointer().pointer().ndr_u32(4).put(&it.kind).ndr_u32(4);
        w.short_count(it.parameters.len()).ndr_u16(0).ndr_u16(0).ndr_u16(0).elem_desc(it.result).ndr_u16(0);
        w.align_ndr64(8).array(&[1_u32, 2]).wide(it.parameters.len());
        for &it in &it.parameters {
            w.elem_desc(it);
        }
        for &it in &it.parameters {
            w.elem_referents(it);
        }
        w.elem_referents(it.result)
    };
    GetFuncDescReply: |it, w| w.orpc_that().optional(it.function.as_ref()).ndr_u32(0).hresult(it.hresult);
    GetNamesRequest: |it, w| w.put(&it.orpc_this).put(&it.member).put(&it.max_names);
    GetNamesReply<'_>: |it, w| {
        w.orpc_that().wide(it.names.len() + 3).wide(0).wide(it.names.len());
        w.pointers(it.names.len());
        w.each(&it.names).long_count(it.names.len()).hresult(it.hresult)
    };
    GetDocumentationRequest: |it, w| w.put(&it.orpc_this).put(&it.member).put(&it.wanted);
    GetDocumentationReply<'_>: |it, w| {
        w.orpc_that().pointer().put(&it.name).pointer().put(&it.description).put(&it.help_context);
        w.pointer().put(&it.help_file).hresult(it.hresult)
    };
}

/// A variant behind its pointer, and a number behind both.
#[derive(Debug, PartialEq)]
struct Followed(Variant<'static>);

impl Write for Followed {
    fn write(&self, writer: &mut Writer) {
        writer.u8(9).pointer().put(&self.0).ndr_u32(0x0102_0304);
    }
}

#[test]
fn every_variant_is_read_as_it_was_written() {
    crate::testing::round_trips_of(sample().prop_map(Followed), |reader| {
        assert_eq!(reader.u8(), Ok(9));
        let variant = Variant::parse(reader)?;
        assert_eq!(reader.u32(), Ok(0x0102_0304));
        Ok(Followed(variant))
    });
}

#[test]
fn every_call_of_idispatch_is_read_as_it_was_written() {
    round_trips(GetTypeInfoCountReply::parse);
    round_trips(GetTypeInfoRequest::parse);
    round_trips(GetIdsOfNamesRequest::parse);
    round_trips(GetIdsOfNamesReply::parse);
    round_trips(InvokeRequest::parse);
    round_trips(InvokeReply::parse);
}

#[test]
fn what_makes_objects_and_walks_over_them_is_read_as_it_was_written() {
    round_trips(CreateInstanceRequest::parse);
    round_trips(InterfaceReply::parse);
    round_trips(EnumNextRequest::parse);
    round_trips(EnumNextReply::parse);
}

#[test]
fn all_type_information_is_read_as_it_was_written() {
    round_trips(GetTypeAttrReply::parse);
    round_trips(GetFuncDescRequest::parse);
    round_trips(GetFuncDescReply::parse);
    round_trips(GetNamesRequest::parse);
    round_trips(GetNamesReply::parse);
    round_trips(GetDocumentationRequest::parse);
    round_trips(GetDocumentationReply::parse);
}
