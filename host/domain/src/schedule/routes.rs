//! Leads added schedules to tasks: each names a task, or a type for which the manifests of its tenant have a route.
//!
//! A route is a pattern of types and a task. Routes are looked up whenever a schedule is due, so a schedule follows its
//! type when manifests change, and waits while no manifest has a route for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::task::{Name, Pattern, Task, TaskKey};

/// Says whose runs an added schedule makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The runs of this task.
    Task(Name),
    /// The runs of the task to which a route leads this type.
    Type(Name),
}

impl Target {
    /// Returns the name of the task, or the type.
    pub fn name(&self) -> &Name {
        match self {
            Self::Task(name) | Self::Type(name) => name,
        }
    }

    /// Returns the type, if it is one.
    pub fn kind(&self) -> Option<&Name> {
        match self {
            Self::Task(_) => None,
            Self::Type(kind) => Some(kind),
        }
    }

    /// Returns the target of a schedule whose task and type are kept apart: the type, if there is one.
    pub fn of(task: Name, kind: Option<Name>) -> Self {
        kind.map_or(Self::Task(task), Self::Type)
    }
}

/// Prints the name of a task, and a type with the word before it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => task.fmt(f),
            Self::Type(kind) => write!(f, "type {kind}"),
        }
    }
}

/// The reason why a schedule leads to no task, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The task does not exist.
    #[error("there is no task `{0}`")]
    NoTask(Name),
    /// No manifest has a route for the type.
    #[error("no manifest has a route for the type `{0}`")]
    Unknown(Name),
    /// Two tasks have the same best route for the type, and which of them is meant cannot be known.
    #[error("the type `{kind}` is led to both `{one}` and `{other}` by the route `{route}`")]
    Ambiguous {
        /// The type.
        kind: Name,
        /// The pattern of both routes.
        route: String,
        /// The first of the tasks.
        one: Name,
        /// The second.
        other: Name,
    },
}

/// The routes of all tenants at one moment.
#[derive(Debug, Default)]
pub struct Routes(BTreeMap<Name, BTreeMap<String, Vec<Name>>>);

impl Routes {
    /// Collects the routes of `tasks`.
    pub fn of(tasks: &BTreeMap<TaskKey, Arc<Task>>) -> Self {
        let mut routes = Self::default();
        for (key, task) in tasks {
            for Pattern(pattern) in &task.types {
                let of_tenant = routes.0.entry(key.tenant.clone()).or_default();
                of_tenant.entry(pattern.clone()).or_default().push(key.task.clone());
            }
        }
        routes
    }

    /// Returns the task to which the longest route that matches leads the type `kind` of a tenant. The cost depends on
    /// the length of the type, and not on the number of routes.
    ///
    /// # Errors
    ///
    /// [`NoRoute`] if none does, or two tasks have it.
    pub fn lead(&self, tenant: &Name, kind: &Name) -> Result<&Name, NoRoute> {
        let unknown = || NoRoute::Unknown(kind.clone());
        let routes = self.0.get(tenant).ok_or_else(unknown)?;
        // A name is ASCII, so it may be cut at each byte.
        let prefixes = (0..=kind.as_str().len()).rev().map(|length| format!("{}*", &kind.as_str()[..length]));
        let patterns = std::iter::once(kind.to_string()).chain(prefixes);
        let (route, tasks) =
            patterns.into_iter().find_map(|pattern| routes.get_key_value(&pattern)).ok_or_else(unknown)?;
        match tasks.as_slice() {
            [one, other, ..] => {
                let (kind, route) = (kind.clone(), route.clone());
                Err(NoRoute::Ambiguous { kind, route, one: one.clone(), other: other.clone() })
            }
            tasks => tasks.first().ok_or_else(unknown),
        }
    }

    /// Returns the key of the task that a schedule of `tenant` means. Whether a task that is named exists is not
    /// checked.
    ///
    /// # Errors
    ///
    /// As [`Routes::lead`].
    pub fn task_of(&self, tenant: &Name, target: &Target) -> Result<TaskKey, NoRoute> {
        let task = match target {
            Target::Task(task) => task,
            Target::Type(kind) => self.lead(tenant, kind)?,
        };
        Ok(TaskKey { tenant: tenant.clone(), task: task.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Routes of the default tenant.
    fn routes(all: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::default();
        let of_tenant = routes.0.entry(Name::default_tenant()).or_default();
        for (pattern, task) in all {
            of_tenant.entry((*pattern).to_owned()).or_default().push(name(task));
        }
        routes
    }

    fn lead(routes: &Routes, kind: &str) -> Result<String, NoRoute> {
        routes.lead(&Name::default_tenant(), &name(kind)).map(Name::to_string)
    }

    #[test]
    fn the_longest_route_that_matches_leads_a_type_to_its_task() {
        let routes =
            routes(&[("mail-*", "mailer"), ("mail-bulk-*", "bulk"), ("mail-bulk", "exact"), ("mail-bulk*", "prefix")]);

        for (kind, task) in [
            ("mail-welcome", "mailer"),
            ("mail-", "mailer"),
            ("mail-bulk", "exact"),
            ("mail-bulky", "prefix"),
            ("mail-bulk-monday", "bulk"),
        ] {
            assert_eq!(lead(&routes, kind), Ok(task.to_owned()), "{kind}");
        }
        assert_eq!(lead(&routes, "mail"), Err(NoRoute::Unknown(name("mail"))));
        assert_eq!(routes.lead(&name("acme"), &name("mail-a")), Err(NoRoute::Unknown(name("mail-a"))));
        let all = self::routes(&[("*", "any")]);
        assert_eq!(lead(&all, "whatever"), Ok("any".to_owned()));
    }

    #[test]
    fn a_type_that_two_tasks_take_alike_is_led_to_neither() {
        let routes = routes(&[("mail-*", "mailer"), ("mail-*", "other"), ("mail-a", "first")]);

        assert_eq!(lead(&routes, "mail-a"), Ok("first".to_owned()));
        let why = lead(&routes, "mail-b").unwrap_err().to_string();
        assert_eq!(why, "the type `mail-b` is led to both `mailer` and `other` by the route `mail-*`");
    }

    #[test]
    fn a_schedule_that_names_its_task_needs_no_route() {
        let target = Target::of(name("report"), None);
        let task = Routes::default().task_of(&name("acme"), &target).unwrap();
        assert_eq!((task.to_string().as_str(), target.kind()), ("acme/report", None));
        let typed = Target::of(name("mail-a"), Some(name("mail-a")));
        assert_eq!((typed.to_string().as_str(), typed.name().as_str()), ("type mail-a", "mail-a"));
        assert!(Routes::default().task_of(&name("acme"), &typed).is_err());
    }
}
