//! Checking and exporting the audit log.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{say, told};
use crate::domain::audit::{Entry, Head};
use crate::store::{Db, audit};

/// Entries read at a time.
const PAGE: i64 = 1_000;

/// Checks the chain in the database, and that it reaches as far as the database says it does. The
/// head is read first: what is written while this runs is simply newer.
pub(super) async fn verify(db: &Db) -> anyhow::Result<ExitCode> {
    let stored = db.read(audit::head).await.map_err(told)?;
    let (mut head, mut passed_stored) = (Head::default(), stored == Head::default());
    loop {
        let page = page_after(db, head.seq).await?;
        if page.is_empty() {
            break;
        }
        for entry in page {
            if let Err(fault) = entry.check(&head) {
                return broken(&fault);
            }
            head = entry.head();
            passed_stored |= head == stored;
        }
    }
    let newest = db.read(audit::head).await.map_err(told)?;
    if passed_stored && head.seq > newest.seq {
        return broken(&format!(
            "entry {} was not written by Countersign",
            newest.seq.saturating_add(1)
        ));
    }
    if passed_stored {
        return whole(&head);
    }
    broken(&format!(
        "the log ends at entry {}, but entry {} was written: the end was cut off or replaced",
        head.seq, stored.seq
    ))
}

/// Checks an exported chain.
pub(super) fn verify_file(path: &Path) -> anyhow::Result<ExitCode> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut head = Head::default();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line?;
        let Ok(entry) = serde_json::from_str::<Entry>(&line) else {
            return broken(&format!("line {number} is no audit entry"));
        };
        if let Err(fault) = entry.check(&head) {
            return broken(&fault);
        }
        head = entry.head();
    }
    whole(&head)
}

/// Prints every entry as a line of JSON.
pub(super) async fn export(db: &Db) -> anyhow::Result<()> {
    let mut seq = 0;
    loop {
        let page = page_after(db, seq).await?;
        let Some(last) = page.last() else { return Ok(()) };
        seq = last.seq;
        page.iter().try_for_each(|entry| say(serde_json::to_string(entry)?))?;
    }
}

async fn page_after(db: &Db, seq: i64) -> anyhow::Result<Vec<Entry>> {
    db.read(move |conn| audit::list_after(conn, seq, PAGE)).await.map_err(told)
}

fn whole(head: &Head) -> anyhow::Result<ExitCode> {
    say(format!("The audit log is whole: {} entries, head {}", head.seq, head.hash))?;
    Ok(ExitCode::SUCCESS)
}

fn broken(fault: &str) -> anyhow::Result<ExitCode> {
    say(format!("The audit log is broken: {fault}"))?;
    Ok(ExitCode::FAILURE)
}
