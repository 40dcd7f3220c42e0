//! The test text that every store passes, whatever it is made of.
//!
//! [`promises!`] lists every test; a store's own tests expand it over a way to open one that is empty:
//!
//! ```ignore
//! macro_rules! on_sqlite { ($($room:ident { $($promise:ident)* })*) => { .. } }
//! promises!(on_sqlite);
//! ```
//!
//! A promise that is not in the list is an unused function, which the compiler tells.

pub(crate) mod added;
pub(crate) mod cache;
pub(crate) mod claims;
pub(crate) mod finishing;
pub(crate) mod forcing;
pub(crate) mod hints;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod locks;
pub(crate) mod losses;
pub(crate) mod model;
pub(crate) mod pausing;
pub(crate) mod policies;
pub(crate) mod published;
pub(crate) mod repairs;
pub(crate) mod replacing;
pub(crate) mod runs;
pub(crate) mod supervising;
pub(crate) mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Admit, ClaimRequest, Claimed, Enqueued, Finish, Fire, Fired, NewRun, Store, StoreError, TenantShare};
use crate::lifecycle::Transition;
use crate::run::{Accounts, Cause, Claim, ClaimKey, Kept, Outcome, Output, Report, RunId};
use crate::supervision::Supervision;
use crate::task::{Name, TaskKey};
use crate::testkit;
use crate::time::Timestamp;

