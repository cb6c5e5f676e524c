//! Who may call what: one row per route, and no route without a row.

use std::collections::BTreeSet;

use actix_web::http::Method;
use actix_web::introspection::IntrospectionTree;
use actix_web::web::{Data, get};
use actix_web::{App, test};
use countersign::actions::members::{self, NewMember};
use countersign::actions::wallets;
use countersign::domain::member::Role;
use countersign::domain::refusal::Refusal;
use countersign::error::Error;
use countersign::web;

use crate::support::{Browser, DEMO_ID, Page, TestApp, email};

/// In the order of the columns below; `maker` made the thing that is asked about.
const ROLES: [&str; 8] =
    ["visitor", "maker", "maker2", "checker", "both", "admin", "viewer", "maker@other.example"];

/// The expectation 303 that leads to the sign-in page.
const LOGIN: u16 = 1;

/// What a path is about; made afresh for each call.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Nothing,
    Request,
    ApprovedKey,
    RevealedKey,
    Invitation,
    Merchant,
}

use Thing::{ApprovedKey, Invitation, Merchant, Nothing, Request, RevealedKey};

struct Row(&'static str, &'static str, Thing, &'static [(&'static str, &'static str)], [u16; 8]);

const ALL: [u16; 8] = [200; 8];
const KEYLESS: [u16; 8] = [401; 8];
const MEMBERS: [u16; 8] = [LOGIN, 200, 200, 200, 200, 200, 200, 200];
const OURS: [u16; 8] = [LOGIN, 200, 200, 200, 200, 200, 200, 404];
const DECIDE: [u16; 8] = [LOGIN, 403, 403, 303, 303, 403, 403, 404];
const NEW_KEY: &[(&str, &str)] = &[
    ("label", "New"),
    ("permissions", "read_balance"),
    ("environment", "production"),
    ("expires_in_days", "30"),
];
const NEW_OPERATION: &[(&str, &str)] =
    &[("operation_type", "cash-in"), ("amount", "10"), ("merchant_to_short_code", "200000")];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row("GET", "/api/v1/openapi.json", Nothing, &[], ALL),
    Row("GET", "/livez", Nothing, &[], ALL),
    Row("GET", "/readyz", Nothing, &[], ALL),
    Row("GET", "/static/{name}", Nothing, &[], ALL),
    // A session opens no API.
    Row("GET", "/api/v1/keys/self", Nothing, &[], KEYLESS),
    Row("POST", "/api/v1/keys/self/revoke", Nothing, &[], KEYLESS),
    Row("POST", "/api/v1/verify", Nothing, &[], KEYLESS),
    Row("GET", "/api/v1/distributors/{id}/balance", Nothing, &[], KEYLESS),
    // No proxy is trusted here, and nobody else may ask.
    Row("ANY", "/auth/nginx", Nothing, &[], [403; 8]),
    Row("ANY", "/auth/forward", Nothing, &[], [403; 8]),
    Row("ANY", "/auth/envoy/{path:.*}", Nothing, &[], [403; 8]),
    Row("ANY", "/auth/envoy-for/{api}/{path:.*}", Nothing, &[], [403; 8]),
    Row("GET", "/api/v1/distributors/{id}/operations", Nothing, &[], KEYLESS),
    Row("POST", "/api/v1/distributors/{id}/operations", Nothing, &[], KEYLESS),
    Row("GET", "/api/v1/distributors/{id}/cashouts", Nothing, &[], KEYLESS),
    Row("PUT", "/api/v1/distributors/{id}/cashouts/{operation}", Nothing, &[], KEYLESS),
    Row("GET", "/login", Nothing, &[], ALL),
    Row("POST", "/login", Nothing, &[("email", "a@b.example"), ("password", "wrong")], [422; 8]),
    Row("GET", "/invitation/{token}", Invitation, &[], ALL),
    Row("POST", "/invitation/{token}", Invitation, &[("password", "abode quiver lantern")], [LOGIN; 8]),
    Row("GET", "/", Nothing, &[], MEMBERS),
    Row("GET", "/settings/api-keys", Nothing, &[], [LOGIN, 303, 303, 303, 303, 303, 303, 303]),
    Row("GET", "/settings/api-keys/new", Nothing, &[], [LOGIN, 200, 200, 403, 200, 403, 403, 200]),
    Row("POST", "/settings/api-keys", Nothing, NEW_KEY, [LOGIN, 303, 303, 403, 303, 403, 403, 303]),
    Row("GET", "/settings/api-keys/{key}", RevealedKey, &[], OURS),
    Row("GET", "/settings/api-keys/{key}/usage.csv", RevealedKey, &[], OURS),
    Row("POST", "/settings/api-keys/{key}/reveal", ApprovedKey, &[], [LOGIN, 200, 403, 403, 403, 403, 403, 404]),
    Row("POST", "/settings/api-keys/{key}/confirm", RevealedKey, &[], [LOGIN, 303, 403, 403, 403, 403, 403, 404]),
    Row("POST", "/settings/api-keys/{key}/revoke", RevealedKey, &[("reason", "r"), ("confirm_label", "Thing")],
        [LOGIN, 303, 303, 303, 303, 303, 403, 404]),
    Row("GET", "/settings/api-keys/{key}/check", RevealedKey, &[], OURS),
    Row("GET", "/operations", Nothing, &[], MEMBERS),
    Row("GET", "/operations/new", Nothing, &[], [LOGIN, 200, 200, 403, 200, 403, 403, 200]),
    // The wallet of the other organisation is empty.
    Row("POST", "/operations", Merchant, NEW_OPERATION, [LOGIN, 303, 303, 403, 303, 403, 403, 422]),
    Row("GET", "/docs", Nothing, &[], MEMBERS),
    Row("GET", "/requests", Nothing, &[], MEMBERS),
    Row("GET", "/requests/{id}", Request, &[], OURS),
    Row("POST", "/requests/{id}/approve", Request, &[("version", "1"), ("comment", "")], DECIDE),
    Row("POST", "/requests/{id}/reject", Request, &[("version", "1"), ("reason", "No")], DECIDE),
    Row("POST", "/requests/{id}/withdraw", Request, &[], [LOGIN, 303, 403, 403, 403, 403, 403, 404]),
    Row("POST", "/logout", Nothing, &[], [LOGIN; 8]),
];

