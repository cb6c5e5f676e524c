//! Access types, restrictions, sections, credentials and limits of the entries.

use actix_web::test::TestRequest;
use countersign::domain::catalogue::{Credential, RateLimit};

use super::*;

fn insider(access_type: &str) -> [(&str, &str); 2] {
    [("api", "insider"), ("access_type", access_type)]
}

// Row 17
#[actix_web::test]
async fn optimove_admin_access_type_allows_all_calls_but_the_transactional_ones() {
    let app = TestApp::start().await;
    let optimove = api("optimove");
    let fields = [("api", "optimove"), ("access_type", "admin")];
    let (key, url) = issued(&app, "Admin", &fields).await;
    assert_eq!(key.grant.access_type.as_deref(), Some("admin"));
    let (open, all) = (open_to(&optimove, &key), optimove.routes.len());
    assert_eq!(open.len(), all - 1);
    assert!(!open.contains(&"POST /current/optimail/SendTransactionalMail".to_owned()));
    app.sign_in("viewer").await.get(&url).await.is(200).says("Access typeAdmin");
}

// Row 18
#[actix_web::test]
async fn optimove_integrations_access_type_allows_only_the_listed_endpoints() {
    let app = TestApp::start().await;
    let (key, _) = issued(&app, "Partner", INTEGRATIONS).await;
    let four = set(&["general", "actions", "target_groups", "external_systems"]);
    assert_eq!(key.grant.permissions, four);
    let open = open_to(&api("optimove"), &key);
    let groups = ["general", "actions", "groups", "integrations"];
    let group = |call: &String| call.split('/').nth(2).unwrap().to_owned();
    assert_eq!(open.iter().map(group).collect::<BTreeSet<_>>(), set(&groups));
    for denied in ["customers/GetCustomersByAction", "model/GetMicrosegmentList"] {
        let optimove = api("optimove");
        let found = optimove.find_route("GET", &format!("/current/{denied}")).unwrap();
        assert!(!key.grant.permissions.contains(found.permission), "{denied}");
    }
    assert!(api("optimove").find_route("GET", "/current/actions/NotThere").is_none());
}

// Row 18
#[actix_web::test]
async fn the_chosen_access_type_decides_the_permissions_and_ticks_only_narrow_it() {
    let app = TestApp::start().await;
    let narrow = [INTEGRATIONS, &[("permissions", "general"), ("permissions", "actions")]].concat();
    let (key, _) = issued(&app, "Narrow", &narrow).await;
    assert_eq!(key.grant.permissions, set(&["general", "actions"]));
    let mut maker = app.sign_in("maker").await;
    let usual = [("api", "optimove"), ("label", "Sly")];
    for (field, more) in [
        ("permissions", &[("access_type", "integrations"), ("permissions", "customers")][..]),
        ("permissions", &[("access_type", "integrations"), ("permissions", "fly")]),
        ("access_type", &[("permissions", "general")]),
        ("access_type", &[("access_type", "root")]),
    ] {
        let page = send(&mut maker, &[&usual, more].concat()).await.is(422);
        assert_eq!(page.all(&format!("#{field}-error")).len(), 1, "{more:?}");
        assert_eq!(page.all(".error").len(), 1, "{more:?}");
    }
    let wallet = [("label", "Sly"), ("permissions", "read_balance"), ("access_type", "admin")];
    send(&mut maker, &wallet).await.is(422).says("This API has no access types");
}

