//! Many at once: whatever is raced, it happens once.

use std::rc::Rc;

use actix_web::http::{Method, header};
use actix_web::rt;
use actix_web::test::TestRequest;
use countersign::actions::members::{self, NewMember};
use countersign::domain::member::Role;
use countersign::web::passwords::Passwords;
use zeroize::Zeroizing;

use crate::support::{Browser, DEMO_ID, PASSWORD, Page, TestApp, email};

/// Sends requests without waiting for one another; the answers come in the same order.
pub(crate) async fn at_once(app: &Rc<TestApp>, requests: Vec<TestRequest>) -> Vec<Page> {
    let send = |request: TestRequest| {
        let app = Rc::clone(app);
        rt::spawn(async move { app.answer(request.to_request()).await })
    };
    let tasks: Vec<_> = requests.into_iter().map(send).collect();
    let mut pages = Vec::new();
    for task in tasks {
        pages.push(task.await.unwrap());
    }
    pages
}

/// How many pages have this status; fails the test if one has another than this or `rest`.
#[track_caller]
fn count(pages: &[Page], status: u16, rest: u16) -> usize {
    for page in pages {
        let found = page.status.as_u16();
        assert!(found == status || found == rest, "{found}: {}", page.text());
    }
    pages.iter().filter(|page| page.status.as_u16() == status).count()
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn approve(checker: &Browser<'_>, request: &str) -> TestRequest {
    checker.form(&format!("{request}/approve"), &[("version", "1"), ("comment", "")])
}

/// Signed-in checkers that nobody else is.
async fn checkers(app: &TestApp, n: usize) -> Vec<Browser<'_>> {
    let password = Zeroizing::new(PASSWORD.to_owned());
    let hash = Passwords::for_tests().unwrap().hash(password).await.unwrap();
    let mut browsers = Vec::new();
    for i in 0..n {
        let new = NewMember {
            organisation_id: app.demo.clone(),
            email: email(&format!("racer{i}")).parse().unwrap(),
            name: format!("Racer {i}"),
            roles: [Role::Checker].into_iter().collect(),
        };
        let hash = hash.clone();
        app.db.write(move |tx| members::add_active(tx, &new, &hash)).await.unwrap();
        browsers.push(app.sign_in(&format!("racer{i}")).await);
    }
    browsers
}

#[actix_web::test]
async fn of_twenty_approvals_at_once_one_counts() {
    let app = Rc::new(TestApp::start().await);
    let checkers = checkers(&app, 20).await;
    let request = app.sign_in("maker").await.ask_for_key("Raced").await;
    app.work().await;
    let pages = at_once(&app, checkers.iter().map(|c| approve(c, &request)).collect()).await;
    assert_eq!(count(&pages, 303, 409), 1);
    assert_eq!(app.number("SELECT count(*) FROM decisions"), 1);
    assert_eq!(app.number("SELECT count(*) FROM keys"), 1);
    assert_eq!(app.audit("request.approved").await.len(), 1);
    let mails: Vec<_> = app.work().await.into_iter().map(|mail| mail.to).collect();
    assert_eq!(mails, [email("maker")]);
}

#[actix_web::test]
async fn a_request_that_is_approved_rejected_and_withdrawn_at_once_ends_in_one_way() {
    let app = Rc::new(TestApp::start().await);
    let mut maker = app.sign_in("maker").await;
    let (first, second) = (app.sign_in("checker").await, app.sign_in("checker2").await);
    for round in 0..30 {
        let request = maker.ask_for_key("Raced").await;
        let mut forms = vec![
            ("approved", approve(&first, &request)),
            (
                "rejected",
                second.form(&format!("{request}/reject"), &[("version", "1"), ("reason", "No")]),
            ),
            ("withdrawn", maker.form(&format!("{request}/withdraw"), &[])),
        ];
        forms.rotate_left(round % 3);
        let (words, forms): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
        let pages = at_once(&app, forms).await;
        assert_eq!(count(&pages, 303, 409), 1);
        let winner = words[pages.iter().position(|page| page.status == 303).unwrap()];
        let row = format!("FROM requests WHERE id = '{}'", id(&request));
        assert_eq!(app.number(&format!("SELECT count(*) {row} AND state = '{winner}'")), 1);
        let about =
            |table| format!("SELECT count(*) FROM {table} WHERE request_id = '{}'", id(&request));
        assert_eq!(app.number(&about("decisions")), i64::from(winner != "withdrawn"));
        assert_eq!(app.number(&about("keys")), i64::from(winner == "approved"));
    }
}

