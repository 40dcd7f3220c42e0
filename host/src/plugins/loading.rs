//! Queues and runs loads of plugins: a few at once, those first that are needed first, and of these the small ones, so
//! that no plugin waits for one that takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use crate::plugins::ranking::Rank;
use sexton_domain::time::Timestamp;
use sexton_system::supervisor::{Panic, caught};

/// The time that a load is waited for before the next one begins beside it. The runtime has a slot for long
/// compilations.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loads of one directory, by the plugins' names. `L` is the result of a load.
#[derive(Debug)]
pub(super) struct Loading<L> {
    /// The queue, by rank and name.
    waiting: BTreeSet<(Rank, String)>,
    turns: Arc<Semaphore>,
    under_way: JoinSet<(String, Result<L, Panic>)>,
    by_name: BTreeMap<String, Load>,
    patience: Duration,
}

#[derive(Debug)]
enum Load {
    /// In the queue, under this rank.
    Waiting(Rank),
    /// Running, with the handle that aborts it.
    UnderWay(AbortHandle),
}

/// The next event.
#[derive(Debug)]
pub(super) enum Next<L> {
    /// The plugin may start to load: call [`Loading::begin`].
    Turn(String, OwnedSemaphorePermit),
    /// The load of this plugin has ended, with its result or a panic.
    Loaded(String, Result<L, Panic>),
}

