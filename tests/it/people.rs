//! People coming and going: signing in and out, sessions, guessers.

mod invitations;

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::h1;
use actix_web::http::{Method, header};
use actix_web::{App, rt, test};
use chrono::TimeDelta;
use countersign::actions::requests;
use countersign::config::Config;
use countersign::domain::id::RequestId;
use countersign::domain::member::{Actor, Origin};
use countersign::domain::request::Version;
use countersign::site::Site;
use countersign::store::{self, Db};
use countersign::web::passwords::Passwords;
use countersign::web::{self, State};

use crate::support::{Browser, PASSWORD, Page, TestApp, email};

async fn try_to_sign_in(app: &TestApp, who: &str, password: &str) -> Page {
    app.visitor().sign_in(&email(who), password).await
}

/// Fails the test unless this page still asks to sign in.
async fn is_signed_out(person: &mut Browser<'_>) {
    let page = person.get("/requests").await.is(303);
    assert!(page.location().starts_with("/login"), "{}", page.location());
}

fn set(app: &TestApp, who: &str, columns: &str) {
    app.sql(&format!("UPDATE members SET {columns} WHERE email = '{}'", email(who)));
}

#[actix_web::test]
async fn a_session_ends_with_the_sign_out_and_its_cookie_is_dead() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let mut thief = maker.clone();
    maker.get("/").await.is(200).says("NGN");
    let out = maker.submit("/logout", &[]).await.is(303);
    maker.follow(&out).await.is(200).says("You are signed out.");
    assert_eq!(out.header("clear-site-data"), "\"cache\"");
    is_signed_out(&mut maker).await;
    is_signed_out(&mut thief).await;
    let fields = [("label", "Late"), ("permissions", "read_balance")];
    let page = thief.submit("/settings/api-keys", &fields).await.is(303);
    assert_eq!(page.location(), "/login?next=%2Fsettings%2Fapi-keys%2Fnew");
    assert_eq!(app.number("SELECT count(*) FROM requests"), 0);
    assert_eq!(app.number("SELECT count(*) FROM sessions"), 0);
}

#[actix_web::test]
async fn each_sign_in_begins_a_session_of_its_own() {
    let app = TestApp::start().await;
    let mut person = app.visitor();
    person.cookies.insert("countersign".to_owned(), "a".repeat(64));
    person.sign_in(&email("maker"), PASSWORD).await.is(303);
    let first = person.cookies["countersign"].clone();
    assert!(!first.contains("aaaaaaaa"), "an invented id was taken over");
    let mut before = person.clone();
    person.sign_in(&email("checker"), PASSWORD).await.is(303);
    assert_ne!(person.cookies["countersign"], first);
    person.get("/").await.is(200);
    is_signed_out(&mut before).await;
    let stored = app.raw().lines("SELECT member_id AS line FROM sessions");
    assert_eq!(stored.len(), 1, "the old one is gone");
}

#[actix_web::test]
async fn a_session_ends_after_fifteen_idle_minutes() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    app.clock.advance(TimeDelta::minutes(15) - TimeDelta::microseconds(1));
    maker.get("/").await.is(200);
    app.clock.advance(TimeDelta::minutes(15));
    let mut copy = maker.clone();
    is_signed_out(&mut maker).await;
    app.clock.advance(TimeDelta::minutes(-10));
    is_signed_out(&mut copy).await;
}

#[actix_web::test]
async fn a_session_ends_after_twelve_hours_whatever_happens() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    for _ in 0..71 {
        app.clock.advance(TimeDelta::minutes(10));
        maker.get("/").await.is(200);
    }
    app.clock.advance(TimeDelta::minutes(10) - TimeDelta::microseconds(1));
    maker.get("/").await.is(200);
    app.clock.advance(TimeDelta::microseconds(1));
    is_signed_out(&mut maker).await;
}

#[actix_web::test]
async fn a_shut_account_and_a_lost_role_count_from_the_next_request() {
    let app = TestApp::start().await;
    let request = app.sign_in("maker").await.ask_for_key("Waiting").await;
    let mut checker = app.sign_in("checker").await;
    checker.get(&request).await.is(200);
    set(&app, "checker", "is_checker = FALSE, is_viewer = TRUE");
    checker.approve(&request).await.is(403).says("checker role");
    set(&app, "checker", "is_checker = TRUE");
    let mut second = app.sign_in("checker2").await;
    second.get(&request).await.is(200);
    set(&app, "checker2", "state = 'disabled'");
    let fields = [("version", "1"), ("comment", "")];
    let page = second.submit(&format!("{request}/approve"), &fields).await.is(303);
    assert_eq!(page.location(), format!("/login?next={}", request.replace('/', "%2F")));
    is_signed_out(&mut second).await;
    assert_eq!(app.number("SELECT count(*) FROM decisions"), 0);
    checker.approve(&request).await.is(303);
}

