//! The approved limits of a key hold: amounts, days, addresses, expiry and calls, also for many at once.

mod calls;
mod days;

use std::rc::Rc;
use std::sync::Mutex;

use actix_web::http::Method;
use chrono::TimeDelta;

use crate::idempotency::{cash_in_over_http, done_with, key_over_http};
use crate::races::at_once;
use crate::support::TestApp;
use crate::support::api::{OPERATES, cash_in, path};
use crate::support::http;
use crate::support::process::{Home, wait_for};

const MAX: i64 = 1_000;
const DAY: i64 = 10_000;
const LIMITS: [(&str, &str); 3] =
    [OPERATES, ("max_transaction_amount", "10.00"), ("max_daily_volume", "100.00")];

/// Amounts from a tenth of the maximum to the maximum, in an order that mixes them.
fn amount(n: usize) -> i64 {
    let steps = [10, 3, 7, 9, 1, 8, 2, 6, 10, 4, 5];
    i64::from(steps[n % steps.len()]) * MAX / 10
}

fn text(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

// Row 31: 64 clients at once.
#[actix_web::test]
async fn many_clients_at_once_use_the_daily_volume_up_and_never_more() {
    let app = Rc::new(TestApp::with_wallets().await);
    let (_, secret) = app.live_key("Crowd", &LIMITS).await;
    let client = app.api(&secret);
    let calls = (0..64).map(|n| {
        client.json(Method::POST, &path("operations"), cash_in(&text(amount(n))).to_string())
    });
    let pages = at_once(&app, calls.collect()).await;
    let mut accepted = 0;
    for (n, page) in pages.into_iter().enumerate() {
        if page.status == 200 {
            accepted += amount(n);
        } else {
            page.refused(403, "daily_volume_exceeded");
        }
    }
    assert!((DAY - MAX..=DAY).contains(&accepted), "{accepted}");
    assert_eq!(app.used(), accepted);
    // What is left can still be used, to the last hundredth.
    let left = DAY - accepted;
    if left > 0 {
        client.cash_in(&text(left)).await.operation();
    }
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    assert_eq!(app.used(), DAY);
}

// Row 31: the same through several servers, each with a memory of its own; on SQLite there is one.
#[test]
fn servers_share_the_daily_volume_exactly() {
    let home = Home::fresh();
    home.seed_demo();
    let mut servers = vec![home.serve()];
    if home.database.is_postgres() {
        servers.push(home.serve());
    }
    let secret = key_over_http(&home, servers[0].address, "Crowd", &LIMITS);
    for server in &servers {
        wait_for("every node to hear of the key", || {
            let answer = http::call(server.address, &path("balance"), &secret).unwrap();
            (answer.status != 401).then_some(())
        });
    }
    let accepted = Mutex::new(0);
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (accepted, secret, address) =
                (&accepted, &secret, servers[n % servers.len()].address);
            scope.spawn(move || {
                for turn in 0..3 {
                    let amount = amount(n + turn);
                    let answer = cash_in_over_http(address, secret, &text(amount), "").unwrap();
                    match answer.status {
                        200 => *accepted.lock().unwrap() += amount,
                        403 => assert!(answer.body.contains("daily_volume_exceeded"), "{answer:?}"),
                        other => panic!("{other}: {answer:?}"),
                    }
                }
            });
        }
    });
    let accepted = accepted.into_inner().unwrap();
    assert!((DAY - MAX..=DAY).contains(&accepted), "{accepted}");
    assert_eq!(done_with(&home, "Crowd").1, accepted);
}

// Row 30, row 31
#[actix_web::test]
async fn a_limit_is_reached_to_the_hundredth_and_what_is_refused_uses_nothing() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Edges", &LIMITS).await;
    let (_, free) = app.live_key("No limits", &[OPERATES]).await;
    let client = app.api(&secret);
    for amount in ["10.01", "11", "92233720368547758.07"] {
        client.cash_in(amount).await.refused(403, "transaction_limit_exceeded");
    }
    for _ in 0..9 {
        client.cash_in("10.00").await.operation();
    }
    client.cash_in("9.99").await.operation();
    client.cash_in("0.02").await.refused(403, "daily_volume_exceeded");
    assert_eq!(app.used(), 9_999);
    client.cash_in("0.01").await.operation();
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    // Both limits are optional.
    app.api(&free).cash_in("40000.00").await.operation();
    assert_eq!(app.used(), 10_000 + 4_000_000);
}

