//! What is no key: one answer for all of it, byte by byte and in the same time.

use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use countersign::domain::id::KeyId;
use countersign::domain::secret::PlainSecret;
use countersign::store;

use crate::support::api::{REFUSED, path};
use crate::support::{Page, TestApp};

const READS: (&str, &str) = ("permissions", "read_balance");

fn request() -> TestRequest {
    TestRequest::with_uri(&path("balance")).peer_addr("203.0.113.10:1".parse().unwrap())
}

fn bearer(secret: &str) -> TestRequest {
    request().insert_header((header::AUTHORIZATION, format!("Bearer {secret}")))
}

/// Everything of an answer that a client sees but its number and its date.
fn seen(page: &Page) -> (StatusCode, Vec<String>, String) {
    let lines =
        page.headers.iter().filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let mut lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {value:?}")).collect();
    lines.sort();
    (page.status, lines, page.body.clone())
}

/// Secrets that open nothing, each for a cause of its own.
async fn dead_secrets(app: &TestApp) -> Vec<(&'static str, String)> {
    let mut maker = app.sign_in("maker").await;
    let (key, revoked) = app.live_key("Revoked", &[READS]).await;
    maker.get(&key).await.is(200);
    let why = [("reason", "Lost"), ("confirm_label", "Revoked")];
    maker.submit(&format!("{key}/revoke"), &why).await.is(303);
    let (_, expired) = app.live_key("Expired", &[READS, ("expires_in_days", "1")]).await;
    let (_, ended) = app.live_key("Ended", &[READS]).await;
    let request = maker.ask_with("Shown again", &[READS]).await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    let replaced = maker.reveal(&key).await;
    maker.reveal(&key).await;
    app.clock.advance(TimeDelta::days(1));
    app.api(&ended)
        .send(app.api(&ended).request(Method::POST, "/api/v1/keys/self/revoke"))
        .await
        .is(200);
    let (key, suspended) = app.live_key("Suspended", &[READS]).await;
    app.sql("UPDATE keys SET state = 'suspended', version = version + 1 WHERE label = 'Suspended'");
    let id: KeyId = key.rsplit('/').next().unwrap().parse().unwrap();
    let changed = app.db.read(move |conn| store::keys::find_snapshot(conn, &id)).await;
    app.state.index.apply(store::Change::Key(Box::new(changed.unwrap().unwrap())));
    let unknown = PlainSecret::mint("uwk").unwrap().expose().to_owned();
    let other_prefix = PlainSecret::mint("opt").unwrap().expose().to_owned();
    vec![
        ("revoked", revoked),
        ("expired", expired),
        ("revoked by its bearer", ended),
        ("replaced before its first use", replaced),
        ("suspended", suspended),
        ("unknown", unknown),
        ("malformed", "uwk_short".to_owned()),
        ("of another API and unknown", other_prefix),
    ]
}

