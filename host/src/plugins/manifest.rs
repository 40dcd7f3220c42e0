//! Reads manifests. `NAME.toml` is the operator's configuration of `NAME.wasm`: one or more tasks, each with its
//! schedule, policies, limits and grants.
//!
//! A manifest is written by the operator, not by the plugin's author, so a grant gives what it names. An absolute
//! directory grant may name any directory of the host; a relative one lies below the plugin directory.
//!
//! This module reads text only. The loader checks whether a granted directory exists, and whether the component imports
//! more than is granted.

mod following;
mod keys;
mod kinds;
mod labels;
mod routes;
mod text;
mod timing;
mod wrong;

use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use text::{GrantsText, LadderText, LimitsText, LockText, ManifestText, RetryText, TaskText};
use wrong::Wrong;

use crate::config::kinds::{Kind, Of};
use crate::config::reading;
pub use crate::config::reading::BadFile as BadManifest;
use sexton_domain::labels::Labels;
use sexton_domain::retry::RetryPolicy;
use sexton_domain::schedule::{Chain, Dst, Trigger, parse};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{
    Budget, Directory, Grants, IfHeld, Ladder, Limits, LockMode, Name, Overlap, Quota, Task, TaskLock,
};

/// The contents of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The tasks. Their tenant, and the directory of relative grants, are not known yet.
    drafts: Vec<Task>,
    /// The chains. Their tenant is not known yet.
    chains: Vec<Chain>,
    /// The labels of all tasks, which the drafts have already.
    labels: Labels,
}

impl Manifest {
    /// Parses the text of a manifest. `file_name` is its name in errors.
    ///
    /// # Errors
    ///
    /// [`BadManifest`], one line on the first thing that is wrong.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, BadManifest> {
        let manifest: ManifestText = reading::read(file_name, text)?;
        let wrong = |(at, what): Wrong| BadManifest::new(file_name, text, Some(at), &what);
        let labels = labels::shared(manifest.labels).map_err(wrong)?;
        let drafts: Result<Vec<Task>, Wrong> =
            manifest.tasks.into_iter().map(|(name, task)| draft(name, task, &labels)).collect();
        let mut drafts = drafts.map_err(wrong)?;
        for (types, task) in manifest.routes {
            routes::route(&mut drafts, types, task).map_err(wrong)?;
        }
        let is_task = |name: &Name| drafts.iter().any(|task| task.key.task == *name);
        let chains = following::chains(manifest.chains, is_task).map_err(wrong)?;
        Ok(Self { drafts, chains, labels })
    }

    /// Parses the text of a manifest and finds all errors that can be found at once: every error in its keys and
    /// values, and the first error in the combination of keys of each task and chain without such errors. The returned
    /// manifest contains the parts without errors.
    pub fn examine(file_name: &str, text: &str) -> (Self, Vec<BadManifest>) {
        let reading::Readable { value, mut errors, left_out } = reading::read_all::<ManifestText>(file_name, text);
        let Some(manifest) = value else { return (Self::empty(), errors) };
        let is_whole = |section: &str, name: &Name| {
            !left_out.iter().any(|path| {
                path.first().is_some_and(|s| s == section) && path.get(1).is_some_and(|n| n == name.as_str())
            })
        };
        let mut judge = |(at, what): Wrong| errors.push(BadManifest::new(file_name, text, Some(at), &what));
        let labels = labels::shared(manifest.labels).map_err(&mut judge).unwrap_or_default();
        let names: Vec<Name> = manifest.tasks.keys().cloned().collect();
        let whole = manifest.tasks.into_iter().filter(|(name, _)| is_whole("tasks", name));
        let mut drafts: Vec<Task> =
            whole.filter_map(|(name, task)| draft(name, task, &labels).map_err(&mut judge).ok()).collect();
        for (types, task) in manifest.routes {
            // A task with an error of its own is no draft, and its routes are not the error.
            let is_broken =
                names.contains(task.get_ref()) && !drafts.iter().any(|draft| draft.key.task == *task.get_ref());
            if !is_broken && let Err(wrong) = routes::route(&mut drafts, types, task) {
                judge(wrong);
            }
        }
        let whole = manifest.chains.into_iter().filter(|(name, _)| is_whole("chains", name.get_ref()));
        let chains = whole.filter_map(|(name, chain)| {
            following::chain(name, chain, |name| names.contains(name)).map_err(&mut judge).ok()
        });
        let chains = chains.collect();
        errors.sort_by_key(BadManifest::line);
        (Self { drafts, chains, labels }, errors)
    }

    /// Returns the manifest of a plugin without one: one task with the plugin's name, on demand only, with default
    /// limits and no grants.
    pub fn for_plugin_without(plugin: &Name) -> Self {
        Self { drafts: vec![Task::on_demand(plugin.clone())], ..Self::empty() }
    }

    fn empty() -> Self {
        Self { drafts: Vec::new(), chains: Vec::new(), labels: Labels::default() }
    }

    /// Returns whether the manifest defines tasks. If it does not, its plugin has the same task as one without a
    /// manifest.
    pub(super) fn defines_tasks(&self) -> bool {
        !self.drafts.is_empty()
    }

    /// Returns the tasks of `plugin`, which lies in `directory`. A manifest that defines none counts as no manifest, but
    /// for its labels.
    pub fn tasks(&self, tenant: &Name, plugin: &Name, directory: &Path) -> Vec<Task> {
        if self.drafts.is_empty() {
            let only = Task { labels: self.labels.clone(), ..Task::on_demand(plugin.clone()) };
            return Self { drafts: vec![only], ..Self::empty() }.tasks(tenant, plugin, directory);
        }
        let tasks = self.drafts.iter().cloned().map(|mut task| {
            task.key.tenant = tenant.clone();
            task.plugin = plugin.clone();
            if let Trigger::Cron(crontab) = &mut task.trigger {
                *crontab = crontab.for_name(&task.key.to_string());
            }
            for granted in &mut task.grants.directories {
                granted.host = directory.join(&granted.host);
            }
            task
        });
        tasks.collect()
    }

    /// Returns the chains of `plugin`.
    pub fn chains(&self, tenant: &Name, plugin: &Name) -> Vec<Chain> {
        let chains = self.chains.iter().cloned().map(|mut chain| {
            chain.key.tenant = tenant.clone();
            chain.plugin = plugin.clone();
            chain
        });
        chains.collect()
    }
}

