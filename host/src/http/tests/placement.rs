//! Tests runs that are for hosts with certain labels.

use super::*;
use sexton_store::hosts::{Announcement, HostRecord, Hosts};

fn gpu() -> Name {
    Name::new("gpu").unwrap()
}

/// Announces a host with this label.
async fn announce(rig: &Rig, label: Name) {
    let host = HostRecord {
        name: "other".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
        address: "127.0.0.1:7071".to_owned(),
        labels: vec![label],
        slots: 8,
        attempts: 0,
        plugins: 1,
        started_at: NOW,
    };
    let alive_until = NOW.plus(Duration::from_secs(15));
    rig.store.announce(Announcement { host, takes_over: true, alive_until, now: NOW }).await.unwrap();
}

#[tokio::test]
async fn a_run_shows_that_no_host_with_its_labels_is_up() {
    let rig = Rig::new();
    let task = Arc::new(Task { runs_on: vec![gpu()], ..testkit::task("hello") });
    rig.catalog.change(|tasks| drop(tasks.insert(task.key.clone(), task)));
    let run = rig.waiting().await;
    // The reason of the run, in the list of runs, and of the task.
    let why = async || {
        let shown = rig.get(&format!("/v1/runs/{run}")).await.json()["run"]["why"].clone();
        let listed = rig.get("/v1/runs").await.json()["runs"][0]["why"].clone();
        let task = rig.get("/v1/tasks/hello").await.json()["held_back"]["reason"].clone();
        assert_eq!((&listed, &task), (&shown, &shown));
        shown
    };

    let nowhere = json!("it runs on hosts with `gpu`, and no host with all of them is up");
    assert_eq!(why().await, nowhere);
    announce(&rig, Name::new("eu").unwrap()).await;
    assert_eq!(why().await, nowhere);
    announce(&rig, gpu()).await;
    assert_eq!(why().await, Value::Null);
    rig.store.set_draining("other", true).await.unwrap();
    assert_eq!(why().await, nowhere);

    assert_eq!(rig.get("/v1/tasks/hello").await.json()["runs_on"], json!(["gpu"]));
    assert_eq!(rig.get("/v1/tasks/tick").await.json()["held_back"], Value::Null);
}
