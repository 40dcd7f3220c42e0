//! Sends HTTP requests, one at a time or several at once.
//!
//! The hosts that a task may call are granted in its manifest. Redirects are not followed: a response with status 3xx
//! is returned as it is.
//!
//! ```no_run
//! # fn run() -> Result<(), sexton_task::http::Error> {
//! use sexton_task::http;
//! use std::time::Duration;
//!
//! let text = http::get("http://127.0.0.1:7400/1").timeout(Duration::from_secs(5)).send()?.ok()?.text()?;
//!
//! // Several at once: start them all, then take each as it is done.
//! let mut pending = vec![http::get("http://127.0.0.1:7400/1").start()?, http::get("http://127.0.0.1:7400/2").start()?];
//! while let Some(done) = http::wait_any(&mut pending, Duration::from_secs(8)) {
//!     let response = pending.swap_remove(done).finish();
//! }
//! // What is left in `pending` is given up by dropping it.
//! # Ok(())
//! # }
//! ```

mod error;
mod pending;
mod url;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::Error;
pub use pending::{Pending, wait_any, wait_any_unless_cancelled};
use wasip2::http::types as wasi;

/// The largest response body that is read unless [`Request::max_body`] says otherwise: 8 MiB.
pub const DEFAULT_MAX_BODY: usize = 8 << 20;

/// Begins a GET request.
pub fn get(url: &str) -> Request {
    Request::new("GET", url)
}

/// Begins a POST request.
pub fn post(url: &str) -> Request {
    Request::new("POST", url)
}

/// A request that has not been sent.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `send` or `start`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
    max_body: usize,
}

impl Request {
    /// Begins a request with any method, such as `PUT`, to `http://..` or `https://..`.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            max_body: DEFAULT_MAX_BODY,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to `value` as JSON, and the header `content-type` to match.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if serde cannot write it as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|e| Error::Json(e.to_string()))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Limits the duration of the whole exchange. Without this, only the host's own limits and the run's deadline end
    /// it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Limits the length of the response body, in bytes.
    pub fn max_body(mut self, max_body: usize) -> Self {
        self.max_body = max_body;
        self
    }

    /// Sends the request, and waits for the whole response.
    ///
    /// # Errors
    ///
    /// As [`Error`] says. A response with an error status is a response: see [`Response::ok`].
    pub fn send(self) -> Result<Response, Error> {
        self.start()?.finish()
    }

    /// Sends the request without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the method, the URL or a header is not valid, and errors of requests that the host refuses
    /// at once.
    pub fn start(self) -> Result<Pending, Error> {
        let url = url::parse(&self.url)?;
        let outgoing = wasi::OutgoingRequest::new(self.fields()?);
        let invalid = |what: &str| Error::Invalid(format!("{what} of a request to `{}`", self.url));
        outgoing.set_method(&method(&self.method)).map_err(|()| invalid("the method"))?;
        outgoing.set_scheme(Some(&url.scheme)).map_err(|()| invalid("the scheme"))?;
        outgoing.set_authority(Some(url.authority)).map_err(|()| invalid("the host"))?;
        outgoing.set_path_with_query(Some(&url.path_with_query)).map_err(|()| invalid("the path"))?;
        let body = outgoing.body().map_err(|()| invalid("the body"))?;
        // The host reads the body while it sends, so the request goes first. A long body that is written earlier would
        // wait for a reader that does not come.
        let response = wasip2::http::outgoing_handler::handle(outgoing, None)?;
        Ok(Pending::new(response, body, self.body, self.timeout, self.max_body))
    }

    fn fields(&self) -> Result<wasi::Fields, Error> {
        let fields = wasi::Fields::new();
        for (name, value) in &self.headers {
            fields.append(name, value.as_bytes()).map_err(|e| Error::Invalid(format!("the header `{name}`: {e}")))?;
        }
        if !self.body.is_empty() {
            let length = self.body.len().to_string();
            fields
                .set("content-length", &[length.into_bytes()])
                .map_err(|e| Error::Invalid(format!("the header `content-length`: {e}")))?;
        }
        Ok(fields)
    }
}

/// Converts the method to WASI's type.
fn method(name: &str) -> wasi::Method {
    match name {
        "GET" => wasi::Method::Get,
        "HEAD" => wasi::Method::Head,
        "POST" => wasi::Method::Post,
        "PUT" => wasi::Method::Put,
        "DELETE" => wasi::Method::Delete,
        "CONNECT" => wasi::Method::Connect,
        "OPTIONS" => wasi::Method::Options,
        "TRACE" => wasi::Method::Trace,
        "PATCH" => wasi::Method::Patch,
        other => wasi::Method::Other(other.to_owned()),
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Names in lower case, and values, in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the response itself if its status is 2xx.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] if it is not.
    pub fn ok(self) -> Result<Self, Error> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(Error::Status(self.status)) }
    }

    /// Returns the first header of this name that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .find_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Returns the body as text.
    ///
    /// # Errors
    ///
    /// [`Error::NotText`] if it is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        String::from_utf8(self.body).map_err(|_| Error::NotText)
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if it is not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| Error::Json(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, headers: vec![("x-a".into(), b"1".to_vec())], body: body.into() }
    }

    #[test]
    fn a_response_is_read_as_text_or_json_and_its_status_checked_when_asked() {
        let json = response(200, "[1,2]").ok().and_then(|r| r.json::<Vec<u32>>());

        assert_eq!(json, Ok(vec![1, 2]));
        assert_eq!(response(404, "").ok(), Err(Error::Status(404)));
        assert_eq!(response(200, "hi").text(), Ok("hi".to_owned()));
        assert_eq!(response(200, "").header("X-A"), Some("1"));
        assert!(matches!(response(200, "x").json::<u32>(), Err(Error::Json(_))));
    }
}
