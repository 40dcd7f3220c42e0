//! Defines the failure of a host call.

use crate::attempt::{ChargeError, Interrupt, InterruptReason, Stop};
use sexton_store::StoreError;

/// A failure of a host call: either the guest gets an error that it can act on, or the run ends.
#[derive(Debug)]
pub enum CallError<E> {
    /// The error for the guest, as the interface defines it.
    Guest(E),
    /// The run ends with a trap, because it must end, or because the guest cannot act on the failure.
    Trap(wasmtime::Error),
}

impl<E> CallError<E> {
    /// Converts the guest's error to that of another interface. A trap stays as it is.
    pub(super) fn map<F>(self, words: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Guest(error) => CallError::Guest(words(error)),
            Self::Trap(trap) => CallError::Trap(trap),
        }
    }

    /// Returns the guest's error as `Ok` or the trap as `Err`, as the bindings expect.
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

impl<E> From<ChargeError> for CallError<E> {
    fn from(no_room: ChargeError) -> Self {
        Self::Trap(no_room.into())
    }
}

impl<E> From<wasmtime::component::ResourceTableError> for CallError<E> {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// Returns the failure of a call for which the store failed: `other`, the interface's error with a text, or a trap if
/// the store no longer knows the run's claim.
///
/// The store's own message stays with the host, because it may name its files.
pub(super) fn store_failure<E>(
    error: StoreError,
    in_call: &'static str,
    other: impl FnOnce(String) -> E,
) -> CallError<E> {
    match error {
        StoreError::ClaimLost(_) => Interrupt { why: InterruptReason::Stopped(Stop::ClaimLost), in_call }.into(),
        StoreError::DiskFull(_) => CallError::Guest(other("the host's disk is full".to_owned())),
        error => {
            tracing::warn!(call = in_call, error = %error, "The store failed a guest's call");
            CallError::Guest(other("the host's store failed".to_owned()))
        }
    }
}
