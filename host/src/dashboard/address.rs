//! Writes and reads the parts of addresses.

use axum::http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::http::views::{Refused, Seen};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;

/// Everything in a part of an address is written with a percent sign except letters, digits and these characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns fields as a query.
pub(super) fn encoded<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = fields.map(|(name, value)| format!("{}={}", part(name), part(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Returns a text as a part of an address.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Reads the name in a path.
pub(super) fn name(text: &str) -> Seen<Name> {
    Name::new(text).map_err(|e| bad(e.to_string()))
}

/// Reads the id of a run in a path.
pub(super) fn run_id(text: &str) -> Seen<RunId> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(run) if digits => Ok(run),
        _ => Err(bad("this is not the id of a run: those are whole numbers")),
    }
}

/// Returns the error for a wrong request.
pub(super) fn bad(message: impl Into<String>) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, message: message.into(), hint: None }
}

/// Returns whether a text is an address on this host, to which a form may lead back.
pub(super) fn is_local(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_address_cannot_end_it() {
        assert_eq!(encoded([("text", "a&b=c #\"<ä")].into_iter()), "text=a%26b%3Dc%20%23%22%3C%C3%A4");
    }

    #[test]
    fn a_form_leads_back_to_this_host_only() {
        assert!(is_local("/") && is_local("/runs?state=failed"));
        for foreign in ["", "runs", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nx: y", "/ä"] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }

    #[test]
    fn only_numbers_are_ids_of_runs() {
        assert_eq!(run_id("17").ok(), Some(RunId(17)));
        for bad in ["", "-1", "x", "+1", "99999999999999999999"] {
            assert!(run_id(bad).is_err(), "{bad}");
        }
    }
}
