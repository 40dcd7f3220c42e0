//! What is written of ends: the runs, the attempts, and that the runs hold nothing any more.

use std::sync::Arc;

use super::{Held, entered, message};
use crate::lifecycle::Transition;
use crate::run::{ClaimKey, Kept, Outcome, Output, RunState};
use crate::store::codes::{outcome_code, state_code};
use crate::store::postgres::errors::Step;
use crate::store::postgres::rows::{code, text, to_int, to_sql};
use crate::store::postgres::schema::NOT_OVER;
use crate::store::postgres::tx::Tx;
use crate::store::{Finish, ROW_BYTES};
use crate::time::Timestamp;

/// The end of an attempt whose claim holds.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) finish: Arc<Finish>,
    pub(super) claim: ClaimKey,
    pub(super) task: i64,
    pub(super) outcome: Outcome,
    /// The state that its run comes into.
    pub(super) entered: RunState,
    pub(super) ended_at: Timestamp,
    /// Bytes that the run had, and that come with this end.
    pub(super) bytes_before: i64,
    pub(super) bytes: i64,
    host: String,
    message: Option<String>,
}

impl Ended {
    pub(super) fn of(finish: &Arc<Finish>, held: Held) -> Self {
        let entered = entered(&finish.transition, &held);
        let message = message(finish, &held);
        let mut ended = Self {
            finish: Arc::clone(finish),
            claim: finish.claim,
            task: held.task,
            outcome: finish.report.outcome,
            entered,
            ended_at: finish.report.ended_at,
            bytes_before: held.bytes,
            bytes: 0,
            host: held.host.unwrap_or_default(),
            message,
        };
        ended.bytes = ended.bytes_of_logs() + ended.output().map_or(0, |output| to_sql(output.body.len()) + ROW_BYTES);
        ended
    }

    /// What the run made, if it is worth being kept.
    fn output(&self) -> Option<&Output> {
        match &self.finish.transition {
            Transition::Succeed(output) if !output.body.is_empty() || output.content_type.is_some() => Some(output),
            _ => None,
        }
    }

    fn has_logs(&self) -> bool {
        let report = &self.finish.report;
        let kept = [&report.log, &report.stdout, &report.stderr];
        report.backtrace.is_some() || kept.iter().any(|kept| !kept.text.is_empty() || kept.cut)
    }

    fn bytes_of_logs(&self) -> i64 {
        if !self.has_logs() {
            return 0;
        }
        let report = &self.finish.report;
        let texts = report.log.text.len() + report.stdout.text.len() + report.stderr.text.len();
        to_sql(texts + report.backtrace.as_ref().map_or(0, String::len)) + ROW_BYTES
    }

    fn over_at(&self) -> i64 {
        if self.entered.is_over() { self.ended_at.as_millis() } else { NOT_OVER }
    }

    /// Whether it counts as a failure of the run.
    fn failed(&self) -> i32 {
        let failed = matches!(self.finish.transition, Transition::Fail | Transition::Wait { failed: true, .. });
        i32::from(failed)
    }

    fn run_at(&self) -> Option<i64> {
        match (&self.finish.transition, self.entered) {
            (Transition::Wait { run_at, .. }, RunState::Waiting) => Some(run_at.as_millis()),
            _ => None,
        }
    }
}

/// Write all that ends.
pub(super) async fn write(tx: &mut Tx, ended: &[Ended]) -> Step<()> {
    runs(tx, ended).await?;
    attempts(tx, ended).await?;
    let over: Vec<&Ended> = ended.iter().filter(|one| one.entered.is_over() && one.claim.attempt > 1).collect();
    if !over.is_empty() {
        earlier_attempts(tx, &over).await?;
    }
    release(tx, ended).await
}

fn each<'a, T>(ended: &'a [Ended], column: impl Fn(&'a Ended) -> T) -> Vec<T> {
    ended.iter().map(column).collect()
}

/// The runs. Those that are over go to the partition of their day with this.
async fn runs(tx: &Tx, ended: &[Ended]) -> Step<()> {
    tx.execute(
        &format!(
            "UPDATE runs r SET state = n.state, over_at = n.over_at, run_at = coalesce(n.run_at, r.run_at), \
             failures = r.failures + n.failed, bytes = r.bytes + n.bytes, outcome = n.outcome, message = n.message, \
             content_type = n.content_type, output = n.output, lease_until = NULL, cancel = NULL \
             FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::int[], $6::bigint[], $7::smallint[], \
             $8::text[], $9::text[], $10::bytea[]) \
             AS n(id, state, over_at, run_at, failed, bytes, outcome, message, content_type, output) \
             WHERE r.id = n.id AND r.over_at = {NOT_OVER}"
        ),
        &[
            &each(ended, |one| one.claim.run.0),
            &each(ended, |one| code(state_code(one.entered))),
            &each(ended, Ended::over_at),
            &each(ended, Ended::run_at),
            &each(ended, Ended::failed),
            &each(ended, |one| one.bytes),
            &each(ended, |one| code(outcome_code(one.outcome))),
            &each(ended, |one| one.message.as_deref()),
            &each(ended, |one| one.output().and_then(|output| output.content_type.as_deref()).map(text)),
            &each(ended, |one| one.output().map(|output| &output.body[..])),
        ],
    )
    .await?;
    Ok(())
}

