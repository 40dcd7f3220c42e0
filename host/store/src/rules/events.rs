//! Decides which event tells a change, and how rows hold events.
//!
//! All events of a transaction are in one row: writing a row costs more than the text of an event. The text has a line
//! for each event, with its fields between tabs. It is no JSON, which only the API has.

use std::fmt::Write as _;

use crate::events::{Event, EventFilter, EventKind, EventPage};
use crate::hosts::Announcement;
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// The most events in one row. More are written as several rows, so that a reader takes pieces of bounded size.
const LINES: i64 = 1000;

/// The most rows that one call reads.
pub(crate) const ROWS: i64 = 32;

/// The rows that are deleted in one piece. A row may have 1000 events, about 100 KB.
pub(crate) const PIECE: i64 = 16;

/// Returns the kind of event that tells the end of an attempt, by the state that its run has entered.
pub(crate) fn of_end(entered: RunState) -> EventKind {
    match entered {
        RunState::Succeeded | RunState::Failed => EventKind::RunFinished,
        RunState::Cancelled => EventKind::RunCancelled,
        RunState::Waiting | RunState::Running => EventKind::RunWaiting,
    }
}

/// Returns the kind of event that tells an announcement of a host, if it is worth one: its first, or its last.
pub(crate) fn of_announcement(announcement: &Announcement) -> Option<EventKind> {
    match announcement {
        Announcement { takes_over: true, .. } => Some(EventKind::HostJoined),
        Announcement { alive_until, now, .. } if alive_until <= now => Some(EventKind::HostLeft),
        Announcement { .. } => None,
    }
}

/// An event that a transaction is about to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEvent<'a> {
    kind: EventKind,
    at: Timestamp,
    tenant: &'a str,
    task: &'a str,
    run: Option<RunId>,
    attempt: u32,
    state: &'static str,
    outcome: &'static str,
    host: &'a str,
    name: &'a str,
}

impl<'a> NewEvent<'a> {
    fn of(kind: EventKind, at: Timestamp) -> Self {
        Self { kind, at, tenant: "", task: "", run: None, attempt: 0, state: "", outcome: "", host: "", name: "" }
    }

    /// Creates an event about a task.
    pub(crate) fn of_task(kind: EventKind, at: Timestamp, task: &'a TaskKey) -> Self {
        Self { tenant: task.tenant.as_str(), task: task.task.as_str(), ..Self::of(kind, at) }
    }

    /// Creates an event about the run `run` of `task`, which has entered `state`.
    pub(crate) fn of_run(kind: EventKind, at: Timestamp, task: &'a TaskKey, run: RunId, state: RunState) -> Self {
        Self { run: Some(run), state: state.as_str(), ..Self::of_task(kind, at, task) }
    }

    /// Creates the event that a run was made: `skipped` ones are cancelled at once.
    pub(crate) fn of_new_run(at: Timestamp, task: &'a TaskKey, run: RunId, skipped: bool) -> Self {
        match skipped {
            false => Self::of_run(EventKind::RunQueued, at, task, run, RunState::Waiting),
            true => Self::of_run(EventKind::RunSkipped, at, task, run, RunState::Cancelled).outcome(Outcome::Skipped),
        }
    }

    /// Creates the event that a waiting run was cancelled.
    pub(crate) fn of_cancelled(at: Timestamp, task: &'a TaskKey, run: RunId) -> Self {
        Self::of_run(EventKind::RunCancelled, at, task, run, RunState::Cancelled)
    }

    /// Creates an event about a pause.
    pub(crate) fn of_pause(kind: EventKind, at: Timestamp, target: &'a PauseTarget) -> Self {
        let (tenant, task) = target.names();
        Self { tenant, task, ..Self::of(kind, at) }
    }

    /// Creates an event about the plugin or the added schedule `name` of a tenant.
    pub(crate) fn of_named(kind: EventKind, at: Timestamp, tenant: &'a Name, name: &'a Name) -> Self {
        Self { tenant: tenant.as_str(), name: name.as_str(), ..Self::of(kind, at) }
    }

    /// Creates an event about a host.
    pub(crate) fn of_host(kind: EventKind, at: Timestamp, host: &'a str) -> Self {
        Self { host, ..Self::of(kind, at) }
    }

    /// Sets the attempt and the host that carries it out.
    pub(crate) fn attempt(self, attempt: u32, host: &'a str) -> Self {
        Self { attempt, host, ..self }
    }

