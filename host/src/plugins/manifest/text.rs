//! Defines the shape of a manifest: the keys and their kinds of values. `kinds` reads the values, and the module above
//! combines them.
//!
//! Editors show the comments here, by means of the JSON schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::following::{AfterText, ChainText, PaceText};
use super::kinds::{
    Brake, CatchUps, Cron, CronSeconds, Dsts, GuestPath, HostPath, Hosts, Instant, Names, Overlaps, Zone,
};
use crate::config::kinds::{Bytes, Count, Line, Number, Of, Period, YEAR_MS};
use crate::config::names::Label;
use crate::task::Name;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BILLION: u64 = 1_000_000_000;

/// The interval of a task: at most a hundred times a second, and at least once a year.
pub(super) type Every = Period<10, YEAR_MS>;

/// The longest jitter of a run's start.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The tasks of a plugin, and what the operator lets them use and reach.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Sexton plugin manifest")]
pub(super) struct ManifestText {
    /// The tasks, by name: 1 to 64 of a-z, 0-9, `-`, `_` and `.`, unique among the tenant's tasks.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TaskText>")]
    pub(super) tasks: BTreeMap<Name, TaskText>,
    /// Tasks that run one after another, by names that no task has.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ChainText>")]
    pub(super) chains: BTreeMap<Spanned<Name>, ChainText>,
}

