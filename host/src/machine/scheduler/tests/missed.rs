//! Tests missed instants: while no host was up, while the machine slept, after the clock was set, and after a schedule
//! was changed.

use std::time::Duration;

use super::rig::{DAY, HOUR, MINUTE, Rig, at, key};
use sexton_domain::run::RunState;
use sexton_store::RunInfo;

const SECOND: Duration = Duration::from_secs(1);

/// Returns the runs of an hourly task after a host was down from May 1st, 12:30, to May 4th, 12:30, and was up for an
/// hour after that.
async fn down_for_three_days(policies: &str) -> (Rig, Vec<RunInfo>) {
    let hourly = format!("every = \"1h\"\n{policies}");
    let mut rig = Rig::new("05-01 10:30:00");
    let mut host = rig.host(&hourly).await;
    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;
    assert_eq!(rig.due().await, [at("05-01 11:00:00"), at("05-01 12:00:00")]);

    drop(host);
    rig.set(at("05-04 12:30:00"));
    let mut host = rig.host(&hourly).await;
    rig.pass(&mut host, at("05-04 13:30:00"), SECOND).await;

    let runs = rig.runs().await.split_off(2);
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded), "{runs:?}");
    assert_eq!(runs.last().unwrap().due_at, at("05-04 13:00:00"));
    assert_eq!(runs.last().unwrap().note, None);
    (rig, runs)
}

fn due(runs: &[RunInfo]) -> Vec<&RunInfo> {
    runs.iter().take(runs.len() - 1).collect()
}

#[tokio::test]
async fn without_catch_up_three_days_are_left_out_and_the_task_shows_that() {
    let (rig, runs) = down_for_three_days("").await;

    assert_eq!(runs.len(), 1);
    let said = "72 missed since 2027-05-01T13:00:00.000Z, 72 left out";
    assert_eq!(rig.state().await.left_out.as_deref(), Some(said));
}

#[tokio::test]
async fn the_latest_instant_of_three_days_is_caught_up_and_the_number_is_reported() {
    let (rig, runs) = down_for_three_days("catch-up = \"latest\"").await;

    let [made_up] = due(&runs)[..] else { panic!("{runs:?}") };
    assert_eq!((made_up.due_at, made_up.note.as_deref()), (at("05-04 12:00:00"), Some("72 missed, 1 run")));
    let said = "72 missed since 2027-05-01T13:00:00.000Z, 1 run, 71 left out";
    assert_eq!(rig.state().await.left_out.as_deref(), Some(said));
}

#[tokio::test]
async fn the_latest_missed_instants_are_caught_up_one_after_another() {
    let (_rig, runs) = down_for_three_days("catch-up = \"all(3)\"").await;

    let made_up = due(&runs);
    let instants: Vec<_> = made_up.iter().map(|run| run.due_at).collect();
    assert_eq!(instants, [at("05-04 10:00:00"), at("05-04 11:00:00"), at("05-04 12:00:00")]);
    assert!(made_up.iter().all(|run| run.note.as_deref() == Some("72 missed, 3 run")), "{made_up:?}");
    assert!(made_up.is_sorted_by(|a, b| a.claimed_at < b.claimed_at), "one at a time: {made_up:?}");
}

#[tokio::test]
async fn instants_missed_too_long_ago_are_left_out_under_every_catch_up_policy() {
    let (rig, runs) = down_for_three_days("catch-up = \"all(1000)\"\ncatch-up-within = \"150m\"").await;

    let instants: Vec<_> = due(&runs).iter().map(|run| run.due_at).collect();
    assert_eq!(instants, [at("05-04 10:00:00"), at("05-04 11:00:00"), at("05-04 12:00:00")]);
    assert!(rig.state().await.left_out.unwrap().ends_with("3 run, 69 left out"));
    let (_rig, runs) = down_for_three_days("catch-up = \"latest\"\ncatch-up-within = \"29m\"").await;
    assert!(due(&runs).is_empty(), "{runs:?}");
}

