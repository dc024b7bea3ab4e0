//! The encoder of the tests: writes what the parsers read, in both byte orders and both encodings; and the property that
//! what was written is read.

use std::fmt::Debug;

use proptest::prelude::*;

use crate::error::Result;
use crate::guid::{Causality, Clsid, Guid, Iid, Ipid, Oid, Oxid};
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader};
use crate::rpce::{Ptype, SyntaxId};

/// The four ways in which a stub can be written.
pub(crate) const WAYS: [(ByteOrder, Encoding); 4] = [
    (ByteOrder::Little, Encoding::Ndr20),
    (ByteOrder::Big, Encoding::Ndr20),
    (ByteOrder::Little, Encoding::Ndr64),
    (ByteOrder::Big, Encoding::Ndr64),
];

/// Bytes in the making. Plain methods write where they stand, `ndr_*` methods align first, as NDR does.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    order: ByteOrder,
    encoding: Encoding,
}

macro_rules! integers {
    ($($name:ident $aligned:ident $type:ty;)*) => {$(
        pub(crate) fn $name(&mut self, value: $type) -> &mut Self {
            let bytes = match self.order {
                ByteOrder::Big => value.to_be_bytes(),
                ByteOrder::Little => value.to_le_bytes(),
            };
            self.raw(&bytes)
        }

        pub(crate) fn $aligned(&mut self, value: $type) -> &mut Self {
            self.align(size_of::<$type>()).$name(value)
        }
    )*};
}

impl Writer {
    pub(crate) fn new(order: ByteOrder, encoding: Encoding) -> Self {
        Self {
            bytes: Vec::new(),
            order,
            encoding,
        }
    }

