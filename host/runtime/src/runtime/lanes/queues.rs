//! Decides which guest is next: there are four lanes, and in each of them tenants take turns by what they have used.
//!
//! Two kinds of threads take guests from here. The faster ones serve all lanes but the last; the slower ones, which
//! give way to all other threads, serve the last, for guests that spin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_task::Runnable;

use crate::attempt::Lane;
use sexton_domain::task::Name;

use super::guest_task::GuestTask;
use sexton_domain::lengths::nanos;

pub(super) type Job = Runnable<Arc<GuestTask>>;

/// The kind of threads: those for short turns, or those for guests that spin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThreadClass {
    Fast,
    Slow,
}

impl ThreadClass {
    pub(super) fn of(lane: Lane) -> Self {
        if lane == Lane::Spent { Self::Slow } else { Self::Fast }
    }

    /// Returns its lanes, in the order in which they are served if no other rule of [`Queues::pop`] holds.
    fn lanes(self) -> &'static [Lane] {
        match self {
            Self::Fast => &[Lane::Urgent, Lane::Known, Lane::Fresh, Lane::Used],
            Self::Slow => &[Lane::Spent],
        }
    }
}

/// The longest time that used guests wait for fresh ones, lest a stream of short runs starve them.
const PATIENCE: Duration = Duration::from_millis(20);

/// Guests that must end, or are known to be short, go before a stranger at most so often while one waits, lest they
/// starve it.
const BEFORE_STRANGER: u32 = 3;

/// The number of guests of the lane `Used` beyond which it is too long: the next ones go to the slower threads, which
/// are served in the meantime.
const CROWD: usize = 32;

/// All guests that could go on.
#[derive(Debug)]
pub(super) struct Queues {
    lanes: [LaneQueue; 5],
    /// When a guest of the lane `Used` last had a turn.
    used_served: Instant,
    /// The guests of the lanes `Urgent` and `Known` that had a turn since one of the lane `Fresh` had one.
    before_stranger: u32,
    /// Whether the last of them was an urgent one.
    urgent_was_last: bool,
}

/// One lane. Its tenants take turns: the one that has used the least processor time in it goes next.
#[derive(Debug, Default)]
struct LaneQueue {
    /// Tenants that have guests here, or have used more than their share. A list, because most hosts have few of them.
    tenants: Vec<TenantQueue>,
    waiting: usize,
    /// The usage of the tenant that went last, before its turn. A new tenant begins there, so that it does not get all
    /// the time that it missed.
    now: u64,
}

#[derive(Debug)]
struct TenantQueue {
    tenant: Name,
    used: u64,
    /// The number of the first of `jobs`.
    first: u64,
    /// First come, first served. A job taken out of the middle leaves a gap.
    jobs: VecDeque<Option<Job>>,
    waiting: usize,
}

/// Tenants that a lane may remember although they have no guests there and owe nothing.
const REMEMBERED: usize = 16;

impl LaneQueue {
    fn push(&mut self, lane: Lane, job: Job) {
        let turn = Arc::clone(job.metadata());
        let now = self.now;
        let queue = self.of(turn.tenant());
        turn.put(lane, queue.first + queue.jobs.len() as u64);
        queue.jobs.push_back(Some(job));
        if queue.waiting == 0 {
            queue.used = queue.used.max(now);
        }
        queue.waiting += 1;
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<Job> {
        let queue = self.tenants.iter_mut().filter(|queue| queue.waiting > 0).min_by_key(|queue| queue.used)?;
        self.now = self.now.max(queue.used);
        while let Some(job) = queue.jobs.pop_front() {
            queue.first += 1;
            if job.is_some() {
                queue.waiting -= 1;
                self.waiting -= 1;
                return job;
            }
        }
        None
    }

    fn remove(&mut self, tenant: &Name, number: u64) -> Option<Job> {
        let queue = self.tenants.iter_mut().find(|queue| queue.tenant == *tenant)?;
        let place = usize::try_from(number.checked_sub(queue.first)?).ok()?;
        let job = queue.jobs.get_mut(place)?.take()?;
        queue.waiting -= 1;
        self.waiting -= 1;
        Some(job)
    }

    fn charge(&mut self, tenant: &Name, time: u64) {
        let now = self.now;
        let queue = self.of(tenant);
        queue.used = queue.used.max(now).saturating_add(time);
    }

    fn of(&mut self, tenant: &Name) -> &mut TenantQueue {
        let place = self.tenants.iter().position(|queue| queue.tenant == *tenant).unwrap_or_else(|| {
            if self.tenants.len() >= REMEMBERED {
                let now = self.now;
                self.tenants.retain(|queue| queue.waiting > 0 || queue.used > now);
            }
            let (used, tenant) = (self.now, tenant.clone());
            self.tenants.push(TenantQueue { tenant, used, first: 0, jobs: VecDeque::new(), waiting: 0 });
            self.tenants.len() - 1
        });
        &mut self.tenants[place]
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self { lanes: Default::default(), used_served: Instant::now(), before_stranger: 0, urgent_was_last: false }
    }
}

impl Queues {
    /// Returns whether no guest waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting == 0)
    }

