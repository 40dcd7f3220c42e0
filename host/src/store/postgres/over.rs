//! How runs leave `runs_live` when they are over: with one statement that deletes them there and writes them to the partition
//! of their day.
//!
//! Such a statement, like all that take many live runs by their numbers, says `r.id = ANY (ARRAY[n.id])`, which is
//! `r.id = n.id` to everybody but the planner. It knows of no way to that but by index, run by run. Of an equality it may
//! think that going through all live runs is as good, for as long as it believes that there are none: what it was told when
//! somebody last counted them.

use const_format::formatcp;

use crate::store::codes::CANCELLED;

/// What a run that is over keeps of what it was.
const KEPT: [&str; 18] = [
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
    "input",
];

/// What becomes of the rest; each an expression over a live run `r` and what else the statement has.
pub(super) struct Over<'a> {
    pub(super) over_at: &'a str,
    pub(super) state: &'a str,
    pub(super) failures: &'a str,
    pub(super) outcome: &'a str,
    pub(super) bytes: &'a str,
    pub(super) message: &'a str,
    pub(super) content_type: &'a str,
    pub(super) output: &'a str,
}

impl Over<'_> {
    /// A run that is called off before it starts.
    pub(super) const fn called_off<'a>(over_at: &'a str, message: &'a str) -> Over<'a> {
        Over {
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

/// The part of a statement that moves the live runs `r` that `which` (`USING ... WHERE ...`) names. What follows it reads `gone`,
/// which has all columns of theirs as they are now, and what `besides` names.
pub(super) fn moving(over: &Over<'_>, which: &str, besides: &str) -> String {
    let Over { over_at, state, failures, outcome, bytes, message, content_type, output } = over;
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
