//! Connections: how many, how slow, how large. One that stalls is ended; none holds up another.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// Connections at once. Each may cost up to [`MAX_HEAD`] and a body, so more would be memory; a next one waits.
const MAX_CONNECTIONS: usize = 512;

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
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (draining, drained) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            // Ends the waiting for a free place.
            () = &mut shutdown => break,
        };
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
        let (router, drained) = (router.clone(), drained.clone());
        connections.spawn(async move {
            connection(stream, router, drained).await;
            drop(place);
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

async fn connection(stream: TcpStream, router: Router, mut drained: watch::Receiver<bool>) {
    // Answers are small and complete when they are written: waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = TowerToHyperService::new(router.into_service::<hyper::body::Incoming>());
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
