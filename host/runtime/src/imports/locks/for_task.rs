//! Takes the lock of a task for one of its attempts, before its guest is made. The end of the attempt releases it, with
//! all locks that its guest took.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::attempt::{Ended, Interrupt, InterruptReason, Order, RunEnd, Sleeper, Stop, sleep_while};
use crate::imports::Services;
use sexton_domain::lifecycle::Ending;
use sexton_domain::run::{Accounts, Outcome, Report, RunId};
use sexton_domain::task::{IfHeld, TaskLock};
use sexton_store::{self as store, LockKind, LockName, StoreError};

use super::asking::{Asking, LockResponse};

/// The wait of the host for the lock of a task, as watchers of the attempt see it.
const TASK_LOCK: &str = "task.lock";

/// Time by which a wait may be late. A wait ends with its patience, never with this.
const BEYOND: Duration = Duration::from_secs(3600);

/// The pause after which a store that failed is asked again: the first, which is doubled each time up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The answer to an attempt that asked for the lock of its task.
enum TaskLocked {
    /// The attempt has the lock until it is over.
    Yes,
    /// The lock was not free in time, because of this.
    No(InTheWay),
}

/// The runs in the way of an attempt that asked for a lock.
enum InTheWay {
    /// A run that has the lock, or waited before.
    Run(RunId),
    /// Runs of this host that asked before.
    Queue,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run} has it"),
            Self::Queue => f.write_str("other runs wait for it"),
        }
    }
}

/// Takes the lock of the attempt's task, if the task has one, through the same queue as guests. The wait is no part of
/// the guest's time: it has no deadline but its own.
///
/// # Errors
///
/// The end of the attempt, if it does not get the lock: its guest must not be made.
pub async fn take_for_task(services: &Services, order: &Order) -> Result<(), Box<Ended>> {
    let Some(lock) = &order.task.lock else { return Ok(()) };
    let (ending, message) = match ask(services, order, lock).await {
        Ok(TaskLocked::Yes) => return Ok(()),
        Ok(TaskLocked::No(way)) => not_free(lock, lock.not_free(&way)),
        Err(interrupt) => match interrupt.why {
            InterruptReason::Stopped(Stop::Killed(why)) => (Ending::Other(Outcome::Killed), why),
            why => (Ending::Other(Outcome::Lost), format!("ended while it waited for lock `{}`: {why}", lock.name)),
        },
    };
    let accounts = Accounts { lock_wait: order.handle.usage.snapshot().lock_wait, ..Accounts::default() };
    let report = Report {
        started_at: order.claim.claimed_at,
        ended_at: services.clock.now(),
        message: Some(message),
        accounts,
        ..Report::empty()
    };
    let mut ended = Ended::new(ending, report);
    ended.claim_lost = order.handle.stopped() == Some(Stop::ClaimLost);
    Err(Box::new(ended))
}

/// Returns the end of an attempt whose lock was not free, and the message about it.
fn not_free(lock: &TaskLock, why: String) -> (Ending, String) {
    match lock.if_held {
        IfHeld::Skip => (Ending::Skipped { succeeds: false }, format!("skipped: {why}")),
        IfHeld::Succeed => (Ending::Skipped { succeeds: true }, format!("skipped: {why}")),
        IfHeld::Fail => (Ending::Other(Outcome::FailedTransient), why),
    }
}

