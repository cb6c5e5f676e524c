//! The audit log: complete, in order, and tampering shows.

use std::fs;

use countersign::actions::members::{self, NewMember};
use countersign::domain::audit::{Entry, Event, Who};
use countersign::domain::member::Role;
use countersign::store::{Conn, audit};
use diesel::connection::SimpleConnection as _;

use crate::schema::migrations::undo_since;
use crate::support::process::{self, Said, beside, number, run};
use crate::support::{Page, TestApp, email};

/// Runs `countersign audit …` on the database of the app, as another process.
fn command(app: &TestApp, args: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let mut command = process::bare(dir.path(), &[&["audit"], args].concat());
    command.env("DATABASE_URL", &app.database.url);
    process::finish(dir.path(), command)
}

async fn entries(app: &TestApp) -> Vec<Entry> {
    app.db.read(|conn| audit::list_after(conn, 0, 100_000)).await.unwrap()
}

/// What an intruder with the whole database would do first.
fn drop_triggers(conn: &mut Conn) {
    run(
        conn,
        match conn {
            Conn::Sqlite(_) => {
                "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted"
            }
            Conn::Postgres(_) => "DROP TRIGGER audit_is_never_changed ON audit",
        },
    );
}

const REST: &str = "at, organisation_id, actor_kind, actor_id, actor_name, action, subject_id, detail, ip, request_id";

#[actix_web::test]
async fn tampering_with_the_log_is_found_at_its_first_bad_entry() {
    let app = TestApp::start().await;
    app.live_key("Evidence", &[("permissions", "read_balance")]).await;
    let whole = command(&app, &["verify"]).ended(0, "whole");
    let last = entries(&app).await.len();
    assert!(whole.out.contains(&format!("{last} entries")), "{}", whole.out);
    let (next, cut) = (last + 1, last - 2);
    let spare = "(SELECT hash FROM secrets LIMIT 1)";
    let tamperings = [
        ("UPDATE audit SET actor_name = 'nobody' WHERE seq = 5".to_owned(), "entry 5 was".to_owned()),
        ("UPDATE audit SET at = '2020-01-01 00:00:00' WHERE seq = 5".to_owned(), "entry 5 was".to_owned()),
        ("UPDATE audit SET ip = '' WHERE seq = 5".to_owned(), "entry 5 was".to_owned()),
        ("UPDATE audit SET detail = '{}' WHERE seq = 1".to_owned(), "entry 1 was".to_owned()),
        (format!("UPDATE audit SET hash = {spare} WHERE seq = 5"), "entry 5 was".to_owned()),
        ("DELETE FROM audit WHERE seq = 5".to_owned(), "entry 6 follows entry 4".to_owned()),
        ("DELETE FROM audit WHERE seq = 1".to_owned(), "entry 2 follows entry 0".to_owned()),
        ("DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6".to_owned(), "entry 5 does not".to_owned()),
        ("UPDATE audit SET seq = 9000 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6; UPDATE audit SET seq = 6 WHERE seq = 9000".to_owned(), "entry 5 does not".to_owned()),
        (format!("UPDATE audit SET seq = seq + 9000 WHERE seq >= 5; UPDATE audit SET seq = seq - 8999 WHERE seq >= 9000; \
                  INSERT INTO audit SELECT 5, {REST}, previous_hash, {spare} FROM audit WHERE seq = 6"), "entry 5 was".to_owned()),
        (format!("INSERT INTO audit SELECT {next}, {REST}, hash, {spare} FROM audit WHERE seq = {last}"), format!("entry {next} was")),
        (format!("DELETE FROM audit WHERE seq > {cut}"), format!("ends at entry {cut}, but entry {last} was written")),
        ("DELETE FROM audit".to_owned(), "ends at entry 0".to_owned()),
        (format!("UPDATE audit_head SET seq = {cut}"), format!("ends at entry {last}")),
    ];
    let mut conn = beside(&app.database);
    drop_triggers(&mut conn);
    run(&mut conn, "CREATE TABLE safe AS SELECT * FROM audit");
    for (sql, found) in tamperings {
        run(&mut conn, &sql);
        let said = command(&app, &["verify"]);
        assert!(
            said.code == Some(1) && said.out.contains(&found),
            "{sql}: {said:?}, not “{found}”"
        );
        run(&mut conn, "DELETE FROM audit; INSERT INTO audit SELECT * FROM safe");
        run(&mut conn, &format!("UPDATE audit_head SET seq = {last}"));
    }
    command(&app, &["verify"]).ended(0, "whole");
}

