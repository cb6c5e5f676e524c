//! Countersign: API keys that two people must agree on.
pub mod actions;
pub mod clock;
pub mod config;
pub mod domain;
pub mod enforce;
pub mod error;
pub mod mail;
pub mod site;
pub mod store;
