//! Names locks, entries, tasks and keys by texts of megabytes: each must be refused as a bad name.

use crate::prelude::*;
use sexton_task::locks;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let long = format!("hostile/{}", "n".repeat(1 << 20));
    must(matches!(lock(&long).acquire(), Err(locks::Error::BadName)), "a lock has a name of 1 MiB")?;
    must(matches!(cache::get(&long), Err(cache::Error::BadKey)), "an entry has a key of 1 MiB")?;
    must(matches!(cache::list(&long, Some(&long)), Err(cache::Error::BadKey)), "a prefix has 1 MiB")?;
    must(schedule::enqueue(&long).send().is_err(), "a task has a name of 1 MiB")?;
    let own = schedule::enqueue("hostile-name-flood").key(&long).send();
    must(matches!(own, Err(schedule::Error::BadKey)), "a run has a key of 1 MiB")
}
