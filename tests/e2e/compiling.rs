//! Tests components that harm their compiler: too slow, too large, and such that crash it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Host, Setup, attempts, drop_in, list, state};

#[test]
fn neither_plugins_nor_due_tasks_wait_for_what_takes_for_ever_to_compile() {
    let host = Host::with(&Setup { config: "[runtime]\ncompile-time = \"1h\"\n".into() });
    host.add("tick", "hello", "[tasks.tick]\nevery = \"1s\"\n");

    // More than there are threads on a machine with two cores.
    let bombs: Vec<(String, Vec<u8>)> = (0..3).map(|n| (format!("bomb-{n}"), takes_long(n))).collect();
    for (name, bomb) in &bombs {
        host.add_bytes(name, bomb, None);
    }
    compiler_of(&host);
    let ticks = || list(&host.get("/v1/runs?task=tick&state=succeeded&limit=1000"), "runs").len();
    let before = ticks();
    host.add("late", "noop", "[tasks.late]\n");
    let run = host.run("late", "");
    host.eventually("a task that is due each second has gone on", || (ticks() >= before + 2).then_some(()));
    let done = |name: &str| host.plugin(name).is_some_and(|plugin| !plugin["quarantine"].is_null());
    let done_before = bombs.iter().filter(|(name, _)| done(name)).count();
    // This ends them at once instead of after an hour.
    let reasons = host.eventually("all of them are quarantined", || {
        for (child, _) in children(host.pid()) {
            let _ = Command::new("kill").args(["-XCPU", &child.to_string()]).output();
        }
        let reason = |(name, _): &(String, _)| host.plugin(name)?["quarantine"].as_str().map(str::to_owned);
        bombs.iter().map(reason).collect::<Option<Vec<String>>>()
    });

    assert_eq!(state(&run), "succeeded", "{run}");
    assert_eq!(done_before, 0, "they had all been compiled before, or given up");
    for ((name, _), reason) in bombs.iter().zip(reasons) {
        assert!(reason.starts_with(&format!("{name}.wasm: needed more than 1h of processor time")), "{reason}");
    }
    nothing_compiles(&host);
}

#[test]
fn a_component_over_its_compile_time_is_quarantined() {
    let host = Host::with(&Setup { config: "[runtime]\ncompile-time = \"1s\"\n".into() });
    host.add_bytes("bomb", &takes_long(0), None);

    let reason = host.quarantined("bomb");

    let expected =
        "needed more than 1s of processor time to compile; if it may use more, raise `[runtime] compile-time`";
    assert_eq!(reason, format!("bomb.wasm: {expected}"));
    nothing_compiles(&host);
}

#[test]
fn a_component_whose_compiler_waits_for_a_processor_for_longer_than_it_may_compute_is_in_use_afterwards() {
    const LIMIT: Duration = Duration::from_secs(3);
    let host = Host::with(&Setup { config: format!("[runtime]\ncompile-time = \"{}s\"\n", LIMIT.as_secs()) });
    host.add_bytes("large", &takes(400, 0), Some("[tasks.large]\n"));
    let child = compiler_of(&host);
    signal(child, "STOP");
    std::thread::sleep(LIMIT + Duration::from_secs(1)); // time by the clock is what must not count
    let plugin = host.plugin("large");
    signal(child, "CONT");
    host.loaded("large");

    assert!(plugin.is_none_or(|plugin| plugin["quarantine"].is_null()));
    assert_eq!(state(&host.run("large", "")), "succeeded");
}

#[test]
fn a_bomb_costs_its_time_once_however_often_it_is_dropped_in() {
    // If it was compiled again, it would be in use in the end.
    let host = Host::with(&Setup { config: "[runtime]\ncompile-time = \"1h\"\n".into() });
    let bomb = takes_long(0);
    host.add_bytes("first", &bomb, None);
    let child = compiler_of(&host);
    // This ends it at once instead of after its time limit.
    signal(child, "XCPU");
    assert!(host.quarantined("first").contains("needed more than 1h of processor time"));

    host.add_bytes("second", &bomb, None);
    let reason = host.quarantined("second");

    assert!(reason.starts_with("second.wasm: needed more than 1h of processor time"), "{reason}");
}

