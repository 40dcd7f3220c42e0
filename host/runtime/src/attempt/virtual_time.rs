//! Simulates time, for trying out tasks whose schedules and sleeps take days.
//!
//! A guest that sleeps takes virtual time, one that computes takes none. [`VirtualTime`] counts the attempts that are
//! awake: those in progress, less those whose guests wait only for virtual time or for one another. While none is
//! awake, the simulation moves the time to the next instant at which one wakes ([`VirtualTime::next`]). A guest that
//! waits for the real world (the network, a disk) counts as awake, so time stands still for it.
//!
//! A host with the system's clock uses nothing of this.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use sexton_domain::lengths::nanos;
use sexton_domain::run::ClaimKey;
use sexton_domain::time::{Clock, Timestamp};

/// A virtual clock, and everything that waits for it.
pub struct VirtualTime {
    /// The [`Instant`] that stands for the start.
    origin: Instant,
    start: Timestamp,
    seed: u64,
    state: Mutex<State>,
    quiet: Notify,
}

struct State {
    /// Nanoseconds since the start.
    passed: u64,
    /// The sum of all changes of the wall clock, in milliseconds.
    set: i64,
    /// The number of attempts awake. Below zero for a moment when an attempt is dropped in its sleep.
    awake: i64,
    /// The number of times that an attempt began or awoke.
    wake_count: u64,
    /// The wakers and calls by their instant, in nanoseconds since the start, and then by their order of arrival.
    due: BTreeMap<(u64, u64), Due>,
    came: u64,
}

enum Due {
    Wake(Waker),
    Call(Box<dyn FnOnce() + Send>),
}

impl fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualTime").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl VirtualTime {
    /// Creates a clock that stands at `start`. All that is random follows from `seed`.
    pub fn new(start: Timestamp, seed: u64) -> Arc<Self> {
        let state = State { passed: 0, set: 0, awake: 0, wake_count: 0, due: BTreeMap::new(), came: 0 };
        Arc::new(Self { origin: Instant::now(), start, seed, state: Mutex::new(state), quiet: Notify::new() })
    }

    /// Returns how much time has passed, whatever the wall clock was set to.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.state().passed)
    }

    /// Moves the wall clock by so many milliseconds.
    pub fn set_clock(&self, by: i64) {
        let mut state = self.state();
        state.set = state.set.saturating_add(by);
    }

    /// Returns how much time will have passed when the wall clock shows `at`, or has passed now if `at` is over.
    pub fn when(&self, at: Timestamp) -> Duration {
        let state = self.state();
        let shown = i128::from(at.as_millis()) - i128::from(self.start.as_millis()) - i128::from(state.set);
        Duration::from_nanos(u64::try_from(shown * 1_000_000).unwrap_or(0).max(state.passed))
    }

    /// Counts one more attempt as awake until the result is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state();
        state.awake += 1;
        state.wake_count += 1;
        drop(state);
        Busy(Arc::clone(self))
    }

    /// Completes when no attempt is awake.
    pub async fn quiet(&self) {
        loop {
            // The notification is registered before the check, so that one in between is not missed.
            let mut quiet = pin!(self.quiet.notified());
            quiet.as_mut().enable();
            if self.is_quiet() {
                return;
            }
            quiet.await;
        }
    }

    /// Returns whether no attempt is awake.
    pub fn is_quiet(&self) -> bool {
        self.state().awake == 0
    }

    /// Returns how often an attempt began or awoke. While the number stays and all are asleep, nothing has happened.
    pub fn wake_count(&self) -> u64 {
        self.state().wake_count
    }

    /// Returns the next instant at which an attempt wakes or a call is due, counted as by [`VirtualTime::elapsed`].
    pub fn next(&self) -> Option<Duration> {
        self.state().due.keys().next().map(|(at, _)| Duration::from_nanos(*at))
    }

    /// Moves the time to `to`, never back. Wakes nothing yet.
    pub fn advance_to(&self, to: Duration) {
        let mut state = self.state();
        state.passed = state.passed.max(nanos(to));
    }

    /// Serves the first waker or call that is due, and returns whether there was one. Serving them singly gives their
    /// work an order.
    pub fn wake_one(&self) -> bool {
        let mut state = self.state();
        if state.due.keys().next().is_none_or(|(at, _)| *at > state.passed) {
            return false;
        }
        let first = state.due.pop_first();
        // The lock must be free, because an attempt that wakes reads the time.
        drop(state);
        match first {
            Some((_, Due::Wake(waker))) => waker.wake(),
            Some((_, Due::Call(call))) => call(),
            None => {}
        }
        true
    }

    /// Returns a number from 0 to 1 that is always the same for one attempt.
    pub fn jitter_fraction(&self, claim: ClaimKey) -> f64 {
        self.random(claim, 1).random()
    }

    fn random(&self, claim: ClaimKey, what: u64) -> StdRng {
        let mut seed = [0; 32];
        let run = u64::from_ne_bytes(claim.run.0.to_ne_bytes());
        for (place, part) in seed.chunks_exact_mut(8).zip([self.seed, run, u64::from(claim.attempt), what]) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        StdRng::from_seed(seed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualTime {
    fn now(&self) -> Timestamp {
        let shown = self.shown();
        Timestamp::from_millis(i64::try_from(shown.div_euclid(1_000_000)).unwrap_or(i64::MAX))
    }
}

impl VirtualTime {
    /// Returns the time on the wall clock, in nanoseconds since the Unix epoch.
    fn shown(&self) -> i128 {
        let state = self.state();
        (i128::from(self.start.as_millis()) + i128::from(state.set)) * 1_000_000 + i128::from(state.passed)
    }

    fn instant(&self, at: u64) -> Instant {
        // A deadline beyond the range of the clock is as good as one in a hundred years.
        const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        self.origin + Duration::from_nanos(at).min(FAR)
    }

    fn put(&self, at: u64, place: &mut Option<(u64, u64)>, due: Due) {
        let mut state = self.state();
        let key = *place.get_or_insert((at, state.came));
        state.came += 1;
        state.due.insert(key, due);
    }
}

/// Counts an attempt as awake until this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<VirtualTime>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.awake -= 1;
        if state.awake == 0 {
            self.0.quiet.notify_waiters();
        }
    }
}

