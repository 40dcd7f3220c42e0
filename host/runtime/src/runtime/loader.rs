//! Loads components on threads that give way to all others: finds them compiled, or has them compiled.
//!
//! A component that takes long lets others pass. Each is first compiled for a moment only; if that was not enough, it
//! gets another turn with all the allowed time, but one thread always remains for components that compile quickly. So a
//! directory full of components that never finish compiling delays the others by moments. Of those that wait, the one
//! that is needed first is next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::code_cache::CodeCache;
use super::compiler::instances::Compiled;
use super::compiler::{Apart, Failure, instances, names};
use super::components::{self, Component, LoadError, look};
use super::in_use::InUse;
use super::lanes::lower_priority;
use super::wording;
use super::{RuntimeConfig, RuntimeError};
use sexton_domain::time::Timestamp;
use sexton_system::supervisor::{AfterPanic, Supervisor};

type Answer = tokio::sync::oneshot::Sender<Result<Arc<Component>, LoadError>>;

/// The most threads that load, and children that compile. More would compile a directory of plugins sooner after an
/// upgrade, but a large component takes hundreds of megabytes while it is compiled.
const MOST_THREADS: usize = 4;

/// Processor time that a component may take on its first turn, while others wait. A Rust task of 300 KB takes 40 ms. If
/// elapsed time counted, a busy machine would treat every component as slow, and quick ones would wait behind slow
/// ones.
const AT_FIRST: Duration = Duration::from_secs(1);

/// The most components that are remembered as not compiling. Forgetting one costs another try.
const REMEMBERED: usize = 1000;

/// Loads components.
#[derive(Debug)]
pub(super) struct Loader {
    shared: Arc<Shared>,
    threads: usize,
    max_component: u64,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    cache: CodeCache,
    /// `None` if components are compiled in this process.
    apart: Option<Arc<Apart>>,
    /// Components that did not compile at once, by digest.
    known: Mutex<HashMap<String, Known>>,
    /// Components in use.
    loaded: InUse<String, Component>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Clone, Debug)]
enum Known {
    /// The component takes longer than [`AT_FIRST`].
    Slow,
    /// The component does not compile.
    Bad(LoadError),
}

/// The components that wait to be loaded.
#[derive(Debug, Default)]
struct Queue {
    /// New components, those first that are needed first, and of these the smallest: by instant, by size, and then by a
    /// number.
    fresh: BTreeMap<(Timestamp, usize, u64), (Vec<u8>, Answer)>,
    /// Components that take long, first come first served.
    slow: VecDeque<(Source, Answer)>,
    numbers: u64,
    over: bool,
}

/// A component that waits to be compiled. Its bytes are in a file without a name.
#[derive(Debug)]
struct Source {
    digest: String,
    size: u64,
    file: File,
}

enum Job {
    Fresh(Vec<u8>, Answer),
    Slow(Source, Answer),
}

impl Loader {
    pub(super) fn start(
        engine: Engine,
        apart: Option<Arc<Apart>>,
        config: &RuntimeConfig,
    ) -> Result<Self, RuntimeError> {
        let cache = CodeCache::open(config.code_cache.clone(), &engine)?;
        let (known, loaded, queue, changed) = Default::default();
        let shared = Arc::new(Shared { engine, cache, apart, known, loaded, queue, changed });
        let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(2, MOST_THREADS);
        for n in 0..threads {
            let shared = Arc::clone(&shared);
            let with_slow = n > 0;
            Supervisor::of_process()
                .thread(&format!("sexton-load-{n}"), AfterPanic::Again, move || shared.work(with_slow))
                .map_err(RuntimeError::Thread)?;
        }
        Ok(Self { shared, threads, max_component: config.max_component })
    }

