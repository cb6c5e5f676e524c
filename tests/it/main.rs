//! One test binary; each file is one subject. Every test runs on a fresh database, SQLite or (with
//! `TEST_DATABASE=postgres`) PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a failed assumption should stop the test"
)]

mod access;
mod audit;
mod layers;
mod outbox;
mod mail;
mod races;
mod requests;
mod schema;
mod self_approval;
mod store;
mod support;
