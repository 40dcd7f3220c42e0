//! Finds the changes between two documents that break clients of the older one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::values::{fields, resolved, types};

/// The way of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The client sends it, and may send what it sent before.
    Request,
    /// The client receives it, and finds what it found before.
    Answer,
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of schemas that were compared, because schemas may contain themselves.
    seen: BTreeSet<(String, String, bool)>,
    found: Vec<String>,
}

/// Returns the changes from `old` to `new` that break clients, in words.
pub(super) fn breaking(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, seen: BTreeSet::new(), found: Vec::new() };
    for (path, methods) in old["paths"].as_object().into_iter().flatten() {
        for (method, before) in methods.as_object().into_iter().flatten() {
            let place = format!("{} {path}", method.to_uppercase());
            match new["paths"][path].get(method) {
                Some(now) => comparison.operation(&place, before, now),
                None => comparison.found.push(format!("{place} is gone")),
            }
        }
    }
    comparison.found
}

/// A parameter: its name, its place, whether it is required, and its schema.
type Parameter<'a> = (&'a str, &'a str, bool, &'a Value);

fn parameters<'a>(document: &'a Value, operation: &'a Value) -> Vec<Parameter<'a>> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    all.map(|one| resolved(document, one))
        .map(|one| (text(&one["name"]), text(&one["in"]), one["required"] == true, &one["schema"]))
        .collect()
}

impl<'a> Comparison<'a> {
    fn operation(&mut self, place: &str, before: &'a Value, now: &'a Value) {
        let (old, new) = (parameters(self.old, before), parameters(self.new, now));
        for (name, at, _, schema) in &old {
            match new.iter().find(|(known, place, ..)| known == name && place == at) {
                Some((.., accepted)) => self.schemas(&format!("{place} {name}"), schema, accepted, Way::Request),
                None => self.found.push(format!("{place} takes no `{name}` in its {at} any more")),
            }
        }
        for (name, at, ..) in new.iter().filter(|(_, _, is_required, _)| *is_required) {
            if !old.iter().any(|(known, place, is_required, _)| known == name && place == at && *is_required) {
                self.found.push(format!("{place} requires `{name}` in its {at}"));
            }
        }
        self.bodies(place, &before["requestBody"], &now["requestBody"]);
        for (status, response) in before["responses"].as_object().into_iter().flatten() {
            match now["responses"].get(status) {
                Some(now) => self.answers(&format!("{place} {status}"), response, now),
                None => self.found.push(format!("{place} does not answer with {status} any more")),
            }
        }
    }

    fn bodies(&mut self, place: &str, before: &'a Value, now: &'a Value) {
        for (kind, content) in before["content"].as_object().into_iter().flatten() {
            match now["content"].get(kind) {
                Some(accepted) => self.schemas(place, &content["schema"], &accepted["schema"], Way::Request),
                None => self.found.push(format!("{place} takes no {kind} any more")),
            }
        }
        if now["required"] == true && before["required"] != true {
            self.found.push(format!("{place} requires a body"));
        }
    }

    fn answers(&mut self, place: &str, before: &'a Value, now: &'a Value) {
        let (before, now) = (resolved(self.old, before), resolved(self.new, now));
        for (kind, content) in before["content"].as_object().into_iter().flatten() {
            match now["content"].get(kind) {
                Some(given) => self.schemas(place, &content["schema"], &given["schema"], Way::Answer),
                None => self.found.push(format!("{place} is no {kind} any more")),
            }
        }
    }

    fn schemas(&mut self, place: &str, before: &'a Value, now: &'a Value, way: Way) {
        let name = |schema: &Value| schema["$ref"].as_str().unwrap_or_default().to_owned();
        let pair = (name(before), name(now), way == Way::Request);
        if !pair.0.is_empty() && !self.seen.insert(pair) {
            return;
        }
        let (before, now) = (resolved(self.old, before), resolved(self.new, now));
        self.types(place, before, now, way);
        self.properties(place, before, now, way);
        let (items, items_now) = (&before["items"], &now["items"]);
        if items.is_object() && items_now.is_object() {
            self.schemas(&format!("{place}[]"), items, items_now, way);
        }
        for kind in ["oneOf", "anyOf"] {
            let variants = |schema: &'a Value| schema[kind].as_array().into_iter().flatten();
            if variants(before).count() > variants(now).count() {
                self.found.push(format!("{place} has fewer variants"));
            }
            variants(before).zip(variants(now)).for_each(|(before, now)| self.schemas(place, before, now, way));
        }
    }

