//! What the pump needs of a journal. `journal` is two floors down and does not know it; tests have one in memory.

use crate::{core::id::LaneId, store::BoxFuture};

/// Why a lane could not be read or removed. Trying again later may help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct LaneError(pub String);

/// The reading end of one lane. Sequence numbers only rise; calls may block on the disk.
pub trait LaneSource: Send {
    fn id(&self) -> LaneId;
    /// Goes on at this sequence number. Numbers below what the lane still holds mean its
    /// beginning, numbers beyond its end its end.
    fn seek(&mut self, next: u64) -> Result<(), LaneError>;
    /// The next committed records, up to these bounds but at least one; empty when there is none yet. Damaged records are
    /// passed over.
    fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, LaneError>;
    /// The sequence number behind what `next` has given or passed over.
    fn position(&self) -> u64;
    /// The sequence number behind what is committed.
    fn committed(&self) -> u64;
    /// The sink holds everything below `next`: what is not needed any more may be deleted.
    fn delivered(&mut self, next: u64) -> Result<(), LaneError>;
    /// Whether the lane has ended, and all of it was read.
    fn finished(&self) -> bool;
    /// Removes the lane's folder, durably. After an error it may be called again.
    fn remove(&mut self) -> Result<(), LaneError>;
}

/// The lanes of a journal.
pub trait Lanes: Send {
    /// This process's own lanes. Each is given once: one that is made later, when it is asked for the next time.
    fn live(&mut self) -> Vec<Box<dyn LaneSource>>;
    /// Claims lanes that no process owns. Each is given once.
    fn claim_orphans(&mut self) -> Result<Vec<Box<dyn LaneSource>>, LaneError>;
    /// Completes when something was committed or ended since it was last called, at once when that was before.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
}
