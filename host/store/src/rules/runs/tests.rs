use super::*;
use crate::testkit;
use sexton_domain::schedule::Timing;
use sexton_domain::task::Overlap;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn earlier(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

/// Returns a task whose runs have the input `own` unless a request says otherwise.
fn task() -> Task {
    Task { input: b"own".to_vec(), ..testkit::task("a") }
}

/// Returns such a task with this overlap policy.
fn with(overlap: Overlap) -> Task {
    Task { overlap, ..task() }
}

fn request(input: &[u8], due_at: Timestamp) -> Request {
    let (caller, labels) = (Name::new("caller").unwrap(), team("web"));
    Request { task: task().key, due_at, input: input.to_vec(), key: None, caller, parent: RunId(7), labels }
}

fn team(team: &str) -> Labels {
    Labels::read([format!("team={team}")]).unwrap()
}

#[test]
fn a_demanded_run_defaults_to_the_tasks_input_and_a_requested_run_does_not() {
    let demanded = |input: Option<&[u8]>| {
        let demand = Demand { input: input.map(<[u8]>::to_vec), ..Demand::default() };
        NewRun::demanded(&task(), demand, NOW).input
    };
    assert_eq!(demanded(None), b"own");
    assert_eq!(demanded(Some(b"")), b"");
    assert_eq!(demanded(Some(b"said")), b"said");
    assert_eq!(NewRun::requested(request(b"", NOW), NOW).input, b"");
}

#[test]
fn a_demanded_run_replaces_others_only_if_due_now_and_within_limits_and_is_never_skipped() {
    let replace = with(Overlap::Replace);
    let admit = |due_at, past_limits: Option<&str>| {
        let demand = Demand { due_at, past_limits: past_limits.map(str::to_owned), ..Demand::default() };
        NewRun::demanded(&replace, demand, NOW).admit
    };
    assert_eq!(admit(None, None), Admit::Replacing);
    assert_eq!(admit(Some(earlier(1)), None), Admit::Replacing);
    assert_eq!(admit(Some(later(1)), None), Admit::Always, "a run that is due later ends nothing now");
    assert_eq!(admit(None, Some("past its limits")), Admit::Always, "a run past limits is beside the others");
    let skip = with(Overlap::Skip);
    assert_eq!(NewRun::demanded(&skip, Demand::default(), NOW).admit, Admit::Always, "somebody waits for it");
}

fn repeat(due_at: Timestamp, past_limits: Option<&str>) -> NewRun {
    let (key, past_limits) = (Some("again".to_owned()), past_limits.map(str::to_owned));
    let repeat = Repeat { run: RunId(7), due_at, input: b"said".to_vec(), key, past_limits, labels: team("mail") };
    NewRun::repeating(&with(Overlap::Replace), repeat, NOW)
}

#[test]
fn a_rerun_is_the_same_piece_of_work_at_once_marked_with_the_run_that_it_repeats() {
    let rerun = repeat(earlier(9), None);
    assert_eq!((rerun.due_at, rerun.run_at, rerun.input.as_slice()), (earlier(9), NOW, &b"said"[..]));
    assert_eq!((rerun.parent, rerun.note.as_deref()), (Some(RunId(7)), Some("rerun of run 7")));
    assert_eq!((rerun.dedup.as_deref(), rerun.admit), (Some("key:again"), Admit::Replacing));
    assert_eq!(child_kind(rerun.cause, false), ChildKind::Rerun);
    let forced = repeat(earlier(9), Some("past its limits: it is paused"));
    assert_eq!((forced.forced, forced.admit), (true, Admit::Always));
    assert_eq!(forced.note.as_deref(), Some("rerun of run 7, past its limits: it is paused"));
    assert_eq!(repeat(later(9), None).due_at, NOW, "a run that was killed before its instant is repeated now");
}

#[test]
fn a_run_of_a_backfill_has_the_key_of_the_schedules_own_run_and_waits_for_its_turn() {
    let timing = Timing { start_within: Some(Duration::from_secs(30)), ..Timing::default() };
    let task = Task { timing, ..task() };
    let run = NewRun::backfilled(&task, earlier(9), 3);
    assert_eq!(run.dedup, NewRun::scheduled(&task, earlier(9)).dedup);
    assert_eq!((run.due_at, run.run_at, run.at_once), (earlier(9), TURN, Some(3)));
    assert_eq!((run.admit, run.start_by, run.cause), (Admit::Always, None, Cause::Schedule));
    assert_eq!(run.input, b"own");
}

#[test]
fn runs_that_tasks_ask_for_continue_another_or_are_its_work() {
    assert_eq!(child_kind(Cause::Task, true), ChildKind::Continuation);
    assert_eq!(child_kind(Cause::Task, false), ChildKind::Enqueued);
}

#[test]
fn a_key_of_a_guest_is_no_key_of_another_task_nor_of_another_kind() {
    let dedup = |key: RequestKey, caller: &str, parent| {
        let caller = Name::new(caller).unwrap();
        NewRun::requested(Request { key: Some(key), caller, parent: RunId(parent), ..request(b"", NOW) }, NOW).dedup
    };
    let chosen = || RequestKey::Chosen("1".to_owned());

    let keys = [
        dedup(chosen(), "one", 7),
        dedup(chosen(), "two", 7),
        dedup(RequestKey::Continuation(1), "one", 7),
        dedup(RequestKey::Continuation(2), "one", 7),
        dedup(RequestKey::Continuation(1), "one", 8),
        NewRun::demanded(&task(), Demand { key: Some("1".to_owned()), ..Demand::default() }, NOW).dedup,
        None,
    ];
    for (n, key) in keys.iter().enumerate() {
        assert!(keys.iter().skip(n + 1).all(|other| other != key), "{key:?}");
    }
    assert_eq!(dedup(chosen(), "one", 8), keys[0], "each run of a task has the keys of all");
}

#[test]
fn only_runs_of_schedules_have_a_latest_start() {
    let timing = Timing { start_within: Some(Duration::from_secs(30)), ..Timing::default() };
    let task = Task { timing, ..task() };
    let starts = |run: NewRun| run.start_by;
    assert_eq!(starts(NewRun::demanded(&task, Demand::default(), NOW)), None);
    assert_eq!(starts(NewRun::requested(request(b"", NOW), NOW)), None);
    assert_eq!(starts(NewRun::scheduled(&task, earlier(60))), Some(earlier(30)));
    assert_eq!(starts(NewRun::on_start(&task, NOW)), Some(later(30)));
    assert_eq!(starts(NewRun::catch_up(&task, earlier(60), String::new(), NOW)), Some(later(30)), "counted from now");
    assert_eq!(starts(NewRun::following(&task, earlier(5), "k".to_owned(), NOW)), Some(later(30)), "counted from now");
}

#[test]
fn scheduled_runs_follow_the_overlap_policy() {
    let admit = |policy| NewRun::scheduled(&with(policy), NOW).admit;
    assert_eq!(admit(Overlap::Skip), Admit::Below(1));
    assert_eq!(admit(Overlap::QueueOne), Admit::Below(2));
    assert_eq!(admit(Overlap::Allow(3)), Admit::Below(3));
    assert_eq!(admit(Overlap::Replace), Admit::Replacing);
    let made_up = |policy| NewRun::catch_up(&with(policy), earlier(60), String::new(), NOW).admit;
    assert_eq!(made_up(Overlap::Skip), Admit::Always, "catching up asked for it");
    assert_eq!(made_up(Overlap::Replace), Admit::Replacing);
}

#[test]
fn a_callers_key_never_equals_that_of_a_scheduled_run() {
    let key = |key: &str| {
        let demand = Demand { key: Some(key.to_owned()), ..Demand::default() };
        NewRun::demanded(&task(), demand, NOW).dedup
    };
    let scheduled = NewRun::scheduled(&task(), NOW).dedup;
    assert_eq!(scheduled.as_deref(), Some("at:1000000"));
    assert_ne!(key("at:1000000"), scheduled);
}

#[test]
fn a_request_that_was_due_long_ago_does_not_overtake_others() {
    let run = NewRun::requested(request(b"", earlier(3600)), NOW);
    assert_eq!((run.due_at, run.run_at), (earlier(3600), NOW));
    let run = NewRun::requested(request(b"", later(3600)), NOW);
    assert_eq!((run.due_at, run.run_at), (later(3600), later(3600)));
}

#[test]
fn a_run_of_an_added_schedule_has_its_data_or_the_input_of_the_task() {
    let fired = RunDefaults {
        key: task().key,
        input: b"own".to_vec(),
        start_within: Some(Duration::from_secs(30)),
        labels: team("web"),
    };
    let due = DueSchedule {
        id: 1,
        version: 1,
        expect: NOW,
        task: 0,
        due_at: Some(NOW),
        delay: Duration::from_secs(5),
        left_out: 2,
        uncounted: false,
        cursor: NOW,
        times: None,
        last: false,
    };
    let key = Name::new("nightly").unwrap();
    let run = NewRun::added(&fired, &due, earlier(60), &key, None, NOW);
    assert_eq!((run.input.as_slice(), run.run_at), (b"own".as_slice(), earlier(55)));
    assert_eq!(run.start_by, Some(later(30)), "counted from now, as it is late already");
    assert_eq!(run.schedule, Some(key.clone()));
    assert_eq!(run.note.as_deref(), Some("added schedule `nightly`; 2 instant(s) before it left out"));
    assert_eq!(NewRun::added(&fired, &due, NOW, &key, Some(b"data".to_vec()), NOW).input, b"data");
    assert_eq!(run.labels, team("web"));
}

#[test]
fn a_run_has_the_labels_of_its_task_or_of_the_request_that_named_them() {
    let task = Task { labels: team("web"), ..task() };

    assert_eq!(NewRun::scheduled(&task, NOW).labels, team("web"));
    assert_eq!(NewRun::on_start(&task, NOW).labels, team("web"));
    assert_eq!(NewRun::catch_up(&task, NOW, String::new(), NOW).labels, team("web"));
    assert_eq!(NewRun::following(&task, NOW, "k".to_owned(), NOW).labels, team("web"));
    assert_eq!(NewRun::backfilled(&task, NOW, 1).labels, team("web"));
    assert_eq!(NewRun::requested(request(b"", NOW), NOW).labels, team("web"));
    let demand = Demand { labels: team("mail"), ..Demand::default() };
    assert_eq!(NewRun::demanded(&task, demand, NOW).labels, team("mail"), "`ops` joins the task's and the caller's");
    assert_eq!(repeat(NOW, None).labels, team("mail"), "those of the repeated run");
}

#[test]
fn the_chain_of_a_run_is_found_by_its_key() {
    let (chain, other) = (Name::new("nightly").unwrap(), Name::new("night").unwrap());

    let key = chain_key(&chain, 7, NOW);

    assert_eq!((key.as_str(), chain_of(&key)), ("chain:nightly:7@1000000", Some(chain.clone())));
    assert!(key.starts_with(&chain_prefix(&chain)) && !key.starts_with(&chain_prefix(&other)));
    assert_eq!(["key:chain:a:1", "chain:", "chain:nightly", "at:5"].map(chain_of), [None, None, None, None]);
}
