//! Defines a task: a schedulable unit of a plugin, with its trigger, policies, limits and grants.
//!
//! Manifests are read elsewhere (`plugins::manifest`); nothing here knows files, clocks or wasm.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::labels::Labels;
use crate::retry::RetryPolicy;
use crate::schedule::{self, CatchUp, Plan, Timing, Trigger};
use crate::supervision::Supervision;

/// The number of concurrent runs of a task without a schedule, unless its manifest says otherwise.
const ON_DEMAND_AT_ONCE: u32 = 16;

mod lock;
mod name;

pub use lock::{IfHeld, Ladder, LockMode, TaskLock};
pub use name::{BadName, Name};

/// The key of a task: its tenant and its name, which is unique among the tenant's tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TaskKey {
    /// The tenant of the task.
    pub tenant: Name,
    /// The name of the task.
    pub task: Name,
}

/// Prints `task` for the default tenant, `tenant/task` for any other.
impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant.as_str() != "default" {
            write!(f, "{}/", self.tenant)?;
        }
        f.write_str(self.task.as_str())
    }
}

/// A task as its manifest defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Tenant and name.
    pub key: TaskKey,
    /// The plugin whose component it runs.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// The labels of the task, which its runs get.
    pub labels: Labels,
    /// The trigger.
    pub trigger: Trigger,
    /// The zone whose clocks count, always shown beside the task's times: the one that a crontab names, or the
    /// manifest's.
    pub zone: chrono_tz::Tz,
    /// The policy for a run that is due while an earlier one has not ended.
    pub overlap: Overlap,
    /// Bounds on when it is due, and how much later its runs start.
    pub timing: Timing,
    /// The policy for instants that were missed while no host was up.
    pub catch_up: CatchUp,
    /// The policy for failed attempts.
    pub retry: RetryPolicy,
    /// The policy for a task that fails again and again.
    pub supervision: Supervision,
    /// The lock that each of its attempts holds.
    pub lock: Option<TaskLock>,
    /// The labels that a host must have to run it. Every host that has the plugin knows the task, and makes its runs.
    pub runs_on: Vec<Name>,
    /// The ways in which its schedule deviates from the manifest, a line each, for people.
    pub remarks: Vec<String>,
    /// Limits of one attempt.
    pub limits: Limits,
    /// Limits of all runs together.
    pub budget: Budget,
    /// Permissions of the task.
    pub grants: Grants,
    /// Read-only values, for the `settings` import.
    pub settings: BTreeMap<String, String>,
    /// The input of scheduled runs, and of triggered ones that bring none.
    pub input: Vec<u8>,
    /// The types of added schedules that make runs of it.
    pub types: Vec<Pattern>,
    /// Arguments of a plain program (`wasi:cli/run`), after its name.
    pub args: Vec<String>,
    /// The environment of the guest: only the variables that are named here, never the host's.
    pub env: BTreeMap<String, String>,
}

impl Task {
    /// Returns a task as a manifest has it that says nothing about it: it runs on demand, in the plugin of its name, with
    /// the limits of every task and no grants.
    #[must_use]
    pub fn on_demand(name: Name) -> Self {
        Self {
            plugin: name.clone(),
            key: TaskKey { tenant: Name::default_tenant(), task: name },
            description: None,
            labels: Labels::default(),
            trigger: Trigger::OnDemand,
            zone: chrono_tz::Tz::UTC,
            overlap: Overlap::Allow(ON_DEMAND_AT_ONCE),
            timing: Timing::default(),
            catch_up: CatchUp::None,
            retry: RetryPolicy::default(),
            supervision: Supervision::default(),
            lock: None,
            runs_on: Vec::new(),
            remarks: Vec::new(),
            limits: Limits::default(),
            budget: Budget::default(),
            grants: Grants::default(),
            settings: BTreeMap::new(),
            input: Vec::new(),
            types: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Returns everything that decides when its runs are due, and when they start.
    pub fn plan(&self) -> Plan<'_> {
        let seed = schedule::seed(self.key.tenant.as_str(), self.key.task.as_str());
        Plan { trigger: &self.trigger, zone: self.zone, timing: self.timing, catch_up: self.catch_up, seed }
    }

    /// Returns whether a host with these labels may run it.
    pub fn may_run_on(&self, labels: &[Name]) -> bool {
        self.runs_on.iter().all(|label| labels.contains(label))
    }
}

/// The policy for a run that the schedule makes due while an earlier one has not ended.
///
/// Runs on demand (from the API, the CLI or another task) are never skipped: they wait for a slot. With
/// [`Overlap::Replace`] a run that an operator wants at once replaces, too. "Not ended" means running, due and waiting,
/// or waiting to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// One at a time. A run that comes due in that time is skipped, and recorded as cancelled.
    Skip,
    /// One at a time, and one more may wait. A run that comes due beyond that is skipped.
    QueueOne,
    /// One at a time. All that come due in that time wait for their turn, up to [`Overlap::MOST_QUEUED`].
    QueueAll,
    /// One at a time, the latest. Earlier waiting runs are cancelled and a running one is ended; when that is over and
    /// its locks are free the new one starts.
    Replace,
    /// Up to this many at a time. A run that comes due beyond that is skipped.
    Allow(u32),
}

