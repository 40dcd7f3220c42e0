//! Gives its output a media type with a line break and a header after it: the host must serve it as plain bytes, sandboxed, without that header.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let page = "<script>fetch('/v1/runs')</script>";
    Ok(Output::typed("text/html\r\nX-Forged: yes\r\n\r\n<script>", page))
}