// Row 19
#[actix_web::test]
async fn the_published_list_of_endpoints_is_visible_on_the_form_the_review_page_and_the_key_page() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new?api=optimove").await.is(200);
    let counts = form.all(".folds summary .count");
    assert_eq!(counts, ["38 calls", "30 calls", "39 calls"]);
    let rows = form.all(".folds details:nth-of-type(2) tbody tr");
    assert_eq!(rows[0], "GET/current/general/GetLastDataUpdateGeneral");
    assert!(!rows.iter().any(|row| row.contains("/customers/")));
    let request = maker.ask_with("Partner", INTEGRATIONS).await;
    let mut checker = app.sign_in("checker").await;
    assert_eq!(checker.get(&request).await.is(200).all(".calls tbody tr").len(), 30);
    checker.approve(&request).await.is(303);
    let page = maker.get(&app.key_of(&request).await).await.is(200);
    assert_eq!(page.all(".calls tbody tr").len(), 30);
    // An API without access types publishes its calls as one list.
    let form = maker.get("/settings/api-keys/new?api=peikly").await.is(200);
    assert_eq!(form.all(".calls tbody tr").len(), api("peikly").routes.len());
}

// Rows 20, 21 and 22
#[actix_web::test]
async fn optimove_attributes_and_channels_narrow_a_key_and_none_selected_means_all() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new?api=optimove").await.is(200);
    form.clone().says("None chosen means all.");
    assert_eq!(form.all("#channels .tick").len(), 5);
    let chosen = [("attributes", "Age"), ("attributes", "Country"), ("channels", "email")];
    let (key, url) = issued(&app, "Narrow", &[INTEGRATIONS, &chosen].concat()).await;
    assert_eq!(key.grant.restrictions["attributes"], set(&["Age", "Country"]));
    assert_eq!(key.grant.restrictions["channels"], set(&["email"]));
    maker.get(&url).await.is(200).says("Customer attributesAgeCountry ChannelsE-mail");
    let (key, url) = issued(&app, "Wide", INTEGRATIONS).await;
    assert!(key.grant.restrictions.is_empty());
    maker.get(&url).await.is(200).says("Customer attributesall Channelsall");
    // What a call asks for is read from its query.
    let call = "/current/groups/GetTargetGroupDetails?TargetGroupID=9&CustomerAttributes=Age;Email";
    let found = api("optimove");
    let found = found.find_route("GET", call).unwrap();
    assert_eq!(found.restrictions["attributes"], set(&["Age", "Email"]));
    let call = "/current/integrations/GetChannelTemplates?ChannelID=sms";
    let found = api("optimove");
    assert_eq!(found.find_route("GET", call).unwrap().restrictions["channels"], set(&["sms"]));
}

// Row 21
#[actix_web::test]
async fn restrictions_are_read_strictly_and_kept_when_the_form_comes_back() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = |more: (&'static str, &'static str)| {
        [INTEGRATIONS, &[("label", ""), ("channels", "sms"), more]].concat()
    };
    let page = send(&mut maker, &form(("channels", "email"))).await.is(422);
    assert_eq!(page.all("#channels [checked]").len(), 2);
    assert!(page.attribute("[name=access_type][value=integrations]", "checked").is_some());
    let page = send(&mut maker, &form(("channels", "pigeon"))).await.is(422);
    assert_eq!(page.all("#channels-error"), ["Error: Choose from the values listed."]);
    // The lists of one API are no fields of another, and a field that is no list stands there once.
    let foreign = [("label", "A"), ("permissions", "read_balance"), ("channels", "sms")];
    send(&mut maker, &foreign).await.is(422).says("a field that does not belong");
    send(&mut maker, &form(("label", "twice"))).await.is(400);
}

// Row 23
#[actix_web::test]
async fn optimove_transactional_access_type_allows_all_endpoints() {
    let app = TestApp::start().await;
    let fields = [("api", "optimove"), ("access_type", "transactional")];
    let (key, _) = issued(&app, "Mailer", &fields).await;
    assert_eq!(open_to(&api("optimove"), &key).len(), api("optimove").routes.len());
}

// Row 24
#[actix_web::test]
async fn insider_a_key_is_valid_only_for_the_endpoints_of_its_api_type() {
    let app = TestApp::start().await;
    let insider_api = api("insider");
    assert_eq!(insider_api.access_types.len(), 13);
    let mut seen = BTreeSet::new();
    for access in &insider_api.access_types {
        let (key, _) = issued(&app, &access.name, &insider(&access.slug)).await;
        let open = open_to(&insider_api, &key);
        assert!(!open.is_empty() && open.iter().all(|call| seen.insert(call.clone())), "{open:?}");
    }
    assert_eq!(seen.len(), insider_api.routes.len(), "every endpoint belongs to one type");
}

