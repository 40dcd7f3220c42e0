//! Asks the host's own API to do things for it: it must be refused, as that address is not granted.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let host = settings::require("host")?;
    let port = host.rsplit(':').next().unwrap_or_default();
    for at in [host.clone(), format!("localhost:{port}"), format!("127.1:{port}"), format!("[::1]:{port}"), format!("[::ffff:127.0.0.1]:{port}"), format!("0.0.0.0:{port}")] {
        let asked = http::post(&format!("http://{at}/v1/tasks/hostile-pulse/pause")).send();
        must(asked.is_err(), format_args!("`{at}` answered"))?;
    }
    must(true, "")
}
