//! A segment file: its name, and the header that stands before its records. Little endian.
//!
//! ```text
//! 0     64 bytes  header
//! 2048  64 bytes  the same again, in another sector: either one is enough
//! 4096  …         records, then zeros to the end of what was reserved
//!
//! 0   8 bytes  magic            32  u64  first sequence number
//! 8   u32      format version   40  i64  created, milliseconds since the Unix epoch
//! 12  u32      0                48  u64  salt of the lane
//! 16  u128     lane             56  u32  0
//!                               60  u32  CRC-32C of the 60 bytes before
//! ```
//!
//! All segments of a lane carry the same salt: a record's checksum is made before it is known which segment it goes to, and a
//! segment that lost both headers can still be read with the key that its neighbours tell.

use std::path::{Path, PathBuf};

use crate::core::{id::LaneId, time::Millis};

/// Where records begin.
pub(crate) const HEADER_BYTES: usize = 4096;
const COPIES_AT: [usize; 2] = [0, 2048];
const COPY_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"FPOSTSEG";
const VERSION: u32 = 1;
const LANE_PREFIX: &str = "lane-";
const SUFFIX: &str = ".seg";
pub(crate) const SPARE_SUFFIX: &str = ".spare";
pub(crate) const LOCK_NAME: &str = "lock";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) lane: LaneId,
    pub(crate) first: u64,
    pub(crate) created: Millis,
    pub(crate) salt: u64,
}

/// What stands where the header should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    Good(Header),
    Damaged,
    /// A newer format, which this program must leave alone.
    Newer(u32),
}

impl Header {
    /// The whole block before the records.
    pub(crate) fn encode(&self) -> Box<[u8; HEADER_BYTES]> {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        copy[16..32].copy_from_slice(&self.lane.0.to_le_bytes());
        copy[32..40].copy_from_slice(&self.first.to_le_bytes());
        copy[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        copy[48..56].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = crc_fast::crc32_iscsi(&copy[..60]);
        copy[60..].copy_from_slice(&checksum.to_le_bytes());
        let mut block = Box::new([0; HEADER_BYTES]);
        for at in COPIES_AT {
            block[at..at + COPY_BYTES].copy_from_slice(&copy);
        }
        block
    }

    /// Reads whichever copy is good.
    pub(crate) fn decode(block: &[u8]) -> HeaderRead {
        let mut result = HeaderRead::Damaged;
        for at in COPIES_AT {
            match block.get(at..at + COPY_BYTES).map_or(HeaderRead::Damaged, decode_copy) {
                HeaderRead::Damaged => {}
                HeaderRead::Good(header) => return HeaderRead::Good(header),
                newer @ HeaderRead::Newer(_) => result = newer,
            }
        }
        result
    }
}

fn decode_copy(copy: &[u8]) -> HeaderRead {
    let u32_at = |at: usize| copy[at..at + 4].iter().rev().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if copy[..8] != MAGIC || crc_fast::crc32_iscsi(&copy[..60]) != u32_at(60) {
        return HeaderRead::Damaged;
    }
    match u32_at(8) {
        VERSION => HeaderRead::Good(Header {
            lane: LaneId(u128::from(u64_at(16)) | u128::from(u64_at(24)) << 64),
            first: u64_at(32),
            created: Millis(u64_at(40) as i64),
            salt: u64_at(48),
        }),
        version => HeaderRead::Newer(version),
    }
}

/// `00000000000000000042.seg`
pub(crate) fn file_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first sequence number that a file's name tells; `None` for a file that is no segment.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

pub(crate) fn lane_folder(journal: &Path, lane: LaneId) -> PathBuf {
    journal.join(format!("{LANE_PREFIX}{lane}"))
}

/// The lane that a folder's name tells.
pub(crate) fn lane_of(name: &str) -> Option<LaneId> {
    let digits = name.strip_prefix(LANE_PREFIX)?;
    (digits.len() == 32).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            lane: LaneId(0x0123_4567_89ab_cdef << 40),
            first: 42,
            created: Millis(1_772_368_200_250),
            salt: 7 << 50,
        }
    }

    #[test]
    fn either_copy_of_the_header_is_enough() {
        let good = header().encode();
        for bytes in [0..2048, 2048..4096] {
            let mut block = good.clone();
            block[bytes].fill(0xa5);
            assert_eq!(Header::decode(&block[..]), HeaderRead::Good(header()));
        }
        let mut block = good.clone();
        block[20] ^= 1;
        block[2048 + 61] ^= 1;
        assert_eq!(Header::decode(&block[..]), HeaderRead::Damaged);
        assert_eq!(Header::decode(&good[..10]), HeaderRead::Damaged);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut copy: [u8; 64] = header().encode()[..64].try_into().unwrap();
        copy[8] = 9;
        let checksum = crc_fast::crc32_iscsi(&copy[..60]);
        copy[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::decode(&copy), HeaderRead::Newer(9));
    }

    #[test]
    fn names_there_and_back() {
        assert_eq!(first_of(&file_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(first_of("00000000000000000042.seg"), Some(42));
        for wrong in
            ["42.seg", "0000000000000000004x.seg", "lock", "+0000000000000000042.seg", "99999999999999999999.seg"]
        {
            assert_eq!(first_of(wrong), None, "{wrong}");
        }
        let folder = lane_folder(Path::new("j"), header().lane);
        assert_eq!(lane_of(folder.file_name().unwrap().to_str().unwrap()), Some(header().lane));
        assert_eq!(lane_of("lane-1"), None);
    }
}
