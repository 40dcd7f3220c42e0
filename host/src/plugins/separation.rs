//! Keeps the plugin directories of tenants apart, because the path of a directory may be a link that is switched while
//! the host is up.

use std::io;
use std::path::{Path, PathBuf};

/// The places that a tenant's plugin directory must be kept apart from. Paths are resolved when they are compared.
#[derive(Clone, Debug, Default)]
pub struct Separation {
    /// The directory that only the host may write to.
    pub var: PathBuf,
    /// Whether the plugin directory may lie below `var`: the operator's own may.
    pub may_lie_in_var: bool,
    /// The plugin directories of other tenants.
    pub others: Vec<PathBuf>,
}

impl Separation {
    /// Checks where `directory` leads now.
    ///
    /// # Errors
    ///
    /// The path cannot be resolved, or the directory is not apart from the others. The error names the other one.
    pub(super) fn check(&self, directory: &Path) -> io::Result<()> {
        let whole = directory.canonicalize()?;
        // A path that does not exist contains nothing.
        let resolved = |path: &Path| path.canonicalize().ok();
        let in_the_way = |other: &Path| {
            let what = format!("it leads to `{}`, which overlaps `{}`", whole.display(), other.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
        };
        if let Some(var) = resolved(&self.var)
            && (var.starts_with(&whole) || (whole.starts_with(&var) && !self.may_lie_in_var))
        {
            return in_the_way(&self.var);
        }
        for other in &self.others {
            if resolved(other).is_some_and(|other| whole.starts_with(&other) || other.starts_with(&whole)) {
                return in_the_way(other);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_switched_to_another_tenants_or_into_var_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["one", "two/plugins", "var/code", "three"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        let apart =
            Separation { var: path("var"), may_lie_in_var: false, others: vec![path("two/plugins"), path("gone")] };
        let leads_to = |target: &str| {
            let _ = std::fs::remove_file(path("link"));
            std::os::unix::fs::symlink(path(target), path("link")).unwrap();
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
    }
}
