//! Deciding on operations: who may, what moves, and what the page says.

use actix_web::http::StatusCode;

use super::{FIRST, ask, balances, cash_in, cash_in_by, with_wallets};
use crate::support::TestApp;

/// What was used of every key's days.
fn volume(app: &TestApp) -> i64 {
    app.number("SELECT CAST(coalesce(sum(used), 0) AS BIGINT) FROM key_volumes")
}

// Row 87
#[actix_web::test]
async fn an_approval_moves_the_money_in_the_same_transaction() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let request = cash_in(&mut maker, "5,000.00").await;
    assert_eq!(balances(&app), [5_000_000, 2_000_000, 0, 7_000_000], "asking moves nothing");
    maker.get(&request).await.is(200).says("You made this request");
    let mut checker = app.sign_in("checker").await;
    let page = checker.get(&request).await.is(200).says("Approve and move NGN 5,000.00");
    let page = page.says("holds 50,000.00 now, 45,000.00 after").says("First time");
    assert!(!page.text().contains("20,000.00"), "the customer's balance is nobody's business");
    let approved = checker.approve(&request).await;
    checker.follow(&approved).await.is(200).says("the money has moved").says("Completed");
    assert_eq!(balances(&app), [4_500_000, 2_500_000, 0, 7_000_000]);
    let sequence = app.number("SELECT max(sequence) FROM transfers WHERE kind = 'operation'");
    maker.get(&request).await.is(200).says(&format!("Entry {sequence}")).says("NGN 5,000.00 moved");
    let requests = checker.get("/requests?state=closed&kind=operation").await.is(200);
    assert_eq!(requests.all("tbody .badge"), ["Completed"]);
}

#[actix_web::test]
async fn cash_from_a_customer_goes_the_other_way() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let fields = [
        ("operation_type", "cash-out-fulfillment"),
        ("amount", "1,500"),
        ("phone", FIRST),
        ("cash_out_fulfillment_id", "R-17"),
    ];
    let request = ask(&mut maker, &fields).await.is(303).location().to_owned();
    let mut checker = app.sign_in("checker").await;
    let page = checker.get(&request).await.is(200).says("R-17");
    assert!(page.text().contains("holds 50,000.00 now, 51,500.00 after"), "{}", page.text());
    checker.approve(&request).await.is(303);
    assert_eq!(balances(&app), [5_150_000, 1_850_000, 0, 7_000_000]);
}

#[actix_web::test]
async fn nobody_decides_on_an_operation_of_their_own() {
    let app = with_wallets().await;
    let mut both = app.sign_in("both").await;
    let own = cash_in(&mut both, "10").await;
    let page = both.get(&own).await.is(200).says("You made this request");
    assert_eq!(page.attribute("form[action$='/approve']", "action"), None);
    let before = app.dump();
    for (verb, field) in [("approve", "comment"), ("reject", "reason")] {
        let fields = [("version", "1"), (field, "Fine with me")];
        let page = both.submit(&format!("{own}/{verb}"), &fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{verb}");
    }
    before.equals(&app.dump(), "one's own operation");
    app.sql("UPDATE members SET is_checker = TRUE WHERE email = 'maker@demo.example'");
    let mut maker = app.sign_in("maker").await;
    let made = cash_in(&mut maker, "20").await;
    let fields = [("version", "1"), ("comment", "")];
    maker.submit(&format!("{made}/approve"), &fields).await.is(403);
    both.approve(&made).await.is(303);
    maker.approve(&own).await.is(303);
    assert_eq!(balances(&app)[0], 4_997_000);
}

#[actix_web::test]
async fn the_maker_of_a_key_does_not_decide_on_what_it_asks() {
    let app = with_wallets().await;
    let permissions = [("permissions", "perform_operations"), ("max_daily_volume", "1,000")];
    let (key, _) = app.live_key("Till", &permissions).await;
    app.sql("UPDATE members SET is_checker = TRUE WHERE email = 'maker@demo.example'");
    let request = cash_in_by(&app, &key, "300").await;
    let mut maker = app.sign_in("maker").await;
    let page = maker.get(&request).await.is(200).says("A key that you asked for made this request");
    assert_eq!(page.attribute("form[action$='/approve']", "action"), None);
    let before = app.dump();
    let fields = [("version", "1"), ("comment", "")];
    maker.submit(&format!("{request}/approve"), &fields).await.is(403);
    maker.submit(&format!("{request}/reject"), &[("version", "1"), ("reason", "No")]).await.is(403);
    before.equals(&app.dump(), "an operation of one's own key");
    let mut checker = app.sign_in("checker").await;
    let page = checker.get(&request).await.is(200).says("By a key");
    assert_eq!(page.attribute(&format!("a[href='{key}']"), "href"), Some(key.clone()));
    let page = page.says("NGN 300.00 used of NGN 1,000.00").says("A key of The maker asked");
    drop(page);
    let inbox = checker.get("/requests?kind=operation").await.is(200).says("key of The maker");
    assert_eq!(inbox.all("tbody tr").len(), 1);
    let others = checker.get("/requests?kind=issue_key").await.is(200);
    assert_eq!(others.all("tbody tr").len(), 0);
    checker.approve(&request).await.is(303);
    assert_eq!(balances(&app)[..2], [4_970_000, 2_030_000]);
}

#[actix_web::test]
async fn an_operation_that_the_wallet_cannot_pay_fails_and_says_why() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    let mut maker = app.sign_in("maker2").await;
    let large = cash_in_by(&app, &key, "30000").await;
    let too_large = cash_in(&mut maker, "30,000").await;
    let mut checker = app.sign_in("checker").await;
    let page = checker.get(&large).await.is(200).says("Above half the balance").says("Asked twice");
    assert!(!page.text().contains("More than there is"));
    checker.approve(&large).await.is(303);
    assert_eq!(volume(&app), 3_000_000);
    checker.get(&too_large).await.is(200).says("More than there is");
    let approved = checker.approve(&too_large).await;
    let page = checker.follow(&approved).await.is(200).says("Nothing has moved").says("Failed");
    drop(page.says("did not hold enough"));
    assert_eq!(balances(&app), [2_000_000, 5_000_000, 0, 7_000_000]);
    let status = "SELECT count(*) FROM operations WHERE status = 'failed' AND last_error <> ''";
    assert_eq!(app.number(status), 1);
    let mails = app.work().await;
    let told = mails.iter().find(|mail| mail.subject.contains("Failed:")).expect("a mail");
    assert_eq!(told.to, "maker2@demo.example");
    let list = maker.get("/operations?state=failed").await.is(200);
    assert_eq!(list.all("tbody .badge"), ["Failed"]);
}

