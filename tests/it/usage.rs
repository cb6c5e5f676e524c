//! Usage of keys: what is counted, what is shown of it, and who hears of unknown addresses.

mod journal;
mod lasting;

use actix_web::http::header;
use actix_web::test::TestRequest;
use chrono::{DateTime, TimeDelta, Utc};
use countersign::domain::id::KeyId;
use countersign::domain::usage::{Count, LastUse, Outcome, Seen, Taken, hour_of};
use countersign::mail::Message;
use countersign::store;

use crate::support::{DEMO_ID, Page, TestApp};

const READS: &[(&str, &str)] = &[("permissions", "read_balance")];
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

fn balance() -> String {
    format!("/api/v1/distributors/{DEMO_ID}/balance")
}

/// A call from an address by a program.
async fn call(app: &TestApp, secret: &str, (ip, agent): (&str, &str), path: &str) -> Page {
    let request = TestRequest::with_uri(path)
        .peer_addr(std::net::SocketAddr::new(ip.parse().unwrap(), 50_000))
        .insert_header((header::AUTHORIZATION, format!("Bearer {secret}")))
        .insert_header((header::USER_AGENT, agent));
    app.answer(request.to_request()).await
}

fn id_of(key: &str) -> KeyId {
    key.rsplit('/').next().unwrap().parse().unwrap()
}

async fn write(app: &TestApp, key: &str, taken: Taken) -> usize {
    let batch = [(id_of(key), taken)];
    app.db.write(move |tx| store::usage::flush(tx, &batch)).await.unwrap().len()
}

/// One allowed call from each of so many addresses.
fn from_many(now: DateTime<Utc>, addresses: std::ops::Range<u32>) -> Taken {
    let seen = |n: u32| Seen {
        ip: std::net::Ipv4Addr::from(0x0A00_0000 + n).into(),
        first: now,
        last: now,
        calls: 1,
        denied: 0,
    };
    let calls = i64::from(addresses.end - addresses.start);
    Taken {
        counts: vec![count(now, "balance", Outcome::Allowed, calls)],
        last: Some(LastUse { at: now, ip: None, agent: None }),
        addresses: addresses.map(seen).collect(),
    }
}

fn count(at: DateTime<Utc>, endpoint: &str, outcome: Outcome, calls: i64) -> Count {
    Count { hour: hour_of(at), endpoint: endpoint.into(), outcome, calls, amount: 0 }
}

/// Name and count of each share below a heading.
fn shares(page: &Page, heading: &str) -> Vec<String> {
    let found = page.all(".columns > div").into_iter().find(|text| text.starts_with(heading));
    let list = if heading == "By endpoint" { 1 } else { 2 };
    assert!(found.is_some(), "{heading}: {}", page.text());
    page.all(&format!(".columns > div:nth-child({list}) .shares > li"))
}

#[actix_web::test]
async fn the_active_tab_shows_label_permissions_usage_statistics_last_used_and_expiration() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Counter", READS).await;
    app.live_key("Idle", READS).await;
    for _ in 0..120 {
        app.api(&secret).balance().await.is(200);
    }
    app.api(&secret).get(&balance().replace(DEMO_ID, &app.other.to_string())).await.is(403);
    app.work().await;
    app.clock.advance(TimeDelta::minutes(5));
    let mut viewer = app.sign_in("viewer").await;
    let page = viewer.get("/settings/api-keys/active").await.is(200);
    let rows = page.all("tbody tr");
    let row = rows.iter().find(|row| row.contains("Counter")).unwrap();
    for shown in ["Read balance", "121 calls in 24 h, 1 denied", "2 Mar 2027", "09:00 UTC"] {
        assert!(row.contains(shown), "{shown}: {row}");
    }
    let idle = rows.iter().find(|row| row.contains("Idle")).unwrap();
    assert!(idle.contains("never") && !idle.contains("in 24 h"), "{idle}");
    app.clock.advance(TimeDelta::hours(24));
    let mut viewer = app.sign_in("viewer").await;
    let rows = viewer.get("/settings/api-keys/active").await.is(200).all("tbody tr");
    assert!(rows.iter().all(|row| !row.contains("in 24 h")), "{rows:?}");
}

