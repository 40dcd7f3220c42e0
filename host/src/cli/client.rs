//! Implements the client of the API: one host, short timeouts, no proxies, no redirects.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, AsSendBody, Body};

use super::args::DEFAULT_URL;
use super::error::{CliError, Exit};
use crate::http::api_types::{Failure, FailureBody, Problem};
use sexton_domain::task::Name;

/// Characters that stand unescaped in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The time in which the host must begin a response, beyond the time that it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of a response that is read as a whole; lists have at most a thousand rows.
const MAX_ANSWER: u64 = 256 << 20;

#[derive(Clone, Debug)]
pub(super) struct Client {
    base: String,
    /// The tenant that requests are about, if one was named.
    tenant: Option<Name>,
    agent: Agent,
}

/// Escapes `text` as one segment of a path, or as a value in a query.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Returns `path` with the parameters that have a value.
pub(super) fn with_query<T: AsRef<str>>(path: &str, parameters: &[(&str, Option<T>)]) -> String {
    let mut whole = path.to_owned();
    for (name, value) in parameters {
        if let Some(value) = value {
            let mark = if whole.len() == path.len() { '?' } else { '&' };
            whole.push_str(&format!("{mark}{name}={}", part(value.as_ref())));
        }
    }
    whole
}

impl Client {
    /// Creates a client of the host at `url`; `host:port` is enough. All its requests are about `tenant`.
    pub(super) fn new(url: &str, tenant: Option<Name>) -> Result<Self, CliError> {
        let url = if url.is_empty() { DEFAULT_URL } else { url };
        let bad = |why: &str| CliError::usage(format!("`{url}` cannot be the address of a host: {why}"));
        let port = url.trim_start_matches(':');
        if port.parse::<u16>().is_ok() {
            return Err(bad("it is a port without an address").hint(format!("write 127.0.0.1:{port}")));
        }
        if url.starts_with("https://") {
            return Err(bad("the API is plain HTTP on loopback")
                .hint("for a host on another machine, forward its port by ssh -L"));
        }
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let base = base.trim_end_matches('/').to_owned();
        let parsed: ureq::http::Uri = base.parse().map_err(|_| bad("it cannot be read as a URL"))?;
        if parsed.scheme_str() != Some("http") || parsed.path().len() > 1 || parsed.query().is_some() {
            return Err(bad("it should look like http://127.0.0.1:7070"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The host is on this machine, so a proxy for the rest of the world must not be used.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .user_agent(concat!("sexton/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { base, tenant, agent: config.new_agent() })
    }

    /// Returns the tenant that requests are about, if one was named.
    pub(super) fn tenant(&self) -> Option<&Name> {
        self.tenant.as_ref()
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let why = match error {
            ureq::Error::Io(e) => e.to_string(),
            other => other.to_string(),
        };
        CliError::new(Exit::Unreachable, format!("cannot reach the host at {}: {why}", self.base))
            .hint("start a host with `sexton run`, or name its address with --url or SEXTON_URL")
    }

    /// Sends a request. Error responses become errors here.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
        wait: Duration,
    ) -> Result<Response<Body>, CliError> {
        let whose = self
            .tenant
            .as_ref()
            .map(|tenant| format!("{}tenant={}", if path.contains('?') { '&' } else { '?' }, part(tenant.as_str())));
        let uri = format!("{}{path}{}", self.base, whose.unwrap_or_default());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|e| CliError::usage(format!("this cannot be sent: {e}")))?;
        let request =
            self.agent.configure_request(request).timeout_recv_response(Some(PATIENCE.saturating_add(wait))).build();
        let response = self.agent.run(request).map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response)) }
    }

    /// Returns the text at `path`.
    pub(super) fn text(&self, path: &str) -> Result<String, CliError> {
        self.text_within(path, Duration::ZERO)
    }

    /// Returns the text at `path`, for which the host may wait for `wait`.
    pub(super) fn text_within(&self, path: &str, wait: Duration) -> Result<String, CliError> {
        self.whole(self.send(Method::GET, path, &[], (), wait)?)
    }

    /// Returns the response to a change at `path`.
    pub(super) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String, CliError> {
        self.whole(self.send(Method::POST, path, headers, body, Duration::ZERO)?)
    }

    /// Returns the response to a request that makes something under an idempotency key, if there is one, and whether an
    /// earlier request with the key has made it.
    pub(super) fn make(&self, path: &str, key: Option<&str>, body: &[u8]) -> Result<(String, bool), CliError> {
        let key: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let response = self.send(Method::POST, path, &key, body, Duration::ZERO)?;
        let is_replayed = response.headers().contains_key("idempotency-replayed");
        Ok((self.whole(response)?, is_replayed))
    }

    /// Reads the whole response.
    pub(super) fn whole(&self, response: Response<Body>) -> Result<String, CliError> {
        let text = response.into_body().into_with_config().limit(MAX_ANSWER).read_to_string();
        text.map_err(|e| self.unreachable(&e))
    }

