//! [MS-WMIO]: CIM objects as they travel, classes and instances alike.
//!
//! ```text
//! EncodingUnit    | signature 4 | length 4 | ObjectBlock |
//! ObjectBlock     | flags 1 | server, namespace (if decorated) | ClassType or InstanceType |
//! ClassType       | ClassPart MethodsPart (of the superclass) | ClassPart MethodsPart |
//! InstanceType    | ClassPart | length 4 | flags 1 | class name 4 | NdTable | values | qualifiers | heap |
//! ClassPart       | length 4 | 0 1 | class name 4 | table length 4 | superclasses | qualifiers | properties | NdTable | values | heap |
//! ```

use std::fmt;

use bitflags::bitflags;

use super::heap::{Budget, Heap, encoded_string};
use super::value::{CimType, Value};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// [MS-WMIO] 2.2.77 Signature.
const SIGNATURE: u32 = 0x1234_5678;
/// How deep objects within objects are followed.
const MAX_DEPTH: usize = 4;
/// What an embedded object and a property cost beside the strings in them.
const OBJECT_COST: usize = 32;
const PROPERTY_COST: usize = 8;

bitflags! {
    /// [MS-WMIO] 2.2.6 `ObjectFlags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ObjectFlags: u8 {
        /// A class.
        const CLASS = 0x01;
        /// An instance of a class.
        const INSTANCE = 0x02;
        /// It says where it comes from.
        const DECORATED = 0x04;
        /// The shape of a query's results.
        const PROTOTYPE = 0x10;
        /// A prototype that lacks keys of the class.
        const KEYS_MISSING = 0x40;
        const _ = !0;
    }
}

/// A CIM class or instance: [MS-WMIO] 2.2.5 `ObjectBlock`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Which of the two, and with what.
    pub flags: ObjectFlags,
    /// The server it comes from, when it says so.
    pub server: Option<String>,
    /// The namespace it comes from, when it says so.
    pub namespace: Option<String>,
    /// Its class, or the class that it is.
    pub class: Option<String>,
    /// The class that the class is derived from.
    pub superclass: Option<String>,
    /// Properties in the order in which the class declares them. Those of a class have its default values.
    pub properties: Vec<Property>,
    /// Names of the methods, which only a class tells.
    pub methods: Vec<String>,
}

/// One property of an object: [MS-WMIO] 2.2.23 `PropertyLookup` with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub cim_type: CimType,
    /// Its value.
    pub value: Value,
}

