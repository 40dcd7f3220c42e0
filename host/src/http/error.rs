//! Defines the errors of the API. They have the same shape whatever went wrong.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::ops::OpError;
use sexton_domain::run::RunId;
use sexton_domain::schedule::instant_parser::on_one_line;
use sexton_domain::schedule::request::{BadPart, BadRequest};
use sexton_domain::task::Name;
use sexton_domain::tenant::Tenants;
use sexton_store::StoreError;
use sexton_store::added::ScheduleError;

use super::api_types::{FailureBody, Problem};
use super::problems;
use super::request_id::RequestId;

/// An error response: problem details as in RFC 9457. `problems` lists the codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// The seconds after which the client may try again.
    retry_after: Option<u64>,
}

pub(super) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: one_line(&message.into()), hint: None, retry_after: None }
    }

    /// Creates an error for a wrong request.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Creates the error that the tenant does not exist.
    pub(super) fn no_tenant(name: &Name, tenants: &Tenants) -> Self {
        let tenants = tenants.all();
        let names: Vec<&str> = tenants.keys().map(|name| name.as_str()).take(10).collect();
        Self::not_found("no-such-tenant", format!("there is no tenant `{name}`")).hint(format!(
            "`[tenants.NAME]` in the configuration defines a tenant; the tenants are: {}",
            names.join(", ")
        ))
    }

    pub(super) fn no_run(run: RunId) -> Self {
        Self::not_found("no-such-run", format!("there is no run {run}"))
            .hint("runs are deleted after a while; GET /v1/runs lists the stored ones")
    }

    /// Creates the error that the store failed. Its message may name files and other contents of the database, so only
    /// the host's log gets it.
    pub(super) fn store_failed(details: &str) -> Self {
        let id = log_details(details);
        let message = format!("the store failed this request, which may be sent again (error {id})");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store-failed", message)
            .hint(format!("if it fails again: the host's log says why beside error.id={id}"))
    }

    /// Adds a hint at what the caller may do.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns what the caller gets of this error in response to the request `id`.
    pub(super) fn problem(&self, id: &RequestId) -> Problem {
        let (code, hint) = (self.code.to_owned(), self.hint.clone());
        Problem {
            kind: problems::type_of(self.code),
            title: problems::title_of(self.code).to_owned(),
            status: self.status.as_u16(),
            detail: self.message.clone(),
            instance: Some(id.to_string()),
            error: FailureBody { code: code.clone(), message: self.message.clone(), hint: hint.clone() },
            code,
            hint,
        }
    }

    /// Sets after how many seconds the caller may try again.
    #[must_use]
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns the status, the message and the hint, for pages.
    pub(super) fn for_people(self) -> (StatusCode, String, Option<String>) {
        (self.status, self.message, self.hint)
    }
}

/// Keeps a message to one line of bounded length, so that it can be printed and logged. Messages quote what the caller
/// sent.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(on_one_line).take(500).collect();
    line.truncate(line.trim_end().len());
    line
}

/// Leaves the body to [`with_problem`], which knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problems::CONTENT_TYPE));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of an error response to the request `id`. Other responses stay as they are.
pub(super) fn with_problem(mut response: Response, id: &RequestId) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let body = serde_json::to_vec(&error.problem(id)).expect("texts and numbers are JSON");
        *response.body_mut() = Body::from(body);
    }
    response
}

/// Returns the error for a change that the store refused.
pub(super) fn schedule_refused(why: &ScheduleError) -> ApiError {
    let conflict = |code, hint| ApiError::new(StatusCode::CONFLICT, code, why.to_string()).hint(hint);
    match why {
        ScheduleError::AlreadyExists(_) => {
            conflict("schedule-exists", "`replace` puts this schedule in its place and starts it afresh")
        }
        ScheduleError::AlreadyFinished { .. } => {
            conflict("schedule-finished", "`replace` starts it afresh; deleting it frees its key")
        }
        ScheduleError::Preempted { .. } => {
            conflict("schedule-changed", "read the schedule again, and decide with its new version")
        }
        // Only guests are refused for want of room.
        ScheduleError::Full { .. } | ScheduleError::DeletedTooMany { .. } => {
            conflict("schedules-full", "delete some of those that tasks have added")
        }
        ScheduleError::NotFound(_) => ApiError::not_found("no-such-schedule", why.to_string())
            .hint("GET /v1/schedules lists the added schedules; a schedule in a manifest belongs to its task"),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let full = StatusCode::INSUFFICIENT_STORAGE;
        match error {
            StoreError::NoRun(run) => Self::no_run(run),
            StoreError::ClaimLost(_) => Self::new(StatusCode::CONFLICT, "claim-lost", error.to_string()),
            StoreError::CacheFull { .. } | StoreError::CacheBudget { .. } => {
                Self::new(full, "cache-full", error.to_string())
                    .hint("delete entries, or raise the cache quota in the host's configuration")
            }
            StoreError::Schedule(why) => schedule_refused(&why),
            StoreError::DiskFull(_) => {
                let id = log_details(&error.to_string());
                Self::new(full, "disk-full", format!("the host's disk is full, so nothing was changed (error {id})"))
                    .hint(format!("make room for the store; the host's log says where beside error.id={id}"))
            }
            StoreError::Unusable(_) | StoreError::Other(_) => Self::store_failed(&error.to_string()),
        }
    }
}

