//! The page on the command line, generated from what `--help` is made of.
//!
//! The crate clap-markdown does the same, but knows no groups of commands, repeats `--url` and `--tenant` with each, and leaves
//! out examples.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::help::{GROUPS, with_groups};
use super::{Cli, TenantArgs};
use crate::reference::{assert_current, item, paragraph};

const HEAD: &str = "\
# Command line

This page is generated from the program's own help (`sexton COMMAND --help`), and a test checks that it is current. How
the commands are used is in the [guide to the command line](../guides/command-line.md), with the exit codes and what is
printed.
";

/// The heading of the options that are described once for all commands.
const SHARED: &str = "Options of commands that ask a host";

#[test]
fn the_published_page_on_the_command_line_is_current() {
    assert_current("cli.md", &page());
}

fn page() -> String {
    let program = with_groups(Cli::command());
    let mut page = HEAD.to_owned();
    page.push_str(&format!("\n## {SHARED}\n"));
    page.push_str(&paragraph(
        "These commands have the following options, before or behind the command. An environment variable that is set to \
         nothing counts as not set.",
    ));
    page.push('\n');
    for option in shared().get_arguments() {
        page.push_str(&argument(option));
    }
    for (heading, names) in GROUPS {
        page.push_str(&format!("\n## {heading}\n"));
        for name in names.iter().filter(|name| **name != "help") {
            describe(program.find_subcommand(name).expect("a test checks the groups"), &mut page);
        }
    }
    page
}

/// A command that has no arguments but the shared ones.
fn shared() -> Command {
    use clap::Args as _;
    TenantArgs::augment_args(Command::new("shared"))
}

fn describe(command: &Command, page: &mut String) {
    let mut command = command.clone();
    let name = command.get_bin_name().expect("it was built").to_owned();
    let usage = command.render_usage().to_string();
    page.push_str(&format!("\n### `{name}`\n"));
    page.push_str(&paragraph(&sentence(&command.get_about().map(ToString::to_string).unwrap_or_default())));
    page.push_str(&format!("\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim()));
    let is_shared = |argument: &&Arg| shared().get_arguments().any(|each| each.get_id() == argument.get_id());
    let own: Vec<&Arg> =
        command.get_arguments().filter(|each| !each.is_hide_set() && !is_own_help(each) && !is_shared(each)).collect();
    if !own.is_empty() {
        page.push('\n');
    }
    for each in own.iter().filter(|each| each.is_positional()).chain(own.iter().filter(|each| !each.is_positional())) {
        page.push_str(&argument(each));
    }
    let asks: Vec<String> =
        command.get_arguments().filter(is_shared).filter_map(Arg::get_long).map(|long| format!("`--{long}`")).collect();
    if !asks.is_empty() {
        let anchor = SHARED.to_lowercase().replace(' ', "-");
        page.push_str(&paragraph(&format!(
            "This command asks a host, so it has [{}](#{anchor}) as well.",
            asks.join(" and ")
        )));
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = after.lines().filter_map(|line| line.trim().strip_prefix("Example: ")).collect();
    page.push_str(&format!("\n```console\n$ {}\n```\n", examples.join("\n$ ")));
    for line in after.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Example: ")) {
        page.push_str(&paragraph(line));
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        describe(sub, page);
    }
}

/// `--help` and `--version`, which every command has.
fn is_own_help(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

fn argument(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().filter(|_| takes_value).map(|names| names.join(" "));
    let spelled = match (argument.get_short(), argument.get_long(), value) {
        (_, None, value) => value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase()),
        (None, Some(long), None) => format!("--{long}"),
        (None, Some(long), Some(value)) => format!("--{long} {value}"),
        (Some(short), Some(long), None) => format!("-{short}, --{long}"),
        (Some(short), Some(long), Some(value)) => format!("-{short}, --{long} {value}"),
    };
    let (help, stated) = stated(&argument.get_help().map(ToString::to_string).unwrap_or_default());
    let mut text = format!("`{spelled}`: {}", sentence(&help));
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_value && !values.is_empty() {
        text.push_str(&format!(" One of {}.", values.join(", ")));
    }
    if let Some(variable) = argument.get_env() {
        text.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if takes_value && !defaults.is_empty() && defaults != ["``"] {
        text.push_str(&format!(" Default: {}.", defaults.join(", ")));
    }
    item(&format!("{text}{stated}"))
}

/// Takes `[default: …]` and the like from the end of a help text, and returns them as sentences.
fn stated(help: &str) -> (String, String) {
    let (text, notes) = help.split_once(" [").unwrap_or((help, ""));
    let notes = notes.trim_end_matches(']').split("] [").filter(|note| !note.is_empty());
    let notes = notes.map(|note| {
        let note = match note.split_once(": ") {
            Some(("env", variable)) => format!("Environment: `{variable}`"),
            Some(("default", value)) if !value.contains(' ') => format!("Default: `{value}`"),
            Some(("default", value)) => format!("Default: {value}"),
            _ => note.replacen("with", "With", 1),
        };
        format!(" {note}.")
    });
    (text.to_owned(), notes.collect())
}

/// A text of the help, which has no full stop, as a sentence.
fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}
