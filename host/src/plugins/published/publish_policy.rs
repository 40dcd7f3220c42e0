//! Decides whether a host publishes a plugin of its directory, or withdraws one that it published.
//!
//! The plugin that was dropped last counts for all hosts. An unchanged file does not overrule a later drop on another
//! host. But it is published if no other version is, so that a plugin that lies in some directory is always available.

use crate::plugins::sink::Fingerprint;
use sexton_store::published::PublishedPlugin;

/// The state of a plugin in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectoryState {
    /// The state was not reported yet.
    Unknown,
    /// The plugin is not there.
    NotThere,
    /// The plugin is not good. The previous version stays in use.
    Bad,
    /// The plugin loads here.
    Good {
        /// Its version.
        mark: Fingerprint,
        /// Whether it was added or changed while the host was up, and is not published yet.
        dropped: bool,
    },
}

/// The next step for a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to do.
    Nothing,
    /// Publish the plugin in the directory.
    Publish,
    /// Withdraw the published plugin, if it is still this version.
    Withdraw(u64),
}

/// Returns the next step of `host`, given the plugin's state in its directory and the published version.
pub(super) fn step(lies: &DirectoryState, published: Option<&PublishedPlugin>, host: &str) -> Step {
    let own = published.filter(|published| published.host == host);
    match lies {
        DirectoryState::Good { dropped: true, .. } => Step::Publish,
        DirectoryState::Good { .. } if published.is_none() => Step::Publish,
        // The file was changed while this host was down, and no other version was dropped since.
        DirectoryState::Good { mark, .. } if own.is_some_and(|own| *mark != Fingerprint::of(own)) => Step::Publish,
        DirectoryState::NotThere => own.map_or(Step::Nothing, |own| Step::Withdraw(own.version)),
        DirectoryState::Good { .. } | DirectoryState::Bad | DirectoryState::Unknown => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Name;
    use sexton_domain::time::Timestamp;
    use sexton_store::published::PluginKey;

    fn mark(digest: &str) -> Fingerprint {
        Fingerprint { digest: digest.into(), manifest: "[tasks.a]".into() }
    }

    /// Returns a plugin that `host` has published.
    fn published(host: &str, digest: &str) -> PublishedPlugin {
        let Fingerprint { digest, manifest } = mark(digest);
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
    fn the_last_drop_counts_and_a_removal_on_its_host_withdraws_it() {
        let lies = |digest: &str, dropped| DirectoryState::Good { mark: mark(digest), dropped };
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
            ("taken away where it was dropped", DirectoryState::NotThere, Some(&own), Step::Withdraw(7)),
            ("not there, and dropped elsewhere", DirectoryState::NotThere, Some(&others), Step::Nothing),
            ("nowhere", DirectoryState::NotThere, None, Step::Nothing),
            ("broken where it was dropped", DirectoryState::Bad, Some(&own), Step::Nothing),
            ("broken, and nothing is published", DirectoryState::Bad, None, Step::Nothing),
            ("not known yet", DirectoryState::Unknown, Some(&own), Step::Nothing),
        ];
        for (what, lies, published, expected) in table {
            assert_eq!(step(&lies, published, "me"), expected, "{what}");
        }
    }

    #[test]
    fn another_manifest_makes_another_plugin() {
        let lies =
            DirectoryState::Good { mark: Fingerprint { manifest: String::new(), ..mark("one") }, dropped: false };

        assert_eq!(step(&lies, Some(&published("me", "one")), "me"), Step::Publish);
    }
}