impl Object {
    /// Reads a [MS-WMIO] 2.2.1 `EncodingUnit`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "EncodingUnit");
        let signature = input.u32()?;
        if signature != SIGNATURE {
            return Err(input.invalid("Signature", signature));
        }
        // The length may exceed what is there ([MS-WMIO] 3.1 has an example).
        input.skip(4)?;
        Self::block(input, &mut Budget::for_bytes(bytes.len()), 0)
    }

    /// Reads a [MS-WMIO] 2.2.5 `ObjectBlock` that stands by itself.
    pub fn parse_block(bytes: &[u8]) -> Result<Self> {
        let input = Input::new(bytes, ByteOrder::Little, "ObjectBlock");
        Self::block(input, &mut Budget::for_bytes(bytes.len()), 0)
    }

    /// The value of the property `name`; case does not matter in CIM.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let property = self.properties.iter().find(|p| p.name.eq_ignore_ascii_case(name))?;
        Some(&property.value)
    }

    /// An object within the heap of another: its length before it. None when it is too deep or makes no sense.
    pub(super) fn embedded(input: &mut Input<'_>, budget: &mut Budget, depth: usize) -> Option<Self> {
        if depth >= MAX_DEPTH {
            return None;
        }
        budget.spend(OBJECT_COST)?;
        let length = usize::try_from(input.u32().ok()?).ok()?;
        let block = input.sub(length.min(input.remaining())).ok()?;
        Self::block(block, budget, depth.checked_add(1)?).ok()
    }

    fn block(mut input: Input<'_>, budget: &mut Budget, depth: usize) -> Result<Self> {
        input.enter("ObjectBlock");
        let flags = ObjectFlags::from_bits_retain(input.u8()?);
        let mut object = Self {
            flags,
            ..Self::default()
        };
        if flags.contains(ObjectFlags::DECORATED) {
            object.server = Some(encoded_string(&mut input, budget)?);
            object.namespace = Some(encoded_string(&mut input, budget)?);
        }
        if flags.contains(ObjectFlags::CLASS) {
            object.class_type(&mut input, budget, depth)?;
        } else if flags.contains(ObjectFlags::INSTANCE) {
            object.instance_type(&mut input, budget, depth)?;
        } else {
            return Err(input.invalid("ObjectFlags", flags.bits()));
        }
        Ok(object)
    }

    /// [MS-WMIO] 2.2.11 `ClassType`.
    fn class_type(&mut self, input: &mut Input<'_>, budget: &mut Budget, depth: usize) -> Result<()> {
        counted(input, "ParentClass")?;
        counted(input, "MethodsPart")?;
        let part = ClassPart::parse(input, budget)?;
        self.properties = part.properties(budget, depth);
        self.class = part.class;
        self.superclass = part.superclass;
        self.methods = methods(counted(input, "MethodsPart")?, budget)?;
        Ok(())
    }

    /// [MS-WMIO] 2.2.53 `InstanceType`.
    fn instance_type(&mut self, input: &mut Input<'_>, budget: &mut Budget, depth: usize) -> Result<()> {
        let part = ClassPart::parse(input, budget)?;
        input.enter("InstanceType");
        input.skip(4)?; // EncodingLength: the fields themselves say more
        input.skip(1)?; // InstanceFlags
        let class = input.u32()?;
        let table = Table::parse(input, part.table_length, part.count)?;
        skip_qualifiers(input, part.count)?;
        let heap = Heap::parse(input)?;
        let defaults = part.properties(budget, depth);
        let each = part.slots.iter().zip(defaults);
        self.properties = each
            .map(|(slot, default)| match table.state(slot) {
                State::Null => Property {
                    value: Value::Null,
                    ..default
                },
                State::Inherited => default,
                State::Own => Property {
                    value: table.value(slot, heap, budget, depth),
                    ..default
                },
            })
            .collect();
        self.class = heap.string(class, budget).or(part.class);
        self.superclass = part.superclass;
        Ok(())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.as_deref().unwrap_or("?"))?;
        f.write_str(" {")?;
        let told = self.properties.iter().filter(|p| p.value != Value::Null);
        for (index, Property { name, value, .. }) in told.enumerate() {
            f.write_str(if index == 0 { " " } else { ", " })?;
            write!(f, "{name}: {value}")?;
        }
        f.write_str(" }")
    }
}

/// [MS-WMIO] 2.2.15 `ClassPart`, as far as values need it.
struct ClassPart<'a> {
    class: Option<String>,
    superclass: Option<String>,
    /// `PropertyCount`; a property that makes no sense has no slot, but still a place in the tables.
    count: usize,
    slots: Vec<Slot>,
    table_length: usize,
    table: Table<'a>,
    heap: Heap<'a>,
}

/// [MS-WMIO] 2.2.23 `PropertyLookup` with its [MS-WMIO] 2.2.30 `PropertyInfo`.
struct Slot {
    name: String,
    cim_type: CimType,
    /// `DeclarationOrder`, which is also the place in the `NdTable`.
    order: u16,
    /// Where the value stands in the table of values.
    offset: u32,
}

