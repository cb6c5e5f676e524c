//! The one error that leaves an action: something to tell the person, or a fault to log.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::refusal::Refusal;

/// Why something was not done, split by who is to hear of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule said no; the text is for the person.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Absent, or hidden from this person: the same answer.
    #[error("There is nothing here, or you may not see it.")]
    NotFound,
    /// Somebody else changed it first.
    #[error("It changed since you opened it. Look at it again before you decide.")]
    Stale,
    /// Overload: a pool, lock or queue did not come free in time. Worth another try.
    #[error("The server is busy. Try again in a moment.")]
    Busy,
    /// A fault of ours; the cause is logged and never shown.
    #[error("Something went wrong on our side. Check whether it was done before you try again.")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// A fault of ours, from a sentence for the log.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Internal(anyhow::anyhow!("{message}"))
    }
}

impl From<DieselError> for Error {
    fn from(e: DieselError) -> Self {
        match e {
            DieselError::NotFound => Self::NotFound,
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Self::Busy,
            DieselError::DatabaseError(_, ref info) if is_contention(info.message()) => Self::Busy,
            other => Self::Internal(other.into()),
        }
    }
}

/// True for messages that mean "somebody else holds it", which diesel gives no kind of its own.
fn is_contention(message: &str) -> bool {
    [
        "database is locked",
        "deadlock detected",
        "canceling statement due to lock timeout",
        "canceling statement due to statement timeout",
        "database or disk is full",
    ]
    .iter()
    .any(|known| message.contains(known))
}

/// True if the statement broke a unique rule.
pub fn is_unique_violation(e: &DieselError) -> bool {
    matches!(e, DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}
