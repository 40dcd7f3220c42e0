//! Reads the host's own configuration, `sexton.toml`. Every field has a default, so an empty or missing file is valid.
//!
//! There is one struct for each subsystem, which gets it as a whole. Relative paths are relative to the directory in
//! which the host starts.

pub(crate) mod kinds;
pub(crate) mod names;
pub(crate) mod reading;
mod reload;
mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use reading::BadFile;

use sexton_domain::task::Name;
use sexton_domain::tenant::{BacklogLimits, TenantLimits, Tenants, USUAL_TASKS};
use sexton_runtime::runtime::{CompileLimits, Compiler, RuntimeConfig};
use sexton_store::Retention;
use sexton_store::events::EventRetention;
use sexton_store::postgres::DatabaseUrl;
use sexton_system::regular_file;

/// The name of the file if none is given.
pub const FILE: &str = "sexton.toml";

/// The default name of a host that has a store of its own.
const ALONE: &str = "sexton";

/// The default name of the schema in a database.
const SCHEMA: &str = "sexton";

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The identity of the host, and its directories.
    pub host: Host,
    /// The HTTP API.
    pub http: Http,
    /// The place where runs are kept.
    pub store: Store,
    /// The execution of guests.
    pub runtime: Runtime,
    /// The loops of the host.
    pub machine: Machine,
    /// The amount of history that is kept.
    pub retention: RetentionLimits,
    /// The events that are kept for readers.
    pub events: Events,
    /// The guests' cache.
    pub cache: Cache,
    /// The bounds of runs that tasks enqueue and that have to wait.
    pub enqueued: Enqueued,
    /// The log of the host.
    pub log: Log,
    /// The tenants besides the default one, and what each may use.
    pub tenants: BTreeMap<Name, Tenant>,
}

/// The identity of a host, and its directories.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The name, shown with every run. Two hosts of one store must have different names, because the second would end
    /// the first and take its runs for lost. Default (`None`): `sexton`; with a database the name of the machine.
    pub name: Option<String>,
    /// Labels, for people with many hosts, and for tasks that run on some hosts only (`runs-on`). Default: none.
    pub labels: Vec<Name>,
    /// The directory with the plugins. Default: `plugins`.
    pub plugins: PathBuf,
    /// Whether the plugins are shared with all hosts of the store that share theirs. If so, anyone who may drop a
    /// plugin on one of these hosts, or write to the store, decides what runs on all. Default: no.
    pub publish: bool,
    /// The directory for the database file and compiled code. Anyone who can write there can make the host execute any
    /// code, so it must not lie in the plugin directory. Default: `var`.
    pub var: PathBuf,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// The address to listen on. Only loopback is allowed, because every client may run and end everything. Port 0 is
    /// any free one. Default: `127.0.0.1:7070`.
    pub listen: SocketAddr,
}

/// The place where runs, locks and the cache are kept: a SQLite file, or, for many hosts, a PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The database file. Default (`None`): `sexton.db` in the host's `var`. On a network file system it will be
    /// damaged sooner or later.
    pub path: Option<PathBuf>,
    /// The guarantee of a commit to that file.
    pub synchronous: Synchronous,
    /// The PostgreSQL database, in place of a file. Default (`None`): a file.
    pub url: Option<DatabaseUrl>,
    /// The schema in that database, which is created if necessary. Hosts that share runs have the same one. Default:
    /// `sexton`.
    pub schema: String,
    /// The file with the root certificates of the database's certificate. Default (`None`): those that browsers trust,
    /// if the URL asks for verification.
    pub ca: Option<PathBuf>,
}

/// The guarantee of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit waits for the disk, so confirmed work survives a power failure. The default.
    #[default]
    Full,
    /// A commit does not wait. That is faster on slow disks, but the last moments before a power failure (not before a
    /// crash of the host) may be lost.
    Normal,
}