/// Returns the JSON schema of manifests, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(ManifestText);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn draft(name: Name, mut task: TaskText, shared: &Labels) -> Result<Task, Wrong> {
    let place = format!("tasks.{name}");
    let mut draft = Task::on_demand(name);
    let timing = timing::Written::take(&mut task);
    draft.input = input(&task, &place)?;
    if let Some(trigger) = trigger(&task, &place)? {
        draft.overlap = match trigger {
            Trigger::Pace(pace) => Overlap::Allow(pace.max),
            _ => Overlap::Skip,
        };
        draft.trigger = trigger;
    }
    draft.description = task.description.map(|line| line.0);
    draft.labels = labels::of_task(task.labels, &place, shared)?;
    draft.args = match task.args {
        Some(args) if args.get_ref().iter().any(|arg| arg.contains('\0')) => {
            return Err((args.span(), format!("`{place}.args`: an argument holds a NUL; leave it out")));
        }
        args => args.map(toml::Spanned::into_inner).unwrap_or_default(),
    };
    draft.env = match task.env {
        Some(env) if env.get_ref().iter().any(|(k, v)| k.is_empty() || k.contains(['=', '\0']) || v.contains('\0')) => {
            return Err((
                env.span(),
                format!("`{place}.env`: a name is empty or has `=` in it, or a NUL; leave it out"),
            ));
        }
        env => env.map(toml::Spanned::into_inner).unwrap_or_default(),
    };
    draft.settings = task.settings;
    draft.runs_on = task.runs_on.into_iter().map(|label| label.0).collect();
    let fuel_limit = task.limits.fuel.is_some();
    draft.limits = limits(task.limits, &place)?;
    draft.lock = task.lock.map(lock);
    if let Some(written) = task.budget {
        let at = written.span();
        let written = written.into_inner();
        draft.budget = Budget {
            fuel_per_minute: written.fuel_per_minute.map(|fuel| fuel.0),
            cache: written.cache.map(|bytes| bytes.0),
        };
        // A run that may use more than a minute's worth of fuel would keep all others waiting for minutes.
        match draft.budget.fuel_per_minute {
            Some(most) if most < draft.limits.fuel && fuel_limit => {
                let what =
                    "`fuel-per-minute` is less than `limits.fuel`, what one attempt may use; raise it, or lower that";
                return Err((at, format!("`{place}.budget`: {what}")));
            }
            Some(most) => draft.limits.fuel = draft.limits.fuel.min(most),
            None => {}
        }
    }
    draft.grants = grants(task.grants, &place)?;
    if let Some(retry) = task.retry {
        let at = retry.span();
        draft.retry = self::retry(retry.into_inner()).map_err(|what| (at, format!("`{place}.retry`: {what}")))?;
    }

    let zone = task.zone.as_ref().map(|zone| zone.0);
    draft.zone = draft.trigger.zone_or(zone.unwrap_or(draft.zone));
    draft.remarks.extend(parse::two_zones(&draft.trigger, zone));
    let at = task.at.as_ref().and_then(|at| at.get_ref().0.gap_note(draft.zone));
    draft.remarks.extend(at.map(|moved| format!("`at`: {moved}")));
    draft.remarks.extend(timing.gap_note(draft.zone));
    draft.overlap = task.overlap.map_or(draft.overlap, |overlap| overlap.0);
    draft.catch_up = task.catch_up.map_or(draft.catch_up, |catch_up| catch_up.0);
    draft.timing = timing.read(&draft.trigger, draft.catch_up, draft.zone, &place)?;
    draft.supervision =
        Supervision { pause_after: task.pause_after.map(small), brake: or(task.brake, draft.supervision.brake) };
    Ok(draft)
}

