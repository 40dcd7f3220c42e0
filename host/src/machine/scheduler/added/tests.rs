//! Tests with a clock that a test moves, over a real store.

use super::*;
use crate::testkit::{self, TestClock, name, task_key};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Outcome, Output, RunState};
use sexton_domain::schedule::routes::Target;
use sexton_domain::schedule::{CatchUp, Trigger};
use sexton_domain::task::{Name, Overlap, Pattern};
use sexton_store::added::{AddSchedule, ScheduleInfo, ScheduleKey};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_store::{RunFilter, RunInfo};

/// Returns the instant `seconds` after noon on 2027-01-15 in UTC.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_014_400_000 + seconds * 1000)
}

const DAY: i64 = 24 * 3600;

/// The scheduler of a host, without the host.
struct Rig {
    scheduler: AddedSchedules,
    clock: Arc<TestClock>,
    known: Known,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new(catch_up: CatchUp) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            SqliteStore::open(directory.path().join("store.db"), &SqliteOptions::default()).unwrap();
        let clock = TestClock::at(at(0));
        let scheduler = AddedSchedules { store, catalog: Arc::default(), clock: clock.clone(), pause: Arc::default() };
        let rig = Self { scheduler, clock, known: Known::default(), _directory: directory };
        rig.has_task(catch_up);
        rig
    }

    fn has_task(&self, catch_up: CatchUp) {
        let task = Task { catch_up, overlap: Overlap::Allow(16), ..testkit::task("a") };
        self.scheduler.catalog.replace([(task.key.clone(), Arc::new(task))].into());
    }

    /// Has the tasks `a` and `other`, of which `task` takes a type.
    fn has_route(&self, task: &str, types: &str) {
        let of = |own: &str| {
            let types = if own == task { vec![Pattern(types.to_owned())] } else { Vec::new() };
            Task { types, overlap: Overlap::Allow(16), catch_up: CatchUp::Latest, ..testkit::task(own) }
        };
        let tasks = ["a", "other"].map(|own| (task_key(own), Arc::new(of(own))));
        self.scheduler.catalog.replace(tasks.into());
    }

    fn has_no_task(&self) {
        self.scheduler.catalog.replace(Default::default());
    }

    async fn add(&self, key: &str, trigger: Trigger, change: impl FnOnce(&mut Definition)) {
        self.add_for(Target::Task(name("a")), key, trigger, change).await;
    }

    async fn add_for(&self, target: Target, key: &str, trigger: Trigger, change: impl FnOnce(&mut Definition)) {
        let mut definition = Definition::of(trigger, chrono_tz::Tz::UTC).unwrap();
        change(&mut definition);
        let now = self.clock.now();
        let add = AddSchedule {
            key: ScheduleKey { tenant: Name::default_tenant(), key: name(key) },
            target,
            definition: definition.text(),
            data: Some(key.as_bytes().to_vec()),
            cursor: now,
            replace: true,
            version: None,
            guest: None,
            now,
        };
        self.scheduler.store.add_schedule(add).await.unwrap();
    }

    async fn minutely(&self, key: &str) {
        self.add(key, Trigger::Every(Duration::from_secs(60)), |_| {}).await;
    }

    /// Does what a host does when it looks at `now`.
    async fn look(&mut self, now: Timestamp) {
        self.clock.set(now);
        assert_eq!(self.scheduler.load(&mut self.known).await, Loaded::All);
        self.scheduler.wake(&mut self.known).await;
        self.scheduler.fire_due(&mut self.known).await;
    }

    /// Acts as another host, or as this one after a restart.
    fn starts_anew(&mut self) {
        self.known = Known::default();
    }

    async fn runs(&self) -> Vec<RunInfo> {
        let mut runs = self.scheduler.store.runs(RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap();
        runs.reverse();
        runs
    }

    /// Returns the instants of all runs so far, in seconds.
    async fn due(&self) -> Vec<i64> {
        self.runs().await.iter().map(|run| (run.due_at.as_millis() - at(0).as_millis()) / 1000).collect()
    }

    /// Lets every waiting run succeed.
    async fn work(&self) {
        let now = self.clock.now();
        let request = testkit::claim_request([(task_key("a"), 1000)], now);
        for claim in self.scheduler.store.claim(request).await.unwrap().claims {
            let transition = Transition::Succeed(Output::default());
            let finish = testkit::finish(claim.key, transition, testkit::report(Outcome::Succeeded, now));
            self.scheduler.store.finish(Arc::new(finish)).await.unwrap();
        }
    }

    async fn info(&self, key: &str) -> ScheduleInfo {
        let key = ScheduleKey { tenant: Name::default_tenant(), key: name(key) };
        self.scheduler.store.schedule(key).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_due_schedule_fires_once_with_its_payload() {
    let mut rig = Rig::new(CatchUp::None);
    rig.minutely("k").await;
    rig.add("once", Trigger::At(at(90)), |_| {}).await;

    for seconds in [0, 60, 60, 90, 100] {
        rig.look(at(seconds)).await;
        rig.work().await;
    }

    assert_eq!(rig.due().await, [60, 90]);
    let runs = rig.runs().await;
    assert_eq!(rig.scheduler.store.input(runs[0].id).await.unwrap().unwrap(), b"k");
    assert_eq!((rig.info("once").await.finished_at, rig.info("k").await.finished_at), (Some(at(90)), None));
    assert_eq!(rig.known.timetable.len(), 1);
}

#[tokio::test]
async fn after_three_days_the_latest_instant_is_caught_up_under_that_policy() {
    for (catch_up, expected) in
        [(CatchUp::None, vec![]), (CatchUp::Latest, vec![3 * DAY]), (CatchUp::All(9), vec![3 * DAY])]
    {
        let mut rig = Rig::new(catch_up);
        rig.add("k", Trigger::Cron(sexton_domain::schedule::Crontab::parse("0 12 * * *").unwrap()), |_| {}).await;
        rig.look(at(0)).await;
        rig.starts_anew();

        rig.look(at(3 * DAY + 3600)).await;
        rig.look(at(3 * DAY + 3700)).await;

        assert_eq!(rig.due().await, expected, "{catch_up:?}");
        if let [run] = &rig.runs().await[..] {
            assert_eq!(run.note.as_deref(), Some("added schedule `k`; 2 instant(s) before it left out"));
        }
        rig.work().await;
        rig.look(at(4 * DAY)).await;
        assert_eq!(rig.due().await.last(), Some(&(4 * DAY)), "it goes on, {catch_up:?}");
    }
}

#[tokio::test]
async fn two_hosts_do_not_fire_an_instant_twice() {
    let mut rig = Rig::new(CatchUp::None);
    rig.minutely("k").await;
    rig.look(at(0)).await;
    let mut other = Known::default();
    assert_eq!(rig.scheduler.load(&mut other).await, Loaded::All);

    rig.look(at(60)).await;
    rig.work().await;
    std::mem::swap(&mut rig.known, &mut other);
    rig.look(at(61)).await;
    rig.look(at(120)).await;

    assert_eq!(rig.due().await, [60, 120]);
    assert_eq!(rig.info("k").await.fired, 2);
}

#[tokio::test]
async fn a_schedule_rests_while_its_task_is_missing() {
    let mut rig = Rig::new(CatchUp::Latest);
    rig.minutely("k").await;
    rig.has_no_task();
    for minute in 0..10 {
        rig.look(at(60 * minute)).await;
    }
    let meanwhile = rig.due().await;

    rig.has_task(CatchUp::Latest);
    rig.look(at(630)).await;

    assert_eq!((meanwhile, rig.due().await), (vec![], vec![600]));
}

#[tokio::test]
async fn while_its_run_is_not_over_a_schedule_skips_and_others_do_not() {
    let mut rig = Rig::new(CatchUp::None);
    rig.minutely("k").await;
    rig.look(at(60)).await;
    rig.minutely("other").await;

    rig.look(at(120)).await;

    assert_eq!(rig.due().await, [60, 120]);
    assert_eq!((rig.info("k").await.skipped, rig.info("other").await.fired), (1, 1));
}

#[tokio::test]
async fn after_so_many_times_a_schedule_is_over() {
    let mut rig = Rig::new(CatchUp::None);
    rig.add("k", Trigger::Every(Duration::from_secs(60)), |definition| definition.times = Some(2)).await;

    for minute in 0..6 {
        rig.look(at(60 * minute)).await;
        rig.work().await;
    }

    assert_eq!(rig.due().await, [60, 120]);
    assert_eq!(rig.info("k").await.finished_at, Some(at(120)));
}

#[tokio::test]
async fn a_change_counts_at_once_and_from_then_on() {
    let mut rig = Rig::new(CatchUp::All(9));
    rig.minutely("k").await;
    rig.minutely("gone").await;
    rig.look(at(0)).await;
    rig.clock.set(at(100));
    rig.add("k", Trigger::Every(Duration::from_secs(90)), |_| {}).await;
    let gone = ScheduleKey { tenant: Name::default_tenant(), key: name("gone") };
    rig.scheduler.store.delete_schedule(gone, None, None, at(100)).await.unwrap();

    rig.look(at(110)).await;
    let early = rig.due().await;
    rig.look(at(180)).await;

    assert_eq!((early, rig.due().await), (vec![], vec![180]));
    assert_eq!(rig.known.timetable.len(), 1);
    assert_eq!(rig.runs().await[0].state, RunState::Waiting);
}

#[tokio::test]
async fn a_clock_that_was_ten_years_ahead_for_a_moment_stops_no_added_schedule() {
    for mended_first in [true, false] {
        let mut rig = Rig::new(CatchUp::None);
        rig.minutely("a").await;
        rig.look(at(60)).await;
        rig.work().await;
        rig.look(at(3650 * DAY)).await;
        rig.work().await;

        let mend = async |rig: &Rig| rig.scheduler.store.repair_instants(rig.clock.now()).await.unwrap();
        rig.look(at(90)).await;
        if mended_first {
            mend(&rig).await;
        }
        rig.look(at(91)).await;
        mend(&rig).await;
        for minute in 2..=5 {
            rig.look(at(60 * minute)).await;
            rig.work().await;
        }

        let mut due = rig.due().await;
        due.retain(|seconds| *seconds < DAY);
        // The repair may take up to the first instant after it.
        assert!(due.ends_with(&[180, 240, 300]), "mended first: {mended_first}: {due:?}");
    }
}

#[tokio::test]
async fn a_schedule_with_a_type_waits_for_a_route_and_follows_it() {
    let mut rig = Rig::new(CatchUp::Latest);
    let type_of_mails = || Target::Type(name("mail-welcome"));
    rig.add_for(type_of_mails(), "typed", Trigger::Every(Duration::from_secs(60)), |_| {}).await;
    rig.minutely("k").await;
    rig.look(at(60)).await;
    rig.work().await;
    assert_eq!(rig.due().await, [60], "an unknown type makes no runs, and holds nothing else up");

    rig.has_route("a", "mail-*");
    rig.look(at(90)).await;
    rig.work().await;
    rig.has_route("other", "mail-*");
    rig.look(at(120)).await;

    let typed: Vec<_> =
        rig.runs().await.into_iter().filter(|run| run.note.as_ref().is_some_and(|n| n.contains("typed"))).collect();
    let seen = typed.iter().map(|run| (run.task.task.as_str(), run.due_at)).collect::<Vec<_>>();
    assert_eq!(seen, [("a", at(60)), ("other", at(120))]);
}

#[tokio::test]
async fn the_first_run_starts_at_its_own_instant_and_the_others_after_their_delay() {
    let mut rig = Rig::new(CatchUp::None);
    let change = |definition: &mut Definition| {
        (definition.first, definition.delay) = (Some(at(10)), Duration::from_secs(5));
    };
    rig.add("k", Trigger::Every(Duration::from_secs(60)), change).await;

    for seconds in [0, 9, 10, 30, 60] {
        rig.look(at(seconds)).await;
        rig.work().await;
    }

    let starts = rig.runs().await.iter().map(|run| (run.due_at, run.run_at)).collect::<Vec<_>>();
    assert_eq!(starts, [(at(10), at(10)), (at(60), at(65))]);
}

/// A clock that goes on by 20 ms with each look, so that a schedule of every 10 ms is always due.
#[derive(Debug)]
struct Hasty(std::sync::atomic::AtomicI64);

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(20, std::sync::atomic::Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_thousand_schedules_that_are_always_due_hold_up_neither_another_nor_the_end() {
    let mut rig = Rig::new(CatchUp::Latest);
    for n in 0..1000 {
        rig.add(&format!("hasty-{n}"), Trigger::Every(Duration::from_millis(10)), |_| {}).await;
    }
    let AddedSchedules { store, catalog, pause, .. } = rig.scheduler;
    let hasty = |at: Timestamp| Arc::new(Hasty(at.as_millis().into()));
    let part = |clock: Arc<dyn Clock>| AddedSchedules {
        store: store.clone(),
        catalog: catalog.clone(),
        clock,
        pause: pause.clone(),
    };
    let (stop, stopping) = watch::channel(false);
    let going = tokio::spawn(part(hasty(at(0))).run(stopping));
    rig.scheduler = part(rig.clock.clone());
    let fired = async |key: &str| rig.info(key).await.fired + rig.info(key).await.skipped > 0;
    let until_fired = async |key: &str| {
        while !fired(key).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };

    tokio::time::timeout(sexton_testkit::PATIENCE, until_fired("hasty-999")).await.unwrap();
    rig.add("of-a-person", Trigger::Every(Duration::from_secs(1)), |_| {}).await;
    tokio::time::timeout(sexton_testkit::PATIENCE, until_fired("of-a-person")).await.unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(sexton_testkit::PATIENCE, going).await.unwrap().unwrap();
}

#[tokio::test]
async fn schedules_of_many_types_that_lead_to_one_task_share_its_input() {
    let mut rig = Rig::new(CatchUp::Latest);
    rig.has_route("a", "mail-*");
    for n in 0..9 {
        let target = Target::Type(name(&format!("mail-{n}")));
        rig.add_for(target, &format!("k-{n}"), Trigger::Every(Duration::from_secs(60)), |_| {}).await;
    }
    assert_eq!(rig.scheduler.load(&mut rig.known).await, Loaded::All);
    let slots = rig.known.timetable.take_due(at(60), 99);

    let batch = Batch::of(&mut rig.known, &rig.scheduler.catalog, slots, at(60));

    assert_eq!((batch.fire.tasks.len(), batch.fire.due.len()), (1, 9));
}
