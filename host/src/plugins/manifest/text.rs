//! Defines the shape of a manifest: the keys and their kinds of values. `kinds` reads the values, and the module above
//! combines them.
//!
//! Editors show the comments here, by means of the JSON schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::following::{AfterText, ChainText, PaceText};
use super::keys::KeysText;
use super::kinds::{
    Brake, CatchUps, Cron, CronSeconds, Dsts, GuestPath, HostPath, Hosts, IfHelds, Instant, LockModes, LockNames,
    Names, Overlaps, Zone,
};
use super::labels::LabelsText;
use crate::config::kinds::{Bytes, Count, Line, Number, Of, Period, YEAR_MS};
use crate::config::names::Label;
use sexton_domain::task::Name;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BILLION: u64 = 1_000_000_000;

/// The interval of a task: at most a hundred times a second, and at least once a year.
pub(super) type Every = Period<10, YEAR_MS>;

/// The time that a guest may be given to end by itself: at most an hour.
pub(super) type Grace = Period<0, { 60 * 60 * 1000 }>;

/// The longest jitter of a run's start.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The tasks and chains of a plugin, and what the operator lets the tasks use and reach.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Sexton plugin manifest")]
pub(super) struct ManifestText {
    /// The tasks, by name: 1 to 64 of a-z, 0-9, `-`, `_` and `.`, unique among the tenant's tasks.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TaskText>")]
    pub(super) tasks: BTreeMap<Name, TaskText>,
    /// Tasks that run one after another, by names that no task of the tenant has.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ChainText>")]
    pub(super) chains: BTreeMap<Spanned<Name>, ChainText>,
    /// Types of added schedules, and the tasks of this manifest that take them: `"mail-*" = "mailer"`. A pattern is a
    /// type, or the beginning of types and `*`; of several that match, the longest counts.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) routes: BTreeMap<Spanned<String>, Spanned<Name>>,
    /// Labels of all tasks of the manifest, such as `{ team = "web" }`, by which lists of tasks and runs are filtered. A
    /// key has 1 to 63 of a-z, 0-9, `.`, `_`, `/` and `-`, a value up to 63 characters; a task has at most 16 labels.
    /// The runs of a task get its labels. Default: none.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) labels: LabelsText,
}

