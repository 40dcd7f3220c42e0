//! Reads schedules that depend on earlier runs: `after`, `pace` and `[chains.NAME]`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::wrong::Wrong;
use crate::config::kinds::{Count, Kind, Line, Of, Period, Scalar, YEAR_MS};
use sexton_domain::schedule::{BETWEEN_ROUNDS, Chain, Cooldowns, Link, OnFailure, Pace};
use sexton_domain::task::{Name, TaskKey};

/// At most a hundred times a second, and at least once a year.
type Pause = Period<10, YEAR_MS>;

/// The cooldown between two links may be zero.
type Cooldown = Period<0, YEAR_MS>;

/// The most links of a chain.
const LINKS: usize = 1000;

/// Time from the end of a run to the next one: "10s", or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum AfterText {
    /// The same after every run.
    Same(Of<Pause>),
    /// Depends on the outcome.
    Each(AfterTable),
}

/// The waits after runs that succeeded and after runs that did not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AfterTable {
    /// The wait after a run that succeeded.
    success: Of<Pause>,
    /// The wait after a run that did not succeed. Default: as `success`.
    fail: Option<Of<Pause>>,
}

impl<'de> Deserialize<'de> for AfterText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = AfterText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"10s\", or { success = \"10m\", fail = \"1m\" }")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AfterText, E> {
                Pause::check(Scalar::Text(text.to_owned())).map(|pause| AfterText::Same(Of(pause))).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<AfterText, E> {
                Pause::check(Scalar::Whole(number)).map(|pause| AfterText::Same(Of(pause))).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AfterText, A::Error> {
                AfterTable::deserialize(MapAccessDeserializer::new(map)).map(AfterText::Each)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl AfterText {
    pub(super) fn cooldowns(&self) -> Cooldowns {
        match self {
            Self::Same(pause) => Cooldowns { success: pause.0, fail: pause.0 },
            Self::Each(table) => {
                let success = table.success.0;
                Cooldowns { success, fail: table.fail.as_ref().map_or(success, |fail| fail.0) }
            }
        }
    }
}

/// The host starts one run every `from` to `to`, so that between `min` and `max` of them are in progress.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PaceText {
    /// While fewer runs are in progress the interval between two starts shrinks.
    min: Of<Count<0, 10_000>>,
    /// While this many runs are in progress none is started.
    max: Of<Count<1, 10_000>>,
    /// The shortest interval between two starts.
    from: Of<Pause>,
    /// The longest interval between two starts.
    to: Of<Pause>,
}

impl PaceText {
    /// Returns the pace, or what is wrong with it.
    fn pace(&self) -> Result<Pace, String> {
        let (from, to) = (self.from.0, self.to.0);
        let [min, max] = [&self.min.0, &self.max.0].map(|n| u32::try_from(*n).expect("at most 10000"));
        if min > max {
            return Err(format!("`min` is {min} and `max` is {max}; make `max` at least as many"));
        }
        if from > to {
            return Err("`to` is shorter than `from`; make it at least as long".into());
        }
        Ok(Pace { min, max, from, to })
    }
}

/// Returns the pace of the task at `place`, and its position in the text.
pub(super) fn pace(text: &Spanned<PaceText>, has_overlap: bool, place: &str) -> Result<(Range<usize>, Pace), Wrong> {
    let at = text.span();
    if has_overlap {
        let what = "has both `pace` and `overlap`; leave `overlap` out: `max` says how many go at once";
        return Err((at, format!("[{place}] {what}")));
    }
    match text.get_ref().pace() {
        Ok(pace) => Ok((at, pace)),
        Err(what) => Err((at, format!("`{place}.pace`: {what}"))),
    }
}

/// Tasks of the tenant that run one after another, round after round.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ChainText {
    /// One line for people.
    description: Option<Of<Line>>,
    /// The links, 1 to 1000, in order: names of tasks of the tenant, of any plugin, or tables with a name and how long
    /// to wait after its run.
    #[schemars(with = "Vec<LinkText>")]
    links: Spanned<Vec<LinkText>>,
    /// Policy for a link that does not succeed: "go-on" (the default), or "stop", which pauses the chain; when it is
    /// resumed it begins again with that link. The log says so in both cases.
    on_failure: Option<Of<OnFailures>>,
    /// The wait between a round in which all links succeeded and the next one. Default: "1s".
    success_cooldown: Option<Of<Pause>>,
    /// The wait after a round in which a link did not succeed. Default: as `success-cooldown`.
    fail_cooldown: Option<Of<Pause>>,
}

/// `go-on` or `stop`.
pub(super) struct OnFailures;

impl Kind for OnFailures {
    type Value = OnFailure;