    /// Returns `lane`, or another one for a guest that would wait there too long.
    pub(super) fn uncrowded(&self, lane: Lane) -> Lane {
        if lane == Lane::Used && self.lanes[lane as usize].waiting >= CROWD { Lane::Spent } else { lane }
    }

    /// Puts a guest in `lane`.
    pub(super) fn push(&mut self, lane: Lane, job: Job) {
        self.lanes[lane as usize].push(lane, job);
    }

    /// Takes the next guest for threads of this kind, and returns it with its lane.
    ///
    /// Guests that must end go first. If a thousand of them come within a second, ending them takes the faster threads
    /// all of that time. So they take turns with guests that are known to be short, whose turns are shorter still, and
    /// others wait for a bounded number of both.
    pub(super) fn pop(&mut self, class: ThreadClass) -> Option<(Job, Lane)> {
        if class == ThreadClass::Fast {
            if self.waits(Lane::Used) && self.used_served.elapsed() > PATIENCE {
                return self.take(Lane::Used);
            }
            if self.waits(Lane::Fresh) && self.before_stranger >= BEFORE_STRANGER {
                return self.take(Lane::Fresh);
            }
            if self.waits(Lane::Known) && self.urgent_was_last {
                return self.take(Lane::Known);
            }
        }
        class.lanes().iter().find_map(|lane| self.take(*lane))
    }

    fn waits(&self, lane: Lane) -> bool {
        self.lanes[lane as usize].waiting > 0
    }

    /// Returns the number of guests that must end and wait for a turn to do so.
    pub(super) fn must_end(&self) -> usize {
        self.lanes[Lane::Urgent as usize].waiting
    }

    fn take(&mut self, lane: Lane) -> Option<(Job, Lane)> {
        if !self.waits(lane) {
            return None;
        }
        let job = self.lanes[lane as usize].pop()?;
        job.metadata().taken();
        match lane {
            Lane::Used => self.used_served = Instant::now(),
            Lane::Known | Lane::Urgent => {
                self.before_stranger = self.before_stranger.saturating_add(1);
                self.urgent_was_last = lane == Lane::Urgent;
            }
            Lane::Fresh => self.before_stranger = 0,
            Lane::Spent => {}
        }
        Some((job, lane))
    }

    /// Charges `tenant` for a turn of a guest in `lane`.
    pub(super) fn charge(&mut self, lane: Lane, tenant: &Name, time: Duration) {
        // The urgent lane is not charged, because its guests end in any case.
        if lane != Lane::Urgent {
            self.lanes[lane as usize].charge(tenant, nanos(time));
        }
    }

    /// Takes a guest that must end out of the lanes of `class`, if it is in one and not among the urgent ones already.
    pub(super) fn remove(&mut self, class: ThreadClass, turn: &Arc<GuestTask>) -> Option<Job> {
        let (lane, number) =
            turn.place().filter(|(lane, _)| *lane != Lane::Urgent && ThreadClass::of(*lane) == class)?;
        let job = self.lanes[lane as usize].remove(turn.tenant(), number)?;
        turn.taken();
        Some(job)
    }