/// A task. At most one of `every`, `cron`, `cron-seconds`, `at`, `on-start`, `after` and `pace` says when it is due;
/// without any of them it runs on demand only.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TaskText {
    /// One line for people.
    pub(super) description: Option<Of<Line>>,
    /// Labels of the task, beside those of the whole manifest; of a key that both have, the task's value counts.
    /// Default: none.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) labels: LabelsText,
    /// The task is due at every multiple of this since 1970-01-01T00:00:00Z, or counted from `start` if there is one.
    #[schemars(with = "Option<Of<Every>>")]
    pub(super) every: Option<Spanned<Of<Every>>>,
    /// The task is due when this crontab says, by the clocks of `zone`: five fields as crontab(5) has them, a macro
    /// (`@daily`), a word (`hourly`), or `@every 5m`.
    #[schemars(with = "Option<Of<Cron>>")]
    pub(super) cron: Option<Spanned<Of<Cron>>>,
    /// As `cron`, with a field for seconds before the five.
    #[schemars(with = "Option<Of<CronSeconds>>")]
    pub(super) cron_seconds: Option<Spanned<Of<CronSeconds>>>,
    /// The task is due once, at this instant: RFC 3339, or a date by the clocks of `zone`, such as "2027-03-28 14:30".
    /// Words that mean another instant at each reading, such as `tomorrow`, are refused.
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) at: Option<Spanned<Of<Instant>>>,
    /// The task is due whenever a host that has it starts, or first sees it. Default: false.
    #[schemars(with = "Option<bool>")]
    pub(super) on_start: Option<Spanned<bool>>,
    /// The next run is due this long after the end of the last one, one run at a time: "10s", or `{ success = "10m",
    /// fail = "1m" }`. The first run is due at once.
    #[schemars(with = "Option<AfterText>")]
    pub(super) after: Option<Spanned<AfterText>>,
    /// The host starts runs one by one, so that between `min` and `max` of them are in progress.
    #[schemars(with = "Option<PaceText>")]
    pub(super) pace: Option<Spanned<PaceText>>,
    /// The time zone of `cron`, `cron-seconds`, `at`, `start` and `end`, and of whole days that `every` counts from a
    /// `start`; a name of the IANA database. Default: "UTC".
    pub(super) zone: Option<Of<Zone>>,
    /// Policy of `cron` and `cron-seconds` for changes of the clocks of `zone`. "vixie" (the default): a fixed time in
    /// a gap is due right after it, and one that comes twice is due the first time only. "skip": a time in a gap is
    /// left out. "utc": the fields are read in UTC.
    #[schemars(with = "Option<Of<Dsts>>")]
    pub(super) dst: Option<Spanned<Of<Dsts>>>,
    /// Nothing is due before this instant, and `every` counts from it. Written as `at` is; with `every`, `cron`,
    /// `cron-seconds`, `after` and `pace`.
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) start: Option<Spanned<Of<Instant>>>,
    /// Nothing is due after this instant. Written as `at` is; with `every`, `cron`, `cron-seconds`, `after` and `pace`.
    #[schemars(with = "Option<Of<Instant>>")]
    pub(super) end: Option<Spanned<Of<Instant>>>,
    /// Stop after this many scheduled runs. With `every`, `cron`, `cron-seconds`, `after` and `pace`.
    #[schemars(with = "Option<Of<Count<1, 1_000_000>>>")]
    pub(super) times: Option<Spanned<Of<Count<1, 1_000_000>>>>,
    /// A run starts this long after it is due. Default: "0s".
    #[schemars(with = "Option<Of<Period<0, YEAR_MS>>>")]
    pub(super) delay: Option<Spanned<Of<Period<0, YEAR_MS>>>>,
    /// Each run starts up to this much later, by chance and differently for every run. With `every`, at most as long as
    /// that. Default: "0s".
    #[schemars(with = "Option<Of<Period<0, DAY_MS>>>")]
    pub(super) jitter: Option<Spanned<Of<Period<0, DAY_MS>>>>,
    /// Each run starts up to this much later, by the same amount for all runs of a task, which keeps tasks apart that
    /// are due together. Default: "0s".
    #[schemars(with = "Option<Of<Period<0, YEAR_MS>>>")]
    pub(super) spread: Option<Spanned<Of<Period<0, YEAR_MS>>>>,
    /// A scheduled run is cancelled if it has not started this long after it could have.
    #[schemars(with = "Option<Of<Period<1, YEAR_MS>>>")]
    pub(super) start_within: Option<Spanned<Of<Period<1, YEAR_MS>>>>,
    /// Policy for a run that is due while an earlier one has not finished: "skip" (the default with a schedule),
    /// "queue-one", "queue-all", "replace" (the earlier run is ended), or "allow(N)" runs at once. Default on demand:
    /// "allow(16)"; with `pace` it is "allow(max)" and cannot be set.
    pub(super) overlap: Option<Of<Overlaps>>,
    /// Policy for instants that were missed while no host was up: "none" (the default), "latest", or "all(N)", the
    /// latest N.
    pub(super) catch_up: Option<Of<CatchUps>>,
    /// Instants that were missed longer ago than this are left out, whatever `catch-up` says.
    #[schemars(with = "Option<Of<Period<1, YEAR_MS>>>")]
    pub(super) catch_up_within: Option<Spanned<Of<Period<1, YEAR_MS>>>>,
    /// Pause the task after this many failed runs in a row. Default: never.
    pub(super) pause_after: Option<Of<Count<1, 1000>>>,
    /// The longest time that the task is held back when it crashes again and again: "1s" to "1d", or "off". Default:
    /// "5m".
    pub(super) brake: Option<Of<Brake>>,
    /// A lock that each run holds, from before its guest is made until its attempt is over.
    pub(super) lock: Option<LockText>,
    /// Labels of hosts, such as `["gpu", "eu"]`: only hosts that have all of them in their `[host] labels` run the
    /// task. Every host that has the plugin makes its runs. Default: every host.
    #[serde(default)]
    pub(super) runs_on: Vec<Of<Label>>,
    /// The input of a scheduled run, and of a triggered one that brings none. Default: empty.
    #[schemars(with = "Option<String>")]
    pub(super) input: Option<Spanned<String>>,
    /// As `input`, as a TOML value such as `{ page = 3 }` that is handed over as JSON.
    #[schemars(with = "Option<serde_json::Value>")]
    pub(super) input_json: Option<Spanned<toml::Value>>,
    /// Arguments of a plain program, after its name.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) args: Option<Spanned<Vec<String>>>,
    /// The environment of a plain program. Nothing of the host's environment is added.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) env: Option<Spanned<BTreeMap<String, String>>>,
    /// Values for the `settings` import, and for `wasi:config/store`.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    /// Retries of failed attempts.
    #[schemars(with = "Option<RetryText>")]
    pub(super) retry: Option<Spanned<RetryText>>,
    /// Limits of one attempt. Every limit but `idle` has a finite default.
    #[serde(default)]
    pub(super) limits: LimitsText,
    /// Limits of all runs of the task together. Default: no bound.
    #[schemars(with = "Option<BudgetText>")]
    pub(super) budget: Option<Spanned<BudgetText>>,
    /// Permissions of the task. Nothing is granted by default, and a component that imports more than it is granted is
    /// quarantined with the lines to add.
    #[serde(default)]
    pub(super) grants: GrantsText,
}

