//! The browser tests: the program as people meet it, in a real browser.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption should stop the test"
)]

mod catalogue;
mod operations;
mod person;
mod pictures;
mod site;
mod story;
mod support;

use std::fs;

use crate::person::Person;
use crate::pictures::{faults, pictures};
use crate::support::{Driver, Server};

#[tokio::test]
async fn the_harness_sees_what_it_should() {
    let driver = Driver::start();
    let person = Person::new(&driver, &site::start()).await;

    person.open("/good").await;
    pictures(&person, "harness-good").await;
    assert_eq!(person.csp_violations().await, Vec::<String>::new());
    assert_eq!(person.console().await, Vec::<String>::new());

    for (name, pixels) in [("harness-good-light-320", 320), ("harness-good-dark-wide", 1280)] {
        assert_eq!(width_of(name), pixels, "{name}");
    }

    person.open("/bad").await;
    let found = faults(&person, "harness-bad").await;
    let labels = found.iter().filter(|fault| fault.contains("label: ") && fault.contains("#lone"));
    assert_eq!(labels.count(), 4, "{found:?}");
    let narrow = found.iter().filter(|fault| fault.contains("sideways"));
    assert_eq!(narrow.count(), 1, "{found:?}");
    let dark = found.iter().filter(|fault| fault.contains("color-contrast"));
    assert_eq!(dark.filter(|fault| fault.starts_with("[dark")).count(), 2, "{found:?}");

    assert_eq!(person.csp_violations().await, Vec::<String>::new());
    person.open("/csp").await;
    person.sees("The script did not run").await;
    let violations = person.csp_violations().await;
    assert!(violations.iter().any(|entry| entry.contains("script-src")), "{violations:?}");
}

#[tokio::test]
async fn the_harness_does_what_a_person_does() {
    let driver = Driver::start();
    let (ada, bob) = {
        let site = site::start();
        (Person::new(&driver, &site).await, Person::new(&driver, &site).await)
    };

    ada.open("/form").await;
    ada.sign_in("ada@example.org", "correct horse").await;
    ada.sees("email=ada%40example.org").await;
    ada.does_not_see("Sign in").await;
    assert_eq!(ada.url().await, "/sent");
    ada.back().await;
    assert_eq!(ada.url().await, "/form");

    ada.open("/good").await;
    ada.fill("reason", "because I can").await;
    ada.fill("reason", "because\nI must").await;
    ada.fill("until", "2031-02-03").await;
    ada.fill("team", "The second").await;
    ada.tick("right", "write").await;
    ada.tick("right", "write").await;
    assert_eq!(ada.value_of("textarea").await, "because\nI must");
    ada.press_in("#copying", "Copy the key").await;
    ada.sees("Copied").await;
    assert_eq!(ada.clipboard_text().await, "the key");
    ada.press("Send").await;
    ada.sees("reason=because%0D%0AI+must&until=2031-02-03&team=2&right=write").await;
    assert!(ada.text().await.starts_with("Sent"));

    bob.open("/who").await;
    bob.sees("no cookie").await;
    ada.open("/who").await;
    ada.sees("signed=in").await;
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Err(reason) = Server::with(&["no-such-command"]) else { panic!("it started") };
    assert!(reason.contains("it said:"), "{reason}");
}

#[test]
fn a_server_that_starts_says_where() {
    let server = Server::start("correct horse battery");
    assert!(server.url().starts_with("http://127.0.0.1:"), "{}", server.url());
    assert!(server.said().contains(server.url()), "{}", server.said());
}

/// How wide a picture is, from its header.
fn width_of(name: &str) -> u32 {
    let path = format!("{}/target/screenshots/{name}.png", env!("CARGO_MANIFEST_DIR"));
    let picture = fs::read(path).unwrap();
    u32::from_be_bytes(picture.get(16..20).unwrap().try_into().unwrap())
}
