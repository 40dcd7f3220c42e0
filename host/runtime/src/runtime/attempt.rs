//! Makes one attempt, from a fresh store to an [`Ended`]: the future that a guest thread polls.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Ended, HowItEnds, Order};
use sexton_domain::run::{Accounts, Outcome, Report};
use sexton_domain::task::Ladder;
use sexton_domain::time::Timestamp;

use super::attempt_env::AttemptEnv;
use super::classify::{self, Evidence, Verdict};
use super::guarded_call::{GuardedCall, Pauses};
use super::guest::{Guest, SLICE};
use super::kinds::Answer;
use super::lanes::{GuestTask, TYPICAL_SLICE};
use super::link::Prepared;
use super::{stdio, wording};

/// Makes the attempt. When the future is ready (or dropped) the guest's store is gone.
pub(super) async fn attempt(
    env: Arc<AttemptEnv>,
    prepared: Arc<Prepared>,
    order: Order,
    turn: Arc<GuestTask>,
) -> Ended {
    let started_at = env.services.clock.now();
    let ladder = if prepared.supports_cancellation() { order.task.limits.ladder } else { Ladder::default() };
    let ends = HowItEnds { ladder, idle: order.task.limits.idle };
    order.handle.guest_started(&env.symbolizer, prepared.digest(), ends);
    let guest = Guest::new(&env, &order, prepared.kind(), &turn);
    let mut store = match guest.into_store(&env.engine, &order) {
        Ok(store) => store,
        Err(error) => {
            return refused(format!("cannot make room for it: {}", wording::of_error(&error)), &order, started_at);
        }
    };

    let (result, pauses) = {
        let call = pin!(Some(call(&prepared, &mut store, &order)));
        GuardedCall::new(call, &env.lanes, &turn, Arc::clone(&order.handle)).await
    };

    if let Ok(Ok(Answer::Output(output))) = &result {
        order.handle.usage.add_sent(output.body.len());
    }
    let accounts = accounts(&order, &store, &turn, &pauses, classify::out_of_fuel(&result));
    let limits = &order.task.limits;
    let guest = store.data_mut();
    let ((stdout, stdout_cut), (stderr, stderr_cut)) = guest.wasi.printed();
    let mut verdict = classify::classify(Evidence {
        result,
        limits,
        kind: prepared.kind(),
        stack: guest.stack.take(),
        space: &guest.space,
        place: match pauses.started {
            false => "before a guest thread was free",
            true if turn.yielded() => "while it was computing",
            true => "while it was waiting in a host call",
        },
        stdout: &stdout,
        stderr: &stderr,
    });
    verdict.message = with_refusals(verdict.message.take(), verdict.ending.outcome(), &order);
    prepared.record_end(&verdict.ending, turn.used(), accounts.fuel);
    // Dropped before the end is reported, so that the guest's memory and handles are free by then.
    drop(store);

    let stdout = stdio::kept(&stdout, stdout_cut, limits.stdio);
    let stderr = stdio::kept(&stderr, stderr_cut, limits.stdio);
    let ended_at = env.services.clock.now();
    let backtrace = match verdict.stack.take() {
        // Symbolized on the thread for slow work, because other guests wait for this guest thread.
        Some(stack) => Some(env.symbolizer_thread.words(prepared.digest(), stack).await),
        None => None,
    };
    finish(verdict, Report { accounts, backtrace, stdout, stderr, ..report(&order, started_at, ended_at) })
}

/// Returns the resources that an attempt used until its call ended, perhaps because it was `out_of_fuel`.
fn accounts(
    order: &Order,
    store: &wasmtime::Store<Guest>,
    turn: &GuestTask,
    pauses: &Pauses,
    out_of_fuel: bool,
) -> Accounts {
    let (guest, left) = (store.data(), store.get_fuel().unwrap_or(0));
    // wasmtime counts an out-of-fuel trap as a call, too.
    let no_calls = pauses.yields + u64::from(out_of_fuel);
    let now = order.handle.usage.snapshot();
    Accounts {
        fuel: fuel_used(order.task.limits.fuel, left, pauses.settled, pauses.unsettled),
        peak_memory: guest.space.ledger.peak(),
        guest: turn.used_by_guest(),
        host: guest.meter.host_time(pauses.queued),
        queued: pauses.queued_first + pauses.queued,
        lock_wait: now.lock_wait,
        host_calls: guest.meter.host_calls(no_calls),
        bytes_in: now.bytes_in,
        bytes_out: now.bytes_out,
    }
}

