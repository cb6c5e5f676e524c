//! Movements of money as somebody asks for them: drafts, and what they are once they are understood.

use std::fmt;

use super::money::{AmountError, Currency, Money};
use super::text::parse_line;

/// The two kinds of movement, as the wallet API spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// From the distributor's wallet to a customer or merchant.
    CashIn,
    /// From a customer's wallet to the distributor, who handed over cash.
    CashOutFulfillment,
}

impl OperationKind {
    /// Both, in the order they are shown.
    pub const ALL: [Self; 2] = [Self::CashIn, Self::CashOutFulfillment];

    /// The word of the wallet API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CashIn => "cash-in",
            Self::CashOutFulfillment => "cash-out-fulfillment",
        }
    }

    /// How a cash-out is paid out: over the counter.
    pub fn fulfillment_type(self) -> Option<&'static str> {
        match self {
            Self::CashIn => None,
            Self::CashOutFulfillment => Some("cash"),
        }
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::CashIn => "Cash-in",
            Self::CashOutFulfillment => "Cash-out",
        }
    }
}

impl std::str::FromStr for OperationKind {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == s).ok_or(())
    }
}

/// A phone number: `+`, then 7 to 15 digits; spaces and hyphens between them mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Phone(String);

impl Phone {
    /// The number without spaces: `+2348123456781`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Phone {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let wrong = "Write the phone number with its country code, such as +234 8123456781.";
        let compact: String = s.trim().chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let digits = compact.strip_prefix('+').ok_or(wrong)?;
        let fits = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if fits { Ok(Self(compact)) } else { Err(wrong) }
    }
}

impl TryFrom<String> for Phone {
    type Error = &'static str;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Phone> for String {
    fn from(phone: Phone) -> Self {
        phone.0
    }
}

/// The wallet on the other side of a movement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// A customer, by phone number.
    Phone(Phone),
    /// A merchant, by short code.
    Merchant(String),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(phone) => f.write_str(phone.as_str()),
            Self::Merchant(short_code) => write!(f, "merchant {short_code}"),
        }
    }
}

/// What moves from where to where: what the maker asked for and the checker approves.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// Which way.
    pub kind: OperationKind,
    /// Minor units, above zero.
    pub amount: i64,
    /// What `amount` counts.
    pub currency: Currency,
    /// The other side.
    pub party: Party,
    /// The receipt of a cash-out.
    pub fulfillment_id: Option<String>,
    /// A line for the statement.
    pub memo: Option<String>,
}

impl Movement {
    /// The amount with its currency.
    pub fn money(&self) -> Money {
        Money::from_minor(self.amount, self.currency)
    }

    /// The whole movement in one line: `Cash-in of NGN 5,000.00 to +2348123456781`.
    pub fn title(&self) -> String {
        let way = match self.kind {
            OperationKind::CashIn => "to",
            OperationKind::CashOutFulfillment => "from",
        };
        format!("{} of {} {way} {}", self.kind.name(), self.money(), self.party)
    }
}

/// An operation as it was typed or sent: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Draft {
    /// `cash-in` or `cash-out-fulfillment`.
    pub operation_type: String,
    /// A plain decimal; anything but text counts as no amount at all.
    #[serde(deserialize_with = "text_or_nothing")]
    pub amount: String,
    /// The customer who receives.
    pub phone_to: Option<String>,
    /// The merchant who receives.
    pub merchant_to_short_code: Option<String>,
    /// The customer who pays.
    pub phone_from: Option<String>,
    /// How a cash-out is paid out: `cash`.
    pub cash_out_fulfillment_type: Option<String>,
    /// The receipt of a cash-out.
    #[serde(rename = "cashOutFulfillmentID")]
    pub cash_out_fulfillment_id: Option<String>,
    /// A line for the statement.
    pub memo: Option<String>,
}

/// A field of a draft and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field as the wallet API spells it.
    pub field: &'static str,
    /// `invalid_amount` or `invalid_request`.
    pub code: &'static str,
    /// A sentence for the person.
    pub message: String,
}

impl Fault {
    /// A fault that is not about the amount.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, code: "invalid_request", message: message.into() }
    }

    /// A fault of the amount.
    pub fn amount(e: AmountError) -> Self {
        Self { field: "amount", code: "invalid_amount", message: e.sentence().to_owned() }
    }
}

impl Draft {
    /// The movement it describes, or the first thing wrong with it.
    pub fn parse(&self, currency: Currency) -> Result<Movement, Fault> {
        let kind = self.operation_type.parse().map_err(|()| {
            Fault::new("operationType", "Use cash-in or cash-out-fulfillment as operationType.")
        })?;
        let party = match kind {
            OperationKind::CashIn => self.recipient()?,
            OperationKind::CashOutFulfillment => self.payer()?,
        };
        let amount = Money::parse(&self.amount, currency).map_err(Fault::amount)?;
        let line = |field, text: &Option<String>| {
            text.as_deref().map(parse_line).transpose().map_err(|e| Fault::new(field, e))
        };
        Ok(Movement {
            kind,
            amount: amount.minor(),
            currency,
            party,
            fulfillment_id: line("cashOutFulfillmentID", &self.cash_out_fulfillment_id)?,
            memo: line("memo", &self.memo)?,
        })
    }

