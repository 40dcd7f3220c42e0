//! Describes components: the faults of a bad one, and the facts of a good one.

use std::time::Duration;

use bytesize::ByteSize;
use sha2::{Digest, Sha256};

use sexton_domain::lengths;

use super::compiler::instances::Compiled;
use super::kinds::Kind;
use super::wording;

/// The reason that a component is not used. Each message is one line; the caller adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is over [`super::RuntimeConfig::max_component`].
    #[error("has {size} bytes, which is over the limit of {limit} bytes")]
    TooLarge {
        /// Size of the file, in bytes.
        size: u64,
        /// The most bytes.
        limit: u64,
    },
    /// The file is empty (so far).
    #[error("is empty")]
    Empty,
    /// The file is something else altogether.
    #[error("is not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    /// The file is text, which a tool must assemble first.
    #[error("is WebAssembly text: assemble it, such as with `wasm-tools parse`")]
    Text,
    /// The component was built for a target without components.
    #[error(
        "is a core module, not a component: build it with `--target wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is half a component, a damaged one, or one that uses unsupported features.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// Compiling used up its processor time.
    #[error(
        "needed more than {} of processor time to compile; if it may use more, raise `[runtime] compile-time`",
        period(*limit)
    )]
    TooSlow {
        /// The configured processor time.
        limit: Duration,
    },
    /// The compiler reached its memory limit.
    #[error("needed more than {} of memory to compile; if it may use more, raise `[runtime] compile-memory`", bytes(*limit))]
    TooMuchMemory {
        /// The configured limit, in bytes.
        limit: u64,
    },
    /// The component is small, but makes a lot of code.
    #[error("makes more than {} of compiled code; if it may make more, raise `[runtime] max-component`", bytes(*limit))]
    TooMuchCode {
        /// The most bytes.
        limit: u64,
    },
    /// The component has more imports than a message can list.
    #[error("imports {count} things, which is over the limit of {limit}")]
    TooManyImports {
        /// The number of its imports.
        count: usize,
        /// The most imports.
        limit: usize,
    },
    /// The compiler has a bug, which a component may have looked for.
    #[error("crashed the compiler: {0}")]
    Crashed(String),
    /// Something other than the component ended the compiler, so another try is worthwhile.
    #[error("was not compiled, as something ended the compiler: {0}")]
    Ended(String),
    /// The machine is at fault, not the component, so another try is worthwhile.
    #[error("could not be compiled: {0}")]
    NotCompiled(String),
    /// Sexton does not know how to run the component.
    #[error(
        "exports neither `sexton:task/runner@0.1.0` (a task) nor `wasi:cli/run@0.2` (a program){}",
        if .0.is_empty() { String::new() } else { format!("; it exports {}", .0) }
    )]
    NothingToRun(String),
    /// The runtime is being stopped.
    #[error("was not loaded: the host is shutting down")]
    Stopped,
}

impl LoadError {
    /// Returns whether the same bytes may load a moment later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::NotCompiled(_) | Self::Stopped)
    }
}

fn period(time: Duration) -> String {
    lengths::exact(time)
}

fn bytes(size: u64) -> String {
    ByteSize::b(size).display().iec().to_string().replace(".0 ", " ")
}

/// A component that loads.
#[derive(Debug)]
pub struct Component {
    digest: String,
    size: u64,
    kind: Kind,
    imports: Vec<String>,
    instances: u64,
    pub(super) wasm: wasmtime::component::Component,
}

impl Component {
    /// Checks and wraps `compiled`, which was compiled from the `size` bytes with this digest.
    pub(super) fn of(
        engine: &wasmtime::Engine,
        compiled: Compiled,
        digest: String,
        size: u64,
    ) -> Result<Self, LoadError> {
        let Compiled { component: compiled, instances } = compiled;
        let ty = compiled.component_type();
        let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let kind = kind_of(&exports)?;
        let count = ty.imports(engine).len();
        if count > MOST_IMPORTS {
            return Err(LoadError::TooManyImports { count, limit: MOST_IMPORTS });
        }
        let imports = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
        // Made once now, rather than in the first run.
        if let Err(error) = compiled.initialize_copy_on_write_image() {
            return Err(LoadError::Invalid(wording::of_error(&error)));
        }
        Ok(Self { digest, size, kind, imports, instances, wasm: compiled })
    }

    /// Returns the SHA-256 of the file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the way to run it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the bytes that its core instances need in each run, beside linear memories and tables.
    pub(super) fn instances(&self) -> u64 {
        self.instances
    }

    /// Returns its imports, such as `wasi:clocks/wall-clock@0.2.6`.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }
}

/// Returns the kind of a component with these exports.
pub(super) fn kind_of(exports: &[&str]) -> Result<Kind, LoadError> {
    Kind::of(exports).ok_or_else(|| {
        let names: Vec<String> = exports.iter().take(5).map(|name| format!("`{}`", wording::line(name))).collect();
        LoadError::NothingToRun(names.join(", "))
    })
}

/// The most imports of a component. Messages list them, and linking looks each of them up; a component that uses all of
/// WASI has about 40.
const MOST_IMPORTS: usize = 1000;

/// Checks a file by its size and its first bytes.
pub(super) fn look(wasm: &[u8], limit: u64) -> Result<(), LoadError> {
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

/// Returns the SHA-256 of a component, in hex: the key by which the host knows it.
pub fn digest(wasm: &[u8]) -> String {
    hex(&Sha256::digest(wasm))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::LoadError;
    use std::time::Duration;

    #[test]
    fn a_limit_that_was_reached_is_named_with_its_unit_and_its_key() {
        let [slow, big, code] = [
            LoadError::TooSlow { limit: Duration::from_secs(60) },
            LoadError::TooMuchMemory { limit: 1 << 30 },
            LoadError::TooMuchCode { limit: 512 << 20 },
        ]
        .map(|error| error.to_string());

        assert!(slow.starts_with("needed more than 1m of processor time to compile;"), "{slow}");
        assert!(slow.ends_with("raise `[runtime] compile-time`"), "{slow}");
        assert!(big.starts_with("needed more than 1 GiB of memory") && big.contains("compile-memory"), "{big}");
        assert!(code.starts_with("makes more than 512 MiB of compiled code;"), "{code}");
    }
}
