//! What proxies are told when they ask for a call; `tests/proxies` asks the same through real ones.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use chrono::TimeDelta;
use countersign::config::Config;
use countersign::domain::secret::PlainSecret;

use crate::nodes::{listeners, soon};
use crate::support::process::{beside, number, run, texts};
use crate::support::{DEMO_ID, Database, Page, TestApp};

const PROXY: &str = "10.0.0.1:40000";
/// The client as the proxies tell it.
const CLIENT: &str = "203.0.113.10";
const REFUSED: &str = r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#;
const READER: &[(&str, &str)] =
    &[("api", "peikly"), ("system", "Shop"), ("permissions", "read_contacts")];

/// The three ways to ask.
const KINDS: [&str; 3] = ["nginx", "forward", "envoy"];

async fn start() -> TestApp {
    let mut config = Config::for_tests();
    config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    TestApp::with(config).await
}

/// Asks for a call in one of the three ways.
fn asking(kind: &str, method: &str, target: &str) -> TestRequest {
    let request = match kind {
        "nginx" => TestRequest::with_uri("/auth/nginx")
            .insert_header(("x-original-method", method))
            .insert_header(("x-original-url", format!("https://api.example.com{target}"))),
        "forward" => TestRequest::with_uri("/auth/forward")
            .insert_header(("x-forwarded-method", method))
            .insert_header(("x-forwarded-proto", "https"))
            .insert_header(("x-forwarded-host", "api.example.com"))
            .insert_header(("x-forwarded-uri", target)),
        _ => TestRequest::with_uri(&format!("/auth/envoy{target}")).method(method.parse().unwrap()),
    };
    request.peer_addr(PROXY.parse().unwrap()).insert_header(("x-forwarded-for", CLIENT))
}

async fn ask(app: &TestApp, kind: &str, target: &str, authorization: &str) -> Page {
    let request = asking(kind, "GET", target).insert_header(("authorization", authorization));
    app.answer(request.to_request()).await
}

/// The status that was meant: nginx is told some in another word.
fn meant(kind: &str, page: &Page) -> u16 {
    let told = page.header("x-key-status");
    assert!(kind == "nginx" || told.is_empty(), "{kind} is told {told}");
    told.parse().unwrap_or(page.status.as_u16())
}

#[actix_web::test]
async fn only_trusted_proxies_may_ask() {
    let app = start().await;
    let (_, secret) = app.live_key("Shop", READER).await;
    let bearer = format!("Bearer {secret}");
    for kind in KINDS {
        ask(&app, kind, "/api/contacts", &bearer).await.is(200);
        let mut bodies = Vec::new();
        for authorization in [bearer.as_str(), "Bearer nothing"] {
            let request = asking(kind, "GET", "/api/contacts")
                .insert_header(("authorization", authorization))
                .peer_addr("203.0.113.10:40000".parse().unwrap());
            bodies.push(app.answer(request.to_request()).await.is(403).body);
        }
        assert_eq!(bodies[0], bodies[1], "a stranger learns whether a key is good");
    }
    let nobody_trusted = TestApp::start().await;
    let (_, secret) = nobody_trusted.live_key("Shop", READER).await;
    for kind in KINDS {
        ask(&nobody_trusted, kind, "/api/contacts", &format!("Bearer {secret}")).await.is(403);
    }
}