#[actix_web::test]
async fn a_well_made_entry_that_the_server_never_wrote_is_found() {
    let app = TestApp::start().await;
    let last = entries(&app).await.pop().unwrap();
    let forged = happened("forged".to_owned()).entry(&last.head(), last.at);
    let mut conn = beside(&app.database);
    let literal = |hex: &str| match conn {
        Conn::Sqlite(_) => format!("x'{hex}'"),
        Conn::Postgres(_) => format!("'\\x{hex}'::bytea"),
    };
    let (previous, hash) = (literal(&forged.previous_hash), literal(&forged.hash));
    let (seq, action) = (forged.seq, &forged.action);
    let insert = format!(
        "INSERT INTO audit SELECT {seq}, at, NULL, 'command', NULL, 'command line', '{action}', \
         'forged', '{{}}', NULL, NULL, {previous}, {hash} FROM audit WHERE seq = {}",
        last.seq
    );
    run(&mut conn, &insert);
    assert_eq!(entries(&app).await.pop().unwrap(), forged);
    command(&app, &["verify"]).ended(1, &format!("entry {seq}"));
}

#[actix_web::test]
async fn tampering_with_an_exported_log_is_found_without_the_database() {
    let app = TestApp::start().await;
    app.live_key("Evidence", &[("permissions", "read_balance")]).await;
    let export = command(&app, &["export"]).ended(0, "request.made").out;
    let lines: Vec<&str> = export.lines().collect();
    let stored = entries(&app).await;
    let exported: Vec<Entry> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(exported, stored);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let verify = |text: &str| {
        fs::write(&file, text).unwrap();
        process::finish(
            dir.path(),
            process::bare(dir.path(), &["audit", "verify", file.to_str().unwrap()]),
        )
    };
    let head = &stored.last().unwrap().hash;
    verify(&export).ended(0, head);
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        verify(&(lines.join("\n") + "\n"))
    };
    changed(&|l| l[4] = l[4].replacen("The ", "the ", 1)).ended(1, "entry 5 was");
    changed(&|l| l[4] = l[4].replacen("2026-", "2025-", 1)).ended(1, "entry 5 was");
    changed(&|l| drop(l.remove(4))).ended(1, "entry 6 follows entry 4");
    changed(&|l| l.swap(4, 5)).ended(1, "entry 6 follows entry 4");
    changed(&|l| l.insert(4, l[3].clone())).ended(1, "entry 4 follows entry 4");
    changed(&|l| l[4].clear()).ended(1, "line 5");
    changed(&|l| l[4].truncate(20)).ended(1, "line 5");
    // A cut tail is whole by itself; that it is not the head of the database shows it.
    let cut = changed(&|l| l.truncate(6)).ended(0, "6 entries");
    assert!(!cut.out.contains(head.as_str()));
    let missing = process::bare(dir.path(), &["audit", "verify", "/nowhere/audit.jsonl"]);
    process::finish(dir.path(), missing).ended(1, "/nowhere/audit.jsonl");
}

/// Writes of each of the writers.
const ROUNDS: usize = 8;

fn happened(subject: String) -> Event {
    Event {
        organisation_id: None,
        who: Who::Command,
        action: "test.happened",
        subject_id: Some(subject),
        detail: serde_json::json!({}),
    }
}

#[actix_web::test]
async fn parallel_writers_leave_no_gap_and_a_check_meanwhile_finds_the_log_whole() {
    let app = TestApp::start().await;
    let before = entries(&app).await.len();
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let db = app.db.clone();
            actix_web::rt::spawn(async move {
                for round in 0..ROUNDS {
                    let subject = format!("{n}-{round}");
                    let write = move |tx: &mut countersign::store::Tx<'_>| {
                        tx.audit(happened(subject.clone()));
                        tx.audit(happened(subject));
                        Ok(())
                    };
                    db.write(write).await.unwrap();
                }
            })
        })
        .collect();
    let url = app.database.url.clone();
    let checks = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().unwrap();
        let check = |_| {
            let mut command = process::bare(dir.path(), &["audit", "verify"]);
            command.env("DATABASE_URL", &url);
            process::finish(dir.path(), command)
        };
        (0..3).map(check).collect::<Vec<_>>()
    });
    let checks = checks.await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let seqs: Vec<_> = entries(&app).await.into_iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs.len(), before + 2 * 64 * ROUNDS);
    assert!((1..).zip(&seqs).all(|(n, seq)| n == *seq), "{seqs:?}");
    command(&app, &["verify"]).ended(0, "whole");
    let alarms: Vec<_> = checks.iter().filter(|said| said.code != Some(0)).collect();
    assert!(alarms.is_empty(), "false alarms while others write: {alarms:#?}");
}

