//! Provides parts of statements that both databases have alike.

use sexton_domain::pause::PauseTarget;

use crate::codes::{RUNNING, SUCCEEDED, SUCCEEDED_OUTCOME};
use crate::rules::lists::{LONG, NO_OUTCOME, STEPS};

/// Returns the condition for rows of `target`. `tenant` and `task` are the parameters with its tenant and its task, each
/// empty if `target` has none; the condition uses both, because a database refuses a parameter that is not used.
pub(crate) fn rows_of(target: &PauseTarget, tenant: &str, task: &str) -> String {
    match target {
        PauseTarget::Task(_) => format!("tenant = {tenant} AND task = {task}"),
        PauseTarget::Tenant(_) => format!("tenant = {tenant} AND {task} = ''"),
        PauseTarget::All => format!("{tenant} = '' AND {task} = ''"),
    }
}

/// Returns the condition for added schedules of `target`, with the parameters of [`rows_of`]. A schedule with a type is of
/// no task, because a route may lead it to another one.
pub(crate) fn schedules_of(target: &PauseTarget, tenant: &str, task: &str) -> String {
    let rows = rows_of(target, tenant, task);
    match target {
        PauseTarget::Task(_) => format!("{rows} AND type IS NULL"),
        PauseTarget::Tenant(_) | PauseTarget::All => rows,
    }
}

/// Returns the conditions of a list for a run `r` and its task `t`. Their parameters are the fields of
/// [`Values`](crate::rules::lists::Values), in its order; `parameter(0)` writes the first. `ended` is the column with the
/// end of the run.
pub(crate) fn matching(parameter: impl Fn(usize) -> String, ended: &str) -> String {
    let p = parameter;
    let is_any = |place, kind| format!("CAST({} AS {kind}) IS NULL", p(place));
    format!(
        "({any_tenant} OR t.tenant = {tenant}) AND ((1 << r.state) & {states}) <> 0 \
         AND ((1 << r.cause) & {causes}) <> 0 AND ((1 << (coalesce(r.outcome, {NO_OUTCOME}) + 1)) & {outcomes}) <> 0 \
         AND ({any_task} OR t.name LIKE {tasks} ESCAPE '\\') AND ({any_key} OR r.schedule = {key}) \
         AND ({any_chain} OR substr(r.dedup, 1, length({chain})) = {chain}) AND ({any_host} OR r.host = {host}) \
         AND r.created_at BETWEEN {since} AND {until} AND ({any_length} OR \
         CASE WHEN r.state >= {SUCCEEDED} THEN r.{ended} - r.claimed_at \
         WHEN r.state = {RUNNING} THEN CAST({now} AS bigint) - r.claimed_at END > {longer_than}) \
         AND r.attempt >= {attempts}",
        any_tenant = is_any(0, "text"),
        tenant = p(0),
        states = p(1),
        causes = p(2),
        outcomes = p(3),
        any_task = is_any(4, "text"),
        tasks = p(4),
        any_key = is_any(5, "text"),
        key = p(5),
        any_chain = is_any(6, "text"),
        chain = p(6),
        any_host = is_any(7, "text"),
        host = p(7),
        since = p(8),
        until = p(9),
        now = p(10),
        any_length = is_any(11, "bigint"),
        longer_than = p(11),
        attempts = p(12),
    )
}

/// The number of parameters of [`matching`].
pub(crate) const MATCHING: usize = 13;

/// Returns the number of a run `r` in the index of remarkable runs, as the migrations have it: that of its outcome, or
/// of the last step that it took.
pub(crate) fn remark(ended: &str) -> String {
    let took = format!("r.{ended} - r.claimed_at");
    let step = |(place, step): (usize, &i64)| format!(" WHEN {took} >= {step} THEN {}", LONG + 1 + place as i64);
    let steps: String = STEPS.iter().enumerate().rev().map(step).collect();
    let ended_badly = format!("r.state > {SUCCEEDED} OR r.outcome <> {SUCCEEDED_OUTCOME}");
    format!("CASE WHEN {ended_badly} THEN coalesce(r.outcome, {NO_OUTCOME}){steps} END")
}

/// Returns the condition for a run `r` to be in that index.
pub(crate) fn is_remarkable(ended: &str) -> String {
    format!(
        "r.state >= {SUCCEEDED} AND (r.state > {SUCCEEDED} OR r.outcome <> {SUCCEEDED_OUTCOME} \
         OR r.{ended} - r.claimed_at >= {})",
        STEPS[0]
    )
}
