//! Defines the failure of a host call.

use crate::attempt::{Interrupt, NoRoom, Stop, Why};
use crate::store::StoreError;

/// A failure of a host call: the guest is told and can act on it, or the run ends.
#[derive(Debug)]
pub enum CallError<E> {
    /// The guest is told, in the words of the interface.
    Guest(E),
    /// The run ends with a trap, because it must end, or because the guest cannot act on the failure.
    Trap(wasmtime::Error),
}

impl<E> CallError<E> {
    /// Puts the guest's error into the words of another interface. A trap stays one.
    pub(super) fn map<F>(self, words: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Guest(error) => CallError::Guest(words(error)),
            Self::Trap(trap) => CallError::Trap(trap),
        }
    }

    /// Returns the error for the guest, or the trap, as the bindings want it.
    pub(super) fn into_guest(self) -> wasmtime::Result<E> {
        match self {
            Self::Guest(error) => Ok(error),
            Self::Trap(trap) => Err(trap),
        }
    }
}

impl<E> From<wasmtime::Error> for CallError<E> {
    fn from(trap: wasmtime::Error) -> Self {
        Self::Trap(trap)
    }
}

impl<E> From<Interrupt> for CallError<E> {
    fn from(interrupt: Interrupt) -> Self {
        Self::Trap(interrupt.into())
    }
}

impl<E> From<NoRoom> for CallError<E> {
    fn from(no_room: NoRoom) -> Self {
        Self::Trap(no_room.into())
    }
}

impl<E> From<wasmtime::component::ResourceTableError> for CallError<E> {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// Returns how a call fails because the store does: with `other`, the interface's error in words, or with a trap if the store
/// no longer knows the run's claim.
///
/// The store's own words stay with the host, because they may name its files.
pub(super) fn store_failure<E>(
    error: StoreError,
    in_call: &'static str,
    other: impl FnOnce(String) -> E,
) -> CallError<E> {
    match error {
        StoreError::ClaimLost(_) => Interrupt { why: Why::Stopped(Stop::ClaimLost), in_call }.into(),
        StoreError::DiskFull(_) => CallError::Guest(other("the host's disk is full".to_owned())),
        error => {
            tracing::warn!(call = in_call, error = %error, "The store failed a guest's call");
            CallError::Guest(other("the host's store failed".to_owned()))
        }
    }
}