#[actix_web::test]
async fn every_way_of_having_no_good_key_gets_the_same_bytes() {
    let app = start().await;
    let (revoked, gone) = app.live_key("Gone", READER).await;
    let mut maker = app.sign_in("maker").await;
    maker.get(&revoked).await.is(200);
    let fields = [("reason", "Leaked"), ("confirm_label", "Gone")];
    maker.submit(&format!("{revoked}/revoke"), &fields).await.is(303);
    let (_, expired) = app.live_key("Short", &[READER, &[("expires_in_days", "1")]].concat()).await;
    app.clock.advance(TimeDelta::days(1));
    let (_, good) = app.live_key("Good", READER).await;
    let unknown = PlainSecret::mint("pkl").unwrap();
    let mut shown: Vec<_> = [&gone, &expired, unknown.expose(), "pkl_", "", &"x".repeat(10_000)]
        .iter()
        .map(|secret| format!("Bearer {secret}"))
        .collect();
    shown.extend([good.clone(), format!("Basic {good}"), "Bearer".to_owned()]);
    for kind in KINDS {
        let missing = app.answer(asking(kind, "GET", "/api/contacts").to_request()).await.is(401);
        let same = |page: &Page| {
            let others = page.headers.iter().filter(|(name, _)| *name != "x-request-id");
            (others.map(|(n, v)| format!("{n}: {v:?}")).collect::<Vec<_>>(), page.body.clone())
        };
        assert_eq!(
            (missing.body.as_str(), missing.header("www-authenticate")),
            (REFUSED, "Bearer")
        );
        for authorization in &shown {
            let page = ask(&app, kind, "/api/contacts", authorization).await.is(401);
            assert_eq!(same(&page), same(&missing), "{kind}: {authorization}");
        }
        let bytes = b"Bearer \xff\xfe".as_slice();
        let strange = asking(kind, "GET", "/api/contacts").insert_header(("authorization", bytes));
        assert_eq!(same(&app.answer(strange.to_request()).await), same(&missing));
        // Nobody without a key learns which paths there are.
        let page = ask(&app, kind, "/nothing", "Bearer nothing").await.is(401);
        assert_eq!(same(&page), same(&missing));
        ask(&app, kind, "/api/contacts", &format!("Bearer {good}")).await.is(200);
    }
}

#[actix_web::test]
async fn a_yes_carries_the_whole_identity_and_a_no_carries_none_of_it() {
    let app = start().await;
    let fields = [("api", "optimove"), ("access_type", "integrations"), ("expires_in_days", "")];
    let lists = [("attributes", "Email"), ("attributes", "Age"), ("channels", "sms")];
    let (narrow, secret) = app.live_key("Ada & Čeněk: 100 %", &[fields, lists].concat()).await;
    let (_, plain) = app.live_key("Plain", &fields).await;
    let path = "/current/general/GetLastDataUpdate";
    for kind in KINDS {
        let with = |secret: &str, target: &str| {
            let request =
                asking(kind, "GET", target).insert_header(("x-api-key", secret.to_owned()));
            // A client's own copies are nothing to go by.
            app.answer(request.insert_header(("x-key-id", "spoof")).to_request())
        };
        let yes = with(&secret, path).await.is(200);
        let told = |name: &str| {
            let found: Vec<_> = yes.headers.get_all(&*format!("x-key-{name}")).collect();
            assert_eq!(found.len(), 1, "x-key-{name}");
            found[0].to_str().unwrap().to_owned()
        };
        assert_eq!(narrow.rsplit('/').next(), Some(&*told("id")));
        assert_eq!(told("label"), "Ada%20%26%20%C4%8Cen%C4%9Bk%3A%20100%20%25");
        assert_eq!(told("organisation"), DEMO_ID);
        assert_eq!(told("api"), "optimove");
        assert_eq!(told("permissions"), "general actions target_groups external_systems");
        assert_eq!(told("restrictions"), "attributes=Age,Email; channels=sms");
        assert_eq!(told("expires"), "");
        assert_eq!((yes.body.as_str(), yes.header("cache-control")), ("", "no-store"));
        let none = with(&plain, path).await.is(200);
        assert!(none.headers.contains_key("x-key-restrictions"), "missing instead of empty");
        assert_eq!(none.header("x-key-restrictions"), "");
        let templates = "/current/integrations/GetChannelTemplates?ChannelID=";
        with(&secret, &format!("{templates}sms")).await.is(200);
        for target in [&format!("{templates}email"), "/current/customers/GetCustomersByAction", "/"]
        {
            let no = with(&secret, target).await.is(403);
            let identity = no.headers.keys().any(|name| name.as_str().starts_with("x-key-"));
            assert!(!identity, "{kind} {target}");
        }
    }
}

