//! Bounds the memory of all attempts of a host together, so that the host itself always has some.
//!
//! A task's limit bounds its own runs only. If a host ran more tasks at once than its machine has memory for, the
//! system would end the host and every run with it, so the run that asks last ends instead.

use std::sync::atomic::{AtomicU64, Ordering};

/// The part of the process's memory that guests never get, as a divisor. It is for the store, the API, compiled code
/// and the stacks of guests.
const OWN_PART: u64 = 4;

/// The least that guests never get, in bytes: an idle host with a hundred plugins takes 40 MiB, and the pages that its
/// store caches and the answers of its API take some more.
const OWN: u64 = 192 << 20;

/// The least that guests get on any host, in bytes, because a host that gives less cannot run anything.
const LEAST: u64 = 64 << 20;

/// The memory of all attempts.
#[derive(Debug)]
pub(crate) struct AllMemory {
    limit: u64,
    taken: AtomicU64,
}

impl AllMemory {
    /// Creates the bound that fits the memory of this process.
    pub(crate) fn of_this_process() -> Self {
        Self::of(system::process_limit().map_or(u64::MAX, for_guests))
    }

    /// Creates a bound of `limit` bytes.
    pub(crate) fn of(limit: u64) -> Self {
        Self { limit, taken: AtomicU64::new(0) }
    }

    /// Returns the bound in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes `bytes` if they are within the bound, and returns whether they were.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Returns the part for guests of the `bytes` that a process may have.
fn for_guests(bytes: u64) -> u64 {
    bytes.saturating_sub(OWN.max(bytes / OWN_PART)).max(LEAST)
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::Path;

    use rustix::process::{Resource, getrlimit};

    /// Returns the bytes that this process may have: the least of the machine's memory, the control group's and the
    /// data limit.
    pub(crate) fn process_limit() -> Option<u64> {
        let machine = rustix::system::sysinfo();
        let of_machine = machine.totalram.checked_mul(u64::from(machine.mem_unit.max(1)));
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of_group = of_groups(&groups, Path::new("/sys/fs/cgroup"));
        of_machine.into_iter().chain(of_group).chain(of_data_limit()).min()
    }

    /// Returns what the data limit leaves. Address space that is reserved already (stacks and tables of guests) counts
    /// there.
    fn of_data_limit() -> Option<u64> {
        let limit = getrlimit(Resource::Data).current?;
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let data: u64 = pages.split_whitespace().nth(5)?.parse().ok()?;
        Some(limit.saturating_sub(data * rustix::param::page_size() as u64))
    }

    /// Returns the least limit of the control groups in `groups`, the lines of `/proc/self/cgroup`, version 1 or 2.
    pub(crate) fn of_groups(groups: &str, root: &Path) -> Option<u64> {
        let of = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
            let (top, file) = match controllers {
                "" => (root.to_owned(), "memory.max"),
                controllers if controllers.split(',').any(|name| name == "memory") => {
                    (root.join("memory"), "memory.limit_in_bytes")
                }
                _ => return None,
            };
            // In a container the path is one of the host system's; the container's own group is at the top then.
            let own = top.join(path);
            let groups = own.ancestors().take_while(|at| at.starts_with(&top));
            groups.filter_map(|at| std::fs::read_to_string(at.join(file)).ok()?.trim().parse().ok()).min()
        };
        groups.lines().filter_map(of).min()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(crate) fn process_limit() -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::for_guests;
    use super::system::{of_groups, process_limit};

    #[test]
    fn a_quarter_is_never_for_guests_and_a_larger_part_of_little_memory() {
        assert_eq!(for_guests(16 << 30), 12 << 30);
        assert_eq!(for_guests(512 << 20), 320 << 20);
        assert_eq!(for_guests(128 << 20), 64 << 20);
    }

    #[test]
    fn the_least_limit_of_all_groups_above_applies() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("memory.max", "max\n");
        put("user/memory.max", "3000\n");
        put("user/sexton/memory.max", "max\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/jobs/memory.limit_in_bytes", "2000\n");

        assert_eq!(of_groups("0::/user/sexton\n", root.path()), Some(3000));
        assert_eq!(of_groups("3:cpu:/jobs\n2:memory,other:/jobs\n0::/user\n", root.path()), Some(2000));
        assert_eq!(of_groups("0::/\n", root.path()), None);
        assert_eq!(of_groups("2:memory:/another/container\n", root.path()), Some(9_223_372_036_854_771_712));
    }

    #[test]
    fn the_machines_memory_is_known() {
        assert!(process_limit().is_some_and(|bytes| bytes > 64 << 20));
    }

    /// Set for the child process of the test below: the most bytes that its data limit leaves.
    const LIMITED: &str = "SEXTON_TEST_DATA_LIMIT";

    #[test]
    fn memory_under_a_data_limit_excludes_what_is_reserved_already() {
        if let Some(limit) = std::env::var(LIMITED).ok().and_then(|limit| limit.parse::<u64>().ok()) {
            let before = process_limit().unwrap();
            let reserved = vec![0_u8; 256 << 20];
            let after = process_limit().unwrap();
            drop(std::hint::black_box(reserved));

            assert!(before < limit && before > limit / 2, "{before} of {limit}");
            let taken = before - after;
            assert!((255 << 20..320 << 20).contains(&taken), "{taken}");
            assert_eq!(super::AllMemory::of(for_guests(before)).limit(), before - before / super::OWN_PART);
            return;
        }
        // A limit applies to a whole process, so the test runs itself in a child process.
        let limit: u64 = 2 << 30;
        let (_, here) = module_path!().split_once("::").unwrap();
        let name = format!("{here}::memory_under_a_data_limit_excludes_what_is_reserved_already");
        let limited = format!("ulimit -d {} && exec \"$0\" --exact {name}", limit >> 10);
        let child = std::process::Command::new("sh")
            .args(["-c", &limited])
            .arg(std::env::current_exe().unwrap())
            .env(LIMITED, limit.to_string())
            .output()
            .unwrap();

        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}
