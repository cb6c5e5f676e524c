//! The calls that are answered before the framework looks for their route are answered as it would.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use countersign::web;
use serde_json::json;

use crate::idempotency::key_over_http;
use crate::support::api::path;
use crate::support::process::Home;
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

/// Everything that comes back on one connection, but for numbers and dates.
fn spoken(address: SocketAddr, text: &str) -> Vec<String> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // The last call ends the connection, if nothing before it does.
    let last = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(format!("{text}{last}").as_bytes()).unwrap();
    let mut heard = Vec::new();
    // A connection that is cut with something unread ends with an error.
    let _ = socket.read_to_end(&mut heard);
    let heard = String::from_utf8(heard).unwrap();
    let told = heard.lines().filter(|line| {
        let line = line.to_lowercase();
        !line.starts_with("x-request-id") && !line.starts_with("date")
    });
    let mut told: Vec<_> = told.map(str::to_owned).collect();
    told.sort();
    told
}

#[test]
fn a_connection_goes_on_alike_before_and_behind_the_front() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let reads = [("permissions", "read_balance")];
    let secret = key_over_http(&home, server.address, "Reads", &reads);
    let call = |line: &str, more: &str| {
        format!("{line}\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n{more}\r\n")
    };
    let (balance, encoded) = (path("balance"), path("balance").replace("distri", "distr%69"));
    let asked = |path: &str| {
        let get = format!("GET {path} HTTP/1.1");
        let chunks = "Transfer-Encoding: chunked\r\n";
        let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
        [
            call(&get, "") + &call(&get, ""),
            call(&get, "Content-Length: 5\r\n") + "hello" + &call(&get, ""),
            call(&get, chunks) + "5\r\nhello\r\n0\r\n\r\n" + &call(&get, ""),
            call(&get, expect) + "hello" + &call(&get, ""),
            call(&format!("GET http://x{path} HTTP/1.1"), "") + &call(&get, ""),
            call(&format!("GET {path} HTTP/1.0"), ""),
        ]
    };
    spoken(server.address, &call(&format!("GET {balance} HTTP/1.1"), ""));
    for (plain, behind) in asked(&balance).iter().zip(asked(&encoded)) {
        let told = spoken(server.address, plain);
        assert!(told.iter().any(|line| line.contains("200 OK")), "{plain}: {told:?}");
        assert_eq!(told, spoken(server.address, &behind), "{plain}");
    }
}
