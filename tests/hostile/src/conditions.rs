//! Runs each attack alone, many at once, and beside a task that behaves.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::attack::{Attack, ComponentSource, End};
use crate::ground::SECRET;
use crate::host::Host;
use crate::room::STARVED;
use crate::vitals::{Vitals, forget_peak};
use crate::{machine, made};

/// The task that behaves: it is due ten times a second, and does nothing.
pub(crate) const PULSE: &str = "hostile-pulse";

/// The manifest of that task.
const PULSE_MANIFEST: &str = "[tasks.hostile-pulse]\nevery = \"100ms\"\noverlap = \"allow(8)\"\n";

/// The time for which an attack goes on beside it: the task is due ten times in it.
const BESIDE: Duration = Duration::from_millis(1050);

/// The attacks under way beside it at any time: two for each core of a small machine.
const FIGHTERS: usize = 4;

/// The delay with which it may begin: the median, and the worst. A host whose control plane waits for guests is later
/// by far; a debug build on a busy machine is not.
const LATE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1000));

/// The time after its deadline in which an attempt must end: alone, and among many.
const OVERSHOOT: (Duration, Duration) = (Duration::from_millis(1000), Duration::from_millis(2500));

/// The resident memory that the host may have gained by an attack when that is over, in KiB. Most of it is kept for the
/// next run: a megabyte for each slot in its pool that was never used before, and stacks.
const KEPT: u64 = 200 << 10;

/// The resident memory that the host itself may take under attack, besides that of its guests, in KiB.
const OWN: u64 = 700 << 10;

/// The most bytes of a message, a reason or a line of the host's log, and of a stack.
const WORDS: usize = 8 << 10;
const STACK: usize = 64 << 10;

/// One of the four conditions.
#[derive(Clone, Copy)]
pub(crate) enum Condition {
    Alone,
    AtOnce(usize),
    Beside,
    /// Many at once on a host with little memory.
    Starved(usize),
}

/// The measurements of a condition.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    pub(crate) took: Duration,
    /// The most resident memory of the host, in KiB.
    pub(crate) peak: u64,
    /// The delay of the pulse: median and worst.
    pub(crate) late: (Duration, Duration),
}

/// Installs the task that behaves, and all attacks that the host should let in.
pub(crate) fn deploy(host: &Host, attacks: &[Attack]) -> Result<()> {
    host.put(PULSE, &host.noop, PULSE_MANIFEST)?;
    let rest: Vec<_> = attacks.iter().filter(|attack| matches!(attack.end, End::Runs { .. })).collect();
    for attack in &rest {
        place(host, attack, &attack.task(), 0)?;
    }
    for name in rest.iter().map(|attack| attack.task()).chain([PULSE.to_owned()]) {
        let reason = host.taken_up(&name)?;
        ensure!(reason.is_none(), "plugin `{name}` is quarantined: {}", reason.unwrap_or_default());
    }
    Ok(())
}

/// Removes all of them.
pub(crate) fn retreat(host: &Host, attacks: &[Attack]) -> Result<()> {
    let names: Vec<_> = attacks.iter().map(Attack::task).chain([PULSE.to_owned()]).collect();
    host.take_away(&names)
}

fn place(host: &Host, attack: &Attack, name: &str, nth: usize) -> Result<()> {
    let manifest = attack.manifest(name, &host.ground);
    match attack.weapon {
        ComponentSource::Rust => host.put(name, &host.guest, &manifest),
        ComponentSource::Text => host.put(name, &made::marked(made::assemble(attack.source), nth), &manifest),
        ComponentSource::Made(component) => host.put(name, &made::marked(component(nth), nth), &manifest),
        ComponentSource::Placed(place) => place(host, &host.plugins, name),
    }
}

