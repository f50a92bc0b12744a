//! Amounts of money: whole minor units and an ISO 4217 currency. There is no floating point anywhere near them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::AMOUNT_MAX_MINOR;

/// A currency by its ISO 4217 code, for example `EUR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no ISO 4217 currency: give three capital letters, for example EUR")]
pub struct CurrencyError(pub String);

impl Currency {
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits behind the point: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    /// Case does not matter: payment providers write `eur`.
    fn from_str(text: &str) -> Result<Currency, CurrencyError> {
        iso_currency::Currency::from_code(&text.to_ascii_uppercase())
            .map(Currency)
            .ok_or_else(|| CurrencyError(text.to_owned()))
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Currency) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Currency) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount in minor units (cents) of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units: 1999 is 19.99 EUR, and 1999 JPY.
    #[schema(example = 1999)]
    pub amount: i64,
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
}

impl Money {
    pub const fn new(amount: i64, currency: Currency) -> Money {
        Money { amount, currency }
    }

    /// A share of it in basis points (hundredths of a percent), rounded down to a whole minor unit: nobody is promised more
    /// than the share.
    pub fn share(self, basis_points: u32) -> Money {
        let share = i128::from(self.amount) * i128::from(basis_points) / 10_000;
        Money { amount: i64::try_from(share).unwrap_or(i64::MAX), ..self }
    }

    /// An amount that somebody may be owed or may have paid: from 0 to [`AMOUNT_MAX_MINOR`].
    pub const fn is_sane(self) -> bool {
        self.amount >= 0 && self.amount <= AMOUNT_MAX_MINOR
    }
}

/// `19.99 EUR`, `1999 JPY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.exponent();
        let unit = 10_u64.pow(digits);
        let (sign, amount) = (if self.amount < 0 { "-" } else { "" }, self.amount.unsigned_abs());
        let (whole, rest) = (amount / unit, amount % unit);
        if digits == 0 {
            write!(f, "{sign}{whole} {}", self.currency)
        } else {
            write!(f, "{sign}{whole}.{rest:0width$} {}", self.currency, width = digits as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64, currency: &str) -> Money {
        Money::new(amount, currency.parse().unwrap())
    }

    #[test]
    fn amounts_are_written_with_the_digits_of_their_currency() {
        let written = [(1999, "EUR"), (5, "usd"), (-120, "CHF"), (1999, "JPY"), (1999, "KWD"), (0, "EUR")];
        let written = written.map(|(amount, currency)| money(amount, currency).to_string());
        assert_eq!(written, ["19.99 EUR", "0.05 USD", "-1.20 CHF", "1999 JPY", "1.999 KWD", "0.00 EUR"]);
    }

    #[test]
    fn what_is_no_currency_is_refused() {
        for wrong in ["", "EU", "EURO", "XXZ", "e r", "€"] {
            assert_eq!(wrong.parse::<Currency>(), Err(CurrencyError(wrong.to_owned())));
        }
        let text = r#"{"amount": 5, "currency": "EURO"}"#;
        let error = serde_json::from_str::<Money>(text).unwrap_err().to_string();
        assert!(error.contains("ISO 4217"), "{error}");
    }

    #[test]
    fn shares_are_rounded_down() {
        assert_eq!(money(999, "EUR").share(1_000), money(99, "EUR"));
        assert_eq!(money(i64::MAX, "EUR").share(20_000), money(i64::MAX, "EUR"));
        assert_eq!(money(10, "EUR").share(0), money(0, "EUR"));
    }
}
