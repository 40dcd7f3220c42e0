//! Describes why there is no response.

use std::fmt;

use wasip2::http::types::ErrorCode;

/// The reason why there is no response, or not the requested one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The method, the URL or a header is not valid; the text says which.
    Invalid(String),
    /// The task's manifest does not grant this host, or its address is refused.
    Denied,
    /// The name of the host is not known, or has no address.
    Dns(String),
    /// No connection was made.
    Connect(String),
    /// The exchange took longer than [`timeout`](super::Request::timeout), or than the host allows.
    Timeout,
    /// The response body is longer than [`max_body`](super::Request::max_body).
    TooLarge,
    /// The connection was lost, or the response is not HTTP.
    Protocol(String),
    /// The status is not 2xx; only from [`Response::ok`](super::Response::ok).
    Status(u16),
    /// The body is not text.
    NotText,
    /// The body is not JSON, or not of the requested type.
    Json(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => write!(f, "not valid: {what}"),
            Self::Denied => f.write_str("the task is not granted to call this host"),
            Self::Dns(why) => write!(f, "cannot find the host: {why}"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::Protocol(why) => write!(f, "the exchange failed: {why}"),
            Self::Status(status) => write!(f, "the answer has status {status}"),
            Self::NotText => f.write_str("the answer is not text"),
            Self::Json(why) => write!(f, "not the expected JSON: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        // The names of the WASI codes explain the error well: `ConnectionRefused`.
        let why = format!("{code:?}").replace("ErrorCode::", "");
        match code {
            ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Self::Denied,
            ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Self::Dns(why),
            ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionLimitReached
            | ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::TlsAlertReceived(_) => Self::Connect(why),
            ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::Timeout,
            ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong => Self::Invalid(why),
            ErrorCode::HttpResponseBodySize(_) => Self::TooLarge,
            ErrorCode::InternalError(Some(detail)) => Self::Protocol(detail),
            _ => Self::Protocol(why),
        }
    }
}
