//! Defines the JSON of requests for many runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Problem;
use super::runs::Triggered;

/// One of the runs that `POST /v1/runs` asks for.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The task.
    pub task: String,
    /// The input: a text as it is, anything else as JSON. Left out: that of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// Due at this instant: RFC 3339, or in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Due this long after now.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub after_now: Option<String>,
    /// Whether it starts now, whatever holds its task back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past_limits: bool,
    /// The key: while a run of the task with it is kept, no other is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Labels of the run, beside those of its task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `POST /v1/runs`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Batch {
    /// An answer for each of the requested runs, in their order.
    pub runs: Vec<BatchItem>,
    /// The number of runs that were made.
    pub created: usize,
    /// The number of runs that existed already.
    pub existing: usize,
    /// The number of runs that were not made.
    pub failed: usize,
}

/// The answer for one of many requested runs.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchItem {
    /// The run was made, or existed.
    Run(Triggered),
    /// The run was not made; the same problem as of a request for this run alone.
    Problem(Problem),
}
