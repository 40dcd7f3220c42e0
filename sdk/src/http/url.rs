//! Splits a URL, as far as a request needs it. The host checks the parts.

use super::Error;
use wasip2::http::types::Scheme;

/// The parts of a URL that a request is made of.
#[derive(Debug)]
pub(super) struct Url<'a> {
    pub(super) scheme: Scheme,
    pub(super) authority: &'a str,
    pub(super) path_with_query: String,
}

/// Splits `url`. The fragment is dropped, because it is not sent.
pub(super) fn parse(url: &str) -> Result<Url<'_>, Error> {
    let invalid = || Error::Invalid(format!("the URL `{url}`: it must begin with http:// or https://, and a host"));
    let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
    let scheme = if scheme.eq_ignore_ascii_case("http") {
        Scheme::Http
    } else if scheme.eq_ignore_ascii_case("https") {
        Scheme::Https
    } else {
        return Err(invalid());
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(invalid());
    }
    let path_with_query = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { scheme, authority, path_with_query })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority, path) in [
            ("http://a", "a", "/"),
            ("HTTP://a:81/b/c?d=e#f", "a:81", "/b/c?d=e"),
            ("https://a?d", "a", "/?d"),
            ("http://[::1]:8/x", "[::1]:8", "/x"),
        ] {
            let parsed = parse(url).unwrap();

            assert_eq!((parsed.authority, &parsed.path_with_query[..]), (authority, path), "{url}");
        }
    }

    #[test]
    fn a_text_that_is_no_http_url_is_an_error() {
        for url in ["", "a", "ftp://a/", "http://", "http:///b", "://a"] {
            assert!(matches!(parse(url), Err(Error::Invalid(_))), "{url}");
        }
    }
}
