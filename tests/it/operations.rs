//! Operations as people see them: asking, deciding, the history, and what a key may do.

mod check;
mod decisions;

use countersign::actions::operations::{self, Wish};
use countersign::actions::wallets;
use countersign::domain::member::Origin;
use countersign::domain::movement::Draft;

use crate::support::{Browser, Page, TestApp};

pub(crate) const FIRST: &str = "+234 8123456781";
pub(crate) const SECOND: &str = "+234 8123456782";

/// An app with two customers, of whom the first holds 20,000.00, and a merchant.
async fn with_wallets() -> TestApp {
    let app = TestApp::start().await;
    app.db
        .write(|tx| {
            let ngn = "NGN".parse().unwrap();
            let first = wallets::open_for_person(tx, FIRST, "End user 1", ngn)?;
            wallets::fund(tx, &first, "20000.00", None)?;
            wallets::open_for_person(tx, SECOND, "End user 2", ngn)?;
            wallets::open_for_merchant(tx, "200000", "ABC Store", ngn).map(drop)
        })
        .await
        .unwrap();
    app
}

/// Asks for an operation in the browser with these fields.
async fn ask(person: &mut Browser<'_>, fields: &[(&str, &str)]) -> Page {
    let form = person.get("/operations/new").await.is(200);
    let attempt = form.attribute("input[name=attempt]", "value").unwrap();
    let mut all = vec![("attempt", attempt.as_str())];
    all.extend(fields);
    person.submit("/operations", &all).await
}

/// A cash-in to the first customer; gives the path of its request.
async fn cash_in(person: &mut Browser<'_>, amount: &str) -> String {
    let fields = [("operation_type", "cash-in"), ("amount", amount), ("phone_to", FIRST)];
    ask(person, &fields).await.is(303).location().to_owned()
}

/// A cash-in that a key asks for; gives the path of its request.
async fn cash_in_by(app: &TestApp, key: &str, amount: &str) -> String {
    let draft = Draft {
        operation_type: "cash-in".to_owned(),
        amount: amount.to_owned(),
        phone_to: Some(FIRST.to_owned()),
        ..Draft::default()
    };
    let wish = Wish {
        key_id: key.rsplit('/').next().unwrap().parse().unwrap(),
        movement: draft.parse("NGN".parse().unwrap()).unwrap(),
        attempt: None,
        origin: Origin::default(),
    };
    let made = app.db.write(move |tx| operations::make_all(tx, &[wish])).await.unwrap();
    format!("/requests/{}", made[0].as_ref().expect("the key may ask for it").id)
}

/// What the distributor and the two customers hold, and the sum of all wallets.
fn balances(app: &TestApp) -> [i64; 4] {
    let of =
        |what: &str| app.number(&format!("SELECT CAST(sum(balance) AS BIGINT) FROM wallets{what}"));
    let phone = |phone: &str| of(&format!(" WHERE phone = '{phone}'"));
    let own = " WHERE name = 'Demo Distributor'";
    [of(own), phone(FIRST), phone(SECOND), of("")]
}

// Row 87
#[actix_web::test]
async fn the_form_keeps_what_was_typed_and_names_every_mistake() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let before = app.dump();
    let fields =
        [("operation_type", "cash-in"), ("amount", "5,00"), ("phone", "0812"), ("memo", "Rent")];
    let page = ask(&mut maker, &fields).await.is(422).says("There are 2 problems");
    let links = page.all("[data-error-summary] a");
    assert_eq!(links.len(), 2, "{links:?}");
    for (field, value) in [("amount", "5,00"), ("phone", "0812"), ("memo", "Rent")] {
        assert_eq!(page.attribute(&format!("#{field}"), "value").as_deref(), Some(value));
    }
    assert!(page.attribute("#amount", "aria-describedby").unwrap().contains("amount-error"));
    let with =
        |kind: &'static str, amount: &'static str, field: &'static str, value: &'static str| {
            [("operation_type", kind), ("amount", amount), (field, value)]
        };
    for (fields, field) in [
        (with("cash-in", "1", "phone_to", "+234 8999999999"), "phone"),
        (with("cash-in", "1", "merchant_to_short_code", "999999"), "merchant_to_short_code"),
        (with("cash-in", "50000.01", "phone_to", FIRST), "amount"),
        (with("cash-out-fulfillment", "20000.01", "phone_from", FIRST), "amount"),
        (
            with("cash-out-fulfillment", "1", "merchant_to_short_code", "200000"),
            "merchant_to_short_code",
        ),
        (with("gift", "1", "phone", FIRST), "operation_type"),
        (with("cash-in", "1", "fee", "1"), "main"),
    ] {
        let page = ask(&mut maker, &fields).await.is(422);
        let link = page.attribute("[data-error-summary] a", "href");
        assert_eq!(link, Some(format!("#{field}")), "{fields:?}: {}", page.text());
    }
    before.equals(&app.dump(), "a form with mistakes");
}

