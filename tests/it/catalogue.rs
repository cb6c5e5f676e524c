//! What the entries of the catalogue promise, by the rows of the list of capabilities.

mod caps;
mod entries;

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign::config::Config;
use countersign::domain::catalogue::{Api, Catalogue};
use countersign::domain::key::Key;
use countersign::site::Site;
use countersign::store;

use crate::support::process::Home;
use crate::support::{Browser, Page, TestApp};

const NEW: &str = "/settings/api-keys";
const INTEGRATIONS: &[(&str, &str)] = &[("api", "optimove"), ("access_type", "integrations")];

fn catalogue() -> Catalogue {
    Site::load(&Config::for_tests()).unwrap().catalogue
}

fn api(slug: &str) -> Arc<Api> {
    Arc::clone(catalogue().find(slug).unwrap())
}

/// Sends the form as it stands here, field by field.
async fn send(maker: &mut Browser<'_>, fields: &[(&str, &str)]) -> Page {
    maker.get("/settings/api-keys/new").await.is(200);
    maker.submit(NEW, fields).await
}

/// The key an approved request led to.
async fn key(app: &TestApp, request: &str) -> Key {
    let id = request.trim_start_matches("/requests/").parse().unwrap();
    app.db.read(move |c| store::keys::find_of_request(c, &id)).await.unwrap().unwrap()
}

/// A key that was asked for with these fields and approved: its row and its page.
async fn issued(app: &TestApp, label: &str, fields: &[(&str, &str)]) -> (Key, String) {
    let request = app.sign_in("maker").await.ask_with(label, fields).await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    (key(app, &request).await, app.key_of(&request).await)
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// What a key may call, as `GET /path`.
fn open_to(api: &Api, key: &Key) -> Vec<String> {
    let open = |path: &&(String, String)| {
        let found = api.find_route(&path.0, &path.1).expect("every published call fits its route");
        key.grant.permissions.contains(found.permission)
    };
    let calls: Vec<_> = api
        .routes
        .iter()
        .map(|route| {
            let path = route.path.split('/').map(|s| if s.starts_with('{') { "x1" } else { s });
            (route.method.clone(), path.collect::<Vec<_>>().join("/"))
        })
        .collect();
    calls.iter().filter(open).map(|(method, path)| format!("{method} {path}")).collect()
}

#[test]
fn every_file_of_the_folder_is_built_in() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue")).unwrap();
    let files: BTreeSet<_> =
        folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let built_in: BTreeSet<_> =
        catalogue().list().iter().map(|api| format!("{}.toml", api.slug)).collect();
    assert_eq!(files, built_in);
}

#[test]
fn a_faulty_file_in_the_catalogue_folder_stops_the_start_with_the_exact_error() {
    let home = Home::fresh();
    let dir = home.path("catalogue");
    std::fs::create_dir(&dir).unwrap();
    let wallet = include_str!("../../catalogue/wallet.toml");
    std::fs::write(dir.join("a.toml"), wallet).unwrap();
    let insider = include_str!("../../catalogue/insider.toml").replace("cap = 5", "cap = 0");
    std::fs::write(dir.join("b.toml"), insider).unwrap();
    let dir = dir.to_str().unwrap();
    home.run(&["serve", "--catalogue-dir", dir]).ended(
        1,
        &format!(
            "the catalogue is not usable: {dir}/b.toml: access type \"ucd\": cap = 0 would allow no \
             key at all: leave it out for no cap"
        ),
    );
}

// Row 8
#[actix_web::test]
async fn omniwallet_one_press_with_no_fields_asks_for_a_token_that_opens_everything() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new?api=omniwallet").await.is(200);
    assert_eq!(form.all(".card-accent button"), ["Create new token"]);
    let request = maker.submit(NEW, &[("api", "omniwallet")]).await.is(303).location().to_owned();
    app.sign_in("checker").await.approve(&request).await.is(303);
    let key = key(&app, &request).await;
    assert_eq!(key.grant.label, "Omniwallet key, 2 Mar 2026 09:00:00");
    assert_eq!(open_to(&api("omniwallet"), &key).len(), api("omniwallet").routes.len());
    assert_eq!(key.grant.expires_in_days, Some(365));
    let secret = maker.reveal(&app.key_of(&request).await).await;
    assert!(secret.starts_with("omw_"), "{secret}");
    // One press is for entries that say so.
    maker.submit(NEW, &[("api", "wallet")]).await.is(422).says("Enter a label");
    maker.submit(NEW, &[]).await.is(422).says("Enter a label");
}

// Row 8
#[actix_web::test]
async fn a_blank_label_is_made_up_where_the_entry_says_so_and_nothing_else_is() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let some = [("api", "omniwallet"), ("label", " "), ("permissions", "read_points")];
    let request = send(&mut maker, &some).await.is(303).location().to_owned();
    maker.get(&request).await.is(200).says("Omniwallet key, 2 Mar 2026");
    // Whoever unticks every permission does not ask for all of them.
    let none = [("api", "omniwallet"), ("label", "Nothing")];
    send(&mut maker, &none).await.is(422).says("Choose at least one permission");
}

