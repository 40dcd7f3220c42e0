//! The test suite that every store passes, whatever database it uses.
//!
//! [`promises!`] lists every test; a store's own tests expand it over a function that opens an empty store:
//!
//! ```ignore
//! macro_rules! on_sqlite { ($($room:ident { $($promise:ident)* })*) => { .. } }
//! promises!(on_sqlite);
//! ```
//!
//! A promise that is missing from the list is an unused function, about which the compiler warns.

pub(crate) mod added;
pub(crate) mod backfills;
pub(crate) mod cache;
pub(crate) mod claims;
pub(crate) mod events;
pub(crate) mod finishing;
pub(crate) mod forcing;
pub(crate) mod hints;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod lists;
pub(crate) mod locks;
pub(crate) mod losses;
pub(crate) mod model;
pub(crate) mod pausing;
pub(crate) mod policies;
pub(crate) mod published;
pub(crate) mod repairs;
pub(crate) mod replacing;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod supervising;
pub(crate) mod trigger_states;
pub(crate) mod versions;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Admit, ClaimRequest, Claimed, EnqueueOutcome, Finish, Fire, FireOutcome, NewRun, Store, StoreError, TenantShare,
};
use crate::testkit;
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Accounts, CappedText, Cause, Claim, ClaimKey, Outcome, Output, Report, RunId};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// Calls `$with!` with the list of all promises.
macro_rules! promises {
    ($with:ident) => {
        $with! {
            runs {
                a_new_run_waits_with_everything_from_its_request
                later_runs_have_greater_ids
                a_run_with_the_same_dedup_key_is_made_once
                two_tasks_may_use_the_same_dedup_key
                a_run_beyond_its_overlap_policy_is_written_as_cancelled
                a_skipped_run_tells_of_no_more_runs_than_its_limit
                a_run_that_waits_for_a_retry_counts_as_not_over
                a_run_that_is_due_later_does_not_count_for_the_overlap_policy
                firing_makes_the_runs_and_moves_the_cursor
                firing_an_earlier_instant_leaves_the_cursor
                the_second_of_two_firings_that_expect_the_same_count_changes_nothing
                firing_a_paused_task_makes_no_run_and_moves_the_cursor
                a_waiting_run_is_cancelled_at_once
                a_running_run_is_asked_to_end
                a_run_that_is_over_or_absent_is_not_cancelled
                a_run_that_was_asked_to_end_is_not_tried_again
                waiting_returns_the_bytes_of_runs_that_tasks_asked_for
            }
            claims {
                a_claim_carries_everything_the_run_was_made_with
                a_run_is_not_claimed_before_its_time
                a_new_run_that_is_due_earlier_is_claimed_earlier
                claims_never_exceed_a_tasks_concurrency_limit
                a_backlog_of_one_task_does_not_block_another
                a_task_at_its_limit_does_not_block_another
                places_are_shared_fairly_among_tasks
                a_tenant_gets_no_more_runs_than_it_has_room_for
                the_tenant_with_the_fewest_runs_goes_first
                a_place_that_one_task_does_not_need_goes_to_another
                the_tasks_that_wait_longest_come_first
                a_claim_among_many_tasks_takes_what_is_due_and_tells_when_the_next_is
                runs_are_claimed_earliest_first
                tasks_outside_the_request_are_left_alone
                a_paused_task_is_left_alone_until_it_is_resumed
                fences_grow_with_every_claim
                two_hosts_never_claim_the_same_run
                a_claim_that_is_not_extended_expires
                extending_returns_the_claims_that_are_lost
                abandoning_ends_only_the_claims_of_that_host
            }
            finishing {
                a_success_keeps_its_output
                a_run_waits_for_its_next_attempt_after_a_failure
                a_deferral_does_not_count_as_a_failure
                a_finish_makes_room_for_the_next_run
                a_stale_claim_writes_no_outcome
                an_outcome_is_written_once
                a_sweeper_ends_only_expired_claims
                an_attempt_keeps_its_whole_report
                many_finishes_at_once_are_all_written
            }
            losses {
                a_lost_run_has_the_policy_that_its_latest_claim_stored
                a_lost_run_shows_whether_its_host_died
                deaths_of_a_runs_host_are_counted_while_it_is_tried_again
                a_suspect_does_not_start_until_it_is_released
                a_run_of_a_backfill_says_that_it_waits_behind_a_suspect
                releasing_a_suspect_wakes_waiters
                a_suspect_may_be_cancelled
                the_death_of_a_host_that_was_only_stopped_is_taken_back
                the_death_of_a_host_that_was_started_again_is_never_taken_back
                a_run_that_was_asked_to_end_is_cancelled_and_not_held_back
            }
            replacing {
                a_run_without_earlier_runs_replaces_none
                waiting_runs_that_are_replaced_are_cancelled
                a_run_that_is_due_later_is_not_replaced
                a_replaced_run_ends_and_frees_its_locks_before_the_next_starts
                a_replaced_run_that_ends_by_itself_keeps_a_success_and_is_not_retried
                a_successor_that_is_replaced_itself_never_starts
                a_replaced_run_whose_host_died_ends_as_replaced
                an_instant_that_was_fired_before_replaces_nothing
                the_last_of_several_instants_at_once_replaces_the_others
            }
            repairs {
                a_schedule_that_goes_on_from_now_does_not_wait_for_runs_of_the_clock_that_was_ahead
                runs_and_cursors_of_a_wrong_clock_continue_from_now
                instants_that_a_correct_clock_put_far_ahead_stay
                a_claim_by_a_wrong_clock_expires_after_the_longest_lease
                entries_and_added_schedules_of_a_wrong_clock_continue_from_now
                resuming_a_task_brings_back_a_cursor_that_is_ahead
                resuming_a_task_brings_back_its_added_schedules
                resuming_many_tasks_brings_back_cursors_and_added_schedules_that_are_ahead
                resuming_many_tasks_that_are_paused_brings_back_added_schedules
                a_reset_schedule_continues_from_now_if_it_was_ahead
            }
            pausing {
                a_paused_tenant_keeps_only_its_own_runs_from_being_claimed
                a_pause_of_all_tasks_includes_later_tasks
                instants_during_a_pause_of_many_tasks_are_left_out
                resuming_all_tasks_keeps_every_narrower_pause
                resuming_a_task_or_a_tenant_keeps_the_pause_of_all_tasks
                a_second_pause_changes_only_the_reason_and_only_if_it_gives_one
                resuming_many_tasks_wakes_waiters
            }
            forcing {
                a_forced_run_starts_although_its_task_its_tenant_and_all_are_paused
                a_forced_run_starts_at_its_tasks_limit_and_takes_a_place
                a_forced_run_starts_although_its_task_is_held_back
                a_forced_run_starts_without_room_for_its_task_or_tenant
                forced_runs_are_claimed_first_in_order_and_alone
                a_forced_run_is_not_claimed_before_its_time
                a_forced_run_that_is_tried_again_waits_like_others
            }
            policies {
                a_run_that_missed_its_latest_start_is_cancelled_with_a_message
                a_run_that_started_in_time_may_be_retried_at_any_time
                late_runs_are_cancelled_without_a_claim
                a_claim_returns_the_instant_at_which_a_run_will_be_late
                a_changed_schedule_starts_afresh
                a_schedule_that_was_not_recorded_keeps_the_tasks_state
            }
            supervising {
                runs_that_fail_in_a_row_pause_their_task_once
                a_success_resets_the_count_of_failures
                failures_are_counted_for_each_task
                a_stale_outcome_is_not_counted
                resuming_clears_failures_and_moves_the_cursor
                each_crash_in_a_row_holds_the_task_back_for_longer
                a_run_that_a_person_asks_for_starts_although_its_task_is_held_back
                a_task_that_is_held_back_still_has_its_concurrency_limit
                a_demanded_run_that_found_no_place_is_next_even_while_its_task_is_held_back
                a_success_or_a_resumption_releases_a_task_that_was_held_back
                a_run_that_is_held_back_shows_until_when
            }
            trigger_states {
                runs_that_are_not_over_count_as_alive
                the_latest_failure_outlasts_successes_and_pruning
                a_run_is_found_by_its_dedup_key
                the_second_of_two_updates_of_the_same_memory_changes_nothing
            }
            history {
                runs_are_listed_newest_first
                runs_of_a_tenant_are_listed_although_another_has_made_many_since
                one_call_returns_the_latest_runs_of_several_tasks
                waiting_and_never_started_runs_do_not_hide_the_latest_run_that_began
                runs_are_counted_by_state
                the_latest_success_is_that_of_the_run_that_ended_last
                the_latest_run_is_the_one_that_began_last
                the_next_newest_run_is_the_latest_once_the_latest_is_no_longer_kept
                a_skipped_run_that_counts_as_a_success_has_no_result
                pruning_keeps_the_latest_runs
                pruning_by_age_keeps_recent_runs
                pruning_by_bytes_keeps_the_latest_runs_that_fit
                pruning_keeps_runs_that_are_not_over
                pruning_keeps_the_latest_success
                pruning_keeps_the_success_that_ended_last_and_not_the_newest
                pruning_deletes_piece_by_piece_until_nothing_is_left
                a_pruned_run_leaves_nothing_behind
                a_run_that_is_tried_for_ever_keeps_its_first_and_latest_attempts
            }
            views {
                a_window_has_the_runs_of_a_task_that_were_made_since_an_instant
                a_window_of_more_runs_than_its_limit_has_the_newest
                a_run_that_was_tried_again_started_with_its_first_attempt
                a_window_tells_skipped_failed_and_belated_runs
                children_are_listed_with_how_they_came_of_their_parent
            }
            lists {
                a_list_has_the_runs_that_each_part_of_its_filter_selects
                a_list_has_the_runs_that_all_parts_of_its_filter_select
                a_run_shows_its_labels_its_key_and_its_chain
                pages_have_every_run_once_although_runs_are_made_in_between
                runs_that_were_made_at_one_instant_are_each_on_one_page
                a_page_after_a_pruning_has_the_runs_that_are_kept
                a_list_that_finds_few_runs_among_many_says_how_far_it_has_looked
                a_label_that_many_sets_have_is_found_with_and_without_another
                labels_stay_while_a_run_has_them_and_are_written_anew_when_none_had
            }
            backfills {
                runs_of_a_backfill_take_turns_in_their_order
                a_backfill_of_one_task_does_not_wait_for_that_of_another
                a_run_of_a_backfill_that_is_tried_again_keeps_its_turn
                a_cancelled_run_of_a_backfill_lets_the_next_start
                each_instant_has_one_run_of_its_schedule_or_of_a_backfill
                runs_of_a_backfill_neither_skip_nor_replace_nor_are_replaced
                a_cancelled_backfill_leaves_its_instants_without_runs
                a_store_knows_up_to_which_instant_it_has_deleted_runs_of_a_schedule
                a_turn_wakes_waiters
                a_long_backfill_leaves_room_for_runs_that_tasks_ask_for
            }
            locks {
                an_exclusive_lock_keeps_all_others_out
                a_shared_lock_is_held_by_many
                a_shared_lock_keeps_an_exclusive_one_out
                a_lock_that_is_taken_again_keeps_its_fence
                a_lock_is_not_taken_in_two_modes_by_one_run
                a_later_holder_has_a_greater_fence
                a_finish_releases_all_locks_of_its_run
                a_stale_claim_gets_no_lock
                only_the_holder_releases_a_lock
                locks_of_different_names_kinds_and_tenants_are_independent
                a_waiting_run_takes_the_lock_when_it_is_free
                a_run_that_left_the_queue_blocks_no_other
                a_run_that_ends_while_it_waits_blocks_no_other
                a_stale_claim_waits_for_no_lock
            }
            cache {
                a_value_is_read_as_it_was_written
                an_expired_entry_is_absent
                versions_grow_even_over_a_deletion
                a_swap_changes_only_the_version_it_expects
                an_absent_entry_is_made_once
                two_writers_of_one_key_lose_no_update
                a_stale_claim_changes_no_entry
                a_publish_sets_the_entry_and_releases_the_refresh_lock
                a_publish_after_the_refresh_was_lost_changes_nothing
                a_publish_without_the_refresh_changes_nothing
                a_write_beyond_the_quota_changes_nothing
                expired_entries_and_replaced_values_free_their_bytes
                each_tenant_has_a_quota_of_its_own
                cache_usage_returns_the_bytes_of_each_tenant
                an_entry_counts_for_the_task_that_wrote_it_last
                keys_are_listed_in_order_by_prefix
                pruning_deletes_expired_entries
            }
            versions {
                the_last_versions_of_an_entry_are_kept
                an_entry_keeps_no_versions_unless_a_write_says_so
                a_lower_number_of_versions_drops_the_earliest
                a_restored_version_is_a_new_version_with_the_old_value
                a_version_that_is_not_kept_is_not_restored
                a_stale_claim_restores_nothing
                deleting_an_entry_deletes_its_versions
                an_expired_entry_has_no_versions
                an_expired_version_is_absent
                kept_versions_count_for_the_tenant_and_for_the_task_that_wrote_them
                a_write_without_room_for_the_version_that_it_replaces_changes_nothing
                two_writers_of_a_kept_key_lose_no_version
                a_version_belongs_to_its_key_and_its_tenant
                pruning_deletes_expired_versions
            }
            added {
                an_added_schedule_is_read_as_it_was_written
                the_same_schedule_is_added_once_and_another_with_its_key_is_refused
                a_replaced_schedule_starts_afresh
                a_preempted_change_is_refused
                schedules_are_listed_by_key_in_pages
                deleting_a_schedule_returns_its_last_state
                many_schedules_are_fired_in_one_call
                the_second_of_two_hosts_that_fire_an_instant_finds_it_handled
                a_key_has_one_run_at_a_time_even_when_it_was_added_again
                a_schedule_ends_with_its_last_instant_or_its_last_run
                schedules_of_a_paused_task_only_move_their_cursors
                a_schedule_that_finished_or_does_not_exist_is_not_reset
                changed_schedules_are_loaded_in_pages_by_version
                pruning_deletes_schedules_that_ended_long_ago
                a_schedule_with_a_type_is_none_of_the_task_with_that_name
                resuming_a_task_leaves_schedules_with_its_name_as_their_type
                tasks_add_and_delete_schedules_only_with_a_claim_that_holds
                tasks_add_no_more_schedules_than_they_may
                tasks_that_add_and_delete_fill_the_store_no_further_than_they_may
                a_task_does_not_replace_the_schedule_of_a_person
            }
            hosts {
                a_host_that_announces_itself_is_listed
                a_later_announcement_updates_the_record_of_a_host
                a_life_that_takes_over_a_name_fences_the_earlier_one
                a_host_learns_of_a_drain_with_its_next_announcement
                a_start_ends_the_drain_of_its_name
                hosts_that_stopped_announcing_themselves_are_deleted
            }
            published {
                a_published_plugin_is_read_as_it_was_written
                a_component_of_several_parts_is_read_as_it_was_written
                the_same_plugin_is_published_once_and_another_host_takes_it_over
                a_later_publication_replaces_the_earlier_one
                two_tenants_may_use_the_same_plugin_name
                published_plugins_are_listed_in_pages_by_version
                withdrawing_an_outdated_version_changes_nothing
                a_withdrawn_plugin_is_listed_for_a_while_and_may_come_back
                pruning_deletes_components_that_no_plugin_has
                an_unused_component_is_kept_while_a_host_may_fetch_it
                each_change_of_a_plugin_wakes_waiters
            }
            events {
                a_store_records_events_only_after_it_was_told_to
                the_life_of_a_run_is_told_in_its_order
                an_end_that_is_refused_tells_nothing
                runs_that_never_start_are_told
                pauses_are_told_once
                a_pause_by_failures_is_told_after_the_run_that_caused_it
                added_schedules_are_told
                published_plugins_and_hosts_are_told
                reading_on_after_any_event_misses_and_repeats_none
                a_filter_by_tenant_keeps_events_about_all_tenants
                old_events_are_pruned_and_ids_go_on
                a_reader_that_listens_before_it_looks_misses_no_event
            }
            requests {
                a_repeated_request_gets_the_answer_of_the_first
                a_request_in_progress_is_not_begun_again_until_its_host_must_have_died
                a_request_that_ends_without_an_answer_may_be_tried_again
                requests_of_other_tenants_and_for_other_things_have_keys_of_their_own
                one_of_many_attempts_at_a_request_begins
                pruning_deletes_answers_of_the_day_before
            }
            hints {
                a_waiter_that_listens_before_it_looks_misses_no_run
                a_waiter_that_listens_before_it_looks_misses_no_lock
                a_retry_and_a_resumption_wake_waiters
                resuming_a_task_that_was_held_back_wakes_waiters
                every_change_of_a_run_wakes_watchers
            }
        }
    };
}
pub(crate) use promises;

