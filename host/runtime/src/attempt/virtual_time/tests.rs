use futures_util::FutureExt;

use sexton_domain::run::RunId;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const CLAIM: ClaimKey = ClaimKey { run: RunId(1), attempt: 1, fence: 1 };

/// Spawns a guest that may take an hour and sleeps for `minutes` of it.
fn sleeping(time: &Arc<VirtualTime>, minutes: u32) -> tokio::task::JoinHandle<()> {
    let (sleeper, busy) = (Sleeper::new(time, CLAIM, MINUTE * 60), time.busy());
    tokio::spawn(async move {
        let end = sleeper.now() + MINUTE * minutes;
        sleep_while(Some(&sleeper), 1, sleeper.wait_within(std::future::pending(), Some(end))).await;
        drop(busy);
    })
}

#[tokio::test]
async fn time_is_quiet_while_all_guests_sleep_and_due_guests_wake_one_by_one() {
    let time = VirtualTime::new(START, 0);
    let (late, early) = (sleeping(&time, 2), sleeping(&time, 1));
    assert!(!time.is_quiet(), "they do not sleep yet");
    time.quiet().await;

    assert_eq!(time.next(), Some(MINUTE));
    assert!(!time.wake_one(), "no guest is due");
    time.advance_to(MINUTE * 2);
    assert!(time.wake_one() && !time.is_quiet());
    early.await.unwrap();
    time.quiet().await;
    assert!(!late.is_finished());
    assert!(time.wake_one());
    late.await.unwrap();
    assert!(!time.wake_one() && time.next().is_none(), "nothing is left of them");
}

#[tokio::test]
async fn a_guest_that_waits_for_the_real_world_too_keeps_time_from_passing() {
    let time = VirtualTime::new(START, 0);
    let sleeper = Sleeper::new(&time, CLAIM, MINUTE);
    let _busy = time.busy();
    let wait = async {
        let end = sleeper.now() + MINUTE / 2;
        let short = pin!(sleeper.wait_within(std::future::pending(), Some(end)));
        futures_util::future::select(short, std::future::pending::<()>()).await;
    };
    let mut asleep = Box::pin(sleep_while(Some(&sleeper), 2, wait));

    assert!(asleep.as_mut().now_or_never().is_none());

    assert!(!time.is_quiet());
}

#[tokio::test]
async fn an_attempt_that_is_dropped_in_its_sleep_counts_neither_as_awake_nor_as_asleep() {
    let time = VirtualTime::new(START, 0);
    let asleep = sleeping(&time, 1);
    time.quiet().await;

    asleep.abort();
    assert!(asleep.await.unwrap_err().is_cancelled());

    assert!(time.is_quiet() && time.next().is_none());
}

#[tokio::test]
async fn a_guest_that_must_end_does_not_sleep_again_and_calls_are_made_when_they_are_due() {
    let time = VirtualTime::new(START, 0);
    let (sleeper, _busy) = (Sleeper::new(&time, CLAIM, MINUTE), time.busy());
    let mut asleep = Box::pin(sleep_while(Some(&sleeper), 1, sleeper.wait_within(std::future::pending(), None)));
    assert!(asleep.as_mut().now_or_never().is_none() && time.is_quiet());
    let ends = Arc::clone(&sleeper);
    sleeper.after(MINUTE / 2, move || ends.wake_for_end());

    time.advance_to(MINUTE / 2);
    assert!(time.is_quiet() && time.wake_one());

    assert!(!time.is_quiet());
    assert!(asleep.as_mut().now_or_never().is_none() && !time.is_quiet());
}

#[test]
fn setting_the_wall_clock_does_not_change_how_much_time_passes() {
    let time = VirtualTime::new(START, 0);
    time.advance_to(MINUTE);
    time.set_clock(-120_000);

    assert_eq!((time.now(), time.elapsed()), (START.minus(MINUTE), MINUTE));
    assert_eq!(time.when(START), MINUTE * 2);
    assert_eq!(time.when(START.minus(MINUTE * 9)), MINUTE, "it has been shown for the last time");
}

#[test]
fn chance_depends_on_seed_and_attempt_only() {
    let chance = |seed, attempt| VirtualTime::new(START, seed).jitter_fraction(ClaimKey { attempt, ..CLAIM });
    assert_eq!(chance(1, 1), chance(1, 1));
    assert!(chance(1, 1) != chance(2, 1) && chance(1, 1) != chance(1, 2));
    assert!((0.0..=1.0).contains(&chance(1, 1)));
}
