//! One transaction for each cash-in, made without HTTP: what durable cash-in is compared with.

use std::io::Write as _;
use std::time::{Duration, Instant};

use actix_web::rt::{System, spawn};
use anyhow::Context as _;
use countersign::actions::operations::{self, Wish};
use countersign::clock::Clock;
use countersign::config::{Config, Sources};
use countersign::domain::id::KeyId;
use countersign::domain::member::Origin;
use countersign::domain::money::Currency;
use countersign::domain::movement::{Movement, OperationKind, Party};
use countersign::error::Error;
use countersign::site::Site;
use countersign::store::{Db, keys, organisations};

/// Keys that share the load.
const KEYS: i64 = 16;
/// Who waits for an answer at any time on PostgreSQL, which writes several transactions at once.
const CLIENTS: usize = 64;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().context("the address of a database is missing")?;
    let seconds = args.next().context("how many seconds is missing")?.parse()?;
    let figures = System::new().block_on(run(url, Duration::from_secs(seconds)))?;
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}

/// Makes operations for so long; gives how many a second, and their latencies.
async fn run(url: String, length: Duration) -> anyhow::Result<serde_json::Value> {
    // On SQLite the writer commits together what waits for it, so only one may wait.
    let clients = if url.starts_with("sqlite:") { 1 } else { CLIENTS };
    let config = Config::load(&Sources::from_process(vec![("database-url", url)], None))?;
    let db = Db::open(config.database_url.as_str(), Clock::System, Site::load(&config)?)?;
    let wishes = db.read(wishes).await?;
    let began = Instant::now();
    let tasks = (0..clients).map(|number| {
        let mut wishes = wishes.clone();
        let first = number.checked_rem(wishes.len()).unwrap_or_default();
        wishes.rotate_left(first);
        spawn(make_until(db.clone(), wishes, began + length))
    });
    let mut taken = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        taken.extend(task.await??);
    }
    Ok(figures(taken, began.elapsed()))
}

/// A small cash-in through each of a few keys that may.
fn wishes(conn: &mut countersign::store::Conn) -> Result<Vec<Wish>, Error> {
    let mut wishes = Vec::new();
    for key in keys::list_snapshots(conn, None, KEYS)?.into_iter().map(|snapshot| snapshot.key) {
        if key.grant.permissions.contains("perform_operations") {
            let currency = organisations::get(conn, &key.organisation_id)?.currency;
            wishes.push(wish(key.id, currency)?);
        }
    }
    Ok(wishes)
}

fn wish(key_id: KeyId, currency: Currency) -> Result<Wish, Error> {
    let phone = "+234 8123456781".parse().map_err(Error::internal)?;
    let movement = Movement {
        kind: OperationKind::CashIn,
        amount: 1,
        currency,
        party: Party::Phone(phone),
        fulfillment_id: None,
        memo: None,
    };
    Ok(Wish { key_id, movement, attempt: None, origin: Origin::default() })
}

/// Makes one operation after the other; gives how long each took.
async fn make_until(db: Db, wishes: Vec<Wish>, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut taken = Vec::new();
    for wish in wishes.into_iter().cycle().take_while(|_| Instant::now() < end) {
        let began = Instant::now();
        let answers = db.write(move |tx| operations::make_all(tx, &[wish])).await?;
        anyhow::ensure!(answers.iter().all(Result::is_ok), "not made: {answers:?}");
        taken.push(began.elapsed());
    }
    Ok(taken)
}

fn figures(mut taken: Vec<Duration>, length: Duration) -> serde_json::Value {
    taken.sort_unstable();
    let milliseconds = |percent: usize| {
        let at = taken.len().saturating_mul(percent) / 100;
        taken.get(at).map_or(0.0, Duration::as_secs_f64) * 1000.0
    };
    let count = u32::try_from(taken.len()).map_or(f64::INFINITY, f64::from);
    let rate = count / length.as_secs_f64();
    serde_json::json!({ "rate": rate, "p50": milliseconds(50), "p99": milliseconds(99) })
}
