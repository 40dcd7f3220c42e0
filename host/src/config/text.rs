//! Defines the shape of `sexton.toml`: keys and kinds of values. The structs of the parent module document each value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use schemars::{Schema, json_schema};
use serde::Deserialize;
use toml::Spanned;

use super::kinds::{Bytes, Count, Kind, Of, Period, Scalar};
use super::names::{HostName, Label, SchemaName};
use super::{
    Cache, Config, Enqueued, Events, Host, Http, Log, LogFormat, Machine, RetentionLimits, Runtime, Store, Synchronous,
    Tenant,
};
use sexton_domain::task::Name;
use sexton_store::postgres::DatabaseUrl;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Defines a section of the file: a struct of optional values, and the method that replaces defaults by them.
macro_rules! section {
    ($text:ident => $section:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct $text {
            $($field: Option<Of<$kind>>,)+
        }

        impl From<$text> for $section {
            fn from(text: $text) -> Self {
                let mut section = Self::default();
                $(if let Some(written) = text.$field {
                    section.$field = written.0.into();
                })+
                section
            }
        }
    };
}

section!(HttpText => Http { listen: Loopback });
section!(StoreText => Store { path: Dir, synchronous: Durability, url: Database, schema: SchemaName, ca: Dir });
section!(RuntimeText => Runtime {
    threads: Small<0, 1024>,
    slots: Small<1, 10_000>,
    max_memory: Bytes<MIB, { 4096 * MIB }>,
    tick: Period<1, SECOND>,
    max_component: Bytes<{ 64 << 10 }, { 1024 * MIB }>,
    compile_time: Period<SECOND, HOUR>,
    compile_memory: Bytes<{ 64 * MIB }, { 65_536 * MIB }>,
    code: Dir,
});
section!(MachineText => Machine {
    lease: Period<SECOND, HOUR>,
    poll: Period<10, { 60 * SECOND }>,
    grace: Period<0, HOUR>,
    suspect_after: Small<0, 1000>,
});
section!(RetentionText => RetentionLimits {
    runs: Count<1, 1_000_000>,
    age: Period<{ 60 * SECOND }, { 3660 * DAY }>,
    bytes: Bytes<MIB, TIB>,
});
section!(EventsText => Events { keep: Count<0, 10_000_000>, age: Period<{ 60 * SECOND }, { 30 * DAY }> });
section!(CacheText => Cache { quota: Bytes<1024, TIB> });
section!(EnqueuedText => Enqueued {
    task: Bytes<1024, TIB>,
    tenant: Bytes<1024, TIB>,
    horizon: Period<HOUR, { 3660 * DAY }>,
});
section!(LogText => Log { format: Format, filter: Filter });
section!(TenantText => Tenant {
    plugins: Dir,
    runs: Small<1, 10_000>,
    fuel_per_minute: Count<1, { 1_000_000_000 * 1_000_000_000 }>,
    cache: Bytes<1024, TIB>,
    tasks: Number<1, 1_000_000>,
});

/// Not made by `section!`, because it has a list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostText {
    name: Option<Of<HostName>>,
    labels: Option<Vec<Of<Label>>>,
    plugins: Option<Of<Dir>>,
    publish: Option<bool>,
    var: Option<Of<Dir>>,
}

