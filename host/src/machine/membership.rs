//! Announces this host to the hosts that share the store, and learns from the store whether it must drain, or must end
//! because another process has its name.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::machine::drain::{Duty, HostDuty};
use crate::machine::live::LiveRuns;
use crate::plugins::Registry;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::attempt::Stop;
use sexton_store::hosts::{Announced, Announcement, HostRecord};
use sexton_store::{Result, Store};
use sexton_system::supervisor::{rests, works};

/// The interval at which a draining host reports its attempts under way, for those who wait for them.
const WHILE_DRAINING: Duration = Duration::from_secs(1);

/// The parts that the membership needs.
#[derive(Debug)]
pub struct Membership {
    /// Holds the records of hosts.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The attempts under way.
    pub live: Arc<LiveRuns>,
    /// The plugins; those in use are counted.
    pub plugins: Arc<Registry>,
    /// The duty of this host.
    pub duty: Arc<HostDuty>,
    /// The announced record, except for its counts.
    pub host: HostRecord,
    /// The time for which the host counts as present after an announcement: as long as a claim holds. It announces
    /// itself three times in that time.
    pub lease: Duration,
}

/// Announces the start of `host`. From now on an earlier process of its name writes nothing down, and ends as soon as
/// it finds that out.
///
/// # Errors
///
/// Those of the store.
pub async fn take_over(store: &dyn Store, host: HostRecord, lease: Duration, now: Timestamp) -> Result<()> {
    let announcement = Announcement { host, takes_over: true, alive_until: now.plus(lease), now };
    store.announce(announcement).await.map(drop)
}

