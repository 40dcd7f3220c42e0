//! What the host holds for a run counts against the memory of that run, and nothing that a run has the host keep ends the host.
//!
//! The guests are attacks of the hostile suite, which makes them many at once and on a host that has little memory.

use std::fs;

use serde_json::Value;

use crate::harness::{Host, attempts, outcome};

/// A task that makes the attack `attack`.
fn manifest(attack: &str, grants: &str) -> String {
    format!(
        "[tasks.{attack}]\n[tasks.{attack}.retry]\nattempts = 1\n[tasks.{attack}.limits]\ndeadline = \"30s\"\nmemory = \"16 MiB\"\n\
         [tasks.{attack}.settings]\nattack = \"{attack}\"\n\
         [tasks.{attack}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n{grants}\n"
    )
}

/// The most memory that the host had so far, in bytes.
fn peak(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    peak.expect("the system counts what a process has") << 10
}

/// What a run of the attack comes to, and by how much the host has grown at most meanwhile.
fn attack(attack: &str) -> (Value, u64) {
    let host = Host::with_plugins(&[(attack, "hostile", &manifest(attack, ""))]);
    let before = peak(&host);
    let run = host.run(attack, "");
    (run, peak(&host) - before)
}

/// What a host may take besides what a run may: compiled code that is read, stacks, the store.
const OWN: u64 = 64 << 20;

fn ends_at_its_own_limit(name: &str) {
    let (run, grown) = attack(name);

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

#[test]
fn bodies_that_are_never_sent_count_against_the_memory_of_their_run() {
    ends_at_its_own_limit("body-hoard");
}

#[test]
fn responses_that_nobody_asked_for_count_against_the_memory_of_their_run() {
    ends_at_its_own_limit("response-hoard");
}

#[test]
fn requests_take_no_words_of_megabytes_and_their_paths_count_against_the_memory_of_their_run() {
    ends_at_its_own_limit("request-words");
}

#[test]
fn renewals_that_were_published_hold_nothing() {
    let (run, grown) = attack("renewal-hoard");

    assert_eq!(outcome(&run), "succeeded", "{run}");
    assert!(grown <= (16 << 20) + OWN, "the host has grown by {} MiB", grown >> 20);
}

#[test]
fn requests_that_are_none_do_not_flood_the_log_of_the_host() {
    let name = "http-log-flood";
    let host = Host::with_plugins(&[(name, "hostile", &manifest(name, "").replace("30s", "2s"))]);

    let run = host.run(name, "");

    assert!(["timed-out", "trapped"].contains(&outcome(&run)), "{run}");
    let lines = host.log().lines().filter(|line| line.contains("http request error")).count();
    assert!((1..500).contains(&lines), "the log has {lines} lines of it");
}