/// Completes when time has passed to an instant.
struct Sleep {
    time: Arc<VirtualTime>,
    at: u64,
    place: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.time.state().passed >= this.at {
            return Poll::Ready(());
        }
        this.time.put(this.at, &mut this.place, Due::Wake(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.time.state().due.remove(&place);
        }
    }
}

/// An attempt in virtual time.
#[derive(Debug)]
pub struct Sleeper {
    time: Arc<VirtualTime>,
    claim: ClaimKey,
    /// The latest end of the attempt, in nanoseconds since the start.
    deadline: u64,
    /// The processor time that the guest may use. It replaces the deadline while the guest computes, which takes no
    /// virtual time.
    limit: Duration,
    sleep: Mutex<SleepState>,
    /// The number of waits for virtual time that were found unfinished since the guest was last polled.
    waits: AtomicUsize,
}

#[derive(Debug, Default)]
struct SleepState {
    asleep: bool,
    /// Whether the guest was woken since it was last polled.
    woken: bool,
    slept: bool,
    ending: bool,
}

impl Sleeper {
    /// Creates an attempt that begins now and may take `limit`.
    pub(crate) fn new(time: &Arc<VirtualTime>, claim: ClaimKey, limit: Duration) -> Arc<Self> {
        let deadline = time.state().passed.saturating_add(nanos(limit));
        let (time, sleep, waits) = (Arc::clone(time), Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { time, claim, deadline, limit, sleep, waits })
    }

    /// Returns the virtual time as an instant.
    pub fn now(&self) -> Instant {
        self.time.instant(self.time.state().passed)
    }

    /// Returns the attempt's deadline.
    pub fn deadline(&self) -> Instant {
        self.time.instant(self.deadline)
    }

    /// Returns whether the attempt's time is used up, given its guest's processor time.
    pub(crate) fn is_over(&self, used: Duration) -> bool {
        self.time.state().passed >= self.deadline || used >= self.limit
    }

    /// Waits until the virtual time `at`.
    pub async fn sleep_until(&self, at: Instant) {
        self.sleep(nanos(at.saturating_duration_since(self.time.origin))).await;
    }

    /// Waits for `work` at most until `end`, and returns whether it was done. `work` may depend on virtual time and on
    /// other attempts only.
    pub async fn wait_within(&self, work: impl Future<Output = ()>, end: Option<Instant>) -> bool {
        let (mut work, mut end) = (
            pin!(work),
            pin!(async {
                match end {
                    Some(end) => self.sleep_until(end).await,
                    None => std::future::pending().await,
                }
            }),
        );
        poll_fn(|cx| {
            if work.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            self.waits.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        })
        .await
    }