#[actix_web::test]
async fn a_failed_operation_of_a_key_gives_its_volume_back() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    let first = cash_in_by(&app, &key, "30000").await;
    let second = cash_in_by(&app, &key, "30000").await;
    assert_eq!(volume(&app), 6_000_000);
    let mut checker = app.sign_in("checker").await;
    checker.approve(&first).await.is(303);
    checker.approve(&second).await.is(303);
    assert_eq!(volume(&app), 3_000_000);
    assert_eq!(balances(&app)[0], 2_000_000);
}

#[actix_web::test]
async fn a_rejection_moves_nothing_gives_the_volume_back_and_says_why() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[("permissions", "perform_operations")]).await;
    let request = cash_in_by(&app, &key, "300").await;
    assert_eq!(volume(&app), 30_000);
    let mut checker = app.sign_in("checker").await;
    checker
        .submit(&format!("{request}/reject"), &[("version", "1"), ("reason", " ")])
        .await
        .is(422);
    checker.reject(&request, "No slip").await.is(303);
    assert_eq!(volume(&app), 0);
    assert_eq!(balances(&app), [5_000_000, 2_000_000, 0, 7_000_000]);
    assert_eq!(app.number("SELECT count(*) FROM transfers WHERE kind = 'operation'"), 0);
    checker.get(&request).await.is(200).says("No slip").says("Nothing moved");
    let list = checker.get("/operations?state=rejected").await.is(200).says("No slip");
    assert_eq!(list.all("tbody .badge"), ["Rejected"]);
    checker
        .submit(&format!("{request}/approve"), &[("version", "1"), ("comment", "")])
        .await
        .is(409);
    assert_eq!(balances(&app)[0], 5_000_000);
}

#[actix_web::test]
async fn what_is_taken_back_or_ran_out_of_time_moves_nothing() {
    let app = with_wallets().await;
    let mut maker = app.sign_in("maker").await;
    let back = cash_in(&mut maker, "10").await;
    maker.submit(&format!("{back}/withdraw"), &[("version", "1")]).await.is(303);
    maker.get(&back).await.is(200).says("Withdrawn").says("took it back");
    let late = cash_in(&mut maker, "20").await;
    app.clock.advance(chrono::TimeDelta::days(15));
    app.work().await;
    app.sign_in("maker").await.get(&late).await.is(200).says("Expired");
    let rejected = "SELECT count(*) FROM operations WHERE status = 'rejected'";
    assert_eq!((app.number(rejected), balances(&app)[0]), (2, 5_000_000));
}

#[actix_web::test]
async fn two_approvals_move_the_money_once_the_second_one_is_there() {
    let app = with_wallets().await;
    app.sql("UPDATE organisations SET approvals_needed = 2");
    let request = cash_in(&mut app.sign_in("maker").await, "10").await;
    let mut checker = app.sign_in("checker").await;
    let voted = checker.approve(&request).await;
    checker.follow(&voted).await.is(200).says("It still needs somebody else");
    assert_eq!(balances(&app)[0], 5_000_000);
    app.sign_in("checker2").await.approve(&request).await.is(303);
    assert_eq!(balances(&app)[0], 4_999_000);
}

#[actix_web::test]
async fn another_organisation_sees_nothing_of_it() {
    let app = with_wallets().await;
    let request = cash_in(&mut app.sign_in("maker").await, "10").await;
    let mut stranger = app.sign_in("checker@other.example").await;
    stranger.get(&request).await.is(404);
    for (verb, field) in [("approve", "comment"), ("reject", "reason")] {
        let fields = [("version", "1"), (field, "Mine")];
        stranger.submit(&format!("{request}/{verb}"), &fields).await.is(404);
    }
    assert_eq!(balances(&app)[0], 5_000_000);
}
