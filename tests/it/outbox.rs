//! Mail from the request to the mail server and back: who is told what, once, whatever breaks.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use countersign::actions::members::{self, NewMember};
use countersign::config::{Config, Secret};
use countersign::domain::member::Role;
use countersign::mail::{Mailer, Message};
use countersign::store::outbox;
use countersign::worker::Worker;
use scraper::{Html, Selector};

use crate::support::process::{beside, number, run, texts};
use crate::support::smtp::{ReceivedMail, SmtpServer};
use crate::support::{TestApp, email};

const WAITING: &str = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND failed_at IS NULL";

/// A worker that sends over SMTP.
fn worker(app: &TestApp, server: &SmtpServer) -> Worker {
    let config = Config { smtp_url: Some(Secret::new(server.url())), ..Config::for_tests() };
    Worker { mailer: Mailer::from_config(&config).unwrap(), ..app.worker.clone() }
}

fn message_id(mail: &ReceivedMail) -> String {
    let line = mail.data.lines().find_map(|line| line.strip_prefix("Message-ID: "));
    line.expect("every mail has an id").to_owned()
}

fn recipients(mails: &[ReceivedMail]) -> Vec<String> {
    let mut all: Vec<_> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
    all.sort();
    all
}

fn people(who: &[&str]) -> Vec<String> {
    let mut all: Vec<_> = who.iter().map(|who| email(who)).collect();
    all.sort();
    all
}

#[actix_web::test]
async fn a_mail_server_that_is_down_delays_mails_and_nothing_else() {
    let app = TestApp::start().await;
    let (server, mut conn) = (SmtpServer::start(), beside(&app.database));
    let worker = worker(&app, &server);
    server.go_down();
    app.sign_in("maker").await.ask_for_key("While the mail is down").await;
    let attempts = "SELECT CAST(min(attempts) * 100 + max(attempts) AS BIGINT) FROM outbox";
    let mut expected = 0;
    for wait in [15, 30, 60, 120] {
        worker.run_once().await.unwrap();
        expected += 1;
        assert_eq!(number(&mut conn, attempts), expected * 101);
        // Not again before its time.
        app.clock.advance(TimeDelta::seconds(wait) - TimeDelta::microseconds(1));
        worker.run_once().await.unwrap();
        assert_eq!(number(&mut conn, attempts), expected * 101, "tried again too soon");
        app.clock.advance(TimeDelta::microseconds(1));
    }
    server.come_back();
    worker.run_once().await.unwrap();
    let mails = server.received();
    assert_eq!(recipients(&mails), people(&["both", "checker", "checker2"]));
    assert_eq!(number(&mut conn, WAITING), 0);
    let ids: BTreeSet<_> = mails.iter().map(message_id).collect();
    let rows = texts(&mut conn, "SELECT '<' || id || '@localhost>' FROM outbox");
    assert_eq!(ids, rows.into_iter().collect());
    for _ in 0..3 {
        app.clock.advance(TimeDelta::days(1));
        worker.run_once().await.unwrap();
    }
    assert_eq!(server.received().len(), 3, "a mail that was sent is sent once");
}

#[actix_web::test]
async fn a_recipient_that_is_refused_for_good_is_parked_and_the_others_get_theirs() {
    let app = TestApp::start().await;
    let (server, mut conn) = (SmtpServer::start(), beside(&app.database));
    let worker = worker(&app, &server);
    server.reject_recipient("checker@demo.example", "550 no such person <checker@demo.example>");
    app.sign_in("maker").await.ask_for_key("One is gone").await;
    worker.run_once().await.unwrap();
    assert_eq!(recipients(&server.received()), people(&["both", "checker2"]));
    let parked = "SELECT recipient || ' ' || attempts || ' ' || last_error FROM outbox WHERE failed_at IS NOT NULL";
    let parked = texts(&mut conn, parked);
    assert!(parked.len() == 1 && parked[0].starts_with("checker@demo.example 1 "), "{parked:?}");
    assert_eq!(parked[0].matches('@').count(), 1, "the error repeats the address: {parked:?}");
    app.clock.advance(TimeDelta::days(3));
    worker.run_once().await.unwrap();
    assert_eq!(server.received().len(), 2);
    assert_eq!(number(&mut conn, WAITING), 0);
}

#[actix_web::test]
async fn a_recipient_that_is_refused_for_now_is_tried_again() {
    let app = TestApp::start().await;
    let server = SmtpServer::start();
    let worker = worker(&app, &server);
    server.answer_next_rcpt_with("451 come back later");
    app.sign_in("maker").await.ask_for_key("One waits").await;
    worker.run_once().await.unwrap();
    assert_eq!(server.received().len(), 2);
    app.clock.advance(TimeDelta::seconds(15));
    worker.run_once().await.unwrap();
    assert_eq!(recipients(&server.received()), people(&["both", "checker", "checker2"]));
}