#[actix_web::test]
async fn usage_is_counted_per_key_by_endpoint_status_and_day() {
    let app = TestApp::start().await;
    let (key, secret) = app.live_key("Counted", READS).await;
    let (other, _) = app.live_key("Not this one", READS).await;
    let elsewhere = balance().replace(DEMO_ID, &app.other.to_string());
    for (path, status, times) in
        [(balance(), 200, 3), (elsewhere, 403, 2), ("/api/v1/keys/self".to_owned(), 200, 1)]
    {
        for _ in 0..times {
            app.api(&secret).get(&path).await.is(status);
        }
        app.work().await;
        app.clock.advance(TimeDelta::hours(25));
    }
    let mut maker = app.sign_in("maker").await;
    let page = maker.get(&format!("{key}?range=7d")).await.is(200);
    assert_eq!(page.all(".stats .stat"), ["Allowed 4", "Denied 2"]);
    assert_eq!(shares(&page, "By endpoint"), ["balance 5 (2 denied)", "keys/self 1"]);
    assert_eq!(shares(&page, "Denied by reason"), ["Another distributor 2"]);
    let used: Vec<_> =
        page.all(".rows tbody tr").into_iter().filter(|r| !r.ends_with("0 0")).collect();
    assert_eq!(used[..3], ["Mon 2 Mar, 06:00 3 0", "Tue 3 Mar, 06:00 0 2", "Wed 4 Mar, 06:00 1 0"]);
    assert_eq!(page.all(".chart-plot .chart-allowed").len(), 2);
    assert_eq!(page.all(".chart-plot .chart-denied").len(), 1);
    assert!(page.all("svg desc")[0].starts_with("4 allowed, 2 denied."));
    for (range, allowed, bars) in [("24h", 0, 0), ("7d", 4, 28), ("30d", 4, 30)] {
        let page = maker.get(&format!("{key}?range={range}")).await.is(200);
        assert_eq!(page.all(".stats .stat")[0], format!("Allowed {allowed}"), "{range}");
        assert_eq!(page.all(".chart-slot").len(), bars);
        assert_eq!(
            page.attribute(".segments [aria-current]", "href").unwrap(),
            format!("{key}?range={range}#usage")
        );
    }
    maker.get(&format!("{key}?range=1y")).await.is(400);
    let page = maker.get(&other).await.is(200).says("No calls in the last 24 hours");
    assert_eq!(page.all(".stats .stat"), ["Allowed 0", "Denied 0"]);
}

#[actix_web::test]
async fn last_used_follows_each_accepted_call_with_address_and_program_and_no_refused_one() {
    let app = TestApp::start().await;
    let (key, secret) = app.live_key("Used", READS).await;
    let mut maker = app.sign_in("maker").await;
    let rows = [
        (("203.0.113.7", "curl/8.5.0"), 200, "09:00 UTC from 203.0.113.7 with curl"),
        (("198.51.100.4", FIREFOX), 200, "09:01 UTC from 198.51.100.4 with Firefox"),
        (("192.0.2.1", "okhttp/4.12"), 403, "09:01 UTC from 198.51.100.4 with Firefox"),
    ];
    for (from, status, said) in rows {
        let organisation = if status == 200 { DEMO_ID.to_owned() } else { app.other.to_string() };
        let path = balance().replace(DEMO_ID, &organisation);
        call(&app, &secret, from, &path).await.is(status);
        app.work().await;
        maker.get(&key).await.is(200).says(said);
        app.clock.advance(TimeDelta::minutes(1));
    }
}

