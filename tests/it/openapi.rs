//! The description of the API says what the API does: its routes, and what each takes of a key.

use std::collections::BTreeSet;

use actix_web::http::{Method, header};
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::access::routes;
use crate::support::{DEMO_ID, Page, TestApp};

const WALLET: [&str; 3] = ["read_balance", "read_transactions", "perform_operations"];

/// One operation of the document.
struct Described {
    method: Method,
    path: String,
    about: Value,
}

async fn document(app: &TestApp) -> Value {
    let request = TestRequest::with_uri("/api/v1/openapi.json").to_request();
    let page = app.answer(request).await.is(200);
    assert_eq!(page.header("content-type"), "application/json");
    page.json()
}

fn operations(document: &Value) -> Vec<Described> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (name, about) in item.as_object().unwrap() {
            if let Ok(method) = name.to_uppercase().parse::<Method>()
                && name != "parameters"
            {
                found.push(Described { method, path: path.clone(), about: about.clone() });
            }
        }
    }
    found
}

/// A key of an API with these permissions.
async fn key(app: &TestApp, api: &str, permissions: &[&str]) -> String {
    let label = format!("{api} {}", permissions.join(" "));
    let mut fields = vec![("api", api)];
    fields.extend(permissions.iter().map(|slug| ("permissions", *slug)));
    app.live_key(&label, &fields).await.1
}

/// Calls an operation with its own example as body.
async fn call(app: &TestApp, described: &Described, secret: Option<&str>) -> Page {
    let path = described.path.replace("{id}", DEMO_ID).replace("{operation}", DEMO_ID);
    let mut request = TestRequest::with_uri(&path).method(described.method.clone());
    if let Some(secret) = secret {
        request = request.insert_header((header::AUTHORIZATION, format!("Bearer {secret}")));
    }
    let media = &described.about["requestBody"]["content"]["application/json"];
    if let Some(examples) = media["examples"].as_object() {
        let (_, example) = examples.iter().next().unwrap();
        request = request.set_json(&example["value"]);
    }
    app.answer(request.peer_addr("203.0.113.10:1".parse().unwrap()).to_request()).await
}

#[actix_web::test]
async fn the_document_describes_exactly_the_routes_there_are() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|one| (one.method.to_string(), one.path)).collect();
    let mut found = routes(&app).await;
    found.retain(|(_, path)| path.starts_with("/api"));
    assert_eq!(described, found);
}

#[actix_web::test]
async fn each_operation_takes_the_permission_it_names_and_no_other() {
    let app = TestApp::start().await;
    let operations = operations(&document(&app).await);
    let denied = |page: &Page| {
        let refused = page.status == 403 && page.json()["code"] == "insufficient_permission";
        assert!(refused || page.status != 403, "{}", page.body);
        refused
    };
    for one in &operations {
        let what = format!("{} {}", one.method, one.path);
        if one.about["security"] == json!([]) {
            call(&app, one, None).await.is(200);
            continue;
        }
        call(&app, one, None).await.is(401);
        let own = one.about["x-permission"].as_str();
        for slug in WALLET {
            let only = call(&app, one, Some(&key(&app, "wallet", &[slug]).await)).await;
            assert_eq!(denied(&only), own.is_some_and(|own| own != slug), "{what}, {slug} alone");
            let others: Vec<_> = WALLET.into_iter().filter(|other| *other != slug).collect();
            let without = call(&app, one, Some(&key(&app, "wallet", &others).await)).await;
            let expected = own.is_some_and(|own| !others.contains(&own));
            assert_eq!(denied(&without), expected, "{what}, all but {slug}");
        }
        let verifier = call(&app, one, Some(&key(&app, "countersign", &["verify"]).await)).await;
        let other_api = one.about["x-api"].as_str().is_some_and(|api| api != "countersign");
        assert_eq!(denied(&verifier), other_api, "{what}, with a key of another API");
    }
    let named: BTreeSet<_> =
        operations.iter().filter_map(|one| one.about["x-permission"].as_str()).collect();
    assert_eq!(named.len(), WALLET.len() + 1, "every permission opens something: {named:?}");
}

#[actix_web::test]
async fn answers_of_ours_are_described_with_their_status_and_code() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let secret = key(&app, "wallet", &WALLET).await;
    let bearer = format!("Bearer {secret}");
    let operations = format!("/api/v1/distributors/{DEMO_ID}/operations");
    let cashout = format!("/api/v1/distributors/{DEMO_ID}/cashouts/{DEMO_ID}");
    let cash = json!({ "cashOutFulfillmentType": "cash" });
    let rows = [
        ("GET", format!("{operations}?limit=1&limit=2"), None, 400),
        ("GET", format!("{operations}?limit=%ff"), None, 400),
        ("GET", operations.replace("/operations", "/cashouts?cursor=x"), None, 400),
        ("POST", operations.clone(), Some(json!([])), 400),
        ("POST", operations.clone(), None, 415),
        ("POST", operations.clone(), Some(json!("x".repeat(17 * 1024))), 413),
        ("PUT", cashout, Some(cash), 404),
    ];
    for (method, uri, body, status) in rows {
        let method: Method = method.parse().unwrap();
        let request = TestRequest::with_uri(&uri).method(method.clone());
        let request = request.insert_header((header::AUTHORIZATION, bearer.as_str()));
        let request = body.iter().fold(request, |request, body| request.set_json(body));
        let page = app.answer(request.to_request()).await.is(status);
        let path = uri.split('?').next().unwrap().replacen(DEMO_ID, "{id}", 1);
        let path = path.replace(DEMO_ID, "{operation}");
        let about = &document["paths"][&path][method.as_str().to_lowercase()]["responses"];
        let name = about[status.to_string()]["$ref"].as_str().expect(&path).to_owned();
        let described = document.pointer(name.trim_start_matches('#')).unwrap();
        let codes = &described["content"]["application/json"]["schema"]["allOf"][1]["properties"];
        let code = page.json()["code"].clone();
        assert!(codes["code"]["enum"].as_array().unwrap().contains(&code), "{uri}: {}", page.body);
        assert_eq!(codes["error"]["const"], page.json()["error"], "{uri}");
    }
}
