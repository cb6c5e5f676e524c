//! What people can do: one synchronous function per verb, each inside one transaction.
//!
//! Always in this order: load, allow, change, store, record, tell.

pub mod keys;
pub mod letters;
pub mod members;
pub mod organisations;
pub mod requests;
pub mod sign_in;
