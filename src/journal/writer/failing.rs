//! What a lane does when the disk fails it: refuse what is not committed, seal the segment there, go on with a new one.

use std::{io, sync::Arc};

use super::{Current, LaneWriter};
use crate::core::limits::REFUSED_GROUPS_MAX;
use crate::journal::{
    error::AppendError,
    job::Sealing,
    record,
    segment::HEADER_BYTES,
    shared::{Condition, count},
};

impl LaneWriter {
    /// Refuses everything that is not committed, and seals the segment there.
    pub(super) fn refuse(&mut self, error: AppendError, reason: String) {
        for group in self.group - u64::from(self.in_flight.is_some())..=self.group {
            self.refused.push_back((group, error));
        }
        while self.refused.len() > REFUSED_GROUPS_MAX {
            self.forgotten = self.refused.pop_front().map_or(self.forgotten, |(group, _)| group + 1);
        }
        self.group += 1;
        self.in_flight = None;
        self.buffer.clear();
        self.next = self.watch.committed();
        self.group_first = self.next;
        self.waiting = false;
        self.abandon(error != AppendError::Sync);
        if self.spare.is_none() {
            self.failed = Some(error);
            self.shared.set_condition(self.watch.id, Condition::Refusing(reason));
        }
    }

    /// Ends the current segment at its last committed byte. Now, not later: a process that is killed after it has answered
    /// must not leave behind what was refused.
    pub(super) fn abandon(&mut self, sync: bool) {
        let Some(current) = self.current.take() else { return };
        if current.end == HEADER_BYTES as u64 {
            // Nothing in it counts, and the next segment will need its name.
            let _ = self.shared.disk.remove_file(&current.path);
            self.shared.ledger().set(current.path, 0);
            return;
        }
        let _ = self.sealing(&current, false).cut(&self.shared);
        if sync {
            self.push_seal(&current, true, false);
        }
    }

    /// The disk did not confirm bytes of this segment.
    pub(super) fn sync_failed(&mut self, error: &io::Error, segment: Option<u64>) {
        count(&self.shared.counters.failed_syncs, 1);
        let reason = format!(
            "the disk did not confirm a write to {}: {error}; records that it holds may be lost in a power cut; look at the disk",
            self.watch.folder.display()
        );
        if self.failed.is_none() {
            self.shared.set_condition(self.watch.id, Condition::Degraded(reason.clone()));
        }
        if self.current.as_ref().is_none_or(|current| Some(current.serial) != segment) {
            return;
        }
        match self.in_flight {
            Some(_) => self.refuse(AppendError::Sync, reason),
            None => self.abandon(false),
        }
    }

    pub(super) fn sealing(&self, current: &Current, sync: bool) -> Sealing {
        Sealing {
            file: Arc::clone(&current.file),
            path: current.path.clone(),
            end: current.end,
            seal: record::seal(self.watch.key, self.watch.committed()),
            sync: sync.then(|| self.watch.folder.clone()),
        }
    }
}
