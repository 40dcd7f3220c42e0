//! Tests the command line on a terminal, which `script` provides.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Host, SEXTON};

/// Returns the processes that `pid` has started.
fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Returns `pid` or a process that it has started, directly or not, which runs the binary under test.
fn sexton_under(pid: u32) -> Option<u32> {
    let is = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == fs::canonicalize(SEXTON).unwrap());
    if is { Some(pid) } else { children(pid).into_iter().find_map(sexton_under) }
}

#[test]
fn the_terminal_is_restored_after_every_signal_that_ends_top() {
    let host = Host::start();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let record = host.directory.path().join(format!("terminal-{signal}"));
        let session = format!("'{SEXTON}' top; echo code=$?; stty -a");
        let mut terminal = Command::new("script")
            .args(["--quiet", "--flush", "--command", &session])
            .arg(&record)
            .env("SEXTON_URL", &host.url)
            .env("SHELL", "/bin/sh")
            // It is held open, because its end would be a key.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("`script`, of util-linux, starts");
        let shown = || fs::read_to_string(&record).unwrap_or_default();
        host.eventually("top draws on the terminal", || shown().contains("under way; q ends").then_some(()));
        let top = host.eventually("top runs", || sexton_under(terminal.id()));

        let sent = Command::new("kill").args([&format!("-{signal}"), &top.to_string()]).status().unwrap();

        assert!(sent.success());
        host.eventually("the terminal is closed", || terminal.try_wait().unwrap());
        let shown = shown();
        let (top, after) = shown.split_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{signal}: {shown:?}"));
        assert!(top.contains("\u{1b}[?1049h\u{1b}[?25l") && top.ends_with("\u{1b}[?25h"), "{signal}: {shown:?}");
        assert!(after.contains(&format!("code={code}")), "{signal}: {after}");
        let words: Vec<&str> = after.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
        for mode in ["icanon", "echo", "isig"] {
            assert!(words.contains(&mode), "{signal}: {after}");
        }
    }
}
