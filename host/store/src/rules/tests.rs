//! Tests the rules by themselves, with facts that no store must be brought to.

use std::time::Duration;

use super::added::{Decision, Firing, Stored};
use super::cache::{Condition, Found, Keeping, KeptVersion, Usage};
use super::*;
use crate::added::{
    AddSchedule, DueSchedule, GuestSchedule, GuestSchedules, ScheduleError, ScheduleInfo, ScheduleKey, ScheduleProgress,
};
use crate::loss::NEVER;
use crate::testkit;
use crate::{CacheKey, CacheWrite, ClaimRequest, MOST_KEPT, StoreError, TenantShare, WriteIf};
use sexton_domain::lifecycle::Transition;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, ClaimKey, Outcome, Output, Report, RunId, RunState};
use sexton_domain::schedule::routes::Target;
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const CLAIM: ClaimKey = ClaimKey { run: RunId(1), attempt: 1, fence: 1 };

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

mod adding {
    use super::*;

    fn key() -> ScheduleKey {
        ScheduleKey { tenant: name("acme"), key: name("nightly") }
    }

    /// No schedules that tasks have added.
    const NO_OTHERS: GuestSchedules = GuestSchedules { schedules: 0, deleted: 0, bytes: 0 };

    fn new(definition: &str) -> AddSchedule {
        AddSchedule {
            key: key(),
            target: Target::Task(name("report")),
            definition: definition.to_owned(),
            data: None,
            cursor: NOW,
            replace: false,
            version: None,
            guest: None,
            now: NOW,
        }
    }

    fn info(definition: &str, finished_at: Option<Timestamp>) -> ScheduleInfo {
        ScheduleInfo {
            key: key(),
            target: Target::Task(name("report")),
            added_by: None,
            version: 7,
            definition: definition.to_owned(),
            data_bytes: None,
            created_at: Timestamp::from_millis(0),
            cursor: NOW,
            fired: 0,
            skipped: 0,
            finished_at,
        }
    }

    fn stored(definition: &str, finished_at: Option<Timestamp>) -> Option<Stored> {
        Some(Stored { id: 1, info: info(definition, finished_at), data: None, deleted: false })
    }

    fn guest(run_created_at: Option<Timestamp>) -> Option<GuestSchedule> {
        Some(GuestSchedule { task: name("caller"), claim: CLAIM, most: 2, bytes: 10, run_created_at })
    }

    /// Returns a schedule that the task `caller` has added at the epoch.
    fn by_task(definition: &str, finished_at: Option<Timestamp>) -> Option<Stored> {
        let info = ScheduleInfo { added_by: Some(name("caller")), ..info(definition, finished_at) };
        stored(definition, finished_at).map(|found| Stored { info, ..found })
    }

    #[test]
    fn a_task_does_not_replace_a_schedule_that_appeared_after_its_grant_was_checked() {
        let add = AddSchedule { guest: guest(None), replace: true, ..new("a") };
        let preempted = || Err(ScheduleError::Preempted { key: name("nightly"), version: 7 });

        assert_eq!(added::add(&add, by_task("b", None), NO_OTHERS, false), preempted());
        assert_eq!(added::add(&add, by_task("b", Some(NOW)), NO_OTHERS, false), preempted());
        assert!(matches!(added::add(&add, by_task("a", None), NO_OTHERS, false), Ok(Decision::Keep(_))));
    }

    #[test]
    fn rows_of_deleted_schedules_count_until_they_are_gone() {
        let add = AddSchedule { guest: guest(None), ..new("a") };
        let others = |schedules, deleted| GuestSchedules { schedules, deleted, bytes: 0 };
        let deleted = by_task("b", Some(NOW)).map(|found| Stored { deleted: true, ..found });

        assert_eq!(added::add(&add, None, others(1, 8), false), Ok(Decision::Write { replaces: false }));
        let full = added::add(&add, None, others(1, 9), false).unwrap_err();
        assert_eq!(full, ScheduleError::DeletedTooMany { deleted: 9 });
        assert!(full.to_string().contains("deleted 9 schedules within the last hour"), "{full}");
        assert_eq!(added::add(&add, deleted, others(1, 9), false), Ok(Decision::Write { replaces: false }));
        let person = AddSchedule { guest: None, ..add };
        assert_eq!(added::add(&person, None, others(1, 9), false), Ok(Decision::Write { replaces: false }));
    }

