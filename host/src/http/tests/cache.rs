//! Tests the requests about cache entries.

use super::*;

#[tokio::test]
async fn a_cache_entry_is_written_read_conditionally_changed_and_deleted() {
    let rig = Rig::new();
    let put = |condition: Option<(&'static str, String)>, body: &'static str| {
        let mut put = request(Method::PUT, "/v1/cache/front/a%20b?ttl=1m");
        if let Some((name, value)) = condition {
            put = put.header(name, value);
        }
        rig.ask(put.body(Body::from(body)).expect("a request"))
    };
    let absent = || Some(("if-none-match", "*".to_owned()));
    let first = put(absent(), "one").await.json();
    assert_eq!(first["key"], "front/a b");
    assert_eq!(put(absent(), "two").await.status, StatusCode::PRECONDITION_FAILED);
    let version = format!("\"{}\"", first["version"]);
    assert_eq!(put(Some(("if-match", version.clone())), "two").await.status, StatusCode::OK);
    assert_eq!(put(Some(("if-match", version)), "three").await.status, StatusCode::PRECONDITION_FAILED);

    let read = rig.get("/v1/cache/front%2Fa%20b").await;
    assert_eq!(read.text(), "two");
    assert_eq!(read.header("x-sexton-expires-at"), "2026-11-22T10:01:00.000Z");
    assert_eq!(read.header("content-security-policy"), "sandbox");
    let list = rig.get("/v1/cache?prefix=front/").await.json();
    assert_eq!((&list["entries"][0]["key"], &list["entries"][0]["size"]), (&json!("front/a b"), &json!(3)));

    let delete = || rig.ask(request(Method::DELETE, "/v1/cache/front/a%20b").body(Body::empty()).expect("a request"));
    assert_eq!(delete().await.status, StatusCode::OK);
    assert_eq!(delete().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_cache_takes_no_more_than_its_quota() {
    let rig = Rig::new();
    let put = |key: &str| {
        let put = request(Method::PUT, &format!("/v1/cache/{key}"));
        rig.ask(put.body(Body::from(vec![0; 1 << 20])).expect("a request"))
    };
    assert_eq!(put("a").await.status, StatusCode::OK);
    let full = put("b").await;
    assert_eq!((full.status, &full.json()["error"]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &json!("cache-full")));
}