#[actix_web::test]
async fn two_approvals_that_are_both_needed_and_come_at_once_both_count() {
    let app = Rc::new(TestApp::start().await);
    app.sql("UPDATE organisations SET approvals_needed = 2");
    let mut maker = app.sign_in("maker").await;
    let checkers = [app.sign_in("checker").await, app.sign_in("checker2").await];
    for round in 1..=10 {
        let request = maker.ask_for_key("Raced").await;
        app.work().await;
        let pages = at_once(&app, checkers.iter().map(|c| approve(c, &request)).collect()).await;
        assert_eq!(count(&pages, 303, 409), 2);
        let row = format!("FROM requests WHERE id = '{}' AND state = 'approved'", id(&request));
        assert_eq!(app.number(&format!("SELECT approvals {row}")), 2);
        assert_eq!(app.number("SELECT count(*) FROM decisions"), 2 * round);
        assert_eq!(app.number("SELECT count(*) FROM keys"), round);
        assert_eq!(app.work().await.len(), 1, "one mail, to the maker");
    }
}

#[actix_web::test]
async fn one_person_who_approves_twice_at_once_counts_once() {
    let app = Rc::new(TestApp::start().await);
    app.sql("UPDATE organisations SET approvals_needed = 2");
    let request = app.sign_in("maker").await.ask_for_key("Raced").await;
    let (here, there) = (app.sign_in("checker").await, app.sign_in("checker").await);
    let forms = [&here, &there, &here, &there].map(|browser| approve(browser, &request));
    assert_eq!(count(&at_once(&app, forms.into()).await, 303, 409), 1);
    assert_eq!(app.number("SELECT approvals FROM requests WHERE state = 'pending'"), 1);
    assert_eq!(app.number("SELECT count(*) FROM decisions"), 1);
    assert_eq!(app.number("SELECT count(*) FROM keys"), 0);
}

#[actix_web::test]
async fn of_twenty_reveals_at_once_one_secret_opens_the_key() {
    let app = Rc::new(TestApp::start().await);
    let (key, maker) = approved(&app).await;
    let reveal = || maker.form(&format!("{key}/reveal"), &[]);
    let pages = at_once(&app, (0..20).map(|_| reveal()).collect()).await;
    assert!(count(&pages, 200, 409) >= 1);
    let mut good = 0;
    for secret in pages.iter().filter_map(Page::secret) {
        good += usize::from(app.api(&secret).balance().await.status == 200);
    }
    assert_eq!(good, 1);
    assert_eq!(app.number("SELECT count(*) FROM secrets WHERE ended_at IS NULL"), 1);
    assert!(pages.iter().all(|page| page.status == 200 || page.secret().is_none()));
}

