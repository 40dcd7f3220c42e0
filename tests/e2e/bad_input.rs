//! Tests mistakes of people and programs: each has one line that says what to do, and none stops the host.

use std::fs;

use crate::harness::{Host, guest, state};

/// A manifest, and the words that its error must contain.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("[tasks", &["m00.toml:1:"]),
    ("tasks = 3", &["m01.toml:1:"]),
    ("[task.x]\n", &["m02.toml:1:", "`task`", "`tasks`"]),
    ("[tasks.x]\nevry = \"10s\"\n", &["m03.toml:2:", "`evry`", "`every`"]),
    ("[tasks.x]\nevery = 10\n", &["m04.toml:2:", "10s"]),
    ("[tasks.x]\nevery = \"10\"\n", &["m05.toml:2:", "10"]),
    ("[tasks.x]\nevery = \"0s\"\n", &["m06.toml:2:"]),
    ("[tasks.x]\nevery = \"soon\"\n", &["m07.toml:2:", "soon"]),
    ("[tasks.x]\ncron = \"* * * *\"\n", &["m08.toml:2:", "five"]),
    ("[tasks.x]\ncron = \"61 * * * *\"\n", &["m09.toml:2:", "61"]),
    ("[tasks.x]\ncron = \"0 0 31 2 *\"\n", &["m10.toml:2:", "never"]),
    ("[tasks.x]\ncron = \"* * * * mo\"\n", &["m11.toml:2:", "mo"]),
    ("[tasks.x]\ncron = \"* * * * *\"\nevery = \"10s\"\n", &["m12.toml:", "every", "cron"]),
    ("[tasks.x]\nat = \"tomorrow\"\n", &["m13.toml:2:", "tomorrow"]),
    ("[tasks.x]\ncron = \"* * * * *\"\nzone = \"Europe/Belrin\"\n", &["m14.toml:3:", "Europe/Berlin"]),
    ("[tasks.x]\noverlap = \"allow\"\n", &["m15.toml:2:", "allow("]),
    ("[tasks.x]\noverlap = \"allow(0)\"\n", &["m16.toml:2:"]),
    ("[tasks.x]\ncatch-up = \"all\"\n", &["m17.toml:2:", "all("]),
    ("[tasks.\"Not A Name\"]\n", &["m18.toml:1:", "Not A Name"]),
    ("[tasks.x.limits]\nmemory = \"64 parsecs\"\n", &["m19.toml:2:"]),
    ("[tasks.x.limits]\nmemory = \"64 TiB\"\n", &["m20.toml:2:"]),
    ("[tasks.x.limits]\nfuel = 0\n", &["m21.toml:2:", "fuel"]),
    ("[tasks.x.limits]\ndeadline = \"0s\"\n", &["m22.toml:2:", "deadline"]),
    ("[tasks.x.limits]\ndeadlin = \"1s\"\n", &["m23.toml:2:", "`deadlin`", "`deadline`"]),
    ("[tasks.x.grants]\nhttp = [\"http://example.org/\"]\n", &["m24.toml:2:", "example.org"]),
    ("[tasks.x.grants]\nhttp = [\"example.org:99999\"]\n", &["m25.toml:2:", "99999"]),
    ("[tasks.x.grants]\ncache = [\"a*b\"]\n", &["m26.toml:2:", "a*b"]),
    ("[tasks.x.grants]\nnetwork = true\n", &["m27.toml:2:", "`network`", "http"]),
    ("[tasks.x.grants]\ndirectories = [{ host = \"data\" }]\n", &["m28.toml:2:", "guest"]),
    ("[tasks.x.retry]\nattempts = 0\n", &["m29.toml:2:", "attempts"]),
    ("[tasks.x.retry]\njitter = 7\n", &["m30.toml:2:", "jitter"]),
    ("[tasks.x]\n[tasks.x]\n", &["m31.toml:2:"]),
    ("[tasks.x]\ncron-seconds = \"0 9 * * *\"\n", &["m32.toml:2:", "six", "`cron`"]),
    ("[tasks.x]\nevery = \"10s\"\ndst = \"skip\"\n", &["m33.toml:3:", "`dst`", "`cron`"]),
];

