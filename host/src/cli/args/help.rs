//! Groups the commands in `sexton --help` by purpose. clap has no groups of commands, so the list is built here from
//! each command's own line of help.

use clap::Command;

/// The commands in groups, in the order they are shown.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    (
        "Tasks and runs",
        &[
            "tasks", "chains", "runs", "show", "logs", "events", "result", "trigger", "rerun", "kill", "release",
            "pause", "resume",
        ],
    ),
    ("Schedules", &["schedule", "backfill"]),
    ("Inside running tasks", &["top", "stack", "profile", "locks", "cache"]),
    ("Hosts", &["run", "hosts", "drain", "tenants", "plugins", "migrate", "backup", "restore"]),
    ("Authors", &["new", "check", "test", "schema"]),
    ("Other", &["completions", "help"]),
];

/// Sets the `--help` of the whole program.
pub(super) fn with_groups(command: Command) -> Command {
    let mut command = command;
    // This makes `help` a command, so that it has a line as well.
    command.build();
    let template =
        format!("{{about}}\n\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}{{after-help}}", list(&command));
    command.help_template(template)
}

fn list(command: &Command) -> String {
    let width = command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(|sub| sub.get_name().len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (heading, names) in GROUPS {
        text.push_str(&format!("\n{heading}:\n"));
        for name in *names {
            let sub = command.find_subcommand(name);
            let about = sub.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {name:width$}  {about}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::GROUPS;
    use crate::cli::Cli;

    #[test]
    fn every_command_that_is_shown_is_in_one_group_of_the_help() {
        let command = Cli::command();
        let shown: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set())
            .map(clap::Command::get_name)
            .chain(["help"])
            .collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();

        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), shown);
        assert_eq!(grouped.len(), shown.len(), "each in one group only");
    }
}
