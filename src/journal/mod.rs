//! The journal: the durable record of every click. **Record, then answer.**
//!
//! # Promise
//!
//! A record whose ticket said "committed" is delivered exactly once and in its lane's order to whoever reads the lane, through
//! kill -9 at any moment, and with [`Durability::Disk`] through a power cut. A record that was refused is never delivered.
//! Neither damage nor a full disk nor a failed sync stops the start or the process: what is lost is counted.
//!
//! # Format
//!
//! ```text
//! DATA/journal/lane-<32 hex>/lock                       held (flock) by whoever owns the lane
//!                           /00000000000000000000.seg   records from sequence number 0 on     (see `segment`, `record`)
//!                           /00000000000000104729.seg   … the next segment
//!                           /7.spare                    a reserved file that waits to become the next one
//! DATA/journal/outbox.lock                              held by the process that moves the catalog's outbox
//! ```
//!
//! # Who does what
//!
//! - A process opens **fresh** lanes, one a worker, and never appends to an old one. So recovery only reads, a new version of the
//!   program runs beside the old one, and no sequence number is ever given twice.
//! - A [`LaneWriter`] (wrapped by [`Lane`] inside the event loop) appends. Segments are sealed when they are full, when they fail,
//!   and when the lane is closed.
//! - A [`LaneReader`] reads what is committed. When the sink says that it holds a position, the reader deletes the segments
//!   before it; when a closed lane is finished, it deletes the folder, and then the sink may forget the lane.
//! - A lane of the catalog's outbox ([`Journal::durable_lane`]) always waits for the disk, and its records carry the outbox's
//!   numbers, which [`Journal::sequenced`] finds again (see `sequenced`).
//! - A lane whose lock nobody holds is an orphan: [`Journal::claim_orphans`] takes it, reads what is there, and deletes it. That
//!   is the recovery after a crash as well as the hand-over of an upgrade.
//!
//! # Torn or damaged
//!
//! Zeros end a segment. Bad bytes with nothing good behind them at the end of an orphan are a **torn tail**: never committed, cut.
//! Bad bytes anywhere else are **damage**: the reader goes on at the next good record, and the sequence numbers tell how many are
//! gone. A hole inside the last group of an orphan, which one unsynced write brought, is torn as well: nobody was promised it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

mod error;
mod inspect;
mod job;
mod lane;
mod reader;
mod record;
mod scan;
mod segment;
mod sequenced;
mod shared;
mod shed;
mod watch;
mod writer;

pub use error::{AppendError, JournalError};
pub use inspect::{LaneSummary, inspect};
pub use job::{Done, Job};
pub use lane::{Committed, Lane};
pub use reader::{Damage, LaneReader};
pub use scan::read_hostile_segment;
pub use sequenced::Sequenced;
pub use shared::{Condition, Durability, Settings, Stats};
pub use watch::LaneWatch;
pub use writer::{LaneWriter, Ticket, Written};

use shared::Shared;

use crate::{
    core::id::LaneId,
    io::{
        clock::Clock,
        disk::{Disk, LockGuard},
    },
};

/// Folders that are tried for a fresh lane.
const LANE_TRIES: u32 = 3;

/// The lanes of one data folder, as this process sees them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Shared>);

