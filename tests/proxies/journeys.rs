//! What the source products promise of their keys, kept before a service that knows nothing of keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign::config::Config;
use countersign::domain::catalogue::Api;
use countersign::site::Site;
use serde_json::{Value, json};

use crate::stage::{Key, Proxy, Stage, header, seen};
use crate::support::http::Answer;

/// An entry of the built-in catalogue.
fn entry(slug: &str) -> Arc<Api> {
    let site = Site::load(&Config::for_tests()).unwrap();
    Arc::clone(site.catalogue.find(slug).unwrap())
}

/// The permissions of an access type.
fn permissions(api: &Api, access_type: &str) -> BTreeSet<String> {
    api.access_type(access_type).unwrap().permissions.iter().cloned().collect()
}

/// Calls every route of an entry once; exactly the ones with these permissions come through.
#[track_caller]
fn opens(proxy: &Proxy, api: &Api, headers: &[(&str, &str)], permissions: &BTreeSet<String>) {
    let expected = |permission: &String| if permissions.contains(permission) { 200 } else { 403 };
    for route in &api.routes {
        let path = route.path.replace(['{', '}'], "");
        let answer = proxy.call((&route.method, &path), headers, "");
        let what = format!("{} {path} ({}) through {}", route.method, route.permission, proxy.name);
        assert_eq!(answer.status, expected(&route.permission), "{what}: {}", answer.body);
    }
    assert!(permissions.iter().all(|slug| api.routes.iter().any(|r| r.permission == *slug)));
}

