//! Every "no" a key can get, with its stable code and its sentence.

/// Why a call with a key is denied; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Not revealed, suspended, expired or revoked: to the outside, no key at all.
    NotLive,
    /// From an address that is not on the key's list.
    IpNotAllowed,
    /// Without the permission it takes.
    InsufficientPermission,
    /// For another organisation than the key's.
    DistributorMismatch,
    /// For something that the key's restriction lists leave out.
    RestrictionDenied,
    /// More than one operation of the key may move.
    TransactionLimitExceeded,
    /// Too many calls; holds the seconds until another one may pass.
    RateLimited(u32),
    /// More than the key may move on one day.
    DailyVolumeExceeded,
    /// More than the wallet that is to pay holds.
    InsufficientBalance,
}

impl Denial {
    /// The stable code of the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotLive => "unauthorized",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientPermission => "insufficient_permission",
            Self::DistributorMismatch => "distributor_mismatch",
            Self::RestrictionDenied => "restriction_denied",
            Self::TransactionLimitExceeded => "transaction_limit_exceeded",
            Self::RateLimited(_) => "rate_limited",
            Self::DailyVolumeExceeded => "daily_volume_exceeded",
            Self::InsufficientBalance => "insufficient_balance",
        }
    }

    /// A sentence for the person who reads the answer.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotLive => "Invalid or missing API key",
            Self::IpNotAllowed => "This API key may not be used from your IP address",
            Self::InsufficientPermission => {
                "This API key does not have the permission this call needs"
            }
            Self::DistributorMismatch => "This API key belongs to another distributor",
            Self::RestrictionDenied => "This API key is restricted to other values",
            Self::TransactionLimitExceeded => {
                "The amount exceeds the transaction limit of this API key"
            }
            Self::RateLimited(_) => "Too many calls with this API key; slow down",
            Self::DailyVolumeExceeded => {
                "The amount exceeds what is left of this API key's daily volume"
            }
            Self::InsufficientBalance => "The wallet that is to pay does not hold enough",
        }
    }
}
