//! How much memory the attempts of a host may have together: so much that the host itself always has some.
//!
//! A task's limit bounds its own runs. A host that runs more tasks at once than its machine has memory for would be ended by
//! the system, and every run with it, so the run that asks last ends instead.

use std::sync::atomic::{AtomicU64, Ordering};

/// What part of the memory that the process may have is never for guests, as a divisor: it is for the store, the API, compiled code
/// and the stacks of guests.
const OWN_PART: u64 = 4;

/// It is this much at least, in bytes: a host with a hundred plugins and nothing to do takes 40 MiB, the pages that its store keeps
/// at hand and the answers of its API take some more.
const OWN: u64 = 192 << 20;

/// Guests have this much on any host, in bytes: one that has less to give cannot run anything.
const LEAST: u64 = 64 << 20;

/// The memory of all attempts.
#[derive(Debug)]
pub(crate) struct AllMemory {
    limit: u64,
    taken: AtomicU64,
}

impl AllMemory {
    /// Of a process that may have as much as this one.
    pub(crate) fn of_this_process() -> Self {
        Self::of(system::may_have().map_or(u64::MAX, for_guests))
    }

    /// `limit` bytes.
    pub(crate) fn of(limit: u64) -> Self {
        Self { limit, taken: AtomicU64::new(0) }
    }

    /// In bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether there were `bytes` more; they are taken then.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What is for guests of `bytes` that a process may have.
fn for_guests(bytes: u64) -> u64 {
    bytes.saturating_sub(OWN.max(bytes / OWN_PART)).max(LEAST)
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::Path;

    use rustix::process::{Resource, getrlimit};

    /// Bytes of memory that this process may have: of the machine, its control group and its data limit the least.
    pub(crate) fn may_have() -> Option<u64> {
        let machine = rustix::system::sysinfo();
        let of_machine = machine.totalram.checked_mul(u64::from(machine.mem_unit.max(1)));
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of_group = of_groups(&groups, Path::new("/sys/fs/cgroup"));
        of_machine.into_iter().chain(of_group).chain(of_data_limit()).min()
    }

    /// What the data limit leaves: address space that is reserved already (stacks and tables of guests) counts there.
    fn of_data_limit() -> Option<u64> {
        let limit = getrlimit(Resource::Data).current?;
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let data: u64 = pages.split_whitespace().nth(5)?.parse().ok()?;
        Some(limit.saturating_sub(data * rustix::param::page_size() as u64))
    }

    /// The least limit of the control groups in the lines `groups` of `/proc/self/cgroup`, version 1 or 2.
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
            // In a container the path is another's; its own group is at the top then.
            let own = top.join(path);
            let groups = own.ancestors().take_while(|at| at.starts_with(&top));
            groups.filter_map(|at| std::fs::read_to_string(at.join(file)).ok()?.trim().parse().ok()).min()
        };
        groups.lines().filter_map(of).min()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(crate) fn may_have() -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::for_guests;
    use super::system::{may_have, of_groups};

    #[test]
    fn a_quarter_is_never_for_guests_and_more_of_what_is_little() {
        assert_eq!(for_guests(16 << 30), 12 << 30);
        assert_eq!(for_guests(512 << 20), 320 << 20);
        assert_eq!(for_guests(128 << 20), 64 << 20);
    }

    #[test]
    fn the_least_limit_of_all_groups_above_is_what_counts() {
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
    fn a_machine_has_some_memory() {
        assert!(may_have().is_some_and(|bytes| bytes > 64 << 20));
    }

    /// Set for the child process of the test below: the bytes that its data limit leaves at most.
    const LIMITED: &str = "SEXTON_TEST_DATA_LIMIT";

    #[test]
    fn a_data_limit_is_what_a_process_may_have_less_what_it_has_reserved() {
        if let Some(limit) = std::env::var(LIMITED).ok().and_then(|limit| limit.parse::<u64>().ok()) {
            let before = may_have().unwrap();
            let reserved = vec![0_u8; 256 << 20];
            let after = may_have().unwrap();
            drop(std::hint::black_box(reserved));

            assert!(before < limit && before > limit / 2, "{before} of {limit}");
            let taken = before - after;
            assert!((255 << 20..320 << 20).contains(&taken), "{taken}");
            assert_eq!(super::AllMemory::of(for_guests(before)).limit(), before - before / super::OWN_PART);
            return;
        }
        // A limit is for a whole process, so that another one has it.
        let limit: u64 = 2 << 30;
        let (_, here) = module_path!().split_once("::").unwrap();
        let name = format!("{here}::a_data_limit_is_what_a_process_may_have_less_what_it_has_reserved");
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