/// Runs `attack`, and checks its result and the host.
pub(crate) fn under(condition: Condition, host: &Host, attack: &Attack, at_start: Vitals) -> Result<Passed> {
    (attack.before)(host)?;
    forget_peak(host.pid);
    let rss = host.vitals()?.rss;
    let said = host.log(0).len();
    // The slowdown is measured before the attack, so that the host's reaction to it is no excuse.
    let slowdown = match condition {
        Condition::Beside => machine::slowdown(Duration::from_millis(200)),
        _ => 1.0,
    };
    let begun = now(host)?;
    let start = Instant::now();

    let many = match condition {
        Condition::Alone => 1,
        Condition::AtOnce(many) | Condition::Starved(many) => many.min(attack.most_at_once),
        Condition::Beside => FIGHTERS,
    };
    let runs = match attack.end {
        End::Runs { .. } => fight(condition, host, attack, many)?,
        _ => load(condition, host, attack, many)?,
    };
    let overshoot = if many == 1 { OVERSHOOT.0 } else { OVERSHOOT.1 };
    for run in runs.iter().filter(|_| !attack.endless) {
        judge(condition, host, attack, run, overshoot)?;
    }
    (attack.check)(host, attack, &runs)?;
    let took = start.elapsed();
    let peak = host.vitals()?.peak;

    let late = match condition {
        Condition::Beside => lateness(host, begun, slowdown)?,
        _ => Default::default(),
    };
    if attack.endless {
        end_all(host, &attack.task())?;
    }
    settled(host, attack, said, Vitals { rss, ..at_start })?;
    let allowed = match condition {
        Condition::Starved(_) => STARVED >> 10,
        _ => rss + OWN + many as u64 * (attack.memory_mib << 10),
    };
    ensure!(peak <= allowed, "the host had {} MiB, which is over {} MiB", peak >> 10, allowed >> 10);
    Ok(Passed { took, peak, late })
}

/// Attacks by runs. Returns the host's answer about each that is over.
fn fight(condition: Condition, host: &Host, attack: &Attack, many: usize) -> Result<Vec<Value>> {
    let task = attack.task();
    let start = Instant::now();
    if attack.endless {
        let runs = host.trigger_many(&task, many)?;
        wait_beside(condition, host, start)?;
        return runs.into_iter().map(|run| host.get(&format!("/v1/runs/{run}"))).collect();
    }
    let mut over = Vec::new();
    let mut under_way = host.trigger_many(&task, many)?;
    if matches!(condition, Condition::Beside) {
        // As soon as one is over the next one begins.
        while start.elapsed() < BESIDE {
            let running = std::mem::take(&mut under_way);
            for run in running {
                let answer = host.get(&format!("/v1/runs/{run}"))?;
                match answer["run"]["state"].as_str() {
                    Some("waiting" | "running") => under_way.push(run),
                    _ => over.push(answer),
                }
            }
            under_way.extend(host.trigger_many(&task, many - under_way.len())?);
            host.answers_newcomers()?;
            std::thread::sleep(Duration::from_millis(20)); // the pace of the attack
        }
    }
    host.answers_newcomers()?;
    if let Some(last) = under_way.last() {
        let path = format!("/v1/runs/{last}");
        // While all of them are under way.
        while matches!(host.get(&path)?["run"]["state"].as_str(), Some("waiting" | "running")) {
            host.answers_newcomers()?;
            std::thread::sleep(Duration::from_millis(50)); // the pace of the newcomers
        }
    }
    for run in under_way {
        over.push(host.wait(run)?);
    }
    Ok(over)
}

/// Attacks by files. Those that are let in are run.
fn load(condition: Condition, host: &Host, attack: &Attack, many: usize) -> Result<Vec<Value>> {
    let start = Instant::now();
    let names: Vec<_> = (0..many).map(|nth| format!("{}-{nth}", attack.task())).collect();
    for (nth, name) in names.iter().enumerate() {
        place(host, attack, name, nth)?;
    }
    let end = ends(condition, host, attack, &names, start);
    // Whatever the result is, the next attack has the host for itself.
    host.take_away(&names)?;
    end
}

/// Returns the results of the plugins `names`.
fn ends(condition: Condition, host: &Host, attack: &Attack, names: &[String], start: Instant) -> Result<Vec<Value>> {
    let mut runs = Vec::new();
    for name in names {
        match (attack.end, host.taken_up(name)?) {
            (End::Quarantined { words }, Some(reason)) => {
                ensure!(reason.contains(words), "expected `{words}` in the reason `{}`", beginning(&reason));
                bounded(host, "reason", &reason, WORDS)?;
                let plugin = host.plugin(name)?.context("it is there")?;
                ensure!(plugin["digest"].is_null(), "it is in use all the same: {plugin}");
            }
            (End::Either { .. }, Some(reason)) => bounded(host, "reason", &reason, WORDS)?,
            (End::Either { .. }, None) => runs.push(host.wait(host.trigger(name)?)?),
            _ => anyhow::bail!("it was let in"),
        }
    }
    wait_beside(condition, host, start)?;
    Ok(runs)
}

