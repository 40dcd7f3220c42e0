//! Holds the parts of a host, and advances its clock.

use std::collections::VecDeque;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::machine::budget::Budgets;
use crate::machine::executor::Executor;
use crate::machine::scheduler::{Reacting, Scheduler, Timetable};
use crate::machine::sweeper::Sweeper;
use crate::machine::worker::Worker;
use crate::ops::{OpError, Ops, Principal, TriggerRun};
use crate::plugins::{Registry, load_one};
use sexton_domain::lengths;
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::attempt::VirtualTime;
use sexton_runtime::catalog::Catalog;
use sexton_runtime::imports::Services;
use sexton_runtime::imports::locks::LockWaits;
use sexton_runtime::runtime::{Compiler, Runtime};
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{RunFilter, Store};

use super::error::SimulationError;
use super::plan::{HostEvent, Plan, RequestedRun};
use super::report::{self, Gap, SimulationReport};

/// The most attempts and jumps of the clock: a minute of a good machine's work, and more lines than anyone reads.
const MOST: usize = 200_000;

/// The wait before another look if a due run is held up. A real host looks as often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A claim lasts longer than any simulation. This host is the only one, and gives up its claims when it goes down.
const LEASE: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

pub(super) struct SimHost<'a> {
    plan: &'a Plan,
    time: Arc<VirtualTime>,
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    catalog: Arc<Catalog>,
    ops: Ops,
    budgets: Arc<Budgets>,
    scheduler: Scheduler,
    timetable: Timetable,
    reacting: Reacting,
    worker: Worker,
    sweeper: Sweeper,
    attempts: JoinSet<()>,
    events: VecDeque<(Duration, HostEvent)>,
    down: bool,
    /// The runs that were requested while the host was down.
    late: Vec<RequestedRun>,
    gaps: Vec<Gap>,
    /// The latest run at the time when the host came up again, or its clock was set forward, until the next look at
    /// missed instants.
    unseen: Option<RunId>,
    things: usize,
    /// The directory of the store and of compiled code. Dropped last.
    _place: tempfile::TempDir,
}

fn private_directory() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("sexton-test-").permissions(Permissions::from_mode(0o700)).tempdir()
}

fn no_host(error: &dyn std::fmt::Display) -> SimulationError {
    SimulationError::NoHost(error.to_string())
}

/// Makes a runtime, and loads the plugin of `plan` into it.
async fn load(
    plan: &Plan,
    config: &Config,
    services: Arc<Services>,
    catalog: &Arc<Catalog>,
) -> Result<(Arc<Runtime>, Arc<Registry>), SimulationError> {
    let mut settings = config.runtime();
    if cfg!(test) {
        settings.compiler = Compiler::InProcess; // the harness of unit tests is no program that compiles
    }
    let runtime = Runtime::new(settings, services).map_err(|e| no_host(&e))?;
    let plugins = Arc::new(Registry::new(Arc::clone(catalog)));
    let most = config.runtime.max_component;
    load_one::load(&plugins, &runtime, &plan.plugin, most, &plan.only, plan.start)
        .await
        .map_err(SimulationError::BadPlugin)?;
    Ok((runtime, plugins))
}

impl<'a> SimHost<'a> {
    pub(super) async fn new(plan: &'a Plan) -> Result<Self, SimulationError> {
        let place = private_directory().map_err(|e| no_host(&e))?;
        let mut config = Config::default();
        config.host.var = place.path().to_owned();
        let time = VirtualTime::new(plan.start, plan.seed);
        let clock: Arc<dyn Clock> = time.clone();
        // Nothing here has to survive a power cut.
        let options = SqliteOptions { sync: Durability::Normal, ..SqliteOptions::default() };
        let store: Arc<dyn Store> = SqliteStore::open(config.database(), &options)?;
        let (catalog, tenants) = (Arc::<Catalog>::default(), Arc::new(config.tenants()));
        let host = config.host_name();
        let ops = Ops::new(host, Arc::clone(&store), Arc::clone(&catalog), Arc::clone(&tenants), Arc::clone(&clock));
        let services = Arc::new(Services {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            run_requests: Arc::new(ops.clone()),
            schedule_requests: Arc::new(ops.clone()),
            tenants,
            lock_waits: Arc::<LockWaits>::default(),
            virtual_time: Some(Arc::clone(&time)),
        });
        let (runtime, plugins) = load(plan, &config, services, &catalog).await?;
        let executor = Arc::new(Executor {
            store: Arc::clone(&store),
            runtime: Arc::clone(&runtime),
            plugins,
            live: Arc::clone(&ops.live),
            budgets: Arc::clone(&ops.budgets),
            summary: Arc::default(),
            clock: Arc::clone(&clock),
        });
        let worker = worker(&config, &ops, executor);
        let sweeper = sweeper(&config, &ops);
        let scheduler = Scheduler {
            store: Arc::clone(&store),
            catalog: Arc::clone(&catalog),
            live: Arc::clone(&ops.live),
            clock,
            pause: Arc::default(),
            started: Arc::default(),
        };
        let world = Self {
            plan,
            time,
            store,
            runtime,
            catalog,
            budgets: Arc::clone(&ops.budgets),
            ops,
            scheduler,
            timetable: Timetable::default(),
            reacting: Reacting::default(),
            worker,
            sweeper,
            attempts: JoinSet::new(),
            events: plan.events().into(),
            down: false,
            late: Vec::new(),
            gaps: Vec::new(),
            unseen: None,
            things: 0,
            _place: place,
        };
        world.check_requested_tasks()?;
        Ok(world)
    }

