//! What people can do: one synchronous function per verb, each inside one transaction.
//!
//! Always in this order: load, allow, change, store, record, tell.

pub mod cashouts;
pub mod keys;
pub mod letters;
pub mod members;
pub mod operations;
pub mod organisations;
pub mod requests;
pub mod sign_in;
pub mod spending;
pub mod usage;
pub mod wallets;

use crate::domain::member::{Actor, MemberState};
use crate::error::Error;
use crate::store::{self, Tx};

/// The member as the transaction sees them: a role lost, or an account shut, a moment ago counts.
fn current(tx: &mut Tx<'_>, me: &Actor) -> Result<Actor, Error> {
    let member = store::members::find(tx.conn, me.id())?
        .filter(|member| member.state == MemberState::Active);
    let member = member.ok_or(Error::NotFound)?;
    Ok(Actor { member, origin: me.origin.clone() })
}