/// Waits until the pulse has gone on beside the attack for long enough, if there is one.
fn wait_beside(condition: Condition, host: &Host, start: Instant) -> Result<()> {
    match condition {
        Condition::Beside => {
            host.eventually("the pulse has gone on for a while", || Ok((start.elapsed() >= BESIDE).then_some(())))
        }
        _ => Ok(()),
    }
}

/// Checks that a run ended as it must, and that its stored texts can be shown to anyone.
fn judge(condition: Condition, host: &Host, attack: &Attack, run: &Value, overshoot: Duration) -> Result<()> {
    let (outcomes, words, stack) = match attack.end {
        End::Runs { outcomes, words, stack } => (outcomes, words, stack),
        End::Either { outcomes } => (outcomes, "", ""),
        End::Quarantined { .. } => anyhow::bail!("it was run"),
    };
    let attempt =
        run["attempts"].as_array().and_then(|all| all.last()).with_context(|| format!("never tried: {run}"))?;
    let text = |field: &str| attempt[field].as_str().unwrap_or_default();
    let (outcome, message, backtrace) = (text("outcome"), text("message"), text("backtrace"));
    // On a starved host the others may have all the memory, and many runs share little time.
    let starved = matches!(condition, Condition::Starved(_)) && ["lost", "timed-out"].contains(&outcome);
    ensure!(starved || outcomes.contains(&outcome), "{outcome}: {}", beginning(message));
    ensure!(starved || message.contains(words), "expected `{words}` in its message `{}`", beginning(message));
    ensure!(starved || backtrace.contains(stack), "expected `{stack}` in its stack `{}`", beginning(backtrace));
    bounded(host, "message", message, WORDS)?;
    bounded(host, "stack", backtrace, STACK)?;
    for field in ["log", "stdout", "stderr"] {
        bounded(host, field, attempt[field]["text"].as_str().unwrap_or_default(), 1 << 20)?;
    }

    // Its time runs from the claim, whether or not there is a thread for it yet.
    let took = (instant(&attempt["ended_at"])? - instant(&run["run"]["claimed_at"])?).to_std().unwrap_or_default();
    let deadline = Duration::from_millis(attack.deadline_ms);
    ensure!(took <= deadline + overshoot, "took {took:?}, and its deadline is {deadline:?}");
    // Both times are cut to milliseconds.
    let early = outcome == "timed-out" && took + Duration::from_millis(2) < deadline;
    ensure!(!early, "timed out after {took:?}, and its deadline is {deadline:?}");
    Ok(())
}

/// Checks that a text can be shown: not too long, and without the host's own secrets.
fn bounded(host: &Host, what: &str, text: &str, most: usize) -> Result<()> {
    ensure!(text.len() <= most, "its {what} has {} bytes: `{}`", text.len(), beginning(text));
    ensure!(!text.contains(SECRET), "its {what} tells what nobody is to see");
    let place = host.plugins.parent().map(|path| path.display().to_string()).unwrap_or_default();
    ensure!(!text.contains(&place), "its {what} tells where the host keeps its files: {}", beginning(text));
    Ok(())
}

fn beginning(text: &str) -> String {
    text.chars().take(300).collect::<String>().escape_debug().to_string()
}

