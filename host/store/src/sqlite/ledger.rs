//! The data that the writer keeps in memory: the rows of `tasks`, the pauses of tenants, and the last numbers given
//! out.
//!
//! Only one process has the file and only one thread writes it, so these never differ from the committed state, except
//! within a transaction: [`Ledger::flush`] writes the changes once per transaction, however many runs it moved, and
//! after a rollback everything is read anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use const_format::formatcp;
use rusqlite::{Connection, params};

use crate::codes::WAITING;
use sexton_domain::labels::Labels;
use sexton_domain::pause::Pauses;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::labels;
use super::rows::{STANDING_COLUMNS, maybe_instant, number, pause, pauses, standing, state_code, task_key, to_sql};

/// The number of a task's row in `tasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TaskId(pub(super) i64);

/// A task's state and sums.
#[derive(Debug)]
pub(super) struct TaskRow {
    /// Tenant and name.
    pub(super) key: TaskKey,
    /// The last instant that its schedule dealt with.
    pub(super) cursor: Option<Timestamp>,
    /// Runs that its schedule has made.
    pub(super) fired: u64,
    /// The memory of its trigger.
    pub(super) memory: Option<String>,
    /// The schedule that cursor, count and memory belong to.
    pub(super) schedule: Option<String>,
    /// The description of what it left out last.
    pub(super) left_out: Option<String>,
    /// Its pause, with start and reason.
    pub(super) paused: Option<Pause>,
    /// Its standing after its latest runs.
    pub(super) standing: Standing,
    /// Runs in each state, in the order of [`RunState::ALL`].
    pub(super) runs: [i64; 5],
    /// Bytes of inputs, outputs and logs of the runs that are over.
    pub(super) bytes: i64,
    /// The run that was the last to succeed, and when it ended.
    pub(super) latest_success: Option<(RunId, Timestamp)>,
    /// When its latest failed run ended.
    pub(super) latest_failure: Option<Timestamp>,
    /// The run whose attempt began last, and when.
    pub(super) latest_begun: Option<(RunId, Timestamp)>,
    /// The latest instant of its schedule whose run was deleted.
    pub(super) forgotten_until: Option<Timestamp>,
    /// No waiting run of the task has an earlier `run_at`. Not stored: a hint that saves a look.
    pub(super) not_before: Timestamp,
    /// The same for runs that start even while the task is held back.
    pub(super) held_not_before: Timestamp,
    /// The instant under which [`Ledger::waiting`] has the task, if it has it. Not stored.
    listed: Option<Timestamp>,
}

impl TaskRow {
    fn new(key: TaskKey) -> Self {
        let not_before = Timestamp::from_millis(i64::MIN);
        Self {
            key,
            cursor: None,
            fired: 0,
            memory: None,
            schedule: None,
            left_out: None,
            paused: None,
            standing: Standing::default(),
            runs: [0; 5],
            bytes: 0,
            latest_success: None,
            latest_failure: None,
            latest_begun: None,
            forgotten_until: None,
            not_before,
            held_not_before: not_before,
            listed: None,
        }
    }

    /// Returns how many of its runs are in `state`.
    pub(super) fn count(&self, state: RunState) -> i64 {
        self.runs[state_code(state) as usize]
    }

    /// Counts a run that entered `state`.
    pub(super) fn enter(&mut self, state: RunState) {
        self.runs[state_code(state) as usize] += 1;
    }

    /// Counts a run that left `state`.
    pub(super) fn leave(&mut self, state: RunState) {
        self.runs[state_code(state) as usize] -= 1;
    }
}

/// The most sets of labels whose numbers are kept in memory. More are looked up in the file.
const SETS: usize = 4096;

/// The rows of `tasks`, `pauses` and `counters`, and the numbers of tenants and of sets of labels.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Pauses of a tenant or of all. The code that changes them writes them, too.
    pub(super) pauses: Pauses,
    rows: BTreeMap<TaskId, TaskRow>,
    ids: HashMap<TaskKey, TaskId>,
    tenants: HashMap<Name, i64>,
    label_sets: HashMap<(i64, Labels), i64>,
    changed: BTreeSet<TaskId>,
    /// The tasks that have waiting runs, by the instant before which none of these is due: a claim looks at them alone.
    waiting: BTreeSet<(Timestamp, TaskId)>,
    /// The tasks whose place in `waiting` may be another by now.
    moved: BTreeSet<TaskId>,
    run: i64,
    fence: i64,
    counted: bool,
    /// No run that waits for its first attempt has to start by an earlier instant. Not stored: a hint that saves a
    /// look.
    start_by: Option<Timestamp>,
}

