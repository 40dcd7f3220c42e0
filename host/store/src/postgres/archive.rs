//! Moves runs that are over out of `runs_live`: one statement deletes them there and writes them to the partition of
//! their day.
//!
//! Such a statement, like all that take many live runs by number, says `r.id = ANY (ARRAY[n.id])`. This means `r.id =
//! n.id`, but leaves the planner only the index, run by run. For an equality the planner may prefer a scan of all live
//! runs, as long as it believes that there are none: its numbers are from the last time the table was analyzed.

use const_format::formatcp;

use crate::codes::CANCELLED;

/// Columns that a run keeps when it is over.
const KEPT: [&str; 21] = [
    "id",
    "task",
    "cause",
    "forced",
    "attempt",
    "deaths",
    "due_at",
    "run_at",
    "created_at",
    "claimed_at",
    "fence",
    "start_by_at",
    "parent",
    "host",
    "dedup",
    "schedule",
    "note",
    "at_once",
    "tenant",
    "labels",
    "input",
];

/// The other columns' values; each is an expression over a live run `r` and the rest of the statement.
pub(super) struct ArchiveColumns<'a> {
    pub(super) over_at: &'a str,
    pub(super) state: &'a str,
    pub(super) failures: &'a str,
    pub(super) outcome: &'a str,
    pub(super) bytes: &'a str,
    pub(super) message: &'a str,
    pub(super) content_type: &'a str,
    pub(super) output: &'a str,
}

impl ArchiveColumns<'_> {
    /// Describes a run that is cancelled before it starts.
    pub(super) const fn cancelled_unstarted<'a>(over_at: &'a str, message: &'a str) -> ArchiveColumns<'a> {
        ArchiveColumns {
            over_at,
            state: formatcp!("{CANCELLED}"),
            failures: "r.failures",
            outcome: "r.outcome",
            bytes: "r.bytes",
            message,
            content_type: "r.content_type",
            output: "r.output",
        }
    }
}

/// Returns the part of a statement that moves the live runs `r` that `which` (`USING ... WHERE ...`) selects. The rest
/// of it can read `gone`, which has all columns of these runs with their new values, and the columns in `besides`.
pub(super) fn moving(over: &ArchiveColumns<'_>, which: &str, besides: &str) -> String {
    let ArchiveColumns { over_at, state, failures, outcome, bytes, message, content_type, output } = over;
    let changed = [
        ("over_at", *over_at),
        ("state", state),
        ("failures", failures),
        ("outcome", outcome),
        ("bytes", bytes),
        ("message", message),
        ("content_type", content_type),
        ("output", output),
    ];
    let names = KEPT.into_iter().chain(changed.map(|(name, _)| name)).collect::<Vec<_>>().join(", ");
    let kept = KEPT.map(|name| format!("r.{name}")).join(", ");
    let changed = changed.map(|(name, value)| format!("{value} AS {name}")).join(", ");
    let besides = if besides.is_empty() { String::new() } else { format!(", {besides}") };
    format!(
        "WITH gone AS (DELETE FROM runs_live r {which} RETURNING {kept}, {changed}{besides}), \
         moved AS (INSERT INTO runs ({names}) SELECT {names} FROM gone)"
    )
}
