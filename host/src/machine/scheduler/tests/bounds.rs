//! Tests the bounds of a schedule, and delays of its runs.

use std::time::Duration;

use super::rig::{DAY, HOUR, MINUTE, Rig, at, key};
use sexton_domain::run::RunState;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_task_with_a_limit_of_runs_keeps_it_across_restarts() {
    let hourly = "every = \"1h\"\ntimes = 3\ncatch-up = \"latest\"";
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host(hourly).await;
    rig.pass(&mut host, at("05-01 13:30:00"), SECOND).await;
    drop(host);
    rig.set(at("05-01 20:30:00"));
    let mut host = rig.host(hourly).await;

    rig.pass(&mut host, at("05-02 20:30:00"), SECOND).await;
    drop(host);
    let mut host = rig.host(hourly).await;
    rig.pass(&mut host, at("05-03 20:30:00"), SECOND).await;

    assert_eq!(rig.due().await, ["12", "13", "20"].map(|hour| at(&format!("05-01 {hour}:00:00"))));
    assert_eq!(rig.state().await.fired, 3);
    // A higher limit continues the count.
    host.sees(&hourly.replace('3', "4")).await;
    rig.pass(&mut host, at("05-04 20:30:00"), SECOND).await;
    assert_eq!(rig.due().await.split_off(3), [at("05-03 21:00:00")]);
    // Another schedule is counted by itself.
    host.sees("every = \"10m\"\ntimes = 2").await;
    rig.pass(&mut host, at("05-05 20:30:00"), SECOND).await;
    assert_eq!(rig.due().await.split_off(4), [at("05-04 20:40:00"), at("05-04 20:50:00")]);
}

#[tokio::test]
async fn two_hosts_of_one_store_make_so_many_runs_together() {
    let often = "every = \"1m\"\ntimes = 7\noverlap = \"allow(100)\"";
    let mut rig = Rig::new("05-01 11:30:00");
    let mut hosts = [rig.host(often).await, rig.host(often).await];

    for minute in 1..=20_u32 {
        // The two hosts take turns in looking first, and now and then one does not look for a while.
        rig.set(at("05-01 11:30:00").plus(MINUTE * minute));
        if minute % 5 != 0 {
            hosts[minute as usize % 2].look().await;
        }
        if minute % 3 != 0 {
            hosts[(minute as usize + 1) % 2].look().await;
        }
        rig.work(SECOND).await;
    }

    let due = rig.due().await;
    assert_eq!(due.len(), 7, "{due:?}");
    assert!(due.is_sorted_by(|a, b| a < b), "{due:?}");
    assert_eq!(rig.state().await.fired, 7);
}

#[tokio::test]
async fn of_two_hosts_that_are_due_at_once_for_the_last_run_one_makes_it() {
    let rig = Rig::new("05-01 11:59:00");
    let often = "every = \"1m\"\ntimes = 1";
    let mut hosts = [rig.host(often).await, rig.host(often).await];
    rig.set(at("05-01 12:00:00"));

    let [one, other] = &mut hosts;
    tokio::join!(one.look(), other.look());

    assert_eq!(rig.due().await, [at("05-01 12:00:00")]);
}

#[tokio::test]
async fn nothing_is_due_before_its_start_or_after_its_end() {
    let mut rig = Rig::new("05-01 10:30:00");
    let bounds = "start = 2027-05-01T12:00:00Z\nend = 2027-05-01T14:00:00Z\ncatch-up = \"all(1000)\"";
    let mut host = rig.host(&format!("every = \"1h\"\n{bounds}")).await;

    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;
    // The host is down over the schedule's end. The instants missed until then, and no more, are made up for.
    rig.set(at("05-02 12:30:00"));
    rig.pass(&mut host, at("05-03 12:30:00"), SECOND).await;

    assert_eq!(rig.due().await, ["12", "13", "14"].map(|hour| at(&format!("05-01 {hour}:00:00"))));
    assert_eq!(rig.runs().await[2].note.as_deref(), Some("2 missed, 2 run"));
}