// Row 9
#[actix_web::test]
async fn a_contact_email_is_validated_stored_and_shown() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let wrong = [INTEGRATIONS, &[("label", "A"), ("contact_email", "nobody")]].concat();
    let page = send(&mut maker, &wrong).await.is(422);
    assert_eq!(page.all("#contact_email-error").len(), 1);
    let right = [INTEGRATIONS, &[("contact_email", "Ops@Demo.example")]].concat();
    let (key, url) = issued(&app, "With contact", &right).await;
    assert_eq!(key.grant.contact_email.unwrap().as_str(), "ops@demo.example");
    maker.get(&url).await.is(200).says("ops@demo.example");
}

// Rows 10 and 11
#[actix_web::test]
async fn peikly_associated_site_or_system_is_required_stored_and_shown() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new?api=peikly").await.is(200);
    assert_eq!(form.all("label[for=system]"), ["Associated site or system"]);
    assert!(form.attribute("#system", "required").is_some());
    let fields = [("api", "peikly"), ("permissions", "send_events"), ("expires_in_days", "")];
    let without = [&fields[..], &[("label", "Shop"), ("system", " ")]].concat();
    let page =
        send(&mut maker, &without).await.is(422).says("Fill in “Associated site or system”.");
    assert_eq!(page.all("#system-error").len(), 1);
    let with = [&fields[..], &[("system", "shop.example (WooCommerce)")]].concat();
    let request = maker.ask_with("Shop", &with).await;
    let review = app.sign_in("checker").await.get(&request).await.is(200);
    review.says("Associated site or system").says("shop.example (WooCommerce)");
    let (key, url) = issued(&app, "Shop 2", &with).await;
    assert_eq!(key.grant.system.unwrap(), "shop.example (WooCommerce)");
    maker.get(&url).await.is(200).says("shop.example (WooCommerce)");
    maker.get("/settings/api-keys/active").await.is(200).says("shop.example (WooCommerce)");
}

// Row 15
#[actix_web::test]
async fn at_least_one_permission_is_required() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    for api in catalogue().list() {
        let fields = [("api", api.slug.as_str()), ("label", "Nothing"), ("system", "S")];
        let page = send(&mut maker, &fields).await.is(422);
        let field = if api.access_types.is_empty() { "permissions" } else { "access_type" };
        assert_eq!(page.all(&format!("#{field}-error")).len(), 1, "{}", api.slug);
    }
}

// Row 16
#[actix_web::test]
async fn a_warning_is_displayed_at_perform_operations() {
    let app = TestApp::start().await;
    let form = app.sign_in("maker").await.get("/settings/api-keys/new").await.is(200);
    let warning =
        "Allow this only for integrations you trust: it lets the key ask for money to move.";
    assert_eq!(form.all(".choice-warn"), [warning]);
}

// Row 35
#[actix_web::test]
async fn the_form_starts_with_365_days_and_the_date_is_computed_and_shown() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    for api in ["wallet", "countersign", "insider", "omniwallet"] {
        let form = maker.get(&format!("/settings/api-keys/new?api={api}")).await.is(200);
        assert_eq!(form.attribute("#expires_in_days", "value").unwrap(), "365", "{api}");
    }
    let fields = [("api", "countersign"), ("permissions", "verify")];
    let (key, url) = issued(&app, "Gateway", &fields).await;
    assert_eq!(key.expires_at.unwrap().to_rfc3339(), "2027-03-02T09:00:00+00:00");
    maker.get(&url).await.is(200).says("Tue 2 Mar 2027, 09:00 UTC");
    let never = [&fields[..], &[("label", "Ever"), ("expires_in_days", "")]].concat();
    send(&mut maker, &never).await.is(422).says("Enter the number of days");
}

// Row 37
#[actix_web::test]
async fn peikly_a_key_without_expiry_lives_until_it_is_revoked() {
    let app = TestApp::start().await;
    let form = app.sign_in("maker").await.get("/settings/api-keys/new?api=peikly").await.is(200);
    assert_eq!(form.attribute("#expires_in_days", "value").unwrap(), "");
    let fields = [("api", "peikly"), ("permissions", "read_contacts"), ("system", "Site")];
    let fields = [&fields[..], &[("expires_in_days", "")]].concat();
    let (key, url) = issued(&app, "For ever", &fields).await;
    assert_eq!((key.expires_at, key.grant.expires_in_days), (None, None));
    app.clock.advance(chrono::TimeDelta::days(4000));
    let mut maker = app.sign_in("maker").await;
    let active = maker.get("/settings/api-keys/active").await.is(200);
    assert_eq!(active.all("a.row-link"), ["For ever"]);
    maker.get(&url).await.is(200).says("Expiresnever");
    let secret = maker.reveal(&url).await;
    app.api(&secret).about_itself().await.is(200);
    app.clock.advance(chrono::TimeDelta::days(30_000));
    app.work().await;
    app.api(&secret).about_itself().await.is(200);
    let mut maker = app.sign_in("maker").await;
    maker.get(&url).await.is(200);
    let why = [("reason", "Moved"), ("confirm_label", "For ever")];
    maker.submit(&format!("{url}/revoke"), &why).await.is(303);
    app.api(&secret).about_itself().await.is(401);
}

#[test]
fn the_example_in_the_documentation_is_a_good_entry() {
    let page = include_str!("../../docs/catalogue.md");
    let example = page.split("```").nth(1).unwrap().trim_start_matches("toml");
    let shop = Catalogue::parse([("shop.toml", example)]).unwrap();
    let shop = shop.find("shop").unwrap();
    assert_eq!(shop.find_route("GET", "/orders/export").unwrap().permission, "export");
}
