//! Tests any text as a manifest: it is refused in lines with positions, the same by a host and by `sexton check`, or it
//! defines tasks that can be planned and described, and whose crontabs read the same once they are printed.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sexton::http::api_types::TriggerShape;
use sexton::plugins::manifest::{BadManifest, Manifest};
use sexton_domain::schedule::{Trigger, explain, parse};
use sexton_domain::task::{Name, Task};
use sexton_domain::time::Timestamp;

/// The most errors of a file that `sexton check` reports.
const MOST_ERRORS: usize = 20;

fuzz_target!(|text: &str| {
    // Text that does not begin with a table belongs to a task, so that more of it means something.
    let text = if text.starts_with('[') { text } else { &format!("[tasks.a]\n{text}") };
    let (examined, errors) = Manifest::examine("f.toml", text);
    for wrong in &errors {
        check_error(wrong, text);
    }
    match Manifest::parse("f.toml", text) {
        Ok(manifest) => {
            assert_eq!(errors, [], "a host takes it");
            assert_eq!(examined, manifest);
            check_tasks(&manifest);
        }
        Err(wrong) => {
            check_error(&wrong, text);
            let is_told = errors.contains(&wrong) || errors.len() >= MOST_ERRORS;
            assert!(is_told, "a host says `{wrong}`, `sexton check` says {errors:?}");
        }
    }
});

fn check_error(wrong: &BadManifest, text: &str) {
    let message = wrong.to_string();
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!message.contains(breaks), "{message:?}");
    // All known keys of a task take some 400 bytes.
    assert!(message.len() < 1500, "{} bytes: {message}", message.len());
    assert!((1..=text.split('\n').count()).contains(&wrong.line()), "{message}");
    let what = message.strip_prefix(&format!("f.toml:{}: ", wrong.line()));
    assert!(what.is_some_and(|what| !what.trim().is_empty()), "{message}");
}

fn check_tasks(manifest: &Manifest) {
    let (tenant, plugin) = (Name::default_tenant(), Name::new("f").expect("a name"));
    let tasks = manifest.tasks(&tenant, &plugin, Path::new("/plugins"));
    assert!(!tasks.is_empty());
    tasks.iter().for_each(check_task);
    for chain in manifest.chains(&tenant, &plugin) {
        assert!(!chain.links.is_empty() && tasks.iter().all(|task| task.key != chain.key));
    }
}

fn check_task(task: &Task) {
    let now = Timestamp::from_millis(1_805_883_330_000);
    let plan = task.plan();
    let upcoming: Vec<_> = plan.upcoming(now, None, 0).take(3).collect();
    assert!(upcoming.is_sorted(), "{upcoming:?}");
    assert!(!TriggerShape::of(&task.trigger).text.is_empty());
    assert!(!explain::words(&plan).is_empty());
    drop((plan.identity(), plan.done(1, now)));
    assert!(task.remarks.iter().all(|remark| !remark.contains(char::is_control)), "{:?}", task.remarks);
    if let Trigger::Cron(crontab) = &task.trigger {
        let Ok(Trigger::Cron(again)) = parse::crontab(&crontab.to_string(), crontab.has_seconds()) else {
            panic!("`{crontab}` is not read again");
        };
        let again = again.for_name(&task.key.to_string()).with_dst(crontab.dst());
        assert_eq!(again.next_after(task.zone, now), crontab.next_after(task.zone, now), "`{crontab}`");
    }
}
