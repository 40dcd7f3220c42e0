//! Tests routes of types, and keys of which versions are kept.

use super::parse;
use crate::plugins::manifest::Manifest;
use sexton_domain::task::{Keep, Name, Pattern, Task};

/// Lists faults of them, each with its manifest and its error.
pub(super) const BROKEN: &[(&str, &str, &str)] = &[
    (
        "a route to a task that the manifest has not",
        "[tasks.mailer]\n[routes]\n\"mail-*\" = \"mailr\"",
        "front.toml:3: `routes`: this manifest has no task `mailr`; name one that it has",
    ),
    (
        "a route with a star in the middle",
        "[tasks.mailer]\n[routes]\n\"mail-*-x\" = \"mailer\"",
        "front.toml:3: `routes`: \"mail-*-x\" is not a pattern of types; write a type of a-z, 0-9, `-`, `_` and `.`, or its \
         beginning with one `*` at the end",
    ),
    (
        "more versions than are kept",
        "[tasks.a]\n[tasks.a.grants]\ncache = [{ keys = \"*\", keep = 101 }]",
        "front.toml:3: `tasks.a.grants.cache.keep`: 101 is out of range; write a whole number from 0 to 100",
    ),
    (
        "kept versions without keys",
        "[tasks.a]\n[tasks.a.grants]\ncache = [{ keep = 1 }]",
        "front.toml:3: `keys` is missing in [tasks.a.grants.cache]; add it",
    ),
    (
        "keys that are no text",
        "[tasks.a]\n[tasks.a.grants]\ncache = [7]",
        "front.toml:3: `tasks.a.grants.cache`: 7 is not a text; write a name, or the beginning of names and `*`",
    ),
];

fn tasks(text: &str) -> Vec<Task> {
    let name = |text| Name::new(text).unwrap();
    parse(text).tasks(&Name::default_tenant(), &name("front"), std::path::Path::new("/plugins"))
}

#[test]
fn a_route_gives_a_task_the_types_that_lead_to_it() {
    let routed =
        tasks("[tasks.bulk]\n[tasks.mailer]\n[routes]\n\"mail-*\" = \"mailer\"\n\"*\" = \"mailer\"\nbulk = \"bulk\"");

    let types = |task: &Task| task.types.iter().map(|Pattern(text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(types(&routed[0]), ["bulk"]);
    assert_eq!(types(&routed[1]), ["*", "mail-*"]);
}

#[test]
fn keys_with_a_number_of_versions_are_granted_like_others() {
    let grants = &tasks("[tasks.a]\n[tasks.a.grants]\ncache = [\"x\", { keys = \"y/*\", keep = 0 }, { keys = \"z\" }]")
        [0]
    .grants;

    assert_eq!(grants.cache, ["x", "y/*", "z"].map(|keys| Pattern(keys.into())));
    assert_eq!(grants.keep, [Keep { keys: Pattern("y/*".into()), versions: 0 }]);
}

#[test]
fn a_route_to_a_task_with_a_fault_is_no_further_fault() {
    let (_, errors) =
        Manifest::examine("front.toml", "[tasks.a]\nevery = \"1m\"\ncron = \"@daily\"\n[routes]\nx = \"a\"");

    assert_eq!(errors.len(), 1, "{errors:?}");
}
