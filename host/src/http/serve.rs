//! Serves connections, and bounds their number, duration and size. A connection that stalls is ended; none delays
//! another.

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

use super::connection_slots::{ConnectionSlot, ConnectionSlots, RequestGuard};
use sexton_system::supervisor::{Supervisor, caught};

/// The most connections. Each may cost up to [`MAX_HEAD`] and a body, so more would take more memory. If all are taken,
/// an idle or slow one makes room for the next (see `places`). It is twice the number of requests that may wait
/// (`waiting::MAX_WAITING`).
const MAX_CONNECTIONS: usize = 512;

/// The interval at which room is made for a connection that waits for a place.
const MAKE_ROOM: Duration = Duration::from_millis(50);

/// The most bytes of a request's line and headers together.
const MAX_HEAD: usize = 16 << 10;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// The time in which a request's head must arrive, and for which a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The time in which a client must accept more bytes of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for which responses may go on once the host shuts down. Requests that wait are cut off then.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves `listener` until `shutdown` completes, then lets responses finish for a second.
///
/// Errors of a connection end only that connection.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    serve_at_most(MAX_CONNECTIONS, listener, router, shutdown).await;
}

/// Does the same as [`serve`] with at most `most` connections at once.
pub(super) async fn serve_at_most(
    most: usize,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let (room, places) = (Arc::new(Semaphore::new(most)), Arc::new(ConnectionSlots::default()));
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
                    // The usual cause is too many open files. Others must close some first, so an immediate retry would
                    // spin.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %e, "Could not accept a connection, trying again and again");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            // Ends the loop that accepts.
            () = &mut shutdown => break,
        };
        let free = tokio::select! {
            free = free_place(&room, &places) => free,
            // Ends the wait for a free place.
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

/// Returns a place for one more connection. Others make room for it if necessary.
async fn free_place(room: &Arc<Semaphore>, places: &ConnectionSlots) -> OwnedSemaphorePermit {
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

async fn connection(stream: TcpStream, router: Router, mut drained: watch::Receiver<bool>, place: Arc<ConnectionSlot>) {
    // Responses are small and complete when they are written, so waiting to fill a packet would only delay them.
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
        // The host shuts down: the request under way is answered, and no further one is read.
        _ = shutdown => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(e) = ended {
        // A client that went away or stalled needs no attention.
        tracing::debug!(error = %e, "A connection to the API ended early");
    }
}

/// The body of a response. Its request is under way until the last part is sent, or the body is dropped.
struct Answer {
    body: Body,
    _under_way: RequestGuard,
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
