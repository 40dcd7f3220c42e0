//! Samples where a guest is while it runs.
//!
//! Only the guest's own thread can capture its stack, and only where the guest enters the host: every half millisecond
//! while it computes, because it has to yield, and at its host calls. An observer therefore leaves a request, and the
//! guest answers it the next time it enters the host. A guest that waits in a host call does not enter the host again,
//! so its stack is captured when the wait begins.
//!
//! Without an observer this costs a few plain stores for each host call.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::stack::{Frame, Stack, Symbolizer};
use sexton_domain::lengths::nanos;

/// The most observers of one run at once, bounded because each slows the run a little.
const MOST_LOOKS: usize = 8;

/// The run has too many observers already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_LOOKS} other clients sample this run already")]
pub struct TooManyObservers;

/// The state of a guest at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The guest computes.
    Computing,
    /// The guest could compute, but has no turn on a processor.
    Queued,
    /// The guest waits in a host call.
    Waiting {
        /// The host call, such as `locks.acquire`. `None` if the call does not say that it waits.
        call: Option<&'static str>,
        /// The thing that it waits for, such as a lock's name. The guest chooses the text.
        what: Option<String>,
        /// When the wait began.
        since: Instant,
    },
}

/// One observation of a guest.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) doing: Activity,
    /// Units of fuel that the guest had used.
    pub(crate) fuel: u64,
    /// Processor time that the guest had used.
    pub(crate) guest: Duration,
    /// The guest's stack, innermost first, as indices into [`Samples::frames`].
    pub(crate) stack: Box<[u32]>,
}

/// The samples of one observer.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) samples: Vec<Sample>,
    /// All frames of the samples, each once.
    pub(crate) frames: Vec<Frame>,
    known: HashMap<Frame, u32>,
    /// When the guest should give its next sample. `None` while the observer wants none.
    due: Option<Instant>,
}

impl Samples {
    fn add(&mut self, at: Instant, doing: Activity, (fuel, guest): (u64, Duration), stack: &Stack) {
        let mut place = |frame: &Frame| {
            if let Some(place) = self.known.get(frame) {
                return *place;
            }
            let place = u32::try_from(self.frames.len()).expect("frames take more memory than four billion have");
            self.frames.push(frame.clone());
            self.known.insert(frame.clone(), place);
            place
        };
        let stack = stack.frames().iter().map(&mut place).collect();
        self.samples.push(Sample { at, doing, fuel, guest, stack });
    }
}

/// An observer of a guest.
#[derive(Debug)]
struct Observer {
    /// The interval at which the guest should give a sample unasked. `None` for samples on request only.
    every: Option<Duration>,
    /// The number of samples that it has room for.
    most: usize,
    taken: Mutex<Samples>,
    /// Notified when there is a sample that the observer asked for.
    given: Notify,
}

impl Observer {
    fn taken(&self) -> MutexGuard<'_, Samples> {
        // A panic under the lock leaves at worst a frame that belongs to no sample.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, now: Instant) -> bool {
        let taken = self.taken();
        taken.due.is_some_and(|due| due <= now) && taken.samples.len() < self.most
    }
}

/// The means to explain a guest's code.
#[derive(Debug)]
struct CodeSource {
    symbolizer: Arc<dyn Symbolizer>,
    /// The digest of the guest's component.
    digest: Arc<str>,
}

/// Connects a guest with its observers.
#[derive(Debug)]
pub(crate) struct Sampler {
    about: OnceLock<CodeSource>,
    origin: Instant,
    /// When the guest entered its current host call, in nanoseconds from `origin`; 0 while it is in none.
    in_call: AtomicU64,
    /// The value of `in_call` for one host call, and the guest's stack in that call.
    rest: Mutex<Option<(u64, Stack)>>,
    looking: AtomicUsize,
    looks: Mutex<Vec<Arc<Observer>>>,
    over: AtomicBool,
    /// Notified when the guest is gone.
    end: Notify,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            about: OnceLock::new(),
            origin: Instant::now(),
            in_call: AtomicU64::new(0),
            rest: Mutex::default(),
            looking: AtomicUsize::new(0),
            looks: Mutex::default(),
            over: AtomicBool::new(false),
            end: Notify::new(),
        }
    }
}

/// The methods that the guest's thread calls.
impl Sampler {
    /// Notes that the guest begins. `symbolizer` explains its component, which has this digest.
    pub(crate) fn guest_started(&self, symbolizer: &Arc<dyn Symbolizer>, digest: &Arc<str>) {
        // A guest begins only once.
        let _ = self.about.set(CodeSource { symbolizer: Arc::clone(symbolizer), digest: Arc::clone(digest) });
    }

    /// Notes that the guest enters a host call.
    pub(crate) fn enters_call(&self, at: Instant) {
        let since = nanos(at.saturating_duration_since(self.origin));
        self.in_call.store(since.max(1), Ordering::Relaxed);
    }

    /// Notes that the guest computes, or would if it had its turn.
    pub(crate) fn is_in_no_call(&self) {
        self.in_call.store(0, Ordering::Relaxed);
    }

    /// Returns whether the guest is in a host call.
    pub(crate) fn is_in_call(&self) -> bool {
        self.in_call.load(Ordering::Relaxed) != 0
    }

