//! Lists the attempts that are under way on this host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use sexton_domain::run::{ClaimKey, RunId};
use sexton_runtime::attempt::RunHandle;

/// The attempts that are under way on this host.
#[derive(Debug, Default)]
pub struct LiveRuns {
    listed: Mutex<Listed>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Listed {
    runs: HashMap<RunId, Arc<RunHandle>>,
    /// Whether the host is draining.
    draining: bool,
    /// Whether the host shuts down.
    stopping: bool,
}

impl LiveRuns {
    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attempt whose guest has not begun. If the host takes no more runs, the attempt ends at once.
    pub fn insert(&self, handle: Arc<RunHandle>) {
        let mut listed = self.listed();
        if listed.draining || listed.stopping {
            handle.return_unless_begun();
        }
        listed.runs.insert(handle.key.run, handle);
        self.count.send_replace(listed.runs.len());
    }

    /// Removes an attempt. A later attempt at the same run stays.
    pub fn remove(&self, key: ClaimKey) {
        let mut listed = self.listed();
        if listed.runs.get(&key.run).is_some_and(|handle| handle.key == key) {
            listed.runs.remove(&key.run);
        }
        self.count.send_replace(listed.runs.len());
    }

    /// Sets whether the host is draining. While it is, attempts whose guest has not begun end, and their runs go back to
    /// the store.
    pub fn set_draining(&self, draining: bool) {
        let mut listed = self.listed();
        listed.draining = draining;
        if draining {
            listed.runs.values().for_each(|handle| handle.return_unless_begun());
        }
    }

    /// Notifies the guests that can be notified of the shutdown of the host. From now on attempts whose guest has not
    /// begun end, and their runs go back to the store.
    pub fn announce_shutdown(&self) {
        let mut listed = self.listed();
        listed.stopping = true;
        listed.runs.values().for_each(|handle| handle.announce_shutdown());
    }

    /// Returns the attempt at `run` that is under way here, if there is one.
    pub fn get(&self, run: RunId) -> Option<Arc<RunHandle>> {
        self.listed().runs.get(&run).cloned()
    }

    /// Ends those of `ended` that are under way here, because the run `by` takes their place. Other hosts learn it from
    /// the store.
    pub fn end_replaced(&self, ended: &[RunId], by: RunId) {
        for handle in ended.iter().filter_map(|run| self.get(*run)) {
            handle.replace(by);
        }
    }

    /// Returns all attempts.
    pub fn all(&self) -> Vec<Arc<RunHandle>> {
        self.listed().runs.values().cloned().collect()
    }

    /// Returns a receiver of the number of attempts.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{first_claim, handle, task_key};
    use sexton_runtime::attempt::Stop;

    #[test]
    fn only_replaced_runs_end_and_they_name_their_successor() {
        let live = LiveRuns::default();
        let handles = [1, 2].map(|run| handle(first_claim(run), task_key("a")));
        handles.iter().for_each(|handle| live.insert(Arc::clone(handle)));

        // Run 3 was waiting, and was never here.
        live.end_replaced(&[RunId(1), RunId(3)], RunId(4));

        let stopped = handles.map(|handle| handle.stopped());
        assert_eq!(stopped, [Some(Stop::Killed("replaced by run 4".into())), None]);
    }

    #[test]
    fn a_host_that_drains_or_stops_begins_no_attempt() {
        let live = LiveRuns::default();
        let handles = [1, 2, 3, 4].map(|run| handle(first_claim(run), task_key("a")));
        let insert = |at: usize| live.insert(Arc::clone(&handles[at]));

        insert(0);
        live.set_draining(true);
        insert(1);
        live.set_draining(false);
        insert(2);
        let drained = handles.each_ref().map(|handle| handle.stopped());
        live.announce_shutdown();
        insert(3);
        let stopped = handles.each_ref().map(|handle| handle.stopped());

        assert_eq!(drained, [Some(Stop::Returned), Some(Stop::Returned), None, None]);
        assert_eq!(stopped, [const { Some(Stop::Returned) }; 4]);
    }
}
