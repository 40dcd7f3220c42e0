//! Tests lists of runs: each part of a filter, all pairs of parts, and pages.

use std::collections::BTreeMap;

use super::*;
use crate::codes::CAUSES;
use crate::lists::{ChainRuns, Filter, ListRuns, RunPage, SearchText, TaskPattern};
use crate::rules::runs::chain_key;
use crate::{Retention, RunFilter, RunInfo};
use sexton_domain::labels::Labels;
use sexton_domain::run::RunState;

/// The second in which lists are asked for.
const ASKED: i64 = 100_000;

/// A change of a filter, and its name.
type Part = (&'static str, fn(&mut Filter));

/// Each part of a filter, some with several values.
const PARTS: [Part; 32] = [
    ("task", |filter| filter.task = Some(TaskPattern::read("a").unwrap())),
    ("pattern", |filter| filter.task = Some(TaskPattern::read("report*").unwrap())),
    ("pattern with a sign", |filter| filter.task = Some(TaskPattern::read("*_2").unwrap())),
    ("unknown task", |filter| filter.task = Some(TaskPattern::read("nothing*").unwrap())),
    ("waiting", |filter| filter.states = vec![RunState::Waiting]),
    ("running", |filter| filter.states = vec![RunState::Running]),
    ("succeeded", |filter| filter.states = vec![RunState::Succeeded]),
    ("failed", |filter| filter.states = vec![RunState::Failed]),
    ("cancelled", |filter| filter.states = vec![RunState::Cancelled]),
    ("failed or waiting", |filter| filter.states = vec![RunState::Failed, RunState::Waiting]),
    ("trapped", |filter| filter.outcomes = vec![Outcome::Trapped]),
    ("succeeded outcome", |filter| filter.outcomes = vec![Outcome::Succeeded]),
    ("skipped", |filter| filter.outcomes = vec![Outcome::Skipped]),
    ("trapped or timed out", |filter| filter.outcomes = vec![Outcome::Trapped, Outcome::TimedOut]),
    ("demand", |filter| filter.causes = vec![Cause::Demand]),
    ("schedule or task", |filter| filter.causes = vec![Cause::Schedule, Cause::Task]),
    ("key", |filter| filter.key = Some(name("nightly"))),
    ("unknown key", |filter| filter.key = Some(name("unknown"))),
    ("chain", |filter| filter.chain = Some(chain())),
    ("host", |filter| filter.host = Some("two".to_owned())),
    ("label", |filter| filter.labels = labels(&["team=web"])),
    ("two labels", |filter| filter.labels = labels(&["env=prod", "team=web"])),
    ("unknown label", |filter| filter.labels = labels(&["team=none"])),
    ("since", |filter| filter.since = Some(at(200))),
    ("until", |filter| filter.until = Some(at(400))),
    ("since and until", |filter| (filter.since, filter.until) = (Some(at(300)), Some(at(310)))),
    ("longer than a moment", |filter| filter.longer_than = Some(Duration::from_millis(100))),
    ("longer than 5 s", |filter| filter.longer_than = Some(Duration::from_secs(5))),
    ("longer than 1 m", |filter| filter.longer_than = Some(Duration::from_secs(60))),
    ("text in a message", |filter| filter.text = Some(SearchText::read("OUT of \"bounds\"").unwrap())),
    ("text in a log", |filter| filter.text = Some(SearchText::read("no \"route\"").unwrap())),
    ("begun", |filter| filter.begun = true),
];

fn labels(texts: &[&str]) -> Labels {
    Labels::read(texts).unwrap()
}

fn chain() -> ChainRuns {
    ChainRuns { chain: name("round"), tasks: vec![name("a"), name("report-1"), name("report_2")] }
}

/// Returns the filter of the default tenant's list.
fn filter() -> Filter {
    Filter { tenant: Some(Name::default_tenant()), ..Filter::default() }
}

async fn page(store: &Tested, filter: &Filter, before: Option<RunId>, limit: usize) -> RunPage {
    store.list_runs(ListRuns { filter: filter.clone(), before, limit, now: at(ASKED) }).await.unwrap()
}

fn ids(page: &RunPage) -> Vec<RunId> {
    page.runs.iter().map(|run| run.id).collect()
}

/// Returns all runs that a filter selects, page by page.
async fn listed(store: &Tested, filter: &Filter, limit: usize) -> Vec<RunId> {
    let (mut found, mut before) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = page(store, filter, before, limit).await;
        found.extend(ids(&page));
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
    panic!("the pages do not end");
}

/// Makes the run `n`, which differs from the others in all that a filter can name, and lives as `n % 9` says.
async fn live(store: &Tested, n: i64) {
    let keys = [task("a"), task("b"), task("report-1"), task("report_2")];
    let other = TaskKey { tenant: name("other"), task: name("a") };
    let key = if n % 11 == 0 { other } else { keys[n as usize % 4].clone() };
    let waits = n % 9 == 0;
    let run = NewRun {
        run_at: at(if waits { 10 * ASKED } else { 0 }),
        schedule: [Some(name("nightly")), Some(name("hourly")), None][n as usize % 3].clone(),
        dedup: (n % 5 == 0).then(|| chain_key(&name(if n % 2 == 0 { "round" } else { "other" }), n as u64, at(n))),
        admit: if n % 9 == 8 { Admit::Below(0) } else { Admit::Always },
        labels: labels([&[][..], &["team=web"], &["team=web", "env=prod"], &["team=mail"]][n as usize / 2 % 4]),
        ..NewRun::of(key.clone(), at(n), CAUSES[n as usize / 3 % 4])
    };
    let made = store.enqueue(vec![run], at(10 * n)).await.unwrap()[0].run();
    if waits || n % 9 == 8 {
        return;
    }
    if n % 9 == 1 {
        store.cancel(made, "no more", at(10 * n + 1)).await.unwrap();
        return;
    }
    let host = if n % 2 == 0 { "one" } else { "two" }.to_owned();
    let request = testkit::claim_request([(key, u32::MAX)], at(10 * n + 1));
    let request = ClaimRequest { host, limit: 1, lease: LEASE * 10_000, ..request };
    let claim = store.claim(request).await.unwrap().claims.remove(0);
    assert_eq!(claim.key.run, made);
    let again = Transition::Wait { run_at: at(10 * ASKED), failed: true };
    let succeeds = || Transition::Succeed(Output::default());
    let (outcome, transition, took) = match n % 9 {
        2 => return,
        3 => (Outcome::Succeeded, succeeds(), 50),
        4 => (Outcome::Succeeded, succeeds(), 7000),
        5 => (Outcome::Trapped, Transition::Fail, 90_000),
        6 => (Outcome::TimedOut, Transition::Fail, 20),
        _ if n % 2 == 0 => (Outcome::Skipped, succeeds(), 1500),
        _ => (Outcome::FailedTransient, again, 20),
    };
    let mut finish = ending(claim.key, outcome, transition);
    // A task that crashes again and again would be held back.
    finish.supervision.brake = None;
    finish.report.ended_at = at(10 * n + 1).plus(Duration::from_millis(took));
    if n % 4 == 1 {
        finish.report.message = Some("Out of \"bounds\"".to_owned());
        finish.report.log.text = "{\"level\":\"info\",\"message\":\"No \\\"route\\\" to it\"}\n".to_owned();
    }
    store.finish(finish.into()).await.unwrap();
}

/// Fills a store with runs of all kinds. Returns them, and their logs.
async fn filled(store: &Tested) -> Vec<(RunInfo, String)> {
    for n in 0..72 {
        live(store, n).await;
    }
    let mut all = Vec::new();
    for run in store.runs(RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap() {
        let logs = store.attempts(run.id).await.unwrap().into_iter().map(|attempt| attempt.report.log.text);
        all.push((run, logs.collect()));
    }
    all
}

/// Returns whether a filter selects a run, by the words of the filter's fields.
fn fits(filter: &Filter, run: &RunInfo, log: &str) -> bool {
    fn any<T: PartialEq>(wanted: &[T], found: &T) -> bool {
        wanted.is_empty() || wanted.contains(found)
    }
    let took = match (run.state, run.claimed_at) {
        (RunState::Running, Some(claimed_at)) => Some(at(ASKED).since(claimed_at)),
        (state, Some(claimed_at)) if state.is_over() => run.ended_at.map(|ended_at| ended_at.since(claimed_at)),
        _ => None,
    };
    let has_text = |text: &SearchText| {
        let message = run.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        message.contains(text.plain()) || log.to_ascii_lowercase().contains(&text.in_json())
    };
    filter.tenant.as_ref().is_none_or(|tenant| *tenant == run.task.tenant)
        && filter.task.as_ref().is_none_or(|task| task.matches(run.task.task.as_str()))
        && any(&filter.states, &run.state)
        && (filter.outcomes.is_empty()
            || run.state.is_over() && run.outcome.is_some_and(|outcome| filter.outcomes.contains(&outcome)))
        && any(&filter.causes, &run.cause)
        && filter.key.as_ref().is_none_or(|key| run.key.as_ref() == Some(key))
        && filter.chain.as_ref().is_none_or(|of| run.chain.as_ref() == Some(&of.chain))
        && filter.host.as_ref().is_none_or(|host| run.host.as_ref() == Some(host))
        && run.labels.contains(&filter.labels)
        && filter.since.is_none_or(|since| run.created_at >= since)
        && filter.until.is_none_or(|until| run.created_at <= until)
        && filter.longer_than.is_none_or(|length| took.is_some_and(|took| took > length))
        && filter.text.as_ref().is_none_or(has_text)
        && (!filter.begun || run.attempt > 0)
}

/// Checks that a list, in pages of `limit`, has the runs that its filter selects. Returns their number.
async fn check(store: &Tested, all: &[(RunInfo, String)], filter: &Filter, limit: usize, what: &str) -> usize {
    let expected: Vec<RunId> = all.iter().filter(|(run, log)| fits(filter, run, log)).map(|(run, _)| run.id).collect();
    assert_eq!(listed(store, filter, limit).await, expected, "{what}");
    expected.len()
}

pub(crate) async fn a_list_has_the_runs_that_each_part_of_its_filter_selects(store: Tested) {
    let all = filled(&store).await;
    let mut selected = BTreeMap::new();
    for (name, part) in PARTS {
        let mut one = filter();
        part(&mut one);
        selected.insert(name, check(&store, &all, &one, 5, name).await);
    }
    let none: Vec<_> = selected.iter().filter(|(_, runs)| **runs == 0).map(|(name, _)| *name).collect();
    assert_eq!(none, ["unknown key", "unknown label", "unknown task"], "{selected:?}");
    let some = all.len() - check(&store, &all, &filter(), 5, "the tenant").await;
    let other = Filter { tenant: Some(name("other")), ..Filter::default() };
    assert_eq!(check(&store, &all, &other, 5, "another tenant").await, some);
    let unknown = Filter { tenant: Some(name("unknown")), ..Filter::default() };
    assert_eq!(check(&store, &all, &unknown, 5, "an unknown tenant").await, 0);
}

pub(crate) async fn a_list_has_the_runs_that_all_parts_of_its_filter_select(store: Tested) {
    let all = filled(&store).await;
    for (place, (one, part)) in PARTS.iter().enumerate() {
        for (other, more) in &PARTS[place + 1..] {
            let mut both = filter();
            part(&mut both);
            more(&mut both);
            check(&store, &all, &both, 100, &format!("{one} and {other}")).await;
        }
    }
    let all_tenants = Filter { labels: labels(&["team=web"]), states: vec![RunState::Failed], ..Filter::default() };
    check(&store, &all, &all_tenants, 5, "all tenants").await;
}

pub(crate) async fn a_run_shows_its_labels_its_key_and_its_chain(store: Tested) {
    let run = NewRun {
        labels: labels(&["team=web", "note=a=b \"c\""]),
        schedule: Some(name("nightly")),
        dedup: Some(chain_key(&name("round"), 3, at(0))),
        ..new("a")
    };
    let made = enqueue(&store, vec![run, new("a")]).await;

    let shown = |run: &RunInfo| (run.labels.to_string(), run.key.clone(), run.chain.clone());
    let waiting = store.run(made[0]).await.unwrap().unwrap();
    let claims = claim(&store, &[("a", 9)], 9, 0).await.claims;
    store.finish(success(claims[0].key).into()).await.unwrap();
    let over = store.run(made[0]).await.unwrap().unwrap();

    let expected = ("note=a=b \"c\", team=web".to_owned(), Some(name("nightly")), Some(name("round")));
    assert_eq!((shown(&waiting), waiting.state), (expected.clone(), RunState::Waiting));
    assert_eq!((shown(&over), over.state), (expected, RunState::Succeeded));
    assert_eq!(shown(&store.run(made[1]).await.unwrap().unwrap()), (String::new(), None, None));
}

pub(crate) async fn pages_have_every_run_once_although_runs_are_made_in_between(store: Tested) {
    let mut made = enqueue(&store, vec![new("a"); 7]).await;
    made.reverse();

    let first = page(&store, &filter(), None, 3).await;
    enqueue(&store, vec![new("a"); 5]).await;
    let second = page(&store, &filter(), first.next, 3).await;
    let third = page(&store, &filter(), second.next, 3).await;

    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), made);
    assert_eq!((first.next, second.next, third.next), (Some(made[2]), Some(made[5]), None));
    assert_eq!([&first, &second, &third].map(|page| page.looked_back_to), [None; 3]);
    assert_eq!(page(&store, &filter(), None, 7).await.runs.len(), 7, "the newest, of all");
}

