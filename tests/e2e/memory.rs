//! Tests that memory which the host holds for a run counts against that run, and that no run can end the host with it.
//!
//! The guests are attacks of the hostile suite, which runs many at once on a host with little memory.

use std::fs;

use serde_json::Value;

use crate::harness::{Host, attempts, outcome};

/// Returns a task that makes the attack `attack`.
fn task(attack: &str, deadline: &str) -> String {
    format!(
        "[tasks.{attack}]\n[tasks.{attack}.retry]\nattempts = 1\n[tasks.{attack}.limits]\ndeadline = \"{deadline}\"\nmemory = \"16 MiB\"\n\
         [tasks.{attack}.settings]\nattack = \"{attack}\"\n\
         [tasks.{attack}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

/// Returns the most memory that the host had since its [reset](forget_peak), in bytes.
fn peak(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    peak.expect("the system counts what a process has") << 10
}

/// Resets the peak of the host's memory, so that one attack cannot hide behind the memory of another.
fn forget_peak(host: &Host) {
    fs::write(format!("/proc/{}/clear_refs", host.pid()), "5").unwrap();
}

/// Returns the result of a run of the attack, and the most by which the host has grown during it.
fn attack(host: &Host, attack: &str) -> (Value, u64) {
    forget_peak(host);
    let before = peak(host);
    let run = host.run(attack, "");
    (run, peak(host) - before)
}

/// The memory that a host may take besides that of a run: compiled code that is read, stacks, the store.
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

/// All attacks use one host, because compiling their component costs more than running them. They run one after
/// another, because the test measures the host's memory.
#[test]
fn memory_that_the_host_holds_for_a_run_counts_against_its_limit() {
    // On a quiet machine they end long before the deadline: the test is about the memory that they hold.
    let hoards = ["body-hoard", "response-hoard", "request-words", "renewal-hoard"].map(|attack| task(attack, "2m"));
    let manifest = hoards.concat() + &task("http-log-flood", "2s");
    let host = Host::with_plugins(&[("hostile", "hostile", &manifest)]);

    bodies_that_are_never_sent_count_against_the_memory_of_their_run(&host);
    unread_responses_count_against_the_memory_of_their_run(&host);
    requests_take_no_words_of_megabytes_and_their_paths_count_against_the_memory_of_their_run(&host);
    renewals_that_were_published_hold_nothing(&host);
    malformed_requests_do_not_flood_the_log_of_the_host(&host);
}

fn bodies_that_are_never_sent_count_against_the_memory_of_their_run(host: &Host) {
    ends_at_its_own_limit(host, "body-hoard");
}

fn unread_responses_count_against_the_memory_of_their_run(host: &Host) {
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

fn malformed_requests_do_not_flood_the_log_of_the_host(host: &Host) {
    let run = host.run("http-log-flood", "");

    assert!(["timed-out", "trapped"].contains(&outcome(&run)), "{run}");
    let lines = host.log().lines().filter(|line| line.contains("http request error")).count();
    assert!((1..500).contains(&lines), "the log has {lines} lines of it");
}
