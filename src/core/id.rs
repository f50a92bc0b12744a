//! Ids: of events (UUIDv7, so that they sort by time), of visitors and of journal lanes (random).

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::time::Millis;

/// Id of an event; a click's id is also the id of its touch. UUIDv7 (RFC 9562 §5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub [u8; 16]);

/// A browser, known by the random id in its cookie: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitorId(pub [u8; 16]);

impl EventId {
    /// A UUIDv7 of this time and these random bytes.
    pub fn new(time: Millis, random: [u8; 10]) -> EventId {
        let millis = u64::try_from(time.0).unwrap_or(0);
        EventId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into_bytes())
    }

    /// The same, with a counter in place of the first random bits (RFC 9562 §6.2, method 1), so that what one worker records
    /// within a millisecond stays in its order. Only the counter's lower 12 bits are used.
    pub fn in_order(time: Millis, counter: u16, random: [u8; 8]) -> EventId {
        let [high, low] = counter.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = random;
        EventId::new(time, [high, low, a, b, c, d, e, f, g, h])
    }

    /// The time that the id carries.
    pub fn time(&self) -> Millis {
        let [a, b, c, d, e, f, ..] = self.0;
        Millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<EventId, uuid::Error> {
        Uuid::try_parse(text).map(|uuid| EventId(uuid.into_bytes()))
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl FromStr for VisitorId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<VisitorId, uuid::Error> {
        Uuid::try_parse(text).map(|uuid| VisitorId(uuid.into_bytes()))
    }
}

/// A lane of the journal, known for ever by its random id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u128);

/// 32 hexadecimal digits: the name in the sink and the end of the folder's name.
impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for LaneId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(LaneId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_carries_its_time_and_sorts_by_it() {
        let early = EventId::new(Millis(1_772_368_200_250), [0xff; 10]);
        let late = EventId::new(Millis(1_772_368_200_251), [0; 10]);
        assert_eq!(early.time(), Millis(1_772_368_200_250));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(Uuid::from_bytes(early.0).get_version_num(), 7);
    }

    #[test]
    fn within_a_millisecond_the_counter_keeps_the_order() {
        let id = |counter, random| EventId::in_order(Millis(1_772_368_200_250), counter, [random; 8]);
        assert!(id(0, 0xff) < id(1, 0) && id(0x00ff, 0xff) < id(0x0100, 0) && id(0x0ffe, 0xff) < id(0x0fff, 0));
    }
}
