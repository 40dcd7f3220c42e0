//! Fills a store as if it had been in use for a while, with records of every kind and state, and shows its contents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::added::{AddSchedule, DueSchedule, FireAdded, RunDefaults, ScheduleFilter, ScheduleKey};
use crate::backfills::{TURN, Turns};
use crate::published::{PluginKey, Publish};
use crate::testkit;
use crate::{
    CacheKey, CacheWrite, Cancelled, ClaimRequest, Death, EnqueueOutcome, Finish, Fire, LockKind, LockMode, LockName,
    LossPolicy, NewRun, Released, RunFilter, ScheduleStart, Store, StoreError, WriteIf, WriteOutcome,
};
use sexton_domain::labels::Labels;
use sexton_domain::lifecycle::Transition;
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::{Accounts, CappedText, Cause, Claim, Outcome, Output, Report, RunId, RunState};
use sexton_domain::schedule::routes::Target;
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// The time at which the store was in use.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn task(text: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: name(text) }
}

fn acmes(text: &str) -> TaskKey {
    TaskKey { tenant: name("acme"), task: name(text) }
}

async fn make(store: &dyn Store, run: NewRun) -> RunId {
    store.enqueue(vec![run], NOW).await.unwrap()[0].run()
}

async fn claim(store: &dyn Store, task: &TaskKey) -> Claim {
    let policies = Arc::new([(task.clone(), LossPolicy { attempts: 4, pause_after: Some(2) })].into());
    let request = testkit::claim_request([(task.clone(), 100)], at(5));
    let request = ClaimRequest { limit: 1, policies, ..request };
    store.claim(request).await.unwrap().claims.remove(0)
}

fn report(outcome: Outcome, said: &str) -> Report {
    let accounts = Accounts {
        fuel: u64::MAX,
        peak_memory: 1 << 20,
        guest: Duration::from_micros(17),
        host: Duration::from_micros(18),
        queued: Duration::from_micros(19),
        lock_wait: Duration::from_micros(20),
        host_calls: 21,
        bytes_in: 22,
        bytes_out: 23,
    };
    let kept = |text: &str, cut| CappedText { text: text.into(), cut };
    Report {
        outcome,
        started_at: at(6),
        ended_at: at(7),
        message: (!said.is_empty()).then(|| said.into()),
        backtrace: (outcome == Outcome::Trapped).then(|| "main\0\n  lib.rs:7".into()),
        accounts,
        log: kept(said, true),
        stdout: kept("", !said.is_empty()),
        stderr: kept(said, false),
    }
}

async fn finish(store: &dyn Store, claim: &Claim, transition: Transition, report: Report) {
    let finish = testkit::finish(claim.key, transition, report);
    store.finish(finish.into()).await.unwrap();
}

/// Uses an empty store for a while.
pub(crate) async fn live(store: &dyn Store) {
    schedules_of_tasks(store).await;
    runs(store).await;
    entries(store).await;
    added_schedules(store).await;
    plugins(store).await;
    store.pause(PauseTarget::Task(task("paused")), Some("be\0cause".into()), at(8)).await.unwrap();
    store.pause(PauseTarget::Tenant(name("acme")), Some("moving\0house".into()), at(8)).await.unwrap();
    store.pause(PauseTarget::All, None, at(9)).await.unwrap();
}

async fn schedules_of_tasks(store: &dyn Store) {
    for text in ["fires", "never-fired"] {
        let begun = ScheduleStart { task: task(text), schedule: "every 1m".into(), now: NOW };
        store.begin_schedules(vec![begun]).await.unwrap();
    }
    let due = NewRun { dedup: Some("at:60000".into()), ..NewRun::of(task("fires"), at(60), Cause::Schedule) };
    let memory = Some("what was".into());
    let fire = Fire { task: task("fires"), runs: vec![due], cursor: at(60), expect: None, memory, now: NOW };
    store.fire(fire).await.unwrap();
    store.record_missed(task("fires"), "4 missed\0, left out").await.unwrap();
}