    /// Sets the outcome of the attempt.
    pub(crate) fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome: outcome.as_str(), ..self }
    }
}

/// The events that a transaction has told so far.
#[derive(Debug, Default)]
pub(crate) struct EventBatch {
    on: bool,
    rows: Vec<NewRow>,
}

/// A row that is about to be written.
#[derive(Debug)]
pub(crate) struct NewRow {
    /// The number of its events.
    pub(crate) lines: i64,
    /// When the last of them happened.
    pub(crate) told_at: Timestamp,
    pub(crate) body: String,
}

impl EventBatch {
    /// Begins a transaction, whose events are kept if they are `on`.
    pub(crate) fn begin(on: bool) -> Self {
        Self { on, rows: Vec::new() }
    }

    /// Adds an event.
    pub(crate) fn tell(&mut self, event: NewEvent<'_>) {
        if !self.on {
            return;
        }
        if self.rows.last().is_none_or(|row| row.lines >= LINES) {
            self.rows.push(NewRow { lines: 0, told_at: event.at, body: String::new() });
        }
        let Some(row) = self.rows.last_mut() else { return };
        row.lines += 1;
        row.told_at = row.told_at.max(event.at);
        write_line(&mut row.body, &event);
    }

    /// Returns the rows to write.
    pub(crate) fn rows(&self) -> &[NewRow] {
        &self.rows
    }
}

fn write_line(body: &mut String, event: &NewEvent<'_>) {
    let NewEvent { kind, at, tenant, task, run, attempt, state, outcome, host, name } = event;
    // Writing to a string never fails.
    let _ = write!(body, "{}\t{kind}\t{tenant}\t{task}\t", at.as_millis());
    if let Some(run) = run {
        let _ = write!(body, "{}", run.0);
    }
    body.push('\t');
    if *attempt > 0 {
        let _ = write!(body, "{attempt}");
    }
    let _ = write!(body, "\t{state}\t{outcome}\t");
    // Of all fields only the name of a host may have characters that would end it.
    body.extend(host.chars().filter(|c| !c.is_control()));
    body.push('\t');
    body.push_str(name);
    body.push('\n');
}

/// Reads a line. `None` if a later program wrote it, with a kind or a word that this one does not know.
fn read_line(id: u64, line: &str) -> Option<Event> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let at = Timestamp::from_millis(next()?.parse().ok()?);
    let kind = next()?;
    let kind = EventKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let (tenant, task) = (name(next()?)?, name(next()?)?);
    let run = optional(next()?, |text| text.parse().ok().map(RunId))?;
    let attempt = optional(next()?, |text| text.parse().ok())?;
    let state = optional(next()?, |text| RunState::ALL.into_iter().find(|state| state.as_str() == text))?;
    let outcome = optional(next()?, |text| Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text))?;
    let host = optional(next()?, |text| Some(text.to_owned()))?;
    let name = name(next()?)?;
    Some(Event { id, at, kind, tenant, task, run, attempt, state, outcome, host, name })
}

/// Reads a field that may be empty.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

fn name(text: &str) -> Option<Option<Name>> {
    optional(text, |text| Name::new(text).ok())
}

/// A row as a reader finds it.
#[derive(Debug)]
pub(crate) struct Row {
    /// The id of its last event.
    pub(crate) last_id: u64,
    /// The number of its events.
    pub(crate) lines: u64,
    pub(crate) body: String,
}

impl Row {
    /// Returns the id before that of its first event.
    fn before(&self) -> u64 {
        self.last_id.saturating_sub(self.lines)
    }
}