    #[test]
    fn a_task_that_adds_a_finished_schedule_again_repeats_what_its_run_has_done() {
        let finished = || by_task("a", Some(NOW));
        let keep = |run_created_at, replace| {
            let add = AddSchedule { guest: guest(run_created_at), version: Some(7), replace, ..new("a") };
            matches!(added::add(&add, finished(), NO_OTHERS, false), Ok(Decision::Keep(_)))
        };
        let epoch = Timestamp::from_millis(0);

        assert!(keep(None, false));
        assert!(keep(Some(epoch), true), "the schedule was added after the run was made");
        assert!(!keep(Some(NOW), true), "an earlier run has added it, and this one begins it anew");
        assert!(!keep(None, true));
        let other = AddSchedule { guest: guest(Some(epoch)), version: Some(7), replace: true, ..new("b") };
        assert_eq!(added::add(&other, finished(), NO_OTHERS, false), Ok(Decision::Write { replaces: true }));
        let of_person = AddSchedule { guest: guest(Some(epoch)), ..new("a") };
        let taken = Err(ScheduleError::AlreadyExists(name("nightly")));
        assert_eq!(added::add(&of_person, stored("a", Some(NOW)), NO_OTHERS, false), taken);
    }

    #[test]
    fn a_task_adds_schedules_where_there_is_room_and_changes_none_of_a_person() {
        let add = AddSchedule { guest: guest(None), data: Some(vec![0; 4]), replace: true, ..new("a") };
        let others = |schedules, bytes| GuestSchedules { schedules, deleted: 0, bytes };

        assert_eq!(added::add(&add, None, others(1, 6), false), Ok(Decision::Write { replaces: false }));
        for full in [others(2, 0), others(1, 7)] {
            assert!(
                matches!(added::add(&add, None, full, false), Err(ScheduleError::Full { most: 2, .. })),
                "{full:?}"
            );
        }
        let of_version = AddSchedule { version: Some(7), ..add.clone() };
        assert_eq!(
            added::add(&of_version, by_task("b", None), NO_OTHERS, false),
            Ok(Decision::Write { replaces: true })
        );
        let taken = Err(ScheduleError::AlreadyExists(name("nightly")));
        assert_eq!(added::add(&add, stored("b", None), NO_OTHERS, false), taken);
        let person = AddSchedule { guest: None, ..add };
        assert_eq!(added::add(&person, None, others(9, 99), false), Ok(Decision::Write { replaces: false }));
    }

    #[test]
    fn a_schedule_is_written_if_its_key_is_free_or_was_deleted() {
        let write = Ok(Decision::Write { replaces: false });
        assert_eq!(added::add(&new("a"), None, NO_OTHERS, false), write);
        let deleted = stored("b", None).map(|found| Stored { deleted: true, ..found });
        assert_eq!(added::add(&new("a"), deleted.clone(), NO_OTHERS, false), write);
        let of_version = AddSchedule { version: Some(7), ..new("a") };
        assert_eq!(added::add(&of_version, deleted, NO_OTHERS, false), Err(ScheduleError::NotFound(name("nightly"))));
    }

    #[test]
    fn adding_the_same_schedule_again_changes_nothing_and_a_different_one_needs_replace() {
        assert_eq!(added::add(&new("a"), stored("a", None), NO_OTHERS, false), Ok(Decision::Keep(info("a", None))));
        let taken = Err(ScheduleError::AlreadyExists(name("nightly")));
        assert_eq!(added::add(&new("b"), stored("a", None), NO_OTHERS, false), taken);
        let data = AddSchedule { data: Some(b"x".to_vec()), ..new("a") };
        assert_eq!(added::add(&data, stored("a", None), NO_OTHERS, false), taken);
        let replacing = AddSchedule { replace: true, ..new("b") };
        assert_eq!(added::add(&replacing, stored("a", None), NO_OTHERS, false), Ok(Decision::Write { replaces: true }));
    }