/// Returns the trigger of a task.
fn trigger(task: &TaskText, place: &str) -> Result<Option<Trigger>, Wrong> {
    let dst = task.dst.as_ref().map_or(Dst::default(), |dst| dst.get_ref().0);
    let cron = |trigger: &Trigger| match trigger {
        Trigger::Cron(crontab) => Trigger::Cron(crontab.clone().with_dst(dst)),
        other => other.clone(),
    };
    let mut triggers = Vec::new();
    triggers.extend(task.every.as_ref().map(|every| ("every", every.span(), Trigger::Every(every.get_ref().0))));
    triggers.extend(task.cron.as_ref().map(|text| ("cron", text.span(), cron(&text.get_ref().0))));
    triggers.extend(task.cron_seconds.as_ref().map(|text| ("cron-seconds", text.span(), cron(&text.get_ref().0))));
    if let Some(written) = &task.at {
        let at = written.span();
        let zone = task.zone.as_ref().map_or(chrono_tz::Tz::UTC, |zone| zone.0);
        let instant = written.get_ref().0.instant(zone);
        let instant = instant.map_err(|wrong| (at.clone(), format!("`{place}.at`: {wrong}")))?;
        triggers.push(("at", at, Trigger::At(instant)));
    }
    let on_start = task.on_start.as_ref().filter(|on_start| *on_start.get_ref());
    triggers.extend(on_start.map(|on_start| ("on-start", on_start.span(), Trigger::OnStart)));
    triggers
        .extend(task.after.as_ref().map(|after| ("after", after.span(), Trigger::After(after.get_ref().cooldowns()))));
    if let Some(written) = &task.pace {
        let (at, pace) = following::pace(written, task.overlap.is_some(), place)?;
        triggers.push(("pace", at, Trigger::Pace(pace)));
    }
    // The error points at the later line, because that one was probably added.
    triggers.sort_by_key(|(_, at, _)| at.start);
    if let [(first, ..), .., (last, at, _)] = triggers.as_slice() {
        return Err((at.clone(), format!("[{place}] has both `{first}` and `{last}`; keep one of them")));
    }
    let trigger = triggers.pop().map(|(_, _, trigger)| trigger);
    match &task.dst {
        Some(dst) if !matches!(trigger, Some(Trigger::Cron(_))) => Err((
            dst.span(),
            format!("[{place}] has `dst`, which is for `cron` and `cron-seconds`; add one of them, or leave `dst` out"),
        )),
        _ => Ok(trigger),
    }
}

fn input(task: &TaskText, place: &str) -> Result<Vec<u8>, Wrong> {
    match (&task.input, &task.input_json) {
        (None, None) => Ok(Vec::new()),
        (Some(text), None) => Ok(text.get_ref().clone().into_bytes()),
        (None, Some(value)) => {
            let json = json(value.get_ref()).ok_or_else(|| {
                (value.span(), format!("`{place}.input-json`: JSON has no nan and no inf; write another number"))
            })?;
            Ok(json.to_string().into_bytes())
        }
        (Some(text), Some(value)) => {
            let later = if text.span().start > value.span().start { text.span() } else { value.span() };
            Err((later, format!("[{place}] has both `input` and `input-json`; keep one of them")))
        }
    }
}

/// Converts TOML to JSON; instants become strings. Returns `None` for numbers that JSON does not have.
fn json(value: &toml::Value) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(json).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| Some((key.clone(), json(value)?))).collect::<Option<_>>()?)
        }
    })
}

fn retry(text: RetryText) -> Result<RetryPolicy, String> {
    let usual = RetryPolicy::default();
    let delay = or(text.delay, usual.delay);
    let max_delay = or(text.max_delay, usual.max_delay.max(delay));
    if max_delay < delay {
        return Err("`max-delay` is shorter than `delay`; make it at least as long".into());
    }
    Ok(RetryPolicy {
        attempts: text.attempts.map_or(usual.attempts, small),
        delay,
        factor: or(text.factor, usual.factor),
        max_delay,
        jitter: or(text.jitter, usual.jitter),
    })
}

