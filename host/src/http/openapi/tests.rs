//! Tests that the document describes the API as it is: its routes, its errors and its answers.

mod changes;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Uri};
use serde_json::{Value, json};

use super::{document, routes};
use crate::http::problems;
use crate::http::tests::{Rig, request};
use crate::reference::{WRITE, assert_current};

/// If this variable is in the environment beside [`WRITE`], changes that break clients are written, too.
const BREAK: &str = "SEXTON_BREAK_API";

/// Returns the paths of the router, by its source.
fn routed() -> BTreeSet<String> {
    let source = include_str!("../../http.rs");
    let path = |rest: &str| rest.trim_start().strip_prefix('"')?.split_once('"').map(|(path, _)| path.to_owned());
    source.split(".route(").skip(1).filter_map(path).collect()
}

#[tokio::test]
async fn the_document_has_every_route_with_its_methods_and_no_other() {
    let rig = Rig::new();
    let mut methods: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for operation in routes::all() {
        let known = methods.entry(operation.path).or_default();
        known.insert(operation.method.to_uppercase());
        if operation.method == "get" {
            known.insert("HEAD".to_owned());
        }
    }

    assert_eq!(routed(), methods.keys().map(|path| (*path).to_owned()).collect(), "add routes to `openapi/routes.rs`");
    for (path, methods) in methods {
        let path = path.replace("{*", "{").replace(['{', '}'], "");
        let refused = rig.ask(request(Method::PATCH, &path).body(Body::empty()).expect("a request")).await;
        let allowed: BTreeSet<String> = refused.header("allow").split(',').map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[test]
fn operations_have_names_of_their_own_and_references_lead_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let (document, operations) = (document(), routes::all());
    let mut found = BTreeSet::new();
    references(&document, &mut found);

    let lost: Vec<_> = found.iter().filter(|place| document.pointer(&place[1..]).is_none()).collect();
    assert!(found.len() > 60 && lost.is_empty(), "{lost:?}");
    let names: BTreeSet<&str> = operations.iter().map(|operation| operation.id).collect();
    assert_eq!(names.len(), operations.len());
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_document_has_every_code_of_an_error() {
    let document = document();
    let codes: Vec<&str> = problems::ALL.iter().map(|kind| kind.code).collect();

    assert_eq!(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"], json!(codes));
    for (kind, listed) in problems::ALL.iter().zip(document["x-problems"].as_array().expect("a list")) {
        assert_eq!((&listed["code"], &listed["status"]), (&json!(kind.code), &json!(kind.status)));
    }
}

#[test]
fn an_answer_that_differs_from_the_document_fails_the_test_that_got_it() {
    for (path, known) in [
        ("/v1/runs/7/log", Some("/v1/runs/{run}/log")),
        ("/v1/locks/graph", Some("/v1/locks/graph")),
        ("/v1/cache/a/b/c", Some("/v1/cache/{key}")),
        ("/v1/nothing", None),
    ] {
        assert_eq!(values::path_of(&values::DOCUMENT, path), known);
    }
    let answered = |body: &'static str| {
        let uri = Uri::from_static("/v1/runs/7/release");
        std::panic::catch_unwind(move || {
            is_as_documented(&Method::POST, &uri, 200, "application/json", body.as_bytes())
        })
    };
    assert!(answered(r#"{"run": 7}"#).is_ok());
    for wrong in [r#"{"run": 7, "more": 1}"#, r#"{"run": "7"}"#, "{}"] {
        assert!(answered(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = Rig::new().get("/openapi.json").await;

    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json(), document());
}

#[test]
fn the_published_document_is_current_and_its_clients_go_on_working() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    let published = std::fs::read_to_string(&path).unwrap_or_else(|_| json!({ "paths": {} }).to_string());
    let published: Value = serde_json::from_str(&published).expect("the published document is JSON");

    if std::env::var_os(BREAK).is_none() {
        let breaking = changes::breaking(&published, &document());
        assert!(breaking.is_empty(), "these break clients; {BREAK}=1 with {WRITE}=1 writes them anyway: {breaking:#?}");
    }
    assert_current("openapi.json", &super::DOCUMENT);
}

/// Checks that the answer to a request is as the document says: its status, and each field of its JSON.
pub(in crate::http) fn is_as_documented(method: &Method, uri: &Uri, status: u16, kind: &str, body: &[u8]) {
    let document = &*values::DOCUMENT;
    let Some(path) = values::path_of(document, uri.path()) else { return };
    let method = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let operation = &document["paths"][path][&method];
    if operation.is_null() || body.is_empty() {
        return;
    }
    let responses = &operation["responses"];
    let known = responses.get(status.to_string()).filter(|_| kind != problems::CONTENT_TYPE);
    assert!(known.is_some() || kind == problems::CONTENT_TYPE, "{method} {path}: {status} {kind} is not documented");
    let response = values::resolved(document, known.unwrap_or(&responses["default"]));
    let Some(schema) = response["content"].get(kind).map(|content| &content["schema"]) else { return };
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let wrong = values::differences(document, schema, &value, "");
    assert!(wrong.is_empty(), "{method} {path} {status} differs from the document: {wrong:#?}\n{value:#}");
}
