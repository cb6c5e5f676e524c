//! The main job in two browsers side by side, and a picture of every page on the way.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::person::Person;
use crate::pictures::pictures;
use crate::support::{Driver, Server};

const PASSWORD: &str = "two people agree";
const LABEL: &str = "Counter in Ikeja";

pub(crate) async fn signed_in(driver: &Driver, server: &Server, email: &str) -> Person {
    let person = Person::new(driver, server.url()).await;
    person.open("/login").await;
    person.sign_in(email, PASSWORD).await;
    person.sees("Balance").await;
    person
}

/// What the wallet API answers to a call with this key.
fn balance(server: &Server, secret: &str) -> String {
    let host = server.url().trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).unwrap();
    write!(
        socket,
        "GET /api/v1/distributors/36e48800-22ce-4ea0-b37a-198f7978cd53/balance HTTP/1.1\r\n\
         Host: {host}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn two_people_agree_on_a_key_that_is_shown_once_used_and_revoked() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let maker = signed_in(&driver, &server, "maker@demo.example").await;
    let checker = signed_in(&driver, &server, "checker@demo.example").await;

    maker.open("/settings/api-keys/active").await;
    maker.press("Request a key").await;
    maker.fill("label", LABEL).await;
    maker.tick("permissions", "read_balance").await;
    maker.fill("max_daily_volume", "1,000,000").await;
    maker.fill("justification", "The till shows what is left.").await;
    maker.press("Send for approval").await;
    maker.sees("Your request was sent").await;
    maker.sees("You made this request, so somebody else has to decide it").await;
    let request = maker.url().await;

    checker.open("/settings/api-keys/pending").await;
    checker.press(LABEL).await;
    checker.sees("The till shows what is left.").await;
    assert_eq!(checker.url().await, request);
    pictures(&checker, "review").await;
    checker.fill("comment", "Agreed by phone").await;
    checker.press("Approve").await;
    checker.sees("You approved the request").await;

    maker.open(&request).await;
    maker.press("Reveal your key").await;
    maker.press("Reveal key").await;
    maker.sees("Copy this key now. You cannot see it again.").await;
    let secret = maker.value_of("#api-key").await;
    assert!(secret.starts_with("uwk_") && secret.len() == 56);
    pictures(&maker, "reveal").await;
    maker.press("Copy").await;
    maker.sees("Copied").await;
    assert_eq!(maker.clipboard_text().await, secret);
    let shown_twice = maker
        .run("return document.body.innerText.includes(arguments[0])", vec![secret.clone().into()]);
    assert_eq!(shown_twice.await, serde_json::Value::Bool(false), "only the field holds the key");

    assert_eq!(balance(&server, &secret), r#"{"balance":"50000.00"}"#);
    maker.press("I have saved it").await;
    maker.sees("The key is saved").await;
    let key = maker.url().await;
    no_trace_after_back(&maker, &secret).await;

    maker.open(&key).await;
    maker.fill("reason", "The till was sold").await;
    maker.fill("confirm_label", LABEL).await;
    maker.press("Revoke key").await;
    maker.sees("The key is revoked").await;
    pictures(&maker, "key-revoked").await;
    assert_eq!(
        balance(&server, &secret),
        r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#
    );
    for person in [&maker, &checker] {
        assert_eq!(person.csp_violations().await, Vec::<String>::new());
    }
}

/// However often one goes back, no page of the history holds the key.
async fn no_trace_after_back(maker: &Person, secret: &str) {
    for _ in 0..3 {
        maker.back().await;
        let found = maker.run(
            "const all = [...document.querySelectorAll('input,textarea')].map(f => f.value + f.getAttribute('value'));\
             return document.documentElement.outerHTML.includes(arguments[0]) || all.join().includes(arguments[0])",
            vec![secret.into()],
        );
        assert_eq!(found.await, serde_json::Value::Bool(false), "at {}", maker.url().await);
    }
}

#[tokio::test]
async fn leaving_the_reveal_page_wipes_the_key_from_the_page_left_behind() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let maker = signed_in(&driver, &server, "maker@demo.example").await;
    maker.open("/").await;
    maker.press("Open Staging – Agent app").await;
    maker.press("Reveal key").await;
    maker.sees("Copy this key now").await;
    let secret = maker.value_of("#api-key").await;
    maker.press("Not yet, I will reveal it again").await;
    maker.sees("Reveal again").await;
    no_trace_after_back(&maker, &secret).await;
}

#[tokio::test]
async fn every_page_is_handsome_and_accessible() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let visitor = Person::new(&driver, server.url()).await;
    visitor.open("/login").await;
    pictures(&visitor, "login").await;
    visitor.sign_in("maker@demo.example", "wrong").await;
    visitor.sees("do not match").await;
    pictures(&visitor, "login-error").await;

    let checker = signed_in(&driver, &server, "checker@demo.example").await;
    let maker = signed_in(&driver, &server, "maker@demo.example").await;
    let viewer = signed_in(&driver, &server, "viewer@demo.example").await;
    for (person, path, name) in [
        (&checker, "/", "home-checker"),
        (&maker, "/", "home-maker"),
        (&checker, "/requests", "requests"),
        (&checker, "/requests?state=closed", "requests-closed"),
        (&checker, "/settings/api-keys/pending", "keys-pending"),
        (&maker, "/settings/api-keys/active", "keys-active"),
        (&maker, "/settings/api-keys/expired", "keys-expired"),
        (&maker, "/settings/api-keys/revoked", "keys-revoked"),
        (&viewer, "/settings/api-keys/rejected", "keys-rejected"),
        (&maker, "/settings/api-keys/new", "request-form"),
        (&viewer, "/docs", "docs"),
        (&maker, "/no-such-page", "problem-404"),
        (&viewer, "/settings/api-keys/new", "problem-403"),
    ] {
        person.open(path).await;
        pictures(person, name).await;
    }

    maker.open("/settings/api-keys/new").await;
    maker.fill("max_daily_volume", "plenty").await;
    maker.press("Send for approval").await;
    maker.sees("There are 3 problems").await;
    pictures(&maker, "request-form-errors").await;
    maker.open("/settings/api-keys/active").await;
    maker.press("Production POS – Main Store").await;
    maker.sees("Revoke key").await;
    pictures(&maker, "key-active").await;
    maker.press("30 days").await;
    maker.press("The same as a table").await;
    pictures(&maker, "key-usage").await;
    maker.open("/").await;
    maker.press("Open Staging – Agent app").await;
    pictures(&maker, "key-approved").await;
    checker.open("/requests").await;
    checker.press("Cash-in service").await;
    checker.press("Reject").await;
    checker.sees("Say why you reject it").await;
    pictures(&checker, "review-error").await;
    viewer.open("/requests?state=closed").await;
    viewer.press("Everything for the agency").await;
    pictures(&viewer, "review-rejected").await;
    for person in [&visitor, &checker, &maker, &viewer] {
        assert_eq!(person.csp_violations().await, Vec::<String>::new());
    }
}
