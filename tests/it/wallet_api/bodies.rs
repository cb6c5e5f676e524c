//! Bodies and queries that make no sense, and that nothing comes of them.

use actix_web::http::{Method, header};
use serde_json::{Value, json};

use crate::support::api::{MERCHANT, OPERATES, RICH, cash_in, cash_out, path};
use crate::support::{Api, TestApp};

/// A cash-in with one field changed, or taken out.
fn with(field: &str, value: Value) -> Value {
    let mut body = cash_in("5.00");
    let fields = body.as_object_mut().unwrap();
    if value == json!("(absent)") {
        fields.remove(field);
    } else {
        fields.insert(field.to_owned(), value);
    }
    body
}

async fn send(client: &Api<'_>, body: impl Into<actix_web::web::Bytes>) -> crate::support::Page {
    client.send(client.json(Method::POST, &path("operations"), body)).await
}

async fn operator(app: &TestApp) -> String {
    app.live_key("Operator", &[OPERATES]).await.1
}

/// Fails the test if anything came of the calls.
fn nothing_happened(app: &TestApp) {
    assert_eq!((app.operations(), app.used()), (0, 0));
    assert_eq!(app.number("SELECT count(*) FROM idempotency_keys"), 0);
    assert_eq!((app.own_balance(), app.holds(RICH)), (5_000_000, 2_000_000));
}

// Row 80
#[actix_web::test]
async fn an_amount_is_a_plain_positive_decimal_in_a_string() {
    let app = TestApp::with_wallets().await;
    let secret = operator(&app).await;
    let client = app.api(&secret);
    let texts = [
        "",
        "0",
        "0.00",
        "-0",
        "-1",
        "-0.01",
        "+1",
        "1e3",
        "1E3",
        " 1",
        "1 ",
        "1\t",
        "1.",
        ".5",
        ".",
        "1,000",
        "1_000",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "0x10",
        "0b1",
        "1.001",
        "1.000",
        "1.0.0",
        "--1",
        "٣",
        "１",
        "1\u{0}",
        "1'",
        "9223372036854775807",
        "92233720368547758.08",
        "-9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999",
    ];
    for text in texts {
        let page = client.cash_in(text).await.refused(400, "invalid_amount");
        assert_eq!(page.json()["field"], "amount", "{text:?}");
    }
    for value in [
        json!(5),
        json!(5.0),
        json!(-1),
        json!(1e300),
        json!(null),
        json!(true),
        json!([]),
        json!(["5.00"]),
        json!({}),
        json!({"$gt": "0"}),
    ] {
        let page = send(&client, with("amount", value.clone()).to_string()).await;
        assert_eq!(page.refused(400, "invalid_amount").json()["field"], "amount", "{value}");
    }
    // As much as fits is an amount, only nobody has it.
    for body in [cash_in("92233720368547758.07"), cash_out("92233720368547758.07")] {
        send(&client, body.to_string()).await.refused(403, "insufficient_balance");
    }
    nothing_happened(&app);
    for text in ["1", "1.5", "0.01", "00001.00"] {
        client.cash_in(text).await.operation();
    }
    assert_eq!(app.used(), 100 + 150 + 1 + 100);
}