/// Makes a page of the first [`ROWS`] rows that end after the id `after`. `newest` is the newest id, read before the
/// rows.
pub(crate) fn page(after: u64, newest: u64, rows: &[Row], filter: &EventFilter, limit: usize) -> EventPage {
    let lost = match rows.first() {
        Some(first) => first.before() > after,
        None => after != newest,
    };
    if lost && after != 0 {
        return EventPage { events: Vec::new(), until: newest, more: false, lost: true };
    }
    let all_rows = i64::try_from(rows.len()).is_ok_and(|count| count < ROWS);
    let mut page = EventPage { events: Vec::new(), until: after, more: !all_rows, lost: false };
    if rows.is_empty() {
        page.until = newest;
    }
    for row in rows {
        for (id, line) in (row.before() + 1..).zip(row.body.lines()) {
            if id <= after {
                continue;
            }
            if page.events.len() >= limit {
                page.more = true;
                return page;
            }
            page.until = id;
            page.events.extend(read_line(id, line).filter(|event| filter.admits(event)));
        }
        page.until = page.until.max(row.last_id);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> TaskKey {
        TaskKey { tenant: Name::default_tenant(), task: Name::new("a").unwrap() }
    }

    fn rows(batch: &EventBatch) -> Vec<Row> {
        let mut last_id = 0;
        let each = batch.rows().iter().map(|row| {
            last_id += row.lines.unsigned_abs();
            Row { last_id, lines: row.lines.unsigned_abs(), body: row.body.clone() }
        });
        each.collect()
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let (task, at) = (task(), Timestamp::from_millis(-5));
        let mut batch = EventBatch::begin(true);
        let end = NewEvent::of_run(EventKind::RunFinished, at, &task, RunId(7), RunState::Failed);
        batch.tell(end.attempt(2, "a host\n\twith ends").outcome(Outcome::OutOfFuel));
        batch.tell(NewEvent::of_host(EventKind::HostLeft, at, "box"));

        let page = page(0, 2, &rows(&batch), &EventFilter::default(), 10);

        let [end, left] = &page.events[..] else { panic!("{page:?}") };
        assert_eq!((end.id, end.at, end.kind, end.run), (1, at, EventKind::RunFinished, Some(RunId(7))));
        assert_eq!((end.tenant.clone(), end.task.clone()), (Some(task.tenant), Some(task.task)));
        assert_eq!((end.attempt, end.state), (Some(2), Some(RunState::Failed)));
        assert_eq!((end.outcome, end.host.as_deref()), (Some(Outcome::OutOfFuel), Some("a hostwith ends")));
        assert_eq!((left.id, left.kind, left.tenant.clone(), left.run), (2, EventKind::HostLeft, None, None));
        assert_eq!((page.until, page.more, page.lost), (2, false, false));
    }

    #[test]
    fn an_event_of_an_unknown_kind_is_left_out_and_keeps_its_id() {
        let body = "1\trun.vanished\tdefault\ta\t\t\t\t\t\t\n1\ttask.paused\tdefault\ta\t\t\t\t\t\t\n".to_owned();
        let page = page(3, 5, &[Row { last_id: 5, lines: 2, body }], &EventFilter::default(), 10);

        assert_eq!(page.events.iter().map(|event| event.id).collect::<Vec<_>>(), [5]);
        assert_eq!(page.until, 5);
    }

    #[test]
    fn a_page_that_is_full_ends_within_a_row() {
        let (task, mut batch) = (task(), EventBatch::begin(true));
        for run in 0..LINES + 1 {
            batch.tell(NewEvent::of_new_run(Timestamp::default(), &task, RunId(run), run % 2 == 0));
        }
        let rows = rows(&batch);
        let skipped = EventFilter { kinds: vec![EventKind::RunSkipped], ..EventFilter::default() };

        assert_eq!(rows.iter().map(|row| row.lines).collect::<Vec<_>>(), [1000, 1]);
        let first = page(0, 1001, &rows, &skipped, 3);
        assert_eq!((first.events.last().map(|event| event.id), first.until, first.more), (Some(5), 5, true));
        let rest = page(first.until, 1001, &rows, &skipped, 1000);
        assert_eq!((rest.events.len(), rest.until, rest.more), (498, 1001, false));
    }

    #[test]
    fn an_id_that_is_too_old_or_was_never_given_out_is_lost() {
        let row = || Row { last_id: 12, lines: 2, body: String::new() };
        let lost = |after: u64, rows: &[Row]| page(after, 12, rows, &EventFilter::default(), 10).lost;

        assert!(lost(9, &[row()]) && !lost(10, &[row()]) && !lost(11, &[row()]));
        assert!(!lost(12, &[]) && lost(13, &[]) && lost(3, &[]));
        assert!(!lost(0, &[row()]) && !lost(0, &[]), "0 stands for the first that is kept");
    }

    #[test]
    fn a_word_names_a_kind_or_all_that_begin_with_it() {
        assert_eq!(EventKind::named("run.started"), [EventKind::RunStarted]);
        assert_eq!(EventKind::named("host"), [EventKind::HostJoined, EventKind::HostLeft]);
        assert!(EventKind::named("ru").is_empty() && EventKind::named("").is_empty());
    }
}