#[tokio::test]
async fn a_machine_that_slept_and_a_clock_set_forward_miss_as_a_host_that_was_down_does() {
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("every = \"1h\"\ncatch-up = \"latest\"").await;
    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;

    rig.set(at("05-01 14:30:00"));
    rig.pass(&mut host, at("05-01 15:30:00"), SECOND).await;

    assert_eq!(rig.due().await, ["12", "14", "15"].map(|hour| at(&format!("05-01 {hour}:00:00"))));
    assert_eq!(rig.runs().await[1].note.as_deref(), Some("2 missed, 1 run"));
}

#[tokio::test]
async fn a_clock_set_back_runs_nothing_twice_and_schedules_resume_later() {
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("every = \"1h\"\ncatch-up = \"all(10)\"").await;
    rig.pass(&mut host, at("05-01 13:30:00"), SECOND).await;

    rig.set(at("05-01 11:30:00"));
    rig.pass(&mut host, at("05-01 13:10:00"), SECOND).await;
    // A host that starts in between has it from the store.
    drop(host);
    let mut host = rig.host("every = \"1h\"\ncatch-up = \"all(10)\"").await;
    rig.pass(&mut host, at("05-01 14:30:00"), SECOND).await;

    assert_eq!(rig.due().await, ["12", "13", "14"].map(|hour| at(&format!("05-01 {hour}:00:00"))));
    assert!(rig.runs().await.iter().all(|run| run.note.is_none()));
}

#[tokio::test]
async fn a_clock_that_was_ten_years_ahead_for_a_moment_stops_no_schedule() {
    for down in [false, true] {
        for text in ["every = \"1h\"", "cron = \"0 * * * *\"", "at = 2027-05-01T14:00:00Z"] {
            let mut rig = Rig::new("05-01 12:30:00");
            let mut host = rig.host(text).await;
            rig.pass(&mut host, at("05-01 12:40:00"), SECOND).await;

            rig.set(at("05-01 12:40:00").plus(DAY * 3650));
            host.look().await;
            rig.set(at("05-01 12:41:00"));
            if down {
                host = rig.host(text).await;
            }
            rig.pass(&mut host, at("05-01 14:30:00"), SECOND).await;

            let due = rig.due().await;
            assert_eq!(due.last(), Some(&at("05-01 14:00:00")), "{text}, down: {down}");
            assert_eq!(due.len(), if text.starts_with("at") { 1 } else { 2 }, "{text}, down: {down}: {due:?}");
        }
    }
}

#[tokio::test]
async fn a_task_whose_clock_was_set_back_continues_once_it_is_resumed() {
    let mut rig = Rig::new("05-01 12:30:00");
    let mut host = rig.host("every = \"1h\"").await;
    rig.set(at("05-01 18:30:00"));
    host.look().await;
    rig.set(at("05-01 12:40:00"));
    rig.pass(&mut host, at("05-01 13:10:00"), SECOND).await;
    assert_eq!(rig.due().await, [], "what is due up to half past six was dealt with");

    rig.store.set_paused(key(), false, rig.now()).await.unwrap();
    rig.pass(&mut host, at("05-01 15:30:00"), SECOND).await;

    assert_eq!(rig.due().await, [at("05-01 14:00:00"), at("05-01 15:00:00")]);
}

#[tokio::test]
async fn a_schedule_that_was_changed_while_no_host_was_up_has_missed_nothing_before() {
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("every = \"1h\"\ncatch-up = \"all(1000)\"").await;
    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;

    drop(host);
    rig.set(at("05-02 12:35:00"));
    let mut host = rig.host("every = \"10m\"\ncatch-up = \"all(1000)\"").await;
    rig.pass(&mut host, at("05-02 12:45:00"), SECOND).await;

    assert_eq!(rig.due().await, [at("05-01 12:00:00"), at("05-02 12:40:00")]);
    // Parts that do not decide when the task is due may change. From now on instants of this schedule can be missed.
    drop(host);
    rig.set(at("05-02 13:05:00"));
    let mut host = rig.host("every = \"10m\"\ncatch-up = \"latest\"\ndelay = \"1s\"").await;
    rig.pass(&mut host, at("05-02 13:06:00"), SECOND).await;
    assert_eq!(rig.due().await.split_off(2), [at("05-02 13:00:00")]);
    assert_eq!(rig.runs().await[2].note.as_deref(), Some("2 missed, 1 run"));
}

