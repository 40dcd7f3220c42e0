//! Prints the results in numbers.

use std::collections::BTreeMap;

use crate::checker::{self, BEAT, FAILED, History, LOST, Rule, SUCCEEDED, Violation};
use crate::trouble::Counts;

/// The violations of a rule that are printed in full.
const TOLD: usize = 5;

/// Prints the counts, and the figures.
pub(crate) fn print(history: &History, counts: Counts, found: &[Violation]) {
    let runs = history.finals.len();
    let beats = history.finals.iter().filter(|last| last.task == BEAT).count();
    let in_state = |state| history.finals.iter().filter(|last| last.state == state).count();
    let over = history.finals.iter().filter(|last| last.state >= SUCCEEDED).count();
    let changes = checker::by_run(&history.changes);
    let claims = changes.values().flatten().filter(|change| checker::is_claim(change)).count();
    let written: Vec<_> = checker::as_written(&history.written).into_values().flatten().collect();
    let lost = written.iter().filter(|row| row.outcome == LOST).count();
    let mut by_run: BTreeMap<i64, usize> = BTreeMap::new();
    for effect in &history.effects {
        *by_run.entry(effect.run).or_default() += 1;
    }
    let again = by_run.values().filter(|times| **times > 1).count();

    println!("\n{counts}\n");
    println!("{runs:>8} runs: {} requested, {beats} by schedule", runs - beats);
    let [succeeded, failed, cancelled] = [SUCCEEDED, FAILED, FAILED + 1].map(in_state);
    println!("{over:>8} over: {succeeded} succeeded, {failed} failed, {cancelled} cancelled");
    println!("{claims:>8} claims, {lost} of them lost");
    println!("{:>8} effects, of {} runs; {again} runs had more than one", history.effects.len(), by_run.len());
    println!("{:>8} counted in the cache, for {succeeded} runs that succeeded", history.counted);
    println!("{:>8} locks left\n", history.locks.len());
    println!("{:<80} violations", "what must hold");
    for rule in Rule::ALL {
        let times = found.iter().filter(|violation| violation.rule == rule).count();
        println!("{rule:<80} {times:>10}");
    }
    println!();
    for (name, value, unit) in [
        ("runs", over, "runs"),
        ("kills", counts.kills, "kills"),
        ("stops", counts.stops, "stops"),
        ("restarts", counts.restarts, "restarts"),
        ("cuts", counts.cuts, "connections"),
        ("stalls", counts.stalls, "stalls"),
        ("lost_attempts", lost, "attempts"),
        ("violations", found.len(), "violations"),
    ] {
        println!("figure chaos_{name} {value} {unit}");
    }
}

/// Prints the violations, or that there are none although there had to be some.
pub(crate) fn explain(found: &[Violation], broken: bool) {
    for rule in Rule::ALL {
        let mut all = found.iter().filter(|violation| violation.rule == rule);
        for violation in all.by_ref().take(TOLD) {
            println!("BROKEN {rule}: {}", violation.words);
        }
        let more = all.count();
        if more > 0 {
            println!("BROKEN {rule}: {more} more");
        }
    }
    match (broken, found.is_empty()) {
        (true, true) => println!("the fences were broken, and the checker has found nothing"),
        (true, false) => println!("the fences were broken, and the checker has found it"),
        (false, _) => {}
    }
}
