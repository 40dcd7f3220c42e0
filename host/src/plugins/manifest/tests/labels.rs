//! Tests labels of all tasks of a manifest and of one task.

use std::path::Path;

use super::parse;
use crate::plugins::manifest::Manifest;
use sexton_domain::task::{Name, Task};

/// Lists faults of them, each with its manifest and its error.
pub(super) const BROKEN: &[(&str, &str, &str)] = &[
    (
        "a label with a key that is none",
        "labels = { Team = \"web\" }\n[tasks.a]",
        "front.toml:1: `labels`: `Team` is not the key of a label: use 1 to 63 of a-z, 0-9, `.`, `_`, `/` and `-`",
    ),
    (
        "a label of a task with a line end in its value",
        "[tasks.a]\nlabels = { team = \"web\\n\" }",
        "front.toml:2: `tasks.a.labels`: the value of label `team` has more than 63 characters, or one that cannot be \
         printed",
    ),
    (
        "more labels of a task and its manifest than a task may have",
        "labels = { a = \"\", b = \"\", c = \"\", d = \"\", e = \"\", f = \"\", g = \"\", h = \"\", i = \"\" }\n\
         [tasks.a]\nlabels = { j = \"\", k = \"\", l = \"\", m = \"\", n = \"\", o = \"\", p = \"\", q = \"\" }",
        "front.toml:3: `tasks.a.labels`: there are 17 labels, and a task or a run has at most 16; leave some out",
    ),
    (
        "a label whose value is no text",
        "[tasks.a]\nlabels = { team = 7 }",
        "front.toml:2: `tasks.a.labels.team`: 7 is not allowed here; write a text in quotes",
    ),
];

fn tasks(manifest: &Manifest) -> Vec<(String, String)> {
    let plugin = Name::new("front").unwrap();
    let tasks = manifest.tasks(&Name::default_tenant(), &plugin, Path::new("/plugins"));
    tasks.iter().map(|task: &Task| (task.key.task.to_string(), task.labels.to_string())).collect()
}

#[test]
fn a_task_has_the_labels_of_its_manifest_and_its_own_which_count() {
    let text =
        "labels = { team = \"web\", env = \"prod\" }\n[tasks.a]\n[tasks.b]\nlabels = { env = \"test\", tier = \"\" }";

    let found = tasks(&parse(text));

    let expected = [("a", "env=prod, team=web"), ("b", "env=test, team=web, tier=")];
    assert_eq!(found, expected.map(|(task, labels)| (task.to_owned(), labels.to_owned())));
    assert_eq!(tasks(&Manifest::examine("front.toml", text).0), found, "a check reads the same");
}

#[test]
fn the_task_of_a_manifest_that_defines_none_has_its_labels() {
    let found = tasks(&parse("labels = { team = \"web\" }"));
    assert_eq!(found, [("front".to_owned(), "team=web".to_owned())]);
}

#[test]
fn an_error_in_the_labels_of_a_manifest_is_told_once() {
    let (manifest, errors) = Manifest::examine("front.toml", "labels = { Team = \"web\" }\n[tasks.a]\n[tasks.b]");

    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(tasks(&manifest).len(), 2, "the tasks have no errors of their own");
}
