//! Reads one segment's records in order, over damage.
//!
//! Where no good record stands, the scan looks at every further byte for the next one: a record whose checksum fits the lane's
//! key and whose sequence number the bytes between make possible. The sequence numbers tell how many records are missing.

use std::{io, ops::Range};

use super::{
    record::{self, HEAD_BYTES, Head, Key, Kind},
    segment::{HEADER_BYTES, Header, HeaderRead},
};
use crate::{
    core::limits::{READ_ATTEMPTS_MAX, READ_BYTES, RECORD_PAYLOAD_MAX_BYTES},
    io::disk::DiskFile,
};

/// What stands next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole record; its payload is [`Scan::payload`] until the next call.
    Record { sequence: u64 },
    /// The segment was ended on purpose; `next` is the sequence number that follows.
    Seal { next: u64 },
    /// Nothing good follows.
    End,
}

/// Records that a scan knows to be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// They were committed, and are gone.
    pub(crate) damaged: u64,
    /// Missing inside the newest group that was seen, whose commit nobody has proved yet…
    undecided: u64,
    /// …and the sequence number that this group began with.
    undecided_group: u64,
}

#[derive(Debug)]
pub(crate) struct Scan {
    key: Key,
    /// First sequence number of the segment.
    base: u64,
    /// Where the next record should begin in the file.
    offset: u64,
    /// Its sequence number.
    pub(crate) expected: u64,
    /// Missing records below it do not matter to anybody.
    pub(crate) floor: u64,
    pub(crate) missing: Missing,
    /// Bytes behind the last good record that are not zero, once the end was found.
    pub(crate) torn_bytes: u64,
    window: Vec<u8>,
    window_at: u64,
    payload: Range<usize>,
    failed_reads: u32,
}

impl Scan {
    pub(crate) fn new(key: Key, base: u64) -> Scan {
        Scan {
            key,
            base,
            offset: HEADER_BYTES as u64,
            expected: base,
            floor: 0,
            missing: Missing::default(),
            torn_bytes: 0,
            window: Vec::new(),
            window_at: 0,
            payload: 0..0,
            failed_reads: 0,
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.window[self.payload.clone()]
    }

    /// Forgets what was read, because somebody may have written since.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
    }

    /// The next record below `limit`. An error leaves everything as it was: call again.
    pub(crate) fn next(&mut self, file: &dyn DiskFile, limit: u64) -> io::Result<Found> {
        if self.expected >= limit {
            return Ok(Found::End);
        }
        match self.candidate(file, self.offset, limit)? {
            Some(head) => Ok(self.accept(self.offset, &head)),
            None => self.resync(file, limit),
        }
    }

    /// All that was undecided had been committed after all.
    pub(crate) fn all_committed_below(&mut self, next: u64) {
        self.missing.damaged += std::mem::take(&mut self.missing.undecided);
        self.missing.damaged += next.saturating_sub(self.expected.max(self.floor));
        self.expected = self.expected.max(next);
    }

    /// A good and plausible record at `at`.
    fn candidate(&mut self, file: &dyn DiskFile, at: u64, limit: u64) -> io::Result<Option<Head>> {
        let Some(start) = self.fill(file, at, HEAD_BYTES)? else { return Ok(None) };
        let Some(head) = record::head(&self.window[start..]) else { return Ok(None) };
        // What was skipped may have held so many records, and not one more.
        let skipped_max = (at - self.offset) / HEAD_BYTES as u64;
        let sequence = head.sequence(self.base);
        let in_reach = sequence >= self.expected && sequence - self.expected <= skipped_max;
        let in_limit = match head.kind {
            Kind::Event => sequence < limit,
            Kind::Seal => sequence <= limit,
        };
        if !in_reach || !in_limit {
            return Ok(None);
        }
        let Some(start) = self.fill(file, at, head.record_bytes())? else { return Ok(None) };
        let record = &self.window[start..start + head.record_bytes()];
        Ok(record::is_whole(record, self.key).then_some(head))
    }

    fn accept(&mut self, at: u64, head: &Head) -> Found {
        let sequence = head.sequence(self.base);
        let group = match (head.kind, head.index) {
            (Kind::Seal, _) => sequence,
            (Kind::Event, Some(index)) => sequence.saturating_sub(u64::from(index)),
            (Kind::Event, None) => 0,
        };
        self.count_missing(sequence, group);
        self.offset = at + head.record_bytes() as u64;
        match head.kind {
            Kind::Event => {
                self.expected = sequence + 1;
                let start = (at - self.window_at) as usize;
                self.payload = start + HEAD_BYTES..start + head.record_bytes();
                Found::Record { sequence }
            }
            Kind::Seal => {
                self.expected = sequence;
                Found::Seal { next: sequence }
            }
        }
    }