    integers! {
        u16 ndr_u16 u16;
        u32 ndr_u32 u32;
        u64 ndr_u64 u64;
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes over what stands at `at`: a length that was not known when its place was written.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Reads what is written, as it was written.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, self.order, self.encoding, "test")
    }

    pub(crate) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Writes a part that is little-endian whatever the rest is.
    pub(crate) fn little_endian(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        let order = std::mem::replace(&mut self.order, ByteOrder::Little);
        write(self);
        self.order = order;
        self
    }

    pub(crate) fn put(&mut self, value: &impl Write) -> &mut Self {
        value.write(self);
        self
    }

    /// One value after the other, without a count.
    pub(crate) fn each<'v, T: Write + 'v>(&mut self, values: impl IntoIterator<Item = &'v T>) -> &mut Self {
        for value in values {
            value.write(self);
        }
        self
    }

    /// A conformant array: its count, and the elements.
    pub(crate) fn array<T: Write>(&mut self, values: &[T]) -> &mut Self {
        self.wide(values.len()).each(values)
    }

    /// A pointer that may be null.
    pub(crate) fn pointer_if(&mut self, there: bool) -> &mut Self {
        if there { self.pointer() } else { self.null() }
    }

    /// A pointer that may be null, and what it points to right behind it.
    pub(crate) fn optional(&mut self, value: Option<&impl Write>) -> &mut Self {
        self.pointer_if(value.is_some()).each(value)
    }

    /// An array behind a pointer, which is null when the array is empty.
    pub(crate) fn optional_array<T: Write>(&mut self, values: &[T]) -> &mut Self {
        if values.is_empty() {
            self.null()
        } else {
            self.pointer().array(values)
        }
    }

    /// Strings behind pointers in an array behind a pointer, which is null when there are none.
    pub(crate) fn optional_strings(&mut self, values: &[String]) -> &mut Self {
        if values.is_empty() {
            return self.null();
        }
        self.pointer().wide(values.len());
        self.pointers(values.len());
        self.each(values)
    }

    /// A count in 16 bits.
    pub(crate) fn short_count(&mut self, count: usize) -> &mut Self {
        self.ndr_u16(u16::try_from(count).unwrap())
    }

    /// A count in 32 bits.
    pub(crate) fn long_count(&mut self, count: usize) -> &mut Self {
        self.ndr_u32(u32::try_from(count).unwrap())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn guid(&mut self, guid: Guid) -> &mut Self {
        self.u32(guid.data1).u16(guid.data2).u16(guid.data3).raw(&guid.data4)
    }

    pub(crate) fn ndr_guid(&mut self, guid: Guid) -> &mut Self {
        self.align(4).guid(guid)
    }

    /// Padding is not zero, so that no test can take it for a value.
    pub(crate) fn align(&mut self, alignment: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0xaa);
        self
    }

    /// To an alignment that NDR64 asks for and NDR20 does not.
    pub(crate) fn align_ndr64(&mut self, alignment: usize) -> &mut Self {
        match self.encoding {
            Encoding::Ndr20 => self,
            Encoding::Ndr64 => self.align(alignment),
        }
    }

    /// To the alignment of a structure that holds a pointer.
    pub(crate) fn align_pointer(&mut self) -> &mut Self {
        match self.encoding {
            Encoding::Ndr20 => self.align(4),
            Encoding::Ndr64 => self.align(8),
        }
    }

    /// A count or a pointer, as wide as the encoding has it.
    pub(crate) fn wide(&mut self, value: usize) -> &mut Self {
        match self.encoding {
            Encoding::Ndr20 => self.ndr_u32(u32::try_from(value).unwrap()),
            Encoding::Ndr64 => self.ndr_u64(u64::try_from(value).unwrap()),
        }
    }

    /// A pointer that points.
    pub(crate) fn pointer(&mut self) -> &mut Self {
        let referent = 0x0002_0000 + self.bytes.len();
        self.wide(referent)
    }

    /// So many pointers that point.
    pub(crate) fn pointers(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.pointer();
        }
        self
    }

    /// A pointer that does not.
    pub(crate) fn null(&mut self) -> &mut Self {
        self.wide(0)
    }

    /// A conformant varying string of 16-bit characters with its terminator.
    pub(crate) fn wide_string(&mut self, text: &str) -> &mut Self {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        self.wide(units.len()).wide(0).wide(units.len());
        for unit in units {
            self.u16(unit);
        }
        self
    }

    /// A conformant varying string of 8-bit characters with its terminator.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        let length = text.len() + 1;
        self.wide(length).wide(0).wide(length).raw(text.as_bytes()).u8(0)
    }

    /// [MS-DCOM] 2.2.19.2 DUALSTRINGARRAY (IDL Version).
    pub(crate) fn dual_string_array(&mut self, strings: &[(u16, &str)], security: &[(u16, &str)]) -> &mut Self {
        let (units, security_offset) = dual_string_units(strings, security);
        self.wide(units.len());
        self.ndr_u16(u16::try_from(units.len()).unwrap())
            .ndr_u16(security_offset);
        for unit in units {
            self.u16(unit);
        }
        self
    }

    /// [MS-DCOM] 2.2.14 `MInterfacePointer` behind its pointer.
    pub(crate) fn interface_pointer(&mut self, objref: &[u8]) -> &mut Self {
        self.wide(objref.len());
        self.ndr_u32(u32::try_from(objref.len()).unwrap()).raw(objref)
    }

    /// [MS-DCOM] 2.2.13.3 ORPCTHIS without extensions.
    pub(crate) fn orpc_this(&mut self, causality: Guid) -> &mut Self {
        self.align_pointer().u16(5).u16(7).u32(1).u32(0).guid(causality);
        self.null()
    }

    /// [MS-DCOM] 2.2.13.4 ORPCTHAT without extensions.
    pub(crate) fn orpc_that(&mut self) -> &mut Self {
        self.align_pointer().u32(0).null()
    }
}

/// What can be written: the mirror of the parser, which reads the same fields in the same places.
pub(crate) trait Write {
    fn write(&self, writer: &mut Writer);
}

/// What a parser can give: any value of the type whose fields agree with each other.
pub(crate) trait Sample: Debug + Sized + 'static {
    fn sample() -> BoxedStrategy<Self>;
}

/// [`Sample::sample`] of whatever type is wanted.
pub(crate) fn sample<T: Sample>() -> BoxedStrategy<T> {
    T::sample()
}

/// So many at most.
pub(crate) fn up_to<T: Sample>(most: usize) -> BoxedStrategy<Vec<T>> {
    prop::collection::vec(T::sample(), 0..=most).boxed()
}

/// Bytes that outlive the test, as structures that borrow want them: a few kilobytes for each test.
pub(crate) fn lasting(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

macro_rules! plain {
    ($($type:ty: $write:ident;)*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                any::<Self>().boxed()
            }
        }

        impl Write for $type {
            fn write(&self, writer: &mut Writer) {
                writer.$write(*self);
            }
        }
    )*};
}

plain! { u8: u8; u16: ndr_u16; u32: ndr_u32; u64: ndr_u64; }

macro_rules! sampled {
    ($($type:ty)*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                any::<Self>().boxed()
            }
        }
    )*};
}

