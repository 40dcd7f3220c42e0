//! Tests requests that may be repeated.

use super::*;
use crate::Retention;
use crate::requests::{BeginRequest, Begun, IN_PROGRESS, KEPT, RepeatableRequest, RequestAnswer};

fn request(operation: &str, key: &str) -> RepeatableRequest {
    RepeatableRequest { tenant: Name::default_tenant(), operation: operation.into(), key: key.into() }
}

/// The attempt with this number at a request that says `said`, at the second `seconds`.
fn attempt(request: RepeatableRequest, said: u8, attempt: i64, seconds: i64) -> BeginRequest {
    BeginRequest { request, digest: vec![said; 32], attempt, now: at(seconds) }
}

fn answer(body: &[u8]) -> RequestAnswer {
    RequestAnswer { status: 202, location: Some("/v1/runs/7".into()), body: body.to_vec() }
}

/// The second after which an answer of second 0 is no longer kept.
fn over() -> i64 {
    KEPT.as_secs() as i64
}

async fn begin(store: &Tested, said: u8, number: i64, seconds: i64) -> Begun {
    store.begin_request(attempt(request("POST /x", "k"), said, number, seconds)).await.unwrap()
}

async fn end(store: &Tested, number: i64, answer: Option<RequestAnswer>) {
    store.end_request(request("POST /x", "k"), number, answer).await.unwrap();
}

pub(crate) async fn a_repeated_request_gets_the_answer_of_the_first(store: Tested) {
    assert_eq!(begin(&store, 1, 10, 0).await, Begun::New);
    end(&store, 10, Some(answer(b"{}\0\xff"))).await;

    assert_eq!(begin(&store, 1, 11, 5).await, Begun::Answered(answer(b"{}\0\xff")));
    assert_eq!(begin(&store, 1, 12, over() - 1).await, Begun::Answered(answer(b"{}\0\xff")));
    assert_eq!(begin(&store, 2, 13, 6).await, Begun::Differs, "the key says something else");
}

pub(crate) async fn a_request_in_progress_is_not_begun_again_until_its_host_must_have_died(store: Tested) {
    let patience = IN_PROGRESS.as_secs() as i64;
    assert_eq!(begin(&store, 1, 10, 0).await, Begun::New);

    assert_eq!(begin(&store, 1, 11, patience - 1).await, Begun::InProgress);
    assert_eq!(begin(&store, 1, 11, -1).await, Begun::InProgress, "the clocks of hosts differ");
    assert_eq!(begin(&store, 2, 12, 1).await, Begun::Differs);
    assert_eq!(begin(&store, 1, 10, 1).await, Begun::New, "the same attempt may begin twice");
    assert_eq!(begin(&store, 1, 13, patience + 1).await, Begun::New);

    end(&store, 10, Some(answer(b"late"))).await;
    assert_eq!(begin(&store, 1, 14, patience + 2).await, Begun::InProgress, "the first attempt was taken over");
    end(&store, 13, Some(answer(b"second"))).await;
    end(&store, 10, None).await;
    assert_eq!(begin(&store, 1, 15, patience + 3).await, Begun::Answered(answer(b"second")));
}

pub(crate) async fn a_request_that_ends_without_an_answer_may_be_tried_again(store: Tested) {
    assert_eq!(begin(&store, 1, 10, 0).await, Begun::New);
    end(&store, 10, None).await;

    assert_eq!(begin(&store, 2, 11, 0).await, Begun::New, "even with another body");
    end(&store, 11, Some(RequestAnswer { location: None, ..answer(b"") })).await;
    assert_eq!(begin(&store, 2, 12, 0).await, Begun::Answered(RequestAnswer { location: None, ..answer(b"") }));
}

pub(crate) async fn requests_of_other_tenants_and_for_other_things_have_keys_of_their_own(store: Tested) {
    begin(&store, 1, 10, 0).await;
    end(&store, 10, Some(answer(b"x"))).await;

    let others = [
        request("POST /y", "k"),
        request("POST /x", "K"),
        RepeatableRequest { tenant: name("acme"), ..request("POST /x", "k") },
    ];
    for other in others {
        assert_eq!(store.begin_request(attempt(other.clone(), 2, 11, 0)).await.unwrap(), Begun::New, "{other:?}");
    }
}

pub(crate) async fn one_of_many_attempts_at_a_request_begins(store: Tested) {
    let attempts = (0..20).map(|number| store.begin_request(attempt(request("POST /x", "k"), 1, number, 0)));

    let begun = futures_util::future::join_all(attempts).await;

    let new = begun.iter().filter(|begun| matches!(begun, Ok(Begun::New))).count();
    let waiting = begun.iter().filter(|begun| matches!(begun, Ok(Begun::InProgress))).count();
    assert_eq!((new, waiting), (1, 19), "{begun:?}");
}

pub(crate) async fn pruning_deletes_answers_of_the_day_before(store: Tested) {
    begin(&store, 1, 10, 0).await;
    end(&store, 10, Some(answer(b"x"))).await;
    let later = request("POST /x", "later");
    store.begin_request(attempt(later.clone(), 1, 11, 60)).await.unwrap();
    store.end_request(later.clone(), 11, Some(answer(b"y"))).await.unwrap();

    let retention = Retention { runs: 10, age: Duration::from_secs(1), bytes: 1 << 20 };
    store.prune(retention, at(over())).await.unwrap();

    assert_eq!(begin(&store, 2, 12, 1).await, Begun::New, "its row is gone");
    let kept = store.begin_request(attempt(later, 1, 13, over())).await.unwrap();
    assert_eq!(kept, Begun::Answered(answer(b"y")));
}