pub(crate) async fn runs_that_were_made_at_one_instant_are_each_on_one_page(store: Tested) {
    let made = store.enqueue(vec![new("a"); 6], at(50)).await.unwrap();
    store.enqueue(vec![new("a"); 2], at(51)).await.unwrap();
    let mut expected: Vec<RunId> = made.iter().map(EnqueueOutcome::run).collect();
    expected.reverse();
    let then = Filter { since: Some(at(50)), until: Some(at(50)), ..filter() };

    for limit in [1, 2, 6, 9] {
        assert_eq!(listed(&store, &then, limit).await, expected, "pages of {limit}");
    }
}

pub(crate) async fn a_page_after_a_pruning_has_the_runs_that_are_kept(store: Tested) {
    let mut made = Vec::new();
    for seconds in 0..6 {
        let claim = running(&store, "a").await.key;
        let mut finish = failure(claim);
        finish.report.ended_at = at(seconds);
        store.finish(finish.into()).await.unwrap();
        made.push(claim.run);
    }
    let waits = enqueue(&store, vec![NewRun { run_at: at(ASKED), ..new("a") }]).await[0];
    let failed = Filter { states: vec![RunState::Failed], ..filter() };
    let (first, of_all) = (page(&store, &failed, None, 1).await, page(&store, &filter(), None, 2).await);

    let retention = Retention { runs: 2, age: Duration::MAX, bytes: u64::MAX };
    while store.prune(retention.clone(), at(100)).await.unwrap() > 0 {}

    assert_eq!((ids(&first), ids(&page(&store, &failed, first.next, 9).await)), (vec![made[5]], vec![made[4]]));
    let others = page(&store, &filter(), of_all.next, 9).await;
    assert_eq!((ids(&of_all), ids(&others)), (vec![waits, made[5]], vec![made[4]]));
}