/// A task. At most one of `every`, `cron`, `cron-seconds`, `at`, `on-start`, `after` and `pace` says when it is due; without any it runs on demand only.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TaskText {
    /// One line for people.
    pub(super) description: Option<Of<Line>>,
    /// Due at every multiple of this duration since 1970-01-01T00:00:00Z, or since `start`, such as "10s".
    #[schemars(with = "Option<Of<Every>>")]
    pub(super) every: Option<Spanned<Of<Every>>>,
    /// Due at the instants of this crontab(5) expression, by the clocks of `zone`.
    #[schemars(with = "Option<Of<Cron>>")]
    pub(super) cron: Option<Spanned<Of<Cron>>>,
    /// A crontab with a field for seconds before the five.
    #[schemars(with = "Option<Of<CronSeconds>>")]
    pub(super) cron_seconds: Option<Spanned<Of<CronSeconds>>>,
    /// Due once, at this instant: RFC 3339, or a date by the clocks of `zone`, such as "2027-03-28 14:30".
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) at: Option<Spanned<Of<Instant>>>,
    /// Due on each start of a host that has the task, or when a host sees it for the first time.
    #[schemars(with = "Option<bool>")]
    pub(super) on_start: Option<Spanned<bool>>,
    /// Due this long after the end of its last run, one run at a time: "10s", or `{ success = "10m", fail = "1m" }`.
    #[schemars(with = "Option<AfterText>")]
    pub(super) after: Option<Spanned<AfterText>>,
    /// Starts runs one by one, so that between `min` and `max` are going at once.
    #[schemars(with = "Option<PaceText>")]
    pub(super) pace: Option<Spanned<PaceText>>,
    /// The time zone of `cron`, `cron-seconds` and `at`, by its name in the IANA database. Default: UTC.
    pub(super) zone: Option<Of<Zone>>,
    /// Policy of `cron` and `cron-seconds` for changes of the clocks of `zone`: "vixie" (the default: a fixed time in a
    /// gap is due right after it, one that comes twice only the first time), "skip" (a time in a gap is left out), or
    /// "utc" (the fields are read in UTC).
    #[schemars(with = "Option<Of<Dsts>>")]
    pub(super) dst: Option<Spanned<Of<Dsts>>>,
    /// Nothing is due before this instant.
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) start: Option<Spanned<Of<Instant>>>,
    /// Nothing is due after this instant.
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) end: Option<Spanned<Of<Instant>>>,
    /// Stop after this many scheduled runs (1 to 1,000,000).
    #[schemars(with = "Option<Of<Count<1, 1_000_000>>>")]
    pub(super) times: Option<Spanned<Of<Count<1, 1_000_000>>>>,
    /// Time from the instant at which a run is due to its start.
    #[schemars(with = "Option<Of<Period<0, YEAR_MS>>>")]
    pub(super) delay: Option<Spanned<Of<Period<0, YEAR_MS>>>>,
    /// The most that is added to that at random, anew for every run. With `every` at most as long as that.
    #[schemars(with = "Option<Of<Period<0, DAY_MS>>>")]
    pub(super) jitter: Option<Spanned<Of<Period<0, DAY_MS>>>>,
    /// The most that is added to that, always the same for one task, to keep apart tasks that are due together.
    #[schemars(with = "Option<Of<Period<0, YEAR_MS>>>")]
    pub(super) spread: Option<Spanned<Of<Period<0, YEAR_MS>>>>,
    /// A scheduled run that has not started this long after it could have is cancelled.
    #[schemars(with = "Option<Of<Period<1, YEAR_MS>>>")]
    pub(super) start_within: Option<Spanned<Of<Period<1, YEAR_MS>>>>,
    /// Policy for a run that is due while an earlier one has not finished: "skip" (the default with a schedule),
    /// "queue-one", "queue-all", "replace" (the earlier run is ended), or "allow(N)" at a time. Default on demand:
    /// "allow(16)".
    pub(super) overlap: Option<Of<Overlaps>>,
    /// Policy for instants that were missed while no host was up: "none" (the default), "latest", or "all(N)", the
    /// latest N.
    pub(super) catch_up: Option<Of<CatchUps>>,
    /// Instants that were missed longer ago than this are left out under every policy.
    #[schemars(with = "Option<Of<Period<1, YEAR_MS>>>")]
    pub(super) catch_up_within: Option<Spanned<Of<Period<1, YEAR_MS>>>>,
    /// Pauses the task once this many of its runs have failed one after another. Default: never.
    pub(super) pause_after: Option<Of<Count<1, 1000>>>,
    /// The longest time for which the task is held back if it crashes again and again: "1s" to "1d", or "off". Default:
    /// "5m".
    pub(super) brake: Option<Of<Brake>>,
    /// Labels of hosts (their `[host] labels`). Only hosts that have all of them run the task.
    #[serde(default)]
    pub(super) runs_on: Vec<Of<Label>>,
    /// Input of scheduled runs, and of triggered ones that bring none.
    #[schemars(with = "Option<String>")]
    pub(super) input: Option<Spanned<String>>,
    /// Input as a value, such as `{ page = 3 }`, that is passed as JSON.
    #[schemars(with = "Option<serde_json::Value>")]
    pub(super) input_json: Option<Spanned<toml::Value>>,
    /// Arguments of a plain program, after its name.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) args: Option<Spanned<Vec<String>>>,
    /// The environment of a plain program. Variables of the host are not added.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) env: Option<Spanned<BTreeMap<String, String>>>,
    /// Values for the `settings` import.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    /// Retries of failed attempts.
    #[schemars(with = "Option<RetryText>")]
    pub(super) retry: Option<Spanned<RetryText>>,
    /// Limits of one attempt. Every limit has a finite default.
    #[serde(default)]
    pub(super) limits: LimitsText,
    /// Limits of all runs together.
    #[schemars(with = "Option<BudgetText>")]
    pub(super) budget: Option<Spanned<BudgetText>>,
    /// Permissions of the task. Without a grant the import is not available.
    #[serde(default)]
    pub(super) grants: GrantsText,
}

/// Retries of failed attempts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RetryText {
    /// The number of attempts, including the first; 1 means no retries. Default: 3.
    pub(super) attempts: Option<Of<Count<1, 1000>>>,
    /// The delay after the first failure. Default: "5s".
    pub(super) delay: Option<Of<Period<0, YEAR_MS>>>,
    /// The factor by which the delay grows after each further failure. Default: 2.
    pub(super) factor: Option<Of<Number<1, 100>>>,
    /// The longest delay. Default: "15m", or `delay` if that is longer.
    pub(super) max_delay: Option<Of<Period<0, YEAR_MS>>>,
    /// The random part of the delay: with 0.2, 10 s become 8 to 12 s. Default: 0.2.
    pub(super) jitter: Option<Of<Number<0, 1>>>,
}