/// The execution of guests.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// The threads that run guests, 0 to 1024. Fewer than cores leaves some cores idle; more makes guests compete for
    /// them and slows the host. Default: 0, one per core.
    pub threads: usize,
    /// The runs at once, 1 to 10,000. With too few, runs that wait (for a remote system, say) keep others from
    /// starting. Each reserves address space for `max-memory`, so too many keep the host from starting. Default: 1024.
    pub slots: u32,
    /// The most memory of any task, in bytes, 1 MiB to 4 GiB. A task that wants more is refused. Default: 512 MiB.
    pub max_memory: u64,
    /// The interval at which a guest that does not yield is asked to, 1 ms to 1 s. A shorter one costs processor time;
    /// a longer one makes deadlines late by up to as much. Default: 5 ms.
    pub tick: Duration,
    /// The largest component file that is loaded, in bytes, 64 KiB to 1 GiB. Too small a limit refuses honest plugins;
    /// a large component holds a core and memory while it is compiled. Default: 32 MiB.
    pub max_component: u64,
    /// The processor time for compiling a component, 1 s to 1 h, in whole seconds (rounded up). Too little refuses
    /// large plugins on slow machines; a malicious one holds a core at low priority for that long. Default: 1 min.
    pub compile_time: Duration,
    /// The memory for compiling a component, in bytes, 64 MiB to 64 GiB. Too little refuses large plugins; malicious
    /// ones take that much, on up to four threads at once. Default: 1 GiB.
    pub compile_memory: u64,
    /// The directory for compiled code. Hosts that have the same one compile each component once, whatever else they
    /// share. Code there is executed as it is, so it belongs to the host's user alone, lies in no plugin directory, and
    /// hosts of different users have different ones. Default (`None`): `code` in the host's `var`.
    pub code: Option<PathBuf>,
}

/// The loops of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The time for which a claim holds unless it is extended (three times in that time), 1 s to 1 h. If it is too
    /// short, a host that stalls for a moment loses its runs; if it is too long, the runs of a host that died wait that
    /// long for another try. Default: 15 s.
    pub lease: Duration,
    /// The longest time between two queries for due runs, 10 ms to 1 min. Wake-ups usually come first. A shorter time
    /// costs queries; a longer one delays runs whose wake-up was lost. Default: 1 s.
    pub poll: Duration,
    /// The time for which runs may go on after the host was asked to stop, 0 to 1 h. Too short a time ends runs that
    /// were nearly done; with too long a one the service manager (whose own limit must be longer) kills the host.
    /// Default: 10 s.
    pub grace: Duration,
    /// The number of deaths of its host after which a run is held back, 0 to 1000; 0 never holds one back. With 1,
    /// every run that is under way in a crash waits for an operator; with a large number, a run that kills its host
    /// does so that many times. Default: 2.
    pub suspect_after: u16,
}

/// The history that is kept of each task. The limit that is reached first counts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionLimits {
    /// The number of latest runs, 1 to 1,000,000. Each costs a few rows, its log and its output. Default: 1000.
    pub runs: u64,
    /// The age since their end up to which runs are kept, 1 min to 10 years. Default: 30 days.
    pub age: Duration,
    /// The total size of inputs, outputs and logs up to which the latest runs are kept, 1 MiB to 1 TiB. Default: 256
    /// MiB.
    pub bytes: u64,
}

/// The events that are kept for readers: each tells one change of a run, a task, a schedule, a plugin or a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// The number of latest events, 0 to 10,000,000; 0 records none, and costs nothing. Each takes about 100 bytes. With
    /// too few, a reader that was away for a moment has missed some. Hosts of one store have the same number. Default:
    /// 100,000.
    pub keep: u64,
    /// The age up to which they are kept, 1 min to 30 days. Default: 1 day.
    pub age: Duration,
}

/// The guests' cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// The bytes of keys and values that a tenant's entries may have together, 1 KiB to 1 TiB. With too little, guests
    /// find the cache full; the allowed amount may take disk space. Default: 256 MiB.
    pub quota: u64,
}