/// Call `$with!` with the list of all promises.
macro_rules! promises {
    ($with:ident) => {
        $with! {
            runs {
                a_new_run_waits_with_all_that_it_was_given
                later_runs_have_greater_ids
                a_run_with_the_same_dedup_key_is_made_once
                a_dedup_key_is_its_tasks_own
                a_run_beyond_its_overlap_policy_is_written_as_cancelled
                a_run_to_be_tried_again_counts_as_not_over
                a_run_of_a_later_instant_counts_as_nothing_yet
                firing_makes_the_runs_and_moves_the_cursor
                firing_an_earlier_instant_leaves_the_cursor
                of_two_who_fire_a_task_by_what_it_remembers_only_the_first_does
                firing_a_paused_task_makes_no_run_and_moves_the_cursor
                a_waiting_run_is_cancelled_at_once
                a_running_run_is_asked_to_end
                a_run_that_is_over_or_absent_is_not_cancelled
                a_run_whose_end_was_asked_for_is_not_tried_again
                bytes_that_wait_because_tasks_asked_for_them_are_told
            }
            claims {
                a_claim_carries_all_that_the_run_was_given
                a_run_is_not_claimed_before_its_time
                a_run_that_was_put_earlier_is_claimed_earlier
                no_more_runs_of_a_task_are_claimed_than_may_run_at_once
                a_backlog_of_one_task_does_not_block_another
                a_task_at_its_limit_does_not_block_another
                places_are_shared_fairly_among_tasks
                a_tenant_gets_no_more_runs_than_it_has_room_for
                the_tenant_with_the_fewest_runs_goes_first
                a_place_that_one_task_does_not_need_is_anothers
                of_many_tasks_those_that_wait_longest_come_first
                runs_are_claimed_earliest_first
                tasks_that_were_not_asked_for_are_left_alone
                a_paused_task_is_left_alone_until_it_is_resumed
                fences_grow_with_every_claim
                two_hosts_never_claim_the_same_run
                a_claim_that_is_not_extended_expires
                extending_tells_which_claims_are_lost
                an_abandoned_claim_expires_at_once_and_anothers_does_not
            }
            finishing {
                a_success_keeps_its_output
                a_failed_attempt_waits_for_the_next
                a_deferred_attempt_counts_no_failure
                a_finish_makes_room_for_the_next_run
                a_stale_claim_writes_no_outcome
                an_outcome_is_written_once
                a_sweeper_buries_only_what_has_expired
                an_attempt_keeps_all_that_is_written_down
                many_finishes_at_once_are_all_written
            }
            losses {
                a_lost_run_tells_the_policy_that_its_latest_claim_stored
                a_lost_run_tells_whether_its_host_died
                deaths_of_a_runs_host_are_counted_while_it_is_tried_again
                a_suspect_does_not_start_until_it_is_released
                who_waits_for_runs_is_told_of_one_that_is_released
                a_suspect_may_be_cancelled
                the_death_of_a_host_that_was_only_stopped_is_taken_back
                the_death_of_a_host_that_was_started_again_is_never_taken_back
                a_run_whose_end_was_asked_for_is_cancelled_and_not_held_back
            }
            replacing {
                a_run_with_nothing_before_it_replaces_nothing
                waiting_runs_that_are_replaced_are_cancelled
                a_run_of_a_later_instant_is_not_replaced
                a_running_run_that_is_replaced_ends_before_the_next_starts_and_its_locks_are_free
                a_replaced_run_that_ends_by_itself_meanwhile_is_what_it_is
                a_successor_that_is_replaced_itself_never_starts
                a_replaced_run_whose_host_died_is_buried_as_replaced
                an_instant_that_was_fired_before_replaces_nothing
                of_several_instants_at_once_only_the_last_is_left
            }
            repairs {
                what_a_wrong_clock_has_left_goes_on_from_now
                what_was_put_far_ahead_on_purpose_stays_there
                a_claim_by_a_wrong_clock_is_over_after_the_longest_lease
                entries_and_added_schedules_of_a_wrong_clock_go_on_from_now
                to_resume_a_task_has_it_go_on_whose_clock_was_set_back
                to_resume_a_task_has_its_added_schedules_go_on_too
                a_schedule_that_is_reset_goes_on_from_now_if_it_was_ahead
            }
            pausing {
                nothing_of_a_paused_tenant_is_claimed_and_all_else_is
                a_pause_of_all_is_about_tasks_that_come_later_too
                what_was_due_while_many_were_paused_is_left_out
                to_resume_many_resumes_none_that_was_paused_otherwise
                to_resume_a_task_ends_no_pause_of_many
                a_second_pause_changes_the_reason_if_it_gives_one_and_nothing_else
                who_waits_for_runs_is_told_when_many_are_resumed
            }
            forcing {
                a_forced_run_starts_although_its_task_its_tenant_and_all_are_paused
                a_forced_run_starts_at_its_tasks_limit_and_takes_a_place
                a_forced_run_starts_although_its_task_is_held_back
                a_forced_run_starts_without_room_for_its_task_or_tenant
                forced_runs_come_first_and_in_their_order_and_alone
                a_forced_run_is_not_claimed_before_its_time
                a_forced_run_that_is_tried_again_waits_like_others
            }
            policies {
                a_run_that_was_not_started_in_time_is_never_claimed_and_says_so
                a_run_that_was_started_in_time_may_be_tried_again_whenever
                runs_that_are_late_are_cancelled_though_nobody_claims
                who_waits_for_work_looks_again_when_a_run_is_late
                a_schedule_that_is_another_begins_anew
                a_schedule_that_was_not_written_down_is_taken_up_as_it_is
            }
            supervising {
                runs_that_fail_in_a_row_pause_their_task_once
                a_success_in_between_begins_the_count_anew
                failures_are_each_tasks_own
                a_stale_outcome_counts_for_nothing
                to_resume_forgets_what_went_wrong
                a_task_that_crashes_in_a_row_is_held_back_for_longer_each_time
                a_run_that_a_person_asks_for_starts_although_its_task_is_held_back
                places_of_a_task_that_is_held_back_are_kept_to_as_well
                who_comes_too_late_for_a_place_is_next_even_while_its_task_is_held_back
                a_success_or_a_resumption_lets_a_task_go_that_was_held_back
                a_run_that_is_held_back_says_until_when
            }
            watching {
                those_that_are_not_over_are_alive
                the_latest_failure_is_told_whatever_came_after
                a_run_is_found_by_the_key_that_it_was_made_with
                of_two_who_remember_only_the_first_does
            }
            history {
                runs_are_listed_newest_first
                the_latest_run_of_every_task_of_a_tenant_is_told_at_once
                the_latest_run_that_has_begun_is_not_hidden_by_runs_that_wait_or_never_began
                runs_are_counted_by_state
                the_latest_success_is_the_latest_runs
                pruning_keeps_the_latest_runs
                pruning_by_age_keeps_the_young
                pruning_by_bytes_keeps_what_fits
                pruning_leaves_what_is_not_over
                pruning_leaves_the_latest_success
                pruning_goes_on_until_nothing_is_left_to_do
                a_pruned_run_leaves_nothing_behind
                of_a_run_that_is_tried_for_ever_the_first_and_the_latest_attempts_stay
            }
            locks {
                an_exclusive_lock_keeps_all_others_out
                a_shared_lock_is_held_by_many
                a_shared_lock_keeps_an_exclusive_one_out
                a_lock_that_is_taken_again_keeps_its_fence
                a_lock_is_not_taken_in_two_modes_by_one_run
                a_later_holder_has_a_greater_fence
                a_finish_releases_all_locks_of_its_run
                a_stale_claim_takes_no_lock
                only_its_holder_releases_a_lock
                locks_of_other_names_kinds_and_tenants_are_apart
                who_waits_for_a_lock_takes_it_when_it_is_free
                who_has_left_the_queue_keeps_nobody_out
                a_run_that_ends_while_it_waits_keeps_nobody_out
                a_stale_claim_waits_for_no_lock
            }
            cache {
                a_value_is_read_as_it_was_written
                an_expired_entry_is_absent
                versions_grow_even_over_a_deletion
                a_swap_changes_only_the_version_it_expects
                an_absent_entry_is_made_once
                two_writers_of_one_key_lose_nothing
                a_stale_claim_changes_no_entry
                a_publish_sets_the_entry_and_lets_go
                a_publish_after_the_refresh_was_lost_changes_nothing
                a_publish_without_the_refresh_changes_nothing
                a_write_beyond_the_quota_changes_nothing
                expired_entries_and_replaced_values_give_room
                the_quota_is_each_tenants_own
                what_each_tenants_entries_take_of_its_quota_is_told
                what_a_task_writes_is_counted_as_its_own
                keys_are_listed_in_order_by_prefix
                pruning_deletes_expired_entries
            }
            added {
                a_schedule_that_was_added_is_there_as_it_was_given
                the_same_schedule_is_added_once_and_another_with_its_key_is_refused
                a_schedule_that_is_replaced_begins_anew
                who_was_preempted_changes_nothing
                schedules_are_listed_by_key_in_pages
                a_deleted_schedule_is_gone_and_says_what_it_was
                many_schedules_are_fired_in_one_go
                of_two_hosts_that_fire_an_instant_the_second_finds_it_done
                a_key_has_one_run_at_a_time_even_when_it_was_added_anew
                a_schedule_ends_with_its_last_instant_or_its_last_run
                of_a_paused_task_only_the_cursors_of_its_schedules_move
                a_schedule_that_has_finished_or_is_not_there_is_not_reset
                changed_schedules_are_loaded_in_pages_by_version
                pruning_forgets_schedules_that_are_long_over
            }
            hosts {
                a_host_that_announces_itself_is_listed_as_it_is
                a_later_announcement_changes_what_is_said_of_a_host
                who_takes_over_a_name_fences_the_life_that_had_it
                a_host_learns_with_its_next_announcement_that_it_is_to_drain
                a_start_ends_the_draining_of_its_name
                hosts_that_were_not_heard_of_for_long_are_forgotten
            }
            published {
                a_published_plugin_is_told_as_it_was_given
                a_component_of_several_parts_is_read_as_it_was_written
                the_same_plugin_is_published_once_and_another_host_takes_it_over
                what_is_published_later_takes_the_place_of_what_was_before
                plugins_of_two_tenants_are_two
                published_plugins_are_told_in_pages_by_version
                who_withdraws_what_is_another_version_by_now_changes_nothing
                a_withdrawn_plugin_is_told_for_a_while_and_may_come_back
                pruning_forgets_components_that_no_plugin_has
                a_component_that_no_plugin_has_is_kept_while_somebody_may_fetch_it
                who_waits_for_plugins_is_told_of_each_change
            }
            hints {
                who_listens_before_looking_misses_no_run
                who_listens_before_looking_misses_no_lock
                a_retry_and_a_resumption_are_told
                who_is_let_go_after_being_held_back_is_told
                every_change_of_a_run_is_told
            }
        }
    };
}
pub(crate) use promises;