impl<'a> ClassPart<'a> {
    fn parse(input: &mut Input<'a>, budget: &mut Budget) -> Result<Self> {
        let mut input = counted(input, "ClassPart")?;
        input.skip(1)?; // ReservedOctet
        let class = input.u32()?;
        let table_length = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
        let mut derivation = counted(&mut input, "DerivationList")?;
        let superclass = encoded_string(&mut derivation, budget).ok();
        counted(&mut input, "ClassQualifierSet")?;
        input.enter("PropertyLookupTable");
        let count = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
        let mut lookup = input.sub(count.saturating_mul(8))?;
        let table = Table::parse(&mut input, table_length, count)?;
        let heap = Heap::parse(&mut input)?;
        let mut slots = Vec::new();
        while !lookup.is_empty() {
            let (name, info) = (lookup.u32()?, lookup.u32()?);
            if budget.spend(PROPERTY_COST).is_none() {
                break;
            }
            slots.extend(Slot::parse(heap, name, info, budget));
        }
        slots.sort_by_key(|slot| slot.order);
        Ok(Self {
            class: heap.string(class, budget),
            superclass,
            count,
            slots,
            table_length,
            table,
            heap,
        })
    }

    /// The properties with the values that the class gives them. An inherited default stands in the table as well as one
    /// of the class itself does.
    fn properties(&self, budget: &mut Budget, depth: usize) -> Vec<Property> {
        let value = |slot: &Slot, budget: &mut Budget| match self.table.state(slot) {
            State::Null => Value::Null,
            State::Inherited | State::Own => self.table.value(slot, self.heap, budget, depth),
        };
        let each = self.slots.iter();
        each.map(|slot| Property {
            name: slot.name.clone(),
            cim_type: slot.cim_type,
            value: value(slot, budget),
        })
        .collect()
    }
}

impl Slot {
    fn parse(heap: Heap<'_>, name: u32, info: u32, budget: &mut Budget) -> Option<Self> {
        let mut info = heap.at(info)?;
        Some(Self {
            name: heap.string(name, budget)?,
            cim_type: CimType(info.u32().ok()?),
            order: info.u16().ok()?,
            offset: info.u32().ok()?,
        })
    }
}

/// [MS-WMIO] 2.2.26 `NdTable` and [MS-WMIO] 2.2.29 `ValueTable`.
#[derive(Clone, Copy)]
struct Table<'a> {
    states: &'a [u8],
    values: &'a [u8],
}

/// [MS-WMIO] 2.2.27 `NullAndDefaultFlag`.
enum State {
    Null,
    Inherited,
    Own,
}

impl<'a> Table<'a> {
    fn parse(input: &mut Input<'a>, length: usize, properties: usize) -> Result<Self> {
        input.enter("NdTable");
        let mut table = input.sub(length)?;
        Ok(Self {
            states: table.take(properties.div_ceil(4).min(length))?,
            values: table.rest(),
        })
    }

    fn state(self, slot: &Slot) -> State {
        let order = usize::from(slot.order);
        let octet = self.states.get(order >> 2).copied().unwrap_or(1);
        let bits = octet >> ((order & 3) << 1);
        match (bits & 1, bits & 2) {
            (0, 0) => State::Own,
            (0, _) => State::Inherited,
            _ => State::Null,
        }
    }

    fn value(self, slot: &Slot, heap: Heap<'_>, budget: &mut Budget, depth: usize) -> Value {
        let at = usize::try_from(slot.offset).ok().and_then(|at| self.values.get(at..));
        at.and_then(|bytes| {
            let mut input = Input::new(bytes, ByteOrder::Little, "EncodedValue");
            Value::parse(&mut input, slot.cim_type, heap, budget, depth).ok()
        })
        .unwrap_or(Value::Unreadable)
    }
}

/// [MS-WMIO] 2.2.38 `MethodsPart`, only the names.
fn methods(mut input: Input<'_>, budget: &mut Budget) -> Result<Vec<String>> {
    let count = usize::from(input.u16()?);
    input.skip(2)?;
    // MethodDescription: name, flags, origin, qualifiers, both signatures.
    let mut descriptions = input.sub(count.saturating_mul(24))?;
    let heap = Heap::parse(&mut input)?;
    let mut names = Vec::new();
    while !descriptions.is_empty() {
        names.extend(heap.string(descriptions.u32()?, budget));
        descriptions.skip(20)?;
    }
    Ok(names)
}