    /// Takes all guests, so that they can be dropped.
    pub(super) fn drain(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guest_task::{Expected, FRESH, QUANTUM};
    use std::collections::HashMap;

    use super::*;
    use crate::testkit::{first_claim, handle, task_key};
    use sexton_domain::task::TaskKey;

    const LONG: Duration = Duration::from_secs(3600);

    /// Makes a guest of `tenant` that has had `turns` turns of computing, and is due in `left`.
    fn guest_of(tenant: &str, turns: u32, left: Duration) -> (Arc<GuestTask>, Job) {
        guest_that(tenant, turns, left, Expected::Unknown)
    }

    fn guest_that(tenant: &str, turns: u32, left: Duration, expected: Expected) -> (Arc<GuestTask>, Job) {
        let tenant = Name::new(tenant).unwrap();
        let handle = handle(first_claim(1), TaskKey { tenant: tenant.clone(), ..task_key("task") });
        let turn = Arc::new(GuestTask::new(Instant::now() + left, tenant, expected, handle));
        if turns > 0 {
            turn.has_used(Duration::from_micros(500) * turns);
            turn.yields_seen(turns.into());
        }
        let schedule = |_: Job| unreachable!("it is not woken");
        let (job, task) = async_task::Builder::new().metadata(Arc::clone(&turn)).spawn(|_| async {}, schedule);
        task.detach();
        (turn, job)
    }

    fn guest(turns: u32, left: Duration) -> (Arc<GuestTask>, Job) {
        guest_of("default", turns, left)
    }

    fn put(queues: &mut Queues, job: Job) {
        let lane = job.metadata().choose_lane();
        queues.push(lane, job);
    }

    /// Promotes a guest that must end, like `lanes`.
    fn promote(queues: &mut Queues, turn: &Arc<GuestTask>) -> bool {
        turn.make_urgent();
        let job = [ThreadClass::Slow, ThreadClass::Fast].into_iter().find_map(|class| queues.remove(class, turn));
        job.map(|job| put(queues, job)).is_some()
    }

    fn queued(guests: impl IntoIterator<Item = (Arc<GuestTask>, Job)>) -> (Queues, Vec<Arc<GuestTask>>) {
        let mut queues = Queues::default();
        let turns = guests.into_iter().map(|(turn, job)| {
            put(&mut queues, job);
            turn
        });
        let turns = turns.collect();
        (queues, turns)
    }

    /// Returns the numbers of the guests in the order in which threads of this kind poll them.
    fn order(queues: &mut Queues, class: ThreadClass, guests: &[Arc<GuestTask>]) -> Vec<usize> {
        let number = |job: Job| guests.iter().position(|turn| Arc::ptr_eq(turn, job.metadata())).unwrap();
        std::iter::from_fn(|| queues.pop(class)).map(|(job, _)| number(job)).collect()
    }

    #[test]
    fn due_guests_go_first_then_fresh_ones_then_those_that_used_little() {
        let (mut queues, turns) =
            queued([guest(FRESH, LONG), guest(0, LONG), guest(QUANTUM * 9, Duration::ZERO), guest(0, LONG)]);

        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [2, 1, 3, 0]);
    }

