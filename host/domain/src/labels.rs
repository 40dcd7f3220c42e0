//! Defines labels: words that operators and callers give to tasks and runs, such as `team=web`, and by which lists are
//! filtered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most labels of a task or a run. Labels sort runs into groups, and a run belongs to few of them.
pub const MOST: usize = 16;

/// The longest key and the longest value, in characters.
pub const LONGEST: usize = 63;

/// The most characters of a wrong text that an error quotes.
const QUOTED: usize = 80;

/// The labels of a task or a run, by key. Most have none, which takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Option<Arc<BTreeMap<String, String>>>);

/// The reason why texts are no labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabels {
    /// A text has no `=`.
    #[error("`{0}` is not a label: write KEY=VALUE, such as `team=web`")]
    NoValue(String),
    /// A key is empty, too long, or has a character that is not allowed.
    #[error(
        "`{0}` is not the key of a label: use 1 to {longest} of a-z, 0-9, `.`, `_`, `/` and `-`",
        longest = LONGEST
    )]
    Key(String),
    /// The value of this key is too long or has a character that cannot be printed.
    #[error(
        "the value of label `{0}` has more than {longest} characters, or one that cannot be printed",
        longest = LONGEST
    )]
    Value(String),
    /// A key has two values.
    #[error("label `{0}` is there twice; keep one of them")]
    Twice(String),
    /// There are more labels than a task or a run may have.
    #[error("there are {0} labels, and a task or a run has at most {most}; leave some out", most = MOST)]
    TooMany(usize),
}

impl Labels {
    /// Checks `labels`.
    ///
    /// # Errors
    ///
    /// [`BadLabels`]: the first key or value that is wrong, or that there are more than [`MOST`].
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, BadLabels> {
        for (key, value) in &labels {
            check(key, value)?;
        }
        match labels.len() {
            0 => Ok(Self(None)),
            1..=MOST => Ok(Self(Some(Arc::new(labels)))),
            many => Err(BadLabels::TooMany(many)),
        }
    }

    /// Reads labels from texts of the form `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// [`BadLabels`], as for [`Labels::new`], and if a text has no `=` or a key is there twice with different values.
    pub fn read<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, BadLabels> {
        let mut labels = BTreeMap::new();
        for text in texts {
            let text = text.as_ref();
            let (key, value) = text.split_once('=').ok_or_else(|| BadLabels::NoValue(quoted(text)))?;
            let before = labels.insert(key.to_owned(), value.to_owned());
            if before.is_some_and(|before| before != value) {
                return Err(BadLabels::Twice(quoted(key)));
            }
        }
        Self::new(labels)
    }

    /// Returns these labels together with `others`, whose values count where both have a key.
    ///
    /// # Errors
    ///
    /// [`BadLabels::TooMany`].
    pub fn with(&self, others: &Self) -> Result<Self, BadLabels> {
        match (&self.0, &others.0) {
            (_, None) => Ok(self.clone()),
            (None, _) => Ok(others.clone()),
            (Some(own), Some(more)) => {
                let mut all = BTreeMap::clone(own);
                all.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
                Self::new(all)
            }
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the keys with their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|labels| labels.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns whether these have each of `others` with its value.
    pub fn contains(&self, others: &Self) -> bool {
        others.iter().all(|(key, value)| self.0.as_ref().and_then(|own| own.get(key)).is_some_and(|own| own == value))
    }
}

/// Checks a key and its value.
fn check(key: &str, value: &str) -> Result<(), BadLabels> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '/' | '-');
    if !(1..=LONGEST).contains(&key.len()) || !key.chars().all(allowed) {
        return Err(BadLabels::Key(quoted(key)));
    }
    if value.chars().count() > LONGEST || value.chars().any(char::is_control) {
        return Err(BadLabels::Value(key.to_owned()));
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// Prints `env=prod, team=web`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, value)) in self.iter().enumerate() {
            write!(f, "{}{key}={value}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Writes a table of keys and values.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Labels {
        Labels::read(texts).unwrap()
    }

    #[test]
    fn labels_are_read_and_printed_in_the_order_of_their_keys() {
        let read = labels(&["team=web", "app.example/tier=a=b c", "empty=", "team=web"]);

        assert_eq!(read.to_string(), "app.example/tier=a=b c, empty=, team=web");
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"app.example/tier":"a=b c","empty":"","team":"web"}"#);
        assert_eq!(serde_json::from_str::<Labels>(r#"{"team":"web"}"#).unwrap(), labels(&["team=web"]));
        assert_eq!((labels(&[]), labels(&[]).to_string()), (Labels::default(), String::new()));
    }

    #[test]
    fn wrong_keys_and_values_are_refused_with_what_is_wrong() {
        let long = "x".repeat(64);
        let table = [
            (vec!["team".to_owned()], "`team` is not a label: write KEY=VALUE, such as `team=web`"),
            (vec!["=web".to_owned()], "`` is not the key of a label"),
            (vec!["Team=web".to_owned()], "`Team` is not the key of a label: use 1 to 63 of a-z, 0-9"),
            (vec![format!("{long}=web")], "is not the key of a label"),
            (vec![format!("team={long}")], "the value of label `team` has more than 63 characters"),
            (vec!["team=a\nb".to_owned()], "the value of label `team`"),
            (vec!["team=a".to_owned(), "team=b".to_owned()], "label `team` is there twice"),
            ((0..17).map(|n| format!("k{n}=v")).collect(), "there are 17 labels, and a task or a run has at most 16"),
        ];
        for (texts, what) in table {
            let told = Labels::read(&texts).unwrap_err().to_string();
            assert!(told.contains(what), "{texts:?}: {told}");
        }
        assert!(Labels::read([format!("team={}", "ä".repeat(63))]).is_ok(), "characters count, not bytes");
        assert!(serde_json::from_str::<Labels>(r#"{"Team":"web"}"#).is_err());
    }

    #[test]
    fn of_two_values_for_a_key_the_later_counts() {
        let both = labels(&["team=web", "env=prod"]).with(&labels(&["env=test"])).unwrap();

        assert_eq!(both, labels(&["env=test", "team=web"]));
        assert_eq!(Labels::default().with(&both).unwrap(), both);
        assert_eq!(both.with(&Labels::default()).unwrap(), both);
        let many: Vec<String> = (0..16).map(|n| format!("k{n}=v")).collect();
        assert_eq!(both.with(&Labels::read(&many).unwrap()), Err(BadLabels::TooMany(18)));
    }

    #[test]
    fn labels_contain_others_if_all_keys_and_values_are_the_same() {
        let own = labels(&["team=web", "env=prod"]);

        for (others, expected) in [
            (labels(&[]), true),
            (labels(&["team=web"]), true),
            (labels(&["env=prod", "team=web"]), true),
            (labels(&["team=mail"]), false),
            (labels(&["team=web", "tier=1"]), false),
        ] {
            assert_eq!(own.contains(&others), expected, "{others}");
        }
        assert!(!Labels::default().contains(&own) && Labels::default().is_empty() && !own.is_empty());
    }
}
