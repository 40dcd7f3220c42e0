//! Writes ends: the runs, the attempts, and the release of everything that the runs held.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use const_format::formatcp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::attempts::{self, Attempts};
use super::ended::{Ended, Held};
use super::{TaskStanding, of_row};
use crate::codes::{RUNNING, WAITING, outcome_code, state_code};
use crate::postgres::archive::{ArchiveColumns, moving};
use crate::postgres::counter_changes::{self, CounterChanges};
use crate::postgres::errors::Step;
use crate::postgres::rows::{code, state, task_key, text, to_int, to_sql};
use crate::postgres::schema::NOT_OVER;
use crate::postgres::tasks::STANDING_COLUMNS;
use crate::postgres::tx::{Ask, Tx};
use crate::rules::finish as rules;
use crate::{Finish, ROW_BYTES};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Outcome, Output, Report, RunState};
use sexton_domain::time::Timestamp;

/// An end that is written if its claim holds.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) finish: &'a Arc<Finish>,
    /// Bytes that the end adds to its run.
    bytes: i64,
}

impl<'a> Ending<'a> {
    /// Creates the end `finish`; `forgotten` is the number of bytes that deleted attempts of the run had.
    pub(super) fn of(finish: &'a Arc<Finish>, forgotten: i64) -> Self {
        let mut ending = Self { finish, bytes: 0 };
        let output = ending.output().map_or(0, |output| to_sql(output.body.len()) + ROW_BYTES);
        ending.bytes = bytes_of_logs(&finish.report) + output - forgotten;
        ending
    }

    /// Returns the run's output, if it is worth keeping.
    fn output(&self) -> Option<&'a Output> {
        match &self.finish.transition {
            Transition::Succeed(output) if !output.body.is_empty() || output.content_type.is_some() => Some(output),
            _ => None,
        }
    }

    /// Returns the state that the run enters, if it is over then.
    fn entered(&self) -> RunState {
        // A run that would wait again is over only if its cancellation was requested.
        rules::state_after(&self.finish.transition, true)
    }

    /// Returns 1 if the end counts as a failure of the run, else 0.
    fn failed(&self) -> i32 {
        i32::from(rules::is_failure(&self.finish.transition))
    }

    /// Returns when the run starts again, if it does.
    fn run_at(&self) -> Option<Timestamp> {
        rules::starts_again_at(&self.finish.transition)
    }
}

fn bytes_of_logs(report: &Report) -> i64 {
    if !report.has_logs() {
        return 0;
    }
    let texts = report.log.text.len() + report.stdout.text.len() + report.stderr.text.len();
    to_sql(texts + report.backtrace.as_ref().map_or(0, String::len)) + ROW_BYTES
}

/// Condition for the claim to hold, and to have expired if the end is only for an expired one.
const HOLDS: &str = formatcp!(
    "r.id = ANY (ARRAY[n.id]) AND r.state + 0 = {RUNNING} AND r.attempt = n.attempt AND r.fence = n.fence \
     AND (n.expired_by IS NULL OR r.lease_until < n.expired_by)"
);

/// Columns that [`HOLDS`] and both statements need.
const CLAIM: &str = "place, id, attempt, fence, expired_by, failed, bytes, outcome, message";

/// Ends the attempts of runs that wait again, except runs whose cancellation was requested: see [`over_sql`].
///
/// The rows are locked as if they were deleted, which waits for transactions that have the run's claim
/// ([`HOLDER`](crate::postgres::locks::HOLDER)). An update alone would not wait for them, and the run would keep
/// a lock that such a transaction takes at the same time.
fn again_sql() -> String {
    format!(
        "WITH held AS (SELECT n.* FROM \
         unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::bigint[], \
         $8::smallint[], $9::text[], $10::bigint[]) AS n({CLAIM}, run_at), runs_live r \
         WHERE {HOLDS} AND r.cancel IS NULL ORDER BY r.id FOR UPDATE OF r), \
         again AS (UPDATE runs_live r SET state = {WAITING}, run_at = n.run_at, failures = r.failures + n.failed, \
         bytes = r.bytes + n.bytes, outcome = n.outcome, message = n.message, lease_until = NULL \
         FROM held n WHERE r.id = ANY (ARRAY[n.id]) RETURNING n.place, r.task, r.state, r.bytes, r.host) \
         SELECT a.place, a.task, a.state, a.bytes, a.host, t.tenant, t.name, {STANDING_COLUMNS} \
         FROM again a JOIN tasks t ON t.id = ANY (ARRAY[a.task])"
    )
}

