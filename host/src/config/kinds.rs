//! Defines kinds of values: durations with a unit, sizes with a unit, and numbers within bounds.
//!
//! A kind defines how a value is checked and how editors describe it. A value that passes needs no further check.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use sexton_domain::lengths;

/// The longest duration of any key: a year.
pub(crate) const YEAR_MS: u64 = 366 * 24 * 3600 * 1000;

/// One kind of value.
pub(crate) trait Kind {
    /// The type of a checked value.
    type Value;

    /// Checks a value. The error says what is wrong and what to write.
    fn check(scalar: Scalar) -> Result<Self::Value, String>;

    /// Returns the JSON schema of the kind, for editors.
    fn schema() -> Schema;
}

/// A value that passed the check of its kind.
pub(crate) struct Of<K: Kind>(pub(crate) K::Value);

impl<'de, K: Kind> Deserialize<'de> for Of<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::check(Scalar::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

impl<K: Kind> JsonSchema for Of<K> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<K>().into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        K::schema()
    }
}

/// A value as it stands in the file.
pub(crate) enum Scalar {
    Text(String),
    Whole(i64),
    Real(f64),
    /// TOML's own dates and times, as they were written.
    Instant(String),
    /// Any other value, described in words.
    Other(&'static str),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", text.chars().take(80).collect::<String>()),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Instant(text) => write!(f, "{text}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl Scalar {
    /// Returns the text, or else a message that asks for `wanted`.
    pub(crate) fn text(self, wanted: &str) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{other} is not a text; write {wanted}")),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(number))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Real(number))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other(if value { "true" } else { "false" }))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Scalar, A::Error> {
                while values.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("a list"))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Ok(match toml::value::Datetime::deserialize(map) {
                    Ok(instant) => Scalar::Instant(instant.to_string()),
                    Err(_) => Scalar::Other("a table"),
                })
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A duration from `MIN` to `MAX` milliseconds, written with its unit.
pub(crate) struct Period<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Period<MIN, MAX> {
    type Value = Duration;

    fn check(scalar: Scalar) -> Result<Duration, String> {
        let text = match scalar {
            Scalar::Whole(number) if number >= 0 => {
                return Err(format!("{number} has no unit; write \"{number}s\" if seconds are meant"));
            }
            other => other.text("a length of time such as \"10s\", \"500ms\" or \"2h 30m\"")?,
        };
        let period = humantime::parse_duration(&text).map_err(|_| {
            let quoted = Scalar::Text(text.clone());
            format!("{quoted} is not a length of time; write one such as \"10s\", \"500ms\" or \"2h 30m\"")
        })?;
        if !(Duration::from_millis(MIN)..=Duration::from_millis(MAX)).contains(&period) {
            let [min, max] = [shown(MIN), shown(MAX)];
            return Err(format!("\"{text}\" is out of range; write \"{min}\" to \"{max}\""));
        }
        // Instants are whole milliseconds, and so are the steps between them.
        Ok(Duration::from_millis(u64::try_from(period.as_millis()).unwrap_or(MAX)))
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^ *[0-9].*[a-zA-Z] *$",
            "examples": ["500ms", "10s", "2h 30m"],
            "$comment": format!("{} to {}", shown(MIN), shown(MAX)),
        })
    }
}

/// Formats a bound as people write it.
fn shown(ms: u64) -> String {
    lengths::exact(Duration::from_millis(ms))
}

/// A size from `MIN` to `MAX` bytes: a text with its unit, or a bare number of bytes.
pub(crate) struct Bytes<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Bytes<MIN, MAX> {
    type Value = u64;

    fn check(scalar: Scalar) -> Result<u64, String> {
        let shown = scalar.to_string();
        let size = match scalar {
            Scalar::Whole(number) => u64::try_from(number).ok(),
            other => {
                let text = other.text("a size such as \"64 MiB\"")?;
                let size = text.trim().parse::<ByteSize>().map_err(|_| {
                    format!("{shown} is not a size; write one such as \"64 MiB\", \"512 KiB\" or \"1 GB\"")
                })?;
                Some(size.as_u64())
            }
        };
        size.filter(|size| (MIN..=MAX).contains(size)).ok_or_else(|| {
            let [min, max] = [MIN, MAX].map(|bytes| ByteSize::b(bytes).display().iec().to_string().replace(".0 ", " "));
            format!("{shown} is out of range; write \"{min}\" to \"{max}\"")
        })
    }

    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^ *[0-9][0-9.]* *([kKmMgGtT]?[bB]?|[kKmMgGtT]i[bB]?) *$" },
                { "type": "integer", "minimum": MIN, "maximum": MAX },
            ],
            "examples": ["64 MiB", "512 KiB"],
        })
    }
}

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Count<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Count<MIN, MAX> {
    type Value = u64;

    fn check(scalar: Scalar) -> Result<u64, String> {
        let number = match scalar {
            Scalar::Whole(number) => u64::try_from(number).ok(),
            _ => None,
        };
        number
            .filter(|number| (MIN..=MAX).contains(number))
            .ok_or_else(|| format!("{scalar} is out of range; write a whole number from {MIN} to {MAX}"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A number from `MIN` to `MAX`, with or without decimals.
pub(crate) struct Number<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Kind for Number<MIN, MAX> {
    type Value = f64;

    fn check(scalar: Scalar) -> Result<f64, String> {
        let number = match scalar {
            Scalar::Real(number) => Some(number),
            Scalar::Whole(number) => i32::try_from(number).ok().map(f64::from),
            _ => None,
        };
        number
            .filter(|number| (f64::from(MIN)..=f64::from(MAX)).contains(number))
            .ok_or_else(|| format!("{scalar} is out of range; write a number from {MIN} to {MAX}"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "number", "minimum": MIN, "maximum": MAX })
    }
}

/// A text on one line of at most 200 characters.
pub(crate) struct Line;

impl Kind for Line {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("one line for people")?;
        if text.chars().count() > 200 || text.chars().any(char::is_control) {
            return Err("this is too long, or has line breaks; write one line of at most 200 characters".into());
        }
        Ok(text)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "maxLength": 200, "pattern": "^[^\\n]*$" })
    }
}
