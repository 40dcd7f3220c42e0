//! A host that has little memory: the system ends it when it takes more.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory of a host that is starved, in bytes.
pub(crate) const STARVED: u64 = 512 << 20;

/// Where the system keeps its control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// A control group whose processes together may have so much memory.
///
/// Limits of address space or of data do not do: the pool of a host reserves terabytes of the one and, as guests come and go, leaves behind
/// gigabytes of the other that take no memory.
pub(crate) struct Room {
    group: PathBuf,
}

impl Room {
    /// Of `bytes`; `None` where this process may not make one.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        own.lines().flat_map(parents).find_map(|(parent, file)| Self::below(&parent, file, bytes))
    }

    fn below(parent: &Path, file: &str, bytes: u64) -> Option<Self> {
        let room = Self { group: parent.join(format!("hostile-{}", std::process::id())) };
        fs::create_dir(&room.group).ok()?;
        // The file is there only if the group has a say about memory.
        let limited = room.group.join(file).exists() && fs::write(room.group.join(file), bytes.to_string()).is_ok();
        // What is swapped out would not count. Not every system has that file.
        let _ = fs::write(room.group.join("memory.swap.max"), "0");
        limited.then_some(room)
    }

    /// What a shell does so that it, and whatever it becomes, has no more.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > '{}' || exit 1; ", self.group.join("cgroup.procs").display())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Empty by now. One that is not is left to whoever set up the machine.
        let _ = fs::remove_dir(&self.group);
    }
}

/// Where a group may be made, and the name of the file with its limit, by a line of `/proc/self/cgroup`: version 2 or 1.
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
