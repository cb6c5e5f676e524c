//! Risk hints: what a checker should look at twice, computed from the request and what is around it.

use super::catalogue::Catalogue;
use super::key::{Environment, Grant};
use super::movement::OperationKind;
use super::operation::Operation;

/// One hint: a few words for lists and a sentence for the review page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Risk {
    /// A few words.
    pub title: &'static str,
    /// What it means.
    pub sentence: &'static str,
    /// True if it deserves the loud colour.
    pub high: bool,
    /// The picture beside it.
    pub icon: &'static str,
}

const MOVES_MONEY: Risk = Risk {
    title: "Moves money",
    sentence: "It may ask for cash-ins and cash-outs. Each one still waits for a checker.",
    high: true,
    icon: "coins",
};
const NO_DAILY_LIMIT: Risk = Risk {
    title: "No daily limit",
    sentence: "It may ask for any total in a day.",
    high: true,
    icon: "gauge",
};
const NO_TRANSACTION_LIMIT: Risk = Risk {
    title: "No limit per operation",
    sentence: "One operation may be of any size.",
    high: true,
    icon: "gauge",
};
const ANY_ADDRESS: Risk = Risk {
    title: "Any address",
    sentence: "It works from anywhere. A leaked key is harder to misuse with a list of addresses.",
    high: false,
    icon: "globe",
};
const WIDE_NETWORK: Risk = Risk {
    title: "Wide network",
    sentence: "Its list of addresses covers a very large network.",
    high: false,
    icon: "globe",
};
const LONG_LIFE: Risk = Risk {
    title: "Long life",
    sentence: "It lives longer than 180 days. Rotating every 90 to 180 days is good practice.",
    high: false,
    icon: "calendar",
};
const NO_EXPIRY: Risk = Risk {
    title: "No expiry",
    sentence: "It lives until somebody revokes it.",
    high: true,
    icon: "calendar",
};
const PRODUCTION: Risk = Risk {
    title: "Production",
    sentence: "It opens the production system.",
    high: false,
    icon: "server",
};

const ABOVE_BALANCE: Risk = Risk {
    title: "More than there is",
    sentence: "The wallet that pays holds less than this now. Approved as things stand, the operation fails.",
    high: true,
    icon: "alert",
};
const ABOVE_HALF: Risk = Risk {
    title: "Above half the balance",
    sentence: "It takes more than half of what your wallet holds.",
    high: true,
    icon: "gauge",
};
const ASKED_TWICE: Risk = Risk {
    title: "Asked twice",
    sentence: "The same amount with the same wallet was asked for within a day. It may be a double.",
    high: true,
    icon: "copy",
};
const FIRST_TIME: Risk = Risk {
    title: "First time",
    sentence: "No operation with this wallet was ever completed. Compare the number once more.",
    high: false,
    icon: "user",
};
const BY_A_KEY: Risk = Risk {
    title: "By a key",
    sentence: "A program asked for it, not a person. See whether it is what the key is for.",
    high: false,
    icon: "key",
};

/// What is known around an operation when a checker looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// What the wallet that would pay holds now, in minor units.
    pub payer_balance: i64,
    /// An operation with the same wallet was completed before.
    pub completed_before: bool,
    /// The same was asked for another time within a day.
    pub asked_twice: bool,
}

/// The hints for an operation, most serious first.
pub fn operation_hints(operation: &Operation, around: Around) -> Vec<Risk> {
    let above = operation.amount > around.payer_balance;
    let own_money = operation.kind == OperationKind::CashIn;
    let above_half = !above && own_money && operation.amount > around.payer_balance / 2;
    let all = [
        (above, ABOVE_BALANCE),
        (above_half, ABOVE_HALF),
        (around.asked_twice, ASKED_TWICE),
        (!around.completed_before, FIRST_TIME),
        (operation.asked_by.is_some(), BY_A_KEY),
    ];
    all.into_iter().filter_map(|(applies, risk)| applies.then_some(risk)).collect()
}

/// The hints for a grant, most serious first.
pub fn hints(grant: &Grant, catalogue: &Catalogue) -> Vec<Risk> {
    let api = catalogue.find(&grant.api);
    let moves_money = api.is_some_and(|api| {
        grant.permissions.iter().any(|slug| api.permission(slug).is_some_and(|p| p.moves_money))
    });
    let all = [
        (moves_money, MOVES_MONEY),
        (moves_money && grant.max_transaction.is_none(), NO_TRANSACTION_LIMIT),
        (moves_money && grant.max_daily.is_none(), NO_DAILY_LIMIT),
        (grant.expires_in_days.is_none(), NO_EXPIRY),
        (grant.allowed_ips.is_any(), ANY_ADDRESS),
        (grant.allowed_ips.is_wide(), WIDE_NETWORK),
        (grant.expires_in_days.is_some_and(|days| days > 180), LONG_LIFE),
        (grant.environment == Environment::Production, PRODUCTION),
    ];
    all.into_iter().filter_map(|(applies, risk)| applies.then_some(risk)).collect()
}
