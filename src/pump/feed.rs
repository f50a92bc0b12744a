//! The lanes in hand: batches out of them, progress back to them, removal of those that are done.
//!
//! One lane that cannot be read does not stop the others: it is reported and tried again with the next batch.

use std::collections::HashMap;

use super::{LANES, LaneError, LaneSource, Options};
use crate::{
    core::id::LaneId,
    store::Batch,
    telemetry::health::{Health, State},
};

#[derive(Default)]
pub(super) struct Feed {
    lanes: Vec<Lane>,
    /// Whose turn is first.
    turn: usize,
    /// Whether the last batch was ended by its bounds, so that more may be there.
    pub(super) was_full: bool,
}

struct Lane {
    source: Box<dyn LaneSource>,
    /// A seek that has to work before the lane may be read.
    seek: Option<u64>,
    /// What the sink holds.
    delivered: u64,
    failed: bool,
}

impl Feed {
    /// Takes lanes in, each at the position that the sink holds.
    pub(super) fn add(&mut self, sources: Vec<Box<dyn LaneSource>>, positions: &HashMap<LaneId, u64>, health: &Health) {
        for source in sources {
            let next = positions.get(&source.id()).copied();
            let mut lane = Lane { delivered: next.unwrap_or(0), seek: next, source, failed: false };
            if next.is_none() {
                lane.delivered = lane.source.position();
            }
            self.lanes.push(lane);
        }
        self.report(health);
    }

    /// One batch of all lanes together; empty when nothing is there.
    pub(super) fn read(&mut self, options: &Options, health: &Health) -> Vec<Batch> {
        let mut batches = Vec::new();
        let (mut events, mut bytes) = (options.batch_max_events, options.batch_max_bytes);
        let count = self.lanes.len();
        self.was_full = false;
        for step in 0..count {
            if events == 0 || bytes == 0 {
                self.was_full = true;
                // Who got nothing is first next time.
                self.turn = (self.turn + step) % count;
                break;
            }
            let lane = &mut self.lanes[(self.turn + step) % count];
            match lane.read(events, bytes) {
                Ok(records) => {
                    lane.failed = false;
                    let read: usize = records.iter().map(|(_, body)| body.len()).sum();
                    events = events.saturating_sub(records.len());
                    bytes = bytes.saturating_sub(read);
                    // A lane may stop short of the bounds at a segment's end.
                    self.was_full |= !records.is_empty() && lane.source.position() < lane.source.committed();
                    let next = lane.source.position();
                    // Damage moves the position without a record.
                    if next > lane.delivered {
                        batches.push(Batch { lane: lane.source.id(), records, next });
                    }
                }
                Err(error) => lane.fail(&error),
            }
        }
        self.report(health);
        batches
    }

    /// The sink holds these batches.
    pub(super) fn delivered(&mut self, batches: &[Batch], health: &Health) {
        for batch in batches {
            let Some(lane) = self.lanes.iter_mut().find(|lane| lane.source.id() == batch.lane) else { continue };
            lane.delivered = batch.next;
            if let Err(error) = lane.source.delivered(batch.next) {
                // The segment stays for now; the next delivery covers it again.
                lane.fail(&error);
            }
        }
        self.report(health);
    }

    /// Removes the folders of lanes that are done; gives those that are gone.
    pub(super) fn remove_finished(&mut self, health: &Health) -> Vec<LaneId> {
        let mut gone = Vec::new();
        self.lanes.retain_mut(|lane| {
            if lane.seek.is_some() || !lane.source.finished() || lane.source.position() > lane.delivered {
                return true;
            }
            match lane.source.remove() {
                Ok(()) => gone.push(lane.source.id()),
                Err(error) => lane.fail(&error),
            }
            lane.failed
        });
        if self.turn >= self.lanes.len() {
            self.turn = 0;
        }
        self.report(health);
        gone
    }

    /// Records that are committed and not in the sink.
    pub(super) fn lag(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.source.committed().saturating_sub(lane.delivered)).sum()
    }

    /// Whether a lane holds records that could not be read.
    pub(super) fn is_stuck(&self) -> bool {
        self.lanes.iter().any(|lane| lane.failed && lane.source.committed() > lane.delivered)
    }

    fn report(&self, health: &Health) {
        if self.lanes.iter().all(|lane| !lane.failed) {
            health.ready(LANES);
        } else {
            let lanes: Vec<String> =
                self.lanes.iter().filter(|lane| lane.failed).map(|lane| lane.source.id().to_string()).collect();
            let reason = format!("the journal's lanes {} cannot be read: look into the log", lanes.join(", "));
            health.set(LANES, State::Degraded, reason);
        }
    }
}

impl Lane {
    fn read(&mut self, events: usize, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, LaneError> {
        if let Some(next) = self.seek {
            self.source.seek(next)?;
            self.seek = None;
        }
        self.source.next(events, bytes)
    }

    fn fail(&mut self, error: &LaneError) {
        if !self.failed {
            tracing::error!(lane = %self.source.id(), %error, "a lane cannot be read or removed: it is tried again");
        }
        self.failed = true;
    }
}