#[actix_web::test]
async fn a_form_sent_twice_asks_once_and_never_for_something_else() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/operations/new").await.is(200);
    let attempt = form.attribute("input[name=attempt]", "value").unwrap();
    let fields = |amount: &'static str| {
        [("operation_type", "cash-in"), ("amount", amount), ("phone", FIRST), ("attempt", &attempt)]
            .map(|(name, value)| (name, value.to_owned()))
    };
    let send = async |maker: &mut Browser<'_>, amount: &'static str| {
        let fields = fields(amount);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        maker.submit("/operations", &fields).await
    };
    let first = send(&mut maker, "5,000.00").await.is(303).location().to_owned();
    let second = send(&mut maker, "5,000.00").await.is(303).location().to_owned();
    assert_eq!(first, second);
    assert_eq!(app.number("SELECT count(*) FROM operations"), 1);
    let other = send(&mut maker, "6,000.00").await.is(422).says("sent before with other values");
    let fresh = other.attribute("input[name=attempt]", "value").unwrap();
    assert_ne!(fresh, attempt, "the form that comes back is a new one");
    assert_eq!(app.number("SELECT count(*) FROM operations"), 1);
    // Somebody else's form may have any name.
    let mut maker2 = app.sign_in("maker2").await;
    let third = send(&mut maker2, "5,000.00").await.is(303).location().to_owned();
    assert_ne!(third, first);
}

#[actix_web::test]
async fn the_same_form_sent_at_the_same_moment_asks_once() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/operations/new").await.is(200);
    let attempt = form.attribute("input[name=attempt]", "value").unwrap();
    let fields =
        [("operation_type", "cash-in"), ("amount", "10"), ("phone", FIRST), ("attempt", &attempt)];
    let mut people: Vec<_> = (0..8).map(|_| maker.clone()).collect();
    let pages = people.iter_mut().map(|person| person.submit("/operations", &fields));
    let pages = futures_of(pages).await;
    let first = pages[0].location().to_owned();
    for page in pages {
        assert_eq!(page.is(303).location(), first);
    }
    assert_eq!(app.number("SELECT count(*) FROM operations"), 1);
}

/// Runs all of them at once.
async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(|one| Some(Box::pin(one))).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (slot, result) in waiting.iter_mut().zip(&mut done) {
            if let Some(one) = slot
                && let std::task::Poll::Ready(value) = one.as_mut().poll(cx)
            {
                *result = Some(value);
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().map(Option::unwrap).collect()
}

/// The row headers, amounts and states of the list at this address.
async fn list(person: &mut Browser<'_>, url: &str) -> Vec<String> {
    let page = person.get(url).await.is(200);
    let amounts = page.all("tbody td.num");
    let states = page.all("tbody .badge");
    amounts.into_iter().zip(states).map(|(amount, state)| format!("{amount} {state}")).collect()
}

// Row 88
#[actix_web::test]
async fn the_history_is_filtered_counted_and_summed() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let mut checker = app.sign_in("checker").await;
    maker.get("/operations").await.is(200).says("No operations yet");
    let done = cash_in(&mut maker, "5,000.00").await;
    checker.approve(&done).await.is(303);
    app.clock.advance(chrono::TimeDelta::seconds(1));
    let no = cash_in(&mut maker, "700").await;
    checker.reject(&no, "Too late").await.is(303);
    // 23:30 UTC is already the next day in Lagos.
    app.clock.advance(chrono::TimeDelta::minutes(14 * 60 + 30));
    let mut maker = app.sign_in("maker").await;
    let out = [
        ("operation_type", "cash-out-fulfillment"),
        ("amount", "250.5"),
        ("phone_from", FIRST),
        ("memo", "Counter THREE"),
        ("cash_out_fulfillment_id", "R-17"),
    ];
    ask(&mut maker, &out).await.is(303);
    app.clock.advance(chrono::TimeDelta::seconds(1));
    let store =
        [("operation_type", "cash-in"), ("amount", "99"), ("merchant_to_short_code", "200000")];
    ask(&mut maker, &store).await.is(303);

    let mut viewer = app.sign_in("viewer").await;
    let page = viewer.get("/operations").await.is(200);
    assert_eq!(
        page.all(".tabs a"),
        ["All 4", "Pending 2", "Completed 1", "Failed 0", "Rejected 1"]
    );
    assert_eq!(
        page.all(".sums .stat"),
        [
            "Pending NGN 349.50 2 operations",
            "Completed NGN 5,000.00 1 operation",
            "Failed NGN 0.00 0 operations",
            "Rejected NGN 700.00 1 operation",
        ]
    );
    let all = ["−99.00 Pending", "+250.50 Pending", "−700.00 Rejected", "−5,000.00 Completed"];
    let url = |query: &str| format!("/operations?{query}");
    for (query, rows) in [
        ("", &all[..]),
        ("state=&kind=&q=&from=&to=", &all[..]),
        ("state=pending", &all[..2]),
        ("state=rejected", &all[2..3]),
        ("kind=cash-out-fulfillment", &all[1..2]),
        ("q=8123456781", &all[1..]),
        ("q=%2B234+812-3456781", &all[1..]),
        ("q=abc+store", &all[..1]),
        ("q=200000", &all[..1]),
        ("q=counter+three", &all[1..2]),
        ("q=%25", &all[..]),
        ("from=2026-03-03", &all[..2]),
        ("to=2026-03-02", &all[2..]),
        ("from=2026-03-02&to=2026-03-03&kind=cash-in&state=pending", &all[..1]),
        ("from=2026-03-04", &[]),
    ] {
        assert_eq!(list(&mut viewer, &url(query)).await, rows, "{query}");
    }
    let page = viewer.get("/operations?state=completed").await.is(200);
    assert_eq!(page.all("td[data-label='Other side']"), [format!("End user 1 {FIRST}")]);
    assert_eq!(page.all("tbody time"), ["2 Mar 2026, 09:00 UTC"]);
    let page = viewer.get("/operations?kind=cash-in&from=2026-03-03").await.is(200);
    assert_eq!(
        page.all(".tabs a")[..2],
        ["All 1", "Pending 1"],
        "tabs count what the filters leave"
    );
    assert_eq!(
        page.attribute(".tabs li:nth-child(2) a", "href").as_deref(),
        Some("/operations?state=pending&kind=cash-in&from=2026-03-03")
    );
    viewer.get("/operations?q=nothing").await.is(200).says("Nothing fits");
    viewer.get("/operations?from=soon").await.is(200).says("Enter a day such as");
    viewer.get("/operations?from=2026-03-03&to=2026-03-02").await.is(200).says("before the first");
    let mut stranger = app.sign_in("maker@other.example").await;
    stranger.get("/operations").await.is(200).says("No operations yet");
}