/// Method and path of every route, as actix knows them; `ANY` for a route that takes every method.
pub(crate) async fn routes(app: &TestApp) -> BTreeSet<(String, String)> {
    let report = get().to(|tree: Data<IntrospectionTree>| async move { tree.report_as_json() });
    let service = App::new().route("/_routes", report).configure(web::routes(app.state.clone()));
    let service = test::init_service(service).await;
    let request = test::TestRequest::get().uri("/_routes").to_request();
    let body = test::call_and_read_body(&service, request).await;
    let report: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let routes = report.iter().filter(|item| item["resource_type"] == "resource");
    routes
        .flat_map(|item| {
            let path = item["full_path"].as_str().unwrap().to_owned();
            let methods = item["methods"].as_array().unwrap().iter();
            let mut methods: Vec<_> = methods.map(|m| m.as_str().unwrap().to_owned()).collect();
            if methods.is_empty() {
                methods.push("ANY".to_owned());
            }
            methods.into_iter().map(move |method| (method, path.clone()))
        })
        .filter(|(_, path)| path != "/_routes")
        // Answered like GET.
        .filter(|(method, _)| method != "HEAD")
        .collect()
}

#[actix_web::test]
async fn every_route_has_an_access_row() {
    let found = routes(&TestApp::start().await).await;
    let listed = ROWS.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    assert_eq!(found, listed);
}

