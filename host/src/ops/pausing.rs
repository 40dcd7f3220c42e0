//! Pauses and resumes a task, all tasks of a tenant, or all tasks.

use tracing::info;

use super::{OpError, Ops, Principal, Result, reason};
use sexton_domain::pause::{PauseTarget, PausedBy};
use sexton_domain::supervision::Pause;
use sexton_domain::task::TaskKey;

/// The state after a pause or a resume.
#[derive(Clone, Debug)]
pub struct PauseState {
    /// The pause that is in force now, and its owner. A task that was resumed may still be paused with its tenant.
    pub pause: Option<(PausedBy, Pause)>,
    /// Whether the pause in question was in force before.
    pub already: bool,
}

impl Ops {
    /// Pauses `target`, for the reason `why`, which is for people.
    ///
    /// # Errors
    ///
    /// [`OpError::BadReason`]; [`OpError::NoTask`] for a task that never existed; [`OpError::NoTenant`]; the store's
    /// errors.
    pub async fn pause(&self, by: &Principal, target: &PauseTarget, why: Option<String>) -> Result<PauseState> {
        let why = reason::checked(why)?;
        let already = self.is_paused(target).await?;
        self.store.pause(target.clone(), why.clone(), self.clock.now()).await?;
        info!(principal = %by, why, "Paused {target}");
        self.pause_state(target, already).await
    }

    /// Ends the pause of `target`, and no other.
    ///
    /// # Errors
    ///
    /// Those of [`Ops::pause`].
    pub async fn resume(&self, by: &Principal, target: &PauseTarget) -> Result<PauseState> {
        let already = self.is_paused(target).await?;
        self.store.resume(target.clone(), self.clock.now()).await?;
        info!(principal = %by, "Resumed {target}");
        self.pause_state(target, already).await
    }

    /// Returns the pause that keeps a task from starting.
    pub(super) async fn pause_of(&self, task: &TaskKey) -> Result<Option<(PausedBy, Pause)>> {
        let (own, pauses) = (self.state_of(task).await?.paused, self.store.pauses().await?);
        Ok(pauses.of(&task.tenant, own.as_ref()).map(|(by, pause)| (by, pause.clone())))
    }

    /// Returns whether `target` has a pause of its own. Chains are paused like tasks. A task or chain whose plugin is
    /// quarantined can be paused and resumed, too, once it has been known.
    async fn is_paused(&self, target: &PauseTarget) -> Result<bool> {
        match target {
            PauseTarget::All => Ok(self.store.pauses().await?.all.is_some()),
            PauseTarget::Tenant(tenant) if self.tenants.get(tenant).is_none() => Err(OpError::NoTenant(tenant.clone())),
            PauseTarget::Tenant(tenant) => Ok(self.store.pauses().await?.tenants.contains_key(tenant)),
            PauseTarget::Task(task) => {
                let is_offered = self.catalog.get(task).is_some() || self.catalog.chains().contains_key(task);
                match self.store.task_state(task.clone()).await? {
                    None if !is_offered => Err(OpError::NoTask(task.clone())),
                    state => Ok(state.is_some_and(|state| state.paused.is_some())),
                }
            }
        }
    }

    async fn pause_state(&self, target: &PauseTarget, already: bool) -> Result<PauseState> {
        let pause = match target {
            PauseTarget::Task(task) => self.pause_of(task).await?,
            PauseTarget::Tenant(tenant) => {
                self.store.pauses().await?.of(tenant, None).map(|(by, pause)| (by, pause.clone()))
            }
            PauseTarget::All => self.store.pauses().await?.all.map(|pause| (PausedBy::All, pause)),
        };
        Ok(PauseState { pause, already })
    }
}
