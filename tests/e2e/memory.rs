//! What the host holds for a run counts against the memory of that run, and nothing that a run has the host keep ends the host.
//!
//! The guests are attacks of the hostile suite, which makes them many at once and on a host that has little memory.

use std::fs;

use serde_json::Value;

use crate::harness::{Host, attempts, outcome};

/// A task that makes the attack `attack`.
fn task(attack: &str, deadline: &str) -> String {
    format!(
        "[tasks.{attack}]\n[tasks.{attack}.retry]\nattempts = 1\n[tasks.{attack}.limits]\ndeadline = \"{deadline}\"\nmemory = \"16 MiB\"\n\
         [tasks.{attack}.settings]\nattack = \"{attack}\"\n\
         [tasks.{attack}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

/// The most memory that the host had since it was [forgotten](forget_peak), in bytes.
fn peak(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    peak.expect("the system counts what a process has") << 10
}

/// Has the system count the host's memory anew, so that one attack cannot hide behind what another has taken.
fn forget_peak(host: &Host) {
    fs::write(format!("/proc/{}/clear_refs", host.pid()), "5").unwrap();
}

/// What a run of the attack comes to, and by how much the host has grown at most meanwhile.
fn attack(host: &Host, attack: &str) -> (Value, u64) {
    forget_peak(host);
    let before = peak(host);
    let run = host.run(attack, "");
    (run, peak(host) - before)
}

/// What a host may take besides what a run may: compiled code that is read, stacks, the store.
const OWN: u64 = 64 << 20;

fn ends_at_its_own_limit(host: &Host, name: &str) {
    let (run, grown) = attack(host, name);

    assert_eq!(outcome(&run), "out-of-memory", "{run}");
    let message = attempts(&run)[0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("asked for more than its 16777216 bytes of memory, of which the host held "),
        "{message}"
    );
    let peak = attempts(&run)[0]["accounts"]["peak_memory"].as_u64().unwrap();
    assert!((12 << 20..=16 << 20).contains(&peak), "{peak} bytes are in its accounts");
    assert!(grown <= (16 << 20) + OWN, "the host has grown by {} MiB", grown >> 20);
}

/// One host for all attacks, because it costs more to compile their component than to make them. One after another, because
/// the host's memory is looked at.
#[test]
fn what_the_host_holds_for_a_run_counts_against_its_memory_and_the_host_outlives_all_of_it() {
    // They end long before that on a quiet machine: what is looked at is what they hold.
    let hoards = ["body-hoard", "response-hoard", "request-words", "renewal-hoard"].map(|attack| task(attack, "2m"));
    let manifest = hoards.concat() + &task("http-log-flood", "2s");
    let host = Host::with_plugins(&[("hostile", "hostile", &manifest)]);

    bodies_that_are_never_sent_count_against_the_memory_of_their_run(&host);
    responses_that_nobody_asked_for_count_against_the_memory_of_their_run(&host);
    requests_take_no_words_of_megabytes_and_their_paths_count_against_the_memory_of_their_run(&host);
    renewals_that_were_published_hold_nothing(&host);
    requests_that_are_none_do_not_flood_the_log_of_the_host(&host);
}

fn bodies_that_are_never_sent_count_against_the_memory_of_their_run(host: &Host) {
    ends_at_its_own_limit(host, "body-hoard");
}

fn responses_that_nobody_asked_for_count_against_the_memory_of_their_run(host: &Host) {
    ends_at_its_own_limit(host, "response-hoard");
}

fn requests_take_no_words_of_megabytes_and_their_paths_count_against_the_memory_of_their_run(host: &Host) {
    ends_at_its_own_limit(host, "request-words");
}

fn renewals_that_were_published_hold_nothing(host: &Host) {
    let (run, grown) = attack(host, "renewal-hoard");

    assert_eq!(outcome(&run), "succeeded", "{run}");
    assert!(grown <= (16 << 20) + OWN, "the host has grown by {} MiB", grown >> 20);
}

fn requests_that_are_none_do_not_flood_the_log_of_the_host(host: &Host) {
    let run = host.run("http-log-flood", "");

    assert!(["timed-out", "trapped"].contains(&outcome(&run)), "{run}");
    let lines = host.log().lines().filter(|line| line.contains("http request error")).count();
    assert!((1..500).contains(&lines), "the log has {lines} lines of it");
}
