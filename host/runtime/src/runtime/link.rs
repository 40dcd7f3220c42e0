//! Checks what a component imports against what its task is granted, and links it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

use crate::imports::{self, Capability};
use sexton_domain::lengths::nanos;
use sexton_domain::lifecycle::Ending;
use sexton_domain::run::Outcome;
use sexton_domain::task::{Grants, Task};

use super::components::Component;
use super::filesystem::GuestFilesystem;
use super::guest::{Guest, SLICE};
use super::in_use::InUse;
use super::kinds::{Kind, Start, Startable};
use super::lanes::{Expected, SPINS};
#[cfg(unix)]
use super::listing;
use super::{instrumented_calls, io_errors, read_only, sockets, streams, wording};

/// Processor time that the runs of a task may take for its guests to go before those of which less is known. Far more
/// than they compute, because it includes the host's work and a busy machine's.
const SHORT: Duration = Duration::from_millis(5);

/// The reason that a task cannot run a component: a message of a few lines that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// A component that is linked for a task, ready to be started any number of times.
pub struct Prepared {
    kind: Kind,
    digest: Arc<str>,
    heeds: bool,
    instances: u64,
    start: Start<Guest>,
    /// Whether its last run had to be ended while it spun.
    spins: AtomicBool,
    /// The processor time that its runs take, in nanoseconds; 0 if none has ended.
    takes: AtomicU64,
    /// The fuel that its last run used.
    fuel: AtomicU64,
}

impl Prepared {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the digest of its component.
    pub(super) fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// Returns whether the guest can be told that it must end.
    pub(super) fn supports_cancellation(&self) -> bool {
        self.heeds
    }

    /// Returns the bytes that its core instances need in each run, beside linear memories and tables.
    pub(super) fn instances(&self) -> u64 {
        self.instances
    }

    pub(super) fn start(&self) -> &Start<Guest> {
        &self.start
    }

    /// Returns what is expected of its next run.
    pub(super) fn expected(&self) -> Expected {
        match (self.takes.load(Ordering::Relaxed), self.fuel.load(Ordering::Relaxed)) {
            _ if self.spins.load(Ordering::Relaxed) => Expected::Spins,
            (0, _) => Expected::Unknown,
            (nanos, fuel) if Duration::from_nanos(nanos) <= SHORT && fuel < SLICE => Expected::Short,
            _ => Expected::Long,
        }
    }