// Row 36, row 66, row 70
#[actix_web::test]
async fn every_401_is_the_same_byte_for_byte() {
    let app = TestApp::start().await;
    let dead = dead_secrets(&app).await;
    let (_, live) = app.live_key("Alive", &[READS]).await;
    let expected = seen(&app.answer(request().to_request()).await);
    assert_eq!((expected.0.as_u16(), expected.2.as_str()), (401, REFUSED));
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let values = [
        basic(format!("{live}:")),
        basic(format!(":{live}")),
        live.clone(),
        format!("Token {live}"),
        format!("Bearer{live}"),
        format!("Bearer {live}x"),
        format!("Bearer {}", &live[..live.len() - 1]),
        format!("Bearer {}", live.to_lowercase()),
        format!("Bearer {live} {live}"),
        format!("Bearer \"{live}\""),
        format!("Bearer {}", "u".repeat(10_000)),
        format!("Bearer uwk_{}", "a".repeat(10_000)),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ];
    let mut calls: Vec<(String, TestRequest)> = values
        .into_iter()
        .map(|value| (value.clone(), request().insert_header((header::AUTHORIZATION, value))))
        .collect();
    calls.extend(dead.iter().map(|(cause, secret)| ((*cause).to_owned(), bearer(secret))));
    let raw = HeaderValue::from_bytes(b"Bearer uwk_\xff\xfe\xfd").unwrap();
    calls.push(("not UTF-8".to_owned(), request().insert_header((header::AUTHORIZATION, raw))));
    for name in ["x-api-key", "x-request-token", "x-ins-auth-key", "api-key", "proxy-authorization"]
    {
        calls.push((name.to_owned(), request().insert_header((name, live.as_str()))));
    }
    for query in ["api_key", "access_token", "key", "authorization"] {
        let url = format!("{}?{query}={live}", path("balance"));
        calls.push((query.to_owned(), request().uri(&url)));
    }
    let cookie = format!("authorization=Bearer {live}; api_key={live}");
    calls.push(("cookie".to_owned(), request().insert_header((header::COOKIE, cookie))));
    for (kind, body) in [
        ("application/json", format!(r#"{{"key":"{live}","access_token":"{live}"}}"#)),
        ("application/x-www-form-urlencoded", format!("access_token={live}")),
    ] {
        calls.push((
            kind.to_owned(),
            request().insert_header((header::CONTENT_TYPE, kind)).set_payload(body),
        ));
    }
    for (cause, call) in calls {
        let page = app.answer(call.to_request()).await;
        assert_eq!(seen(&page), expected, "{cause}");
    }
    app.api(&live).balance().await.is(200);
}

// Row 66: the scheme is a word whose case does not count, as in HTTP.
#[actix_web::test]
async fn two_different_keys_are_400_and_one_key_twice_is_one_key() {
    let app = TestApp::start().await;
    let (_, one) = app.live_key("One", &[READS]).await;
    let (_, two) = app.live_key("Two", &[READS]).await;
    let both = |first: &str, name: &str, second: &str| {
        bearer(first).append_header((name.to_owned(), second.to_owned()))
    };
    for call in [
        both(&one, "authorization", &format!("Bearer {two}")),
        both(&one, "x-api-key", &two),
        both(&one, "x-request-token", &two),
        both(&one, "x-api-key", "rubbish"),
        request()
            .insert_header(("x-api-key", one.as_str()))
            .insert_header(("x-ins-auth-key", two.as_str())),
    ] {
        app.answer(call.to_request()).await.refused(400, "invalid_request");
    }
    for call in [
        both(&one, "x-api-key", &one),
        both(&one, "authorization", "Basic abc"),
        request().insert_header((header::AUTHORIZATION, format!("bEARER {one}"))),
    ] {
        app.answer(call.to_request()).await.is(200);
    }
}

/// The middle of many times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

// Row 70: how long it takes does not tell an expired key from one that never was.
#[actix_web::test]
async fn a_401_takes_as_long_whatever_the_cause() {
    const ROUNDS: usize = 150;
    let app = TestApp::start().await;
    let dead = dead_secrets(&app).await;
    let mut times: Vec<Vec<Duration>> = vec![Vec::with_capacity(ROUNDS); dead.len()];
    // One after the other, so that a slow moment of this machine is shared by all.
    for round in 0..ROUNDS {
        for (i, (_, secret)) in dead.iter().enumerate() {
            let octet = (round % 200) + 1;
            let peer = format!("203.0.113.{octet}:1").parse().unwrap();
            let call = bearer(secret).peer_addr(peer).to_request();
            let began = Instant::now();
            let page = app.answer(call).await;
            times[i].push(began.elapsed());
            assert_eq!(page.status, 401);
        }
    }
    let medians: Vec<_> = times.into_iter().map(median).collect();
    let told: Vec<_> = dead.iter().map(|(cause, _)| cause).zip(&medians).collect();
    let (fast, slow) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    // A look into the database, a hash of a password or a sleep would all be more than this.
    assert!(*slow < *fast * 3 + Duration::from_micros(200), "{told:?}");
}
