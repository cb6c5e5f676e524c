//! The rules of the product, pure: no database, no HTTP, no clock, no async.
#![deny(clippy::wildcard_enum_match_arm)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod addresses;
pub mod agent;
pub mod audit;
pub mod cashout;
pub mod catalogue;
pub mod denial;
pub mod id;
pub mod key;
pub mod key_form;
pub mod member;
pub mod money;
pub mod movement;
pub mod operation;
pub mod operation_form;
pub mod organisation;
pub mod password;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod risk;
pub mod secret;
pub mod text;
pub mod usage;
