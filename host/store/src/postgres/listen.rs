//! Hints between hosts: `NOTIFY` says that there is something to look at, never what it is.
//!
//! Hints that gather while one is being sent go in one notification. A connection that breaks is made again; because
//! hints may have been missed by then, all parts of this host are told to look. An engine without `LISTEN` is logged
//! once, and hosts then find each other's work by polling.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, NoTls, Socket};
use tracing::{debug, warn};

use crate::hints::{HintSet, Hints};
use sexton_system::supervisor::Supervisor;

use super::connect::Connector;

/// Time before a broken connection is made again.
const AGAIN: Duration = Duration::from_millis(500);

/// Least time between two notifications that only say that runs have changed: a viewer of a page sees no more.
const CHANGES_EVERY: Duration = Duration::from_millis(50);

/// The hints that only tell that something has changed.
const UNHURRIED: HintSet =
    HintSet { runs: false, locks: false, changes: true, schedules: false, plugins: false, events: true };

/// Sends hints to other hosts, and receives theirs.
#[derive(Debug)]
pub(super) struct Listener {
    /// Hints to send, a bit each.
    pending: Arc<AtomicU8>,
    wake: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Listens until the store is dropped. `instance` tells this store's notifications from others'.
    pub(super) fn start(connector: Connector, schema: &str, instance: i64, hints: Arc<Hints>) -> Self {
        let (pending, wake) = (Arc::<AtomicU8>::default(), Arc::<Notify>::default());
        let listening = Arc::new(Listening {
            connector,
            channel: format!("sexton_{schema}"),
            instance,
            hints,
            pending: pending.clone(),
            wake: wake.clone(),
        });
        let task = Supervisor::of_process().service("store listener", move || Arc::clone(&listening).run());
        Self { pending, wake, task }
    }

    /// Queues hints for the other hosts.
    pub(super) fn notify(&self, hints: HintSet) {
        let bits = to_bits(hints);
        if bits != 0 && self.pending.fetch_or(bits, Ordering::Relaxed) & bits != bits {
            self.wake.notify_one();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listening {
    connector: Connector,
    channel: String,
    instance: i64,
    hints: Arc<Hints>,
    pending: Arc<AtomicU8>,
    wake: Arc<Notify>,
}

/// The reason for which a connection is not used any more.
enum CloseReason {
    Broken(String),
    /// The engine has no `LISTEN`.
    Unknown,
}

impl Listening {
    async fn run(self: Arc<Self>) {
        loop {
            let (config, tls) = self.connector.parts();
            let over = match tls {
                Some(tls) => self.connection(&config, tls).await,
                None => self.connection(&config, NoTls).await,
            };
            match over {
                CloseReason::Unknown => {
                    warn!("The database has no LISTEN, so this host polls for the changes of others");
                    return;
                }
                CloseReason::Broken(why) => debug!(why, "Not listening to the database, trying again in {AGAIN:?}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Listens and notifies with one connection, for as long as it is good.
    async fn connection<T>(&self, config: &tokio_postgres::Config, tls: T) -> CloseReason
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync,
        T::Stream: Send + Sync + 'static,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) = match config.connect(tls).await {
            Ok(made) => made,
            Err(error) => return CloseReason::Broken(error.to_string()),
        };
        let (heard, mut hearing) = mpsc::unbounded_channel();
        let driver = tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message
                    && heard.send(notification.payload().to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let over = self.talk(&client, &mut hearing).await;
        driver.abort();
        over
    }

    async fn talk(&self, client: &Client, hearing: &mut mpsc::UnboundedReceiver<String>) -> CloseReason {
        // A hint may get lost when the server crashes, so it need not wait for the disk.
        let listen = format!("SET synchronous_commit = off; LISTEN \"{}\"", self.channel);
        match client.batch_execute(&listen).await {
            Ok(()) => {}
            Err(error)
                if [&SqlState::SYNTAX_ERROR, &SqlState::FEATURE_NOT_SUPPORTED]
                    .contains(&error.code().unwrap_or(&SqlState::INTERNAL_ERROR)) =>
            {
                return CloseReason::Unknown;
            }
            Err(error) => return CloseReason::Broken(error.to_string()),
        }
        self.hints.notify(HintSet::ALL);
        let mut last = tokio::time::Instant::now() - CHANGES_EVERY;
        loop {
            tokio::select! {
                payload = hearing.recv() => match payload {
                    Some(payload) => self.heard(&payload),
                    None => return CloseReason::Broken("the connection is closed".into()),
                },
                () = self.wake.notified() => {
                    // Hints of changes and events are in no hurry, and wait for more of them.
                    if self.pending.load(Ordering::Relaxed) & !to_bits(UNHURRIED) == 0 {
                        tokio::time::sleep_until(last + CHANGES_EVERY).await;
                    }
                    last = tokio::time::Instant::now();
                    let payload = format!("{}:{}", self.instance, self.pending.swap(0, Ordering::Relaxed));
                    if let Err(error) = client.execute("SELECT pg_notify($1, $2)", &[&self.channel, &payload]).await {
                        return CloseReason::Broken(error.to_string());
                    }
                }
            }
        }
    }

    fn heard(&self, payload: &str) {
        let Some((from, bits)) = payload.split_once(':') else { return };
        let (Ok(from), Ok(bits)) = (from.parse::<i64>(), bits.parse::<u8>()) else { return };
        if from != self.instance {
            self.hints.notify(from_bits(bits));
        }
    }
}

fn to_bits(hints: HintSet) -> u8 {
    let bits = [hints.runs, hints.locks, hints.changes, hints.schedules, hints.plugins, hints.events];
    bits.into_iter().rev().fold(0, |bits, bit| bits << 1 | u8::from(bit))
}

fn from_bits(bits: u8) -> HintSet {
    let bit = |place: u8| bits & (1 << place) != 0;
    HintSet { runs: bit(0), locks: bit(1), changes: bit(2), schedules: bit(3), plugins: bit(4), events: bit(5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_survive_their_way_through_bits() {
        for bits in 0..64 {
            assert_eq!(to_bits(from_bits(bits)), bits);
        }
        assert_eq!(from_bits(to_bits(HintSet::ALL)), HintSet::ALL);
    }
}
