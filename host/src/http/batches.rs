//! Makes many runs in one request.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ops::{OpError, Principal, TriggerRun};
use sexton_domain::labels::Labels;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::api_state::App;
use super::api_types::batches::{Batch, BatchItem, RunRequest};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, Payload, Tenant};
use super::missing_plugins::no_task;
use super::request_id::RequestId;
use super::tasks::{checked_key, due, idempotency_key, triggered};

/// The most runs of a request. Other writes wait while the store makes them.
const MOST: usize = 1000;

/// The number of runs that are read before other requests get a turn on the thread.
const AT_A_TIME: usize = 100;

/// The most missing tasks that a response explains. Each explanation reads the store.
const EXPLAINED: usize = 10;

/// The body: the runs are read one by one, so that one which is wrong keeps no other from being made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    runs: Vec<&'a RawValue>,
}

/// `POST /v1/runs`.
pub(super) async fn make(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    request: RequestId,
    _: ApiQuery<NoQuery>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> ApiResult<Json<Batch>> {
    let key = idempotency_key(&headers)?;
    let asked = read(&app, &tenant, key.as_deref(), &body).await?;
    let (mut asking, mut places) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
    for asked in asked {
        places.push(asked.map(|asked| {
            let task = asked.0.clone();
            asking.push(asked);
            task
        }));
    }
    let mut made = app.ops.trigger_many(&Principal::Operator, asking).await?.into_iter();
    let mut explained = 0;
    let mut runs = Vec::with_capacity(places.len());
    for place in places {
        let answer = match place {
            Err(error) => Err(error),
            Ok(task) => match made.next().expect("operations answer for each run") {
                Ok(made) => Ok(made),
                Err(OpError::NoTask(_)) if explained < EXPLAINED => {
                    explained += 1;
                    // The other runs are made, so the response must tell of them whatever happens here.
                    Err(no_task(&app, &task).await.unwrap_or_else(|failed| failed))
                }
                Err(refused) => Err(refused.into()),
            },
        };
        runs.push(match answer {
            Ok(made) => BatchItem::Run(triggered(&app, made, None)),
            Err(error) => BatchItem::Problem(error.problem(&request)),
        });
    }
    Ok(Json(counted(runs)))
}

fn counted(runs: Vec<BatchItem>) -> Batch {
    let count = |counts: fn(&BatchItem) -> bool| runs.iter().filter(|item| counts(item)).count();
    let created = count(|item| matches!(item, BatchItem::Run(made) if made.created));
    let existing = count(|item| matches!(item, BatchItem::Run(made) if !made.created));
    let failed = count(|item| matches!(item, BatchItem::Problem(_)));
    Batch { runs, created, existing, failed }
}

/// Reads the requested runs. `key` is the idempotency key of the whole request.
async fn read(
    app: &App,
    tenant: &Name,
    key: Option<&str>,
    body: &[u8],
) -> ApiResult<Vec<ApiResult<(TaskKey, TriggerRun)>>> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| {
        ApiError::bad("bad-body", format!("the body is no list of runs: {e}"))
            .hint(r#"such as {"runs": [{"task": "report", "input": "weekly"}, {"task": "report", "in": "10m"}]}"#)
    })?;
    if !(1..=MOST).contains(&body.runs.len()) {
        let message = format!("a request has 1 to {MOST} runs, this one has {}", body.runs.len());
        return Err(ApiError::bad("bad-body", message).hint("send the others in further requests"));
    }
    let now = app.clock.now();
    let mut asked = Vec::with_capacity(body.runs.len());
    for (nth, run) in body.runs.into_iter().enumerate() {
        if nth % AT_A_TIME == AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
        // Repeating the request after its host died finds the runs that were made.
        let key = key.map(|key| format!("{key}#{nth}"));
        asked.push(read_one(app, tenant, key, run, now));
    }
    Ok(asked)
}

fn read_one(
    app: &App,
    tenant: &Name,
    key: Option<String>,
    run: &RawValue,
    now: Timestamp,
) -> ApiResult<(TaskKey, TriggerRun)> {
    let run: RunRequest = serde_json::from_str(run.get()).map_err(|e| {
        // The place is one in this run, which has no lines.
        let why = e.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        ApiError::bad("bad-run", format!("this is no run: {why}"))
    })?;
    let task = Name::new(&run.task).map_err(|e| ApiError::bad("bad-name", format!("`task`: {e}")))?;
    let task = TaskKey { tenant: tenant.clone(), task };
    // A missing task is found again, and explained, after the others have been made.
    let zone = app.catalog.get(&task).map_or(chrono_tz::UTC, |task| task.zone);
    let labels = Labels::new(run.labels).map_err(|e| ApiError::bad("bad-label", format!("`labels`: {e}")))?;
    let own = run.key.map(|key| checked_key("`key`", &key)).transpose()?;
    let input = run.input.map(|input| match serde_json::from_str::<String>(input.get()) {
        Ok(text) => text.into_bytes(),
        Err(_) => input.get().as_bytes().to_vec(),
    });
    let due_at = due(run.at.as_deref(), run.after_now.as_deref(), zone, now)?;
    Ok((task, TriggerRun { due_at, input, key: own.or(key), past_limits: run.past_limits, labels }))
}
