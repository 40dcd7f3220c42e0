//! Explains why something does not exist: a requested task, or the task of a waiting run.
//!
//! Objects of other tenants do not exist, and no error hints at them.

use crate::config::reading::nearest;
use crate::plugins::PluginInfo;
use sexton_domain::task::TaskKey;

use super::api_state::App;
use super::error::{ApiError, ApiResult};

/// The most names that a hint lists.
const MOST_NAMES: usize = 10;

/// The plugins at one moment, and what is wrong with them.
pub(super) struct MissingPlugins<'a> {
    app: &'a App,
    /// The plugins in quarantine, read when they are needed.
    quarantined: std::cell::OnceCell<Vec<PluginInfo>>,
}

impl<'a> MissingPlugins<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        Self { app, quarantined: std::cell::OnceCell::new() }
    }

    /// Returns the quarantined plugin that `task` probably belongs to, and the reason.
    fn quarantine(&self, task: &TaskKey) -> Option<(&str, &str)> {
        let plugins = self.quarantined.get_or_init(|| {
            let mut plugins = (self.app.plugins)();
            plugins.retain(|plugin| plugin.quarantine.is_some());
            plugins
        });
        let named = format!("[tasks.{}", task.task);
        let of_tenant = || plugins.iter().filter(|plugin| plugin.tenant == task.tenant);
        let reason = |plugin: &PluginInfo| plugin.quarantine.clone().unwrap_or_default();
        let plugin = of_tenant()
            .find(|plugin| plugin.name == task.task.as_str())
            .or_else(|| of_tenant().find(|plugin| reason(plugin).contains(&named)))?;
        Some((&plugin.name, plugin.quarantine.as_deref()?))
    }

    /// Returns why runs of `task` wait: no plugin of this host offers it. Returns `None` if one does.
    pub(super) fn why_runs_wait(&self, task: &TaskKey) -> Option<String> {
        if self.app.catalog.get(task).is_some() {
            return None;
        }
        Some(match self.quarantine(task) {
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
    if let Some((plugin, reason)) = MissingPlugins::of(app).quarantine(task) {
        return Ok(not_found(&format!(": the plugin `{plugin}` is in quarantine")).hint(reason.to_owned()));
    }
    let runs = app.store.latest_runs(task.tenant.clone(), Some(task.task.clone())).await?;
    if !runs.is_empty() || app.store.task_state(task.clone()).await?.is_some() {
        let hint = "put the plugin back, or see `sexton plugins` for the plugins in use; `sexton runs` shows the stored runs of the task";
        return Ok(not_found(" any more: its plugin was removed, or no longer offers it").hint(hint));
    }
    let tasks = app.catalog.tasks();
    let names: Vec<&str> =
        tasks.keys().filter(|known| known.tenant == task.tenant).map(|known| known.task.as_str()).collect();
    let meant =
        nearest(task.task.as_str(), &names).map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    let hint = match names.as_slice() {
        [] => "no plugin offers any task; `sexton plugins` (GET /v1/plugins) says why".to_owned(),
        few @ [..] if few.len() <= MOST_NAMES => format!("{meant}the tasks are: {}", few.join(", ")),
        many => format!("{meant}`sexton tasks` (GET /v1/tasks) lists all {}", many.len()),
    };
    Ok(not_found("").hint(hint))
}