/// Asks for the lock until the store answers.
async fn ask(services: &Services, order: &Order, lock: &TaskLock) -> Result<TaskLocked, Interrupt> {
    let (run, task) = (order.claim.key.run, &order.claim.task);
    let began = Instant::now();
    let (mut left, mut again) = (lock.wait, ASK_AGAIN.0);
    loop {
        match ask_once(services, order, lock, left).await? {
            // The attempt may have been stopped while the store answered.
            Ok(answer) => return order.handle.stopped().map_or(Ok(answer), |stop| Err(stopped(stop))),
            Err(StoreError::ClaimLost(_)) => {
                order.handle.stop(Stop::ClaimLost);
                return Err(stopped(Stop::ClaimLost));
            }
            Err(error) => {
                warn!(run.id = %run, task.name = %task, error = %error, "Cannot take lock `{}`, trying again in {again:?}", lock.name);
                // A run that must end while it pauses here learns it from its next try.
                let _ = tokio::time::timeout(again, order.handle.stops()).await;
                again = (again * 2).min(ASK_AGAIN.1);
                // The store of a simulation does not fail, so this is real time.
                left = lock.wait.saturating_sub(began.elapsed());
            }
        }
    }
}

fn stopped(stop: Stop) -> Interrupt {
    Interrupt { why: InterruptReason::Stopped(stop), in_call: TASK_LOCK }
}

/// Asks for the lock for up to `wait`. If the store fails, the attempt does not have the lock, or has it until its end
/// without knowing it, and may ask again.
async fn ask_once(
    services: &Services,
    order: &Order,
    lock: &TaskLock,
    wait: Duration,
) -> Result<store::Result<TaskLocked>, Interrupt> {
    let name = LockName { tenant: order.task.key.tenant.clone(), kind: LockKind::Named, name: lock.name.clone() };
    let (name, limit) = (Arc::new(name), wait + BEYOND);
    // The attempt has not begun to live in virtual time yet, so its wait gets a sleeper of its own.
    let sleeper = services.virtual_time.as_ref().map(|time| Sleeper::new(time, order.claim.key, limit));
    let until = RunEnd::before_the_guest(Arc::clone(&order.handle), Instant::now() + limit, sleeper.clone());
    let asking = Asking { services, claim: order.claim.key, until: &until, held: None, call: TASK_LOCK };
    let asked = sleep_while(sleeper.as_ref(), 1, asking.take(&name, lock.mode, wait)).await?;
    Ok(asked.map(|asked| match asked {
        LockResponse::Taken(_) => TaskLocked::Yes,
        LockResponse::Held(Some(run)) => TaskLocked::No(InTheWay::Run(run)),
        // An attempt that holds nothing closes no circle.
        LockResponse::Held(None) | LockResponse::Deadlock(_) => TaskLocked::No(InTheWay::Queue),
    }))
}

#[cfg(test)]
mod tests {
    use crate::attempt::RunHandle;
    use crate::imports::testing::{World, eventually, named, soon};
    use crate::testkit;
    use sexton_domain::run::Claim;
    use sexton_domain::task::Task;
    use sexton_store::LockMode;

    use super::*;

    fn of(claim: Claim, wait: Duration, if_held: IfHeld) -> Order {
        let lock = TaskLock { name: "x".to_owned(), mode: LockMode::Exclusive, wait, if_held };
        let task = Task { lock: Some(lock), ..testkit::task("a") };
        let handle = RunHandle::new(claim.key, claim.task.clone(), 0);
        Order { claim: Arc::new(claim), task: Arc::new(task), handle: Arc::new(handle) }
    }

