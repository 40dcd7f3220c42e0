//! Lists the kinds of errors of the API: each code, with its status and its title. Clients rely on codes and types, which
//! do not change.

/// The content type of error responses (RFC 9457).
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// The beginning of the types of errors, before the code. They are names, and no documents are found at them.
const TYPE: &str = "urn:sexton:problem:";

/// A kind of error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) code: &'static str,
    pub(super) status: u16,
    /// The same words for each error of the kind.
    pub(super) title: &'static str,
}

/// All kinds, by status.
#[rustfmt::skip]
pub(super) const ALL: &[Kind] = &[
    Kind { code: "bad-query", status: 400, title: "The query cannot be understood" },
    Kind { code: "bad-duration", status: 400, title: "A text is not a length of time" },
    Kind { code: "bad-instant", status: 400, title: "A text is not an instant" },
    Kind { code: "bad-name", status: 400, title: "A text is not a name" },
    Kind { code: "bad-run-id", status: 400, title: "A text is not the id of a run" },
    Kind { code: "bad-key", status: 400, title: "A text is not the key of a cache entry" },
    Kind { code: "bad-path", status: 400, title: "The path cannot be read" },
    Kind { code: "bad-body", status: 400, title: "The body cannot be read" },
    Kind { code: "bad-run", status: 400, title: "A text is not a request for a run" },
    Kind { code: "bad-condition", status: 400, title: "A condition of the request cannot be read" },
    Kind { code: "bad-idempotency-key", status: 400, title: "The idempotency key cannot be used" },
    Kind { code: "bad-host", status: 400, title: "The request does not name this host once" },
    Kind { code: "bad-schedule", status: 400, title: "The schedule cannot be understood" },
    Kind { code: "bad-crontab", status: 400, title: "The crontab cannot be understood" },
    Kind { code: "bad-zone", status: 400, title: "The time zone is unknown" },
    Kind { code: "bad-range", status: 400, title: "The range of instants cannot be used" },
    Kind { code: "bad-label", status: 400, title: "A label cannot be used" },
    Kind { code: "bad-cursor", status: 400, title: "The cursor belongs to no such list" },
    Kind { code: "not-by-clock", status: 400, title: "The task is not due by a clock" },
    Kind { code: "not-supported", status: 400, title: "Only manifests can have this" },
    Kind { code: "foreign-origin", status: 403, title: "A page of another site sent the request" },
    Kind { code: "no-such-route", status: 404, title: "There is no such path" },
    Kind { code: "no-such-task", status: 404, title: "There is no such task" },
    Kind { code: "no-such-run", status: 404, title: "There is no such run" },
    Kind { code: "no-such-entry", status: 404, title: "There is no such cache entry" },
    Kind { code: "no-such-version", status: 404, title: "There is no such version of the cache entry" },
    Kind { code: "no-such-tenant", status: 404, title: "There is no such tenant" },
    Kind { code: "no-such-schedule", status: 404, title: "There is no such added schedule" },
    Kind { code: "no-such-host", status: 404, title: "There is no such host" },
    Kind { code: "no-such-chain", status: 404, title: "There is no such chain" },
    Kind { code: "no-output", status: 404, title: "The run has no output" },
    Kind { code: "no-result", status: 404, title: "The task has no result yet" },
    Kind { code: "wrong-method", status: 405, title: "The path does not support the method" },
    Kind { code: "slow-body", status: 408, title: "The body did not arrive in time" },
    Kind { code: "schedule-exists", status: 409, title: "Another schedule has the key" },
    Kind { code: "schedule-finished", status: 409, title: "The schedule has finished" },
    Kind { code: "schedule-changed", status: 409, title: "The schedule was changed in between" },
    Kind { code: "schedules-full", status: 409, title: "There are too many added schedules" },
    Kind { code: "claim-lost", status: 409, title: "The claim of the run was lost" },
    Kind { code: "run-is-over", status: 409, title: "The run is over" },
    Kind { code: "run-is-not-over", status: 409, title: "The run is not over" },
    Kind { code: "run-not-held-back", status: 409, title: "The run is not held back" },
    Kind { code: "not-running", status: 409, title: "The run is not in progress on this host" },
    Kind { code: "no-events", status: 409, title: "The host records no events" },
    Kind { code: "request-in-progress", status: 409, title: "The same request is in progress" },
    Kind { code: "conflict", status: 412, title: "The thing is not as the request expects" },
    Kind { code: "body-too-large", status: 413, title: "The body is too large" },
    Kind { code: "foreign-host", status: 421, title: "The request uses a name that is not this host's" },
    Kind { code: "idempotency-key-reused", status: 422, title: "Another request has had the idempotency key" },
    Kind { code: "too-many-looks", status: 429, title: "Too many requests look at the run" },
    Kind { code: "failed", status: 500, title: "The host failed the request" },
    Kind { code: "store-failed", status: 500, title: "The store failed the request" },
    Kind { code: "too-many-readers", status: 503, title: "Too many clients follow events" },
    Kind { code: "too-many-waiting", status: 503, title: "Too many requests wait" },
    Kind { code: "cache-full", status: 507, title: "The cache has no room" },
    Kind { code: "disk-full", status: 507, title: "The disk is full" },
];

/// Returns the URI that names the kind of errors with this code.
pub(super) fn type_of(code: &str) -> String {
    format!("{TYPE}{code}")
}

/// Returns the title of the kind of errors with this code.
pub(super) fn title_of(code: &str) -> &'static str {
    // The test below finds a code that is missing in the list.
    ALL.iter().find(|kind| kind.code == code).map_or("The request failed", |kind| kind.title)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use axum::http::StatusCode;

    use super::ALL;

    /// The calls whose next text is a code.
    const CALLS: [&str; 5] = ["ApiError::new(", "Self::new(", "bad(", "not_found(", "conflict("];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for file in fs::read_dir(folder).expect("the sources are there") {
            let path = file.expect("a file").path();
            if path.is_dir() && !path.ends_with("tests") {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }

    /// Returns the codes that a source gives to errors.
    fn codes(source: &str) -> BTreeSet<String> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let after = |call: &'static str| source.split(call).skip(1);
        let code = |rest: &str| {
            let (before, text) = rest.split_once('"')?;
            let (code, _) = text.split_once('"')?;
            let is_next = before.trim().len() < 60 && !before.contains([';', '=', ')']);
            let is_code = code.contains('-') && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            (is_next && is_code).then(|| code.to_owned())
        };
        CALLS.into_iter().flat_map(after).filter_map(code).collect()
    }

    #[test]
    fn every_code_that_the_sources_use_is_listed_once() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut files);
        let used: BTreeSet<String> =
            files.iter().flat_map(|file| codes(&fs::read_to_string(file).expect("a source"))).collect();
        let listed: BTreeSet<String> = ALL.iter().map(|kind| kind.code.to_owned()).collect();

        assert!(used.len() > 35, "the test finds codes: {used:?}");
        assert_eq!(used.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "add these to `problems::ALL`");
        assert_eq!(listed.len(), ALL.len(), "a code is there twice");
    }

    #[test]
    fn every_kind_has_a_status_of_errors_and_one_line_as_its_title() {
        for kind in ALL {
            let status = StatusCode::from_u16(kind.status).expect("a status");
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert!(kind.title.starts_with(char::is_uppercase) && !kind.title.ends_with('.'), "{kind:?}");
        }
    }
}