/// Ends runs; of those that would wait again (`waits`), only the ones whose cancellation was requested. The run's
/// message is [`rules::message`], in SQL because the row has not been read before.
fn over_sql() -> String {
    let which = format!(
        "USING unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::bigint[], \
         $8::smallint[], $9::text[], $10::bigint[], $11::smallint[], $12::boolean[], $13::boolean[], $14::text[], \
         $15::bytea[]) AS n({CLAIM}, over_at, state, waits, killed, content_type, output) \
         WHERE {HOLDS} AND (NOT n.waits OR r.cancel IS NOT NULL)"
    );
    let over = ArchiveColumns {
        over_at: "n.over_at",
        state: "n.state",
        failures: "r.failures + n.failed",
        outcome: "n.outcome",
        bytes: "r.bytes + n.bytes",
        message: "CASE WHEN n.killed THEN coalesce(r.cancel, n.message) ELSE coalesce(n.message, r.cancel) END",
        content_type: "n.content_type",
        output: "n.output",
    };
    format!(
        "{} SELECT g.place, g.task, g.state, g.bytes, g.host, t.tenant, t.name, {STANDING_COLUMNS} \
         FROM gone g JOIN tasks t ON t.id = ANY (ARRAY[g.task])",
        moving(&over, &which, "n.place")
    )
}

/// Ends the runs: those that are over move to the partition of their day, the others wait again. Returns the runs whose
/// claims held, by their places in `ending`, and how their tasks stand.
pub(super) async fn runs(tx: &Tx, ending: &[Ending<'_>]) -> Step<(HashMap<usize, Held>, BTreeMap<i64, TaskStanding>)> {
    // All transactions lock runs in this order.
    let mut order: Vec<usize> = (0..ending.len()).collect();
    order.sort_unstable_by_key(|place| ending[*place].finish.claim.run);
    let waiting: Vec<usize> = order.iter().copied().filter(|place| ending[*place].run_at().is_some()).collect();
    let (waits, ends) = (Claims::of(ending, &waiting), Claims::of(ending, &order));
    let each = |place: &usize| &ending[*place];
    let run_at: Vec<Option<i64>> = waiting.iter().map(|place| each(place).run_at().map(Timestamp::as_millis)).collect();
    let over_at: Vec<i64> = order.iter().map(|place| each(place).finish.report.ended_at.as_millis()).collect();
    let states: Vec<i16> = order.iter().map(|place| code(state_code(each(place).entered()))).collect();
    let wait: Vec<bool> = order.iter().map(|place| each(place).run_at().is_some()).collect();
    let killed: Vec<bool> = order.iter().map(|place| each(place).finish.report.outcome == Outcome::Killed).collect();
    let outputs: Vec<Option<&Output>> = order.iter().map(|place| each(place).output()).collect();
    let types: Vec<Option<Cow<'_, str>>> =
        outputs.iter().map(|output| output.and_then(|output| output.content_type.as_deref()).map(text)).collect();
    let bodies: Vec<Option<&[u8]>> = outputs.iter().map(|output| output.map(|output| &output.body[..])).collect();
    let (again_sql, over_sql) = (again_sql(), over_sql());
    let [a, b, c, d, e, f, g, h, i] = ends.params();
    let over: [&(dyn ToSql + Sync); 15] =
        [a, b, c, d, e, f, g, h, i, &over_at, &states, &wait, &killed, &types, &bodies];
    let [a, b, c, d, e, f, g, h, i] = waits.params();
    let again: [&(dyn ToSql + Sync); 10] = [a, b, c, d, e, f, g, h, i, &run_at];
    // In this order, the second statement ends a run whose cancellation is requested in between.
    let asks: [Ask<'_>; 2] = [(&again_sql, &again), (&over_sql, &over)];
    let rows = tx.pipeline(if waiting.is_empty() { &asks[1..] } else { &asks }).await?;
    let (mut held, mut stands) = (HashMap::with_capacity(ending.len()), BTreeMap::new());
    for row in rows.iter().flatten() {
        let (place, found) = holding(row)?;
        stands.entry(found.task).or_insert_with(|| of_row(row, 7));
        held.insert(place, found);
    }
    Ok((held, stands))
}

fn holding(row: &Row) -> Step<(usize, Held)> {
    let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX);
    let (task, key) = (row.get(1), task_key(row, 5)?);
    Ok((place, Held { task, key, entered: state(row, 2)?, bytes: row.get(3), host: row.get(4) }))
}

/// The columns of [`CLAIM`].
struct Claims<'a> {
    places: Vec<i64>,
    runs: Vec<i64>,
    attempts: Vec<i32>,
    fences: Vec<i64>,
    expired_by: Vec<Option<i64>>,
    failed: Vec<i32>,
    bytes: Vec<i64>,
    outcomes: Vec<i16>,
    messages: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Claims<'a> {
    /// Returns the columns of the ends at these places.
    fn of(ending: &'a [Ending<'_>], places: &[usize]) -> Self {
        fn each<'a, T>(ending: &'a [Ending<'_>], places: &[usize], column: impl Fn(&'a Ending<'_>) -> T) -> Vec<T> {
            places.iter().map(|place| column(&ending[*place])).collect()
        }
        Self {
            places: places.iter().map(|place| to_sql(*place)).collect(),
            runs: each(ending, places, |one| one.finish.claim.run.0),
            attempts: each(ending, places, |one| to_int(one.finish.claim.attempt)),
            fences: each(ending, places, |one| to_sql(one.finish.claim.fence)),
            expired_by: each(ending, places, |one| one.finish.expired_by.map(Timestamp::as_millis)),
            failed: each(ending, places, |one| one.failed()),
            bytes: each(ending, places, |one| one.bytes),
            outcomes: each(ending, places, |one| code(outcome_code(one.finish.report.outcome))),
            messages: each(ending, places, |one| one.finish.report.message.as_deref().map(text)),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.places,
            &self.runs,
            &self.attempts,
            &self.fences,
            &self.expired_by,
            &self.failed,
            &self.bytes,
            &self.outcomes,
            &self.messages,
        ]
    }
}

