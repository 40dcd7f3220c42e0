//! Where a guest is while it goes on.
//!
//! A guest's stack can be taken by its own thread only, and only where it enters the host: every half millisecond while it
//! computes, as it has to yield, and at its calls. So whoever wants to know says so, and is given what the guest takes when
//! it next comes by. A guest that rests in a host call comes by nowhere; its stack is taken when it comes to rest.
//!
//! While nobody looks this costs a few plain stores for each host call.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::stack::{Frame, Stack, Symbolizer};

/// Who may look at one run at once. Each slows it a little.
const MOST_LOOKS: usize = 8;

/// Too many look at the same run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_LOOKS} others look at this run already")]
pub struct TooManyWatch;

/// What a guest does at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It computes.
    Computing,
    /// It could compute, but has no turn on a processor.
    Queued,
    /// It waits in a host call.
    Waiting {
        /// Such as `locks.acquire`; none if the call does not say that it waits.
        call: Option<&'static str>,
        /// For what, such as a lock's name. The guest's own words.
        what: Option<String>,
        /// Since when.
        since: Instant,
    },
}

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) doing: Doing,
    /// Units of fuel that the guest had used by then.
    pub(crate) fuel: u64,
    /// Processor time that it had used by then.
    pub(crate) guest: Duration,
    /// Its stack, innermost first, as places in [`Taken::frames`].
    pub(crate) stack: Box<[u32]>,
}

/// What was seen while somebody looked.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) samples: Vec<Sample>,
    /// All frames that were seen, each once.
    pub(crate) frames: Vec<Frame>,
    known: HashMap<Frame, u32>,
    /// When the guest is to give its next sample; none while none is wanted.
    due: Option<Instant>,
}

impl Taken {
    fn add(&mut self, at: Instant, doing: Doing, (fuel, guest): (u64, Duration), stack: &Stack) {
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

/// Somebody who looks at a guest.
#[derive(Debug)]
struct Look {
    /// How often it wants a sample by itself; none: whenever it asks.
    every: Option<Duration>,
    /// How many it has room for.
    most: usize,
    taken: Mutex<Taken>,
    /// Told when there is a sample that it asked for.
    given: Notify,
}

impl Look {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // What is done under the lock leaves nothing half done but a frame that no sample has.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, now: Instant) -> bool {
        let taken = self.taken();
        taken.due.is_some_and(|due| due <= now) && taken.samples.len() < self.most
    }
}

/// What there is to know about the guest.
#[derive(Debug)]
struct About {
    symbolizer: Arc<dyn Symbolizer>,
    /// Its component's.
    digest: Arc<str>,
}

/// The meeting place of a guest and those who look at it.
#[derive(Debug)]
pub(crate) struct Sampler {
    about: OnceLock<About>,
    origin: Instant,
    /// When the guest entered the host call that it is in, in nanoseconds from `origin`; 0 while it is in none.
    in_call: AtomicU64,
    /// The guest's stack in the host call that was entered then.
    rest: Mutex<Option<(u64, Stack)>>,
    looking: AtomicUsize,
    looks: Mutex<Vec<Arc<Look>>>,
    over: AtomicBool,
    /// Told when it is over.
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

/// What the guest's thread calls.
impl Sampler {
    /// The guest begins; `symbolizer` explains its component, which has this digest.
    pub(crate) fn begins(&self, symbolizer: &Arc<dyn Symbolizer>, digest: &Arc<str>) {
        // It begins once.
        let _ = self.about.set(About { symbolizer: Arc::clone(symbolizer), digest: Arc::clone(digest) });
    }

    /// The guest enters a host call.
    pub(crate) fn enters_call(&self, at: Instant) {
        let since = u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.in_call.store(since.max(1), Ordering::Relaxed);
    }

    /// The guest computes on, or would if it had its turn.
    pub(crate) fn is_in_no_call(&self) {
        self.in_call.store(0, Ordering::Relaxed);
    }

    /// Whether the guest is in a host call.
    pub(crate) fn is_in_call(&self) -> bool {
        self.in_call.load(Ordering::Relaxed) != 0
    }

    /// The guest comes to rest in the host call that it is in, with this stack.
    pub(crate) fn rests(&self, stack: Stack) {
        *self.rest() = Some((self.in_call.load(Ordering::Relaxed), stack));
    }

