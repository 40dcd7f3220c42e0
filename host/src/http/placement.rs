//! Finds tasks that are left to other hosts, because they require labels that this host does not have, and those that
//! no host can run.

use sexton_domain::run::HeldBack;
use sexton_domain::task::TaskKey;

use super::api_state::App;
use super::api_types::hosts::{HostShape, HostState};
use super::error::ApiResult;
use super::hosts;

/// The hosts that may run tasks, at one moment.
pub(super) struct Placement<'a> {
    app: &'a App,
    /// The hosts that take runs; read only if one of the tasks is not for this host.
    up: Vec<HostShape>,
}

impl<'a> Placement<'a> {
    /// Finds out what `tasks` need to know. The cost depends on their number, not on how many tasks there are.
    pub(super) async fn of(app: &'a App, tasks: &[TaskKey]) -> ApiResult<Self> {
        let is_elsewhere = |key| app.catalog.get(key).is_some_and(|task| !task.may_run_on(&app.host.labels));
        let elsewhere = tasks.iter().any(is_elsewhere);
        let mut up = if elsewhere { hosts::all(app).await? } else { Vec::new() };
        up.retain(|host| host.state == HostState::Up);
        Ok(Self { app, up })
    }

    /// Returns whether runs of a task are left to other hosts.
    pub(super) fn runs_elsewhere(&self, task: &TaskKey) -> bool {
        self.app.catalog.get(task).is_some_and(|task| !task.may_run_on(&self.app.host.labels))
    }

    /// Returns why runs of a task that is left to other hosts start on none of them, if that is so.
    pub(super) fn nowhere(&self, task: &TaskKey) -> Option<HeldBack> {
        let task = self.app.catalog.get(task)?;
        if self.up.iter().any(|host| task.may_run_on(&host.labels)) {
            return None;
        }
        let labels: Vec<String> = task.runs_on.iter().map(|label| format!("`{label}`")).collect();
        let reason = format!("it runs on hosts with {}, and no host with all of them is up", labels.join(", "));
        Some(HeldBack { reason, until: None })
    }
}
