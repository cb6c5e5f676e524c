//! Keys on pages and at the door of the API: what is seen, shown once, and let through.

mod door;

use actix_web::http::header;
use chrono::TimeDelta;
use countersign::domain::key::Grant;
use countersign::store;

use crate::support::{Browser, Page, TestApp};

const REFUSED: &str = r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#;
const READS: &[(&str, &str)] = &[("permissions", "read_balance")];
const TABS: [&str; 5] = ["pending", "active", "expired", "revoked", "rejected"];

async fn approved(app: &TestApp, maker: &mut Browser<'_>, label: &str) -> String {
    let request = maker.ask_for_key(label).await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    app.key_of(&request).await
}

async fn revoke(person: &mut Browser<'_>, key: &str, label: &str) -> Page {
    person.get(key).await.is(200);
    let fields = [("reason", "Not needed"), ("confirm_label", label)];
    person.submit(&format!("{key}/revoke"), &fields).await
}

/// A pending, an active, an expired, a revoked and a rejected one, named like the tabs.
async fn one_of_each(app: &TestApp) {
    let mut maker = app.sign_in("maker").await;
    app.live_key("active", READS).await;
    app.live_key("expired", &[("permissions", "read_balance"), ("expires_in_days", "1")]).await;
    let (revoked, _) = app.live_key("revoked", READS).await;
    revoke(&mut maker, &revoked, "revoked").await.is(303);
    let rejected = maker.ask_for_key("rejected").await;
    app.sign_in("checker").await.reject(&rejected, "Too wide").await.is(303);
    maker.ask_for_key("pending").await;
}

async fn counts(person: &mut Browser<'_>) -> Vec<String> {
    person.get("/settings/api-keys/active").await.is(200).all(".tabs .count")
}

#[actix_web::test]
async fn each_tab_counts_and_shows_its_own_keys() {
    let app = TestApp::start().await;
    one_of_each(&app).await;
    assert_eq!(counts(&mut app.sign_in("maker").await).await, ["1", "2", "0", "1", "1"]);
    app.clock.advance(TimeDelta::days(1) - TimeDelta::microseconds(1));
    assert_eq!(counts(&mut app.sign_in("maker").await).await, ["1", "2", "0", "1", "1"]);
    app.clock.advance(TimeDelta::microseconds(1));
    for who in ["maker", "maker2", "checker", "admin", "viewer"] {
        let mut person = app.sign_in(who).await;
        assert_eq!(counts(&mut person).await, ["1"; 5], "{who}");
        for tab in TABS {
            let page = person.get(&format!("/settings/api-keys/{tab}")).await.is(200);
            assert_eq!(page.all("a.row-link"), [tab], "{who}");
        }
    }
    app.clock.advance(TimeDelta::days(13));
    app.work().await;
    assert_eq!(counts(&mut app.sign_in("maker").await).await, ["0", "1", "1", "1", "1"]);
}

#[actix_web::test]
async fn another_organisation_sees_and_hears_nothing() {
    let app = TestApp::start().await;
    one_of_each(&app).await;
    let (key, _) = app.live_key("Ours", READS).await;
    let request = app.sign_in("maker").await.ask_for_key("Ours too").await;
    for who in ["maker@other.example", "checker@other.example"] {
        let mut stranger = app.sign_in(who).await;
        assert_eq!(counts(&mut stranger).await, ["0"; 5]);
        for tab in TABS.map(|tab| format!("/settings/api-keys/{tab}")) {
            assert!(stranger.get(&tab).await.all("a.row-link").is_empty());
        }
        for list in ["/requests", "/requests?state=closed", "/"] {
            let page = stranger.get(list).await.is(200);
            assert!(!page.body.contains("Ours") && !page.body.contains("rejected"), "{list}");
            assert!(page.all(".nav .count").is_empty());
        }
        for known in [&key, &request] {
            let unknown = known.replace(known.rsplit('/').next().unwrap(), &app.other.to_string());
            let (known, unknown) =
                (stranger.get(known).await.is(404), stranger.get(&unknown).await);
            let without_id = |page: &Page| page.body.replace(page.header("x-request-id"), "");
            assert_eq!(without_id(&known), without_id(&unknown.is(404)));
        }
    }
    let mails = app.work().await;
    assert!(mails.len() > 5 && mails.iter().all(|mail| mail.to.ends_with("@demo.example")));
}

