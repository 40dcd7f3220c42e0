//! What keeps runs of a task from starting at a moment: said of a run that is to start all the same.

use crate::machine::budget::Budgets;
use crate::run::RunState;
use crate::store::{Result, RunFilter, Store};
use crate::task::Task;
use crate::time::Timestamp;

/// What a run of `task` goes past that is made at `now`, in words: its note.
///
/// # Errors
///
/// The store's.
pub async fn note(store: &dyn Store, budgets: &Budgets, task: &Task, now: Timestamp) -> Result<String> {
    let key = &task.key;
    let mut limits = Vec::new();
    let state = store.task_states().await?.remove(key).unwrap_or_default();
    let pauses = store.pauses().await?;
    limits.extend(state.paused.map(|pause| format!("`{}` is {pause}", key.task)));
    limits.extend(pauses.of(&key.tenant, None).map(|(by, pause)| by.why(pause)));
    if let Some(until) = state.standing.held_until.filter(|_| state.standing.holds(now)) {
        limits.push(format!("`{}` is held back until {until}", key.task));
    }
    limits.extend(budgets.held_back(key).map(|held_back| held_back.reason));
    let most = task.overlap.max_running();
    let (tenant, name) = (Some(key.tenant.clone()), Some(key.task.clone()));
    let state = Some(RunState::Running);
    let running = RunFilter { tenant, task: name, state, limit: most as usize, ..RunFilter::default() };
    if store.runs(running).await?.len() >= most as usize {
        limits.push(format!("`{}` has as many runs at once as it may, {most}", key.task));
    }
    Ok(match limits.as_slice() {
        [] => "past its limits, of which none held it back".to_owned(),
        limits => format!("past its limits: {}", limits.join("; ")),
    })
}
