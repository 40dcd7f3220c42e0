//! Defines the part of the contract for requests that clients may repeat: each carries a key, and a repeated one gets
//! the answer of the first. `rules::requests` decides.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The time for which an answer is kept, from the begin of its request. Clients that repeat requests do so for hours at
/// most.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The time after which a request without an answer may be carried out by another attempt: its host has died, or was
/// cut off from the store for longer than its client waits. The keys of runs and schedules find again what it
/// has made.
pub const IN_PROGRESS: Duration = Duration::from_secs(10);

/// The identity of a request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatableRequest {
    /// The tenant that the request is about.
    pub tenant: Name,
    /// The operation: a method and a path, of at most some hundred bytes.
    pub operation: String,
    /// The key that the client has chosen.
    pub key: String,
}

/// An attempt to carry out a request.
#[derive(Clone, Debug)]
pub struct BeginRequest {
    pub request: RepeatableRequest,
    /// The digest of everything else that the request says, of 32 bytes.
    pub digest: Vec<u8>,
    /// The number of the attempt, drawn at random.
    pub attempt: i64,
    pub now: Timestamp,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAnswer {
    pub status: u16,
    /// The path of what was made, if that is one thing.
    pub location: Option<String>,
    /// The body, which is JSON.
    pub body: Vec<u8>,
}

/// The result of a [`BeginRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The attempt must carry the request out, and then end it.
    New,
    /// Another attempt is in progress.
    InProgress,
    /// The key belongs to a request that says something else.
    Differs,
    /// The request was carried out before.
    Answered(RequestAnswer),
}

/// Keeps requests that may be repeated. The promises of [`Store`](super::Store) apply here, too.
#[async_trait]
pub trait Requests {
    /// Begins an attempt, unless the request has an answer or another attempt.
    async fn begin_request(&self, begin: BeginRequest) -> Result<Begun>;

    /// Ends an attempt: keeps the answer, or forgets the request without one, so that it may be tried again. An attempt
    /// that another has taken over changes nothing.
    async fn end_request(&self, request: RepeatableRequest, attempt: i64, answer: Option<RequestAnswer>) -> Result<()>;
}
