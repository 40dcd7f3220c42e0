//! Defines a capability: its interfaces, its grant, how it is linked, and its state in an attempt.
//!
//! A capability is complete in its file, which says which interfaces it serves, which grant of a manifest allows it,
//! and how it is linked. Its state in an attempt is a [`State`](super::State) of its own. [`all`](super::all) lists the
//! capabilities, and nothing else in the host names one.

use std::any::Any;

use wasmtime::component::Linker;

use sexton_domain::task::{Grants, Task};

use super::ImportsView;

/// An interface that guests import, in all versions with the same meaning.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The package, such as `wasi:http`.
    pub package: &'static str,
    /// The name within the package, such as `types`.
    pub name: &'static str,
    /// The common prefix of the versions, such as `0.2.`, or one version in full, such as a draft.
    pub version: &'static str,
}

impl Interface {
    /// Returns whether an import, such as `wasi:http/types@0.2.6`, is this interface.
    pub fn matches(&self, import: &str) -> bool {
        let rest = import.strip_prefix(self.package).and_then(|rest| rest.strip_prefix('/'));
        let version = rest.and_then(|rest| rest.strip_prefix(self.name)).and_then(|rest| rest.strip_prefix('@'));
        version.is_some_and(|version| match self.version.ends_with('.') {
            true => version.starts_with(self.version),
            false => version == self.version,
        })
    }
}

/// Returns an interface of this project.
pub(super) const fn of_sexton(name: &'static str) -> Interface {
    Interface { package: "sexton:task", name, version: "0.1." }
}

/// A group of imports for guests of type `T`, in addition to the imports of WASI that every guest has.
pub trait Capability<T: ImportsView>: Sync {
    /// Returns the interfaces that the capability serves.
    fn interfaces(&self) -> &'static [Interface];

    /// Returns whether a task with these grants may import it. Names within it (keys, hosts) are checked at every call.
    fn is_granted(&self, _grants: &Grants) -> bool {
        true
    }

    /// Returns the line that a manifest without the grant lacks. Empty if no grant is needed.
    fn manifest_line(&self, _task: &Task) -> String {
        String::new()
    }

    /// Links the capability for the guests of `linker`, in which WASI is linked already.
    ///
    /// # Errors
    ///
    /// Another function of the same name is linked already.
    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()>;

    /// Returns the bytes that the host holds in `entry` of a guest's table of handles, if the entry belongs to this
    /// capability, besides those that were charged when it was made.
    fn held_by(&self, _entry: &(dyn Any + Send)) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_matches_its_own_name_in_versions_with_the_same_meaning() {
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