#[actix_web::test]
async fn pages_mails_and_tables_hold_the_mask_and_never_the_secret() {
    let app = TestApp::start().await;
    let (key, secret) = app.live_key("Masked", READS).await;
    app.api(&secret).balance().await.is(200);
    let mails = app.work().await.into_iter().flat_map(|m| [m.subject, m.text, m.html]);
    let mails = mails.collect::<Vec<_>>().join("\n");
    let middle = &secret[4..secret.len() - 4];
    assert!(mails.contains("Masked") && !mails.contains(middle));
    let dump = app.dump().text();
    assert!(dump.contains("Masked") && !dump.contains(middle));
    let mask = format!("uwk_…{}", &secret[secret.len() - 4..]);
    for who in ["maker", "checker", "admin"] {
        let mut person = app.sign_in(who).await;
        for path in ["/settings/api-keys/active", &key] {
            let page = person.get(path).await.is(200);
            assert!(page.body.contains(&mask), "{who} {path}: {}", page.text());
            assert!(!page.body.contains(middle), "{who} {path}");
        }
    }
    assert!(!app.api(&secret).get("/api/v1/keys/self").await.is(200).body.contains(middle));
}

/// The fields of a form as they are typed, and the limits and days a key must then have.
type Typed = (Vec<(&'static str, String)>, [Option<i64>; 3]);

/// Forms that differ in every field.
fn forms() -> Vec<Typed> {
    let amounts: [(&str, Option<i64>); 4] =
        [("", None), ("0.01", Some(1)), ("1,000.50", Some(100_050)), ("250000", Some(25_000_000))];
    let days = [1, 30, 365, 3650];
    let slugs = ["read_balance", "read_transactions", "perform_operations"];
    let ips = ["", "203.0.113.7", "10.0.0.0/8, 2001:db8::/32\n192.0.2.1"];
    let form = |i: usize| {
        let (one, day) = (amounts[i % 4], [amounts[3], amounts[0]][i / 4 % 2]);
        let mut fields = vec![
            ("label", format!("Key {i} “é” 漢字 <b>")),
            ("environment", ["production", "staging"][i % 2].to_owned()),
            ("system", ["", "ERP & Co"][i / 2 % 2].to_owned()),
            ("contact_email", ["", "Ops@Demo.Example"][i / 3 % 2].to_owned()),
            ("max_transaction_amount", one.0.to_owned()),
            ("max_daily_volume", day.0.to_owned()),
            ("allowed_ips", ips[i % 3].to_owned()),
            ("expires_in_days", days[i % 4].to_string()),
            ("justification", format!("Because {i}")),
        ];
        let chosen = slugs.iter().enumerate().filter(|(bit, _)| ((i % 7) + 1) >> bit & 1 == 1);
        fields.extend(chosen.map(|(_, slug)| ("permissions", (*slug).to_owned())));
        (fields, [one.1, day.1, Some(days[i % 4])])
    };
    (0..24).map(form).collect()
}

#[actix_web::test]
async fn the_enforced_key_is_what_was_asked_and_approved_field_by_field() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let mut checker = app.sign_in("checker").await;
    for (fields, [one, day, days]) in forms() {
        let typed: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let label = typed[0].1;
        let request = maker.ask_with(label, &typed[1..]).await;
        checker.approve(&request).await.is(303);
        let id = request.trim_start_matches("/requests/").to_owned();
        let payload =
            app.raw().lines(&format!("SELECT payload AS line FROM requests WHERE id = '{id}'"));
        let approved: Grant = serde_json::from_str(&payload[0]).unwrap();
        let id = id.parse().unwrap();
        let key =
            app.db.read(move |c| store::keys::find_of_request(c, &id)).await.unwrap().unwrap();
        assert_eq!(key.grant, approved);
        let grant = &key.grant;
        assert_eq!([grant.max_transaction, grant.max_daily], [one, day]);
        assert_eq!(grant.expires_in_days.map(i64::from), days);
        let ticked = typed.iter().filter(|(name, _)| *name == "permissions");
        assert_eq!(grant.permissions, ticked.map(|(_, slug)| (*slug).to_owned()).collect());
        let text = |name| typed.iter().find(|field| field.0 == name).unwrap().1;
        let kept = [grant.label.as_str(), grant.environment.as_str()];
        assert_eq!(kept, [label, text("environment")]);
        assert_eq!(grant.system.clone().unwrap_or_default(), text("system"));
        let contact = grant.contact_email.as_ref().map_or("", |email| email.as_str());
        assert_eq!(contact, text("contact_email").to_lowercase());
        assert_eq!(key.expires_at, days.map(|days| app.clock.now() + TimeDelta::days(days)));
        let ips = text("allowed_ips").split([',', '\n', ' ']).filter(|ip| !ip.is_empty());
        assert_eq!(grant.allowed_ips.entries().len(), ips.count());
    }
}

#[actix_web::test]
async fn a_field_that_no_form_has_is_refused() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    maker.get("/settings/api-keys/new").await.is(200);
    let before = app.dump();
    for name in ["state", "status", "maker_id", "approved_by", "approvals_needed", "restrictions"] {
        let fields =
            [("label", "Sly"), ("permissions", "read_balance"), ("environment", "production")];
        let mut fields = fields.to_vec();
        fields.extend([("expires_in_days", "30"), (name, "approved")]);
        maker.submit("/settings/api-keys", &fields).await.is(422);
    }
    before.equals(&app.dump(), "a form with a field too many");
}

