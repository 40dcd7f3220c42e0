//! Serves a run's log as JSON lines, across its attempts, and follows it as it grows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use sexton_domain::run::RunId;
use sexton_runtime::attempt::{LogLine, RunHandle};
use sexton_store::StoreError;

use super::api_state::App;
use super::api_types::attempts::{AttemptShape, LogEvent};
use super::api_types::runs::RunShape;
use super::error::ApiResult;
use super::extract::{ApiQuery, RunPath, Tenant};
use super::waiting::{WaitGuard, WaitPermit};
use super::watch::Changes;

/// The time to wait for a line before checking whether the attempt is still the same.
const POLL: Duration = Duration::from_secs(1);

/// The query of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    #[serde(default)]
    follow: bool,
}

/// `GET /v1/runs/{run}/log`.
pub(super) async fn log(
    State(app): State<App>,
    tenant: Tenant,
    may_wait: WaitPermit,
    RunPath(run): RunPath,
    ApiQuery(query): ApiQuery<LogQuery>,
) -> ApiResult<Response> {
    let over = tenant.run(&app, run).await?.state.is_over();
    // The log of a run that has ended ends by itself.
    let waits = query.follow && !over;
    let _waiting = if waits { Some(may_wait.begin(&app)?) } else { None };
    let changes = Changes::of(&*app.store);
    let reader = Reader { _waiting, app, run, follow: query.follow, ended: 0, sent: 0, over: false, changes };
    let chunks = stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reader))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks)).into_response())
}

/// A position in a run's log. Lines of finished attempts come from the store, others from the live attempt.
struct Reader {
    /// Held for as long as the log is followed.
    _waiting: Option<WaitGuard>,
    app: App,
    run: RunId,
    follow: bool,
    /// The number of attempts that were sent to their end.
    ended: u32,
    /// The number of lines of the next attempt that were sent while it was live.
    sent: usize,
    over: bool,
    changes: Changes,
}

impl Reader {
    /// Returns the next piece of text, once there is one; `None` at the end of the log.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over {
                return None;
            }
            match self.look().await {
                Ok(text) if !text.is_empty() => return Some(text),
                Ok(_) if self.over => return None,
                Ok(_) => self.wait().await,
                Err(e) => {
                    // The response has begun, so its status can no longer report the error. It ends early instead.
                    tracing::error!(run.id = %self.run, error = %e, "Could not read on in the log of run {}", self.run);
                    return None;
                }
            }
        }
    }

    /// Returns the lines beyond those that were sent.
    async fn look(&mut self) -> Result<String, StoreError> {
        // The order matters: a run that has ended has all its attempts in the store, and a live attempt is the latest
        // one.
        let run = self.app.store.run(self.run).await?.map(RunShape::from);
        let live = self.app.live.get(self.run);
        self.over = !self.follow || run.as_ref().is_none_or(|run| run.state.is_over());
        let mut text = String::new();
        let attempts_over =
            run.map_or(0, |run| if run.state.is_over() { run.attempt } else { run.attempt.saturating_sub(1) });
        let live_is_next = live.as_ref().is_some_and(|live| live.key.attempt == self.ended + 1);
        // Whole logs are read from the store only if an attempt may have ended.
        if attempts_over > self.ended || !live_is_next {
            for attempt in self.app.store.attempts(self.run).await? {
                self.ended_attempt(&mut text, attempt.into());
            }
        }
        if let Some(live) = live.filter(|live| live.key.attempt > self.ended) {
            self.live_lines(&mut text, &live);
        }
        Ok(text)
    }

    fn ended_attempt(&mut self, text: &mut String, over: AttemptShape) {
        if over.attempt <= self.ended {
            return;
        }
        let AttemptShape { attempt, outcome, ended_at, message, log, .. } = over;
        for line in log.text.lines().skip(self.sent) {
            // The store has JSON lines. A line that is not JSON is shown as it is, not lost.
            let line = serde_json::from_str(line).unwrap_or_else(|_| LogLine {
                at: ended_at,
                level: "info".to_owned(),
                message: line.to_owned(),
            });
            push(text, &event(attempt, line));
        }
        push(text, &LogEvent::End { attempt, outcome, ended_at, message, cut: log.cut });
        (self.ended, self.sent) = (attempt, 0);
    }

    fn live_lines(&mut self, text: &mut String, live: &Arc<RunHandle>) {
        let (lines, _) = live.lines(self.sent);
        self.sent += lines.len();
        for line in lines {
            push(text, &event(live.key.attempt, line));
        }
    }

    async fn wait(&mut self) {
        // The handle itself is not held during the wait, because its growth signal ends with it.
        let growth = self.app.live.get(self.run).filter(|live| live.key.attempt > self.ended).map(|live| {
            let grown = live.growth();
            (live.lines(self.sent).0.is_empty(), grown)
        });
        match growth {
            Some((true, mut grown)) => {
                // The wait ends with a line, the end of the attempt, or the timeout. The next look reports the first
                // two.
                if matches!(tokio::time::timeout(POLL, grown.changed()).await, Ok(Err(_))) {
                    self.changes.next(Instant::now() + POLL).await;
                }
            }
            Some((false, _)) => {}
            None => self.changes.next(Instant::now() + POLL).await,
        }
    }
}

fn event(attempt: u32, line: LogLine) -> LogEvent {
    LogEvent::Line { attempt, at: line.at, level: line.level, message: line.message }
}

fn push(text: &mut String, event: &LogEvent) {
    text.push_str(&serde_json::to_string(event).expect("an event has no keys that JSON cannot have"));
    text.push('\n');
}
