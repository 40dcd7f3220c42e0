use super::*;
use sexton_domain::labels::Labels;
use sexton_domain::run::Cause;
use sexton_domain::task::TaskKey;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Returns the filter of a tenant's list.
fn filter() -> Filter {
    Filter { tenant: Some(name("default")), ..Filter::default() }
}

fn some(path: Path, keys: &[i64]) -> Walk {
    Walk { path, keys: keys.to_vec() }
}

/// Returns the walks of a filter that names neither tasks nor labels.
fn plain(filter: &Filter) -> Vec<Walk> {
    walks(filter, &Facts::default())
}

#[test]
fn a_tenants_list_is_read_by_cause_and_that_of_all_tenants_by_number() {
    assert_eq!(plain(&filter()), [some(Path::Tenant, &[0, 1, 2, 3])]);
    let demanded = Filter { causes: vec![Cause::Demand], ..filter() };
    assert_eq!(plain(&demanded), [some(Path::Tenant, &[2])]);
    assert_eq!(plain(&Filter { states: vec![RunState::Failed], ..Filter::default() }), [some(Path::All, &[0])]);
}

#[test]
fn runs_that_did_not_just_succeed_have_an_index_of_their_own() {
    let failed = Filter { states: vec![RunState::Failed], ..filter() };
    assert_eq!(plain(&failed), [some(Path::Remarkable, &(0..13).collect::<Vec<_>>())]);
    let cancelled = Filter { states: vec![RunState::Cancelled], ..filter() };
    assert_eq!(plain(&cancelled), [some(Path::Remarkable, &(-1..13).collect::<Vec<_>>())]);
    let trapped = Filter { outcomes: vec![Outcome::Trapped, Outcome::TimedOut], ..filter() };
    assert_eq!(plain(&trapped), [some(Path::Remarkable, &[5, 7])]);
    let skipped = Filter { states: vec![RunState::Succeeded], outcomes: vec![Outcome::Skipped], ..filter() };
    assert_eq!(plain(&skipped), [some(Path::Remarkable, &[11])]);
    let succeeded = Filter { states: vec![RunState::Succeeded], ..filter() };
    assert_eq!(plain(&succeeded), [some(Path::Tenant, &[0, 1, 2, 3])], "nearly all runs succeed");
}

#[test]
fn long_runs_are_found_by_the_steps_that_they_took() {
    let longer = |length| Filter { longer_than: Some(Duration::from_millis(length)), ..filter() };
    let running = some(Path::Running, &[0]);

    let outcomes: Vec<i64> = (0..13).collect();
    let keys = |steps: &[i64]| [&outcomes, steps].concat();
    assert_eq!(plain(&longer(1000)), [some(Path::Remarkable, &keys(&[101, 102, 103, 104, 105])), running.clone()]);
    assert_eq!(plain(&longer(59_999)), [some(Path::Remarkable, &keys(&[102, 103, 104, 105])), running.clone()]);
    assert_eq!(plain(&longer(36_000_000)), [some(Path::Remarkable, &keys(&[105])), running]);
    assert_eq!(plain(&longer(999)), [some(Path::Tenant, &[0, 1, 2, 3])], "shorter runs have no index");
    let failed = Filter { states: vec![RunState::Failed], ..longer(2000) };
    assert_eq!(plain(&failed), [some(Path::Remarkable, &outcomes)]);
    let succeeded = Filter { states: vec![RunState::Succeeded], ..longer(3_600_000) };
    assert_eq!(plain(&succeeded), [some(Path::Remarkable, &[&outcomes[1..], &[105]].concat())]);
}

#[test]
fn runs_that_are_not_over_are_found_by_their_state() {
    let of = |states: &[RunState]| plain(&Filter { states: states.to_vec(), ..filter() });

    assert_eq!(of(&[RunState::Running]), [some(Path::Running, &[0])]);
    assert_eq!(of(&[RunState::Waiting]), [some(Path::Waiting, &[])]);
    assert_eq!(of(&[RunState::Waiting, RunState::Running]).len(), 2);
    let paths: Vec<Path> = of(&[RunState::Failed, RunState::Waiting]).into_iter().map(|walk| walk.path).collect();
    assert_eq!(paths, [Path::Remarkable, Path::Waiting]);
}

