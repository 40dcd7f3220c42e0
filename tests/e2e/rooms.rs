//! Tests properties of the source besides those that `tests/guards` checks.

use std::fs;
use std::path::{Path, PathBuf};

/// The files besides the supervisor that start threads and tasks, or catch panics, each with the reason why a panic
/// there does not go unseen. Code that uses `caught(` in the same statement need not be listed.
const UNSUPERVISED: &[(&str, &str)] = &[
    ("system/src/supervisor.rs", "it is the supervisor"),
    ("src/cli/top.rs", "a command for people, who see it"),
    ("src/cli/logs/following.rs", "a command for people, who see it"),
    ("src/machine/worker.rs", "a run's pipeline notes its own panic"),
    ("store/src/postgres/connect.rs", "a connection's end is seen by those who use it"),
    ("store/src/postgres/listen.rs", "a connection's end is seen by the listener, which makes another"),
    ("runtime/src/attempt/handle.rs", "a timer of one attempt, which its deadline ends as well"),
    ("runtime/src/runtime/lanes.rs", "it hands the panic on to the run's pipeline"),
    ("runtime/src/runtime/lanes/queues.rs", "it hands the panic on to the run's pipeline"),
    ("runtime/src/runtime.rs", "it waits for what a lane hands on"),
    ("src/simulation/sim_host.rs", "the command's own process, whose attempts hand their panics on"),
    ("runtime/src/runtime/guarded_call.rs", "it hands the panic on to the run's pipeline"),
];

#[test]
fn loops_and_threads_are_begun_by_the_supervisor() {
    let source = source();
    let mut unseen = Vec::new();

    for file in files(&source).into_iter().filter(|file| !is_test(file)) {
        let name = file.strip_prefix(&source).unwrap().display().to_string();
        if !is_of_the_host(&name) {
            continue;
        }
        // The stores' conformance tests are no code of the host.
        let text_of_tests = name.starts_with("store/src/conformance");
        if text_of_tests || UNSUPERVISED.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        unseen.extend(unsupervised(&text).into_iter().map(|line| format!("{name}: {line}")));
    }

    assert!(unseen.is_empty(), "have these begun by `Supervisor`: {}", unseen.join("\n"));
}

/// Returns the lines of a file that start a thread or a task, or catch a panic, and do not catch the panic of what they
/// start at once.
fn unsupervised(text: &str) -> Vec<&str> {
    let code = without_tests(text);
    let lines: Vec<&str> = code.into_iter().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let begins = |line: &str| {
        let words = ["spawn(", "spawn_on(", "spawn_local(", "thread::Builder", "catch_unwind"];
        // Starting a child process takes no argument here, and the code that waits for it sees its end.
        let line = line.replace(".spawn()", "").replace("fn spawn(", "");
        words.iter().any(|word| line.contains(word))
    };
    let caught =
        |at: usize| lines[at.saturating_sub(1)..lines.len().min(at + 2)].iter().any(|near| near.contains("caught("));
    (0..lines.len()).filter(|at| begins(lines[*at]) && !caught(*at)).map(|at| lines[at]).collect()
}

/// The lines of a file without those that are compiled for tests only, wherever in the file they are.
pub(crate) fn without_tests(text: &str) -> Vec<&str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            kept.push(line);
            continue;
        }
        // The item ends with the line that is indented as its attribute is and closes something.
        let ends = |next: &&str| {
            let is_attribute = next.trim_start().starts_with("#[");
            indent(next) == indent(line) && !is_attribute && next.trim_end().ends_with([';', ',', '}'])
        };
        lines.by_ref().find(ends);
    }
    kept
}

#[test]
fn code_between_and_after_items_for_tests_is_read() {
    let text = "#[cfg(test)]\nmod tests;\nfn a() {}\nimpl A {\n    #[cfg(test)]\n    #[must_use]\n    fn b(\n        c: d,\n    ) {\n        \
                e();\n    }\n    fn f() {}\n}\n#[cfg(test)]\nmod more {\n    fn g() {}\n}\nfn h() {}";

    assert_eq!(without_tests(text), ["fn a() {}", "impl A {", "    fn f() {}", "}", "fn h() {}"]);
}

#[test]
fn each_way_to_begin_a_task_is_seen_unless_its_panic_is_caught() {
    let of_a_set = "let tasks = JoinSet::new();\ntasks.spawn(async move { work().await });";
    let of_a_handle = "runtime.spawn(Giver(x).give());";
    let in_one = "tasks.spawn(caught(work()));";
    let in_two = "tasks.spawn(async move {\n    let mut work = pin!(caught(work));";
    let others = "// tokio::spawn(\nCommand::new(\"sh\").spawn()?;\n#[cfg(test)]\ntokio::spawn(x);";

    assert_eq!(unsupervised(of_a_set), ["tasks.spawn(async move { work().await });"]);
    assert_eq!(unsupervised(of_a_handle), [of_a_handle]);
    assert_eq!(unsupervised("tokio::spawn(x);\nthread::Builder::new()").len(), 2);
    for seen in [in_one, in_two, others] {
        assert!(unsupervised(seen).is_empty(), "{seen}");
    }
}

#[test]
fn the_list_of_what_is_not_supervised_names_files_that_exist() {
    let source = source();

    for (file, _) in UNSUPERVISED {
        assert!(source.join(file).exists(), "{file} is not in host/");
    }
}

#[test]
fn every_item_of_the_wit_package_is_documented_and_says_since_when() {
    let wit = source().join("../wit");
    let mut missing = Vec::new();

    // The interfaces in `deps` are WASI's, as they are published.
    let is_own =
        |file: &PathBuf| file.extension().is_some_and(|kind| kind == "wit") && !file.starts_with(wit.join("deps"));
    for file in files(&wit).into_iter().filter(is_own) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let item = ["interface ", "world ", "type ", "record ", "variant ", "enum ", "resource ", "flags "]
                .iter()
                .any(|word| line.starts_with(word))
                || line.contains(": func(");
            let since = at > 0 && lines[at - 1].starts_with("@since");
            if item && !since {
                missing.push(format!("{}:{}: no @since on `{line}`", file.display(), at + 1));
            }
            let member = line.ends_with(',') || line.ends_with(", ");
            let above = if since { at.checked_sub(2) } else { at.checked_sub(1) };
            let documented = above.is_some_and(|above| lines[above].starts_with("///"));
            if (item || member) && !line.starts_with("///") && !documented {
                missing.push(format!("{}:{}: `{line}` is not documented", file.display(), at + 1));
            }
        }
    }

    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Returns the directory of the host's crates.
fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns whether a file, named relative to [`source`], is code of the host: not of its benches, and not of the test
/// kit.
fn is_of_the_host(name: &str) -> bool {
    !name.starts_with("benches/") && !name.starts_with("testkit/") && name.ends_with(".rs")
}

/// Returns whether a file has only tests, which may use anything.
fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|kind| kind == "rs" || kind == "wit") => found.push(path),
            false => {}
        }
    }
    found
}