pub(crate) async fn a_list_that_finds_few_runs_among_many_says_how_far_it_has_looked(store: Tested) {
    let old = store.enqueue(vec![new("a")], at(1)).await.unwrap()[0].run();
    let claim = claim(&store, &[("a", 9)], 1, 1).await.claims[0].key;
    for seconds in 2..14 {
        store.enqueue(vec![new("a"); 1000], at(seconds)).await.unwrap();
    }
    store.finish(success(claim).into()).await.unwrap();
    let of_host = Filter { host: Some("one".to_owned()), states: vec![RunState::Succeeded], ..filter() };

    let first = page(&store, &of_host, None, 5).await;
    let second = page(&store, &of_host, first.next, 5).await;

    assert_eq!(ids(&first), []);
    let looked = first.looked_back_to.expect("12,000 runs are too many to look at");
    assert!(looked > at(1) && looked < at(13), "{looked}");
    assert_eq!((ids(&second), second.next, second.looked_back_to), (vec![old], None, None));
    let since = Filter { since: Some(at(1_000)), ..of_host };
    let none = page(&store, &since, None, 5).await;
    assert_eq!((ids(&none), none.next), (vec![], None), "runs that were made before are not looked at");
}

pub(crate) async fn a_label_that_many_sets_have_is_found_with_and_without_another(store: Tested) {
    let labelled = |n: usize| {
        let order = format!("order={n}");
        NewRun { labels: labels(&["team=web", order.as_str()]), ..new("a") }
    };
    let mut made = enqueue(&store, (0..50).map(labelled).collect()).await;
    enqueue(&store, vec![new("a"); 3]).await;
    let web = Filter { labels: labels(&["team=web"]), ..filter() };
    let one = Filter { labels: labels(&["team=web", "order=17"]), ..filter() };
    let other = NewRun { task: TaskKey { tenant: name("other"), task: name("a") }, ..labelled(17) };
    enqueue(&store, vec![other]).await;

    assert_eq!(listed(&store, &one, 9).await, [made[17]]);
    made.reverse();
    assert_eq!(listed(&store, &web, 9).await, made);
}

