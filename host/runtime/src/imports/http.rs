//! The `wasi:http/outgoing-handler` import: requests to the hosts that a task is granted, and to no others.
//!
//! wasmtime-wasi-http implements the interface; this module sends its requests. Each request is checked by itself
//! (`Target`): the host never follows a redirect, so a guest that does makes a new request. A name is resolved once,
//! and the connection goes to an address that was checked (`address`), not to the name.

mod address;
mod counted;
mod exchange;
mod held;
mod target;

use std::any::Any;
use std::sync::Arc;

use ::http::{HeaderName, Request};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ClientConfig;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

use crate::attempt::{Ledger, Refusal, Refusals, RunEnd};
use sexton_domain::task::{Grants, HttpHost, Task};

use super::capability::{Capability, Interface};
use super::{ImportsCtx, ImportsCtxView, ImportsView, State};
use exchange::{Answer, Exchange, Route};
use target::Target;

/// The connections that one attempt may have open at once. Each takes one of the host's file descriptors.
const MOST_CONNECTIONS: usize = 64;

/// The bytes that a connection takes in the host, besides what is written to it: read and write buffers, which grow to
/// 64 KiB each, those of TLS, and a part of a response that the guest has not read yet.
const CONNECTION: usize = 256 << 10;

/// The bytes of one list of header fields. They are kept in the host's memory, and a guest may hold as many lists as
/// handles. No server accepts a longer head.
const MOST_FIELDS: usize = 16 << 10;

/// The bytes of a request's body that one write may bring. The host holds two such pieces until they are sent.
const BODY_CHUNK: usize = 64 << 10;

/// The state of the requests of one attempt.
struct HttpCtx {
    wasi: WasiHttpCtx,
    sender: Sender,
}

impl State for HttpCtx {
    fn begin(ctx: &ImportsCtx) -> Self {
        let until = RunEnd::by_real_time(Arc::clone(&ctx.handle), ctx.real_deadline);
        let sender = Sender::new(&ctx.task.grants.http, until, Arc::clone(&ctx.ledger), ctx.refusals.clone());
        let mut wasi = WasiHttpCtx::new();
        wasi.set_field_size_limit(MOST_FIELDS);
        Self { wasi, sender }
    }
}

impl<'a> ImportsCtxView<'a> {
    /// Returns the same context in the form that wasmtime-wasi-http's functions take.
    fn http(self) -> WasiHttpCtxView<'a> {
        let http = self.ctx.state::<HttpCtx>();
        WasiHttpCtxView { hooks: &mut http.sender, table: self.table, ctx: &mut http.wasi }
    }
}

/// The capability to send requests, which is useful only with [`Types`].
#[derive(Debug)]
pub struct OutgoingHandler;

impl<T: ImportsView> Capability<T> for OutgoingHandler {
    fn interfaces(&self) -> &'static [Interface] {
        &[Interface { package: "wasi:http", name: "outgoing-handler", version: "0.2." }]
    }

    fn is_granted(&self, grants: &Grants) -> bool {
        !grants.http.is_empty()
    }

    fn manifest_line(&self, _: &Task) -> String {
        "http = [\"example.org\"]".to_owned()
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        outgoing_handler::add_to_linker::<T, WasiHttp>(linker, |data| data.imports().http())
    }
}

/// The capability to build and read requests and responses: `wasi:http/types`, without its own imports.
///
/// It needs no grant, because it reaches nothing, and many libraries import the types without ever sending anything.
#[derive(Debug)]
pub struct Types;

impl<T: ImportsView> Capability<T> for Types {
    fn interfaces(&self) -> &'static [Interface] {
        &[Interface { package: "wasi:http", name: "types", version: "0.2." }]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        types::add_to_linker::<T, WasiHttp>(linker, &LinkOptions::default().into(), |data| data.imports().http())?;
        held::count(linker)
    }

    fn held_by(&self, entry: &(dyn Any + Send)) -> usize {
        held::held_by(entry)
    }
}

/// Sends a guest's requests.
struct Sender {
    grants: Arc<[HttpHost]>,
    refusals: Refusals,
    until: RunEnd,
    /// The account to which the memory of an exchange is charged.
    ledger: Arc<Ledger>,
    connections: Arc<Semaphore>,
    tls: Arc<ClientConfig>,
}

impl WasiHttpHooks for Sender {
    /// Called by `outgoing-handler.handle`, which runs the returned future in a task that it aborts when the guest
    /// drops its handle or is gone. The second future runs likewise, once the head of the response has arrived.
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let prepared = self.prepare(request, options);
        Box::new(async move { prepared?.make().await })
    }

    /// Each chunk is charged to the run while the host holds it.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    /// Called for each header that a guest sets or deletes. Forbidden headers of responses were removed before
    /// (`exchange`).
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        let forbidden = DEFAULT_FORBIDDEN_HEADERS.contains(name);
        if forbidden {
            self.refusals.note(Refusal::Header(name.as_str()));
        }
        forbidden
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(error = %error, "A guest's HTTP exchange failed");
        if error.is_timeout() {
            ErrorCode::HttpResponseTimeout
        } else if error.is_parse_too_large() {
            ErrorCode::HttpResponseHeaderSectionSize(None)
        } else if error.is_incomplete_message() {
            ErrorCode::HttpResponseIncomplete
        } else if error.is_closed() || error.is_canceled() {
            ErrorCode::ConnectionTerminated
        } else {
            ErrorCode::HttpProtocolError
        }
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        tracing::debug!(error = %error, "A guest's HTTP connection failed");
        match error.kind() {
            ConnectionRefused => ErrorCode::ConnectionRefused,
            TimedOut => ErrorCode::ConnectionTimeout,
            HostUnreachable | NetworkUnreachable => ErrorCode::DestinationIpUnroutable,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        use tokio_rustls::rustls::Error as Tls;
        tracing::debug!(error = %error, "A guest's TLS handshake failed");
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
            Some(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) => ErrorCode::TlsCertificateError,
            _ => ErrorCode::TlsProtocolError,
        }
    }
}

impl Sender {
    fn new(grants: &[HttpHost], until: RunEnd, ledger: Arc<Ledger>, refusals: Refusals) -> Self {
        Self {
            grants: grants.into(),
            refusals,
            until,
            ledger,
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            tls: exchange::public_tls(),
        }
    }

    /// Checks `request` before anything is done for it.
    fn prepare(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Exchange, Error> {
        if request.method() == ::http::Method::CONNECT {
            // CONNECT asks for a tunnel, in which nothing would be checked.
            return Err(Error::HttpRequestMethodInvalid);
        }
        let target = Target::of(request.uri())?;
        if !target.is_granted(&self.grants) {
            self.refusals.note(Refusal::Host(&target.to_string()));
            return Err(Error::HttpRequestDenied);
        }
        let connection =
            Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
        let head =
            held::size(request.headers()) + request.uri().path().len() + request.uri().query().map_or(0, str::len);
        let charge = self.ledger.charge(CONNECTION + head).map_err(|_| Error::ConnectionLimitReached)?;
        let way = Route {
            target,
            options: options.unwrap_or_default(),
            grants: Arc::clone(&self.grants),
            refusals: self.refusals.clone(),
            until: self.until.clone(),
            tls: Arc::clone(&self.tls),
            ledger: Arc::clone(&self.ledger),
        };
        Ok(Exchange { request, way, connection, charge: Arc::new(charge) })
    }
}

#[cfg(test)]
mod tests;