#[test]
fn the_narrowest_part_of_a_filter_decides() {
    let tasks = |few: &[i64]| Facts { tasks: Named::Few(few.to_vec()), ..Facts::default() };
    let task = Filter { task: Some(TaskPattern::from(name("a"))), ..filter() };
    let key = Filter { key: Some(name("nightly")), ..task.clone() };
    let failed = Filter { states: vec![RunState::Failed], ..task.clone() };
    let sets = Facts { sets: Named::Few(vec![3, 4]), ..tasks(&[7]) };

    assert_eq!(walks(&task, &tasks(&[7, 8])), [some(Path::Tasks, &[7, 8])]);
    assert_eq!(walks(&key, &tasks(&[7])), [some(Path::Key, &[0])]);
    assert_eq!(walks(&task, &sets), [some(Path::Labels, &[3, 4])]);
    assert_eq!(walks(&failed, &Facts { runs_of_tasks: 1000, ..tasks(&[7]) }), [some(Path::Tasks, &[7])]);
    let many = Facts { runs_of_tasks: 100_000, ..tasks(&[7]) };
    assert_eq!(walks(&failed, &many)[0].path, Path::Remarkable, "the task has many more runs");
    assert_eq!(walks(&task, &Facts { tasks: Named::Many, ..Facts::default() })[0].path, Path::Tenant);
    let waiting = Filter { states: vec![RunState::Waiting], ..task };
    assert_eq!(walks(&waiting, &tasks(&[7])), [some(Path::Waiting, &[7])]);
}

#[test]
fn a_filter_that_no_run_fits_has_no_walks() {
    let none = Facts { tasks: Named::Few(Vec::new()), ..Facts::default() };
    assert_eq!(walks(&filter(), &none), []);
    assert_eq!(walks(&filter(), &Facts { sets: Named::Few(Vec::new()), ..Facts::default() }), []);
    let waits_long = Filter { states: vec![RunState::Waiting], longer_than: Some(Duration::from_secs(1)), ..filter() };
    assert_eq!(plain(&waits_long), []);
    let waits_trapped = Filter { states: vec![RunState::Waiting], outcomes: vec![Outcome::Trapped], ..filter() };
    assert_eq!(plain(&waits_trapped), []);
}

#[test]
fn sets_have_all_labels_of_a_filter() {
    let many: Vec<i64> = (0..SETS as i64).collect();

    assert_eq!(sets(&[]), (Named::Any, false));
    assert_eq!(sets(&[vec![1, 2, 3], vec![2, 3, 4]]), (Named::Few(vec![2, 3]), false));
    assert_eq!(sets(&[vec![1], vec![2]]), (Named::Few(Vec::new()), false));
    assert_eq!(sets(&[vec![1, 2], many.clone()]), (Named::Few(vec![1, 2]), true), "the second must be looked at");
    assert_eq!(sets(std::slice::from_ref(&many)), (Named::Many, true));
    assert_eq!(sets(&[many[..FEW + 1].to_vec()]), (Named::Many, true));
}

#[test]
fn values_have_a_bit_for_each_word() {
    let now = Timestamp::from_millis(5);

    let any = Values::of(&filter(), now);
    let values = Values::of(
        &Filter {
            states: vec![RunState::Failed, RunState::Waiting],
            causes: vec![Cause::Task],
            longer_than: Some(Duration::from_secs(1)),
            begun: true,
            ..filter()
        },
        now,
    );

    assert_eq!((any.states, any.causes, any.outcomes, any.attempts), (0b11111, -1, -1, 0));
    assert_eq!((any.since, any.until, any.now, any.longer_than), (i64::MIN, i64::MAX, 5, None));
    assert_eq!((values.states, values.causes, values.attempts), (0b01000, 0b1000, 1), "a run that waits takes no time");
    let outcomes = vec![Outcome::Succeeded, Outcome::Trapped];
    assert_eq!(Values::of(&Filter { outcomes, ..filter() }, now).outcomes, 1 << 1 | 1 << 8);
}

fn run_info(id: RunId) -> RunInfo {
    let at = Timestamp::from_millis(0);
    RunInfo {
        id,
        task: TaskKey { tenant: name("default"), task: name("a") },
        state: RunState::Waiting,
        due_at: at,
        run_at: at,
        created_at: at,
        claimed_at: None,
        ended_at: None,
        cause: Cause::Demand,
        attempt: 0,
        failures: 0,
        parent: None,
        host: None,
        outcome: None,
        message: None,
        forced: false,
        note: None,
        why: None,
        deaths: 0,
        suspected_at: None,
        at_once: None,
        key: None,
        chain: None,
        labels: Labels::default(),
    }
}

#[test]
fn a_page_ends_where_runs_were_not_looked_at() {
    let run = |id| run_info(RunId(id));
    let ids = |page: &RunPage| page.runs.iter().map(|run| run.id.0).collect::<Vec<_>>();
    let found = || vec![run(3), run(9), run(5), run(9)];
    let made_at = Timestamp::from_millis(7);

    let full = page(found(), None, 2);
    assert_eq!((ids(&full), full.next, full.looked_back_to), (vec![9, 5], Some(RunId(5)), None));
    let all = page(found(), None, 9);
    assert_eq!((ids(&all), all.next, all.looked_back_to), (vec![9, 5, 3], None, None));
    let cut = page(found(), Some(Looked { run: RunId(4), made_at }), 3);
    assert_eq!((ids(&cut), cut.next, cut.looked_back_to), (vec![9, 5], Some(RunId(4)), Some(made_at)));
}
