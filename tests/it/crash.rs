//! `kill -9` under load: what was acknowledged is there, and nothing is half done.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use countersign::store::Conn;

use crate::support::http::{self, Client};
use crate::support::process::{Home, beside, run, texts, wait_for};
use crate::support::{DEMO_ID, PASSWORD, email};

const ROUNDS: usize = 10;
/// No further round begins after so long.
const ENOUGH: Duration = Duration::from_secs(60);

/// What the server has acknowledged, and what is still to do.
#[derive(Default)]
struct Ledger {
    asked: Vec<(String, String)>,
    approved: Vec<String>,
    rejected: Vec<String>,
    withdrawn: Vec<String>,
    /// Key and secret.
    revealed: Vec<(String, String)>,
    used: BTreeSet<String>,
    /// Requests that nobody has decided, and approved ones that nobody has revealed.
    to_decide: Vec<String>,
    to_reveal: Vec<String>,
}

/// The load of one round: ends when the server is gone.
struct Load<'a> {
    home: &'a Home,
    address: SocketAddr,
    round: usize,
    ledger: &'a Mutex<Ledger>,
    acknowledged: &'a AtomicUsize,
    over: &'a AtomicBool,
}

impl Load<'_> {
    fn note<T>(&self, write: impl FnOnce(&mut Ledger) -> T) -> T {
        write(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acknowledge(&self, write: impl FnOnce(&mut Ledger)) {
        self.note(write);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks for keys; takes every fifth request back.
    fn ask(&self, mut maker: Client) -> std::io::Result<()> {
        maker.get("/settings/api-keys/new")?;
        for n in 0.. {
            let label = format!("load {}-{n}", self.round);
            let request = maker.ask_for_key(&label)?.is(303).header("location").to_owned();
            self.acknowledge(|ledger| ledger.asked.push((request.clone(), label)));
            if n % 5 == 4 {
                maker.submit(&format!("{request}/withdraw"), &[])?.is(303);
                self.acknowledge(|ledger| ledger.withdrawn.push(request));
            } else {
                self.note(|ledger| ledger.to_decide.push(request));
            }
        }
        Ok(())
    }

    /// Approves, and rejects every fourth; an answer that was lost may have counted.
    fn decide(&self, mut checker: Client) -> std::io::Result<()> {
        checker.get("/requests")?;
        let mut n = 0;
        while !self.over.load(Ordering::SeqCst) {
            let Some(request) = self.note(|ledger| ledger.to_decide.pop()) else {
                std::thread::yield_now();
                continue;
            };
            n += 1;
            let (verb, says) =
                if n % 4 == 0 { ("reject", "reason") } else { ("approve", "comment") };
            let fields = [("version", "1"), (says, "under load")];
            checker.submit(&format!("{request}/{verb}"), &fields)?.is(303);
            self.acknowledge(|ledger| {
                if verb == "reject" {
                    ledger.rejected.push(request);
                } else {
                    ledger.approved.push(request.clone());
                    ledger.to_reveal.insert(0, request);
                }
            });
        }
        Ok(())
    }

    /// Reveals what was approved, and uses every other secret; one whose page was lost is revealed again.
    fn reveal(&self, mut maker: Client) -> std::io::Result<()> {
        maker.get("/")?;
        let mut conn = beside(&self.home.database);
        let mut n = 0;
        while !self.over.load(Ordering::SeqCst) {
            let Some(request) = self.note(|ledger| ledger.to_reveal.last().cloned()) else {
                std::thread::yield_now();
                continue;
            };
            let key = key_of(&mut conn, &request);
            let page = maker.submit(&format!("{key}/reveal"), &[])?.is(200);
            let secret = page.attribute("input#api-key", "value").unwrap();
            self.acknowledge(|ledger| {
                ledger.to_reveal.retain(|other| *other != request);
                ledger.revealed.push((key.clone(), secret.clone()));
            });
            n += 1;
            if n % 2 == 0 {
                http::call(self.address, &balance(), &secret)?.is(200);
                self.acknowledge(|ledger| {
                    ledger.used.insert(key);
                });
            }
        }
        Ok(())
    }

    /// Uses the secrets there are, over and over.
    fn spend(&self) -> std::io::Result<()> {
        let mut n = 0;
        while !self.over.load(Ordering::SeqCst) {
            let pick = |ledger: &mut Ledger| {
                let used: Vec<_> =
                    ledger.revealed.iter().filter(|(key, _)| ledger.used.contains(key)).collect();
                if used.is_empty() { None } else { Some(used[n % used.len()].1.clone()) }
            };
            if let Some(secret) = self.note(pick) {
                http::call(self.address, &balance(), &secret)?.is(200);
            }
            n += 1;
        }
        Ok(())
    }
}

fn balance() -> String {
    format!("/api/v1/distributors/{DEMO_ID}/balance")
}

fn id(request: &str) -> &str {
    request.rsplit('/').next().unwrap()
}

fn key_of(conn: &mut Conn, request: &str) -> String {
    let found = texts(conn, &format!("SELECT id FROM keys WHERE request_id = '{}'", id(request)));
    format!("/settings/api-keys/{}", found[0])
}

/// Runs every kind of load until the server is killed in the middle of it.
fn load_and_kill(home: &Home, round: usize, ledger: &Mutex<Ledger>, people: &[Client; 2]) {
    let program = home.serve();
    let (acknowledged, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let address = program.address;
    let load = Load { home, address, round, ledger, acknowledged: &acknowledged, over: &over };
    let [maker, checker] = people.each_ref().map(|person| person.clone().at(address));
    std::thread::scope(|scope| {
        let revealer = maker.clone();
        let threads = [
            scope.spawn(|| load.ask(maker)),
            scope.spawn(|| load.decide(checker)),
            scope.spawn(|| load.reveal(revealer)),
            scope.spawn(|| load.spend()),
        ];
        // Each round is killed at another point of its work.
        wait_for("the load", || {
            let failed = threads.iter().any(ScopedJoinHandle::is_finished);
            (failed || acknowledged.load(Ordering::SeqCst) >= 20 + 7 * round).then_some(())
        });
        let early = threads.iter().position(ScopedJoinHandle::is_finished);
        program.kill();
        over.store(true, Ordering::SeqCst);
        for thread in threads {
            let _ = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        assert_eq!(early, None, "a part of the load ended before the server was killed");
    });
}

/// What must find nothing, whatever happened when; and a deed after which it must find something.
const HALF_DONE: &[(&str, &str)] = &[
    (
        "SELECT id FROM requests r WHERE state = 'approved' AND kind = 'issue_key' AND NOT (\
     (SELECT count(*) FROM keys k WHERE k.request_id = r.id AND k.maker_id = r.maker_id) = 1 \
     AND (SELECT count(*) FROM decisions d WHERE d.request_id = r.id AND verdict = 'approve') = 1 \
     AND (SELECT count(*) FROM audit a WHERE a.subject_id = r.id AND action = 'request.approved') = 1)",
        "DELETE FROM decisions WHERE verdict = 'approve'",
    ),
    (
        "SELECT id FROM requests r WHERE state <> 'approved' AND (\
     EXISTS (SELECT 1 FROM keys k WHERE k.request_id = r.id) \
     OR EXISTS (SELECT 1 FROM decisions d WHERE d.request_id = r.id AND verdict = 'approve') \
     OR EXISTS (SELECT 1 FROM audit a WHERE a.subject_id = r.id AND action = 'request.approved'))",
        "UPDATE requests SET state = 'void' WHERE state = 'approved'",
    ),
    (
        "SELECT id FROM requests r WHERE (state = 'rejected') <> (\
     (SELECT count(*) FROM decisions d WHERE d.request_id = r.id AND verdict = 'reject') = 1 \
     AND (SELECT count(*) FROM audit a WHERE a.subject_id = r.id AND action = 'request.rejected') = 1)",
        "DELETE FROM decisions WHERE verdict = 'reject'",
    ),
    (
        "SELECT id FROM requests r WHERE (state = 'withdrawn') <> \
     ((SELECT count(*) FROM audit a WHERE a.subject_id = r.id AND action = 'request.withdrawn') = 1)",
        "UPDATE requests SET state = 'void' WHERE state = 'withdrawn'",
    ),
    (
        "SELECT id FROM requests r WHERE \
     (SELECT count(*) FROM audit a WHERE a.subject_id = r.id AND action = 'request.made') <> 1",
        "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, justification, state, version, approvals, \
     approvals_needed, created_at, expires_at, closed_at) SELECT 'x', organisation_id, kind, payload, maker_id, \
     justification, state, version, approvals, approvals_needed, created_at, expires_at, closed_at \
     FROM requests WHERE kind = 'issue_key' LIMIT 1",
    ),
    (
        "SELECT id FROM keys k WHERE (SELECT count(*) FROM key_usage u WHERE u.key_id = k.id) <> 1",
        "DELETE FROM key_usage",
    ),
    (
        "SELECT id FROM keys k WHERE label LIKE 'load %' AND \
     (SELECT count(*) FROM outbox o WHERE o.subject = '[Countersign] Approved: ' || k.label) <> 1",
        "DELETE FROM outbox WHERE subject LIKE '%Approved%'",
    ),
    (
        "SELECT id FROM keys k WHERE label LIKE 'load %' AND (state = 'active') <> \
     ((SELECT count(*) FROM outbox o WHERE o.subject = '[Countersign] Revealed: ' || k.label) >= 1)",
        "DELETE FROM outbox WHERE subject LIKE '%Revealed%'",
    ),
    (
        "SELECT id FROM keys k WHERE (SELECT count(*) FROM secrets s WHERE s.key_id = k.id) <> \
     (SELECT count(*) FROM audit a WHERE a.subject_id = k.id AND action = 'secret.revealed')",
        "DELETE FROM secrets",
    ),
    (
        "SELECT id FROM keys k WHERE state = 'active' AND \
     (SELECT count(*) FROM secrets s WHERE s.key_id = k.id AND ended_at IS NULL) <> 1",
        "UPDATE secrets SET ended_at = minted_at",
    ),
    (
        "SELECT id FROM operations o WHERE (status = 'completed') <> \
     ((SELECT count(*) FROM transfers t WHERE t.subject_id = o.id) = 1)",
        "UPDATE requests SET operation_status = 'pending' WHERE operation_status = 'completed'",
    ),
];

fn all(conn: &mut Conn, sql: &str) -> BTreeSet<String> {
    texts(conn, sql).into_iter().collect()
}

/// Looks for everything that was acknowledged, in the database itself.
fn check_database(home: &Home, ledger: &Ledger, round: usize) {
    let mut conn = beside(&home.database);
    for (sql, _) in HALF_DONE {
        assert_eq!(texts(&mut conn, sql), [""; 0], "half done in round {round}: {sql}");
    }
    let requests = all(&mut conn, "SELECT id FROM requests");
    let lost = ledger.asked.iter().filter(|(request, _)| !requests.contains(id(request)));
    assert_eq!(lost.count(), 0, "a request that was acknowledged is gone in round {round}");
    for (state, acknowledged) in [
        ("approved", &ledger.approved),
        ("rejected", &ledger.rejected),
        ("withdrawn", &ledger.withdrawn),
    ] {
        let found = all(&mut conn, &format!("SELECT id FROM requests WHERE state = '{state}'"));
        let lost: Vec<_> = acknowledged.iter().filter(|r| !found.contains(id(r))).collect();
        assert!(lost.is_empty(), "not {state} any more in round {round}: {lost:?}");
    }
    let letters =
        texts(&mut conn, "SELECT subject FROM outbox WHERE subject LIKE '%asks for a key: load%'");
    for (_, label) in &ledger.asked {
        let told =
            letters.iter().filter(|subject| subject.ends_with(&format!(": {label}"))).count();
        assert_eq!(told, 3, "the checkers were not all told once of {label}");
    }
    if !home.database.is_postgres() {
        assert_eq!(texts(&mut conn, "PRAGMA integrity_check"), ["ok"]);
        assert_eq!(texts(&mut conn, "SELECT \"table\" FROM pragma_foreign_key_check"), [""; 0]);
    }
    home.run(&["audit", "verify"]).ended(0, "whole");
}

/// Looks at it through the server, and puts straight what was lost on the way to us.
fn check_server(home: &Home, ledger: &mut Ledger, maker: &Client) {
    let program = home.serve();
    let mut maker = maker.clone().at(program.address);
    maker.get("/").unwrap().is(200);
    for (key, secret) in &ledger.revealed {
        let answer = http::call(program.address, &balance(), secret).unwrap();
        assert_eq!(answer.status, 200, "a secret that was shown does not open {key}");
        ledger.used.insert(key.clone());
    }
    // A used secret is never replaced.
    for (key, _) in ledger.revealed.iter().rev().take(3) {
        maker.submit(&format!("{key}/reveal"), &[]).unwrap().is(409);
    }
    program.kill();
    // An answer that was lost may have counted.
    let mut conn = beside(&home.database);
    let pending = all(&mut conn, "SELECT id FROM requests WHERE state = 'pending'");
    ledger.to_decide.retain(|request| pending.contains(id(request)));
}

/// A check that cannot fail is none.
fn check_the_checks(home: &Home) {
    let mut conn = beside(&home.database);
    for (sql, deed) in HALF_DONE {
        run(&mut conn, "BEGIN");
        run(&mut conn, deed);
        assert!(!texts(&mut conn, sql).is_empty(), "{deed} is not found by {sql}");
        run(&mut conn, "ROLLBACK");
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed_under_load() {
    let began = Instant::now();
    let home = Home::fresh();
    home.seed_demo();
    let program = home.serve();
    let people = ["maker", "checker"].map(|who| {
        let mut client = Client::new(program.address);
        client.sign_in(&email(who), PASSWORD).unwrap().is(303);
        client
    });
    program.kill();
    let ledger = Mutex::new(Ledger::default());
    let mut rounds = 0;
    while rounds < ROUNDS && began.elapsed() < ENOUGH {
        load_and_kill(&home, rounds, &ledger, &people);
        let mut ledger = ledger.lock().unwrap();
        check_database(&home, &ledger, rounds);
        check_server(&home, &mut ledger, &people[0]);
        rounds += 1;
    }
    check_the_checks(&home);
    let ledger = ledger.lock().unwrap();
    let counts = (
        ledger.approved.len(),
        ledger.rejected.len(),
        ledger.withdrawn.len(),
        ledger.revealed.len(),
    );
    assert!(rounds == ROUNDS, "only {rounds} rounds in {:?}: {counts:?}", began.elapsed());
    assert!(counts.0 > 50 && counts.1 > 10 && counts.2 > 10 && counts.3 > 30, "{counts:?}");
}
