//! One person at a browser: opens pages, fills in forms, presses buttons and reads.

use std::cell::RefCell;
use std::time::Duration;

use fantoccini::elements::{Element, ElementRef};
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::support::{Driver, end_session, setting};

/// How long a page may take to show what is expected of it.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// An element that can be seen and used; shared by the scripts below.
const USABLE: &str = "const usable = e => !e.disabled && e.checkVisibility({visibilityProperty: \
                      true, opacityProperty: true});";

const FIELDS: &str = "const [scope, name] = arguments;
    return [...document.querySelectorAll(scope)].flatMap(s => [...s.querySelectorAll('[name]')])
        .filter(e => e.name === name && e.type !== 'hidden' && usable(e));";

const BOXES: &str = "const [name, value] = arguments;
    return [...document.getElementsByName(name)].filter(e => !e.disabled && e.value === value)
        .map(e => usable(e) ? e : e.labels?.[0]).filter(e => e && usable(e));";

const BUTTONS: &str = "const [scope, text] = arguments;
    const tidy = s => (s ?? '').replace(/\\s+/g, ' ').trim();
    const kinds = 'button, a[href], summary, [role=button], input[type=submit]';
    return [...document.querySelectorAll(scope)].flatMap(s => [...s.querySelectorAll(kinds)])
        .filter(e => [e.innerText, e.textContent, e.value].map(tidy).includes(text) && usable(e));";

/// Sets a field that typing would not set in every language; says whether it was such a field.
const SET: &str = "const [field, value] = arguments;
    if (field.tagName === 'SELECT') {
        const same = o => o.value === value || o.label.trim() === value;
        const option = [...field.options].find(same);
        if (!option) throw new Error('there is no option ' + value);
        option.selected = true;
    } else if (['date', 'time', 'datetime-local', 'color', 'range'].includes(field.type)) {
        field.value = value;
        if (field.value !== value) throw new Error(field.type + ' cannot be ' + value);
    } else {
        return false;
    }
    for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}));
    return true;";

/// A command of chromedriver that is not part of the `WebDriver` standard.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        base_url.join(&format!("session/{}/{}", session_id.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// One browser with a profile of its own: its cookies are nobody else's.
pub(crate) struct Person {
    client: Client,
    base: String,
    port: u16,
    session: String,
    log: RefCell<Vec<String>>,
    _profile: TempDir,
}

impl Drop for Person {
    fn drop(&mut self) {
        end_session(self.port, &self.session);
    }
}