// Row 73, row 78
#[actix_web::test]
async fn a_body_is_one_object_with_known_fields_each_once() {
    let app = TestApp::with_wallets().await;
    let secret = operator(&app).await;
    let client = app.api(&secret);
    let whole = cash_in("5.00").to_string();
    let deep = format!(r#"{{"memo":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let twice = |field: &str| whole.replacen('{', &format!(r#"{{"{field}":"9.00","#), 1);
    let texts = [
        "",
        " ",
        "null",
        "true",
        "5",
        "\"x\"",
        "[]",
        "{}",
        "{",
        "}",
        "{]",
        "[{}]",
        "NaN",
        r#"["cash-in","5.00","+234 8123456781"]"#,
        &format!("[{whole}]"),
        &format!("{whole}x"),
        &format!("{whole}{whole}"),
        &format!("\u{feff}{whole}"),
        &whole.replace('"', "'"),
        &whole.replace('}', ",}"),
        &format!("/**/{whole}"),
        &twice("amount"),
        &twice("phoneTo"),
        &twice("operationType"),
        &twice("memo").replace("\"memo\"", "\"memo\":\"a\",\"memo\""),
        &twice("fee"),
        &twice("Amount"),
        &twice("status"),
        &twice("organisation_id"),
        &twice("__proto__"),
        &deep,
    ];
    for text in texts {
        let page = send(&client, text.to_owned()).await;
        assert_eq!(
            (page.status.as_u16(), page.code().as_str()),
            (400, "invalid_request"),
            "{text:.200} -> {}",
            page.body
        );
        page.refused(400, "invalid_request");
    }
    let mut bytes = whole.clone().into_bytes();
    bytes.splice(1..1, *b"\"memo\":\"\xff\xfe\",");
    send(&client, bytes).await.refused(400, "invalid_request");
    nothing_happened(&app);
}

// Row 73, row 77, row 78, row 79
#[actix_web::test]
async fn each_field_that_is_wrong_is_named() {
    let app = TestApp::with_wallets().await;
    let secret = operator(&app).await;
    let client = app.api(&secret);
    let merchant_too = with("merchantToShortCode", json!(MERCHANT));
    let to_merchant = |code: &str| {
        let mut body = with("phoneTo", json!("(absent)"));
        body["merchantToShortCode"] = json!(code);
        body
    };
    let out = |field: &str, value: Value| {
        let mut body = cash_out("5.00");
        body[field] = value;
        body
    };
    let long = "x".repeat(101);
    let rows = [
        (merchant_too, "phoneTo"),
        (with("phoneTo", json!("(absent)")), "phoneTo"),
        (with("phoneTo", json!("+2348123456799")), "phoneTo"),
        (with("phoneTo", json!("08123456781")), "phoneTo"),
        (with("phoneTo", json!("")), "phoneTo"),
        (with("phoneTo", json!("+234 8123456781' OR '1'='1")), "phoneTo"),
        (to_merchant("999999"), "merchantToShortCode"),
        (to_merchant("20000x"), "merchantToShortCode"),
        (to_merchant(""), "merchantToShortCode"),
        // A distributor is no merchant.
        (to_merchant("300000"), "merchantToShortCode"),
        (to_merchant("100000"), "merchantToShortCode"),
        (with("operationType", json!("CASH-IN")), "operationType"),
        (with("operationType", json!("cash_in")), "operationType"),
        (with("operationType", json!("")), "operationType"),
        (with("phoneFrom", json!(RICH)), "phoneFrom"),
        (with("cashOutFulfillmentType", json!("cash")), "cashOutFulfillmentType"),
        (with("cashOutFulfillmentID", json!("r")), "cashOutFulfillmentID"),
        (with("memo", json!(long)), "memo"),
        (with("memo", json!("a\u{202e}b")), "memo"),
        (with("memo", json!("a\u{0}b")), "memo"),
        (with("memo", json!("a\nb")), "memo"),
        (out("phoneFrom", json!("+2348123456799")), "phoneFrom"),
        (out("cashOutFulfillmentType", json!("bank-transfer")), "cashOutFulfillmentType"),
        (out("phoneTo", json!(RICH)), "phoneTo"),
        (out("merchantToShortCode", json!(MERCHANT)), "merchantToShortCode"),
        (out("cashOutFulfillmentID", json!(long)), "cashOutFulfillmentID"),
    ];
    for (body, field) in rows {
        let page = send(&client, body.to_string()).await;
        assert_eq!(page.json()["field"], field, "{body} -> {}", page.body);
        page.refused(400, "invalid_request");
    }
    for field in ["operationType", "amount", "phoneTo", "memo", "merchantToShortCode", "phoneFrom"]
    {
        for value in [json!(5), json!({}), json!(["x"]), json!(true)] {
            let page = send(&client, with(field, value).to_string()).await;
            assert_eq!(page.status, 400, "{field} {}", page.body);
        }
    }
    nothing_happened(&app);
}

// Row 73
#[actix_web::test]
async fn other_content_types_are_415_and_large_bodies_413() {
    let app = TestApp::with_wallets().await;
    let secret = operator(&app).await;
    let client = app.api(&secret);
    let body = cash_in("5.00").to_string();
    let plain = || client.request(Method::POST, &path("operations")).set_payload(body.clone());
    for kind in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/json-patch+json",
        "application/jsonx",
        "multipart/form-data",
        "",
    ] {
        let page = client.send(plain().insert_header((header::CONTENT_TYPE, kind))).await;
        page.refused(415, "unsupported_media_type");
    }
    client.send(plain()).await.refused(415, "unsupported_media_type");
    let gzip = client.json(Method::POST, &path("operations"), body.clone());
    let gzip = gzip.insert_header((header::CONTENT_ENCODING, "gzip"));
    client.send(gzip).await.refused(415, "unsupported_media_type");
    for size in [16 * 1024, 40_000, 2_000_000] {
        let large = format!("{body}{}", " ".repeat(size));
        send(&client, large).await.refused(413, "payload_too_large");
    }
    nothing_happened(&app);
    let kind = (header::CONTENT_TYPE, "Application/JSON; charset=utf-8");
    client.send(plain().insert_header(kind)).await.operation();
    send(&client, format!("\r\n\t {body} \n")).await.operation();
}

// Row 75, row 85
#[actix_web::test]
async fn queries_that_make_no_sense_are_400_but_never_before_the_key_is_known() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Reader", &[("permissions", "read_transactions")]).await;
    let client = app.api(&secret);
    let limits = [
        "0",
        "-1",
        "1001",
        "+5",
        "1.0",
        "1e2",
        "abc",
        "",
        "%20",
        "99999999999999999999",
        "0x5",
        "%ff",
    ];
    let mut queries: Vec<_> = limits.map(|limit| ("limit", format!("limit={limit}"))).to_vec();
    queries.push(("", "limit=1&limit=2".to_owned()));
    for (list, more) in [("operations", "offset"), ("cashouts", "cursor")] {
        let strange = ["-1", "abc!", "MQ%00", "%ff", "9223372036854775808"];
        let strange = strange.map(|value| (more, format!("{more}={value}")));
        for (field, query) in queries.iter().chain(&strange) {
            let url = format!("{}?{query}", path(list));
            let page = client.get(&url).await;
            let found = page.json()["field"].as_str().unwrap_or_default().to_owned();
            assert_eq!(found, *field, "{url}: {}", page.body);
            page.refused(400, "invalid_request");
            app.api("uwk_nothing").get(&url).await.refused(401, "");
            let elsewhere = url.replace(crate::support::DEMO_ID, &app.other.to_string());
            client.get(&elsewhere).await.refused(403, "distributor_mismatch");
        }
        client.get(&format!("{}?limit=1&unheard=of", path(list))).await.is(200);
    }
    let last = format!("{}?offset=9223372036854775807", path("operations"));
    assert_eq!(client.get(&last).await.is(200).json(), json!([]));
}