impl Journal {
    /// Makes the folder where it is missing, and tries at once whether it can be written.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings, clock: Clock) -> Result<Journal, JournalError> {
        let folder = settings.folder.clone();
        let unusable = |action| {
            let path = folder.clone();
            move |error| JournalError::Unusable { action, path, error }
        };
        disk.create_dir_all(&folder).map_err(unusable("create"))?;
        let probe = folder.join(format!("probe-{}", random()));
        match disk.create(&probe) {
            Ok(_) => disk.remove_file(&probe).map_err(unusable("write to"))?,
            // Visitors go first: lanes refuse records until there is room.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            Err(error) => return Err(unusable("write to")(error)),
        }
        disk.sync_dir(&folder).map_err(unusable("sync"))?;
        // The folder's own name, and that of every folder that was just made for it, must be as durable as what is in it.
        // Folders that we may not open were there before.
        for above in folder.ancestors().skip(1) {
            let _ = disk.sync_dir(if above == Path::new("") { Path::new(".") } else { above });
        }
        let journal = Journal(Arc::new(Shared::new(disk, settings, clock)));
        journal.look_at_foreign_lanes();
        Ok(journal)
    }

    /// A fresh lane, for one worker. A disk that is full already does not stop it: it refuses records until there is room.
    pub fn lane(&self) -> Result<LaneWriter, JournalError> {
        self.fresh_lane(self.0.settings.durability)
    }

    fn fresh_lane(&self, durability: Durability) -> Result<LaneWriter, JournalError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.lane_as(LaneId(random()), random() as u64, durability) {
                // Another process that looks for orphans may take the folder before we lock it: the next one is ours.
                Err(JournalError::Unusable { action: "lock", .. }) if tries < LANE_TRIES => {}
                result => return result,
            }
        }
    }

    /// The same with chosen randomness: `id` must be new for ever, `salt` must be a secret.
    pub fn lane_with(&self, id: LaneId, salt: u64) -> Result<LaneWriter, JournalError> {
        self.lane_as(id, salt, self.0.settings.durability)
    }

    /// A fresh lane in which a record counts as committed when the disk has confirmed it, whatever the settings say.
    pub fn durable_lane(&self) -> Result<LaneWriter, JournalError> {
        self.fresh_lane(Durability::Disk)
    }

    fn lane_as(&self, id: LaneId, salt: u64, durability: Durability) -> Result<LaneWriter, JournalError> {
        let shared = &self.0;
        let folder = segment::lane_folder(&shared.settings.folder, id);
        let unusable = |action, path: &Path| {
            let path = path.to_path_buf();
            move |error| JournalError::Unusable { action, path, error }
        };
        shared.disk.create_dir_all(&folder).map_err(unusable("create", &folder))?;
        let lock = folder.join(segment::LOCK_NAME);
        let claim = shared
            .disk
            .lock(&lock)
            .and_then(|claim| claim.ok_or_else(|| io::Error::other("somebody else holds the lock of a new lane")))
            .map_err(unusable("lock", &lock))?;
        let root = &shared.settings.folder;
        shared.disk.sync_dir(root).map_err(unusable("sync", root))?;
        let watch = Arc::new(LaneWatch::new(id, folder, salt, claim));
        shared.lanes().insert(id, Arc::clone(&watch));
        let mut writer = LaneWriter::new(Arc::clone(shared), watch, durability);
        writer.begin_first_segment();
        Ok(writer)
    }

    /// This process's lanes, closed ones too, until their reader has removed them.
    pub fn live(&self) -> Vec<Arc<LaneWatch>> {
        self.0.lanes().values().cloned().collect()
    }

    /// A reader of a lane of this process, from its first record on. One lane has one reader.
    pub fn reader(&self, lane: &Arc<LaneWatch>) -> LaneReader {
        LaneReader::live(Arc::clone(&self.0), Arc::clone(lane))
    }

    /// Claims every lane that nobody holds. Call it at the start and every second: another process may have ended.
    /// What cannot be claimed is left alone, and said.
    pub fn claim_orphans(&self) -> Result<Vec<LaneReader>, JournalError> {
        let shared = &self.0;
        let mut readers = Vec::new();
        let on_disk = self.lanes_on_disk()?;
        shared.forget_conditions(|lane| !on_disk.contains(&lane));
        for id in on_disk {
            if shared.lanes().contains_key(&id) {
                continue;
            }
            let folder = segment::lane_folder(&shared.settings.folder, id);
            // An error is a lane that somebody has removed in the meantime, or one that we may not touch.
            let Ok(Some(claim)) = shared.disk.lock(&folder.join(segment::LOCK_NAME)) else { continue };
            let claimed = LaneReader::orphan(Arc::clone(shared), id, Some(claim)).and_then(|mut reader| {
                let sequenced = self.sequenced_in(id)?;
                reader.sequenced_to = sequenced.iter().map(|record| record.sequence).max();
                Ok(reader)
            });
            match claimed {
                Ok(reader) => {
                    for (path, bytes) in sizes(&*shared.disk, &folder, |_| true) {
                        shared.ledger().set(path, bytes);
                    }
                    readers.push(reader);
                }
                Err(error) => shared.set_condition(id, Condition::Degraded(format!("lane {id} waits: {error}"))),
            }
        }
        self.look_at_foreign_lanes();
        Ok(readers)
    }

    /// Claims a lock file of the journal's folder, for what only one of the processes on it may do; `None`: another one has it.
    pub fn claim(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.0.disk.lock(&self.0.settings.folder.join(name))
    }

    /// Wakes who waits for commits. Take it, look for work, and only then await it: a commit in between is not missed.
    pub fn listen(&self) -> Listening<'_> {
        self.0.signal.arm();
        Listening(&self.0)
    }

    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// How the worst lane is.
    pub fn condition(&self) -> Condition {
        self.0.condition()
    }

    /// Lanes on disk that this process did not make: orphans until they are drained, and those of another running process.
    pub fn other_lanes(&self) -> Result<usize, JournalError> {
        let on_disk = self.lanes_on_disk()?;
        let ours = self.0.lanes();
        Ok(on_disk.iter().filter(|lane| !ours.contains_key(lane)).count())
    }

    fn lanes_on_disk(&self) -> Result<Vec<LaneId>, JournalError> {
        let root = &self.0.settings.folder;
        let names = self.0.disk.list(root).map_err(|error| JournalError::Read { path: root.clone(), error })?;
        Ok(names.iter().filter_map(|name| segment::lane_of(name)).collect())
    }

    /// Lanes of other processes count against `max_bytes` too.
    fn look_at_foreign_lanes(&self) {
        let Ok(lanes) = self.lanes_on_disk() else { return };
        let mut foreign = 0;
        for id in lanes {
            let folder = segment::lane_folder(&self.0.settings.folder, id);
            let unknown = sizes(&*self.0.disk, &folder, |path| !self.0.ledger().knows(path));
            foreign += unknown.into_iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        self.0.ledger().foreign = foreign;
    }
}

/// See [`Journal::listen`].
#[derive(Debug)]
#[must_use = "nothing waits until this is awaited"]
pub struct Listening<'a>(&'a Shared);

impl Listening<'_> {
    /// Returns when a lane has committed or closed since.
    pub async fn changed(self) {
        self.0.signal.raised().await;
    }
}

fn random() -> u128 {
    Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
}

/// Files of a lane that take room, with their sizes. What vanishes meanwhile takes none.
fn sizes(disk: &dyn Disk, folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<(PathBuf, u64)> {
    let names = disk.list(folder).unwrap_or_default();
    names
        .iter()
        .filter(|name| segment::first_of(name).is_some() || name.ends_with(segment::SPARE_SUFFIX))
        .map(|name| folder.join(name))
        .filter(|path| wanted(path))
        .filter_map(|path| {
            let bytes = disk.open(&path).and_then(|file| file.len()).ok()?;
            Some((path, bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests;
