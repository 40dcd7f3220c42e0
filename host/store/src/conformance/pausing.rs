//! Tests pauses of a task, of a tenant's tasks, and of all tasks.

use super::*;
use sexton_domain::pause::PauseTarget;

/// Returns the task `text` of the tenant `crowd`.
fn crowds(text: &str) -> TaskKey {
    TaskKey { tenant: name("crowd"), task: name(text) }
}

fn crowd() -> PauseTarget {
    PauseTarget::Tenant(name("crowd"))
}

/// Claims all due runs of `a` of the default tenant and of `crowd`. Returns their tenants.
async fn taken(store: &Tested, seconds: i64) -> Vec<String> {
    let tasks = Arc::new(BTreeMap::from([(task("a"), 9), (crowds("a"), 9)]));
    let claimed = store.claim(ClaimRequest { tasks, ..request(&[], 9, seconds) }).await.unwrap();
    claimed.claims.iter().map(|claim| claim.task.tenant.to_string()).collect()
}

/// Makes a run of each of the two tasks.
async fn one_each(store: &Tested) -> Vec<RunId> {
    enqueue(store, vec![new("a"), NewRun { task: crowds("a"), ..new("a") }]).await
}

async fn why(store: &Tested, run: RunId) -> Option<String> {
    store.run(run).await.unwrap().unwrap().why
}

pub(crate) async fn a_paused_tenant_keeps_only_its_own_runs_from_being_claimed(store: Tested) {
    let runs = one_each(&store).await;
    store.pause(crowd(), Some("it is late".into()), at(3)).await.unwrap();

    assert_eq!(taken(&store, 4).await, ["default"]);
    let said = format!("its tenant is paused since {}: it is late", at(3));
    assert_eq!([why(&store, runs[0]).await, why(&store, runs[1]).await], [None, Some(said)]);

    store.resume(crowd(), at(5)).await.unwrap();
    assert_eq!(why(&store, runs[1]).await, None);
    assert_eq!(taken(&store, 5).await, ["crowd"]);
}

pub(crate) async fn a_pause_of_all_tasks_includes_later_tasks(store: Tested) {
    store.pause(PauseTarget::All, None, at(3)).await.unwrap();
    let runs = one_each(&store).await;

    assert_eq!(taken(&store, 4).await, Vec::<String>::new());
    assert_eq!(why(&store, runs[1]).await, Some(format!("all tasks are paused since {}", at(3))));
    assert_eq!(store.fire(fire("new", vec![new("new")], at(4), at(4))).await.unwrap(), FireOutcome::Paused);

    store.resume(PauseTarget::All, at(5)).await.unwrap();
    assert_eq!(taken(&store, 5).await.len(), 2);
    assert!(matches!(store.fire(fire("new", vec![new("new")], at(5), at(5))).await.unwrap(), FireOutcome::Made(_)));
}

pub(crate) async fn instants_during_a_pause_of_many_tasks_are_left_out(store: Tested) {
    store.fire(fire("a", vec![], at(1), at(1))).await.unwrap();
    store.fire(Fire { task: crowds("a"), ..fire("a", vec![], at(1), at(1)) }).await.unwrap();
    let cursors = async || {
        let states = store.task_states().await.unwrap();
        [task("a"), crowds("a")].map(|task| states[&task].cursor.unwrap())
    };

    store.pause(crowd(), None, at(3)).await.unwrap();
    store.resume(crowd(), at(5)).await.unwrap();
    assert_eq!(cursors().await, [at(1), at(5)]);
    store.pause(PauseTarget::All, None, at(6)).await.unwrap();
    store.resume(PauseTarget::All, at(9)).await.unwrap();
    assert_eq!(cursors().await, [at(9), at(9)]);
}

pub(crate) async fn resuming_all_tasks_keeps_every_narrower_pause(store: Tested) {
    let runs = one_each(&store).await;
    store.pause(PauseTarget::Task(task("a")), Some("by itself".into()), at(1)).await.unwrap();
    store.pause(crowd(), None, at(2)).await.unwrap();
    store.pause(PauseTarget::All, None, at(3)).await.unwrap();

    store.resume(PauseTarget::All, at(4)).await.unwrap();

    assert_eq!(taken(&store, 5).await, Vec::<String>::new());
    let said = [Some("its task is paused: by itself".into()), Some(format!("its tenant is paused since {}", at(2)))];
    assert_eq!([why(&store, runs[0]).await, why(&store, runs[1]).await], said);
    store.resume(PauseTarget::Task(task("a")), at(6)).await.unwrap();
    store.resume(crowd(), at(6)).await.unwrap();
    assert_eq!(taken(&store, 6).await.len(), 2);
}

pub(crate) async fn resuming_a_task_or_a_tenant_keeps_the_pause_of_all_tasks(store: Tested) {
    one_each(&store).await;
    store.pause(PauseTarget::All, None, at(1)).await.unwrap();

    store.resume(PauseTarget::Task(task("a")), at(2)).await.unwrap();
    store.resume(crowd(), at(2)).await.unwrap();

    assert_eq!(taken(&store, 3).await, Vec::<String>::new());
}

pub(crate) async fn a_second_pause_changes_only_the_reason_and_only_if_it_gives_one(store: Tested) {
    for target in [PauseTarget::Task(task("a")), crowd(), PauseTarget::All] {
        store.pause(target.clone(), Some("first".into()), at(1)).await.unwrap();
        store.pause(target.clone(), None, at(2)).await.unwrap();
        assert_eq!(
            pause_of(&store, &target).await,
            (Some(at(1)), Some("first".to_owned())),
            "no reason is given: {target}"
        );

        store.pause(target.clone(), Some("second".into()), at(3)).await.unwrap();
        assert_eq!(pause_of(&store, &target).await, (Some(at(1)), Some("second".to_owned())), "{target}");
    }
}

/// Returns since when `target` is paused, and why.
async fn pause_of(store: &Tested, target: &PauseTarget) -> (Option<Timestamp>, Option<String>) {
    let pauses = store.pauses().await.unwrap();
    let pause = match target {
        PauseTarget::Task(task) => store.task_states().await.unwrap()[task].paused.clone(),
        PauseTarget::Tenant(tenant) => pauses.tenants.get(tenant).cloned(),
        PauseTarget::All => pauses.all,
    };
    let pause = pause.unwrap_or_else(|| panic!("{target} is paused"));
    (pause.since, pause.why)
}

pub(crate) async fn resuming_many_tasks_wakes_waiters(store: Tested) {
    one_each(&store).await;
    store.pause(PauseTarget::All, None, at(1)).await.unwrap();
    let hint = store.runs_hint();
    let hinted = hint.notified();
    tokio::pin!(hinted);
    hinted.as_mut().enable();
    assert!(taken(&store, 1).await.is_empty());

    store.resume(PauseTarget::All, at(2)).await.unwrap();

    tokio::time::timeout(Duration::from_secs(60), hinted).await.expect("who listened before is told");
}
