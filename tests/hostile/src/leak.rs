//! Checks that thousands of interrupted runs leave nothing behind.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::host::Host;

/// The runs that are triggered at once.
const SWARM: usize = 200;

/// The least number of runs that are interrupted before the measurement, until memory has levelled off. After a
/// thousand, ten thousand more gained 3.7 to 4.0 MiB, and thirty thousand more 2.5; the total was 96 or 97 MiB.
const FIRST: usize = 3000;

/// The interrupted guests: one that computes, one that waits, one that holds a lock, and one that waits for it.
const INTERRUPTED: [&str; 4] = ["spin-in-run", "sleep-for-ever", "lock-hoard", "lock-queue"];

/// The resident memory that may be gained, in KiB: that of the store's readers (2 MiB each) and of what an allocator keeps at hand.
/// Ten thousand runs gained 0.8 MiB; half a kilobyte for each would be more than this.
const GAINED: u64 = 4 << 10;

/// The input of each run that fills the store's page cache, in bytes, and the number of these runs: somewhat more than
/// the cache, which is 16 MiB. Each input is large enough that the allocator returns the memory in which it arrives.
const GIVEN: usize = 512 << 10;
const FILLING: usize = 40;

/// Interrupts `count` runs, and compares the host with its earlier state.
pub(crate) fn check(host: &Host, count: usize) -> Result<()> {
    let tasks = INTERRUPTED.map(|attack| format!("hostile-leak-{attack}"));
    for (task, attack) in tasks.iter().zip(INTERRUPTED) {
        let manifest = format!(
            "[tasks.{task}]\noverlap = \"allow({SWARM})\"\n[tasks.{task}.retry]\nattempts = 1\n\
             [tasks.{task}.limits]\ndeadline = \"20ms\"\nfuel = 1_000_000_000_000\nmemory = \"16 MiB\"\n\
             [tasks.{task}.settings]\nattack = \"{attack}\"\n\
             [tasks.{task}.grants]\nlocks = [\"hostile/*\"]\ncache = [\"hostile/*\"]\nschedule = [{task:?}]\nhttp = [\"127.0.0.1:1\"]\n"
        );
        host.put(task, &host.guest, &manifest)?;
    }
    let full = "hostile-leak-full";
    let manifest = format!("[tasks.{full}]\noverlap = \"allow(256)\"\n[tasks.{full}.retry]\nattempts = 1\n");
    host.put(full, &host.noop, &manifest)?;
    for task in tasks.iter().map(String::as_str).chain([full]) {
        let reason = host.taken_up(task)?;
        ensure!(reason.is_none(), "{task}: {reason:?}");
    }
    // One round comes before the measurement: slots in the pool, threads and stacks are kept for the next run, and the
    // store's page cache grows with writes up to its bound, which a hundred thousand runs do not reach.
    interrupt(host, &tasks, (count / 10).max(FIRST))?;
    every_place_is_free(host, full)?;
    fill_the_stores_pages(host, full)?;
    let before = host.vitals()?;
    println!("before                 {before}, 0 locks");

    let start = Instant::now();
    interrupt(host, &tasks, count)?;
    every_place_is_free(host, full)?;

    let locks = host.list("/v1/locks", "locks")?.len();
    let mut after = host.vitals()?;
    println!("after {count:>6} ended     {after}, {locks} locks, in {:.1?}", start.elapsed());
    host.eventually("files are closed and threads gone", || {
        after = host.vitals()?;
        Ok((after.files <= before.files + 2 && after.threads <= before.threads + 2).then_some(()))
    })?;
    println!("a moment later         {after}");
    let mut names = tasks.to_vec();
    names.push(full.to_owned());
    host.take_away(&names)?;
    println!("figure interrupted_runs {count} runs");
    println!("figure interrupted_runs_rss_gained {} KiB", after.rss.saturating_sub(before.rss));
    println!("figure interrupted_runs_locks_left {locks} locks");
    ensure!(locks == 0, "{locks} locks are left");
    ensure!(after.rss <= before.rss + GAINED, "{} MiB were gained", (after.rss - before.rss) >> 10);
    Ok(())
}

/// Has `count` runs end at their deadline.
fn interrupt(host: &Host, tasks: &[String], count: usize) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let mut runs = Vec::new();
        for task in tasks {
            let swarm = (SWARM / tasks.len()).min(left);
            left -= swarm;
            runs.extend(host.trigger_many(task, swarm)?);
        }
        for run in runs {
            let over = host.wait(run)?;
            let attempts = over["attempts"].as_array().map_or(0, Vec::len);
            ensure!(over["run"]["outcome"] == "timed-out" && attempts == 1, "a run was not interrupted: {over}");
        }
    }
    Ok(())
}

/// Has the store write as much as it keeps in memory.
fn fill_the_stores_pages(host: &Host, task: &str) -> Result<()> {
    for _ in 0..FILLING {
        let over = host.wait(host.trigger_with(task, &vec![b'x'; GIVEN])?)?;
        ensure!(over["run"]["state"] == "succeeded", "a run with a large input went wrong: {over}");
    }
    Ok(())
}

/// Runs as many runs at once as the host has slots, because a lost slot would be missing.
fn every_place_is_free(host: &Host, task: &str) -> Result<()> {
    for run in host.trigger_many(task, 300)? {
        let over = host.wait(run)?;
        ensure!(over["run"]["state"] == "succeeded", "a place in the pool is lost: {over}");
    }
    Ok(())
}