    /// Calls `call` after so much virtual time.
    pub(crate) fn after(&self, time: Duration, call: impl FnOnce() + Send + 'static) {
        let at = self.time.state().passed.saturating_add(nanos(time));
        self.time.put(at, &mut None, Due::Call(Box::new(call)));
    }

    /// Wakes the attempt and keeps it from sleeping again, because it must end.
    pub(crate) fn wake_for_end(&self) {
        self.sleep_state().ending = true;
        self.wakes();
    }

    /// Returns the guest's source of random numbers, the same in each run of this claim for the same `what`.
    pub(crate) fn random(&self, what: u64) -> StdRng {
        self.time.random(self.claim, what)
    }

    /// Returns the time on the guest's wall clock, as the time since the epoch.
    pub(crate) fn wall_clock(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.time.shown()).unwrap_or(0))
    }

    /// Returns how much time has passed since the start, in nanoseconds.
    pub(crate) fn elapsed(&self) -> u64 {
        self.time.state().passed
    }

    /// Returns the instant for [`Sleeper::sleep`] that is `nanos` nanoseconds from now.
    pub(crate) fn in_nanos(&self, nanos: u64) -> u64 {
        self.time.state().passed.saturating_add(nanos)
    }

    /// Waits until `at`, in nanoseconds since the start.
    pub(crate) fn sleep(&self, at: u64) -> impl Future<Output = ()> + Send + use<> {
        Sleep { time: Arc::clone(&self.time), at, place: None }
    }

    fn sleep_state(&self) -> MutexGuard<'_, SleepState> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the guest had nothing to do after it was last polled.
    pub(crate) fn has_slept(&self) -> bool {
        self.sleep_state().slept
    }

    fn wakes(&self) {
        let mut sleep = self.sleep_state();
        sleep.woken = true;
        if std::mem::take(&mut sleep.asleep) {
            let mut state = self.time.state();
            state.awake += 1;
            state.wake_count += 1;
            if state.awake == 0 {
                self.time.quiet.notify_waiters();
            }
        }
    }

    /// Notes that the guest is polled.
    fn mark_polled(&self) {
        self.wakes();
        let mut sleep = self.sleep_state();
        (sleep.woken, sleep.slept) = (false, false);
        drop(sleep);
        self.waits.store(0, Ordering::Relaxed);
    }

    /// Lets the guest sleep, unless it was woken since it was polled.
    fn start_sleeping(&self) {
        let mut sleep = self.sleep_state();
        if sleep.woken || sleep.ending || sleep.asleep {
            return;
        }
        (sleep.asleep, sleep.slept) = (true, true);
        let mut state = self.time.state();
        state.awake -= 1;
        if state.awake == 0 {
            self.time.quiet.notify_waiters();
        }
    }
}

/// Does `work` for the guest. In virtual time the guest sleeps while all of the `things` that it waits for are waits by
/// [`Sleeper::wait_within`].
pub(crate) async fn sleep_while<F: Future>(sleeper: Option<&Arc<Sleeper>>, things: usize, work: F) -> F::Output {
    match sleeper {
        Some(sleeper) => sleep_in_virtual_time(sleeper, things, work).await,
        None => work.await,
    }
}

async fn sleep_in_virtual_time<F: Future>(sleeper: &Arc<Sleeper>, things: usize, work: F) -> F::Output {
    /// Leaves the guest awake after the work, even if the work is dropped.
    struct Up<'a>(&'a Sleeper);
    impl Drop for Up<'_> {
        fn drop(&mut self) {
            self.0.wakes();
        }
    }

    let _up = Up(sleeper);
    let (mut work, mut end) = (pin!(work), pin!(sleeper.sleep(sleeper.deadline)));
    poll_fn(|cx| {
        let waker = Waker::from(Arc::new(WakeAndCount { sleeper: Arc::clone(sleeper), guest: cx.waker().clone() }));
        let mut cx = Context::from_waker(&waker);
        sleeper.mark_polled();
        if let Poll::Ready(done) = work.as_mut().poll(&mut cx) {
            return Poll::Ready(done);
        }
        let in_time = end.as_mut().poll(&mut cx).is_pending();
        if in_time && sleeper.waits.load(Ordering::Relaxed) >= things {
            sleeper.start_sleeping();
        }
        Poll::Pending
    })
    .await
}

/// Wakes a guest and counts it as awake from that moment on.
struct WakeAndCount {
    sleeper: Arc<Sleeper>,
    guest: Waker,
}

impl Wake for WakeAndCount {
    fn wake(self: Arc<Self>) {
        self.sleeper.wakes();
        self.guest.wake_by_ref();
    }
}

#[cfg(test)]
mod tests;
