//! Telling people where their keys are used from.

use chrono::TimeDelta;

use super::letters;
use crate::error::Error;
use crate::store::{Tx, addresses, keys};

/// A key is told of at most once in so long: a digest of everything since.
pub const QUIET: TimeDelta = TimeDelta::hours(1);
/// Addresses that a mail lists; of further ones it only says how many.
const LISTED: i64 = 20;
/// Keys told of in one transaction.
const BATCH: i64 = 100;

/// Mails the addresses that keys were called from for the first time; gives how many keys that were.
pub fn tell_of_addresses(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let since = tx.now - QUIET;
    let mut told = Vec::new();
    for id in addresses::list_with_news(tx.conn, since, BATCH)? {
        let Some(news) = addresses::take_news(tx, &id, since, LISTED)? else { continue };
        let Some(snapshot) = keys::find_snapshot(tx.conn, &id)? else { continue };
        told.push((snapshot.key, news));
    }
    letters::addresses_seen(tx, &told)?;
    Ok(told.len())
}