impl From<BadRequest> for ApiError {
    fn from(why: BadRequest) -> Self {
        let code = match why.part {
            BadPart::Schedule => "bad-schedule",
            BadPart::Crontab => "bad-crontab",
            BadPart::Zone => "bad-zone",
            BadPart::Instant => "bad-instant",
            BadPart::Duration => "bad-duration",
            BadPart::OnlyInManifests => "not-supported",
        };
        let error = Self::bad(code, why.to_string());
        match why.part {
            BadPart::OnlyInManifests => {
                error.hint("use `cron`, `every`, `at` or `in`; other schedules need a manifest")
            }
            _ => error,
        }
    }
}

impl From<OpError> for ApiError {
    fn from(error: OpError) -> Self {
        let message = error.to_string();
        match error {
            // Handlers that know the plugins say more: `missing_plugins::no_task`.
            OpError::NoTask(_) => Self::not_found("no-such-task", message),
            // Handlers that know the tenants and the hosts list them.
            OpError::NoTenant(_) => Self::not_found("no-such-tenant", message),
            OpError::NoHost(_) => Self::not_found("no-such-host", message),
            OpError::NoEntry(_) => Self::not_found("no-such-entry", message),
            OpError::NoVersion(..) => Self::not_found("no-such-version", message).hint(
                "GET /v1/cache-history/KEY lists the versions that are kept, as `keep` in the manifest of a task says",
            ),
            OpError::EntryDiffers(_) => Self::new(StatusCode::PRECONDITION_FAILED, "conflict", message)
                .hint("read the entry again, and decide with its new version"),
            OpError::PastLimitsLater => {
                Self::bad("bad-query", "`past_limits` is about now, so it excludes `at` and `in`")
            }
            OpError::BadReason => Self::bad("bad-query", message),
            OpError::BadLabels(_) => Self::bad("bad-label", message),
            OpError::RunIsNotOver(..) => Self::new(StatusCode::CONFLICT, "run-is-not-over", message)
                .hint("end it with `sexton kill`, or make another run of its task with `sexton trigger`"),
            OpError::NotByClock(..) => Self::bad("not-by-clock", message).hint(
                "tasks with `cron`, `every` or `at` have such instants; `sexton trigger` makes a run of any task",
            ),
            OpError::BadRange(_) => Self::bad("bad-range", message),
            OpError::RunIsOver(..) => Self::new(StatusCode::CONFLICT, "run-is-over", message),
            OpError::RunNotHeldBack(..) => Self::new(StatusCode::CONFLICT, "run-not-held-back", message).hint(
                "only a run that is suspected of killing its host is released; a pause ends with `sexton resume`",
            ),
            OpError::BadSchedule(why) => why.into(),
            OpError::Store(error) => error.into(),
        }
    }
}

/// Logs the details of an error. Returns the id of the log line, for the caller.
pub(super) fn log_details(details: &str) -> String {
    let id = format!("{:08x}", rand::random::<u32>());
    tracing::error!(error.id = %id, error = details, "The store failed a request of the API (error {id})");
    id
}

pub(super) async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found("no-such-route", format!("there is nothing at `{}`", uri.path()))
        .hint("the API is under /v1, such as /v1/tasks and /v1/runs; / is a page for people")
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", format!("`{}` does not support {method}", uri.path()))
        .hint("the header `Allow` of this response lists the supported methods")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns the error as the caller gets it, and the host's log of it.
    fn explain(error: StoreError) -> (ApiError, String) {
        let log = Log::default();
        let kept = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || kept.clone()).finish();
        let error = tracing::subscriber::with_default(subscriber, || ApiError::from(error));
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        (error, log)
    }

    #[test]
    fn the_words_of_the_store_stay_in_the_host_s_log_under_an_id_that_the_caller_gets() {
        let words = "near `SELECT secret FROM runs`: /var/lib/sexton/sexton.db";
        let failures = [
            (StoreError::Other(words.to_owned()), "store-failed"),
            (StoreError::Unusable(words.to_owned()), "store-failed"),
            (StoreError::DiskFull(words.to_owned()), "disk-full"),
        ];

        for (failure, code) in failures {
            let (error, log) = explain(failure);
            let said = format!("{} {}", error.message, error.hint.clone().unwrap_or_default());
            assert_eq!(error.code, code);
            for leaked in ["SELECT", "/var/lib"] {
                assert!(!said.contains(leaked), "{said}");
            }
            let id = error.message.split("(error ").nth(1).unwrap().trim_end_matches(')');
            assert!(log.contains(id) && log.contains(words), "{log}");
            assert!(said.matches(id).count() == 2, "{said}");
        }
    }

    #[test]
    fn two_failures_have_two_ids() {
        let failed = || explain(StoreError::Other("locked".into())).0;
        assert_ne!(failed().message, failed().message);
    }
}
