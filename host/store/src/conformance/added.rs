//! Tests schedules that are added while hosts run.

use super::*;
use crate::added::{
    AddSchedule, Added, DueSchedule, FireAdded, FireScheduleOutcome, GuestSchedule, LoadedSchedule, RunDefaults,
    ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey,
};
use crate::{Retention, RunFilter};
use sexton_domain::labels::Labels;
use sexton_domain::run::RunState;
use sexton_domain::schedule::routes::Target;

const MINUTELY: &str = r#"{"every_ms":60000}"#;

fn key(text: &str) -> ScheduleKey {
    ScheduleKey { tenant: Name::default_tenant(), key: name(text) }
}

/// Creates a schedule `text` that makes runs of the task `a`, added in second 0.
fn adding(text: &str) -> AddSchedule {
    AddSchedule {
        key: key(text),
        target: Target::Task(name("a")),
        definition: MINUTELY.into(),
        data: Some(b"data".to_vec()),
        cursor: at(0),
        replace: false,
        version: None,
        guest: None,
        now: at(0),
    }
}

fn there(added: Added) -> ScheduleInfo {
    match added {
        Added::New(info) | Added::Existing(info) | Added::Replaced(info) => info,
    }
}

async fn add(store: &Tested, text: &str) -> ScheduleInfo {
    there(store.add_schedule(adding(text)).await.unwrap())
}

async fn loaded(store: &Tested) -> Vec<LoadedSchedule> {
    store.load_schedules(0, 1000).await.unwrap()
}

/// Creates the due instant of `loaded` at `seconds`.
fn due(loaded: &LoadedSchedule, seconds: i64) -> DueSchedule {
    DueSchedule {
        id: loaded.id,
        version: loaded.version,
        expect: loaded.progress.cursor,
        task: 0,
        due_at: Some(at(seconds)),
        delay: Duration::ZERO,
        left_out: 0,
        uncounted: false,
        cursor: at(seconds),
        times: None,
        last: false,
    }
}

async fn fire_at(store: &Tested, due: Vec<DueSchedule>, seconds: i64) -> Vec<FireScheduleOutcome> {
    let own = RunDefaults { key: task("a"), input: b"own".to_vec(), start_within: None, labels: Labels::default() };
    store.fire_schedules(FireAdded { tasks: vec![own], due, now: at(seconds) }).await.unwrap()
}