fn lock(text: LockText) -> TaskLock {
    TaskLock {
        name: text.name.0,
        mode: or(text.mode, LockMode::Exclusive),
        wait: or(text.wait, Duration::ZERO),
        if_held: or(text.if_held, IfHeld::default()),
    }
}

fn ladder(
    grace: Option<&Spanned<Of<text::Grace>>>,
    ladder: Option<Spanned<LadderText>>,
    place: &str,
) -> Result<Ladder, Wrong> {
    let Some(ladder) = ladder else {
        let usual = Limits::default().ladder;
        return Ok(Ladder { end: grace.map_or(usual.end, |grace| grace.get_ref().0), ..usual });
    };
    let at = ladder.span();
    if let Some(grace) = grace {
        let later = if grace.span().start > at.start { grace.span() } else { at };
        return Err((
            later,
            format!("[{place}] has both `grace` and `ladder`; keep one of them: `ladder.end` is the grace"),
        ));
    }
    let LadderText { ask, insist, end } = ladder.into_inner();
    let (ask, insist, end) = (or(ask, Duration::ZERO), insist.map(|insist| insist.0), end.0);
    if ask > insist.unwrap_or(end) || insist.is_some_and(|insist| insist > end) {
        let what = "the steps are not in order; let `ask` come first, then `insist`, then `end`";
        return Err((at, format!("`{place}.ladder`: {what}")));
    }
    Ok(Ladder { ask, insist, end })
}

fn limits(text: LimitsText, place: &str) -> Result<Limits, Wrong> {
    let usual = Limits::default();
    let ladder = ladder(text.grace.as_ref(), text.ladder, &format!("{place}.limits"))?;
    Ok(Limits {
        deadline: or(text.deadline, usual.deadline),
        idle: text.idle.map(|idle| idle.0),
        ladder,
        fuel: or(text.fuel, usual.fuel),
        memory: or(text.memory, usual.memory),
        table_elements: or(text.table_elements, usual.table_elements),
        host_calls: or(text.host_calls, usual.host_calls),
        host_call_bytes: or(text.host_call_bytes, usual.host_call_bytes),
        handles: text.handles.map_or(usual.handles, small),
        files: text.files.map_or(usual.files, small),
        output: or(text.output, usual.output),
        log: or(text.log, usual.log),
        stdio: or(text.stdio, usual.stdio),
    })
}

fn grants(text: GrantsText, place: &str) -> Result<Grants, Wrong> {
    let mut directories: Vec<Directory> = Vec::new();
    for granted in text.directories {
        let at = granted.span();
        let granted = granted.into_inner();
        let bounds = [
            ("quota", granted.quota.as_ref().map(Spanned::span)),
            ("entries", granted.entries.as_ref().map(Spanned::span)),
        ];
        if let Some((key, Some(at))) = bounds.into_iter().find(|(_, at)| at.is_some() && !granted.write) {
            let what = format!(
                "`{place}.grants.directories.{key}`: the directory may only be read; leave it out, or add `write = true`"
            );
            return Err((at, what));
        }
        let usual = Quota::default();
        let quota = granted.write.then(|| Quota {
            bytes: granted.quota.map_or(usual.bytes, |quota| quota.into_inner().0),
            entries: granted.entries.map_or(usual.entries, |entries| entries.into_inner().0),
        });
        let granted = Directory { host: granted.host.0, guest: granted.guest.0, write: granted.write, quota };
        if directories.iter().any(|other| other.guest == granted.guest) {
            let what = format!("`{place}.grants.directories`: two are seen as \"{}\"; rename one", granted.guest);
            return Err((at, what));
        }
        directories.push(granted);
    }
    let (cache, keep) = keys::keys(text.cache);
    Ok(Grants {
        locks: text.locks.into_iter().map(|name| name.0).collect(),
        cache,
        keep,
        schedule: text.schedule.into_iter().map(|name| name.0).collect(),
        http: text.http.into_iter().map(|host| host.0).collect(),
        directories,
    })
}

fn or<K: Kind>(written: Option<Of<K>>, usual: K::Value) -> K::Value {
    written.map_or(usual, |written| written.0)
}

fn small<K: Kind<Value = u64>>(written: Of<K>) -> u32 {
    u32::try_from(written.0).expect("the kinds that this is used for end below 2^32")
}

#[cfg(test)]
mod tests;
