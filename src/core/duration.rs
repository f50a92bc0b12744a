//! Lengths of time as people write them: `250ms`, `30s`, `10m`, `24h`, `7d`, `2w`.

use std::time::Duration;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a length of time: use a number and a unit, for example 250ms, 30s, 10m, 24h, 7d or 2w")]
pub struct DurationError(pub String);

/// Parses one number with one unit.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    let text_trimmed = text.trim();
    let unit_at = text_trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = text_trimmed.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| error())?;
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return Err(error()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(error)
}

/// As [`parse`] reads it, in the largest unit that says it exactly.
pub fn shortest(length: Duration) -> String {
    let ms = length.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit_ms, unit) = unit.unwrap_or((1, "ms"));
    format!("{}{unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_the_largest_unit_that_fits() {
        for text in ["250ms", "30s", "15m", "36h", "7d", "0ms"] {
            assert_eq!(shortest(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn numbers_with_units() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "7", "d", "7 parsecs", "-1s", "99999999999999999999w", "18446744073709551615w"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