impl Overlap {
    /// The most runs that wait for their turn with [`Overlap::QueueAll`]. Further ones are skipped, because a task that
    /// falls ever further behind would fill the store.
    pub const MOST_QUEUED: u32 = 1000;

    /// Returns how many runs of the task may be running at once, however they came about.
    pub fn max_running(self) -> u32 {
        match self {
            Self::Skip | Self::QueueOne | Self::QueueAll | Self::Replace => 1,
            Self::Allow(n) => n,
        }
    }
}

/// Limits of one attempt. All but `idle` are finite by default; zero is refused when a manifest is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time from the start of the guest to its end, including host calls and waits.
    pub deadline: Duration,
    /// The time after which the guest is ended if it has sent and received nothing for so long.
    pub idle: Option<Duration>,
    /// The steps, within its deadline, by which a guest is ended that can hear of its end.
    pub ladder: Ladder,
    /// The units of wasmtime's fuel, about one an instruction, and one a byte for bulk copies.
    pub fuel: u64,
    /// The bytes of memory: all linear memories of the instance together, and what the host holds for the guest
    /// (bodies, fields, streams, values, handles).
    pub memory: u64,
    /// The elements of all tables together.
    pub table_elements: u64,
    /// The calls from the guest to the host.
    pub host_calls: u64,
    /// The bytes of strings and lists that one call may pass to the host.
    pub host_call_bytes: u64,
    /// The handles (locks, streams, requests, ...) that the guest may hold at once.
    pub handles: u32,
    /// The files and directories that the guest may have open at once.
    pub files: u32,
    /// The bytes of the output; a larger one fails the attempt.
    pub output: u64,
    /// The bytes of log that are kept; the rest is cut, and the log is marked as cut.
    pub log: u64,
    /// The bytes of stdout that are kept, and the same for stderr; cut like the log.
    pub stdio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            idle: None,
            ladder: Ladder { end: Duration::from_secs(1), ..Ladder::default() },
            fuel: 50_000_000_000,
            memory: 128 << 20,
            table_elements: 20_000,
            host_calls: 1_000_000,
            host_call_bytes: 8 << 20,
            handles: 1_000,
            files: 64,
            output: 1 << 20,
            log: 256 << 10,
            stdio: 256 << 10,
        }
    }
}

/// Limits of all runs of a task on one host together. Without a number there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The units of fuel a minute. No attempt is given more than a minute's worth.
    pub fuel_per_minute: Option<u64>,
    /// The bytes of keys and values of the cache entries that the task was the last to write.
    pub cache: Option<u64>,
}

/// Permissions of a task. `None` and empty mean that the import is not linked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The lock names that it may take.
    pub locks: Vec<Pattern>,
    /// The cache keys that it may read and write.
    pub cache: Vec<Pattern>,
    /// The keys of which earlier versions are kept when it writes them. Each pattern is one of `cache`, too.
    pub keep: Vec<Keep>,
    /// The tasks of its tenant that it may enqueue. Its own name lets it continue itself later.
    pub schedule: Vec<Pattern>,
    /// The hosts that it may send HTTP requests to.
    pub http: Vec<HttpHost>,
    /// The directories that it can use.
    pub directories: Vec<Directory>,
}

/// Keys of which earlier versions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The keys.
    pub keys: Pattern,
    /// The number of earlier versions that are kept beside the current one.
    pub versions: u32,
}

impl Grants {
    /// Returns the number of earlier versions to keep of the cache entry `key`: that of the longest pattern that
    /// matches the key. `None` if no pattern with a number does.
    pub fn keep_of(&self, key: &str) -> Option<u32> {
        let matching = self.keep.iter().filter(|keep| keep.keys.matches(key));
        // A key that is named in full is as long as the prefix before a star, and goes before it.
        let length = |keep: &&Keep| (keep.keys.0.trim_end_matches('*').len(), !keep.keys.0.ends_with('*'));
        matching.max_by_key(length).map(|keep| keep.versions)
    }
}

/// A name, or a prefix of names: `front/*` is every name that begins with `front/`, `*` is every name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Returns whether the pattern matches `name`.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name,
        }
    }
}

/// A host that a task may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHost {
    /// A host name, `*.example.org` for every name below one, or an IP address. Naming a private or link-local
    /// address (or `localhost`) is what allows it: a name that merely resolves to one is refused.
    pub host: String,
    /// The only port that is allowed; `None` means 80 and 443.
    pub port: Option<u16>,
}

impl fmt::Display for HttpHost {
    /// Prints it as a manifest names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// A directory that a task can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The path on the host.
    pub host: std::path::PathBuf,
    /// The path in the guest.
    pub guest: String,
    /// Whether the guest may change files there.
    pub write: bool,
    /// The quota, if the guest may change files there.
    pub quota: Option<Quota>,
}