fn optimove(stage: &Stage, access_type: &str, restrictions: &[(&str, &str)]) -> Key {
    let usual = [("api", "optimove"), ("access_type", access_type), ("expires_in_days", "90")];
    stage.key(&[&usual[..], restrictions].concat())
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

// Row 17: Access type Admin: all calls allowed (except transactional set)
// Row 18: Access type Integrations: only the allowed endpoint list; else 403
// Row 23: Access type Transactional: all endpoints incl. transactional ones
// Row 67: Auth header X-API-KEY, no login call needed
#[test]
fn optimove_keys_open_the_calls_of_their_access_type() {
    let stage = Stage::with("api=optimove");
    let api = entry("optimove");
    let all: BTreeSet<_> = api.permissions.iter().map(|p| p.slug.clone()).collect();
    let everyday: BTreeSet<_> =
        all.iter().filter(|slug| *slug != "transactional_mail").cloned().collect();
    assert_eq!(permissions(&api, "admin"), everyday);
    assert_eq!(permissions(&api, "transactional"), all);
    assert!(permissions(&api, "integrations").is_subset(&everyday));
    for access_type in ["admin", "integrations", "transactional"] {
        for proxy in stage.proxies() {
            // One each, as their rate is limited.
            let key = optimove(&stage, access_type, &[]);
            let header = [("X-API-KEY", key.secret.as_str())];
            opens(proxy, &api, &header, &permissions(&api, access_type));
            let bearer = format!("Bearer {}", key.secret);
            let path = "/current/general/GetLastDataUpdate";
            proxy.get(path, ("Authorization", &bearer)).is(401);
            proxy.get(path, ("X-REQUEST-TOKEN", &key.secret)).is(401);
            proxy.call(("GET", path), &[], "").is(401);
        }
    }
}

// Row 20: Integrations: attribute restriction — responses carry only selected attributes
// Row 21: Integrations: channel restriction per client (CID) — other channels refused/filtered
// Row 22: No attribute/channel selected = all permitted
#[test]
fn optimove_keys_share_only_the_selected_attributes_and_channels() {
    let stage = Stage::with("api=optimove");
    let chosen = [
        ("attributes", "Country"),
        ("attributes", "Email"),
        ("channels", "email"),
        ("channels", "sms"),
    ];
    let (narrow, wide) =
        (optimove(&stage, "integrations", &chosen), optimove(&stage, "integrations", &[]));
    let groups = "/current/groups/GetTargetGroupDetails";
    let templates = "/current/integrations/GetChannelTemplates";
    for proxy in stage.proxies() {
        let with = |key: &Key, path: &str| proxy.get(path, ("X-API-KEY", &key.secret));
        // Nothing named: the service answers with what the key may see, and no more.
        let told = seen(with(&narrow, groups));
        assert_eq!(
            header(&told, "x-key-restrictions")[0],
            "attributes=Country,Email; channels=email,sms"
        );
        assert_eq!(names(&told["customer"]), ["Country", "Email"]);
        assert_eq!(names(&told["messages"]), ["email", "sms"]);
        let asking = |query: &str| with(&narrow, &format!("{groups}?{query}"));
        asking("CustomerAttributes=Email").is(200);
        asking("CustomerAttributes=Email,Country&TargetGroupID=5").is(200);
        for query in [
            "CustomerAttributes=Age",
            "CustomerAttributes=Email,Age",
            "CustomerAttributes=Email&CustomerAttributes=Age",
            "CustomerAttributes=Email;Age",
            "customerattributes=Age",
            "CustomerAttributes%5B%5D=Age",
            "CustomerAttributes=%41ge",
        ] {
            asking(query).is(403);
        }
        let channel = |key: &Key, name: &str| with(key, &format!("{templates}?ChannelID={name}"));
        channel(&narrow, "sms").is(200);
        channel(&narrow, "whatsapp").is(403);
        channel(&narrow, "sms,whatsapp").is(403);
        let told = seen(channel(&wide, "whatsapp"));
        // nginx leaves an empty header out, Caddy passes it on.
        let restrictions = header(&told, "x-key-restrictions");
        assert!(*restrictions == Value::Null || *restrictions == json!([""]), "{restrictions}");
        assert_eq!(names(&told["customer"]).len(), 3);
        assert_eq!(names(&told["messages"]).len(), 3);
        with(&wide, &format!("{groups}?CustomerAttributes=Age,Email")).is(200);
    }
}

// Row 91: Per-key rate limit, sliding window, 429 JSON (+ Retry-After)
#[test]
fn optimove_keys_may_call_fifty_times_in_ten_seconds() {
    let stage = Stage::with("api=optimove");
    for proxy in stage.proxies() {
        let (busy, other) = (optimove(&stage, "admin", &[]), optimove(&stage, "admin", &[]));
        let call = |key: &Key, path: &str| proxy.get(path, ("X-API-KEY", &key.secret));
        let path = "/current/general/GetLastDataUpdate";
        // What is refused costs nothing.
        for _ in 0..5 {
            call(&busy, "/current/nothing").is(403);
        }
        let began = std::time::Instant::now();
        for _ in 0..50 {
            call(&busy, path).is(200);
        }
        let refused = call(&busy, path);
        assert!(began.elapsed().as_secs() < 9, "too slow a machine to tell");
        told_to_wait(proxy, &refused.is(429), 11);
        call(&other, path).is(200);
    }
}

// Row 92: Transactional endpoint has its own rate limit
#[test]
fn optimoves_transactional_mail_is_limited_by_itself() {
    let stage = Stage::with("api=optimove");
    for proxy in stage.proxies() {
        let key = optimove(&stage, "transactional", &[]);
        let with = [("X-API-KEY", key.secret.as_str())];
        let mail = || proxy.call(("POST", "/current/optimail/SendTransactionalMail"), &with, "{}");
        let plain = || proxy.call(("GET", "/current/general/GetLastDataUpdate"), &with, "");
        let (mut seconds, mut refused) = (0, None);
        // Ten in a second; a slow machine may need several seconds to send eleven in one.
        while refused.is_none() {
            assert!(seconds < 10, "eleven mails in a second were never refused");
            refused = (0..11).map(|_| mail()).find(|answer| answer.status != 200);
            seconds += 1;
        }
        told_to_wait(proxy, &refused.unwrap().is(429), 2);
        for _ in 0..50 {
            plain().is(200);
        }
        plain().is(429);
        // The mails wait for their own second only.
        crate::support::process::wait_for("mail to be let through again", || {
            (mail().status == 200).then_some(())
        });
        plain().is(429);
    }
}

#[track_caller]
fn told_to_wait(proxy: &Proxy, answer: &Answer, most: u64) {
    let seconds: u64 = answer.header("Retry-After").parse().unwrap();
    assert!((1..=most).contains(&seconds), "{}: {seconds}", proxy.name);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["code"], "rate_limited", "{}", proxy.name);
    assert_eq!(body["error"], "Too Many Requests");
}

