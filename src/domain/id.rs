//! Identifiers: one type per kind of thing, UUIDs stored as text.

/// Implements diesel's text conversions for a type with `as_str` and `FromStr`, on every backend.
macro_rules! stored_as_text {
    ($name:ident) => {
        impl<DB> diesel::serialize::ToSql<diesel::sql_types::Text, DB> for $name
        where
            DB: diesel::backend::Backend,
            str: diesel::serialize::ToSql<diesel::sql_types::Text, DB>,
        {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, DB>,
            ) -> diesel::serialize::Result {
                self.as_str().to_sql(out)
            }
        }

        impl<DB> diesel::deserialize::FromSql<diesel::sql_types::Text, DB> for $name
        where
            DB: diesel::backend::Backend,
            String: diesel::deserialize::FromSql<diesel::sql_types::Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = String::from_sql(bytes)?;
                text.parse().map_err(|_| format!("{text:?} is no {}", stringify!($name)).into())
            }
        }
    };
}
pub(crate) use stored_as_text;

/// Declares a UUID newtype.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub struct $name(String);

        impl $name {
            /// Wraps a UUID.
            pub fn new(uuid: uuid::Uuid) -> Self {
                Self(uuid.to_string())
            }

            /// The hyphenated lower-case form, as stored and as in URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self::new)
            }
        }

        stored_as_text!($name);
    };
}

id!(
    /// Identifies an organisation; in the wallet API it is the `distributorID`.
    OrganisationId
);
id!(
    /// Identifies a person in one organisation.
    MemberId
);
id!(
    /// Identifies a request that needs a countersignature.
    RequestId
);
id!(
    /// Identifies one checker's decision.
    DecisionId
);
id!(
    /// Identifies a key: the approved grant, not its secret.
    KeyId
);
id!(
    /// Identifies one secret of a key.
    SecretId
);
id!(
    /// Identifies a wallet.
    WalletId
);
id!(
    /// Identifies an entry of the ledger.
    TransferId
);
id!(
    /// Identifies cash that a customer asked for.
    CashoutId
);
