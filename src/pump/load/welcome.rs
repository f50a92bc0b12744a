//! Partitions that we were given: what of them is in the table already, and where to go on.
//!
//! One that cannot be begun does not stop the others: it says so in the readiness, and is tried again on its own time.

use std::{ops::Range, time::Instant};

use super::{Partition, Running, SOURCE, TABLE};
use crate::{
    store::{SinkError, SourceError},
    telemetry::{health::State, names},
};

/// A partition that we were given.
#[derive(Clone)]
pub(super) struct New {
    pub(super) partition: u32,
    pub(super) committed: u64,
    pub(super) note: String,
}

/// Offsets that Kafka deleted before they were loaded. A single one is the end of a transaction as a rule.
pub(super) fn expired(partition: u32, gone: Range<u64>) {
    let Range { start: from, end: to } = gone;
    if to - from > 1 {
        tracing::error!(
            partition,
            from,
            to,
            "Kafka deleted records before they were loaded: keep them longer (retention.ms)"
        );
        metrics::counter!(names::LOAD_EXPIRED).increment(to - from);
    }
}

impl Running {
    /// Finds out of each new partition what may be in the table already, and goes on from there. One that cannot be begun
    /// does not stop the others.
    pub(super) fn welcome(&mut self) -> Result<(), SourceError> {
        if self.new.is_empty() || Instant::now() < self.welcome_due {
            return Ok(());
        }
        let mut problem = None;
        for new in std::mem::take(&mut self.new) {
            let (part, begun) = match self.work.take_over(new.partition) {
                Ok(held) => {
                    self.loader.health.ready(TABLE);
                    (SOURCE, self.given(&new, held))
                }
                Err(SinkError::Retry(reason)) => (TABLE, Err(SourceError::Retry(reason))),
                Err(SinkError::Fatal(reason)) => (TABLE, Err(SourceError::Fatal(reason))),
            };
            if let Err(error @ (SourceError::Retry(_) | SourceError::Fatal(_))) = begun {
                self.loader.health.set(part, State::Degraded, error.to_string());
                self.new.push(new);
                problem = Some(error);
            }
        }
        let Some(problem) = problem else {
            self.welcome_backoff.reset();
            return Ok(());
        };
        if self.welcome_backoff.tries() == 0 {
            tracing::warn!(error = %problem, "a partition cannot be begun");
        }
        metrics::counter!(names::LOAD_RETRIES).increment(1);
        let fatal = matches!(problem, SourceError::Fatal(_));
        let wait = if fatal { self.welcome_backoff.longest() } else { self.welcome_backoff.next() };
        self.welcome_due = Instant::now() + wait;
        if self.loader.options.once && fatal { Err(problem) } else { Ok(()) }
    }

    fn given(&mut self, new: &New, held: u64) -> Result<(), SourceError> {
        let New { partition, committed, note } = new;
        let there = self.loader.source.ends(*partition)?;
        if held > there.end {
            return Err(SourceError::Fatal(format!(
                "the table holds offsets up to {held} of partition {partition}, which ends at {}: if the topic was made anew, \
                 give its rows a name of their own with load.source; if it lost its end, do not, for what it still holds would \
                 be loaded twice",
                there.end
            )));
        }
        if held < *committed {
            tracing::warn!(
                partition,
                committed,
                held,
                "the table holds less than was committed: what it lacks is loaded again"
            );
        }
        let goal = self.loader.source.last(*partition)?;
        let mut found = Partition::given(*partition, *committed, note, held, goal);
        found.can_be_read_to(there.end);
        found.begins_at(there.start);
        // What a first start of a group does not find was never its to load.
        let done = if committed < &there.start { held.max(*committed) } else { held };
        if (1..there.start).contains(&done) {
            expired(*partition, done..there.start);
        }
        let (doubtful, from) = (found.is_doubtful(), found.next());
        tracing::info!(partition, committed, held, doubtful, from, "a partition is given");
        self.loader.source.seek(*partition, from)?;
        self.loaded.partitions += 1;
        self.partitions.insert(*partition, found);
        metrics::gauge!(names::LOAD_PARTITIONS).set(self.partitions.len() as f64);
        Ok(())
    }
}
