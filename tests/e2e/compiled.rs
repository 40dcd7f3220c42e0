//! Shares compiled code between the hosts of the tests.
//!
//! Most tests run the same few guests, each on a host of its own. Compiling them took half of all processor time of the
//! tests. So a host begins with the code that an earlier one compiled, as a restarted host does. Tests of compiling
//! itself begin without it.

use std::fs::{self, DirBuilder};
use std::io::Result;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use crate::harness::SEXTON;

static SHARED: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = fs::metadata(SEXTON).and_then(|binary| binary.modified()).expect("the binary under test");
    let built = built.duration_since(UNIX_EPOCH).expect("it was built after 1970").as_nanos();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let shared = all.join(built.to_string());
    if !shared.exists() {
        // Code that other binaries compiled says nothing about this one.
        let _ = fs::remove_dir_all(&all);
    }
    fs::create_dir_all(&shared).expect("a directory for compiled code");
    shared
});

fn code_below(host: &Path) -> PathBuf {
    host.join("var/code")
}

/// Gives the code of earlier hosts to the host in `directory`, which has not been started yet.
pub(crate) fn lend(directory: &Path) {
    let code = code_below(directory);
    DirBuilder::new().recursive(true).mode(0o700).create(&code).expect("a directory of compiled code");
    // If a link cannot be made, the component is compiled.
    let _ = link_all(&SHARED, &code);
}

/// Takes over the code that the host in `directory` compiled. The host has ended.
pub(crate) fn collect(directory: &Path) {
    // A host with another place for its code, or none, leaves nothing to take over.
    let _ = link_all(&code_below(directory), &SHARED);
}

fn link_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        // A file that ends in `half` was being written when its host was killed.
        if from.extension().is_some_and(|extension| extension != "half")
            && let Some(name) = from.file_name()
            && !to.join(name).exists()
        {
            fs::hard_link(&from, to.join(name))?;
        }
    }
    Ok(())
}
