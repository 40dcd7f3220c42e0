//! Holds the interfaces of `wit/` in Rust, as wasmtime generates them.
//!
//! Errors that a guest can act on are WIT errors; faults of the host, and attacks, are traps. Functions whose interface
//! defines an error return a [`CallError`], which is either.

use super::call_error::CallError;

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "task",
    imports: {
        "sexton:task/locks.acquire": async | trappable,
        "sexton:task/locks.[drop]lock": async | trappable,
        "sexton:task/cache.get": async | trappable,
        "sexton:task/cache.set": async | trappable,
        "sexton:task/cache.swap": async | trappable,
        "sexton:task/cache.delete": async | trappable,
        "sexton:task/cache.list": async | trappable,
        "sexton:task/cache.history": async | trappable,
        "sexton:task/cache.get-version": async | trappable,
        "sexton:task/cache.restore": async | trappable,
        "sexton:task/cache.refresh": async | trappable,
        "sexton:task/cache.[method]renewal.publish": async | trappable,
        "sexton:task/cache.[drop]renewal": async | trappable,
        "sexton:task/schedule.enqueue": async | trappable,
        "sexton:task/schedule.continue-later": async | trappable,
        "sexton:task/schedule.add-schedule": async | trappable,
        "sexton:task/schedule.list-schedules": async | trappable,
        "sexton:task/schedule.delete-schedule": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:io/poll": wasmtime_wasi::p2::bindings::io::poll,
        "sexton:task/locks.lock": crate::imports::locks::HeldLock,
        "sexton:task/cache.renewal": crate::imports::cache::Renewal,
    },
    trappable_error_type: {
        "sexton:task/locks.error" => LocksError,
        "sexton:task/cache.error" => CacheError,
        "sexton:task/schedule.error" => ScheduleError,
        "sexton:task/schedule.schedule-error" => AddingError,
    },
});

/// The failure of a call of `locks`.
pub type LocksError = CallError<sexton::task::locks::Error>;

/// The failure of a call of `cache`.
pub type CacheError = CallError<sexton::task::cache::Error>;

/// The failure of a call of `schedule`.
pub type ScheduleError = CallError<sexton::task::schedule::Error>;

/// The failure of a call of `schedule` that is about schedules.
pub type AddingError = CallError<sexton::task::schedule::ScheduleError>;
