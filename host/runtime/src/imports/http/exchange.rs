//! Makes one request over a connection of its own and receives its response.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, Request, Response, Uri};
use futures_util::future::{Either, select};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody};

use crate::attempt::{Charge, Ledger, Refusal, Refusals, RunEnd};
use sexton_domain::task::HttpHost;

use super::counted::Counted;
use super::held;
use super::target::{Host, Target};

/// The timeout of each step for a guest that sets none, the same as in wasmtime-wasi-http.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The time after the run's deadline at which an exchange ends by itself. It does not end at the deadline, because the
/// guest's wait ends then, in a trap that says where it hung, and an error must not come a moment before.
const GRACE: Duration = Duration::from_millis(250);

/// The bytes that are buffered of a response. A head that is still incomplete then is refused. That is noticed after a
/// read, which may bring as many bytes again, so the largest head that passes has less than twice as many. Servers
/// commonly send and accept 8 to 16 KiB.
const BUFFER: usize = 64 << 10;

/// The header fields that a response may have.
const MOST_HEADERS: usize = 256;

/// The addresses that are tried for one name.
const MOST_ADDRESSES: usize = 8;

/// A response whose body is still to arrive, and the future that receives it.
pub(super) type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// A request that was checked and has not been sent yet.
pub(super) struct Exchange {
    pub(super) request: Request<WasiBody>,
    pub(super) way: Route,
    /// Returned when the connection is closed.
    pub(super) connection: OwnedSemaphorePermit,
    /// The charge for the memory of the connection.
    pub(super) charge: Arc<Charge>,
}

/// Everything that is needed to connect to a request's target.
pub(super) struct Route {
    pub(super) target: Target,
    pub(super) options: RequestOptions,
    pub(super) grants: Arc<[HttpHost]>,
    pub(super) refusals: Refusals,
    pub(super) until: RunEnd,
    pub(super) tls: Arc<ClientConfig>,
    /// The account to which the host's memory for the response is charged.
    pub(super) ledger: Arc<Ledger>,
}

/// The transport of an exchange: TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Exchange {
    /// Connects, sends the request, and waits for the head of its response.
    pub(super) async fn make(self) -> Result<Answer, Error> {
        let Self { mut request, way, connection: permit, charge } = self;
        let options = way.options;
        let last = way.until.deadline() + GRACE;
        let connected_by = until(options.connect_timeout, last);
        let stream = timeout_at(connected_by.into(), way.connect()).await.map_err(|_| Error::ConnectionTimeout)??;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .max_headers(MOST_HEADERS)
            .handshake::<_, WasiBody>(TokioIo::new(Counted { stream, handle: Arc::clone(way.until.handle()) }))
            .await?;

        // A server that is not a proxy expects the path alone.
        *request.uri_mut() = path(request.uri()).parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        let answered_by = until(options.first_byte_timeout, last);
        let head = timeout_at(answered_by.into(), sender.send_request(request));
        let (response, connection) = match select(pin!(head), Box::pin(connection)).await {
            Either::Left((head, connection)) => (head, Some(connection)),
            // The connection is closed. The bytes read before may still be the response; if not, hyper reports the
            // error.
            Either::Right((closed, head)) => {
                closed?;
                (head.await, None)
            }
        };
        let (mut head, incoming) = response.map_err(|_| Error::ConnectionReadTimeout)??.into_parts();
        without_forbidden(&mut head.headers);
        head.headers =
            held::charged(&head.headers, &way.ledger).map_err(|_| Error::HttpResponseHeaderSectionSize(None))?;

        let patience = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let held = Held { ledger: Arc::clone(&way.ledger), _charge: Arc::clone(&charge) };
        let body = TimedBody { incoming, patience, last, wait: None, held }.boxed_unsync();
        let transfer = async move {
            let _permit = (permit, charge);
            if let Some(connection) = connection
                && let Err(error) = connection.await
            {
                // The guest gets the error from the body. An error returned here would be a warning in the host's log.
                tracing::debug!(error = %error, "A guest's HTTP connection broke");
            }
            Ok(())
        };
        Ok((Response::from_parts(head, body), Box::new(transfer)))
    }
}

