//! Provides parts of statements that both databases have alike.

use sexton_domain::pause::PauseTarget;

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