/// Retries of failed attempts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RetryText {
    /// The number of attempts, including the first; 1 means no retries. Default: 3.
    pub(super) attempts: Option<Of<Count<1, 1000>>>,
    /// The wait after the first failure. Default: "5s".
    pub(super) delay: Option<Of<Period<0, YEAR_MS>>>,
    /// The delay is multiplied by this after each further failure. Default: 2.
    pub(super) factor: Option<Of<Number<1, 100>>>,
    /// The longest delay. Default: "15m", or `delay` if that is longer.
    pub(super) max_delay: Option<Of<Period<0, YEAR_MS>>>,
    /// The part of the delay that is left to chance: with 0.2, 10 s become 8 to 12 s. Default: 0.2.
    pub(super) jitter: Option<Of<Number<0, 1>>>,
}

/// Limits of one attempt. All but `idle` are on, finite, and in force before the guest's first instruction.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsText {
    /// Time from the start of the guest to its end, host calls and waits included; the wait for `lock` is no part of
    /// it. An attempt that is still in progress then ends as `timed-out`. Default: "60s".
    pub(super) deadline: Option<Of<Period<1, YEAR_MS>>>,
    /// Time from the notice that a run must end to its interruption, for components that can hear of it. It lies
    /// within the deadline, which never moves; "0s" interrupts at once. Default: "1s".
    #[schemars(with = "Option<Of<Grace>>")]
    pub(super) grace: Option<Spanned<Of<Grace>>>,
    /// An attempt ends as `idle` if it has logged, printed and sent nothing, written to no cache entry, and received
    /// nothing for so long. Computing, waiting, and files do not count. Default: no bound but the deadline.
    pub(super) idle: Option<Of<Period<1, YEAR_MS>>>,
    /// The steps by which an attempt is ended whose component can hear of its end. Instead of `grace`.
    #[schemars(with = "Option<LadderText>")]
    pub(super) ladder: Option<Spanned<LadderText>>,
    /// Units of fuel: about one an instruction, and one a byte that is copied. An attempt that uses them up ends as
    /// `out-of-fuel`. Default: 50000000000.
    pub(super) fuel: Option<Of<Count<1, { 1_000_000_000 * BILLION }>>>,
    /// The guest's own memory, and what the host holds for it: bodies, fields, streams, listings, values, handles.
    /// Growing fails in the guest; if it then traps, or has the host hold more, the attempt ends as `out-of-memory`. At
    /// most `[runtime] max-memory`. Default: "128 MiB".
    pub(super) memory: Option<Of<Bytes<{ 64 * KIB }, { 4 * GIB }>>>,
    /// Elements of all tables. Growing fails in the guest. Default: 20000.
    pub(super) table_elements: Option<Of<Count<1, 10_000_000>>>,
    /// Calls from the guest to the host. One more traps. Default: 1000000.
    pub(super) host_calls: Option<Of<Count<1, { 1000 * BILLION }>>>,
    /// Bytes of strings and lists in one call to the host. More trap. Default: "8 MiB".
    pub(super) host_call_bytes: Option<Of<Bytes<KIB, { 128 * MIB }>>>,
    /// Handles (locks, streams, requests) at once. One more traps. Default: 1000.
    pub(super) handles: Option<Of<Count<1, 100_000>>>,
    /// Files and directories open at once. Opening one more fails in the guest (`EDQUOT`), and the run's log says so.
    /// Default: 64.
    pub(super) files: Option<Of<Count<1, 10_000>>>,
    /// Bytes of the output. A larger output ends the attempt as `failed-permanent`. Default: "1 MiB".
    pub(super) output: Option<Of<Bytes<1, { 256 * MIB }>>>,
    /// Bytes of log that are kept; the rest is cut, and marked as cut. Default: "256 KiB".
    pub(super) log: Option<Of<Bytes<1, { 64 * MIB }>>>,
    /// Bytes of stdout, and as many of stderr, that are kept; the rest is cut, and marked as cut. Default: "256 KiB".
    pub(super) stdio: Option<Of<Bytes<1, { 64 * MIB }>>>,
}

