//! Attempts as rows, with all that is kept of their output.

use std::borrow::Cow;

use tokio_postgres::types::ToSql;

use super::ended::Ended;
use crate::codes::outcome_code;
use crate::postgres::rows::{code, text, to_int, to_sql};
use sexton_domain::run::{Accounts, CappedText, Report};

/// Writes attempts.
pub(super) const WRITE: &str = "INSERT INTO attempts (run, attempt, over_at, fence, outcome, started_at, ended_at, fuel, peak_memory, \
     guest_us, host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message, backtrace, log, log_cut, stdout, \
     stdout_cut, stderr, stderr_cut) \
     SELECT * FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[], \
     $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], \
     $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::boolean[], $22::text[], \
     $23::boolean[], $24::text[], $25::boolean[])";

/// Attempts as the parameters of [`WRITE`], in its order.
pub(super) struct Attempts<'a> {
    runs: Vec<i64>,
    attempts: Vec<i32>,
    over_at: Vec<i64>,
    fences: Vec<i64>,
    outcomes: Vec<i16>,
    started: Vec<i64>,
    ended: Vec<i64>,
    /// Fuel, memory, times, calls and bytes.
    accounts: [Vec<i64>; 9],
    hosts: Vec<&'a str>,
    messages: Vec<Option<Cow<'a, str>>>,
    backtraces: Vec<Option<Cow<'a, str>>>,
    /// The log, standard output and standard error.
    texts: [Vec<Option<Cow<'a, str>>>; 3],
    /// Whether each of these was cut.
    cuts: [Vec<bool>; 3],
}

const ACCOUNTS: [fn(&Accounts) -> i64; 9] = [
    |a| to_sql(a.fuel),
    |a| to_sql(a.peak_memory),
    |a| to_sql(a.guest.as_micros()),
    |a| to_sql(a.host.as_micros()),
    |a| to_sql(a.queued.as_micros()),
    |a| to_sql(a.lock_wait.as_micros()),
    |a| to_sql(a.host_calls),
    |a| to_sql(a.bytes_in),
    |a| to_sql(a.bytes_out),
];

const TEXTS: [fn(&Report) -> &CappedText; 3] = [|report| &report.log, |report| &report.stdout, |report| &report.stderr];

impl<'a> Attempts<'a> {
    pub(super) fn of(ended: &'a [Ended<'_>]) -> Self {
        fn each<'a, T>(ended: &'a [Ended<'_>], column: impl Fn(&'a Ended<'_>) -> T) -> Vec<T> {
            ended.iter().map(column).collect()
        }
        let said = |kept: &'a CappedText| Some(&kept.text[..]).filter(|said| !said.is_empty()).map(text);
        Self {
            runs: each(ended, |one| one.claim.run.0),
            attempts: each(ended, |one| to_int(one.claim.attempt)),
            over_at: each(ended, |one| one.over_at()),
            fences: each(ended, |one| to_sql(one.claim.fence)),
            outcomes: each(ended, |one| code(outcome_code(one.outcome))),
            started: each(ended, |one| one.finish.report.started_at.as_millis()),
            ended: each(ended, |one| one.ended_at.as_millis()),
            accounts: ACCOUNTS.map(|of| each(ended, |one| of(&one.finish.report.accounts))),
            hosts: each(ended, |one| one.host.as_str()),
            messages: each(ended, |one| one.finish.report.message.as_deref().map(text)),
            backtraces: each(ended, |one| one.finish.report.backtrace.as_deref().map(text)),
            texts: TEXTS.map(|of| each(ended, |one| said(of(&one.finish.report)))),
            cuts: TEXTS.map(|of| each(ended, |one| of(&one.finish.report).cut)),
        }
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 25] {
        let [fuel, memory, guest, host, queued, lock_wait, calls, bytes_in, bytes_out] = &self.accounts;
        let ([log, stdout, stderr], [log_cut, stdout_cut, stderr_cut]) = (&self.texts, &self.cuts);
        [
            &self.runs,
            &self.attempts,
            &self.over_at,
            &self.fences,
            &self.outcomes,
            &self.started,
            &self.ended,
            fuel,
            memory,
            guest,
            host,
            queued,
            lock_wait,
            calls,
            bytes_in,
            bytes_out,
            &self.hosts,
            &self.messages,
            &self.backtraces,
            log,
            log_cut,
            stdout,
            stdout_cut,
            stderr,
            stderr_cut,
        ]
    }
}
