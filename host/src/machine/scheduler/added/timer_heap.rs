//! The timetable of added schedules. It takes a hundred bytes for each, so that a million of them fit in memory.
//!
//! The names of schedules and the payloads of their runs stay in the store. Equal definitions are shared.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use sexton_domain::schedule::routes::Target;
use sexton_domain::schedule::{BadDefinition, Definition};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::added::ScheduleProgress;

/// The most definitions that are cached by their text. Beyond that they are parsed again, which costs only time.
const REMEMBERED: usize = 1 << 16;

/// The number of stale heap entries, beyond the number of schedules, above which the heap is rebuilt.
const VOID: usize = 1 << 10;

/// The definition of a schedule.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// The schedule is due at this one instant.
    At(Timestamp),
    /// Any other definition.
    Shared(Arc<Definition>),
}

/// An index into the slab.
pub(super) type Slot = u32;

/// A schedule on the timetable.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    pub(super) id: i64,
    pub(super) version: u64,
    pub(super) progress: ScheduleProgress,
    /// The instant of the next look; `NEVER` while a look is under way, or while the schedule's task is missing.
    look_at: Timestamp,
    pub(super) plan: Plan,
    /// The place of its owner.
    pub(super) owner: u32,
}

/// A tenant, and whose runs schedules of it make.
pub(super) type Owner = (Name, Target);

const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// All loaded schedules, and a heap of their next looks.
#[derive(Debug, Default)]
pub(super) struct TimerHeap {
    slab: Vec<Option<Timer>>,
    free: Vec<Slot>,
    by_id: HashMap<i64, Slot>,
    order: BinaryHeap<Reverse<(Timestamp, Slot)>>,
    owners: Vec<Owner>,
    owner_places: HashMap<Owner, u32>,
    /// The schedules that came due while their task was missing, by owner.
    resting: HashMap<u32, Vec<Slot>>,
    definitions: HashMap<Box<str>, Arc<Definition>>,
}

impl TimerHeap {
    /// Returns the number of schedules.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Parses a definition, or returns the one that was parsed from an equal text.
    pub(super) fn plan(&mut self, text: &str) -> Result<Plan, BadDefinition> {
        if let Some(known) = self.definitions.get(text) {
            return Ok(Plan::Shared(Arc::clone(known)));
        }
        let definition = Definition::read(text)?;
        if let Some(at) = definition.plain_instant() {
            return Ok(Plan::At(at));
        }
        // The cache is cleared as a whole, which keeps the cost of each entry low. Schedules keep the definitions that
        // they use.
        if self.definitions.len() >= REMEMBERED {
            self.definitions.clear();
        }
        let definition = Arc::new(definition);
        self.definitions.insert(text.into(), Arc::clone(&definition));
        Ok(Plan::Shared(definition))
    }

    /// Returns the place of an owner.
    pub(super) fn owner_place(&mut self, owner: Owner) -> u32 {
        if let Some(place) = self.owner_places.get(&owner) {
            return *place;
        }
        let place = u32::try_from(self.owners.len()).expect("every place is of a schedule, and slots are 32 bits");
        self.owners.push(owner.clone());
        self.owner_places.insert(owner, place);
        place
    }

    /// Returns the owner at a place.
    pub(super) fn owner(&self, place: u32) -> &Owner {
        &self.owners[place as usize]
    }

    /// Adds a schedule in place of the one known by its id. The next look is at its next due instant.
    pub(super) fn put(&mut self, id: i64, version: u64, progress: ScheduleProgress, plan: Plan, owner: u32) {
        // The schedule has no further instant. The look that is due at once stores that.
        let look_at = plan.next_after(progress.cursor).unwrap_or(progress.cursor);
        let timer = Timer { id, version, progress, look_at: NEVER, plan, owner };
        let slot = match self.by_id.get(&id) {
            Some(slot) => *slot,
            None => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slab.push(None);
                    Slot::try_from(self.slab.len() - 1).expect("four thousand million do not fit in memory")
                });
                self.by_id.insert(id, slot);
                slot
            }
        };
        self.slab[slot as usize] = Some(timer);
        self.look(slot, look_at);
    }

    /// Forgets a schedule.
    pub(super) fn forget(&mut self, id: i64) {
        if let Some(slot) = self.by_id.remove(&id) {
            self.slab[slot as usize] = None;
            self.free.push(slot);
        }
    }

    /// Returns the schedule at a slot.
    pub(super) fn at(&self, slot: Slot) -> Option<&Timer> {
        self.slab[slot as usize].as_ref()
    }

    /// Sets the next look at a slot.
    pub(super) fn look(&mut self, slot: Slot, at: Timestamp) {
        let Some(timer) = self.slab[slot as usize].as_mut() else { return };
        timer.look_at = at;
        self.order.push(Reverse((at, slot)));
        // Replaced and deleted schedules leave stale entries behind, which may be due in years.
        if self.order.len() > 2 * self.len() + VOID {
            let slots = self.slab.iter().zip(0..);
            self.order = slots
                .filter_map(|(timer, slot)| Some(Reverse((timer.as_ref()?.look_at, slot))))
                .filter(|Reverse((at, _))| *at != NEVER)
                .collect();
        }
    }

    /// Records that a schedule has come further.
    pub(super) fn advance(&mut self, slot: Slot, progress: ScheduleProgress) {
        if let Some(timer) = self.slab[slot as usize].as_mut() {
            timer.progress = progress;
        }
    }

    /// Lets a schedule rest until its task is present. Returns whether it is the first of its owner that does.
    pub(super) fn rest(&mut self, slot: Slot) -> bool {
        let Some(owner) = self.at(slot).map(|timer| timer.owner) else { return false };
        let resting = self.resting.entry(owner).or_default();
        resting.push(slot);
        resting.len() == 1
    }

    /// Returns the places of the owners with schedules that rest.
    pub(super) fn resting(&self) -> Vec<u32> {
        self.resting.keys().copied().collect()
    }

    /// Takes the schedules of an owner that rest, to [wake](Self::wake) each.
    pub(super) fn take_resting(&mut self, owner: u32) -> Vec<Slot> {
        self.resting.remove(&owner).unwrap_or_default()
    }

    /// Schedules a look at a schedule that rested, whose task is present again. Returns whether it is still there.
    pub(super) fn wake(&mut self, slot: Slot, owner: u32, now: Timestamp) -> bool {
        // The schedule may have been replaced while it rested, or its slot may be another's, which has an instant of its
        // own.
        let rested = self.at(slot).is_some_and(|timer| timer.look_at == NEVER && timer.owner == owner);
        if rested {
            self.look(slot, now);
        }
        rested
    }

    /// Takes up to `limit` slots whose look is due by `now`.
    pub(super) fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<Slot> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(Reverse((at, slot))) = self.order.peek().copied() else { break };
            if at > now {
                break;
            }
            self.order.pop();
            if let Some(timer) = self.slab[slot as usize].as_mut().filter(|timer| timer.look_at == at) {
                timer.look_at = NEVER;
                due.push(slot);
            }
        }
        due
    }

    /// Returns the instant of the next look, or an earlier one.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }
}

