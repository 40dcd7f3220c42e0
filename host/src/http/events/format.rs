//! Writes events in the two formats of the stream.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::api_types::events::StreamNotice;

/// The media type of JSON lines.
const NDJSON: &str = "application/x-ndjson";

/// A format of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Server-sent events, as the HTML standard defines them.
    Sse,
    /// A JSON object on each line.
    Ndjson,
}

impl Format {
    /// Returns the format that a client accepts: server-sent events, unless it names JSON lines.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let names_lines = |accept: &str| accept.contains(NDJSON);
        match headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()) {
            Some(accept) if names_lines(accept) => Self::Ndjson,
            _ => Self::Sse,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Ndjson => NDJSON,
        }
    }

    /// Writes the event `id`, whose JSON has no line ends.
    pub(super) fn push_event(self, text: &mut String, id: u64, json: &str) {
        match self {
            Self::Sse => text.push_str(&format!("id: {id}\ndata: {json}\n\n")),
            Self::Ndjson => {
                text.push_str(json);
                text.push('\n');
            }
        }
    }

    /// Writes a message about the stream, which goes on after the id `after`.
    pub(super) fn notice(self, after: u64, notice: &StreamNotice) -> String {
        let json = serde_json::to_string(notice).expect("a notice has no keys that JSON cannot have");
        let event = match notice {
            StreamNotice::Reset { .. } => "reset",
            StreamNotice::End { .. } => "end",
        };
        match self {
            Self::Sse => format!("id: {after}\nevent: {event}\ndata: {json}\n\n"),
            Self::Ndjson => format!("{json}\n"),
        }
    }

    /// Writes a sign of life. A client of server-sent events learns the id after which it would go on, also if its
    /// filter has selected nothing for long.
    pub(super) fn heartbeat(self, after: u64) -> String {
        match self {
            Self::Sse => format!(": heartbeat\nid: {after}\n\n"),
            Self::Ndjson => "\n".to_owned(),
        }
    }
}