async fn runs(store: &dyn Store) {
    for n in 0..30 {
        let more = NewRun { input: vec![n; usize::from(n) * 1000], ..NewRun::of(task("many"), at(0), Cause::Demand) };
        make(store, more).await;
    }
    let waits = NewRun {
        input: b"an input\0".to_vec(),
        dedup: Some("a key".into()),
        parent: Some(RunId(1)),
        note: Some("3 missed\0, 1 run".into()),
        labels: Labels::read(["team=web", "order=a=1"]).unwrap(),
        start_by: Some(at(9_000)),
        forced: true,
        ..NewRun::of(acmes("waits"), at(3_600), Cause::Task)
    };
    make(store, waits).await;
    make(store, NewRun { input: vec![1; 100], ..NewRun::of(task("makes"), at(0), Cause::Start) }).await;
    let makes = claim(store, &task("makes")).await;
    let large = Output { content_type: Some("text/plain\0".into()), body: vec![7; 300_000] };
    finish(store, &makes, Transition::Succeed(large), report(Outcome::Succeeded, "said\0so")).await;
    make(store, NewRun::of(task("makes"), at(0), Cause::Demand)).await;
    let makes = claim(store, &task("makes")).await;
    finish(store, &makes, Transition::Succeed(Output::default()), report(Outcome::Succeeded, "")).await;
    // A later run that counts as a success, and is no result.
    make(store, NewRun::of(task("makes"), at(0), Cause::Demand)).await;
    let skipped = claim(store, &task("makes")).await;
    finish(store, &skipped, Transition::Succeed(Output::default()), report(Outcome::Skipped, "skipped")).await;

    make(store, NewRun::of(task("fails"), at(0), Cause::Demand)).await;
    let fails = claim(store, &task("fails")).await;
    let again = Transition::Wait { run_at: at(1), failed: true };
    finish(store, &fails, again, report(Outcome::FailedTransient, "try again")).await;
    let fails = claim(store, &task("fails")).await;
    finish(store, &fails, Transition::Fail, report(Outcome::Trapped, "out of bounds")).await;

    make(store, NewRun::of(task("waits-again"), at(0), Cause::Demand)).await;
    let deferred = claim(store, &task("waits-again")).await;
    let later = Transition::Wait { run_at: at(3_600), failed: false };
    finish(store, &deferred, later, report(Outcome::Deferred, "")).await;

    make(store, NewRun::of(task("suspect"), at(0), Cause::Demand)).await;
    let suspect = claim(store, &task("suspect")).await;
    let held_back = Finish {
        claim: suspect.key,
        transition: Transition::HoldBack,
        report: report(Outcome::Lost, "lost"),
        supervision: Supervision::default(),
        expired_by: None,
        death: Some(Death { host: "one".into(), presumed: None }),
    };
    store.finish(held_back.into()).await.unwrap();

    let belated = NewRun::of(task("backfilled"), at(-60), Cause::Schedule);
    make(store, NewRun { run_at: TURN, at_once: Some(2), ..belated }).await;

    let called_off = make(store, NewRun::of(task("many"), at(0), Cause::Demand)).await;
    assert_eq!(store.cancel(called_off, "no\0more", at(7)).await.unwrap(), Cancelled::Done);

    make(store, NewRun::of(task("runs"), at(0), Cause::Demand)).await;
    let running = claim(store, &task("runs")).await;
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "ledger".into() };
    store.acquire_lock(lock, LockMode::Exclusive, running.key, at(6)).await.unwrap();
    write(store, "of-a-task", vec![3; 500], None, Some(&running)).await;
    versions(store, &running).await;
    assert_eq!(store.cancel(running.key.run, "enough\0", at(7)).await.unwrap(), Cancelled::Requested);
}

async fn write(store: &dyn Store, key: &str, value: Vec<u8>, expires_at: Option<Timestamp>, claim: Option<&Claim>) {
    let key = CacheKey { tenant: Name::default_tenant(), key: key.into() };
    let claim = claim.map(|claim| claim.key);
    let write = CacheWrite {
        key,
        value,
        expires_at,
        claim,
        only: WriteIf::Always,
        keep: None,
        quota: 1 << 30,
        budget: None,
        now: at(-10),
    };
    assert!(matches!(store.cache_write(write).await.unwrap(), WriteOutcome::Yes(_)));
}

/// Writes an entry of which earlier versions are kept, by a run and by a person.
async fn versions(store: &dyn Store, claim: &Claim) {
    for (n, by) in [(1, None), (2, Some(claim)), (3, Some(claim)), (4, None)] {
        let write = CacheWrite {
            key: CacheKey { tenant: Name::default_tenant(), key: "with\0versions".into() },
            value: vec![n; 10_000],
            expires_at: (n == 2).then(|| at(3_600)),
            claim: by.map(|claim| claim.key),
            only: WriteIf::Always,
            keep: (n == 1).then_some(2),
            quota: 1 << 30,
            budget: None,
            now: at(-10),
        };
        assert!(matches!(store.cache_write(write).await.unwrap(), WriteOutcome::Yes(_)));
    }
}

