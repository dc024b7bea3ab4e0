//! The encoder of the tests: writes what the parsers read, in both byte orders and both encodings.

use crate::error::Result;
use crate::guid::Guid;
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader};
use crate::rpce::Ptype;

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

/// [MS-DCOM] 2.2.22 Activation Properties BLOB in its `OBJREF_CUSTOM`.
pub(crate) fn activation_blob(order: ByteOrder, iid: Guid, clsid: Guid, properties: &[(Guid, Vec<u8>)]) -> Vec<u8> {
    let sizes: Vec<u32> = properties
        .iter()
        .map(|(_, bytes)| u32::try_from(bytes.len()).unwrap())
        .collect();
    let header = |total: u32, length: u32| {
        type_serialization_1(order, |writer| {
            writer.u32(total).u32(length).u32(0).u32(2);
            writer.u32(u32::try_from(properties.len()).unwrap()).guid(Guid::NULL);
            writer.pointer().pointer().null();
            writer.wide(properties.len());
            for (id, _) in properties {
                writer.guid(*id);
            }
            writer.wide(properties.len());
            for size in &sizes {
                writer.u32(*size);
            }
        })
    };
    let length = u32::try_from(header(0, 0).len()).unwrap();
    let total = length + sizes.iter().sum::<u32>();
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.u32(total).u32(0).raw(&header(total, length));
    for (_, bytes) in properties {
        writer.raw(bytes);
    }
    custom_objref(iid, clsid, &writer.bytes())
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