#[tokio::test]
async fn a_schedule_that_is_changed_while_its_host_is_up_starts_afresh() {
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("cron = \"0 * * * *\"\ncatch-up = \"all(1000)\"").await;
    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;

    host.sees("cron = \"15 * * * *\"\nzone = \"Asia/Kathmandu\"\ncatch-up = \"all(1000)\"").await;
    rig.pass(&mut host, at("05-01 13:31:00"), SECOND).await;

    // Kathmandu's quarter past is half past in UTC.
    assert_eq!(rig.due().await, [at("05-01 12:00:00"), at("05-01 13:30:00")]);
}

#[tokio::test]
async fn instants_during_a_pause_are_neither_run_nor_caught_up() {
    for down in [false, true] {
        let hourly = "every = \"1h\"\ncatch-up = \"all(1000)\"";
        let mut rig = Rig::new("05-01 11:30:00");
        let mut host = rig.host(hourly).await;
        rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;
        rig.store.set_paused(key(), true, rig.now()).await.unwrap();
        rig.pass(&mut host, at("05-01 14:30:00"), SECOND).await;
        if down {
            rig.set(at("05-02 14:30:00"));
            host = rig.host(hourly).await;
        }
        rig.store.set_paused(key(), false, rig.now()).await.unwrap();
        let resumed = rig.now();
        rig.pass(&mut host, resumed.plus(HOUR), SECOND).await;

        let due = rig.due().await;
        assert_eq!(due, [at("05-01 12:00:00"), resumed.plus(MINUTE * 30)], "down: {down}");
    }
}

#[tokio::test]
async fn a_zone_whose_rules_change_changes_only_what_is_due_from_then_on() {
    // A cursor is an instant. Two zones stand for the rules of one zone before and after its database was replaced.
    // They differ by an hour, so that the new rules have an instant between the last run and now, and one that both
    // share.
    use sexton_domain::schedule::{CatchUp, Crontab, Look, Plan, Trigger};
    let trigger = Trigger::Cron(Crontab::parse("0 */2 * * *").unwrap());
    let plan = |zone| Plan { trigger: &trigger, zone, timing: Default::default(), catch_up: CatchUp::All(9), seed: 0 };
    let look = |cursor, now| Look { cursor: Some(cursor), now, grace: SECOND };

    let before = plan(chrono_tz::Etc::GMT).due(look(at("05-01 11:30:00"), at("05-01 12:00:00")), 0);
    let after = plan(chrono_tz::Etc::GMTMinus1).due(look(before.cursor, at("05-01 15:30:00")), 0);

    assert_eq!(before.fire, [at("05-01 12:00:00")]);
    assert_eq!(after.fire, [at("05-01 13:00:00"), at("05-01 15:00:00")]);
    assert_eq!(after.next, Some(at("05-01 17:00:00")));
}

#[tokio::test]
async fn a_month_of_missed_minutes_takes_no_time_and_gives_the_latest_and_the_exact_sum() {
    let mut rig = Rig::new("05-01 11:30:30");
    let mut host = rig.host("cron = \"* * * * *\"\ncatch-up = \"latest\"").await;
    rig.pass(&mut host, at("05-01 11:31:30"), SECOND).await;
    rig.set(at("05-01 11:31:30").plus(DAY * 31));

    rig.pass(&mut host, rig.now(), SECOND).await;

    let made_up = &rig.runs().await[1];
    assert_eq!((made_up.due_at, made_up.note.as_deref()), (at("06-01 11:31:00"), Some("44640 missed, 1 run")));
}
