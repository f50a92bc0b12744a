//! The writing side of a lane: a state machine without runtime and without clock.
//!
//! ```text
//! append… ─▶ write() ─▶ Committed                          durability "process"
//!                  └──▶ Syncing ─▶ [job] ─▶ done() ─▶      durability "disk": the next group collects meanwhile
//! ```
//!
//! Long work leaves as [`Job`]s ([`LaneWriter::next_job`]) and comes back as [`Done`]s ([`LaneWriter::done`]).
//!
//! Rules when something fails:
//! - Everything that was not committed is refused, and its sequence numbers are used again: what a reader sees has no hole.
//! - The segment is sealed at its last committed byte, and never written again. If even the seal fails, the next segment's
//!   first sequence number says the same.
//! - A failed sync is never repeated on that file.
//! - The lane goes on with a new segment, as soon as there is one.

use std::{collections::VecDeque, io, path::PathBuf, sync::Arc};

mod failing;
mod jobs;

use super::{
    error::AppendError,
    job::{Job, Spare},
    record::{self, HEAD_BYTES, Kind},
    segment::{self, HEADER_BYTES, Header},
    shared::{Condition, Durability, Shared, count},
    watch::LaneWatch,
};
use crate::{
    core::{
        event::EventRef,
        limits::{LANE_BUFFER_MAX_BYTES, RECORD_PAYLOAD_MAX_BYTES},
    },
    io::disk::DiskFile,
};

/// A record's claim on its group's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

/// What [`LaneWriter::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// No group, or one is still being synced.
    Nothing,
    Committed,
    /// Written; committed when the sync job is done.
    Syncing,
    /// The group waits until the next segment has been prepared.
    Waiting,
    Refused,
}

#[derive(Debug)]
struct Current {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Counts the segments of this lane.
    serial: u64,
    /// End of the last committed record.
    end: u64,
    /// There are committed bytes that no sync has covered.
    unsynced: bool,
    /// No sync has covered its name.
    unnamed: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    next: u64,
    end: u64,
}

#[derive(Debug)]
pub struct LaneWriter {
    shared: Arc<Shared>,
    watch: Arc<LaneWatch>,
    durability: Durability,
    /// The collecting group, encoded.
    buffer: Vec<u8>,
    /// Largest group, bytes, before [`AppendError::Busy`].
    group_max_bytes: usize,
    /// Number of the collecting group, and the sequence number it begins with.
    group: u64,
    group_first: u64,
    /// Sequence number of the next record.
    next: u64,
    /// The group before the collecting one, while it is being synced.
    in_flight: Option<InFlight>,
    current: Option<Current>,
    spare: Option<Spare>,
    preparing: bool,
    /// A group waits for the next segment.
    waiting: bool,
    /// Why the last attempt to prepare a segment failed.
    unprepared: Option<(AppendError, String)>,
    may_retry: bool,
    syncing: bool,
    segments: u64,
    failed: Option<AppendError>,
    closed: bool,
    refused: VecDeque<(u64, AppendError)>,
    /// Groups below it may have been refused longer ago than is remembered.
    forgotten: u64,
    jobs: VecDeque<Job>,
}

impl LaneWriter {
    pub(crate) fn new(shared: Arc<Shared>, watch: Arc<LaneWatch>, durability: Durability) -> LaneWriter {
        let room = shared.settings.segment_bytes as usize - HEADER_BYTES - HEAD_BYTES;
        let group_max_bytes = room.min(LANE_BUFFER_MAX_BYTES);
        LaneWriter {
            shared,
            watch,
            durability,
            buffer: Vec::with_capacity(group_max_bytes.min(64 * 1024)),
            group_max_bytes,
            group: 0,
            group_first: 0,
            next: 0,
            in_flight: None,
            current: None,
            spare: None,
            preparing: false,
            waiting: false,
            unprepared: None,
            may_retry: true,
            syncing: false,
            segments: 0,
            failed: None,
            closed: false,
            refused: VecDeque::new(),
            forgotten: 0,
            jobs: VecDeque::new(),
        }
    }