/// What the form was let in with no longer holds when its transaction begins.
#[actix_web::test]
async fn a_role_lost_or_an_account_shut_on_the_way_to_the_transaction_counts() {
    let app = TestApp::start().await;
    let request = app.sign_in("maker").await.ask_for_key("Waiting").await;
    let id: RequestId = request.trim_start_matches("/requests/").parse().unwrap();
    for change in ["is_checker = FALSE, is_viewer = TRUE", "is_checker = TRUE, state = 'disabled'"]
    {
        set(&app, "checker", "is_checker = TRUE, state = 'active'");
        let address = email("checker").parse().unwrap();
        let found = app.db.read(move |conn| store::members::find_by_email(conn, &address)).await;
        let me = Actor { member: found.unwrap().unwrap().0, origin: Origin::default() };
        set(&app, "checker", change);
        let (id, before) = (id.clone(), app.dump());
        let vote = app.db.write(move |tx| requests::approve(tx, &me, &id, Version(1), ""));
        assert!(vote.await.is_err(), "{change}");
        before.equals(&app.dump(), change);
    }
}

/// PostgreSQL cannot store a NUL; SQLite can.
#[actix_web::test]
async fn characters_that_a_database_refuses_are_no_fault_of_ours() {
    let app = TestApp::start().await;
    for odd in ["a\0b@demo.example", "\0", "\u{fffd}\u{202e}@demo.example", "' OR 1=1 --"] {
        let page = app.visitor().sign_in(odd, PASSWORD).await;
        assert_eq!(page.status.as_u16(), 422, "{odd:?}: {}", page.text());
    }
    let mut maker = app.sign_in("maker").await;
    for path in ["/requests?kind=%00", "/requests?state=%00", "/settings/api-keys/new?api=%00"] {
        let status = maker.get(path).await.status.as_u16();
        assert!([200, 400, 404].contains(&status), "{path}: {status}");
    }
    let invitation = app.visitor().get("/invitation/%00").await.status.as_u16();
    assert!([404, 422].contains(&invitation), "{invitation}");
}

/// A form that is still arriving while its session is signed out.
#[actix_web::test]
async fn a_request_in_flight_does_not_bring_a_session_back() {
    let app = Rc::new(TestApp::start().await);
    let mut maker = app.sign_in("maker").await;
    for path in ["/settings/api-keys", "/login"] {
        maker.sign_in(&email("maker"), PASSWORD).await.is(303);
        app.clock.advance(TimeDelta::minutes(2));
        let (mut body, payload) = h1::Payload::create(false);
        let form = maker.request(Method::POST, path);
        let mut form = form
            .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
            .to_request();
        *form.payload() = payload.into();
        let answering = Rc::clone(&app);
        let task = rt::spawn(async move { answering.answer(form).await });
        while app.number("SELECT count(*) FROM sessions WHERE seen_at > created_at") == 0 {
            tokio::task::yield_now().await;
        }
        let mut other = maker.clone();
        other.submit("/logout", &[]).await.is(303);
        body.feed_data(format!("csrf={}&label=Late", maker.csrf).into());
        body.feed_eof();
        let page = task.await.unwrap();
        assert!(!page.header("set-cookie").contains("countersign"), "{path}");
        assert_eq!(app.number("SELECT count(*) FROM sessions"), 0, "{path}");
        is_signed_out(&mut maker).await;
    }
}

#[actix_web::test]
async fn ten_wrong_passwords_shut_the_sign_in_and_not_the_live_session() {
    let app = TestApp::start().await;
    let mut live = app.sign_in("checker").await;
    for i in 0..10 {
        let who = if i % 2 == 0 { "checker" } else { " CHECKER@demo.example " };
        try_to_sign_in(&app, who, "a wrong one").await.is(422);
    }
    let page = try_to_sign_in(&app, "checker", PASSWORD).await.is(429);
    assert_eq!(page.header("retry-after"), "1800");
    live.get("/requests").await.is(200);
    app.sign_in("maker").await;
    app.clock.advance(TimeDelta::minutes(30) - TimeDelta::seconds(1));
    let page = try_to_sign_in(&app, "checker", PASSWORD).await.is(429);
    assert_eq!(page.header("retry-after"), "1");
    app.clock.advance(TimeDelta::seconds(1));
    app.sign_in("checker").await;
}

#[actix_web::test]
async fn a_right_password_forgives_the_wrong_ones_before() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        for _ in 0..9 {
            try_to_sign_in(&app, "checker", "a wrong one").await.is(422);
        }
        app.sign_in("checker").await;
    }
}

#[actix_web::test]
async fn wrong_passwords_are_remembered_when_the_server_starts_anew() {
    let app = TestApp::start().await;
    for _ in 0..10 {
        try_to_sign_in(&app, "checker", "a wrong one").await.is(422);
    }
    let config = Config::for_tests();
    let site = Site::load(&config).unwrap();
    let db = Db::open(&app.database.url, app.clock.clone(), site).unwrap();
    let state = State::load(db, &config, Passwords::for_tests().unwrap()).await.unwrap();
    let service = test::init_service(App::new().configure(web::routes(state))).await;
    let mut visitor = app.visitor();
    visitor.get("/login").await;
    for (who, status) in [("checker", 429), ("checker2", 303)] {
        let form = visitor.form("/login", &[("email", &email(who)), ("password", PASSWORD)]);
        let answer = test::call_service(&service, form.to_request()).await;
        assert_eq!(answer.status().as_u16(), status, "{who}");
    }
}

