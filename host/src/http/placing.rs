//! Which tasks are for other hosts, as they ask for labels that this one does not have; and for none that is up.

use crate::run::HeldBack;
use crate::store::hosts::HostInfo;
use crate::task::TaskKey;

use super::api_state::App;
use super::error::ApiResult;

/// Who may run what, at one moment.
pub(super) struct Placing<'a> {
    app: &'a App,
    /// Those that take runs, as far as there is a task that is not for this one.
    up: Vec<HostInfo>,
}

impl<'a> Placing<'a> {
    pub(super) async fn of(app: &'a App) -> ApiResult<Self> {
        let elsewhere = app.catalog.tasks().values().any(|task| !task.may_run_on(&app.host.labels));
        let mut up = if elsewhere { app.store.hosts().await? } else { Vec::new() };
        let now = app.clock.now();
        up.retain(|host| host.alive_until > now && !host.draining);
        Ok(Self { app, up })
    }

    /// Whether runs of a task are left to other hosts.
    pub(super) fn is_elsewhere(&self, task: &TaskKey) -> bool {
        self.app.catalog.get(task).is_some_and(|task| !task.may_run_on(&self.app.host.labels))
    }

    /// Why runs of a task that is for other hosts start on none of them, if that is so.
    pub(super) fn nowhere(&self, task: &TaskKey) -> Option<HeldBack> {
        let task = self.app.catalog.get(task)?;
        if self.up.iter().any(|host| task.may_run_on(&host.host.labels)) {
            return None;
        }
        let labels: Vec<String> = task.runs_on.iter().map(|label| format!("`{label}`")).collect();
        let reason = format!("it runs on hosts with {}, and none is up that has all of that", labels.join(", "));
        Some(HeldBack { reason, until: None })
    }
}
