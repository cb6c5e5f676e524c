//! What every action may look up about this installation.

use crate::domain::catalogue::Catalogue;

/// The public address and the catalogue of this installation.
#[derive(Clone, Debug)]
pub struct Site {
    /// Scheme, host and port, without a slash at the end: links in mails start with it.
    pub public_url: String,
    /// What keys can open.
    pub catalogue: Catalogue,
}
