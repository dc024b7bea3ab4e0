//! What other programs want to know of the logs in a form of theirs, written from the declarations: docs/schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::record::Column;
use super::stats::Counters;
use super::{EveType, ecs};

/// Columns by the names in their paths.
#[derive(Default)]
struct Tree {
    column: Option<&'static Column>,
    members: BTreeMap<String, Self>,
}

impl Tree {
    fn of<'c>(columns: impl Iterator<Item = (&'c str, &'static Column)>) -> Self {
        let mut root = Self::default();
        for (prefix, column) in columns {
            let path = format!("{prefix}{}", column.eve.unwrap_or_default());
            let place = path
                .split('.')
                .fold(&mut root, |tree, name| tree.members.entry(name.to_owned()).or_default());
            place.column = Some(column);
        }
        root
    }

    fn of_record(columns: &'static [Column]) -> Self {
        Self::of(
            columns
                .iter()
                .map(|column| ("", column))
                .filter(|(_, column)| column.eve.is_some()),
        )
    }
}

/// A JSON Schema (2020-12) of the lines of eve.json: the text of docs/schema/eve.schema.json.
pub fn eve_schema() -> String {
    let kinds: Map<String, Value> = EveType::ALL
        .iter()
        .map(|kind| (kind.name.to_owned(), eve_line(kind)))
        .collect();
    let any: Vec<Value> = kinds
        .keys()
        .map(|name| json!({ "$ref": format!("#/$defs/{name}") }))
        .collect();
    let mut definitions = kinds;
    definitions.insert("counters".to_owned(), counters());
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:dcom-sensor:eve",
        "title": "A line of dcom-sensor's eve.json",
        "oneOf": any,
        "$defs": definitions,
    });
    pretty(&schema)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn eve_line(kind: &'static EveType) -> Value {
    let mut schema = object(&Tree::of(kind.columns().map(|(_, column)| ("", column))));
    schema["properties"]["event_type"] = json!({ "const": kind.name });
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        // What it is named after, whatever else it has.
        let main = json!(kind.name);
        if !required.contains(&main) {
            required.push(main);
        }
    }
    schema
}

/// Objects are closed: what is not declared is not written.
fn object(tree: &Tree) -> Value {
    let always = |member: &Tree| member.column.is_some_and(|column| column.always);
    let required: Vec<&String> = tree
        .members
        .iter()
        .filter(|(_, member)| always(member))
        .map(|(name, _)| name)
        .collect();
    let properties: Map<String, Value> = tree
        .members
        .iter()
        .map(|(name, member)| (name.clone(), member.column.map_or_else(|| object(member), leaf)))
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn leaf(column: &'static Column) -> Value {
    let of_list = column
        .zeek_type
        .strip_prefix("vector[")
        .and_then(|inner| inner.strip_suffix(']'));
    let element = match column.record {
        Some(columns) => object(&Tree::of_record(columns)),
        None => plain(of_list.unwrap_or(column.zeek_type)),
    };
    let mut schema = match of_list {
        Some(_) => json!({ "type": "array", "items": element, "minItems": 1 }),
        None if column.zeek_type == Counters::ZEEK_TYPE => json!({ "$ref": "#/$defs/counters" }),
        None => element,
    };
    schema["description"] = json!(column.doc.trim());
    schema
}

/// A value in eve.json by its type in Zeek's logs.
fn plain(zeek_type: &str) -> Value {
    match zeek_type {
        "bool" => json!({ "type": "boolean" }),
        "count" => json!({ "type": "integer", "minimum": 0 }),
        "int" => json!({ "type": "integer" }),
        "port" => json!({ "type": "integer", "minimum": 0, "maximum": 65_535 }),
        "double" | "interval" => json!({ "type": "number" }),
        "time" => json!({
            "type": "string",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+0000$",
        }),
        "addr" => json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }),
        _ => json!({ "type": "string" }),
    }
}

fn counters() -> Value {
    json!({
        "type": "object",
        "description": "Counters, and objects of them.",
        "additionalProperties": {
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "$ref": "#/$defs/counters" }],
        },
    })
}

