//! `pause` and `resume`: of a task, of a tenant's tasks, of all.

use super::args::PauseArgs;
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::shapes::{Paused, PausedMany};
use crate::pause::PausedBy;
use crate::supervision::Pause;
use crate::task::Name;

/// Pause, or resume what `args` name; `tenant` is the one that the command line names.
pub(super) fn set_paused(
    client: &Client,
    args: &PauseArgs,
    pause: bool,
    tenant: Option<&Name>,
    screen: &Screen,
) -> Result<(), CliError> {
    let verb = if pause { "pause" } else { "resume" };
    let why = args.why.as_deref().map(|why| format!("?why={}", part(why))).unwrap_or_default();
    match (&args.task, tenant) {
        (Some(task), _) => {
            let path = format!("/v1/tasks/{}/{verb}{why}", part(task.as_str()));
            let now: Paused = decode(&client.post(&path, &[], &[])?)?;
            screen.line(&of_task(task, &now, pause, tenant))
        }
        (None, Some(tenant)) => {
            let path = format!("/v1/tenants/{}/{verb}{why}", part(tenant.as_str()));
            screen.line(&of_many(&decode(&client.post(&path, &[], &[])?)?, pause))
        }
        (None, None) if args.all => {
            screen.line(&of_many(&decode(&client.post(&format!("/v1/{verb}{why}"), &[], &[])?)?, pause))
        }
        (None, None) => Err(CliError::usage(format!("nobody is named that is to {verb}"))
            .hint(format!("sexton {verb} TASK, or --tenant NAME for all of a tenant's, or --all"))),
    }
}

fn of_task(task: &Name, now: &Paused, pause: bool, tenant: Option<&Name>) -> String {
    match now.paused_by {
        _ if pause => format!("Task `{task}` is paused: nothing of it starts."),
        None => format!("Task `{task}` goes on from now; what was due meanwhile is left out."),
        Some(by) => {
            let whose = if by == PausedBy::All { "all tasks are" } else { "its tenant is" };
            format!("Task `{task}` starts nothing yet: {whose} paused, until {}.", resume(by, tenant))
        }
    }
}

fn of_many(now: &PausedMany, pause: bool) -> String {
    let whose = now.tenant.as_ref().map_or("All tasks".to_owned(), |tenant| format!("The tasks of tenant `{tenant}`"));
    let said = Pause { since: now.paused_at, why: now.paused_why.clone() };
    match now.paused_by {
        _ if pause => format!("{whose} are paused: nothing of them starts."),
        None => format!(
            "{whose} go on from now, but those that were paused by themselves; what was due meanwhile is left out."
        ),
        Some(by) => {
            let why = one_line(&by.why(&said));
            format!("{whose} start nothing yet: {why}; `sexton resume --all` ends that.")
        }
    }
}

/// The command that ends such a pause.
pub(super) fn resume(by: PausedBy, tenant: Option<&Name>) -> String {
    match by {
        PausedBy::All => "`sexton resume --all`".to_owned(),
        _ => {
            let tenant = tenant.cloned().unwrap_or_else(Name::default_tenant);
            format!("`sexton resume --tenant {tenant}`")
        }
    }
}
