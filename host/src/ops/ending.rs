//! Ends a run, and releases one that is held back.

use std::time::Duration;

use tracing::info;

use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_runtime::attempt::Stop;
use sexton_store::{Cancelled, Released};

use super::{OpError, Ops, Principal, Result, reason};

/// The reason that a run shows if none was given for its end.
const NO_REASON: &str = "killed by an operator";

/// The way in which a run is ended.
#[derive(Clone, Debug, Default)]
pub struct EndRun {
    /// The reason that the run shows afterwards; `None` for the usual one.
    pub reason: Option<String>,
    /// Whether the guest is ended without a notice.
    pub at_once: bool,
}

/// The effect of ending a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndEffect {
    /// The run was waiting, and is cancelled.
    Cancelled,
    /// The run is running on this host, and has this long to end by itself.
    Stopping(Duration),
    /// The run is running on another host, which learns it with its next heartbeat.
    Requested,
}

impl Ops {
    /// Ends a run of `tenant`.
    ///
    /// # Errors
    ///
    /// [`OpError::BadReason`]; [`OpError::RunIsOver`]; the store's errors.
    pub async fn end_run(&self, by: &Principal, tenant: &Name, run: RunId, end: EndRun) -> Result<EndEffect> {
        let EndRun { reason, at_once } = end;
        let reason = reason::checked(reason)?.unwrap_or_else(|| NO_REASON.to_owned());
        self.run_of(tenant, run).await?;
        // The attempt is told at once, whatever the store does. The store is told as well, because a crash before the
        // outcome is stored would let the run go on.
        let live = self.live.get(run);
        let grace = live.as_ref().map_or(Duration::ZERO, |attempt| {
            if at_once {
                attempt.stop(Stop::Killed(reason.clone()));
                return Duration::ZERO;
            }
            attempt.ask_to_end(Stop::Killed(reason.clone()))
        });
        let ended = match (live, self.store.cancel(run, &reason, self.clock.now()).await) {
            (Some(_), _) => EndEffect::Stopping(grace),
            (None, wish) => match wish? {
                Cancelled::Done => EndEffect::Cancelled,
                Cancelled::Requested => EndEffect::Requested,
                Cancelled::Over(state) => return Err(OpError::RunIsOver(run, state)),
            },
        };
        info!(run.id = %run, principal = %by, ?ended, "Asked to end run {run}");
        Ok(ended)
    }

    /// Lets a run of `tenant` start that is held back because it is suspected of killing its host.
    ///
    /// # Errors
    ///
    /// [`OpError::RunNotHeldBack`]; the store's errors.
    pub async fn release_run(&self, by: &Principal, tenant: &Name, run: RunId) -> Result<()> {
        self.run_of(tenant, run).await?;
        match self.store.release_run(run, self.clock.now()).await? {
            Released::Done => {
                info!(run.id = %run, principal = %by, "Released run {run}, which was suspected of killing its host");
                Ok(())
            }
            Released::NotHeld(state) => Err(OpError::RunNotHeldBack(run, state)),
        }
    }
}