#[actix_web::test]
async fn a_reveal_that_races_the_first_use_leaves_one_good_secret() {
    let app = Rc::new(TestApp::start().await);
    for round in 0..20 {
        let (key, mut maker) = approved(&app).await;
        let old = maker.reveal(&key).await;
        let mut requests = vec![balance(&maker, &old), maker.form(&format!("{key}/reveal"), &[])];
        requests.rotate_left(round % 2);
        let mut pages = at_once(&app, requests).await;
        pages.rotate_left(round % 2);
        let old_again = app.api(&old).balance().await.status;
        assert_eq!(old_again, pages[0].status, "the first use and the next one agree");
        match (pages[0].status.as_u16(), pages[1].status.as_u16()) {
            (200, 409) => assert_eq!(pages[1].secret(), None),
            (401, 200) => {
                let new = pages[1].secret().unwrap();
                app.api(&new).balance().await.is(200);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The first use is written down, but not yet committed, when the reveal looks.
#[actix_web::test]
async fn a_first_use_that_commits_while_a_reveal_waits_refuses_the_reveal() {
    let app = Rc::new(TestApp::start().await);
    let (key, mut maker) = approved(&app).await;
    let old = maker.reveal(&key).await;
    let mut raw = app.raw();
    raw.run(if app.database.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" }).unwrap();
    raw.run("UPDATE secrets SET first_used_at = minted_at").unwrap();
    let (form, answering) = (maker.form(&format!("{key}/reveal"), &[]), Rc::clone(&app));
    let reveal = rt::spawn(async move { answering.answer(form.to_request()).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // On SQLite the reveal cannot even begin before the commit.
    while app.database.is_postgres() && app.number(waiting) == 0 && !reveal.is_finished() {
        tokio::task::yield_now().await;
    }
    raw.run("COMMIT").unwrap();
    let page = reveal.await.unwrap().is(409);
    assert_eq!(page.secret(), None);
    assert_eq!(app.number("SELECT count(*) FROM secrets WHERE ended_at IS NULL"), 1);
    app.api(&old).balance().await.is(200);
}

#[actix_web::test]
async fn a_form_that_is_sent_twice_does_its_work_once() {
    let app = Rc::new(TestApp::start().await);
    let (key, mut maker) = approved(&app).await;
    maker.reveal(&key).await;
    app.work().await;
    let confirm = || maker.form(&format!("{key}/confirm"), &[]);
    assert_eq!(count(&at_once(&app, vec![confirm(), confirm()]).await, 303, 409), 1);
    let fields = [("reason", "Lost"), ("confirm_label", "Raced")];
    let revoke = || maker.form(&format!("{key}/revoke"), &fields);
    assert_eq!(count(&at_once(&app, vec![revoke(), revoke(), revoke()]).await, 303, 409), 1);
    assert_eq!(app.audit("secret.confirmed").await.len(), 1);
    assert_eq!(app.audit("key.revoked").await.len(), 1);
    assert_eq!(app.work().await.len(), 1, "one mail of the end");
}

#[actix_web::test]
async fn of_fifty_wrong_passwords_at_once_ten_are_looked_at() {
    for _ in 0..3 {
        let app = Rc::new(TestApp::start().await);
        let mut visitor = app.visitor();
        visitor.get("/login").await;
        let fields = [("email", "checker@demo.example"), ("password", "a wrong one")];
        let pages = at_once(&app, (0..50).map(|_| visitor.form("/login", &fields)).collect()).await;
        let refused = pages.iter().filter(|page| page.status == 429).count();
        let counted = |subject| {
            app.number(&format!(
                "SELECT failures FROM sign_in_throttle WHERE subject = '{subject}'"
            ))
        };
        assert_eq!(counted("account:checker@demo.example"), 10);
        assert_eq!(counted("address:203.0.113.10"), 10);
        assert_eq!(refused, 40);
    }
}

/// A call with a key, from the same place.
fn balance(from: &Browser<'_>, secret: &str) -> TestRequest {
    let path = format!("/api/v1/distributors/{DEMO_ID}/balance");
    let request = from.request(Method::GET, &path);
    request.insert_header((header::AUTHORIZATION, format!("Bearer {secret}")))
}

/// An approved key, and its maker.
async fn approved(app: &TestApp) -> (String, Browser<'_>) {
    let mut maker = app.sign_in("maker").await;
    let request = maker.ask_for_key("Raced").await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    (app.key_of(&request).await, maker)
}