impl Plan {
    /// Returns the first instant after `after` that is due.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at).filter(|at| *at > after),
            Self::Shared(definition) => definition.next_after(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Name;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn task(text: &str) -> Owner {
        (Name::default_tenant(), Target::Task(Name::new(text).unwrap()))
    }

    fn put(timetable: &mut TimerHeap, id: i64, seconds: i64) {
        let place = timetable.owner_place(task("a"));
        let progress = ScheduleProgress { cursor: at(0), fired: 0 };
        timetable.put(id, 1, progress, Plan::At(at(seconds)), place);
    }

    fn ids(timetable: &TimerHeap, slots: &[Slot]) -> Vec<i64> {
        slots.iter().map(|slot| timetable.at(*slot).unwrap().id).collect()
    }

    #[test]
    fn schedules_come_up_in_the_order_of_their_instants_and_once() {
        let mut timetable = TimerHeap::default();
        for (id, seconds) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            put(&mut timetable, id, seconds);
        }

        let first = timetable.take_due(at(30), 2);
        let then = timetable.take_due(at(30), 9);

        assert_eq!((ids(&timetable, &first), ids(&timetable, &then)), (vec![2, 3], vec![1]));
        assert!(timetable.take_due(at(30), 9).is_empty());
        assert_eq!(timetable.next(), Some(at(40)));
    }

    #[test]
    fn a_replaced_or_removed_timer_does_not_fire() {
        let mut timetable = TimerHeap::default();
        put(&mut timetable, 1, 10);
        put(&mut timetable, 2, 10);
        put(&mut timetable, 1, 50);
        timetable.forget(2);
        put(&mut timetable, 3, 60);

        assert!(timetable.take_due(at(40), 9).is_empty());
        let due = timetable.take_due(at(60), 9);
        assert_eq!(ids(&timetable, &due), [1, 3]);
        assert_eq!(timetable.len(), 2);
    }

    #[test]
    fn a_schedule_rests_until_its_task_is_there() {
        let mut timetable = TimerHeap::default();
        put(&mut timetable, 1, 10);
        let slot = timetable.take_due(at(10), 9)[0];
        assert!(timetable.rest(slot));

        assert!(timetable.take_due(at(20), 9).is_empty());

        let [owner] = timetable.resting()[..] else { panic!("one owner has schedules that rest") };
        assert_eq!(*timetable.owner(owner), task("a"));
        assert_eq!(timetable.take_resting(owner), [slot]);
        assert!(timetable.wake(slot, owner, at(30)));
        assert!(!timetable.wake(slot, owner, at(30)), "it rests no more");
        assert_eq!(timetable.take_due(at(30), 9), [slot]);
        assert!(timetable.resting().is_empty());
    }

    #[test]
    fn one_that_is_replaced_again_and_again_takes_no_more_room() {
        let mut timetable = TimerHeap::default();
        for n in 0..10 * VOID as i64 {
            put(&mut timetable, n % 3, 1_000_000 + n);
            if n % 3 == 0 {
                timetable.forget(0);
            }
        }

        assert!(timetable.order.len() <= 2 * timetable.len() + VOID + 1, "{}", timetable.order.len());
        assert!(timetable.slab.len() <= 3);
        assert_eq!(timetable.take_due(at(10_000_000), 9).len(), timetable.len());
    }

    #[test]
    fn equal_definitions_are_kept_once() {
        let mut timetable = TimerHeap::default();

        let (Plan::Shared(one), Plan::Shared(two)) =
            (timetable.plan(r#"{"cron":"5 * * * *"}"#).unwrap(), timetable.plan(r#"{"cron":"5 * * * *"}"#).unwrap())
        else {
            panic!("a crontab is no instant")
        };

        assert!(Arc::ptr_eq(&one, &two));
        assert!(matches!(timetable.plan(r#"{"at_ms":5000}"#), Ok(Plan::At(instant)) if instant == at(5)));
        assert!(timetable.plan("nonsense").is_err());
    }

    #[test]
    fn a_parked_schedule_is_small() {
        // With its entries in the heap and the index of ids that is about a hundred bytes.
        assert!(size_of::<Option<Timer>>() <= 64, "{}", size_of::<Option<Timer>>());
    }
}
