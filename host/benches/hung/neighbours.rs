//! Other people's processes, which make a machine slow in a repeatable way: each wants half of one core.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The argument by which this program becomes a neighbour of the core whose number follows.
const ARGUMENT: &str = "--neighbour";

/// The length of a period, of which a neighbour computes half.
const PERIOD: Duration = Duration::from_millis(10);

/// Two processes with the usual priority, which end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Neighbours(Vec<Child>);

impl Neighbours {
    pub(crate) fn start(count: usize) -> Self {
        let this = std::env::current_exe().unwrap();
        let start = |core: usize| {
            let mut command = Command::new(&this);
            command.args([ARGUMENT, &core.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().unwrap()
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

/// Becomes a neighbour for ever, if the arguments of this program say so.
pub(crate) fn be_one_if_told() {
    let mut arguments = std::env::args().skip_while(|argument| argument != ARGUMENT).skip(1);
    let Some(core) = arguments.next().and_then(|core| core.parse::<usize>().ok()) else { return };
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).unwrap();
    let mut next = Instant::now();
    loop {
        let start = used();
        while used() - start < PERIOD / 2 {}
        // A period in which it did not get its half is not made up for.
        next = (next + PERIOD).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}
