//! Countersign: API keys that two people must agree on.
//!
//! The map: a noun has the same file name in every tier.
//! `web` (pages and JSON) and `worker` (what happens as time passes) call `actions` (what people can
//! do, one function a verb, each inside one transaction), which call `store` (SQL), which loads and
//! saves `domain` (the rules, pure). `enforce` is the hot path: the keys in memory and the checks a
//! call must pass. `cli` starts it all. `tests/it/layers.rs` keeps dependencies running that way.

pub mod actions;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod enforce;
pub mod error;
pub mod mail;
pub mod patience;
pub mod site;
pub mod store;
pub mod web;
pub mod worker;