#[actix_web::test]
async fn what_cannot_be_audited_does_not_happen() {
    let app = TestApp::start().await;
    let (mut maker, mut checker) = (app.sign_in("maker").await, app.sign_in("checker").await);
    let (asked, done) = (maker.ask_for_key("Before").await, maker.ask_for_key("Approved").await);
    checker.approve(&done).await.is(303);
    let key = app.key_of(&done).await;
    let mut conn = beside(&app.database);
    let counts = |conn: &mut Conn| {
        ["requests", "decisions", "keys", "secrets", "outbox", "sessions", "audit"]
            .map(|table| number(conn, &format!("SELECT count(*) FROM {table}")))
    };
    maker.get(&key).await.is(200);
    checker.get(&asked).await.is(200);
    let occupy = format!(
        "INSERT INTO audit SELECT seq + 1, {REST}, hash, (SELECT hash FROM audit_head WHERE seq = 0 \
         UNION SELECT previous_hash FROM audit WHERE seq = 1 LIMIT 1) FROM audit ORDER BY seq DESC LIMIT 1"
    );
    run(&mut conn, &occupy);
    let before = counts(&mut conn);
    let fields = [
        ("api", "wallet"),
        ("label", "Never"),
        ("environment", "production"),
        ("permissions", "read_balance"),
        ("expires_in_days", "30"),
    ];
    maker.submit("/settings/api-keys", &fields).await.is(500);
    let reveal = maker.submit(&format!("{key}/reveal"), &[]).await.is(500);
    assert_eq!(reveal.secret(), None);
    let fields = [("reason", "x"), ("confirm_label", "Approved")];
    maker.submit(&format!("{key}/revoke"), &fields).await.is(500);
    maker.submit(&format!("{asked}/withdraw"), &[]).await.is(500);
    checker.submit(&format!("{asked}/approve"), &[("version", "1"), ("comment", "")]).await.is(500);
    checker.submit(&format!("{asked}/reject"), &[("version", "1"), ("reason", "x")]).await.is(500);
    app.visitor().sign_in(&email("maker2"), crate::support::PASSWORD).await.is(500);
    assert_eq!(counts(&mut conn), before);
    assert!(app.state.index.is_empty());
    drop_triggers(&mut conn);
    run(&mut conn, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)");
    checker.submit(&format!("{asked}/approve"), &[("version", "1"), ("comment", "")]).await.is(303);
    maker.reveal(&key).await;
    command(&app, &["verify"]).ended(0, "whole");
}

