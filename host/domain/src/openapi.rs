//! Describes how ids, names, instants and words are written in JSON, for the document of the API (OpenAPI 3.1).

use serde::Serialize;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::labels::Labels;
use crate::pause::PausedBy;
use crate::run::{Cause, Outcome, RunId, RunState};
use crate::schedule::OnFailure;
use crate::task::Name;
use crate::time::Timestamp;

/// Describes a text that is one of some words.
fn one_of<T: Serialize>(words: &[T], description: &str) -> RefOr<Schema> {
    let words = words.iter().map(|word| serde_json::to_value(word).expect("words are texts"));
    text(description).enum_values(Some(words)).into()
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

macro_rules! described {
    ($($type:ty: $schema:expr;)*) => {
        $(
            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $type {}
        )*
    };
}

described! {
    Name: text("The name of a task, a tenant or a schedule.").pattern(Some("^[a-z0-9][a-z0-9._-]{0,63}$")).into();
    Timestamp: text("An instant in UTC with milliseconds.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .into();
    RunId: ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some("The id of a run; later runs have greater ones."))
        .into();
    Labels: ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(text("A value.")))
        .description(Some("Labels by key."))
        .into();
    RunState: one_of(&RunState::ALL, "The state of a run.");
    Cause: one_of(&Cause::ALL, "The cause of a run.");
    Outcome: one_of(&Outcome::ALL, "How an attempt ended.");
    PausedBy: one_of(&[PausedBy::Task, PausedBy::Tenant, PausedBy::All], "The owner of a pause.");
    OnFailure: one_of(&[OnFailure::GoOn, OnFailure::Stop], "What a chain does after a link that failed.");
}
