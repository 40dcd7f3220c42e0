//! Describes an operation: its parameters, its body and its answers, by the types that the handlers use.

use serde_json::{Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

/// A schema with its name.
type Named = (String, RefOr<Schema>);

/// A content type, and the schema of its values.
type Content = (&'static str, Value);

/// An operation of the API.
pub(super) struct Operation {
    /// In small letters.
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    /// A name for generated clients.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Parameters in the query and in headers, without those that many operations have.
    pub(super) parameters: Vec<Value>,
    /// Whether it is about no tenant.
    pub(super) of_whole_host: bool,
    /// The body, and whether it is required.
    pub(super) body: Option<(&'static str, Value, bool)>,
    /// The answers of success, with their statuses.
    pub(super) answers: Vec<(u16, &'static str, Option<Content>)>,
    /// The types that it uses.
    pub(super) schemas: Vec<Named>,
}

/// Returns a reference to a component.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

impl Operation {
    fn of(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            parameters: Vec::new(),
            of_whole_host: false,
            body: None,
            answers: Vec::new(),
            schemas: Vec::new(),
        }
    }

    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::of("get", path, id, summary)
    }

    pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::of("post", path, id, summary)
    }

    pub(super) fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::of("put", path, id, summary)
    }

    pub(super) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::of("delete", path, id, summary)
    }

    /// Returns the group of operations that it belongs to: the first part of its path behind the version.
    pub(super) fn tag(&self) -> &'static str {
        let path = self.path.strip_prefix("/v1/").unwrap_or("host");
        path.split(['/', '-']).next().unwrap_or(path)
    }

    /// Says that it is about the whole host, whatever tenant is named.
    pub(super) fn of_whole_host(self) -> Self {
        Self { of_whole_host: true, ..self }
    }

    /// Adds the parameters of a query.
    pub(super) fn query<T: IntoParams>(mut self) -> Self {
        let parameters = T::into_params(|| Some(ParameterIn::Query));
        let parameters = parameters.iter().map(|one| serde_json::to_value(one).expect("a parameter is JSON"));
        self.parameters.extend(parameters);
        self
    }

    /// Adds the parameter `label`, which may be there several times.
    pub(super) fn labels(mut self) -> Self {
        self.parameters.push(json!({
            "name": "label", "in": "query", "required": false, "explode": true, "style": "form",
            "description": "A label, KEY=VALUE; as often as there are labels.",
            "schema": { "type": "array", "items": { "type": "string" } },
        }));
        self
    }

    /// Adds a header that it may have.
    pub(super) fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": { "type": "string" },
        }));
        self
    }

    /// Says that it has a body of JSON.
    pub(super) fn body<T: ToSchema>(mut self) -> Self {
        self.body = Some(("application/json", self.schema::<T>(), true));
        self
    }

    /// Says that its body may be any bytes.
    pub(super) fn any_body(mut self) -> Self {
        self.body = Some(("application/octet-stream", json!({}), false));
        self
    }

    /// Adds an answer in JSON.
    pub(super) fn answer<T: ToSchema>(mut self, status: u16) -> Self {
        let schema = self.schema::<T>();
        self.answers.push((status, "JSON", Some(("application/json", schema))));
        self
    }

    /// Adds an answer of JSON lines.
    pub(super) fn lines<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.answers.push((200, "Lines of JSON, each a value of this schema", Some(("application/x-ndjson", schema))));
        self
    }

    /// Adds an answer of another content type.
    pub(super) fn bytes(mut self, kind: &'static str, description: &'static str) -> Self {
        self.answers.push((200, description, Some((kind, json!({})))));
        self
    }

    /// Adds an answer without a body.
    pub(super) fn empty(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push((status, description, None));
        self
    }

    /// Collects the schema of a type, and returns a reference to it.
    fn schema<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        reference("schemas", &name)
    }
}
