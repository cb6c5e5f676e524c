//! Daily volume by the calendar of the organisation, whatever the clock does.

use chrono::{DateTime, TimeDelta, Utc};
use countersign::actions::members::{self, NewMember};
use countersign::actions::operations::{Wish, make_all};
use countersign::actions::organisations::{self, NewOrganisation};
use countersign::actions::wallets;
use countersign::domain::id::{KeyId, OrganisationId};
use countersign::domain::member::{Origin, Role};
use countersign::domain::movement::{Movement, OperationKind, Party};
use countersign::store;
use countersign::web::passwords::Passwords;
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::api::{OPERATES, RICH};
use crate::support::{Api, PASSWORD, TestApp};

const DAILY: [(&str, &str); 3] =
    [OPERATES, ("max_daily_volume", "100.00"), ("expires_in_days", "900")];

/// Moves the clock to a moment.
fn set(app: &TestApp, moment: &str) {
    let moment: DateTime<Utc> = moment.parse().unwrap();
    app.clock.advance(moment - app.clock.now());
}

/// An organisation in another time zone and currency, with money, a customer and a key.
async fn abroad(app: &TestApp, zone: &str, currency: &'static str) -> (OrganisationId, String) {
    let new = NewOrganisation {
        id: None,
        name: format!("Abroad {zone}"),
        currency: currency.to_owned(),
        short_code: "777".to_owned(),
        time_zone: zone.to_owned(),
    };
    let password = Zeroizing::new(PASSWORD.to_owned());
    let hash = Passwords::for_tests().unwrap().hash(password).await.unwrap();
    let made = app.db.write(move |tx| {
        let id = organisations::create(tx, &new)?;
        let currency = store::organisations::get(tx.conn, &id)?.currency;
        wallets::fund_organisation(tx, &id, "1000000")?;
        wallets::open_for_person(tx, "+49 1511234567", "Customer", currency)?;
        for (who, role) in [("maker", Role::Maker), ("checker", Role::Checker)] {
            let member = NewMember {
                organisation_id: id.clone(),
                email: format!("{who}@abroad.example").parse().unwrap(),
                name: who.to_owned(),
                roles: [role].into_iter().collect(),
            };
            members::add_active(tx, &member, &hash)?;
        }
        Ok(id)
    });
    let id = made.await.unwrap();
    let mut maker = app.sign_in("maker@abroad.example").await;
    let daily = [OPERATES, ("max_daily_volume", "100"), ("expires_in_days", "900")];
    let request = maker.ask_with("Abroad", &daily).await;
    app.sign_in("checker@abroad.example").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    (id, maker.reveal(&key).await)
}

/// Whether a cash-in of this amount is accepted; fails the test if anything but the volume refuses it.
async fn accepted(client: &Api<'_>, owner: &OrganisationId, phone: &str, amount: &str) -> bool {
    let body = json!({ "operationType": "cash-in", "amount": amount, "phoneTo": phone });
    let page = client.post(&format!("/api/v1/distributors/{owner}/operations"), &body).await;
    if page.status != 200 {
        page.clone().refused(403, "daily_volume_exceeded");
    }
    page.status == 200
}

// Row 31
#[actix_web::test]
async fn a_day_begins_at_midnight_of_the_organisation() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Lagos", &DAILY).await;
    let client = app.api(&secret);
    // Lagos is an hour ahead of UTC, all year.
    set(&app, "2026-03-02T22:59:59.999999Z");
    client.cash_in("100.00").await.operation();
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    set(&app, "2026-03-02T23:00:00Z");
    client.cash_in("60.00").await.operation();
    set(&app, "2026-03-03T00:00:00Z");
    client.cash_in("40.01").await.refused(403, "daily_volume_exceeded");
    set(&app, "2026-03-03T22:59:59Z");
    client.cash_in("40.00").await.operation();
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    set(&app, "2026-03-03T23:00:00Z");
    client.cash_in("100.00").await.operation();
    assert_eq!(app.number("SELECT count(*) FROM key_volumes WHERE used = 10000"), 3);
}