// Rows 25 and 26
#[actix_web::test]
async fn insider_one_ucd_token_opens_every_ucd_endpoint_and_upsert_may_be_left_out() {
    let app = TestApp::start().await;
    let (key, _) = issued(&app, "Whole", &insider("ucd")).await;
    let open = open_to(&api("insider"), &key);
    let upsert = "POST /api/user/v1/upsert".to_owned();
    assert_eq!(open.len(), 6);
    assert!(open.contains(&upsert));
    let some = ["ucd_read", "ucd_export", "ucd_delete"].map(|slug| ("permissions", slug));
    let (key, _) = issued(&app, "Package", &[&insider("ucd")[..], &some].concat()).await;
    let open = open_to(&api("insider"), &key);
    assert!(open.len() == 5 && !open.contains(&upsert), "{open:?}");
}

// Row 29
#[actix_web::test]
async fn web_push_and_mobile_keys_have_sections_of_their_own() {
    let app = TestApp::start().await;
    issued(&app, "Pushes", &[("api", "insider-web-push"), ("permissions", "launch_pushes")]).await;
    let mobile = [("api", "insider-mobile"), ("permissions", "send_pushes")];
    issued(&app, "App", &mobile).await;
    issued(&app, "SMS", &insider("transactional_sms")).await;
    let mut maker = app.sign_in("maker").await;
    let pending = maker.ask_with("App, waiting", &mobile).await;
    for (slug, label, counts) in [
        ("insider-web-push", "Pushes", ["0", "1"]),
        ("insider-mobile", "App", ["1", "1"]),
        ("insider", "SMS", ["0", "1"]),
    ] {
        let page = maker.get(&format!("/settings/api-keys/active?api={slug}")).await.is(200);
        assert_eq!(page.all("a.row-link"), [label]);
        assert_eq!(page.all(".tabs .count")[..2], counts);
        assert_eq!(page.attribute("option[selected]", "value").unwrap(), slug);
        let tab = page.attribute(".tabs a", "href").unwrap();
        assert_eq!(tab, format!("/settings/api-keys/pending?api={slug}"));
        let new = page.attribute(".page-head .btn-primary", "href").unwrap();
        assert_eq!(new, format!("/settings/api-keys/new?api={slug}"));
    }
    let page = maker.get("/settings/api-keys/pending?api=insider-mobile").await.is(200);
    assert_eq!(page.attribute("a.row-link", "href").unwrap(), pending);
    assert!(maker.get("/settings/api-keys/pending?api=insider").await.all("a.row-link").is_empty());
    assert_eq!(maker.get("/settings/api-keys/active?api=").await.all("a.row-link").len(), 3);
    maker.get("/settings/api-keys/active?api=moon").await.is(404);
}

// Rows 66, 67, 68 and 69
#[test]
fn each_entry_names_the_headers_its_keys_arrive_in() {
    let credential = |header: &str, scheme: Option<&str>, partner: Option<&str>| Credential {
        header: header.to_owned(),
        scheme: scheme.map(str::to_owned),
        partner_header: partner.map(str::to_owned),
    };
    let bearer = vec![credential("Authorization", Some("Bearer"), None)];
    let messages = credential("X-INS-AUTH-KEY", None, None);
    let ucd = credential("X-REQUEST-TOKEN", None, Some("X-PARTNER-NAME"));
    for (slug, credentials) in [
        ("wallet", bearer.clone()),
        ("countersign", bearer.clone()),
        ("omniwallet", bearer.clone()),
        ("peikly", bearer),
        ("optimove", vec![credential("X-API-KEY", None, None)]),
        ("insider", vec![ucd, messages.clone()]),
        ("insider-web-push", vec![messages.clone()]),
        ("insider-mobile", vec![messages]),
    ] {
        assert_eq!(api(slug).credentials, credentials, "{slug}");
    }
}