#[actix_web::test]
async fn nobody_learns_why_a_sign_in_failed() {
    let app = TestApp::start().await;
    set(&app, "maker2", "state = 'disabled'");
    set(&app, "viewer", "state = 'invited', password_hash = NULL");
    let mut answers = Vec::new();
    for (who, password) in [
        ("checker", "a wrong one"),
        ("nobody", PASSWORD),
        ("maker2", PASSWORD),
        ("viewer", PASSWORD),
        ("maker", ""),
    ] {
        let mut visitor = app.visitor();
        let page = visitor.sign_in(&email(who), password).await.is(422);
        let body = page.body.replace(&email(who), "").replace(&visitor.csrf, "");
        let headers = page.headers.iter().filter(|(name, _)| *name != "x-request-id");
        let headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        answers.push((body, headers, app.number("SELECT count(*) FROM sessions")));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].0.contains("E-mail and password do not match."));
}

#[actix_web::test]
async fn a_huge_password_is_neither_hashed_nor_counted() {
    let app = TestApp::start().await;
    try_to_sign_in(&app, "checker", &"x".repeat(1024 * 1024)).await.is(413);
    try_to_sign_in(&app, "checker", &"x".repeat(1025)).await.is(422);
    try_to_sign_in(&app, &format!("{}@demo.example", "x".repeat(400)), "x").await.is(422);
    assert_eq!(app.number("SELECT count(*) FROM sign_in_throttle"), 0);
    try_to_sign_in(&app, "checker", &"x".repeat(1024)).await.is(422);
    assert_eq!(app.number("SELECT count(*) FROM sign_in_throttle"), 2);
}

/// With passwords hashed as in earnest.
#[actix_web::test]
async fn a_crowd_at_the_door_is_told_to_come_back_and_does_not_pile_up() {
    let app = TestApp::start().await;
    let mut state = app.state.clone();
    state.passwords = Passwords::new().unwrap();
    let service = test::init_service(App::new().configure(web::routes(state))).await;
    let service = Rc::new(service);
    let mut visitor = app.visitor();
    visitor.get("/login").await;
    let mut tasks = Vec::new();
    let began = Instant::now();
    for i in 0..200 {
        visitor.peer = format!("198.51.100.{i}:1").parse().unwrap();
        let who = format!("nobody{i}@demo.example");
        let form = visitor.form("/login", &[("email", &who), ("password", PASSWORD)]).to_request();
        let service = Rc::clone(&service);
        tasks.push(rt::spawn(async move {
            let status = test::call_service(&*service, form).await.status().as_u16();
            (status, began.elapsed())
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let busy: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).collect();
    assert!(answers.iter().all(|(status, _)| [422, 503].contains(status)), "{answers:?}");
    assert!(busy.len() > 50 && busy.len() < 195, "{} of 200 were sent away", busy.len());
    assert!(busy.iter().all(|(_, after)| *after < Duration::from_secs(10)), "{busy:?}");
}

#[actix_web::test]
async fn sign_in_leads_back_and_never_off_site() {
    let app = TestApp::start().await;
    let mut maker = app.visitor();
    let asked = maker.get("/requests?state=closed&kind=").await.is(303);
    let login = maker.follow(&asked).await.is(200);
    let next = login.attribute("input[name=next]", "value").unwrap();
    assert_eq!(next, "/requests?state=closed&kind=");
    for (next, leads_to) in [
        (next.as_str(), next.as_str()),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\/evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("/\t/evil.example", "/"),
        (" //evil.example", "/"),
        ("@evil.example", "/"),
    ] {
        let mut person = app.visitor();
        let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let shown = person.get(&format!("/login?next={query}")).await.is(200);
        let kept = shown.attribute("input[name=next]", "value").unwrap_or_else(|| "/".to_owned());
        assert_eq!(kept, leads_to, "{next:?}");
        let maker = email("maker");
        let fields = [("email", maker.as_str()), ("password", PASSWORD), ("next", next)];
        let page = person.submit("/login", &fields).await.is(303);
        assert_eq!(page.location(), leads_to, "{next:?}");
    }
}

#[actix_web::test]
async fn a_way_back_with_other_letters_does_not_break_the_sign_in() {
    let app = TestApp::start().await;
    for next in ["/requests?kind=é", "/漢字", "/a b"] {
        let mut person = app.visitor();
        person.get("/login").await.is(200);
        let maker = email("maker");
        let fields = [("email", maker.as_str()), ("password", PASSWORD), ("next", next)];
        let page = person.submit("/login", &fields).await.is(303);
        let location = page.headers.get("location").unwrap();
        assert!(location.to_str().is_ok(), "no address: {location:?}");
        person.get("/").await.is(200);
    }
}