impl From<HostText> for Host {
    fn from(text: HostText) -> Self {
        let default = Self::default();
        Self {
            name: text.name.map(|name| name.0),
            labels: text.labels.unwrap_or_default().into_iter().map(|label| label.0).collect(),
            plugins: text.plugins.map_or(default.plugins, |path| path.0),
            publish: text.publish.unwrap_or(default.publish),
            var: text.var.map_or(default.var, |path| path.0),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigText {
    host: HostText,
    http: HttpText,
    store: Option<Spanned<StoreText>>,
    runtime: RuntimeText,
    machine: MachineText,
    retention: RetentionText,
    events: EventsText,
    cache: CacheText,
    enqueued: EnqueuedText,
    log: LogText,
    tenants: BTreeMap<Name, Spanned<TenantText>>,
}

/// An error: where it is, what is wrong, and what to do.
type Wrong = (Range<usize>, String);

impl ConfigText {
    /// Returns the configuration in the file.
    pub(super) fn config(self) -> Result<Config, Wrong> {
        let tenants = self.tenants.into_iter().map(|(name, text)| Ok((name.clone(), tenant(&name, text)?)));
        Ok(Config {
            host: self.host.into(),
            http: self.http.into(),
            store: self.store.map_or_else(|| Ok(Store::default()), store)?,
            runtime: self.runtime.into(),
            machine: self.machine.into(),
            retention: self.retention.into(),
            events: self.events.into(),
            cache: self.cache.into(),
            enqueued: self.enqueued.into(),
            log: self.log.into(),
            tenants: tenants.collect::<Result<_, Wrong>>()?,
        })
    }
}

/// Reads the store, which is in a file or in a database, not in both.
fn store(text: Spanned<StoreText>) -> Result<Store, Wrong> {
    let (at, text) = (text.span(), text.into_inner());
    let of_file = [("path", text.path.is_some()), ("synchronous", text.synchronous.is_some())];
    match of_file.into_iter().find(|(_, there)| *there) {
        Some((key, _)) if text.url.is_some() => {
            Err((at, format!("`store.url` names a database, but `store.{key}` is for a file; remove one of them")))
        }
        _ => Ok(text.into()),
    }
}

fn tenant(name: &Name, text: Spanned<TenantText>) -> Result<Tenant, Wrong> {
    let at = text.span();
    let tenant: Tenant = text.into_inner().into();
    match (&tenant.plugins, *name == Name::default_tenant()) {
        (Some(_), true) => {
            Err((at, "`tenants.default.plugins`: the default tenant's directory is `[host] plugins`; set that".into()))
        }
        (None, false) => {
            Err((at, format!("`tenants.{name}`: `plugins` is missing; add the directory with its plugins")))
        }
        _ => Ok(tenant),
    }
}

/// A path of a directory or file.
struct Dir;

impl Kind for Dir {
    type Value = PathBuf;

    fn check(scalar: Scalar) -> Result<PathBuf, String> {
        let text = scalar.text("a path")?;
        if text.is_empty() || text.contains('\0') {
            return Err("there is no such path; write another".into());
        }
        Ok(text.into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The URL of a PostgreSQL database. Errors do not quote it, because it may contain a password.
struct Database;

impl Kind for Database {
    type Value = DatabaseUrl;

    fn check(scalar: Scalar) -> Result<DatabaseUrl, String> {
        const WRITE: &str = "the URL of a PostgreSQL database such as \"postgres://sexton@db.example/sexton\"";
        DatabaseUrl::new(&scalar.text(WRITE)?).map_err(|why| format!("{why}; write {WRITE}"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A loopback address with a port.
struct Loopback;

impl Kind for Loopback {
    type Value = SocketAddr;

    fn check(scalar: Scalar) -> Result<SocketAddr, String> {
        let text = scalar.text("an address and a port such as \"127.0.0.1:7070\"")?;
        let address: SocketAddr = text.replace("localhost:", "127.0.0.1:").parse().map_err(|_| {
            let text = Scalar::Text(text.clone());
            format!("{text} is not an address and a port; write one such as \"127.0.0.1:7070\" or \"[::1]:7070\"")
        })?;
        if !address.ip().is_loopback() {
            let port = address.port();
            return Err(format!(
                "\"{text}\" can be reached from other machines, and the API admits every client; write \"127.0.0.1:{port}\""
            ));
        }
        Ok(address)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A whole number that fits 16 bits, and so every number type here.
struct Small<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Small<MIN, MAX> {
    type Value = u16;

    fn check(scalar: Scalar) -> Result<u16, String> {
        let number = Count::<MIN, MAX>::check(scalar)?;
        u16::try_from(number).map_err(|_| format!("{number} is out of range; write less"))
    }

    fn schema() -> Schema {
        Count::<MIN, MAX>::schema()
    }
}

/// A whole number that fits 32 bits.
struct Number<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Number<MIN, MAX> {
    type Value = u32;

    fn check(scalar: Scalar) -> Result<u32, String> {
        let number = Count::<MIN, MAX>::check(scalar)?;
        u32::try_from(number).map_err(|_| format!("{number} is out of range; write less"))
    }

    fn schema() -> Schema {
        Count::<MIN, MAX>::schema()
    }
}

/// The guarantee of a commit: `full` or `normal`.
struct Durability;

impl Kind for Durability {
    type Value = Synchronous;

    fn check(scalar: Scalar) -> Result<Synchronous, String> {
        const WRITE: &str = "\"full\" (nothing is lost) or \"normal\" (a power failure may cost the last moments)";
        let text = scalar.text(WRITE)?;
        match text.to_ascii_lowercase().as_str() {
            "full" => Ok(Synchronous::Full),
            "normal" => Ok(Synchronous::Normal),
            _ => Err(format!("{} is not known; write {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["full", "normal"] })
    }
}

/// The format of a line of the log.
struct Format;

impl Kind for Format {
    type Value = LogFormat;

    fn check(scalar: Scalar) -> Result<LogFormat, String> {
        let text = scalar.text("\"text\" or \"json\"")?;
        match text.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{} is not known; write \"text\" or \"json\"", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["text", "json"] })
    }
}

/// A filter of the log.
struct Filter;

impl Kind for Filter {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("a filter such as \"info\" or \"warn,sexton=debug\"")?;
        match text.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) if !text.trim().is_empty() => Ok(text),
            _ => Err(format!(
                "{} is not a filter; write one such as \"info\" or \"warn,sexton=debug\"",
                Scalar::Text(text)
            )),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}
