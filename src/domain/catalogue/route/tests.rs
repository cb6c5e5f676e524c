//! Calls by the route they fit, and calls that fit none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::catalogue::{Api, Catalogue};

/// An API whose routes overlap in every allowed way.
fn shop() -> Arc<Api> {
    let text = r#"
        slug = "shop"
        name = "Shop"
        summary = "A shop."
        prefix = "shp"
        credentials = [{ header = "X-API-KEY" }]
        routes = [
          { method = "GET", path = "/", permission = "read" },
          { method = "GET", path = "/items/{item}", permission = "read" },
          { method = "GET", path = "/items/export", permission = "export" },
          { method = "DELETE", path = "/items/{item}", permission = "write" },
          { method = "GET", path = "/channels/{channels}/items", permission = "read", query = { fields = "attributes" } },
          { method = "GET", path = "/files/**", permission = "read" },
          { method = "GET", path = "/files/secret/**", permission = "export" },
          { method = "POST", path = "/items:sync", permission = "write" },
        ]
        expiry = { max_days = 30, never = true }
        restrictions = [
          { slug = "channels", name = "Channels", help = "H", values = [{ slug = "email", name = "E" }] },
          { slug = "attributes", name = "Attributes", help = "H", values = [{ slug = "Age", name = "A" }] },
        ]
        permissions = [
          { slug = "read", name = "Read", help = "H" },
          { slug = "write", name = "Write", help = "H" },
          { slug = "export", name = "Export", help = "H" },
        ]"#;
    Arc::clone(Catalogue::parse([("shop.toml", text)]).unwrap().find("shop").unwrap())
}

#[test]
fn a_call_needs_the_permission_of_the_most_exact_route() {
    let shop = shop();
    let cases = [
        ("GET", "/", Some("read")),
        ("GET", "/items/7", Some("read")),
        ("GET", "/items/7?page=2", Some("read")),
        ("GET", "/items/joe%40example.com", Some("read")),
        ("GET", "/items/caf%C3%A9", Some("read")),
        ("GET", "/items/export", Some("export")),
        ("DELETE", "/items/export", Some("write")),
        ("GET", "/files/a/b/c", Some("read")),
        ("GET", "/files/a/", Some("read")),
        ("GET", "/files/secret/plans", Some("export")),
        ("POST", "/items:sync", Some("write")),
        // Unknown paths, methods and depths.
        ("GET", "/items", None),
        ("GET", "/items/7/8", None),
        ("GET", "/files", None),
        ("POST", "/items/7", None),
        ("get", "/items/7", None),
        ("HEAD", "/items/7", None),
    ];
    for (method, path, permission) in cases {
        let found = shop.find_route(method, path).map(|found| found.permission);
        assert_eq!(found, permission, "{method} {path}");
    }
}

/// Paths that some server might read as another one.
const HOSTILE: &[&str] = &[
    "",
    "items/7",
    "http://shop.example/items/7",
    "*",
    "//items/7",
    "/items//7",
    "/items/",
    "/items/7/",
    "/items/./7",
    "/items/../items/7",
    "/items/..",
    "/items/.",
    "/items/7/..",
    "/files/a/../secret/plans",
    "/files/a/./b",
    "/files/..",
    "/items/%2e%2e",
    "/files/%2E%2e/secret",
    "/files/.%2e/secret",
    "/items%2f7",
    "/items/a%2Fb",
    "/files/secret%2Fplans",
    "/items/a%5cb",
    "/items/a\\b",
    "/items/7%00",
    "/items/7%0a",
    "/items/7%0d%0a",
    "/items/7%7f",
    "/items/7;x=1",
    "/items/7%3bx",
    "/files/..;/secret/plans",
    "/items/%65xport",
    "/items/%37",
    "/items/%252e",
    "/items/%",
    "/items/%4",
    "/items/%zz",
    "/items/%+1",
    "/items/%c0%af",
    "/items/%ff",
    "/items/%C2%85",
    "/items/7%3fpage",
    "/items/7%23x",
    "/items/7#x",
    "/items/7?x#y",
    "/items/ 7",
    "/items/\t7",
    "/items/caf\u{e9}",
    "/items/\u{ff0f}",
    "/items/7\n",
    "/items/7?x= y",
    "/items/7?x=\u{e9}",
    // The case or the slash at the end would lead elsewhere on a forgiving server.
    "/items/EXPORT",
    "/Items/7",
    "/items/export/",
    "/files/Secret/plans",
    "/FILES/a",
    "/items%3async",
];

#[test]
fn a_path_that_another_server_might_read_differently_fits_no_route() {
    let shop = shop();
    for path in HOSTILE {
        assert_eq!(shop.find_route("GET", path), None, "{path:?}");
        assert_eq!(shop.find_route("POST", path), None, "{path:?}");
    }
}

#[test]
fn restricted_values_are_found_however_they_are_written() {
    let shop = shop();
    let asked = |query: &str| {
        let path = format!("/channels/email/items{query}");
        let found = shop.find_route("GET", &path).unwrap();
        assert_eq!(found.restrictions.get("channels"), Some(&BTreeSet::from(["email".to_owned()])));
        let fields = found.restrictions.get("attributes").cloned();
        fields.map(|fields| fields.into_iter().collect::<Vec<_>>().join("+"))
    };
    for (query, fields) in [
        ("", None),
        ("?page=1", None),
        ("?fields=Age", Some("Age")),
        ("?fields=Age,Email", Some("Age+Email")),
        ("?fields=Age%2CEmail", Some("Age+Email")),
        ("?fields=Age;Email", Some("Age+Email")),
        ("?fields=Age%3BEmail|X", Some("Age+Email+X")),
        ("?fields=Age&fields=Email", Some("Age+Email")),
        ("?FIELDS=Age", Some("Age")),
        ("?f%69elds=Age", Some("Age")),
        ("?fields[]=Age&fields%5B1%5D=Email", Some("Age+Email")),
        ("?page=1;fields=Age", Some("Age")),
        ("?fields=Age;page=1;Email", Some("Age")),
        ("?fields=", Some("")),
        ("?fields", Some("")),
        ("?page&Age", None),
    ] {
        assert_eq!(asked(query).as_deref(), fields, "{query}");
    }
    let other = shop.find_route("GET", "/channels/a%40b/items").unwrap();
    let wanted = BTreeMap::from([("channels".to_owned(), BTreeSet::from(["a@b".to_owned()]))]);
    assert_eq!(other.restrictions, wanted);
}
