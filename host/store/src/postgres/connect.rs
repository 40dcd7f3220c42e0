//! Connects to the database: from a URL to connections and a pool of them.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors::translate;
use super::planner;
use crate::{Result, StoreError};

/// Time that a server may take to accept a connection. Several hosts in the URL are tried one after the other.
const CONNECT: Duration = Duration::from_secs(5);

/// Most connections: one for each transaction of a lane, and some for reads. PostgreSQL allows 100 to all of its
/// clients unless configured otherwise.
const CONNECTIONS: usize = 14;

/// Settings of every connection. A client stopped in the middle of a transaction (a suspended machine) must not hold
/// rows for long, and a transaction must not wait for a row for ever.
const PATIENCE: &str = "-c idle_in_transaction_session_timeout=5000 -c lock_timeout=4000";

/// A database's address and user. Anything that may be a password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Parses `postgres://user:password@host:port/database?option=value`.
    ///
    /// # Errors
    ///
    /// The text is no such URL; the error says why.
    pub fn new(text: &str) -> std::result::Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("a database's URL begins with `postgres://`".to_owned());
        }
        match text.parse::<Config>() {
            Ok(config) if config.get_hosts().is_empty() => Err("it names no host".to_owned()),
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)),
        }
    }

    fn config(&self) -> Config {
        self.0.parse().expect("it was parsed when it was made")
    }
}

/// Shows hosts and database: `postgres://db.example:5432/sexton`.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config();
        let hosts = config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let ports = config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Vec<String> = hosts.enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect();
        write!(f, "postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Options for opening a store.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The database's address and user.
    pub url: DatabaseUrl,
    /// The schema of the tables, created if it does not exist; `sexton` by default.
    pub schema: String,
    /// A file with the certificates (PEM) that the server's must descend from. Without it, `sslmode=require` trusts
    /// those that browsers trust.
    pub ca: Option<PathBuf>,
    /// The name of this host, shown in `pg_stat_activity`.
    pub host: String,
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    url: DatabaseUrl,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self> {
        let mut config = options.url.config();
        let said = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        config
            .options(format!("{said}-c search_path={} {PATIENCE}", options.schema))
            .application_name(format!("sexton {}", options.host));
        let connect = config.get_connect_timeout().copied().unwrap_or(CONNECT);
        config.connect_timeout(connect);
        // A vanished server is noticed by data that it does not acknowledge, and by keepalives.
        config.tcp_user_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(10));
        // A replica takes no writes: of several servers, the one that takes them is meant.
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            mode => Some(MakeRustlsConnect::new(tls(options, mode)?)),
        };
        Ok(Self { config, tls, url: options.url.clone() })
    }

    /// Opens a connection outside the pool. Its notices and notifications are ignored.
    pub(super) async fn connect(&self) -> Result<Client> {
        let failed = |error: tokio_postgres::Error| match translate(&error) {
            StoreError::Other(why) => StoreError::Other(format!("`{}`: {why}", self.url)),
            other => other,
        };
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(failed)?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }

    /// Returns the configuration, and the TLS connector.
    pub(super) fn parts(&self) -> (Config, Option<MakeRustlsConnect>) {
        (self.config.clone(), self.tls.clone())
    }

    /// Creates a pool of connections, each opened when it is needed: those that have the planner's settings.
    pub(super) fn pool(&self) -> Result<Pool> {
        let mut config = self.config.clone();
        planner::set_up(&mut config);
        // `Tx` removes a connection that it finds broken, so there is no need to check one before each use.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &self.tls {
            Some(tls) => Manager::from_config(config, tls.clone(), manager),
            None => Manager::from_config(config, NoTls, manager),
        };
        Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(CONNECT))
            .create_timeout(Some(CONNECT))
            .build()
            .map_err(|e| StoreError::Other(format!("cannot make a pool of connections: {e}")))
    }
}

/// Configures TLS. `sslmode=prefer` encrypts if the server can, and verifies nothing, as everywhere: an attacker that
/// can pretend to be the server can also pretend that it cannot encrypt. `sslmode=require` verifies.
fn tls(options: &PostgresOptions, mode: SslMode) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| StoreError::Other(format!("cannot set up TLS: {e}")))?;
    if mode == SslMode::Prefer && options.ca.is_none() {
        let unverified = Arc::new(Unverified(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(unverified).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    match &options.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |what: &dyn fmt::Display| {
                StoreError::Unusable(format!(
                    "cannot read certificates from `[store] ca`, `{}`: {what}",
                    path.display()
                ))
            };
            let text = fs::read(path).map_err(|e| bad(&e))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            if roots.is_empty() {
                return Err(bad(&"there are none in it"));
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts any certificate.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_and_password() {
        let url = DatabaseUrl::new("postgres://ada:secret@one,two:5433/jobs?sslmode=require").unwrap();
        assert_eq!(format!("{url} {url:?}").matches("secret").count(), 0);
        assert!(url.to_string().ends_with("/jobs"), "{url}");
    }

    #[test]
    fn a_text_that_is_not_a_database_url_is_refused_with_the_reason() {
        for (bad, what) in [
            ("mysql://h/db", "begins with `postgres://`"),
            ("postgres://", "names no host"),
            ("postgres://h/db?sslmode=maybe", "sslmode"),
            ("postgres://h:port/db", "port"),
        ] {
            let said = DatabaseUrl::new(bad).unwrap_err();
            assert!(said.contains(what), "{bad}: {said}");
        }
    }
}
