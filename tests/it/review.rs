//! What a hostile reading of the code found, kept from coming back.

use actix_web::http::Method;
use countersign::actions::members::{self, NewMember};
use countersign::config::Config;
use countersign::domain::member::Role;
use countersign::error::Error;

use crate::support::process::Home;
use crate::support::{PASSWORD, TestApp, email};

const READS: &[(&str, &str)] = &[("permissions", "read_balance")];

/// Invites somebody into the demo's organisation; gives the path of the link.
async fn invite(app: &TestApp, who: &str, role: Role) -> Result<String, Error> {
    let new = NewMember {
        organisation_id: app.demo.clone(),
        email: email(who).parse().unwrap(),
        name: "Somebody New".to_owned(),
        roles: [role].into_iter().collect(),
    };
    let link = app.db.write(move |tx| members::invite(tx, &new)).await?;
    Ok(url::Url::parse(&link).unwrap().path().to_owned())
}

#[actix_web::test]
async fn a_key_opens_no_other_api_even_where_permissions_have_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let wallet = include_str!("../../catalogue/wallet.toml");
    let billing = wallet.replace("\"wallet\"", "\"billing\"").replace("\"uwk\"", "\"bil\"");
    std::fs::write(dir.path().join("wallet.toml"), wallet).unwrap();
    std::fs::write(dir.path().join("billing.toml"), billing).unwrap();
    let config = Config { catalogue_dir: Some(dir.path().to_owned()), ..Config::for_tests() };
    let app = TestApp::with(config).await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new").await.is(200);
    let other = form.attribute("#api a", "href").unwrap();
    let form = maker.get(&other).await.is(200);
    assert_eq!(form.attribute("input[name=api]", "value").unwrap(), "billing");
    let fields = [("api", "billing"), ("permissions", "read_balance")];
    let (_, secret) = app.live_key("Invoices", &fields).await;
    assert!(secret.starts_with("bil_"), "{secret}");
    let api = app.api(&secret);
    assert_eq!(api.balance().await.is(403).json()["code"], "insufficient_permission");
    assert_eq!(api.get("/api/v1/keys/self").await.is(200).json()["api"], "billing");
    let (_, secret) = app.live_key("Till", READS).await;
    app.api(&secret).balance().await.is(200);
}

#[actix_web::test]
async fn a_link_that_ran_out_is_renewed_and_a_password_is_set_anew() {
    let app = TestApp::start().await;
    let old = invite(&app, "new", Role::Viewer).await.unwrap();
    let new = invite(&app, "new", Role::Viewer).await.unwrap();
    let mut guest = app.visitor();
    guest.get(&old).await.is(422).says("no longer valid");
    guest.get(&new).await.is(200);
    guest.submit(&new, &[("password", "abode quiver lantern")]).await.is(303);
    guest.sign_in(&email("new"), "abode quiver lantern").await.is(303);

    let mut signed_in = app.sign_in("maker").await;
    let link = invite(&app, "maker", Role::Maker).await.unwrap();
    let mut owner = app.visitor();
    owner.get(&link).await.is(200);
    owner.submit(&link, &[("password", "another lantern quiver")]).await.is(303);
    signed_in.get("/").await.is(303);
    owner.get("/login").await;
    owner.sign_in(&email("maker"), PASSWORD).await.is(422);
    owner.sign_in(&email("maker"), "another lantern quiver").await.is(303);
    assert_eq!(app.audit("member.password_set").await.len(), 1);

    // A link never changes what somebody may do.
    assert!(matches!(invite(&app, "maker", Role::Checker).await, Err(Error::Refused(_))));
    assert!(matches!(
        invite(&app, "maker@other.example", Role::Maker).await,
        Err(Error::Refused(_))
    ));
}

#[actix_web::test]
async fn saying_saved_on_an_older_page_does_not_confirm_the_newer_secret() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Two tabs", READS).await;
    let mut maker = app.sign_in("maker").await;
    let older = maker.get(&key).await.attribute("input[name=secret]", "value").unwrap();
    let secret = maker.reveal(&key).await;
    let confirm = format!("{key}/confirm");
    maker.submit(&confirm, &[("secret", &older)]).await.is(409).says("revealed again");
    let newer = maker.get(&key).await.attribute("input[name=secret]", "value").unwrap();
    assert_ne!(older, newer);
    maker.submit(&confirm, &[("secret", &newer)]).await.is(303);
    app.api(&secret).balance().await.is(200);
}

#[actix_web::test]
async fn a_label_is_confirmed_as_it_is_read() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Main \u{a0}  store", READS).await;
    let mut maker = app.sign_in("maker").await;
    maker.get(&key).await.is(200).says("Main store");
    let fields = [("reason", "Done"), ("confirm_label", " Main  store ")];
    maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
}

