//! The journal's lanes, as the pump wants them.

use crate::{
    core::id::LaneId,
    journal::{Journal, JournalError, LaneReader},
    pump::{LaneError, LaneSource, Lanes},
    store::BoxFuture,
};

pub(super) struct JournalLanes {
    journal: Journal,
    /// What was committed when the pump last waited.
    seen: u64,
}

impl JournalLanes {
    pub(super) fn new(journal: Journal) -> JournalLanes {
        JournalLanes { journal, seen: 0 }
    }

    /// Rises whenever a lane of this process commits or ends.
    fn progress(&self) -> u64 {
        self.journal.live().iter().map(|lane| lane.committed() + u64::from(lane.is_closed())).sum()
    }
}

struct JournalLane(LaneReader);

impl From<JournalError> for LaneError {
    fn from(error: JournalError) -> LaneError {
        LaneError(error.to_string())
    }
}

impl Lanes for JournalLanes {
    fn live(&mut self) -> Vec<Box<dyn LaneSource>> {
        let reader = |lane| Box::new(JournalLane(self.journal.reader(lane))) as Box<dyn LaneSource>;
        self.journal.live().iter().map(reader).collect()
    }

    fn claim_orphans(&mut self) -> Result<Vec<Box<dyn LaneSource>>, LaneError> {
        let orphans = self.journal.claim_orphans()?;
        Ok(orphans.into_iter().map(|reader| Box::new(JournalLane(reader)) as Box<dyn LaneSource>).collect())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let listening = self.journal.listen();
            let progress = self.progress();
            if progress == self.seen {
                listening.changed().await;
            }
            self.seen = progress;
        })
    }
}

impl LaneSource for JournalLane {
    fn id(&self) -> LaneId {
        self.0.lane()
    }

    fn seek(&mut self, next: u64) -> Result<(), LaneError> {
        self.0.seek(next);
        Ok(())
    }

    fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, LaneError> {
        Ok(self.0.next(max_events, max_bytes)?)
    }

    fn position(&self) -> u64 {
        self.0.position()
    }

    fn committed(&self) -> u64 {
        match self.0.watch() {
            Some(lane) => lane.committed(),
            // Nobody knows how much an orphan holds before it is read: at least one more, until it is finished.
            None => self.0.position() + u64::from(!self.0.finished()),
        }
    }

    fn delivered(&mut self, next: u64) -> Result<(), LaneError> {
        Ok(self.0.delivered(next)?)
    }

    fn finished(&self) -> bool {
        self.0.finished()
    }

    fn remove(&mut self) -> Result<(), LaneError> {
        Ok(self.0.remove()?)
    }
}
