//! Defines pauses: of a task, of all tasks of a tenant, or of all tasks, including later ones.
//!
//! Runs of paused tasks are neither claimed nor made by schedule; attempts under way go on. A pause of many tasks is
//! independent of those of single tasks: ending it does not resume a task with a pause of its own.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::supervision::Pause;
use crate::task::{Name, TaskKey};

/// The target of a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseTarget {
    /// All tasks of all tenants.
    All,
    /// All tasks of a tenant.
    Tenant(Name),
    /// One task.
    Task(TaskKey),
}

impl PauseTarget {
    /// Returns its tenant and its task; a text is empty, which is no name, if it has none.
    pub fn names(&self) -> (&str, &str) {
        match self {
            Self::All => ("", ""),
            Self::Tenant(tenant) => (tenant.as_str(), ""),
            Self::Task(task) => (task.tenant.as_str(), task.task.as_str()),
        }
    }
}

/// Prints the target for log lines.
impl fmt::Display for PauseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all tasks"),
            Self::Tenant(tenant) => write!(f, "all tasks of tenant `{tenant}`"),
            Self::Task(task) => write!(f, "task `{task}`"),
        }
    }
}

/// The owner of the pause that keeps a task from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PausedBy {
    /// The task itself.
    Task,
    /// The task's tenant.
    Tenant,
    /// The pause of all tasks.
    All,
}

impl PausedBy {
    /// Returns the reason why nothing starts, in words.
    pub fn why(self, pause: &Pause) -> String {
        let since = pause.since.map(|at| format!(" since {at}")).unwrap_or_default();
        let why = pause.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        match self {
            Self::Task => format!("its task is {pause}"),
            Self::Tenant => format!("its tenant is paused{since}{why}"),
            Self::All => format!("all tasks are paused{since}{why}"),
        }
    }
}

/// The pauses of more than one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The pause of all tasks.
    pub all: Option<Pause>,
    /// The pauses of tenants.
    pub tenants: BTreeMap<Name, Pause>,
}

impl Pauses {
    /// Returns the pause that keeps a task of `tenant` from starting: its `own` one, or else its tenant's, or else that
    /// of all.
    pub fn of<'a>(&'a self, tenant: &Name, own: Option<&'a Pause>) -> Option<(PausedBy, &'a Pause)> {
        let tenants = || self.tenants.get(tenant).map(|pause| (PausedBy::Tenant, pause));
        let all = || self.all.as_ref().map(|pause| (PausedBy::All, pause));
        own.map(|pause| (PausedBy::Task, pause)).or_else(tenants).or_else(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_log_line_names_what_is_paused() {
        let [tenant, task] = ["crowd", "greet"].map(|name| Name::new(name).unwrap());
        let key = TaskKey { tenant: tenant.clone(), task };

        let lines =
            [PauseTarget::All, PauseTarget::Tenant(tenant), PauseTarget::Task(key)].map(|target| target.to_string());

        assert_eq!(lines, ["all tasks", "all tasks of tenant `crowd`", "task `crowd/greet`"]);
    }

    #[test]
    fn the_narrowest_pause_is_the_one_that_is_shown() {
        let pause = |why: &str| Pause { since: Some(Timestamp::from_millis(0)), why: Some(why.to_owned()) };
        let (crowd, other) = (Name::new("crowd").unwrap(), Name::new("other").unwrap());
        let pauses = Pauses { all: Some(pause("a")), tenants: BTreeMap::from([(crowd.clone(), pause("t"))]) };
        let own = pause("own");
        let why = |tenant, own| pauses.of(tenant, own).map(|(by, pause)| by.why(pause)).unwrap();

        assert_eq!(why(&crowd, Some(&own)), "its task is paused: own");
        assert_eq!(why(&crowd, None), "its tenant is paused since 1970-01-01T00:00:00.000Z: t");
        assert_eq!(why(&other, None), "all tasks are paused since 1970-01-01T00:00:00.000Z: a");
        assert_eq!(Pauses::default().of(&crowd, None), None);
    }
}
