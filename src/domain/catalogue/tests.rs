//! Faults of entries by their exact words.

use super::*;

const WALLET: &str = include_str!("../../../catalogue/wallet.toml");
const OPTIMOVE: &str = include_str!("../../../catalogue/optimove.toml");
const PEIKLY: &str = include_str!("../../../catalogue/peikly.toml");

#[track_caller]
fn fault(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    let changed = text.replacen(from, to, 1);
    Catalogue::parse([("x.toml", changed.as_str())]).unwrap_err()
}

/// An entry, what is changed about it, and what is then wrong with it.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    (
        WALLET,
        "\"wallet\"",
        "\"Wallet\"",
        "slug \"Wallet\": use up to 40 lower-case letters, digits, - and _",
    ),
    (WALLET, "\"uwk\"", "\"uw_k\"", "prefix \"uw_k\": use up to 12 letters and digits"),
    (WALLET, "\"Wallet API\"", "\" \"", "name is empty"),
    (
        WALLET,
        "max_days = 3650",
        "max_days = 3",
        "expiry: default_days = 365 is not from 1 to max_days = 3",
    ),
    (WALLET, "max_days = 3650", "max_days = 0", "expiry: max_days = 0 is less than 1"),
    (
        WALLET,
        "default_days = 365",
        "",
        "expiry: default_days may only be left out where never = true",
    ),
    (
        WALLET,
        "calls = 1000",
        "calls = 0",
        "rate_limit: calls = 0 would allow no call at all: leave it out for no limit",
    ),
    (WALLET, "seconds = 10", "seconds = 0", "rate_limit: seconds = 0 is not from 1 to 86400"),
    (
        WALLET,
        "slug = \"read_balance\"",
        "slug = \"Read balance\"",
        "permission \"Read balance\": use up to 40 lower-case letters, digits, - and _",
    ),
    (
        WALLET,
        "slug = \"read_balance\"",
        "slug = \"read_transactions\"",
        "permission \"read_transactions\" is there twice",
    ),
    (
        WALLET,
        "\"Authorization\"",
        "\"X API KEY\"",
        "credentials.header \"X API KEY\" is not the name of a header",
    ),
    (WALLET, "\"Authorization\"", "\"cookie\"", "credentials.header \"cookie\" cannot carry a key"),
    (
        WALLET,
        "\"Authorization\"",
        "\"X-API-KEY\"",
        "credentials.scheme: only \"Authorization\" has one, \"X-API-KEY\" has none",
    ),
    (
        WALLET,
        "scheme = \"Bearer\"",
        "scheme = \"Basic\"",
        "credentials.header \"Authorization\" needs scheme = \"Bearer\"",
    ),
    (
        WALLET,
        "[{ header = \"Authorization\", scheme = \"Bearer\" }]",
        "[]",
        "credentials: at least one header is needed",
    ),
    (
        WALLET,
        "credentials = [",
        "cap = 0\ncredentials = [",
        "cap = 0 would allow no key at all: leave it out for no cap",
    ),
    (
        WALLET,
        "permission = \"read_balance\"",
        "permission = \"read\"",
        "route GET /api/v1/distributors/{distributor}/balance: there is no permission \"read\"",
    ),
    (
        WALLET,
        "method = \"PUT\"",
        "method = \"put\"",
        "route put /api/v1/distributors/{distributor}/cashouts/{operation}: the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ),
    (
        WALLET,
        "{distributor}/cashouts\"",
        "{id}/operations/\"",
        "route GET /api/v1/distributors/{id}/operations/: /api/v1/distributors/{distributor}/operations stands for the same calls",
    ),
    (
        WALLET,
        "{distributor}/cashouts\"",
        "moon/{anything}\"",
        "route GET /api/v1/distributors/moon/{anything}: ambiguous, because some calls fit /api/v1/distributors/{distributor}/balance as well and neither is more exact",
    ),
    (
        WALLET,
        "\"/api/v1/distributors/{distributor}/balance\"",
        "\"api/v1\"",
        "route GET api/v1: the path does not start with /",
    ),
    (
        WALLET,
        "{distributor}/balance",
        "**/balance",
        "route GET /api/v1/distributors/**/balance: ** may only be the last segment",
    ),
    (
        WALLET,
        "{distributor}/balance",
        "{distributor/balance",
        "route GET /api/v1/distributors/{distributor/balance: the segment \"{distributor\" is neither plain text nor {name} nor **",
    ),
    (
        WALLET,
        "v1/distributors/{distributor}/balance",
        "{distributor}/{distributor}",
        "route GET /api/{distributor}/{distributor}: the placeholder \"distributor\" is there twice",
    ),
    (
        WALLET,
        "{distributor}/balance",
        "../balance",
        "route GET /api/v1/distributors/../balance: the segment \"..\" is neither plain text nor {name} nor **",
    ),
    (
        WALLET,
        "/api/v1/distributors/{distributor}/balance",
        "/api//balance",
        "route GET /api//balance: the path has an empty segment",
    ),
    (
        OPTIMOVE,
        "permissions = [\"general\",",
        "permissions = [\"fly\",",
        "access type \"admin\": there is no permission \"fly\"",
    ),
    (
        OPTIMOVE,
        "slug = \"integrations\"",
        "slug = \"admin\"",
        "access type \"admin\" is there twice",
    ),
    (
        OPTIMOVE,
        "slug = \"attributes\"",
        "slug = \"label\"",
        "restriction \"label\": the form already has a field with this name",
    ),
    (
        OPTIMOVE,
        "slug = \"Age\"",
        "slug = \"a,b\"",
        "restriction \"attributes\": value \"a,b\": use up to 60 visible ASCII characters without , ; |",
    ),
    (
        OPTIMOVE,
        "slug = \"Age\"",
        "slug = \"Email\"",
        "restriction \"attributes\": value \"Email\" is there twice",
    ),
    (
        OPTIMOVE,
        "ChannelID = \"channels\"",
        "ChannelID = \"tubes\"",
        "route GET /current/actions/GetExecutedCampaignsByChannel: query \"ChannelID\": there is no restriction \"tubes\"",
    ),
    (
        OPTIMOVE,
        "calls = 10, seconds",
        "calls = 0, seconds",
        "permission \"transactional_mail\": rate_limit: calls = 0 would allow no call at all: leave it out for no limit",
    ),
    (
        OPTIMOVE,
        "prefix = \"opt\"",
        "prefix = \"opt\"\nauto_label = true",
        "auto_label: a key cannot be made with one press where an access type has to be chosen",
    ),
    (PEIKLY, "\"Associated site or system\"", "\"\"", "system.label is empty"),
];