pub(crate) async fn labels_stay_while_a_run_has_them_and_are_written_anew_when_none_had(store: Tested) {
    let labelled = || NewRun { labels: labels(&["team=web"]), ..new("a") };
    enqueue(&store, vec![labelled()]).await;
    let claim = claim(&store, &[("a", 9)], 1, 0).await.claims[0].key;
    store.finish(failure(claim).into()).await.unwrap();
    let web = Filter { labels: labels(&["team=web"]), ..filter() };
    let prune = async |runs, seconds| {
        let retention = Retention { runs, age: Duration::MAX, bytes: u64::MAX };
        while store.prune(retention.clone(), at(seconds)).await.unwrap() > 0 {}
    };

    prune(1, 200_000).await;
    assert_eq!(listed(&store, &web, 9).await, [claim.run]);
    enqueue(&store, vec![NewRun { run_at: at(ASKED), ..new("a") }]).await;
    prune(0, 200_000).await;
    prune(0, 200_000).await;
    assert_eq!(listed(&store, &web, 9).await, []);
    let again = store.enqueue(vec![labelled()], at(200_001)).await.unwrap()[0].run();

    assert_eq!(listed(&store, &web, 9).await, [again]);
    assert_eq!(store.run(again).await.unwrap().unwrap().labels, labels(&["team=web"]));
}
