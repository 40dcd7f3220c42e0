//! Decides how many of the due runs a host may take, in total and of each tenant.

use crate::ClaimRequest;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The places that several tasks share: those of a tenant, or of all tasks if tenants are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The number of runs that are under way already.
    pub(crate) running: usize,
    /// The number of runs that may be taken.
    pub(crate) room: usize,
}

impl Places {
    /// Returns the places that all tasks share.
    pub(crate) fn of_all(request: &ClaimRequest) -> Self {
        Self { running: 0, room: request.limit }
    }

    /// Returns the places of `tenant`.
    pub(crate) fn of_tenant(request: &ClaimRequest, tenant: &Name) -> Self {
        let share = request.tenants.get(tenant);
        Self {
            running: share.map_or(0, |share| share.running as usize),
            room: share.map_or(request.limit, |share| request.limit.min(share.room as usize)),
        }
    }

    /// Returns how many runs to look for first in each of `tasks` tasks: usually that is enough.
    pub(crate) fn share_of_each(self, tasks: usize) -> usize {
        self.room.div_ceil(tasks.max(1))
    }
}

/// Moves `next` to `at`, if that is sooner.
pub(crate) fn sooner(next: &mut Option<Timestamp>, at: Timestamp) {
    *next = Some(next.map_or(at, |other| other.min(at)));
}
