//! Derives the target of a request from its URI, and decides whether a task is granted it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ::http::Uri;
use ::http::uri::Scheme;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::Error;

use super::address::is_public;
use sexton_domain::task::{HttpHost, TaskKey};

/// The names that are looked up at once, for all guests together. Each takes a thread until the system's resolver
/// answers. If there were more, guests with names that never resolve could take every thread that guests' files need as
/// well.
static LOOKUPS: Semaphore = Semaphore::const_new(16);

/// The part of those that one task may take, so that its names that never resolve do not keep other tasks waiting.
const LOOKUPS_OF_A_TASK: usize = 4;

/// The places of each task that looks names up.
static OF_TASKS: Mutex<BTreeMap<TaskKey, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// The host of a request, or of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A name in lower case, without a trailing dot.
    Name(String),
    /// An address, never an IPv6 address that is mapped from an IPv4 one.
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

    /// Returns whether a grant for `self` is one for `host`.
    fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Name(granted), Self::Name(host)) => match granted.strip_prefix("*.") {
                // The dot belongs to the suffix: `*.example.org` does not cover `badexample.org`.
                Some(_) => host.strip_suffix(&granted[1..]).is_some_and(|below| !below.is_empty()),
                None => granted == host,
            },
            (granted, host) => granted == host,
        }
    }
}

impl fmt::Display for Target {
    /// Writes the target as a grant names it, with the port unless it is 80 or 443, for which a grant without a port
    /// stands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            Host::Ip(ip) => write!(f, "{ip}")?,
        }
        match self.port {
            80 | 443 => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

impl Target {
    /// Returns the target of `uri`.
    ///
    /// # Errors
    ///
    /// `uri` has no target, or can be read in more than one way.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(Error::HttpProtocolError),
        };
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // The part before the host (`user:password@`) would be sent in the Host header.
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

    /// Returns whether a task with these grants may call the target.
    pub(super) fn is_granted(&self, grants: &[HttpHost]) -> bool {
        self.granting(grants).any(|granted| granted.covers(&self.host))
    }

    /// Returns the addresses to connect to for `task`: the host's addresses that are public or named by a grant.
    ///
    /// # Errors
    ///
    /// The host has no address, or none that is allowed.
    pub(super) async fn addresses(&self, task: &TaskKey, grants: &[HttpHost]) -> Result<Vec<SocketAddr>, Error> {
        let found = match &self.host {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, self.port)],
            Host::Name(name) => look_up(task, name.clone(), self.port).await?,
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
            // The name `localhost` is granted here, because a target that is not granted was refused before.
            || (ip.is_loopback() && self.host == Host::Name("localhost".to_owned()))
    }

    /// Returns the hosts of the grants that are for this port.
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

/// Returns the places for look-ups of `task`, which all of its attempts share.
fn places_of(task: &TaskKey) -> Arc<Semaphore> {
    let mut of_tasks = OF_TASKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(places) = of_tasks.get(task).and_then(Weak::upgrade) {
        return places;
    }
    of_tasks.retain(|_, places| places.strong_count() > 0);
    let places = Arc::new(Semaphore::new(LOOKUPS_OF_A_TASK));
    of_tasks.insert(task.clone(), Arc::downgrade(&places));
    places
}

/// Asks the system's resolver, on a thread for blocking work.
async fn look_up(task: &TaskKey, name: String, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let failed = || Error::DnsError { rcode: None, info_code: None };
    let own = places_of(task).acquire_owned().await.map_err(|_| failed())?;
    let place = LOOKUPS.acquire().await.map_err(|_| failed())?;
    let asked = tokio::task::spawn_blocking(move || {
        // The places are moved in, because a guest that is gone does not free the thread, and so must not free the
        // places.
        let _places = (own, place);
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

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Name;

    fn granted(grant: &str, port: Option<u16>, uri: &str) -> bool {
        let grants = [HttpHost { host: grant.to_owned(), port }];
        Target::of(&uri.parse().unwrap()).unwrap().is_granted(&grants)
    }

    #[test]
    fn a_name_is_granted_in_any_case_and_with_the_dot_of_the_root() {
        assert!(granted("example.org", None, "https://EXAMPLE.org/"));
        assert!(granted("Example.org", None, "https://example.org./"));
        assert!(!granted("example.org", None, "https://www.example.org/"));
        assert!(!granted("example.org", None, "https://example.org.evil.net/"));
    }

    #[test]
    fn a_star_covers_names_below_a_name_and_not_names_with_the_same_ending() {
        assert!(granted("*.example.org", None, "https://a.example.org/"));
        assert!(granted("*.example.org", None, "https://a.b.example.org/"));
        assert!(!granted("*.example.org", None, "https://example.org/"));
        assert!(!granted("*.example.org", None, "https://badexample.org/"));
        assert!(!granted("*.0.0.1", None, "http://127.0.0.1/"));
    }

    #[test]
    fn a_grant_without_a_port_is_for_80_and_443() {
        assert!(granted("example.org", None, "http://example.org/"));
        assert!(granted("example.org", None, "http://example.org:443/"));
        assert!(!granted("example.org", None, "http://example.org:8080/"));
        assert!(granted("example.org", Some(8080), "http://example.org:8080/"));
        assert!(!granted("example.org", Some(8080), "http://example.org/"));
    }

    #[test]
    fn an_address_is_granted_in_every_spelling() {
        assert!(granted("::1", None, "http://[::1]/"));
        assert!(granted("[::1]", None, "http://[0:0:0:0:0:0:0:1]/"));
        assert!(granted("10.0.0.1", None, "http://[::ffff:10.0.0.1]/"));
        assert!(!granted("10.0.0.1", None, "http://10.0.0.10/"));
    }

    fn of() -> TaskKey {
        TaskKey { tenant: Name::default_tenant(), task: Name::new("caller").unwrap() }
    }

    #[test]
    fn the_attempts_of_a_task_share_its_places_for_look_ups() {
        let held: Vec<_> = (0..LOOKUPS_OF_A_TASK).map(|_| places_of(&of()).try_acquire_owned().unwrap()).collect();

        assert!(places_of(&of()).try_acquire_owned().is_err());
        drop(held);
        assert!(places_of(&of()).try_acquire_owned().is_ok());
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_needs_a_grant_of_that_address_and_port() {
        let metadata = Target::of(&"http://169.254.169.254/".parse().unwrap()).unwrap();
        let on_another_port = [HttpHost { host: "169.254.169.254".to_owned(), port: Some(8080) }];
        let named = [HttpHost { host: "169.254.169.254".to_owned(), port: None }];

        assert!(matches!(metadata.addresses(&of(), &on_another_port).await, Err(Error::DestinationIpProhibited)));
        assert_eq!(metadata.addresses(&of(), &named).await.unwrap(), ["169.254.169.254:80".parse().unwrap()]);
    }
}
