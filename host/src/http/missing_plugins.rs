//! Explains why something does not exist: a requested task, or the task of a waiting run.
//!
//! Objects of other tenants do not exist, and no error hints at them.

use crate::config::reading::nearest;
use crate::plugins::PluginInfo;
use sexton_domain::task::{Name, TaskKey};

use super::api_state::App;
use super::error::{ApiError, ApiResult};

/// The most names that a hint lists.
const MOST_NAMES: usize = 10;

/// The names before and after a name that a guess at what was meant compares with it. A tenant may have a hundred
/// thousand, and most mistakes are not in the first letters.
const COMPARED: usize = 500;

/// The plugins of a tenant at one moment, and what is wrong with them.
pub(super) struct MissingPlugins<'a> {
    app: &'a App,
    tenant: &'a Name,
    /// The plugins in quarantine, read when they are needed.
    quarantined: std::cell::OnceCell<Vec<PluginInfo>>,
}

impl<'a> MissingPlugins<'a> {
    pub(super) fn of(app: &'a App, tenant: &'a Name) -> Self {
        Self { app, tenant, quarantined: std::cell::OnceCell::new() }
    }

    /// Returns the quarantined plugin that `task` of the tenant probably belongs to, and the reason.
    fn quarantine(&self, task: &Name) -> Option<(&str, &str)> {
        let plugins = self.quarantined.get_or_init(|| (self.app.not_used)(self.tenant));
        let named = format!("[tasks.{task}");
        let reason = |plugin: &PluginInfo| plugin.quarantine.clone().unwrap_or_default();
        let plugin = plugins
            .iter()
            .find(|plugin| plugin.name == task.as_str())
            .or_else(|| plugins.iter().find(|plugin| reason(plugin).contains(&named)))?;
        Some((&plugin.name, plugin.quarantine.as_deref()?))
    }

    /// Returns why runs of `task` wait: no plugin of this host offers it. Returns `None` if one does.
    pub(super) fn why_runs_wait(&self, task: &TaskKey) -> Option<String> {
        if self.app.catalog.get(task).is_some() {
            return None;
        }
        Some(match self.quarantine(&task.task) {
            Some((plugin, reason)) => {
                let first = reason.lines().next().unwrap_or_default();
                format!("its plugin `{plugin}` is in quarantine: {first}")
            }
            None => format!("no plugin of this host offers the task `{}`: its plugin was removed", task.task),
        })
    }
}

/// Returns the error that `task` does not exist, with the reason or a guess at what was meant.
pub(super) async fn no_task(app: &App, task: &TaskKey) -> ApiResult<ApiError> {
    let not_found = |why: &str| ApiError::not_found("no-such-task", format!("there is no task `{}`{why}", task.task));
    if let Some((plugin, reason)) = MissingPlugins::of(app, &task.tenant).quarantine(&task.task) {
        return Ok(not_found(&format!(": the plugin `{plugin}` is in quarantine")).hint(reason.to_owned()));
    }
    let runs = app.store.latest_runs(vec![task.clone()]).await?;
    if !runs.is_empty() || app.store.task_state(task.clone()).await?.is_some() {
        let hint = "put the plugin back, or see `sexton plugins` for the plugins in use; `sexton runs` shows the stored runs of the task";
        return Ok(not_found(" any more: its plugin was removed, or no longer offers it").hint(hint));
    }
    let (near, all) = (app.catalog.near(task, COMPARED), app.catalog.count_of(&task.tenant));
    let names: Vec<&str> = near.iter().map(Name::as_str).collect();
    let meant =
        nearest(task.task.as_str(), &names).map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    let hint = match all {
        0 => "no plugin offers any task; `sexton plugins` (GET /v1/plugins) says why".to_owned(),
        1..=MOST_NAMES => format!("{meant}the tasks are: {}", names.join(", ")),
        _ => format!("{meant}`sexton tasks` (GET /v1/tasks) lists all {all}"),
    };
    Ok(not_found("").hint(hint))
}
