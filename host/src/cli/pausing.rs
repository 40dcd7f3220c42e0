//! Implements `pause` and `resume`: for a task, a tenant's tasks, or all.

use super::args::{ListArgs, PauseArgs, ResumeArgs};
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::api_types::pauses::{Paused, PausedMany};
use sexton_domain::pause::PausedBy;
use sexton_domain::supervision::Pause;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// Pauses the tasks that `args` and the client's tenant name.
pub(super) fn pause(client: &Client, args: &PauseArgs, screen: &Screen) -> Result<(), CliError> {
    let reason = args.reason.as_deref().map(|reason| format!("?reason={}", part(reason))).unwrap_or_default();
    set(client, &target(args.task.as_ref(), args.all, client, "pause")?, &reason, true, args.list, screen)
}

/// Ends such a pause, and no other.
pub(super) fn resume(client: &Client, args: &ResumeArgs, screen: &Screen) -> Result<(), CliError> {
    set(client, &target(args.task.as_ref(), args.all, client, "resume")?, "", false, args.list, screen)
}

/// Returns the target of a command line: a task or chain, all of the tenant's, or everything.
fn target(task: Option<&Name>, all: bool, client: &Client, verb: &str) -> Result<Target, CliError> {
    match (task, client.tenant()) {
        (Some(task), _) => Ok(Target::Task(task.clone())),
        (None, Some(tenant)) => Ok(Target::Tenant(tenant.clone())),
        (None, None) if all => Ok(Target::All),
        (None, None) => Err(CliError::usage(format!("say what to {verb}: a task, --tenant NAME, or --all"))),
    }
}

enum Target {
    Task(Name),
    Tenant(Name),
    All,
}

fn set(
    client: &Client,
    target: &Target,
    query: &str,
    pause: bool,
    list: ListArgs,
    screen: &Screen,
) -> Result<(), CliError> {
    let path = match target {
        Target::Task(task) => format!("/v1/tasks/{}", part(task.as_str())),
        Target::Tenant(tenant) => format!("/v1/tenants/{}", part(tenant.as_str())),
        Target::All => "/v1".to_owned(),
    };
    let verb = if pause { "pause" } else { "resume" };
    let json = client.post(&format!("{path}/{verb}{query}"), &[], &[])?;
    if list.json {
        return screen.json(&json);
    }
    screen.line(&match target {
        Target::Task(task) => of_task(task, &decode(&json)?, pause, client.tenant(), screen),
        Target::Tenant(_) | Target::All => of_many(&decode(&json)?, pause, screen),
    })
}

fn of_task(task: &Name, now: &Paused, pause: bool, tenant: Option<&Name>, screen: &Screen) -> String {
    match now.paused_by {
        _ if pause && now.already => {
            existing_pause(&format!("`{task}`"), "was", now.paused_at, now.paused_why.as_deref(), screen)
        }
        _ if pause => format!("Paused `{task}`. Runs in progress continue."),
        None if now.already => format!("Resumed `{task}`. Runs that were due while it was paused will not be made up."),
        None => format!(
            "`{task}` was not paused; if it was held back after crashes, or its clock was set back, it continues from now."
        ),
        Some(by) => {
            let whose = if by == PausedBy::All { "all tasks are" } else { "its tenant is" };
            format!("`{task}` still starts nothing, because {whose} paused: {} ends that.", resume_command(by, tenant))
        }
    }
}

fn of_many(now: &PausedMany, pause: bool, screen: &Screen) -> String {
    let whose = now.tenant.as_ref().map_or("all tasks".to_owned(), |tenant| format!("all tasks of tenant `{tenant}`"));
    match now.paused_by {
        _ if pause && now.already => existing_pause(&whose, "were", now.paused_at, now.paused_why.as_deref(), screen),
        _ if pause => format!("Paused {whose}. Runs in progress continue."),
        None if now.already => format!(
            "Resumed {whose}, except those that were paused one by one. Runs that were due during the pause will not be made up."
        ),
        None => format!("{} were not paused.", capital(&whose)),
        Some(by) => {
            let why = one_line(&by.why(&Pause { since: now.paused_at, why: now.paused_why.clone() }));
            format!(
                "{} still start nothing: {why}; {} ends that.",
                capital(&whose),
                resume_command(by, now.tenant.as_ref())
            )
        }
    }
}

/// Reports that a pause existed before. The reason is the current one.
fn existing_pause(whose: &str, verb: &str, since: Option<Timestamp>, why: Option<&str>, screen: &Screen) -> String {
    let since = since.map(|since| format!(" since {}", screen.instant(since))).unwrap_or_default();
    let why = why.map(|why| format!("; reason: {}", one_line(why))).unwrap_or_default();
    capital(&format!("{whose} {verb} paused already{since}{why}"))
}

fn capital(text: &str) -> String {
    text.strip_prefix("all").map_or_else(|| text.to_owned(), |rest| format!("All{rest}"))
}

/// Returns the command that ends such a pause.
pub(super) fn resume_command(by: PausedBy, tenant: Option<&Name>) -> String {
    match by {
        PausedBy::All => "`sexton resume --all`".to_owned(),
        _ => {
            let tenant = tenant.cloned().unwrap_or_else(Name::default_tenant);
            format!("`sexton resume --tenant {tenant}`")
        }
    }
}
