//! Bounds requests that wait, apart from all others, so that short requests are answered however many wait.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api_state::App;
use super::connection_slots::ConnectionSlot;
use super::error::{ApiError, ApiResult};

/// The most requests that wait at once. Each holds a connection for minutes, of which there are twice as many
/// (`serve::MAX_CONNECTIONS`). People and programs that wait for runs are some dozens.
pub(super) const MAX_WAITING: usize = 256;

/// The seconds after which a request that found no slot may try again.
const AGAIN: u64 = 5;

/// The slots of requests that wait.
#[derive(Clone, Debug)]
pub struct WaitSlots(Arc<Semaphore>);

impl Default for WaitSlots {
    fn default() -> Self {
        Self::of(MAX_WAITING)
    }
}

impl WaitSlots {
    /// Creates slots for `places` requests.
    pub fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }
}

/// A request that may have to wait.
#[derive(Clone, Debug)]
pub(super) struct WaitPermit(Option<Arc<ConnectionSlot>>);

impl<S: Send + Sync> FromRequestParts<S> for WaitPermit {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

/// Holds a slot until this is dropped. The connection of a waiting request is not closed to make room for others.
#[derive(Debug)]
pub(super) struct WaitGuard {
    _place: OwnedSemaphorePermit,
    connection: Option<Arc<ConnectionSlot>>,
}

impl WaitPermit {
    /// Begins to wait.
    ///
    /// # Errors
    ///
    /// 503 `too-many-waiting` if too many requests wait.
    pub(super) fn begin(&self, app: &App) -> ApiResult<WaitGuard> {
        let place = Arc::clone(&app.waiting.0).try_acquire_owned().map_err(|_| {
            let message = "the host has as many waiting requests for runs, logs or profiles as it allows";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-waiting", message)
                .hint(format!("send the request without waiting, or again in {AGAIN} s; requests that do not wait are still answered"))
                .retry_after(AGAIN)
        })?;
        if let Some(connection) = &self.0 {
            connection.set_waiting(true);
        }
        Ok(WaitGuard { _place: place, connection: self.0.clone() })
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.set_waiting(false);
        }
    }
}