/// Moves the earlier attempts of runs that are over to the partition of their run.
fn move_earlier_sql() -> String {
    format!(
        "UPDATE attempts a SET over_at = n.over_at FROM unnest($1::bigint[], $2::bigint[]) AS n(run, over_at) \
         WHERE a.run = ANY (ARRAY[n.run]) AND a.over_at = {NOT_OVER}"
    )
}

/// Deletes all locks that the runs hold, and their places in queues.
const RELEASES: [&str; 2] =
    ["DELETE FROM locks WHERE run = ANY($1) RETURNING run", "DELETE FROM lock_waits WHERE run = ANY($1) RETURNING run"];

/// Sums the tasks' waiting runs: an ended run may be one of them, or have made room for them.
const WAITING_OF_TASKS: &str = "SELECT coalesce(sum(waiting), 0)::bigint FROM tally WHERE task = ANY($1)";

/// Writes the rest of the ends: the attempts, the sums, and the release of locks. Then commits, and notes which hints
/// to send.
pub(super) async fn rest(tx: &mut Tx, ended: &[Ended<'_>], tally: &CounterChanges) -> Step<()> {
    let attempts = Attempts::of(ended);
    let runs: Vec<i64> = ended.iter().map(|one| one.claim.run.0).collect();
    let mut tasks: Vec<i64> = ended.iter().map(|one| one.task).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let (earlier, earlier_at): (Vec<i64>, Vec<i64>) = ended
        .iter()
        .filter(|one| one.entered.is_over() && one.claim.attempt > 1)
        .map(|one| (one.claim.run.0, one.over_at()))
        .unzip();
    let (move_earlier_sql, sums) = (move_earlier_sql(), tally.columns(tx));
    let (attempts, sums) = (attempts.params(), sums.params());
    let runs: [&(dyn ToSql + Sync); 1] = [&runs];
    let tasks: [&(dyn ToSql + Sync); 1] = [&tasks];
    let moved: [&(dyn ToSql + Sync); 2] = [&earlier, &earlier_at];
    let mut asks: Vec<Ask<'_>> = vec![
        (RELEASES[0], &runs),
        (RELEASES[1], &runs),
        (counter_changes::WRITE, &sums),
        (WAITING_OF_TASKS, &tasks),
        (attempts::WRITE, &attempts),
    ];
    if !earlier.is_empty() {
        asks.push((&move_earlier_sql, &moved));
    }
    let rows = tx.commit_with(&asks).await?;
    tx.hints.locks |= rows[..RELEASES.len()].iter().any(|released| !released.is_empty());
    tx.hints.runs |= rows[3].first().is_some_and(|row| row.get::<_, i64>(0) > 0);
    tx.hints.changes = true;
    Ok(())
}
