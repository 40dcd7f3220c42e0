//! Follows a redirect from a host that it may call to private addresses: each must be refused, and no connection must be made there.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let first = http::get(&settings::require("redirects")?).send()?;
    must(first.status == 302, "the host followed the redirect by itself")?;
    let inside = first.header("location").unwrap_or_default().to_owned();
    for url in [inside.as_str(), "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[fd00::1]/"] {
        must(matches!(http::get(url).send(), Err(http::Error::Denied)), format_args!("`{url}` was not refused"))?;
    }
    must(true, "")
}
