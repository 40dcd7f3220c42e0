//! A few threads that read, each with its own connection: SQLite blocks, and the control plane's threads must not.
//!
//! In WAL mode they see the latest commit and never wait for the writer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use sexton_system::supervisor::{AfterPanic, Supervisor};

/// A query that also sends its answer.
type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The threads and their queue.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each of `connections`.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (queue, queries) = channel::<Query>();
        let queries = Arc::new(Mutex::new(queries));
        let threads = connections
            .into_iter()
            .map(|conn| {
                let queries = queries.clone();
                Supervisor::of_process().thread("store-read", AfterPanic::Again, move || serve(&conn, &queries))
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Runs `query` on one of the threads, within a transaction: all that it reads is of one moment. Returns `None` if
    /// the thread gave no answer.
    pub(super) async fn read<T, F>(&self, query: F) -> Option<rusqlite::Result<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |conn: &Connection| {
            let result = conn.unchecked_transaction().and_then(|moment| {
                let result = query(conn);
                moment.finish()?;
                result
            });
            // The caller may have gone away by now.
            drop(reply.send(result));
        });
        self.queue.as_ref()?.send(query).ok()?;
        answer.await.ok()
    }
}

/// Serves queries until the queue is dropped.
fn serve(conn: &Connection, queries: &Mutex<Receiver<Query>>) {
    loop {
        // The guard is dropped with this statement, so that the next thread waits for a query, not for the end of this
        // one.
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        // A panic in a query drops the sender of its answer, and must not end the thread.
        Supervisor::of_process().watched("store query", || query(conn));
    }
}

impl Drop for Readers {
    /// Ends when all queries in the queue are answered, so that the connections are closed before the writer's.
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            drop(thread.join());
        }
    }
}
