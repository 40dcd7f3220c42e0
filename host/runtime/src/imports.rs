//! Holds the capabilities of guests, one file each. Each checks what the guest sends before anything else.
//!
//! The runtime keeps an [`ImportsCtx`] in its store's data, implements [`ImportsView`] for it, and links the
//! capabilities of [`all`] that a task is granted. Names inside an interface (locks, keys, hosts) are checked here, at
//! every call.
//!
//! Errors that a guest can act on are the WIT errors of each interface. If a run must end, by its deadline, a kill or a
//! lost claim, the host function raises an [`Interrupt`](crate::attempt::Interrupt), so that the trap carries the
//! guest's stack.

pub mod bindings;
pub mod cache;
mod call_error;
pub mod cancellation;
mod capability;
pub mod config;
mod ctx;
pub(crate) mod held_stream;
pub mod http;
pub mod keyvalue;
pub mod locks;
pub mod log;
mod run_requests;
pub mod schedule;
mod schedule_requests;
mod services;
pub mod settings;

use wasmtime::component::ResourceTable;

pub use call_error::CallError;
pub use capability::{Capability, Interface};
use ctx::{Imports, LONGEST_NAME, State, is_granted, is_name};
pub use ctx::{ImportsCtx, ImportsCtxView, ImportsView, LARGEST_VALUE};
pub use run_requests::{Caller, RunRefused, RunRequest, RunRequests};
pub use schedule_requests::{ScheduleRefused, ScheduleRequest, ScheduleRequests};
pub use services::Services;

/// Returns every capability, in the order in which missing grants are reported.
pub fn all<T: ImportsView>() -> [&'static dyn Capability<T>; 10] {
    [
        &log::Log,
        &settings::Settings,
        &config::Config,
        &cancellation::Cancellation,
        &cache::Cache,
        &keyvalue::KeyValue,
        &http::Types,
        &http::OutgoingHandler,
        &locks::Locks,
        &schedule::Schedule,
    ]
}

/// Bytes that the host takes for any handle: entries of two tables, and a small object of its own.
pub(crate) const HANDLE: usize = 512;

/// Returns the bytes that a table of handles holds, besides those that were charged when an object was made.
pub(crate) fn held_by<T: ImportsView>(table: &mut ResourceTable) -> u64 {
    let capabilities = all::<T>();
    let held = |entry: &(dyn std::any::Any + Send)| capabilities.iter().map(|one| one.held_by(entry)).sum::<usize>();
    table.iter_mut().map(|entry| (HANDLE + held(entry)) as u64).sum()
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Linker;

    use super::*;

    #[test]
    fn all_capabilities_can_be_linked_side_by_side() {
        let mut linker: Linker<testing::Guest> = Linker::new(&Engine::default());

        for capability in all() {
            capability.link(&mut linker).unwrap();
        }
    }

    #[test]
    fn no_interface_belongs_to_two_capabilities() {
        let interfaces: Vec<_> = all::<testing::Guest>().iter().flat_map(|one| one.interfaces()).collect();

        for (place, one) in interfaces.iter().enumerate() {
            let patch = if one.version.ends_with('.') { "0" } else { "" };
            let import = format!("{}/{}@{}{patch}", one.package, one.name, one.version);
            let served: Vec<_> = interfaces.iter().filter(|other| other.matches(&import)).collect();
            assert_eq!(served.len(), 1, "interface {place}: {import}");
        }
    }
}