sampled! { bool i8 i16 i32 i64 u128 [u8; 4] [u8; 8] }

/// Newtypes: sampled and written as what is in them.
macro_rules! wrapped {
    ($($type:ident($inner:ty))*) => {$(
        impl $crate::testing::Sample for $type {
            fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                <$inner as $crate::testing::Sample>::sample().prop_map(Self).boxed()
            }
        }

        impl $crate::testing::Write for $type {
            fn write(&self, writer: &mut $crate::testing::Writer) {
                writer.put(&self.0);
            }
        }
    )*};
}

/// Flags: sampled and written as the bits they are.
macro_rules! flags {
    ($($type:ident($inner:ty))*) => {$(
        impl $crate::testing::Sample for $type {
            fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                <$inner as $crate::testing::Sample>::sample().prop_map(Self::from_bits_retain).boxed()
            }
        }

        impl $crate::testing::Write for $type {
            fn write(&self, writer: &mut $crate::testing::Writer) {
                writer.put(&self.bits());
            }
        }
    )*};
}

/// Structures of up to twelve fields: any value of each, or what the strategy behind it gives.
macro_rules! samples {
    ($($type:ty { $($field:ident $(= $strategy:expr)?),* $(,)? })*) => {$(
        impl $crate::testing::Sample for $type {
            fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                type Made = $type;
                ($(samples!(@field $($strategy)?),)*).prop_map(|($($field,)*)| Made { $($field),* }).boxed()
            }
        }
    )*};
    (@field) => { $crate::testing::sample() };
    (@field $strategy:expr) => { $strategy };
}

/// What writes each structure: an expression of the structure and of the writer.
macro_rules! writes {
    ($($type:ty: |$this:ident, $writer:ident| $body:expr;)*) => {$(
        impl $crate::testing::Write for $type {
            fn write(&self, $writer: &mut $crate::testing::Writer) {
                let $this = self;
                let _ = $body;
            }
        }
    )*};
}

pub(crate) use {flags, samples, wrapped, writes};

wrapped! { Causality(Guid) Clsid(Guid) Iid(Guid) Ipid(Guid) Oid(u64) Oxid(u64) }

samples! {
    Guid { data1, data2, data3, data4 }
    SyntaxId { uuid, version }
}

impl Write for Guid {
    fn write(&self, writer: &mut Writer) {
        writer.ndr_guid(*self);
    }
}

/// Of any characters but the one that ends it.
impl Sample for String {
    fn sample() -> BoxedStrategy<Self> {
        "[^\0]{0,12}".boxed()
    }
}

impl Write for String {
    fn write(&self, writer: &mut Writer) {
        writer.wide_string(self);
    }
}

