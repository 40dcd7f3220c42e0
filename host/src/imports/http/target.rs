//! Where a request goes, as its URI says, and whether a task is granted that.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ::http::Uri;
use ::http::uri::Scheme;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::Error;

use super::address::is_public;
use crate::task::HttpHost;

/// Names that are looked up at once, for all guests together. Each takes a thread until the system's resolver answers;
/// more of them would let guests with names that never resolve take every thread there is.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// The host of a request, or of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// In lower case, without a trailing dot.
    Name(String),
    /// Never as an IPv6 address that is mapped from an IPv4 one.
    Ip(IpAddr),
}

impl Host {
    fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let ip = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().map(IpAddr::V6),
            None => text.parse::<IpAddr>(),
        };
        match ip {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) => Self::Name(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()),
        }
    }

    /// Whether a grant for `self` is one for `host`.
    fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Name(granted), Self::Name(host)) => match granted.strip_prefix("*.") {
                // The dot stays with the end: `*.example.org` is not `badexample.org`.
                Some(_) => host.strip_suffix(&granted[1..]).is_some_and(|below| !below.is_empty()),
                None => granted == host,
            },
            (granted, host) => granted == host,
        }
    }
}

impl Target {
    /// Where `uri` leads.
    ///
    /// # Errors
    ///
    /// If it leads nowhere, or can be read in more than one way.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(Error::HttpProtocolError),
        };
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // What comes before the host (`user:password@`) would be sent in the Host header.
        let rest = authority.as_str().strip_prefix(authority.host()).ok_or(Error::HttpRequestUriInvalid)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or(Error::HttpRequestUriInvalid)?
            }
            None if rest.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(Error::HttpRequestUriInvalid),
        };
        let host = Host::parse(authority.host());
        if matches!(&host, Host::Name(name) if name.is_empty() || name.starts_with('[')) {
            return Err(Error::HttpRequestUriInvalid);
        }
        Ok(Self { host, port, tls })
    }

    /// Whether a task with these grants may call it.
    pub(super) fn is_granted(&self, grants: &[HttpHost]) -> bool {
        self.granting(grants).any(|granted| granted.covers(&self.host))
    }

    /// The addresses to connect to: those of the host that are public, or named by a grant themselves.
    ///
    /// # Errors
    ///
    /// If it has none, or none that is allowed.
    pub(super) async fn addresses(&self, grants: &[HttpHost]) -> Result<Vec<SocketAddr>, Error> {
        let found = match &self.host {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, self.port)],
            Host::Name(name) => look_up(name.clone(), self.port).await?,
        };
        if found.is_empty() {
            return Err(Error::DestinationNotFound);
        }
        let allowed: Vec<_> = found.into_iter().filter(|address| self.allows(address.ip(), grants)).collect();
        if allowed.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(allowed) }
    }

    fn allows(&self, ip: IpAddr, grants: &[HttpHost]) -> bool {
        let ip = ip.to_canonical();
        is_public(ip)
            || self.granting(grants).any(|granted| granted == Host::Ip(ip))
            // `localhost` is granted, or this target would not have come as far as here.
            || (ip.is_loopback() && self.host == Host::Name("localhost".to_owned()))
    }

    /// The hosts of those grants that are for this port.
    fn granting(&self, grants: &[HttpHost]) -> impl Iterator<Item = Host> {
        grants
            .iter()
            .filter(|grant| match grant.port {
                Some(port) => port == self.port,
                None => matches!(self.port, 80 | 443),
            })
            .map(|grant| Host::parse(&grant.host))
    }
}

/// Ask the system's resolver, on a thread for blocking work.
async fn look_up(name: String, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let failed = || Error::DnsError { rcode: None, info_code: None };
    let place = LOOKUPS.acquire().await.map_err(|_| failed())?;
    let asked = tokio::task::spawn_blocking(move || {
        // Moved in: a guest that is gone does not free the thread, and so must not free the place.
        let _place = place;
        std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port)).map(Vec::from_iter)
    });
    match asked.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "A guest's name did not resolve");
            Err(failed())
        }
        Err(_) => Err(failed()),
    }
}
