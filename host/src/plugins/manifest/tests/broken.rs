//! Compares the errors of broken manifests. Each table below has the fault, the manifest, and its one-line error.

use super::*;

mod following;
mod limits;
mod locks;
mod schedules;
mod toml;

#[test]
fn a_broken_manifest_has_one_line_with_position_fault_and_remedy() {
    for (name, text, expected) in [
        toml::BROKEN,
        schedules::BROKEN,
        limits::BROKEN,
        following::BROKEN,
        locks::BROKEN,
        super::routes::BROKEN,
        super::labels::BROKEN,
    ]
    .concat()
    {
        match Manifest::parse("front.toml", text) {
            Ok(manifest) => panic!("{name}: {manifest:?}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{name}"),
        }
    }
}
