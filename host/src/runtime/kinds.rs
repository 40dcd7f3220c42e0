//! The kinds of components: what a component exports decides how the host starts it, and what counts as its answer.
//!
//! A kind is one file and one line in [`ALL`].

mod program;
mod task;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::attempt::Order;
use crate::run::Output;

use super::guest::Guest;

/// All kinds. A component that exports the interfaces of several is of the first of these.
const ALL: [Kind; 2] = [task::KIND, program::KIND];

/// A kind of components.
#[derive(Clone, Copy)]
pub struct Kind(&'static dyn ComponentKind);

/// A kind of components, as its file defines it.
trait ComponentKind: Send + Sync {
    /// Returns the kind as one word.
    fn name(&self) -> &'static str;

    /// Returns the beginning of the interface that its components export, up to the part of the version that may vary.
    fn export(&self) -> &'static str;

    /// Prepares a linked component for being started.
    ///
    /// # Errors
    ///
    /// The component does not export the interface as this host knows it.
    fn start(&self, linked: InstancePre<Guest>) -> wasmtime::Result<Start>;

    /// Returns whether a component is a program as other systems start one: it reads its input from stdin, its output is
    /// what it prints, and it may end by exiting with a code.
    fn is_program(&self) -> bool;
}

/// A component that is ready to be started any number of times.
pub(super) type Start = Arc<dyn Startable>;

/// Starts a component of some kind.
pub(super) trait Startable: Send + Sync {
    /// Makes an instance in `store` and calls it for `order`.
    fn call<'a>(&'a self, store: &'a mut Store<Guest>, order: &'a Order) -> Call<'a>;
}

/// A call of a guest.
pub(super) type Call<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<Answer>> + Send + 'a>>;

/// The answer of a guest that returned.
#[derive(Debug)]
pub(super) enum Answer {
    /// It returned its output.
    Output(Output),
    /// It failed, and may succeed if it is tried again.
    Transient(String),
    /// It failed for good.
    Permanent(String),
    /// It asks to be run again after so many milliseconds.
    Deferred(u64),
    /// It exited with this code, and its output is what it printed.
    Exited(i32),
    /// It was never started, for this reason.
    Refused(String),
}

impl Kind {
    /// Returns the kind of a component with these exports, if it has one.
    pub(super) fn of(exports: &[&str]) -> Option<Self> {
        ALL.into_iter().find(|kind| exports.iter().any(|export| export.starts_with(kind.0.export())))
    }

    /// Returns the kind as one word.
    pub fn as_str(self) -> &'static str {
        self.0.name()
    }

    pub(super) fn start(self, linked: InstancePre<Guest>) -> wasmtime::Result<Start> {
        self.0.start(linked)
    }

    pub(super) fn is_program(self) -> bool {
        self.0.is_program()
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_component_follows_from_its_exports() {
        let of = |exports: &[&str]| Kind::of(exports).map(Kind::as_str);

        assert_eq!(of(&["wasi:cli/run@0.2.6"]), Some("program"));
        assert_eq!(of(&["sexton:task/runner@0.1.0"]), Some("task"));
        assert_eq!(of(&["wasi:cli/run@0.2.0", "sexton:task/runner@0.1.3"]), Some("task"), "the first of the list");
        assert_eq!(of(&["wasi:cli/run@0.3.0", "sexton:task/runner@0.2.0", "other:thing/run@0.2.0"]), None);
    }
}
