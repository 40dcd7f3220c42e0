//! Tests how attempts end.

use std::time::Duration;

use super::*;
use sexton_domain::run::RunState;

pub(crate) async fn a_success_keeps_its_output(store: Tested) {
    let (plain, typed) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let page = Output { content_type: Some("text/html".into()), body: b"<p>\0\xff".to_vec() };

    assert_eq!(store.output(plain.run).await.unwrap(), None);
    store.finish(success(plain).into()).await.unwrap();
    store.finish(ending(typed, Outcome::Succeeded, Transition::Succeed(page.clone())).into()).await.unwrap();

    assert_eq!(store.output(plain.run).await.unwrap(), Some(Output::default()));
    assert_eq!(store.output(typed.run).await.unwrap(), Some(page));
    let info = store.run(typed.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.outcome), (RunState::Succeeded, Some(Outcome::Succeeded)));
    assert_eq!((info.ended_at, info.failures), (Some(at(1)), 0));
}

pub(crate) async fn a_run_waits_for_its_next_attempt_after_a_failure(store: Tested) {
    let first = running(&store, "a").await.key;

    store.finish(retry(first, 10).into()).await.unwrap();

    let info = store.run(first.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.run_at, info.due_at), (RunState::Waiting, at(10), at(0)));
    assert_eq!((info.attempt, info.failures, info.ended_at), (1, 1, None));
    assert!(claim(&store, &[("a", 1)], 1, 9).await.claims.is_empty());
    let second = claim(&store, &[("a", 1)], 1, 10).await.claims.remove(0);
    assert_eq!((second.key.run, second.key.attempt, second.failures), (first.run, 2, 1));
    store.finish(failure(second.key).into()).await.unwrap();
    let info = store.run(first.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.failures, info.outcome), (RunState::Failed, 2, Some(Outcome::FailedPermanent)));
    assert_eq!(store.attempts(first.run).await.unwrap().len(), 2);
    assert_eq!(store.output(first.run).await.unwrap(), None);
}

pub(crate) async fn a_deferral_does_not_count_as_a_failure(store: Tested) {
    let first = running(&store, "a").await.key;

    store
        .finish(ending(first, Outcome::Deferred, Transition::Wait { run_at: at(5), failed: false }).into())
        .await
        .unwrap();

    let second = claim(&store, &[("a", 1)], 1, 5).await.claims.remove(0);
    assert_eq!((second.key.attempt, second.failures), (2, 0));
}

pub(crate) async fn a_finish_makes_room_for_the_next_run(store: Tested) {
    enqueue(&store, vec![new("a"); 2]).await;
    let first = claim(&store, &[("a", 1)], 8, 1).await.claims[0].key;
    assert!(claim(&store, &[("a", 1)], 8, 1).await.claims.is_empty());

    store.finish(success(first).into()).await.unwrap();

    assert_eq!(claim(&store, &[("a", 1)], 8, 1).await.claims.len(), 1);
}

pub(crate) async fn a_stale_claim_writes_no_outcome(store: Tested) {
    let first = running(&store, "a").await.key;
    store.finish(retry(first, 0).into()).await.unwrap();
    let second = claim(&store, &[("a", 1)], 1, 1).await.claims[0].key;
    let wrong = [first, stale(second), ClaimKey { attempt: 1, ..second }, ClaimKey { run: RunId(999), ..second }];

    for claim in wrong {
        assert_lost(store.finish(success(claim).into()).await, claim);
    }

    assert_eq!(store.attempts(first.run).await.unwrap().len(), 1);
    assert_eq!(store.run(first.run).await.unwrap().unwrap().state, RunState::Running);
    store.finish(failure(second).into()).await.unwrap();
    assert_lost(store.finish(success(second).into()).await, second);
    assert_eq!(store.run(first.run).await.unwrap().unwrap().state, RunState::Failed);
}

pub(crate) async fn an_outcome_is_written_once(store: Tested) {
    let claim = running(&store, "a").await.key;
    let one = Transition::Succeed(Output { content_type: None, body: b"one".to_vec() });
    let two = Transition::Succeed(Output { content_type: None, body: b"two".to_vec() });

    let (one, two) = tokio::join!(
        store.finish(ending(claim, Outcome::Succeeded, one).into()),
        store.finish(ending(claim, Outcome::Succeeded, two).into())
    );

    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let kept = store.output(claim.run).await.unwrap().unwrap().body;
    assert_eq!(kept, if one.is_ok() { b"one" } else { b"two" });
    assert_eq!(store.attempts(claim.run).await.unwrap().len(), 1);
}

pub(crate) async fn a_sweeper_ends_only_expired_claims(store: Tested) {
    let claim = running(&store, "a").await.key;
    let bury = |by| Finish { expired_by: Some(by), ..ending(claim, Outcome::Lost, Transition::Fail) };
    let lease_ends = at(0).plus(LEASE);

    assert_lost(store.finish(bury(lease_ends).into()).await, claim);
    store.extend(vec![claim], at(60)).await.unwrap();
    assert_lost(store.finish(bury(lease_ends.plus(Duration::from_millis(1))).into()).await, claim);
    store.finish(bury(at(61)).into()).await.unwrap();

    let info = store.run(claim.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.outcome), (RunState::Failed, Some(Outcome::Lost)));
}

pub(crate) async fn an_attempt_keeps_its_whole_report(store: Tested) {
    let claim = running(&store, "a").await.key;
    let told = Report {
        outcome: Outcome::Trapped,
        started_at: at(2),
        ended_at: at(3),
        message: Some("unreachable".into()),
        backtrace: Some("0: main".into()),
        accounts: Accounts {
            fuel: 1 << 40,
            peak_memory: 65536,
            guest: Duration::from_micros(1234),
            host: Duration::from_micros(56),
            queued: Duration::from_micros(78),
            lock_wait: Duration::from_micros(9),
            host_calls: 7,
            bytes_in: 11,
            bytes_out: 13,
        },
        log: CappedText { text: "{\"message\":\"é\"}\n".into(), cut: true },
        stdout: CappedText { text: "out".into(), cut: false },
        stderr: CappedText { text: String::new(), cut: true },
    };

    store.finish(Finish { report: told.clone(), ..failure(claim) }.into()).await.unwrap();

    let attempts = store.attempts(claim.run).await.unwrap();
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((attempt.attempt, &attempt.host[..], &attempt.report), (1, "one", &told));
    let info = store.run(claim.run).await.unwrap().unwrap();
    assert_eq!((info.outcome, info.message.as_deref()), (Some(Outcome::Trapped), Some("unreachable")));
    assert_eq!(info.ended_at, Some(at(3)));
}

pub(crate) async fn many_finishes_at_once_are_all_written(store: Tested) {
    enqueue(&store, vec![new("a"); 300]).await;
    let claims = claim(&store, &[("a", 300)], 300, 1).await.claims;

    let ends: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let store = store.clone();
            tokio::spawn(async move { store.finish(success(claim.key).into()).await })
        })
        .collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }

    assert_eq!(store.counts().await.unwrap()[&RunState::Succeeded], 300);
}
