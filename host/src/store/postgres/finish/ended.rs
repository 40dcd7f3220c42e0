//! The end of an attempt, as the transaction that writes it knows it.

use std::sync::Arc;

use crate::run::{ClaimKey, Outcome, RunState};
use crate::store::Finish;
use crate::store::postgres::schema::NOT_OVER;
use crate::time::Timestamp;

/// A run as the end of its attempt found it, and the state that it entered.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: i64,
    pub(super) bytes: i64,
    pub(super) host: Option<String>,
    pub(super) entered: RunState,
}

/// The end of an attempt whose claim held.
#[derive(Debug)]
pub(in crate::store::postgres) struct Ended<'a> {
    pub(in crate::store::postgres) finish: &'a Arc<Finish>,
    pub(in crate::store::postgres) claim: ClaimKey,
    pub(in crate::store::postgres) task: i64,
    pub(in crate::store::postgres) outcome: Outcome,
    /// The state that its run entered.
    pub(in crate::store::postgres) entered: RunState,
    pub(in crate::store::postgres) ended_at: Timestamp,
    /// The bytes of its run.
    pub(in crate::store::postgres) bytes: i64,
    pub(in crate::store::postgres) host: String,
}

impl<'a> Ended<'a> {
    pub(super) fn of(finish: &'a Arc<Finish>, held: Held) -> Self {
        Self {
            finish,
            claim: finish.claim,
            task: held.task,
            outcome: finish.report.outcome,
            entered: held.entered,
            ended_at: finish.report.ended_at,
            bytes: held.bytes,
            host: held.host.unwrap_or_default(),
        }
    }

    pub(super) fn over_at(&self) -> i64 {
        if self.entered.is_over() { self.ended_at.as_millis() } else { NOT_OVER }
    }
}