#[actix_web::test]
async fn forms_that_come_back_keep_what_was_typed() {
    let app = TestApp::start().await;
    let request = app.sign_in("maker").await.ask_for_key("Wordy").await;
    let mut checker = app.sign_in("checker").await;
    checker.get(&request).await.is(200);
    let long = "No ".repeat(400);
    for (verb, field) in [("approve", "comment"), ("reject", "reason")] {
        let fields = [("version", "1"), (field, long.as_str())];
        let page = checker.submit(&format!("{request}/{verb}"), &fields).await.is(422);
        assert!(page.all(&format!("textarea[name={field}]"))[0].starts_with("No No No"), "{verb}");
        assert!(page.all(&format!("#{field}-error"))[0].contains("1,000"), "{verb}");
    }
    let (key, _) = app.live_key("Typed", READS).await;
    checker.get(&key).await.is(200);
    let fields = [("reason", "It leaked"), ("confirm_label", "Tpyed")];
    let page = checker.submit(&format!("{key}/revoke"), &fields).await.is(422);
    assert_eq!(page.attribute("input[name=reason]", "value").unwrap(), "It leaked");
    assert_eq!(page.attribute("input[name=confirm_label]", "value").unwrap(), "Tpyed");
}

#[actix_web::test]
async fn a_checker_who_voted_is_not_told_to_decide_again() {
    let app = TestApp::start().await;
    app.sql("UPDATE organisations SET approvals_needed = 2");
    let request = app.sign_in("maker").await.ask_for_key("Two of us").await;
    let mut checker = app.sign_in("checker").await;
    assert_eq!(checker.get("/").await.all(".nav .count"), ["1 pending"]);
    let voted = checker.approve(&request).await;
    checker.follow(&voted).await.is(200).says("It still needs somebody else.");
    assert!(checker.get("/").await.all(".nav .count").is_empty());
    checker.approve(&request).await.is(409).says("already approved");
    app.sign_in("checker2").await.approve(&request).await.is(303);
}

#[actix_web::test]
async fn head_is_answered_like_get_and_changes_no_rule() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    for (path, status) in
        [("/livez", 200), ("/login", 200), ("/", 303), ("/logout", 405), ("/x", 404)]
    {
        let page = app.answer(visitor.request(Method::HEAD, path).to_request()).await;
        assert_eq!(page.status.as_u16(), status, "{path}");
    }
}

#[actix_web::test]
async fn a_problem_leads_back_to_the_page_it_came_from_and_nowhere_else() {
    let app = TestApp::start().await;
    let request = app.sign_in("maker").await.ask_for_key("Twice").await;
    let mut checker = app.sign_in("checker").await;
    checker.approve(&request).await.is(303);
    let fields = [("version", "1"), ("comment", "")];
    let (ours, theirs) =
        (format!("http://localhost:8080{request}"), "https://evil.example/requests");
    for (from, back) in [(ours.as_str(), request.as_str()), (theirs, "/")] {
        let form = checker.form(&format!("{request}/approve"), &fields);
        let form = form.insert_header(("host", "localhost:8080")).insert_header(("referer", from));
        let page = checker.send(form).await.is(409).says("already approved");
        assert_eq!(page.attribute(".problem .btn-primary", "href").unwrap(), back, "{from}");
    }
}

#[actix_web::test]
async fn strange_query_strings_get_a_page() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    for path in ["/requests?page=x", "/settings/api-keys/active?page=", "/login?next=a&next=b"] {
        let page = maker.get(path).await.is(400);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(!page.body.contains("deserialize"), "{path}");
    }
}

#[actix_web::test]
async fn a_call_to_try_a_key_with_is_one_that_the_key_may_make() {
    let app = TestApp::start().await;
    for (permission, path) in [("read_balance", "/balance"), ("read_transactions", "/keys/self")] {
        let mut maker = app.sign_in("maker").await;
        let request = maker.ask_with("Try", &[("permissions", permission)]).await;
        app.sign_in("checker").await.approve(&request).await.is(303);
        let key = app.key_of(&request).await;
        maker.get(&key).await.is(200);
        let page = maker.submit(&format!("{key}/reveal"), &[]).await.is(200);
        assert!(page.all("pre.code")[0].ends_with(path), "{permission}");
    }
}

#[test]
fn a_second_server_on_the_same_sqlite_file_does_not_start() {
    let home = Home::fresh();
    if home.database.is_postgres() {
        return assert!(home.database.folder().is_none(), "PostgreSQL has nodes; see nodes.rs");
    }
    let first = home.serve();
    first.wait_until_up();
    let port = crate::support::process::free_port().to_string();
    let bind = format!("127.0.0.1:{port}");
    home.run(&["serve", "--bind", &bind, "--public-url", &format!("http://{bind}")])
        .ended(1, "another Countersign serves");
    first.kill();
    let again = home.serve();
    again.wait_until_up();
}

#[test]
fn an_audit_of_a_file_that_is_not_there_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let command = crate::support::process::bare(
        dir.path(),
        &["audit", "verify", "--database-url", "sqlite://typo.db"],
    );
    crate::support::process::finish(dir.path(), command)
        .ended(1, "there is no database file typo.db");
    assert!(!dir.path().join("typo.db").exists());
}