/// Returns the delay with which the pulse began since `begun`: median and worst.
fn lateness(host: &Host, begun: DateTime<Utc>, slowdown: f64) -> Result<(Duration, Duration)> {
    let until = now(host)?;
    let path = format!("/v1/runs?task={PULSE}&limit=200");
    let pulses = host.eventually("the pulse is over", || {
        let runs = host.list(&path, "runs")?;
        let mut pulses = Vec::new();
        for run in runs {
            let due = instant(&run["due_at"])?;
            if due >= begun && due < until {
                pulses.push(run);
            }
        }
        let over = pulses.iter().all(|run| !matches!(run["state"].as_str(), Some("waiting" | "running")));
        Ok(over.then_some(pulses))
    })?;
    ensure!(pulses.len() >= 8, "it was due only {} times", pulses.len());

    let mut late = Vec::new();
    for pulse in &pulses {
        let run = host.get(&format!("/v1/runs/{}", pulse["id"]))?;
        ensure!(run["run"]["state"] == "succeeded", "a task that behaves suffered from it: {}", run["run"]);
        let started = instant(&run["attempts"][0]["started_at"])?;
        late.push((started - instant(&pulse["due_at"])?).to_std().unwrap_or_default());
    }
    late.sort_unstable();
    let (median, worst) = (late[late.len() / 2], late[late.len() - 1]);
    // On a machine that is busy with other programs everything takes longer, by the factor that was measured.
    let allowed = (LATE.0.mul_f64(slowdown), LATE.1.mul_f64(slowdown));
    ensure!(
        median <= allowed.0 && worst <= allowed.1,
        "a task that behaves was late, where the machine took {slowdown:.1} times as long for anything: {late:?}"
    );
    Ok((median, worst))
}

/// Ends all runs of a task, however many there are.
pub(crate) fn end_all(host: &Host, task: &str) -> Result<()> {
    host.ask("POST", &format!("/v1/tasks/{task}/pause"), b"")?;
    host.eventually("all its runs are ended", || {
        let mut left = Vec::new();
        for state in ["waiting", "running"] {
            left.extend(host.list(&format!("/v1/runs?task={task}&state={state}&limit=1000"), "runs")?);
        }
        let share = left.len().div_ceil(10).max(1);
        std::thread::scope(|scope| {
            for some in left.chunks(share) {
                scope.spawn(move || {
                    for run in some {
                        // A run that is over by now need not be ended.
                        let _ = host.ask("POST", &format!("/v1/runs/{}/kill", run["id"]), b"");
                    }
                });
            }
        });
        Ok(left.is_empty().then_some(()))
    })?;
    host.ask("POST", &format!("/v1/tasks/{task}/resume"), b"")?;
    Ok(())
}

/// Checks that the host is as before: nothing of the attack is left in it, and it is as healthy.
fn settled(host: &Host, attack: &Attack, said: usize, before: Vitals) -> Result<()> {
    host.eventually("no run of it is left", || {
        for state in ["waiting", "running"] {
            if !host.list(&format!("/v1/runs?task={}&state={state}&limit=1", attack.task()), "runs")?.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let locks = host.list("/v1/locks", "locks")?;
    ensure!(locks.is_empty(), "{} locks are left: {}", locks.len(), locks[0]);
    let asked = Instant::now();
    ensure!(host.get("/v1/health")?["status"] == "ok", "the host is not well");
    ensure!(asked.elapsed() < Duration::from_secs(1), "the host took {:?} to answer", asked.elapsed());
    ensure!(host.ground.untouched()?, "something beside the granted directory was changed");
    for line in host.log(said) {
        ensure!(!line.starts_with("thread '") && !line.contains(" ERROR "), "the host said: {line}");
        ensure!(line.len() <= WORDS, "the host said a line of {} bytes: {}", line.len(), beginning(&line));
    }
    let mut vitals = host.vitals()?;
    let well = |vitals: &Vitals| vitals.files <= before.files + 40 && vitals.threads <= before.threads + 80;
    host.eventually("files are closed and threads gone", || {
        vitals = host.vitals()?;
        Ok(well(&vitals).then_some(()))
    })
    .with_context(|| format!("the host has {vitals}; before: {before}"))?;
    ensure!(vitals.rss <= before.rss + KEPT, "the host has {vitals}; before: {before}");
    Ok(())
}

fn now(host: &Host) -> Result<DateTime<Utc>> {
    instant(&host.get("/v1/host")?["now"])
}

fn instant(value: &Value) -> Result<DateTime<Utc>> {
    let text = value.as_str().with_context(|| format!("not an instant: {value}"))?;
    Ok(DateTime::parse_from_rfc3339(text)?.to_utc())
}
