//! Keeps the layers pointing one way.

use std::path::{Path, PathBuf};

/// Each layer and what it must not mention.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "crate::store",
            "crate::actions",
            "crate::web",
            "crate::enforce",
            "crate::cli",
            "crate::worker",
            "crate::mail",
            "crate::config",
            "crate::clock",
            "crate::error",
            "actix_web",
            "Utc::now",
            "diesel::prelude",
            "async fn",
            "tokio",
        ],
    ),
    (
        "store",
        &[
            "crate::actions",
            "crate::web",
            "crate::enforce",
            "crate::cli",
            "crate::worker",
            "actix_web",
            "HttpResponse",
        ],
    ),
    (
        "actions",
        &[
            "crate::web",
            "crate::enforce",
            "crate::cli",
            "crate::worker",
            "actix_web",
            "diesel::",
            "async fn",
            "tokio",
        ],
    ),
    (
        "enforce",
        &["crate::web", "crate::actions", "crate::cli", "crate::worker", "actix_web", "diesel::"],
    ),
    ("web", &["crate::cli", "crate::worker", "diesel::", "begin_transaction"]),
];

/// Single files and what they must not mention.
const LEAVES: &[(&str, &[&str])] = &[
    ("clock.rs", &["crate::"]),
    ("mail.rs", &["crate::store", "crate::actions", "crate::web", "crate::domain"]),
    ("worker.rs", &["crate::web", "crate::cli", "diesel::"]),
];

#[test]
fn layers_only_look_down() {
    for (layer, words) in FORBIDDEN {
        let files = rust_files(&Path::new("src").join(layer));
        assert!(!files.is_empty(), "{layer} has no files");
        for file in &files {
            has_none_of(file, words);
        }
    }
    for (file, words) in LEAVES {
        has_none_of(&Path::new("src").join(file), words);
    }
}

#[test]
fn only_the_pool_knows_which_database_it_is() {
    let pool = Path::new("src/store/pool");
    for file in rust_files(Path::new("src")).iter().filter(|file| !file.starts_with(pool)) {
        has_none_of(file, &["Conn::Sqlite", "Conn::Postgres", "SqliteConnection", "PgConnection"]);
    }
}

#[test]
fn templates_escape_everything_and_every_form_carries_its_proof() {
    for file in files(Path::new("templates"), "html") {
        has_none_of(&file, &["|safe", "| safe", "javascript:"]);
        let (mail, macros) =
            (file.starts_with("templates/mail"), file.ends_with("components/ui.html"));
        if !mail {
            has_none_of(&file, &["style=", "<style", "onclick", "onload"]);
        }
        if !macros {
            has_none_of(&file, &["method=\"post\"", "method=post"]);
        }
    }
}

#[track_caller]
fn has_none_of(file: &Path, words: &[&str]) {
    let text = std::fs::read_to_string(file).unwrap();
    for word in words {
        assert!(!text.contains(word), "{} mentions {word}", file.display());
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(dir, "rs");
    let file = dir.with_extension("rs");
    if file.exists() {
        found.push(file);
    }
    found
}

fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path, end) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|found| found == end))
        .collect()
}
