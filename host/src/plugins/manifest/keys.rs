//! Reads the cache keys that a task is granted, and how many earlier versions of their entries are kept.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::kinds::Names;
use crate::config::kinds::{Count, Kind, Of, Scalar};
use sexton_domain::task::{Keep, Pattern};

/// Keys of cache entries: "front/*", or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum KeysText {
    /// The keys alone.
    Keys(Of<Names>),
    /// The keys, and what is kept of their entries.
    Kept(KeysTable),
}

/// Keys of cache entries, and how many earlier versions are kept of each.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeysTable {
    /// A key; `front/*` is every key with that prefix.
    keys: Of<Names>,
    /// The number of earlier versions that are kept beside the current one when the task writes an entry. 0 keeps none.
    /// Default: as many as were kept of the entry before, and none of a new entry.
    keep: Option<Of<Count<0, 100>>>,
}

impl<'de> Deserialize<'de> for KeysText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = KeysText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key, the beginning of keys and `*`, or { keys = \"front/*\", keep = 5 }")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<KeysText, E> {
                Names::check(Scalar::Text(text.to_owned())).map(|keys| KeysText::Keys(Of(keys))).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<KeysText, E> {
                Names::check(Scalar::Whole(number)).map(|keys| KeysText::Keys(Of(keys))).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeysText, A::Error> {
                KeysTable::deserialize(MapAccessDeserializer::new(map)).map(KeysText::Kept)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Returns the keys that are granted, and those of which versions are kept.
pub(super) fn keys(granted: Vec<KeysText>) -> (Vec<Pattern>, Vec<Keep>) {
    let (mut cache, mut kept) = (Vec::new(), Vec::new());
    for keys in granted {
        match keys {
            KeysText::Keys(keys) => cache.push(keys.0),
            KeysText::Kept(KeysTable { keys, keep }) => {
                let versions = keep.map(|keep| u32::try_from(keep.0).expect("at most 100"));
                kept.extend(versions.map(|versions| Keep { keys: keys.0.clone(), versions }));
                cache.push(keys.0);
            }
        }
    }
    (cache, kept)
}