#[actix_web::test]
async fn a_long_history_has_pages_that_keep_the_filters() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    for _ in 0..51 {
        cash_in_by(&app, &key, "1").await;
    }
    let mut viewer = app.sign_in("viewer").await;
    let page = viewer.get("/operations?kind=cash-in").await.is(200).says("Page 1 of 2");
    assert_eq!(page.all("tbody tr").len(), 50);
    assert_eq!(page.all("tbody td[data-label='Asked by']")[0], "Till key of The maker");
    let next = page.attribute("a[rel=next]", "href").unwrap();
    assert_eq!(next, "/operations?kind=cash-in&page=2");
    assert_eq!(viewer.get(&next).await.is(200).all("tbody tr").len(), 1);
}

// Row 88
#[actix_web::test]
async fn home_shows_the_balance_what_waits_and_the_latest() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    cash_in(&mut maker, "5,000.00").await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    app.clock.advance(chrono::TimeDelta::seconds(1));
    cash_in_by(&app, &key, "40").await;
    let home = app.sign_in("checker").await.get("/").await.is(200);
    let home = home.says("50,000.00").says("Cash-in of NGN 5,000.00 to +2348123456781");
    let home = home.says("NGN 5,040.00 in all").says("Asked by a key of The maker");
    assert_eq!(home.all("[aria-labelledby=latest] .entry-amount"), ["−40.00", "−5,000.00"]);
    let own = maker.get("/").await.is(200).says("A key of yours asked");
    assert_eq!(own.all("[aria-labelledby=mine] li").len(), 2);
}

#[actix_web::test]
async fn checkers_hear_of_what_keys_ask_once_in_a_while() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    app.work().await;
    cash_in_by(&app, &key, "10").await;
    cash_in_by(&app, &key, "20").await;
    assert!(app.work().await.is_empty(), "others may be on their way");
    app.clock.advance(chrono::TimeDelta::minutes(1));
    let mails = app.work().await;
    let mut to: Vec<_> = mails.iter().map(|mail| mail.to.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["both@demo.example", "checker2@demo.example", "checker@demo.example"]);
    assert!(mails[0].subject.contains("2 operations wait"), "{}", mails[0].subject);
    app.clock.advance(chrono::TimeDelta::minutes(1));
    cash_in_by(&app, &key, "30").await;
    assert!(app.work().await.is_empty(), "five minutes are not over");
    app.clock.advance(chrono::TimeDelta::minutes(5));
    assert_eq!(app.work().await.len(), 3);
    assert!(app.work().await.is_empty());
    // One that began half a minute before these mails and was in the database only after them.
    cash_in_by(&app, &key, "40").await;
    let then = (app.clock.now() - chrono::TimeDelta::seconds(30)).naive_utc();
    app.sql(&format!("UPDATE requests SET created_at = '{then}' WHERE amount = 4000"));
    app.clock.advance(chrono::TimeDelta::minutes(5));
    let mails = app.work().await;
    assert_eq!(mails.len(), 3);
    assert!(mails[0].subject.contains("1 operation waits"), "{}", mails[0].subject);
}

#[actix_web::test]
async fn the_names_of_attempts_are_forgotten_after_a_week() {
    let app = with_wallets().await;
    cash_in(&mut app.sign_in("maker").await, "10").await;
    let kept = "SELECT count(*) FROM idempotency_keys";
    app.clock.advance(chrono::TimeDelta::days(7));
    app.worker.sweep().await.unwrap();
    assert_eq!(app.number(kept), 1);
    app.clock.advance(chrono::TimeDelta::seconds(1));
    app.worker.sweep().await.unwrap();
    assert_eq!(app.number(kept), 0);
}
