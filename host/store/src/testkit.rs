//! Provides the request for claims and the end of an attempt that tests of all crates need, beside the fixtures of
//! `sexton-testkit`, which does not know the store.
//!
//! It is not only compiled for tests, because tests of other crates use it, too.

use std::sync::Arc;
use std::time::Duration;

use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{ClaimKey, Report};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
#[cfg(test)]
pub(crate) use sexton_testkit::fixtures::*;

use crate::{ClaimRequest, Finish};

/// Returns the request of the host `one` at `now` for all due runs of `tasks`, each with the most that may be running at
/// once, with a lease of 30 s and no shares of tenants.
pub fn claim_request(tasks: impl IntoIterator<Item = (TaskKey, u32)>, now: Timestamp) -> ClaimRequest {
    ClaimRequest {
        host: "one".to_owned(),
        tasks: Arc::new(tasks.into_iter().collect()),
        policies: Arc::default(),
        limit: 1000,
        tenants: Default::default(),
        lease: Duration::from_secs(30),
        now,
    }
}

/// Returns the record that is written at the end of an attempt of a task that has the usual supervision.
pub fn finish(claim: ClaimKey, transition: Transition, report: Report) -> Finish {
    Finish::new(claim, transition, report, Supervision::default())
}
