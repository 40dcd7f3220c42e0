//! Tests lists of runs by their filters and cursors, and lists of tasks and plugins page by page.

use super::*;
use sexton_domain::labels::Labels;
use sexton_domain::run::Cause;
use sexton_store::NewRun;
use sexton_store::runs::Runs as _;

/// Returns the ids of the runs of a page, or the names of its tasks.
fn listed(page: &Value) -> Vec<Value> {
    let (list, word) = if page["runs"].is_array() { (&page["runs"], "id") } else { (&page["tasks"], "name") };
    list.as_array().unwrap_or_else(|| panic!("no list: {page}")).iter().map(|row| row[word].clone()).collect()
}

/// Returns the ids of the runs that the list with this query has.
async fn runs(rig: &Rig, query: &str) -> Vec<Value> {
    listed(&rig.get(&format!("/v1/runs?{query}")).await.json())
}

async fn tasks(rig: &Rig, query: &str) -> Value {
    rig.get(&format!("/v1/tasks?{query}")).await.json()
}

/// Gives a task labels, as its manifest would.
fn label(rig: &Rig, name: &str, labels: &[&str]) {
    rig.catalog.change(|tasks| {
        let key = testkit::task_key(name);
        let task = Task::clone(&tasks[&key]);
        let labels = Labels::read(labels).expect("labels");
        tasks.insert(key, Arc::new(Task { labels, ..task }));
    });
}