async fn entries(store: &dyn Store) {
    for n in 0..20 {
        write(store, &format!("front/{n}"), vec![n; 10_000], None, None).await;
    }
    write(store, "", Vec::new(), None, None).await;
    write(store, "with\0nul", b"\0".to_vec(), Some(at(3_600)), None).await;
    write(store, "expired", b"gone".to_vec(), Some(at(-5)), None).await;
}

fn add(key: &str, data: Option<Vec<u8>>) -> AddSchedule {
    AddSchedule {
        key: ScheduleKey { tenant: Name::default_tenant(), key: name(key) },
        target: Target::Task(name("by-schedule")),
        definition: r#"{"every":"1m"}"#.into(),
        data,
        cursor: at(0),
        replace: false,
        version: None,
        guest: None,
        now: NOW,
    }
}

async fn added_schedules(store: &dyn Store) {
    for n in 0..12 {
        store.add_schedule(add(&format!("key-{n}"), (n % 2 == 0).then(|| vec![n; 10]))).await.unwrap();
    }
    let typed = AddSchedule { target: Target::Type(name("mail-a")), ..add("typed", None) };
    store.add_schedule(typed).await.unwrap();
    let loaded = store.load_schedules(0, 3).await.unwrap();
    let due = loaded.iter().map(|schedule| DueSchedule {
        id: schedule.id,
        version: schedule.version,
        expect: schedule.progress.cursor,
        task: 0,
        due_at: Some(at(60)),
        delay: Duration::ZERO,
        left_out: 0,
        uncounted: false,
        cursor: at(60),
        times: None,
        last: schedule.id == loaded[0].id,
    });
    let labels = Labels::read(["team=web"]).unwrap();
    let (key, input) = (task("by-schedule"), b"the task's".to_vec());
    let tasks = vec![RunDefaults { key, input, start_within: None, labels }];
    store.fire_schedules(FireAdded { tasks, due: due.collect(), now: at(60) }).await.unwrap();
    store.delete_schedule(add("key-11", None).key, None, None, at(61)).await.unwrap();
}

async fn plugins(store: &dyn Store) {
    for (plugin, component) in [("kept", vec![5; (1 << 20) + 7]), ("taken-away", vec![6; 100])] {
        let key = PluginKey { tenant: Name::default_tenant(), plugin: name(plugin) };
        let publish = Publish {
            key: key.clone(),
            manifest: "[tasks.kept]\n".into(),
            digest: format!("digest of {plugin}"),
            component: Arc::new(component),
            host: "one".into(),
            now: NOW,
        };
        let version = store.publish(publish).await.unwrap();
        if plugin == "taken-away" {
            assert!(store.withdraw(key, version, at(1)).await.unwrap());
        }
    }
}

