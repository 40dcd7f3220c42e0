//! Defines a capability: its interfaces, its grant, how it is linked, and its state in an attempt.
//!
//! A capability stands by itself. Its file says which interfaces it serves, which grant of a manifest allows it, and how it is
//! linked; its state in an attempt is a [`State`](super::State) of its own. [`all`](super::all) lists them, and nothing else
//! in the host names one.

use std::any::Any;

use wasmtime::component::Linker;

use crate::task::{Grants, Task};

use super::ImportsView;

/// An interface that guests import, in all versions that mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The package, as `wasi:http`.
    pub package: &'static str,
    /// The name within the package, as `types`.
    pub name: &'static str,
    /// The beginning of the versions, such as `0.2.`, or one version, such as a draft.
    pub version: &'static str,
}

impl Interface {
    /// Whether an import, such as `wasi:http/types@0.2.6`, is this interface.
    pub fn matches(&self, import: &str) -> bool {
        let rest = import.strip_prefix(self.package).and_then(|rest| rest.strip_prefix('/'));
        let version = rest.and_then(|rest| rest.strip_prefix(self.name)).and_then(|rest| rest.strip_prefix('@'));
        version.is_some_and(|version| match self.version.ends_with('.') {
            true => version.starts_with(self.version),
            false => version == self.version,
        })
    }
}

/// An interface of this project.
pub(super) const fn of_sexton(name: &'static str) -> Interface {
    Interface { package: "sexton:task", name, version: "0.1." }
}

/// A group of imports of guests of type `T`, beside those of WASI that every guest has.
pub trait Capability<T: ImportsView>: Sync {
    /// The interfaces that a component imports for it.
    fn interfaces(&self) -> &'static [Interface];

    /// Whether a task with these grants may import it. Names within it (keys, hosts) are checked at every
    /// call.
    fn is_granted(&self, _grants: &Grants) -> bool {
        true
    }

    /// The line that the grants of a manifest lack where it is not granted. Empty for one that needs no grant.
    fn manifest_line(&self, _task: &Task) -> String {
        String::new()
    }

    /// Links it for the guests of `linker`, in which WASI is linked already.
    ///
    /// # Errors
    ///
    /// If something else is linked by one of its names.
    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()>;

    /// Bytes that the host holds in `entry` of a guest's table of handles, if it is a thing of this capability, besides what is
    /// charged where the thing is made.
    fn held_by(&self, _entry: &(dyn Any + Send)) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_matches_its_own_name_in_versions_that_mean_the_same() {
        let types = Interface { package: "wasi:http", name: "types", version: "0.2." };

        assert!(types.matches("wasi:http/types@0.2.6"));
        for other in
            ["wasi:http/types@0.3.0", "wasi:http/types", "wasi:http/types-more@0.2.0", "wasi:https/types@0.2.0"]
        {
            assert!(!types.matches(other), "{other}");
        }
    }

    #[test]
    fn a_draft_matches_itself_and_no_other_draft() {
        let store = Interface { package: "wasi:keyvalue", name: "store", version: "0.2.0-draft2" };

        assert!(store.matches("wasi:keyvalue/store@0.2.0-draft2"));
        for other in
            ["wasi:keyvalue/store@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft21", "wasi:keyvalue/store@0.2.0"]
        {
            assert!(!store.matches(other), "{other}");
        }
    }
}
