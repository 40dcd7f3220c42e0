//! Counts how much granted directories hold, and keeps them within their quotas.
//!
//! A directory has an account, which all grants of it share, whatever their task or run. The account is measured by
//! walking the directory when a guest first changes something there, and counted from then on by what guests do. Growth
//! is charged before it happens, under the account's lock, so that all writers together stay within the quota. An
//! operator's changes are seen when the directory is measured again: now and then, and when it is full.
//!
//! A granted directory within another shares the outer one's account.

mod changes;
mod room;
mod stream;
mod walk;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::attempt::Refusals;
use sexton_domain::task::{Directory, Quota};
use sexton_system::supervisor::{Supervisor, caught};

use room::DirectoryLock;
pub(super) use room::{ChangeError, Place};
pub(super) use stream::Output;
use walk::{Id, Used};

/// The name under which a panic is reported that happens while a directory is measured or changed.
const WORK: &str = "a change of a granted directory";

/// Age at which a measurement is repeated, and the least number of times that its duration must pass before that:
/// guests' changes are counted anyway, and operators change little.
const MEASURED_FOR: Duration = Duration::from_secs(600);
const SELDOM: u32 = 100;

/// The same for a full directory, which an operator may have emptied: a twentieth of one thread at most.
const FULL_FOR: Duration = Duration::from_secs(1);
const SELDOM_WHILE_FULL: u32 = 20;

/// Accounts kept although no run uses them, so that the next run need not walk.
const KEPT: usize = 1024;

/// The accounts of all directories that a host's guests may write to.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<Vec<Arc<Account>>>);

/// The account of one directory.
#[derive(Debug)]
pub(super) struct Account {
    /// The directory's real path: one directory has one account, whatever links lead there.
    path: PathBuf,
    /// The account of a directory that contains this one and was granted later.
    outer: OnceLock<Arc<Account>>,
    /// Guests wait for this lock, threads never do: a thread that waits could be the one that the holder needs.
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    used: Used,
    measured: Option<Measured>,
    /// Files that guests have open: a file without a name takes its bytes until it is closed.
    open: HashMap<Id, Open>,
    /// The number of open files at which closed ones are forgotten.
    tidied_at: usize,
}

/// A measurement of the directory.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    took: Duration,
    whole: bool,
}

#[derive(Debug, Default)]
struct Open {
    files: Vec<Weak<File>>,
    /// The file's bytes, once it has no name any more.
    nameless: Option<u64>,
}

impl Directories {
    /// Returns the account of the directory at `path`, which leads through no link.
    fn of(&self, path: &Path) -> Arc<Account> {
        // The list is whole whenever the lock is free.
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = accounts.iter().find(|known| path.starts_with(&known.path)) {
            return Arc::clone(known);
        }
        let new = Arc::new(Account { path: path.to_owned(), outer: OnceLock::new(), state: Arc::default() });
        accounts.retain(|known| {
            let within = known.path.starts_with(path);
            if within {
                // Runs that have the inner account go on with the outer one.
                let _ = known.outer.set(Arc::clone(&new));
            }
            !within
        });
        if accounts.len() >= KEPT {
            accounts.retain(|known| Arc::strong_count(known) > 1);
        }
        accounts.push(Arc::clone(&new));
        new
    }
}

/// A directory that a guest may write to, with its quota.
pub(super) struct Grant {
    account: Arc<Account>,
    directory: Arc<File>,
    quota: Quota,
    guest: String,
    refusals: Refusals,
}

impl Grant {
    /// Makes the grant of `directory`, which is open. It blocks while it resolves the directory's real path.
    pub(super) fn of(
        directories: &Directories,
        granted: &Directory,
        directory: Arc<File>,
        refusals: Refusals,
    ) -> std::io::Result<Option<Arc<Self>>> {
        let Some(quota) = granted.quota else { return Ok(None) };
        let account = directories.of(&granted.host.canonicalize()?);
        Ok(Some(Arc::new(Self { account, directory, quota, guest: granted.guest.clone(), refusals })))
    }