#[actix_web::test]
async fn a_first_call_from_an_unknown_address_is_marked_and_mailed_to_maker_and_contact() {
    let app = TestApp::start().await;
    let contact = [("permissions", "read_balance"), ("contact_email", "ops@shop.example")];
    let (key, secret) = app.live_key("Shop", &contact).await;
    app.work().await;
    let told = |mails: Vec<Message>| {
        let about = mails.into_iter().filter(|mail| mail.subject.contains("ddress"));
        let mut all: Vec<_> = about.map(|m| (m.to, m.subject, m.text)).collect();
        all.sort();
        all
    };
    call(&app, &secret, ("203.0.113.7", "curl/8"), &balance()).await.is(200);
    let mails = told(app.work().await);
    let heard: Vec<_> =
        mails.iter().map(|(to, subject, _)| (to.as_str(), subject.as_str())).collect();
    let subject = "[Countersign] New address: Shop";
    assert_eq!(heard, [("maker@demo.example", subject), ("ops@shop.example", subject)]);
    assert!(mails[0].2.contains("From: 203.0.113.7, first on 2 Mar 2026, 09:00 UTC, 1 call"));
    // The same one again is no news, and neither is one within the hour.
    call(&app, &secret, ("203.0.113.7", "curl/8"), &balance()).await.is(200);
    app.clock.advance(TimeDelta::minutes(59));
    let elsewhere = balance().replace(DEMO_ID, &app.other.to_string());
    call(&app, &secret, ("198.51.100.4", "curl/8"), &elsewhere).await.is(403);
    call(&app, &secret, ("2001:db8::7", "curl/8"), &balance()).await.is(200);
    assert_eq!(told(app.work().await), []);
    let page = app.sign_in("maker").await.get(&key).await.is(200);
    let rows = page.all(".rows-stack tbody tr");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.contains("New")), "{rows:?}");
    app.clock.advance(TimeDelta::minutes(1));
    let mails = told(app.work().await);
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].1, "[Countersign] 2 new addresses: Shop");
    assert!(mails[0].2.contains("From: 198.51.100.4") && mails[0].2.contains("1 call, denied"));
    assert!(mails[0].2.contains("From: 2001:db8::7") && !mails[0].2.contains("203.0.113.7"));
    assert!(mails[0].2.contains(&format!("{key}#usage")));
    app.clock.advance(TimeDelta::days(2));
    call(&app, &secret, ("203.0.113.7", "curl/8"), &balance()).await.is(200);
    assert_eq!(told(app.work().await), []);
    let page = app.sign_in("maker").await.get(&key).await.is(200);
    assert!(page.all(".rows-stack .badge").is_empty());
    assert!(page.all(".rows-stack tbody tr")[0].starts_with("203.0.113.7"));
}

#[actix_web::test]
async fn new_addresses_of_many_keys_are_one_mail_to_each_reader() {
    let app = TestApp::start().await;
    let mut secrets = Vec::new();
    for number in 1..=22 {
        let contact = if number == 22 { "ops@shop.example" } else { "" };
        let fields = [("permissions", "read_balance"), ("contact_email", contact)];
        secrets.push(app.live_key(&format!("Till {number:02}"), &fields).await.1);
    }
    app.work().await;
    for secret in &secrets {
        call(&app, secret, ("203.0.113.7", "curl/8"), &balance()).await.is(200);
    }
    call(&app, &secrets[0], ("203.0.113.8", "curl/8"), &balance()).await.is(200);
    let mut mails = app.work().await;
    mails.sort_by(|a, b| a.to.cmp(&b.to));
    let heard: Vec<_> = mails.iter().map(|m| (m.to.as_str(), m.subject.as_str())).collect();
    assert_eq!(
        heard,
        [
            ("maker@demo.example", "[Countersign] New addresses of 22 keys"),
            ("ops@shop.example", "[Countersign] New address: Till 22"),
        ]
    );
    let text = &mails[0].text;
    let keys: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("Key: ")).collect();
    assert_eq!(keys.len(), 22, "{text}");
    assert!(keys[0].starts_with("Till 01, from 203.0.113.") && keys[0].contains("), 203.0.113."));
    assert_eq!(keys[1], "Till 02, from 203.0.113.7 (1 call)");
}

