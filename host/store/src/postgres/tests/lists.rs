//! Tests how lists read the tables of days, and runs that an older program made.

use super::*;
use crate::Store as _;
use crate::lists::{Filter, ListRuns, Lists as _};
use crate::postgres::lists::pages;
use sexton_domain::task::TaskKey;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn of_tenant(tenant: &str) -> Filter {
    Filter { tenant: Some(Name::new(tenant).unwrap()), ..Filter::default() }
}

async fn listed(store: &PostgresStore, filter: Filter) -> Vec<RunId> {
    let page = store.list_runs(ListRuns { filter, before: None, limit: 9, now: NOW }).await.unwrap();
    page.runs.into_iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn runs_that_an_older_program_made_are_listed_before_and_after_they_get_their_tenants() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let other = TaskKey { tenant: Name::new("other").unwrap(), ..task("a") };
    let made = enqueue(&store, vec![new("a"), new("a"), new("a"), NewRun { task: other, ..new("a") }]).await;
    store.cancel(made[1], "no", NOW).await.unwrap();
    database.psql("UPDATE runs SET tenant = 0");
    let retention = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };

    for pruned in [false, true] {
        if pruned {
            store.prune(retention.clone(), NOW).await.unwrap();
        }
        assert_eq!(database.psql("SELECT count(*) FROM runs WHERE tenant = 0"), if pruned { "0" } else { "4" });
        assert_eq!(listed(&store, of_tenant("default")).await, [made[2], made[1], made[0]]);
        let states = vec![RunState::Cancelled];
        assert_eq!(listed(&store, Filter { states, ..of_tenant("default") }).await, [made[1]]);
        assert_eq!(listed(&store, of_tenant("other")).await, [made[3]]);
    }
    store.prune(retention, NOW).await.unwrap();
    assert_eq!(listed(&store, of_tenant("default")).await, [made[2], made[1], made[0]], "without a look for others");
}

/// Returns the plans of the statements with which a list reads a page, as a connection of the pool has them: planned
/// without the values of their parameters.
fn plans(database: &Database, filter: Filter, now: Timestamp) -> Vec<String> {
    let list = ListRuns { filter, before: None, limit: 5, now };
    let plan = |(sql, values): (String, Vec<String>)| {
        let settings: String = planner::SETTINGS.iter().map(|setting| format!("SET {setting}; ")).collect();
        let explain = "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF)";
        database.psql(&format!("{settings}PREPARE page AS {sql}; {explain} EXECUTE page({})", values.join(", ")))
    };
    pages(&list).into_iter().map(plan).collect()
}

#[tokio::test]
async fn a_page_reads_few_runs_by_one_index_of_the_days_that_can_have_any() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    for _ in 0..4 {
        store.enqueue(vec![new("a"); 200], NOW.max(now)).await.unwrap();
    }
    for claim in claimed(&store, "a", NOW.max(now)).await {
        store.finish(finish(claim.key, Outcome::Trapped, Transition::Fail, now).into()).await.unwrap();
    }
    database.psql("ANALYZE");

    let of_tenant = plans(&database, of_tenant("default"), now);
    let failed = plans(&database, Filter { states: vec![RunState::Failed], ..self::of_tenant("default") }, now);
    let since = Some(now.plus(DAY * 2));
    let since = plans(&database, Filter { since, ..self::of_tenant("default") }, now);

    for (plan, index) in [(&of_tenant[0], "tenant_cause_expr_idx"), (&failed[0], "tenant_case_expr_idx")] {
        assert!(plan.contains(index), "{index} is not in {plan}");
        let read = plan.split("rows=").skip(1).filter_map(|rest| rest.split([' ', '.']).next()?.parse::<u64>().ok());
        assert!(read.max().is_some_and(|rows| rows <= 50), "{plan}");
    }
    let today = format!("runs_{}", now.to_utc().format("%Y%m%d"));
    assert!(of_tenant[0].contains(&today) && !since[0].contains(&today), "{}", since[0]);
    assert!(since[0].contains("Subplans Removed"), "{}", since[0]);
}

#[tokio::test]
async fn a_run_that_was_over_days_after_it_was_made_is_listed_where_it_was_made() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    let made = |at: Timestamp| store.enqueue(vec![NewRun { run_at: at, ..new("a") }], at);
    let slow = made(now).await.unwrap()[0].run();
    let claim = claimed(&store, "a", now).await[0].key;
    let quick = made(now.plus(DAY)).await.unwrap()[0].run();
    let quick_claim = claimed(&store, "a", now.plus(DAY)).await[0].key;
    store.finish(success(quick_claim, now.plus(DAY)).into()).await.unwrap();
    store.finish(success(claim, now.plus(DAY * 2)).into()).await.unwrap();
    let until = |at| Filter { until: Some(at), ..of_tenant("default") };
    let since = |at| Filter { since: Some(at), ..of_tenant("default") };

    assert_eq!(listed(&store, of_tenant("default")).await, [quick, slow]);
    assert_eq!(listed(&store, until(now.plus(DAY / 2))).await, [slow]);
    assert_eq!(listed(&store, since(now)).await, [quick, slow]);
    assert_eq!(listed(&store, since(now.plus(DAY / 2))).await, [quick]);
}

#[tokio::test]
async fn a_set_of_labels_that_no_run_has_is_deleted_after_a_day_without_use() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let labels = sexton_domain::labels::Labels::read(["team=web", "env=prod"]).unwrap();
    let labelled = NewRun { labels, ..new("a") };
    let run = enqueue(&store, vec![labelled.clone(), labelled]).await[0];
    for run in [run, RunId(run.0 + 1)] {
        store.cancel(run, "no", NOW).await.unwrap();
    }
    let sets = || database.psql("SELECT (SELECT count(*) FROM label_sets), (SELECT count(*) FROM labels_of_sets)");
    let prune = async |runs, now: Timestamp| {
        let retention = Retention { runs, age: Duration::MAX, bytes: u64::MAX };
        while store.prune(retention.clone(), now).await.unwrap() > 0 {}
    };

    assert_eq!(sets(), "1|2", "both runs have one set");
    prune(0, NOW.plus(DAY / 2)).await;
    prune(0, NOW.plus(DAY / 2)).await;
    assert_eq!(sets(), "1|2", "a host that knows its number may still use it");
    prune(0, NOW.plus(DAY * 2)).await;
    assert_eq!(sets(), "0|0");
}