#[actix_web::test]
async fn a_proxy_that_does_not_say_what_it_was_asked_gets_no_yes() {
    let app = start().await;
    let (_, secret) = app.live_key("Shop", READER).await;
    let bearer = format!("Bearer {secret}");
    let facts = [
        ("nginx", &["x-original-method", "x-original-url"][..]),
        (
            "forward",
            &["x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"],
        ),
    ];
    for (kind, names) in facts {
        for name in names {
            let whole =
                asking(kind, "GET", "/api/contacts").insert_header(("authorization", &*bearer));
            let mut without = whole.to_request();
            let value = without.headers_mut().remove(*name).next().unwrap();
            assert_eq!(meant(kind, &app.answer(without).await), 400, "without {name}");
            let alias = name.replace('-', "_");
            for more in [*name, alias.as_str()] {
                let twice = asking(kind, "GET", "/api/contacts")
                    .insert_header(("authorization", &*bearer))
                    .append_header((more, value.clone()));
                let page = app.answer(twice.to_request()).await;
                assert_eq!(meant(kind, &page), 400, "{more} twice");
                assert!(page.status.is_client_error());
            }
        }
        for query in ["scope=x", "api=peikly&api=peikly", "permission", "api=wallet", "api=nothing"]
        {
            let mut request = asking(kind, "GET", "/api/contacts");
            request = request.uri(&format!("/auth/{kind}?{query}"));
            let page =
                app.answer(request.insert_header(("authorization", &*bearer)).to_request()).await;
            assert!(matches!(meant(kind, &page), 400 | 403), "{kind}?{query}: {}", page.status);
        }
    }
    for kind in KINDS {
        for alias in ["x_key_id", "x-key_permissions", "x_forwarded_for"] {
            let request = asking(kind, "GET", "/api/contacts")
                .insert_header(("authorization", &*bearer))
                .insert_header((alias, "1"));
            assert_eq!(meant(kind, &app.answer(request.to_request()).await), 400, "{kind} {alias}");
        }
        let other = app.live_key("Other", READER).await.1;
        let two = asking(kind, "GET", "/api/contacts")
            .append_header(("authorization", &*bearer))
            .append_header(("authorization", format!("Bearer {other}")));
        assert_eq!(meant(kind, &app.answer(two.to_request()).await), 400);
    }
}

#[actix_web::test]
async fn what_a_proxy_hands_on_binds_no_other_host_to_https() {
    let mut config = Config::for_tests();
    config.public_url = "https://keys.example.com".parse().unwrap();
    config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let app = TestApp::with(config).await;
    let hsts = |page: &Page| page.headers.contains_key("strict-transport-security");
    for kind in KINDS {
        let page = ask(&app, kind, "/api/contacts", "Bearer nothing").await.is(401);
        assert!(!hsts(&page), "{kind}");
    }
    let own = TestRequest::with_uri("/api/v1/keys/self").peer_addr(PROXY.parse().unwrap());
    assert!(hsts(&app.answer(own.to_request()).await.is(401)));
}

#[actix_web::test]
async fn any_method_may_ask_and_only_the_original_one_counts() {
    let app = start().await;
    let (_, secret) = app.live_key("Shop", READER).await;
    let bearer = format!("Bearer {secret}");
    for kind in ["nginx", "forward"] {
        for method in
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS, Method::TRACE]
        {
            let ask = |original: &str| {
                let request = asking(kind, original, "/api/contacts").method(method.clone());
                app.answer(request.insert_header(("authorization", &*bearer)).to_request())
            };
            ask("GET").await.is(200);
            ask("HEAD").await.is(200);
            for original in ["POST", "get", "DELETE"] {
                ask(original).await.is(403);
            }
        }
    }
}

