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
mod browser_safety;
mod catalogue;
mod cli;
mod crash;
mod docs;
mod forward_auth;
mod front;
mod idempotency;
mod keys;
mod layers;
mod ledger;
mod limits;
mod mail;
mod matrix;
mod nodes;
mod openapi;
mod operations;
mod outbox;
mod people;
mod races;
mod requests;
mod review;
mod schema;
mod secrecy;
mod self_approval;
mod slow;
mod store;
mod support;
mod usage;
mod verify;
mod wallet_api;
