//! Tests lists of a file that an older program filled.

use super::*;
use crate::lists::{Filter, ListRuns, Lists as _};

/// Returns the runs of the tenant `tenant` in `state`, or in any.
async fn listed(store: &SqliteStore, tenant: &str, state: Option<RunState>) -> Vec<RunId> {
    let (tenant, states) = (Some(Name::new(tenant).unwrap()), state.into_iter().collect());
    let filter = Filter { tenant, states, ..Filter::default() };
    let page = store.list_runs(ListRuns { filter, before: None, limit: 9, now: NOW }).await.unwrap();
    page.runs.into_iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn runs_that_an_older_program_made_are_listed_before_and_after_they_get_their_tenants() {
    let (store, _directory) = open();
    for _ in 0..3 {
        enqueue(&store, Vec::new()).await.unwrap();
    }
    let other = TaskKey { tenant: Name::new("other").unwrap(), ..task() };
    store.enqueue(vec![NewRun::of(other, NOW, Cause::Demand)], NOW).await.unwrap();
    store.cancel(RunId(2), "no", NOW).await.unwrap();
    store.write(|w| Ok(w.conn.execute("UPDATE runs SET tenant = 0", [])?)).await.unwrap();
    let without =
        || store.read(|conn| conn.query_row("SELECT count(*) FROM runs WHERE tenant = 0", [], |row| row.get(0)));
    let retention = Retention { runs: u64::MAX, age: std::time::Duration::MAX, bytes: u64::MAX };

    for pruned in [false, true] {
        if pruned {
            store.prune(retention.clone(), NOW).await.unwrap();
        }
        let runs: i64 = without().await.unwrap();
        assert_eq!(runs, if pruned { 0 } else { 4 });
        assert_eq!(listed(&store, "default", None).await, [RunId(3), RunId(2), RunId(1)]);
        assert_eq!(listed(&store, "default", Some(RunState::Cancelled)).await, [RunId(2)]);
        assert_eq!(listed(&store, "default", Some(RunState::Waiting)).await, [RunId(3), RunId(1)]);
        assert_eq!(listed(&store, "other", None).await, [RunId(4)]);
    }
}
