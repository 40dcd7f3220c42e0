//! The `log` import: lines that are kept with the run.

use wasmtime::component::Linker;

use crate::attempt::LogLine;
use crate::imports::bindings::sexton::task::log::{self, Host, Level};

use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtxView, ImportsView};
use sexton_system::harmless;

/// The longest message that is kept of a line, in bytes.
const LONGEST_LINE: usize = 8 << 10;

/// The capability to write lines into the run's log. It needs no grant.
#[derive(Debug)]
pub struct Log;

impl<T: ImportsView> Capability<T> for Log {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("log")] }
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        log::add_to_linker::<T, Imports>(linker, T::imports)
    }
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
        self.ctx.handle.usage.add_sent(message.len());
        self.ctx.handle.log(LogLine { at, level: level.to_owned(), message: cut(message) });
        Ok(())
    }
}

/// Cuts `message` to its longest length. Control characters stay, because JSON escapes them and printing does, too.
fn cut(message: String) -> String {
    harmless::cut(message, LONGEST_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::testing::World;

    #[tokio::test]
    async fn a_line_is_kept_with_its_level_and_the_hosts_time() {
        let world = World::new();
        let mut guest = world.guest().await;

        guest.imports().write(Level::Warn, "control \u{1b}[31m\n stays".to_owned()).unwrap();

        let (lines, cut) = guest.order.handle.lines(0);
        let at = world.services.clock.now();
        let expected = LogLine { at, level: "warn".to_owned(), message: "control \u{1b}[31m\n stays".to_owned() };
        assert_eq!((lines, cut), (vec![expected], false));
        let kept = guest.order.handle.stored_log().text;
        assert_eq!(kept.lines().count(), 1, "a line break in a message is not one in the log: {kept}");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("é".repeat(LONGEST_LINE / 2)), "é".repeat(LONGEST_LINE / 2));

        let long = cut(format!("x{}", "é".repeat(LONGEST_LINE)));
        assert_eq!(long, format!("x{}…[cut]", "é".repeat(LONGEST_LINE / 2 - 1)));
    }
}