#[test]
fn faults_name_the_file_the_place_and_what_is_wrong() {
    for (text, from, to, wanted) in FAULTS {
        assert_eq!(fault(text, from, to), format!("x.toml: {wanted}"), "{to}");
    }
}

#[test]
fn a_word_that_is_no_setting_is_named_with_its_line() {
    let fault = fault(WALLET, "summary", "sumary");
    assert!(fault.starts_with("x.toml: TOML parse error at line 4"), "{fault}");
    assert!(fault.contains("unknown field `sumary`"), "{fault}");
}

#[test]
fn there_are_at_most_64_permissions() {
    let more = |n: usize| {
        let extra = (0..n)
            .map(|i| format!("[[permissions]]\nslug = \"p{i}\"\nname = \"P\"\nhelp = \"H\"\n"));
        format!("{WALLET}\n{}", extra.collect::<String>())
    };
    assert!(Catalogue::parse([("x.toml", more(61).as_str())]).is_ok());
    let fault = Catalogue::parse([("x.toml", more(62).as_str())]).unwrap_err();
    assert_eq!(fault, "x.toml: permissions: there are 65, at most 64 fit");
}

#[test]
fn two_apis_share_neither_slug_nor_prefix() {
    let again = |from: &str, to: &str| {
        let other = WALLET.replacen(from, to, 1);
        Catalogue::parse([("a.toml", WALLET), ("b.toml", other.as_str())]).unwrap_err()
    };
    assert_eq!(
        again("\"uwk\"", "\"bil\""),
        "b.toml: slug \"wallet\" is already used by the API \"Wallet API\""
    );
    assert_eq!(
        again("\"wallet\"", "\"billing\""),
        "b.toml: prefix \"uwk\" is already used by the API \"Wallet API\""
    );
    let fault = Catalogue::parse([]).unwrap_err();
    assert_eq!(fault, "the catalogue is empty: at least one API is needed");
}