    fn check(scalar: Scalar) -> Result<OnFailure, String> {
        const WRITE: &str = "\"go-on\" or \"stop\"";
        match scalar.text(WRITE)?.as_str() {
            "go-on" => Ok(OnFailure::GoOn),
            "stop" => Ok(OnFailure::Stop),
            other => Err(format!("{} is not an action of a chain; write {WRITE}", Scalar::Text(other.to_owned()))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "enum": ["go-on", "stop"] })
    }
}

/// A link: the name of a task, or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum LinkText {
    /// The name of a task.
    Name(#[schemars(with = "String")] Name),
    /// A name, and how long to wait.
    Table(LinkTable),
}

/// A link of a chain, with how long to wait after its run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LinkTable {
    /// The name of the task.
    #[schemars(with = "String")]
    task: Name,
    /// The wait between a run of the task that succeeded and the next link. Default: "0s".
    success_cooldown: Option<Of<Cooldown>>,
    /// The wait after a run that did not succeed. Default: as `success-cooldown`.
    fail_cooldown: Option<Of<Cooldown>>,
}

impl<'de> Deserialize<'de> for LinkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = LinkText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a task, or { task = \"NAME\", success-cooldown = \"1m\" }")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<LinkText, E> {
                Name::new(text).map(LinkText::Name).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LinkText, A::Error> {
                LinkTable::deserialize(MapAccessDeserializer::new(map)).map(LinkText::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl LinkText {
    fn link(self) -> Link {
        match self {
            Self::Name(task) => Link { task, cooldowns: cooldowns::<Cooldown>(None, None, Duration::ZERO) },
            Self::Table(LinkTable { task, success_cooldown, fail_cooldown }) => {
                Link { task, cooldowns: cooldowns(success_cooldown, fail_cooldown, Duration::ZERO) }
            }
        }
    }
}

fn cooldowns<K: Kind<Value = Duration>>(success: Option<Of<K>>, fail: Option<Of<K>>, usual: Duration) -> Cooldowns {
    let success = success.map_or(usual, |success| success.0);
    Cooldowns { success, fail: fail.map_or(success, |fail| fail.0) }
}

/// Returns the chains of a manifest. Their tenant is not known yet.
pub(super) fn chains(
    texts: BTreeMap<Spanned<Name>, ChainText>,
    is_task: impl Fn(&Name) -> bool,
) -> Result<Vec<Chain>, Wrong> {
    texts.into_iter().map(|(name, text)| chain(name, text, &is_task)).collect()
}

pub(super) fn chain(name: Spanned<Name>, text: ChainText, is_task: impl Fn(&Name) -> bool) -> Result<Chain, Wrong> {
    let (at, name) = (name.span(), name.into_inner());
    if is_task(&name) {
        return Err((at, format!("there is a task `{name}` and a chain `{name}`; rename one of them")));
    }
    let links = text.links.span();
    let wrong = |what: &str| Err((links.clone(), format!("`chains.{name}.links`: {what}")));
    match text.links.get_ref() {
        none if none.is_empty() => return wrong("there are none; name at least one task"),
        many if many.len() > LINKS => return wrong(&format!("these are too many; name at most {LINKS} tasks")),
        links if links.iter().any(|link| link.name() == &name) => {
            return wrong("a chain cannot be a link of itself; leave it out");
        }
        _ => {}
    }
    Ok(Chain {
        plugin: name.clone(),
        key: TaskKey { tenant: Name::default_tenant(), task: name },
        description: text.description.map(|line| line.0),
        links: text.links.into_inner().into_iter().map(LinkText::link).collect(),
        on_failure: text.on_failure.map_or(OnFailure::GoOn, |on_failure| on_failure.0),
        cooldowns: cooldowns(text.success_cooldown, text.fail_cooldown, BETWEEN_ROUNDS),
    })
}

impl LinkText {
    fn name(&self) -> &Name {
        match self {
            Self::Name(task) | Self::Table(LinkTable { task, .. }) => task,
        }
    }
}
