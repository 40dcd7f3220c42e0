//! Describes the API as an OpenAPI 3.1 document, made from the types of its JSON and of its queries, and from the list of
//! its operations. `docs/reference/openapi.json` is a copy, which a test compares.

mod operations;
mod routes;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::api_types::Problem;
use super::error::ApiResult;
use super::extract::{ApiQuery, NoQuery};
use super::{idempotency, problems};
use operations::{Operation, reference};

/// The document, as it is served.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string_pretty(&document()).expect("texts and numbers are JSON") + "\n");

/// `GET /openapi.json`.
pub(super) async fn show(_: ApiQuery<NoQuery>) -> ApiResult<Response> {
    Ok(([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response())
}

/// Makes the document.
fn document() -> Value {
    let operations = routes::all();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    let mut known = Vec::new();
    known.push((Problem::name().into_owned(), <Problem as utoipa::PartialSchema>::schema()));
    Problem::schemas(&mut known);
    operations.iter().for_each(|operation| known.extend(operation.schemas.iter().cloned()));
    for (name, schema) in known {
        schemas.insert(name, serde_json::to_value(schema).expect("a schema is JSON"));
    }
    let codes: Vec<&str> = problems::ALL.iter().map(|kind| kind.code).collect();
    if let Some(code) = schemas.get_mut("Problem").and_then(|problem| problem["properties"].get_mut("code")) {
        code["enum"] = json!(codes);
    }
    let mut paths: Map<String, Value> = Map::new();
    for operation in &operations {
        // A key of several parts is one parameter.
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sexton",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Schedules and supervises tasks compiled to WebAssembly components. \
                            docs/reference/http.md explains the operations.",
            "license": { "name": "Apache-2.0 WITH LLVM-exception", "identifier": "Apache-2.0 WITH LLVM-exception" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas, "parameters": parameters(), "responses": responses(), "headers": headers() },
        "x-problems": problems::ALL
            .iter()
            .map(|kind| {
                let (code, status, title) = (kind.code, kind.status, kind.title);
                json!({ "type": problems::type_of(code), "code": code, "status": status, "title": title })
            })
            .collect::<Vec<_>>(),
    })
}

/// Describes an operation.
fn described(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(operation.path);
    parameters.extend(operation.parameters.iter().cloned());
    if !operation.of_whole_host {
        parameters.push(reference("parameters", "Tenant"));
    }
    parameters.push(reference("parameters", "RequestId"));
    let creates = |(method, path): &(axum::http::Method, &str)| {
        method.as_str().eq_ignore_ascii_case(operation.method) && *path == operation.path
    };
    if idempotency::CREATING.iter().any(creates) {
        parameters.push(reference("parameters", "IdempotencyKey"));
    }
    let mut responses = Map::new();
    for (status, description, content) in &operation.answers {
        let mut response =
            json!({ "description": description, "headers": { "X-Request-Id": reference("headers", "RequestId") } });
        if let Some((kind, schema)) = content {
            response["content"] = json!({ (*kind): { "schema": schema } });
        }
        responses.insert(status.to_string(), response);
    }
    responses.insert("default".to_owned(), reference("responses", "Problem"));
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag()],
        "parameters": parameters,
        "responses": responses,
    });
    if let Some((kind, schema, required)) = &operation.body {
        described["requestBody"] = json!({ "required": required, "content": { (*kind): { "schema": schema } } });
    }
    described
}

/// Describes the parameters in a path.
fn path_parameters(path: &str) -> Vec<Value> {
    let named = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameter = |name: &str| {
        let name = name.trim_start_matches('*');
        let schema = match name {
            "run" => reference("schemas", "RunId"),
            "task" | "tenant" => reference("schemas", "Name"),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    named.map(parameter).collect()
}

/// Describes the parameters that many operations have.
fn parameters() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": { "type": "string" }
        })
    };
    json!({
        "Tenant": {
            "name": "tenant", "in": "query", "required": false,
            "description": "The tenant that the request is about; left out: `default`.",
            "schema": reference("schemas", "Name"),
        },
        "RequestId": header(
            "X-Request-Id",
            "The id of the request: 1 to 80 letters, digits, `-`, `_`, `.` and `~`. Left out: the host makes one.",
        ),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "1 to 200 visible ASCII characters. For a day, the same request with the key gets the answer of the first.",
        ),
    })
}

/// Describes the responses that all operations have.
fn responses() -> Value {
    json!({
        "Problem": {
            "description": "The request failed; `x-problems` lists the codes.",
            "headers": { "X-Request-Id": reference("headers", "RequestId") },
            "content": { (problems::CONTENT_TYPE): { "schema": reference("schemas", "Problem") } },
        }
    })
}

/// Describes the headers that all responses have.
fn headers() -> Value {
    json!({ "RequestId": { "description": "The id of the request.", "schema": { "type": "string" } } })
}