#[test]
fn a_component_over_its_compile_memory_is_quarantined_until_the_limit_is_raised() {
    let host = Host::with(&Setup { config: "[runtime]\ncompile-memory = \"64 MiB\"\n".into() });
    host.add_bytes("large", &needs_memory(), Some("[tasks.large]\n"));
    let reason = host.quarantined("large");
    host.add("small", "noop", "[tasks.small]\n");

    let expected = "needed more than 64 MiB of memory to compile; if it may use more, raise `[runtime] compile-memory`";
    assert_eq!(reason, format!("large.wasm: {expected}"));
    assert_eq!(state(&host.run("small", "")), "succeeded");
    nothing_compiles(&host);

    host.signal("TERM");
    let (_, _, place) = host.ended();
    fs::write(place.path().join("sexton.toml"), "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let host = Host::start_in(place);
    host.loaded("large");
    assert_eq!(state(&host.run("large", "")), "succeeded");
}

#[test]
fn a_crash_of_the_compiler_is_the_end_of_one_component_and_a_better_file_heals_it() {
    let host = Host::start();
    host.add_bytes("bad", &takes_long(0), Some("[tasks.bad]\n"));

    signal(compiler_of(&host), "ABRT");
    let reason = host.quarantined("bad");
    host.add_bytes("bad", &crate::harness::guest("noop"), None);
    host.eventually("the better one is in use", || host.plugin("bad")?["quarantine"].is_null().then_some(()));

    assert_eq!(reason, "bad.wasm: crashed the compiler: signal 6 (SIGABRT)");
    assert_eq!(state(&host.run("bad", "")), "succeeded");
    nothing_compiles(&host);
}

#[test]
fn a_plugin_whose_compiler_was_killed_is_tried_again_and_that_is_logged() {
    let host = Host::start();
    // It differs each time, so that no earlier test has left it compiled.
    host.add_bytes("it", &takes(400, std::process::id() as usize), Some("[tasks.it]\n"));

    // The system does the same when the machine has no memory left: it kills a child that compiles first.
    signal(compiler_of(&host), "KILL");
    let reason = host.quarantined("it");
    host.loaded_after_all("it");

    let expected = "it.wasm: was not compiled, as something ended the compiler: signal 9 (SIGKILL); most likely the machine \
                    had no memory left; the cause may be temporary, so the plugin is loaded again in 5s";
    assert_eq!(reason, expected);
    assert_eq!(state(&host.run("it", "")), "succeeded");
}

#[test]
fn compilation_of_a_removed_component_is_cancelled() {
    let host = Host::start();
    host.add_bytes("bomb", &takes_long(0), None);
    let child = compiler_of(&host);

    fs::remove_file(host.plugin_path("bomb.wasm")).unwrap();

    host.eventually("the compiler is gone", || is_gone(child).then_some(()));
    assert_eq!(host.plugin("bomb"), None);
}

#[test]
fn no_compiler_outlives_its_host_however_that_ends() {
    let host = Host::start();
    host.add_bytes("bomb", &takes_long(0), None);
    let child = compiler_of(&host);
    let place = host.kill();
    await_end(child);

    let host = Host::start_in(place);
    let child = compiler_of(&host);
    host.signal("TERM");
    let (content, said, _) = host.ended();

    assert!(content, "{said}");
    // The system ends it with its host, and may take a moment for that.
    await_end(child);
}

fn await_end(child: u32) {
    let start = Instant::now();
    while !is_gone(child) {
        assert!(start.elapsed() < crate::harness::PATIENCE, "{child} is still there");
        std::thread::sleep(Duration::from_millis(10)); // the system announces only the end of one's own children
    }
}

#[test]
fn a_compiler_is_confined() {
    let host = Host::start();
    host.add_bytes("bomb", &takes_long(0), None);
    let child = compiler_of(&host);
    let of_child = |file: &str| Path::new("/proc").join(child.to_string()).join(file);

    // It has this name only after it has confined itself.
    let limits = fs::read_to_string(of_child("limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    for (name, expected) in [
        ("Max cpu time", "60".to_owned()),
        ("Max file size", (16_u64 * (32 << 20)).to_string()),
        ("Max data size", (1_u64 << 30).to_string()),
        ("Max core file size", "0".into()),
        ("Max open files", "0".into()),
        ("Max processes", "0".into()),
    ] {
        assert_eq!(limit(name), expected, "{name}");
    }
    assert_eq!(fs::read_to_string(of_child("oom_score_adj")).unwrap().trim(), "1000");
    let status = fs::read_to_string(of_child("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let capabilities = |of: &str, set: &str| {
        let line = of.lines().find_map(|line| line.strip_prefix(&format!("{set}:\t"))).unwrap();
        u64::from_str_radix(line, 16).unwrap()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(capabilities(&status, set), 0, "{set}: {status}");
    }
    // A process that may not change the bounding set has nothing to gain by it.
    let may_change_it = capabilities(&fs::read_to_string("/proc/self/status").unwrap(), "CapEff") & 1 << 8 != 0;
    assert!(!may_change_it || capabilities(&status, "CapBnd") == 0, "{status}");
    // Only root may read these.
    match (fs::read(of_child("environ")), fs::read_dir(of_child("fd"))) {
        (Ok(environ), Ok(files)) => assert_eq!((environ.len(), files.count()), (0, 3)),
        (environ, files) => assert!(environ.is_err() && files.is_err(), "one of them can be read"),
    }
}

#[test]
fn debug_information_that_explodes_costs_the_host_nothing_but_the_lines() {
    let host = Host::with_plugins(&[("good", "probe", crate::outcomes::PROBE)]);
    host.add_bytes("bad", &explodes_when_it_is_explained(), Some("[tasks.bad.retry]\nattempts = 1\n"));
    host.loaded("bad");

    let bad = host.run("bad", "");
    let again = host.run("bad", "");
    let good = host.run("probe", r#"{"do": "panic"}"#);

    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 1 << 20, "the host took {peak} KiB");
    for run in [&bad, &again] {
        assert_eq!(attempts(run)[0]["backtrace"], "explode", "{run}");
    }
    let told = attempts(&good)[0]["backtrace"].as_str().unwrap_or_else(|| panic!("no backtrace in {good}"));
    assert!(told.contains(".rs:"), "{told}");
    nothing_compiles(&host);
}

#[test]
fn a_compiler_is_of_no_use_to_people() {
    let numbers = ["compile-component", "1", "2", "3", "4", "5", "6"];
    for args in [&["compile-component"][..], &["read-debug-info"], &numbers] {
        let output = Command::new(crate::harness::SEXTON).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();

        assert_eq!(output.status.code(), Some(13), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// Returns a component of 25 KB that takes half a minute of processor time; it differs for each `n`.
fn takes_long(n: usize) -> Vec<u8> {
    takes(2000, n)
}

/// Returns a component with `loops` nested loops. The time to compile it grows with more than their square.
fn takes(loops: usize, n: usize) -> Vec<u8> {
    // The values may come from everywhere, in loops within loops.
    let mut body = "loop ".repeat(loops);
    for i in 0..loops {
        let (from, to) = (i % 50, (i * 7 + 1) % 50);
        let _ = write!(body, "local.get {from} local.set {to} local.get {from} br_if 0 end ");
    }
    program(&format!("(func (local {}) {body} i32.const {n} drop)", "i32 ".repeat(50)))
}

/// Returns a component of about a megabyte that takes some hundred megabytes of memory, and little time.
fn needs_memory() -> Vec<u8> {
    let mut body = String::new();
    for i in 0..150_000 {
        let _ = write!(body, "local.get {} i32.load local.set {} ", i % 100, i * 3 % 100);
    }
    program(&format!("(memory 1) (func (local {}) {body})", "i32 ".repeat(100)))
}

/// Returns a program that traps in `explode`. Explaining the trap takes gigabytes: all 400 units of its debug
/// information have the same 100,000 abbreviations, which a reader keeps for each unit.
fn explodes_when_it_is_explained() -> Vec<u8> {
    let mut abbreviations = Vec::new();
    for mut code in 1..100_000_u32 {
        while code >= 0x80 {
            abbreviations.push(code as u8 | 0x80);
            code >>= 7;
        }
        // A compile unit, without children and attributes.
        abbreviations.extend_from_slice(&[code as u8, 0x11, 0, 0, 0]);
    }
    abbreviations.push(0);
    // Length, version, position of the abbreviations, size of an address; the first abbreviation.
    let units = [8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1].repeat(400);
    let section = |name: &str, bytes: &[u8]| {
        let mut text = String::new();
        for byte in bytes {
            let _ = write!(text, "\\{byte:02x}");
        }
        format!(r#"(@custom "{name}" "{text}")"#)
    };
    let debug = [(".debug_abbrev", &abbreviations[..]), (".debug_info", &units), (".debug_line", &[])];
    let debug: String = debug.map(|(name, bytes)| section(name, bytes)).concat();
    program_that("unreachable", &debug)
}

/// Returns a program that does nothing, with `fields` in its module.
fn program(fields: &str) -> Vec<u8> {
    program_that("i32.const 0", fields)
}

/// Returns a program whose `$explode` has `body`, with `fields` in its module.
fn program_that(body: &str, fields: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
           (core module $m {fields} (func $explode (export "run") (result i32) {body}))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export)))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn of_plugins_that_were_never_compiled_the_one_that_is_due_is_loaded_before_smaller_ones_that_are_not() {
    // The settings are about compiling, so that nothing is compiled before.
    let directory = Setup { config: "[runtime]\ncompile-time = \"60s\"\n".into() }.directory();
    let seed = std::process::id() as usize;
    for n in 0..12 {
        let name = format!("later-{n:02}");
        drop_in(directory.path(), &name, &variant("noop", seed + n, 0), Some(&format!("[tasks.{name}]\n")));
    }
    drop_in(directory.path(), "now", &variant("noop", seed, 40), Some("[tasks.now]\non-start = true\n"));
    seem_old(&directory.path().join("plugins"));

    let host = Host::start_in(directory);
    let order = host.eventually("all are loaded", || {
        let log = host.log();
        let loaded = log.lines().filter_map(|line| line.split_once("Loaded plugin `")?.1.split_once('`'));
        let order: Vec<String> = loaded.map(|(name, _)| name.to_owned()).collect();
        (order.len() == 13).then_some(order)
    });

    // Up to five are loaded at once, and those that began together may end in any order.
    let place = order.iter().position(|name| name == "now").unwrap();
    assert!(place < 6, "{order:?}");
}

#[test]
fn a_second_host_with_the_same_directory_for_code_compiles_nothing_that_the_first_has_compiled() {
    let place = tempfile::tempdir().unwrap();
    let code = place.path().join("code");
    let config = format!("[runtime]\ncode = \"{}\"\n[log]\nfilter = \"info,sexton_runtime=debug\"\n", code.display());
    let component = variant("hello", std::process::id() as usize, 0);
    let compiled = || {
        let host = Host::with(&Setup { config: config.clone() });
        host.add_bytes("hello", &component, Some("[tasks.hello]\n"));
        host.loaded("hello");
        assert_eq!(state(&host.run("hello", "")), "succeeded");
        let log =
            host.eventually("it says so", || Some(host.log()).filter(|log| log.contains("Loaded plugin `hello`")));
        log.matches("Compiled a component").count()
    };

    assert_eq!([compiled(), compiled()], [1, 0]);
}

/// Returns a guest with a custom section that has a number, and is larger by this many bytes and a few.
fn variant(guest: &str, number: usize, more: usize) -> Vec<u8> {
    let mut component = crate::harness::guest(guest);
    let name = format!("{number:020}{}", "x".repeat(more));
    let length = u8::try_from(name.len()).unwrap();
    component.extend([0, length + 1, length]);
    component.extend(name.as_bytes());
    component
}

/// Sets the times of all files in a directory back, because a host leaves files alone that were written a moment ago.
fn seem_old(directory: &Path) {
    for file in fs::read_dir(directory).unwrap() {
        let file = fs::File::options().write(true).open(file.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
}

/// Waits until the host has a child that compiles, and returns its process.
fn compiler_of(host: &Host) -> u32 {
    host.eventually("something is being compiled", || {
        children(host.pid()).into_iter().find(|(_, name)| name == "sexton-compile").map(|(child, _)| child)
    })
}

/// Waits until the host has no children, including dead ones that were not waited for.
fn nothing_compiles(host: &Host) {
    host.eventually("nothing is compiled any more", || children(host.pid()).is_empty().then_some(()));
}

/// Returns the children of a process, with their names.
fn children(parent: u32) -> Vec<(u32, String)> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let children: String = threads.flatten().map(of_thread).collect();
    let name = |child: u32| fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).map(|c| (c, name(c).trim().to_owned())).collect()
}

/// Returns whether the process does not exist, or only its number does.
fn is_gone(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])))
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
