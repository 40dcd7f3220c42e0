//! Tests connections over real sockets.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{BOUND, Rig, WAITING};
use crate::http::serve::serve_at_most;

struct Serving {
    address: std::net::SocketAddr,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn serving(rig: &Rig) -> Serving {
    serving_at_most(rig, 512).await
}

async fn serving_at_most(rig: &Rig, most: usize) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (end, ended) = oneshot::channel();
    let shutdown = async { ended.await.unwrap_or_default() };
    Serving { address, end, served: tokio::spawn(serve_at_most(most, listener, rig.router.clone(), shutdown)) }
}

impl Serving {
    /// Sends `text` on a connection of its own.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a listening socket");
        stream.write_all(text.as_bytes()).await.expect("an open connection");
        stream
    }

    /// Returns everything that comes back for `text` until the connection is closed.
    async fn answer(&self, text: &str) -> String {
        let mut stream = self.send(text).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset after the response counts as an end.
        let _ = tokio::time::timeout(BOUND, read).await.expect("the connection is closed");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

const HEALTH: &str = "GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn clients_that_stall_delay_no_others() {
    let rig = Rig::new();
    let serving = serving(&rig).await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(serving.send("GET /v1/health HT").await);
        stalled.push(
            serving.send("POST /v1/tasks/hello/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx").await,
        );
    }

    assert!(serving.answer(HEALTH).await.starts_with("HTTP/1.1 200"));
    drop(stalled);
}

#[tokio::test]
async fn a_head_that_is_too_large_or_no_http_is_refused() {
    let rig = Rig::new();
    let serving = serving(&rig).await;
    let large = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(100));
    for (head, status) in [(large.as_str(), "431"), (many.as_str(), "431"), ("nonsense\r\n\r\n", "400")] {
        let answer = serving.answer(head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer:?}");
    }
    assert!(serving.answer(HEALTH).await.starts_with("HTTP/1.1 200"), "others are served as before");
}

#[tokio::test]
async fn a_shutdown_ends_waiting_requests() {
    let rig = Rig::new();
    let run = rig.waiting().await;
    let serving = serving(&rig).await;
    let mut follower =
        serving.send(&format!("GET /v1/runs/{run}/log?follow=true HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    let mut head = [0; 12];
    follower.read_exact(&mut head).await.expect("the answer has begun");
    assert_eq!(&head, b"HTTP/1.1 200");

    let began = Instant::now();
    serving.end.send(()).expect("it is being served");
    tokio::time::timeout(BOUND, serving.served).await.expect("it ends").expect("without a panic");

    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// Reads the head of a response, on a connection that stays open.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(BOUND, stream.read_u8()).await.expect("an answer").expect("an open connection");
        head.push(byte);
    }
    String::from_utf8(head).expect("a head")
}

#[tokio::test]
async fn requests_that_wait_are_bounded_apart_and_leave_room_for_all_others() {
    let rig = Rig::new();
    let run = rig.waiting().await;
    let serving = serving_at_most(&rig, 2 * WAITING).await;
    let mut waiting = Vec::new();
    for place in 0..WAITING {
        let path = if place % 2 == 0 { "log?follow=true" } else { "wait?timeout=5m" };
        waiting.push(serving.send(&format!("GET /v1/runs/{run}/{path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await);
    }
    for follower in waiting.iter_mut().step_by(2) {
        assert!(head(follower).await.starts_with("HTTP/1.1 200"));
    }

    // The waiting requests have no response yet, so the test repeats this until all of them have begun.
    let refused = async {
        loop {
            let wait =
                format!("GET /v1/runs/{run}/wait?timeout=1ms HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let answer = serving.answer(&wait).await;
            if answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(BOUND, refused).await.expect("there are as many as may be");
    assert!(refused.contains("too-many-waiting") && refused.contains("retry-after: 5"), "{refused}");
    for _ in 0..3 * WAITING {
        assert!(serving.answer(HEALTH).await.starts_with("HTTP/1.1 200"));
    }
    let kill = format!(
        "POST /v1/runs/{run}/kill HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert!(serving.answer(&kill).await.starts_with("HTTP/1.1 200"));
    for waiter in waiting.iter_mut().skip(1).step_by(2) {
        assert!(head(waiter).await.starts_with("HTTP/1.1 200"), "none was closed to make room");
    }
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_for_those_that_do() {
    let rig = Rig::new();
    let serving = serving_at_most(&rig, 8).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(serving.send("").await);
        silent.push(serving.send("GET /v1/health HT").await);
    }

    for _ in 0..5 {
        assert!(serving.answer(HEALTH).await.starts_with("HTTP/1.1 200"));
    }
    drop(silent);
}

#[tokio::test]
async fn requests_that_are_sent_slowly_make_room_after_a_while() {
    let rig = Rig::new();
    let serving = serving_at_most(&rig, 8).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(
            serving.send("POST /v1/tasks/hello/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx").await,
        );
    }

    assert!(serving.answer(HEALTH).await.starts_with("HTTP/1.1 200"));
    drop(slow);
}
