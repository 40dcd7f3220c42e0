//! Implements `backfill`: shows what would be done, asks, and does it.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use ureq::http::Method;

use super::args::BackfillArgs;
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, local};
use crate::http::api_types::backfills::{BackfillCancelled, BackfillShape};
use sexton_domain::time::Timestamp;

pub(super) fn backfill(client: &Client, args: &BackfillArgs, screen: &Screen) -> Result<(), CliError> {
    let path = format!("/v1/tasks/{}/backfill", part(args.task.as_str()));
    if args.cancel {
        return cancel(client, &path, args, screen);
    }
    let from = args.from.as_deref().unwrap_or_default();
    let to = args.to.as_deref().map(|to| format!("&to={}", part(to))).unwrap_or_default();
    let forgotten = if args.also_forgotten { "&forgotten=true" } else { "" };
    let range = format!("?from={}{to}&at_once={}{forgotten}", part(from), args.at_once);
    let json = client.post(&format!("{path}{range}&dry_run=true"), &[], &[])?;
    let plan: BackfillShape = decode(&json)?;
    if args.dry_run && args.list.json {
        return screen.json(&json);
    }
    if !args.list.json {
        screen.line(&words(&plan))?;
    }
    if args.dry_run {
        return Ok(());
    }
    if plan.runs == 0 {
        return if args.list.json { screen.json(&json) } else { Ok(()) };
    }
    if !args.yes && !agrees(screen)? {
        return screen.line("Nothing was made.");
    }
    // The instants of the answer, because words such as `now - 2 days` mean others by now.
    let range = format!("?from={}&to={}&at_once={}{forgotten}", at(plan.from), at(plan.to), args.at_once);
    let json = client.post(&format!("{path}{range}"), &[], &[])?;
    if args.list.json {
        return screen.json(&json);
    }
    let made: BackfillShape = decode(&json)?;
    screen.line(&format!("Made {}. `sexton runs --task {}` lists them.", runs(made.runs), made.task))
}

fn at(instant: Timestamp) -> String {
    part(&instant.to_string())
}

/// Asks the user. Without a terminal that is refused.
fn agrees(screen: &Screen) -> Result<bool, CliError> {
    if !screen.terminal || !std::io::stdin().is_terminal() {
        return Err(CliError::usage("these runs are made only with --yes, because there is no terminal to ask at")
            .hint("`--dry-run` shows only what would be done"));
    }
    write!(std::io::stderr(), "Make them? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says what a backfill would do.
fn words(plan: &BackfillShape) -> String {
    let BackfillShape { task, instants, existing, at_once, .. } = plan;
    let (from, to) = (local(plan.from), local(plan.to));
    let due = match instants {
        0 => return format!("`{task}` was not due from {from} to {to}."),
        1 => "once".to_owned(),
        many => format!("{many} times"),
    };
    let known = match existing {
        0 => String::new(),
        1 => " 1 of these instants has a run already and is left out.".to_owned(),
        many => format!(" {many} of these instants have a run already and are left out."),
    };
    let forgotten = plan.forgotten_until.filter(|_| plan.forgotten > 0).map(|until| {
        let (count, until) = (plan.forgotten, local(until));
        let then = match plan.also_forgotten {
            true => "`--also-forgotten` includes them",
            false => "no run is made for them without `--also-forgotten`",
        };
        format!(" {count} of these instants may have had a run, because runs for instants up to {until} were deleted; {then}.")
    });
    let forgotten = forgotten.unwrap_or_default();
    let span = match (plan.first, plan.last) {
        (Some(first), Some(last)) if first == last => format!(" 1 run, for {}.", local(first)),
        (Some(first), Some(last)) => {
            let going = if *at_once == 1 { "one at a time".to_owned() } else { format!("{at_once} at once") };
            format!(" {}, {going}: the first for {}, the last for {}.", runs(plan.runs), local(first), local(last))
        }
        _ if plan.forgotten > 0 => " No run is made.".to_owned(),
        _ => " No run is missing.".to_owned(),
    };
    format!("`{task}` was due {due} from {from} to {to}.{known}{forgotten}{span}")
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn cancel(client: &Client, path: &str, args: &BackfillArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.whole(client.send(Method::DELETE, path, &[], (), Duration::ZERO)?)?;
    if args.list.json {
        return screen.json(&json);
    }
    let BackfillCancelled { task, cancelled } = decode(&json)?;
    let count = usize::try_from(cancelled).unwrap_or(usize::MAX);
    screen.line(&match cancelled {
        0 => format!("No run of `{task}` waits for its turn in a backfill."),
        _ => format!("Cancelled {} of `{task}`; those that have begun go on.", runs(count)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Name;

    fn plan(instants: usize, existing: usize, at_once: u32) -> BackfillShape {
        let (hour, runs) = (3_600_000, instants - existing);
        let instant = |hours: i64| Timestamp::from_millis(1_800_000_000_000 + hours * hour);
        let last = i64::try_from(instants).expect("a small number") - 1;
        BackfillShape {
            task: Name::new("tick").expect("a name"),
            from: instant(0),
            to: instant(last + 1),
            at_once,
            instants,
            existing,
            forgotten: 0,
            forgotten_until: None,
            also_forgotten: false,
            runs,
            first: (runs > 0).then(|| instant(i64::try_from(existing).expect("a small number"))),
            last: (runs > 0).then(|| instant(last)),
            dry_run: true,
        }
    }

    #[test]
    fn a_plan_says_how_often_the_task_was_due_and_what_is_left_out() {
        let said = |instants, existing, at_once| words(&plan(instants, existing, at_once));

        let all = said(24, 3, 1);
        for part in [
            "was due 24 times from ",
            "3 of these instants have a run already",
            "21 runs, one at a time: the first for ",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(said(24, 23, 4).contains("1 run, for "), "{}", said(24, 23, 4));
        assert!(said(2, 1, 1).contains("1 of these instants has a run already"));
        assert!(said(2, 0, 2).contains("2 runs, 2 at once"));
        assert!(said(1, 1, 1).ends_with("is left out. No run is missing."), "{}", said(1, 1, 1));
        let until = Some(Timestamp::from_millis(1_800_000_000_000));
        let some = BackfillShape { forgotten: 3, forgotten_until: until, runs: 20, ..plan(24, 1, 1) };
        let left_out = words(&some);
        assert!(
            left_out.contains(" 3 of these instants may have had a run, because runs for instants up to "),
            "{left_out}"
        );
        assert!(left_out.contains("no run is made for them without `--also-forgotten`. 20 runs, "), "{left_out}");
        assert!(words(&BackfillShape { also_forgotten: true, ..some }).contains("`--also-forgotten` includes them."));
        let all = BackfillShape { runs: 0, first: None, last: None, ..plan(3, 0, 1) };
        assert!(words(&BackfillShape { forgotten: 3, forgotten_until: until, ..all }).ends_with(" No run is made."));
        let none = BackfillShape { instants: 0, existing: 0, ..plan(1, 1, 1) };
        assert!(words(&none).starts_with("`tick` was not due from "));
    }
}