    #[test]
    fn a_finished_schedule_starts_afresh_only_if_it_is_replaced() {
        let finished = || stored("a", Some(NOW));
        let refused = Err(ScheduleError::AlreadyFinished { key: name("nightly"), at: NOW });
        assert_eq!(added::add(&new("a"), finished(), NO_OTHERS, false), refused);
        let replacing = AddSchedule { replace: true, ..new("a") };
        assert_eq!(added::add(&replacing, finished(), NO_OTHERS, false), Ok(Decision::Write { replaces: true }));
    }

    #[test]
    fn a_schedule_that_changed_since_it_was_read_is_left_alone() {
        let of = |version| AddSchedule { replace: true, version: Some(version), ..new("b") };
        let preempted = Err(ScheduleError::Preempted { key: name("nightly"), version: 7 });
        assert_eq!(added::add(&of(6), stored("a", None), NO_OTHERS, false), preempted);
        assert_eq!(added::add(&of(7), stored("a", None), NO_OTHERS, false), Ok(Decision::Write { replaces: true }));
    }

    #[test]
    fn a_write_in_doubt_whose_result_exists_counts_as_done() {
        let mut found = info("a", None);
        found.created_at = NOW;
        let found = || Some(Stored { id: 1, info: found.clone(), data: None, deleted: false });
        let of_version = AddSchedule { version: Some(6), ..new("a") };
        assert!(matches!(added::add(&of_version, found(), NO_OTHERS, true), Ok(Decision::Keep(_))));
        assert!(matches!(added::add(&of_version, found(), NO_OTHERS, false), Err(ScheduleError::Preempted { .. })));
    }

    fn due(due_at: Option<Timestamp>) -> DueSchedule {
        DueSchedule {
            id: 1,
            version: 7,
            expect: NOW,
            task: 0,
            due_at,
            delay: Duration::ZERO,
            left_out: 0,
            uncounted: false,
            cursor: later(1),
            times: Some(3),
            last: false,
        }
    }

    #[test]
    fn a_due_instant_makes_a_run_unless_it_is_stale_or_the_task_is_paused_or_a_run_is_not_over() {
        let at = ScheduleProgress { cursor: NOW, fired: 0 };
        let (some, none) = (due(Some(later(1))), due(None));
        assert_eq!(added::fire(&some, 7, at, false, false), Firing::Make(later(1)));
        assert_eq!(added::fire(&some, 8, at, false, false), Firing::Stale);
        assert_eq!(added::fire(&some, 7, ScheduleProgress { cursor: later(1), fired: 0 }, false, false), Firing::Stale);
        assert_eq!(added::fire(&some, 7, at, false, true), Firing::Move { skipped: true });
        assert_eq!(added::fire(&some, 7, at, true, true), Firing::Move { skipped: false }, "a paused task skips none");
        assert_eq!(added::fire(&none, 7, at, false, true), Firing::Move { skipped: false });
    }

    #[test]
    fn a_schedule_is_finished_with_its_last_instant_or_its_last_run() {
        let last = DueSchedule { last: true, ..due(None) };
        assert!(added::is_finished(&last, false, 0));
        assert!(!added::is_finished(&due(None), true, 2));
        assert!(added::is_finished(&due(None), true, 3));
        assert!(!added::is_finished(&due(None), false, 3), "only a run that is made is the last");
    }
}

mod caching {
    use super::*;

    fn write(value: usize, quota: u64, budget: Option<u64>) -> CacheWrite {
        CacheWrite {
            key: CacheKey { tenant: name("acme"), key: "k".repeat(10) },
            value: vec![0; value],
            expires_at: None,
            only: WriteIf::Always,
            claim: Some(CLAIM),
            keep: None,
            quota,
            budget,
            now: NOW,
        }
    }

    fn entry(bytes: i64, writer: Option<i64>) -> Option<Found> {
        Some(Found { version: 5, bytes, is_alive: true, writer, keep: None })
    }

    #[test]
    fn keys_and_values_count_and_usage_may_equal_the_quota() {
        let usage = Usage { of_tenant: 70, of_task: 0, entry: None, kept: Vec::new() };
        assert!(cache::exceeded(&write(20, 100, None), Some(1), &usage).is_none(), "70 + 10 + 20 is 100");
        let full = cache::exceeded(&write(21, 100, None), Some(1), &usage);
        assert!(matches!(full, Some(StoreError::CacheFull { used: 70, quota: 100 })), "{full:?}");
    }

