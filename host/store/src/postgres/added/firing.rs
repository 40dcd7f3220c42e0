//! Fires many due instants of added schedules with a handful of statements.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::added::{DueSchedule, FireAdded, FireScheduleOutcome, ScheduleProgress};
use crate::postgres::counter_changes::CounterChanges;
use crate::postgres::errors::Step;
use crate::postgres::rows::{instant, name, number, to_sql};
use crate::postgres::runs::make;
use crate::postgres::tasks;
use crate::postgres::tx::Tx;
use crate::rules::added::{self as rules, Firing as Decision};
use crate::{EnqueueOutcome, NewRun};
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// See [`crate::added::AddedSchedules::fire_schedules`].
pub(super) async fn fire(tx: &mut Tx, fire: &FireAdded) -> Step<Vec<FireScheduleOutcome>> {
    let keys: Vec<TaskKey> = fire.tasks.iter().map(|task| task.key.clone()).collect();
    let ids = tasks::intern(tx, &keys).await?;
    let locked = tasks::lock(tx, &ids).await?;
    let paused: BTreeMap<i64, bool> = locked.iter().map(|row| (row.id, row.is_paused())).collect();
    let rows = rows(tx, &fire.due).await?;
    let mut firing = Firing {
        fire,
        paused: ids.iter().map(|id| paused.get(id).copied().unwrap_or(false)).collect(),
        busy: busy(tx, &rows).await?,
        rows,
        answers: vec![FireScheduleOutcome::Stale(None); fire.due.len()],
    };
    let mut tally = CounterChanges::default();
    let mut rest: Vec<usize> = (0..fire.due.len()).collect();
    while !rest.is_empty() {
        rest = firing.wave(tx, &mut tally, rest).await?;
    }
    write(tx, &firing.rows, fire.now).await?;
    tally.write(tx).await?;
    Ok(firing.answers)
}

/// A schedule as it is at this point of the transaction.
#[derive(Debug)]
struct Row {
    version: u64,
    progress: ScheduleProgress,
    key: Name,
    data: Option<Vec<u8>>,
    /// The number of instants that this transaction skips.
    skipped: i64,
    finished: bool,
    changed: bool,
}

/// The tenant and the key of a schedule.
type Owner = (Name, Name);

/// A call of [`fire`] in progress.
#[derive(Debug)]
struct Firing<'a> {
    fire: &'a FireAdded,
    /// Whether a task is paused, by its place in [`FireAdded::tasks`].
    paused: Vec<bool>,
    /// The schedules, by number, with their rows locked.
    rows: HashMap<i64, Row>,
    /// The schedules with a run that is not over.
    busy: HashSet<Owner>,
    answers: Vec<FireScheduleOutcome>,
}

impl Firing<'_> {
    /// Fires the due schedules at `places`, except those for which the result of an earlier one of the same key must be
    /// known first. Returns these.
    async fn wave(&mut self, tx: &mut Tx, tally: &mut CounterChanges, places: Vec<usize>) -> Step<Vec<usize>> {
        let (mut runs, mut made_for, mut making, mut later) = (Vec::new(), Vec::new(), HashSet::new(), Vec::new());
        for place in places {
            let due = &self.fire.due[place];
            // The answer stays `Stale` if there is no row.
            let Some(row) = self.rows.get(&due.id) else { continue };
            let owner = (self.fire.tasks[due.task].key.tenant.clone(), row.key.clone());
            if making.contains(&owner) {
                later.push(place);
                continue;
            }
            if row.finished {
                continue;
            }
            let (paused, busy) = (self.paused[due.task], self.busy.contains(&owner));
            match rules::fire(due, row.version, row.progress, paused, busy) {
                Decision::Stale => self.answers[place] = FireScheduleOutcome::Stale(Some((row.version, row.progress))),
                Decision::Move { skipped } => self.done(place, None, skipped),
                Decision::Make(due_at) => {
                    let task = &self.fire.tasks[due.task];
                    runs.push(NewRun::added(task, due, due_at, &row.key, row.data.clone(), self.fire.now));
                    made_for.push((place, owner.clone()));
                    making.insert(owner);
                }
            }
        }
        let made = make(tx, tally, &runs, self.fire.now).await?;
        for ((place, owner), made) in made_for.into_iter().zip(made) {
            // A run that existed before is over, or its key would have been busy.
            if !matches!(made, EnqueueOutcome::Existing(_)) {
                self.busy.insert(owner);
            }
            self.done(place, Some(made.run()), false);
        }
        Ok(later)
    }

    /// Records that the due schedule at `place` is dealt with.
    fn done(&mut self, place: usize, run: Option<RunId>, skipped: bool) {
        let due = &self.fire.due[place];
        let Some(row) = self.rows.get_mut(&due.id) else { return };
        row.progress.cursor = due.cursor;
        row.progress.fired += u64::from(run.is_some());
        row.skipped += i64::from(skipped);
        let fired = row.progress.fired;
        row.finished = rules::is_finished(due, run.is_some(), fired);
        row.changed = true;
        self.answers[place] = FireScheduleOutcome::Done { run, fired, finished: row.finished };
    }
}

