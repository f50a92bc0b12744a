//! Points in time: milliseconds since the Unix epoch, UTC. RFC 3339 outside, an integer inside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

pub const SECOND_MS: i64 = 1_000;
pub const HOUR_MS: i64 = 3_600 * SECOND_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Millis {
    /// The start of this instant's hour (UTC), milliseconds.
    pub const fn hour(self) -> Millis {
        Millis(self.0 - self.0.rem_euclid(HOUR_MS))
    }

    /// The start of this instant's day (UTC), milliseconds.
    pub const fn day(self) -> Millis {
        Millis(self.0 - self.0.rem_euclid(DAY_MS))
    }

    pub const fn plus(self, ms: i64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

/// RFC 3339 with milliseconds, for example `2026-03-01T12:30:00.000Z`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a time: use RFC 3339, for example 2026-03-01T12:30:00Z, or a date, for example 2026-03-01")]
pub struct TimeError(pub String);

impl FromStr for Millis {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Millis(timestamp.as_millisecond()));
        }
        if let Ok(date) = text.parse::<jiff::civil::Date>()
            && let Ok(zoned) = date.to_zoned(jiff::tz::TimeZone::UTC)
        {
            return Ok(Millis(zoned.timestamp().as_millisecond()));
        }
        Err(TimeError(text.to_owned()))
    }
}

impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_there_and_back() {
        let time: Millis = "2026-03-01T12:30:00.250Z".parse().unwrap();
        assert_eq!(time, Millis(1_772_368_200_250));
        assert_eq!(time.to_string(), "2026-03-01T12:30:00.250Z");
        assert_eq!(time.hour().to_string(), "2026-03-01T12:00:00.000Z");
        assert_eq!("2026-03-01".parse::<Millis>().unwrap(), time.day());
        assert!("yesterday".parse::<Millis>().is_err());
    }
}
