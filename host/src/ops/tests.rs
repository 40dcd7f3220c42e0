//! Tests operations on a real store, without any of the faces that ask for them.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::testkit::{self, TestClock, name, task_key};
use sexton_domain::labels::Labels;
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::{Cause, ClaimKey};
use sexton_domain::task::Grants;
use sexton_domain::time::Timestamp;
use sexton_runtime::imports::Caller;
use sexton_store::hosts::{Announcement, HostRecord};
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{CacheKey, NewRun, WriteIf};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The bytes that the cache of the default tenant may have.
const QUOTA: u64 = 1000;

/// The operations of the host `box`, at an instant that a test sets.
pub(super) struct Rig {
    pub(super) ops: Ops,
    clock: Arc<TestClock>,
    _directory: TempDir,
}

impl Rig {
    /// Creates a host with these tasks.
    pub(super) fn with(tasks: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // These tests do not cut the power, so commits need not reach the disk.
        let options = SqliteOptions { sync: Durability::Normal, ..SqliteOptions::default() };
        let store = SqliteStore::open(directory.path().join("store.db"), &options).unwrap();
        let (catalog, tenants) = (Arc::<Catalog>::default(), Arc::new(Tenants::only_default(QUOTA)));
        catalog.replace(tasks.iter().map(|task| (task_key(task), Arc::new(testkit::task(task)))).collect());
        let clock = TestClock::at(NOW);
        let ops = Ops::new("box".to_owned(), store, catalog, tenants, clock.clone());
        Self { ops, clock, _directory: directory }
    }

    /// Lets time pass.
    pub(super) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Makes a run of the task `a` that waits.
    async fn waiting(&self) -> RunId {
        let run = NewRun::of(task_key("a"), NOW, Cause::Demand);
        self.ops.store.enqueue(vec![run], NOW).await.unwrap()[0].run()
    }

    async fn message(&self, run: RunId) -> Option<String> {
        self.ops.store.run(run).await.unwrap().unwrap().message
    }

    /// Announces the hosts `box` and `other`.
    async fn announce(&self) {
        for name in ["box", "other"] {
            let host = HostRecord {
                name: name.to_owned(),
                instance: 1,
                version: "1".to_owned(),
                address: "[::1]:7070".to_owned(),
                labels: Vec::new(),
                slots: 1,
                attempts: 0,
                plugins: 0,
                started_at: NOW,
            };
            let alive_until = NOW.plus(Duration::from_secs(30));
            let announcement = Announcement { host, takes_over: true, alive_until, now: NOW };
            self.ops.store.announce(announcement).await.unwrap();
        }
    }
}

/// Creates the caller `name` in the run `run`, with `grants`.
pub(super) fn caller(name: &str, run: i64, grants: Grants) -> Caller {
    let claim = ClaimKey { run: RunId(run), attempt: 1, fence: 1 };
    Caller { task: Arc::new(testkit::granted_task(name, grants)), claim }
}

const BY: Principal = Principal::Operator;

fn because(reason: &str) -> EndRun {
    EndRun { reason: Some(reason.to_owned()), at_once: false }
}

#[tokio::test]
async fn a_run_that_is_ended_shows_the_reason_or_the_usual_one() {
    let rig = Rig::with(&["a"]);
    let tenant = Name::default_tenant();

    for (end, shown) in [(because("no need"), "no need"), (EndRun::default(), "killed by an operator")] {
        let run = rig.waiting().await;
        assert_eq!(rig.ops.end_run(&BY, &tenant, run, end).await.unwrap(), EndEffect::Cancelled);
        assert_eq!(rig.message(run).await.as_deref(), Some(shown));
    }
}

#[tokio::test]
async fn reasons_for_an_end_and_for_a_pause_keep_the_same_rule() {
    let rig = Rig::with(&["a"]);
    let run = rig.waiting().await;

    for bad in ["", "two\nlines", &"x".repeat(201)] {
        let ended = rig.ops.end_run(&BY, &Name::default_tenant(), run, because(bad)).await;
        let paused = rig.ops.pause(&BY, &PauseTarget::All, Some(bad.to_owned())).await;
        assert!(matches!(ended, Err(OpError::BadReason)), "{bad:?}: {ended:?}");
        assert!(matches!(paused, Err(OpError::BadReason)), "{bad:?}: {paused:?}");
    }
    assert!(rig.ops.store.pauses().await.unwrap().all.is_none());
}

#[tokio::test]
async fn a_run_of_another_tenant_is_neither_ended_nor_released() {
    let rig = Rig::with(&["a"]);
    let run = rig.waiting().await;
    let stranger = name("acme");

    let ended = rig.ops.end_run(&BY, &stranger, run, EndRun::default()).await;
    let released = rig.ops.release_run(&BY, &stranger, run).await;

    assert!(matches!(ended, Err(OpError::Store(StoreError::NoRun(_)))), "{ended:?}");
    assert!(matches!(released, Err(OpError::Store(StoreError::NoRun(_)))), "{released:?}");
    let own = rig.ops.release_run(&BY, &Name::default_tenant(), run).await;
    assert!(matches!(own, Err(OpError::RunNotHeldBack(_, RunState::Waiting))), "{own:?}");
}

