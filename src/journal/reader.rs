//! The reading side of a lane: what is committed, in order, from the files. A reader of a live lane stops at its committed
//! position; a reader of an orphan reads what is there, cuts the torn tail, and says what is damaged.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::JournalError,
    record::Key,
    scan::{Found, Scan},
    segment::{self, HEADER_BYTES, Header, HeaderRead},
    shared::{Condition, Shared, count},
    watch::LaneWatch,
};
use crate::{
    core::{id::LaneId, time::Millis},
    io::disk::{Disk, DiskFile, LockGuard},
};

/// What a reader found to be gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Committed records that cannot be read any more.
    pub records: u64,
    /// Bytes at the end of an orphan that were never committed as a whole.
    pub torn_bytes: u64,
    /// Segments of which not even the number of records is known.
    pub segments: u64,
}

#[derive(Debug)]
enum Source {
    Live(Arc<LaneWatch>),
    /// Without a claim it is only looked at.
    Orphan {
        claim: Option<Box<dyn LockGuard>>,
    },
}

#[derive(Debug)]
struct Open {
    first: u64,
    file: Box<dyn DiskFile>,
    scan: Scan,
}

#[derive(Debug)]
pub struct LaneReader {
    shared: Arc<Shared>,
    lane: LaneId,
    folder: PathBuf,
    source: Source,
    /// `None`: no segment tells the key, so nothing can be read.
    key: Option<Key>,
    /// First sequence numbers of the segments, ascending.
    segments: Vec<u64>,
    created: Option<Millis>,
    open: Option<Open>,
    /// What to hand out next.
    position: u64,
    /// Damage below it has been counted.
    counted: u64,
    ended: bool,
    damage: Damage,
    pub(crate) sequenced_to: Option<u64>,
}

impl LaneReader {
    pub(crate) fn live(shared: Arc<Shared>, watch: Arc<LaneWatch>) -> LaneReader {
        LaneReader {
            lane: watch.id,
            folder: watch.folder.clone(),
            key: Some(watch.key),
            segments: Vec::new(),
            created: None,
            open: None,
            position: 0,
            counted: 0,
            ended: false,
            damage: Damage::default(),
            sequenced_to: None,
            source: Source::Live(watch),
            shared,
        }
    }

    /// A lane that nobody writes. Without a claim it may only be looked at.
    pub(crate) fn orphan(
        shared: Arc<Shared>,
        lane: LaneId,
        claim: Option<Box<dyn LockGuard>>,
    ) -> Result<LaneReader, JournalError> {
        let folder = segment::lane_folder(&shared.settings.folder, lane);
        let mut reader = LaneReader {
            lane,
            key: None,
            segments: Vec::new(),
            created: None,
            open: None,
            position: 0,
            counted: 0,
            ended: false,
            damage: Damage::default(),
            sequenced_to: None,
            source: Source::Orphan { claim: None },
            folder,
            shared,
        };
        reader.list().map_err(|error| JournalError::Read { path: reader.folder.clone(), error })?;
        reader.read_headers()?;
        reader.position = reader.segments.first().copied().unwrap_or(0);
        if claim.is_some() {
            reader.shared.orphan_claimed();
            reader.source = Source::Orphan { claim };
        }
        Ok(reader)
    }

    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The live lane behind it; `None` for an orphan.
    pub fn watch(&self) -> Option<&Arc<LaneWatch>> {
        match &self.source {
            Source::Live(watch) => Some(watch),
            Source::Orphan { .. } => None,
        }
    }

    /// The sequence number behind everything that was handed out or is known to be gone.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When an orphan's oldest segment was begun.
    pub fn created(&self) -> Option<Millis> {
        self.created
    }

    /// The highest number of the outbox that a claimed orphan holds; `None` for a lane of clicks.
    pub fn sequenced_to(&self) -> Option<u64> {
        self.sequenced_to
    }

    /// How many segments were there when it last looked.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// First sequence number of the last segment, as it last looked.
    pub(crate) fn last_segment(&self) -> Option<u64> {
        self.segments.last().copied()
    }

    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Goes to a sink's position. A sink that does not know the lane says nothing, and the reader begins with what is there.
    pub fn seek(&mut self, sequence: u64) {
        self.position = sequence;
        self.counted = self.counted.max(sequence);
        self.open = None;
        self.ended = false;
        if let Some(watch) = self.watch() {
            watch.delivered(sequence);
        }
    }

