//! Finds the limits that a forced run goes past: those that keep runs of its task from starting at the moment.

use super::{Ops, Result};
use sexton_domain::run::RunState;
use sexton_domain::task::Task;
use sexton_domain::time::Timestamp;

/// Returns the note of a run of `task` that is forced at `now`: the limits that it goes past, in words.
pub(super) async fn exceeded_limits(ops: &Ops, task: &Task, now: Timestamp) -> Result<String> {
    let key = &task.key;
    let mut limits = Vec::new();
    let state = ops.state_of(key).await?;
    let pauses = ops.store.pauses().await?;
    limits.extend(state.paused.map(|pause| format!("`{}` is {pause}", key.task)));
    limits.extend(pauses.of(&key.tenant, None).map(|(by, pause)| by.why(pause)));
    if let Some(until) = state.standing.held_until.filter(|_| state.standing.holds(now)) {
        limits.push(format!("`{}` is held back until {until}", key.task));
    }
    limits.extend(ops.budgets.held_back(key).map(|held_back| held_back.reason));
    let most = task.overlap.max_running();
    if ops.store.count(key.clone(), RunState::Running).await? >= u64::from(most) {
        limits.push(format!("`{}` has reached its limit of {most} concurrent runs", key.task));
    }
    Ok(match limits.as_slice() {
        [] => "past its limits, although none of them held it back".to_owned(),
        limits => format!("past its limits: {}", limits.join("; ")),
    })
}
