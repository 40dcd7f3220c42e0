//! Tests attacks by guests, servers and names, over real sockets on loopback.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::attempt::{Interrupt, InterruptReason};
use crate::imports::testing::{BOUND, ledger, refusals, soon, until};

use super::*;

const AUTHORITY: &[u8] = include_bytes!("testdata/authority.der");
const CERTIFICATE: &[u8] = include_bytes!("testdata/localhost.der");
const KEY: &[u8] = include_bytes!("testdata/localhost-key.der");

/// An event that a server saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Request(String),
    Closed,
}

/// Starts a server that answers each connection's request with `reply`, and sends nothing more until it is closed.
async fn server(reply: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, sight) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, reply, seen.clone()));
        }
    });
    (address, sight)
}

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, reply: &str, seen: mpsc::UnboundedSender<Seen>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let _ = seen.send(Seen::Request(String::from_utf8(head).unwrap()));
    let _ = stream.write_all(reply.as_bytes()).await;
    while let Ok(1..) = stream.read(&mut [0; 64]).await {}
    let _ = seen.send(Seen::Closed);
}

async fn next_request(sight: &mut mpsc::UnboundedReceiver<Seen>) -> String {
    loop {
        match soon(sight.recv()).await.expect("the server is there as long as the test") {
            Seen::Request(head) => return head,
            Seen::Closed => {} // the connection before
        }
    }
}

fn grant(host: &str, port: u16) -> HttpHost {
    HttpHost { host: host.to_owned(), port: Some(port) }
}

fn sender(grants: &[HttpHost]) -> Sender {
    let until = until(BOUND);
    let refusals = refusals(&until);
    Sender::new(grants, until, ledger(), refusals)
}

fn request(uri: &str) -> Request<WasiBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let uri: ::http::Uri = uri.parse().unwrap();
    let host = uri.authority().unwrap().to_string();
    // `outgoing-handler.handle` builds requests like this.
    Request::builder().uri(uri).header("host", host).body(body).unwrap()
}

async fn send(sender: &mut Sender, uri: &str) -> Result<Answer, Error> {
    send_with(sender, uri, None).await
}

async fn send_with(sender: &mut Sender, uri: &str, options: Option<RequestOptions>) -> Result<Answer, Error> {
    soon(Pin::from(sender.send_request(request(uri), options, Box::new(async { Ok(()) })))).await
}

