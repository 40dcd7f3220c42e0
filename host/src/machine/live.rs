//! Lists the attempts that are under way on this host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sexton_domain::run::{ClaimKey, RunId};
use sexton_runtime::attempt::RunHandle;

/// The attempts that are under way on this host, by run.
#[derive(Debug, Default)]
pub struct LiveRuns {
    runs: Mutex<HashMap<RunId, Arc<RunHandle>>>,
    count: tokio::sync::watch::Sender<usize>,
}

impl LiveRuns {
    /// Adds an attempt.
    pub fn insert(&self, handle: Arc<RunHandle>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.insert(handle.key.run, handle);
        self.count.send_replace(runs.len());
    }

    /// Removes an attempt. A later attempt at the same run stays.
    pub fn remove(&self, key: ClaimKey) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.get(&key.run).is_some_and(|handle| handle.key == key) {
            runs.remove(&key.run);
        }
        self.count.send_replace(runs.len());
    }

    /// Returns the attempt at `run` that is under way here, if there is one.
    pub fn get(&self, run: RunId) -> Option<Arc<RunHandle>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
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
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns a receiver of the number of attempts.
    pub fn count(&self) -> tokio::sync::watch::Receiver<usize> {
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
}