/// Bounds of runs that tasks enqueue and that have to wait. Retention begins at the end of a run, so it does not bound
/// these.
#[derive(Clone, Debug, PartialEq)]
pub struct Enqueued {
    /// The bytes of inputs of one task's runs that tasks enqueued and that wait, 1 KiB to 1 TiB. Too little refuses
    /// honest fan-outs; the allowed amount may take disk space until the runs are due. Default: 64 MiB.
    pub task: u64,
    /// The same for all tasks of a tenant together. Default: 256 MiB.
    pub tenant: u64,
    /// The time ahead at which a run that a task enqueues may be due, 1 h to 3660 days. A later one is refused.
    /// Default: 3660 days.
    pub horizon: Duration,
}

/// The log of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Text for people or JSON for programs. Default: text.
    pub format: LogFormat,
    /// The filter, in the syntax of tracing's `EnvFilter`: `info`, `warn,sexton=debug`. Default: `info`.
    pub filter: String,
}

/// The format of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object on each line.
    Json,
}

/// An owner of tasks, and what it may use of this host. A missing number means that only the host's own limits apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    /// The directory with its plugins: its own, neither within another's nor within `var`. Every tenant has one; that
    /// of the default tenant is the host's `plugins`.
    pub plugins: Option<PathBuf>,
    /// The runs at once, 1 to 10,000. With too few, its runs wait for one another; with too many, they take all slots.
    pub runs: Option<u16>,
    /// The units of fuel a minute for all its tasks together, 1 to 10^18. With too little, its runs wait for the next
    /// minutes.
    pub fuel_per_minute: Option<u64>,
    /// The bytes of keys and values that its cache entries may have together, 1 KiB to 1 TiB. Default: `[cache] quota`.
    pub cache: Option<u64>,
    /// The tasks and chains of all its plugins together, 1 to 1,000,000. With too few, a plugin with more is
    /// quarantined. Each costs memory, and time when its plugin is loaded. Default: 10,000.
    pub tasks: Option<u32>,
}

/// The reason why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file contains an error.
    #[error(transparent)]
    Bad(#[from] BadFile),
}

