//! The end of an attempt, as the transaction that writes it knows it.

use std::sync::Arc;

use crate::Finish;
use crate::events::EventKind;
use crate::postgres::schema::NOT_OVER;
use crate::rules::events::{EventBatch, NewEvent, of_end};
use sexton_domain::run::{ClaimKey, Outcome, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// A run as the end of its attempt found it, and the state that it entered.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: i64,
    pub(super) key: TaskKey,
    pub(super) bytes: i64,
    pub(super) host: Option<String>,
    pub(super) entered: RunState,
}

/// The end of an attempt whose claim held.
#[derive(Debug)]
pub(in crate::postgres) struct Ended<'a> {
    pub(in crate::postgres) finish: &'a Arc<Finish>,
    pub(in crate::postgres) claim: ClaimKey,
    pub(in crate::postgres) task: i64,
    /// The name of the task.
    pub(super) key: TaskKey,
    pub(in crate::postgres) outcome: Outcome,
    /// The state that its run entered.
    pub(in crate::postgres) entered: RunState,
    pub(in crate::postgres) ended_at: Timestamp,
    /// The bytes of its run.
    pub(in crate::postgres) bytes: i64,
    pub(in crate::postgres) host: String,
}

impl<'a> Ended<'a> {
    pub(super) fn of(finish: &'a Arc<Finish>, held: Held) -> Self {
        Self {
            finish,
            claim: finish.claim,
            task: held.task,
            key: held.key,
            outcome: finish.report.outcome,
            entered: held.entered,
            ended_at: finish.report.ended_at,
            bytes: held.bytes,
            host: held.host.unwrap_or_default(),
        }
    }

    /// Tells the end, and that it has paused its task.
    pub(super) fn tell(&self, has_paused: bool, events: &mut EventBatch) {
        let end = NewEvent::of_run(of_end(self.entered), self.ended_at, &self.key, self.claim.run, self.entered);
        events.tell(end.attempt(self.claim.attempt, &self.host).outcome(self.outcome));
        if has_paused {
            events.tell(NewEvent::of_task(EventKind::TaskPaused, self.ended_at, &self.key));
        }
    }

    pub(super) fn over_at(&self) -> i64 {
        if self.entered.is_over() { self.ended_at.as_millis() } else { NOT_OVER }
    }
}
