//! Decides whether an attempt at a request that may be repeated begins.

use crate::requests::{BeginRequest, Begun, IN_PROGRESS, KEPT, RequestAnswer};
use sexton_domain::time::Timestamp;

/// A request as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) digest: Vec<u8>,
    pub(crate) attempt: i64,
    pub(crate) begun_at: Timestamp,
    pub(crate) answer: Option<RequestAnswer>,
}

/// Returns what an attempt finds. If it is [`Begun::New`], its row takes the place of `kept`.
pub(crate) fn begin(kept: Option<Kept>, begin: &BeginRequest) -> Begun {
    let Some(kept) = kept else { return Begun::New };
    let age = begin.now.since(kept.begun_at);
    // The transaction of the same attempt may have been committed without its host learning of it.
    if age >= KEPT || kept.attempt == begin.attempt {
        return Begun::New;
    }
    let differs = kept.digest != begin.digest;
    // The clocks of two hosts may differ by a little, so an attempt that began in the future is in progress as well; not
    // if the clock was set back.
    let is_recent = age.max(kept.begun_at.since(begin.now)) < IN_PROGRESS;
    match kept.answer {
        Some(_) if differs => Begun::Differs,
        Some(answer) => Begun::Answered(answer),
        None if !is_recent => Begun::New,
        None if differs => Begun::Differs,
        None => Begun::InProgress,
    }
}
