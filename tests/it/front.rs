//! The calls that are answered before the framework looks for their route are answered as it would.

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use countersign::web;
use serde_json::json;

use crate::support::api::path;
use crate::support::{Page, TestApp};

/// What a client sees of an answer but its number.
type Seen = (StatusCode, Vec<String>, String);
type Make<'a> = Box<dyn Fn() -> TestRequest + 'a>;

/// The answer of the app without its front.
async fn behind(app: &TestApp, request: TestRequest) -> Seen {
    let service = init_service(App::new().configure(web::routes(app.state.clone()))).await;
    let res = call_service(&service, request.to_request()).await;
    let (status, headers) = (res.status(), res.headers().clone());
    let body = to_bytes(res.into_body()).await.unwrap();
    seen(&Page { status, headers, body: String::from_utf8(body.to_vec()).unwrap() })
}

fn seen(page: &Page) -> Seen {
    let headers = page.headers.iter().filter(|(name, _)| *name != "x-request-id");
    let mut lines: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    lines.sort();
    (page.status, lines, page.body.clone())
}

#[actix_web::test]
async fn a_call_is_answered_alike_before_and_behind_the_front() {
    let app = TestApp::start().await;
    let (_, reads) = app.live_key("Reads", &[("permissions", "read_balance")]).await;
    let (_, lists) = app.live_key("Lists", &[("permissions", "read_transactions")]).await;
    let api = |secret: &str, method: Method, path: &str| app.api(secret).request(method, path);
    let balance = path("balance");
    let encoded = balance.replace("distributors", "distribut%6frs");
    let other = balance.replace("36e48800", "00000000");
    let question = json!({ "key": reads, "permission": "read_balance" }).to_string();
    let asks: Vec<(&str, Make<'_>)> = vec![
        ("first use", Box::new(|| api(&reads, Method::GET, &balance))),
        ("balance", Box::new(|| api(&reads, Method::GET, &balance))),
        ("head", Box::new(|| api(&reads, Method::HEAD, &balance))),
        ("another method", Box::new(|| api(&reads, Method::DELETE, &balance))),
        ("a query", Box::new(|| api(&reads, Method::GET, &format!("{balance}?a=b&a=c")))),
        ("a slash more", Box::new(|| api(&reads, Method::GET, &format!("{balance}/")))),
        ("percent signs", Box::new(|| api(&reads, Method::GET, &encoded))),
        ("another distributor", Box::new(|| api(&reads, Method::GET, &other))),
        ("no permission", Box::new(|| api(&lists, Method::GET, &balance))),
        ("no key", Box::new(|| TestRequest::with_uri(&balance).peer_addr(app.api("").peer))),
        (
            "verify",
            Box::new(|| app.api(&reads).json(Method::POST, "/api/v1/verify", question.clone())),
        ),
        ("verify, no JSON", Box::new(|| api(&lists, Method::POST, "/api/v1/verify"))),
        ("verify, GET", Box::new(|| api(&lists, Method::GET, "/api/v1/verify"))),
    ];
    for (what, make) in asks {
        let before = seen(&app.answer(make().to_request()).await);
        assert_eq!(before, behind(&app, make()).await, "{what}");
    }
}

#[actix_web::test]
async fn the_two_answers_of_a_verifying_service_are_alike() {
    let app = TestApp::start().await;
    let verifier =
        app.live_key("Service", &[("api", "countersign"), ("permissions", "verify")]).await.1;
    let (_, reads) = app.live_key("Reads", &[("permissions", "read_balance")]).await;
    for (permission, code) in
        [("read_balance", "valid"), ("perform_operations", "insufficient_permission")]
    {
        let question = json!({ "key": reads, "permission": permission }).to_string();
        let make = || app.api(&verifier).json(Method::POST, "/api/v1/verify", question.clone());
        let before = seen(&app.answer(make().to_request()).await);
        assert!(before.2.contains(&format!("\"code\":\"{code}\"")), "{}", before.2);
        assert_eq!(before, behind(&app, make()).await);
    }
}