#[tokio::test]
async fn a_run_starts_later_than_it_is_due_within_what_is_left_to_chance_and_alike_on_all_hosts() {
    let later = "every = \"10m\"\ndelay = \"1m\"\njitter = \"2m\"\nspread = \"3m\"\ncatch-up = \"none\"";
    let mut seen = Vec::new();
    for restarts in [false, true] {
        let mut rig = Rig::new("05-01 00:05:00");
        let mut host = rig.host(later).await;
        for hour in 1..24_u32 {
            if restarts {
                host = rig.host(later).await;
            }
            rig.pass(&mut host, at("05-01 00:05:00").plus(HOUR * hour), SECOND).await;
        }
        let runs = rig.runs().await;
        assert_eq!(runs.len(), 23 * 6);
        let by: Vec<Duration> = runs.iter().map(|run| run.run_at.since(run.due_at)).collect();
        assert!(by.iter().all(|by| (MINUTE..=MINUTE * 6).contains(by)), "{by:?}");
        assert!(runs.iter().all(|run| run.claimed_at == Some(run.run_at) && run.created_at == run.run_at), "{runs:?}");
        let (least, most) = (*by.iter().min().unwrap(), *by.iter().max().unwrap());
        assert!(
            (MINUTE..=MINUTE * 2).contains(&(most - least)),
            "jitter alone differs from run to run: {least:?} {most:?}"
        );
        seen.push(by);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_run_that_starts_later_is_not_missed_when_its_host_is_up_again_in_time() {
    let mut rig = Rig::new("05-01 11:30:00");
    let nightly = "cron = \"0 12 * * *\"\ndelay = \"1h\"";
    let mut host = rig.host(nightly).await;
    rig.pass(&mut host, at("05-01 12:10:00"), SECOND).await;
    assert_eq!(rig.due().await, []);

    rig.set(at("05-01 12:50:00"));
    host = rig.host(nightly).await;
    rig.pass(&mut host, at("05-01 13:10:00"), SECOND).await;

    let runs = rig.runs().await;
    assert_eq!((runs[0].due_at, runs[0].claimed_at), (at("05-01 12:00:00"), Some(at("05-01 13:00:00"))));
}

#[tokio::test]
async fn overlap_is_decided_at_the_start_of_a_run() {
    // Each run takes nine minutes of ten. With one delay for all runs they never overlap.
    let mut rig = Rig::new("05-01 00:05:00");
    let mut host = rig.host("every = \"10m\"\ndelay = \"8m\"").await;
    rig.pass(&mut host, at("05-01 02:05:00"), MINUTE * 9).await;

    assert_eq!(rig.count(RunState::Cancelled).await, 0);
    assert_eq!(rig.runs().await.len(), 11);
}

#[tokio::test]
async fn a_run_that_does_not_start_in_time_is_cancelled_with_the_reason() {
    let rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("every = \"1h\"\nstart-within = \"3s\"\noverlap = \"allow(9)\"").await;
    rig.set(at("05-01 12:00:00"));
    host.look().await;
    rig.set(at("05-01 12:00:03"));
    assert_eq!(rig.store.cancel_late(rig.now()).await.unwrap(), 0);
    assert_eq!(rig.claim_up_to(9).await.len(), 1, "at the last moment");

    rig.set(at("05-01 13:00:00"));
    host.look().await;
    rig.set(at("05-01 13:00:03").plus(Duration::from_millis(1)));
    assert_eq!(rig.claim_up_to(9).await.len(), 0);

    let late = &rig.runs().await[1];
    assert_eq!((late.state, late.ended_at), (RunState::Cancelled, Some(rig.now())));
    let said = "not started by 2027-05-01T13:00:03.000Z: its start-within of 3s was over";
    assert_eq!(late.message.as_deref(), Some(said));
}

#[tokio::test]
async fn a_catch_up_run_has_its_full_time_to_start() {
    let mut rig = Rig::new("05-01 11:30:00");
    let hourly = "every = \"1h\"\nstart-within = \"90s\"\ncatch-up = \"all(2)\"";
    let mut host = rig.host(hourly).await;
    rig.set(at("05-02 11:30:00"));

    rig.pass(&mut host, at("05-02 11:33:00"), MINUTE * 2).await;

    let states: Vec<_> = rig.runs().await.iter().map(|run| (run.state, run.message.clone())).collect();
    assert_eq!(states[0].0, RunState::Succeeded);
    let said = "not started by 2027-05-02T11:31:30.000Z: its start-within of 1m 30s was over";
    assert_eq!(states[1], (RunState::Cancelled, Some(said.to_owned())));
}

#[tokio::test]
async fn a_task_that_is_paused_uses_up_none_of_its_times() {
    let mut rig = Rig::new("05-01 11:30:00");
    let mut host = rig.host("every = \"1h\"\ntimes = 2").await;
    rig.pass(&mut host, at("05-01 12:30:00"), SECOND).await;
    rig.store.set_paused(key(), true, rig.now()).await.unwrap();
    rig.pass(&mut host, at("05-01 15:30:00"), SECOND).await;
    rig.store.set_paused(key(), false, rig.now()).await.unwrap();

    let until = rig.now().plus(DAY);
    rig.pass(&mut host, until, SECOND).await;

    assert_eq!(rig.due().await, [at("05-01 12:00:00"), at("05-01 16:00:00")]);
}

#[tokio::test]
async fn a_task_that_changes_while_others_stay_is_followed_and_one_that_is_gone_makes_no_runs() {
    let mut rig = Rig::new("05-01 12:30:00");
    let mut host = rig.host("every = \"1h\"").await;
    rig.pass(&mut host, at("05-01 13:30:00"), SECOND).await;

    host.changes(None).await;
    rig.pass(&mut host, at("05-01 15:30:00"), SECOND).await;
    let until_then = rig.due().await;
    host.changes(Some("every = \"2h\"")).await;
    rig.pass(&mut host, at("05-01 18:30:00"), SECOND).await;

    assert_eq!(until_then, [at("05-01 13:00:00")]);
    assert_eq!(rig.due().await, ["13", "16", "18"].map(|hour| at(&format!("05-01 {hour}:00:00"))));
}
