//! Amounts of money in whole minor units; no floats, no silent overflow.

use std::fmt;

use super::id::stored_as_text;

/// A currency by its ISO 4217 code.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    diesel::expression::AsExpression,
    diesel::deserialize::FromSqlRow,
)]
#[diesel(sql_type = diesel::sql_types::Text)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The three letters.
    pub fn as_str(&self) -> &'static str {
        self.0.code()
    }

    /// Digits after the decimal point: 2 for NGN, 0 for JPY, 3 for KWD.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(2, u32::from)
    }
}

impl std::str::FromStr for Currency {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(s)
            .map(Self)
            .ok_or_else(|| format!("{s} is not a currency code of ISO 4217, such as NGN or EUR."))
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

stored_as_text!(Currency);

/// An amount in one currency, counted in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not digits with an optional decimal point.
    NotDecimal,
    /// More digits after the point than the currency has.
    TooManyDecimals,
    /// Zero or less.
    NotPositive,
    /// More than fits.
    TooLarge,
}

impl AmountError {
    /// A sentence for the person who typed it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotDecimal => "Enter an amount such as 100000.00.",
            Self::TooManyDecimals => "Enter fewer digits after the decimal point.",
            Self::NotPositive => "Enter an amount above zero.",
            Self::TooLarge => "Enter a smaller amount.",
        }
    }
}

impl Money {
    /// An amount counted in minor units.
    pub fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// The count of minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// Reads a positive plain decimal such as `1500.50`: no sign, exponent, space or thousands mark.
    pub fn parse(s: &str, currency: Currency) -> Result<Self, AmountError> {
        let (whole, fraction) = s.split_once('.').unwrap_or((s, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotDecimal);
        }
        let decimals = usize::try_from(currency.decimals()).unwrap_or(2);
        let (kept, rest) = fraction.split_at(fraction.len().min(decimals));
        if rest.bytes().any(|b| b != b'0') || (s.contains('.') && fraction.len() > decimals.max(1))
        {
            return Err(AmountError::TooManyDecimals);
        }
        let minor: i64 =
            format!("{whole}{kept:0<decimals$}").parse().map_err(|_| AmountError::TooLarge)?;
        if minor == 0 { Err(AmountError::NotPositive) } else { Ok(Self { minor, currency }) }
    }

    /// Reads an amount as a person types it: spaces around it are fine, and so are commas between
    /// thousands.
    pub fn parse_typed(s: &str, currency: Currency) -> Result<Self, AmountError> {
        let plain = without_thousands(s.trim()).ok_or(AmountError::NotDecimal)?;
        Self::parse(&plain, currency)
    }

    /// The decimal for people, without the currency: `50,000.00`.
    pub fn grouped(self) -> String {
        let plain = self.plain();
        let (sign, digits) = plain.strip_prefix('-').map_or(("", &*plain), |rest| ("-", rest));
        match digits.split_once('.') {
            Some((whole, fraction)) => format!("{sign}{}.{fraction}", group_digits(whole)),
            None => format!("{sign}{}", group_digits(digits)),
        }
    }

    /// The plain decimal of the wallet API: `50000.00`.
    pub fn plain(self) -> String {
        let decimals = usize::try_from(self.currency.decimals()).unwrap_or(2);
        let mut text = self.minor.unsigned_abs().to_string();
        while text.len() <= decimals {
            text.insert(0, '0');
        }
        if decimals > 0 {
            text.insert(text.len().saturating_sub(decimals), '.');
        }
        if self.minor < 0 {
            text.insert(0, '-');
        }
        text
    }
}

/// `1,234,567.89` without its commas; nothing if they stand anywhere but between thousands.
fn without_thousands(text: &str) -> Option<String> {
    let (whole, rest) = match text.split_once('.') {
        Some((whole, rest)) => (whole, format!(".{rest}")),
        None => (text, String::new()),
    };
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let grouped = whole.contains(',');
    let fits = (!grouped || (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3);
    fits.then(|| format!("{}{rest}", whole.replace(',', "")))
}

/// `1234567` as `1,234,567`: any count, as people read it. Templates have references to theirs.
pub fn group(count: impl std::borrow::Borrow<i64>) -> String {
    let count = *count.borrow();
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", group_digits(&count.unsigned_abs().to_string()))
}

fn group_digits(digits: &str) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && digits.len().saturating_sub(i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.grouped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ngn(s: &str) -> Result<i64, AmountError> {
        Money::parse(s, "NGN".parse().unwrap()).map(Money::minor)
    }

    #[test]
    fn only_plain_positive_decimals_are_amounts() {
        assert_eq!(ngn("50000.00"), Ok(5_000_000));
        assert_eq!(ngn("0.01"), Ok(1));
        assert_eq!(ngn("7"), Ok(700));
        assert_eq!(ngn("7.5"), Ok(750));
        assert_eq!(ngn("0"), Err(AmountError::NotPositive));
        assert_eq!(ngn("0.00"), Err(AmountError::NotPositive));
        assert_eq!(ngn("1.001"), Err(AmountError::TooManyDecimals));
        assert_eq!(ngn("92233720368547758.07"), Ok(i64::MAX));
        assert_eq!(ngn("92233720368547758.08"), Err(AmountError::TooLarge));
        for text in
            ["", "-1", "+1", "1e3", " 1", "1 ", "1.", ".5", "1,000", "NaN", "٣", "0x10", "1.0.0"]
        {
            assert_eq!(ngn(text), Err(AmountError::NotDecimal), "{text:?}");
        }
    }

    #[test]
    fn amounts_are_shown_with_the_decimals_of_their_currency() {
        let show = |minor, code: &str| Money::from_minor(minor, code.parse().unwrap()).to_string();
        assert_eq!(show(5_000_000, "NGN"), "NGN 50,000.00");
        assert_eq!(show(-5, "EUR"), "EUR -0.05");
        assert_eq!(show(1_234_567, "JPY"), "JPY 1,234,567");
        assert_eq!(show(1, "KWD"), "KWD 0.001");
        assert_eq!(Money::from_minor(5_000_000, "NGN".parse().unwrap()).plain(), "50000.00");
    }
}