    async fn order(world: &World, wait: Duration, if_held: IfHeld) -> Order {
        of(world.claim("a").await, wait, if_held)
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_task_lock_is_one_of_the_locks_that_guests_take() {
        let world = World::new();
        let order = order(&world, Duration::ZERO, IfHeld::Skip).await;

        take_for_task(&world.services, &order).await.unwrap();

        let held = world.services.store.locks(named("x").tenant).await.unwrap();
        assert_eq!(
            held.iter().map(|held| (held.lock.clone(), held.run)).collect::<Vec<_>>(),
            [(named("x"), order.claim.key.run)]
        );
    }

    #[tokio::test]
    async fn an_attempt_without_its_lock_ends_as_its_task_says() {
        let world = World::new();
        let holder = order(&world, Duration::ZERO, IfHeld::Skip).await;
        take_for_task(&world.services, &holder).await.unwrap();
        let run = holder.claim.key.run;

        let mut ends = Vec::new();
        for if_held in [IfHeld::Skip, IfHeld::Fail, IfHeld::Succeed] {
            let order = order(&world, Duration::from_millis(20), if_held).await;
            let ended = take_for_task(&world.services, &order).await.unwrap_err();
            assert!(ended.report().accounts.lock_wait > Duration::ZERO);
            ends.push((ended.ending().clone(), ended.report().message.clone().unwrap()));
        }

        let not_free = format!("lock `x` was not free within 20ms: run {run} has it");
        let skipped = |succeeds| (Ending::Skipped { succeeds }, format!("skipped: {not_free}"));
        let failed = (Ending::Other(Outcome::FailedTransient), not_free.clone());
        assert_eq!(ends, [skipped(false), failed, skipped(true)]);
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_lock_or_with_a_kill() {
        let world = World::new();
        let holder = order(&world, Duration::ZERO, IfHeld::Skip).await;
        take_for_task(&world.services, &holder).await.unwrap();
        let orders = [order(&world, LONG, IfHeld::Skip).await, order(&world, LONG, IfHeld::Skip).await];
        let waits = orders.clone().map(|order| {
            let services = Arc::clone(&world.services);
            tokio::spawn(async move { take_for_task(&services, &order).await })
        });
        eventually(|| world.services.lock_waits.waiting(&named("x")) == 2).await;
        let [first, second] = waits;

        orders[0].handle.stop(Stop::Killed("enough".to_owned()));
        let killed = soon(first).await.unwrap().unwrap_err();
        let name = LockName::clone(&named("x"));
        world.services.store.release_lock(name, holder.claim.key).await.unwrap();

        assert_eq!((killed.report().outcome, killed.report().message.as_deref()), (Outcome::Killed, Some("enough")));
        soon(second).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_run_that_does_not_wait_lets_others_ask_that_do_not_wait_either() {
        let world = World::new();
        let asks = world.services.lock_waits.enter(Arc::new(named("x")), LockMode::Exclusive);
        let order = order(&world, Duration::ZERO, IfHeld::Skip).await;
        let mut take = std::pin::pin!(take_for_task(&world.services, &order));
        assert!(futures_util::poll!(take.as_mut()).is_pending());

        drop(asks); // it did not get the lock

        soon(take).await.unwrap();
    }

    #[tokio::test]
    async fn a_run_that_waits_goes_back_when_its_host_shuts_down_and_leaves_the_queue() {
        let world = World::new();
        let holder = order(&world, Duration::ZERO, IfHeld::Skip).await;
        take_for_task(&world.services, &holder).await.unwrap();
        let order = order(&world, LONG, IfHeld::Skip).await;
        let (services, waiter) = (Arc::clone(&world.services), order.clone());
        let wait = tokio::spawn(async move { take_for_task(&services, &waiter).await });
        eventually(|| world.services.lock_waits.waiting(&named("x")) == 1).await;

        order.handle.announce_shutdown();
        let ended = soon(wait).await.unwrap().unwrap_err();

        assert_eq!((ended.ending(), ended.claim_lost), (&Ending::Other(Outcome::Lost), false));
        let message = "ended while it waited for lock `x`: its host takes no more runs";
        assert_eq!(ended.report().message.as_deref(), Some(message));
        assert_eq!(world.services.lock_waits.waiting(&named("x")), 0);
    }

    #[tokio::test]
    async fn an_attempt_whose_claim_is_lost_writes_nothing() {
        let world = World::new();
        let claim = world.claim("a").await;
        let stale = sexton_domain::run::ClaimKey { fence: claim.key.fence - 1, ..claim.key };

        let ended =
            take_for_task(&world.services, &of(Claim { key: stale, ..claim }, LONG, IfHeld::Skip)).await.unwrap_err();

        assert!(ended.claim_lost);
    }
}