    #[test]
    fn a_value_that_shrinks_is_admitted_over_a_lowered_quota() {
        let usage = Usage { of_tenant: 500, of_task: 500, entry: entry(50, Some(1)), kept: Vec::new() };
        assert!(cache::exceeded(&write(50, 100, Some(100)), Some(1), &usage).is_none(), "it does not grow");
        assert!(cache::exceeded(&write(51, 100, Some(100)), Some(1), &usage).is_some());
    }

    #[test]
    fn a_task_is_charged_for_overwriting_another_tasks_entry() {
        let of = |writer| Usage { of_tenant: 60, of_task: 30, entry: entry(40, writer), kept: Vec::new() };
        let budget = |writer| cache::exceeded(&write(41, 1000, Some(50)), Some(1), &of(writer));
        assert!(matches!(budget(Some(2)), Some(StoreError::CacheBudget { used: 30, budget: 50 })));
        assert!(budget(Some(1)).is_none(), "its own entry was counted before");
        let nobodys = cache::exceeded(&write(41, 1000, Some(50)), None, &of(None));
        assert!(nobodys.is_none(), "people have no budget");
    }

    /// Versions of ten bytes each, from the latest to the earliest, written by task 1.
    fn kept(versions: &[u64]) -> Vec<KeptVersion> {
        versions
            .iter()
            .map(|version| KeptVersion { version: *version, bytes: 10, is_alive: true, writer: Some(1) })
            .collect()
    }

    fn with_versions(keep: Option<u32>, versions: &[u64]) -> Usage {
        let entry = entry(10, Some(1)).map(|found| Found { keep, ..found });
        Usage { of_tenant: 100, of_task: 100, entry, kept: kept(versions) }
    }

    fn keeps(keep: Option<u32>, usage: &Usage) -> Keeping {
        cache::keeping(&CacheWrite { keep, ..write(10, 1000, None) }, usage)
    }

    #[test]
    fn a_write_keeps_the_version_that_it_replaces_and_drops_those_beyond_the_number() {
        let full = with_versions(Some(3), &[4, 3, 2]);

        assert_eq!(keeps(Some(3), &full), Keeping { keep: Some(3), moves: true, gone: kept(&[2]) });
        assert_eq!(keeps(None, &full), keeps(Some(3), &full), "a write without a word leaves the number as it is");
        assert_eq!(keeps(Some(1), &full), Keeping { keep: Some(1), moves: true, gone: kept(&[4, 3, 2]) });
        assert_eq!(keeps(Some(0), &full), Keeping { keep: None, moves: false, gone: kept(&[4, 3, 2]) });
        let first = keeps(Some(2), &with_versions(None, &[]));
        assert_eq!(first, Keeping { keep: Some(2), moves: true, gone: vec![] });
        assert_eq!(keeps(None, &with_versions(None, &[])), Keeping { keep: None, moves: false, gone: vec![] });
        assert_eq!(keeps(Some(9999), &full).keep, Some(MOST_KEPT));
    }

    #[test]
    fn versions_of_an_entry_that_is_gone_do_not_come_back() {
        let mut expired = with_versions(Some(3), &[4, 3]);
        expired.entry = expired.entry.map(|found| Found { is_alive: false, ..found });
        let mut of_expired_version = with_versions(Some(3), &[4, 3]);
        of_expired_version.kept[0].is_alive = false;

        assert_eq!(keeps(None, &expired), Keeping { keep: None, moves: false, gone: kept(&[4, 3]) });
        assert_eq!(keeps(Some(3), &expired), Keeping { keep: Some(3), moves: false, gone: kept(&[4, 3]) });
        assert_eq!(keeps(Some(3), &of_expired_version).gone, &of_expired_version.kept[..1]);
        let left_over = with_versions(None, &[4, 3]);
        assert_eq!(keeps(Some(3), &left_over), Keeping { keep: Some(3), moves: true, gone: kept(&[4, 3]) });
    }

