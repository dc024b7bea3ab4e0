//! A record as JSON, read into fields in one pass: names that mean nothing are passed over, text without escapes is borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{Field, Fields, Value};
use super::names::{self, Node, Step};
use super::report::Reason;

/// Reads a record, or the part of one that `node` is.
pub(super) fn read<'a>(text: &'a str, node: Node, fields: &mut Fields<'a>) -> Result<(), Reason> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walk = Walk {
        node,
        own: None,
        part: None,
        list: node == names::DATA,
        fields,
    };
    walk.deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| reason(&error))
}

fn reason(error: &serde_json::Error) -> Reason {
    // There is no other way to ask serde_json for it.
    if error.to_string().starts_with("recursion limit") {
        Reason::TooDeep
    } else {
        Reason::BrokenJson
    }
}

/// A value, by what its name said of it.
struct Walk<'f, 'a> {
    node: Node,
    own: Option<Field>,
    /// A text there is read as this.
    part: Option<Node>,
    list: bool,
    fields: &'f mut Fields<'a>,
}

impl<'a> Walk<'_, 'a> {
    fn put(self, value: Value<'a>) {
        if let Some(field) = self.own {
            let over = matches!(self.node, names::DATA | names::WAZUH);
            self.fields.put(field, value, over);
        }
    }

    fn put_text(self, text: Cow<'a, str>) {
        match self.part.filter(|_| is_part(&text)) {
            Some(part) => self.fields.parts.push((part, text)),
            None if self.list && self.own.is_none() => self.fields.inserts.push(text),
            None if self.node == names::WAZUH => self.put(Value::Text(escaped_once_more(text))),
            None => self.put(Value::Text(text)),
        }
    }
}

/// Takes the escapes off that stand within a text's own.
fn escaped_once_more(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text;
    }
    serde_json::from_str(&format!("\"{text}\"")).map_or(text, Cow::Owned)
}

/// Does it look like JSON or XML?
pub(super) fn is_part(text: &str) -> bool {
    text.trim_ascii_start().starts_with(['{', '[', '<'])
}

impl<'a> DeserializeSeed<'a> for Walk<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut pair = Pair::default();
        let key = || Key {
            node: self.node,
            named: self.own.is_some(),
        };
        while let Some(key) = map.next_key_seed(key())? {
            match key {
                Known::Step(step) => map.next_value_seed(Walk {
                    node: step.enter.unwrap_or(self.node),
                    own: step.own,
                    part: step.part(),
                    list: step.list,
                    fields: self.fields,
                })?,
                // `{"Value": 4688}`, `{"#attributes": …, "#text": 10016}`, `{"SystemTime": …}`
                Known::Text => match self.own {
                    Some(own) => map.next_value_seed(Walk {
                        node: self.node,
                        own: Some(own),
                        part: None,
                        list: self.list,
                        fields: self.fields,
                    })?,
                    None => pair.text = map.next_value_seed(Text(self.fields))?,
                },
                Known::Name => pair.name = map.next_value_seed(Text(self.fields))?,
                Known::Transparent => map.next_value_seed(Walk {
                    node: self.node,
                    own: None,
                    part: None,
                    list: self.list,
                    fields: self.fields,
                })?,
                Known::Nothing => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if self.list {
            pair.put(self.fields);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.list {
            while seq.next_element_seed(Element(self.fields))?.is_some() {}
        } else if self.own == Some(Field::EcsAction) {
            // Elastic Defend merges events.
            let mut all = Vec::new();
            while let Some(action) = seq.next_element_seed(Text(self.fields))? {
                all.extend(action);
            }
            self.put(Value::Text(all.join(",").into()));
        } else if let Some(own) = self.own {
            // `"fields": {"winlog.event_id": [1]}`: one value, in an array.
            seq.next_element_seed(Walk {
                node: self.node,
                own: Some(own),
                part: None,
                list: false,
                fields: self.fields,
            })?;
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        } else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.put_text(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.own.is_some() || self.part.is_some() || self.list {
            self.put_text(Cow::Owned(text.to_owned()));
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.put(Value::Number(number));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        if let Ok(number) = i64::try_from(number) {
            self.put(Value::Number(number));
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.put(Value::Fraction(number));
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.put(Value::Flag(flag));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An element of a list of event data: plain text, or an object of name and text.
struct Element<'f, 'a>(&'f mut Fields<'a>);

impl<'a> DeserializeSeed<'a> for Element<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Walk {
            node: names::DATA,
            own: None,
            part: None,
            list: true,
            fields: self.0,
        })
    }
}

/// `{"@Name": "Image", "#text": "…"}`.
#[derive(Default)]
struct Pair<'a> {
    name: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
}

impl<'a> Pair<'a> {
    fn put(self, fields: &mut Fields<'a>) {
        match (self.name, self.text) {
            (Some(name), Some(text)) => {
                if let Some(field) = names::step(names::DATA, &name).and_then(|step| step.own) {
                    fields.put(field, Value::Text(text), true);
                }
            }
            (None, Some(text)) => fields.inserts.push(text),
            _ => {}
        }
    }
}

/// What a key leads to.
enum Known {
    Step(Step),
    Text,
    Name,
    Transparent,
    Nothing,
}

struct Key {
    node: Node,
    /// The object is the value of something that is known.
    named: bool,
}

impl Key {
    fn known(&self, name: &str) -> Known {
        match name {
            "#text" | "$t" | "Value" | "@Value" => return Known::Text,
            // What Windows PowerShell makes of some times.
            "value" if self.named => return Known::Text,
            "@Name" | "Name" if self.node == names::DATA => return Known::Name,
            "#attributes" => return Known::Transparent,
            _ => {}
        }
        match names::dotted(self.node, name) {
            Some(step) => Known::Step(step),
            // What stands between `UserData` and its names has a name of its own.
            None if self.node == names::DATA => Known::Transparent,
            None => Known::Nothing,
        }
    }
}

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Known;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Known, E> {
        Ok(self.known(name))
    }
}

/// A plain value as text; a list of them is event data without names.
struct Text<'f, 'a>(&'f mut Fields<'a>);

impl<'a> DeserializeSeed<'a> for Text<'_, 'a> {
    type Value = Option<Cow<'a, str>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Text<'_, 'a> {
    type Value = Option<Cow<'a, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(flag.to_string())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed("")))
    }

    /// A SID of `Get-WinEvent`'s, say, of which the text is one of several members. Of any other object no more than its place
    /// is known.
    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(key) = map.next_key::<Cow<'a, str>>()? {
            if key == "Value" {
                value = map.next_value_seed(Text(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value.or(Some(Cow::Borrowed(""))))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element_seed(Element(self.0))?.is_some() {}
        Ok(None)
    }
}
