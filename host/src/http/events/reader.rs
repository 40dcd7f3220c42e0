//! Follows events for one client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};

use sexton_store::events::EventFilter;
use sexton_store::{Result, Store};

use super::feed::{BATCHES, Batch, Seat, json};
use super::format::Format;
use crate::http::api_types::events::StreamNotice;
use crate::http::waiting::WaitGuard;

/// The time without events after which a client gets a sign of life. Proxies and browsers give up after 30 s or more.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The most events that are read from the store in one piece.
const EVENTS: usize = 500;

/// The stage of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent yet.
    New,
    /// Events are read from the store.
    CatchingUp,
    /// New events come from the feed.
    Live,
    Over,
}

/// Follows events from an id on. The client is asked for nothing: it gets text whenever it takes some.
pub(super) struct Reader {
    store: Arc<dyn Store>,
    filter: EventFilter,
    format: Format,
    /// The id up to which events were sent, or left out by the filter.
    position: u64,
    stage: Stage,
    seat: Seat,
    heartbeat: Interval,
    /// Held for as long as events are followed.
    _waiting: WaitGuard,
}

impl Reader {
    /// Creates a reader of the events after the id `after`, which took its seat before that id was looked up.
    pub(super) fn new(
        store: Arc<dyn Store>,
        filter: EventFilter,
        format: Format,
        after: u64,
        seat: Seat,
        waiting: WaitGuard,
    ) -> Self {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        Self { store, filter, format, position: after, stage: Stage::New, seat, heartbeat, _waiting: waiting }
    }

    /// Returns the next piece of text, once there is one; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let text = match self.stage {
                Stage::New => {
                    // The client learns at once that it is connected.
                    self.stage = Stage::CatchingUp;
                    self.format.heartbeat(self.position)
                }
                Stage::CatchingUp => match self.catch_up().await {
                    Ok(text) => text,
                    Err(error) => {
                        tracing::error!(error = %error, "Could not read events for a client");
                        self.end("failed", "the host could not read its store; connect again")
                    }
                },
                Stage::Live => self.live().await,
                Stage::Over => return None,
            };
            if !text.is_empty() {
                self.heartbeat.reset();
                return Some(text);
            }
        }
    }

    /// Returns the next events from the store.
    async fn catch_up(&mut self) -> Result<String> {
        // Batches up to here are in the store, so this client need not have kept up with them.
        self.seat.batches = self.seat.batches.resubscribe();
        let page = self.store.events(self.position, self.filter.clone(), EVENTS).await?;
        if !page.more {
            self.stage = Stage::Live;
        }
        self.position = page.until;
        if page.lost {
            return Ok(self.format.notice(page.until, &StreamNotice::Reset { newest: page.until }));
        }
        let mut text = String::new();
        for event in &page.events {
            self.format.push_event(&mut text, event.id, &json(event));
        }
        Ok(text)
    }

    /// Returns the next events from the feed, or a sign of life.
    async fn live(&mut self) -> String {
        tokio::select! {
            received = self.seat.batches.recv() => match received {
                Ok(batch) => self.take(&batch),
                Err(RecvError::Lagged(batches)) => {
                    tracing::info!(batches, "Cut off a client that did not keep up with events");
                    self.end("slow", "the client did not keep up; connect again to go on")
                }
                Err(RecvError::Closed) => {
                    self.stage = Stage::Over;
                    String::new()
                }
            },
            // Ends the wait for events, which goes on afterwards.
            _ = self.heartbeat.tick() => self.format.heartbeat(self.position),
        }
    }

    fn take(&mut self, batch: &Batch) -> String {
        let mut text = String::new();
        if batch.after > self.position {
            // The batches in between are in the store, like this one.
            self.stage = Stage::CatchingUp;
            return text;
        }
        for (event, json) in &batch.events {
            if event.id > self.position && self.filter.admits(event) {
                self.format.push_event(&mut text, event.id, json);
            }
        }
        self.position = self.position.max(batch.until);
        text
    }

    fn end(&mut self, reason: &str, message: &str) -> String {
        self.stage = Stage::Over;
        let notice = StreamNotice::End { reason: reason.to_owned(), message: message.to_owned() };
        self.format.notice(self.position, &notice)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A client that takes nothing at all is never told: its connection was cut while the host was writing to it.
        let batches = self.seat.batches.len();
        if self.stage == Stage::Live && batches > BATCHES {
            tracing::info!(batches, "Cut off a client that took no events");
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("position", &self.position).field("stage", &self.stage).finish_non_exhaustive()
    }
}
