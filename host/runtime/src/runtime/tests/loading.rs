//! Tests faulty files, and grants.

use std::sync::Arc;

use super::rig::{Rig, component, limits, program, runner, task};
use crate::runtime::LoadError;
use sexton_domain::run::Outcome;
use sexton_domain::task::{Limits, Pattern, Task};

#[tokio::test]
async fn a_file_that_is_not_a_component_is_refused_in_one_line() {
    let rig = Rig::new();
    let whole = program("", "i32.const 0");
    let core = wat::parse_str("(module (func (export \"run\")))").unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 0xff;
    let cases: [(Vec<u8>, &str); 8] = [
        (Vec::new(), "is empty"),
        (b"#!/bin/sh".to_vec(), "is not WebAssembly"),
        (b"\n(component)".to_vec(), "assemble it"),
        (core, "build it with `--target wasm32-wasip2`"),
        (whole[..6].to_vec(), "it ends after its first bytes"),
        (whole[..whole.len() / 2].to_vec(), "is not a valid component: "),
        (damaged, "is not a valid component: "),
        (component(""), "exports neither `sexton:task/runner@0.1.0` (a task) nor `wasi:cli/run@0.2` (a program)"),
    ];

    for (wasm, expected) in cases {
        let message = rig.load(wasm).await.unwrap_err().to_string();
        assert!(message.contains(expected), "expected `{expected}` in `{message}`");
        assert!(!message.contains('\n'), "`{message}`");
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_for_its_size_alone() {
    let rig = Rig::new();

    let error = rig.load(vec![0; (4 << 20) + 1]).await.unwrap_err();

    assert_eq!(error, LoadError::TooLarge { size: (4 << 20) + 1, limit: 4 << 20 });
}

#[tokio::test]
async fn a_component_reports_its_kind_size_and_imports() {
    let rig = Rig::new();
    let wasm = program("", "i32.const 0");
    let size = wasm.len() as u64;

    let program = rig.load(wasm).await.unwrap();
    let log = r#"(import "sexton:task/log@0.1.0" "write" (func (param i32 i32 i32)))"#;
    let task = rig.load(runner("", log, "i32.const 0")).await.unwrap();

    assert_eq!((program.kind().as_str(), task.kind().as_str()), ("program", "task"));
    assert_eq!((program.size(), program.digest().len()), (size, 64));
    assert!(task.imports().iter().any(|import| import == "sexton:task/log@0.1.0"), "{:?}", task.imports());
}

#[tokio::test]
async fn damaged_compiled_code_is_compiled_again() {
    let rig = Rig::new();
    let wasm = program("", "i32.const 0");
    rig.load(wasm.clone()).await.unwrap();
    let code = rig.directory.path().join("code");
    let compiled = || std::fs::read_dir(&code).unwrap().map(|file| file.unwrap().path());
    let path = compiled().find(|path| path.extension().is_some_and(|ext| ext == "cwasm")).unwrap();
    let good = std::fs::read(&path).unwrap();

    for damage in ["half", "flipped", "digest gone"] {
        match damage {
            "half" => std::fs::write(&path, &good[..good.len() / 2]).unwrap(),
            "flipped" => {
                let mut bad = good.clone();
                bad[good.len() / 2] ^= 1;
                std::fs::write(&path, bad).unwrap();
            }
            _ => std::fs::remove_file(path.with_extension("sha256")).unwrap(),
        }
        let again = Rig::on(Arc::clone(&rig.directory));
        let ended = again.run(wasm.clone(), limits()).await;

        assert_eq!(ended.report().outcome, Outcome::Succeeded, "{damage}: {ended:?}");
        assert_eq!(std::fs::read(&path).unwrap(), good, "{damage}");
    }
    assert!(compiled().all(|path| path.extension().is_some_and(|ext| ext != "half")));
}

#[tokio::test]
async fn a_file_loaded_many_times_at_once_is_kept_once() {
    let rig = Rig::new();
    let wasm = program("", "i32.const 0");

    let loads = futures_util::future::join_all((0..16).map(|_| rig.load(wasm.clone()))).await;

    for loaded in &loads {
        assert_eq!(loaded.as_ref().unwrap().digest(), loads[0].as_ref().unwrap().digest());
    }
    let left = std::fs::read_dir(rig.directory.path().join("code")).unwrap();
    let names: Vec<_> = left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "code and its digest: {names:?}");
}

#[tokio::test]
async fn a_file_that_does_not_compile_is_not_compiled_again() {
    let rig = Rig::new();
    let whole = program("", "i32.const 0");
    let half = whole[..whole.len() / 2].to_vec();

    let first = rig.load(half.clone()).await.unwrap_err();
    let second = rig.load(half).await.unwrap_err();

    assert_eq!(first, second);
    assert!(matches!(first, LoadError::Invalid(_)) && !first.is_temporary(), "{first}");
    rig.load(whole).await.unwrap();
}

#[tokio::test]
async fn a_component_with_a_thousand_imports_too_many_is_refused() {
    let rig = Rig::new();
    let imports: String = (0..2000).map(|n| format!("(import \"arm{n}\" (func))")).collect();
    let run = r#"(core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $export (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $export))"#;

    let error = rig.load(component(&format!("{imports} {run}"))).await.unwrap_err();

    assert_eq!(error, LoadError::TooManyImports { count: 2000, limit: 1000 });
}

#[tokio::test]
async fn all_missing_grants_are_named_at_once_with_the_lines_to_add() {
    let rig = Rig::new();
    let fields = r#"(import "sexton:task/cache@0.1.0" "delete" (func (param i32 i32 i32)))
        (import "sexton:task/locks@0.1.0" "[resource-drop]lock" (func (param i32)))
        (import "sexton:task/log@0.1.0" "write" (func (param i32 i32 i32)))"#;
    let wasm = runner("", fields, "i32.const 0");
    let component = rig.load(wasm).await.unwrap();

    let plain = Arc::new(task());
    let refusal = rig.runtime.prepare(&component, &plain).unwrap_err().to_string();
    let mut granted = task();
    granted.grants.cache = vec![Pattern("*".into())];
    granted.grants.locks = vec![Pattern("*".into())];
    let prepared = rig.runtime.prepare(&component, &Arc::new(granted));

    assert!(refusal.contains("`sexton:task/cache`") && refusal.contains("`sexton:task/locks`"), "{refusal}");
    let lines = "add to probes.toml:\n[tasks.probe.grants]\ncache = [\"*\"]\nlocks = [\"*\"]";
    assert!(refusal.ends_with(lines), "{refusal}");
    assert!(!refusal.contains("sexton:task/log"), "{refusal}");
    prepared.unwrap();
}

#[tokio::test]
async fn an_import_that_the_host_does_not_have_is_named() {
    let rig = Rig::new();
    let wasm = component(
        r#"(import "acme:robot/arm@1.0.0" (instance))
           (core module $m (func (export "run") (result i32) i32.const 0))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#,
    );

    let refusal = rig.prepare(wasm, &Arc::new(Task { ..task() })).await.unwrap_err().to_string();

    assert_eq!(refusal, "imports interfaces that this host does not have: `acme:robot/arm@1.0.0`");
}

#[tokio::test]
async fn a_task_may_not_be_given_more_memory_than_the_host_allows() {
    let rig = Rig::new();
    let limits = Limits { memory: 1 << 30, ..limits() };

    let refusal = rig.prepare(program("", "i32.const 0"), &Arc::new(Task { limits, ..task() })).await.unwrap_err();

    let expected = "is given 1073741824 bytes of memory, and this host has at most 536870912 for a task";
    assert_eq!(refusal.to_string(), expected);
}