    fn recipient(&self) -> Result<Party, Fault> {
        let strangers = [
            ("phoneFrom", &self.phone_from),
            ("cashOutFulfillmentType", &self.cash_out_fulfillment_type),
            ("cashOutFulfillmentID", &self.cash_out_fulfillment_id),
        ];
        absent(&strangers, "a cash-in")?;
        match (&self.phone_to, &self.merchant_to_short_code) {
            (Some(phone), None) => Self::phone("phoneTo", phone),
            (None, Some(code)) if is_short_code(code) => Ok(Party::Merchant(code.clone())),
            (None, Some(_)) => Err(Fault::new(
                "merchantToShortCode",
                "Write the short code as 1 to 12 digits in a string.",
            )),
            (Some(_), Some(_)) | (None, None) => Err(Fault::new(
                "phoneTo",
                "Name exactly one recipient: phoneTo or merchantToShortCode.",
            )),
        }
    }

    fn payer(&self) -> Result<Party, Fault> {
        let strangers =
            [("phoneTo", &self.phone_to), ("merchantToShortCode", &self.merchant_to_short_code)];
        absent(&strangers, "a cash-out")?;
        if self.cash_out_fulfillment_type.as_deref() != Some("cash") {
            return Err(Fault::new("cashOutFulfillmentType", "Say how it is paid out: cash."));
        }
        match &self.phone_from {
            Some(phone) => Self::phone("phoneFrom", phone),
            None => Err(Fault::new("phoneFrom", "Name the customer who pays: phoneFrom.")),
        }
    }

    fn phone(field: &'static str, text: &str) -> Result<Party, Fault> {
        text.parse().map(Party::Phone).map_err(|e| Fault::new(field, e))
    }
}

fn text_or_nothing<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let value = <serde_json::Value as serde::Deserialize>::deserialize(from)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

fn absent(fields: &[(&'static str, &Option<String>)], kind: &str) -> Result<(), Fault> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((field, _)) => Err(Fault::new(field, format!("{field} does not belong to {kind}."))),
        None => Ok(()),
    }
}

/// True for 1 to 12 digits: what a merchant or an organisation is known by.
pub(super) fn is_short_code(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A short code as it is given at the command line.
pub fn parse_short_code(text: &str) -> Result<String, String> {
    if is_short_code(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text} is no short code: use 1 to 12 digits."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Movement, &'static str> {
        let draft: Draft = serde_json::from_str(json).unwrap();
        draft.parse("NGN".parse().unwrap()).map_err(|fault| fault.field)
    }

    #[test]
    fn a_cash_in_names_exactly_one_recipient() {
        let to =
            |rest: &str| parse(&format!(r#"{{"operationType":"cash-in","amount":"5"{rest}}}"#));
        let phone = to(r#","phoneTo":"+234 812-3456781""#).unwrap();
        assert_eq!(phone.title(), "Cash-in of NGN 5.00 to +2348123456781");
        let merchant = to(r#","merchantToShortCode":"200000""#).unwrap();
        assert_eq!(merchant.party, Party::Merchant("200000".to_owned()));
        assert_eq!(to(""), Err("phoneTo"));
        assert_eq!(to(r#","phoneTo":"+2348123456781","merchantToShortCode":"2""#), Err("phoneTo"));
        assert_eq!(to(r#","phoneTo":"08123456781""#), Err("phoneTo"));
        assert_eq!(to(r#","merchantToShortCode":"12a""#), Err("merchantToShortCode"));
        assert_eq!(
            to(r#","phoneTo":"+2348123456781","phoneFrom":"+2348123456781""#),
            Err("phoneFrom")
        );
    }

    #[test]
    fn a_cash_out_names_the_payer_and_says_how_it_is_paid_out() {
        let of = |rest: &str| {
            parse(&format!(r#"{{"operationType":"cash-out-fulfillment","amount":"5"{rest}}}"#))
        };
        let cash = r#","cashOutFulfillmentType":"cash""#;
        assert!(of(&format!(r#","phoneFrom":"+2348123456781"{cash}"#)).is_ok());
        assert_eq!(of(r#","phoneFrom":"+2348123456781""#), Err("cashOutFulfillmentType"));
        assert_eq!(of(cash), Err("phoneFrom"));
        assert_eq!(of(&format!(r#","phoneTo":"+2348123456781"{cash}"#)), Err("phoneTo"));
    }

    #[test]
    fn unknown_fields_and_kinds_are_refused() {
        let odd =
            r#"{"operationType":"cash-in","amount":"5","phoneTo":"+2348123456781","fee":"1"}"#;
        assert!(serde_json::from_str::<Draft>(odd).is_err());
        let twice = r#"{"operationType":"cash-in","amount":"5","amount":"6"}"#;
        assert!(serde_json::from_str::<Draft>(twice).is_err());
        assert_eq!(parse(r#"{"operationType":"gift","amount":"5"}"#), Err("operationType"));
    }
}
