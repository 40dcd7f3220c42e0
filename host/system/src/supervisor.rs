//! Restarts the parts of the host after a panic: its loops, and its threads that serve others.
//!
//! A panic is a fault of this program, and must not end a part unseen. Each part has a name and is made by a factory,
//! so that it can be restarted: after a pause that is doubled each time, until the part has run well for a while. If a
//! restart is not sound, because the part's work is half done, the host ends and reports that. Panics outside of parts
//! are recorded as well, by the hook that every panic passes.
//!
//! The parts that have panicked, with time and number, are reported as an alert and shown by `GET /v1/health`, which
//! fails while a part is down, or while a loop hangs (`pulse`).

mod pulse;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

pub use pulse::{Hung, rests, works};

use crate::clock::SystemClock;
use pulse::Pulses;
use sexton_domain::time::{Clock, Timestamp};

/// The first pause before a part is restarted, and the last up to which it is doubled each time. The first is short,
/// because most panics come from one bad piece of work. The last keeps a part that always panics from taking a core and
/// flooding the log.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The longest pause of a thread. Threads are joined when the host stops, and a sleeping one cannot be woken.
const THREAD_AGAIN: Duration = Duration::from_secs(1);

/// A part that has run well for this long starts again with the first pause.
const WELL: Duration = Duration::from_secs(60);

/// The most parts that are remembered. There are about twenty; panics outside of them are recorded under the name of
/// their thread.
const REMEMBERED: usize = 200;

/// The most bytes of a panic's message that are kept.
const LONGEST_MESSAGE: usize = 500;

thread_local! {
    /// Whether code on this thread catches panics and records them.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// The source position of the latest panic of this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    message: String,
    place: Option<String>,
}

impl Panic {
    fn of(payload: Box<dyn Any + Send>) -> Self {
        let place = PLACE.take();
        let payload = match payload.downcast::<Self>() {
            // `Panic::resume` passed it on.
            Ok(panic) => return *panic,
            Err(payload) => payload,
        };
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let mut message: String =
            text.unwrap_or("(no message)").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        Self { message, place }
    }

    /// Continues the panic on this thread, for the part that this one belongs to.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(Box::new(self))
    }
}

/// Prints `index out of bounds (host/src/machine/worker.rs:17)`.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Runs `work` and catches its panic.
///
/// # Errors
///
/// The panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.map_err(Panic::of)
}

/// Awaits `work` and catches its panic.
///
/// # Errors
///
/// The panic.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    let mut work = pin!(work);
    poll_fn(|context| match guarded(|| work.as_mut().poll(context)) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The panics of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The part: a loop, a kind of thread, or `thread NAME` for any other thread.
    pub part: String,
    /// The number of panics.
    pub panics: u64,
    /// The time of the first panic.
    pub first_at: Timestamp,
    /// The time of the last panic.
    pub last_at: Timestamp,
    /// The message of the last panic, and its source position.
    pub message: String,
    /// Whether the part is down: it has not been restarted yet.
    pub down: bool,
}

/// The action after a panic of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPanic {
    /// The thread is restarted.
    Again,
    /// The host ends, because the thread's work may be half done.
    EndHost,
}

/// Restarts parts, and records their panics.
#[derive(Debug, Default)]
pub struct Supervisor {
    faults: Mutex<BTreeMap<String, Fault>>,
    /// The reason why the host has to end; set once.
    broken: watch::Sender<Option<String>>,
    pulses: Pulses,
}