/// The store under test.
pub(crate) type Tested = Arc<dyn Store>;

/// Returns the instant `seconds` after the one at which all tests begin.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

const LEASE: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Returns a task of the default tenant.
fn task(text: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: name(text) }
}

/// Creates a run of task `text` that is due at second 0.
fn new(text: &str) -> NewRun {
    NewRun::of(task(text), at(0), Cause::Demand)
}

/// Creates the firing of task `text` that makes `runs` and moves its cursor.
fn fire(text: &str, runs: Vec<NewRun>, cursor: Timestamp, now: Timestamp) -> Fire {
    Fire { task: task(text), runs, cursor, expect: None, memory: None, now }
}

async fn enqueue(store: &Tested, runs: Vec<NewRun>) -> Vec<RunId> {
    store.enqueue(runs, at(0)).await.unwrap().iter().map(EnqueueOutcome::run).collect()
}

fn request(tasks: &[(&str, u32)], limit: usize, seconds: i64) -> ClaimRequest {
    let tasks = tasks.iter().map(|(text, most)| (task(text), *most));
    ClaimRequest { limit, lease: LEASE, ..testkit::claim_request(tasks, at(seconds)) }
}

async fn claim(store: &Tested, tasks: &[(&str, u32)], limit: usize, seconds: i64) -> Claimed {
    store.claim(request(tasks, limit, seconds)).await.unwrap()
}

/// Returns the names of the tasks whose runs were claimed, in order.
fn names(claimed: &Claimed) -> Vec<&str> {
    claimed.claims.iter().map(|claim| claim.task.task.as_str()).collect()
}

/// Makes one run of the task `text` and claims it.
async fn running(store: &Tested, text: &str) -> Claim {
    let run = enqueue(store, vec![new(text)]).await[0];
    let mut claimed = claim(store, &[(text, u32::MAX)], usize::MAX >> 1, 0).await;
    let place = claimed.claims.iter().position(|claim| claim.key.run == run).unwrap();
    claimed.claims.swap_remove(place)
}

/// Creates a report with nothing in it but the outcome, of an attempt that ended in second 1.
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

/// Returns a claim with the run and attempt of `claim` and an older fence.
fn stale(claim: ClaimKey) -> ClaimKey {
    ClaimKey { fence: claim.fence - 1, ..claim }
}

fn assert_lost<T: std::fmt::Debug>(result: super::Result<T>, claim: ClaimKey) {
    assert!(matches!(&result, Err(StoreError::ClaimLost(lost)) if *lost == claim), "{result:?}");
}
