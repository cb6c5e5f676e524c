//! The documentation page: what it says to paste does what it says.

use std::process::Command;

use scraper::{Html, Selector};
use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{self, Home, Program, beside, texts};
use crate::support::{DEMO_ID, PASSWORD, TestApp};

/// Stands between the answers of the calls of a session.
const NEXT: &str = "---- next ----";

/// A call of the page, and the answer that stands under it, if one does.
struct Example {
    call: String,
    answer: Option<Value>,
}

/// The calls of the page in their order, as a person copies them.
fn examples(page: &str) -> Vec<Example> {
    let html = Html::parse_document(page);
    let mut found: Vec<Example> = Vec::new();
    for pre in html.select(&Selector::parse("pre").unwrap()) {
        let text: String = pre.text().collect();
        if pre.attr("class").is_some_and(|class| class.contains("call")) {
            found.push(Example { call: text, answer: None });
        } else {
            let answer = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            found.last_mut().expect("an answer follows a call").answer = Some(answer);
        }
    }
    found
}

/// The names and nesting of a value; one item stands for all of a list.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(name, one)| (name.clone(), shape(one))).collect(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
    }
}

/// Two people agree on a key; gives its secret.
fn live_key(home: &Home, server: &Program, label: &str, fields: &[(&str, &str)]) -> String {
    let sign_in = |who| {
        let mut person = Client::new(server.address);
        person.sign_in(who, PASSWORD).unwrap().is(303);
        person
    };
    let mut maker = sign_in("maker@demo.example");
    let usual = [("label", label), ("environment", "production"), ("expires_in_days", "30")];
    let asked = maker.submit("/settings/api-keys", &[&usual[..], fields].concat()).unwrap();
    let request = asked.is(303).header("location").to_owned();
    let approval = [("version", "1"), ("comment", "")];
    let mut checker = sign_in("checker@demo.example");
    checker.submit(&format!("{request}/approve"), &approval).unwrap().is(303);
    let id = request.rsplit('/').next().unwrap();
    let query = format!("SELECT id FROM keys WHERE request_id = '{id}'");
    let key = texts(&mut beside(&home.database), &query).remove(0);
    let page = maker.submit(&format!("/settings/api-keys/{key}/reveal"), &[]).unwrap().is(200);
    page.attribute("input#api-key", "value").unwrap()
}

/// Pastes the calls into one shell; gives what each of them printed.
fn paste(home: &Home, examples: &[Example], keys: &[(&str, &str)]) -> Vec<String> {
    let calls: Vec<_> = examples.iter().map(|example| example.call.as_str()).collect();
    let script = calls.join(&format!("\nprintf '%s' '{NEXT}'\n"));
    let mut bash = Command::new("bash");
    bash.args(["-uc", &script]).envs(keys.iter().copied()).current_dir(home.dir.path());
    let said = process::finish(home.dir.path(), bash).ended(0, "");
    assert_eq!(said.err, "");
    said.out.split(NEXT).map(str::to_owned).collect()
}

#[test]
fn every_call_of_the_page_works_when_it_is_pasted() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let wallet = [
        ("api", "wallet"),
        ("permissions", "read_balance"),
        ("permissions", "read_transactions"),
        ("permissions", "perform_operations"),
    ];
    let api_key = live_key(&home, &server, "Pasted", &wallet);
    let verify = [("api", "countersign"), ("permissions", "verify")];
    let verify_key = live_key(&home, &server, "A service of ours", &verify);
    let mut viewer = Client::new(server.address);
    viewer.sign_in("viewer@demo.example", PASSWORD).unwrap().is(303);
    let examples = examples(&viewer.get("/docs").unwrap().is(200).body);
    assert!(examples.len() >= 11, "{}", examples.len());

    let keys = [("API_KEY", api_key.as_str()), ("VERIFY_KEY", verify_key.as_str())];
    let printed = paste(&home, &examples, &keys);
    assert_eq!(printed.len(), examples.len());
    for (example, printed) in examples.iter().zip(&printed) {
        let what = format!("{}\n{printed}", example.call);
        let answer: Value = serde_json::from_str(printed).unwrap_or_else(|e| panic!("{what}: {e}"));
        if let Some(expected) = &example.answer {
            assert_eq!(shape(&answer), shape(expected), "{what}");
            for stable in ["balance", "error", "code", "valid", "message"] {
                assert_eq!(answer.get(stable), expected.get(stable), "{what}");
            }
        } else {
            assert_eq!(answer["valid"], true, "{what}");
        }
    }
    // What was sent once more in a second session is not done twice.
    let again = paste(&home, &examples[1..2], &keys);
    assert_eq!(again[0], printed[1]);
}

#[actix_web::test]
async fn the_page_carries_the_address_of_whoever_reads_it() {
    let app = TestApp::start().await;
    let ours = app.sign_in("viewer").await.get("/docs").await.is(200);
    let theirs = app.sign_in("maker@other.example").await.get("/docs").await.is(200);
    let base = &app.db.site().public_url;
    for (page, own, other) in [(&ours, &app.demo, &app.other), (&theirs, &app.other, &app.demo)] {
        let wallet = format!("{base}/api/v1/distributors/{own}/balance");
        assert!(page.body.contains(&wallet), "{wallet} is not on the page");
        assert!(!page.body.contains(&other.to_string()));
    }
    assert!(app.demo.as_str() == DEMO_ID);
    assert_eq!(ours.all("nav [aria-current=page]"), ["Docs"]);
    let ids: Vec<_> = theirs.all("section > .card-head > h2");
    assert_eq!(theirs.all(".contents a"), ids, "the list leads to every section");
}
