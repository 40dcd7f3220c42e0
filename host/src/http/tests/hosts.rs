//! Tests the hosts that share the store, and draining one of them.

use super::*;
use crate::machine::drain::Duty;
use sexton_store::hosts::{Announcement, HostRecord, Hosts as _};

impl Rig {
    /// Announces a host that counts as present for `alive_for` from now.
    pub(crate) async fn announce(&self, name: &str, alive_for: Duration) {
        let host = HostRecord {
            name: name.to_owned(),
            instance: 1,
            version: "0.1.0".to_owned(),
            address: "127.0.0.1:7070".to_owned(),
            labels: vec![Name::new("gpu").expect("a name")],
            slots: 8,
            attempts: 3,
            plugins: 2,
            started_at: NOW,
        };
        let announcement = Announcement { host, takes_over: true, alive_until: NOW.plus(alive_for), now: NOW };
        self.store.announce(announcement).await.expect("a store that works");
    }
}

const LEASE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn hosts_are_listed_with_whether_they_are_there() {
    let rig = Rig::new();
    assert_eq!(rig.get("/v1/hosts").await.json(), json!({ "hosts": [] }));

    rig.announce("box", LEASE).await;
    assert!(!rig.get("/hosts").await.text().contains("id=\"host-other\""), "there is but one");
    rig.announce("other", Duration::ZERO).await;

    let at = "2026-11-22T10:00:00.000Z";
    let hosts = rig.get("/v1/hosts").await.json();
    let expected = json!({
        "name": "box", "state": "up", "version": "0.1.0", "address": "127.0.0.1:7070", "labels": ["gpu"], "slots": 8,
        "attempts": 3, "plugins": 2, "started_at": at, "seen_at": at,
    });
    assert_eq!(hosts["hosts"][0], expected);
    assert_eq!([&hosts["hosts"][1]["name"], &hosts["hosts"][1]["state"]], [&json!("other"), &json!("gone")]);
    let page = rig.get("/hosts").await;
    for shown in ["<span class=\"tag ok\">up</span>", "3 of 8", "<span class=\"tag bad\">gone</span>"] {
        assert!(page.text().contains(shown), "{}", page.text());
    }
}

#[tokio::test]
async fn a_host_that_is_to_drain_is_asked_at_once_if_it_is_this_one() {
    let rig = Rig::new();
    rig.announce("box", LEASE).await;
    rig.announce("other", LEASE).await;

    assert_eq!(rig.post("/v1/hosts/other/drain", "").await.json()["state"], "draining");
    let asked = tokio::time::timeout(Duration::ZERO, rig.duty.look_requested()).await;
    assert!(asked.is_err(), "the other is not asked here");
    assert_eq!(rig.post("/v1/hosts/box/drain", "").await.json()["state"], "draining");

    tokio::time::timeout(BOUND, rig.duty.look_requested()).await.expect("the store is asked");
    assert_eq!(rig.post("/v1/hosts/box/undrain", "").await.json()["state"], "up");
    assert_eq!(rig.get("/v1/hosts").await.json()["hosts"][1]["state"], "draining");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_not_drained() {
    let rig = Rig::new();
    rig.announce("box", LEASE).await;
    for (path, status, code) in [
        ("/v1/hosts/nobody/drain", 404, "no-such-host"),
        ("/v1/hosts/%00/undrain", 404, "no-such-host"),
        ("/v1/hosts/box/drain?why=x", 400, "bad-query"),
        ("/v1/hosts?limit=1", 400, "bad-query"),
    ] {
        let method = if path.contains("drain") { Method::POST } else { Method::GET };
        let answer = rig.ask(request(method, path).body(Body::empty()).expect("a request")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
    }
    assert_eq!(rig.get("/v1/hosts").await.json()["hosts"][0]["state"], "up");
}

#[tokio::test]
async fn a_drain_is_shown_wherever_a_run_waits_for_the_host() {
    let rig = Rig::new();
    assert_eq!(rig.get("/v1/host").await.json()["draining"], false);
    let run = rig.waiting().await;

    rig.duty.set(Duty::Draining);

    let why = json!({ "reason": "this host is draining and takes no runs", "until": null });
    assert_eq!(rig.get("/v1/host").await.json()["draining"], true);
    assert_eq!(rig.get("/v1/live").await.json()["draining"], true);
    assert_eq!(rig.get("/v1/tasks").await.json()["tasks"][0]["held_back"], why);
    assert_eq!(rig.get(&format!("/v1/runs/{run}")).await.json()["run"]["held_back"], why);
    assert_eq!(rig.post("/v1/tasks/hello/runs?past_limits=true", "").await.json()["held_back"], why);
    assert!(rig.get("/").await.text().contains("Draining: this host takes no runs."));
}