// A day of 23 hours and one of 25 are days.
#[actix_web::test]
async fn days_on_which_clocks_are_changed_are_days_too() {
    let app = TestApp::with_wallets().await;
    let (owner, secret) = abroad(&app, "Europe/Berlin", "EUR").await;
    let client = app.api(&secret);
    let days = [
        // From the hour before to the hour after: 28, 29 and 30 March, then 24, 25 and 26 October.
        (
            "2026-03-28T22:59:59Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T21:59:59Z",
            "2026-03-29T22:00:00Z",
        ),
        (
            "2026-10-24T21:59:59Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T22:59:59Z",
            "2026-10-25T23:00:00Z",
        ),
    ];
    for (before, first, last, after) in days {
        for moment in [before, first] {
            set(&app, moment);
            assert!(accepted(&client, &owner, "+491511234567", "60").await, "{moment}");
            assert!(!accepted(&client, &owner, "+491511234567", "40.01").await, "{moment}");
        }
        for hours in 1..23 {
            set(&app, first);
            app.clock.advance(TimeDelta::hours(hours) - TimeDelta::seconds(1));
            assert!(
                !accepted(&client, &owner, "+491511234567", "40.01").await,
                "{first} + {hours} h"
            );
        }
        set(&app, last);
        assert!(!accepted(&client, &owner, "+491511234567", "40.01").await, "{last}");
        assert!(accepted(&client, &owner, "+491511234567", "40").await, "{last}");
        set(&app, after);
        assert!(accepted(&client, &owner, "+491511234567", "100").await, "{after}");
    }
}

// Zones at both ends of the world, and one of 45 minutes.
#[actix_web::test]
async fn each_time_zone_has_its_own_midnight() {
    for (zone, midnight) in [
        ("Pacific/Kiritimati", "2026-03-03T10:00:00Z"),
        ("Pacific/Pago_Pago", "2026-03-03T11:00:00Z"),
        ("Asia/Kathmandu", "2026-03-03T18:15:00Z"),
        ("UTC", "2026-03-03T00:00:00Z"),
        ("America/St_Johns", "2026-03-03T03:30:00Z"),
    ] {
        let app = TestApp::start().await;
        let (owner, secret) = abroad(&app, zone, "JPY").await;
        let client = app.api(&secret);
        set(&app, midnight);
        app.clock.advance(-TimeDelta::microseconds(1));
        assert!(accepted(&client, &owner, "+49 1511234567", "100").await, "{zone}");
        assert!(!accepted(&client, &owner, "+49 1511234567", "1").await, "{zone}");
        set(&app, midnight);
        assert!(accepted(&client, &owner, "+49 1511234567", "100").await, "{zone}");
        assert!(!accepted(&client, &owner, "+49 1511234567", "1").await, "{zone}");
    }
}

// H8 of the security research: a clock that steps back opens no day a second time.
#[actix_web::test]
async fn a_clock_that_steps_back_gives_no_volume_back() {
    for (start, steps) in [
        (
            "2026-03-10T12:00:00Z",
            [-TimeDelta::hours(25), TimeDelta::hours(2), -TimeDelta::seconds(1)],
        ),
        // Half an hour after midnight of Lagos, 25 hours back is the day before yesterday.
        (
            "2026-03-09T23:30:00Z",
            [-TimeDelta::hours(25), TimeDelta::minutes(45), TimeDelta::hours(24)],
        ),
        (
            "2026-03-09T23:00:00Z",
            [-TimeDelta::microseconds(1), -TimeDelta::hours(1), -TimeDelta::hours(23)],
        ),
    ] {
        let app = TestApp::with_wallets().await;
        let (_, secret) = app.live_key("Stepped", &DAILY).await;
        let client = app.api(&secret);
        set(&app, start);
        client.cash_in("100.00").await.operation();
        for step in steps {
            app.clock.advance(step);
            let page = client.cash_in("0.01").await;
            assert_eq!(page.code(), "daily_volume_exceeded", "{start} at {}", app.clock.now());
        }
        assert_eq!(app.used(), 10_000);
        // And nobody is locked out: the next real day is a new one.
        set(&app, start);
        app.clock.advance(TimeDelta::days(1));
        client.cash_in("100.00").await.operation();
    }
}

