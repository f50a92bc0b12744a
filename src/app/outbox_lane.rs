//! The way of the catalog's outbox into the journal: what the control plane has decided becomes an event, **once**.
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
//!    - Whoever drains a lane ([`super::lanes`]) removes it only when it has seen a position in the catalog that covers it
//!      ([`Moved::is_known`]). As the position is read after the lanes, a lane that was gone by then is covered.
//! 3. A record is known by its number and its event's id: numbers that a restored catalog gives again are other rows. Each
//!    row is asked for, not only the highest: a torn group may have a hole, and what was lost there is appended again.
//! 4. The lane always waits for the disk, whatever `journal.durability` says: what was delivered is there after a power cut.
//!
//! Redirects know nothing of all this. With the catalog away the task waits and says so; what was decided waits in the catalog.

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
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{
        Catalog, CatalogError,
        outbox::{JOURNAL, Row},
    },
    core::{
        event::EventRef,
        id::LaneId,
        limits::{
            CATALOG_BACKOFF_MAX, LANE_RETRY_INTERVAL, OUTBOX_BATCH_ROWS, OUTBOX_COUNTED_MAX, OUTBOX_POLL_INTERVAL,
            OUTBOX_PURGE_INTERVAL, OUTBOX_PURGE_ROWS,
        },
        time::Millis,
    },
    io::{clock::Clock, disk::LockGuard},
    journal::{AppendError, Journal, JournalError, LaneWriter, Sequenced},
    telemetry::{
        health::{Health, State},
        names,
    },
};

#[cfg(test)]
mod tests;

/// In the journal's folder.
const LOCK: &str = "outbox.lock";
/// Part of readiness.
const OUTBOX: &str = "outbox";
/// How long the end may wait until the catalog has the last position.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// What the mover and the lanes that the pump drains have to tell each other.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Up to here no record of a lane is needed any more to know what the journal holds.
    known: AtomicU64,
    /// The highest number that a lane waits for.
    asked: AtomicU64,
    /// This process's lane, and the highest number that it may hold.
    own: Mutex<Option<(LaneId, u64)>>,
}

impl Moved {
    /// Whether the catalog knows of everything up to this number.
    pub(super) fn is_known(&self, sequence: u64) -> bool {
        self.asked.fetch_max(sequence, Ordering::Relaxed);
        sequence <= self.known.load(Ordering::Acquire)
    }

    /// The highest number that a lane of this process may hold; 0: it holds clicks.
    pub(super) fn appended_to(&self, lane: LaneId) -> u64 {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.filter(|(id, _)| *id == lane).map_or(0, |(_, sequence)| sequence)
    }

