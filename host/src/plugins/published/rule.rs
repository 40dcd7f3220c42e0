//! Whether what lies in the plugin directory of a host is published, or what it published withdrawn.
//!
//! What was dropped last counts for all. A file that lies there unchanged says nothing against what somebody dropped later
//! elsewhere; but it is published if nothing else is, so that what lies in some directory is always there.

use crate::plugins::outlet::Mark;
use crate::store::published::PublishedPlugin;

/// How a plugin lies in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// That is not told yet.
    Unknown,
    /// Not at all.
    NotThere,
    /// It is not good. What was before stays in use.
    Bad,
    /// It loads here.
    Good {
        /// Which it is.
        mark: Mark,
        /// It came, or was changed, while the host was up, and that is not published yet.
        dropped: bool,
    },
}

/// What is to be done about a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// What lies in the directory is published.
    Publish,
    /// What is published is withdrawn, if it is still this version.
    Withdraw(u64),
}

/// What `host` does, in whose directory the plugin `lies` so, and that sees this `published`.
pub(super) fn step(lies: &Lies, published: Option<&PublishedPlugin>, host: &str) -> Step {
    let own = published.filter(|published| published.host == host);
    match lies {
        Lies::Good { dropped: true, .. } => Step::Publish,
        Lies::Good { .. } if published.is_none() => Step::Publish,
        // It was changed while this host was down, and nobody has dropped another since.
        Lies::Good { mark, .. } if own.is_some_and(|own| *mark != Mark::of(own)) => Step::Publish,
        Lies::NotThere => own.map_or(Step::Nothing, |own| Step::Withdraw(own.version)),
        Lies::Good { .. } | Lies::Bad | Lies::Unknown => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::published::PluginKey;
    use crate::task::Name;
    use crate::time::Timestamp;

    fn mark(digest: &str) -> Mark {
        Mark { digest: digest.into(), manifest: "[tasks.a]".into() }
    }

    /// What `host` has published.
    fn published(host: &str, digest: &str) -> PublishedPlugin {
        let Mark { digest, manifest } = mark(digest);
        PublishedPlugin {
            key: PluginKey { tenant: Name::default_tenant(), plugin: Name::new("a").unwrap() },
            version: 7,
            manifest,
            digest,
            size: 1,
            host: host.into(),
            published_at: Timestamp::default(),
            withdrawn: false,
        }
    }

    #[test]
    fn what_is_dropped_last_counts_and_what_is_taken_away_where_it_was_dropped_is_gone() {
        let lies = |digest: &str, dropped| Lies::Good { mark: mark(digest), dropped };
        let (own, others) = (published("me", "one"), published("other", "one"));
        let table = [
            ("dropped, and nothing is published", lies("one", true), None, Step::Publish),
            ("there from the start, and nothing is published", lies("one", false), None, Step::Publish),
            ("dropped, and another is published elsewhere", lies("two", true), Some(&others), Step::Publish),
            ("dropped, and the same is published elsewhere", lies("one", true), Some(&others), Step::Publish),
            ("unchanged, and another was dropped elsewhere", lies("two", false), Some(&others), Step::Nothing),
            ("unchanged, and the same was dropped elsewhere", lies("one", false), Some(&others), Step::Nothing),
            ("changed while the host was down", lies("two", false), Some(&own), Step::Publish),
            ("unchanged since it was published", lies("one", false), Some(&own), Step::Nothing),
            ("taken away where it was dropped", Lies::NotThere, Some(&own), Step::Withdraw(7)),
            ("not there, and dropped elsewhere", Lies::NotThere, Some(&others), Step::Nothing),
            ("nowhere", Lies::NotThere, None, Step::Nothing),
            ("broken where it was dropped", Lies::Bad, Some(&own), Step::Nothing),
            ("broken, and nothing is published", Lies::Bad, None, Step::Nothing),
            ("not known yet", Lies::Unknown, Some(&own), Step::Nothing),
        ];
        for (what, lies, published, expected) in table {
            assert_eq!(step(&lies, published, "me"), expected, "{what}");
        }
    }

    #[test]
    fn another_manifest_makes_another_plugin() {
        let lies = Lies::Good { mark: Mark { manifest: String::new(), ..mark("one") }, dropped: false };

        assert_eq!(step(&lies, Some(&published("me", "one")), "me"), Step::Publish);
    }
}