impl Supervisor {
    /// Returns the supervisor of this process. From the first call on, every panic of the process is recorded.
    pub fn of_process() -> &'static Arc<Self> {
        static PROCESS: OnceLock<Arc<Supervisor>> = OnceLock::new();
        static HOOK: Once = Once::new();
        let process = PROCESS.get_or_init(Arc::default);
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                note_place(process, info);
                before(info);
            }));
        });
        process
    }

    /// Runs a loop until `over` is set. Whenever it panics, or ends earlier, `begin` makes a new one.
    pub fn part<R>(
        self: &Arc<Self>,
        name: &str,
        over: watch::Receiver<bool>,
        begin: impl FnMut() -> R + Send + 'static,
    ) -> JoinHandle<()>
    where
        R: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(Arc::clone(self).keep_going(name.to_owned(), Some(over), begin))
    }

    /// Runs a loop that ends by itself when it is no longer needed. Whenever it panics, `begin` makes a new one.
    pub fn service<R>(self: &Arc<Self>, name: &str, begin: impl FnMut() -> R + Send + 'static) -> JoinHandle<()>
    where
        R: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(Arc::clone(self).keep_going(name.to_owned(), None, begin))
    }

    /// `over` is `None` for a loop that decides itself when it ends.
    async fn keep_going<R>(
        self: Arc<Self>,
        name: String,
        over: Option<watch::Receiver<bool>>,
        mut begin: impl FnMut() -> R,
    ) where
        R: Future<Output = ()>,
    {
        let mut pause = Pause::default();
        let pulse = self.pulses.begin(&name);
        loop {
            let since = Instant::now();
            let ended = match guarded(&mut begin) {
                Ok(part) => caught(Arc::clone(&pulse).of(Box::pin(part))).await,
                Err(panic) => Err(panic),
            };
            pulse.stops();
            let panic = match ended {
                Ok(()) if over.as_ref().is_none_or(is_over) => return,
                Ok(()) => Panic { message: "it ended by itself".into(), place: None },
                Err(panic) => panic,
            };
            let again = pause.after(since.elapsed());
            self.note_down(&name, &panic, Some(again));
            if wait_unless(again, over.clone()).await {
                return;
            }
            self.note_up(&name);
        }
    }

    /// Starts a thread called `name` that runs `work` until it returns. After a panic it runs `work` once more, or the
    /// host ends.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn thread(
        self: &Arc<Self>,
        name: &str,
        after: AfterPanic,
        mut work: impl FnMut() + Send + 'static,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let (supervisor, part) = (Arc::clone(self), name.to_owned());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut pause = Pause::default();
            loop {
                let since = Instant::now();
                let Err(panic) = guarded(&mut work) else { return };
                if after == AfterPanic::EndHost {
                    supervisor.note_down(&part, &panic, None);
                    supervisor.end_host(format!("the part `{part}` panicked: {panic}"));
                    return;
                }
                let again = pause.after(since.elapsed()).min(THREAD_AGAIN);
                supervisor.note_down(&part, &panic, Some(again));
                thread::sleep(again);
                supervisor.note_up(&part);
            }
        })
    }

    /// Starts to watch for loops that hang. Once is enough for a process.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn watch_loops(self: &Arc<Self>) -> std::io::Result<()> {
        static WATCHED: Mutex<bool> = Mutex::new(false);
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*watched {
            let supervisor = Arc::clone(self);
            drop(self.thread("sexton-pulse", AfterPanic::Again, move || supervisor.pulses.watch())?);
            *watched = true;
        }
        Ok(())
    }

    /// Returns the loops that hang.
    pub fn hung(&self) -> Vec<Hung> {
        self.pulses.hung()
    }

    /// Lets loops be silent for another `time`, as if the process had not been stopped in it. It is for tests, which
    /// cannot wait until a loop hangs.
    #[doc(hidden)]
    pub fn passes(&self, time: Duration) {
        self.pulses.is_awake_for(time);
    }

    /// Records a panic that was caught without harm to the code around it.
    pub fn note(&self, part: &str, panic: &Panic) {
        let fault = self.count(part, panic, false);
        error!(
            alert = "part-panicked",
            part,
            panics = fault.panics,
            "`{part}` panicked, and the host continues: {panic}"
        );
    }

    /// Runs `work`. Returns `None` if it panicked, which is recorded for `part`.
    pub fn watched<T>(&self, part: &str, work: impl FnOnce() -> T) -> Option<T> {
        guarded(work).map_err(|panic| self.note(part, &panic)).ok()
    }

    /// Returns the recorded panics, by part.
    pub fn faults(&self) -> Vec<Fault> {
        self.lock().values().cloned().collect()
    }

    /// Completes with the reason when the host has to end.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The sender exists, because it is borrowed here.
            None => std::future::pending().await,
        }
    }

    fn end_host(&self, why: String) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert(why);
            first
        });
    }

    fn note_down(&self, part: &str, panic: &Panic, again: Option<Duration>) {
        let fault = self.count(part, panic, true);
        let panics = fault.panics;
        match again {
            Some(again) => {
                error!(
                    alert = "part-panicked",
                    part, panics, "The host's part `{part}` panicked, and restarts in {again:?}: {panic}"
                );
            }
            None => {
                error!(
                    alert = "part-panicked",
                    part,
                    panics,
                    "The host's part `{part}` panicked and cannot be restarted, so the host ends: {panic}"
                );
            }
        }
    }

    fn note_up(&self, part: &str) {
        if let Some(fault) = self.lock().get_mut(part) {
            fault.down = false;
        }
        info!(part, "The host's part `{part}` has restarted");
    }

    fn count(&self, part: &str, panic: &Panic, down: bool) -> Fault {
        let now = SystemClock.now();
        let mut faults = self.lock();
        let part = if faults.len() < REMEMBERED || faults.contains_key(part) { part } else { "others" };
        let fault = faults.entry(part.to_owned()).or_insert_with(|| Fault {
            part: part.to_owned(),
            panics: 0,
            first_at: now,
            last_at: now,
            message: String::new(),
            down,
        });
        fault.panics += 1;
        fault.last_at = now;
        fault.message = panic.to_string();
        fault.down = down;
        fault.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Fault>> {
        // No operation under the lock leaves it half changed.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers the position of a panic for the code that catches it, or records it at once if no code does.
fn note_place(supervisor: &Supervisor, info: &PanicHookInfo<'_>) {
    let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
    // A thread that is ending has no such values any more.
    if GUARDED.try_with(Cell::get).unwrap_or(false) {
        let _ = PLACE.try_with(|known| known.replace(place));
        return;
    }
    let message = info.payload_as_str().unwrap_or("(no message)").to_owned();
    let thread = thread::current();
    supervisor.note(&format!("thread {}", thread.name().unwrap_or("without a name")), &Panic { message, place });
}

/// Returns whether a part must end: the host says so, or is gone.
fn is_over(over: &watch::Receiver<bool>) -> bool {
    *over.borrow() || over.has_changed().is_err()
}

/// Waits for `time`. Returns whether the part must end before that.
async fn wait_unless(time: Duration, over: Option<watch::Receiver<bool>>) -> bool {
    let ended = async {
        match over {
            // An error means that the host is gone.
            Some(mut over) => drop(over.wait_for(|over| *over).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        () = ended => true,
    }
}

/// The pause of a part before its restart.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(AGAIN.0)
    }
}

impl Pause {
    /// Returns the pause after a panic of a part that had run well for `well`.
    fn after(&mut self, well: Duration) -> Duration {
        if well >= WELL {
            *self = Self::default();
        }
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(AGAIN.1);
        pause
    }
}

#[cfg(test)]
mod tests;