    #[test]
    fn kept_versions_count_and_those_that_go_make_room() {
        let write = |keep, bytes| CacheWrite { keep: Some(keep), ..write(bytes, 100, Some(100)) };
        let full = with_versions(Some(2), &[4, 3]);

        let exceeds = |keep, bytes| cache::exceeded(&write(keep, bytes), Some(1), &full).is_some();

        // Each version counts 20: its key and its value.
        assert!(!exceeds(2, 10), "one goes for one that comes");
        assert!(exceeds(2, 11) && exceeds(3, 10));
        assert!(!exceeds(1, 30) && !exceeds(0, 50));
        let others = Usage {
            kept: full.kept.iter().map(|kept| KeptVersion { writer: Some(2), ..*kept }).collect(),
            ..full.clone()
        };
        let of_others = cache::exceeded(&write(2, 10), Some(1), &others);
        assert!(matches!(of_others, Some(StoreError::CacheBudget { .. })), "{of_others:?}");
    }

    #[test]
    fn write_conditions_treat_expired_entries_as_absent() {
        let of = |only| CacheWrite { only, ..write(1, 100, None) };
        let dead = entry(1, None).map(|found| Found { is_alive: false, ..found });
        assert_eq!(cache::condition(&of(WriteIf::Absent), dead), Condition::Is(true));
        assert_eq!(cache::condition(&of(WriteIf::Absent), entry(1, None)), Condition::Is(false));
        assert_eq!(cache::condition(&of(WriteIf::Version(5)), entry(1, None)), Condition::Is(true));
        assert_eq!(cache::condition(&of(WriteIf::Version(5)), dead), Condition::Is(false));
        assert_eq!(cache::condition(&of(WriteIf::Version(4)), entry(1, None)), Condition::Is(false));
        let write = of(WriteIf::Refreshing(3));
        let while_held = Condition::IfHeld(cache::refresh_lock(&write.key), CLAIM, 3);
        assert_eq!(cache::condition(&write, None), while_held);
        let unclaimed = CacheWrite { claim: None, ..of(WriteIf::Refreshing(3)) };
        assert_eq!(cache::condition(&unclaimed, None), Condition::Is(false));
    }
}

mod ending {
    use super::*;

    #[test]
    fn a_run_that_was_asked_to_end_does_not_wait_again() {
        let wait = Transition::Wait { run_at: later(1), failed: false };
        assert_eq!(finish::state_after(&wait, false), RunState::Waiting);
        assert_eq!(finish::state_after(&wait, true), RunState::Cancelled);
        assert_eq!(finish::state_after(&Transition::HoldBack, true), RunState::Cancelled);
        assert_eq!(finish::state_after(&Transition::Fail, true), RunState::Failed, "it had failed already");
        let output = Output { body: Vec::new(), content_type: None };
        assert_eq!(finish::state_after(&Transition::Succeed(output), true), RunState::Succeeded);
    }

    #[test]
    fn deferring_is_no_failure_and_a_held_back_run_never_starts_by_itself() {
        assert!(!finish::is_failure(&Transition::Wait { run_at: NOW, failed: false }));
        assert!(finish::is_failure(&Transition::Wait { run_at: NOW, failed: true }));
        assert!(finish::is_failure(&Transition::HoldBack) && finish::is_failure(&Transition::Fail));
        assert!(!finish::is_failure(&Transition::Cancel));
        assert_eq!(finish::starts_again_at(&Transition::HoldBack), Some(NEVER));
        assert_eq!(finish::starts_again_at(&Transition::Fail), None);
    }

    #[test]
    fn a_killed_run_shows_the_reason_of_the_request_and_others_show_the_attempts_message() {
        let report = |outcome, message: Option<&str>| Report {
            message: message.map(str::to_owned),
            ..crate::conformance::report(outcome)
        };
        let said = |outcome, message, asked| finish::message(&report(outcome, message), asked).map(str::to_owned);
        assert_eq!(said(Outcome::Killed, Some("killed"), Some("too slow")).as_deref(), Some("too slow"));
        assert_eq!(said(Outcome::Killed, Some("killed"), None).as_deref(), Some("killed"));
        assert_eq!(said(Outcome::Trapped, Some("a trap"), Some("too slow")).as_deref(), Some("a trap"));
        assert_eq!(said(Outcome::Lost, None, Some("too slow")).as_deref(), Some("too slow"));
    }
}