#[actix_web::test]
async fn addresses_count_as_the_proxy_tells_them() {
    let app = start().await;
    let listed = [READER, &[("allowed_ips", "203.0.113.0/24")]].concat();
    let (_, secret) = app.live_key("Shop", &listed).await;
    for kind in KINDS {
        for (forwarded, status) in [
            (Some("203.0.113.10"), 200),
            (Some("198.51.100.1, 203.0.113.10, 10.0.0.2"), 200),
            (Some("::ffff:203.0.113.10"), 200),
            (Some("203.0.113.10, 198.51.100.1"), 403),
            (Some("203.0.113.10, unknown"), 403),
            (Some("203.0.113.10:443"), 403),
            (Some("10.0.0.1"), 403),
            (None, 403),
        ] {
            let mut request = asking(kind, "GET", "/api/contacts")
                .insert_header(("authorization", format!("Bearer {secret}")))
                .to_request();
            request.headers_mut().remove("x-forwarded-for");
            if let Some(forwarded) = forwarded {
                let value = forwarded.parse().unwrap();
                request.headers_mut().insert("x-forwarded-for".parse().unwrap(), value);
            }
            let page = app.answer(request).await;
            assert_eq!(page.status.as_u16(), status, "{kind} {forwarded:?}");
        }
    }
}

#[actix_web::test]
async fn a_limit_on_calls_is_kept_to_the_letter_and_told_to_each_proxy_in_its_words() {
    let app = start().await;
    let fields = [("api", "optimove"), ("access_type", "transactional"), ("expires_in_days", "90")];
    for kind in KINDS {
        let (_, secret) = app.live_key(kind, &fields).await;
        let call = |method: &str, path: &str| {
            let request = asking(kind, method, path).insert_header(("x-api-key", &*secret));
            app.answer(request.to_request())
        };
        let path = "/current/general/GetLastDataUpdate";
        for _ in 0..50 {
            call("GET", path).await.is(200);
            call("GET", "/current/nothing").await.is(403);
        }
        let refused = call("GET", path).await;
        assert_eq!(refused.status.as_u16(), if kind == "nginx" { 403 } else { 429 });
        assert_eq!(meant(kind, &refused), 429);
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(refused.json()["code"], "rate_limited");
        // Its own limit is another one.
        call("POST", "/current/optimail/SendTransactionalMail").await.is(200);
    }
}

#[actix_web::test]
async fn what_passes_and_what_is_refused_is_counted() {
    let app = start().await;
    let (key, secret) = app.live_key("Shop", READER).await;
    let bearer = format!("Bearer {secret}");
    for kind in KINDS {
        ask(&app, kind, "/api/contacts", &bearer).await.is(200);
        ask(&app, kind, "/api/triggers", &bearer).await.is(403);
        ask(&app, kind, "/nowhere", &bearer).await.is(403);
    }
    app.work().await;
    let id = key.rsplit('/').next().unwrap();
    let mut conn = beside(&app.database);
    let count = |what: &str| format!("SELECT {what} FROM key_usage WHERE key_id = '{id}'");
    assert_eq!(number(&mut conn, &count("allowed")), 3);
    assert_eq!(number(&mut conn, &count("denied")), 6);
    assert_eq!(number(&mut conn, &count("count(last_used_at)")), 1);
}

#[actix_web::test]
async fn a_server_that_may_be_out_of_date_lets_nothing_through() {
    let app = start().await;
    if !app.database.is_postgres() {
        // Here the keys in memory are all there is to know; they are never out of date.
        assert!(app.state.index.is_fresh());
        return;
    }
    let (_, secret) = app.live_key("Shop", READER).await;
    let bearer = format!("Bearer {secret}");
    let mut conn = beside(&app.database);
    let patience = std::time::Duration::from_secs(10);
    let listener = soon(patience, "listening", || listeners(&mut conn).pop());
    let name = texts(&mut conn, "SELECT current_database()::text").remove(0);
    let elsewhere = Database::postgres();
    let mut admin = beside(&elsewhere);
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"));
    number(&mut admin, &format!("SELECT pg_terminate_backend({listener})::int::bigint"));
    soon(patience, "noticing", || (!app.state.index.is_fresh()).then_some(()));
    for kind in KINDS {
        let page = ask(&app, kind, "/api/contacts", &bearer).await;
        assert_eq!(page.status.as_u16(), if kind == "nginx" { 500 } else { 503 });
        assert!(!page.headers.contains_key("x-key-id"));
    }
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"));
}
