//! The host's own configuration, `sexton.toml`. Every field has a default; an empty file, or none, is a good one.
//!
//! One struct per subsystem, each handed to it whole. Relative paths are relative to the directory that the host is
//! started in.

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

use crate::regular_file;
use crate::runtime::{CompileLimits, Compiler, RuntimeConfig};
use crate::store::Retention;
use crate::store::postgres::DatabaseUrl;
use crate::task::Name;
use crate::tenant::{BacklogLimits, TenantLimits, Tenants, USUAL_TASKS};

/// What the file is called where nobody names another.
pub const FILE: &str = "sexton.toml";

/// What a host is called that has a store of its own.
const ALONE: &str = "sexton";

/// What the schema is called in a database.
const SCHEMA: &str = "sexton";

/// All of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Who this host is, and where it finds and puts things.
    pub host: Host,
    /// Its API.
    pub http: Http,
    /// Where runs are kept.
    pub store: Store,
    /// How guests are run.
    pub runtime: Runtime,
    /// Its loops.
    pub machine: Machine,
    /// How much history is kept.
    pub retention: Kept,
    /// The guests' cache.
    pub cache: Cache,
    /// What tasks may ask for that has to wait.
    pub enqueued: Enqueued,
    /// Its log.
    pub log: Log,
    /// Whom it works for besides the default tenant, and what each may have.
    pub tenants: BTreeMap<Name, Tenant>,
}

/// Who a host is, and where it finds and puts things.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name, shown with every run. Two hosts of one store must differ in it: the second ends the first, and buries what it
    /// runs. Default (`None`): `sexton`; with a database the name of the machine.
    pub name: Option<String>,
    /// What it is called besides, for people who have many, and for tasks that run on some hosts only (`runs-on`). Default: none.
    pub labels: Vec<Name>,
    /// The directory with the plugins. Default: `plugins`.
    pub plugins: PathBuf,
    /// Whether what lies there is shared with all hosts of the store that do the same, and what they share used here. Whoever
    /// may drop a plugin on one of them, or write to the store, then decides what runs on all. Default: no.
    pub publish: bool,
    /// The directory for the database file and compiled code. Whoever can write there can make the host execute what they
    /// like, so it must not lie in the plugin directory. Default: `var`.
    pub var: PathBuf,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Where it listens. Loopback only: whoever reaches it may run and end everything. Port 0 is any that is free.
    /// Default: `127.0.0.1:7070`.
    pub listen: SocketAddr,
}

/// Where runs, locks and the cache are kept: in a SQLite file, or, for many hosts, in a PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The database file. Default (`None`): `sexton.db` in the host's `var`. On a network file system it will be damaged
    /// sooner or later.
    pub path: Option<PathBuf>,
    /// What a commit to that file waits for.
    pub synchronous: Synchronous,
    /// The PostgreSQL database, in the place of a file. Default (`None`): there is a file.
    pub url: Option<DatabaseUrl>,
    /// The schema in that database, which is made if it is not there. Hosts that are to share runs have the same one.
    /// Default: `sexton`.
    pub schema: String,
    /// The file with the certificates that the database's must descend from. Default (`None`): those that browsers trust,
    /// where the URL asks for them to be looked at.
    pub ca: Option<PathBuf>,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk: what was said to be done survives a power failure. The default.
    #[default]
    Full,
    /// Nothing: faster on slow disks, and the last moments before a power failure (not before a crash of the host) may
    /// be lost.
    Normal,
}

/// How guests are run.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Threads that run guests, 0 to 1024. Fewer than cores leaves some idle; more makes guests fight over them, and slows
    /// the host. Default: 0, one per core.
    pub threads: usize,
    /// Runs at once, 1 to 10,000. Too few and runs that wait (for a remote system, say) keep others from starting; each
    /// reserves address space for `max-memory`, so that too many keep the host from starting. Default: 1024.
    pub slots: u32,
    /// The most memory that any task may be given, in bytes, 1 MiB to 4 GiB. A task that wants more is refused. Default:
    /// 512 MiB.
    pub max_memory: u64,
    /// How often a guest that does not yield is asked to, 1 ms to 1 s. Shorter costs processor time; longer
    /// makes deadlines late by up to as much. Default: 5 ms.
    pub tick: Duration,
    /// Largest component file that is loaded, in bytes, 64 KiB to 1 GiB. Too little refuses honest plugins; a large
    /// one holds a core and memory while it is compiled. Default: 32 MiB.
    pub max_component: u64,
    /// Processor time that compiling a component may take, 1 s to 1 h, in whole seconds (rounded up). Too little refuses large
    /// plugins on slow machines; bad ones hold a core at low priority for as long. Default: 1 min.
    pub compile_time: Duration,
    /// Memory that compiling a component may take, in bytes, 64 MiB to 64 GiB. Too little refuses large plugins; bad ones
    /// take as much, on up to four threads at once. Default: 1 GiB.
    pub compile_memory: u64,
}

/// The host's loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// How long a claim holds unless it is extended (which is done three times in that time), 1 s to 1 h. Too short and a
    /// host that stalls for a moment loses its runs; too long and the runs of a host that died wait as long for another
    /// try. Default: 15 s.
    pub lease: Duration,
    /// The longest time between two looks for runs that are due, 10 ms to 1 min. Wake-ups usually come first: shorter costs
    /// queries, longer delays what a lost wake-up would have told. Default: 1 s.
    pub poll: Duration,
    /// How long runs may go on after the host was asked to stop, 0 to 1 h. Too short ends runs that were nearly done; too
    /// long and the service manager (whose own limit must be longer) kills the host. Default: 10 s.
    pub grace: Duration,
    /// A run is held back once its host has died so often while the run was under way, 0 to 1000; 0 never holds one back. With
    /// 1 every run that a crash meets waits for an operator; with too many, a run that kills its host does so as often.
    /// Default: 2.
    pub suspect_after: u16,
}

