//! The form that asks for a movement of money: raw text in, a movement or a list of mistakes out.

use super::key_form::{Mistake, Mistakes, optional};
use super::money::{AmountError, Currency, Money};
use super::movement::{Movement, OperationKind, Party, Phone, is_short_code};
use super::text::{parse_line, parse_note};

/// Every field of the form.
pub const FIELDS: &[&str] = &[
    "operation_type",
    "amount",
    "recipient",
    "phone",
    "phone_to",
    "phone_from",
    "merchant_to_short_code",
    "cash_out_fulfillment_id",
    "memo",
    "justification",
    "attempt",
];

/// What was typed, kept as it was so that the form can be shown again.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct OperationForm {
    /// `cash-in` or `cash-out-fulfillment`.
    pub operation_type: String,
    /// A decimal, thousands commas accepted.
    pub amount: String,
    /// Who receives a cash-in: `phone`, `merchant`, or empty for whichever is filled in.
    pub recipient: String,
    /// The customer's number, whichever way the money goes.
    pub phone: String,
    /// The same, of a customer who receives.
    pub phone_to: String,
    /// The same, of a customer who pays.
    pub phone_from: String,
    /// The merchant who receives.
    pub merchant_to_short_code: String,
    /// The receipt of a cash-out.
    pub cash_out_fulfillment_id: String,
    /// A line for the statement; may be empty.
    pub memo: String,
    /// Why it is needed; may be empty.
    pub justification: String,
}

impl OperationForm {
    /// The form as it is first shown.
    pub fn blank() -> Self {
        Self {
            operation_type: OperationKind::CashIn.as_str().to_owned(),
            recipient: "phone".to_owned(),
            ..Self::default()
        }
    }

    /// The movement and the justification, or every mistake at once.
    pub fn parse(&self, currency: Currency) -> Result<(Movement, String), Vec<Mistake>> {
        let mut wrong = Mistakes::default();
        let kind = self
            .operation_type
            .parse::<OperationKind>()
            .map_err(|()| "Choose cash-in or cash-out.");
        let kind = wrong.keep("operation_type", kind);
        let amount = Money::parse_typed(&self.amount, currency).map_err(AmountError::sentence);
        let amount = wrong.keep("amount", amount);
        let party = kind.and_then(|kind| match self.party(kind) {
            Ok(party) => Some(party),
            Err((field, message)) => {
                wrong.add(field, message);
                None
            }
        });
        let receipt = match kind {
            Some(OperationKind::CashOutFulfillment) => {
                optional(&self.cash_out_fulfillment_id, parse_line)
            }
            Some(OperationKind::CashIn) | None => Ok(None),
        };
        let fulfillment_id = wrong.keep("cash_out_fulfillment_id", receipt);
        let memo = wrong.keep("memo", optional(&self.memo, parse_line));
        let justification = wrong.keep("justification", parse_note(&self.justification));
        let whole = || {
            let movement = Movement {
                kind: kind?,
                amount: amount?.minor(),
                currency,
                party: party?,
                fulfillment_id: fulfillment_id?,
                memo: memo?,
            };
            Some((movement, justification?))
        };
        match (wrong.0.is_empty(), whole()) {
            (true, Some(whole)) => Ok(whole),
            _ => Err(wrong.0),
        }
    }

