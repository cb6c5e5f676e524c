//! The entries of the catalogue as people meet them: their forms, and what came of one.

use crate::person::Person;
use crate::pictures::pictures;
use crate::story::signed_in;
use crate::support::{Driver, Server};

const PASSWORD: &str = "two people agree";

/// Opens everything that is folded away, so that the picture shows it.
async fn unfold(person: &Person) {
    let script = "document.querySelectorAll('details').forEach(d => d.open = true)";
    person.run(script, vec![]).await;
}

#[tokio::test]
async fn every_entry_has_a_form_and_its_choices_are_seen_on_the_pages_after_it() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let maker = signed_in(&driver, &server, "maker@demo.example").await;
    for api in ["insider", "omniwallet", "peikly"] {
        maker.open(&format!("/settings/api-keys/new?api={api}")).await;
        pictures(&maker, &format!("form-{api}")).await;
    }
    maker.open("/settings/api-keys/new?api=optimove").await;
    pictures(&maker, "form-optimove").await;
    unfold(&maker).await;
    pictures(&maker, "form-optimove-unfolded").await;
    maker.fill("label", "Partner in Abuja").await;
    maker.tick("access_type", "integrations").await;
    maker.tick("attributes", "Age").await;
    maker.tick("attributes", "Country").await;
    maker.press("Send for approval").await;
    maker.sees("Your request was sent").await;
    let request = maker.url().await;

    let checker = signed_in(&driver, &server, "checker@demo.example").await;
    checker.open(&request).await;
    checker.sees("Access type").await;
    pictures(&checker, "review-optimove").await;
    checker.press("Approve").await;
    checker.sees("You approved the request").await;
    checker.press("Open the key").await;
    checker.sees("Calls it may make").await;
    unfold(&checker).await;
    pictures(&checker, "key-optimove").await;

    maker.open("/settings/api-keys/active").await;
    maker.fill("api", "Optimove").await;
    maker.press("Show").await;
    maker.sees("Partner in Abuja").await;
    assert_eq!(maker.url().await, "/settings/api-keys/active?api=optimove");
    pictures(&maker, "list-optimove").await;
    assert_eq!(maker.csp_violations().await, Vec::<String>::new());
}