    fn account(&self) -> &Arc<Account> {
        let mut account = &self.account;
        while let Some(outer) = account.outer.get() {
            account = outer;
        }
        account
    }

    /// Returns whether a move from one to the other stays within one account.
    fn shares_account(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.account(), other.account())
    }

    /// Begins `work`, which has the directory to itself. The work goes on apart from the guest, however long the guest
    /// waits for its turn or for something else, because others want the directory, too. Work that has not begun is
    /// given up when its answer is no longer wanted.
    ///
    /// It must be called on the runtime of guests' timers and sockets, as guests' calls are.
    fn begin<T, F>(self: &Arc<Self>, work: impl FnOnce(DirectoryLock) -> F + Send + 'static) -> oneshot::Receiver<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (mut tell, told) = oneshot::channel();
        let grant = Arc::clone(self);
        let work = async move {
            let room = tokio::select! {
                biased;
                () = tell.closed() => return,
                room = grant.room() => room,
            };
            let _ = tell.send(work(room).await);
        };
        // After a panic the guest gets no answer and ends at its deadline; others have the directory again.
        let work = caught(work);
        tokio::spawn(async { work.await.unwrap_or_else(|panic| Supervisor::of_process().note(WORK, &panic)) });
        told
    }

    /// Does `work` like [`Self::begin`], and waits for its answer.
    async fn alone<T, F>(self: &Arc<Self>, work: impl FnOnce(DirectoryLock) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        answer(self.begin(work)).await
    }

    /// Waits until no other guest changes the directory.
    async fn room(self: &Arc<Self>) -> DirectoryLock {
        let account = Arc::clone(self.account());
        let state = Arc::clone(&account.state).lock_owned().await;
        DirectoryLock::new(Arc::clone(self), account, state)
    }
}

/// Waits for the result of the work. There is no answer if the host stops, because its guests stop with it.
async fn answer<T>(told: impl Future<Output = Result<T, oneshot::error::RecvError>>) -> T {
    match told.await {
        Ok(told) => told,
        Err(_) => std::future::pending().await,
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("account", &self.account).field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl Measured {
    fn is_older_than(&self, least: Duration, times: u32, now: Instant) -> bool {
        now.duration_since(self.at) >= least.max(self.took * times)
    }
}

impl State {
    /// Returns whether the directory must be measured before anything is charged.
    fn is_stale(&self, now: Instant) -> bool {
        self.measured.is_none_or(|last| match last.whole {
            true => last.is_older_than(MEASURED_FOR, SELDOM, now),
            false => last.is_older_than(FULL_FOR, SELDOM_WHILE_FULL, now),
        })
    }

    fn may_remeasure(&self, now: Instant) -> bool {
        self.measured.is_none_or(|last| last.is_older_than(FULL_FOR, SELDOM_WHILE_FULL, now))
    }

    /// Measures anew, up to `most` entries.
    fn measure(&mut self, root: rustix::fd::OwnedFd, most: u64) -> std::io::Result<()> {
        self.tidy();
        let at = Instant::now();
        let found = walk::measure(root, most)?;
        self.used = found.used;
        self.measured = Some(Measured { at, took: at.elapsed(), whole: found.whole });
        let nameless = self.open.values().filter_map(|open| open.nameless);
        self.used.bytes = nameless.fold(self.used.bytes, u64::saturating_add);
        Ok(())
    }

    /// Forgets closed files. Those without a name took their bytes until now.
    fn tidy(&mut self) {
        let used = &mut self.used;
        self.open.retain(|_, open| {
            open.files.retain(|file| file.strong_count() > 0);
            if open.files.is_empty() {
                used.bytes = used.bytes.saturating_sub(open.nameless.unwrap_or(0));
            }
            !open.files.is_empty()
        });
        self.tidied_at = (self.open.len() * 2).max(64);
    }
}

#[cfg(test)]
mod tests;
