//! Tests days and months of schedules that depend on earlier runs.

use sexton_store::runs::Runs as _;
use sexton_store::tasks::Tasks as _;
use std::time::Duration;

use super::world::{DAY, Goes, START, World, key};
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::RunState;
use sexton_domain::schedule::{ChainState, Memory};
use sexton_domain::task::TaskKey;
use sexton_store::{Retention, RunInfo, Store};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns how long after the end of the previous run each run was due, in seconds, with the state of the previous one.
fn gaps(runs: &[RunInfo]) -> Vec<(RunState, u64)> {
    runs.windows(2).map(|pair| (pair[0].state, pair[1].due_at.since(pair[0].ended_at.unwrap()).as_secs())).collect()
}

const AFTER: &str = "[tasks.a]\nafter = { success = \"1m\", fail = \"5m\" }\n";

fn mostly_well(nth: usize, _: &TaskKey) -> Goes {
    match nth % 7 {
        3 => Goes::Badly(seconds(10)),
        5 => Goes::Again(seconds(10), seconds(40)),
        _ => Goes::Well(seconds(30)),
    }
}

#[tokio::test]
async fn for_a_day_each_run_is_due_a_cooldown_after_the_last_with_several_hosts_and_restarts() {
    let mut world = World::new(AFTER);
    let mut pair = [world.host(), world.host()];

    for quarter in 0..4 {
        world.pass(seconds(6 * 3600), &mut pair, mostly_well).await;
        pair = [world.host(), world.host()];
        // A run on demand does not count.
        if quarter == 1 {
            world.ask_for("a").await;
        }
    }

    let runs = world.made().await;
    assert_eq!(runs[0].due_at, START);
    for (before, gap) in gaps(&runs) {
        assert_eq!(gap, if before == RunState::Succeeded { 60 } else { 300 });
    }
    // Of seven attempts five succeed (90 s a run), one fails (310 s), and one is tried again first.
    let day = DAY.as_secs() / ((5 * 90 + 310 + 50) / 6);
    assert!((day - 20..day + 20).contains(&(runs.len() as u64)), "{} runs, not {day}", runs.len());
    assert_eq!(world.most, 1);
}

#[tokio::test]
async fn a_run_that_came_due_while_no_host_was_up_is_made_once_and_at_once() {
    let mut world = World::new(AFTER);
    let mut hosts = [world.host()];
    world.pass(seconds(45), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    world.pass(seconds(3600), &mut [], |_, _| Goes::Well(seconds(30))).await;
    hosts = [world.host()];
    world.pass(seconds(60), &mut hosts, |_, _| Goes::Well(seconds(30))).await;

    let runs = world.made().await;
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[1].due_at, START.plus(seconds(90)));
    assert_eq!(runs[1].created_at, START.plus(seconds(3645)));
}

#[tokio::test]
async fn an_end_is_remembered_for_longer_than_its_history() {
    let mut world = World::new("[tasks.a]\nafter = { success = \"1m\", fail = \"1d\" }\n");
    let mut hosts = [world.host()];
    world.pass(seconds(3600), &mut hosts, |_, _| Goes::Badly(seconds(30))).await;
    let retention = Retention { runs: 0, age: Duration::ZERO, bytes: 0 };
    while world.store.prune(retention.clone(), world.now()).await.unwrap() > 0 {}
    assert_eq!(world.made().await.len(), 0);

    hosts = [world.host()];
    world.pass(DAY, &mut hosts, |_, _| Goes::Well(seconds(30))).await;

    assert_eq!(world.made().await[0].due_at, START.plus(seconds(30)).plus(DAY));
}