impl Sample for &'static [u8] {
    fn sample() -> BoxedStrategy<Self> {
        up_to(40).prop_map(lasting).boxed()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample() -> BoxedStrategy<Self> {
        prop::option::of(T::sample()).boxed()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample() -> BoxedStrategy<Self> {
        up_to(4)
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample() -> BoxedStrategy<Self> {
        (A::sample(), B::sample()).boxed()
    }
}

/// Holds that `parse` reads every value as it is written, in each of the four ways, to the last byte.
pub(crate) fn round_trips<T: Sample + Write + PartialEq>(parse: impl Fn(&mut Reader<'static>) -> Result<T>) {
    round_trips_of(T::sample(), parse);
}

/// The same for those values that `strategy` gives.
pub(crate) fn round_trips_of<T: Debug + Write + PartialEq>(
    strategy: impl Strategy<Value = T>,
    parse: impl Fn(&mut Reader<'static>) -> Result<T>,
) {
    proptest!(ProptestConfig::with_cases(96), |(value in strategy)| {
        for (order, encoding) in WAYS {
            let mut writer = Writer::new(order, encoding);
            let bytes = lasting(writer.put(&value).bytes());
            let mut reader = Reader::new(bytes, order, encoding, "test");
            let read = parse(&mut reader);
            prop_assert_eq!(read.as_ref(), Ok(&value), "{:?} {:?}", order, encoding);
            prop_assert!(reader.rest().is_empty(), "{:?} {:?}", order, encoding);
        }
    });
}

/// Holds that `parse` reads every value as it is written, where the structure is always little-endian.
pub(crate) fn little_endian_round_trips<T: Sample + Write + PartialEq>(parse: impl Fn(&'static [u8]) -> Result<T>) {
    proptest!(ProptestConfig::with_cases(256), |(value in T::sample())| {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        let bytes = lasting(writer.put(&value).bytes());
        let read = parse(bytes);
        prop_assert_eq!(read.as_ref(), Ok(&value));
    });
}

fn dual_string_units(strings: &[(u16, &str)], security: &[(u16, &str)]) -> (Vec<u16>, u16) {
    let mut units = Vec::new();
    for (tower_id, address) in strings {
        units.push(*tower_id);
        units.extend(address.encode_utf16().chain([0]));
    }
    units.push(0);
    let security_offset = u16::try_from(units.len()).unwrap();
    for (service, principal) in security {
        units.extend([*service, 0xffff]);
        units.extend(principal.encode_utf16().chain([0]));
    }
    units.push(0);
    (units, security_offset)
}

/// [MS-DCOM] 2.2.19.1 DUALSTRINGARRAY (Packet Version): little-endian.
pub(crate) fn dual_string_packet(strings: &[(u16, &str)], security: &[(u16, &str)]) -> Vec<u8> {
    let (units, security_offset) = dual_string_units(strings, security);
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.u16(u16::try_from(units.len()).unwrap()).u16(security_offset);
    for unit in units {
        writer.u16(unit);
    }
    writer.bytes()
}

/// [MS-DCOM] 2.2.18 OBJREF of any form: signature, flags, IID and what the form adds.
pub(crate) fn objref(flags: u32, iid: Guid, rest: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.raw(b"MEOW").u32(flags).guid(iid).raw(rest);
    writer.bytes()
}

/// [MS-DCOM] 2.2.18.2 STDOBJREF (Packet Version).
pub(crate) fn std_objref(oxid: u64, oid: u64, ipid: Guid) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.u32(0x1000).u32(5).u64(oxid).u64(oid).guid(ipid);
    writer.bytes()
}

/// [MS-DCOM] 2.2.18.4 `OBJREF_STANDARD`.
pub(crate) fn standard_objref(iid: Guid, oxid: u64, ipid: Guid) -> Vec<u8> {
    let mut rest = std_objref(oxid, 0x0102, ipid);
    rest.extend(dual_string_packet(&[(7, "server")], &[(10, "")]));
    objref(1, iid, &rest)
}

/// [MS-DCOM] 2.2.18.6 `OBJREF_CUSTOM`.
pub(crate) fn custom_objref(iid: Guid, clsid: Guid, data: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer
        .guid(clsid)
        .u32(0)
        .u32(u32::try_from(data.len()).unwrap())
        .raw(data);
    objref(4, iid, &writer.bytes())
}

/// [MS-RPCE] 2.2.6 Type Serialization Version 1: both headers and what `write` writes, padded to eight bytes.
pub(crate) fn type_serialization_1(order: ByteOrder, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut inner = Writer::new(order, Encoding::Ndr20);
    write(&mut inner);
    inner.align(8);
    let endianness = if order == ByteOrder::Big { 0 } else { 0x10 };
    let mut writer = Writer::new(order, Encoding::Ndr20);
    writer.u8(1).u8(endianness).u16(8).raw(&[0xcc; 4]);
    writer
        .u32(u32::try_from(inner.bytes.len()).unwrap())
        .u32(0)
        .raw(&inner.bytes);
    writer.bytes()
}

/// A connection-oriented PDU: header with the lengths put in, body, and a verifier when there is one.
pub(crate) fn pdu(order: ByteOrder, ptype: Ptype, flags: u8, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut inner = Writer::new(order, Encoding::Ndr20);
    body(&mut inner);
    let representation = if order == ByteOrder::Big { 0 } else { 0x10 };
    let mut writer = Writer::new(order, Encoding::Ndr20);
    writer.raw(&[5, 0, ptype.0, flags, representation, 0, 0, 0]);
    writer.u16(u16::try_from(16 + inner.bytes.len()).unwrap()).u16(0).u32(7);
    writer.raw(&inner.bytes);
    writer.bytes()
}

/// What a stub in little-endian NDR20 says, all of it; no shorter one says anything.
pub(crate) fn whole<T>(bytes: &[u8], parse: impl Fn(&mut Reader<'_>) -> Result<T>) -> T {
    for length in 0..bytes.len() {
        let mut reader = Reader::new(&bytes[..length], ByteOrder::Little, Encoding::Ndr20, "test");
        assert!(parse(&mut reader).is_err(), "{length} bytes");
    }
    let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
    let answer = parse(&mut reader).unwrap();
    assert!(reader.rest().is_empty());
    answer
}