    /// Whether everything was handed out and nothing will follow.
    pub fn finished(&self) -> bool {
        match &self.source {
            Source::Live(watch) => watch.is_closed() && self.position >= watch.committed(),
            Source::Orphan { .. } => self.ended,
        }
    }

    // === Reading ===

    /// The next records: at most `max_records`, and no more once their payloads reach `max_bytes`. None: there is nothing
    /// (yet). The batch's end is [`LaneReader::position`]. An error (the disk does not read) loses nothing: call again.
    pub fn next(&mut self, max_records: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        let mut records = Vec::new();
        match self.read(max_records, max_bytes, &mut records) {
            // What was read before the error is good: hand it out, and let the next call meet the error again.
            Err(error) if records.is_empty() => Err(JournalError::Read { path: self.folder.clone(), error }),
            _ => Ok(records),
        }
    }

    fn read(&mut self, max_records: usize, max_bytes: usize, records: &mut Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let committed = self.watch().map(|watch| watch.committed());
        if committed.is_some()
            && let Some(open) = &mut self.open
        {
            open.scan.refresh();
        }
        let mut bytes = 0;
        while !self.ended && records.len() < max_records && bytes < max_bytes {
            if committed.is_some_and(|committed| self.position >= committed) || !self.open_segment()? {
                break;
            }
            let Some(open) = &mut self.open else { break };
            let next_segment = self.segments.iter().copied().find(|first| *first > open.first);
            let limit = next_segment.unwrap_or(u64::MAX).min(committed.unwrap_or(u64::MAX));
            match open.scan.next(&*open.file, limit) {
                Ok(Found::Record { sequence }) => {
                    if sequence >= self.position {
                        let payload = open.scan.payload().to_vec();
                        bytes += payload.len();
                        records.push((sequence, payload));
                        self.position = sequence + 1;
                    }
                }
                Ok(Found::Seal { .. }) => self.end_of_segment(next_segment, committed, true)?,
                Ok(Found::End) => self.end_of_segment(next_segment, committed, false)?,
                Err(error) => return Err(error),
            }
            self.take_damage();
        }
        Ok(())
    }

    /// Opens the segment that holds the position, if it is not open. `false`: there is nothing to read.
    fn open_segment(&mut self) -> io::Result<bool> {
        if self.open.is_some() {
            return Ok(true);
        }
        let (Some(key), Some(first)) = (self.key, self.holder(self.position)?) else {
            self.give_up();
            return Ok(false);
        };
        let file = self.shared.disk.open(&self.folder.join(segment::file_name(first)))?;
        let mut scan = Scan::new(key, first);
        scan.floor = self.counted;
        if self.position < first {
            // Whole segments are missing before this one.
            self.lose(self.counted.max(self.position), first);
            self.position = first;
        }
        self.open = Some(Open { first, file, scan });
        Ok(true)
    }

    /// The segment that holds a sequence number, or the first one behind it.
    fn holder(&mut self, sequence: u64) -> io::Result<Option<u64>> {
        if self.watch().is_some() {
            self.list()?;
        }
        let at = self.segments.partition_point(|first| *first <= sequence);
        Ok(self.segments.get(at.saturating_sub(1)).copied())
    }

    /// A lane without anything readable.
    fn give_up(&mut self) {
        match self.watch().map(|watch| watch.committed()) {
            Some(committed) => {
                self.lose(self.counted.max(self.position), committed);
                self.position = committed;
            }
            None => {
                if let Some(last) = self.segments.last().copied() {
                    self.lose(self.counted.max(self.position), last);
                    self.position = self.position.max(last);
                    self.damage.segments += 1;
                    count(&self.shared.counters.unreadable_segments, 1);
                }
                self.ended = true;
            }
        }
    }

