//! The hot path: the keys in memory, the checks a call must pass, and what is counted.

pub mod evaluate;
pub mod index;
pub mod usage;

pub use evaluate::{Call, Denial, evaluate};
pub use index::{Entry, KeyIndex};
