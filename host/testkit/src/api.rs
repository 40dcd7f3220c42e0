//! Sends requests to a host.

use std::time::Duration;

/// The largest answer that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Returns a client that waits for `patience` for each answer. An answer with an error status is an answer.
#[must_use]
pub fn client(patience: Duration) -> ureq::Agent {
    // Buffers of the usual size are cleared for each request, which is most of a request's cost without optimization.
    let config = ureq::Agent::config_builder().input_buffer_size(8 << 10).output_buffer_size(8 << 10);
    config.http_status_as_error(false).timeout_global(Some(patience)).build().into()
}

/// Sends one request, and returns status, headers and body.
///
/// # Errors
///
/// The server does not answer in time, or does not speak HTTP, or the answer is larger than 64 MiB.
pub fn ask(client: &ureq::Agent, method: &str, url: &str, body: &[u8]) -> Result<http::Response<Vec<u8>>, ureq::Error> {
    let request = http::Request::builder().method(method).uri(url).body(body.to_vec())?;
    let (head, mut body) = client.run(request)?.into_parts();
    let body = body.with_config().limit(LARGEST).read_to_vec()?;
    Ok(http::Response::from_parts(head, body))
}