/// Returns everything that callers see of a store, one line each. NULs in texts are shown as their replacement.
pub(crate) async fn shows(store: &dyn Store) -> Vec<String> {
    let mut lines =
        vec![format!("{:?}", store.counts().await.unwrap()), format!("{:?}", store.pauses().await.unwrap())];
    for (task, state) in store.task_states().await.unwrap() {
        lines.push(format!("{task} {state:?} {:?}", store.latest_success(task.clone()).await.unwrap()));
        lines.push(format!("{:?}", store.watch(vec![task], at(100)).await.unwrap()));
    }
    let runs = store.runs(RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap();
    let tasks: BTreeSet<TaskKey> = runs.iter().map(|run| run.task.clone()).collect();
    lines.push(format!("{:?}", store.latest_runs(tasks.into_iter().collect()).await.unwrap()));
    for run in runs {
        lines.push(format!("{run:?}"));
        lines.push(format!("{:?}", store.input(run.id).await.unwrap()));
        lines.push(format!("{:?}", store.output(run.id).await.unwrap()));
        lines.push(format!("{:?}", store.attempts(run.id).await.unwrap()));
        lines.push(format!("{:?}", store.children(run.id, 10).await.unwrap()));
    }
    let prefix = CacheKey { tenant: Name::default_tenant(), key: String::new() };
    for entry in store.cache_list(prefix.clone(), None, 100, at(-8)).await.unwrap() {
        let key = CacheKey { key: entry.key.clone(), ..prefix.clone() };
        lines.push(format!("{entry:?} {:?}", store.cache_get(key.clone(), at(-8)).await.unwrap()));
        let history = store.cache_history(key.clone(), at(-8)).await.unwrap().unwrap();
        for version in history.versions {
            let value = store.cache_version(key.clone(), version.version, at(-8)).await.unwrap();
            lines.push(format!("{version:?} of {}: {value:?}", history.keep));
        }
    }
    lines.push(format!("{:?}", used(store).await));
    let filter =
        ScheduleFilter { tenant: Name::default_tenant(), task: None, by_tasks: false, after: None, limit: 100 };
    lines.extend(store.schedules(filter).await.unwrap().iter().map(|schedule| format!("{schedule:?}")));
    lines.extend(store.load_schedules(0, 100).await.unwrap().iter().map(|schedule| format!("{schedule:?}")));
    for plugin in store.published_since(0, 100).await.unwrap() {
        lines.push(format!("{plugin:?} {:?}", store.component(&plugin.digest, plugin.size).await.unwrap()));
    }
    lines.into_iter().map(|line| line.replace("\\u0000", "\u{fffd}").replace("\\0", "\u{fffd}")).collect()
}

/// Returns the bytes of the cache that are in use.
async fn used(store: &dyn Store) -> u64 {
    let key = CacheKey { tenant: Name::default_tenant(), key: "one more".into() };
    let write = CacheWrite {
        key,
        value: Vec::new(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        keep: None,
        quota: 0,
        budget: None,
        now: at(-8),
    };
    match store.cache_write(write).await {
        Err(StoreError::CacheFull { used, .. }) => used,
        other => panic!("{other:?}"),
    }
}

/// Checks that a store into which another was moved after it had [lived](live) works as if it had lived itself.
pub(crate) async fn goes_on(store: &dyn Store) {
    let known = store.runs(RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap();
    let greatest = known.iter().map(|run| run.id).max().unwrap();
    // A run that was under way is found lost, still has its request to end, and holds no lock.
    let expired = store.expired(at(10), 9).await.unwrap();
    assert_eq!(expired.len(), 1, "{expired:?}");
    assert!(expired[0].cancel_requested);
    assert_eq!(expired[0].task, task("runs"));
    assert!(store.locks(Name::default_tenant()).await.unwrap().is_empty());
    let buried = Finish {
        claim: expired[0].claim,
        transition: Transition::Wait { run_at: at(10), failed: true },
        report: report(Outcome::Lost, "lost"),
        supervision: Supervision::default(),
        expired_by: Some(at(10)),
        death: None,
    };
    store.finish(buried.into()).await.unwrap();
    assert_eq!(store.run(expired[0].claim.run).await.unwrap().unwrap().state, RunState::Cancelled);

    // The policies for lost runs have arrived, and a suspect is held back until it is released.
    assert_eq!(expired[0].policy, Some(LossPolicy { attempts: 4, pause_after: Some(2) }));
    let suspect = known.iter().find(|run| run.task == task("suspect")).unwrap();
    assert!(suspect.deaths == 1 && suspect.suspected_at.is_some(), "{suspect:?}");
    assert_eq!(store.release_run(suspect.id, at(10)).await.unwrap(), Released::Done);

    // A run of a backfill still waits for its turn.
    assert_eq!(store.take_turns(at(10)).await.unwrap(), Turns { started: 1, waiting: false });

    // An instant that was fired is not fired again, and new numbers continue from the old ones.
    let due = NewRun { dedup: Some("at:60000".into()), ..NewRun::of(task("fires"), at(60), Cause::Schedule) };
    let again = store.enqueue(vec![due, NewRun::of(task("new"), at(0), Cause::Demand)], NOW).await.unwrap();
    assert!(matches!(&again[0], EnqueueOutcome::Existing(run) if *run <= greatest), "{again:?}");
    assert!(matches!(&again[1], EnqueueOutcome::New(run) if *run > greatest), "{again:?}");
    store.resume(PauseTarget::All, at(10)).await.unwrap();
    let claimed = claim(store, &task("many")).await;
    assert!(claimed.key.fence > expired[0].claim.fence);
    assert_eq!((claimed.key.run, claimed.input), (RunId(2), Vec::new()));
    let before = store.published_since(0, 100).await.unwrap().into_iter().map(|plugin| plugin.version).max();
    let key = PluginKey { tenant: Name::default_tenant(), plugin: name("kept") };
    let publish = Publish {
        key,
        manifest: String::new(),
        digest: "another".into(),
        component: Arc::new(b"small".to_vec()),
        host: "two".into(),
        now: at(10),
    };
    assert!(Some(store.publish(publish).await.unwrap()) > before);
    let before = store.load_schedules(0, 100).await.unwrap().into_iter().map(|schedule| schedule.version).max();
    store.add_schedule(add("new", None)).await.unwrap();
    assert!(store.load_schedules(0, 100).await.unwrap().into_iter().map(|schedule| schedule.version).max() > before);
}