#[test]
fn resuming_a_task_moves_its_cursor_to_now_if_it_was_paused_or_ahead() {
    let clean = Standing::default();
    let task = |cursor, is_paused| pausing::Paused { cursor, is_paused, standing: &clean, has_left_out: false };
    assert_eq!(pausing::resume(task(Some(NOW), false), later(9)), None, "there is nothing to resume");
    assert_eq!(pausing::resume(task(Some(NOW), true), later(9)), Some(Some(later(9))));
    assert_eq!(pausing::resume(task(Some(later(99)), false), later(9)), Some(Some(later(9))));
    let failing = Standing { failures: 1, ..clean };
    let failed = pausing::Paused { standing: &failing, ..task(Some(NOW), false) };
    assert_eq!(pausing::resume(failed, later(9)), Some(Some(NOW)), "its schedule goes on where it was");
}

#[test]
fn a_tenant_gets_the_places_it_has_left_up_to_the_requested_limit() {
    let shares = [(name("a"), TenantShare { running: 3, room: 2 }), (name("b"), TenantShare { running: 0, room: 99 })];
    let request = ClaimRequest { limit: 10, tenants: shares.into_iter().collect(), ..testkit::claim_request([], NOW) };
    let places = |tenant| claims::Places::of_tenant(&request, &name(tenant));
    assert_eq!(places("a"), claims::Places { running: 3, room: 2 });
    assert_eq!(places("b"), claims::Places { running: 0, room: 10 });
    assert_eq!(places("unnamed"), claims::Places::of_all(&request));
    assert_eq!([0, 1, 3, 10, 11].map(|tasks| places("b").share_of_each(tasks)), [10, 10, 4, 1, 1]);
}

mod waiting_runs {
    use super::*;
    use crate::backfills::TURN;
    use crate::rules::waiting::Facts;

    fn facts() -> Facts {
        Facts {
            run: RunId(4),
            state: RunState::Waiting,
            due_at: NOW,
            run_at: later(1),
            claimed_at: Some(later(2)),
            cause: Cause::Schedule,
            attempt: 0,
            forced: false,
            deaths: 2,
            suspected_at: None,
            at_once: None,
            behind: None,
            pause: Some((PausedBy::Task, Pause { since: None, why: Some("by hand".to_owned()) })),
            standing: Standing::default(),
        }
    }

    #[test]
    fn a_pause_explains_a_wait_unless_the_run_is_forced_or_over() {
        assert_eq!(facts().why().as_deref(), Some("its task is paused: by hand"));
        assert_eq!(Facts { forced: true, ..facts() }.why(), None);
        assert!(Facts { forced: true, attempt: 1, ..facts() }.why().is_some(), "only its first attempt goes past");
        assert_eq!(Facts { state: RunState::Failed, ..facts() }.why(), None);
    }

    #[test]
    fn a_run_of_a_backfill_waits_for_its_turn_and_then_like_others() {
        let waits = Facts { run_at: TURN, at_once: Some(2), ..facts() };
        assert!(
            waits.why().is_some_and(|why| why.starts_with("waits for its turn in a backfill")),
            "{:?}",
            waits.why()
        );
        assert_eq!(waits.shown_run_at(), NOW);
        let behind = Facts { behind: Some(RunId(17)), ..waits.clone() }.why();
        assert!(behind.as_ref().is_some_and(|why| why.ends_with(", behind run 17, which is held back")), "{behind:?}");
        let had_it = Facts { run_at: later(1), ..waits };
        assert_eq!((had_it.why(), had_it.shown_run_at()), (facts().why(), later(1)));
    }

    #[test]
    fn suspicion_takes_precedence_over_a_pause_and_sets_the_shown_instant() {
        let held = Facts { run_at: NEVER, suspected_at: Some(later(3)), ..facts() };
        assert!(held.why().is_some_and(|why| why.contains("killing its host")), "{:?}", held.why());
        assert_eq!(held.shown_run_at(), later(3));
        let over = Facts { state: RunState::Cancelled, ..held };
        assert_eq!((over.why(), over.suspected_at(), over.shown_run_at()), (None, None, later(2)));
        assert_eq!(Facts { claimed_at: None, ..over }.shown_run_at(), NOW);
    }
}