    /// Returns a response as it comes in.
    pub(super) fn stream(&self, path: &str) -> Result<impl Read + use<>, CliError> {
        let response = self.send(Method::GET, path, &[], (), Duration::ZERO)?;
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }
}

/// Parses a response of the API.
pub(super) fn decode<T: DeserializeOwned>(json: &str) -> Result<T, CliError> {
    serde_json::from_str(json).map_err(|e| {
        CliError::failed(format!("the host's answer cannot be read: {e}"))
            .hint("are host and command line of the same version? compare `sexton --version` with GET /v1/host")
    })
}

/// Reads the body of an error response, also of a host of an earlier version.
fn read_error(text: &str) -> Option<FailureBody> {
    let problem: Result<Problem, _> = serde_json::from_str(text);
    match problem {
        Ok(Problem { code, detail, hint, .. }) => Some(FailureBody { code, message: detail, hint }),
        Err(_) => serde_json::from_str(text).ok().map(|Failure { error }| error),
    }
}

/// Returns the error of an error response. One that is the host's fault names the request, which the host's log has.
fn refused(response: Response<Body>) -> CliError {
    let status = response.status();
    let request = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let text = response.into_body().into_with_config().limit(64 << 10).read_to_string().unwrap_or_default();
    let Some(error) = read_error(&text) else {
        return CliError::failed(format!("the server there responded with `{status}` and nothing else"))
            .hint("is it a Sexton host? `sexton run` prints the address of its API");
    };
    let exit = match status {
        // A missing route means a host of another version, not a missing object.
        StatusCode::NOT_FOUND if error.code != "no-such-route" => Exit::NotFound,
        StatusCode::CONFLICT if error.code.starts_with("schedule-") => Exit::Conflict,
        StatusCode::UNPROCESSABLE_ENTITY => Exit::Conflict,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        _ => Exit::Failed,
    };
    let message = match request.filter(|_| status.is_server_error()) {
        Some(request) => format!("{} (request {request})", error.message),
        None => error.message,
    };
    let told = CliError::new(exit, message);
    match error.hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, part, read_error, refused, with_query};
    use ureq::Body;
    use ureq::http::Response;

    #[test]
    fn a_key_survives_the_way_through_a_path() {
        assert_eq!(part("front/a b?#%ä"), "front%2Fa%20b%3F%23%25%C3%A4");
    }

    #[test]
    fn parameters_without_a_value_are_left_out() {
        let parameters = [("limit", Some("5")), ("task", None), ("label", Some("team=web")), ("label", Some("a=b"))];
        assert_eq!(with_query("/v1/runs", &parameters), "/v1/runs?limit=5&label=team%3Dweb&label=a%3Db");
        assert_eq!(with_query("/v1/tasks", &parameters[1..2]), "/v1/tasks");
    }

    #[test]
    fn errors_of_this_and_of_an_earlier_version_are_read() {
        let now = r#"{"type": "urn:sexton:problem:x", "title": "X", "status": 404, "detail": "there is no run 7",
                      "instance": "1a", "code": "no-such-run", "error": {"code": "x", "message": "y"}}"#;
        let earlier = r#"{"error": {"code": "no-such-run", "message": "there is no run 7", "hint": null}}"#;
        for text in [now, earlier] {
            let error = read_error(text).expect("an error");
            assert_eq!((error.code.as_str(), error.message.as_str()), ("no-such-run", "there is no run 7"));
        }
        assert!(read_error("<html>").is_none());
    }

    #[test]
    fn an_error_that_is_the_hosts_fault_names_the_request() {
        let told = |status: u16| {
            let body = r#"{"error": {"code": "store-failed", "message": "the store failed"}}"#;
            let response = Response::builder().status(status).header("x-request-id", "1a2b");
            refused(response.body(Body::builder().data(body)).expect("a response")).message().to_owned()
        };

        assert_eq!(told(500), "the store failed (request 1a2b)");
        assert_eq!(told(404), "the store failed");
    }

    #[test]
    fn an_address_without_a_scheme_is_enough() {
        for fine in ["", "127.0.0.1:7070", "http://localhost:7070/", "http://[::1]:7070"] {
            assert!(Client::new(fine, None).is_ok(), "{fine}");
        }
        for wrong in ["https://127.0.0.1", "ftp://x", "http://x/path", "http://", "::", "http://x?y", "7220", ":7220"] {
            assert!(Client::new(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_alone_is_answered_with_the_address_to_write() {
        for (port, host) in [("7220", "127.0.0.1:7220"), (":7220", "127.0.0.1:7220"), ("0", "127.0.0.1:0")] {
            let refused = Client::new(port, None).expect_err("it is no address");

            assert_eq!(
                refused.message(),
                format!("`{port}` cannot be the address of a host: it is a port without an address")
            );
            assert!(format!("{refused:?}").contains(&format!("Some(\"write {host}\")")), "{refused:?}");
        }
    }
}
