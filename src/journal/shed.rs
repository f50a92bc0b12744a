//! Clicks that were answered without a record, by hour, until the lane can say so with a record of its own: exactly once, also
//! when that record is refused in turn.

use super::writer::Ticket;
use crate::core::{limits::SHED_HOURS_MAX, time::Millis};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) hour: Millis,
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Shed {
    /// Ascending by hour; no record says it yet.
    open: Vec<Missing>,
    /// Said by records whose group is not decided.
    said: Vec<(Ticket, Missing)>,
}

impl Shed {
    pub(crate) fn add(&mut self, now: Millis) {
        self.put(Missing { hour: now.hour(), count: 1 });
    }

    fn put(&mut self, missing: Missing) {
        match self.open.binary_search_by_key(&missing.hour, |open| open.hour) {
            Ok(at) => self.open[at].count += missing.count,
            Err(at) => self.open.insert(at, missing),
        }
        if self.open.len() > SHED_HOURS_MAX {
            let oldest = self.open.remove(0);
            self.open[0].count += oldest.count;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.said.is_empty()
    }

    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Clicks that no committed record tells of.
    pub(crate) fn untold(&self) -> u64 {
        self.open.iter().chain(self.said.iter().map(|(_, missing)| missing)).map(|missing| missing.count).sum()
    }

    /// Lets `append` make a record of each hour, as far as it can.
    pub(crate) fn say(&mut self, mut append: impl FnMut(Missing) -> Option<Ticket>) {
        let said = &mut self.said;
        self.open.retain(|missing| match append(*missing) {
            Some(ticket) => {
                said.push((ticket, *missing));
                false
            }
            None => true,
        });
    }

    /// Asks what became of the records; what was refused has to be said again.
    pub(crate) fn settle(&mut self, outcome: impl Fn(Ticket) -> Option<bool>) {
        for (ticket, missing) in std::mem::take(&mut self.said) {
            match outcome(ticket) {
                None => self.said.push((ticket, missing)),
                Some(true) => {}
                Some(false) => self.put(missing),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::HOUR_MS;

    #[test]
    fn a_refused_record_of_missing_clicks_is_said_again_and_a_committed_one_is_not() {
        let mut shed = Shed::default();
        for at in [0, 1, HOUR_MS, HOUR_MS + 1, HOUR_MS + 2] {
            shed.add(Millis(at));
        }
        let mut said = Vec::new();
        shed.say(|missing| {
            said.push(missing.count);
            Some(Ticket(missing.hour.0 as u64))
        });
        assert_eq!(said, [2, 3]);
        shed.settle(|ticket| Some(ticket.0 == 0));
        assert_eq!((shed.untold(), shed.has_open()), (3, true), "the second hour's record was refused");
        shed.say(|_| None);
        assert_eq!(shed.untold(), 3);
        shed.say(|_| Some(Ticket(9)));
        shed.settle(|_| None);
        assert!(!shed.has_open() && !shed.is_empty());
        shed.settle(|_| Some(true));
        assert!(shed.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_no_click_is_forgotten() {
        let mut shed = Shed::default();
        (0..10 * SHED_HOURS_MAX as i64).for_each(|hour| shed.add(Millis(hour * HOUR_MS)));
        assert_eq!(shed.open.len(), SHED_HOURS_MAX);
        assert_eq!(shed.untold(), 10 * SHED_HOURS_MAX as u64);
    }
}
