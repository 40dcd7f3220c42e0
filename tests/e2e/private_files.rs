//! Tests that none of a host's own files can be opened by other users, at any moment and with any umask.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Host, SEXTON, Setup, drop_in, guest, state};

const TASK: &str = "[tasks.load]\n[tasks.load.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n";
const INPUT: &str = r#"{"lock": "a", "key": "b", "counter": "c", "ms": 1}"#;

/// Finds files and directories at and below `path` that others may access, with the mode of each.
fn open_to_others(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.mode() & 0o077 != 0 && !metadata.is_symlink() {
        found.insert(path.to_owned(), format!("{:o}", metadata.mode() & 0o7777));
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_to_others(&entry.path(), found);
    }
}

/// Starts a host whose umask removes no permissions.
fn without_umask(directory: &Arc<tempfile::TempDir>) -> Host {
    let mut command = Command::new("sh");
    command.args(["-c", r#"umask 000; exec "$0" "$@""#, SEXTON]);
    Host::start_by(command, Arc::clone(directory), &[])
}

#[test]
fn nothing_below_var_is_ever_open_to_others_whatever_the_umask() {
    let setup = Setup { config: "[host]\npublish = true\n".into() };
    let directory = setup.new_directory();
    drop_in(directory.path(), "load", &guest("load"), Some(TASK));
    let var = directory.path().join("var");
    let (looking, place) = (Arc::new(AtomicBool::new(true)), var.clone());
    let still = Arc::clone(&looking);
    // The thread looks from before the first file exists: a mode that is set after a file was created is found sooner
    // or later.
    let look = std::thread::spawn(move || {
        let mut found = BTreeMap::new();
        while still.load(Ordering::Relaxed) {
            open_to_others(&place, &mut found);
            std::thread::yield_now();
        }
        open_to_others(&place, &mut found);
        found
    });

    let host = without_umask(&directory);
    host.loaded("load");
    let run = host.run("load", INPUT);
    let backup = host.cli(&["backup", "var/copy.db"]);

    assert_eq!(state(&run), "succeeded");
    assert!(backup.status.success(), "{backup:?}");
    host.eventually("a copy of what was published lies here", || {
        fs::read_dir(var.join("published/default")).ok()?.next().map(drop)
    });
    looking.store(false, Ordering::Relaxed);
    let found = look.join().unwrap();
    assert!(found.is_empty(), "{found:?}");
    for file in ["sexton.db", "sexton.db-wal", "sexton.db-shm", "sexton.db.lock", "code", "published", "copy.db"] {
        assert!(var.join(file).exists(), "{file} was not looked at");
    }
}

#[test]
fn files_that_an_earlier_version_left_open_are_closed_at_the_start_with_a_log_line() {
    let directory = Setup::default().new_directory();
    let host = Host::start_in(directory);
    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");
    let var = directory.path().join("var");
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&var, 0o755);
    for file in ["sexton.db", "sexton.db.lock"] {
        open(&var.join(file), 0o644);
    }

    let host = Host::start_in(directory);

    let mut found = BTreeMap::new();
    open_to_others(&var, &mut found);
    assert!(found.is_empty(), "{found:?}");
    for file in ["var`", "sexton.db`", "sexton.db.lock`"] {
        let told =
            host.log().lines().filter(|line| line.contains("was open to other users") && line.contains(file)).count();
        assert_eq!(told, 1, "{file}: {}", host.log());
    }
}

#[test]
fn published_plugins_in_a_directory_of_another_user_are_not_used() {
    let setup = Setup { config: "[host]\npublish = true\n".into() };
    let directory = setup.new_directory();
    let published = directory.path().join("var/published");
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all(&published).unwrap();
        std::os::unix::fs::chown(&published, Some(12_345), None).unwrap();
    } else {
        // A directory of another user: root's.
        fs::create_dir_all(directory.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/usr", &published).unwrap();
    }

    let refused = Command::new(SEXTON)
        .args(["run", "--config", "sexton.toml"])
        .current_dir(directory.path())
        .env_remove("SEXTON_STORE_URL")
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    let told = said.lines().find(|line| line.starts_with("error:")).expect("it says why it does not start");
    assert!(told.contains("var/published") && told.contains("it belongs to user "), "{said}");
}
