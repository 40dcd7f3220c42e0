//! Writes pieces of work: those that have gathered go in one transaction and are answered after its commit, so that one
//! wait for the disk serves all callers.
//!
//! When a transaction fails, its pieces are tried again, each alone: one that cannot succeed does not hurt the others.
//! When another transaction was in the way (a serialization failure, a deadlock) or the connection broke, the whole is
//! tried again. A connection that breaks during a commit leaves its result open; the next try knows that
//! ([`Tx::doubt`]), and looks.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{Result, StoreError};
use sexton_system::supervisor::Supervisor;

use super::errors::{Failure, Remedy, Step};
use super::shared::Shared;
use super::tx::{Progress, Tx};

/// Time that a database may take for an answer before its connection counts as broken. Less than a third of the shortest
/// useful lease; more than a busy database needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of such times that a transaction may take in all. One of many statements takes long on a busy machine, and
/// would take as long when it is tried again.
const MOST_TIMES: u32 = 12;

/// Time that a database may be away before callers get an error: they try again themselves, and the API must answer. A
/// restart or failover takes less.
const AWAY: Duration = Duration::from_secs(10);

/// The same time for a commit in doubt. Only the database knows whether it was done.
const AWAY_IN_DOUBT: Duration = Duration::from_secs(60);

/// The first wait before another try, doubled each time, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// The work that a lane does.
#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// A piece of work.
    type Item: Send + Sync + 'static;
    /// The result of a piece of work.
    type Answer: Send + 'static;

    /// Does all items within the transaction, and returns an answer for each, in order. It may commit with its last
    /// statements ([`Tx::commit_with`]); otherwise the lane commits afterwards.
    async fn run(&self, tx: &mut Tx, items: &[&Self::Item]) -> Step<Vec<Result<Self::Answer>>>;
}

struct Queued<W: Work> {
    item: W::Item,
    reply: oneshot::Sender<Result<W::Answer>>,
}

/// A queue of one kind of work.
#[derive(Debug)]
pub(super) struct Batcher<W: Work> {
    queue: mpsc::UnboundedSender<Queued<W>>,
}

impl<W: Work> Batcher<W> {
    /// Starts a lane with one transaction in progress for each of `shards`, each of at most `most` pieces.
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
            // A panic's transaction is rolled back with its connection; if it was committed, a later look finds that.
            Supervisor::of_process().service("store lane", move || Arc::clone(&server).serve());
        }
        Self { queue }
    }

    /// Queues `item`, and waits until it is committed.
    pub(super) async fn ask(&self, item: W::Item) -> Result<W::Answer> {
        let stopped = || StoreError::Other("the store has stopped".into());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Queued { item, reply }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Does queued work, one transaction after the other.
struct Server<W: Work> {
    shared: Arc<Shared>,
    work: Arc<W>,
    shard: i16,
    most: usize,
    asked: Arc<Mutex<mpsc::UnboundedReceiver<Queued<W>>>>,
}

impl<W: Work> Server<W> {
    /// Serves until the lane is dropped.
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

    async fn together(&self, batch: Vec<Queued<W>>) {
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

    /// Tries until the work is committed, or cannot be.
    async fn until_done(&self, items: &[&W::Item]) -> Step<Vec<Result<W::Answer>>> {
        let (started, mut wait, mut doubt) = (Instant::now(), AGAIN.0, false);
        loop {
            let progress = Arc::default();
            let failure = match while_answered(&progress, PATIENCE, self.once(items, doubt, &progress)).await {
                Ok(answers) => return Ok(answers),
                Err(failure) => failure,
            };
            let remedy = failure.remedy();
            // A server that answers a commit with any error has not done it.
            doubt |= remedy == Remedy::Reconnect && progress.is_committing();
            let away = if doubt { AWAY_IN_DOUBT } else { AWAY };
            if remedy == Remedy::None || started.elapsed() > away {
                return Err(failure);
            }
            tracing::debug!(failure = ?failure, doubt, "Trying a transaction again");
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    /// Tries once, and shows in `progress` how far that comes.
    async fn once(&self, items: &[&W::Item], doubt: bool, progress: &Arc<Progress>) -> Step<Vec<Result<W::Answer>>> {
        let mut tx = Tx::take(&self.shared, self.shard, doubt).await?;
        tx.show_in(progress);
        tx.begin();
        match self.work.run(&mut tx, items).await {
            Ok(answers) => {
                tx.commit().await?;
                self.shared.committed(tx.hints);
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

/// Sends the answers. A caller may have gone away by then; written work stays written.
fn answer<W: Work>(shared: &Shared, answered: impl IntoIterator<Item = (Queued<W>, Result<W::Answer>)>) {
    for (Queued { item, reply }, answer) in answered {
        shared.count_write();
        // The item may share data with its caller, which may change it in place once this is dropped.
        drop(item);
        drop(reply.send(answer));
    }
}

/// Awaits a transaction for as long as the database lets no answer wait for longer than `patience`.
async fn while_answered<T>(
    progress: &Progress,
    patience: Duration,
    transaction: impl Future<Output = Step<T>>,
) -> Step<T> {
    let mut transaction = pin!(transaction);
    for _ in 0..MOST_TIMES {
        let answers = progress.answers();
        match tokio::time::timeout(patience, transaction.as_mut()).await {
            Ok(done) => return done,
            Err(_) if progress.answers() == answers => break,
            Err(_) => {}
        }
    }
    Err(Failure::NoConnection(format!("no answer within {patience:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(10);

    /// Awaits a transaction whose statements are all answered, and which lasts for `time`.
    async fn lasts(time: Duration) -> Step<()> {
        let (progress, started) = (Progress::default(), Instant::now());
        let transaction = async {
            while started.elapsed() < time {
                progress.answered();
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        while_answered(&progress, PATIENCE, transaction).await
    }

    #[tokio::test]
    async fn a_transaction_may_take_long_while_the_database_answers() {
        assert!(lasts(PATIENCE * 3).await.is_ok());
        assert!(lasts(Duration::MAX).await.is_err(), "it may not last for ever");
        let progress = Progress::default();
        assert!(while_answered(&progress, PATIENCE, std::future::pending::<Step<()>>()).await.is_err());
    }
}
