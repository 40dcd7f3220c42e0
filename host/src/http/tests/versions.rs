//! Tests earlier versions of cache entries.

use super::*;

async fn put(rig: &Rig, path: &str, body: &'static str) -> Value {
    let put = request(Method::PUT, path).body(Body::from(body)).expect("a request");
    rig.ask(put).await.json()
}

#[tokio::test]
async fn versions_of_an_entry_are_listed_read_restored_and_deleted_with_it() {
    let rig = Rig::new();
    let first = put(&rig, "/v1/cache/front/a?keep=1&ttl=1h", "one").await["version"].clone();
    let second = put(&rig, "/v1/cache/front/a", "two").await["version"].clone();

    let history = rig.get("/v1/cache-history/front%2Fa").await.json();
    assert_eq!((&history["key"], &history["keep"]), (&json!("front/a"), &json!(1)));
    let versions: Vec<_> = history["versions"].as_array().expect("a list").iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, [&second, &first]);
    let old = rig.get(&format!("/v1/cache/front/a?version={first}")).await;
    assert_eq!((old.text(), old.header("etag")), ("one", format!("\"{first}\"").as_str()));
    assert_eq!(old.header("x-sexton-expires-at"), "2026-11-22T11:00:00.000Z");

    let restored = rig.post(&format!("/v1/cache-restore/front/a?version={first}"), "").await.json();

    assert_eq!(restored["key"], "front/a");
    assert!(restored["version"].as_u64() > second.as_u64());
    let current = rig.get("/v1/cache/front/a").await;
    assert_eq!((current.text(), current.header("x-sexton-expires-at")), ("one", "2026-11-22T11:00:00.000Z"));
    let gone = rig.get(&format!("/v1/cache/front/a?version={first}")).await;
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no-such-version")));
    let delete = request(Method::DELETE, "/v1/cache/front/a").body(Body::empty()).expect("a request");
    assert_eq!(rig.ask(delete).await.status, StatusCode::OK);
    assert_eq!(rig.get("/v1/cache-history/front/a").await.status, StatusCode::NOT_FOUND);
}