/// The attempts.
async fn attempts(tx: &Tx, ended: &[Ended]) -> Step<()> {
    fn kept<'a>(
        ended: &'a [Ended],
        which: impl Fn(&'a Ended) -> &'a Kept,
    ) -> (Vec<Option<std::borrow::Cow<'a, str>>>, Vec<bool>) {
        let texts =
            ended.iter().map(|one| Some(&which(one).text).filter(|text| !text.is_empty()).map(|said| text(said)));
        (texts.collect(), ended.iter().map(|one| which(one).cut).collect())
    }
    let accounts =
        |column: fn(&crate::run::Accounts) -> i64| each(ended, move |one| column(&one.finish.report.accounts));
    let (log, log_cut) = kept(ended, |one| &one.finish.report.log);
    let (stdout, stdout_cut) = kept(ended, |one| &one.finish.report.stdout);
    let (stderr, stderr_cut) = kept(ended, |one| &one.finish.report.stderr);
    tx.execute(
        "INSERT INTO attempts (run, attempt, over_at, fence, outcome, started_at, ended_at, fuel, peak_memory, guest_us, \
         host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message, backtrace, log, log_cut, stdout, \
         stdout_cut, stderr, stderr_cut) \
         SELECT * FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], \
         $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::boolean[], $22::text[], \
         $23::boolean[], $24::text[], $25::boolean[])",
        &[
            &each(ended, |one| one.claim.run.0),
            &each(ended, |one| to_int(one.claim.attempt)),
            &each(ended, Ended::over_at),
            &each(ended, |one| to_sql(one.claim.fence)),
            &each(ended, |one| code(outcome_code(one.outcome))),
            &each(ended, |one| one.finish.report.started_at.as_millis()),
            &each(ended, |one| one.ended_at.as_millis()),
            &accounts(|a| to_sql(a.fuel)),
            &accounts(|a| to_sql(a.peak_memory)),
            &accounts(|a| to_sql(a.guest.as_micros())),
            &accounts(|a| to_sql(a.host.as_micros())),
            &accounts(|a| to_sql(a.queued.as_micros())),
            &accounts(|a| to_sql(a.lock_wait.as_micros())),
            &accounts(|a| to_sql(a.host_calls)),
            &accounts(|a| to_sql(a.bytes_in)),
            &accounts(|a| to_sql(a.bytes_out)),
            &each(ended, |one| one.host.as_str()),
            &each(ended, |one| one.finish.report.message.as_deref().map(text)),
            &each(ended, |one| one.finish.report.backtrace.as_deref().map(text)),
            &log,
            &log_cut,
            &stdout,
            &stdout_cut,
            &stderr,
            &stderr_cut,
        ],
    )
    .await?;
    Ok(())
}

/// Attempts before the last of runs that are over: they are kept where their run is.
async fn earlier_attempts(tx: &Tx, over: &[&Ended]) -> Step<()> {
    let runs: Vec<i64> = over.iter().map(|one| one.claim.run.0).collect();
    let over_at: Vec<i64> = over.iter().map(|one| one.over_at()).collect();
    tx.execute(
        &format!(
            "UPDATE attempts a SET over_at = n.over_at FROM unnest($1::bigint[], $2::bigint[]) AS n(run, over_at) \
             WHERE a.run = n.run AND a.over_at = {NOT_OVER}"
        ),
        &[&runs, &over_at],
    )
    .await?;
    Ok(())
}

/// All locks that the runs hold, and their places in queues.
async fn release(tx: &mut Tx, ended: &[Ended]) -> Step<()> {
    let runs = each(ended, |one| one.claim.run.0);
    let released = tx.execute("DELETE FROM locks WHERE run = ANY($1)", &[&runs]).await?;
    let left = tx.execute("DELETE FROM lock_waits WHERE run = ANY($1)", &[&runs]).await?;
    tx.told.locks |= released + left > 0;
    Ok(())
}
