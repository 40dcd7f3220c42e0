//! Compares values with schemas, as far as the schemas of this document go.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// The document, which takes a while to make.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(super::super::document);

/// Returns the path of the document that leads to `path`: the one with the fewest parameters.
pub(super) fn path_of<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |known: &&String| {
        let known_parts: Vec<&str> = known.split('/').collect();
        // A cache key may have slashes.
        let is_open = known.starts_with("/v1/cache") && known.ends_with("{key}") && parts.len() >= known_parts.len();
        let same = |(known, part): (&&str, &&str)| known == part || (known.starts_with('{') && !part.is_empty());
        (is_open || parts.len() == known_parts.len()) && known_parts.iter().zip(&parts).all(same)
    };
    let known = document["paths"].as_object()?.keys().filter(fits);
    known.min_by_key(|known| known.matches('{').count()).map(String::as_str)
}

/// Returns what a schema, a parameter or a response refers to, or itself.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).expect("references lead somewhere"),
        None => value,
    }
}

/// The properties of an object, those of the schemas that it is composed of included.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) properties: BTreeMap<&'a str, &'a Value>,
    pub(super) required: Vec<&'a str>,
    /// The schema of the values of a map.
    map: Option<&'a Value>,
}

pub(super) fn fields<'a>(document: &'a Value, schema: &'a Value) -> Fields<'a> {
    let schema = resolved(document, schema);
    let mut all = Fields::default();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let part = fields(document, part);
        all.properties.extend(part.properties);
        all.required.extend(part.required);
    }
    if let Some(own) = schema["properties"].as_object() {
        all.properties.extend(own.iter().map(|(name, schema)| (name.as_str(), schema)));
    }
    all.required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
    all.map = schema.get("additionalProperties").filter(|values| values.is_object());
    all
}

/// Returns the types that a schema allows; none if it allows any.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns the places at which a value is not as its schema says: another type or word, a field that is missing, or one
/// that the schema does not have.
pub(super) fn differences(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(variants) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let tried = variants.iter().map(|variant| differences(document, variant, value, place));
        // The variant that comes closest tells most; of those that are equally far, the last, which is not `null`.
        return tried.rev().min_by_key(Vec::len).unwrap_or_default();
    }
    let (types, found) = (types(schema), type_of(value));
    let fits = |known: &&str| *known == found || (*known == "number" && found == "integer");
    if !types.is_empty() && !types.iter().any(fits) {
        return vec![format!("`{place}` is {found} and not {types:?}")];
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("`{place}` is {value}, which is none of its words")];
    }
    match value {
        Value::Array(items) => {
            let of_item = |(nth, item)| differences(document, &schema["items"], item, &format!("{place}[{nth}]"));
            items.iter().enumerate().flat_map(of_item).collect()
        }
        Value::Object(found) => {
            let known = fields(document, schema);
            if known.properties.is_empty() && known.map.is_none() {
                return Vec::new();
            }
            let missing = known.required.iter().filter(|name| !found.contains_key(**name));
            let mut wrong: Vec<String> = missing.map(|name| format!("`{place}.{name}` is missing")).collect();
            for (name, value) in found {
                let place = format!("{place}.{name}");
                match known.properties.get(name.as_str()).copied().or(known.map) {
                    Some(schema) => wrong.extend(differences(document, schema, value, &place)),
                    None => wrong.push(format!("`{place}` is not in the document")),
                }
            }
            wrong
        }
        _ => Vec::new(),
    }
}

#[test]
fn values_are_compared_with_their_schemas() {
    let document = json!({ "schemas": { "Word": { "type": "string", "enum": ["a", "b"] } } });
    let schema = json!({
        "allOf": [
            { "type": "object", "required": ["word"], "properties": { "word": { "$ref": "#/schemas/Word" } } },
            { "type": "object", "properties": {
                "list": { "type": "array", "items": { "type": "number" } },
                "map": { "type": "object", "additionalProperties": { "type": "boolean" } },
                "maybe": { "oneOf": [{ "type": "null" }, { "$ref": "#/schemas/Word" }] },
            } },
        ],
    });
    for (value, wrong) in [
        (json!({ "word": "a", "list": [1, 1.5], "map": { "x": true }, "maybe": null }), vec![]),
        (json!({ "word": "c" }), vec!["`.word` is \"c\", which is none of its words"]),
        (json!({}), vec!["`.word` is missing"]),
        (json!({ "word": "a", "list": ["x"] }), vec!["`.list[0]` is string and not [\"number\"]"]),
        (json!({ "word": "a", "map": { "x": 1 } }), vec!["`.map.x` is integer and not [\"boolean\"]"]),
        (json!({ "word": "a", "maybe": 1 }), vec!["`.maybe` is integer and not [\"string\"]"]),
        (json!({ "word": "a", "other": 1 }), vec!["`.other` is not in the document"]),
    ] {
        assert_eq!(differences(&document, &schema, &value, ""), wrong, "{value}");
    }
}
