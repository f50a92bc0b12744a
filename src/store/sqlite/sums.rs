//! The sums that are gathered but not written yet.
//!
//! They are keyed by one byte string, so that an event of a known key costs a hash and no allocation:
//! `hour, kind, class, six texts each behind a NUL, six lengths`. The strings sort nearly as the table does, and a sorted
//! write touches each page once.

use std::collections::HashMap;

use crate::core::{
    event::{Class, EventRef, Kind, Reason},
    time::{HOUR_MS, Millis},
};

/// Count, and time of the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: i64,
    pub(super) last_ms: i64,
}

/// A key of `hourly`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) hour: i64,
    pub(super) kind: i32,
    pub(super) class: i32,
    /// program, link, partner, ad, channel, country
    pub(super) texts: [&'a str; 6],
}

impl Key<'_> {
    fn is_counted_click(&self) -> bool {
        self.kind == Kind::Click as i32 && Class::try_from(self.class).is_ok_and(Class::counts)
    }
}

#[derive(Debug, Default)]
pub(super) struct Sums {
    map: HashMap<Box<[u8]>, Sum, foldhash::fast::RandomState>,
    /// Counted clicks that came when the link was over, by link: they do not use it up.
    over: HashMap<Box<str>, i64, foldhash::fast::RandomState>,
    /// Events that the sums stand for.
    pub(super) events: u64,
    scratch: Vec<u8>,
}

impl Sums {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn add_event(&mut self, event: &EventRef<'_>) {
        let key = Key {
            hour: Millis(event.time_ms).hour().0,
            kind: event.kind,
            class: event.class,
            texts: [event.program, event.link, event.partner, event.ad, event.channel, event.country],
        };
        let count = i64::try_from(event.count.max(1)).unwrap_or(i64::MAX);
        if key.is_counted_click() && Reason::OVER.contains(&event.reason) {
            self.add_over(event.link, count);
        }
        self.add(&key, Sum { count, last_ms: event.time_ms }, 1);
    }

    pub(super) fn add_over(&mut self, link: &str, count: i64) {
        *self.over.entry(link.into()).or_default() += count;
    }

    /// Clicks that use their links up, by link.
    pub(super) fn link_clicks(&self) -> Vec<(&str, i64)> {
        let mut clicks = HashMap::<&str, i64>::new();
        for (key, sum) in &self.map {
            if let Some(key) = decode(key).filter(Key::is_counted_click) {
                *clicks.entry(key.texts[1]).or_default() += sum.count;
            }
        }
        for (link, over) in &self.over {
            *clicks.entry(link).or_default() -= over;
        }
        let mut clicks: Vec<_> = clicks.into_iter().filter(|(_, clicks)| *clicks > 0).collect();
        clicks.sort_unstable();
        clicks
    }

    pub(super) fn add(&mut self, key: &Key<'_>, sum: Sum, events: u64) {
        self.events += events;
        self.scratch.clear();
        encode(key, &mut self.scratch);
        match self.map.get_mut(self.scratch.as_slice()) {
            Some(known) => {
                known.count = known.count.saturating_add(sum.count);
                known.last_ms = known.last_ms.max(sum.last_ms);
            }
            None => {
                self.map.insert(self.scratch.as_slice().into(), sum);
            }
        }
    }

    /// All of them, nearly in the table's order.
    pub(super) fn sorted(&self) -> Vec<(Key<'_>, Sum)> {
        let mut all: Vec<(&[u8], Sum)> = self.map.iter().map(|(key, sum)| (&**key, *sum)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().filter_map(|(key, sum)| Some((decode(key)?, sum))).collect()
    }

    pub(super) fn clear(&mut self) {
        self.map.clear();
        self.over.clear();
        self.events = 0;
    }
}

fn encode(key: &Key<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&(key.hour / HOUR_MS).to_be_bytes());
    out.extend_from_slice(&key.kind.to_be_bytes());
    out.extend_from_slice(&key.class.to_be_bytes());
    for text in key.texts {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    for text in key.texts {
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    }
}

fn decode(key: &[u8]) -> Option<Key<'_>> {
    let (head, rest) = key.split_at_checked(16)?;
    let (mut texts, lengths) = rest.split_at_checked(rest.len().checked_sub(24)?)?;
    let mut found = [""; 6];
    for (at, text) in found.iter_mut().enumerate() {
        let length = u32::from_be_bytes(lengths.get(4 * at..4 * at + 4)?.try_into().ok()?) as usize;
        *text = std::str::from_utf8(texts.get(..length)?).ok()?;
        texts = texts.get(length + 1..)?;
    }
    Some(Key {
        hour: i64::from_be_bytes(head[..8].try_into().ok()?) * HOUR_MS,
        kind: i32::from_be_bytes(head[8..12].try_into().ok()?),
        class: i32::from_be_bytes(head[12..].try_into().ok()?),
        texts: found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_come_back_as_they_went_in(
            hour in 0..1_000_000i64, kind in any::<i32>(), class in any::<i32>(), texts in proptest::array::uniform6("(\\PC|\0){0,5}")
        ) {
            let texts = texts.each_ref().map(String::as_str);
            let key = Key { hour: hour * HOUR_MS, kind, class, texts };
            let mut bytes = Vec::new();
            encode(&key, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(key));
        }
    }
}
