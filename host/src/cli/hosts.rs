//! Implements `hosts` and `drain`: lists the hosts that share the store, and has one of them take no more runs.

use std::time::Duration;

use comfy_table::Cell;
use serde::Deserialize;

use super::args::{DrainArgs, ListArgs};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, one_line};
use super::trigger::spinner;
use crate::http::api_types::hosts::{HostShape, HostState, Hosts};
use sexton_domain::time::Timestamp;

/// The polling interval of `--wait`. The host itself reports once a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

const PATH: &str = "/v1/hosts";

pub(super) fn hosts(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text(PATH)?;
    if list.json {
        return screen.json(&json);
    }
    let Hosts { hosts } = decode(&json)?;
    let columns = ["HOST", "STATE", "RUNNING", "PLUGINS", "VERSION", "ADDRESS", "LABELS", "UP SINCE", "SEEN"];
    let mut table = screen.table(&columns, "LABELS");
    for host in &hosts {
        let labels: Vec<&str> = host.labels.iter().map(|label| label.as_str()).collect();
        table.add_row(vec![
            Cell::new(one_line(&host.name)),
            if host.state == HostState::Up { Cell::new(host.state) } else { screen.alarm(host.state.as_str()) },
            Cell::new(format!("{} of {}", host.attempts, host.slots)),
            Cell::new(host.plugins),
            Cell::new(one_line(&host.version)),
            Cell::new(one_line(&host.address)),
            Cell::new(if labels.is_empty() { "-".to_owned() } else { labels.join(", ") }),
            Cell::new(screen.ago(host.started_at)),
            Cell::new(screen.ago(host.seen_at)),
        ]);
    }
    screen.print(&table)
}

pub(super) fn drain(client: &Client, args: &DrainArgs, screen: &Screen) -> Result<(), CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => answering(client)?,
    };
    let verb = if args.undo { "undrain" } else { "drain" };
    let json = client.post(&format!("{PATH}/{}/{verb}", part(&name)), &[], &[])?;
    if args.json {
        return screen.json(&json);
    }
    let host: HostShape = decode(&json)?;
    let shown = one_line(&host.name);
    screen.line(&match host.state {
        HostState::Gone => format!("Host `{shown}` is gone; it will take runs when it starts."),
        HostState::Draining => {
            format!("Host `{shown}` is draining: it takes no more runs, and those it has under way continue.")
        }
        HostState::Up => format!("Host `{shown}` takes runs."),
    })?;
    if args.wait { wait(client, &host, screen) } else { Ok(()) }
}

/// Returns the name of the host that responds.
fn answering(client: &Client) -> Result<String, CliError> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let Named { name } = decode(&client.text("/v1/host")?)?;
    Ok(name)
}

/// Waits until a draining host has nothing under way.
fn wait(client: &Client, host: &HostShape, screen: &Screen) -> Result<(), CliError> {
    let shown = one_line(&host.name);
    let spinner = spinner(&format!("host {shown}"));
    let mut watch = Watch::default();
    let ended = loop {
        let Hosts { hosts } = decode(&client.text(PATH)?)?;
        let Some(now) = hosts.into_iter().find(|known| known.name == host.name) else {
            break Err(CliError::new(Exit::NotFound, format!("host `{shown}` no longer exists")));
        };
        let done = watch.is_done(&now);
        match now.state {
            HostState::Gone => break Ok(format!("Host `{shown}` is gone.")),
            HostState::Draining if done => break Ok(format!("Host `{shown}` has nothing under way.")),
            HostState::Draining => spinner.set_message(format!("host {shown}: {} under way", now.attempts)),
            HostState::Up => {
                let again = CliError::failed(format!("host `{shown}` is no longer draining"));
                break Err(again.hint("the drain was undone, or the host was started again"));
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    spinner.finish_and_clear();
    screen.line(&ended?)
}

/// The announcements of a host since it was told to drain. It learns that with its next announcement, and its counts
/// from then on are what it has left.
#[derive(Debug, Default)]
struct Watch {
    seen_at: Option<Timestamp>,
    /// The number of announcements since the first look.
    heard: u32,
}

impl Watch {
    /// Returns whether nothing is left.
    fn is_done(&mut self, host: &HostShape) -> bool {
        let before = self.seen_at.replace(host.seen_at);
        self.heard += u32::from(before.is_some_and(|before| before != host.seen_at));
        self.heard > 1 && host.attempts == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_done_only_after_the_host_has_learnt_of_it() {
        let host = |seconds: i64, attempts: u32| HostShape {
            name: "box".into(),
            state: HostState::Draining,
            version: "0.1.0".into(),
            address: "127.0.0.1:7070".into(),
            labels: Vec::new(),
            slots: 8,
            attempts,
            plugins: 1,
            started_at: Timestamp::from_millis(0),
            seen_at: Timestamp::from_millis(seconds * 1000),
        };
        let mut watch = Watch::default();

        // The host reports nothing under way while a claim is on its way that it does not know of yet.
        let said = [(5, 0), (5, 0), (10, 0), (10, 0), (11, 2), (12, 1), (12, 1), (13, 0)];

        let done = said.map(|(seconds, attempts)| watch.is_done(&host(seconds, attempts)));
        assert_eq!(done, [false, false, false, false, false, false, false, true]);
    }
}
