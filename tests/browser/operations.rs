//! Operations as people meet them: asking, deciding, the history, and what a key may do.

use crate::pictures::pictures;
use crate::story::signed_in;
use crate::support::{Driver, Server};

const PASSWORD: &str = "two people agree";

#[tokio::test]
async fn money_moves_once_two_people_agree_and_stands_in_the_history() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let maker = signed_in(&driver, &server, "maker@demo.example").await;
    let checker = signed_in(&driver, &server, "checker@demo.example").await;

    maker.open("/operations").await;
    pictures(&maker, "operations").await;
    maker.press("New operation").await;
    pictures(&maker, "operation-form").await;
    maker.tick("operation_type", "cash-out-fulfillment").await;
    maker.does_not_see("Recipient of a cash-in").await;
    maker.sees("Receipt of a cash-out").await;
    maker.tick("operation_type", "cash-in").await;
    maker.tick("recipient", "merchant").await;
    maker.does_not_see("Phone number of the customer").await;
    maker.fill("amount", "5,00").await;
    maker.press("Send for approval").await;
    maker.sees("There are 2 problems").await;
    pictures(&maker, "operation-form-errors").await;
    maker.fill("amount", "30,000").await;
    maker.fill("merchant_to_short_code", "200000").await;
    maker.fill("memo", "Float for Tuesday").await;
    maker.fill("justification", "The store asked for it by phone this morning.").await;
    maker.press("Send for approval").await;
    maker.sees("Your request was sent").await;
    let request = maker.url().await;

    checker.open("/").await;
    checker.sees("Cash-in of NGN 30,000.00 to merchant 200000").await;
    checker.open(&request).await;
    checker.sees("Above half the balance").await;
    pictures(&checker, "review-operation").await;
    checker.press("Approve and move NGN 30,000.00").await;
    checker.sees("the money has moved").await;
    pictures(&checker, "review-operation-completed").await;
    checker.open("/operations?state=failed").await;
    pictures(&checker, "operations-failed").await;
    checker.press("Cash-out with End user 1").await;
    checker.sees("Why it failed").await;
    pictures(&checker, "review-operation-failed").await;
    checker.open("/requests?kind=operation").await;
    pictures(&checker, "requests-operations").await;
    checker.press("Cash-in of NGN 750.00 to +2348123456782").await;
    checker.sees("By a key").await;
    pictures(&checker, "review-operation-key").await;
    checker.open("/operations?q=nobody").await;
    checker.sees("Nothing fits").await;
    pictures(&checker, "operations-none").await;

    for person in [&maker, &checker] {
        assert_eq!(person.csp_violations().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_key_tells_whether_a_call_would_be_allowed() {
    let (driver, server) = (Driver::start(), Server::start(PASSWORD));
    let viewer = signed_in(&driver, &server, "viewer@demo.example").await;
    viewer.open("/settings/api-keys/active").await;
    viewer.press("Production POS – Main Store").await;
    viewer.press("Would this call be allowed?").await;
    viewer.sees("Describe a call").await;
    pictures(&viewer, "check-empty").await;
    viewer.fill("permission", "perform_operations").await;
    viewer.fill("amount", "5,000").await;
    viewer.fill("ip", "102.89.23.14").await;
    viewer.press("Check").await;
    viewer.sees("Allowed").await;
    pictures(&viewer, "check-allowed").await;
    viewer.fill("amount", "60,000").await;
    viewer.press("Check").await;
    viewer.sees("Denied: transaction_limit_exceeded").await;
    pictures(&viewer, "check-denied").await;
    assert_eq!(viewer.csp_violations().await, Vec::<String>::new());
}