#[actix_web::test]
async fn a_worker_that_dies_after_sending_is_made_up_for_with_the_same_message_id() {
    let app = TestApp::start().await;
    let server = SmtpServer::start();
    let worker = worker(&app, &server);
    app.sign_in("maker").await.ask_for_key("The worker dies").await;
    let lease = TimeDelta::minutes(12);
    let claimed = app.db.write(move |tx| outbox::claim(tx, 10, lease)).await.unwrap();
    for claimed in &claimed {
        worker.mailer.send(&worker.from, &claimed.letter).await.unwrap();
    }
    // Killed here, before it could write down that they were sent.
    worker.run_once().await.unwrap();
    assert_eq!(server.received().len(), 3, "taken mails belong to the one that took them");
    app.clock.advance(lease + TimeDelta::seconds(1));
    worker.run_once().await.unwrap();
    let mails = server.received();
    let ids: BTreeSet<_> = mails.iter().map(message_id).collect();
    assert_eq!((mails.len(), ids.len()), (6, 3));
    app.clock.advance(lease + lease);
    worker.run_once().await.unwrap();
    assert_eq!(server.received().len(), 6);
}

#[actix_web::test]
async fn two_workers_send_each_mail_once() {
    let app = TestApp::start().await;
    let server = SmtpServer::start();
    let (one, two) = (worker(&app, &server), worker(&app, &server));
    let mut maker = app.sign_in("maker").await;
    for n in 0..6 {
        maker.ask_for_key(&format!("Key {n}")).await;
    }
    let (one, two) = tokio::join!(one.run_once(), two.run_once());
    assert_eq!(one.unwrap() + two.unwrap(), 18);
    let ids: BTreeSet<_> = server.received().iter().map(message_id).collect();
    assert_eq!((server.received().len(), ids.len()), (18, 18));
}

/// Who got a mail, sorted.
fn told(mails: &[Message]) -> Vec<String> {
    let mut all: Vec<_> = mails.iter().map(|mail| mail.to.clone()).collect();
    all.sort();
    all
}

#[actix_web::test]
async fn a_request_is_told_to_every_active_checker_but_never_to_its_maker() {
    let app = TestApp::start().await;
    app.sign_in("maker").await.ask_for_key("By a maker").await;
    assert_eq!(told(&app.work().await), people(&["both", "checker", "checker2"]));
    app.sign_in("both").await.ask_for_key("By a maker who is a checker").await;
    assert_eq!(told(&app.work().await), people(&["checker", "checker2"]));
    let shut = "UPDATE members SET state = 'disabled' WHERE email = 'checker2@demo.example'";
    run(&mut beside(&app.database), shut);
    app.sign_in("maker").await.ask_for_key("Without the one who left").await;
    assert_eq!(told(&app.work().await), people(&["both", "checker"]));
    app.sign_in("maker@other.example").await.ask_for_key("Elsewhere").await;
    assert_eq!(told(&app.work().await), ["checker@other.example"]);
}

#[actix_web::test]
async fn a_decision_is_told_to_the_maker_and_a_withdrawal_to_nobody() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let mut checker = app.sign_in("checker").await;
    let approved = maker.ask_for_key("Approved one").await;
    let rejected = maker.ask_for_key("Rejected one").await;
    let withdrawn = maker.ask_for_key("Withdrawn one").await;
    app.work().await;
    checker.approve(&approved).await.is(303);
    let mails = app.work().await;
    assert_eq!(told(&mails), people(&["maker"]));
    assert!(mails[0].subject.contains("Approved one"), "{}", mails[0].subject);
    checker.reject(&rejected, "Too wide & <b>too</b> long").await.is(303);
    let mails = app.work().await;
    assert_eq!(told(&mails), people(&["maker"]));
    assert!(mails[0].text.contains("Too wide & <b>too</b> long"), "{}", mails[0].text);
    let html = &mails[0].html;
    assert!(html.contains("Too wide") && !html.contains("<b>too</b>"), "{html}");
    maker.get(&withdrawn).await.is(200);
    maker.submit(&format!("{withdrawn}/withdraw"), &[]).await.is(303);
    assert_eq!(told(&app.work().await), [""; 0]);
}