impl Config {
    /// Reads the configuration from `path`, or else from [`FILE`] in the current directory, if that exists.
    ///
    /// # Errors
    ///
    /// [`BadConfig`] if `path` does not exist, or if anything in the file is wrong: one line with the position and the
    /// allowed values.
    pub fn load(path: Option<&Path>) -> Result<Self, BadConfig> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(FILE));
        Self::of(std::fs::read_to_string(path), path, named)
    }

    /// Reads the configuration again while a host is up. That must not block, so it reads regular files only.
    ///
    /// # Errors
    ///
    /// Those of [`Config::load`], and if the file is no regular file.
    pub fn load_again(path: Option<&Path>) -> Result<Self, BadConfig> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(FILE));
        Self::of(regular_file::open(path).and_then(std::io::read_to_string), path, named)
    }

    fn of(text: std::io::Result<String>, path: &Path, named: bool) -> Result<Self, BadConfig> {
        match text {
            Ok(text) => Ok(Self::parse(&path.display().to_string(), &text)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => Ok(Self::default()),
            Err(source) => Err(BadConfig::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// Reads the configuration from `text`. `file_name` is its name in errors.
    ///
    /// # Errors
    ///
    /// [`BadFile`], one line on the first thing that is wrong.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, BadFile> {
        let read: text::ConfigText = reading::read(file_name, text)?;
        read.config().map_err(|(at, what)| BadFile::new(file_name, text, Some(at), &what))
    }

    /// Returns the tenants, including the default one.
    pub fn tenants(&self) -> Tenants {
        let limits = |tenant: &Tenant| TenantLimits {
            runs: tenant.runs.map(u32::from),
            fuel_per_minute: tenant.fuel_per_minute,
            cache: tenant.cache.unwrap_or(self.cache.quota),
            tasks: tenant.tasks.unwrap_or(USUAL_TASKS),
            backlog: self.backlog(),
        };
        let mut named: BTreeMap<_, _> =
            self.tenants.iter().map(|(name, tenant)| (name.clone(), limits(tenant))).collect();
        named.entry(Name::default_tenant()).or_insert_with(|| limits(&Tenant::default()));
        Tenants::new(self.cache.quota, named)
    }

    fn backlog(&self) -> BacklogLimits {
        let Enqueued { task, tenant, horizon } = self.enqueued;
        BacklogLimits { task, tenant, horizon }
    }

    /// Returns the plugin directory of each tenant, that of the default tenant first.
    pub fn directories(&self) -> Vec<(Name, PathBuf)> {
        let others = self.tenants.iter().filter_map(|(name, tenant)| Some((name.clone(), tenant.plugins.clone()?)));
        std::iter::once((Name::default_tenant(), self.host.plugins.clone())).chain(others).collect()
    }

    /// Returns the directory for plugins that other hosts have published.
    pub fn published(&self) -> PathBuf {
        self.host.var.join("published")
    }

    /// Returns the directory for compiled code.
    pub fn code(&self) -> PathBuf {
        self.runtime.code.clone().unwrap_or_else(|| self.host.var.join("code"))
    }

    /// Returns the path of the database file.
    pub fn database(&self) -> PathBuf {
        self.store.path.clone().unwrap_or_else(|| self.host.var.join("sexton.db"))
    }

    /// Returns the name of the host.
    pub fn host_name(&self) -> String {
        match (&self.host.name, &self.store.url) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => names::of_machine(),
            (None, None) => ALONE.to_owned(),
        }
    }

    /// Returns the configuration of the runtime.
    pub fn runtime(&self) -> RuntimeConfig {
        RuntimeConfig {
            code_cache: self.code(),
            guest_threads: self.runtime.threads,
            slots: self.runtime.slots,
            max_memory: self.runtime.max_memory,
            tick: self.runtime.tick,
            max_component: self.runtime.max_component,
            compiler: Compiler::this_program(CompileLimits {
                time: self.runtime.compile_time,
                memory: self.runtime.compile_memory,
            }),
        }
    }

    /// Returns which events the store keeps.
    pub fn events(&self) -> EventRetention {
        EventRetention { events: self.events.keep, age: self.events.age }
    }

    /// Returns the configuration of the store's retention.
    pub fn retention(&self) -> Retention {
        Retention { runs: self.retention.runs, age: self.retention.age, bytes: self.retention.bytes }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self { name: None, labels: Vec::new(), plugins: "plugins".into(), publish: false, var: "var".into() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { path: None, synchronous: Synchronous::default(), url: None, schema: SCHEMA.into(), ca: None }
    }
}

impl Store {
    /// Sets the database, if `url` is given.
    ///
    /// # Errors
    ///
    /// A sentence, if the file has a key that only a store in a file can have, or one for a database although there is
    /// none.
    pub fn with_url(self, url: Option<DatabaseUrl>) -> Result<Self, String> {
        let store = Self { url: url.or(self.url), ..self };
        let file = store.path.is_some() || store.synchronous != Synchronous::default();
        let database = store.schema != SCHEMA || store.ca.is_some();
        match store.url {
            Some(_) if file => {
                Err("`[store] url` names a database, but `path` and `synchronous` are for a file".into())
            }
            None if database => Err("`[store] schema` and `ca` are for a database, but there is no `url`".into()),
            _ => Ok(store),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7070)) }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            threads: 0,
            slots: 1024,
            max_memory: 512 << 20,
            tick: Duration::from_millis(5),
            max_component: 32 << 20,
            compile_time: Duration::from_secs(60),
            compile_memory: 1 << 30,
            code: None,
        }
    }
}

impl Machine {
    /// Returns how many deaths of its host hold a run back; `None` if no number does.
    pub fn suspect_after(&self) -> Option<u32> {
        Some(u32::from(self.suspect_after)).filter(|deaths| *deaths > 0)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            suspect_after: 2,
        }
    }
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self { runs: 1000, age: Duration::from_secs(30 * 24 * 3600), bytes: 256 << 20 }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self { keep: 100_000, age: Duration::from_secs(24 * 3600) }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { quota: 256 << 20 }
    }
}

impl Default for Enqueued {
    fn default() -> Self {
        let BacklogLimits { task, tenant, horizon } = BacklogLimits::default();
        Self { task, tenant, horizon }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

#[cfg(test)]
mod tests;