const PARTNER: (&str, &str) = ("X-PARTNER-NAME", "demo-distributor");

// Row 24: API type chosen at creation; key valid only for that type's endpoints
// Row 25: One UCD-type token valid for all UCD-type endpoints
// Row 69: Auth header X-INS-AUTH-KEY
#[test]
fn insider_keys_open_the_calls_of_their_type() {
    let stage = Stage::with("api=insider");
    let api = entry("insider");
    for access_type in ["otp_sms", "unsubscribe", "product_catalog", "ucd"] {
        let key = stage.key(&[("api", "insider"), ("access_type", access_type)]);
        let of_type = permissions(&api, access_type);
        for proxy in stage.proxies() {
            opens(proxy, &api, &[("X-INS-AUTH-KEY", &key.secret)], &of_type);
        }
        opens(&stage.nginx, &api, &[("X-REQUEST-TOKEN", &key.secret), PARTNER], &of_type);
    }
    let ucd = permissions(&api, "ucd");
    assert!(ucd.len() > 1 && ucd.iter().all(|slug| slug.starts_with("ucd_")), "{ucd:?}");
}

// Row 26: Product package may exclude one endpoint (Upsert) even for a valid key
#[test]
fn an_insider_key_without_upsert_still_does_the_rest() {
    let stage = Stage::with("api=insider");
    let key = stage.key(&[
        ("api", "insider"),
        ("access_type", "ucd"),
        ("permissions", "ucd_read"),
        ("permissions", "ucd_export"),
        ("permissions", "ucd_delete"),
    ]);
    for proxy in stage.proxies() {
        let call =
            |path| proxy.call(("POST", path), &[("X-REQUEST-TOKEN", &key.secret), PARTNER], "{}");
        call("/api/user/v1/upsert").is(403);
        for path in ["/api/user/v1/profile", "/api/raw/v1/export", "/api/user/v1/attribute/delete"]
        {
            call(path).is(200);
        }
    }
}

// Row 68: Auth headers X-PARTNER-NAME + X-REQUEST-TOKEN (both must match; partner lower-case)
#[test]
fn an_insider_token_needs_the_name_of_its_account() {
    let stage = Stage::with("api=insider");
    let key = stage.key(&[("api", "insider"), ("access_type", "ucd")]);
    let token = ("X-REQUEST-TOKEN", key.secret.as_str());
    for proxy in stage.proxies() {
        let call =
            |headers: &[(&str, &str)]| proxy.call(("POST", "/api/user/v1/upsert"), headers, "{}");
        let through = seen(call(&[PARTNER, token]));
        assert_eq!(header(&through, "x-request-token"), &Value::Null, "the key went further");
        call(&[token]).is(401);
        call(&[PARTNER]).is(401);
        for name in ["Demo-Distributor", "demo distributor", "other-distributor", "demo", ""] {
            call(&[("X-PARTNER-NAME", name), token]).is(401);
        }
        call(&[PARTNER, ("X-PARTNER-NAME", "other-distributor"), token]).is(401);
        call(&[PARTNER, ("Authorization", &format!("Bearer {}", key.secret))]).is(401);
    }
}