    /// A good record of the group that began with `group` shows that everything before that group was committed.
    fn count_missing(&mut self, sequence: u64, group: u64) {
        let missing = &mut self.missing;
        if missing.undecided > 0 && group > missing.undecided_group {
            missing.damaged += std::mem::take(&mut missing.undecided);
        }
        let from = self.expected.max(self.floor);
        if from < sequence {
            let committed = group.clamp(from, sequence);
            missing.damaged += committed - from;
            missing.undecided += sequence - committed;
            missing.undecided_group = group;
        }
    }

    /// Looks for the next good record behind a bad place.
    fn resync(&mut self, file: &dyn DiskFile, limit: u64) -> io::Result<Found> {
        let mut at = self.offset;
        let mut last_non_zero = None;
        while let Some(start) = self.fill(file, at, 1)? {
            // A head has a byte that is not zero in its second four: skip zeros quickly.
            match self.window[start..].iter().position(|byte| *byte != 0) {
                None => {
                    at = self.window_at + self.window.len() as u64;
                    continue;
                }
                Some(zeros) => {
                    let non_zero = at + zeros as u64;
                    last_non_zero = last_non_zero.max(Some(non_zero));
                    at = at.max((non_zero + 1).saturating_sub(8));
                    while at <= non_zero {
                        if at > self.offset
                            && let Some(head) = self.candidate(file, at, limit)?
                        {
                            return Ok(self.accept(at, &head));
                        }
                        at += 1;
                    }
                }
            }
        }
        self.torn_bytes = last_non_zero.map_or(0, |last| last + 1 - self.offset);
        Ok(Found::End)
    }

    /// Makes sure that the window holds `len` bytes from `at`; their place in it, or `None` at the end of the file.
    fn fill(&mut self, file: &dyn DiskFile, at: u64, len: usize) -> io::Result<Option<usize>> {
        debug_assert!(len <= HEAD_BYTES + RECORD_PAYLOAD_MAX_BYTES);
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if held.contains(&at) && at + len as u64 <= held.end {
            return Ok(Some((at - self.window_at) as usize));
        }
        let keep = if held.contains(&at) { (at - self.window_at) as usize } else { self.window.len() };
        self.window.drain(..keep);
        self.window_at = at;
        while self.window.len() < len {
            let held = self.window.len();
            let from = at + held as u64;
            self.window.resize(held + READ_BYTES, 0);
            let read = match file.read_at(&mut self.window[held..], from) {
                Ok(read) => read,
                Err(error) => match self.read_around(file, held, from) {
                    Some(read) => read,
                    None => {
                        self.window.truncate(held);
                        return Err(error);
                    }
                },
            };
            self.window.truncate(held + read);
            if read == 0 {
                return Ok(None);
            }
        }
        self.failed_reads = 0;
        Ok(Some(0))
    }

    /// A disk that cannot read a place, again and again, has damaged it: reads block by block, and takes what cannot be read
    /// for garbage. `None`: too early for that.
    fn read_around(&mut self, file: &dyn DiskFile, held: usize, from: u64) -> Option<usize> {
        const BLOCK_BYTES: usize = 4096;
        self.failed_reads += 1;
        if self.failed_reads < READ_ATTEMPTS_MAX {
            return None;
        }
        let left = file.len().ok()?.saturating_sub(from).min(READ_BYTES as u64) as usize;
        let mut at = 0;
        while at < left {
            // Up to the next block's border, so that one bad block costs one block.
            let len = (BLOCK_BYTES - (from + at as u64) as usize % BLOCK_BYTES).min(left - at);
            let block = &mut self.window[held + at..held + at + len];
            match file.read_at(block, from + at as u64) {
                Ok(read) if read > 0 => at += read,
                _ => {
                    block.fill(0xff);
                    at += len;
                }
            }
        }
        Some(left)
    }
}

/// Reads bytes that anybody may have written, as a segment, and returns how many records it found. For the fuzz target:
/// whatever the bytes are, this ends, does not panic, and its sequence numbers rise.
pub fn read_hostile_segment(bytes: &[u8]) -> u64 {
    let (key, base) = match Header::decode(bytes) {
        HeaderRead::Good(header) => (Key::new(header.salt), header.first),
        _ => (Key::new(0), 0),
    };
    let file = Bytes(bytes);
    let mut scan = Scan::new(key, base.min(u64::MAX >> 1));
    let mut records = 0;
    let mut lowest = scan.expected;
    while let Ok(Found::Record { sequence }) = scan.next(&file, u64::MAX) {
        assert!(sequence >= lowest, "{sequence} follows {lowest}");
        assert!(scan.payload().len() <= RECORD_PAYLOAD_MAX_BYTES);
        lowest = sequence + 1;
        records += 1;
    }
    assert!(scan.torn_bytes <= bytes.len() as u64);
    records
}

/// Bytes that look like a file.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl DiskFile for Bytes<'_> {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