// Rows 67, 68 and 69
#[actix_web::test]
async fn the_call_to_try_a_key_with_uses_the_headers_of_its_api() {
    let app = TestApp::start().await;
    for (fields, headers) in [
        (INTEGRATIONS, "curl -H \"X-API-KEY: $API_KEY\" \\"),
        (
            &insider("ucd"),
            "curl -H \"X-REQUEST-TOKEN: $API_KEY\" -H \"X-PARTNER-NAME: demo-distributor\" \\",
        ),
        (
            &[("api", "peikly"), ("permissions", "send_events"), ("system", "S")],
            "curl -H \"Authorization: Bearer $API_KEY\" \\",
        ),
    ] {
        let (_, url) = issued(&app, "Try", fields).await;
        let mut maker = app.sign_in("maker").await;
        maker.get(&url).await.is(200);
        let page = maker.submit(&format!("{url}/reveal"), &[]).await.is(200);
        assert!(page.all("pre.code")[0].starts_with(headers), "{:?}", page.all("pre.code"));
    }
}

// Row 91
#[test]
fn keys_of_wallet_and_optimove_have_a_rate_limit() {
    let limit = |calls, seconds| Some(RateLimit { calls, seconds });
    assert_eq!(api("wallet").rate_limit, limit(1000, 10));
    assert_eq!(api("optimove").rate_limit, limit(50, 10));
    assert_eq!(api("countersign").rate_limit, None);
}

// Row 92
#[test]
fn optimove_transactional_mail_has_its_own_rate_limit() {
    let optimove = api("optimove");
    let found = optimove.find_route("POST", "/current/optimail/SendTransactionalMail").unwrap();
    let own = optimove.permission(found.permission).unwrap().rate_limit;
    assert_eq!(own, Some(RateLimit { calls: 10, seconds: 1 }));
    let others = optimove.permissions.iter().filter(|other| other.slug != found.permission);
    assert!(others.into_iter().all(|other| other.rate_limit.is_none()));
}

/// Headers that a key is sent in.
type Way<'a> = Box<dyn Fn(&str) -> Vec<(&'static str, String)> + 'a>;

// Rows 66, 67, 68 and 69
#[actix_web::test]
async fn a_key_opens_by_the_headers_of_its_api_and_by_no_other() {
    let app = TestApp::start().await;
    let bearer = |secret: &str| ("authorization", format!("Bearer {secret}"));
    let header = |name: &'static str| move |secret: &str| vec![(name, secret.to_owned())];
    let partner = |account: &'static str| {
        move |secret: &str| {
            vec![("x-request-token", secret.to_owned()), ("x-partner-name", account.to_owned())]
        }
    };
    let ways: [Way<'_>; 7] = [
        Box::new(|secret| vec![bearer(secret)]),
        Box::new(|secret| vec![("authorization", secret.to_owned())]),
        Box::new(header("x-api-key")),
        Box::new(header("x-ins-auth-key")),
        Box::new(header("x-request-token")),
        Box::new(partner("demo-distributor")),
        Box::new(partner("Demo Distributor")),
    ];
    for (fields, opens) in [
        (&[("permissions", "read_balance")][..], &[0][..]),
        (INTEGRATIONS, &[2]),
        (&insider("ucd"), &[3, 5]),
        (&[("api", "insider-mobile"), ("permissions", "send_pushes")], &[3]),
    ] {
        let (_, secret) = app.live_key("Headers", fields).await;
        for (i, way) in ways.iter().enumerate() {
            let request = TestRequest::with_uri("/api/v1/keys/self")
                .peer_addr("203.0.113.10:50000".parse().unwrap());
            let request = way(&secret).into_iter().fold(request, TestRequest::insert_header);
            let status = app.answer(request.to_request()).await.status.as_u16();
            assert_eq!(status, if opens.contains(&i) { 200 } else { 401 }, "{fields:?} {i}");
        }
    }
}