/// Returns the due schedules that are not finished, locked in the order of their numbers.
async fn rows(tx: &Tx, due: &[DueSchedule]) -> Step<HashMap<i64, Row>> {
    let ids: Vec<i64> = due.iter().map(|due| due.id).collect();
    let rows = tx
        .query(
            "SELECT id, version, cursor_at, fired, key, data FROM schedules \
             WHERE id = ANY($1) AND finished_at IS NULL ORDER BY id FOR UPDATE",
            &[&ids],
        )
        .await?;
    let each = rows.iter().map(|row| {
        let found = Row {
            version: number(row, 1),
            progress: ScheduleProgress { cursor: instant(row, 2), fired: number(row, 3) },
            key: name(row, 4)?,
            data: row.get(5),
            skipped: 0,
            finished: false,
            changed: false,
        };
        Ok((row.get(0), found))
    });
    each.collect()
}

/// Returns the keys that have a run which is not over. By key, so that this holds across a deletion.
async fn busy(tx: &Tx, rows: &HashMap<i64, Row>) -> Step<HashSet<Owner>> {
    let keys: Vec<&str> = rows.values().map(|row| row.key.as_str()).collect();
    let sql = "SELECT DISTINCT t.tenant, r.schedule FROM runs_live r JOIN tasks t ON t.id = ANY (ARRAY[r.task]) \
               WHERE r.schedule = ANY($1)";
    let rows = tx.query(sql, &[&keys]).await?;
    rows.iter().map(|row| Ok((name(row, 0)?, name(row, 1)?))).collect()
}

fn each<'a, T>(rows: &'a [(i64, &'a Row)], column: impl Fn(i64, &'a Row) -> T) -> Vec<T> {
    rows.iter().map(|(id, row)| column(*id, row)).collect()
}

/// Writes the progress of the schedules.
async fn write(tx: &Tx, rows: &HashMap<i64, Row>, now: Timestamp) -> Step<()> {
    let changed: Vec<(i64, &Row)> = rows.iter().filter(|(_, row)| row.changed).map(|(id, row)| (*id, row)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    tx.execute(
        "UPDATE schedules s SET cursor_at = n.cursor_at, fired = n.fired, skipped = s.skipped + n.skipped, \
         finished_at = n.finished_at \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) \
         AS n(id, cursor_at, fired, skipped, finished_at) WHERE s.id = n.id",
        &[
            &each(&changed, |id, _| id),
            &each(&changed, |_, row| row.progress.cursor.as_millis()),
            &each(&changed, |_, row| to_sql(row.progress.fired)),
            &each(&changed, |_, row| row.skipped),
            &each(&changed, |_, row| row.finished.then_some(now.as_millis())),
        ],
    )
    .await?;
    Ok(())
}
