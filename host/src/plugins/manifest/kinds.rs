//! Defines kinds of values that only manifests have: crontabs, zones, policies, and grants.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use schemars::{Schema, json_schema};

use crate::config::kinds::{Kind, Period, Scalar};
use sexton_domain::schedule::instant_parser::{AbsoluteInstant, BadInstantText};
use sexton_domain::schedule::{CatchUp, Dst, Trigger, parse, zone_named};
use sexton_domain::task::{HttpHost, IfHeld, LockMode, Overlap, Pattern};

/// A crontab(5) expression.
pub(super) struct Cron;

impl Kind for Cron {
    type Value = Trigger;

    fn check(scalar: Scalar) -> Result<Trigger, String> {
        parse::crontab(&scalar.text("a crontab such as \"*/5 * * * *\"")?, false)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["*/5 * * * *", "0 9 * * mon-fri", "H H * * *", "0 9 * * mon#1", "@daily", "hourly", "@every 5m"] })
    }
}

/// A crontab expression with a field for seconds before the others.
pub(super) struct CronSeconds;

impl Kind for CronSeconds {
    type Value = Trigger;

    fn check(scalar: Scalar) -> Result<Trigger, String> {
        parse::crontab(&scalar.text("a crontab with seconds such as \"*/10 * * * * *\"")?, true)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["*/10 * * * * *", "30 0 9 * * mon-fri"] })
    }
}

/// The policy for changes of the clocks: `vixie`, `skip` or `utc`.
pub(super) struct Dsts;

impl Kind for Dsts {
    type Value = Dst;

    fn check(scalar: Scalar) -> Result<Dst, String> {
        const WRITE: &str = "\"vixie\", \"skip\" or \"utc\"";
        let text = scalar.text(WRITE)?;
        match text.as_str() {
            "vixie" => Ok(Dst::Vixie),
            "skip" => Ok(Dst::Skip),
            "utc" => Ok(Dst::Utc),
            _ => Err(format!("{} is not a way to treat changes of the clock; write {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(vixie|skip|utc)$" })
    }
}

/// An instant: RFC 3339, a whole date in words by the clocks of the task's zone, or TOML's own date and time.
pub(super) struct Instant;

impl Kind for Instant {
    type Value = AbsoluteInstant;

    fn check(scalar: Scalar) -> Result<AbsoluteInstant, String> {
        const LIKE_THIS: &str = "\"2027-01-01 14:30\" or \"2027-01-01T00:00:00+01:00\"";
        let text = match scalar {
            Scalar::Instant(text) => text,
            other => other.text(&format!("an instant such as {LIKE_THIS}"))?,
        };
        AbsoluteInstant::read(&text).map_err(|wrong| match wrong {
            BadInstantText::Relative(_) => {
                let text = Scalar::Text(text);
                format!(
                    "{text} means another instant each time the manifest is read; write a date such as {LIKE_THIS}, or \
                     use `sexton schedule add --at`"
                )
            }
            wrong => wrong.to_string(),
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["2027-01-01 14:30", "2027-01-01T00:00:00+01:00"] })
    }
}

/// A zone of the IANA database.
pub(super) struct Zone;

impl Kind for Zone {
    type Value = Tz;

    fn check(scalar: Scalar) -> Result<Tz, String> {
        let text = scalar.text("a zone such as \"Europe/Berlin\"")?;
        zone_named(&text).map_err(|meant| format!("there is no zone {}; {meant}", Scalar::Text(text)))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["UTC", "Europe/Berlin"] })
    }
}

/// `skip`, `queue-one`, `queue-all`, `replace` or `allow(N)`.
pub(super) struct Overlaps;

impl Kind for Overlaps {
    type Value = Overlap;

