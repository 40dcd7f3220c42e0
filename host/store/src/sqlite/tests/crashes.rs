//! Tests the contents of the file after a crash.

use super::*;

/// Copies the file and its WAL as they are at this moment, as a crash would leave them.
fn crash_image(path: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        let file = |path: &Path| format!("{}{ending}", path.display());
        std::fs::copy(file(path), file(to)).unwrap();
    }
}

#[tokio::test]
async fn answered_writes_survive_a_crash() {
    let (store, directory) = open();
    let over = enqueue(&store, b"in".to_vec()).await.unwrap();
    let claimed = claim(&store).await;
    store.finish(finish(claimed).into()).await.unwrap();
    let running = enqueue(&store, vec![]).await.unwrap();
    let held = claim(&store).await;
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "x".into() };
    store.acquire_lock(lock, LockMode::Exclusive, held, NOW).await.unwrap();
    let key = CacheKey { tenant: Name::default_tenant(), key: "k".into() };
    let write = CacheWrite {
        key: key.clone(),
        value: b"v".to_vec(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        keep: None,
        quota: 99,
        budget: None,
        now: NOW,
    };
    store.cache_write(write).await.unwrap();
    store.fire(Fire { task: task(), runs: vec![], cursor: NOW, expect: None, memory: None, now: NOW }).await.unwrap();

    let image = directory.path().join("image.db");
    crash_image(&directory.path().join("store.db"), &image);
    let after = open_at(&image);

    assert_eq!(after.output(over).await.unwrap().unwrap().body, b"made");
    assert_eq!(after.input(over).await.unwrap().unwrap(), b"in");
    assert_eq!(after.attempts(over).await.unwrap().len(), 1);
    assert_eq!(after.counts().await.unwrap(), store.counts().await.unwrap());
    assert_eq!(after.cache_get(key, NOW).await.unwrap().unwrap().value, b"v");
    assert_eq!(after.task_states().await.unwrap()[&task()].cursor, Some(NOW));
    assert_eq!(after.locks(Name::default_tenant()).await.unwrap().len(), 1);
    // The claim is of an earlier life: it is found at once, its attempt is ended, and its lock is free.
    let expired = after.expired(NOW, 9).await.unwrap();
    assert_eq!(expired.iter().map(|e| e.claim).collect::<Vec<_>>(), [held]);
    after.finish(Finish { expired_by: Some(NOW), ..finish(held) }.into()).await.unwrap();
    assert!(after.locks(Name::default_tenant()).await.unwrap().is_empty());
    let next = enqueue(&after, vec![]).await.unwrap();
    assert!(next > running && claim(&after).await.fence > held.fence);
}

#[tokio::test]
async fn the_standing_of_a_task_survives_a_crash() {
    let (store, directory) = open();
    let supervision = Supervision { pause_after: Some(3), ..Supervision::default() };
    for _ in 0..3 {
        enqueue(&store, vec![]).await.unwrap();
        let mut end = finish(claim(&store).await);
        end.transition = sexton_domain::lifecycle::Transition::Fail;
        end.report.outcome = Outcome::Trapped;
        store.finish(Finish { supervision, ..end }.into()).await.unwrap();
    }
    let image = directory.path().join("image.db");

    crash_image(&directory.path().join("store.db"), &image);

    let after = open_at(&image);
    let state = after.task_states().await.unwrap().remove(&task()).unwrap();
    assert!(state.paused.as_ref().is_some_and(|pause| pause.why.is_some() && pause.since == Some(NOW)), "{state:?}");
    let held_until = Some(NOW.plus(std::time::Duration::from_secs(1)));
    assert_eq!(state.standing, sexton_domain::supervision::Standing { failures: 3, crashes: 3, held_until });
    // The writer acts on this state, and does not only show it.
    enqueue(&after, vec![]).await.unwrap();
    let request = testkit::claim_request([(task(), 9)], NOW);
    assert!(after.claim(request).await.unwrap().claims.is_empty());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_commit_leaves_the_one_before() {
    let (store, directory) = open();
    let first = enqueue(&store, vec![1; 10_000]).await.unwrap();
    let whole = std::fs::metadata(directory.path().join("store.db-wal")).unwrap().len();
    let second = enqueue(&store, vec![2; 10_000]).await.unwrap();
    let image = directory.path().join("image.db");

    crash_image(&directory.path().join("store.db"), &image);
    let wal = std::fs::OpenOptions::new().write(true).open(directory.path().join("image.db-wal")).unwrap();
    wal.set_len(whole + 5000).unwrap();

    let after = open_at(&image);
    assert_eq!(after.input(first).await.unwrap(), Some(vec![1; 10_000]));
    assert_eq!(after.input(second).await.unwrap(), None);
    assert_eq!(after.counts().await.unwrap()[&RunState::Waiting], 1);
    assert_eq!(enqueue(&after, vec![]).await.unwrap(), second);
}
