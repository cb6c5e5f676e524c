//! Looks at a page as a picture and as axe sees it: wide and narrow, light and dark.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::person::Person;
use crate::support::setting;

/// The rule sets of axe that a page has to keep.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const AXE: &str = "const [rules, done] = arguments;
    const line = n => '    ' + n.target.flat().join(' ') + '\\n      '
        + n.failureSummary.replaceAll('\\n', '\\n      ');
    const lines = v => v.id + ': ' + v.help + '\\n' + v.nodes.map(line).join('\\n');
    axe.run(document, {runOnly: rules, resultTypes: ['violations'], preload: false})
        .then(r => done(r.violations.map(lines)), e => done('axe failed: ' + e));";

/// Waits for the running transitions, and then for the next picture on the screen.
const SETTLE: &str = "const done = arguments[0];
    const ends = a => Number.isFinite(a.effect?.getComputedTiming().endTime);
    Promise.allSettled(document.getAnimations().filter(ends).map(a => a.finished))
        .then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))));";

const OVERFLOW: &str = "const page = document.documentElement;
    return page.scrollWidth > page.clientWidth && page.scrollWidth + ' of ' + page.clientWidth";

/// Takes the four pictures of a page and stops the test if axe or the width finds a fault.
pub(crate) async fn pictures(person: &Person, name: &str) {
    let faults = faults(person, name).await;
    assert!(faults.is_empty(), "{name} has {} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Takes the four pictures of a page; returns what is wrong with it, and in which of them.
pub(crate) async fn faults(person: &Person, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (size, width, height) in [("wide", 1280, 900), ("320", 320, 900)] {
        person.resize(width, height).await;
        for scheme in ["light", "dark"] {
            person.scheme(scheme).await;
            person.screenshot(&format!("{name}-{scheme}-{size}")).await;
            let found = person.axe().await.into_iter();
            faults.extend(found.map(|fault| format!("[{scheme} {size}] {fault}")));
        }
        if let Value::String(widths) = person.run(OVERFLOW, vec![]).await {
            faults.push(format!("[{size}] the page scrolls sideways: {widths} pixels fit"));
        }
    }
    person.resize(1280, 900).await;
    person.scheme("light").await;
    faults
}

impl Person {
    /// Gives the page a window of this size, also one that no real window could have.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes the browser prefer a `light` or a `dark` colour scheme.
    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.cdp("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Writes the whole page to `target/screenshots/<name>.png`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        self.run_async(SETTLE, vec![]).await;
        let sizes = self.cdp("Page.getLayoutMetrics", json!({})).await;
        let side = |side| sizes.pointer(&format!("/cssContentSize/{side}")).cloned();
        let clip = json!({"x": 0, "y": 0, "width": side("width"), "height": side("height"),
            "scale": 1});
        let wish = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.cdp("Page.captureScreenshot", wish).await;
        let data = answer.get("data").and_then(Value::as_str).expect("a picture");
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&directory).expect("a directory for the pictures");
        let path = directory.join(format!("{name}.png"));
        fs::write(&path, bytes_of(data)).expect("room for a picture");
        path
    }

    /// What axe finds wrong with the page: rule, help, and for each element its selector and why.
    pub(crate) async fn axe(&self) -> Vec<String> {
        self.run_async(SETTLE, vec![]).await;
        if self.run("return typeof axe", vec![]).await == json!("undefined") {
            let source = fs::read_to_string(setting("AXE_JS")).expect("AXE_JS is a file");
            self.run(&source, vec![]).await;
        }
        let found = self.run_async(AXE, vec![json!(RULES)]).await;
        let Value::Array(violations) = found else { panic!("{found}") };
        violations.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// Decodes base64, which is how a picture arrives.
fn bytes_of(base64: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(base64.len() / 4 * 3);
    let (mut held, mut count) = (0_u32, 0_u32);
    for letter in base64.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        held = (held << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from((held >> count) & 0xff));
        }
    }
    bytes
}
