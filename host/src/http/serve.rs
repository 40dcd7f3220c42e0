//! Connections: how many, how slow, how large. One that stalls is ended; none holds up another.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use super::places::{Place, Places, UnderWay};
use crate::supervisor::{Supervisor, caught};

/// Connections at once. Each may cost up to [`MAX_HEAD`] and a body, so more would be memory; where all are taken, one that is
/// idle or slow makes room for the next (see `places`). Twice as many as requests may wait (`waiting::MAX_WAITING`).
const MAX_CONNECTIONS: usize = 512;

/// How often room is made for a connection that waits for a place.
const MAKE_ROOM: Duration = Duration::from_millis(50);

/// Bytes that a request's line and headers may have together.
const MAX_HEAD: usize = 16 << 10;

/// Headers that a request may have.
const MAX_HEADERS: usize = 64;

/// How long a request's head may take, and how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a client may take to accept more bytes of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers under way may go on once the host shuts down. Those that wait for something are cut off then.
const DRAIN: Duration = Duration::from_secs(1);

/// Answer on `listener` until `shutdown` is over, then let answers under way end for a second.
///
/// Errors of single connections end only them.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    serve_at_most(MAX_CONNECTIONS, listener, router, shutdown).await;
}

/// [`serve`] with at most so many connections at once.
pub(super) async fn serve_at_most(
    most: usize,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let (room, places) = (Arc::new(Semaphore::new(most)), Arc::new(Places::default()));
    let (draining, drained) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("Accepting connections again");
                    }
                    stream
                }
                Err(e) => {
                    // Most often too many open files: others must close some first, so asking at once would spin.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %e, "Could not accept a connection, trying again and again");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            // Ends the accepting.
            () = &mut shutdown => break,
        };
        let free = tokio::select! {
            free = free_place(&room, &places) => free,
            // Ends the waiting for a free place.
            () = &mut shutdown => break,
        };
        let (router, drained, taken) = (router.clone(), drained.clone(), places.take());
        connections.spawn(async move {
            let ended = caught(connection(stream, router, drained, Arc::clone(&taken.place))).await;
            if let Err(panic) = ended {
                Supervisor::of_process().note("a connection to the API", &panic);
            }
            drop((taken, free));
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    draining.send_replace(true);
    let all_over = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all_over).await.is_err() {
        connections.shutdown().await;
    }
}

/// A place for one more connection. Others make room for it if they must.
async fn free_place(room: &Arc<Semaphore>, places: &Places) -> OwnedSemaphorePermit {
    loop {
        let free = Arc::clone(room).acquire_owned();
        if room.available_permits() == 0 {
            places.make_room(Instant::now());
        }
        if let Ok(free) = tokio::time::timeout(MAKE_ROOM, free).await {
            return free.expect("the semaphore is never closed");
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut drained: watch::Receiver<bool>, place: Arc<Place>) {
    // Answers are small and complete when they are written: waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let routes = TowerToHyperService::new(router.into_service::<Incoming>());
    let of_requests = Arc::clone(&place);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (routes, place) = (routes.clone(), Arc::clone(&of_requests));
        let under_way = place.begin();
        request.extensions_mut().insert(place);
        async move {
            let response = routes.call(request).await?;
            Ok::<_, Infallible>(response.map(|body| Answer { body, _under_way: under_way }))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut serving = pin!(serving);
    let shutdown = async { drained.wait_for(|draining| *draining).await.is_ok() };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        // Another connection needs the place.
        () = place.closed() => return,
        // The host shuts down: the request under way is answered, and no other is read.
        _ = shutdown => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(e) = ended {
        // A client that went away or stalled is its own business.
        tracing::debug!(error = %e, "A connection to the API ended early");
    }
}

/// The body of an answer. Its request is under way until the last of it is handed over, or it is dropped.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
