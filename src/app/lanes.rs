//! The journal's lanes, as the pump wants them.

use std::{collections::HashSet, sync::Arc};

use super::outbox_lane::Moved;
use crate::{
    core::id::LaneId,
    journal::{Journal, JournalError, LaneReader},
    pump::{LaneError, LaneSource, Lanes},
    store::BoxFuture,
};

pub(super) struct JournalLanes {
    journal: Journal,
    moved: Arc<Moved>,
    /// Lanes of this process that the pump has.
    given: HashSet<LaneId>,
    /// What was committed when the pump last waited.
    seen: u64,
}

impl JournalLanes {
    pub(super) fn new(journal: Journal, moved: Arc<Moved>) -> JournalLanes {
        JournalLanes { journal, moved, given: HashSet::new(), seen: 0 }
    }

    fn lane(&self, reader: LaneReader) -> Box<dyn LaneSource> {
        Box::new(JournalLane { reader, moved: Arc::clone(&self.moved) })
    }

    /// Rises whenever a lane of this process commits or ends.
    fn progress(&self) -> u64 {
        self.journal.live().iter().map(|lane| lane.committed() + u64::from(lane.is_closed())).sum()
    }
}

struct JournalLane {
    reader: LaneReader,
    moved: Arc<Moved>,
}

impl From<JournalError> for LaneError {
    fn from(error: JournalError) -> LaneError {
        LaneError(error.to_string())
    }
}

impl Lanes for JournalLanes {
    fn live(&mut self) -> Vec<Box<dyn LaneSource>> {
        let live = self.journal.live();
        self.given.retain(|id| live.iter().any(|lane| lane.id == *id));
        let new: Vec<_> = live.iter().filter(|lane| self.given.insert(lane.id)).collect();
        new.into_iter().map(|lane| self.lane(self.journal.reader(lane))).collect()
    }

    fn claim_orphans(&mut self) -> Result<Vec<Box<dyn LaneSource>>, LaneError> {
        Ok(self.journal.claim_orphans()?.into_iter().map(|reader| self.lane(reader)).collect())
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
        self.reader.lane()
    }

    fn seek(&mut self, next: u64) -> Result<(), LaneError> {
        self.reader.seek(next);
        Ok(())
    }

    fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, LaneError> {
        Ok(self.reader.next(max_events, max_bytes)?)
    }

    fn position(&self) -> u64 {
        self.reader.position()
    }

    fn committed(&self) -> u64 {
        match self.reader.watch() {
            Some(lane) => lane.committed(),
            // Nobody knows how much an orphan holds before it is read: at least one more, until it is finished.
            None => self.reader.position() + u64::from(!self.reader.finished()),
        }
    }

    fn delivered(&mut self, next: u64) -> Result<(), LaneError> {
        Ok(self.reader.delivered(next)?)
    }

    /// A lane of the outbox stays until the catalog knows what it holds: whoever takes over would bring it here again.
    fn finished(&self) -> bool {
        self.reader.finished()
            && match self.reader.watch() {
                Some(lane) => self.moved.is_known(self.moved.appended_to(lane.id)),
                None => self.moved.is_known(self.reader.sequenced_to().unwrap_or(0)),
            }
    }

    fn remove(&mut self) -> Result<(), LaneError> {
        Ok(self.reader.remove()?)
    }
}
