//! Reads labels: those of all tasks of a manifest, and those of one task.

use std::collections::BTreeMap;

use toml::Spanned;

use super::wrong::Wrong;
use sexton_domain::labels::Labels;

/// Labels as they are written: values by their keys.
pub(super) type LabelsText = Option<Spanned<BTreeMap<String, String>>>;

/// Reads the labels of all tasks of a manifest.
pub(super) fn shared(written: LabelsText) -> Result<Labels, Wrong> {
    read(written, "labels", &Labels::default())
}

/// Reads the labels of the task at `place`, which has those that it shares as well. Its own value of a key counts.
pub(super) fn of_task(written: LabelsText, place: &str, shared: &Labels) -> Result<Labels, Wrong> {
    read(written, &format!("{place}.labels"), shared)
}

fn read(written: LabelsText, place: &str, shared: &Labels) -> Result<Labels, Wrong> {
    let Some(written) = written else { return Ok(shared.clone()) };
    let at = written.span();
    let labels = Labels::new(written.into_inner()).and_then(|own| shared.with(&own));
    labels.map_err(|wrong| (at, format!("`{place}`: {wrong}")))
}
