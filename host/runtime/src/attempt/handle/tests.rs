//! Tests how attempts are ended, and when a guest counts as idle.

use super::*;
use crate::testkit::{first_claim, task_key};

/// Creates a handle for a guest that has not begun.
fn new_handle() -> Arc<RunHandle> {
    Arc::new(RunHandle::new(first_claim(1), task_key("probe"), 0))
}

/// Creates a handle for a guest that has `grace`.
fn handle(grace: Duration) -> Arc<RunHandle> {
    let handle = new_handle();
    handle.begin(HowItEnds { ladder: Ladder { end: grace, ..Ladder::default() }, idle: None });
    handle
}

const GRACE: Duration = Duration::from_millis(50);

fn killed(why: &str) -> Stop {
    Stop::Killed(why.to_owned())
}

#[tokio::test]
async fn a_guest_is_notified_first_and_interrupted_after_its_grace() {
    let handle = handle(GRACE);
    let start = Instant::now();

    assert_eq!(handle.ask_to_end(killed("enough")), GRACE);

    assert_eq!((handle.cancel_requested().await, handle.stopped()), (CancelReason::Killed, None));
    handle.stops().await;
    assert_eq!(handle.stopped(), Some(killed("enough")));
    assert!(start.elapsed() >= GRACE);
}

#[tokio::test]
async fn a_guest_that_cannot_be_notified_or_has_lost_its_claim_is_interrupted_at_once() {
    let deaf = handle(Duration::ZERO);
    assert_eq!(deaf.ask_to_end(killed("enough")), Duration::ZERO);
    assert_eq!((deaf.stopped(), deaf.cancel_reason()), (Some(killed("enough")), None));

    let lost = handle(GRACE);
    assert_eq!(lost.ask_to_end(Stop::ClaimLost), Duration::ZERO);
    assert_eq!((lost.stopped(), lost.cancel_reason(), lost.stop_reason()), (Some(Stop::ClaimLost), None, None));
}

#[tokio::test]
async fn a_kill_overrides_a_shutdown_in_either_order() {
    for first in [true, false] {
        let handle = handle(GRACE);
        if first {
            handle.ask_to_end(killed("enough"));
        }
        handle.announce_shutdown();
        if !first {
            assert_eq!(handle.cancel_reason(), Some(CancelReason::Shutdown));
            handle.ask_to_end(killed("enough"));
        }
        assert_eq!(
            (handle.cancel_reason(), handle.stop_reason()),
            (Some(CancelReason::Killed), Some(killed("enough")))
        );
        handle.stops().await;
    }
}

#[tokio::test]
async fn an_announced_shutdown_does_not_interrupt_and_a_kill_without_grace_does() {
    let handle = handle(GRACE);

    handle.announce_shutdown();
    assert_eq!((handle.stopped(), handle.stop_reason()), (None, Some(Stop::Shutdown)));
    handle.stop(killed("now"));

    assert_eq!((handle.stopped(), handle.stop_reason()), (Some(killed("now")), Some(killed("now"))));
}

#[tokio::test]
async fn a_replaced_run_is_notified_and_killed() {
    let handle = handle(GRACE);

    handle.replace(RunId(9));

    assert_eq!(
        (handle.cancel_reason(), handle.stop_reason()),
        (Some(CancelReason::Replaced), Some(killed("replaced by run 9")))
    );
}

#[tokio::test]
async fn a_guest_is_asked_and_asked_once_more_and_interrupted_when_its_ladder_says() {
    let ms = Duration::from_millis;
    let handle = new_handle();
    let ladder = Ladder { ask: ms(20), insist: Some(ms(40)), end: ms(60) };
    handle.begin(HowItEnds { ladder, idle: None });
    let start = Instant::now();

    assert_eq!(handle.ask_to_end(killed("enough")), ms(60));

    assert_eq!((handle.cancel_reason(), handle.stop_reason()), (None, Some(killed("enough"))));
    assert_eq!(handle.cancel_requested().await, CancelReason::Killed);
    assert!(start.elapsed() >= ms(20));
    handle.insisted().await;
    assert!(start.elapsed() >= ms(40));
    assert_eq!(handle.stops().await, killed("enough"));
    assert!(start.elapsed() >= ms(60) && handle.ends_at().unwrap() >= start + ms(60));
}

#[tokio::test]
async fn an_idle_guest_is_ended_and_an_active_one_is_not() {
    let limit = Duration::from_millis(50);
    let [idle, active] = [new_handle(), new_handle()];
    for handle in [&idle, &active] {
        handle.begin(HowItEnds { idle: Some(limit), ..HowItEnds::default() });
    }
    let watches = futures_util::future::join(idle.watch_idle(limit), active.watch_idle(limit));
    let acting = async {
        while idle.stopped().is_none() {
            active.usage.add_sent(1);
            tokio::task::yield_now().await;
        }
    };

    // Acting comes first, so that no guest becomes idle because the machine stands still.
    futures_util::future::select(pin!(acting), pin!(watches)).await;

    assert_eq!((idle.stopped(), active.stopped()), (Some(Stop::Idle), None));
}

#[tokio::test]
async fn a_guest_that_has_not_begun_is_not_idle() {
    let (handle, limit) = (new_handle(), Duration::from_millis(1));
    let mut watch = pin!(handle.watch_idle(limit));
    // Nothing tells that the watch does not end the attempt, so it gets many times the limit to do so.
    let early = tokio::time::timeout(limit * 50, watch.as_mut()).await;
    assert!(early.is_err() && handle.stopped().is_none());

    handle.begin(HowItEnds { idle: Some(limit), ..HowItEnds::default() });
    futures_util::future::select(watch, pin!(handle.stops())).await;

    assert_eq!(handle.stopped(), Some(Stop::Idle));
}

#[test]
fn an_attempt_whose_guest_has_not_begun_goes_back_at_a_shutdown() {
    let [new, begun] = [new_handle(), handle(Duration::ZERO)];

    for handle in [&new, &begun] {
        handle.announce_shutdown();
    }

    assert_eq!((new.stopped(), new.stop_reason()), (Some(Stop::Returned), Some(Stop::Returned)));
    assert_eq!((begun.stopped(), begun.stop_reason()), (None, None));
}

#[test]
fn a_guest_is_interrupted_at_once_if_there_is_no_timer() {
    let handle = handle(GRACE);
    assert_eq!(handle.ask_to_end(killed("enough")), Duration::ZERO);
    assert_eq!(handle.stopped(), Some(killed("enough")));
}
