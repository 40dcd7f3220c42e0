//! Components that know WASI's interfaces and nothing of Sexton.

use crate::harness::{Host, guest, outcome};

const MANIFEST: &str = r#"
[tasks.counter]
settings = { prefix = "counter/" }

[tasks.counter.grants]
cache = ["counter/*"]
"#;

#[test]
fn a_program_keeps_values_in_the_cache_by_way_of_wasi_keyvalue() {
    let host = Host::start();
    host.add("counter", "standard", MANIFEST);
    host.loaded("counter");

    for n in 1..=2 {
        let run = host.run("counter", "");

        assert_eq!(outcome(&run), "succeeded", "{run}");
        let output = host.output(crate::harness::id(&run));
        let expected = format!("run {n}, a is swapped, and another key: Err(Error::AccessDenied)\n");
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    let shown = host.cli(&["cache", "get", "counter/runs"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim_end(), "2");
}

#[test]
fn a_program_that_is_not_granted_the_cache_is_refused_with_the_line_to_add() {
    let host = Host::start();
    host.add_bytes("counter", &guest("standard"), None);

    let reason = host.quarantined("counter");

    assert!(reason.contains("`wasi:keyvalue/store`, `wasi:keyvalue/atomics`"), "{reason}");
    assert!(reason.contains("[tasks.counter.grants]\ncache = [\"*\"]"), "{reason}");
    assert_eq!(reason.matches("cache = ").count(), 1, "{reason}");
}