/// Limits of one attempt.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsText {
    /// Time from the start of an attempt to its end, including waits. Default: "60s".
    pub(super) deadline: Option<Of<Period<1, YEAR_MS>>>,
    /// Time from the notice that it must end to the interruption, within the deadline. Default: "1s".
    pub(super) grace: Option<Of<Period<0, { 60 * 60 * 1000 }>>>,
    /// Units of fuel, about one an instruction. Default: 50000000000.
    pub(super) fuel: Option<Of<Count<1, { 1_000_000_000 * BILLION }>>>,
    /// Memory: the guest's own, and what the host holds for it (bodies, fields, streams, values, handles). Default:
    /// "128 MiB".
    pub(super) memory: Option<Of<Bytes<{ 64 * KIB }, { 4 * GIB }>>>,
    /// Elements of all tables together. Default: 20000.
    pub(super) table_elements: Option<Of<Count<1, 10_000_000>>>,
    /// Calls from the guest to the host. Default: 1000000.
    pub(super) host_calls: Option<Of<Count<1, { 1000 * BILLION }>>>,
    /// Bytes of strings and lists in one call to the host. Default: "8 MiB".
    pub(super) host_call_bytes: Option<Of<Bytes<KIB, { 128 * MIB }>>>,
    /// Handles (locks, streams, requests) that are open at once. Default: 1000.
    pub(super) handles: Option<Of<Count<1, 100_000>>>,
    /// Files and directories that are open at once. Default: 64.
    pub(super) files: Option<Of<Count<1, 10_000>>>,
    /// Size of the output. Default: "1 MiB".
    pub(super) output: Option<Of<Bytes<1, { 256 * MIB }>>>,
    /// Size of the stored log. Default: "256 KiB".
    pub(super) log: Option<Of<Bytes<1, { 64 * MIB }>>>,
    /// Size of the stored stdout, and the same for stderr. Default: "256 KiB".
    pub(super) stdio: Option<Of<Bytes<1, { 64 * MIB }>>>,
}

/// Limits of all runs of a task together.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BudgetText {
    /// Units of fuel a minute, on each host. A task that is over it waits until that has come in; an attempt under way
    /// is not ended for it. No attempt is given more than a minute's worth.
    pub(super) fuel_per_minute: Option<Of<Count<1, { 1_000_000_000 * BILLION }>>>,
    /// Size of the cache entries, keys and values, that the task was the last to write.
    pub(super) cache: Option<Of<Bytes<1, { 1024 * GIB }>>>,
}

/// Permissions of a task.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GrantsText {
    /// Names of locks; `name*` is every name with that prefix.
    #[serde(default)]
    pub(super) locks: Vec<Of<Names>>,
    /// Keys of cache entries; `front/*` is every key with that prefix.
    #[serde(default)]
    pub(super) cache: Vec<Of<Names>>,
    /// Tasks that it may enqueue. Its own name lets it continue itself later.
    #[serde(default)]
    pub(super) schedule: Vec<Of<Names>>,
    /// Hosts that it may call, with a port if it is not 80 or 443; `*.example.org` is every name below it.
    #[serde(default)]
    pub(super) http: Vec<Of<Hosts>>,
    /// Directories that it can use.
    #[serde(default)]
    #[schemars(with = "Vec<DirectoryText>")]
    pub(super) directories: Vec<Spanned<DirectoryText>>,
}

/// A directory that a task can use.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { host = \"/srv/data\", guest = \"/data\", write = true }")]
pub(super) struct DirectoryText {
    /// The path on the host: absolute, or below the plugin directory.
    pub(super) host: Of<HostPath>,
    /// The path in the guest.
    pub(super) guest: Of<GuestPath>,
    /// Whether the guest may change files there. Default: false.
    #[serde(default)]
    pub(super) write: bool,
    /// The most bytes that all files below it may hold together, whatever task wrote them; with `write = true`.
    /// Default: "1 GiB".
    #[schemars(with = "Option<Of<Bytes<{ 4 * KIB }, { 1024 * 1024 * GIB }>>>")]
    pub(super) quota: Option<Spanned<Of<Bytes<{ 4 * KIB }, { 1024 * 1024 * GIB }>>>>,
    /// The most files, directories and links below it; with `write = true`. Default: 100000.
    #[schemars(with = "Option<Of<Count<1, 10_000_000>>>")]
    pub(super) entries: Option<Spanned<Of<Count<1, 10_000_000>>>>,
}
