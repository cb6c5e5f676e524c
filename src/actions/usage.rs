//! Telling people where their keys are used from.

use chrono::TimeDelta;

use super::letters;
use crate::error::Error;
use crate::store::{Tx, addresses, keys};

/// A key is told of at most once in so long: a digest of everything since.
pub const QUIET: TimeDelta = TimeDelta::hours(1);
/// Addresses that a mail lists; of further ones it only says how many.
const LISTED: usize = 20;
/// Keys told of at a time.
const BATCH: i64 = 100;

/// Mails the addresses that some keys were called from for the first time; gives how many keys that were.
pub fn tell_of_addresses(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let mut news = addresses::take_news(tx, tx.now - QUIET, (BATCH, LISTED))?;
    let taken = news.len();
    let keys = keys::list_by_id(tx.conn, news.keys())?;
    let told: Vec<_> =
        keys.into_iter().filter_map(|key| news.remove(&key.id).map(|news| (key, news))).collect();
    letters::addresses_seen(tx, &told)?;
    Ok(taken)
}