/// The most that a directory may hold, with everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The lengths of its files, in bytes. Default: 1 GiB.
    pub bytes: u64,
    /// The number of files, directories and links, each of which takes disk space of its own. Default: 100,000.
    pub entries: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: 1 << 30, entries: 100_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_for_files_urls_and_logs() {
        for good in ["a", "0", "front-page_2.v1", &"x".repeat(64)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "..", "_a", "A", "a b", "a/b", "a\\b", "é", "a\n", "a\0", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_name_comes_before_the_least() {
        assert!(Name::new(Name::least().as_str()).is_ok());
        for other in ["0", "00", "0-", "9", "a", "default"] {
            assert!(Name::least() <= Name::new(other).unwrap(), "{other}");
        }
    }

    #[test]
    fn an_error_about_a_bad_name_is_bounded() {
        let said = Name::new(&"X".repeat(10_000)).unwrap_err().to_string();
        assert!(said.len() < 250, "{said}");
    }

    #[test]
    fn the_default_tenant_is_not_shown() {
        let key =
            |tenant: &str| TaskKey { tenant: Name::new(tenant).unwrap(), task: Name::new("page").unwrap() }.to_string();
        assert_eq!([key("default"), key("acme")], ["page", "acme/page"]);
    }

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        let table = [
            ("front/*", "front/a", true),
            ("front/*", "front/", true),
            ("front/*", "front", false),
            ("front", "front", true),
            ("front", "front/a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("", "anything", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(Pattern(pattern.into()).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_longest_pattern_says_how_many_versions_are_kept() {
        let keep = |keys: &str, versions| Keep { keys: Pattern(keys.into()), versions };
        let grants = Grants {
            keep: vec![keep("front/*", 5), keep("front/huge", 0), keep("*", 1), keep("front/huge*", 2)],
            ..Grants::default()
        };
        for (key, versions) in [("front/a", 5), ("front/huge", 0), ("front/huger", 2), ("other", 1)] {
            assert_eq!(grants.keep_of(key), Some(versions), "{key}");
        }
        assert_eq!(Grants::default().keep_of("front/a"), None);
    }

    #[test]
    fn a_name_is_quoted_where_it_is_debugged_and_read_only_if_it_is_one() {
        assert_eq!(format!("{:?}", Name::new("page").unwrap()), r#""page""#);
        assert_eq!(serde_json::from_str::<Name>(r#""page""#).unwrap().as_str(), "page");
        assert!(serde_json::from_str::<Name>(r#""a page""#).is_err());
    }

    #[test]
    fn a_host_is_named_with_its_port_if_that_is_the_only_one() {
        let named = |port| HttpHost { host: "example.org".to_owned(), port }.to_string();
        assert_eq!([named(None), named(Some(8080))], ["example.org", "example.org:8080"]);
    }

    #[test]
    fn default_limits_are_finite_and_those_of_the_guide() {
        let mib = 1024 * 1024;
        let usual = Limits {
            deadline: Duration::from_secs(60),
            idle: None,
            ladder: Ladder { ask: Duration::ZERO, insist: None, end: Duration::from_secs(1) },
            fuel: 50_000_000_000,
            memory: 128 * mib,
            table_elements: 20_000,
            host_calls: 1_000_000,
            host_call_bytes: 8 * mib,
            handles: 1_000,
            files: 64,
            output: mib,
            log: mib / 4,
            stdio: mib / 4,
        };
        assert_eq!(Limits::default(), usual);
    }

    #[test]
    fn a_host_runs_a_task_if_it_has_all_labels_that_are_asked_for() {
        let labels = |names: &[&str]| names.iter().map(|name| Name::new(name).unwrap()).collect::<Vec<_>>();
        let task = |runs_on: &[&str]| Task { runs_on: labels(runs_on), ..Task::on_demand(Name::new("page").unwrap()) };

        let table: [(&[&str], &[&str], bool); 5] = [
            (&[], &[], true),
            (&[], &["gpu"], true),
            (&["gpu"], &[], false),
            (&["gpu"], &["big", "gpu"], true),
            (&["gpu", "eu"], &["big", "gpu"], false),
        ];
        for (asked, has, runs) in table {
            assert_eq!(task(asked).may_run_on(&labels(has)), runs, "{asked:?} on {has:?}");
        }
        let other = Task { key: TaskKey { tenant: Name::new("acme").unwrap(), ..task(&[]).key }, ..task(&[]) };
        assert_ne!(task(&[]).plan().seed, other.plan().seed, "a place in a spread is a task's own");
    }

    #[test]
    fn only_allow_lets_runs_overlap() {
        let all = [Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll, Overlap::Replace, Overlap::Allow(5)];
        assert_eq!(all.map(Overlap::max_running), [1, 1, 1, 1, 5]);
    }
}