    /// The field that names the other side, for a mistake that is found later.
    pub fn party_field(&self) -> &'static str {
        match self.operation_type.parse() {
            Ok(OperationKind::CashIn) if self.is_to_merchant() == Ok(true) => {
                "merchant_to_short_code"
            }
            _ => "phone",
        }
    }

    fn party(&self, kind: OperationKind) -> Result<Party, (&'static str, &'static str)> {
        let merchant = match kind {
            OperationKind::CashIn => self.is_to_merchant()?,
            OperationKind::CashOutFulfillment
                if self.recipient.is_empty() && filled(&self.merchant_to_short_code) =>
            {
                return Err((
                    "merchant_to_short_code",
                    "Empty this: a cash-out comes from a customer with a phone number.",
                ));
            }
            OperationKind::CashOutFulfillment => false,
        };
        if !merchant {
            let phone = self.customer(kind)?.parse::<Phone>();
            return phone.map(Party::Phone).map_err(|message| ("phone", message));
        }
        let code = self.merchant_to_short_code.trim();
        if is_short_code(code) {
            Ok(Party::Merchant(code.to_owned()))
        } else {
            Err(("merchant_to_short_code", "Enter the short code, 1 to 12 digits."))
        }
    }

    /// Who receives a cash-in: what was chosen, else whoever is named.
    fn is_to_merchant(&self) -> Result<bool, (&'static str, &'static str)> {
        let customer = [&self.phone, &self.phone_to].into_iter().any(|phone| filled(phone));
        match (self.recipient.as_str(), filled(&self.merchant_to_short_code)) {
            ("merchant", _) => Ok(true),
            ("phone", _) | ("", false) => Ok(false),
            ("", true) if !customer => Ok(true),
            ("", true) => Err(("recipient", "Name one recipient: a phone number or a short code.")),
            _ => Err(("recipient", "Choose a customer or a merchant.")),
        }
    }

    /// The customer's number, from the field for either way or from the one for this way.
    fn customer(&self, kind: OperationKind) -> Result<&str, (&'static str, &'static str)> {
        let (right, wrong) = match kind {
            OperationKind::CashIn => (&self.phone_to, &self.phone_from),
            OperationKind::CashOutFulfillment => (&self.phone_from, &self.phone_to),
        };
        if filled(wrong) {
            return Err(("phone", "The phone number is in the field of the other direction."));
        }
        let given = [&self.phone, right].into_iter().find(|phone| filled(phone));
        given.map(String::as_str).ok_or(("phone", "Enter the customer's phone number."))
    }
}

fn filled(text: &str) -> bool {
    !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut OperationForm)) -> Result<Movement, Vec<&'static str>> {
        let mut form = OperationForm::blank();
        form.amount = "5,000.00".to_owned();
        change(&mut form);
        let parsed = form.parse("NGN".parse().unwrap());
        parsed
            .map(|(movement, _)| movement)
            .map_err(|wrong| wrong.into_iter().map(|mistake| mistake.field).collect())
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let found = read(|f| {
            f.amount = "5,00".to_owned();
            f.phone = "0812".to_owned();
            f.memo = "x".repeat(101);
        });
        assert_eq!(found, Err(vec!["amount", "phone", "memo"]));
        assert_eq!(read(|f| f.operation_type = "gift".to_owned()), Err(vec!["operation_type"]));
        assert_eq!(read(|_| ()), Err(vec!["phone"]));
    }

    #[test]
    fn the_choice_names_the_recipient_and_without_one_whoever_is_filled_in() {
        let both = |recipient: &str| {
            read(|f| {
                f.recipient = recipient.to_owned();
                f.phone = "+234 8123456781".to_owned();
                f.merchant_to_short_code = "200000".to_owned();
            })
        };
        let merchant = Party::Merchant("200000".to_owned());
        assert_eq!(both("merchant").unwrap().party, merchant);
        let movement = both("phone").unwrap();
        assert_eq!(movement.title(), "Cash-in of NGN 5,000.00 to +2348123456781");
        assert_eq!(both(""), Err(vec!["recipient"]));
        assert_eq!(both("nobody"), Err(vec!["recipient"]));
        let alone = read(|f| {
            f.recipient.clear();
            f.merchant_to_short_code = " 200000 ".to_owned();
        });
        assert_eq!(alone.unwrap().party, merchant);
    }

    #[test]
    fn a_cash_out_comes_from_a_customer_and_keeps_its_receipt() {
        let from = |change: fn(&mut OperationForm)| {
            read(|f| {
                f.operation_type = "cash-out-fulfillment".to_owned();
                f.cash_out_fulfillment_id = "R-17".to_owned();
                change(f);
            })
        };
        let movement = from(|f| f.phone_from = "+234 8123456781".to_owned()).unwrap();
        assert_eq!(movement.fulfillment_id.as_deref(), Some("R-17"));
        assert_eq!(from(|f| f.phone_to = "+234 8123456781".to_owned()), Err(vec!["phone"]));
        let merchant = from(|f| {
            f.recipient.clear();
            f.merchant_to_short_code = "200000".to_owned();
        });
        assert_eq!(merchant, Err(vec!["merchant_to_short_code"]));
    }
}
