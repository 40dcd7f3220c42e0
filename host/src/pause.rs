//! What people pause: a task, all tasks of a tenant, or all there are, those that come later, too.
//!
//! Nothing of what is paused is claimed, or made by schedule; what is under way goes on. A pause of many is beside those
//! of single tasks: to end it resumes no task that was paused by itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::supervision::Pause;
use crate::task::{Name, TaskKey};

/// Whom a pause is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All tasks of all tenants.
    All,
    /// All tasks of a tenant.
    Tenant(Name),
    /// One task.
    Task(TaskKey),
}

/// As a log line calls them.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all tasks"),
            Self::Tenant(tenant) => write!(f, "all tasks of tenant `{tenant}`"),
            Self::Task(task) => write!(f, "task `{task}`"),
        }
    }
}

/// Which pause keeps a task from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PausedBy {
    /// Its own.
    Task,
    /// Its tenant's.
    Tenant,
    /// That of all tasks.
    All,
}

impl PausedBy {
    /// Why nothing starts, in words.
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

/// The pauses of more than one task that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// That of all tasks.
    pub all: Option<Pause>,
    /// Those of tenants.
    pub tenants: BTreeMap<Name, Pause>,
}

impl Pauses {
    /// The pause that keeps a task of `tenant` from starting: its `own` before its tenant's, and that before the one of all.
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

        let lines = [Whom::All, Whom::Tenant(tenant), Whom::Task(key)].map(|whom| whom.to_string());

        assert_eq!(lines, ["all tasks", "all tasks of tenant `crowd`", "task `crowd/greet`"]);
    }

    #[test]
    fn the_narrowest_pause_is_the_one_that_is_told() {
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