    fn appending(&self, lane: LaneId, sequence: u64) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some((lane, sequence));
    }

    fn know(&self, sequence: u64) {
        self.known.fetch_max(sequence, Ordering::Release);
    }

    fn is_asked(&self) -> bool {
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

// === The task ===

/// What the task needs; [`OutboxLane::run`] is the task.
pub(super) struct OutboxLane {
    pub(super) catalog: Catalog,
    pub(super) journal: Journal,
    pub(super) moved: Arc<Moved>,
    pub(super) health: Health,
    pub(super) clock: Clock,
    /// How long rows are kept that everybody has taken; zero: for ever.
    pub(super) retention: Duration,
}

impl OutboxLane {
    /// Moves rows until `stop`. What is not moved by then waits for the next start.
    pub(super) async fn run(self, stop: CancellationToken) {
        self.health.ready(OUTBOX);
        gauge!(names::OUTBOX_LAG).set(0.0);
        let told = self.catalog.told();
        let Some(mut mover) = self.wait_for_turn(&stop).await else { return };
        self.work(&mut mover, told, &stop).await;
        mover.end().await;
    }

    /// Waits until no other process moves this folder's rows. `None`: it is told to stop.
    async fn wait_for_turn(&self, stop: &CancellationToken) -> Option<Mover> {
        let mut is_said = false;
        while !stop.is_cancelled() {
            match Mover::take_over(&self.catalog, &self.journal, &self.moved) {
                Ok(Some(mover)) => return Some(mover),
                Ok(None) => self.health.ready(OUTBOX),
                Err(error) => self.complain(&error, &mut is_said),
            }
            // Lanes that this process drains may wait for the other one's word.
            let look = async {
                if self.moved.is_asked()
                    && let Ok(node) = self.catalog.node()
                    && let Ok(position) = self.catalog.outbox_position(node, JOURNAL).await
                {
                    self.moved.know(position);
                }
                sleep(OUTBOX_POLL_INTERVAL).await;
            };
            tokio::select! {
                () = look => {}
                () = stop.cancelled() => {}
            }
        }
        None
    }

    async fn work(&self, mover: &mut Mover, mut told: watch::Receiver<u64>, stop: &CancellationToken) {
        let (mut pause, mut is_said) = (OUTBOX_POLL_INTERVAL, false);
        let mut purge_at = Instant::now();
        while !stop.is_cancelled() {
            // A step that is given up half-way is as good as a kill.
            let step = tokio::select! {
                step = mover.step() => step,
                () = stop.cancelled() => return,
            };
            match step {
                Ok(moved) => {
                    if std::mem::take(&mut is_said) {
                        tracing::info!("the outbox is brought to the journal again");
                    }
                    self.health.ready(OUTBOX);
                    pause = OUTBOX_POLL_INTERVAL;
                    if moved > 0 {
                        continue;
                    }
                }
                Err(error) => {
                    self.complain(&error, &mut is_said);
                    pause = match error {
                        MoveError::Append(_) | MoveError::Journal(_) => LANE_RETRY_INTERVAL,
                        _ => (pause * 2).min(CATALOG_BACKOFF_MAX),
                    };
                }
            }
            if Instant::now() >= purge_at && self.purge(stop).await {
                purge_at = Instant::now() + OUTBOX_PURGE_INTERVAL;
            }
            tokio::select! {
                () = sleep(pause) => {}
                // While something is wrong only time helps.
                Ok(()) = told.changed(), if !is_said => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Deletes what is old and has been taken by all. `false`: not all of it, this time.
    async fn purge(&self, stop: &CancellationToken) -> bool {
        if self.retention.is_zero() {
            return true;
        }
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let before = Millis(self.clock.now().0.saturating_sub(retention_ms));
        while !stop.is_cancelled() {
            match self.catalog.outbox_purge(before, OUTBOX_PURGE_ROWS).await {
                Ok(deleted) if deleted < u64::from(OUTBOX_PURGE_ROWS) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Says what is wrong, once in the log. Somebody else who writes to the catalog is nothing to worry about.
    fn complain(&self, error: &MoveError, is_said: &mut bool) {
        if matches!(error, MoveError::Catalog(CatalogError::Busy)) {
            return;
        }
        let reason = format!("{error}; what was decided waits in the catalog for its way into the reports");
        self.health.set(OUTBOX, State::Degraded, reason);
        if !std::mem::replace(is_said, true) {
            tracing::warn!(%error, "the outbox cannot be brought to the journal: it is tried again");
        }
    }
}

// === The mover ===

/// Who has the outbox's lock.
#[derive(Debug)]
pub(super) struct Mover {
    catalog: Catalog,
    journal: Journal,
    moved: Arc<Moved>,
    node: String,
    /// Made for the first row.
    lane: Option<LaneWriter>,
    /// What lanes held when this process took over, as far as the catalog may not know of it.
    found: HashSet<Sequenced>,
    /// The highest number that was found.
    found_to: u64,
    /// The journal holds everything up to this number, and the catalog does not know it yet: nothing is appended before.
    unsaved: Option<u64>,
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

    /// Moves one batch; how many rows.
    pub(super) async fn step(&mut self) -> Result<usize, MoveError> {
        if let Some(sequence) = self.unsaved {
            self.save(sequence).await?;
        }
        let rows = self.catalog.outbox_events(&self.node, OUTBOX_BATCH_ROWS).await?;
        let Some(last) = rows.last() else {
            // What was found beyond is of no row of this catalog: it had another history, or is another one.
            self.found.clear();
            self.moved.know(self.found_to);
            gauge!(names::OUTBOX_LAG).set(0.0);
            return Ok(0);
        };
        let waiting = match rows.len() < OUTBOX_BATCH_ROWS as usize {
            true => rows.len() as u64,
            false => self.catalog.outbox_waiting(&self.node, OUTBOX_COUNTED_MAX).await?,
        };
        gauge!(names::OUTBOX_LAG).set(waiting as f64);
        debug_assert!(rows.is_sorted_by_key(|row| row.seq) && last.seq > 0);
        let done = block_in_place(|| self.append(&rows))?;
        self.save(rows[done - 1].seq).await?;
        gauge!(names::OUTBOX_LAG).set(waiting.saturating_sub(done as u64) as f64);
        Ok(done)
    }

    /// Appends those rows that no lane holds, as one group; how many rows of the page are in the journal then, at least one.
    fn append(&mut self, rows: &[Row]) -> Result<usize, MoveError> {
        let (mut ticket, mut appended, mut done) = (None, 0, 0);
        let mut aside = Vec::new();
        for row in rows {
            let bytes = row.event_bytes();
            match bytes.as_ref().map(|bytes| EventRef::decode(bytes)) {
                Ok(Ok(event)) if self.is_found(row.seq, event.id) => {}
                Ok(Ok(event)) => match self.append_one(EventRef { sequence: row.seq, ..event }) {
                    Ok(group) => {
                        ticket = Some(group);
                        appended += 1;
                    }
                    Err(MoveError::Append(AppendError::TooLarge)) => {
                        aside.push((row.seq, AppendError::TooLarge.to_string()));
                    }
                    // The group is full: the rest is the next one.
                    Err(_) if ticket.is_some() => break,
                    Err(error) => return Err(error),
                },
                Ok(Err(error)) => aside.push((row.seq, error.to_string())),
                Err(reason) => aside.push((row.seq, reason.clone())),
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

    fn append_one(&mut self, event: EventRef<'_>) -> Result<crate::journal::Ticket, MoveError> {
        let lane = match &mut self.lane {
            Some(lane) => lane,
            none => none.insert(self.journal.durable_lane()?),
        };
        if lane.is_failed() {
            lane.retry();
            lane.run_jobs();
        }
        // Before a reader can see it.
        self.moved.appending(lane.watch().id, event.sequence);
        Ok(lane.append(&event)?)
    }

    fn is_found(&self, sequence: u64, id: &[u8]) -> bool {
        id.try_into().is_ok_and(|id| self.found.contains(&Sequenced { sequence, id }))
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