#[tokio::test]
async fn a_tenant_that_is_not_there_is_not_paused() {
    let rig = Rig::with(&[]);
    let stranger = PauseTarget::Tenant(name("acme"));

    for refused in [rig.ops.pause(&BY, &stranger, None).await, rig.ops.resume(&BY, &stranger).await] {
        assert!(matches!(&refused, Err(OpError::NoTenant(_))), "{refused:?}");
    }
    assert!(rig.ops.store.pauses().await.unwrap().tenants.is_empty());
}

#[tokio::test]
async fn a_run_past_limits_is_due_now() {
    let rig = Rig::with(&["a"]);

    let asked = TriggerRun { due_at: Some(NOW), past_limits: true, ..TriggerRun::default() };
    let refused = rig.ops.trigger(&BY, &task_key("a"), asked).await;

    assert!(matches!(refused, Err(OpError::PastLimitsLater)), "{refused:?}");
}

#[tokio::test]
async fn a_run_that_is_repeated_keeps_the_labels_that_it_had() {
    let rig = Rig::with(&["a"]);
    let labels = Labels::read(["ticket=7"]).unwrap();

    let asked = TriggerRun { labels: labels.clone(), ..TriggerRun::default() };
    let first = rig.ops.trigger(&BY, &task_key("a"), asked).await.unwrap().run;
    rig.ops.end_run(&BY, &Name::default_tenant(), first, EndRun::default()).await.unwrap();
    let again = rig.ops.rerun(&BY, &Name::default_tenant(), first, RepeatRun::default()).await.unwrap().run;

    assert_ne!(again, first);
    assert_eq!(rig.ops.store.run(again).await.unwrap().unwrap().labels, labels);
}

#[tokio::test]
async fn a_drain_reaches_this_host_at_once_and_others_by_the_store() {
    let rig = Rig::with(&[]);
    rig.announce().await;
    let is_asked = async || tokio::time::timeout(Duration::ZERO, rig.ops.duty.look_requested()).await.is_ok();
    let draining = async || {
        let hosts = rig.ops.store.hosts().await.unwrap();
        hosts.into_iter().filter(|info| info.draining).map(|info| info.host.name).collect::<Vec<_>>()
    };

    rig.ops.set_draining(&BY, "other", true).await.unwrap();
    assert_eq!((is_asked().await, draining().await), (false, vec!["other".to_owned()]));

    rig.ops.set_draining(&BY, "box", true).await.unwrap();
    rig.ops.set_draining(&BY, "other", false).await.unwrap();
    assert_eq!((is_asked().await, draining().await), (true, vec!["box".to_owned()]));

    for unknown in ["third", "\0", ""] {
        let refused = rig.ops.set_draining(&BY, unknown, true).await;
        assert!(matches!(&refused, Err(OpError::NoHost(host)) if host == unknown), "{refused:?}");
    }
}

fn entry(key: &str, value: &str) -> WriteEntry {
    let key = CacheKey { tenant: Name::default_tenant(), key: key.to_owned() };
    WriteEntry { key, value: value.as_bytes().to_vec(), lives_for: None, only: WriteIf::Always, keep: None }
}

#[tokio::test]
async fn an_entry_is_written_within_the_quota_and_on_its_condition() {
    let rig = Rig::with(&[]);

    let version = rig.ops.write_entry(&BY, entry("k", "one")).await.unwrap();
    let absent = WriteEntry { only: WriteIf::Absent, ..entry("k", "two") };
    let large = entry("l", &"x".repeat(QUOTA as usize));

    let refused = rig.ops.write_entry(&BY, absent).await;
    assert!(matches!(&refused, Err(OpError::EntryDiffers(key)) if key == "k"), "{refused:?}");
    let refused = rig.ops.write_entry(&BY, large).await;
    assert!(matches!(&refused, Err(OpError::Store(StoreError::CacheFull { .. }))), "{refused:?}");
    let newer = WriteEntry { only: WriteIf::Version(version), ..entry("k", "two") };
    assert!(rig.ops.write_entry(&BY, newer).await.unwrap() > version);
}

#[tokio::test]
async fn an_entry_with_a_lifetime_expires_and_one_that_is_not_there_is_not_deleted() {
    let rig = Rig::with(&[]);
    let key = entry("k", "").key;
    let short = WriteEntry { lives_for: Some(Duration::from_secs(1)), ..entry("k", "one") };

    rig.ops.write_entry(&BY, short.clone()).await.unwrap();
    rig.ops.delete_entry(&BY, key.clone()).await.unwrap();
    let gone = rig.ops.delete_entry(&BY, key.clone()).await;
    rig.ops.write_entry(&BY, short).await.unwrap();
    rig.clock.advance(Duration::from_secs(1));
    let expired = rig.ops.delete_entry(&BY, key).await;

    for refused in [gone, expired] {
        assert!(matches!(&refused, Err(OpError::NoEntry(key)) if key == "k"), "{refused:?}");
    }
}
