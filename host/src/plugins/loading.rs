//! What is to be loaded, and what is being loaded: a few plugins at once, small ones first, and none waits for one that
//! takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use crate::supervisor::{Panic, caught};

/// Plugins that are read and loaded at once: compiling one takes a core.
const LOADING: usize = 2;

/// How long one is waited for before the next is begun beside it. The runtime has a place for those that take long.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loads of one directory, by the plugins' names. `L` is what they bring.
#[derive(Debug)]
pub(super) struct Loading<L> {
    /// By size and name: what is soon done is soon in use.
    waiting: BTreeSet<(u64, String)>,
    turns: Arc<Semaphore>,
    under_way: JoinSet<(String, Result<L, Panic>)>,
    by_name: BTreeMap<String, Load>,
    patience: Duration,
}

#[derive(Debug)]
enum Load {
    /// With the size by which it is in the queue.
    Waiting(u64),
    /// And how to give it up.
    UnderWay(AbortHandle),
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Next<L> {
    /// It is this plugin's turn: [`Loading::begin`] it.
    Turn(String, OwnedSemaphorePermit),
    /// What the load of this plugin brought; the panic, if it ended with one.
    Loaded(String, Result<L, Panic>),
}

impl<L: Send + 'static> Loading<L> {
    pub(super) fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Self {
        let (waiting, under_way, by_name) = Default::default();
        Self { waiting, turns: Arc::new(Semaphore::new(LOADING)), under_way, by_name, patience }
    }

    /// Load `plugin`, of about so many bytes, when its turn comes. If it is being loaded already, that is given up: it is no
    /// longer what it was.
    pub(super) fn add(&mut self, plugin: String, size: u64) {
        self.give_up(&plugin);
        self.waiting.insert((size, plugin.clone()));
        self.by_name.insert(plugin, Load::Waiting(size));
    }

    /// Do not load `plugin`, or no longer.
    pub(super) fn give_up(&mut self, plugin: &str) {
        match self.by_name.remove_entry(plugin) {
            Some((plugin, Load::Waiting(size))) => {
                self.waiting.remove(&(size, plugin));
            }
            Some((_, Load::UnderWay(load))) => load.abort(),
            None => {}
        }
    }

    /// Whether `plugin` is to be loaded, or being loaded.
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.by_name.contains_key(plugin)
    }

    /// Whether nothing is to be loaded, or being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Wait for a turn or for a load. Waits for ever if there are none; may be given up at any time.
    pub(super) async fn next(&mut self) -> Next<L> {
        loop {
            tokio::select! {
                // What is loaded goes before what is begun.
                biased;
                Some(ended) = self.under_way.join_next_with_id() => {
                    // One that was given up brings nothing, even if it was over in that moment.
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

    /// Load `plugin`. It keeps its turn until it is loaded or takes long.
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

    use super::{Duration, Loading, Next};

    /// The next plugin whose turn it is, which begins to load until it is told what it brings.
    async fn begin(loading: &mut Loading<u32>) -> (String, oneshot::Sender<u32>) {
        let Next::Turn(plugin, turn) = loading.next().await else { panic!("nothing is loaded yet") };
        let (done, brought) = oneshot::channel();
        loading.begin(plugin.clone(), turn, async { brought.await.unwrap_or(0) });
        (plugin, done)
    }

    #[tokio::test]
    async fn small_ones_go_first_and_two_at_once() {
        let mut loading = Loading::with_patience(Duration::from_secs(3600));
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
    async fn those_that_take_long_let_others_pass() {
        let mut loading = Loading::with_patience(Duration::ZERO);
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
    async fn what_a_load_brings_that_was_given_up_is_not_used() {
        let mut loading = Loading::with_patience(Duration::from_secs(3600));
        loading.add("it".into(), 1);
        let (_, old) = begin(&mut loading).await;
        // Over before it is given up, and not yet looked at.
        old.send(1).unwrap();
        tokio::task::yield_now().await;

        loading.add("it".into(), 2);
        // Not what the old load brought, of a file that is no longer there.
        let (_, new) = begin(&mut loading).await;
        new.send(2).unwrap();

        assert!(loading.has("it"));
        assert!(matches!(loading.next().await, Next::Loaded(_, Ok(2))));
        loading.add("it".into(), 3);
        loading.give_up("it");
        assert!(!loading.has("it") && loading.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_load_that_panics_is_over_and_says_so() {
        let mut loading: Loading<u32> = Loading::with_patience(Duration::from_secs(3600));
        loading.add("bad".into(), 1);
        let Next::Turn(plugin, turn) = loading.next().await else { panic!("nothing is loaded yet") };
        loading.begin(plugin, turn, async { panic!("a fault of the host") });

        let Next::Loaded(plugin, Err(panic)) = loading.next().await else { panic!("it brought something") };

        assert_eq!(plugin, "bad");
        assert!(panic.to_string().starts_with("a fault of the host"), "{panic}");
        assert!(loading.is_idle(), "it may be loaded again");
    }
}
