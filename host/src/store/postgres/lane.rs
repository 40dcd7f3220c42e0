//! How pieces of work are written: whatever has gathered goes in one transaction and is answered after the commit, so that
//! one wait for the disk serves all who wait.
//!
//! When the transaction fails, its pieces are tried again, each alone: one that cannot succeed hurts nobody else. When others
//! were in the way (a serialization failure, a deadlock) or the connection broke, the whole is tried again. A connection
//! that breaks during a commit leaves it open whether that was done; the next try is told so ([`Tx::doubt`]), and looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::store::{Result, StoreError};
use crate::supervisor::Supervisor;

use super::errors::{Failure, Remedy, Step};
use super::shared::Shared;
use super::tx::Tx;

/// How long a transaction may take before its connection counts as broken. Less than a third of the shortest lease that
/// is of use; more than a busy database needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a database may be away before those who wait are told so: they try again themselves, and the API must say
/// something. A restart or failover takes less.
const AWAY: Duration = Duration::from_secs(10);

/// The same where a commit is in doubt. Only the database knows.
const AWAY_IN_DOUBT: Duration = Duration::from_secs(60);

/// The first wait before the next try, doubled each time up to the last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// What a lane does with what is asked of it.
#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// A piece of work.
    type Item: Send + Sync + 'static;
    /// What becomes of it.
    type Answer: Send + 'static;

    /// Do all of them within the transaction; an answer for each, in order. It may commit itself, with its last statements
    /// ([`Tx::commit_with`]); else that is done afterwards.
    async fn run(&self, tx: &mut Tx, items: &[&Self::Item]) -> Step<Vec<Result<Self::Answer>>>;
}

struct Asked<W: Work> {
    item: W::Item,
    reply: oneshot::Sender<Result<W::Answer>>,
}

/// Where one kind of work queues up.
#[derive(Debug)]
pub(super) struct Lane<W: Work> {
    queue: mpsc::UnboundedSender<Asked<W>>,
}

impl<W: Work> Lane<W> {
    /// A lane with one transaction under way for each of `shards`, each of at most `most` pieces.
    pub(super) fn start(shared: &Arc<Shared>, work: W, shards: &[i16], most: usize) -> Self {
        let (queue, asked) = mpsc::unbounded_channel();
        let (work, asked) = (Arc::new(work), Arc::new(Mutex::new(asked)));
        for shard in shards {
            let server = Arc::new(Server {
                shared: Arc::clone(shared),
                work: Arc::clone(&work),
                shard: *shard,
                most,
                asked: asked.clone(),
            });
            // What a panic was at is rolled back with its connection, or told by whoever looks for it.
            Supervisor::of_process().service("store lane", move || Arc::clone(&server).serve());
        }
        Self { queue }
    }

    /// Have it done, and wait until it is committed.
    pub(super) async fn ask(&self, item: W::Item) -> Result<W::Answer> {
        let stopped = || StoreError::Other("the store has stopped".into());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Asked { item, reply }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Does what was asked, one transaction after the other.
struct Server<W: Work> {
    shared: Arc<Shared>,
    work: Arc<W>,
    shard: i16,
    most: usize,
    asked: Arc<Mutex<mpsc::UnboundedReceiver<Asked<W>>>>,
}

impl<W: Work> Server<W> {
    /// Until nobody can ask any more.
    async fn serve(self: Arc<Self>) {
        loop {
            let mut batch = Vec::new();
            {
                let mut asked = self.asked.lock().await;
                if asked.recv_many(&mut batch, self.most).await == 0 {
                    return;
                }
            }
            self.together(batch).await;
        }
    }

    async fn together(&self, batch: Vec<Asked<W>>) {
        let items: Vec<&W::Item> = batch.iter().map(|asked| &asked.item).collect();
        match self.until_done(&items).await {
            Ok(answers) => answer(&self.shared, batch.into_iter().zip(answers)),
            Err(failure) if batch.len() == 1 || failure.remedy() == Remedy::Reconnect => {
                let error = failure.explain();
                for asked in batch {
                    drop(asked.reply.send(Err(error.clone())));
                }
            }
            Err(_) => {
                for asked in batch {
                    let done = self.until_done(&[&asked.item]).await;
                    let done = done.map(|mut answers| answers.remove(0)).unwrap_or_else(|e| Err(e.explain()));
                    answer(&self.shared, [(asked, done)]);
                }
            }
        }
    }

    /// Try until it is committed, or cannot be.
    async fn until_done(&self, items: &[&W::Item]) -> Step<Vec<Result<W::Answer>>> {
        let (started, mut wait, mut doubt) = (Instant::now(), AGAIN.0, false);
        loop {
            let mut committing = Arc::default();
            let once = tokio::time::timeout(PATIENCE, self.once(items, doubt, &mut committing));
            let failure = match once.await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::NoConnection(format!("no answer within {PATIENCE:?}")),
            };
            let remedy = failure.remedy();
            // A server that answers to a commit with anything has not done it.
            doubt |= remedy == Remedy::Reconnect && committing.load(Ordering::Relaxed);
            let away = if doubt { AWAY_IN_DOUBT } else { AWAY };
            if remedy == Remedy::None || started.elapsed() > away {
                return Err(failure);
            }
            tracing::debug!(failure = ?failure, doubt, "Trying a transaction again");
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    /// Try it once. `committing` becomes what tells whether the commit was sent.
    async fn once(
        &self,
        items: &[&W::Item],
        doubt: bool,
        committing: &mut Arc<AtomicBool>,
    ) -> Step<Vec<Result<W::Answer>>> {
        let mut tx = Tx::take(&self.shared, self.shard, doubt).await?;
        *committing = tx.committing();
        tx.begin();
        match self.work.run(&mut tx, items).await {
            Ok(answers) => {
                tx.commit().await?;
                self.shared.committed(tx.told);
                Ok(answers)
            }
            Err(failure) => {
                if failure.remedy() != Remedy::Reconnect {
                    tx.roll_back().await?;
                }
                Err(failure)
            }
        }
    }
}

/// Hand the answers over. Who asked may have gone away meanwhile; what is written stays written.
fn answer<W: Work>(shared: &Shared, answered: impl IntoIterator<Item = (Asked<W>, Result<W::Answer>)>) {
    for (asked, answer) in answered {
        shared.count_write();
        drop(asked.reply.send(answer));
    }
}
