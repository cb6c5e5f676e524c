//! Values this installation made up for itself and that every node shares.

use diesel::prelude::*;

use super::Tx;
use super::schema::server_secrets;
use crate::error::Error;

/// The value with this name; the first caller's `fresh` one is kept for all time.
pub fn get_or_insert(tx: &mut Tx<'_>, name: &str, fresh: &[u8]) -> Result<Vec<u8>, Error> {
    diesel::sql_query(
        "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    )
    .bind::<diesel::sql_types::Text, _>(name)
    .bind::<diesel::sql_types::Binary, _>(fresh)
    .execute(tx.conn)?;
    Ok(server_secrets::table.find(name).select(server_secrets::value).get_result(tx.conn)?)
}