#[actix_web::test]
async fn ten_thousand_new_addresses_are_one_mail_an_hour_and_a_thousand_rows() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Flooded", READS).await;
    app.work().await;
    let now = app.clock.now();
    assert_eq!(write(&app, &key, from_many(now, 0..10_000)).await, 10_000);
    let mails = app.work().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "[Countersign] 10,000 new addresses: Flooded");
    assert_eq!(mails[0].text.matches("From: 10.0.").count(), 20);
    assert!(mails[0].text.contains("And: 9,980 more"), "{}", mails[0].text);
    assert_eq!(app.number("SELECT count(*) FROM key_addresses"), 1_000);
    for minute in 1..=60 {
        app.clock.advance(TimeDelta::minutes(1));
        let from = 10_000 + minute * 100;
        write(&app, &key, from_many(app.clock.now(), from..from + 100)).await;
        assert_eq!(app.work().await.len(), usize::from(minute == 60), "minute {minute}");
    }
    assert_eq!(app.number("SELECT count(*) FROM key_addresses"), 1_000);
    let page = app.sign_in("maker").await.get(&key).await.is(200);
    assert_eq!(page.all(".rows-stack tbody tr").len(), 20);
    page.says("And 980 more");
}

#[actix_web::test]
async fn many_new_addresses_of_many_keys_are_told_of_in_turns_and_none_twice() {
    let app = TestApp::start().await;
    for label in ["A", "B", "C", "D", "E", "F", "G"] {
        let (key, _) = app.live_key(label, READS).await;
        write(&app, &key, from_many(app.clock.now(), 0..900)).await;
    }
    let mails = app.work().await;
    let mut keys: Vec<String> = Vec::new();
    for told in [5, 2] {
        let subject = format!("[Countersign] New addresses of {told} keys");
        let mail = mails.iter().find(|mail| mail.subject == subject).unwrap();
        let facts = mail.text.lines().filter_map(|line| line.trim().strip_prefix("Key: "));
        keys.extend(facts.map(str::to_owned));
    }
    keys.sort();
    let labels: Vec<_> = keys.iter().map(|key| &key[..1]).collect();
    assert_eq!(labels, ["A", "B", "C", "D", "E", "F", "G"], "{keys:?}");
    assert!(keys.iter().all(|key| key.ends_with(", 897 more")));
    assert_eq!(app.work().await.len(), 0);
}

#[actix_web::test]
async fn the_csv_is_what_rfc_4180_says_and_holds_no_formula() {
    let app = TestApp::start().await;
    let fields = [("permissions", "perform_operations")];
    let (key, _) = app.live_key("=HYPERLINK(\"http://x\"), really", &fields).await;
    let now = app.clock.now();
    let moved = Count { amount: 123_456, ..count(now, "operations", Outcome::Allowed, 2) };
    let denied = count(now - TimeDelta::days(2), "balance", Outcome::RateLimited, 7);
    let taken = Taken { counts: vec![moved, denied], ..Taken::default() };
    write(&app, &key, taken).await;
    let mut viewer = app.sign_in("viewer").await;
    let page = viewer.get(&format!("{key}/usage.csv?range=7d")).await.is(200);
    let label = "\"'=HYPERLINK(\"\"http://x\"\"), really\"";
    let expected = format!(
        "key,hour,endpoint,outcome,calls,amount,currency\r\n\
         {label},2026-02-28T09:00:00Z,balance,rate_limited,7,0.00,NGN\r\n\
         {label},2026-03-02T09:00:00Z,operations,allowed,2,1234.56,NGN\r\n"
    );
    assert_eq!(page.body, expected);
    assert!(page.header("content-type").starts_with("text/csv; charset=utf-8"));
    let name = "attachment; filename=\"usage-hyperlink-http-x-really-7d.csv\"";
    assert_eq!(page.header("content-disposition"), name);
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let day = viewer.get(&format!("{key}/usage.csv")).await.is(200);
    assert_eq!(day.body.lines().count(), 2);
    let page = viewer.get(&format!("{key}?range=7d")).await.is(200);
    assert_eq!(page.all(".stats .stat"), ["Allowed 2", "Denied 7", "Moved (NGN) 1,234.56"]);
    assert_eq!(page.attribute("a[download]", "href").unwrap(), format!("{key}/usage.csv?range=7d"));
}