impl Route {
    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let addresses = self.target.addresses(self.until.task(), &self.grants).await.inspect_err(|error| {
            if matches!(error, Error::DestinationIpProhibited) {
                self.refusals.note(Refusal::PrivateName(&self.target.to_string()));
            }
        })?;
        let tcp = self.connect_to_any(&addresses).await?;
        // A request is written in one piece and then waited for, so delaying small packets gains nothing.
        tcp.set_nodelay(true).map_err(Error::Connect)?;
        if !self.target.tls {
            return Ok(Box::new(tcp));
        }
        let name = match &self.target.host {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?,
        };
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.map_err(Error::Tls)?;
        Ok(Box::new(tls))
    }

    /// Tries the addresses in turn, each for its share of the time, so that an address that drops packets leaves time
    /// for the next.
    async fn connect_to_any(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let end = until(self.options.connect_timeout, self.until.deadline());
        let addresses = &addresses[..addresses.len().min(MOST_ADDRESSES)];
        let mut failure = Error::ConnectionTimeout;
        for (tried, address) in addresses.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match timeout_at((Instant::now() + share).into(), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = Error::Connect(error),
                Err(_) => failure = Error::ConnectionTimeout,
            }
        }
        Err(failure)
    }
}

/// Returns the path and query of `uri` in the form that a request has, with a path even if there is only a query.
fn path(uri: &Uri) -> String {
    match uri.query() {
        Some(query) => format!("{}?{query}", uri.path()),
        None => uri.path().to_owned(),
    }
}

/// Removes the connection's own headers, which guests do not see. If they stayed, they would seem to be set by the
/// guest.
fn without_forbidden(headers: &mut HeaderMap) {
    for name in DEFAULT_FORBIDDEN_HEADERS {
        headers.remove(name);
    }
}

/// Returns the end of a wait that begins now: after `timeout`, but not after `last`, the end of the exchange.
fn until(timeout: Option<Duration>, last: Instant) -> Instant {
    Instant::now().checked_add(timeout.unwrap_or(DEFAULT_TIMEOUT)).map_or(last, |end| end.min(last))
}

/// A response's body, which must not pause for longer than `patience` nor continue after `last`.
struct TimedBody {
    incoming: Incoming,
    patience: Duration,
    last: Instant,
    /// Set while bytes are awaited, because the time until a guest asks for more is not the server's.
    wait: Option<Pin<Box<Sleep>>>,
    held: Held,
}

/// The memory that a response's body holds: a part of the connection's buffers, and its trailers.
struct Held {
    ledger: Arc<Ledger>,
    _charge: Arc<Charge>,
}

impl Held {
    /// Returns the frame with its trailers charged.
    fn charged(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        match frame.trailers_ref().map(|trailers| held::charged(trailers, &self.ledger)) {
            Some(Ok(trailers)) => Ok(Frame::trailers(trailers)),
            Some(Err(_)) => Err(Error::HttpResponseTrailerSectionSize(None)),
            None => Ok(frame),
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.wait = None;
            return Poll::Ready(frame.map(|frame| {
                let mut frame = frame?;
                if let Some(trailers) = frame.trailers_mut() {
                    without_forbidden(trailers);
                }
                this.held.charged(frame)
            }));
        }
        let (patience, last) = (this.patience, this.last);
        let wait =
            this.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until(Some(patience), last).into())));
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Returns TLS as in browsers: it trusts the public certificate authorities, and no others that the operator's machine
/// trusts.
pub(super) fn public_tls() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        tls(roots)
    });
    Arc::clone(&CONFIG)
}

pub(super) fn tls(roots: RootCertStore) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Without this a server may choose HTTP/2, which this client does not speak.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