/// The least processor time that shows how fast a guest uses fuel.
const TELLING: Duration = Duration::from_micros(50);

/// Returns the fuel used of `all`, of which `left` is left. A guest whose last slice was cut by the ticker has computed
/// for `unsettled` since its fuel was last known; its fuel for that time is estimated from its rate while it `computed`
/// before.
fn fuel_used(all: u64, left: u64, computed: Duration, unsettled: Duration) -> u64 {
    let used = all.saturating_sub(left);
    let (of, in_time, most) = if computed >= TELLING {
        (used, computed, SLICE)
    } else {
        // Takes the typical rate. A guest that took long without reaching the end of its slice is slower by an unknown
        // factor, so it is charged half a slice at most.
        (SLICE, TYPICAL_SLICE, SLICE / 2)
    };
    let estimate = u128::from(of) * unsettled.as_nanos() / in_time.as_nanos();
    let last_slice = u64::try_from(estimate).unwrap_or(u64::MAX).min(most);
    used.saturating_add(last_slice).min(all)
}

async fn call(prepared: &Prepared, store: &mut wasmtime::Store<Guest>, order: &Order) -> wasmtime::Result<Answer> {
    // Opens on file threads and within the deadline, because the filesystem of a granted directory may hang.
    if let Err(why) = store.data_mut().open_granted(order).await {
        return Ok(Answer::Refused(why));
    }
    // Before it is instantiated, which allocates all of it.
    store.data_mut().space.holds(prepared.instances())?;
    prepared.start().call(store, order).await
}

/// Returns the end of an attempt whose guest never started.
fn refused(message: String, order: &Order, at: Timestamp) -> Ended {
    finish(Verdict::refused(message), report(order, at, at))
}

/// Returns the end of an attempt that the stopping runtime gave up.
pub(super) fn abandoned(order: &Order, at: Timestamp) -> Ended {
    finish(Verdict::abandoned(), report(order, at, at))
}

fn report(order: &Order, started_at: Timestamp, ended_at: Timestamp) -> Report {
    Report { started_at, ended_at, log: order.handle.stored_log(), ..Report::empty() }
}

/// Appends what the host refused the guest to the message of an attempt that went wrong.
fn with_refusals(message: Option<String>, outcome: Outcome, order: &Order) -> Option<String> {
    let refused = match outcome {
        Outcome::Succeeded | Outcome::Deferred => None,
        _ => order.handle.refused.words(),
    };
    match (message, refused) {
        (Some(message), Some(refused)) => Some(format!("{message}; refused: {refused}")),
        (message, refused) => message.or(refused.map(|refused| format!("refused: {refused}"))),
    }
}

fn finish(verdict: Verdict, report: Report) -> Ended {
    let report = Report { message: verdict.message, ..report };
    let mut ended = Ended::new(verdict.ending, report);
    ended.claim_lost = verdict.claim_lost;
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 1_000_000_000;

    fn used(used: u64, computed_us: u64, unsettled_us: u64) -> u64 {
        fuel_used(ALL, ALL - used, Duration::from_micros(computed_us), Duration::from_micros(unsettled_us))
    }

    #[test]
    fn the_unknown_part_of_the_last_slice_is_charged_at_the_rate_before_it() {
        assert_eq!(used(5_000_000, 1000, 0), 5_000_000);
        assert_eq!(used(5_000_000, 1000, 100), 5_500_000);
        assert_eq!(used(5_000_000, 1000, 1000), 5_000_000 + SLICE, "it yields at the end of a slice");
        assert_eq!(used(ALL, 1_000_000, 1000), ALL, "nobody uses more than there is");
    }

    #[test]
    fn a_guest_of_unknown_rate_is_charged_a_typical_rate_and_at_most_half_a_slice() {
        assert_eq!(used(0, 0, 0), 0);
        assert_eq!(used(0, 0, 100), SLICE / 5);
        assert_eq!(used(0, 0, 5000), SLICE / 2);
        assert_eq!(used(700, 10, 5), 700 + SLICE / 100, "so short a time tells nothing");
    }
}
