//! *Would this call be allowed?* on the page of a key.

use super::{cash_in_by, with_wallets};
use crate::support::{Browser, Page};

/// The verdict on a call, and every check with what it compared.
async fn judge(person: &mut Browser<'_>, key: &str, query: &str) -> (String, Vec<String>, Page) {
    let page = person.get(&format!("{key}/check?{query}")).await.is(200);
    let verdict = page.all("#verdict").first().cloned().unwrap_or_default();
    (verdict, page.all(".checks li"), page)
}

#[actix_web::test]
async fn the_page_gives_the_verdict_with_every_check_and_counts_nothing() {
    let app = with_wallets().await;
    let grant = [
        ("permissions", "perform_operations"),
        ("max_transaction_amount", "6,000"),
        ("max_daily_volume", "10,000"),
        ("allowed_ips", "203.0.113.0/24"),
    ];
    let (key, _) = app.live_key("Till", &grant).await;
    cash_in_by(&app, &key, "300").await;
    let mut viewer = app.sign_in("viewer").await;
    let link = viewer.get(&key).await.is(200).attribute("a[href$='/check']", "href");
    assert_eq!(link, Some(format!("{key}/check")));
    viewer.get(&format!("{key}/check")).await.is(200).says("Describe a call");
    let before = app.dump();
    let call =
        |amount: &str, ip: &str| format!("permission=perform_operations&amount={amount}&ip={ip}");

    let (verdict, checks, _) = judge(&mut viewer, &key, &call("5,000", "203.0.113.7")).await;
    assert_eq!(verdict, "Allowed");
    let all = checks.join("\n");
    for detail in [
        "203.0.113.7 is in 203.0.113.0/24.",
        "5,000.00 ≤ 6,000.00",
        "used today 300.00 + 5,000.00 ≤ 10,000.00",
        "At most 1000 calls in 10 seconds.",
    ] {
        assert!(all.contains(detail), "{detail} is not in {all}");
    }
    assert!(!all.contains("No: "), "{all}");

    for (query, code, detail) in [
        (call("5000", "198.51.100.1"), "ip_not_allowed", "198.51.100.1 is not in 203.0.113.0/24."),
        (call("5000", ""), "ip_not_allowed", "No address is given"),
        (call("6000.01", "203.0.113.7"), "transaction_limit_exceeded", "6,000.01 > 6,000.00"),
        (
            "permission=read_balance&amount=&ip=203.0.113.7".to_owned(),
            "insufficient_permission",
            "is not among",
        ),
    ] {
        let (verdict, checks, _) = judge(&mut viewer, &key, &query).await;
        assert_eq!(verdict, format!("Denied: {code}"), "{query}");
        let failed: Vec<_> = checks.iter().filter(|check| check.starts_with("No: ")).collect();
        assert!(failed.len() == 1 && failed[0].contains(detail), "{failed:?}");
    }
    before.equals(&app.dump(), "looking");

    for _ in 0..2 {
        cash_in_by(&app, &key, "4800").await;
    }
    let (verdict, checks, _) = judge(&mut viewer, &key, &call("101", "203.0.113.7")).await;
    assert_eq!(verdict, "Denied: daily_volume_exceeded");
    assert!(checks.join("\n").contains("used today 9,900.00 + 101.00 > 10,000.00"), "{checks:?}");
    app.clock.advance(chrono::TimeDelta::days(1));
    let mut viewer = app.sign_in("viewer").await;
    let (verdict, ..) = judge(&mut viewer, &key, &call("101", "203.0.113.7")).await;
    assert_eq!(verdict, "Allowed", "another day");
}

#[actix_web::test]
async fn what_makes_no_sense_is_told_and_a_dead_key_is_denied() {
    let app = with_wallets().await;
    let (key, _) = app.live_key("Till", &[]).await;
    let mut maker = app.sign_in("maker").await;
    let (verdict, checks, page) = judge(&mut maker, &key, "amount=lots&ip=here").await;
    assert_eq!((verdict.as_str(), checks.len()), ("", 0));
    assert_eq!(page.attribute("#amount", "value").as_deref(), Some("lots"));
    drop(page.says("Enter an amount").says("Enter an address"));
    let fields = [("reason", "Lost"), ("confirm_label", "Till")];
    maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
    let (verdict, checks, _) = judge(&mut maker, &key, "ip=203.0.113.7").await;
    assert_eq!(verdict, "Denied: unauthorized");
    assert!(checks[0].contains("It is revoked"), "{checks:?}");
    maker.get("/settings/api-keys/nonsense/check").await.is(404);
    app.sign_in("maker@other.example").await.get(&format!("{key}/check")).await.is(404);
}