#[actix_web::test]
async fn every_route_answers_each_role_as_its_row_says() {
    let app = TestApp::start().await;
    let mut people = people(&app).await;
    for row in ROWS {
        for (i, expected) in row.4.iter().enumerate() {
            let path = path(&app, row, &mut people[1].clone()).await;
            let page = call(row, &path, &mut people[i]).await;
            let what = format!("{} {path} as {}: {}", row.0, ROLES[i], page.text());
            let status = if *expected == LOGIN { 303 } else { *expected };
            assert_eq!(page.status.as_u16(), status, "{what}");
            let to_login = status == 303 && page.location().starts_with("/login");
            assert_eq!(to_login, *expected == LOGIN, "{what} -> {}", page.location());
        }
    }
}

#[actix_web::test]
async fn reading_changes_nothing() {
    let app = TestApp::start().await;
    let mut people = people(&app).await;
    for row in ROWS.iter().filter(|row| row.0 == "GET") {
        let path = path(&app, row, &mut people[1].clone()).await;
        let before = app.dump();
        for person in &mut people {
            person.get(&path).await;
            for method in [Method::HEAD, Method::OPTIONS] {
                person.send(person.request(method, &path)).await;
            }
        }
        before.equals(&app.dump(), &path);
    }
}

async fn people(app: &TestApp) -> Vec<Browser<'_>> {
    let mut people = vec![app.visitor()];
    for who in &ROLES[1..] {
        people.push(app.sign_in(who).await);
    }
    people
}

async fn call(row: &Row, path: &str, person: &mut Browser<'_>) -> Page {
    let for_visitors = matches!(row.1, "/login" | "/invitation/{token}");
    if for_visitors {
        person.get(path).await;
    }
    let page = match row.0 {
        "GET" => person.get(path).await,
        "POST" => person.submit(path, row.3).await,
        other => person.send(person.request(other.parse().unwrap(), path)).await,
    };
    if for_visitors {
        // Back to the proof that the forms of the session carry.
        person.get("/").await;
    }
    page
}

/// The path of a row with a fresh thing of the maker in it.
async fn path(app: &TestApp, row: &Row, maker: &mut Browser<'_>) -> String {
    let url = match row.2 {
        Nothing => String::new(),
        Request => maker.ask_for_key("Thing").await,
        ApprovedKey => approved(app, maker).await,
        RevealedKey => {
            let key = approved(app, maker).await;
            maker.reveal(&key).await;
            key
        }
        Invitation => invitation(app).await,
        Merchant => merchant(app).await,
    };
    let id = url.rsplit('/').next().unwrap_or_default();
    let path =
        if row.1.starts_with("/api") { row.1.replace("{id}", DEMO_ID) } else { row.1.into() };
    let path = path.replace("{name}", "app.css").replace("{operation}", DEMO_ID);
    ["{id}", "{key}", "{token}"].iter().fold(path, |path, name| path.replace(name, id))
}

async fn approved(app: &TestApp, maker: &mut Browser<'_>) -> String {
    let request = maker.ask_for_key("Thing").await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    app.key_of(&request).await
}

/// Somebody who can be paid, by the short code of the form.
async fn merchant(app: &TestApp) -> String {
    let ngn = "NGN".parse().unwrap();
    let open = app.db.write(move |tx| wallets::open_for_merchant(tx, "200000", "ABC Store", ngn));
    match open.await {
        Ok(_) | Err(Error::Refused(Refusal::WalletTaken(_))) => String::new(),
        Err(e) => panic!("{e}"),
    }
}

/// The link of an invitation for somebody new.
pub(crate) async fn invitation(app: &TestApp) -> String {
    let new = NewMember {
        organisation_id: app.demo.clone(),
        email: email(&format!("new-{}", uuid::Uuid::new_v4())).parse().unwrap(),
        name: "Somebody New".to_owned(),
        roles: [Role::Viewer].into_iter().collect(),
    };
    app.db.write(move |tx| members::invite(tx, &new)).await.unwrap()
}
