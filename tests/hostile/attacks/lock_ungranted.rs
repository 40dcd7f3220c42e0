//! Takes locks, entries and runs beyond its grants, by names that only look like those: each must be refused.

use crate::prelude::*;
use sexton_task::locks;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    for name in ["other/lock", "hostile", "Hostile/a", "/hostile/a", "*", "hostile\0/a"] {
        must(matches!(lock(name).acquire(), Err(locks::Error::AccessDenied)), "took a lock it was not granted")?;
        must(matches!(cache::get(name), Err(cache::Error::AccessDenied)), "read an entry it was not granted")?;
        must(cache::set(name, b"stolen", None).is_err(), "wrote an entry it was not granted")?;
        must(schedule::enqueue(name).send().is_err(), "enqueued a task it was not granted")?;
    }
    let listed = cache::list("", None)?;
    must(listed.iter().all(|key| key.starts_with("hostile/")), "was told of keys it was not granted")
}
