//! What the tests of the whole suite share: a database, the real program, a small client.

#[path = "../it/support/database.rs"]
pub mod database;
#[path = "../it/support/http.rs"]
pub mod http;
#[path = "../it/support/process.rs"]
pub mod process;

pub use database::Database;