#[test]
fn fifty_mistakes_have_one_line_each_and_none_stops_the_host() {
    let host = Host::with_plugins(&[("good", "hello", "[tasks.good]\n")]);
    let hello = guest("hello");
    for (n, (manifest, _)) in MANIFESTS.iter().enumerate() {
        host.add_bytes(&format!("m{n:02}"), &hello, Some(manifest));
    }
    let components = components(&hello);
    for (name, bytes, _) in &components {
        fs::write(host.plugin_path(&format!("{name}.wasm")), bytes).unwrap();
    }
    fs::write(host.plugin_path("alone.toml"), "[tasks.alone]\n").unwrap();
    fs::write(host.plugin_path("latin.toml"), b"# caf\xe9\n[tasks.latin]\n").unwrap();
    fs::write(host.plugin_path("latin.wasm"), &hello).unwrap();
    fs::create_dir(host.plugin_path("folder.wasm")).unwrap();

    let mut wrong = Vec::new();
    let mut expect = |name: &str, expected: &[&str]| {
        let reason = host.quarantined(name);
        println!("{name}: {reason}");
        if reason.trim().is_empty() || reason.lines().count() != 1 || !expected.iter().all(|part| reason.contains(part))
        {
            wrong.push(format!("{name}: {reason:?} does not say {expected:?} in one line"));
        }
    };
    for (n, (_, expected)) in MANIFESTS.iter().enumerate() {
        expect(&format!("m{n:02}"), expected);
    }
    for (name, _, expected) in &components {
        expect(name, expected);
    }
    expect("alone", &["alone.wasm"]);
    expect("latin", &["latin.toml", "UTF-8"]);
    expect("folder", &["folder.wasm", "not a file"]);

    for (method, path, body, status, expected) in BODIES {
        let (answered, said) = host.request(method, path, body.as_bytes());
        let said = String::from_utf8_lossy(&said);
        println!("{method} {path}: {answered} {said}");
        let message = serde_json::from_str::<serde_json::Value>(&said)
            .ok()
            .and_then(|answer| answer["error"]["message"].as_str().map(str::to_owned))
            .unwrap_or_default();
        if answered != *status || message.lines().count() != 1 || !message.contains(expected) {
            wrong.push(format!("{method} {path}: {answered} {said:?}, not {status} with {expected:?}"));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(MANIFESTS.len() + components.len() + 3 + BODIES.len() >= 50);
    assert_eq!(state(&host.run("good", "")), "succeeded");
}

/// Method, path and body; the status, and the words that the error's message must contain.
const BODIES: &[(&str, &str, &str, u16, &str)] = &[
    ("POST", "/v1/tasks/nobody/runs", "", 404, "nobody"),
    ("POST", "/v1/tasks/good/runs?at=someday", "", 400, "someday"),
    ("POST", "/v1/tasks/good/runs?after=10", "", 400, "10"),
    ("POST", "/v1/tasks/good/runs?at=2027-01-01T00:00:00Z&after=10s", "", 400, "after"),
    ("GET", "/v1/runs/abc", "", 400, "abc"),
    ("GET", "/v1/runs/999999", "", 404, "999999"),
    ("GET", "/v1/runs?state=sleeping", "", 400, "sleeping"),
    ("GET", "/v1/runs?limit=-1", "", 400, "limit"),
    ("POST", "/v1/runs/999999/kill", "", 404, "999999"),
    ("POST", "/v1/tasks/nobody/pause", "", 404, "nobody"),
    ("GET", "/v1/cache/absent", "", 404, "absent"),
    ("GET", "/v1/nothing", "", 404, "/v1/nothing"),
    ("DELETE", "/v1/tasks", "", 405, "DELETE"),
    ("GET", "/v1/tasks/good/result", "", 404, "good"),
];

fn components(hello: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let mut flipped = hello.to_vec();
    flipped[16..80].fill(0xff);
    vec![
        ("empty", Vec::new(), &["empty.wasm"]),
        ("text", b"fn main() {}".to_vec(), &["text.wasm"]),
        ("half", hello[..hello.len() / 2].to_vec(), &["half.wasm"]),
        ("flipped", flipped, &["flipped.wasm"]),
        // The eight bytes of an empty core module.
        ("module", b"\0asm\x01\0\0\0".to_vec(), &["module.wasm", "component"]),
        // The eight bytes of an empty component.
        ("hollow", b"\0asm\x0d\0\x01\0".to_vec(), &["hollow.wasm", "export"]),
        ("future", b"\0asm\xff\0\x01\0".to_vec(), &["future.wasm"]),
        ("Upper", hello.to_vec(), &["Upper"]),
    ]
}
