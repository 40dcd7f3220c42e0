//! Implements `stack`: shows where a running run is.

use std::time::Duration;

use super::args::StackArgs;
use super::client::{Client, decode};
use super::error::CliError;
use super::screen::{Screen, one_line, safe};
use crate::http::api_types::approximate;
use crate::http::api_types::live::{Stack, StackSample, Wait};
use sexton_domain::lengths::millis;

pub(super) fn stack(client: &Client, args: &StackArgs, screen: &Screen) -> Result<(), CliError> {
    let (run, samples, apart) = (args.run, args.samples, millis(args.apart));
    let wait = args.apart.saturating_mul(u32::from(samples));
    let json = client.text_within(&format!("/v1/runs/{run}/stack?samples={samples}&apart_ms={apart}"), wait)?;
    if args.list.json {
        return screen.json(&json);
    }
    screen.text(&text(&decode(&json)?))
}

fn text(stack: &Stack) -> String {
    let mut text = format!("Run {}, attempt {}: {}\n", stack.run, stack.attempt, whole_line(&stack.verdict.text));
    let mut before: Option<&StackSample> = None;
    for sample in &stack.samples {
        text.push_str(&format!("\n  {}\n", heading(sample, before)));
        match before.filter(|before| before.stack == sample.stack && !sample.stack.is_empty()) {
            Some(_) => text.push_str("    (the same stack)\n"),
            None => sample.stack.iter().for_each(|frame| text.push_str(&format!("    {}\n", whole_line(frame)))),
        }
        before = Some(sample);
    }
    text
}

/// Describes what the guest did, and what it has used since the previous sample.
fn heading(sample: &StackSample, before: Option<&StackSample>) -> String {
    let doing = match &sample.waiting {
        Some(wait) => waits(wait),
        None => one_line(&sample.doing),
    };
    let (fuel, guest) = (sample.fuel, Duration::from_micros(sample.guest_us));
    let age = Duration::from_millis(sample.age_ms);
    match before {
        None => format!("after {}: {doing}; {fuel} fuel, {} in guest", exact(age), exact(guest)),
        Some(before) => {
            let later = age.saturating_sub(Duration::from_millis(before.age_ms));
            let guest = guest.saturating_sub(Duration::from_micros(before.guest_us));
            let fuel = fuel.saturating_sub(before.fuel);
            format!("{} later: {doing}; {fuel} fuel more, {} in guest more", exact(later), exact(guest))
        }
    }
}

/// Returns a phrase such as `has been waiting in locks.acquire for door for 2.1s`.
pub(super) fn waits(wait: &Wait) -> String {
    let call = wait.call.as_deref().map_or("a host call".to_owned(), one_line);
    let what = wait.what.as_deref().map(|what| format!(" for {}", one_line(what))).unwrap_or_default();
    format!("has been waiting in {call}{what} for {}", brief(Duration::from_millis(wait.for_ms)))
}

/// Formats a wait as the verdict does: in tenths of a second if it is short.
fn brief(time: Duration) -> String {
    if time.as_secs() < 60 { format!("{:.1}s", time.as_secs_f64()) } else { approximate(time) }
}

/// Escapes `text` on one line without a limit, because file and line number are at its end.
fn whole_line(text: &str) -> String {
    safe(text).replace('\n', "\\n")
}

/// Formats a duration in milliseconds if it is short, because these are compared.
fn exact(time: Duration) -> String {
    if time.as_secs() < 10 { format!("{}ms", time.as_millis()) } else { approximate(time) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn samples_are_shown_with_what_was_used_between_them_and_nothing_a_terminal_would_obey() {
        let attack = "\u{1b}[2J";
        let sample = |age: u64, fuel: u64| {
            json!({
                "age_ms": age, "doing": "computing", "waiting": null, "fuel": fuel, "guest_us": age * 1000,
                "stack": [format!("spin{attack} (src/lib.rs:7)"), "run"],
            })
        };
        let waits = json!({
            "age_ms": 2000, "doing": "waiting", "waiting": { "call": "locks.acquire", "what": attack, "for_ms": 1500 },
            "fuel": 90, "guest_us": 60_000, "stack": [],
        });
        let stack = json!({
            "run": 17, "attempt": 2, "verdict": { "kind": "spins", "text": format!("spins in `spin{attack}`") },
            "samples": [sample(10, 50), sample(60, 90), waits],
        });

        let shown = text(&serde_json::from_value(stack).expect("the API's own shape"));

        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        for expected in [
            "Run 17, attempt 2: spins in `spin\\u001b[2J`\n",
            "  after 10ms: computing; 50 fuel, 10ms in guest\n    spin\\u001b[2J (src/lib.rs:7)\n    run\n",
            "  50ms later: computing; 40 fuel more, 50ms in guest more\n    (the same stack)\n",
            "has been waiting in locks.acquire for \\u001b[2J for 1.5s; 0 fuel more",
        ] {
            assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
        }
    }
}
