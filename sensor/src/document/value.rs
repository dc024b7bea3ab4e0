//! A value of the file as serde reads it, with errors that know where they are and what would have been right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::{Span, closest};

/// Keys that a table ought to have and has not, by where the table begins.
#[derive(Debug, Default)]
pub(super) struct Lacking(BTreeMap<usize, BTreeSet<&'static str>>);

impl Lacking {
    /// True when it was not known before.
    pub(super) fn insert(&mut self, table: usize, key: &'static str) -> bool {
        self.0.entry(table).or_default().insert(key)
    }

    fn of(&self, table: usize) -> Vec<&'static str> {
        self.0
            .get(&table)
            .map_or_else(Vec::new, |keys| keys.iter().copied().collect())
    }
}

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where, once the innermost value around it is known.
    pub(super) at: Option<Span>,
    /// What is wrong.
    pub(super) cause: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// The key that a table has not.
    pub(super) missing: Option<&'static str>,
    /// Does it only follow from what was told before?
    pub(super) follows: bool,
}

impl Fault {
    fn new(cause: String, hint: Option<String>) -> Self {
        Self {
            at: None,
            cause,
            hint,
            missing: None,
            follows: false,
        }
    }

    /// A word that is none of those there are.
    pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> Self {
        let hint = match closest(word, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        Self::new(format!("unknown {what} `{word}`"), Some(hint))
    }

    fn within(mut self, span: Span) -> Self {
        self.at.get_or_insert(span);
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    /// A message of more than one line ends in its hint.
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once('\n') {
            Some((cause, hint)) => Self::new(cause.to_owned(), Some(hint.to_owned())),
            None => Self::new(message, None),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u8" => format!("a whole number from 0 to {}", u8::MAX),
            "u16" => format!("a whole number from 0 to {}", u16::MAX),
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            "u64" | "usize" => "a whole number from 0".to_owned(),
            "a sequence" => "a list, such as [\"…\"],".to_owned(),
            "path string" => "a path in quotes".to_owned(),
            "a string" => "a text in quotes".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
            other => other.to_owned(),
        };
        Self::new(format!("{unexpected} where {expected} is expected"), None)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("key", field, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::new(format!("`{field}` is missing"), None)
        }
    }
}

/// A value, without what was found wrong before.
#[derive(Clone, Copy)]
pub(super) struct Node<'a, 't> {
    pub(super) value: &'a Spanned<DeValue<'t>>,
    /// Where keys and values begin that are left out.
    pub(super) without: &'a BTreeSet<usize>,
    /// Keys that are made up, so that what else is wrong can be found.
    pub(super) lacking: &'a Lacking,
}

impl<'a, 't> Node<'a, 't> {
    fn of(self, value: &'a Spanned<DeValue<'t>>) -> Self {
        Self { value, ..self }
    }
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let span = self.value.span();
        let read = match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => integer(number, visitor),
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Fault::new(format!("`{number}` is no number"), None)),
            },
            DeValue::Boolean(flag) => visitor.visit_bool(*flag),
            DeValue::Datetime(time) => visitor.visit_string(time.to_string()),
            DeValue::Array(items) => visitor.visit_seq(Items {
                node: self,
                items: items.iter(),
            }),
            DeValue::Table(table) => {
                let mut left_out = Vec::new();
                let made_up = self.lacking.of(span.start);
                let entries = Entries {
                    node: self,
                    rest: table.iter(),
                    value: None,
                    made_up,
                    left_out: &mut left_out,
                };
                visitor.visit_map(entries).map_err(|mut fault| {
                    // The key is there, and what is wrong with it was told.
                    fault.follows |=
                        fault.at.is_none() && fault.missing.is_some_and(|key| left_out.iter().any(|l| l == key));
                    fault
                })
            }
        };
        read.map_err(|fault| fault.within(span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let span = self.value.span();
        visitor.visit_newtype_struct(self).map_err(|fault| fault.within(span))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let read = match self.value.get_ref() {
            DeValue::String(text) => {
                let word: StrDeserializer<'_, Fault> = text.as_ref().into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(Fault::new(format!("one of {} is expected", known.join(", ")), None)),
        };
        read.map_err(|fault| fault.within(self.value.span()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn integer<'de, V: Visitor<'de>>(number: &DeInteger<'_>, visitor: V) -> Result<V::Value, Fault> {
    let digits = number.as_str();
    match (
        i64::from_str_radix(digits, number.radix()),
        u64::from_str_radix(digits, number.radix()),
    ) {
        (Ok(number), _) => visitor.visit_i64(number),
        (_, Ok(number)) => visitor.visit_u64(number),
        _ => Err(Fault::new(format!("`{number}` is too large a number"), None)),
    }
}

/// The elements of a list.
struct Items<'a, 't> {
    node: Node<'a, 't>,
    items: std::slice::Iter<'a, Spanned<DeValue<'t>>>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let without = self.node.without;
        let Some(item) = self.items.find(|item| !without.contains(&item.span().start)) else {
            return Ok(None);
        };
        let read = seed.deserialize(self.node.of(item)).map(Some);
        read.map_err(|fault| fault.within(item.span()))
    }
}

/// The keys of a table.
struct Entries<'a, 't, 'o, I> {
    node: Node<'a, 't>,
    rest: I,
    /// The value of the key given last; None for one that was made up.
    value: Option<&'a Spanned<DeValue<'t>>>,
    made_up: Vec<&'static str>,
    left_out: &'o mut Vec<String>,
}

impl<'a, 't: 'a, 'de, I> MapAccess<'de> for Entries<'a, 't, '_, I>
where
    I: Iterator<Item = (&'a Spanned<std::borrow::Cow<'t, str>>, &'a Spanned<DeValue<'t>>)>,
{
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        for (key, value) in self.rest.by_ref() {
            let [of_key, of_value] = [key.span(), value.span()];
            if self.node.without.contains(&of_key.start) || self.node.without.contains(&of_value.start) {
                self.left_out.push(key.get_ref().to_string());
                continue;
            }
            self.value = Some(value);
            let word: StrDeserializer<'_, Fault> = key.get_ref().as_ref().into_deserializer();
            return seed.deserialize(word).map(Some).map_err(|fault| fault.within(of_key));
        }
        self.value = None;
        let Some(key) = self.made_up.pop() else {
            return Ok(None);
        };
        let word: StrDeserializer<'_, Fault> = key.into_deserializer();
        seed.deserialize(word).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.value {
            Some(value) => {
                let read = seed.deserialize(self.node.of(value));
                read.map_err(|fault| fault.within(value.span()))
            }
            None => seed
                .deserialize(MadeUp)
                .map_err(|fault| Fault { follows: true, ..fault }),
        }
    }
}

/// Stands for the value of a key that is missing and was told.
struct MadeUp;

impl MadeUp {
    /// What passes for the texts that a file must have.
    const TEXT: &'static str = "00000000-0000-0000-0000-000000000000";
}

impl<'de> Deserializer<'de> for MadeUp {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(Self::TEXT)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(0)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(0)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(std::iter::empty::<u8>()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let first: StrDeserializer<'_, Fault> = known.first().copied().unwrap_or_default().into_deserializer();
        visitor.visit_enum(first)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple option
        newtype_struct tuple_struct map struct identifier ignored_any
    }
}