/// The steps by which an attempt is ended whose component can hear of its end. Each time counts from the instant at which
/// the attempt must end: a kill, a replacement, or the end of its idle time. At the deadline, the steps come so much
/// earlier that `end` is the deadline. A host that shuts down asks at once, and interrupts at the end of its own grace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { insist = \"5s\", end = \"10s\" }")]
pub(super) struct LadderText {
    /// The guest is asked to end after this time. Default: "0s".
    pub(super) ask: Option<Of<Grace>>,
    /// The guest is asked once more, and can learn how much time is left. Default: never.
    pub(super) insist: Option<Of<Grace>>,
    /// The guest is interrupted.
    pub(super) end: Of<Grace>,
}

/// A lock that each run of a task holds, from before its guest is made until its attempt is over. The host takes it, so
/// no grant is needed, and any component can have one. It is one of the tenant's locks: a task that is granted its name
/// takes the same.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { name = \"ledger\", wait = \"10s\" }")]
pub(super) struct LockText {
    /// The name: 1 to 256 bytes.
    pub(super) name: Of<LockNames>,
    /// "exclusive" (the default), or "shared" with other runs that share it.
    pub(super) mode: Option<Of<LockModes>>,
    /// The longest wait of a run for the lock, in a slot of its host. The wait is no part of its deadline. Default: "0s".
    pub(super) wait: Option<Of<Period<0, YEAR_MS>>>,
    /// The end of a run that does not get the lock: "skip" (the default) cancels it as skipped, which is no
    /// failure; "fail" fails the attempt, which is tried again as `retry` says; "succeed" counts it as a success
    /// without an output.
    pub(super) if_held: Option<Of<IfHelds>>,
}

/// Limits of all runs of a task together. Nothing is bounded by default.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BudgetText {
    /// Units of fuel a minute, on each host. While fuel is owed no run of the task starts; attempts in progress are not
    /// ended. No attempt is given more than a minute's worth. Default: no bound.
    pub(super) fuel_per_minute: Option<Of<Count<1, { 1_000_000_000 * BILLION }>>>,
    /// Bytes, keys and values together, of the cache entries that the task was the last to write. A write that would
    /// exceed them fails with `too-large`. Default: no bound.
    pub(super) cache: Option<Of<Bytes<1, { 1024 * GIB }>>>,
}

/// Permissions of a task. Nothing is granted by default.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GrantsText {
    /// Names of locks; `remote-*` is every name that begins so.
    #[serde(default)]
    pub(super) locks: Vec<Of<Names>>,
    /// Keys of cache entries; `front/*` is every key with that prefix. `{ keys = "front/*", keep = 5 }` also keeps the
    /// last 5 versions that were replaced; of several patterns the longest that matches a key and has `keep` counts.
    #[serde(default)]
    pub(super) cache: Vec<KeysText>,
    /// Tasks that it may enqueue; its own name lets it continue itself later. An attempt may enqueue 100 runs, and none
    /// of a task of which 1000 runs wait.
    #[serde(default)]
    pub(super) schedule: Vec<Of<Names>>,
    /// Hosts that it may call: `example.org` (ports 80 and 443), `example.org:8080`, or `*.example.org` for every name
    /// below it. Private, loopback and link-local addresses are reached only if the address itself, or `localhost`, is
    /// named.
    #[serde(default)]
    pub(super) http: Vec<Of<Hosts>>,
    /// Directories that it can use.
    #[serde(default)]
    #[schemars(with = "Vec<DirectoryText>")]
    pub(super) directories: Vec<Spanned<DirectoryText>>,
}

/// A directory that a task sees. Only files and directories can be opened in it: a pipe, a socket or a device is
/// refused (`ENOTSUP`), and the run's log names it.
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
    /// The most bytes that all files below the directory may hold, whatever task wrote them; with `write = true`.
    /// Default: "1 GiB".
    #[schemars(with = "Option<Of<Bytes<{ 4 * KIB }, { 1024 * 1024 * GIB }>>>")]
    pub(super) quota: Option<Spanned<Of<Bytes<{ 4 * KIB }, { 1024 * 1024 * GIB }>>>>,
    /// The most files, directories and links that there may be below the directory; with `write = true`. Default:
    /// 100000.
    #[schemars(with = "Option<Of<Count<1, 10_000_000>>>")]
    pub(super) entries: Option<Spanned<Of<Count<1, 10_000_000>>>>,
}
