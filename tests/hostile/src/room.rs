//! Limits the memory of a host: the system ends it when it takes more.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory of a starved host, in bytes.
pub(crate) const STARVED: u64 = 512 << 20;

/// The directory of the system's control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// A control group whose processes together may have a limited amount of memory.
///
/// Limits of address space or of data are no use: the pool of a host reserves terabytes of the former and, as guests
/// come and go, leaves behind gigabytes of the latter that take no memory.
pub(crate) struct Room {
    group: PathBuf,
}

impl Room {
    /// Creates a group with a limit of `bytes`. Returns `None` if this process may not create one.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        own.lines().flat_map(parents).find_map(|(parent, file)| Self::below(&parent, file, bytes))
    }

    fn below(parent: &Path, file: &str, bytes: u64) -> Option<Self> {
        let room = Self { group: parent.join(format!("hostile-{}", std::process::id())) };
        fs::create_dir(&room.group).ok()?;
        // The file exists only if the group controls memory.
        let limited = room.group.join(file).exists() && fs::write(room.group.join(file), bytes.to_string()).is_ok();
        // Memory that is swapped out would not count. Not every system has that file.
        let _ = fs::write(room.group.join("memory.swap.max"), "0");
        limited.then_some(room)
    }

    /// Returns shell commands that limit the shell, and whatever it becomes, to this group.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > '{}' || exit 1; ", self.group.join("cgroup.procs").display())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The group is empty by now. One that is not is left to the machine's administrator.
        let _ = fs::remove_dir(&self.group);
    }
}

/// Returns where a group may be created, and the name of the file with its limit, from a line of `/proc/self/cgroup`:
/// version 2 or 1.
fn parents(line: &str) -> Vec<(PathBuf, &'static str)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (top, file) = match controllers {
        "" => (PathBuf::from(GROUPS), "memory.max"),
        "memory" => (Path::new(GROUPS).join("memory"), "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    vec![(top.join(path.trim_start_matches('/')), file), (top, file)]
}
