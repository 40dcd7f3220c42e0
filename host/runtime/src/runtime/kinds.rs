//! Defines the kinds of components. The exports of a component decide how the host starts it, and what its answer is.
//!
//! A kind is one file and one line in [`all`].

mod program;
mod task;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::attempt::Order;
use sexton_domain::run::Output;

/// Returns all kinds. A component that exports the interfaces of several is of the first of these.
fn all<T: Send + 'static>() -> [&'static dyn ComponentKind<T>; 2] {
    [&task::Task, &program::Program]
}

/// A kind of components.
#[derive(Clone, Copy)]
pub struct Kind(&'static About);

/// The facts about a kind.
struct About {
    /// The kind as one word.
    name: &'static str,
    /// The beginning of the interface that its components export, up to the part of the version that may vary.
    export: &'static str,
    /// Whether its components are programs as other systems start them: they read their input from stdin, their output is
    /// what they print, and they may end by exiting with a code.
    is_program: bool,
}

/// A kind of components, as its file defines it, for stores whose data is a `T`.
trait ComponentKind<T>: Send + Sync {
    fn about(&self) -> &'static About;

    /// Prepares a linked component for being started.
    ///
    /// # Errors
    ///
    /// The component does not export the interface as this host knows it.
    fn start(&self, linked: InstancePre<T>) -> wasmtime::Result<Start<T>>;
}

/// A component that is ready to be started any number of times.
pub(super) type Start<T> = Arc<dyn Startable<T>>;

/// Starts a component of some kind.
pub(super) trait Startable<T>: Send + Sync {
    /// Makes an instance in `store` and calls it for `order`.
    fn call<'a>(&'a self, store: &'a mut Store<T>, order: &'a Order) -> Call<'a>;
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
        // The facts do not depend on the data of stores.
        let mut kinds = all::<()>().into_iter().map(ComponentKind::about);
        kinds.find(|kind| exports.iter().any(|export| export.starts_with(kind.export))).map(Self)
    }

    /// Returns the kind as one word.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    pub(super) fn is_program(self) -> bool {
        self.0.is_program
    }

    /// Prepares a linked component of this kind for being started.
    ///
    /// # Errors
    ///
    /// The component does not export the interface as this host knows it.
    pub(super) fn start<T: Send + 'static>(self, linked: InstancePre<T>) -> wasmtime::Result<Start<T>> {
        let kind = all::<T>().into_iter().find(|kind| kind.about().name == self.0.name);
        kind.expect("a kind is one of all").start(linked)
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