/// The store under test.
pub(crate) type Tested = Arc<dyn Store>;

/// `seconds` after the instant that all tests begin at.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

const LEASE: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A task of the default tenant.
fn task(text: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: name(text) }
}

/// A run of task `text` that is due at second 0.
fn new(text: &str) -> NewRun {
    NewRun::of(task(text), at(0), Cause::Demand)
}

/// What the schedule of task `text` has come to.
fn fire(text: &str, runs: Vec<NewRun>, cursor: Timestamp, now: Timestamp) -> Fire {
    Fire { task: task(text), runs, cursor, expect: None, memory: None, now }
}

async fn enqueue(store: &Tested, runs: Vec<NewRun>) -> Vec<RunId> {
    store.enqueue(runs, at(0)).await.unwrap().iter().map(Enqueued::run).collect()
}

fn request(tasks: &[(&str, u32)], limit: usize, seconds: i64) -> ClaimRequest {
    ClaimRequest {
        host: "one".into(),
        tasks: Arc::new(tasks.iter().map(|(text, most)| (task(text), *most)).collect::<BTreeMap<_, _>>()),
        limit,
        policies: Arc::default(),
        tenants: BTreeMap::new(),
        lease: LEASE,
        now: at(seconds),
    }
}

async fn claim(store: &Tested, tasks: &[(&str, u32)], limit: usize, seconds: i64) -> Claimed {
    store.claim(request(tasks, limit, seconds)).await.unwrap()
}

