//! The `log` import: lines that are kept with the run.

use wasmtime::component::Linker;

use super::{Imports, ImportsCtxView, ImportsView};
use crate::runtime::LogLine;
use crate::runtime::bindings::sexton::task::log::{self, Host, Level};

/// Longest message that is kept of a line, in bytes.
const LONGEST_LINE: usize = 8 << 10;

/// What a line ends with that was longer.
const CUT: &str = "…[cut]";

/// Let a guest of `linker` log.
///
/// # Errors
///
/// If something is linked by that name already.
pub fn add_to_linker<T: ImportsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    log::add_to_linker::<T, Imports>(linker, T::imports)
}

impl Host for ImportsCtxView<'_> {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let at = self.ctx.services.clock.now();
        self.ctx.handle.log(LogLine { at, level: level.to_owned(), message: cut(message) });
        Ok(())
    }
}

/// `message` as it is kept. Control characters stay: JSON escapes them, and so does who prints them.
fn cut(mut message: String) -> String {
    if message.len() > LONGEST_LINE {
        message.truncate(message.floor_char_boundary(LONGEST_LINE));
        message.push_str(CUT);
        message.shrink_to_fit(); // the guest may have sent megabytes
    }
    message
}
