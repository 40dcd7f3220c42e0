//! The page on manifests, generated from their JSON schema.

use serde_json::Value;

use crate::plugins::manifest::schema;
use crate::reference::{assert_current, item, paragraph};

const HEAD: &str = "\
# Manifests

A plugin's manifest is `NAME.toml` beside `NAME.wasm` in the plugin directory. Without one, the plugin is one task
called `NAME` that runs on demand, with default limits and no grants.

This page is generated from the [JSON schema of manifests](../manifest.schema.json), which `sexton schema` prints and
editors understand, and a test checks that it is current. Further explanations are in
[schedules](../concepts/schedules.md), [limits and grants](../concepts/limits.md) and
[the life of a run](../concepts/lifecycle.md).

- An unknown key is an error that names the line and lists the known keys.
- A duration has a unit (`\"10s\"`, `\"1h 30m\"`); a bare number is an error.
- A size may have a unit (`\"64 MiB\"`); a bare number is bytes.
- `sexton check` reads manifests without a host and shows when their tasks are due.

```toml
[tasks.frontpage]
description = \"A page made from ten remote systems\"
every = \"10s\"
overlap = \"allow(3)\"

[tasks.frontpage.limits]
deadline = \"60s\"

[tasks.frontpage.grants]
cache = [\"frontpage/*\"]
http = [\"127.0.0.1:7400\", \"*.example.org\"]
```

A manifest that has chains but no tasks still has the one task of its plugin's name.

`[routes]` leads [types of added schedules](../guides/added-schedules.md#types-and-routes) to tasks of the manifest:
`\"mail-*\" = \"mailer\"`. A pattern is a type, or the beginning of types and `*`; of several that match, the longest
counts.
";

#[test]
fn the_published_page_on_manifests_is_current() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut tables = Vec::new();
    collect(&[], &schema, &schema, &mut tables);
    // Chains are made of tasks.
    tables.sort_by_key(|table| table.path.starts_with("chains"));
    let mut page = HEAD.to_owned();

    for table in &tables {
        describe(table, &schema, &mut page);
    }

    assert_current("manifest.md", &page);
}

/// A table of the manifest.
struct Table<'a> {
    /// Its name as it is written in brackets.
    path: String,
    /// Whether there may be several, in double brackets.
    is_listed: bool,
    shape: &'a Value,
}

/// Finds the tables below one, each before those within it.
fn collect<'a>(path: &[&str], shape: &'a Value, schema: &'a Value, tables: &mut Vec<Table<'a>>) {
    for (name, field) in fields(shape) {
        let is_map = field.get("additionalProperties").is_some_and(|named| named.get("$ref").is_some());
        let step = [path, &[name.as_str()], if is_map { &["NAME"] } else { &[] }].concat();
        let items = field.get("items");
        for shape in shapes(items.or(field.get("additionalProperties")).unwrap_or(field), schema) {
            tables.push(Table { path: step.join("."), is_listed: items.is_some(), shape });
            collect(&step, shape, schema, tables);
        }
    }
}

/// The tables that a value may be.
fn shapes<'a>(value: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let value = resolved(value, schema);
    if value.get("properties").is_some() {
        return vec![value];
    }
    list(value, "anyOf").iter().flat_map(|choice| shapes(choice, schema)).collect()
}

fn fields(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn describe(table: &Table<'_>, schema: &Value, page: &mut String) {
    let heading = if table.is_listed { format!("[[{}]]", table.path) } else { format!("[{}]", table.path) };
    page.push_str(&format!("\n## `{heading}`\n"));
    page.push_str(&paragraph(table.shape.get("description").and_then(Value::as_str).unwrap_or_default()));
    page.push('\n');
    for (name, field) in fields(table.shape) {
        let is_required = list(table.shape, "required").iter().any(|required| required == name);
        let required = if is_required { ", required" } else { "" };
        let text = field.get("description").and_then(Value::as_str).unwrap_or_default();
        page.push_str(&item(&format!("`{name}` ({}{required}): {text}", kind(field, schema))));
    }
}

/// A schema, or the one that it refers to.
fn resolved<'a>(value: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = value.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    reference.and_then(|path| schema.pointer(path)).unwrap_or(value)
}

/// Describes a value in words.
fn kind(field: &Value, schema: &Value) -> String {
    let field = resolved(field, schema);
    let is_null = |choice: &&Value| choice.get("type").is_some_and(|kind| kind == "null");
    let choices: Vec<&Value> = list(field, "anyOf").iter().filter(|choice| !is_null(choice)).collect();
    let is_size = |choice: &&Value| choice.get("pattern").is_some_and(|pattern| pattern.to_string().contains("[kKmM"));
    let bound = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64);
    if choices.iter().any(is_size)
        && let Some((least, most)) = choices.iter().find_map(|of| Some((bound(of, "minimum")?, bound(of, "maximum")?)))
    {
        return format!("size from {} to {}", size(least), size(most));
    }
    if !choices.is_empty() {
        return choices.iter().map(|choice| kind(choice, schema)).collect::<Vec<_>>().join(" or ");
    }
    let named = field.get("type").map(|kind| kind.as_str().map_or_else(|| &list(field, "type")[0], |_| kind));
    match named.and_then(Value::as_str).unwrap_or("any value") {
        "string" => field
            .get("$comment")
            .and_then(Value::as_str)
            .map_or("text".into(), |range| format!("duration from {range}")),
        "array" => format!("list of {}s", kind(&field["items"], schema).replace(" or ", "s or ")),
        "boolean" => "true or false".to_owned(),
        "object" if field.get("properties").is_some() => "table".to_owned(),
        "object" => "table of texts".to_owned(),
        number => match (bound(field, "minimum"), bound(field, "maximum")) {
            (Some(least), Some(most)) => {
                format!("{} from {} to {}", number.replace("integer", "whole number"), grouped(least), grouped(most))
            }
            _ => number.to_owned(),
        },
    }
}

/// A number of bytes in its largest whole unit.
fn size(bytes: u64) -> String {
    let units = ["byte", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let at = (0..units.len()).rev().find(|at| bytes.is_multiple_of(1 << (10 * at))).unwrap_or_default();
    format!("{} {}", bytes >> (10 * at), units[at])
}

/// A number with a comma between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