    /// Nothing good follows in the open segment: goes on with the next one, or stays at the end.
    fn end_of_segment(&mut self, next: Option<u64>, committed: Option<u64>, sealed: bool) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Some(next) = next {
            open.scan.all_committed_below(next);
            self.position = self.position.max(next);
            return self.close_segment();
        }
        let Some(committed) = committed else {
            // The last segment of an orphan.
            if !sealed {
                self.damage.torn_bytes += open.scan.torn_bytes;
                count(&self.shared.counters.torn_bytes, open.scan.torn_bytes);
            }
            self.position = self.position.max(open.scan.expected);
            self.ended = true;
            return self.close_segment();
        };
        // A live lane: the rest stands in a segment that was begun since, or is damaged.
        let first = open.first;
        self.list()?;
        if self.segments.iter().any(|other| *other > first) {
            return Ok(());
        }
        if let Some(open) = &mut self.open {
            open.scan.all_committed_below(committed);
        }
        self.position = self.position.max(committed);
        Ok(())
    }

    fn close_segment(&mut self) -> io::Result<()> {
        self.take_damage();
        self.open = None;
        Ok(())
    }

    /// Books what the scan found to be missing.
    fn take_damage(&mut self) {
        if let Some(open) = &mut self.open {
            let damaged = std::mem::take(&mut open.scan.missing.damaged);
            self.counted = self.counted.max(open.scan.expected);
            open.scan.floor = self.counted;
            self.damage.records += damaged;
            count(&self.shared.counters.damaged, damaged);
        }
    }

    fn lose(&mut self, from: u64, to: u64) {
        let lost = to.saturating_sub(from);
        self.damage.records += lost;
        self.counted = self.counted.max(to);
        count(&self.shared.counters.damaged, lost);
    }

    fn list(&mut self) -> io::Result<()> {
        self.segments = segments_in(&*self.shared.disk, &self.folder)?;
        Ok(())
    }

    /// Finds the lane's key in any header, and refuses a lane that a newer program wrote.
    fn read_headers(&mut self) -> Result<(), JournalError> {
        for first in &self.segments {
            let path = self.folder.join(segment::file_name(*first));
            match read_header(&*self.shared.disk, &path) {
                Ok(HeaderRead::Good(header)) if header.lane == self.lane => {
                    self.key.get_or_insert(Key::new(header.salt));
                    self.created.get_or_insert(header.created);
                }
                Ok(HeaderRead::Newer(version)) => return Err(JournalError::Newer { path, version }),
                // Damaged or another lane's: its neighbours may know the key. Unreadable: reading will say so.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    // === Deleting ===

    /// The sink holds everything below `next`: segments that lie wholly before it go.
    pub fn delivered(&mut self, next: u64) -> Result<(), JournalError> {
        if let Some(watch) = self.watch() {
            watch.delivered(next);
            self.list().map_err(|error| JournalError::Read { path: self.folder.clone(), error })?;
        }
        let done = self.segments.iter().skip(1).take_while(|first| **first <= next).count();
        if done == 0 {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| open.first < self.segments[done]) {
            self.open = None;
        }
        for first in self.segments.drain(..done) {
            let path = self.folder.join(segment::file_name(first));
            remove(&*self.shared.disk, &path)?;
            self.shared.ledger().set(path, 0);
        }
        self.sync_folder(&self.folder)
    }

    /// Deletes the lane for good. Only afterwards may the sink forget it: a segment that came back with a power cut would
    /// be delivered again to a sink that does not know it.
    pub fn remove(&mut self) -> Result<(), JournalError> {
        debug_assert!(self.finished());
        self.open = None;
        let disk = Arc::clone(&self.shared.disk);
        let fail = |error| JournalError::Remove { path: self.folder.clone(), error };
        match disk.list(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
            Ok(names) => {
                for name in names.iter().filter(|name| *name != segment::LOCK_NAME) {
                    let path = self.folder.join(name);
                    remove(&*disk, &path)?;
                    self.shared.ledger().set(path, 0);
                }
                self.sync_folder(&self.folder)?;
                remove(&*disk, &self.folder.join(segment::LOCK_NAME))?;
                match disk.remove_dir(&self.folder) {
                    // Somebody looked at it in the meantime and left a lock file: an empty lane, which they will remove.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
                    _ => {}
                }
            }
        }
        self.sync_folder(&self.shared.settings.folder)?;
        self.shared.set_condition(self.lane, Condition::Good);
        self.shared.lanes().remove(&self.lane);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), JournalError> {
        self.shared.disk.sync_dir(folder).map_err(|error| JournalError::Remove { path: folder.to_path_buf(), error })
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        if let Source::Orphan { claim: Some(_) } = self.source {
            self.shared.orphan_gone();
        }
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), JournalError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::Remove { path: path.to_path_buf(), error })
        }
        _ => Ok(()),
    }
}

/// First sequence numbers of a lane's segments, ascending.
pub(crate) fn segments_in(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let mut segments: Vec<u64> = disk.list(folder)?.iter().filter_map(|name| segment::first_of(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

pub(crate) fn read_header(disk: &dyn Disk, path: &Path) -> io::Result<HeaderRead> {
    let file = disk.open(path)?;
    let mut block = vec![0; HEADER_BYTES];
    let mut held = 0;
    while held < block.len() {
        match file.read_at(&mut block[held..], held as u64)? {
            0 => break,
            read => held += read,
        }
    }
    Ok(Header::decode(&block[..held]))
}