// Row 30, row 31, row 32, row 33, row 35
#[actix_web::test]
async fn the_form_takes_limits_that_make_sense_and_no_others() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new").await.is(200);
    assert_eq!(form.attribute("input[name=expires_in_days]", "value").unwrap(), "365");
    let usual = [("label", "Limits"), ("environment", "production"), ("api", "wallet"), OPERATES];
    let wrong = [
        ("max_transaction_amount", "-1"),
        ("max_transaction_amount", "0"),
        ("max_transaction_amount", "1e3"),
        ("max_transaction_amount", "ten"),
        ("max_transaction_amount", "1.001"),
        ("max_daily_volume", "-0.01"),
        ("max_daily_volume", "NaN"),
        ("max_daily_volume", "92233720368547758.08"),
        // More in one operation than in a day.
        ("max_transaction_amount", "100.01"),
        ("allowed_ips", "203.0.113.256"),
        ("allowed_ips", "example.com"),
        ("allowed_ips", "203.0.113.0/33"),
        ("allowed_ips", "203.0.113.1, nonsense"),
        ("allowed_ips", "2001:db8::/129"),
        ("expires_in_days", "0"),
        ("expires_in_days", "-1"),
        ("expires_in_days", "3651"),
        ("expires_in_days", "1.5"),
        ("expires_in_days", "soon"),
        ("expires_in_days", ""),
    ];
    for (field, value) in wrong {
        let rest = [("max_daily_volume", "100.00"), ("expires_in_days", "30")];
        let rest = rest.into_iter().filter(|(name, _)| *name != field);
        let fields: Vec<_> = usual.into_iter().chain(rest).chain([(field, value)]).collect();
        let page = maker.submit("/settings/api-keys", &fields).await;
        assert_eq!(page.status, 422, "{field}={value}");
        let kept = page
            .attribute(&format!("[name={field}]"), "value")
            .unwrap_or_else(|| page.body.clone());
        assert!(kept.contains(value), "{field}={value} was lost");
    }
    assert_eq!(app.number("SELECT count(*) FROM requests"), 0);
    let good = [
        OPERATES,
        ("max_transaction_amount", "100,000.00"),
        ("max_daily_volume", "100000"),
        ("allowed_ips", "  203.0.113.7 ,10.0.0.5\n 2001:db8::/32 "),
        ("expires_in_days", "365"),
    ];
    let (key, secret) = app.live_key("Good", &good).await;
    let about = app.api(&secret).at("10.0.0.5:1").about_itself().await.is(200).json();
    assert_eq!(
        about["allowedIPs"],
        serde_json::json!(["10.0.0.5", "203.0.113.7", "2001:db8::/32"])
    );
    assert_eq!(about["limits"]["maxTransactionAmount"], "100000.00");
    assert_eq!(about["limits"]["maxDailyVolume"], "100000.00");
    assert_eq!(about["expiresAt"], "2027-03-02T09:00:00Z");
    let page = app.sign_in("maker").await.get(&key).await.is(200);
    assert!(page.text().contains("2027"), "{}", page.text());
}

// Row 33, row 34
#[actix_web::test]
async fn a_call_from_an_address_that_is_not_listed_is_refused_and_counted() {
    let app = TestApp::start().await;
    let reads = ("permissions", "read_balance");
    let (_, listed) =
        app.live_key("Listed", &[reads, ("allowed_ips", "203.0.113.7, 2001:db8::/64")]).await;
    let (_, any) = app.live_key("Any", &[reads]).await;
    for (peer, status) in [
        ("203.0.113.7:1", 200),
        ("[::ffff:203.0.113.7]:1", 200),
        ("203.0.113.8:1", 403),
        ("[2001:db8::9]:1", 200),
        ("[2001:db8:0:1::9]:1", 403),
        ("127.0.0.1:1", 403),
        ("[::1]:1", 403),
    ] {
        let page = app.api(&listed).at(peer).balance().await;
        if status == 403 {
            page.refused(403, "ip_not_allowed");
        } else {
            page.is(200);
        }
        app.api(&any).at(peer).balance().await.is(200);
    }
    // Nobody here speaks for others.
    let client = app.api(&listed).at("198.51.100.1:1");
    let forged = client
        .request(Method::GET, &path("balance"))
        .insert_header(("x-forwarded-for", "203.0.113.7"));
    client.send(forged).await.refused(403, "ip_not_allowed");
    app.work().await;
    let counted =
        "SELECT coalesce(sum(calls), 0) FROM usage_hours WHERE outcome = 'ip_not_allowed'";
    assert_eq!(app.number(counted), 5);
    assert_eq!(app.number("SELECT denied FROM key_addresses WHERE ip = '198.51.100.1'"), 1);
}

// Row 35, row 36, row 37
#[actix_web::test]
async fn a_key_ends_at_the_very_moment_it_expires() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("A day", &[OPERATES, ("expires_in_days", "1")]).await;
    let (_, year) = app.live_key("A year", &[OPERATES]).await;
    let client = app.api(&secret);
    app.clock.advance(TimeDelta::days(1) - TimeDelta::microseconds(1));
    client.cash_in("1.00").await.operation();
    app.clock.advance(TimeDelta::microseconds(1));
    client.cash_in("1.00").await.refused(401, "");
    client.about_itself().await.refused(401, "");
    app.clock.advance(TimeDelta::days(3_000));
    client.about_itself().await.refused(401, "");
    app.api(&year).about_itself().await.refused(401, "");
    assert_eq!(app.operations(), 1);
}

// A limit that ends mid-way: what was revoked while it waited is refused, never done after.
#[actix_web::test]
async fn an_operation_that_waits_while_its_key_is_revoked_is_refused_or_came_before() {
    for round in 0..5 {
        let app = Rc::new(TestApp::with_wallets().await);
        let (_, secret) = app.live_key("Raced", &[OPERATES]).await;
        let client = app.api(&secret);
        client.about_itself().await.is(200);
        let mut calls: Vec<_> = (0..40)
            .map(|_| client.json(Method::POST, &path("operations"), cash_in("1.00").to_string()))
            .collect();
        calls.insert(7 * round, client.request(Method::POST, "/api/v1/keys/self/revoke"));
        let pages = at_once(&app, calls).await;
        let made =
            pages.iter().filter(|page| page.status == 200 && page.body.contains("op_")).count();
        assert!(pages.iter().all(|page| page.status == 200 || page.status == 401));
        assert_eq!(app.operations(), i64::try_from(made).unwrap());
        // Nothing that the audit log numbers after the revocation was made by the key.
        let revoked = app.audit("key.revoked").await[0].seq;
        let late = app.audit("request.made").await.into_iter().filter(|entry| entry.seq > revoked);
        assert_eq!(late.count(), 0);
        client.cash_in("1.00").await.refused(401, "");
    }
}