#[tokio::test]
async fn a_paused_task_starts_no_following_run_until_it_is_resumed() {
    let mut world = World::new(AFTER);
    let mut hosts = [world.host()];
    world.pass(seconds(10), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    world.set_paused("a", true).await;
    world.pass(seconds(3600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    assert_eq!(world.made().await.len(), 1);
    assert_eq!(world.made().await[0].state, RunState::Succeeded);

    world.set_paused("a", false).await;
    world.pass(seconds(10), &mut hosts, |_, _| Goes::Well(seconds(30))).await;

    assert_eq!(world.made().await.len(), 2);
}

#[tokio::test]
async fn while_all_tasks_are_paused_nothing_is_made_or_written() {
    let pace = "[tasks.p]\npace = { min = 1, max = 2, from = \"1m\", to = \"1h\" }\n";
    let mut world = World::new(&format!("{AFTER}{pace}[tasks.b]\n[chains.c]\nlinks = [\"b\"]\n"));
    let mut hosts = [world.host()];
    world.pass(seconds(600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    world.store.pause(PauseTarget::All, None, world.now()).await.unwrap();
    // The attempts under way end.
    world.pass(seconds(600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    let (made, written) = (world.made().await.len(), world.store.stats().writes);

    for host in &mut hosts {
        host.look().await;
    }
    assert_eq!(world.store.stats().writes, written);
    world.pass(seconds(3600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    assert_eq!(world.made().await.len(), made);
    world.store.resume(PauseTarget::All, world.now()).await.unwrap();
    world.pass(seconds(1), &mut hosts, |_, _| Goes::Well(seconds(30))).await;

    let begun = world.made().await.split_off(made).into_iter().map(|run| run.task).collect::<Vec<_>>();
    assert_eq!(begun.len(), 3, "{begun:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_a_year_keeps_nothing_for_a_year() {
    let chain = "[tasks.b]\n[chains.c]\nlinks = [\"b\"]\n";
    let pace = "[tasks.p]\npace = { min = 1, max = 2, from = \"1m\", to = \"1h\" }\n";
    let mut world = World::new(&format!("{AFTER}{chain}{pace}"));
    let mut hosts = [world.host()];
    world.pass(seconds(3600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;
    let before = world.made().await.len();

    world.set_back(365 * DAY);
    world.pass(seconds(600), &mut hosts, |_, _| Goes::Well(seconds(30))).await;

    let runs = world.made().await;
    for task in ["a", "b", "p"] {
        let since = runs[before..].iter().filter(|run| run.task == key(task));
        assert!(since.count() >= 3, "{task}");
    }
}

const CHAIN: &str = "[tasks.a]\n[tasks.b]\n[tasks.c]\n[chains.nightly]\n\
    links = [\"a\", { task = \"b\", success-cooldown = \"1m\", fail-cooldown = \"5m\" }, \"c\"]\n\
    success-cooldown = \"10m\"\nfail-cooldown = \"20m\"\n";

async fn chain_state(world: &World) -> ChainState {
    let state = world.store.task_states().await.unwrap().remove(&key("nightly")).unwrap();
    match Memory::read(state.memory.as_deref()) {
        Some(Memory::Chain(state)) => state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn for_a_day_the_links_of_a_chain_follow_each_other_and_after_the_last_comes_the_next_round() {
    let mut world = World::new(CHAIN);
    let mut pair = [world.host(), world.host()];
    let goes = |nth, task: &TaskKey| match (task.task.as_str(), nth % 5) {
        ("b", 1) => Goes::Badly(seconds(30)),
        ("a", 3) => Goes::Again(seconds(5), seconds(20)),
        _ => Goes::Well(seconds(60)),
    };

    for _ in 0..5 {
        world.pass(DAY / 5, &mut pair, goes).await;
        pair = [world.host(), world.host()];
    }

    let runs = world.made().await;
    assert!(runs.len() > 200, "{}", runs.len());
    let mut failed = 0;
    for (nth, run) in runs.iter().enumerate() {
        let (link, round) = (nth % 3, nth / 3 + 1);
        assert_eq!(run.task, key(["a", "b", "c"][link]));
        assert_eq!(run.note.as_deref(), Some(format!("link {} of 3 of `nightly`, round {round}", link + 1).as_str()));
        let bad = |nth: usize| runs[nth].state == RunState::Failed;
        failed += usize::from(bad(nth));
        let pause = match nth {
            0 => continue,
            nth if link == 0 => {
                if bad(nth - 2) {
                    1200
                } else {
                    600
                }
            }
            nth if link == 2 => {
                if bad(nth - 1) {
                    300
                } else {
                    60
                }
            }
            _ => 0,
        };
        assert_eq!(run.due_at.since(runs[nth - 1].ended_at.unwrap()).as_secs(), pause, "run {nth}: {run:?}");
    }
    assert!(failed > 10, "{failed}");
    assert_eq!(world.most, 1);
}

#[tokio::test]
async fn a_chain_that_is_to_stop_is_paused_by_a_link_that_fails_and_begins_with_it_when_it_is_resumed() {
    let mut world = World::new(&format!("{CHAIN}on-failure = \"stop\"\n"));
    let mut pair = [world.host(), world.host()];
    let bad = |_, task: &TaskKey| if *task == key("b") { Goes::Badly(seconds(1)) } else { Goes::Well(seconds(1)) };
    world.pass(seconds(3600), &mut pair, bad).await;

    let runs = world.made().await;
    assert_eq!(runs.iter().map(|run| run.task.task.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let states = world.store.task_states().await.unwrap();
    let why = states[&key("nightly")].paused.clone().unwrap().why.unwrap();
    assert_eq!(why, format!("run {} of link 2 of 3, `b`, failed in round 1", runs[1].id));

    world.set_paused("nightly", false).await;
    pair = [world.host(), world.host()];
    world.pass(seconds(120), &mut pair, |_, _| Goes::Well(seconds(1))).await;

    let runs = world.made().await;
    assert_eq!(runs.iter().map(|run| run.task.task.as_str()).collect::<Vec<_>>(), ["a", "b", "b", "c"]);
    assert_eq!((chain_state(&world).await.round, chain_state(&world).await.link), (2, 0));
}

#[tokio::test]
async fn a_chain_waits_for_a_link_that_no_plugin_defines() {
    let mut world = World::new("[tasks.a]\n[chains.nightly]\nlinks = [\"a\", \"late\"]\n");
    let mut hosts = [world.host()];
    world.pass(seconds(3600), &mut hosts, |_, _| Goes::Well(seconds(1))).await;
    assert_eq!(world.made().await.len(), 1);

    world.load("[tasks.a]\n[tasks.late]\n[chains.nightly]\nlinks = [\"a\", \"late\"]\n");
    world.pass(seconds(1), &mut hosts, |_, _| Goes::Well(seconds(1))).await;

    assert_eq!(world.made().await[1].task, key("late"));
}

#[tokio::test]
async fn a_new_version_takes_the_place_of_what_runs_only_where_the_task_says_replace() {
    let replace = "[tasks.a]\nafter = \"1m\"\noverlap = \"replace\"\n";
    let keep = "[tasks.b]\nafter = \"1m\"\n";
    let chain = "[tasks.x]\noverlap = \"replace\"\n[chains.nightly]\nlinks = [\"x\"]\n";
    let manifest = format!("{replace}{keep}{chain}");
    let mut world = World::new(&manifest);
    let mut pair = [world.host(), world.host()];
    world.pass(seconds(10), &mut pair, |_, _| Goes::Well(seconds(600))).await;

    world.load(&manifest);
    world.pass(seconds(1), &mut pair, |_, _| Goes::Well(seconds(600))).await;

    let made = world.made().await;
    let of = |name: &str| made.iter().filter(|run| run.task == key(name)).collect::<Vec<_>>();
    assert_eq!((of("a").len(), of("b").len(), of("x").len()), (2, 1, 2), "{made:?}");
    for name in ["a", "x"] {
        // The old run is running and was asked to end; the new one waits for that.
        let [old, new] = [of(name)[0], of(name)[1]];
        assert_eq!((old.state, new.state), (RunState::Running, RunState::Waiting));
        assert_eq!(old.message.as_deref(), Some(format!("replaced by run {}", new.id).as_str()));
    }
    assert_eq!(of("x")[1].note.as_deref(), Some("link 1 of 1 of `nightly`, round 1"));
}

const PACE: &str = "[tasks.p]\npace = { min = 2, max = 5, from = \"10m\", to = \"2h\" }\n";

/// Checks that the starts of `runs` are no closer than the shortest interval, nor within the longest after a failure.
fn keeps_pace(runs: &[RunInfo]) {
    for pair in runs.windows(2) {
        let apart = pair[1].due_at.since(pair[0].due_at);
        assert!(apart >= seconds(600), "{apart:?} between {pair:?}");
    }
    let failures = runs.iter().filter(|run| run.state == RunState::Failed).filter_map(|run| run.ended_at);
    for failure in failures {
        let soon = runs.iter().find(|run| run.due_at > failure && run.due_at < failure.plus(seconds(7200)));
        assert!(soon.is_none(), "{soon:?} after a failure at {failure}");
    }
}

#[tokio::test]
async fn for_a_month_there_are_never_more_than_the_most_and_they_keep_their_pace() {
    let mut world = World::new(PACE);
    let mut pair = [world.host(), world.host()];

    for week in 0..4u64 {
        // Runs take half an hour to five hours; one a week hangs until its deadline, a day later.
        let goes = |nth, _: &TaskKey| match nth % 60 {
            7 => Goes::Hangs(DAY),
            nth => Goes::Well(seconds(1800 * (1 + (nth as u64 * 7 + week) % 10))),
        };
        world.pass(7 * DAY, &mut pair, goes).await;
        pair = [world.host(), world.host()];
    }

    let runs = world.made().await;
    keeps_pace(&runs);
    assert_eq!(world.most, 5);
    assert!(runs.iter().any(|run| run.state == RunState::Failed));
    // At least one run every two hours, and at most as many as five slots hold of runs of 2.75 hours.
    assert!((12 * 28..=28 * 24 * 5 / 2).contains(&runs.len()), "{}", runs.len());
}

#[tokio::test]
async fn while_all_hang_none_is_started_until_one_is_ended_and_then_only_after_the_longest_interval() {
    let mut world = World::new(PACE);
    let mut hosts = [world.host()];
    world.pass(3 * DAY, &mut hosts, |_, _| Goes::Hangs(5 * DAY)).await;
    assert_eq!(world.made().await.len(), 5);
    assert_eq!(world.most, 5);

    world.pass(4 * DAY, &mut hosts, |_, _| Goes::Hangs(5 * DAY)).await;

    let runs = world.made().await;
    keeps_pace(&runs);
    let ended: Vec<_> = runs.iter().filter_map(|run| run.ended_at).collect();
    assert_eq!(ended.len(), 5);
    assert_eq!(runs[5].due_at, ended.iter().max().unwrap().plus(seconds(7200)));
}

#[tokio::test]
async fn runs_on_demand_count_as_going() {
    let mut world = World::new("[tasks.p]\npace = { min = 1, max = 3, from = \"10m\", to = \"2h\" }\n");
    for _ in 0..3 {
        world.ask_for("p").await;
    }
    let mut hosts = [world.host()];
    world.pass(DAY, &mut hosts, |_, _| Goes::Well(2 * DAY)).await;
    assert_eq!(world.made().await.len(), 0);

    world.pass(3 * DAY, &mut hosts, |_, _| Goes::Well(2 * DAY)).await;
    assert!(!world.made().await.is_empty());
    assert_eq!(world.most, 3);
}

#[tokio::test]
async fn without_schedules_that_depend_on_runs_the_store_is_not_asked() {
    let world = World::new("[tasks.a]\nevery = \"1s\"\n");
    let mut host = world.host();
    host.look().await;
    assert!(!host.reacting.depends_on_runs());
    assert_eq!(world.store.stats().writes, 0);
    assert_eq!(host.reacting.next(), None);
}