fn run_of(fired: &FireScheduleOutcome) -> RunId {
    match fired {
        FireScheduleOutcome::Done { run: Some(run), .. } => *run,
        other => panic!("{other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(answer: super::super::Result<T>) -> ScheduleError {
    match answer {
        Err(StoreError::Schedule(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn list(store: &Tested, task: Option<&str>, after: Option<&str>, limit: usize) -> Vec<String> {
    let filter = ScheduleFilter {
        tenant: Name::default_tenant(),
        task: task.map(name),
        by_tasks: false,
        after: after.map(name),
        limit,
    };
    store.schedules(filter).await.unwrap().into_iter().map(|info| info.key.key.to_string()).collect()
}

pub(crate) async fn an_added_schedule_is_read_as_it_was_written(store: Tested) {
    let info = add(&store, "k").await;

    assert_eq!(store.schedule(key("k")).await.unwrap(), Some(info.clone()));
    assert_eq!((info.target, info.definition), (Target::Task(name("a")), MINUTELY.to_owned()));
    assert_eq!((info.data_bytes, info.added_by), (Some(4), None));
    assert_eq!(store.schedule_data(key("k"), 9).await.unwrap(), Some(b"data".to_vec()));
    assert_eq!(store.schedule_data(key("k"), 2).await.unwrap(), Some(b"da".to_vec()), "no more than was asked for");
    assert_eq!(store.schedule_data(key("other"), 9).await.unwrap(), None);
    assert_eq!((info.created_at, info.cursor, info.fired, info.skipped), (at(0), at(0), 0, 0));
    assert_eq!(info.finished_at, None);
    assert_eq!(store.schedule(key("other")).await.unwrap(), None);
    assert_eq!(store.runs(RunFilter { limit: 9, ..RunFilter::default() }).await.unwrap().len(), 0);
    assert!(store.task_states().await.unwrap().is_empty());
}

pub(crate) async fn the_same_schedule_is_added_once_and_another_with_its_key_is_refused(store: Tested) {
    let first = add(&store, "k").await;

    let again = store.add_schedule(AddSchedule { now: at(5), cursor: at(5), ..adding("k") }).await.unwrap();
    let other_text = AddSchedule { definition: r#"{"every_ms":1000}"#.into(), ..adding("k") };
    let other_data = AddSchedule { data: None, ..adding("k") };
    let other_task = AddSchedule { target: Target::Task(name("b")), ..adding("k") };
    let elsewhere = ScheduleKey { tenant: name("other"), key: name("k") };
    let other_tenant = AddSchedule { key: elsewhere, ..adding("k") };

    assert_eq!(again, Added::Existing(first));
    for other in [other_text, other_data, other_task] {
        assert_eq!(refused(store.add_schedule(other).await), ScheduleError::AlreadyExists(name("k")));
    }
    assert!(matches!(store.add_schedule(other_tenant).await.unwrap(), Added::New(_)));
}

pub(crate) async fn a_replaced_schedule_starts_afresh(store: Tested) {
    let first = add(&store, "k").await;
    let before = loaded(&store).await.remove(0);
    fire_at(&store, vec![due(&before, 60)], 60).await;

    let other = AddSchedule { data: None, replace: true, cursor: at(90), now: at(90), ..adding("k") };
    let replaced = store.add_schedule(other).await.unwrap();

    let Added::Replaced(info) = replaced else { panic!("{replaced:?}") };
    assert!(info.version > first.version, "{info:?}");
    assert_eq!((info.created_at, info.cursor, info.fired, info.data_bytes), (at(90), at(90), 0, None));
    let now = loaded(&store).await;
    assert_eq!(now.len(), 1, "{now:?}");
    assert_eq!((now[0].id, now[0].version), (before.id, info.version));
}

pub(crate) async fn a_preempted_change_is_refused(store: Tested) {
    let info = add(&store, "k").await;
    let stale = Some(info.version + 1);

    let change = AddSchedule { data: None, replace: true, version: stale, ..adding("k") };
    let changed = refused(store.add_schedule(change.clone()).await);
    let deleted = refused(store.delete_schedule(key("k"), stale, None, at(1)).await);
    let absent = refused(store.add_schedule(AddSchedule { key: key("other"), ..change }).await);

    let preempted = ScheduleError::Preempted { key: name("k"), version: info.version };
    assert_eq!((changed, deleted), (preempted.clone(), preempted));
    assert_eq!(absent, ScheduleError::NotFound(name("other")));
    assert_eq!(store.schedule(key("k")).await.unwrap(), Some(info.clone()));
    store.delete_schedule(key("k"), Some(info.version), None, at(1)).await.unwrap();
}

pub(crate) async fn schedules_are_listed_by_key_in_pages(store: Tested) {
    for text in ["c", "a", "b"] {
        add(&store, text).await;
    }
    store.add_schedule(AddSchedule { target: Target::Task(name("z")), ..adding("d") }).await.unwrap();

    assert_eq!(list(&store, None, None, 9).await, ["a", "b", "c", "d"]);
    assert_eq!(list(&store, None, Some("a"), 2).await, ["b", "c"]);
    assert_eq!(list(&store, Some("z"), None, 9).await, ["d"]);
    assert_eq!(list(&store, Some("a"), Some("b"), 9).await, ["c"]);
}

pub(crate) async fn deleting_a_schedule_returns_its_last_state(store: Tested) {
    let info = add(&store, "k").await;
    let before = loaded(&store).await.remove(0);

    let was = store.delete_schedule(key("k"), None, None, at(1)).await.unwrap();

    assert_eq!(was, info);
    assert_eq!(store.schedule(key("k")).await.unwrap(), None);
    assert!(list(&store, None, None, 9).await.is_empty());
    assert_eq!(refused(store.delete_schedule(key("k"), None, None, at(2)).await), ScheduleError::NotFound(name("k")));
    assert_eq!(fire_at(&store, vec![due(&before, 60)], 60).await, [FireScheduleOutcome::Stale(None)]);
    let told = store.load_schedules(before.version, 9).await.unwrap();
    assert_eq!((told.len(), told[0].id, told[0].deleted), (1, before.id, true));
    assert!(matches!(store.add_schedule(adding("k")).await.unwrap(), Added::New(_)));
}

pub(crate) async fn many_schedules_are_fired_in_one_call(store: Tested) {
    for text in ["a", "b", "c"] {
        add(&store, text).await;
    }
    store.add_schedule(AddSchedule { data: None, ..adding("d") }).await.unwrap();
    let all = loaded(&store).await;
    let delayed = DueSchedule { delay: Duration::from_secs(5), left_out: 2, ..due(&all[0], 60) };

    let long = DueSchedule { left_out: 10_000, uncounted: true, ..due(&all[1], 60) };

    let fired = fire_at(&store, vec![delayed, long, due(&all[3], 60)], 61).await;

    let run = store.run(run_of(&fired[0])).await.unwrap().unwrap();
    assert_eq!((run.task, run.state, run.cause), (task("a"), RunState::Waiting, Cause::Schedule));
    assert_eq!((run.due_at, run.run_at, run.created_at), (at(60), at(65), at(61)));
    assert_eq!(run.note.as_deref(), Some("added schedule `a`; 2 instant(s) before it left out"));
    let long = store.run(run_of(&fired[1])).await.unwrap().unwrap();
    assert_eq!(long.note.as_deref(), Some("added schedule `b`; more than 10000 instant(s) before it left out"));
    assert_eq!(store.input(run.id).await.unwrap().unwrap(), b"data");
    assert_eq!(store.input(run_of(&fired[2])).await.unwrap().unwrap(), b"own");
    let info = store.schedule(key("b")).await.unwrap().unwrap();
    assert_eq!((info.cursor, info.fired, info.skipped), (at(60), 1, 0));
    assert_eq!(store.schedule(key("c")).await.unwrap().unwrap().fired, 0);
    assert_eq!(claim(&store, &[("a", 9)], 9, 100).await.claims.len(), 3);
}

pub(crate) async fn the_second_of_two_hosts_that_fire_an_instant_finds_it_handled(store: Tested) {
    add(&store, "k").await;
    let known = loaded(&store).await.remove(0);

    let first = fire_at(&store, vec![due(&known, 60)], 60).await;
    let second = fire_at(&store, vec![due(&known, 60)], 60).await;

    assert!(matches!(first[..], [FireScheduleOutcome::Done { run: Some(_), fired: 1, finished: false }]), "{first:?}");
    let progress = crate::added::ScheduleProgress { cursor: at(60), fired: 1 };
    assert_eq!(second, [FireScheduleOutcome::Stale(Some((known.version, progress)))]);
    assert_eq!(store.runs(RunFilter { limit: 9, ..RunFilter::default() }).await.unwrap().len(), 1);
}

pub(crate) async fn a_key_has_one_run_at_a_time_even_when_it_was_added_again(store: Tested) {
    add(&store, "k").await;
    add(&store, "other").await;
    let known = loaded(&store).await;
    let first = run_of(&fire_at(&store, vec![due(&known[0], 60)], 60).await[0]);

    let meanwhile =
        fire_at(&store, vec![DueSchedule { expect: at(60), ..due(&known[0], 120) }, due(&known[1], 120)], 120);
    let meanwhile = meanwhile.await;
    store.delete_schedule(key("k"), None, None, at(130)).await.unwrap();
    add(&store, "k").await;
    let anew = loaded(&store).await.into_iter().find(|loaded| loaded.version > known[1].version).unwrap();
    let skipped = fire_at(&store, vec![due(&anew, 180)], 180).await;

    assert_eq!(meanwhile[0], FireScheduleOutcome::Done { run: None, fired: 1, finished: false });
    run_of(&meanwhile[1]);
    assert_eq!(skipped, [FireScheduleOutcome::Done { run: None, fired: 0, finished: false }]);
    assert_eq!(store.schedule(key("k")).await.unwrap().unwrap().skipped, 1);
    let claims = claim(&store, &[("a", 9)], 9, 200).await.claims;
    let claim = claims.iter().find(|claim| claim.key.run == first).unwrap();
    store.finish(success(claim.key).into()).await.unwrap();
    let after = fire_at(&store, vec![DueSchedule { expect: at(180), ..due(&anew, 240) }], 240).await;
    run_of(&after[0]);
}

pub(crate) async fn a_schedule_ends_with_its_last_instant_or_its_last_run(store: Tested) {
    add(&store, "once").await;
    add(&store, "twice").await;
    let known = loaded(&store).await;
    let once = DueSchedule { last: true, ..due(&known[0], 60) };
    let twice = DueSchedule { times: Some(2), ..due(&known[1], 60) };

    let fired = fire_at(&store, vec![once, twice], 60).await;
    for claim in claim(&store, &[("a", 9)], 9, 61).await.claims {
        store.finish(success(claim.key).into()).await.unwrap();
    }
    let again =
        fire_at(&store, vec![DueSchedule { expect: at(60), ..once }, DueSchedule { expect: at(60), ..twice }], 120);
    let again = again.await;

    assert!(matches!(fired[0], FireScheduleOutcome::Done { finished: true, .. }), "{fired:?}");
    assert!(matches!(fired[1], FireScheduleOutcome::Done { finished: false, fired: 1, .. }), "{fired:?}");
    assert_eq!(again[0], FireScheduleOutcome::Stale(None));
    assert_eq!(store.schedule(key("once")).await.unwrap().unwrap().finished_at, Some(at(60)));
    assert!(loaded(&store).await.iter().all(|loaded| loaded.id != known[0].id));
    let over = ScheduleError::AlreadyFinished { key: name("once"), at: at(60) };
    assert_eq!(refused(store.add_schedule(adding("once")).await), over);
    let anew = store.add_schedule(AddSchedule { replace: true, ..adding("once") }).await.unwrap();
    assert!(matches!(anew, Added::Replaced(ScheduleInfo { finished_at: None, fired: 0, .. })), "{anew:?}");
}

pub(crate) async fn schedules_of_a_paused_task_only_move_their_cursors(store: Tested) {
    add(&store, "k").await;
    let known = loaded(&store).await.remove(0);
    store.set_paused(task("a"), true, at(0)).await.unwrap();

    let fired = fire_at(&store, vec![due(&known, 60)], 60).await;

    assert_eq!(fired, [FireScheduleOutcome::Done { run: None, fired: 0, finished: false }]);
    let info = store.schedule(key("k")).await.unwrap().unwrap();
    assert_eq!((info.cursor, info.fired, info.skipped), (at(60), 0, 0));
}

pub(crate) async fn changed_schedules_are_loaded_in_pages_by_version(store: Tested) {
    for text in ["a", "b", "c"] {
        add(&store, text).await;
    }

    let first = store.load_schedules(0, 2).await.unwrap();
    let rest = store.load_schedules(first[1].version, 2).await.unwrap();
    let hint = store.schedules_hint();
    let told = hint.notified();
    add(&store, "d").await;
    tokio::time::timeout(LEASE, told).await.expect("a new schedule is told of");
    let new = store.load_schedules(rest[0].version, 2).await.unwrap();

    assert_eq!((first.len(), rest.len(), new.len()), (2, 1, 1));
    assert_eq!((&rest[0].target, &rest[0].tenant), (&Target::Task(name("a")), &Name::default_tenant()));
    assert_eq!((rest[0].definition.as_str(), rest[0].progress.fired), (MINUTELY, 0));
    assert!(rest[0].version < new[0].version);
}

pub(crate) async fn pruning_deletes_schedules_that_ended_long_ago(store: Tested) {
    for text in ["finished", "deleted", "stays"] {
        add(&store, text).await;
    }
    let known = loaded(&store).await;
    fire_at(&store, vec![DueSchedule { last: true, ..due(&known[0], 60) }], 60).await;
    store.delete_schedule(key("deleted"), None, None, at(60)).await.unwrap();
    let retention = Retention { runs: 9, age: Duration::from_secs(1_000_000), bytes: 1 << 20 };

    store.prune(retention.clone(), at(10_000)).await.unwrap();
    let earlier = list(&store, None, None, 9).await;
    let told = store.load_schedules(known[2].version, 9).await.unwrap();
    store.prune(retention, at(2_000_000)).await.unwrap();

    assert_eq!(earlier, ["finished", "stays"]);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(list(&store, None, None, 9).await, ["stays"]);
}

pub(crate) async fn a_schedule_that_finished_or_does_not_exist_is_not_reset(store: Tested) {
    add(&store, "over").await;
    let before = loaded(&store).await.remove(0);
    fire_at(&store, vec![DueSchedule { last: true, ..due(&before, 60) }], 60).await;
    add(&store, "gone").await;
    store.delete_schedule(key("gone"), None, None, at(61)).await.unwrap();

    let over = refused(store.reset_schedule(key("over"), at(10)).await);
    let gone = refused(store.reset_schedule(key("gone"), at(10)).await);

    assert_eq!(over, ScheduleError::AlreadyFinished { key: name("over"), at: at(60) });
    assert_eq!(gone, ScheduleError::NotFound(name("gone")));
}

/// Creates what the run with `claim` of the task `by` may add: `most` schedules with ten bytes of data together.
fn guest(by: &str, claim: ClaimKey, most: u64) -> Option<GuestSchedule> {
    Some(GuestSchedule { task: name(by), claim, most, bytes: 10, run_created_at: None })
}

pub(crate) async fn a_schedule_with_a_type_is_none_of_the_task_with_that_name(store: Tested) {
    let typed = AddSchedule { target: Target::Type(name("a")), ..adding("typed") };
    let info = there(store.add_schedule(typed.clone()).await.unwrap());
    add(&store, "named").await;

    assert_eq!(info.target, Target::Type(name("a")));
    assert_eq!(list(&store, Some("a"), None, 9).await, ["named"]);
    assert_eq!(list(&store, None, None, 9).await, ["named", "typed"]);
    let found = loaded(&store).await.into_iter().map(|schedule| (schedule.tenant, schedule.target));
    let of = |target| (Name::default_tenant(), target);
    assert_eq!(found.collect::<Vec<_>>(), [of(Target::Type(name("a"))), of(Target::Task(name("a")))]);
    let by_name = AddSchedule { target: Target::Task(name("a")), ..typed.clone() };
    assert_eq!(refused(store.add_schedule(by_name).await), ScheduleError::AlreadyExists(name("typed")));
    assert!(matches!(store.add_schedule(typed).await.unwrap(), Added::Existing(_)));
}

pub(crate) async fn resuming_a_task_leaves_schedules_with_its_name_as_their_type(store: Tested) {
    let ahead = AddSchedule { target: Target::Type(name("a")), cursor: at(3600), ..adding("typed") };
    store.add_schedule(ahead).await.unwrap();

    store.set_paused(task("a"), false, at(10)).await.unwrap();

    assert_eq!(store.schedule(key("typed")).await.unwrap().unwrap().cursor, at(3600));
}

pub(crate) async fn tasks_add_and_delete_schedules_only_with_a_claim_that_holds(store: Tested) {
    let claim = running(&store, "caller").await.key;
    let add = AddSchedule { guest: guest("caller", claim, 9), ..adding("k") };
    let info = there(store.add_schedule(add.clone()).await.unwrap());
    store.finish(retry(claim, 0).into()).await.unwrap();

    assert_eq!(info.added_by, Some(name("caller")));
    let late = AddSchedule { key: key("late"), ..add };
    assert_lost(store.add_schedule(late).await, claim);
    assert_lost(store.delete_schedule(key("k"), None, Some(claim), at(1)).await, claim);

    assert_eq!(list(&store, None, None, 9).await, ["k"]);
}

pub(crate) async fn tasks_add_no_more_schedules_than_they_may(store: Tested) {
    let claim = running(&store, "caller").await.key;
    let of = |text: &str, data: &[u8]| AddSchedule {
        guest: guest("caller", claim, 2),
        data: Some(data.to_vec()),
        replace: true,
        ..adding(text)
    };
    add(&store, "of-a-person").await;
    store.add_schedule(of("one", b"12345")).await.unwrap();
    store.add_schedule(of("two", b"12345")).await.unwrap();

    let full = |schedules, bytes| ScheduleError::Full { schedules, bytes, most: 2, most_bytes: 10 };
    assert_eq!(refused(store.add_schedule(of("three", b"")).await), full(2, 10));
    let version = store.schedule(key("two")).await.unwrap().map(|info| info.version);
    let again = |data| AddSchedule { version, ..of("two", data) };
    assert_eq!(refused(store.add_schedule(again(b"123456")).await), full(1, 5));
    assert!(matches!(store.add_schedule(again(b"1234")).await.unwrap(), Added::Replaced(_)));
    let elsewhere = ScheduleKey { tenant: name("other"), key: name("three") };
    store.add_schedule(AddSchedule { key: elsewhere, ..of("three", b"12345") }).await.unwrap();
    store.delete_schedule(key("one"), None, Some(claim), at(1)).await.unwrap();
    store.add_schedule(of("three", b"123456")).await.unwrap();

    let filter = ScheduleFilter { tenant: Name::default_tenant(), task: None, by_tasks: true, after: None, limit: 9 };
    let added: Vec<_> = store.schedules(filter).await.unwrap().into_iter().map(|info| info.key.key).collect();
    assert_eq!(added, [name("three"), name("two")]);
}

pub(crate) async fn tasks_that_add_and_delete_fill_the_store_no_further_than_they_may(store: Tested) {
    let claim = running(&store, "caller").await.key;
    let of = |text: &str| AddSchedule { guest: guest("caller", claim, 2), data: None, ..adding(text) };
    for n in 0..10 {
        store.add_schedule(of(&format!("k-{n}"))).await.unwrap();
        store.delete_schedule(key(&format!("k-{n}")), None, Some(claim), at(1)).await.unwrap();
    }

    assert_eq!(refused(store.add_schedule(of("more")).await), ScheduleError::DeletedTooMany { deleted: 10 });
    store.add_schedule(of("k-3")).await.unwrap();
    store.delete_schedule(key("k-3"), None, Some(claim), at(2)).await.unwrap();
    add(&store, "of-a-person").await;
    let retention = Retention { runs: 9, age: Duration::from_secs(1_000_000), bytes: 1 << 20 };
    store.prune(retention, at(10_000)).await.unwrap();
    store.add_schedule(of("more")).await.unwrap();
}

pub(crate) async fn a_task_does_not_replace_the_schedule_of_a_person(store: Tested) {
    let claim = running(&store, "caller").await.key;
    let persons = add(&store, "k").await;
    let same = AddSchedule { guest: guest("caller", claim, 9), ..adding("k") };
    let other = AddSchedule { data: None, replace: true, ..same.clone() };

    assert_eq!(refused(store.add_schedule(other).await), ScheduleError::AlreadyExists(name("k")));
    let unseen = AddSchedule { key: key("unseen"), guest: guest("other", claim, 9), ..adding("unseen") };
    let version = there(store.add_schedule(unseen.clone()).await.unwrap()).version;
    let raced = AddSchedule { data: None, replace: true, guest: guest("caller", claim, 9), ..unseen };
    let preempted = ScheduleError::Preempted { key: name("unseen"), version };
    assert_eq!(refused(store.add_schedule(raced).await), preempted, "its grant was not checked for that one");
    assert_eq!(store.add_schedule(same).await.unwrap(), Added::Existing(persons.clone()));

    let replaced = store.add_schedule(AddSchedule { data: None, replace: true, ..adding("k") }).await.unwrap();
    assert_eq!(there(replaced).added_by, None);
}