impl Ledger {
    /// Reads the ledger.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let (run, fence) = conn.query_row("SELECT run, fence FROM counters", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let mut statement = conn.prepare_cached(&format!(
            "SELECT tenant, name, cursor_at, id, waiting, running, succeeded, failed, cancelled, bytes, \
             latest_success, latest_success_at, {STANDING_COLUMNS}, fired, memory, schedule, left_out, \
             latest_failure_at, latest_begun, latest_begun_at, forgotten_until FROM tasks t",
        ))?;
        let rows = statement
            .query_map([], |r| {
                let mut row = TaskRow::new(task_key(r, 0)?);
                row.cursor = maybe_instant(r, 2)?;
                row.paused = pause(r, 12)?;
                row.standing = standing(r, 12)?;
                row.fired = number(r, 18)?;
                row.memory = r.get(19)?;
                row.schedule = r.get(20)?;
                row.left_out = r.get(21)?;
                row.latest_failure = maybe_instant(r, 22)?;
                row.latest_begun = r.get::<_, Option<i64>>(23)?.map(RunId).zip(maybe_instant(r, 24)?);
                row.forgotten_until = maybe_instant(r, 25)?;
                for (place, count) in row.runs.iter_mut().enumerate() {
                    *count = r.get(4 + place)?;
                }
                row.bytes = r.get(9)?;
                row.latest_success = r.get::<_, Option<i64>>(10)?.map(RunId).zip(maybe_instant(r, 11)?);
                Ok((TaskId(r.get(3)?), row))
            })?
            .collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
        let ids = rows.iter().map(|(id, row)| (row.key.clone(), *id)).collect();
        let moved = rows.iter().filter(|(_, row)| row.count(RunState::Waiting) > 0).map(|(id, _)| *id).collect();
        Ok(Self {
            pauses: pauses(conn)?,
            rows,
            ids,
            tenants: labels::tenants(conn)?,
            label_sets: HashMap::new(),
            changed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            moved,
            run,
            fence,
            counted: false,
            start_by: first_start_by(conn)?,
        })
    }

    /// Writes the changes since the last time.
    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.counted {
            conn.prepare_cached("UPDATE counters SET run = ?1, fence = ?2")?.execute([self.run, self.fence])?;
            self.counted = false;
        }
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut statement = conn.prepare_cached(
            "INSERT INTO tasks (id, tenant, name, cursor_at, paused, waiting, running, succeeded, failed, cancelled, \
             bytes, latest_success, latest_success_at, paused_at, paused_why, failures, crashes, held_until, fired, \
             memory, schedule, left_out, latest_failure_at, latest_begun, latest_begun_at, forgotten_until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
             ?22, ?23, ?24, ?25, ?26) \
             ON CONFLICT (id) DO UPDATE SET cursor_at = ?4, paused = ?5, waiting = ?6, running = ?7, succeeded = ?8, \
             failed = ?9, cancelled = ?10, bytes = ?11, latest_success = ?12, latest_success_at = ?13, \
             paused_at = ?14, paused_why = ?15, failures = ?16, crashes = ?17, held_until = ?18, fired = ?19, memory = ?20, \
             schedule = ?21, left_out = ?22, latest_failure_at = ?23, latest_begun = ?24, latest_begun_at = ?25, \
             forgotten_until = ?26",
        )?;
        while let Some(id) = self.changed.pop_first() {
            let row = self.row(id);
            let paused = row.paused.as_ref();
            statement.execute(params![
                id.0,
                row.key.tenant.as_str(),
                row.key.task.as_str(),
                row.cursor.map(Timestamp::as_millis),
                paused.is_some(),
                row.runs[0],
                row.runs[1],
                row.runs[2],
                row.runs[3],
                row.runs[4],
                row.bytes,
                row.latest_success.map(|(run, _)| run.0),
                row.latest_success.map(|(_, at)| at.as_millis()),
                paused.and_then(|pause| pause.since).map(Timestamp::as_millis),
                paused.and_then(|pause| pause.why.as_deref()),
                row.standing.failures,
                row.standing.crashes,
                row.standing.held_until.map(Timestamp::as_millis),
                to_sql(row.fired),
                row.memory.as_deref(),
                row.schedule.as_deref(),
                row.left_out.as_deref(),
                row.latest_failure.map(Timestamp::as_millis),
                row.latest_begun.map(|(run, _)| run.0),
                row.latest_begun.map(|(_, at)| at.as_millis()),
                row.forgotten_until.map(Timestamp::as_millis),
            ])?;
        }
        Ok(())
    }

    /// Returns the row of a task, which is made if there is none.
    pub(super) fn intern(&mut self, key: &TaskKey) -> TaskId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let id = TaskId(self.rows.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.ids.insert(key.clone(), id);
        self.rows.insert(id, TaskRow::new(key.clone()));
        self.changed.insert(id);
        id
    }

    /// Returns the number of a tenant, which is given out if there is none.
    pub(super) fn tenant(&mut self, conn: &Connection, name: &Name) -> rusqlite::Result<i64> {
        if let Some(id) = self.tenants.get(name) {
            return Ok(*id);
        }
        let id = labels::add_tenant(conn, name)?;
        self.tenants.insert(name.clone(), id);
        Ok(id)
    }

    /// Returns the number of a set of labels of a tenant, which is given out if there is none. No labels have none.
    pub(super) fn label_set(&mut self, conn: &Connection, tenant: i64, set: &Labels) -> rusqlite::Result<Option<i64>> {
        if set.is_empty() {
            return Ok(None);
        }
        let key = (tenant, set.clone());
        if let Some(id) = self.label_sets.get(&key) {
            return Ok(Some(*id));
        }
        let id = labels::add_set(conn, tenant, set)?;
        if self.label_sets.len() >= SETS {
            self.label_sets.clear();
        }
        self.label_sets.insert(key, id);
        Ok(Some(id))
    }

    /// Forgets sets of labels that are deleted.
    pub(super) fn forget_label_sets(&mut self, deleted: &[i64]) {
        self.label_sets.retain(|_, id| !deleted.contains(id));
    }

    /// Returns the number of a task, if there is a row for it.
    pub(super) fn find(&self, key: &TaskKey) -> Option<TaskId> {
        self.ids.get(key).copied()
    }

    /// Brings [`Ledger::waiting`] up to date. The cost depends on the number of tasks that changed since the last time.
    pub(super) fn list_waiting(&mut self) {
        while let Some(id) = self.moved.pop_first() {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            let place = (row.count(RunState::Waiting) > 0).then_some(row.not_before);
            let before = std::mem::replace(&mut row.listed, place);
            if before == place {
                continue;
            }
            if let Some(at) = before {
                self.waiting.remove(&(at, id));
            }
            if let Some(at) = place {
                self.waiting.insert((at, id));
            }
        }
    }

    /// Returns the tasks that have waiting runs, those first whose runs may be due first, as of the last
    /// [`Ledger::list_waiting`].
    pub(super) fn waiting(&self) -> impl Iterator<Item = (TaskId, &TaskRow)> {
        self.waiting.iter().map(|(_, id)| (*id, self.row(*id)))
    }

    /// Returns all tasks.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> impl Iterator<Item = (TaskId, &TaskRow)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// Returns a task's row.
    pub(super) fn row(&self, id: TaskId) -> &TaskRow {
        self.rows.get(&id).expect("ids come from `intern` or from rows that refer to `tasks`, where none is deleted")
    }

    /// Returns a task's row for a change, which is written with the transaction.
    pub(super) fn change(&mut self, id: TaskId) -> &mut TaskRow {
        self.changed.insert(id);
        self.moved.insert(id);
        self.rows
            .get_mut(&id)
            .expect("ids come from `intern` or from rows that refer to `tasks`, where none is deleted")
    }

    /// Returns whether none of a task's runs starts, because the task, its tenant or all tenants are paused.
    pub(super) fn is_paused(&self, row: &TaskRow) -> bool {
        row.paused.is_some() || self.pauses.all.is_some() || self.pauses.tenants.contains_key(&row.key.tenant)
    }

    /// Moves those cursors of `tenant`'s tasks (of all, without one) to `now` that `moves` selects: earlier instants are
    /// dealt with. Returns whether any was moved.
    pub(super) fn move_cursors(
        &mut self,
        tenant: Option<&Name>,
        now: Timestamp,
        moves: impl Fn(Timestamp) -> bool,
    ) -> bool {
        let mut moved = false;
        for (id, row) in &mut self.rows {
            let is_one = tenant.is_none_or(|tenant| row.key.tenant == *tenant);
            if is_one && row.cursor.is_some_and(|cursor| cursor != now && moves(cursor)) {
                row.cursor = Some(now);
                self.changed.insert(*id);
                moved = true;
            }
        }
        moved
    }

    /// Sets cursors, and the ends of holds, that are beyond `limit` back to `now`; and forgets when runs are due,
    /// because that was set back too. Returns the number of changed tasks.
    pub(super) fn move_back(&mut self, now: Timestamp, limit: Timestamp) -> u64 {
        self.forget_when_due();
        let mut changed = 0;
        for (id, row) in &mut self.rows {
            let ahead = [row.cursor, row.standing.held_until].map(|at| at.is_some_and(|at| at > limit));
            if ahead == [false, false] {
                continue;
            }
            row.cursor = row.cursor.map(|at| if at > limit { now } else { at });
            row.standing.held_until = row.standing.held_until.map(|at| if at > limit { now } else { at });
            self.changed.insert(*id);
            changed += 1;
        }
        changed
    }

    /// Forgets when waiting runs are due, because that was set back.
    pub(super) fn forget_when_due(&mut self) {
        let never = Timestamp::from_millis(i64::MIN);
        for (id, row) in &mut self.rows {
            (row.not_before, row.held_not_before) = (never, never);
            self.moved.insert(*id);
        }
    }

    /// Returns whether the cursor of a task is later than `now`; of one tenant if it is given.
    pub(super) fn is_ahead(&self, tenant: Option<&Name>, now: Timestamp) -> bool {
        let mut rows = self.rows.values().filter(|row| tenant.is_none_or(|tenant| row.key.tenant == *tenant));
        rows.any(|row| row.cursor.is_some_and(|cursor| cursor > now))
    }

    /// Remembers that no waiting run of the task is due before `at`.
    pub(super) fn set_not_before(&mut self, id: TaskId, at: Timestamp) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.not_before = at;
            self.moved.insert(id);
        }
    }

    /// Remembers the same for runs that start even while the task is held back.
    pub(super) fn set_held_not_before(&mut self, id: TaskId, at: Timestamp) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.held_not_before = at;
        }
    }

    /// Returns the first instant by which a run that waits for its first attempt has to start, or an earlier one.
    pub(super) fn start_by(&self) -> Option<Timestamp> {
        self.start_by
    }

    /// Remembers that a run has to start by `at`.
    pub(super) fn starts_by(&mut self, at: Timestamp) {
        self.start_by = Some(self.start_by.map_or(at, |first| first.min(at)));
    }

    /// Reads that first instant from the file.
    pub(super) fn look_up_start_by(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.start_by = first_start_by(conn)?;
        Ok(())
    }

    /// Remembers that numbers up to these were given out elsewhere.
    pub(super) fn note_numbers(&mut self, run: i64, fence: i64) {
        self.counted = true;
        self.run = self.run.max(run);
        self.fence = self.fence.max(fence);
    }

    /// Returns a run id that was never given out.
    pub(super) fn next_run(&mut self) -> RunId {
        self.counted = true;
        self.run += 1;
        RunId(self.run)
    }

    /// Returns a fence (or version) that is greater than all before.
    pub(super) fn next_fence(&mut self) -> i64 {
        self.counted = true;
        self.fence += 1;
        self.fence
    }
}

fn first_start_by(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(formatcp!(
        "SELECT min(start_by_at) FROM runs INDEXED BY runs_starting_by WHERE state = {WAITING} \
         AND start_by_at IS NOT NULL"
    ))?
    .query_row([], |row| maybe_instant(row, 0))
}