/// [MS-WMIO] 2.2.57 `InstanceQualifierSet`, which holds nothing about values.
fn skip_qualifiers(input: &mut Input<'_>, properties: usize) -> Result<()> {
    counted(input, "InstanceQualifierSet")?;
    let flag = input.u8()?;
    if flag == 2 {
        for _ in 0..properties {
            counted(input, "InstancePropQualifierSet")?;
        }
    }
    Ok(())
}

/// What follows a [MS-WMIO] 2.2.73 `EncodingLength`, which counts itself.
fn counted<'a>(input: &mut Input<'a>, structure: &'static str) -> Result<Input<'a>> {
    input.enter(structure);
    let length = input.u32()?;
    let Some(rest) = length.checked_sub(4) else {
        return Err(input.invalid("EncodingLength", length));
    };
    input.sub(usize::try_from(rest).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(base: usize, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = u32::try_from(base + body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    fn heap(items: &[u8]) -> Vec<u8> {
        let mut bytes = (u32::try_from(items.len()).unwrap() | 0x8000_0000)
            .to_le_bytes()
            .to_vec();
        bytes.extend(items);
        bytes
    }

    /// A class part with no name: `properties` are (name, type, order, offset) in the order of the lookup table.
    fn class_part(properties: &[(&str, u32, u16, u32)], derivation: &[u8], table: &[u8], items: &[u8]) -> Vec<u8> {
        let (mut items, mut lookup) = (items.to_vec(), Vec::new());
        for (name, cim_type, order, offset) in properties {
            lookup.extend(u32::try_from(items.len()).unwrap().to_le_bytes());
            items.push(0);
            items.extend(name.bytes());
            items.push(0);
            lookup.extend(u32::try_from(items.len()).unwrap().to_le_bytes());
            items.extend(cim_type.to_le_bytes());
            items.extend(order.to_le_bytes());
            items.extend(offset.to_le_bytes());
            items.extend([0, 0, 0, 0, 4, 0, 0, 0]);
        }
        let count = u32::try_from(properties.len()).unwrap().to_le_bytes();
        let table_length = u32::try_from(table.len()).unwrap().to_le_bytes();
        let head = [&[0, 0xff, 0xff, 0xff, 0xff][..], &table_length].concat();
        let derivation = sized(4, &[derivation]);
        sized(
            4,
            &[&head, &derivation, &[4, 0, 0, 0], &count, &lookup, table, &heap(&items)],
        )
    }

    fn instance(part: &[u8], table: &[u8], qualifiers: &[u8], items: &[u8]) -> Vec<u8> {
        let rest = sized(4, &[&[0, 0xff, 0xff, 0xff, 0xff], table, qualifiers, &heap(items)]);
        [&[2][..], part, &rest].concat()
    }

    const NO_QUALIFIERS: [u8; 5] = [4, 0, 0, 0, 1];
    /// "Id" is declared first but looked up last; "B" has a default of the class, "C" one that is inherited.
    const PROPERTIES: [(&str, u32, u16, u32); 3] = [("B", 19, 1, 4), ("C", 19, 2, 8), ("Id", 0x4003, 0, 0)];
    /// Id null and inherited, B own, C inherited.
    const CLASS_TABLE: [u8; 13] = [0b10_00_11, 9, 9, 9, 9, 5, 0, 0, 0, 6, 0, 0, 0];

    #[test]
    fn null_flags_go_by_declaration_and_defaults_come_from_the_class() {
        let part = class_part(&PROPERTIES, b"\0Base\0\x06\0\0\0", &CLASS_TABLE, &[]);
        // Id own, B null, C inherited.
        let table = [0b10_01_00, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1, 2, 2, 2, 2];
        let object = Object::parse_block(&instance(&part, &table, &NO_QUALIFIERS, &[])).unwrap();
        let values: Vec<_> = object.properties.iter().map(|p| (p.name.as_str(), &p.value)).collect();
        assert_eq!(
            values,
            [
                ("Id", &Value::Signed(-1)),
                ("B", &Value::Null),
                ("C", &Value::Unsigned(6))
            ]
        );
        assert_eq!(object.superclass.as_deref(), Some("Base"));
        assert_eq!(object.to_string(), "? { Id: -1, C: 6 }");
    }

    #[test]
    fn a_class_has_the_values_it_gives() {
        let part = class_part(&PROPERTIES, &[], &CLASS_TABLE, &[]);
        let methods = sized(4, &[&[0, 0, 0x34, 0], &heap(&[])]);
        let parent = class_part(&[], &[], &[], &[]);
        let block = [&[1][..], &parent, &methods, &part, &methods].concat();
        let mut unit = SIGNATURE.to_le_bytes().to_vec();
        unit.extend(0x7fff_ffff_u32.to_le_bytes());
        unit.extend(&block);
        let class = Object::parse(&unit).unwrap();
        assert_eq!(class.to_string(), "? { B: 5, C: 6 }");
        assert_eq!((class.superclass, class.methods.len()), (None, 0));
        assert!(class.flags.contains(ObjectFlags::CLASS));
    }

    #[test]
    fn qualifiers_of_single_properties_are_stepped_over() {
        let part = class_part(&PROPERTIES, &[], &CLASS_TABLE, &[]);
        let mut qualifiers = vec![4, 0, 0, 0, 2];
        qualifiers.extend([4, 0, 0, 0, 6, 0, 0, 0, 1, 2, 4, 0, 0, 0]);
        let object = Object::parse_block(&instance(&part, &CLASS_TABLE, &qualifiers, b"\0C\0")).unwrap();
        assert_eq!(object.get("b"), Some(&Value::Unsigned(5)));
    }

    #[test]
    fn a_property_that_makes_no_sense_leaves_the_others_readable() {
        let mut part = class_part(&PROPERTIES, &[], &CLASS_TABLE, &[]);
        part[25..29].fill(0xfe); // the first PropertyNameRef
        let object = Object::parse_block(&instance(&part, &CLASS_TABLE, &NO_QUALIFIERS, &[])).unwrap();
        assert_eq!(object.to_string(), "? { C: 6 }");
    }

    #[test]
    fn an_object_referred_to_again_and_again_is_read_a_few_times() {
        // An array of 2,000 references, each to the same object with 500 references of its own: the budget bounds what
        // comes out.
        let inner_part = class_part(&[("A", 0x200d, 0, 0)], &[], &[0, 0, 0, 0, 0], &[]);
        let inner_items = [&500_u32.to_le_bytes()[..], &[0; 2000]].concat();
        let inner = instance(&inner_part, &[0, 0, 0, 0, 0], &NO_QUALIFIERS, &inner_items);
        let inner = sized(0, &[&inner]);
        let count = 2000_u32;
        let at = 4 + 4 * count;
        let mut items = count.to_le_bytes().to_vec();
        items.extend((0..count).flat_map(|_| at.to_le_bytes()));
        items.extend(&inner);
        let block = instance(&inner_part, &[0, 0, 0, 0, 0], &NO_QUALIFIERS, &items);
        let object = Object::parse_block(&block).unwrap();
        let Some(Value::Array(values)) = object.get("A") else {
            panic!("no array")
        };
        let read = values.iter().filter(|value| **value != Value::Unreadable).count();
        assert_eq!(values.len(), 2000);
        assert!((1..100).contains(&read), "{read}");
    }

    #[test]
    fn what_is_neither_class_nor_instance_is_named() {
        assert_eq!(
            Object::parse_block(&[0x10; 64]).unwrap_err().to_string(),
            "ObjectBlock: `ObjectFlags` is 0x10, which is not valid (offset 1)"
        );
        assert_eq!(
            Object::parse(&[0; 64]).unwrap_err().to_string(),
            "EncodingUnit: `Signature` is 0x0, which is not valid (offset 4)"
        );
    }

    #[test]
    fn a_length_that_does_not_count_itself_is_refused() {
        let error = Object::parse_block(&[2, 3, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ClassPart: `EncodingLength` is 0x3, which is not valid (offset 5)"
        );
    }
}