    pub fn watch(&self) -> &Arc<LaneWatch> {
        &self.watch
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs the first preparation here and now, so that a worker starts with a segment at hand.
    pub(crate) fn begin_first_segment(&mut self) {
        if let Some(job) = self.next_job() {
            self.done(job.run());
        }
        if let Some((error, reason)) = self.unprepared.clone() {
            self.failed = Some(error);
            self.shared.set_condition(self.watch.id, Condition::Refusing(reason));
        }
    }

    // === Appending ===

    /// Encodes an event into the collecting group. It is recorded when its ticket's group is committed, not before.
    #[inline]
    pub fn append(&mut self, event: &EventRef<'_>) -> Result<Ticket, AppendError> {
        let start = self.begin()?;
        event.encode(&mut self.buffer);
        self.finish(start)
    }

    /// The same for an event that is encoded already.
    pub fn append_encoded(&mut self, payload: &[u8]) -> Result<Ticket, AppendError> {
        let start = self.begin()?;
        self.buffer.extend_from_slice(payload);
        self.finish(start)
    }

    #[inline]
    fn begin(&mut self) -> Result<usize, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEAD_BYTES]);
        Ok(start)
    }

    #[inline]
    fn finish(&mut self, start: usize) -> Result<Ticket, AppendError> {
        let error = if self.buffer.len() - start > HEAD_BYTES + RECORD_PAYLOAD_MAX_BYTES {
            Some(AppendError::TooLarge)
        } else if self.buffer.len() > self.group_max_bytes {
            Some(AppendError::Busy)
        } else {
            None
        };
        if let Some(error) = error {
            self.buffer.truncate(start);
            return Err(error);
        }
        let index = self.next - self.group_first;
        record::finish(&mut self.buffer[start..], self.watch.key, Kind::Event, self.next, index);
        self.next += 1;
        Ok(Ticket(self.group))
    }

    /// Whether a group has records that [`LaneWriter::write`] has not taken.
    pub fn has_group(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether records are refused until a new segment is there.
    pub fn is_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether no record waits to be committed, and nothing is being made for one.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.in_flight.is_none() && !self.preparing
    }

    /// The group that the next record will belong to.
    pub fn collecting(&self) -> Ticket {
        Ticket(self.group)
    }

    /// What became of a group; `None` while that is open.
    #[inline]
    pub fn outcome(&self, ticket: Ticket) -> Option<Result<(), AppendError>> {
        let open_from = self.group - u64::from(self.in_flight.is_some());
        if ticket.0 >= open_from {
            return None;
        }
        if ticket.0 < self.forgotten {
            // Somebody asks very late. Rather an answer without a record than a record that was promised in vain.
            return Some(Err(AppendError::Io));
        }
        Some(self.refused.iter().find(|(group, _)| *group == ticket.0).map_or(Ok(()), |(_, error)| Err(*error)))
    }

    // === Writing ===

    /// Writes the collecting group, all of it with one call.
    pub fn write(&mut self) -> Written {
        if self.buffer.is_empty() || self.in_flight.is_some() {
            return Written::Nothing;
        }
        match self.make_room() {
            Ok(true) => {}
            Ok(false) => return Written::Waiting,
            Err((error, reason)) => {
                self.refuse(error, reason);
                return Written::Refused;
            }
        }
        let Some(current) = &mut self.current else { return Written::Waiting };
        if let Err(error) = current.file.write_all_at(&self.buffer, current.end) {
            count(&self.shared.counters.failed_writes, 1);
            let kind = AppendError::of(&error);
            let mend = if kind == AppendError::Full { "make room" } else { "look at the disk" };
            let reason = format!("cannot write {}: {error}; {mend}", current.path.display());
            self.refuse(kind, reason);
            return Written::Refused;
        }
        let written = InFlight { next: self.next, end: current.end + self.buffer.len() as u64 };
        self.buffer.clear();
        self.group += 1;
        self.group_first = self.next;
        match self.durability {
            Durability::Process => {
                current.unsynced = true;
                self.commit(written);
                Written::Committed
            }
            Durability::Disk => {
                self.in_flight = Some(written);
                self.push_sync();
                Written::Syncing
            }
        }
    }

    fn commit(&mut self, group: InFlight) {
        if let Some(current) = &mut self.current {
            current.end = group.end;
        }
        count(&self.shared.counters.appended, group.next - self.watch.committed());
        count(&self.shared.counters.commits, 1);
        self.watch.commit(group.next);
        self.shared.signal.raise();
    }

    /// Makes sure that the current segment has room for the collecting group and a seal. `false`: the next segment is
    /// being prepared.
    fn make_room(&mut self) -> Result<bool, (AppendError, String)> {
        let needed = (self.buffer.len() + HEAD_BYTES) as u64;
        if let Some(current) = &self.current
            && current.end + needed <= self.shared.settings.segment_bytes
        {
            return Ok(true);
        }
        self.waiting = self.spare.is_none();
        let Some(spare) = self.spare.take() else {
            return match &self.unprepared {
                Some(failure) => Err(failure.clone()),
                None => Ok(false),
            };
        };
        if let Some(full) = self.current.take() {
            let sync = self.durability == Durability::Process;
            self.push_seal(&full, sync, false);
        }
        let path = self.watch.folder.join(segment::file_name(self.group_first));
        if let Err(error) = self.adopt(&spare, &path) {
            count(&self.shared.counters.failed_writes, 1);
            let _ = self.shared.disk.remove_file(&spare.path);
            self.shared.ledger().set(spare.path, 0);
            return Err((AppendError::of(&error), format!("cannot begin {}: {error}", path.display())));
        }
        let mut ledger = self.shared.ledger();
        ledger.set(spare.path, 0);
        ledger.set(path.clone(), self.shared.settings.segment_bytes);
        drop(ledger);
        self.segments += 1;
        self.current = Some(Current {
            file: spare.file,
            path,
            serial: self.segments,
            end: HEADER_BYTES as u64,
            unsynced: false,
            unnamed: true,
        });
        Ok(true)
    }

    /// The header first, then the name: a process that dies between leaves no nameless segment behind.
    fn adopt(&self, spare: &Spare, path: &std::path::Path) -> io::Result<()> {
        let header = Header {
            lane: self.watch.id,
            first: self.group_first,
            created: self.shared.clock.now(),
            salt: self.watch.salt,
        };
        spare.file.write_all_at(&header.encode()[..], 0)?;
        self.shared.disk.rename(&spare.path, path)
    }

    // === Closing ===

    /// No more records. When the last group is decided, [`LaneWriter::seal`] ends the lane.
    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Seals the last segment of a closed lane that is idle; the job's end ends the lane.
    pub fn seal(&mut self) {
        debug_assert!(self.closed && self.is_idle());
        if let Some(spare) = self.spare.take() {
            let _ = self.shared.disk.remove_file(&spare.path);
            self.shared.ledger().set(spare.path, 0);
        }
        match self.current.take() {
            Some(current) => self.push_seal(&current, true, true),
            None => {
                self.watch.close();
                self.shared.signal.raise();
            }
        }
    }
}

/// A lane whose worker is gone takes no more records; what it committed is still delivered.
impl Drop for LaneWriter {
    fn drop(&mut self) {
        self.watch.close();
        self.shared.signal.raise();
    }
}