/// An index template for Elasticsearch and `OpenSearch`: the text of docs/schema/ecs-index-template.json.
pub fn ecs_template() -> String {
    let template = json!({
        "index_patterns": ["dcom-sensor-*"],
        "priority": 200,
        "_meta": { "description": "Logs of dcom-sensor in the Elastic Common Schema", "ecs_version": ecs::VERSION },
        "template": {
            "mappings": {
                "date_detection": false,
                "dynamic_templates": [
                    {
                        "counters": {
                            "path_match": "dcom.stats.*",
                            "match_mapping_type": "long",
                            "mapping": { "type": "long" },
                        }
                    },
                    {
                        "texts": {
                            "match_mapping_type": "string",
                            "mapping": { "type": "keyword", "ignore_above": LONGEST_KEYWORD },
                        }
                    },
                ],
                "properties": properties(&Tree::of(ecs::columns())),
            },
        },
    });
    pretty(&template)
}

/// As in the schema's own fields.
const LONGEST_KEYWORD: u32 = 1024;

/// What people search for parts of: long, and no two alike.
const WILDCARDS: [&str; 4] = ["command_line", "decoded_command", "arguments", "script"];

fn properties(tree: &Tree) -> Map<String, Value> {
    tree.members
        .iter()
        .map(|(name, member)| {
            let mapping = match member.column {
                None => json!({ "properties": properties(member) }),
                Some(column) => mapping(name, column),
            };
            (name.clone(), mapping)
        })
        .collect()
}

fn mapping(name: &str, column: &'static Column) -> Value {
    if let Some(columns) = column.record {
        return json!({ "properties": properties(&Tree::of_record(columns)) });
    }
    let zeek_type = column.zeek_type;
    let inner = zeek_type
        .strip_prefix("vector[")
        .and_then(|inner| inner.strip_suffix(']'));
    match inner.unwrap_or(zeek_type) {
        "bool" => json!({ "type": "boolean" }),
        "count" | "int" | "port" => json!({ "type": "long" }),
        "double" | "interval" => json!({ "type": "double" }),
        "time" => json!({ "type": "date" }),
        "addr" => json!({ "type": "ip" }),
        Counters::ZEEK_TYPE => json!({ "type": "object" }),
        _ if name == "message" => json!({ "type": "match_only_text" }),
        _ if WILDCARDS.contains(&name) => json!({ "type": "wildcard" }),
        _ => json!({ "type": "keyword", "ignore_above": LONGEST_KEYWORD }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_stands_in_several_records_has_one_type() {
        let mut known: HashMap<String, &Column> = HashMap::new();
        for (prefix, column) in ecs::columns() {
            let path = format!("{prefix}{}", column.eve.unwrap_or_default());
            let other = known.entry(path.clone()).or_insert(column);
            assert_eq!(
                (other.zeek_type, other.record),
                (column.zeek_type, column.record),
                "{path}"
            );
        }
        for path in known.keys() {
            let inner = format!("{path}.");
            assert!(
                !known.keys().any(|other| other.starts_with(&inner)),
                "{path} is a value and an object"
            );
        }
    }

    #[test]
    fn required_is_what_always_has_a_value() {
        let schema: Value = serde_json::from_str(&eve_schema()).unwrap();
        let required = |pointer: &str| {
            schema
                .pointer(&format!("{pointer}/required"))
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(required("/$defs/dcom"), json!(["event_type", "timestamp", "dcom"]));
        assert_eq!(
            required("/$defs/dcom/properties/dcom"),
            json!(["bytes_missing", "evidence", "kind", "operation"])
        );
        assert_eq!(
            required("/$defs/dcom/properties/dcom/properties/iids/items"),
            json!(["uuid"])
        );
        assert_eq!(
            required("/$defs/dcerpc/properties/dcerpc/properties/req"),
            json!(["frag_cnt", "opnum", "stub_data_size"])
        );
    }
}
