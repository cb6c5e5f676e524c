//! Caps on live keys: at the form, at the approval, and when many approve at once.

use std::rc::Rc;

use chrono::TimeDelta;

use super::*;
use crate::races::at_once;

const UCD: &[(&str, &str)] = &[("api", "insider"), ("access_type", "ucd")];
const MOBILE: &[(&str, &str)] = &[("api", "insider-mobile"), ("permissions", "send_pushes")];

async fn ask(maker: &mut Browser<'_>, label: &str, fields: &[(&str, &str)]) -> Page {
    send(maker, &[fields, &[("label", label)]].concat()).await
}

async fn revoke(app: &TestApp, key: &str, label: &str) {
    let mut maker = app.sign_in("maker").await;
    maker.get(key).await.is(200);
    let fields = [("reason", "Not needed"), ("confirm_label", label)];
    maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
}

// Row 27
#[actix_web::test]
async fn insider_the_sixth_live_ucd_key_is_refused_and_deleting_one_frees_a_slot() {
    let app = TestApp::start().await;
    let mut keys = Vec::new();
    for i in 1..=5 {
        keys.push(issued(&app, &format!("UCD {i}"), UCD).await.1);
    }
    let mut maker = app.sign_in("maker").await;
    let page = ask(&mut maker, "UCD 6", UCD).await.is(422);
    let sentence = "Your organisation already has 5 live keys for Insider (UCD), and there may be no \
                    more. Revoke (delete) one first.";
    assert_eq!(page.all("#access_type-error"), [format!("Error: {sentence}")]);
    assert_eq!(page.attribute("#label", "value").unwrap(), "UCD 6");
    assert_eq!(app.number("SELECT count(*) FROM requests"), 5);
    // Other types and other organisations have slots of their own.
    ask(&mut maker, "SMS", &[("api", "insider"), ("access_type", "otp_sms")]).await.is(303);
    ask(&mut app.sign_in("maker@other.example").await, "UCD", UCD).await.is(303);
    revoke(&app, &keys[0], "UCD 1").await;
    issued(&app, "UCD 6", UCD).await;
    ask(&mut maker, "UCD 7", UCD).await.is(422);
}

// Row 27
#[actix_web::test]
async fn a_key_that_ran_out_frees_its_slot_and_a_suspended_one_does_not() {
    let app = TestApp::start().await;
    let short = [MOBILE, &[("expires_in_days", "1")]].concat();
    issued(&app, "A day", &short).await;
    issued(&app, "A year", MOBILE).await;
    app.sql("UPDATE keys SET state = 'suspended' WHERE label = 'A year'");
    ask(&mut app.sign_in("maker").await, "Third", MOBILE).await.is(422);
    app.clock.advance(TimeDelta::days(1));
    issued(&app, "Third", MOBILE).await;
    let page = ask(&mut app.sign_in("maker").await, "Fourth", MOBILE).await.is(422);
    assert!(page.all("#api-error")[0].contains("2 live keys for Insider Mobile App"));
}

// Row 27
#[actix_web::test]
async fn of_many_approvals_at_once_no_more_than_the_cap_pass() {
    let app = Rc::new(TestApp::start().await);
    let mut maker = app.sign_in("maker").await;
    let mut requests = Vec::new();
    for i in 0..6 {
        requests
            .push(ask(&mut maker, &format!("App {i}"), MOBILE).await.is(303).location().to_owned());
    }
    let checkers = [app.sign_in("checker").await, app.sign_in("checker2").await];
    let forms = requests.iter().enumerate().map(|(i, request)| {
        checkers[i % 2].form(&format!("{request}/approve"), &[("version", "1"), ("comment", "")])
    });
    let pages = at_once(&app, forms.collect()).await;
    assert_eq!(pages.iter().filter(|page| page.status == 303).count(), 2);
    for page in pages.into_iter().filter(|page| page.status != 303) {
        page.is(409).says("already has 2 live keys");
    }
    assert_eq!(app.number("SELECT count(*) FROM keys"), 2);
    // Nothing of a refused approval stays: the request waits, and passes once there is a slot.
    assert_eq!(app.number("SELECT count(*) FROM decisions"), 2);
    assert_eq!(app.number("SELECT count(*) FROM requests WHERE state = 'pending'"), 4);
    let passed = app.raw().lines("SELECT request_id AS line FROM keys ORDER BY id");
    let passed = format!("/requests/{}", passed[0]);
    let (taken, url) = (key(&app, &passed).await, app.key_of(&passed).await);
    revoke(&app, &url, &taken.grant.label).await;
    let waiting =
        app.raw().lines("SELECT id AS line FROM requests WHERE state = 'pending' ORDER BY id");
    let waiting = format!("/requests/{}", waiting[0]);
    app.sign_in("checker").await.approve(&waiting).await.is(303);
}

// Row 28
#[actix_web::test]
async fn other_types_have_several_keys_at_once_and_mobile_two() {
    let app = TestApp::start().await;
    let (sms, web) =
        ([("api", "insider"), ("access_type", "transactional_sms")], "insider-web-push");
    let web = [("api", web), ("permissions", "read_analytics")];
    for i in 0..7 {
        for fields in [&sms[..], &web, INTEGRATIONS] {
            issued(&app, &format!("Key {i}"), fields).await;
        }
    }
    issued(&app, "App 1", MOBILE).await;
    issued(&app, "App 2", MOBILE).await;
    ask(&mut app.sign_in("maker").await, "App 3", MOBILE).await.is(422);
}
