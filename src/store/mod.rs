//! SQL and nothing else: one file per table family, and one door for writes. A row that is looked up by its key
//! is read with `get_result`, not with `first`: that sets a LIMIT, and SQLite prepares a statement anew for each.

pub mod addresses;
pub mod audit;
pub mod cashouts;
pub mod history;
pub mod idempotency;
pub mod keys;
pub mod members;
pub mod operations;
pub mod organisations;
pub mod outbox;
pub mod pool;
pub mod requests;
pub mod schema;
pub mod secrets;
pub mod server_secrets;
pub mod sessions;
pub mod throttle;
pub mod usage;
pub mod usage_journal;
pub mod volumes;
pub mod wallets;

pub use pool::{Change, Conn, Db, Pulse, Tx};