    #[test]
    fn guests_of_tasks_that_are_known_to_be_short_go_before_strangers() {
        let short = || guest_that("default", 0, LONG, Expected::Short);
        let long = guest_that("default", 0, LONG, Expected::Long);
        let (mut queues, turns) = queued([guest(0, LONG), long, short(), short()]);

        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [2, 3, 0, 1]);
    }

    #[test]
    fn strangers_wait_for_a_bounded_number_of_guests_that_are_known_to_be_short() {
        let short = || guest_that("default", 0, LONG, Expected::Short);
        let known = (0..7).map(|_| short());
        let (mut queues, turns) = queued([guest(0, LONG), guest(0, LONG)].into_iter().chain(known));

        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [2, 3, 4, 0, 5, 6, 7, 1, 8]);
    }

    #[test]
    fn guests_that_must_end_take_turns_with_those_that_are_known_to_be_short() {
        let urgent = || guest(1, Duration::ZERO);
        let short = || guest_that("default", 0, LONG, Expected::Short);
        let (mut queues, turns) = queued([urgent(), urgent(), urgent(), urgent(), short(), short(), guest(0, LONG)]);

        assert_eq!(queues.must_end(), 4);
        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [0, 4, 1, 6, 5, 2, 3]);
    }

    #[test]
    fn a_tenant_with_short_tasks_is_not_delayed_by_a_thousand_new_tenants() {
        let strangers = (0..1000).map(|n| guest_of(&format!("t{n}"), 0, LONG));
        let short = guest_that("short", 0, LONG, Expected::Short);
        let (mut queues, turns) = queued(strangers.chain([short]));
        queues.charge(Lane::Known, &Name::new("short").unwrap(), Duration::from_millis(1));

        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns)[0], 1000);
    }

    #[test]
    fn guests_that_would_wait_in_a_crowd_go_to_the_slower_threads() {
        let (queues, _turns) = queued((0..CROWD).map(|_| guest(FRESH, LONG)));

        assert_eq!(queues.uncrowded(Lane::Used), Lane::Spent);
        assert_eq!(
            queues.uncrowded(Lane::Fresh),
            Lane::Fresh,
            "strangers have a turn on the faster threads in any case"
        );
        assert_eq!(Queues::default().uncrowded(Lane::Used), Lane::Used);
    }

    #[test]
    fn fresh_guests_do_not_starve_those_that_used_some() {
        let (mut queues, turns) = queued([guest(FRESH, LONG), guest(0, LONG), guest(FRESH, LONG), guest(0, LONG)]);

        queues.used_served = Instant::now().checked_sub(PATIENCE * 2).expect("the machine is up for longer");

        assert_eq!(
            order(&mut queues, ThreadClass::Fast, &turns),
            [0, 1, 3, 2],
            "one of them had its turn, the next waits again"
        );
    }

    #[test]
    fn guests_that_spin_or_spun_the_last_time_go_to_the_slower_threads() {
        let (mut queues, turns) =
            queued([guest(QUANTUM, LONG), guest(0, LONG), guest_that("default", 0, LONG, Expected::Spins)]);

        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [1]);
        assert_eq!(order(&mut queues, ThreadClass::Slow, &turns), [0, 2]);
    }

    #[test]
    fn a_guest_that_must_end_overtakes_all_that_were_queued_before_it() {
        let (mut queues, turns) = queued((0..4).map(|_| guest(QUANTUM, LONG)));

        assert!(promote(&mut queues, &turns[2]));
        assert!(!promote(&mut queues, &turns[2]), "it is there already");
        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [2]);
        assert_eq!(order(&mut queues, ThreadClass::Slow, &turns), [0, 1, 3]);
        assert!(!promote(&mut queues, &turns[0]), "it is in no queue");
    }

    #[test]
    fn a_tenant_with_a_thousand_guests_gets_no_more_than_one_with_a_single_guest() {
        let (mut queues, _turns) =
            queued((0..1000).map(|_| guest_of("many", QUANTUM, LONG)).chain([guest_of("one", QUANTUM, LONG)]));

        let mut turns_of = HashMap::new();
        for _ in 0..100 {
            let (job, lane) = queues.pop(ThreadClass::Slow).unwrap();
            let tenant = job.metadata().tenant().clone();
            queues.charge(lane, &tenant, Duration::from_millis(1));
            *turns_of.entry(tenant.as_str().to_owned()).or_insert(0) += 1;
            put(&mut queues, job);
        }

        assert_eq!((turns_of["many"], turns_of["one"]), (50, 50));
    }

    #[test]
    fn a_tenant_that_was_away_does_not_get_the_time_that_it_missed() {
        let (mut queues, _turns) = queued([guest_of("busy", QUANTUM, LONG)]);
        for _ in 0..100 {
            let (job, lane) = queues.pop(ThreadClass::Slow).unwrap();
            queues.charge(lane, &Name::new("busy").unwrap(), Duration::from_millis(1));
            put(&mut queues, job);
        }

        let (_turn, job) = guest_of("new", QUANTUM, LONG);
        put(&mut queues, job);
        let first_ten: Vec<String> = (0..10)
            .map(|_| {
                let (job, lane) = queues.pop(ThreadClass::Slow).unwrap();
                let tenant = job.metadata().tenant().clone();
                queues.charge(lane, &tenant, Duration::from_millis(1));
                put(&mut queues, job);
                tenant.as_str().to_owned()
            })
            .collect();

        assert!(first_ten.iter().filter(|tenant| *tenant == "busy").count() >= 4, "{first_ten:?}");
    }

    #[test]
    fn a_lane_forgets_tenants_that_owe_nothing() {
        let mut queues = Queues::default();
        for n in 0..REMEMBERED * 3 {
            let (_turn, job) = guest_of(&format!("t{n}"), QUANTUM, LONG);
            put(&mut queues, job);
            let (job, lane) = queues.pop(ThreadClass::Slow).unwrap();
            queues.charge(lane, job.metadata().tenant(), Duration::ZERO);
        }

        assert!(queues.lanes[Lane::Spent as usize].tenants.len() <= REMEMBERED + 1);
    }

    #[test]
    fn a_tenant_whose_guest_was_promoted_takes_no_place_in_the_order() {
        let (mut queues, turns) = queued([guest_of("a", QUANTUM, LONG), guest_of("b", QUANTUM, LONG)]);
        promote(&mut queues, &turns[0]);

        assert_eq!(order(&mut queues, ThreadClass::Slow, &turns), [1]);
        assert_eq!(order(&mut queues, ThreadClass::Fast, &turns), [0]);
        assert!(queues.lanes.iter().all(|lane| lane.waiting == 0));
    }
}