/// How much history is kept of each task. Whatever is reached first counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The latest so many runs, 1 to 1,000,000. Each costs a few rows, its log and its output. Default: 1000.
    pub runs: u64,
    /// Runs that ended less than this ago, 1 min to 10 years. Default: 30 days.
    pub age: Duration,
    /// The latest runs with no more than so many bytes of inputs, outputs and logs together, 1 MiB to 1 TiB. Default:
    /// 256 MiB.
    pub bytes: u64,
}

/// The guests' cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Bytes, keys and values, that a tenant's entries may have together, 1 KiB to 1 TiB. Too little and guests are told
    /// that the cache is full; what is allowed may be on the disk. Default: 256 MiB.
    pub quota: u64,
}

/// What tasks may ask for that has to wait. Retention begins when a run is over, so it does not bound runs that wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Enqueued {
    /// Bytes of inputs of the runs of one task that tasks asked for and that wait, 1 KiB to 1 TiB. Too little refuses honest
    /// fan-outs; what is allowed may be on the disk until it is due. Default: 64 MiB.
    pub task: u64,
    /// The same of all tasks of a tenant together. Default: 256 MiB.
    pub tenant: u64,
    /// How far ahead a run that a task asks for may be due, 1 h to 3660 days. What is due later is refused. Default: 3660 days.
    pub horizon: Duration,
}

/// The host's log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Text for people or JSON for programs. Default: text.
    pub format: LogFormat,
    /// What is logged, as tracing's `EnvFilter` has it: `info`, `warn,sexton=debug`. Default: `info`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// An owner of tasks, and what it may have of this host. Without a number it is bounded by the host only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    /// The directory with its plugins: its own, neither within another's nor within `var`. Every tenant has one; that of the
    /// default tenant is the host's `plugins`.
    pub plugins: Option<PathBuf>,
    /// Runs at once, 1 to 10,000. Too few and its runs wait for one another; too many and they take all slots.
    pub runs: Option<u16>,
    /// Units of fuel a minute, all its tasks together, 1 to 10^18. Too little and its runs wait for the next minutes.
    pub fuel_per_minute: Option<u64>,
    /// Bytes, keys and values, that its cache entries may have together, 1 KiB to 1 TiB. Default: `[cache] quota`.
    pub cache: Option<u64>,
    /// Tasks and chains of all its plugins together, 1 to 1,000,000. Too few and a plugin with more is quarantined; each costs
    /// memory, and all are looked at when plugins change or are listed. Default: 10,000.
    pub tasks: Option<u32>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Bad(#[from] BadFile),
}

impl Config {
    /// Read the configuration from `path`; without one from [`FILE`] in the current directory, if that is there.
    ///
    /// # Errors
    ///
    /// [`BadConfig`] if the file that was named is not there, and if anything in the file is wrong: one line, with where
    /// it is and what may stand there.
    pub fn load(path: Option<&Path>) -> Result<Self, BadConfig> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(FILE));
        Self::of(std::fs::read_to_string(path), path, named)
    }

    /// Reads the configuration again while a host is up, which must not wait for anybody: only from a regular file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`], and if the file is no regular file.
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

    /// Read the configuration from `text`. `file_name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`BadFile`], one line on the first thing that is wrong.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, BadFile> {
        let read: text::ConfigText = reading::read(file_name, text)?;
        read.config().map_err(|(at, what)| BadFile::new(file_name, text, Some(at), &what))
    }

    /// The tenants, the default one among them.
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

    /// Where the plugins of each tenant lie, those of the default tenant first.
    pub fn directories(&self) -> Vec<(Name, PathBuf)> {
        let others = self.tenants.iter().filter_map(|(name, tenant)| Some((name.clone(), tenant.plugins.clone()?)));
        std::iter::once((Name::default_tenant(), self.host.plugins.clone())).chain(others).collect()
    }

    /// Where what hosts share is kept on this one.
    pub fn published(&self) -> PathBuf {
        self.host.var.join("published")
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.store.path.clone().unwrap_or_else(|| self.host.var.join("sexton.db"))
    }

    /// What the host is called.
    pub fn host_name(&self) -> String {
        match (&self.host.name, &self.store.url) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => names::of_machine(),
            (None, None) => ALONE.to_owned(),
        }
    }

    /// What the runtime is told.
    pub fn runtime(&self) -> RuntimeConfig {
        RuntimeConfig {
            code_cache: self.host.var.join("code"),
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

    /// What the store is told to keep.
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
    /// Have a database that the file does not name, or another one.
    ///
    /// # Errors
    ///
    /// In words, if the file says what only a file can have, or names a part of a database where there is none.
    pub fn with_url(self, url: Option<DatabaseUrl>) -> Result<Self, String> {
        let store = Self { url: url.or(self.url), ..self };
        let file = store.path.is_some() || store.synchronous != Synchronous::default();
        let database = store.schema != SCHEMA || store.ca.is_some();
        match store.url {
            Some(_) if file => {
                Err("there is a database's URL, and `[store] path` or `synchronous`, which are of a file".into())
            }
            None if database => Err("`[store] schema` and `ca` are of a database, and there is no URL of one".into()),
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
        }
    }
}

impl Machine {
    /// How many deaths of its host hold a run back; `None` if no number does.
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

impl Default for Kept {
    fn default() -> Self {
        Self { runs: 1000, age: Duration::from_secs(30 * 24 * 3600), bytes: 256 << 20 }
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
