//! Writes lines that are kept with the run.
//!
//! Writing one never fails. A line over 8 KiB is cut, and so is the log at the task's limit; both are marked as cut.

use std::fmt;

use crate::bindings::sexton::task::log as wit;

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Detail for a developer of this task.
    Debug,
    /// An action of the task.
    Info,
    /// Something is off, but the task goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Adds a line to the run's log. The macros of this module are shorter.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let level = match level {
        Level::Debug => wit::Level::Debug,
        Level::Info => wit::Level::Info,
        Level::Warn => wit::Level::Warn,
        Level::Error => wit::Level::Error,
    };
    match message.as_str() {
        Some(message) => wit::write(level, message),
        None => wit::write(level, &message.to_string()),
    }
}

/// Logs detail for a developer of this task, with the arguments of [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($arg)+)) };
}

/// Logs an action of the task, with the arguments of [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($arg)+)) };
}

/// Logs that something is off although the task goes on, with the arguments of [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($arg)+)) };
}

/// Logs that something failed, with the arguments of [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($arg)+)) };
}

#[doc(inline)]
pub use {__log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn};
