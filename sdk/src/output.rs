//! What a task made.

use serde::Serialize;

use crate::Failure;

/// What a task made: kept as the run's result, up to the task's limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The media type of the body. With `None` it is served as plain bytes.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Output {
    /// Nothing: the run is done, that is all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Plain text.
    pub fn text(body: impl Into<String>) -> Self {
        Self::typed("text/plain; charset=utf-8", body.into())
    }

    /// An HTML page.
    pub fn html(body: impl Into<String>) -> Self {
        Self::typed("text/html; charset=utf-8", body.into())
    }

    /// `value` as JSON.
    ///
    /// # Errors
    ///
    /// A permanent failure if serde cannot write `value` as JSON, such as a map whose keys are not text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let body =
            serde_json::to_vec(value).map_err(|e| Failure::permanent(format_args!("cannot write the output: {e}")))?;
        Ok(Self::typed("application/json", body))
    }

    /// Bytes that say nothing of what they are.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: None, body: body.into() }
    }

    /// `body`, of the media type `content_type`.
    pub fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type.to_owned()), body: body.into() }
    }
}

/// What a task's function may return: an [`Output`], or any type that serde can write as JSON.
///
/// What is written as `null`, such as `()` and `None`, becomes an empty output.
pub trait IntoOutput {
    /// Make it an output.
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