#[actix_web::test]
async fn each_event_writes_one_entry_with_who_what_from_where_and_in_which_request() {
    let app = TestApp::start().await;
    let mut expected: Vec<(&str, String, Page)> = Vec::new();
    let before = entries(&app).await.len();
    let mut maker = app.visitor();
    maker.get("/login").await;
    let wrong = [("email", "maker@demo.example"), ("password", "not this one, sorry")];
    expected.push((
        "session.refused",
        "visitor".to_owned(),
        maker.submit("/login", &wrong).await.is(422),
    ));
    let mut note =
        |action, who: &str, page: Page| expected.push((action, format!("The {who}"), page));
    note(
        "session.started",
        "maker",
        maker.sign_in("maker@demo.example", crate::support::PASSWORD).await,
    );
    let mut checker = app.visitor();
    note(
        "session.started",
        "checker",
        checker.sign_in("checker@demo.example", crate::support::PASSWORD).await,
    );
    let mut ids = Vec::new();
    for label in ["To approve", "To reject", "To withdraw"] {
        let fields = [
            ("api", "wallet"),
            ("label", label),
            ("environment", "production"),
            ("permissions", "read_balance"),
            ("expires_in_days", "30"),
        ];
        let page = maker.submit("/settings/api-keys", &fields).await.is(303);
        ids.push(page.location().to_owned());
        note("request.made", "maker", page);
    }
    checker.get(&ids[0]).await.is(200);
    note("request.approved", "checker", checker.approve(&ids[0]).await.is(303));
    note("request.rejected", "checker", checker.reject(&ids[1], "No").await.is(303));
    note(
        "request.withdrawn",
        "maker",
        maker.submit(&format!("{}/withdraw", ids[2]), &[]).await.is(303),
    );
    let key = app.key_of(&ids[0]).await;
    let revealed = maker.submit(&format!("{key}/reveal"), &[]).await.is(200);
    let secret = revealed.secret().unwrap();
    note("secret.revealed", "maker", revealed);
    note("secret.confirmed", "maker", maker.submit(&format!("{key}/confirm"), &[]).await.is(303));
    app.api(&secret).balance().await.is(200);
    let fields = [("reason", "Over"), ("confirm_label", "To approve")];
    note("key.revoked", "maker", maker.submit(&format!("{key}/revoke"), &fields).await.is(303));
    maker.submit(&format!("{key}/revoke"), &fields).await.is(409);
    app.api(&secret).balance().await.is(401);
    note("session.ended", "maker", maker.submit("/logout", &[]).await.is(303));
    let new = NewMember {
        organisation_id: app.demo.clone(),
        email: email("new").parse().unwrap(),
        name: "The new".to_owned(),
        roles: [Role::Viewer].into_iter().collect(),
    };
    let written = entries(&app).await.split_off(before);
    let found: Vec<_> = written.iter().map(|e| (e.action.as_str(), e.actor_name.clone())).collect();
    let wanted: Vec<_> = expected.iter().map(|(action, who, _)| (*action, who.clone())).collect();
    assert_eq!(found, wanted);
    for (entry, (action, _, page)) in written.iter().zip(&expected) {
        assert_eq!(entry.ip.as_deref(), Some("203.0.113.10"), "{action}");
        assert_eq!(entry.request_id.as_deref(), Some(page.header("x-request-id")), "{action}");
        assert!(entry.subject_id.is_some() && entry.organisation_id.is_some(), "{action}");
        assert_eq!(entry.actor_id.is_some(), entry.actor_kind == "member", "{action}");
    }
    app.db.write(move |tx| members::invite(tx, &new)).await.unwrap();
    let last = entries(&app).await.pop().unwrap();
    assert_eq!((last.action.as_str(), last.actor_kind.as_str()), ("member.invited", "command"));
}

#[actix_web::test]
async fn even_a_trusted_connection_cannot_change_the_log_by_accident() {
    let app = TestApp::start().await;
    let statements = ["UPDATE audit SET detail = '{}'", "DELETE FROM audit WHERE seq = 1"];
    for sql in statements {
        let result =
            app.db.write(move |tx| Ok(tx.conn.batch_execute(sql).map_err(|e| e.to_string())));
        assert!(result.await.unwrap().unwrap_err().contains("audit rows are never"), "{sql}");
    }
    command(&app, &["verify"]).ended(0, "whole");
}

/// The migration copies the log of an older database into a table without an index.
#[actix_web::test]
async fn the_log_of_an_older_database_is_whole_after_its_migration() {
    let app = TestApp::start().await;
    app.live_key("Old", &[("permissions", "read_balance")]).await;
    let before = entries(&app).await;
    let mut conn = beside(&app.database);
    undo_since(&app.database, "0005");
    let dir = tempfile::tempdir().unwrap();
    let mut migrate = process::bare(dir.path(), &["migrate"]);
    let done = migrate.env("DATABASE_URL", &app.database.url).status().unwrap();
    assert!(done.success());
    let redone = "SELECT count(*) FROM __diesel_schema_migrations WHERE version >= '0005'";
    assert!(number(&mut conn, redone) > 3);
    assert_eq!(entries(&app).await, before);
    command(&app, &["verify"]).ended(0, "whole");
    let changed = conn.batch_execute("UPDATE audit SET actor_name = 'nobody' WHERE seq = 1");
    assert!(changed.is_err());
}