impl Person {
    /// Starts a browser for the site at `base` (without a slash at the end).
    pub(crate) async fn new(driver: &Driver, base: &str) -> Self {
        let profile = TempDir::new().expect("a temporary directory");
        let Value::Object(wishes) = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": setting("CHROMIUM"), "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--hide-scrollbars", "--disable-background-networking", "--disable-sync",
                "--disable-component-update", "--lang=en-US",
                format!("--user-data-dir={}", profile.path().display()),
            ] },
        }) else {
            unreachable!("braces make an object")
        };
        let port = driver.port();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wishes)
            .connect(&format!("http://127.0.0.1:{port}/"))
            .await
            .unwrap_or_else(|error| panic!("the browser does not start: {error}"));
        let session = client.session_id().await.expect("an answer").expect("a session");
        let log = RefCell::default();
        let person = Self { client, base: base.to_owned(), port, session, log, _profile: profile };
        let rights = json!(["clipboardReadWrite", "clipboardSanitizedWrite"]);
        person
            .cdp("Browser.grantPermissions", json!({"origin": base, "permissions": rights}))
            .await;
        person.cdp("Emulation.setFocusEmulationEnabled", json!({"enabled": true})).await;
        person.resize(1280, 900).await;
        person
    }

    /// Goes to a path of the site and waits until the page is loaded.
    pub(crate) async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.client.goto(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Fills in the sign-in form of the open page, sends it, and waits for the next page.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) {
        let page = self.run("return performance.timeOrigin", vec![]).await;
        self.fill("email", email).await;
        self.fill("password", password).await;
        let field = self.one("field", FIELDS, "body", "password").await;
        field.send_keys(&char::from(Key::Enter).to_string()).await.expect("the form is sent");
        let script = "return document.readyState === 'complete' && performance.timeOrigin";
        let next = self.until(script, vec![], |now| now.is_number() && *now != page).await;
        assert!(next.is_some(), "signing in led nowhere: {}", self.scene().await);
    }

    /// Replaces what is in the only visible field of this name (a select: by value or label).
    pub(crate) async fn fill(&self, name: &str, value: &str) {
        self.fill_in("body", name, value).await;
    }

    /// The same among the fields inside `scope`, a CSS selector.
    pub(crate) async fn fill_in(&self, scope: &str, name: &str, value: &str) {
        let field = self.one("field", FIELDS, scope, name).await;
        let reference = serde_json::to_value(&field).expect("an element has a reference");
        let done = self.client.execute(SET, vec![reference, json!(value)]).await;
        if done.unwrap_or_else(|error| panic!("field {name:?}: {error}")) == json!(true) {
            return;
        }
        field.clear().await.unwrap_or_else(|error| panic!("field {name:?}: {error}"));
        field.send_keys(value).await.unwrap_or_else(|error| panic!("field {name:?}: {error}"));
    }

    /// Ticks the checkbox or radio button of this name and value, if it is not ticked.
    pub(crate) async fn tick(&self, name: &str, value: &str) {
        let ticked = "return [...document.getElementsByName(arguments[0])].some(
            e => e.value === arguments[1] && e.checked)";
        let arguments = vec![json!(name), json!(value)];
        if self.run(ticked, arguments.clone()).await == json!(true) {
            return;
        }
        let target = self.one("box", BOXES, name, value).await;
        target.click().await.unwrap_or_else(|error| panic!("box {name}={value}: {error}"));
        let now = self.run(ticked, arguments).await;
        assert_eq!(now, json!(true), "{name}={value} is still not ticked");
    }

    /// Clicks the only visible button or link whose text is exactly this.
    pub(crate) async fn press(&self, text: &str) {
        self.press_in("body", text).await;
    }

    /// The same among the buttons and links inside `scope`, a CSS selector.
    pub(crate) async fn press_in(&self, scope: &str, text: &str) {
        let button = self.one("button or link", BUTTONS, scope, text).await;
        button.click().await.unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }

    /// The visible text of the main part of the page.
    pub(crate) async fn text(&self) -> String {
        let script = "return (document.querySelector('main') ?? document.body)?.innerText";
        let text = self.until(script, vec![], Value::is_string).await;
        text.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Waits until the text of the page contains this, however its white space is.
    pub(crate) async fn sees(&self, wanted: &str) {
        assert!(self.comes_to(wanted, true).await, "no {wanted:?} on {}", self.scene().await);
    }

    /// Waits until the text of the page does not contain this (any more).
    pub(crate) async fn does_not_see(&self, unwanted: &str) {
        assert!(self.comes_to(unwanted, false).await, "{unwanted:?} on {}", self.scene().await);
    }

    async fn comes_to(&self, text: &str, there: bool) -> bool {
        let script = "const tidy = s => s.replace(/\\s+/g, ' ').trim();
            const shown = (document.querySelector('main') ?? document.body).innerText;
            return tidy(shown).includes(tidy(arguments[0]))";
        self.until(script, vec![json!(text)], |found| *found == json!(there)).await.is_some()
    }

    /// The address of the page, without that of the site: `/keys?page=2`.
    pub(crate) async fn url(&self) -> String {
        let url = self.client.current_url().await.expect("a page is open").to_string();
        url.strip_prefix(&self.base).map_or(url.clone(), str::to_owned)
    }

    /// Goes back one page.
    pub(crate) async fn back(&self) {
        self.client.back().await.expect("there is a page to go back to");
    }

    /// The value of the first field this CSS selector finds, or the text of another element.
    pub(crate) async fn value_of(&self, css: &str) -> String {
        let script = "const e = document.querySelector(arguments[0]);
            return e && ('value' in e ? e.value : e.textContent.trim())";
        let value = self.until(script, vec![json!(css)], Value::is_string).await;
        let Some(Value::String(value)) = value else {
            panic!("nothing is {css:?} on {}", self.scene().await)
        };
        value
    }

    /// What is in the clipboard.
    pub(crate) async fn clipboard_text(&self) -> String {
        let script = "const done = arguments[0];
            navigator.clipboard.readText().then(done, e => done({error: String(e)}))";
        match self.run_async(script, vec![]).await {
            Value::String(text) => text,
            refusal => panic!("the clipboard is not readable: {refusal}"),
        }
    }

    /// Everything the browser has reported since it started, each with its level.
    pub(crate) async fn console(&self) -> Vec<String> {
        let command = Extension { path: "se/log", body: json!({"type": "browser"}) };
        let entries = self.client.issue_cmd(command).await.expect("the browser keeps a log");
        let line = |entry: &Value| {
            let part = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{} {}", part("level"), part("message"))
        };
        let new = entries.as_array().into_iter().flatten().map(line);
        self.log.borrow_mut().extend(new);
        self.log.borrow().clone()
    }

    /// What the content security policy of a page has stopped or reported since the start.
    pub(crate) async fn csp_violations(&self) -> Vec<String> {
        let mut entries = self.console().await;
        entries.retain(|entry| entry.contains("Content Security Policy"));
        entries
    }

    /// Sends a command of the Chrome `DevTools` protocol.
    pub(crate) async fn cdp(&self, name: &str, parameters: Value) -> Value {
        let body = json!({"cmd": name, "params": parameters});
        let answer = self.client.issue_cmd(Extension { path: "goog/cdp/execute", body }).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// What a script hands to the function that is its last argument.
    pub(crate) async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        let answer = self.client.execute_async(script, arguments).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What a script returns as soon as it is good; nothing when that takes too long.
    async fn until(
        &self,
        script: &str,
        arguments: Vec<Value>,
        good: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        let looking = async {
            loop {
                looks.tick().await;
                match self.client.execute(script, arguments.clone()).await {
                    Ok(value) if good(&value) => return value,
                    Err(CmdError::Lost(error)) => panic!("the browser is gone: {error}"),
                    // A page that is just being replaced has no answer yet.
                    Ok(_) | Err(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.ok()
    }

    /// The only element that a script finds for these two arguments.
    async fn one(&self, kind: &str, script: &str, first: &str, second: &str) -> Element {
        let script = format!("{USABLE}\n{script}");
        let single = |found: &Value| found.as_array().is_some_and(|found| found.len() == 1);
        let arguments = vec![json!(first), json!(second)];
        let found = self.until(&script, arguments.clone(), single).await;
        let reference = found.as_ref().and_then(|found| found.pointer("/0")?.as_object());
        let reference = reference.and_then(|found| found.values().next()?.as_str());
        let Some(reference) = reference else {
            let last = self.run(&script, arguments).await;
            let count = last.as_array().map_or(0, Vec::len);
            let scene = self.scene().await;
            panic!("{count} times, not once, a {kind} for {first:?} {second:?} on {scene}")
        };
        Element::from_element_id(self.client.clone(), ElementRef::from(reference.to_owned()))
    }

    /// The page as a failed test reports it.
    async fn scene(&self) -> String {
        format!("{}, which shows:\n{}", self.url().await, self.text().await)
    }
}