    fn check_requested_tasks(&self) -> Result<(), SimulationError> {
        let known = self.catalog.tasks();
        let unknown = self.plan.asked.iter().find(|asked| !known.contains_key(&key(&asked.task)));
        match unknown {
            Some(asked) => {
                let names: Vec<_> = known.keys().map(|key| format!("`{}`", key.task)).collect();
                Err(SimulationError::BadPlan(format!(
                    "there is no task `{}`; there is {}",
                    asked.task,
                    names.join(", ")
                )))
            }
            None => Ok(()),
        }
    }

    /// Advances to the end of the plan.
    pub(super) async fn run_to_end(&mut self) -> Result<(), SimulationError> {
        loop {
            self.apply_events().await?;
            let next = if !self.down { self.run_due_work().await? } else { None };
            let next = next.into_iter().chain(self.events.front().map(|(at, _)| *at)).chain(self.time.next()).min();
            match next.filter(|next| *next <= self.plan.length) {
                Some(next) => self.time.advance_to(next),
                None => {
                    self.time.advance_to(self.plan.length);
                    return Ok(());
                }
            }
            self.happens()?;
        }
    }

    /// Returns the report.
    pub(super) async fn tell(mut self) -> Result<SimulationReport, SimulationError> {
        let report = report::tell(self.plan, self.store.as_ref(), &self.catalog, &self.gaps).await;
        self.abandon_attempts().await;
        let runtime = Arc::clone(&self.runtime);
        // Stopping waits for threads, so it runs on a thread for blocking work.
        let _ = tokio::task::spawn_blocking(move || runtime.stop()).await;
        report
    }

    fn happens(&mut self) -> Result<(), SimulationError> {
        self.things += 1;
        if self.things > MOST { Err(SimulationError::TooMuch(MOST)) } else { Ok(()) }
    }

    /// Does everything that is due at this instant, one thing after the other. Returns the time until more is due, as
    /// far as scheduler and store know.
    async fn run_due_work(&mut self) -> Result<Option<Duration>, SimulationError> {
        loop {
            self.time.quiet().await;
            while self.attempts.try_join_next().is_some() {}
            if self.time.wake_one() {
                self.happens()?;
                continue;
            }
            let before = self.time.wake_count();
            let next_due = self.scheduler.look(&mut self.timetable, &mut self.reacting).await;
            self.sweeper.end_expired().await?;
            let room = usize::from(self.attempts.len() < self.worker.places as usize);
            let claimed = self.worker.take(room).await?;
            let took = !claimed.claims.is_empty();
            for claim in claimed.claims {
                self.happens()?;
                let (executor, attempt, busy) =
                    (Arc::clone(&self.worker.executor), self.budgets.begin(&claim), self.time.busy());
                self.attempts.spawn(async move {
                    executor.execute(claim).await;
                    drop(attempt);
                    drop(busy);
                });
            }
            // A claimed run may have ended by now and have another attempt to come. So may an attempt that was asleep
            // before the look and awoke since, because another run takes its place. In both cases everything is
            // examined again. Hints precede answers: every receiver of a hint about the last write has received it
            // before the claim is answered.
            if !took && self.time.is_quiet() && self.time.wake_count() == before {
                let now = self.time.elapsed();
                let when = |at| Some(self.time.when(at)).filter(|at| *at > now).unwrap_or(now + LOOK_AGAIN);
                return Ok(next_due.into_iter().chain(claimed.next_run_at).map(when).min());
            }
            self.happens()?;
        }
    }

