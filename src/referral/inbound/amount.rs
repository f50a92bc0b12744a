//! Amounts as others write them, to our minor units: exactly, or not at all. No floating point.

use crate::core::{
    limits::AMOUNT_MAX_MINOR,
    money::{Currency, Money},
};

/// A decimal text (`19.99`, `1999`, `-0.5` is refused) in whole units of the currency. More digits than the currency has are
/// refused unless they are zeros.
pub fn decimal(text: &str, currency: Currency) -> Result<Money, String> {
    let digits = currency.exponent() as usize;
    let wrong = || {
        let example = Money::new(1_999, currency);
        format!(
            "`{text}` is not an amount in {currency}: write it like {example}, without the currency and without separators"
        )
    };
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(rest) || (text.contains('.') && rest.is_empty()) {
        return Err(wrong());
    }
    let (kept, beyond) = rest.split_at(rest.len().min(digits));
    if beyond.bytes().any(|byte| byte != b'0') {
        return Err(format!("`{text}` has more digits than {currency}: at most {digits} behind the point"));
    }
    let minor = format!("{whole}{kept:0<digits$}");
    sane(minor.parse().map_err(|_| wrong())?, currency).ok_or_else(wrong)
}

/// Whole minor units.
pub fn minor(text: &str, currency: Currency) -> Result<Money, String> {
    let wrong =
        || format!("`{text}` is not a whole number of minor units (1999 for 19.99): or say that amounts are decimal");
    sane(text.trim().parse().map_err(|_| wrong())?, currency).ok_or_else(wrong)
}

fn sane(amount: i64, currency: Currency) -> Option<Money> {
    Some(Money::new(amount, currency)).filter(|money| money.is_sane())
}

/// Digits behind the point as Stripe counts them, where that is not two
/// (<https://docs.stripe.com/currencies#zero-decimal>, and its special cases: ISK and UGX come with two).
const STRIPE_NONE: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
const STRIPE_THREE: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];

/// An amount in Stripe's smallest unit.
pub fn stripe(amount: i64, currency: Currency) -> Option<Money> {
    let theirs = match currency.code() {
        code if STRIPE_NONE.contains(&code) => 0,
        code if STRIPE_THREE.contains(&code) => 3,
        _ => 2,
    };
    let ours = currency.exponent();
    let amount = if ours >= theirs {
        amount.checked_mul(10_i64.checked_pow(ours - theirs)?)?
    } else {
        amount / 10_i64.checked_pow(theirs - ours)?
    };
    Some(Money::new(amount, currency)).filter(|money| money.amount >= 0 && money.amount <= AMOUNT_MAX_MINOR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn decimals_have_the_digits_of_their_currency() {
        for (text, code, amount) in [
            ("19.99", "EUR", 1_999),
            ("19.9", "EUR", 1_990),
            ("19", "EUR", 1_900),
            (" 0.07 ", "EUR", 7),
            ("19.990000", "EUR", 1_999),
            ("1999", "JPY", 1_999),
            ("1999.00", "JPY", 1_999),
            ("1.5", "KWD", 1_500),
            // As a float it is 90071992547409.92: one minor unit more or less is another amount.
            ("90071992547409.93", "EUR", 9_007_199_254_740_993),
        ] {
            let wanted = Money::new(amount, currency(code));
            if wanted.is_sane() {
                assert_eq!(decimal(text, currency(code)), Ok(wanted), "{text}");
            } else {
                assert!(decimal(text, currency(code)).is_err(), "{text}");
            }
        }
        for (text, code) in [
            ("19,99", "EUR"),
            ("-1", "EUR"),
            ("1e3", "EUR"),
            ("", "EUR"),
            (".5", "EUR"),
            ("5.", "EUR"),
            ("19.999", "EUR"),
            ("1.5", "JPY"),
            ("1 000", "EUR"),
            ("99999999999999999999", "EUR"),
            ("٣", "EUR"),
        ] {
            assert!(decimal(text, currency(code)).is_err(), "{text}");
        }
        assert!(decimal("19.999", currency("EUR")).unwrap_err().contains("at most 2"));
    }

    #[test]
    fn stripe_counts_some_currencies_otherwise() {
        for (amount, code, ours) in [
            (1_999, "EUR", "19.99 EUR"),
            (1_999, "JPY", "1999 JPY"),
            (1_990, "KWD", "1.990 KWD"),
            (500_000, "ISK", "5000 ISK"),
            (500_000, "UGX", "5000 UGX"),
            (5_000, "CLP", "5000 CLP"),
            (5_000, "MGA", "5000.00 MGA"),
        ] {
            assert_eq!(stripe(amount, currency(code)).unwrap().to_string(), ours, "{code}");
        }
        assert_eq!(stripe(-1, currency("EUR")), None);
        assert_eq!(stripe(i64::MAX, currency("EUR")), None);
    }

    proptest! {
        #[test]
        fn what_we_write_is_read_back(amount in 0..AMOUNT_MAX_MINOR, code in prop_oneof![Just("EUR"), Just("JPY"), Just("KWD")]) {
            let money = Money::new(amount, currency(code));
            let text = money.to_string();
            prop_assert_eq!(decimal(text.split(' ').next().unwrap(), money.currency), Ok(money));
        }
    }
}