/// The names of the tasks whose runs were claimed, in order.
fn names(claimed: &Claimed) -> Vec<&str> {
    claimed.claims.iter().map(|claim| claim.task.task.as_str()).collect()
}

/// Make one run of the task `text` and claim it.
async fn running(store: &Tested, text: &str) -> Claim {
    let run = enqueue(store, vec![new(text)]).await[0];
    let mut claimed = claim(store, &[(text, u32::MAX)], usize::MAX >> 1, 0).await;
    let place = claimed.claims.iter().position(|claim| claim.key.run == run).unwrap();
    claimed.claims.swap_remove(place)
}

/// A report with nothing in it but the outcome, of an attempt that ended in second 1.
pub(super) fn report(outcome: Outcome) -> Report {
    Report { ended_at: at(1), ..testkit::report(outcome, at(0)) }
}

fn ending(claim: ClaimKey, outcome: Outcome, transition: Transition) -> Finish {
    testkit::finish(claim, transition, report(outcome))
}

fn success(claim: ClaimKey) -> Finish {
    ending(claim, Outcome::Succeeded, Transition::Succeed(Output::default()))
}

fn failure(claim: ClaimKey) -> Finish {
    ending(claim, Outcome::FailedPermanent, Transition::Fail)
}

fn retry(claim: ClaimKey, seconds: i64) -> Finish {
    ending(claim, Outcome::FailedTransient, Transition::Wait { run_at: at(seconds), failed: true })
}

/// The claim as an earlier life of it would be: of an attempt that is over.
fn stale(claim: ClaimKey) -> ClaimKey {
    ClaimKey { fence: claim.fence - 1, ..claim }
}

fn assert_lost<T: std::fmt::Debug>(result: super::Result<T>, claim: ClaimKey) {
    assert!(matches!(&result, Err(StoreError::ClaimLost(lost)) if *lost == claim), "{result:?}");
}
