//! Lists the files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Directories without files of this repository.
const ELSEWHERE: &[&str] = &["target", "node_modules"];

/// Returns the files below `repository`, relative to it, without hidden ones and without what is built. Links are not followed,
/// so that no file counts twice.
pub(crate) fn below(repository: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut next = vec![PathBuf::new()];
    while let Some(directory) = next.pop() {
        let place = repository.join(&directory);
        for entry in fs::read_dir(&place).with_context(|| format!("cannot read `{}`", place.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let (path, kind) = (directory.join(&name), entry.file_type()?);
            if kind.is_dir() {
                next.push(path);
            } else if kind.is_file() {
                found.insert(path.display().to_string());
            }
        }
    }
    Ok(found)
}
