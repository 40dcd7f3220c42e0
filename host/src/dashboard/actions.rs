//! The forms of the dashboard. Each asks for one operation, and leads back to a page that says what was done.
//!
//! The guard of the API refuses forms that a page of another site sends, before they come here.

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::views::{Fields, Refused, Seen, form_fields};
use crate::ops::{EndRun, OpError, Principal, RepeatRun, TriggerRun};
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_store::added::ScheduleKey;

use super::address::{bad, is_local, name, part, run_id};
use super::ask::{Ask, DONE, THEME};

/// The party that asks.
const OPERATOR: Principal = Principal::Operator;

/// The time for which a browser keeps the choice of colours: a year.
const KEPT: u32 = 365 * 24 * 3600;

/// The fields of a form that was sent.
struct Sent(Fields);

impl Sent {
    async fn of(request: Request<Body>) -> Seen<Self> {
        form_fields(request).await.map(Self)
    }

    /// Returns the value of a field, unless it was left empty.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.0.iter().find(|(named, _)| named == name).map(|(_, value)| value.trim());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    fn input(&self) -> Option<Vec<u8>> {
        self.text("input").map(String::into_bytes)
    }
}

/// Answers a form with the way to the page `path`, which says that `done` was done, or with the reason why it was not.
fn lead(ask: &Ask, outcome: Seen<(String, &str)>) -> Response {
    match outcome {
        Ok((path, done)) => see(&ask.to(&path, &[(DONE, done)])),
        Err(refused) => ask.refuse(refused),
    }
}

/// Leads a browser to an address of this host.
fn see(address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn task_path(task: &Name) -> String {
    format!("/tasks/{}", part(task.as_str()))
}

async fn refused(ask: &Ask, task: &Name, error: OpError) -> Refused {
    match error {
        OpError::NoTask(_) => ask.views.no_task(task).await,
        error => error.into(),
    }
}

/// `POST /tasks/{task}/start`.
pub(super) async fn start(ask: Ask, Path(task): Path<String>, request: Request<Body>) -> Response {
    let outcome = async {
        let (task, sent) = (name(&task)?, Sent::of(request).await?);
        let asked =
            TriggerRun { input: sent.input(), past_limits: sent.is_set("past-limits"), ..TriggerRun::default() };
        match ask.views.app.ops.trigger(&OPERATOR, &ask.views.key(&task), asked).await {
            Ok(made) => Ok((format!("/runs/{}", made.run), "started")),
            Err(error) => Err(refused(&ask, &task, error).await),
        }
    };
    lead(&ask, outcome.await)
}

/// `POST /tasks/{task}/pause`.
pub(super) async fn pause(ask: Ask, Path(task): Path<String>, request: Request<Body>) -> Response {
    let outcome = async {
        let (task, sent) = (name(&task)?, Sent::of(request).await?);
        let target = PauseTarget::Task(ask.views.key(&task));
        match ask.views.app.ops.pause(&OPERATOR, &target, sent.text("reason")).await {
            Ok(_) => Ok((task_path(&task), "paused")),
            Err(error) => Err(refused(&ask, &task, error).await),
        }
    };
    lead(&ask, outcome.await)
}

/// `POST /tasks/{task}/resume`.
pub(super) async fn resume(ask: Ask, Path(task): Path<String>) -> Response {
    let outcome = async {
        let task = name(&task)?;
        match ask.views.app.ops.resume(&OPERATOR, &PauseTarget::Task(ask.views.key(&task))).await {
            Ok(_) => Ok((task_path(&task), "resumed")),
            Err(error) => Err(refused(&ask, &task, error).await),
        }
    };
    lead(&ask, outcome.await)
}

/// `POST /runs/{run}/kill`.
pub(super) async fn kill(ask: Ask, Path(run): Path<String>, request: Request<Body>) -> Response {
    let outcome = async {
        let (run, sent) = (run_id(&run)?, Sent::of(request).await?);
        let end = EndRun { reason: sent.text("reason"), at_once: sent.is_set("now") };
        ask.views.app.ops.end_run(&OPERATOR, &ask.views.tenant, run, end).await?;
        Ok((run_path(run), "killed"))
    };
    lead(&ask, outcome.await)
}

/// `POST /runs/{run}/rerun`.
pub(super) async fn rerun(ask: Ask, Path(run): Path<String>, request: Request<Body>) -> Response {
    let outcome = async {
        let (run, sent) = (run_id(&run)?, Sent::of(request).await?);
        let asked = RepeatRun { input: sent.input(), key: None, past_limits: sent.is_set("past-limits") };
        match ask.views.app.ops.rerun(&OPERATOR, &ask.views.tenant, run, asked).await {
            Ok(made) => Ok((run_path(made.run), "started")),
            Err(OpError::NoTask(task)) => Err(ask.views.no_task(&task.task).await),
            Err(error) => Err(error.into()),
        }
    };
    lead(&ask, outcome.await)
}

/// `POST /runs/{run}/release`.
pub(super) async fn release(ask: Ask, Path(run): Path<String>) -> Response {
    let outcome = async {
        let run = run_id(&run)?;
        ask.views.app.ops.release_run(&OPERATOR, &ask.views.tenant, run).await?;
        Ok((run_path(run), "released"))
    };
    lead(&ask, outcome.await)
}

fn run_path(run: RunId) -> String {
    format!("/runs/{run}")
}

/// `POST /schedules/{key}/delete`.
pub(super) async fn delete_schedule(ask: Ask, Path(key): Path<String>, request: Request<Body>) -> Response {
    let outcome = async {
        let (key, sent) = (name(&key)?, Sent::of(request).await?);
        let version = sent.text("version").map(|version| version.parse::<u64>()).transpose();
        let version = version.map_err(|_| bad("`version` is a number"))?;
        let key = ScheduleKey { tenant: ask.views.tenant.clone(), key };
        ask.views.app.ops.delete_schedule(&OPERATOR, key, version).await?;
        Ok(("/schedules".to_owned(), "deleted"))
    };
    lead(&ask, outcome.await)
}

/// `POST /hosts/{host}/drain`.
pub(super) async fn drain(ask: Ask, Path(host): Path<String>) -> Response {
    let outcome = async {
        ask.views.app.ops.set_draining(&OPERATOR, &host, true).await?;
        Ok(("/hosts".to_owned(), "drained"))
    };
    lead(&ask, outcome.await)
}

/// `POST /hosts/{host}/undrain`.
pub(super) async fn undrain(ask: Ask, Path(host): Path<String>) -> Response {
    let outcome = async {
        ask.views.app.ops.set_draining(&OPERATOR, &host, false).await?;
        Ok(("/hosts".to_owned(), "undrained"))
    };
    lead(&ask, outcome.await)
}

/// `POST /theme`: keeps the choice of colours in a cookie, and leads back.
pub(super) async fn theme(ask: Ask, request: Request<Body>) -> Response {
    let sent = match Sent::of(request).await {
        Ok(sent) => sent,
        Err(refused) => return ask.refuse(refused),
    };
    let theme = match sent.text("theme").as_deref() {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "auto",
    };
    let back = sent.text("back").filter(|back| is_local(back));
    let mut response = see(back.as_deref().unwrap_or("/"));
    let cookie = format!("{THEME}={theme}; Path=/; Max-Age={KEPT}; SameSite=Strict; HttpOnly");
    let cookie = HeaderValue::from_str(&cookie).expect("the words of a cookie are visible ASCII");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}
