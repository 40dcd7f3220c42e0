//! Makes trouble for the hosts, the database and the connections between them: chosen by a seed, and healed in the end.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sexton_testkit::postgres::{Cluster, Mode};
use sexton_testkit::proxy::Proxy;

use crate::hosts::Hosts;

/// The hosts' lease.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The distance between two troubles, in milliseconds.
const APART: std::ops::Range<u64> = 500..3000;

/// The sleep of the loop, which is the pace of the troubles and not a wait for anything.
const LOOK: Duration = Duration::from_millis(20);

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A host is killed, and started again after a while.
    Kill,
    /// A host is stopped for longer than its lease.
    Stop,
    /// The database is restarted.
    Restart(Mode),
    /// The connections of one host, or of all, are cut.
    Cut,
    /// The connection between a host and the database passes nothing on for a while.
    Stall,
}

/// The troubles of a round, each as often as it comes in it.
const ROUND: [Trouble; 16] = [
    Trouble::Kill,
    Trouble::Kill,
    Trouble::Kill,
    Trouble::Kill,
    Trouble::Stop,
    Trouble::Stop,
    Trouble::Stop,
    Trouble::Stop,
    Trouble::Cut,
    Trouble::Cut,
    Trouble::Cut,
    Trouble::Cut,
    Trouble::Stall,
    Trouble::Stall,
    Trouble::Restart(Mode::Fast),
    Trouble::Restart(Mode::Immediate),
];

/// The only trouble of a run that needs stale holders.
const STOPS: [Trouble; 1] = [Trouble::Stop];

/// The number of times that each has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) restarts: usize,
    /// Connections that were cut, on purpose and not by another trouble.
    pub(crate) cuts: usize,
    pub(crate) stalls: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, stops, restarts, cuts, stalls } = self;
        write!(
            f,
            "{kills} kills, {stops} stops, {restarts} restarts of the database, {cuts} connections cut, {stalls} stalls"
        )
    }
}

/// The action that ends a trouble.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    Start(usize),
    GoOn(usize),
    PassOn(usize),
}

/// Makes trouble. The seed chooses kind, target and duration; the effect depends on the machine, too.
pub(crate) struct Troubles<'a> {
    hosts: &'a mut Hosts,
    cluster: &'a Cluster,
    proxies: &'a [Proxy],
    round: &'static [Trouble],
    chance: StdRng,
    left: Vec<Trouble>,
    remedies: Vec<(Instant, Remedy)>,
    counts: Counts,
    start: Instant,
}

impl<'a> Troubles<'a> {
    /// Creates trouble for `hosts`, each of which reaches the database over the proxy at its place.
    pub(crate) fn new(seed: u64, hosts: &'a mut Hosts, cluster: &'a Cluster, proxies: &'a [Proxy]) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        let (left, remedies, counts) = (Vec::new(), Vec::new(), Counts::default());
        Self { hosts, cluster, proxies, round: &ROUND, chance, left, remedies, counts, start: Instant::now() }
    }

    /// Restricts the trouble to hosts that are stopped for longer than their lease.
    pub(crate) fn stops_only(self) -> Self {
        Self { round: &STOPS, ..self }
    }

    /// Makes trouble for `time`, then heals everything. Returns once all hosts are up.
    pub(crate) fn make(mut self, time: Duration) -> Result<Counts> {
        let mut next = self.start + LEASE;
        while self.start.elapsed() < time {
            self.heal(Instant::now())?;
            self.hosts.look_after()?;
            if Instant::now() >= next {
                self.one()?;
                next = Instant::now() + Duration::from_millis(self.chance.random_range(APART));
            }
            std::thread::sleep(LOOK);
        }
        self.tell("everything is healed");
        for (_, remedy) in std::mem::take(&mut self.remedies) {
            self.apply(remedy)?;
        }
        self.hosts.all_up()?;
        Ok(self.counts)
    }

    /// Makes the next trouble of the round.
    fn one(&mut self) -> Result<()> {
        if self.left.is_empty() {
            self.left = self.round.to_vec();
            self.left.shuffle(&mut self.chance);
        }
        let Some(trouble) = self.left.pop() else { return Ok(()) };
        match trouble {
            Trouble::Kill => self.kill(),
            Trouble::Stop => self.stop(),
            Trouble::Restart(mode) => {
                self.tell(&format!("restart the database ({})", mode.as_str()));
                self.cluster.restart(mode);
                self.counts.restarts += 1;
                Ok(())
            }
            Trouble::Cut => {
                self.cut();
                Ok(())
            }
            Trouble::Stall => {
                self.stall();
                Ok(())
            }
        }
    }

    fn kill(&mut self) -> Result<()> {
        let after = self.chance.random_range(0..4000);
        let Some(host) = self.somebody() else { return Ok(()) };
        self.tell(&format!("kill {}, for {after} ms", self.hosts.name(host)));
        self.hosts.kill(host)?;
        self.counts.kills += 1;
        self.later(after, Remedy::Start(host));
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let lease = u64::try_from(LEASE.as_millis()).expect("a lease is short");
        let after = self.chance.random_range(lease * 5 / 4..lease * 3);
        let Some(host) = self.somebody() else { return Ok(()) };
        self.tell(&format!("stop {}, for {after} ms", self.hosts.name(host)));
        self.hosts.stop(host)?;
        self.counts.stops += 1;
        self.later(after, Remedy::GoOn(host));
        Ok(())
    }

    fn cut(&mut self) {
        let all = self.chance.random_bool(0.5);
        let one = self.chance.random_range(0..self.proxies.len());
        let cut: usize = self.proxies.iter().enumerate().filter(|(n, _)| all || *n == one).map(|(_, p)| p.cut()).sum();
        let whose = if all { "all" } else { self.hosts.name(one) };
        self.tell(&format!("cut {cut} connections of {whose}"));
        self.counts.cuts += cut;
    }

    fn stall(&mut self) {
        let after = self.chance.random_range(500..4000);
        let one = self.chance.random_range(0..self.proxies.len());
        self.tell(&format!("stall {}, for {after} ms", self.hosts.name(one)));
        self.proxies[one].stall(true);
        self.counts.stalls += 1;
        self.later(after, Remedy::PassOn(one));
    }

    /// Returns one of the healthy hosts.
    fn somebody(&mut self) -> Option<usize> {
        // The number is drawn whether or not there is such a host, so that later draws do not depend on it.
        let at = self.chance.random_range(0..6 * 5 * 4);
        let up = self.hosts.up();
        (!up.is_empty()).then(|| up[at % up.len()])
    }

    fn later(&mut self, after: u64, remedy: Remedy) {
        self.remedies.push((Instant::now() + Duration::from_millis(after), remedy));
    }

    /// Applies the remedies that are due.
    fn heal(&mut self, now: Instant) -> Result<()> {
        let all = std::mem::take(&mut self.remedies);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at <= now);
        self.remedies = later;
        due.into_iter().try_for_each(|(_, remedy)| self.apply(remedy))
    }

    fn apply(&mut self, remedy: Remedy) -> Result<()> {
        match remedy {
            Remedy::Start(host) => self.hosts.start(host),
            Remedy::GoOn(host) => self.hosts.go_on(host)?,
            Remedy::PassOn(host) => self.proxies[host].stall(false),
        }
        Ok(())
    }

    fn tell(&self, what: &str) {
        println!("{:>8.1} s  {what}", self.start.elapsed().as_secs_f64());
    }
}
