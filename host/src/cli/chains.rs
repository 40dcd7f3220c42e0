//! Implements `chains`: the position of each chain, and the last ends of its links.

use comfy_table::Cell;

use super::args::ListArgs;
use super::client::{Client, decode};
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::api_types::following::{ChainShape, Chains, LinkShape};

pub(super) fn chains(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text("/v1/chains")?;
    if list.json {
        return screen.json(&json);
    }
    let Chains { chains } = decode(&json)?;
    if chains.is_empty() {
        return screen.line("There are no chains. `[chains.NAME]` in a manifest defines one.");
    }
    let header = ["CHAIN", "LINK", "TASK", "ROUND", "NOW", "LAST RUN", "STATE", "ENDED"];
    let mut table = screen.table(&header, "NOW");
    for chain in &chains {
        for (nth, link) in chain.links.iter().enumerate() {
            let here = nth + 1 == chain.link;
            let last = link.last.as_ref();
            table.add_row(vec![
                Cell::new(if nth == 0 { chain.name.as_str() } else { "" }),
                Cell::new(format!("{} of {}", nth + 1, chain.links.len())),
                Cell::new(&link.task),
                Cell::new(if here { chain.round.to_string() } else { round(link) }),
                if here { now(chain, screen) } else { Cell::new("") },
                Cell::new(last.and_then(|last| last.run).map_or("-".to_owned(), |run| run.to_string())),
                last.and_then(|last| last.state).map_or(Cell::new("-"), |state| screen.state(state)),
                Cell::new(last.map_or("-".to_owned(), |last| screen.ago(last.at))),
            ]);
        }
    }
    screen.print(&table)?;
    for chain in &chains {
        if let Some(why) = &chain.paused_why {
            screen.line(&format!("\n`{}` is paused: {}", chain.name, one_line(why)))?;
        }
    }
    Ok(())
}

fn round(link: &LinkShape) -> String {
    link.last.as_ref().map_or("-".to_owned(), |last| last.round.to_string())
}

/// Describes what the chain does at its current link.
fn now(chain: &ChainShape, screen: &Screen) -> Cell {
    let since = chain.since.map(|since| format!(", since {}", screen.clock(since))).unwrap_or_default();
    match (chain.run, chain.next) {
        (Some(run), _) => Cell::new(format!("run {run}{since}")),
        _ if chain.paused => screen.alarm("paused"),
        _ if let Some(why) = &chain.waits_for => screen.alarm(&one_line(why)),
        (None, Some(next)) => Cell::new(format!("next {}", screen.ago(next))),
        (None, None) => Cell::new("-"),
    }
}