impl Membership {
    /// Announces the host three times a lease until `over` is set, then reports that it is gone.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let often = self.lease / 3;
        while self.duty.now() != Duty::Replaced {
            let wait = if self.duty.now() == Duty::Draining { often.min(WHILE_DRAINING) } else { often };
            rests(Some(wait));
            tokio::select! {
                () = tokio::time::sleep(wait) => self.look().await,
                () = self.duty.look_requested() => self.look().await,
                _ = over.changed() => return self.leave().await,
            }
        }
    }

    /// Announces the host once, and follows what the store wants of it.
    async fn look(&self) {
        works();
        match self.announce(self.lease).await {
            Ok(Announced { replaced: true, .. }) => self.stop_all(),
            Ok(Announced { draining, .. }) => self.apply_drain(draining),
            // The last answer holds until another one arrives.
            Err(error) => warn!(error = %error, "Cannot announce this host"),
        }
    }

    /// Reports that the host is gone, so that others need not wait until it counts as gone. If this fails they have to.
    async fn leave(&self) {
        works();
        if let Err(error) = self.announce(Duration::ZERO).await {
            warn!(error = %error, "Cannot report that this host stops");
        }
    }

    async fn announce(&self, alive_for: Duration) -> Result<Announced> {
        let now = self.clock.now();
        let attempts = match self.duty.now() {
            Duty::Up => self.live.all().len(),
            // A caller that waits for the drain must not miss a claim that is on its way.
            Duty::Draining | Duty::Replaced => self.duty.under_way(),
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (attempts, plugins) = (count(attempts), count(self.plugins.in_use()));
        let host = HostRecord { attempts, plugins, ..self.host.clone() };
        self.store.announce(Announcement { host, takes_over: false, alive_until: now.plus(alive_for), now }).await
    }

    fn apply_drain(&self, draining: bool) {
        let host = &self.host.name;
        match draining {
            true if self.duty.set(Duty::Draining) => {
                self.live.set_draining(true);
                info!(host.name = %host, "Draining: this host takes no runs until `sexton drain {host} --undo`, or the next start");
            }
            true => {}
            false => {
                // Before the duty, so that no run that is claimed because of it goes back.
                self.live.set_draining(false);
                if self.duty.set(Duty::Up) {
                    info!(host.name = %host, "No longer draining: this host takes runs again");
                }
            }
        }
    }

    /// Ends all attempts without giving up their claims. The claims are the other process's to give up: the store would
    /// accept nothing from here.
    fn stop_all(&self) {
        let host = &self.host.name;
        error!(host.name = %host, "Another process has taken the name `{host}` in this store, so this host ends: give each host a `[host] name` of its own, or stop the other");
        self.duty.set(Duty::Replaced);
        for attempt in self.live.all() {
            attempt.stop(Stop::ClaimLost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{TestClock, first_claim, handle, task_key};
    use sexton_runtime::attempt::RunHandle;
    use sexton_store::sqlite::{SqliteOptions, SqliteStore};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const LEASE: Duration = Duration::from_secs(15);

    fn record(instance: i64) -> HostRecord {
        HostRecord {
            name: "box".into(),
            instance,
            version: "0.1.0".into(),
            address: "127.0.0.1:7070".into(),
            labels: Vec::new(),
            slots: 8,
            attempts: 0,
            plugins: 0,
            started_at: NOW,
        }
    }

    /// A host `box` that has announced itself, with an attempt under way.
    struct Rig {
        membership: Membership,
        attempt: Arc<RunHandle>,
        _place: tempfile::TempDir,
    }

    impl Rig {
        async fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let store: Arc<dyn Store> = SqliteStore::open(place.path().join("db"), &SqliteOptions::default()).unwrap();
            take_over(&*store, record(1), LEASE, NOW).await.unwrap();
            let membership = Membership {
                store,
                clock: TestClock::at(NOW),
                live: Arc::default(),
                plugins: Arc::new(Registry::new(Arc::default())),
                duty: Arc::default(),
                host: record(1),
                lease: LEASE,
            };
            let attempt = handle(first_claim(1), task_key("a"));
            membership.live.insert(Arc::clone(&attempt));
            Self { membership, attempt, _place: place }
        }

        /// Returns the number of attempts in the host's record, and until when the host counts as present.
        async fn known(&self) -> (u32, Timestamp) {
            let known = self.membership.store.hosts().await.unwrap().remove(0);
            (known.host.attempts, known.alive_until)
        }
    }

    #[tokio::test]
    async fn a_draining_host_reports_its_attempts_until_they_have_ended() {
        let rig = Rig::new().await;
        let duty = &rig.membership.duty;
        rig.membership.look().await;
        assert_eq!(rig.known().await, (1, NOW.plus(LEASE)), "what is under way");
        let (claim, attempt) = (duty.busy(), duty.busy());

        rig.membership.store.set_draining("box", true).await.unwrap();
        rig.membership.look().await;
        assert_eq!(
            (duty.now(), rig.attempt.stopped()),
            (Duty::Draining, Some(Stop::Returned)),
            "its guest never began"
        );
        rig.membership.look().await;
        assert_eq!(rig.known().await.0, 2, "and a claim that is on its way");
        drop((claim, attempt));
        rig.membership.look().await;
        assert_eq!(rig.known().await.0, 0);

        rig.membership.store.set_draining("box", false).await.unwrap();
        rig.membership.look().await;
        assert_eq!(duty.now(), Duty::Up);
    }

    #[tokio::test]
    async fn a_replaced_host_gives_up_its_claims_and_announces_itself_no_more() {
        let rig = Rig::new().await;
        take_over(&*rig.membership.store, record(2), LEASE, NOW).await.unwrap();
        let Rig { membership, attempt, _place } = rig;
        let (store, duty) = (Arc::clone(&membership.store), Arc::clone(&membership.duty));
        let (_over, stop) = watch::channel(false);

        duty.ask();
        tokio::time::timeout(Duration::from_secs(10), membership.run(stop)).await.expect("it ends by itself");

        assert_eq!((duty.now(), attempt.stopped()), (Duty::Replaced, Some(Stop::ClaimLost)));
        assert_eq!(store.hosts().await.unwrap().remove(0).host, record(2));
    }

    #[tokio::test]
    async fn a_host_that_stops_reports_that_it_is_gone() {
        let Rig { membership, _place, .. } = Rig::new().await;
        let store = Arc::clone(&membership.store);
        let (over, stop) = watch::channel(false);

        let announcing = tokio::spawn(membership.run(stop));
        over.send(true).unwrap();
        announcing.await.unwrap();

        assert_eq!(store.hosts().await.unwrap().remove(0).alive_until, NOW);
    }
}