    fn check(scalar: Scalar) -> Result<Overlap, String> {
        const WRITE: &str =
            "write \"skip\", \"queue-one\", \"queue-all\", \"replace\" or \"allow(N)\" with N from 1 to 10000";
        let text = scalar.text("\"skip\", \"queue-one\", \"queue-all\", \"replace\" or \"allow(N)\"")?;
        match (text.as_str(), counted(&text, "allow", 10_000)) {
            ("skip", _) => Ok(Overlap::Skip),
            ("queue-one", _) => Ok(Overlap::QueueOne),
            ("queue-all", _) => Ok(Overlap::QueueAll),
            ("replace", _) => Ok(Overlap::Replace),
            (_, Some(n)) => Ok(Overlap::Allow(n)),
            _ => Err(format!("{} is not a way to overlap; {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(skip|queue-one|queue-all|replace|allow\\([1-9][0-9]{0,4}\\))$" })
    }
}

/// The longest time for which a task is held back: a duration, or `off`.
pub(super) struct Brake;

/// A second, because holding back begins with it, to a day, because a task that should stand still for longer is better
/// paused.
type Hold = Period<1000, { 24 * 3600 * 1000 }>;

impl Kind for Brake {
    type Value = Option<Duration>;

    fn check(scalar: Scalar) -> Result<Option<Duration>, String> {
        match scalar {
            Scalar::Text(text) if text == "off" => Ok(None),
            other => Hold::check(other).map(Some).map_err(|what| format!("{what}, or \"off\"")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(off| *[0-9].*[a-zA-Z] *)$", "examples": ["5m", "30s", "off"] })
    }
}

/// `none`, `latest` or `all(N)`.
pub(super) struct CatchUps;

impl Kind for CatchUps {
    type Value = CatchUp;

    fn check(scalar: Scalar) -> Result<CatchUp, String> {
        const WRITE: &str = "write \"none\", \"latest\" or \"all(N)\" with N from 1 to 1000";
        let text = scalar.text("\"none\", \"latest\" or \"all(N)\"")?;
        match (text.as_str(), counted(&text, "all", 1000)) {
            ("none", _) => Ok(CatchUp::None),
            ("latest", _) => Ok(CatchUp::Latest),
            (_, Some(n)) => Ok(CatchUp::All(n)),
            _ => Err(format!("{} is not a way to catch up; {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|latest|all\\([1-9][0-9]{0,3}\\))$" })
    }
}

/// Returns the N of `word(N)`, from 1 to `most`.
fn counted(text: &str, word: &str, most: u32) -> Option<u32> {
    let digits = text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|n| plain && (1..=most).contains(n))
}

/// The longest name that guests may use, in bytes.
const LONGEST_NAME: usize = 256;

/// The name of a lock.
pub(super) struct LockNames;

impl Kind for LockNames {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("the name of a lock")?;
        if text.is_empty() || text.len() > LONGEST_NAME || text.contains('*') || text.chars().any(char::is_control) {
            let text = Scalar::Text(text);
            return Err(format!("{text} is not the name of a lock; write 1 to {LONGEST_NAME} bytes without `*`"));
        }
        Ok(text)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^[^*]*$" })
    }
}

/// `exclusive` or `shared`.
pub(super) struct LockModes;

impl Kind for LockModes {
    type Value = LockMode;

    fn check(scalar: Scalar) -> Result<LockMode, String> {
        const WRITE: &str = "\"exclusive\" or \"shared\"";
        let text = scalar.text(WRITE)?;
        match text.as_str() {
            "exclusive" => Ok(LockMode::Exclusive),
            "shared" => Ok(LockMode::Shared),
            _ => Err(format!("{} is not a way to hold a lock; write {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(exclusive|shared)$" })
    }
}

/// `skip`, `fail` or `succeed`.
pub(super) struct IfHelds;

impl Kind for IfHelds {
    type Value = IfHeld;