// H8: a clock that was ahead for a while neither gives volume away nor locks a key out.
#[actix_web::test]
async fn a_clock_that_was_a_day_ahead_locks_nobody_out_for_good() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Ahead", &DAILY).await;
    let client = app.api(&secret);
    set(&app, "2026-03-10T12:00:00Z");
    client.cash_in("30.00").await.operation();
    app.clock.advance(TimeDelta::hours(25));
    client.cash_in("60.00").await.operation();
    app.clock.advance(-TimeDelta::hours(25));
    // What was counted on the later day counts until that day is over.
    client.cash_in("40.01").await.refused(403, "daily_volume_exceeded");
    client.cash_in("40.00").await.operation();
    set(&app, "2026-03-12T12:00:00Z");
    client.cash_in("100.00").await.operation();
    // Far ahead, and back: that day is far away, and in nobody's way.
    app.clock.advance(TimeDelta::days(300));
    client.cash_in("100.00").await.operation();
    set(&app, "2026-03-13T12:00:00Z");
    client.cash_in("100.00").await.operation();
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
}

// A day that is too far ahead to count does not hide one that does.
#[actix_web::test]
async fn a_clock_that_was_ahead_twice_gives_no_volume_away() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Twice", &DAILY).await;
    let client = app.api(&secret);
    for ahead in ["2026-03-11T12:00:00Z", "2026-03-13T12:00:00Z"] {
        set(&app, ahead);
        client.cash_in("100.00").await.operation();
    }
    set(&app, "2026-03-10T12:00:00Z");
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    assert_eq!(app.used(), 20_000);
}

#[actix_web::test]
async fn a_rejection_gives_back_to_the_day_it_was_counted_on() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Back", &DAILY).await;
    let client = app.api(&secret);
    set(&app, "2026-03-10T12:00:00Z");
    let first = client.cash_in("100.00").await.operation();
    set(&app, "2026-03-11T12:00:00Z");
    let second = client.cash_in("70.00").await.operation();
    app.reject_operation(&first).await;
    client.cash_in("30.01").await.refused(403, "daily_volume_exceeded");
    client.cash_in("30.00").await.operation();
    app.sign_in("maker").await.reject(&format!("/requests/{second}"), "x").await.is(403);
    app.reject_operation(&second).await;
    client.cash_in("70.00").await.operation();
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    // Nobody decides within two weeks: then it is rejected, and counts for nothing.
    set(&app, "2026-03-26T12:00:00Z");
    app.work().await;
    assert_eq!(app.used(), 0);
    assert_eq!(app.number("SELECT count(*) FROM operations WHERE status = 'rejected'"), 4);
    assert_eq!(
        (app.own_balance(), app.number("SELECT sum(balance) FROM wallets")),
        (5_000_000, 7_000_000)
    );
}

/// A cash-in of one minor unit through each of these keys, in one transaction.
async fn spend_at_once<const N: usize>(app: &TestApp, keys: [&KeyId; N]) {
    let wish = |key: &&KeyId| Wish {
        key_id: (*key).clone(),
        movement: Movement {
            kind: OperationKind::CashIn,
            amount: 1,
            currency: "NGN".parse().unwrap(),
            party: Party::Phone(RICH.parse().unwrap()),
            fulfillment_id: None,
            memo: None,
        },
        attempt: None,
        origin: Origin::default(),
    };
    let wishes: Vec<_> = keys.iter().map(wish).collect();
    let answers = app.db.write(move |tx| make_all(tx, &wishes)).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

// Some keys have begun their day and some have not: locks are taken in one order all the same.
#[actix_web::test]
async fn transactions_that_begin_a_day_for_the_same_keys_never_wait_for_each_other_for_good() {
    let app = TestApp::with_wallets().await;
    let mut keys = Vec::new();
    for label in ["One", "Two", "Three"] {
        let (path, _) = app.live_key(label, &DAILY).await;
        keys.push(path.rsplit('/').next().unwrap().parse::<KeyId>().unwrap());
    }
    keys.sort();
    let [one, two, three] = &keys[..] else { panic!("three keys") };
    for _ in 0..40 {
        app.clock.advance(TimeDelta::days(1));
        tokio::join!(
            spend_at_once(&app, [two]),
            spend_at_once(&app, [three, two]),
            spend_at_once(&app, [one, two, three]),
            spend_at_once(&app, [three, one]),
            spend_at_once(&app, [two, one]),
        );
    }
    assert_eq!(app.used(), 40 * 10);
}