    /// Applies the events of the host up to now.
    async fn apply_events(&mut self) -> Result<(), SimulationError> {
        while let Some((_, event)) = self.events.pop_front_if(|(at, _)| *at <= self.time.elapsed()) {
            let now = self.time.now();
            match event {
                HostEvent::Step(by) => {
                    self.time.set_clock(by);
                    let back = if by < 0 { "back" } else { "forward" };
                    let by_words = lengths::exact(Duration::from_millis(by.unsigned_abs()));
                    self.note(now, format!("the clock is set {back} by {by_words}")).await?;
                    self.unseen = Some(self.latest().await?);
                }
                HostEvent::Down { until } => {
                    self.down = true;
                    self.abandon_attempts().await;
                    self.note(
                        now,
                        format!(
                            "the host goes down, for {}",
                            lengths::about(until.since(self.plan.start.plus(self.time.elapsed())))
                        ),
                    )
                    .await?;
                }
                HostEvent::Up => {
                    self.down = false;
                    (self.timetable, self.reacting) = Default::default();
                    self.store.abandon(&self.worker.host).await?;
                    self.note(now, "the host is up again".to_owned()).await?;
                    self.unseen = Some(self.latest().await?);
                    for asked in std::mem::take(&mut self.late) {
                        self.ask(asked).await?;
                    }
                }
                HostEvent::Request(asked) if self.down => self.late.push(asked),
                HostEvent::Request(asked) => self.ask(asked).await?,
            }
        }
        // Several causes may come together. Missed instants are reported once, because the scheduler looks once.
        match self.unseen.take_if(|_| !self.down) {
            Some(after) => self.left_out(after).await,
            None => Ok(()),
        }
    }

    /// Ends all attempts as they are, and stores nothing for them.
    async fn abandon_attempts(&mut self) {
        self.attempts.shutdown().await;
        self.time.quiet().await;
    }

    async fn ask(&mut self, asked: RequestedRun) -> Result<(), SimulationError> {
        let asked_for = TriggerRun { input: asked.input, ..TriggerRun::default() };
        match self.ops.trigger(&Principal::Simulation, &key(&asked.task), asked_for).await {
            Ok(_) | Err(OpError::NoTask(_)) => Ok(()),
            Err(OpError::Store(error)) => Err(error.into()),
            Err(other) => Err(SimulationError::NoHost(other.to_string())),
        }
    }

    async fn note(&mut self, at: Timestamp, what: String) -> Result<(), SimulationError> {
        let after = self.latest().await?;
        self.gaps.push(Gap::event(after, at, what));
        Ok(())
    }

    /// Reports missed instants, as the scheduler is about to find them.
    async fn left_out(&mut self, after: RunId) -> Result<(), SimulationError> {
        let (states, tasks) = (self.store.task_states().await?, self.catalog.tasks());
        self.gaps.push(Gap::left_out(after, self.time.now(), tasks.values().map(AsRef::as_ref), &states));
        Ok(())
    }

    async fn latest(&self) -> Result<RunId, SimulationError> {
        let latest = self.store.runs(RunFilter { limit: 1, ..RunFilter::default() }).await?;
        Ok(latest.first().map_or(RunId(0), |run| run.id))
    }
}

fn key(task: &Name) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: task.clone() }
}

fn worker(config: &Config, ops: &Ops, executor: Arc<Executor>) -> Worker {
    Worker {
        store: Arc::clone(&ops.store),
        catalog: Arc::clone(&ops.catalog),
        clock: Arc::clone(&ops.clock),
        executor,
        budgets: Arc::clone(&ops.budgets),
        host: ops.host.clone(),
        // The host has every requested label, because a plugin cannot know the labels of other hosts.
        labels: ops.catalog.tasks().values().flat_map(|task| task.runs_on.clone()).collect(),
        slots: Arc::new(Semaphore::new(config.runtime.slots as usize)),
        places: config.runtime.slots,
        lease: LEASE,
        poll: watch::Sender::new(config.machine.poll).subscribe(),
        pause: Arc::default(),
        duty: Arc::clone(&ops.duty),
    }
}

fn sweeper(config: &Config, ops: &Ops) -> Sweeper {
    Sweeper {
        store: Arc::clone(&ops.store),
        live: Arc::clone(&ops.live),
        catalog: Arc::clone(&ops.catalog),
        clock: Arc::clone(&ops.clock),
        every: config.machine.lease,
        suspect_after: config.machine.suspect_after(),
        retention: watch::Sender::new(config.retention()).subscribe(),
        events: config.events(),
    }
}