    fn check(scalar: Scalar) -> Result<IfHeld, String> {
        const WRITE: &str = "\"skip\", \"fail\" or \"succeed\"";
        let text = scalar.text(WRITE)?;
        match text.as_str() {
            "skip" => Ok(IfHeld::Skip),
            "fail" => Ok(IfHeld::Fail),
            "succeed" => Ok(IfHeld::Succeed),
            _ => Err(format!("{} is nothing that a run can become; write {WRITE}", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(skip|fail|succeed)$" })
    }
}

/// A name, or a prefix of names with a `*` at its end.
pub(super) struct Names;

impl Kind for Names {
    type Value = Pattern;

    fn check(scalar: Scalar) -> Result<Pattern, String> {
        const LONGEST: usize = LONGEST_NAME + 1; // with a star
        let text = scalar.text("a name, or the beginning of names and `*`")?;
        let name = text.strip_suffix('*').unwrap_or(&text);
        if text.is_empty() || text.len() > LONGEST || name.contains('*') || name.chars().any(char::is_control) {
            let text = Scalar::Text(text);
            return Err(format!("{text} is not a pattern; write a name, or its beginning with one `*` at the end"));
        }
        Ok(Pattern(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 257, "pattern": "^[^*]*\\*?$" })
    }
}

/// `HOST` or `HOST:PORT`.
pub(super) struct Hosts;

impl Kind for Hosts {
    type Value = HttpHost;

    fn check(scalar: Scalar) -> Result<HttpHost, String> {
        const LIKE_THIS: &str = "\"api.example.org\", \"*.example.org\", \"127.0.0.1:8080\" or \"[::1]:8080\"";
        let text = scalar.text(&format!("a host such as {LIKE_THIS}"))?;
        if text.contains("://") || text.contains('/') {
            return Err(format!("{} is more than a host; leave scheme and path out: {LIKE_THIS}", Scalar::Text(text)));
        }
        let bad = |what: &str| format!("{} {what}; write one such as {LIKE_THIS}", Scalar::Text(text.clone()));
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without brackets, or one in brackets without a port.
            Some((before, _)) if before.contains(':') && !before.ends_with(']') => (text.as_str(), None),
            Some((host, port)) => (host, Some(port)),
            None => (text.as_str(), None),
        };
        let port = match port {
            Some(port) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                Some(port.ok_or_else(|| bad("has a port that is not one of 1 to 65535"))?)
            }
            None => None,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(HttpHost { host: address.to_string(), port });
        }
        let name = host.to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        // A name of digits and dots only is an invalid IPv4 address.
        let numeric = labels.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric || name.len() > 253 || !labels.split('.').all(is_label) {
            return Err(bad("is not a host"));
        }
        Ok(HttpHost { host: name, port })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["api.example.org", "*.example.org", "127.0.0.1:8080"] })
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A directory on the host: absolute, or below the plugin directory.
pub(super) struct HostPath;

impl Kind for HostPath {
    type Value = PathBuf;

    fn check(scalar: Scalar) -> Result<PathBuf, String> {
        let text = scalar.text("a directory on the host")?;
        let path = Path::new(&text);
        if text.is_empty() || text.contains('\0') {
            return Err("there is no such path; write a directory on the host".into());
        }
        if path.components().any(|part| part == Component::ParentDir) {
            let text = Scalar::Text(text);
            return Err(format!("{text} leads upwards; write an absolute path, or one below the plugin directory"));
        }
        Ok(path.to_owned())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// The path under which a guest sees a directory.
pub(super) struct GuestPath;

impl Kind for GuestPath {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("where the guest sees the directory, such as \"/data\"")?;
        let parts = text.strip_prefix('/').map(|rest| rest.trim_end_matches('/'));
        let good = |parts: &str| parts.is_empty() || parts.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match parts {
            Some(parts) if good(parts) && !text.contains('\0') => Ok(format!("/{parts}")),
            _ => Err(format!("{} is not an absolute path; write one such as \"/data\"", Scalar::Text(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/" })
    }
}
