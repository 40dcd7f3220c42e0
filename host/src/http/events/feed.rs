//! Reads new events once for all readers of this host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, sleep_until, timeout};

use sexton_store::events::{Event, EventFilter};
use sexton_store::{Result, Store};
use sexton_system::supervisor::{Supervisor, rests, works};

use crate::http::api_types::events::EventShape;
use crate::http::error::{ApiError, ApiResult};

/// The most readers at once. Each holds a connection and a slot of a request that waits, which others need, too.
const MAX_READERS: usize = 128;

/// The most events in a batch.
const EVENTS: usize = 500;

/// The batches that wait for the slowest reader. One that is further behind is cut off.
pub(super) const BATCHES: usize = 128;

/// The shortest time between two queries of the store: a busy store has new events with each commit. With the number of
/// batches, a reader may stall for six seconds.
const LEAST: Duration = Duration::from_millis(50);

/// The longest time between two queries, because a hint may get lost.
const MOST: Duration = Duration::from_secs(1);

/// The seconds after which a reader that found no place may try again.
const AGAIN: u64 = 5;

/// New events, in the order of their ids and without a gap.
#[derive(Debug)]
pub(super) struct Batch {
    /// The id after which the batch begins.
    pub(super) after: u64,
    /// The id with which it ends.
    pub(super) until: u64,
    /// The events, each with its JSON.
    pub(super) events: Vec<(Event, String)>,
}

/// Returns the JSON of an event, on one line.
pub(super) fn json(event: &Event) -> String {
    serde_json::to_string(&EventShape::from(event)).expect("an event has no keys that JSON cannot have")
}

/// Feeds new events to the readers of this host. Without readers it reads nothing.
#[derive(Clone, Debug)]
pub struct EventFeed(Arc<Feed>);

#[derive(Debug)]
struct Feed {
    store: Arc<dyn Store>,
    batches: broadcast::Sender<Arc<Batch>>,
    places: Arc<Semaphore>,
    /// Whether the poller is running. It ends under this lock, so that no reader relies on one that ends.
    polling: Mutex<bool>,
}

/// The place of a reader.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) batches: broadcast::Receiver<Arc<Batch>>,
    _place: OwnedSemaphorePermit,
}

impl EventFeed {
    /// Creates the feed of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (places, polling) = (Arc::new(Semaphore::new(MAX_READERS)), Mutex::new(false));
        Self(Arc::new(Feed { store, batches: broadcast::Sender::new(BATCHES), places, polling }))
    }

    /// Takes a place. From here on the reader gets all new events, in batches.
    ///
    /// # Errors
    ///
    /// 503 `too-many-readers` if all places are taken.
    pub(super) fn join(&self) -> ApiResult<Seat> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| {
            let message = "as many readers follow the events of this host as it allows";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-readers", message)
                .hint(format!("follow those of another host of the store, or try again in {AGAIN} s"))
                .retry_after(AGAIN)
        })?;
        let mut polling = self.0.polling.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = self.0.batches.subscribe();
        if !std::mem::replace(&mut polling, true) {
            let feed = Arc::clone(&self.0);
            Supervisor::of_process().service("events", move || Arc::clone(&feed).poll());
        }
        Ok(Seat { batches, _place: place })
    }

    /// Sends a batch, as the poller does.
    #[cfg(test)]
    pub(super) fn send(&self, batch: Batch) {
        drop(self.0.batches.send(Arc::new(batch)));
    }
}

impl Feed {
    /// Sends new events until there are no readers.
    async fn poll(self: Arc<Self>) {
        let hint = self.store.events_hint();
        let (mut after, mut failing) = (None, false);
        loop {
            works();
            // This comes before the query, so that no event falls between the two.
            let told = hint.notified();
            let looked = Instant::now();
            let more = match self.look(&mut after).await {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %error, "Cannot read events, trying again and again");
                    }
                    false
                }
            };
            if self.has_ended() {
                return;
            }
            rests(Some(MOST));
            if !more {
                // A hint that does not come is replaced by the time.
                let _ = timeout(MOST, told).await;
            }
            sleep_until(looked + LEAST).await;
        }
    }

    /// Sends the events after `after`, and moves it. Returns whether there may be more.
    async fn look(&self, after: &mut Option<u64>) -> Result<bool> {
        let from = match *after {
            Some(after) => after,
            None => *after.insert(self.store.newest_event().await?),
        };
        let page = self.store.events(from, EventFilter::default(), EVENTS).await?;
        *after = Some(page.until);
        if page.lost {
            // Readers find the gap before the next batch, and look by themselves.
            return Ok(true);
        }
        if page.until > from {
            let events = page.events.into_iter().map(|event| {
                let json = json(&event);
                (event, json)
            });
            let batch = Batch { after: from, until: page.until, events: events.collect() };
            // The last reader may have left.
            drop(self.batches.send(Arc::new(batch)));
        }
        Ok(page.more)
    }

    /// Ends the poller if there are no readers.
    fn has_ended(&self) -> bool {
        let mut polling = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
        *polling = self.batches.receiver_count() > 0;
        !*polling
    }
}
