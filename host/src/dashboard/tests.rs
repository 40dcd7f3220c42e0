//! Tests pages over a real store: their contents and refusals, and that text of guests stays text.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use tower::ServiceExt;

use crate::http::tests::{Rig, report};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::Outcome;

/// All pages that need nothing to be there.
const PAGES: [&str; 11] = [
    "/",
    "/tasks",
    "/runs",
    "/timeline",
    "/calendar",
    "/schedules",
    "/locks",
    "/cache",
    "/plugins",
    "/hosts",
    "/explain",
];

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(rig: &Rig, method: Method, path: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("host", "localhost:7070");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    send(rig, request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn send(rig: &Rig, request: Request<Body>) -> Answer {
    let response = rig.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

async fn get(rig: &Rig, path: &str) -> Answer {
    ask(rig, Method::GET, path, "").await
}

#[track_caller]
fn shows(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(page.text.contains(text), "`{text}` is not in:\n{}", page.text);
    }
}

#[tokio::test]
async fn every_page_is_whole_and_says_what_it_may_load() {
    let rig = Rig::new();
    let run = rig.succeeded(None, "x").await;
    let [one, task] = [format!("/runs/{run}"), "/tasks/hello".to_owned()];

    for path in PAGES.into_iter().chain([one.as_str(), task.as_str()]) {
        let page = get(&rig, path).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"), "{path}");
        let policy = page.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        shows(&page, &["<h1>", "href=\"#main\"", "id=\"main\"", "</html>"]);
        for never in ["style=\"", "onclick", "<style", "javascript:"] {
            assert!(!page.text.contains(never), "{path}: `{never}`");
        }
    }
}

#[tokio::test]
async fn the_front_page_shows_failing_tasks_and_no_markup_of_others() {
    let rig = Rig::new();
    rig.waiting().await;
    let claim = rig.claim().await;
    rig.finish(&claim, Transition::Fail, report(Outcome::Trapped, String::new())).await;

    let page = get(&rig, "/").await;

    shows(&page, &["failing", "1 failure in a row, the last one trapped", "in quarantine"]);
    shows(&page, &["&#60;script&#62;alert(1)&#60;/script&#62; is no component"]);
    let task = get(&rig, "/tasks/hello").await;
    shows(&task, &["&#60;b&#62;bold&#60;/b&#62;", "&#60;i&#62;said&#60;/i&#62;"]);
    for page in [page, task] {
        for never in ["<script>", "<b>bold", "<i>said"] {
            assert!(!page.text.contains(never), "`{never}` is in:\n{}", page.text);
        }
    }
}

#[tokio::test]
async fn tasks_are_shown_with_their_next_instant_and_found_by_a_part_of_their_name() {
    let rig = Rig::new();

    let page = get(&rig, "/tasks").await;
    shows(&page, &["hello", "tick", "every 10s", "11:00:10 <i>CET</i>"]);

    let found = get(&rig, "/tasks?task=ell&label=").await;
    shows(&found, &["id=\"task-hello\"", "value=\"ell\""]);
    assert!(!found.text.contains("id=\"task-tick\""));
    shows(&get(&rig, "/tasks?task=nothing").await, &["No task fits"]);
    let utc = get(&rig, "/tasks?times=utc").await;
    shows(&utc, &["10:00:10 <i>UTC</i>", "href=\"/tasks/hello?times=utc\""]);
}

#[tokio::test]
async fn runs_are_filtered_by_the_words_of_the_api_and_come_page_by_page() {
    let rig = Rig::new();
    for _ in 0..3 {
        rig.succeeded(None, "x").await;
    }

    let failed = get(&rig, "/runs?state=failed&task=").await;
    shows(&failed, &["No run fits", "<option selected>failed</option>"]);
    let first = get(&rig, "/runs?limit=2&state=succeeded").await;
    assert_eq!(first.text.matches("<tr id=\"run-").count(), 2);
    let next = first.text.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let second = get(&rig, &next).await;
    assert_eq!(second.text.matches("<tr id=\"run-").count(), 1, "{next}");
    shows(&second, &["First page"]);

    let wrong = get(&rig, "/runs?state=asleep").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    shows(&wrong, &["This was refused", "`asleep` is unknown"]);
}

#[tokio::test]
async fn a_run_shows_its_log_and_its_output_by_type() {
    let rig = Rig::new();
    let run = rig.succeeded(Some("text/html"), "<p>hi</p>").await;

    let page = get(&rig, &format!("/runs/{run}")).await;
    shows(&page, &["sandbox title=\"Output of run", &format!("src=\"/runs/{run}/framed\"")]);
    let framed = get(&rig, &format!("/runs/{run}/framed")).await;
    assert_eq!(framed.text, "<p>hi</p>");
    let policy = framed.header("content-security-policy");
    assert!(policy.starts_with("sandbox; default-src 'none'") && policy.contains("frame-ancestors 'self'"), "{policy}");

    rig.waiting().await;
    let claim = rig.claim().await;
    let log = "{\"at\":\"2026-11-22T10:00:00.000Z\",\"level\":\"error\",\"message\":\"<u>disk\\u001b[2J</u>\"}\n\
               {\"at\":\"2026-11-22T10:00:01.000Z\",\"level\":\"info\",\"message\":\"fine\"}\n";
    rig.finish(&claim, Transition::Fail, report(Outcome::Trapped, log.to_owned())).await;
    let page = get(&rig, &format!("/runs/{}", claim.key.run)).await;
    shows(
        &page,
        &["<li id=\"L1\" class=\"error\">", "&#60;u&#62;disk\\u001b[2J&#60;/u&#62;", "href=\"#L1\">First error"],
    );
    let found = get(&rig, &format!("/runs/{}?find=DISK&level=warn", claim.key.run)).await;
    assert!(found.text.contains("id=\"L1\"") && !found.text.contains("id=\"L2\""));
}

#[tokio::test]
async fn forms_ask_for_operations_and_lead_back() {
    let rig = Rig::new();

    let paused = ask(&rig, Method::POST, "/tasks/hello/pause", "reason=a+%3Cb%3E+c").await;
    assert_eq!((paused.status, paused.header("location")), (StatusCode::SEE_OTHER, "/tasks/hello?done=paused"));
    shows(&get(&rig, paused.header("location")).await, &["The task is paused", "a &#60;b&#62; c", ">Resume<"]);
    let started = ask(&rig, Method::POST, "/tasks/hello/start", "input=%7B%7D&past-limits=").await;
    let run = started.header("location").strip_suffix("?done=started").unwrap().to_owned();
    shows(&get(&rig, &run).await, &["waiting", "{}", "its task is paused"]);
    let killed = ask(&rig, Method::POST, &format!("{run}/kill"), "reason=enough").await;
    assert_eq!(killed.header("location"), format!("{run}?done=killed"));
    shows(&get(&rig, &run).await, &["cancelled", "enough", ">Run it again<"]);
    let resumed = ask(&rig, Method::POST, "/tasks/hello/resume", "").await;
    assert_eq!(resumed.header("location"), "/tasks/hello?done=resumed");
    let again = ask(&rig, Method::POST, &format!("{run}/rerun?times=utc"), "").await;
    assert!(again.header("location").ends_with("?done=started&times=utc"), "{}", again.header("location"));

    let gone = ask(&rig, Method::POST, "/tasks/nothing/start", "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    shows(&gone, &["There is no such thing", "there is no task `nothing`"]);
}

#[tokio::test]
async fn forms_of_other_sites_are_refused_and_change_nothing() {
    let rig = Rig::new();
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let request = Request::post("/tasks/hello/pause").header("host", "localhost:7070").header(name, value);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(send(&rig, request.body(Body::empty()).unwrap()).await.status, StatusCode::FORBIDDEN, "{value}");
    }
    let request = Request::post("/tasks/hello/pause").header("host", "localhost:7070");
    let own = request.header("origin", "http://localhost:7070").header("sec-fetch-site", "same-origin");
    let own = own.header("content-type", "application/x-www-form-urlencoded");

    assert!(!get(&rig, "/tasks/hello").await.text.contains(">Resume<"));
    assert_eq!(send(&rig, own.body(Body::empty()).unwrap()).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn colours_are_kept_in_a_cookie_and_lead_back_to_this_host() {
    let rig = Rig::new();

    let chosen = ask(&rig, Method::POST, "/theme", "theme=dark&back=%2Fruns%3Fstate%3Dfailed").await;
    assert_eq!(chosen.header("location"), "/runs?state=failed");
    assert!(chosen.header("set-cookie").starts_with("sexton-theme=dark; Path=/;"));
    let foreign = ask(&rig, Method::POST, "/theme", "theme=%0d%0a&back=%2F%2Fevil.example").await;
    assert_eq!(foreign.header("location"), "/");
    assert!(foreign.header("set-cookie").starts_with("sexton-theme=auto;"));

    let request = Request::get("/").header("host", "localhost:7070").header("cookie", "a=b; sexton-theme=dark");
    shows(&send(&rig, request.body(Body::empty()).unwrap()).await, &["data-theme=\"dark\""]);
}

#[tokio::test]
async fn pages_are_about_the_tenant_that_the_address_names() {
    let rig = Rig::new();

    let page = get(&rig, "/tasks?tenant=acme").await;
    shows(&page, &["No tasks yet", "href=\"/runs?tenant=acme\"", "name=\"tenant\" value=\"acme\""]);
    assert_eq!(get(&rig, "/tasks/hello?tenant=acme").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&rig, "/?tenant=nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_stylesheet_and_the_module_are_kept_for_good_under_their_digests() {
    let rig = Rig::new();
    let page = get(&rig, "/").await;

    for (before, kind) in [("rel=\"stylesheet\" href=\"", "text/css"), ("type=\"module\" src=\"", "text/javascript")] {
        let address = page.text.split(before).nth(1).unwrap().split('"').next().unwrap();
        let asset = get(&rig, address).await;
        assert_eq!((asset.status, asset.header("content-type")), (StatusCode::OK, &*format!("{kind}; charset=utf-8")));
        assert!(asset.header("cache-control").contains("immutable"));
        assert!(!asset.text.is_empty());
    }
    assert_eq!(get(&rig, "/assets/sexton-0000000000000000.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_schedule_is_explained_or_its_mistake_is_named() {
    let rig = Rig::new();

    let found = get(&rig, "/explain?schedule=30+2+*+*+mon&zone=Europe%2FBerlin").await;
    shows(&found, &["at 02:30 every Monday", "Europe/Berlin", "<i>CET</i>"]);
    let wrong = get(&rig, "/explain?schedule=61+*+*+*+*").await;
    assert_eq!(wrong.status, StatusCode::OK);
    shows(&wrong, &["id=\"wrong\""]);
    shows(&get(&rig, "/explain").await, &["Write a schedule above"]);
}
