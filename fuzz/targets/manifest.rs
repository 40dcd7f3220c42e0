//! Any text as a manifest: it is refused in one line, or it defines tasks that can be planned and told of.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sexton::http::shapes::TriggerShape;
use sexton::plugins::manifest::Manifest;
use sexton::schedule::explain;
use sexton::task::Name;
use sexton::time::Timestamp;

fuzz_target!(|text: &str| {
    let manifest = match Manifest::parse("f.toml", text) {
        Ok(manifest) => manifest,
        Err(wrong) => return assert_one_line(&wrong.to_string()),
    };
    let (tenant, plugin) = (Name::default_tenant(), Name::new("f").expect("a name"));
    let now = Timestamp::from_millis(1_805_883_330_000);
    let tasks = manifest.tasks(&tenant, &plugin, Path::new("/plugins"));
    assert!(!tasks.is_empty());
    for task in tasks {
        let plan = task.plan();
        let upcoming: Vec<_> = plan.upcoming(now, None, 0).take(3).collect();
        assert!(upcoming.is_sorted(), "{upcoming:?}");
        assert!(!TriggerShape::of(&task.trigger).text.is_empty());
        assert!(!explain::words(&plan).is_empty());
        drop((plan.identity(), plan.done(1, now)));
    }
    drop(manifest.chains(&tenant, &plugin));
});

fn assert_one_line(message: &str) {
    assert!(!message.contains(['\n', '\r']), "{message:?}");
}
