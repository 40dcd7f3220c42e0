//! Tests the commits of the writer thread, which gathers commands.

use super::*;

/// Keeps the writer busy until the returned sender is dropped or used, so that all commands sent by then are one batch.
async fn busy(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (release, wait) = channel();
    let (begun, started) = tokio::sync::oneshot::channel();
    let (wait, begun) = (std::sync::Mutex::new(wait), std::sync::Mutex::new(Some(begun)));
    let (command, _answer) = command(move |_| {
        if let Some(begun) = begun.lock().unwrap().take() {
            begun.send(()).unwrap();
        }
        // An error means that the sender is gone, which also ends the wait.
        let _ = wait.lock().unwrap().recv();
        Ok(())
    });
    store.commands.as_ref().unwrap().send(command).unwrap();
    started.await.unwrap();
    release
}

#[tokio::test]
async fn commands_that_have_gathered_are_one_commit() {
    let (store, _directory) = open();
    let before = store.stats();
    let release = busy(&store).await;

    // Each is in the writer's queue once it has been polled.
    let mut asked: Vec<_> = (0..20).map(|_| Box::pin(enqueue(&store, vec![]))).collect();
    for ask in &mut asked {
        assert!(futures_util::poll!(ask.as_mut()).is_pending());
    }
    drop(release);
    for ask in asked {
        ask.await.unwrap();
    }

    // The busy command has used the first batch's time: that is one commit, and the rest are one or two.
    let commits = store.stats().commits - before.commits;
    assert!((1..=3).contains(&commits), "{commits}");
    assert_eq!(store.stats().syncs - before.syncs, commits);
    assert_eq!(store.counts().await.unwrap()[&RunState::Waiting], 20);
}

#[tokio::test]
async fn a_command_that_fails_does_not_fail_the_rest_of_its_batch() {
    let (store, _directory) = open();
    let release = busy(&store).await;
    let mut good = Box::pin(enqueue(&store, vec![]));
    let mut sql = Box::pin(store.write(|w| {
        w.conn.execute(formatcp!("UPDATE runs SET state = {FAILED}"), [])?;
        Ok(w.conn.execute("INSERT INTO nowhere VALUES (1)", [])?)
    }));
    let mut panic = Box::pin(store.write(|w| -> Step<()> {
        w.conn.execute("DELETE FROM runs", [])?;
        panic!("as the test has it")
    }));
    let mut better = Box::pin(enqueue(&store, vec![]));
    assert!(futures_util::poll!(good.as_mut()).is_pending());
    assert!(futures_util::poll!(sql.as_mut()).is_pending());
    assert!(futures_util::poll!(panic.as_mut()).is_pending());
    assert!(futures_util::poll!(better.as_mut()).is_pending());

    drop(release);

    let (good, sql, panic, better) = (good.await, sql.await, panic.await, better.await);
    assert!(good.unwrap() < better.unwrap());
    assert!(matches!(&sql, Err(StoreError::Other(why)) if why.contains("nowhere")), "{sql:?}");
    assert!(matches!(panic, Err(StoreError::Other(_))), "{panic:?}");
    assert_eq!(store.counts().await.unwrap()[&RunState::Waiting], 2);
    let claimed = claim(&store).await;
    store.finish(finish(claimed).into()).await.unwrap();
}

#[tokio::test]
async fn a_claim_that_finds_no_run_costs_no_wait_for_the_disk() {
    let (store, _directory) = open();
    enqueue(&store, vec![]).await.unwrap();
    let before = store.stats();

    store.claim(testkit::claim_request([], NOW)).await.unwrap();

    let after = store.stats();
    assert_eq!((after.commits, after.syncs, after.writes), (before.commits, before.syncs, before.writes + 1));
}