    /// Returns the number of its threads.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Loads a component from the bytes of its file, before those that are needed later than `due`. Dropping the future
    /// gives up.
    pub(super) async fn load(&self, wasm: Vec<u8>, due: Timestamp) -> Result<Arc<Component>, LoadError> {
        look(&wasm, self.max_component)?;
        let (answer, loaded) = tokio::sync::oneshot::channel();
        self.shared.put(|queue| {
            queue.numbers += 1;
            queue.fresh.insert((due, wasm.len(), queue.numbers), (wasm, answer));
        });
        // There is no answer if the runtime is gone or a thread panicked.
        loaded.await.map_err(|_| LoadError::Stopped)?
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.put(|queue| {
            queue.over = true;
            queue.fresh.clear();
            queue.slow.clear();
        });
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue());
        self.changed.notify_all();
    }

    /// Loads components until the loader is dropped.
    fn work(&self, with_slow: bool) {
        lower_priority(10);
        while let Some(job) = self.next(with_slow) {
            match job {
                Job::Fresh(wasm, answer) => self.load(wasm, answer),
                Job::Slow(source, answer) => self.compile(source, None, answer),
            }
        }
    }

    fn next(&self, with_slow: bool) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if queue.over {
                return None;
            }
            if let Some((_, (wasm, answer))) = queue.fresh.pop_first() {
                return Some(Job::Fresh(wasm, answer));
            }
            if with_slow && let Some((source, answer)) = queue.slow.pop_front() {
                return Some(Job::Slow(source, answer));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Loads a new component.
    fn load(&self, wasm: Vec<u8>, answer: Answer) {
        if answer.is_closed() {
            return;
        }
        let digest = components::digest(&wasm);
        let size = wasm.len() as u64;
        let known = self.known().get(&digest).cloned();
        if let Some(Known::Bad(error)) = known {
            return reply(answer, Err(error));
        }
        self.cache.keep_source(&digest, &wasm);
        if let Some(component) = self.loaded.get(digest.as_str()) {
            return reply(answer, Ok(component));
        }
        if let Some(compiled) = catch_panic(|| Ok(self.cache.find(&self.engine, &digest))).unwrap_or_default() {
            return reply(answer, self.component(compiled, digest, size));
        }
        let Some(apart) = &self.apart else {
            return reply(answer, self.compile_here(&digest, &wasm));
        };
        let file = match self.cache.unnamed_file(&wasm) {
            Ok(file) => file,
            Err(error) => return reply(answer, Err(LoadError::NotCompiled(format!("cannot keep its bytes: {error}")))),
        };
        // Components that wait long do so in a file instead of memory.
        drop(wasm);
        let source = Source { digest, size, file };
        match known {
            Some(_) => self.put(|queue| queue.slow.push_back((source, answer))),
            None => self.compile(source, Some(AT_FIRST).filter(|turn| *turn < apart.limits.time), answer),
        }
    }

    /// Compiles a component in a child process. If it has a `turn` and is not done when that ends, it waits for another
    /// turn, which lasts as long as it needs within its limits.
    fn compile(&self, source: Source, turn: Option<Duration>, answer: Answer) {
        let Some(apart) = &self.apart else { return };
        // Another thread may have tried the same component in the time since.
        if let Some(Known::Bad(error)) = self.known().get(&source.digest).cloned() {
            return reply(answer, Err(error));
        }
        let wanted = || !answer.is_closed() && !self.queue().over;
        let start = Instant::now();
        let compiled = catch_panic(|| {
            let compile = |code| apart.compile(&source.file, code, turn, wanted);
            self.cache.keep(&self.engine, &source.digest, compile)
        });
        let Source { digest, size, .. } = &source;
        tracing::debug!(digest, size, took = ?start.elapsed(), ok = compiled.is_ok(), "Compiled a component");
        let error = match compiled {
            Ok(compiled) => return reply(answer, self.component(compiled, source.digest, source.size)),
            Err(Failure::Unwanted) => return,
            Err(Failure::TurnOver) => {
                self.remember(&source.digest, Known::Slow);
                return self.put(|queue| queue.slow.push_back((source, answer)));
            }
            Err(Failure::NoRoom(reason)) => LoadError::NotCompiled(format!("cannot keep its code: {reason}")),
            Err(Failure::Error(error)) => error,
        };
        if !error.is_temporary() {
            self.remember(&source.digest, Known::Bad(error.clone()));
        }
        reply(answer, Err(error));
    }

    /// Compiles a trusted component in this process.
    fn compile_here(&self, digest: &str, wasm: &[u8]) -> Result<Arc<Component>, LoadError> {
        let compile = |mut code: File| {
            let invalid = |error| Failure::Error(LoadError::Invalid(wording::of_error(&error)));
            let wasm = names::without_endless(wasm.into());
            let compiled = instances::precompile(&self.engine, &wasm).map_err(invalid)?;
            io::Write::write_all(&mut code, &compiled).map_err(|error| Failure::NoRoom(error.to_string()))
        };
        match catch_panic(|| self.cache.keep(&self.engine, digest, compile)) {
            Ok(compiled) => self.component(compiled, digest.to_owned(), wasm.len() as u64),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::NoRoom(reason)) => Err(LoadError::NotCompiled(format!("cannot keep its code: {reason}"))),
            // Compiling here takes no turns; if it were given up, the file would not be at fault.
            Err(Failure::TurnOver | Failure::Unwanted) => Err(LoadError::NotCompiled("it was given up".into())),
        }
    }

    /// Checks and shares what was compiled from the `size` bytes with this digest.
    fn component(&self, compiled: Compiled, digest: String, size: u64) -> Result<Arc<Component>, LoadError> {
        let component = Arc::new(Component::of(&self.engine, compiled, digest, size)?);
        self.loaded.put(component.digest().to_owned(), &component);
        Ok(component)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: &str, what: Known) {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest.to_owned(), what);
    }
}

/// Turns a panic while code is made or loaded into an error: it is a bug, and must not stop other components from
/// loading.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let done = Supervisor::of_process().watched("component loader", work);
    done.unwrap_or_else(|| Err(Failure::Error(LoadError::Crashed("it panicked".into()))))
}

fn reply(answer: Answer, loaded: Result<Arc<Component>, LoadError>) {
    // The caller may have gone; the compiled code is kept for the next one.
    let _ = answer.send(loaded);
}