impl<L: Send + 'static> Loading<L> {
    /// Creates an empty queue, from which `at_once` plugins are read and loaded at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self::with_patience(at_once, PATIENCE)
    }

    fn with_patience(at_once: usize, patience: Duration) -> Self {
        let (waiting, under_way, by_name) = Default::default();
        Self { waiting, turns: Arc::new(Semaphore::new(at_once)), under_way, by_name, patience }
    }

    /// Queues a load of `plugin`, of about `size` bytes, behind those that are known to be needed. A load of it that is
    /// already under way is aborted, because the files have changed.
    pub(super) fn add(&mut self, plugin: String, size: u64) {
        self.give_up(&plugin);
        let rank = Rank::of_size(size);
        self.waiting.insert((rank, plugin.clone()));
        self.by_name.insert(plugin, Load::Waiting(rank));
    }

    /// Moves `plugin` to its place by the instant at which it is needed. Returns whether it is in the queue.
    pub(super) fn rank(&mut self, plugin: &str, due: Timestamp) -> bool {
        let Some(Load::Waiting(rank)) = self.by_name.get_mut(plugin) else { return false };
        let (before, plugin) = (*rank, plugin.to_owned());
        *rank = rank.needed_at(due);
        let after = *rank;
        let Some((_, plugin)) = self.waiting.take(&(before, plugin)) else { return false };
        self.waiting.insert((after, plugin))
    }

    /// Removes `plugin` from the queue, or aborts its load.
    pub(super) fn give_up(&mut self, plugin: &str) {
        match self.by_name.remove_entry(plugin) {
            Some((plugin, Load::Waiting(rank))) => {
                self.waiting.remove(&(rank, plugin));
            }
            Some((_, Load::UnderWay(load))) => load.abort(),
            None => {}
        }
    }

    /// Returns whether `plugin` is queued or being loaded.
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.by_name.contains_key(plugin)
    }

    /// Returns whether no plugin is queued or being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Waits for the next event. Waits for ever if there are no loads. Cancel safe.
    pub(super) async fn next(&mut self) -> Next<L> {
        loop {
            tokio::select! {
                // Finished loads are handled before new ones begin.
                biased;
                Some(ended) = self.under_way.join_next_with_id() => {
                    // An aborted load has no result, even if it had just ended.
                    if let Ok((id, (plugin, brought))) = ended
                        && matches!(self.by_name.get(&plugin), Some(Load::UnderWay(load)) if load.id() == id)
                    {
                        self.by_name.remove(&plugin);
                        return Next::Loaded(plugin, brought);
                    }
                }
                Ok(turn) = Arc::clone(&self.turns).acquire_owned(), if !self.waiting.is_empty() => {
                    if let Some((_, plugin)) = self.waiting.pop_first() {
                        return Next::Turn(plugin, turn);
                    }
                }
                () = std::future::pending() => {}
            }
        }
    }

    /// Loads `plugin`. It keeps its slot until it is loaded or takes too long.
    pub(super) fn begin(
        &mut self,
        plugin: String,
        turn: OwnedSemaphorePermit,
        load: impl Future<Output = L> + Send + 'static,
    ) {
        let (name, patience) = (plugin.clone(), self.patience);
        let load = self.under_way.spawn(async move {
            let mut load = pin!(caught(load));
            let brought = match tokio::time::timeout(patience, &mut load).await {
                Ok(brought) => brought,
                Err(_) => {
                    drop(turn);
                    load.await
                }
            };
            (name, brought)
        });
        self.by_name.insert(plugin, Load::UnderWay(load));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::{Duration, Loading, Next, Timestamp};

    /// Begins the next plugin, whose load lasts until the test sends a result.
    async fn begin(loading: &mut Loading<u32>) -> (String, oneshot::Sender<u32>) {
        let Next::Turn(plugin, turn) = loading.next().await else { panic!("nothing is loaded yet") };
        let (done, brought) = oneshot::channel();
        loading.begin(plugin.clone(), turn, async { brought.await.unwrap_or(0) });
        (plugin, done)
    }

    #[tokio::test]
    async fn small_ones_go_first_and_two_at_once() {
        let mut loading = Loading::with_patience(2, Duration::from_secs(3600));
        for (plugin, size) in [("large", 9), ("small", 1), ("other", 5)] {
            loading.add(plugin.into(), size);
        }

        let (first, done) = begin(&mut loading).await;
        let (second, _second) = begin(&mut loading).await;
        assert_eq!((first.as_str(), second.as_str()), ("small", "other"));
        assert!(loading.next().now_or_never().is_none(), "two are under way");

        done.send(7).unwrap();
        assert!(matches!(loading.next().await, Next::Loaded(plugin, Ok(7)) if plugin == "small"));
        assert_eq!(begin(&mut loading).await.0, "large");
    }

    #[tokio::test]
    async fn those_that_are_needed_first_go_first_whatever_their_size() {
        let mut loading: Loading<u32> = Loading::with_patience(2, Duration::from_secs(3600));
        for (plugin, size) in [("later", 2), ("never", 1), ("now", 9), ("small-now", 3), ("gone", 1)] {
            loading.add(plugin.into(), size);
        }
        let ranked = [("later", 20), ("now", 10), ("small-now", 10), ("gone", 5)];
        let in_queue = ranked.map(|(plugin, due)| loading.rank(plugin, Timestamp::from_millis(due)));
        loading.give_up("gone");

        let mut order = Vec::new();
        for _ in 0..4 {
            let Next::Turn(plugin, _turn) = loading.next().await else { panic!("none is loaded") };
            order.push(plugin);
        }

        assert_eq!(order, ["small-now", "now", "later", "never"]);
        assert_eq!(in_queue, [true; 4]);
        assert!(!loading.rank("later", Timestamp::from_millis(1)), "its turn has come");
    }

    #[tokio::test]
    async fn those_that_take_long_let_others_pass() {
        let mut loading = Loading::with_patience(2, Duration::ZERO);
        for (plugin, size) in [("bomb", 1), ("bang", 2), ("good", 3)] {
            loading.add(plugin.into(), size);
        }
        let (_, bomb) = begin(&mut loading).await;
        let (_, _bang) = begin(&mut loading).await;

        let (third, done) = begin(&mut loading).await;
        assert_eq!(third, "good");
        done.send(3).unwrap();
        assert!(matches!(loading.next().await, Next::Loaded(plugin, Ok(3)) if plugin == "good"));

        bomb.send(1).unwrap();
        assert!(matches!(loading.next().await, Next::Loaded(plugin, Ok(1)) if plugin == "bomb"));
    }

    #[tokio::test]
    async fn the_result_of_an_aborted_load_is_not_used() {
        let mut loading = Loading::with_patience(2, Duration::from_secs(3600));
        loading.add("it".into(), 1);
        let (_, old) = begin(&mut loading).await;
        // The load ended before it was aborted, and its result was not yet read.
        old.send(1).unwrap();
        tokio::task::yield_now().await;

        loading.add("it".into(), 2);
        // The result is not that of the old load, whose file is gone.
        let (_, new) = begin(&mut loading).await;
        new.send(2).unwrap();

        assert!(loading.has("it"));
        assert!(matches!(loading.next().await, Next::Loaded(_, Ok(2))));
        loading.add("it".into(), 3);
        loading.give_up("it");
        assert!(!loading.has("it") && loading.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_load_that_panics_ends_with_that_panic() {
        let mut loading: Loading<u32> = Loading::with_patience(2, Duration::from_secs(3600));
        loading.add("bad".into(), 1);
        let Next::Turn(plugin, turn) = loading.next().await else { panic!("nothing is loaded yet") };
        loading.begin(plugin, turn, async { panic!("a fault of the host") });

        let Next::Loaded(plugin, Err(panic)) = loading.next().await else { panic!("it brought something") };

        assert_eq!(plugin, "bad");
        assert!(panic.to_string().starts_with("a fault of the host"), "{panic}");
        assert!(loading.is_idle(), "it may be loaded again");
    }
}
