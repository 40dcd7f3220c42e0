//! Decides whether a host publishes a plugin of its directory, or withdraws one that it published.
//!
//! The plugin that was dropped last counts for all hosts. An unchanged file does not overrule a later drop on another
//! host. But it is published if no other version is, so that a plugin that lies in some directory is always available.

use crate::plugins::outlet::Mark;
use crate::store::published::PublishedPlugin;

/// The state of a plugin in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// The state was not reported yet.
    Unknown,
    /// The plugin is not there.
    NotThere,
    /// The plugin is not good. The previous version stays in use.
    Bad,
    /// The plugin loads here.
    Good {
        /// Its version.
        mark: Mark,
        /// Whether it was added or changed while the host was up, and is not published yet.
        dropped: bool,
    },
}

/// The next step for a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// Publish the plugin in the directory.
    Publish,
    /// Withdraw the published plugin, if it is still this version.
    Withdraw(u64),
}

/// Returns the next step of `host`, given the plugin's state in its directory and the published version.
pub(super) fn step(lies: &Lies, published: Option<&PublishedPlugin>, host: &str) -> Step {
    let own = published.filter(|published| published.host == host);
    match lies {
        Lies::Good { dropped: true, .. } => Step::Publish,
        Lies::Good { .. } if published.is_none() => Step::Publish,
        // The file was changed while this host was down, and no other version was dropped since.
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

    /// Returns a plugin that `host` has published.
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