// Row 89: Contacts/events/triggers data endpoint guarded by a key (send and receive)
#[test]
fn peikly_tokens_guard_contacts_events_and_triggers() {
    let stage = Stage::with("api=peikly");
    let api = entry("peikly");
    let send = ["send_contacts", "send_events", "fire_triggers"];
    let receive = ["read_contacts", "read_triggers"];
    for chosen in [&send[..], &receive[..]] {
        let fields: Vec<_> = [("api", "peikly"), ("system", "WooCommerce")]
            .into_iter()
            .chain(chosen.iter().map(|slug| ("permissions", *slug)))
            .collect();
        let bearer = format!("Bearer {}", stage.key(&fields).secret);
        let chosen = chosen.iter().map(|slug| (*slug).to_owned()).collect();
        for proxy in stage.proxies() {
            opens(proxy, &api, &[("Authorization", &bearer)], &chosen);
            opens_nothing(proxy, &api);
        }
    }
}

// Row 90: Customers / transactions / points endpoints guarded by a key (JSON:API style)
#[test]
fn omniwallet_tokens_guard_customers_transactions_and_points() {
    let stage = Stage::with("api=omniwallet");
    let api = entry("omniwallet");
    let all = api.permissions.iter().map(|p| p.slug.as_str());
    let fields: Vec<_> =
        [("api", "omniwallet")].into_iter().chain(all.map(|slug| ("permissions", slug))).collect();
    let bearer = format!("Bearer {}", stage.key(&fields).secret);
    let json_api = ("Content-Type", "application/vnd.api+json");
    let with = [("Authorization", bearer.as_str()), ("Accept", json_api.1), json_api];
    let all = api.permissions.iter().map(|p| p.slug.clone()).collect();
    for proxy in stage.proxies() {
        opens(proxy, &api, &with, &all);
        opens_nothing(proxy, &api);
        let page = "/api/v1/customers?filter%5BcreatedAt%5D=2026-01-01&sort=name&page[size]=5";
        assert_eq!(seen(proxy.call(("GET", page), &with, ""))["target"], page);
        let customer = r#"{"data":{"type":"customers","attributes":{"name":"Ada"}}}"#;
        let posted = seen(proxy.call(("POST", "/api/v1/customers"), &with, customer));
        assert_eq!(posted["bodyLength"], customer.len());
        assert_eq!(header(&posted, "content-type")[0], json_api.1);
    }
    // The same token at another service: its entry has the very same path, and is another one.
    let elsewhere = Stage::with("api=peikly");
    elsewhere.nginx.get("/api/contacts", ("Authorization", &bearer)).is(401);
}

fn opens_nothing(proxy: &Proxy, api: &Api) {
    for route in &api.routes {
        let path = route.path.replace(['{', '}'], "");
        let answer = proxy.call((&route.method, &path), &[], "").is(401);
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer", "{path} through {}", proxy.name);
    }
}

#[test]
fn only_keys_of_the_api_that_the_proxy_names_are_let_in() {
    let stage = Stage::with("api=omniwallet");
    let peikly =
        stage.key(&[("api", "peikly"), ("system", "Shop"), ("permissions", "read_contacts")]);
    let bearer = format!("Bearer {}", peikly.secret);
    for proxy in stage.proxies() {
        proxy.get("/api/contacts", ("Authorization", &bearer)).is(403);
        proxy.get("/api/contacts?api=peikly", ("Authorization", &bearer)).is(403);
        proxy.get("/api/v1/customers", ("Authorization", &bearer)).is(403);
    }
}

#[test]
fn a_permission_that_the_proxy_names_stands_for_every_plain_path() {
    let stage = Stage::with("api=peikly&permission=read_contacts");
    let usual = [("api", "peikly"), ("system", "Shop")];
    let reader = stage.key(&[&usual[..], &[("permissions", "read_contacts")]].concat());
    let sender = stage.key(&[&usual[..], &[("permissions", "send_contacts")]].concat());
    let bearer = |key: &Key| format!("Bearer {}", key.secret);
    for proxy in stage.proxies() {
        for path in ["/", "/any/path?permission=send_contacts", "/api/triggers"] {
            proxy.get(path, ("Authorization", &bearer(&reader))).is(200);
            proxy.get(path, ("Authorization", &bearer(&sender))).is(403);
        }
        for path in ["/public/../private", "/a//b", "/a%2fb"] {
            proxy.get(path, ("Authorization", &bearer(&reader))).is(403);
        }
    }
}
