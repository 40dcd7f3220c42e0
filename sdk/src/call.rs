//! Converts the host's call to a plain function's arguments, and its result back.

use crate::bindings::exports::sexton::task::runner as wit;
use crate::{Failure, FromRequest, IntoOutput, Request};

/// The result that the host gets.
pub type Answer = Result<wit::Output, wit::Failure>;

/// A function that [`task!`](crate::task!) can export. `Shape` only distinguishes the forms.
pub trait Task<Shape> {
    /// Carries out the run.
    ///
    /// # Errors
    ///
    /// Those of the function, and a permanent failure if the input is not what it takes.
    fn run(self, request: Request) -> Result<crate::Output, Failure>;
}

impl<F, O> Task<fn() -> O> for F
where
    F: FnOnce() -> Result<O, Failure>,
    O: IntoOutput,
{
    fn run(self, _: Request) -> Result<crate::Output, Failure> {
        self()?.into_output()
    }
}

impl<F, I, O> Task<fn(I) -> O> for F
where
    F: FnOnce(I) -> Result<O, Failure>,
    I: FromRequest,
    O: IntoOutput,
{
    fn run(self, request: Request) -> Result<crate::Output, Failure> {
        self(I::from_request(request)?)?.into_output()
    }
}

impl<F, I, O> Task<fn(Request, I) -> O> for F
where
    F: FnOnce(Request, I) -> Result<O, Failure>,
    I: serde::de::DeserializeOwned,
    O: IntoOutput,
{
    fn run(self, request: Request) -> Result<crate::Output, Failure> {
        let input = request.json()?;
        self(request, input)?.into_output()
    }
}

/// Calls `task` with the request of the host.
pub fn call<Shape>(task: impl Task<Shape>, request: wit::Request) -> Answer {
    match task.run(request.into()) {
        Ok(output) => Ok(wit::Output { content_type: output.content_type, body: output.body }),
        Err(Failure::Transient(why)) => Err(wit::Failure::Transient(why)),
        Err(Failure::Permanent(why)) => Err(wit::Failure::Permanent(why)),
        Err(Failure::Deferred(delay)) => Err(wit::Failure::Deferred(crate::request::milliseconds(delay))),
    }
}
