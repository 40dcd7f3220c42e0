//! Keeps the parts of the host going: its loops, and its threads that serve others.
//!
//! A panic is a fault of this program, and must not end a part unseen. Each part has a name and is made by a factory, so that it
//! can be begun again: after a pause that is doubled each time, until the part has gone well for a while. Where beginning again is
//! not sound, because what the part was at is half done, the host ends and says so. Whatever panics outside of a part is noted as
//! well, by the hook that every panic passes.
//!
//! What has panicked, when and how often, is told as an alert and shown by `GET /v1/health`, which fails while a part is down, or
//! while a loop hangs (`pulse`).

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

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

pub use pulse::{Hung, rests, works};

use crate::clock::SystemClock;
use crate::time::{Clock, Timestamp};
use pulse::Pulses;

/// The first pause before a part is begun again, doubled each time up to the last. The first is short, because most panics come
/// from one bad piece of work; the last keeps a part that always panics from taking a core and flooding the log.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The last pause of a thread. Threads are waited for when the host stops, and a sleeping one cannot be told.
const THREAD_AGAIN: Duration = Duration::from_secs(1);

/// A part that has gone well for so long pauses as at first when it panics again.
const WELL: Duration = Duration::from_secs(60);

/// The most parts that are remembered. There are about twenty; panics outside of them are noted by the name of their thread.
const REMEMBERED: usize = 200;

/// The most bytes of a panic's message that are kept.
const LONGEST_MESSAGE: usize = 500;

thread_local! {
    /// Whether somebody on this thread catches panics and notes them.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the latest panic of this thread was.
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
            // It was handed on by `Panic::resume`.
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

    /// Goes on panicking, on this thread, for the part that this one belongs to.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(Box::new(self))
    }
}

/// `index out of bounds (host/src/machine/worker.rs:17)`.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Does `work`, and catches its panic.
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

/// Awaits `work`, and catches its panic.
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

/// What has panicked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The part: a loop, a kind of thread, or `thread NAME` for what is none of them.
    pub part: String,
    /// How often.
    pub panics: u64,
    /// When it did so first.
    pub first_at: Timestamp,
    /// When it did so last.
    pub last_at: Timestamp,
    /// The message of the last time, and where in the source that was.
    pub message: String,
    /// Whether the part is down: it was not begun again yet.
    pub down: bool,
}

/// What becomes of a thread that has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It begins again.
    Again,
    /// The host ends, because what the thread was at may be half done.
    EndHost,
}

/// Begins parts again, and knows which have panicked.
#[derive(Debug, Default)]
pub struct Supervisor {
    faults: Mutex<BTreeMap<String, Fault>>,
    /// Set once: why the host has to end.
    broken: watch::Sender<Option<String>>,
    pulses: Pulses,
}

impl Supervisor {
    /// The supervisor of this process. From the first call on, every panic of the process is noted.
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

    /// Runs a loop until `over` is set. Each time it panics, or ends before that, it is made anew by `begin`.
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

    /// Runs a loop that ends by itself when nobody needs it any more. Each time it panics, it is made anew by `begin`.
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

    /// Starts a thread called `name` that does `work` until that returns. After a panic it does `work` once more, or the host
    /// ends.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub fn thread(
        self: &Arc<Self>,
        name: &str,
        after: After,
        mut work: impl FnMut() + Send + 'static,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let (supervisor, part) = (Arc::clone(self), name.to_owned());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut pause = Pause::default();
            loop {
                let since = Instant::now();
                let Err(panic) = guarded(&mut work) else { return };
                if after == After::EndHost {
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

    /// Watches from now on whether loops hang. Once is enough for a process.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub fn watch_loops(self: &Arc<Self>) -> std::io::Result<()> {
        static WATCHED: Mutex<bool> = Mutex::new(false);
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*watched {
            let supervisor = Arc::clone(self);
            drop(self.thread("sexton-pulse", After::Again, move || supervisor.pulses.watch())?);
            *watched = true;
        }
        Ok(())
    }

    /// The loops that hang.
    pub fn hung(&self) -> Vec<Hung> {
        self.pulses.hung()
    }

    /// As if so much time had passed in which the process was not stopped.
    #[cfg(test)]
    pub fn passes(&self, time: Duration) {
        self.pulses.is_awake_for(time);
    }

    /// Notes a panic that was caught where it did no harm to what goes on around it.
    pub fn note(&self, part: &str, panic: &Panic) {
        let fault = self.count(part, panic, false);
        error!(
            alert = "part-panicked",
            part,
            panics = fault.panics,
            "`{part}` panicked, and the host goes on: {panic}"
        );
    }

    /// Does `work`; `None` if it panicked, which is noted for `part`.
    pub fn watched<T>(&self, part: &str, work: impl FnOnce() -> T) -> Option<T> {
        guarded(work).map_err(|panic| self.note(part, &panic)).ok()
    }

    /// What has panicked, by name.
    pub fn faults(&self) -> Vec<Fault> {
        self.lock().values().cloned().collect()
    }

    /// Completes with the reason when the host has to end.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // This is borrowed, so the sender is there.
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
                    part, panics, "The host's part `{part}` panicked, and begins again in {again:?}: {panic}"
                );
            }
            None => {
                error!(
                    alert = "part-panicked",
                    part, panics, "The host's part `{part}` panicked and cannot begin again, so the host ends: {panic}"
                );
            }
        }
    }

    fn note_up(&self, part: &str) {
        if let Some(fault) = self.lock().get_mut(part) {
            fault.down = false;
        }
        info!(part, "The host's part `{part}` has begun again");
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
        // Nothing that is done under the lock leaves it half changed.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers where a panic is, for the one that catches it; notes it at once where nothing does.
fn note_place(supervisor: &Supervisor, info: &PanicHookInfo<'_>) {
    let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
    // A thread that ends has no such values any more.
    if GUARDED.try_with(Cell::get).unwrap_or(false) {
        let _ = PLACE.try_with(|known| known.replace(place));
        return;
    }
    let message = info.payload_as_str().unwrap_or("(no message)").to_owned();
    let thread = thread::current();
    supervisor.note(&format!("thread {}", thread.name().unwrap_or("without a name")), &Panic { message, place });
}

/// Whether a part is to end: the host says so, or is gone.
fn is_over(over: &watch::Receiver<bool>) -> bool {
    *over.borrow() || over.has_changed().is_err()
}

/// Waits `time`; whether the part is to end meanwhile.
async fn wait_unless(time: Duration, over: Option<watch::Receiver<bool>>) -> bool {
    let ended = async {
        match over {
            // An error is a host that is gone.
            Some(mut over) => drop(over.wait_for(|over| *over).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        () = ended => true,
    }
}

/// How long a part pauses before it begins again.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(AGAIN.0)
    }
}

impl Pause {
    /// The pause after a panic of a part that had gone well for `well`.
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
