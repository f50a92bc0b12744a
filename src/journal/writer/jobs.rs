//! Long work: what a lane asks for, and what it does with the results.

use std::sync::Arc;

use super::{Current, LaneWriter, Ticket};
use crate::journal::{
    error::AppendError,
    job::{Done, Job, Outcome, Spare, Work},
    segment,
    shared::{Condition, Durability, count},
};

impl LaneWriter {
    /// Long work that somebody must run now.
    pub fn next_job(&mut self) -> Option<Job> {
        self.jobs.pop_front().or_else(|| self.prepare())
    }

    /// Runs all long work here and now: for who has no event loop, and may block.
    pub fn run_jobs(&mut self) {
        while let Some(job) = self.next_job() {
            self.done(job.run());
        }
    }

    /// The same until a group is decided, which it is written for.
    pub fn settle(&mut self, ticket: Ticket) -> Result<(), AppendError> {
        loop {
            self.write();
            self.run_jobs();
            if let Some(outcome) = self.outcome(ticket) {
                return outcome;
            }
        }
    }

    /// A segment that fills up has its successor prepared when it is half full.
    fn prepare(&mut self) -> Option<Job> {
        let half = self.shared.settings.segment_bytes / 2;
        let wanted = self.waiting || self.current.as_ref().is_none_or(|current| current.end > half);
        let may = self.unprepared.is_none() || self.may_retry;
        if !wanted || !may || self.preparing || self.spare.is_some() || self.is_ending() {
            return None;
        }
        self.preparing = true;
        self.may_retry = false;
        self.segments += 1;
        let path = self.watch.folder.join(format!("{}{}", self.segments, segment::SPARE_SUFFIX));
        Some(Job(Work::Prepare { shared: Arc::clone(&self.shared), path }))
    }

    /// Whether only [`LaneWriter::retry`] lets the lane ask for a segment again.
    pub fn needs_retry(&self) -> bool {
        self.unprepared.is_some() && !self.preparing && !self.may_retry && self.spare.is_none() && !self.is_ending()
    }

    /// Nothing will ask for a segment any more.
    pub(super) fn is_ending(&self) -> bool {
        self.closed && self.buffer.is_empty()
    }

    /// Allows one more attempt to get a segment.
    pub fn retry(&mut self) {
        self.may_retry = true;
    }

    /// Asks for a sync of what is committed but not synced, where there is any. Only with [`Durability::Process`].
    pub fn sync(&mut self) {
        if !self.syncing && self.wants_sync() && self.durability == Durability::Process {
            self.push_sync();
        }
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    pub fn wants_sync(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.unsynced)
    }

    pub(super) fn push_sync(&mut self) {
        let Some(current) = &mut self.current else { return };
        current.unsynced = false;
        self.syncing = true;
        self.jobs.push_back(Job(Work::Sync {
            shared: Arc::clone(&self.shared),
            file: Arc::clone(&current.file),
            segment: current.serial,
            names: current.unnamed.then(|| self.watch.folder.clone()),
        }));
    }

    pub(super) fn push_seal(&mut self, current: &Current, sync: bool, last: bool) {
        let segment = self.sealing(current, sync);
        self.jobs.push_back(Job(Work::Seal { shared: Arc::clone(&self.shared), segment, last }));
    }

    /// Takes in what became of a job. Afterwards, ask the tickets.
    pub fn done(&mut self, done: Done) {
        match done.0 {
            Outcome::Synced { segment, result } => {
                self.syncing = false;
                match result {
                    Ok(()) => self.synced(segment),
                    Err(error) => self.sync_failed(&error, Some(segment)),
                }
            }
            Outcome::Prepared(result) => {
                self.preparing = false;
                match result {
                    Ok(spare) => self.prepared(spare),
                    Err(failure) => {
                        count(&self.shared.counters.failed_reservations, 1);
                        self.unprepared = Some(failure);
                    }
                }
            }
            Outcome::Sealed { result, last } => {
                if let Err(error) = result {
                    self.sync_failed(&error, None);
                }
                if last {
                    self.watch.close();
                    self.shared.signal.raise();
                }
            }
        }
    }

    fn synced(&mut self, segment: u64) {
        if let Some(current) = self.current.as_mut().filter(|current| current.serial == segment) {
            current.unnamed = false;
            if let Some(group) = self.in_flight.take() {
                self.commit(group);
            }
        }
        if self.failed.is_none() {
            self.shared.set_condition(self.watch.id, Condition::Good);
        }
    }

    fn prepared(&mut self, spare: Spare) {
        if self.is_ending() {
            let _ = self.shared.disk.remove_file(&spare.path);
            self.shared.ledger().set(spare.path, 0);
            return;
        }
        self.spare = Some(spare);
        self.unprepared = None;
        if self.failed.take().is_some() {
            self.shared.set_condition(self.watch.id, Condition::Good);
        }
    }
}