    /// Notes that the guest waits in its current host call, with this stack.
    pub(crate) fn rests(&self, stack: Stack) {
        *self.rest() = Some((self.in_call.load(Ordering::Relaxed), stack));
    }

    /// Returns whether the guest's stack in its current host call has been captured.
    pub(crate) fn stack_is_captured(&self) -> bool {
        self.rest().as_ref().is_some_and(|(at, _)| *at == self.in_call.load(Ordering::Relaxed))
    }

    /// Returns whether an observer wants a sample now.
    pub(crate) fn wants_sample(&self, now: Instant) -> bool {
        self.looking.load(Ordering::Relaxed) > 0 && self.observers_mut().iter().any(|look| look.is_due(now))
    }

    /// Gives a sample of a guest that computes to the observers that want one.
    pub(crate) fn record(&self, now: Instant, used: (u64, Duration), stack: &Stack) {
        for look in self.observers_mut().iter().filter(|look| look.is_due(now)) {
            let mut taken = look.taken();
            taken.add(now, Activity::Computing, used, stack);
            taken.due = look.every.map(|every| now + every);
            look.given.notify_one();
        }
    }

    /// Notes that the guest is gone.
    pub(crate) fn guest_ended(&self) {
        self.over.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    fn rest(&self) -> MutexGuard<'_, Option<(u64, Stack)>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observers_mut(&self) -> MutexGuard<'_, Vec<Arc<Observer>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An observer's registration, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    sampler: &'a Sampler,
    look: Arc<Observer>,
}

impl Sampler {
    /// Registers an observer with room for `most` samples. Without `every` it gets one for each request, otherwise one
    /// for each interval `every`.
    pub(crate) fn look(&self, every: Option<Duration>, most: usize) -> Result<Observation<'_>, TooManyObservers> {
        let due = every.map(|_| Instant::now());
        let taken = Mutex::new(Samples { due, ..Samples::default() });
        let look = Arc::new(Observer { every, most, taken, given: Notify::new() });
        let mut looks = self.observers_mut();
        if looks.len() >= MOST_LOOKS {
            return Err(TooManyObservers);
        }
        looks.push(Arc::clone(&look));
        self.looking.store(looks.len(), Ordering::Relaxed);
        Ok(Observation { sampler: self, look })
    }

    /// Returns whether the guest is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Completes when the guest is gone.
    async fn ended(&self) {
        // The notification is registered before the check, so that an end in between is not missed.
        let mut end = pin!(self.end.notified());
        end.as_mut().enable();
        if !self.is_over() {
            end.await;
        }
    }

    /// Returns the symbolizer of the guest's code and its component's digest, or `None` before the guest has begun.
    pub(crate) fn symbolizer(&self) -> Option<(Arc<dyn Symbolizer>, Arc<str>)> {
        self.about.get().map(|about| (Arc::clone(&about.symbolizer), Arc::clone(&about.digest)))
    }

    /// Returns the number of observers.
    pub(crate) fn looking(&self) -> usize {
        self.looking.load(Ordering::Relaxed)
    }

    /// Returns when the guest entered its current host call, and its stack there if it was captured.
    pub(crate) fn current_wait(&self) -> Option<(Instant, Stack)> {
        let since = self.in_call.load(Ordering::Relaxed);
        if since == 0 {
            return None;
        }
        let stack = self.rest().as_ref().filter(|(at, _)| *at == since).map(|(_, stack)| stack.clone());
        Some((self.origin + Duration::from_nanos(since), stack.unwrap_or_default()))
    }
}

impl Observation<'_> {
    /// Asks the guest for a sample and waits for it. Returns false if the guest does not enter the host within
    /// `patience`, or is gone.
    pub(crate) async fn ask(&self, patience: Duration) -> bool {
        let before = {
            let mut taken = self.look.taken();
            taken.due = Some(Instant::now());
            taken.samples.len()
        };
        let given = async {
            // An earlier notification may be for a sample that was no longer waited for.
            while self.look.taken().samples.len() == before {
                self.look.given.notified().await;
            }
        };
        tokio::select! {
            () = given => {}
            () = tokio::time::sleep(patience) => {}
            () = self.sampler.ended() => {}
        }
        let mut taken = self.look.taken();
        taken.due = None;
        taken.samples.len() > before
    }

    /// Adds an observation that was made from outside.
    pub(crate) fn put(&self, doing: Activity, used: (u64, Duration), stack: &Stack) {
        let mut taken = self.look.taken();
        if taken.samples.len() < self.look.most {
            taken.add(Instant::now(), doing, used, stack);
        }
    }

    /// Returns when the last sample was taken.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.look.taken().samples.last().map(|sample| sample.at)
    }

    /// Returns the number of samples up to now.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.look.taken().samples.len()
    }

    /// Returns all samples in the order of time.
    pub(crate) fn taken(self) -> Samples {
        let mut taken = std::mem::take(&mut *self.look.taken());
        taken.samples.sort_by_key(|sample| sample.at);
        taken
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        let mut looks = self.sampler.observers_mut();
        looks.retain(|look| !Arc::ptr_eq(look, &self.look));
        self.sampler.looking.store(looks.len(), Ordering::Relaxed);
    }
}
