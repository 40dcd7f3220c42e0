//! Loads one plugin by itself, so that it can be tried.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inspect::directory;
use super::registry::{Loaded, Registry};
use super::source::{Source, list};
use sexton_domain::schedule::Trigger;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_runtime::runtime::Runtime;

/// Loads the plugin `file` (`NAME.wasm`, with the manifest beside it if there is one) into `registry`, as a host would.
///
/// If `only` names tasks, the other tasks of the plugin lose their schedules.
///
/// # Errors
///
/// The error that a host would show for the quarantined plugin; or that the plugin has no such task.
pub async fn load(
    registry: &Registry,
    runtime: &Arc<Runtime>,
    file: &Path,
    max_component: u64,
    only: &BTreeSet<Name>,
    now: Timestamp,
) -> Result<(), String> {
    let shown = file.display();
    let name = match (file.file_stem().and_then(|stem| stem.to_str()), file.extension()) {
        (Some(name), Some(extension)) if extension == "wasm" => name,
        (Some(name), Some(extension)) if extension.eq_ignore_ascii_case("wasm") => {
            return Err(format!("`{shown}` is not a plugin for a host: rename it to `{name}.wasm`, in lower case"));
        }
        _ => return Err(format!("`{shown}` is not a plugin, which is a file NAME.wasm with NAME.toml beside it")),
    };
    let cannot = |error| format!("cannot read `{shown}`: {error}");
    std::fs::metadata(file).map_err(cannot)?;
    let directory: PathBuf = directory(file).canonicalize().map_err(cannot)?;
    let plugins = list(&directory).map_err(cannot)?.plugins;
    let files = plugins.get(name).copied().unwrap_or_default();
    let tenant = Name::default_tenant();
    let (below, runtime) = (directory.clone(), Arc::clone(runtime));
    let source = Source { directory, below, runtime, tenant: tenant.clone(), max_component };
    let mut version = source.version(name, files, now, None).await.map_err(|rejected| rejected.reason)?;
    if let Some(unknown) = only.iter().find(|wanted| !version.tasks.iter().any(|task| task.task.key.task == **wanted)) {
        let known: Vec<_> = version.tasks.iter().map(|task| format!("`{}`", task.task.key.task)).collect();
        return Err(format!("`{shown}` has no task `{unknown}`; it has {}", known.join(", ")));
    }
    for ready in version.tasks.iter_mut().filter(|ready| !only.is_empty() && !only.contains(&ready.task.key.task)) {
        Arc::make_mut(&mut ready.task).trigger = Trigger::OnDemand;
    }
    registry.apply(&tenant, vec![Loaded { name: name.to_owned(), version: Ok(version) }], now);
    Ok(())
}