    /// Notes that a run of it ended with `ending`, after it `used` so much processor time and fuel.
    pub(super) fn record_end(&self, ending: &Ending, used: Duration, fuel: u64) {
        use Outcome::{Idle, Killed, OutOfFuel, TimedOut};
        let ended = matches!(ending, Ending::Other(TimedOut | OutOfFuel | Killed | Idle));
        self.spins.store(ended && used >= SPINS, Ordering::Relaxed);
        // Fuel is the same on any machine, so the last run tells. Processor time includes what the machine does in that time,
        // such as finding memory for a thousand others, so a single run counts for half.
        self.fuel.store(fuel, Ordering::Relaxed);
        let used = nanos(used).max(1);
        let takes = match self.takes.load(Ordering::Relaxed) {
            0 => used,
            before => before.midpoint(used),
        };
        self.takes.store(takes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Packages of WASI that every guest may import.
const WASI: [&str; 6] = ["wasi:io", "wasi:clocks", "wasi:random", "wasi:cli", "wasi:filesystem", "wasi:sockets"];

/// Returns whether every guest may import `interface`, such as `wasi:io/poll@0.2.6`.
fn is_free(interface: &str) -> bool {
    let Some((name, version)) = interface.split_once('@') else { return false };
    let Some((package, name)) = name.split_once('/') else { return false };
    match package {
        "sexton:task" => name == "types" && version.starts_with("0.1."),
        package => WASI.contains(&package) && version.starts_with("0.2."),
    }
}

/// The part of a task that decides how a component is linked for it: whether it may use each of the capabilities.
type Shape = Vec<bool>;

fn shape(grants: &Grants) -> Shape {
    imports::all::<Guest>().iter().map(|capability| capability.is_granted(grants)).collect()
}

/// Components that are linked and in use, by digest and shape.
pub(super) type Linked = InUse<(Arc<str>, Shape), dyn Startable<Guest>>;

/// Links a component for tasks, once for all that have the same grants.
pub(super) struct Linking<'a> {
    engine: &'a wasmtime::Engine,
    max_memory: u64,
    virtual_time: bool,
    component: &'a Component,
    /// The digest of the component, of which all that is prepared has the same copy.
    digest: Arc<str>,
    /// Whether the guest can be told that it must end.
    heeds: bool,
    /// The components that are linked for this or other plugins.
    linked: &'a Linked,
    /// The components that are linked for this plugin, which keeps them in use.
    own: HashMap<Shape, Start<Guest>>,
}

impl<'a> Linking<'a> {
    /// Links for tasks that are given up to `max_memory` bytes of memory.
    pub(super) fn of(
        engine: &'a wasmtime::Engine,
        max_memory: u64,
        virtual_time: bool,
        component: &'a Component,
        linked: &'a Linked,
    ) -> Self {
        let heeds = component.imports().iter().any(|import| import.starts_with("sexton:task/cancellation@"));
        let digest = Arc::from(component.digest());
        Self { engine, max_memory, virtual_time, component, digest, heeds, linked, own: HashMap::new() }
    }

    /// Links the component for `task`.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the component imports an interface that is not granted, not known, or of another type here; or if
    /// `task` is given more memory than this host allows.
    pub(super) fn prepare(&mut self, task: &Task) -> Result<Prepared, Refusal> {
        let shape = shape(&task.grants);
        let start = match self.own.get(&shape) {
            Some(start) => start.clone(),
            None => {
                let start = self.start(task, &shape)?;
                self.own.insert(shape, start.clone());
                start
            }
        };
        if task.limits.memory > self.max_memory {
            return Err(Refusal(format!(
                "is given {} bytes of memory, and this host has at most {} for a task",
                task.limits.memory, self.max_memory
            )));
        }
        let (kind, instances) = (self.component.kind(), self.component.instances());
        let (digest, heeds) = (Arc::clone(&self.digest), self.heeds);
        let (spins, takes, fuel) = Default::default();
        Ok(Prepared { kind, digest, heeds, instances, start, spins, takes, fuel })
    }

    /// Finds the component linked for another plugin, or links it.
    fn start(&self, task: &Task, shape: &Shape) -> Result<Start<Guest>, Refusal> {
        let key = (Arc::clone(&self.digest), shape.clone());
        if let Some(start) = self.linked.get(&key) {
            return Ok(start);
        }
        let start = self.link(task)?;
        self.linked.put(key, &start);
        Ok(start)
    }

    fn link(&self, task: &Task) -> Result<Start<Guest>, Refusal> {
        check(self.component.imports(), task)?;
        let pre = linker(self.engine, &task.grants, self.virtual_time)
            .and_then(|linker| linker.instantiate_pre(&self.component.wasm))
            .and_then(|linked| self.component.kind().start(linked));
        pre.map_err(|error| Refusal(format!("does not fit this host: {}", wording::of_error(&error))))
    }
}

fn linker(engine: &wasmtime::Engine, grants: &Grants, virtual_time: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    instrumented_calls::show_polls(&mut linker)?;
    link_filesystem(&mut linker)?;
    // These replace some of the functions linked above.
    streams::count(&mut linker)?;
    #[cfg(unix)]
    listing::count(&mut linker)?;
    io_errors::word(&mut linker)?;
    read_only::note_changes(&mut linker)?;
    sockets::refuse(&mut linker)?;
    if virtual_time {
        instrumented_calls::sleep_in_virtual_time(&mut linker)?;
    }
    for capability in imports::all().iter().filter(|capability| capability.is_granted(grants)) {
        capability.link(&mut linker)?;
    }
    Ok(linker)
}

/// Checks all imports, and names everything wrong with them in one message.
pub(super) fn check(imports: &[String], task: &Task) -> Result<(), Refusal> {
    let capabilities = imports::all::<Guest>();
    let serves = |capability: &dyn Capability<Guest>, import: &str| {
        capability.interfaces().iter().any(|interface| interface.matches(import))
    };
    let (mut unknown, mut ungranted) = (Vec::new(), Vec::new());
    let mut missing = BTreeMap::new();
    for import in imports.iter().filter(|import| !is_free(import)) {
        match capabilities.iter().enumerate().find(|(_, capability)| serves(**capability, import)) {
            None => unknown.push(format!("`{import}`")),
            Some((place, capability)) if !capability.is_granted(&task.grants) => {
                let name = import.split_once('@').map_or(import.as_str(), |(name, _)| name);
                ungranted.push(format!("`{name}`"));
                missing.insert(place, capability.manifest_line(task));
            }
            Some(_) => {}
        }
    }
    let mut message = Vec::new();
    if !unknown.is_empty() {
        message.push(format!("imports interfaces that this host does not have: {}", unknown.join(", ")));
    }
    if !ungranted.is_empty() {
        let mut lines: Vec<String> = missing.into_values().collect();
        // Several capabilities may depend on one grant.
        lines.dedup();
        message.push(format!(
            "imports interfaces that its manifest does not grant: {}; add to {}.toml:\n[tasks.{}.grants]\n{}",
            ungranted.join(", "),
            task.plugin,
            task.key.task,
            lines.join("\n")
        ));
    }
    if message.is_empty() { Ok(()) } else { Err(Refusal(message.join("\n"))) }
}

/// Links files in the place of WASI's own. It must be called after WASI is linked.
fn link_filesystem(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<Guest, GuestFilesystem>(linker, Guest::filesystem_view)?;
    preopens::add_to_linker::<Guest, GuestFilesystem>(linker, Guest::filesystem_view)?;
    linker.allow_shadowing(false);
    Ok(())
}
