//! The hot path: the keys in memory, the checks a call must pass, and what is counted.

pub mod account;
pub mod evaluate;
pub mod index;
pub mod meter;
pub mod rule;
pub mod strangers;
pub mod usage;
pub mod window;
mod writes;

pub use crate::domain::denial::Denial;
pub use account::Account;
pub use evaluate::{Call, Check, evaluate, explain};
pub use index::{Entry, KeyIndex};
pub use rule::{Restrictions, Rule};
