//! Helps to write a task for Sexton: a plain function, compiled to a WebAssembly component.
//!
//! ```
//! use sexton_task::{Failure, Output, Request, log};
//!
//! sexton_task::task!(run);
//!
//! fn run(request: Request) -> Result<Output, Failure> {
//!     log::info!("attempt {} of run {}", request.attempt, request.run_id);
//!     Ok(Output::text("hello"))
//! }
//! ```
//!
//! Build it as a `cdylib` with `cargo build --release --target wasm32-wasip2` and drop the `.wasm` file into the plugin
//! directory. Input and output may also be types of your own, and `?` works on any error:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sexton_task::{Failure, http, section};
//! use std::time::Duration;
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     city: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Weather {
//!     degrees: f32,
//! }
//!
//! sexton_task::task!(run);
//!
//! fn run(order: Order) -> Result<Option<Weather>, Failure> {
//!     let weather = section(&order.city)
//!         .max_age(Duration::from_secs(60))
//!         .refresh(|_last: Option<&Weather>| http::get("http://weather.example/now").send()?.json::<Weather>())?;
//!     Ok(weather.value)
//! }
//! ```
//!
//! A run has these properties:
//!
//! - It is done **at least once**: after a failure, or a crash of the host, it is attempted again. Use
//!   [`Request::run_id`], which stays the same, as the key of any effect outside.
//! - The host ends it at its deadline, at any instruction. A task that has something to put in order can learn of that
//!   a moment before, see [`cancellation`]. Its locks are released, and a section keeps its last good value.
//! - A panic ends the attempt as trapped; its message goes to stderr, which is kept with the run.
//! - `cache`, `locks`, `schedule` and `http` must be granted in the task's manifest. Interfaces that the task does not
//!   call are not imported, and need no grant.
//!
//! The crate also compiles for other targets, so that the pure parts of a task can be tested there; a call that reaches
//! for the host panics outside a component.

#![warn(missing_docs)]

pub mod cache;
mod call;
pub mod cancellation;
mod failure;
pub mod http;
pub mod locks;
pub mod log;
mod output;
mod request;
pub mod schedule;
mod sections;
pub mod settings;

pub use call::Task;
pub use failure::Failure;
pub use locks::lock;
pub use output::{IntoOutput, Output};
pub use request::{Cause, FromRequest, Request};
pub use sections::{Begun, Renewal, Section, SectionOf, State, section};

/// Exports a function as the task of this component.
///
/// The function takes nothing, a [`Request`], any type that serde can read from the request's JSON input, or a
/// `Request` and such a type. It returns `Result<O, Failure>` with `O` an [`Output`] or any type that serde can write
/// as JSON. A value that is written as `null`, such as `()`, becomes an empty output.
///
/// ```
/// sexton_task::task!(double);
///
/// fn double(number: u32) -> Result<u32, sexton_task::Failure> {
///     number.checked_mul(2).ok_or_else(|| sexton_task::Failure::permanent("too large"))
/// }
/// ```
#[macro_export]
macro_rules! task {
    ($run:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::__private::Guest for Exported {
                fn run(request: $crate::__private::Request) -> $crate::__private::Answer {
                    $crate::__private::call($run, request)
                }
            }

            $crate::__private::export! { Exported with_types_in $crate::__private::bindings }
        };

        // On other targets nothing calls it, and no linker accepts the names of a component's exports, so only its
        // shape is checked.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($crate::Request) -> ::core::result::Result<$crate::Output, $crate::Failure> =
            |request| $crate::Task::run($run, request);
    };
}

/// The expansion of [`task!`]; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::__sexton_export as export;
    pub use crate::bindings::exports::sexton::task::runner::{Guest, Request};
    pub use crate::call::{Answer, call};
    pub use crate::{bindings, log};
}

/// The bindings of `wit/`.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "task",
        pub_export_macro: true,
        export_macro_name: "__sexton_export",
        generate_unused_types: true,
        with: { "wasi:io/poll@0.2.12": wasip2::io::poll },
    });
}
