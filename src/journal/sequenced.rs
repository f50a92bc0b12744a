//! What a lane holds at its end of records that came from the catalog's outbox. They carry the number that the outbox gave
//! them, and whoever takes over the outbox asks here which of them are in the journal already.
//!
//! Only the last segment is read, and that is enough: whoever writes such a lane appends one group, and then none before the
//! catalog knows of it. A group is never split over two segments, a reader never deletes the last one, and another comes behind
//! it only for the next group.

use std::sync::Arc;

use super::{
    Journal,
    error::JournalError,
    reader::LaneReader,
    segment,
    shared::{Settings, Shared},
};
use crate::{
    core::{event::EventRef, id::LaneId, limits::READ_ATTEMPTS_MAX},
    io::clock::Clock,
};

/// A lane that changes so often while it is looked at is an error.
const LOOKS_MAX: u32 = 3;
const READ_RECORDS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;

/// A record of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequenced {
    /// In the outbox.
    pub sequence: u64,
    /// The event's id.
    pub id: [u8; 16],
}

impl Journal {
    /// What all lanes of the folder hold at their ends, whoever has them.
    pub fn sequenced(&self) -> Result<Vec<Sequenced>, JournalError> {
        let mut found = Vec::new();
        for lane in self.lanes_on_disk()? {
            found.extend(self.sequenced_in(lane)?);
        }
        Ok(found)
    }

    /// The same of one lane; none for a lane of clicks. What is told is durable from then on, also where a process died before
    /// it had asked for that: so nobody delivers a record of which a power cut would leave no trace here.
    pub(crate) fn sequenced_in(&self, lane: LaneId) -> Result<Vec<Sequenced>, JournalError> {
        let mut looks = 1;
        loop {
            match self.look_into(lane) {
                // Gone, or its reader has just deleted a segment.
                Err(error) if error.is_not_found() && !self.is_there(lane)? => return Ok(Vec::new()),
                Err(error) if error.is_not_found() && looks < LOOKS_MAX => looks += 1,
                result => return result,
            }
        }
    }

    fn is_there(&self, lane: LaneId) -> Result<bool, JournalError> {
        Ok(self.lanes_on_disk()?.contains(&lane))
    }

    fn look_into(&self, lane: LaneId) -> Result<Vec<Sequenced>, JournalError> {
        let (disk, settings) = (&self.0.disk, &self.0.settings);
        // Counters of its own: the lane's reader counts the damage.
        let aside = Shared::new(Arc::clone(disk), Settings::clone(settings), Clock::System);
        let mut reader = LaneReader::orphan(Arc::new(aside), lane, None)?;
        // A lane holds one kind of records.
        let first = insist(&mut reader, 1)?;
        if !first.iter().any(|(_, payload)| sequenced(payload).is_some()) {
            return Ok(Vec::new());
        }
        let Some(last) = reader.last_segment() else { return Ok(Vec::new()) };
        let folder = segment::lane_folder(&settings.folder, lane);
        let path = folder.join(segment::file_name(last));
        let durable = disk.open(&path).and_then(|file| file.sync_data()).and_then(|()| disk.sync_dir(&folder));
        durable.map_err(|error| JournalError::Read { path, error })?;
        reader.seek(last);
        let mut found = Vec::new();
        while !reader.finished() {
            let records = insist(&mut reader, READ_RECORDS)?;
            found.extend(records.iter().filter_map(|(_, payload)| sequenced(payload)));
        }
        Ok(found)
    }
}

/// The next records. What cannot be read, again and again, is passed over as damage, as by every reader.
fn insist(reader: &mut LaneReader, max_records: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
    let mut tries = 1..READ_ATTEMPTS_MAX;
    loop {
        match reader.next(max_records, READ_BYTES) {
            Err(error) if !error.is_not_found() && tries.next().is_some() => {}
            result => return result,
        }
    }
}

fn sequenced(payload: &[u8]) -> Option<Sequenced> {
    let event = EventRef::decode(payload).ok().filter(|event| event.sequence > 0)?;
    Some(Sequenced { sequence: event.sequence, id: event.id.try_into().ok()? })
}