#[tokio::test]
async fn each_word_of_the_filter_selects_runs() {
    let rig = Rig::new();
    let failed = json!(rig.waiting().await);
    let claim = rig.claim().await;
    let log = "{\"at\":\"2026-11-22T10:00:00Z\",\"level\":\"info\",\"message\":\"disk full\"}\n".to_owned();
    rig.finish(&claim, Transition::Fail, report(Outcome::Trapped, log)).await;
    let succeeded = json!(rig.succeeded(None, "x").await);
    let waiting = rig.post("/v1/tasks/tick/runs?label=team%3Dweb&label=env%3Dprod", "").await.json()["run"].clone();
    let all = vec![waiting.clone(), succeeded.clone(), failed.clone()];

    for (query, expected) in [
        ("", all.clone()),
        ("task=hello", vec![succeeded.clone(), failed.clone()]),
        ("task=t*", vec![waiting.clone()]),
        ("task=*l*", vec![succeeded.clone(), failed.clone()]),
        ("task=nothing", vec![]),
        ("state=waiting", vec![waiting.clone()]),
        ("state=waiting,failed", vec![waiting.clone(), failed.clone()]),
        ("outcome=failed", vec![failed.clone()]),
        ("outcome=crashed", vec![failed.clone()]),
        ("outcome=succeeded,trapped", vec![succeeded.clone(), failed.clone()]),
        ("outcome=killed", vec![]),
        ("cause=demand", all.clone()),
        ("cause=schedule,start,task", vec![]),
        ("key=monday", vec![]),
        ("host=box", vec![succeeded.clone(), failed.clone()]),
        ("host=other", vec![]),
        ("label=team%3Dweb", vec![waiting.clone()]),
        ("label=team%3Dweb&label=env%3Dprod&limit=5", vec![waiting.clone()]),
        ("label=team%3Dweb&label=env%3Dtest", vec![]),
        ("since=1h", all.clone()),
        ("since=2026-11-22T10:00:00Z&until=2026-11-22T10:00:00Z", all.clone()),
        ("until=1m", vec![]),
        ("longer-than=1h", vec![]),
        ("text=DISK", vec![failed.clone()]),
        ("text=%3Ci%3Esaid", vec![succeeded.clone(), failed.clone()]),
        ("begun=true", vec![succeeded.clone(), failed.clone()]),
        ("task=h*&outcome=failed&since=1d&host=box&cause=demand&text=full", vec![failed.clone()]),
    ] {
        assert_eq!(runs(&rig, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_by_their_cursors_although_runs_arrive() {
    let rig = Rig::new();
    let [first, second, third] = [rig.waiting().await, rig.waiting().await, rig.waiting().await].map(|run| json!(run));

    let page = rig.get("/v1/runs?limit=2&state=waiting").await.json();
    rig.waiting().await;
    let cursor = page["cursor"].as_str().expect("there is a run more");
    let last = rig.get(&format!("/v1/runs?limit=2&state=waiting&cursor={cursor}")).await.json();

    assert_eq!(listed(&page), [third, second]);
    assert_eq!((listed(&last), &last["cursor"]), (vec![first], &Value::Null));
}

#[tokio::test]
async fn a_page_that_ends_before_it_is_full_says_how_far_it_has_looked() {
    let rig = Rig::new();
    let runs = (0..2500).map(|_| NewRun::of(testkit::task_key("hello"), NOW, Cause::Demand)).collect();
    rig.store.enqueue(runs, NOW).await.expect("a store that works");

    let mut page = rig.get("/v1/runs?text=nothing").await.json();
    let mut pages = 1;
    while let Some(cursor) = page["cursor"].as_str() {
        assert_eq!(page["looked_back_to"], "2026-11-22T10:00:00.000Z", "{page}");
        page = rig.get(&format!("/v1/runs?text=nothing&cursor={cursor}")).await.json();
        pages += 1;
    }

    assert!((2..10).contains(&pages), "{pages} pages");
    assert_eq!((listed(&page), &page["looked_back_to"]), (vec![], &Value::Null));
}

#[tokio::test]
async fn a_run_has_the_labels_of_its_task_and_those_that_it_was_given() {
    let rig = Rig::new();
    label(&rig, "hello", &["team=web", "env=prod"]);

    let run = rig.post("/v1/tasks/hello/runs?label=env%3Dtest&label=ticket%3D7", "").await.json()["run"].clone();
    label(&rig, "hello", &[]);

    let labels = json!({ "env": "test", "team": "web", "ticket": "7" });
    assert_eq!(rig.get(&format!("/v1/runs/{run}")).await.json()["run"]["labels"], labels, "as when it was made");
    assert_eq!(rig.get("/v1/runs").await.json()["runs"][0]["labels"], labels);
    let shown = rig.waiting().await;
    assert_eq!(rig.get(&format!("/v1/runs/{shown}")).await.json()["run"].get("labels"), None, "it has none");
}

#[tokio::test]
async fn labels_that_are_none_or_too_many_make_no_run() {
    let rig = Rig::new();
    label(&rig, "hello", &["a=1", "b=2"]);
    let many: String = (0..15).map(|n| format!("&label=n{n}%3D")).collect();
    for query in ["label=team", "label=T%3D1", "label=a%3D1&label=a%3D2", &many[1..]] {
        let refused = rig.post(&format!("/v1/tasks/hello/runs?{query}"), "").await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (400, &json!("bad-label")), "{query}");
    }
    assert_eq!(runs(&rig, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn tasks_are_listed_by_pattern_and_label_and_page_by_page() {
    let rig = Rig::new();
    label(&rig, "tick", &["team=web"]);

    assert_eq!(listed(&tasks(&rig, "task=*ck").await), ["tick"]);
    assert_eq!(listed(&tasks(&rig, "label=team%3Dweb").await), ["tick"]);
    assert_eq!(listed(&tasks(&rig, "label=team%3Dink").await), Vec::<Value>::new());
    assert_eq!(tasks(&rig, "").await["tasks"][1]["labels"], json!({ "team": "web" }));
    let page = tasks(&rig, "limit=1").await;
    let cursor = page["cursor"].as_str().expect("there is a task more").to_owned();
    let last = tasks(&rig, &format!("limit=1&cursor={cursor}")).await;
    assert_eq!((listed(&page), listed(&last), last.get("cursor")), (vec![json!("hello")], vec![json!("tick")], None));
}

#[tokio::test]
async fn plugins_are_listed_page_by_page() {
    let rig = Rig::new();

    let page = rig.get("/v1/plugins?limit=1").await.json();
    let after = rig.get("/v1/plugins?cursor=n62726f6b656e").await.json();

    assert_eq!((&page["plugins"][0]["name"], page.get("cursor")), (&json!("broken"), None));
    assert_eq!(after["plugins"], json!([]));
}
