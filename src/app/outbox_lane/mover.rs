//! Who moves rows of the catalog's outbox into the journal, where each becomes an event **once**.
//!
//! One of the processes on a data folder has the outbox's lock; the others wait for it. It takes its node's rows in order and
//! appends them, each with its number, to a lane of its own; when they are committed it writes its position into the catalog.
//! A kill between the two is the whole difficulty, and this is why it neither loses nor doubles:
//!
//! 1. A row is behind the position until it is committed in a lane. So nothing is lost.
//! 2. Rows behind the position that a lane holds already are known: whoever gets the lock reads the ends of all lanes in the folder
//!    (`Journal::sequenced`), *and then* the position. A record that it must find has not been deleted:
//!    - A batch is one group of records, and the next one is not appended before the catalog has the position. So all that
//!      the catalog may not know is in the last segment of one lane, and readers never delete a lane's last segment
//!      before they remove the lane.
//!    - Whoever drains a lane (`app::lanes`) removes it only when it has seen a position in the catalog that covers it
//!      ([`Moved::is_known`]). As the position is read after the lanes, a lane that was gone by then is covered.
//! 3. A record is known by its number and its event's id: numbers that a restored catalog gives again are other rows. Each
//!    row is asked for, not only the highest: a torn group may have a hole, and what was lost there is appended again.
//! 4. The lane always waits for the disk, whatever `journal.durability` says: what was delivered is there after a power cut.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::{task::block_in_place, time::timeout};

use crate::{
    catalog::{
        Catalog, CatalogError,
        outbox::{JOURNAL, Row},
    },
    core::{
        event::EventRef,
        id::LaneId,
        limits::{OUTBOX_BATCH_ROWS, OUTBOX_COUNTED_MAX},
    },
    io::disk::LockGuard,
    journal::{AppendError, Journal, JournalError, LaneWriter, Sequenced, Ticket},
    telemetry::names,
};

/// In the journal's folder.
const LOCK: &str = "outbox.lock";
/// How long the end may wait until the catalog has the last position.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// What the mover and the lanes that the pump drains have to tell each other.
#[derive(Debug, Default)]
pub(in super::super) struct Moved {
    /// Up to here no record of a lane is needed any more to know what the journal holds.
    known: AtomicU64,
    /// The highest number that a lane waits for.
    asked: AtomicU64,
    /// This process's lane, and the highest number that it may hold.
    own: Mutex<Option<(LaneId, u64)>>,
}

impl Moved {
    /// Whether the catalog knows of everything up to this number.
    pub(in super::super) fn is_known(&self, sequence: u64) -> bool {
        self.asked.fetch_max(sequence, Ordering::Relaxed);
        sequence <= self.known.load(Ordering::Acquire)
    }

    /// The highest number that a lane of this process may hold; 0: it holds clicks.
    pub(in super::super) fn appended_to(&self, lane: LaneId) -> u64 {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.filter(|(id, _)| *id == lane).map_or(0, |(_, sequence)| sequence)
    }

    fn appending(&self, lane: LaneId, sequence: u64) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some((lane, sequence));
    }

    pub(super) fn know(&self, sequence: u64) {
        self.known.fetch_max(sequence, Ordering::Release);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > self.known.load(Ordering::Relaxed)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("the outbox's lock cannot be taken ({0}): look at the journal's folder")]
    Lock(io::Error),
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Rows that the journal holds, and the catalog knows that it does.
    pub(super) moved: usize,
    /// There are more, as far as it saw.
    pub(super) has_more: bool,
}

/// Who has the outbox's lock.
#[derive(Debug)]
pub(super) struct Mover {
    catalog: Catalog,
    journal: Journal,
    moved: Arc<Moved>,
    node: String,
    /// Made for the first row.
    pub(super) lane: Option<LaneWriter>,
    /// What lanes held when this process took over, as far as the catalog may not know of it.
    pub(super) found: HashSet<Sequenced>,
    /// The highest number that was found.
    found_to: u64,
    /// The journal holds everything up to this number, and the catalog does not know it yet: nothing is appended before.
    pub(super) unsaved: Option<u64>,
    /// Given back behind the lane, which takes nothing more then.
    _lock: Box<dyn LockGuard>,
}

impl Mover {
    /// Takes the lock, and then finds what lanes hold. `None`: another process has it.
    pub(super) fn take_over(
        catalog: &Catalog,
        journal: &Journal,
        moved: &Arc<Moved>,
    ) -> Result<Option<Mover>, MoveError> {
        block_in_place(|| {
            let node = catalog.node()?.to_owned();
            let Some(lock) = journal.claim(LOCK).map_err(MoveError::Lock)? else { return Ok(None) };
            let found: HashSet<Sequenced> = journal.sequenced()?.into_iter().collect();
            Ok(Some(Mover {
                catalog: catalog.clone(),
                journal: journal.clone(),
                moved: Arc::clone(moved),
                node,
                lane: None,
                found_to: found.iter().map(|record| record.sequence).max().unwrap_or(0),
                found,
                unsaved: None,
                _lock: lock,
            }))
        })
    }

