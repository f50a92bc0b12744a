//! How far behind a loader is, and whether the source answers: asking for the one shows the other.

use std::time::{Duration, Instant};

use super::{
    Running,
    welcome::{New, expired},
};
use crate::{store::SourceError, telemetry::names};

/// How often the partitions' ends are asked for.
const LAG_INTERVAL: Duration = Duration::from_secs(2);

impl Running {
    /// Whether events wait is known for partitions that cannot be begun, too: it is while the table is away that somebody must
    /// be called.
    pub(super) fn tell_lag(&mut self) -> Result<(), SourceError> {
        if Instant::now() < self.lag_due {
            return Ok(());
        }
        self.lag_due = Instant::now() + LAG_INTERVAL;
        // Nothing is asked below.
        if self.partitions.is_empty() && self.new.iter().all(New::is_unanswered) {
            self.loader.source.find()?;
        }
        let mut lag = 0;
        for new in self.new.iter().filter(|new| !new.is_unanswered()) {
            match self.loader.source.ends(new.partition) {
                // Behind the last record there may be the end of a transaction, which is counted here.
                Ok(there) => lag += there.end.saturating_sub(new.committed.max(there.start)),
                Err(SourceError::Lost(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for partition in self.partitions.values_mut() {
            let there = match self.loader.source.ends(partition.number()) {
                Ok(there) => there,
                Err(SourceError::Lost(_)) => continue,
                Err(error) => return Err(error),
            };
            lag += partition.lag(there.end);
            if let Some(gap) = partition.take_gap().filter(|gap| there.start >= gap.end) {
                expired(partition.number(), gap);
            }
            if partition.can_be_read_to(there.end) {
                match self.loader.source.seek(partition.number(), partition.next()) {
                    Ok(()) | Err(SourceError::Lost(_)) => {}
                    Err(error) => return Err(error),
                }
                partition.set_paused(false);
            }
        }
        self.answers = true;
        metrics::gauge!(names::LOAD_LAG).set(lag as f64);
        self.loader.progress.tell(self.loaded.events, lag);
        Ok(())
    }
}