    fn types(&mut self, place: &str, before: &Value, now: &Value, way: Way) {
        let (old, new) = (types(before), types(now));
        let (sent, accepted) = match way {
            Way::Request => (&old, &new),
            Way::Answer => (&new, &old),
        };
        // An integer is a number, too.
        let fits = |one: &&str| accepted.contains(one) || (*one == "integer" && accepted.contains(&"number"));
        // A schema without types allows any.
        let is_wider = accepted.is_empty() || (!sent.is_empty() && sent.iter().all(fits));
        if !is_wider {
            self.found.push(format!("{place} was {old:?} and is {new:?}"));
        }
        let words = |schema: &Value| schema["enum"].as_array().cloned();
        if let (Way::Request, Some(now)) = (way, words(now)) {
            let gone: Vec<Value> = words(before).into_iter().flatten().filter(|word| !now.contains(word)).collect();
            if !gone.is_empty() {
                self.found.push(format!("{place} takes no {gone:?} any more"));
            }
        }
    }

    fn properties(&mut self, place: &str, before: &'a Value, now: &'a Value, way: Way) {
        let (before, now) = (fields(self.old, before), fields(self.new, now));
        for (name, schema) in &before.properties {
            let place = format!("{place}.{name}");
            match now.properties.get(name) {
                Some(now) => self.schemas(&place, schema, now, way),
                None => self.found.push(format!("{place} is gone")),
            }
        }
        let (required, by) = match way {
            Way::Request => (&now.required, &before.required),
            Way::Answer => (&before.required, &now.required),
        };
        for name in required.iter().filter(|name| !by.contains(name)) {
            match way {
                Way::Request => self.found.push(format!("{place}.{name} is required")),
                Way::Answer if now.properties.contains_key(name) => {
                    self.found.push(format!("{place}.{name} may be absent"));
                }
                // The field is gone, and that is found already.
                Way::Answer => {}
            }
        }
    }
}

/// Returns a document with one operation.
fn one(parameters: Value, body: Value, answer: Value) -> Value {
    let content = |schema| json!({ "application/json": { "schema": schema } });
    json!({
        "paths": { "/x": { "post": {
            "parameters": parameters,
            "requestBody": { "required": true, "content": content(body) },
            "responses": { "200": { "content": content(json!({ "$ref": "#/components/schemas/A" })) } },
        } } },
        "components": { "schemas": { "A": answer } },
    })
}

#[test]
fn changes_that_break_clients_are_found_and_others_are_not() {
    let object =
        |required: Value, fields: Value| json!({ "type": "object", "required": required, "properties": fields });
    let (text, maybe, own) = (
        json!({ "type": "string" }),
        json!({ "type": ["string", "null"] }),
        json!({ "$ref": "#/components/schemas/A" }),
    );
    let query =
        |name: &str, required: bool| json!([{ "name": name, "in": "query", "required": required, "schema": text }]);
    let answer = object(json!(["a"]), json!({ "a": text, "b": text, "self": own }));
    let body = object(json!(["a"]), json!({ "a": text, "b": maybe }));
    let old = one(query("q", false), body.clone(), answer.clone());
    let asked = |query: Value| one(query, body.clone(), answer.clone());
    let takes = |required: Value, fields: Value| one(query("q", false), object(required, fields), answer.clone());
    let gives = |required: Value, fields: Value| one(query("q", false), body.clone(), object(required, fields));

    for (new, found) in [
        (old.clone(), vec![]),
        (gives(json!(["a", "b"]), json!({ "a": text, "b": text, "c": text, "self": own })), vec![]),
        (takes(json!([]), json!({ "a": text, "b": maybe, "c": text })), vec![]),
        (json!({ "paths": {} }), vec!["POST /x is gone"]),
        (asked(query("q", true)), vec!["POST /x requires `q` in its query"]),
        (asked(query("r", false)), vec!["POST /x takes no `q` in its query any more"]),
        (takes(json!(["a", "b"]), json!({ "a": text, "b": maybe })), vec!["POST /x.b is required"]),
        (takes(json!(["a"]), json!({ "a": text })), vec!["POST /x.b is gone"]),
        (
            takes(json!(["a"]), json!({ "a": text, "b": text })),
            vec![r#"POST /x.b was ["string", "null"] and is ["string"]"#],
        ),
        (gives(json!(["a"]), json!({ "a": text, "self": own })), vec!["POST /x 200.b is gone"]),
        (gives(json!([]), json!({ "a": text, "b": text, "self": own })), vec!["POST /x 200.a may be absent"]),
        (
            gives(json!(["a"]), json!({ "a": maybe, "b": text, "self": own })),
            vec![r#"POST /x 200.a was ["string"] and is ["string", "null"]"#],
        ),
    ] {
        assert_eq!(breaking(&old, &new), found, "{new:#}");
    }
}