    /// Whether the stack of the host call that the guest is in was taken.
    pub(crate) fn has_come_to_rest(&self) -> bool {
        self.rest().as_ref().is_some_and(|(at, _)| *at == self.in_call.load(Ordering::Relaxed))
    }

    /// Whether somebody wants a sample now.
    pub(crate) fn wants(&self, now: Instant) -> bool {
        self.looking.load(Ordering::Relaxed) > 0 && self.looks().iter().any(|look| look.is_due(now))
    }

    /// Give a sample of a guest that computes to those who want one.
    pub(crate) fn give(&self, now: Instant, used: (u64, Duration), stack: &Stack) {
        for look in self.looks().iter().filter(|look| look.is_due(now)) {
            let mut taken = look.taken();
            taken.add(now, Doing::Computing, used, stack);
            taken.due = look.every.map(|every| now + every);
            look.given.notify_one();
        }
    }

    /// The guest is gone.
    pub(crate) fn ends(&self) {
        self.over.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    fn rest(&self) -> MutexGuard<'_, Option<(u64, Stack)>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Arc<Look>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's look at a guest, until it is dropped.
#[derive(Debug)]
pub(crate) struct Looking<'a> {
    sampler: &'a Sampler,
    look: Arc<Look>,
}

impl Sampler {
    /// Look at the guest, for up to `most` samples: one each time it is asked, or, with `every`, one every so often.
    pub(crate) fn look(&self, every: Option<Duration>, most: usize) -> Result<Looking<'_>, TooManyWatch> {
        let due = every.map(|_| Instant::now());
        let taken = Mutex::new(Taken { due, ..Taken::default() });
        let look = Arc::new(Look { every, most, taken, given: Notify::new() });
        let mut looks = self.looks();
        if looks.len() >= MOST_LOOKS {
            return Err(TooManyWatch);
        }
        looks.push(Arc::clone(&look));
        self.looking.store(looks.len(), Ordering::Relaxed);
        Ok(Looking { sampler: self, look })
    }

    /// Whether the guest is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Completes when it is.
    async fn ended(&self) {
        // Registered before the look, so that an end in between is not missed.
        let mut end = pin!(self.end.notified());
        end.as_mut().enable();
        if !self.is_over() {
            end.await;
        }
    }

    /// What explains the guest's code, and its component's digest; none before it has begun.
    pub(crate) fn symbolizer(&self) -> Option<(Arc<dyn Symbolizer>, Arc<str>)> {
        self.about.get().map(|about| (Arc::clone(&about.symbolizer), Arc::clone(&about.digest)))
    }

    /// How many look.
    pub(crate) fn looking(&self) -> usize {
        self.looking.load(Ordering::Relaxed)
    }

    /// Since when the guest is in a host call, and its stack there if it was taken.
    pub(crate) fn resting(&self) -> Option<(Instant, Stack)> {
        let since = self.in_call.load(Ordering::Relaxed);
        if since == 0 {
            return None;
        }
        let stack = self.rest().as_ref().filter(|(at, _)| *at == since).map(|(_, stack)| stack.clone());
        Some((self.origin + Duration::from_nanos(since), stack.unwrap_or_default()))
    }
}

impl Looking<'_> {
    /// Ask the guest for a sample, and wait for it. False if it does not come by within `patience`, or is over.
    pub(crate) async fn ask(&self, patience: Duration) -> bool {
        let before = {
            let mut taken = self.look.taken();
            taken.due = Some(Instant::now());
            taken.samples.len()
        };
        let given = async {
            // What it was told of before may be a sample that nobody waited for any more.
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

    /// Put down what was seen from outside.
    pub(crate) fn put(&self, doing: Doing, used: (u64, Duration), stack: &Stack) {
        let mut taken = self.look.taken();
        if taken.samples.len() < self.look.most {
            taken.add(Instant::now(), doing, used, stack);
        }
    }

    /// When the last sample was taken.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.look.taken().samples.last().map(|sample| sample.at)
    }

    /// How many samples were taken up to now.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.look.taken().samples.len()
    }

    /// All that was taken, in the order of time.
    pub(crate) fn taken(self) -> Taken {
        let mut taken = std::mem::take(&mut *self.look.taken());
        taken.samples.sort_by_key(|sample| sample.at);
        taken
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut looks = self.sampler.looks();
        looks.retain(|look| !Arc::ptr_eq(look, &self.look));
        self.sampler.looking.store(looks.len(), Ordering::Relaxed);
    }
}