#[actix_web::test]
async fn what_happens_to_a_key_is_told_to_its_maker_and_its_contact() {
    let app = TestApp::start().await;
    let contacts = [
        ("ops@elsewhere.example", vec!["maker", "ops@elsewhere.example"]),
        ("Maker@Demo.example", vec!["maker"]),
        ("", vec!["maker"]),
    ];
    for (contact, expected) in contacts {
        let label = format!("Contact {contact}");
        let fields = [("permissions", "read_balance"), ("contact_email", contact)];
        let mut maker = app.sign_in("maker").await;
        let request = maker.ask_with(&label, &fields).await;
        app.sign_in("checker").await.approve(&request).await.is(303);
        let key = app.key_of(&request).await;
        app.work().await;
        maker.reveal(&key).await;
        assert_eq!(told(&app.work().await), people(&expected), "revealed, {contact}");
        maker.reveal(&key).await;
        assert_eq!(told(&app.work().await), people(&expected), "revealed again, {contact}");
        let mut admin = app.sign_in("admin").await;
        admin.get(&key).await.is(200);
        let fields = [("reason", "It leaked"), ("confirm_label", label.as_str())];
        admin.submit(&format!("{key}/revoke"), &fields).await.is(303);
        let mails = app.work().await;
        assert_eq!(told(&mails), people(&expected), "revoked, {contact}");
        assert!(mails.iter().all(|mail| mail.text.contains("It leaked")));
    }
}

/// Every address in a mail, wherever it stands.
fn links(mail: &ReceivedMail) -> Vec<String> {
    let html = Html::parse_document(&mail.html());
    let hrefs = Selector::parse("[href], [src], [action]").unwrap();
    let attributes = ["href", "src", "action"];
    let found = html.select(&hrefs).flat_map(|element| attributes.map(|name| element.attr(name)));
    let mut links: Vec<_> = found.flatten().map(str::to_owned).collect();
    assert!(!links.is_empty(), "no link in the HTML part: {}", mail.html());
    let body = mail.body();
    let text: Vec<_> = body.split_whitespace().filter(|word| word.contains("://")).collect();
    assert!(!text.is_empty(), "no link in the text part: {body}");
    links.extend(text.into_iter().map(str::to_owned));
    links
}

#[actix_web::test]
async fn mails_are_marked_readable_twice_lead_home_decide_nothing_and_hold_no_secret() {
    let app = TestApp::start().await;
    let (server, mut conn) = (SmtpServer::start(), beside(&app.database));
    let worker = worker(&app, &server);
    let mut maker = app.sign_in("maker").await;
    let waiting = maker.ask_for_key("Still waits").await;
    let rejected = maker.ask_for_key("Nobody needs it").await;
    app.sign_in("checker").await.reject(&rejected, "Why?").await.is(303);
    let (key, secret) = app.live_key("All mails", &[("permissions", "read_balance")]).await;
    let fields = [("reason", "Over"), ("confirm_label", "All mails")];
    maker.get(&key).await.is(200);
    let new = NewMember {
        organisation_id: app.demo.clone(),
        email: "new@demo.example".parse().unwrap(),
        name: "The new one".to_owned(),
        roles: [Role::Checker].into_iter().collect(),
    };
    let invitation = app.db.write(move |tx| members::invite(tx, &new)).await.unwrap();
    maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
    worker.run_once().await.unwrap();
    let mails = server.received();
    assert_eq!(mails.len(), 3 * 3 + 1 + 1 + 1 + 1 + 1);
    let state = |conn: &mut _| {
        let all = "SELECT id || state FROM requests UNION SELECT id || state FROM keys \
                   UNION SELECT email || state FROM members UNION SELECT id FROM decisions ORDER BY 1";
        texts(conn, all)
    };
    let before = state(&mut conn);
    let mut clickers = [app.visitor(), app.sign_in("checker").await, maker];
    for mail in &mails {
        assert!(mail.subject().starts_with("[Countersign] "), "{}", mail.subject());
        for part in [mail.data.as_str(), &mail.body(), &mail.html()] {
            assert!(!part.contains(&secret) && !part.contains(&secret[4..50]), "a secret: {part}");
        }
        for link in links(mail) {
            let path = link.strip_prefix("http://127.0.0.1:8080").expect(&link);
            for clicker in &mut clickers {
                assert!(clicker.get(path).await.status.as_u16() < 500, "{path}");
            }
        }
        let invites = mail.data.contains(&invitation) || mail.body().contains(&invitation);
        assert_eq!(invites, mail.to == ["new@demo.example"], "{}", mail.subject());
    }
    assert_eq!(state(&mut conn), before, "opening a link decided something");
    clickers[1].get(&waiting).await.is(200).says("Still waits");
}
