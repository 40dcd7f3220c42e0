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
