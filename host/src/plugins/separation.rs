//! Keeps the plugin directories of tenants apart, because the path of a directory may be a link that is switched while
//! the host is up.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sexton_domain::task::Name;

/// The places that the plugin directories of all tenants lead to, as of the last look at each. A look compares one
/// directory with those above and below it, so its cost does not grow with the number of tenants.
#[derive(Debug, Default)]
pub struct Places {
    /// The directory that only the host may write to.
    var: PathBuf,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// The tenant at each resolved path.
    tenants: BTreeMap<PathBuf, Name>,
    /// Each tenant's directory, as configured and as resolved.
    paths: HashMap<Name, (PathBuf, PathBuf)>,
}

impl Places {
    /// Creates the places of a host that keeps its own files in `var`. No directory has a place before it is looked at.
    #[must_use]
    pub fn beside(var: PathBuf) -> Arc<Self> {
        Arc::new(Self { var, taken: Mutex::default() })
    }
}

impl Taken {
    fn leave(&mut self, tenant: &Name) {
        if let Some((_, place)) = self.paths.remove(tenant) {
            self.tenants.remove(&place);
        }
    }

    /// Returns another tenant whose directory overlaps `place`.
    fn in_the_way(&self, tenant: &Name, place: &Path) -> Option<Name> {
        let above = place.ancestors().filter_map(|above| self.tenants.get(above));
        // Paths are ordered by their parts, so those below `place` follow it.
        let below = self.tenants.range(place.to_path_buf()..).take_while(|(path, _)| path.starts_with(place));
        above.chain(below.map(|(_, other)| other)).find(|other| *other != tenant).cloned()
    }

    /// Finds out where the directory of `tenant` leads now, and returns its configured path if it is still there.
    fn look_again(&mut self, tenant: &Name) -> Option<PathBuf> {
        let (configured, place) = self.paths.get(tenant)?;
        if configured.canonicalize().is_ok_and(|now| now == *place) {
            return Some(configured.clone());
        }
        self.leave(tenant);
        None
    }
}

/// The rule of one tenant's plugin directory, which must be apart from those of others and from what is the host's.
#[derive(Clone, Debug)]
pub struct Separation {
    /// The places of all tenants' directories.
    pub places: Arc<Places>,
    /// The owner of the directory.
    pub tenant: Name,
    /// Whether the directory may lie below `var`: the operator's own may.
    pub may_lie_in_var: bool,
}

impl Separation {
    /// Checks where `directory` leads now, and takes that place. A directory that may not be there leaves the place that
    /// it had.
    ///
    /// # Errors
    ///
    /// The path cannot be resolved, or the directory is not apart from the others. The error names the other one.
    pub(super) fn check(&self, directory: &Path) -> io::Result<()> {
        let Places { var, taken } = &*self.places;
        let place = directory.canonicalize();
        // A path that does not exist contains nothing.
        let resolved_var = var.canonicalize().ok();
        // A panic under the lock leaves a place that the next look corrects.
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.leave(&self.tenant);
        let place = place?;
        let overlaps = |other: &Path| {
            let text = format!("it leads to `{}`, which overlaps `{}`", place.display(), other.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        };
        if resolved_var.is_some_and(|var| var.starts_with(&place) || (place.starts_with(&var) && !self.may_lie_in_var))
        {
            return overlaps(var);
        }
        while let Some(other) = taken.in_the_way(&self.tenant, &place) {
            if let Some(path) = taken.look_again(&other) {
                return overlaps(&path);
            }
        }
        taken.tenants.insert(place.clone(), self.tenant.clone());
        taken.paths.insert(self.tenant.clone(), (directory.to_path_buf(), place));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(places: &Arc<Places>, tenant: &str) -> Separation {
        Separation { places: Arc::clone(places), tenant: Name::new(tenant).unwrap(), may_lie_in_var: false }
    }

    fn link(target: &Path, link: &Path) {
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(target, link).unwrap();
    }

    #[test]
    fn a_directory_that_is_switched_to_another_tenants_or_into_var_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["one", "two/plugins", "var/code", "three"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        let places = Places::beside(path("var"));
        of(&places, "two").check(&path("two/plugins")).unwrap();
        let apart = of(&places, "one");
        let leads_to = |target: &str| {
            link(&path(target), &path("link"));
            apart.check(&path("link"))
        };

        for good in ["one", "three"] {
            assert!(leads_to(good).is_ok(), "{good}");
        }
        for bad in ["two/plugins", "two", "var", "var/code", "."] {
            let error = leads_to(bad).unwrap_err().to_string();
            assert!(error.contains("which overlaps"), "{bad}: {error}");
        }
        assert!(Separation { may_lie_in_var: true, ..apart }.check(&path("var/code")).is_ok());
        assert!(of(&places, "two").check(&path("two/plugins")).is_ok(), "its owner goes on using it");
    }

    #[test]
    fn a_place_is_free_once_its_tenants_path_leads_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["old/plugins", "new"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        let places = Places::beside(path("var"));
        link(&path("old"), &path("first"));
        of(&places, "first").check(&path("first")).unwrap();
        assert!(of(&places, "second").check(&path("old/plugins")).is_err());

        link(&path("new"), &path("first"));
        assert!(of(&places, "second").check(&path("old/plugins")).is_ok(), "the first one is not there any more");
        assert!(of(&places, "first").check(&path("first")).is_ok());
        link(&path("old"), &path("first"));
        assert!(of(&places, "first").check(&path("first")).is_err(), "the place was taken meanwhile");
    }

    #[test]
    fn directories_of_similar_names_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::beside(folder.path().join("var"));
        for name in ["web", "web-2", "web.old"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            of(&places, &name.replace('.', "-")).check(&path).unwrap();
        }
    }
}
