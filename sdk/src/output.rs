//! Describes the result of a task.

use serde::Serialize;

use crate::Failure;

/// The result of a task, which is kept with the run, up to the task's limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The media type of the body. With `None` it is served as plain bytes.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Output {
    /// Creates an output without a body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Creates an output of plain text.
    pub fn text(body: impl Into<String>) -> Self {
        Self::typed("text/plain; charset=utf-8", body.into())
    }

    /// Creates an output of an HTML page.
    pub fn html(body: impl Into<String>) -> Self {
        Self::typed("text/html; charset=utf-8", body.into())
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    ///
    /// A permanent failure if serde cannot write `value` as JSON, such as a map whose keys are not text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let body =
            serde_json::to_vec(value).map_err(|e| Failure::permanent(format_args!("cannot write the output: {e}")))?;
        Ok(Self::typed("application/json", body))
    }

    /// Creates an output of bytes without a media type.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: None, body: body.into() }
    }

    /// Creates an output with the media type `content_type`.
    pub fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type.to_owned()), body: body.into() }
    }
}

/// A type that a task's function may return: an [`Output`], or any type that serde can write as JSON.
///
/// A value that is written as `null`, such as `()` and `None`, becomes an empty output.
pub trait IntoOutput {
    /// Converts it to an output.
    ///
    /// # Errors
    ///
    /// A permanent failure if it cannot be written as JSON.
    fn into_output(self) -> Result<Output, Failure>;
}

impl IntoOutput for Output {
    fn into_output(self) -> Result<Output, Failure> {
        Ok(self)
    }
}

impl<T: Serialize> IntoOutput for T {
    fn into_output(self) -> Result<Output, Failure> {
        let output = Output::json(&self)?;
        Ok(if output.body == b"null" { Output::empty() } else { output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Task, request};

    fn run<Shape>(task: impl Task<Shape>, input: &str) -> Result<Output, Failure> {
        task.run(request::request(input))
    }

    #[test]
    fn a_task_may_be_a_function_of_nothing_a_request_a_typed_input_or_both() {
        let none = run(|| Ok(()), "");
        let whole = run(|request: crate::Request| Ok(Output::text(request.task)), "");
        let typed = run(|number: u32| Ok(number * 2), "21");
        let both = run(|request: crate::Request, n: u32| Ok(format!("{} {n}", request.run_id)), "7");

        assert_eq!(none, Ok(Output::empty()));
        assert_eq!(whole, Ok(Output::text("test")));
        assert_eq!(typed, Ok(Output::typed("application/json", "42")));
        assert_eq!(both, Ok(Output::typed("application/json", "\"run-1 7\"")));
    }

    #[test]
    fn a_failure_of_the_function_is_the_failure_of_the_task() {
        let failed = run(|_: Option<u32>| Err::<(), _>(Failure::permanent("no")), "");

        assert_eq!(failed, Err(Failure::permanent("no")));
    }
}
