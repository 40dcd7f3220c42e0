//! Keeps the files of published plugins on this host, apart from the directory in which plugins are dropped. The
//! plugins in use lie here, and need not be fetched again when the host restarts.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::plugins::sink::Fingerprint;
use crate::plugins::source::{MAX_MANIFEST, list};
use sexton_runtime::runtime::digest;
use sexton_system::private;
use sexton_system::regular_file;

/// The fetched plugins of one tenant.
#[derive(Debug)]
pub(super) struct LocalCache {
    directory: PathBuf,
    /// Held while both files of a plugin are put in place or removed.
    still: Arc<Mutex<()>>,
    /// The versions of the plugins in the directory, by name; `None` if the files are incomplete.
    marks: BTreeMap<String, Option<Fingerprint>>,
}

impl LocalCache {
    /// Creates the cache in `directory`, which is not read yet.
    pub(super) fn new(directory: PathBuf, still: Arc<Mutex<()>>) -> Self {
        Self { directory, still, marks: BTreeMap::new() }
    }

    /// Reads the directory. Components of more than `limit` bytes count as damaged.
    pub(super) async fn read(&mut self, limit: u64) {
        let directory = self.directory.clone();
        match tokio::task::spawn_blocking(move || read(&directory, limit)).await {
            Ok(Ok(marks)) => self.marks = marks,
            Ok(Err(error)) => {
                warn!(error = %error, "Cannot read `{}`, fetching all published plugins", self.directory.display());
            }
            Err(error) => warn!(error = %error, "Reading the published plugins ended early"),
        }
    }

    /// Returns the names of the plugins in the cache.
    pub(super) fn names(&self) -> Vec<String> {
        self.marks.keys().cloned().collect()
    }

    /// Returns whether the cache has this version of a plugin.
    pub(super) fn has(&self, plugin: &str, mark: &Fingerprint) -> bool {
        self.marks.get(plugin).is_some_and(|there| there.as_ref() == Some(mark))
    }

    /// Stores a plugin, in place of an earlier version of it.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub(super) async fn put(&mut self, plugin: &str, mark: Fingerprint, component: Arc<Vec<u8>>) -> io::Result<()> {
        let (directory, still, name) = (self.directory.clone(), Arc::clone(&self.still), plugin.to_owned());
        self.marks.insert(name.clone(), None);
        let manifest = mark.manifest.clone();
        let written = tokio::task::spawn_blocking(move || put(&directory, &still, &name, &manifest, &component));
        written.await.map_err(io::Error::other)??;
        self.marks.insert(plugin.to_owned(), Some(mark));
        Ok(())
    }

    /// Removes a plugin.
    pub(super) fn remove(&mut self, plugin: &str) {
        if self.marks.remove(plugin).is_none() {
            return;
        }
        let _still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in ["wasm", "toml"] {
            let path = self.directory.join(format!("{plugin}.{kind}"));
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(error = %error, "Cannot remove `{}`, which was withdrawn", path.display());
                }
                _ => {}
            }
        }
    }
}

fn read(directory: &Path, limit: u64) -> io::Result<BTreeMap<String, Option<Fingerprint>>> {
    let plugins = list(directory)?.plugins;
    let mark = |name: &str| {
        let component = regular_file::read(&directory.join(format!("{name}.wasm")), limit).ok()??;
        let manifest = regular_file::read(&directory.join(format!("{name}.toml")), MAX_MANIFEST).ok()??;
        Some(Fingerprint { digest: digest(&component), manifest: String::from_utf8(manifest).ok()? })
    };
    Ok(plugins.into_keys().map(|name| (name.clone(), mark(&name))).collect())
}

/// Writes both files before it puts either in place. If the host dies in between, the comparison of digests finds it
/// out.
fn put(directory: &Path, still: &Mutex<()>, name: &str, manifest: &str, component: &[u8]) -> io::Result<()> {
    let kinds = [("toml", manifest.as_bytes()), ("wasm", component)];
    let new = |kind: &str| directory.join(format!(".{name}.{kind}.new"));
    for (kind, bytes) in kinds {
        private::make_file(&new(kind))?.write_all(bytes)?;
    }
    let _still = still.lock().unwrap_or_else(PoisonError::into_inner);
    for (kind, _) in kinds {
        std::fs::rename(new(kind), directory.join(format!("{name}.{kind}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn mark(component: &[u8], manifest: &str) -> Fingerprint {
        Fingerprint { digest: digest(component), manifest: manifest.into() }
    }

    #[tokio::test]
    async fn stored_plugins_are_found_again_and_damaged_ones_are_not() {
        let place = tempfile::tempdir().unwrap();
        let open = || LocalCache::new(place.path().to_owned(), Arc::default());
        let (good, bad) = (mark(b"good", "[tasks.a]\n"), mark(b"bad", ""));
        let mut copies = open();
        copies.put("good", good.clone(), Arc::new(b"good".to_vec())).await.unwrap();
        copies.put("bad", bad.clone(), Arc::new(b"bad".to_vec())).await.unwrap();
        assert!(copies.has("good", &good) && copies.has("bad", &bad));

        std::fs::write(place.path().join("bad.wasm"), b"worse").unwrap();
        let mut copies = open();
        copies.read(LIMIT).await;

        assert!(copies.has("good", &good) && !copies.has("bad", &bad));
        assert!(!copies.has("good", &mark(b"good", "")), "another manifest makes another plugin");
        assert_eq!(copies.names(), ["bad", "good"]);
    }

    #[tokio::test]
    async fn nothing_remains_of_a_removed_plugin() {
        let place = tempfile::tempdir().unwrap();
        let mut copies = LocalCache::new(place.path().to_owned(), Arc::default());
        copies.put("a", mark(b"one", ""), Arc::new(b"one".to_vec())).await.unwrap();
        copies.put("a", mark(b"two", ""), Arc::new(b"two".to_vec())).await.unwrap();

        copies.remove("a");
        copies.remove("a");

        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
