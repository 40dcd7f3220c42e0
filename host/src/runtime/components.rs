//! Components: checked, compiled on a thread of their own, and kept by digest.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use sha2::{Digest, Sha256};

use super::RuntimeError;
use super::code_cache::CodeCache;
use super::lanes::lower_priority;

/// Why a component is not used. One line each; the file's name is for the caller to add.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Over [`super::RuntimeConfig::max_component`].
    #[error("has {size} bytes, which is over the limit of {limit} bytes")]
    TooLarge {
        /// Of the file, in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// There is nothing in it (yet).
    #[error("is empty")]
    Empty,
    /// Something else altogether.
    #[error("is not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    /// Text, which a tool would have to assemble first.
    #[error("is WebAssembly text: assemble it, such as with `wasm-tools parse`")]
    Text,
    /// Built for a target without components.
    #[error(
        "is a core module, not a component: build it with `--target wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Half a file, a damaged one, or one that uses what is not supported.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// A component that Sexton does not know how to run.
    #[error(
        "exports neither `sexton:task/runner@0.1.0` (a task) nor `wasi:cli/run@0.2` (a program){}",
        if .0.is_empty() { String::new() } else { format!("; it exports {}", .0) }
    )]
    NothingToRun(String),
    /// The runtime is being stopped.
    #[error("was not loaded: the host is shutting down")]
    Stopped,
}

/// What can be done with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It exports `sexton:task/runner`.
    Task,
    /// It exports `wasi:cli/run`.
    Program,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Program => "program",
        }
    }
}

/// A component that loads.
#[derive(Debug)]
pub struct Component {
    digest: String,
    size: u64,
    kind: Kind,
    imports: Vec<String>,
    pub(super) wasm: wasmtime::component::Component,
}

impl Component {
    /// SHA-256 of the file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What can be done with it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it imports, such as `wasi:clocks/wall-clock@0.2.6`.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }
}

type Answer = tokio::sync::oneshot::Sender<Result<Component, LoadError>>;

/// The most threads that compile. More would have a directory of plugins compiled sooner after an upgrade, at the price
/// of memory: a large component takes hundreds of megabytes while it is compiled.
const MOST_COMPILERS: usize = 4;

/// Loads components on threads that give way to all others: compiling cannot be interrupted.
#[derive(Debug)]
pub(super) struct Loader {
    jobs: mpsc::Sender<(Vec<u8>, Answer)>,
    max_component: u64,
}

impl Loader {
    pub(super) fn start(
        engine: wasmtime::Engine,
        code_cache: PathBuf,
        max_component: u64,
    ) -> Result<Self, RuntimeError> {
        let cache = Arc::new(CodeCache::open(code_cache, &engine)?);
        let (jobs, todo) = mpsc::channel::<(Vec<u8>, Answer)>();
        let todo = Arc::new(Mutex::new(todo));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_COMPILERS);
        for n in 0..threads {
            let (engine, cache, todo) = (engine.clone(), Arc::clone(&cache), Arc::clone(&todo));
            std::thread::Builder::new()
                .name(format!("sexton-load-{n}"))
                .spawn(move || {
                    lower_priority(10);
                    while let Some((wasm, answer)) = next(&todo) {
                        // Whoever asked may have gone; the compiled code is kept for the next one.
                        let _ = answer.send(load(&engine, &cache, &wasm));
                    }
                })
                .map_err(RuntimeError::Thread)?;
        }
        Ok(Self { jobs, max_component })
    }

    pub(super) async fn load(&self, wasm: Vec<u8>) -> Result<Arc<Component>, LoadError> {
        look(&wasm, self.max_component)?;
        let (answer, loaded) = tokio::sync::oneshot::channel();
        self.jobs.send((wasm, answer)).map_err(|_| LoadError::Stopped)?;
        // A compiler that panicked took its thread with it, and the answer.
        loaded.await.map_err(|_| LoadError::Stopped)?.map(Arc::new)
    }
}

/// The next component to load; `None` when the runtime is gone. One thread waits, the others wait for it.
fn next<J>(todo: &Mutex<mpsc::Receiver<J>>) -> Option<J> {
    todo.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// What can be said of a file by its first bytes.
fn look(wasm: &[u8], limit: u64) -> Result<(), LoadError> {
    let size = wasm.len() as u64;
    if size > limit {
        return Err(LoadError::TooLarge { size, limit });
    }
    if wasm.is_empty() {
        return Err(LoadError::Empty);
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(if wasm.trim_ascii_start().starts_with(b"(") { LoadError::Text } else { LoadError::NotWasm });
    }
    // The layer field of the preamble: 0 for a core module, 1 for a component.
    match wasm.get(4..8) {
        None => Err(LoadError::Invalid("it ends after its first bytes".into())),
        Some([.., 0, 0]) => Err(LoadError::CoreModule),
        Some(_) => Ok(()),
    }
}

fn load(engine: &wasmtime::Engine, cache: &CodeCache, wasm: &[u8]) -> Result<Component, LoadError> {
    let digest = hex(&Sha256::digest(wasm));
    // A panic in the compiler is a bug of its, and must not keep other components from being loaded.
    let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| cache.load_or_compile(engine, &digest, wasm)))
        .unwrap_or_else(|_| Err("the compiler failed".into()));
    let compiled = compiled.map_err(LoadError::Invalid)?;
    let ty = compiled.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let exported = |interface: &str| exports.iter().any(|export| export.starts_with(interface));
    let kind = if exported("sexton:task/runner@0.1.") {
        Kind::Task
    } else if exported("wasi:cli/run@0.2.") {
        Kind::Program
    } else {
        let names: Vec<String> = exports.iter().take(5).map(|name| format!("`{name}`")).collect();
        return Err(LoadError::NothingToRun(names.join(", ")));
    };
    let imports = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    // Made once now, rather than in the first run.
    if let Err(error) = compiled.initialize_copy_on_write_image() {
        return Err(LoadError::Invalid(one_line(&error)));
    }
    Ok(Component { digest, size: wasm.len() as u64, kind, imports, wasm: compiled })
}

/// An error and its causes in one line.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
