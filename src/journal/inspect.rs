//! Looks into a journal without touching it: nothing is claimed, created, cut or deleted, and a running server does not notice.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use super::{
    error::JournalError,
    reader::LaneReader,
    segment,
    shared::{Durability, Settings, Shared},
    sizes,
};
use crate::{
    core::time::Millis,
    io::{clock::Clock, disk::Disk},
};

/// A lane that changes so often while it is looked at is left out.
const LOOKS_MAX: u32 = 3;

/// One lane as found on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneSummary {
    pub lane: String,
    /// A process holds it; what it has not committed yet shows as torn bytes.
    pub live: bool,
    pub segments: u64,
    /// Sequence number of the oldest record, and the one behind the newest.
    pub first: u64,
    pub next: u64,
    /// Bytes of its files, reserved room included.
    pub bytes: u64,
    pub records: u64,
    /// Records that are gone because of damage.
    pub damaged: u64,
    /// Segments of which not even the number of records is known.
    pub unreadable_segments: u64,
    pub torn_bytes: u64,
    pub created: Option<Millis>,
}

/// Every lane in a journal folder, oldest first. A lane that vanishes meanwhile is left out.
pub fn inspect(disk: &Arc<dyn Disk>, journal: &Path) -> Result<Vec<LaneSummary>, JournalError> {
    let settings = Settings {
        folder: journal.to_path_buf(),
        durability: Durability::Process,
        sync_interval: std::time::Duration::ZERO,
        segment_bytes: 0,
        max_bytes: 0,
    };
    let shared = Arc::new(Shared::new(Arc::clone(disk), settings, Clock::System));
    let names = disk.list(journal).map_err(|error| JournalError::Read { path: journal.to_path_buf(), error })?;
    let mut lanes = Vec::new();
    for id in names.iter().filter_map(|name| segment::lane_of(name)) {
        let folder = segment::lane_folder(journal, id);
        let live = disk.is_locked(&folder.join(segment::LOCK_NAME)).unwrap_or(false);
        // A server that deletes a segment under our eyes makes us look again.
        let looks = (0..LOOKS_MAX).map(|_| {
            let reader = LaneReader::orphan(Arc::clone(&shared), id, None)?;
            summary(reader, live, &**disk, &folder)
        });
        let mut result = Ok(None);
        for look in looks {
            result = look.map(Some);
            if !matches!(&result, Err(error) if error.is_not_found()) {
                break;
            }
        }
        match result {
            Ok(summary) => lanes.extend(summary),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    lanes.sort_by(|a, b| (a.created, &a.lane).cmp(&(b.created, &b.lane)));
    Ok(lanes)
}

fn summary(mut reader: LaneReader, live: bool, disk: &dyn Disk, folder: &Path) -> Result<LaneSummary, JournalError> {
    let first = reader.position();
    let mut records = 0;
    while !reader.finished() {
        records += reader.next(1_000, 1 << 20)?.len() as u64;
    }
    let damage = reader.damage();
    Ok(LaneSummary {
        lane: reader.lane().to_string(),
        live,
        segments: reader.segments() as u64,
        first,
        next: reader.position(),
        bytes: sizes(disk, folder, |_| true).iter().map(|(_, bytes)| bytes).sum(),
        records,
        damaged: damage.records,
        unreadable_segments: damage.segments,
        torn_bytes: damage.torn_bytes,
        created: reader.created(),
    })
}
