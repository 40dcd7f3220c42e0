//! Requests that wait for something: bounded apart from all others, so that however many wait, short requests are answered.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api_state::App;
use super::error::{ApiError, ApiResult};
use super::places::Place;

/// Requests that wait at once. Each holds a connection for minutes, of which there are twice as many
/// (`serve::MAX_CONNECTIONS`); people and programs that wait for runs are some dozens.
pub(super) const MAX_WAITING: usize = 256;

/// After how many seconds a request that found no place may try again.
const AGAIN: u64 = 5;

/// The places of requests that wait.
#[derive(Clone, Debug)]
pub struct WaitingPlaces(Arc<Semaphore>);

impl Default for WaitingPlaces {
    fn default() -> Self {
        Self::of(MAX_WAITING)
    }
}

impl WaitingPlaces {
    /// So many places.
    pub fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }
}

/// A request that may have to wait.
#[derive(Clone, Debug)]
pub(super) struct MayWait(Option<Arc<Place>>);

impl<S: Send + Sync> FromRequestParts<S> for MayWait {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

/// A request that waits, until this is dropped. Its connection is not closed to make room for others.
#[derive(Debug)]
pub(super) struct Waiting {
    _place: OwnedSemaphorePermit,
    connection: Option<Arc<Place>>,
}

impl MayWait {
    /// Begins to wait.
    ///
    /// # Errors
    ///
    /// 503 `too-many-waiting` if too many do.
    pub(super) fn begin(&self, app: &App) -> ApiResult<Waiting> {
        let place = Arc::clone(&app.waiting.0).try_acquire_owned().map_err(|_| {
            let message = "as many requests wait for runs, logs or profiles as this host lets wait";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-waiting", message)
                .hint(format!("ask without waiting, or again in {AGAIN} s; requests that do not wait are answered"))
                .retry_after(AGAIN)
        })?;
        if let Some(connection) = &self.0 {
            connection.set_waiting(true);
        }
        Ok(Waiting { _place: place, connection: self.0.clone() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.set_waiting(false);
        }
    }
}