/// Reads the body of an answer while its connection is driven, as in wasmtime-wasi-http.
async fn read((response, transfer): Answer) -> Result<String, Error> {
    let transfer = tokio::spawn(Pin::from(transfer));
    let body = soon(response.into_body().collect()).await?.to_bytes();
    transfer.abort();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn error(answer: Result<Answer, Error>) -> Error {
    match answer {
        Ok((response, _)) => panic!("it was answered with {}", response.status()),
        Err(error) => error,
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_host_that_is_granted_by_its_address_answers() {
    let (address, mut sight) = server(HELLO).await;
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let answer = send(&mut sender, &format!("http://{address}/path?query")).await.unwrap();

    assert_eq!(answer.0.status(), 200);
    assert_eq!(read(answer).await.unwrap(), "hello");
    assert_eq!(next_request(&mut sight).await, format!("GET /path?query HTTP/1.1\r\nhost: {address}\r\n\r\n"));

    let (answer, _transfer) = send(&mut sender, &format!("http://{address}?query")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let head = next_request(&mut sight).await;
    assert!(head.starts_with("GET /?query HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for reply in ["HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nhello"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A request this small arrives in one piece.
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    for expected in ["", "hello"] {
        let answer = send(&mut sender, &format!("http://{address}/")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn localhost_is_reached_if_it_is_granted_by_that_name() {
    let (address, _sight) = server(HELLO).await;
    let uri = format!("http://localhost:{}/", address.port());

    let answer = send(&mut sender(&[grant("localhost", address.port())]), &uri).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), "hello");

    let by_address = error(send(&mut sender(&[grant("127.0.0.1", address.port())]), &uri).await);
    assert!(matches!(by_address, Error::HttpRequestDenied), "{by_address}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_although_it_is_granted() {
    let (address, mut sight) = server(HELLO).await;
    let port = address.port();

    // Every system's resolver takes these for names of 127.0.0.1, without asking a server.
    for name in ["127.1", "2130706433", "0x7f.1"] {
        let refused = error(send(&mut sender(&[grant(name, port)]), &format!("http://{name}:{port}/")).await);
        assert!(matches!(refused, Error::DestinationIpProhibited), "{name}: {refused}");
    }
    assert!(sight.try_recv().is_err(), "the server was called");

    let both = [grant("127.1", port), grant("127.0.0.1", port)];
    let answer = send(&mut sender(&both), &format!("http://127.1:{port}/")).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), "hello");
}

#[tokio::test]
async fn another_port_of_a_granted_host_is_refused() {
    let (address, _sight) = server(HELLO).await;
    let (other, mut sight) = server(HELLO).await;
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let refused = error(send(&mut sender, &format!("http://{other}/")).await);

    assert!(matches!(refused, Error::HttpRequestDenied), "{refused}");
    assert!(sight.try_recv().is_err(), "the server was called");
}

#[tokio::test]
async fn a_guest_that_follows_a_redirect_is_checked_again() {
    let (inside, mut sight) = server(HELLO).await;
    let to: &'static str = format!("http://127.1:{}/", inside.port()).leak();
    let reply = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").leak();
    let (outside, _) = server(reply).await;
    let mut sender = sender(&[grant("127.0.0.1", outside.port()), grant("127.1", inside.port())]);

    let (redirect, _transfer) = send(&mut sender, &format!("http://{outside}/")).await.unwrap();
    assert_eq!(redirect.status(), 302);
    let location = redirect.headers()["location"].to_str().unwrap().to_owned();
    let refused = error(send(&mut sender, &location).await);

    assert_eq!(location, to);
    assert!(matches!(refused, Error::DestinationIpProhibited), "{refused}");
    assert!(sight.try_recv().is_err(), "the server inside was called");
}

#[tokio::test]
async fn a_uri_that_can_be_read_in_two_ways_is_refused() {
    let mut sender = sender(&[grant("127.0.0.1", 80), grant("example.org", 443)]);

    for uri in
        ["http://example.org@127.0.0.1/", "http://user:word@127.0.0.1/", "http://127.0.0.1:0/", "https://example.org:/"]
    {
        let refused = error(send(&mut sender, uri).await);
        assert!(matches!(refused, Error::HttpRequestUriInvalid), "{uri}: {refused}");
    }
    let tunnel = ::http::Method::CONNECT;
    let mut request = request("http://127.0.0.1/");
    *request.method_mut() = tunnel;
    assert!(matches!(sender.prepare(request, None), Err(Error::HttpRequestMethodInvalid)));
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_at_the_deadline() {
    let (address, mut sight) = server("").await;
    let until = until(Duration::from_millis(100));
    let mut sender = Sender::new(&[grant("127.0.0.1", address.port())], until.clone(), ledger(), refusals(&until));
    let uri = format!("http://{address}/");

    let start = Instant::now();
    let ended = until.run_until_ended("wasi:io/poll", send(&mut sender, &uri)).await;

    assert_eq!(ended.err(), Some(Interrupt { why: InterruptReason::Deadline, in_call: "wasi:io/poll" }));
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(matches!(soon(sight.recv()).await, Some(Seen::Request(_))));
    assert_eq!(soon(sight.recv()).await, Some(Seen::Closed), "the connection goes with the guest");
}

#[tokio::test]
async fn an_exchange_that_is_not_dropped_ends_by_itself() {
    let (address, _sight) = server("").await;
    let until = until(Duration::from_millis(50));
    let refusals = refusals(&until);
    let mut sender = Sender::new(&[grant("127.0.0.1", address.port())], until, ledger(), refusals);

    let ended = error(send(&mut sender, &format!("http://{address}/")).await);

    assert!(matches!(ended, Error::ConnectionReadTimeout), "{ended}");
}

#[tokio::test]
async fn timeouts_that_a_guest_sets_are_obeyed() {
    let moment = Some(Duration::from_millis(30));
    let (mute, _sight) = server("").await;
    let (stalling, _sight) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
    let mut sender = sender(&[grant("127.0.0.1", mute.port()), grant("127.0.0.1", stalling.port())]);

    let first = RequestOptions { first_byte_timeout: moment, ..RequestOptions::default() };
    let late = error(send_with(&mut sender, &format!("http://{mute}/"), Some(first)).await);
    assert!(matches!(late, Error::ConnectionReadTimeout), "{late}");

    let between = RequestOptions { between_bytes_timeout: moment, ..RequestOptions::default() };
    let answer = send_with(&mut sender, &format!("http://{stalling}/"), Some(between)).await.unwrap();
    let stalled = read(answer).await.unwrap_err();
    assert!(matches!(stalled, Error::ConnectionReadTimeout), "{stalled}");
}

#[tokio::test]
async fn a_head_without_end_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        let mut sent = 0_u64;
        // The loop ends when the other side hangs up.
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {
            sent += 4096;
        }
        sent
    });
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let Error::Hyper(refused) = error(send(&mut sender, &format!("http://{address}/")).await) else {
        panic!("not an error of the exchange")
    };

    let code = sender.p2_error_from_hyper(&refused);
    assert!(matches!(code, ErrorCode::HttpResponseHeaderSectionSize(None)), "{code:?}");
    // The buffers of two sockets are between the bytes sent and the bytes read.
    assert!(soon(flood).await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn a_head_of_very_many_fields_is_bounded() {
    let reply = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(5000)).leak();
    let (address, _sight) = server(reply).await;
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let refused = error(send(&mut sender, &format!("http://{address}/")).await);

    assert!(matches!(&refused, Error::Hyper(error) if error.is_parse()), "{refused}");
}

#[tokio::test]
async fn a_head_may_be_as_large_as_servers_send_and_not_much_larger() {
    for (size, fits) in [(32 << 10, true), (200 << 10, false)] {
        let reply = format!("HTTP/1.1 204 No Content\r\nx: {}\r\n\r\n", "x".repeat(size)).leak();
        let (address, _sight) = server(reply).await;
        let answer = send(&mut sender(&[grant("127.0.0.1", address.port())]), &format!("http://{address}/")).await;
        assert_eq!(answer.is_ok(), fits, "{size} bytes");
    }
}

#[tokio::test]
async fn a_connection_counts_until_it_is_dropped() {
    let (address, _sight) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let (response, transfer) = send(&mut sender, &format!("http://{address}/")).await.unwrap();
    let mut transfer = Pin::from(transfer);
    assert!(futures_util::poll!(transfer.as_mut()).is_pending());
    assert_eq!(sender.connections.available_permits(), MOST_CONNECTIONS - 1);

    drop((response, transfer));
    assert_eq!(sender.connections.available_permits(), MOST_CONNECTIONS);
}

#[tokio::test]
async fn the_memory_of_an_exchange_is_charged_until_its_response_is_dropped() {
    let (address, _sight) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: some words\r\n\r\nhe").await;
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);
    let ledger = Arc::clone(&sender.ledger);

    let (response, transfer) = send(&mut sender, &format!("http://{address}/")).await.unwrap();
    assert!(ledger.held() > CONNECTION as u64);
    let (head, body) = response.into_parts();
    drop((body, transfer));
    assert!((1..1000).contains(&ledger.held()), "its fields are there: {}", ledger.held());
    drop(head);

    assert_eq!(ledger.held(), 0);
}

#[tokio::test]
async fn a_request_is_refused_when_its_run_has_no_memory_for_a_connection() {
    let (address, _sight) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let small = Ledger::new(CONNECTION as u64, &Arc::new(crate::attempt::AllMemory::of(u64::MAX)));
    let mut sender = Sender { ledger: small, ..sender(&[grant("127.0.0.1", address.port())]) };

    let refused = error(send(&mut sender, &format!("http://{address}/")).await);

    assert!(matches!(refused, Error::ConnectionLimitReached), "{refused}");
    assert_eq!(sender.connections.available_permits(), MOST_CONNECTIONS);
}

#[tokio::test]
async fn a_body_may_take_long_while_its_bytes_keep_arriving() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n").await.unwrap();
        for piece in b"abcdefghijklmnop" {
            // The pace is under test: each piece arrives long before the timeout, and all of them together after it.
            tokio::time::sleep(Duration::from_millis(150)).await;
            stream.write_all(&[*piece]).await.unwrap();
        }
    });
    let mut sender = sender(&[grant("127.0.0.1", address.port())]);

    let between = RequestOptions { between_bytes_timeout: Some(Duration::from_secs(2)), ..Default::default() };
    let answer = send_with(&mut sender, &format!("http://{address}/"), Some(between)).await.unwrap();

    assert_eq!(read(answer).await.unwrap(), "abcdefghijklmnop");
}

#[tokio::test]
async fn a_run_has_a_limited_number_of_connections_at_once() {
    let sender = sender(&[grant("127.0.0.1", 80)]);
    let mut open: Vec<_> = (0..MOST_CONNECTIONS).map(|_| sender.prepare(request("http://127.0.0.1/"), None)).collect();
    assert!(open.iter().all(Result::is_ok));

    let refused = sender.prepare(request("http://127.0.0.1/"), None).err();
    assert!(matches!(refused, Some(Error::ConnectionLimitReached)));

    open.pop();
    assert!(sender.prepare(request("http://127.0.0.1/"), None).is_ok());
}

#[tokio::test]
async fn a_certificate_is_accepted_only_for_its_name_and_from_a_known_authority() {
    let (address, _sight) = tls_server().await;
    let port = address.port();
    let grants = [grant("localhost", port), grant("127.0.0.1", port)];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(AUTHORITY)).unwrap();
    let mut trusting = Sender { tls: exchange::tls(roots), ..sender(&grants) };

    let answer = send(&mut trusting, &format!("https://localhost:{port}/")).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), "hello");

    let other_name = error(send(&mut trusting, &format!("https://127.0.0.1:{port}/")).await);
    let unknown = error(send(&mut sender(&grants), &format!("https://localhost:{port}/")).await);
    for refused in [other_name, unknown] {
        let Error::Tls(refused) = refused else { panic!("{refused}") };
        assert!(matches!(trusting.p2_error_from_tls(&refused), ErrorCode::TlsCertificateError), "{refused}");
    }
}

async fn tls_server() -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, sight) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(answer(stream, HELLO, seen.clone()));
            }
        }
    });
    (address, sight)
}