    /// Moves one batch.
    pub(super) async fn step(&mut self) -> Result<Step, MoveError> {
        if let Some(sequence) = self.unsaved {
            self.save(sequence).await?;
        }
        let rows = self.catalog.outbox_events(&self.node, OUTBOX_BATCH_ROWS).await?;
        let Some(last) = rows.last() else {
            // What was found beyond is of no row of this catalog: it had another history, or is another one.
            self.found.clear();
            self.moved.know(self.found_to);
            gauge!(names::OUTBOX_LAG).set(0.0);
            return Ok(Step { moved: 0, has_more: false });
        };
        let waiting = match rows.len() < OUTBOX_BATCH_ROWS as usize {
            true => rows.len() as u64,
            false => self.catalog.outbox_waiting(&self.node, OUTBOX_COUNTED_MAX).await?,
        };
        gauge!(names::OUTBOX_LAG).set(waiting as f64);
        debug_assert!(rows.is_sorted_by_key(|row| row.seq) && last.seq > 0);
        let done = block_in_place(|| self.append(&rows))?;
        self.save(rows[done - 1].seq).await?;
        let left = waiting.saturating_sub(done as u64);
        gauge!(names::OUTBOX_LAG).set(left as f64);
        Ok(Step { moved: done, has_more: left > 0 })
    }

    /// Appends those rows that no lane holds, as one group; how many rows of the page are in the journal then, at least one.
    fn append(&mut self, rows: &[Row]) -> Result<usize, MoveError> {
        let (mut ticket, mut appended, mut done) = (None, 0, 0);
        let mut aside = Vec::new();
        for row in rows {
            match self.payload(row) {
                Ok(None) => {}
                Ok(Some(payload)) => match self.append_one(row.seq, &payload) {
                    Ok(group) => {
                        ticket = Some(group);
                        appended += 1;
                    }
                    Err(MoveError::Append(error @ AppendError::TooLarge)) => aside.push((row.seq, error.to_string())),
                    // The group is full: the rest is the next one.
                    Err(_) if ticket.is_some() => break,
                    Err(error) => return Err(error),
                },
                Err(reason) => aside.push((row.seq, reason)),
            }
            done += 1;
        }
        if let (Some(lane), Some(ticket)) = (&mut self.lane, ticket) {
            lane.settle(ticket)?;
        }
        self.unsaved = rows[..done].last().map(|row| row.seq);
        counter!(names::OUTBOX_EVENTS).increment(appended);
        counter!(names::OUTBOX_SET_ASIDE).increment(aside.len() as u64);
        for (sequence, reason) in aside {
            tracing::error!(sequence, %reason, "a row of the outbox is no event that the journal can take: it stays there");
        }
        Ok(done)
    }

    /// The record of a row, `None` where a lane holds it already, or why it can be none. Fields that a newer program wrote
    /// stay as they are.
    fn payload(&self, row: &Row) -> Result<Option<Vec<u8>>, String> {
        let mut payload = row.event_bytes()?;
        let id = EventRef::decode(&payload).map_err(|error| format!("it is no event: {error}"))?.id;
        let is_found = id.try_into().is_ok_and(|id| self.found.contains(&Sequenced { sequence: row.seq, id }));
        EventRef { sequence: row.seq, ..EventRef::default() }.encode(&mut payload);
        Ok((!is_found).then_some(payload))
    }

    fn append_one(&mut self, sequence: u64, payload: &[u8]) -> Result<Ticket, MoveError> {
        let lane = match &mut self.lane {
            Some(lane) => lane,
            none => none.insert(self.journal.durable_lane()?),
        };
        if lane.is_failed() {
            lane.retry();
            lane.run_jobs();
        }
        // Before a reader can see it.
        self.moved.appending(lane.watch().id, sequence);
        Ok(lane.append_encoded(payload)?)
    }

    /// Tells the catalog that the journal holds everything up to this row.
    async fn save(&mut self, sequence: u64) -> Result<(), MoveError> {
        self.catalog.outbox_passed(&self.node, JOURNAL, sequence).await?;
        self.unsaved = None;
        self.moved.know(sequence);
        self.found.retain(|record| record.sequence > sequence);
        if self.found.is_empty() {
            self.moved.know(self.found_to);
        }
        Ok(())
    }

    /// Closes the lane, so that the pump can finish it.
    pub(super) async fn end(mut self) {
        if let Some(sequence) = self.unsaved {
            // Where the catalog does not take it, the lane stays and tells.
            let _ = timeout(LAST_WORD_TIMEOUT, self.save(sequence)).await;
        }
        if let Some(mut lane) = self.lane.take() {
            block_in_place(|| {
                lane.close();
                lane.seal();
                lane.run_jobs();
            });
        }
    }
}