#[actix_web::test]
async fn a_secret_can_be_replaced_until_it_is_saved_and_then_never_again() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let key = approved(&app, &mut maker, "Shown").await;
    let reveal = format!("{key}/reveal");
    let first = maker.reveal(&key).await;
    let second = maker.reveal(&key).await;
    assert_ne!(first, second);
    assert_eq!(app.api(&first).balance().await.is(401).body, REFUSED);
    let confirm = format!("{key}/confirm");
    maker.submit(&confirm, &[]).await.is(303);
    maker.submit(&confirm, &[]).await.is(409);
    let page = maker.submit(&reveal, &[]).await.is(409);
    assert!(page.secret().is_none() && !page.body.contains(&second[4..]));
    app.api(&second).balance().await.is(200);
    assert_eq!(app.audit("secret.revealed").await.len(), 2);
    assert_eq!(app.audit("secret.confirmed").await.len(), 1);
}

#[actix_web::test]
async fn the_first_use_counts_as_saved() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let key = approved(&app, &mut maker, "Used").await;
    let secret = maker.reveal(&key).await;
    app.api(&secret).balance().await.is(200);
    let page = maker.submit(&format!("{key}/reveal"), &[]).await.is(409);
    assert!(page.secret().is_none());
    app.api(&secret).balance().await.is(200);
}

#[actix_web::test]
async fn the_answer_that_shows_the_secret_is_kept_nowhere() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let key = approved(&app, &mut maker, "Shown").await;
    let reveal = format!("{key}/reveal");
    for who in ["maker2", "checker", "both", "admin", "viewer"] {
        let page = app.sign_in(who).await.submit(&reveal, &[]).await.is(403);
        assert!(page.secret().is_none(), "{who}");
    }
    let page = maker.get(&reveal).await.is(405);
    assert_eq!(page.header("allow"), "POST");
    maker.get(&key).await.is(200);
    let form = maker.form(&reveal, &[]).insert_header((header::ACCEPT_ENCODING, "gzip, br"));
    let page = maker.send(form).await.is(200);
    let secret = page.secret().unwrap();
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!((page.header("content-encoding"), page.location()), ("", ""));
    assert!(page.headers.iter().all(|(_, value)| !value.to_str().unwrap().contains(&secret[4..])));
    assert_eq!(page.body.matches(&secret).count(), 1, "it stands in the field and nowhere else");
}
