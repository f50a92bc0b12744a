//! One record: 12 bytes of head, then the payload. Little endian.
//!
//! ```text
//! 0   u32  CRC-32C of everything behind it, XORed with the lane's key
//! 4   u32  bits 0..16 length of the payload, 16..30 index in its group, 30..32 kind (1 event, 2 seal)
//! 8   u32  low half of the sequence number
//! 12  …    payload
//! ```
//!
//! The key comes from the lane's random salt, so bytes that a visitor chose can never pass for a record when a reader looks
//! for the next good one behind damage. The kind is never 0, so zeros are never a record.
//!
//! The index says where in its group (what one write brought to the disk) a record stands. Whoever finds a good record knows
//! that every earlier group had been committed: a hole before it is damage. A hole inside the last group of a lane is a torn
//! write that nobody was promised.

use crate::core::limits::RECORD_PAYLOAD_MAX_BYTES;

pub(crate) const HEAD_BYTES: usize = 12;
/// An index from here on only says "far behind the start of its group".
const INDEX_MAX: u32 = (1 << 14) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Event = 1,
    /// The segment ends here; the sequence is the next segment's first.
    Seal = 2,
}

/// What keys the checksums of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) fn new(salt: u64) -> Key {
        Key((salt ^ (salt >> 32)) as u32)
    }

    fn checksum(self, covered: &[u8]) -> u32 {
        crc_fast::crc32_iscsi(covered) ^ self.0
    }
}

/// A head as read. Nothing in it is true before [`is_whole`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) len: usize,
    /// `None` is further behind than the field can say.
    pub(crate) index: Option<u32>,
    pub(crate) sequence_low: u32,
}

impl Head {
    pub(crate) fn record_bytes(&self) -> usize {
        HEAD_BYTES + self.len
    }

    /// The sequence number, which is `base` or less than 2^32 above it.
    pub(crate) fn sequence(&self, base: u64) -> u64 {
        base + u64::from(self.sequence_low.wrapping_sub(base as u32))
    }
}

/// Fills in the head of `record`, whose first [`HEAD_BYTES`] were left free.
#[inline]
pub(crate) fn finish(record: &mut [u8], key: Key, kind: Kind, sequence: u64, index: u64) {
    let len = record.len() - HEAD_BYTES;
    debug_assert!(len <= RECORD_PAYLOAD_MAX_BYTES);
    let index = u32::try_from(index).unwrap_or(INDEX_MAX).min(INDEX_MAX);
    let word = len as u32 | index << 16 | (kind as u32) << 30;
    record[4..8].copy_from_slice(&word.to_le_bytes());
    record[8..12].copy_from_slice(&(sequence as u32).to_le_bytes());
    let checksum = key.checksum(&record[4..]);
    record[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// A seal: everything before `next` was committed, and nothing follows in this segment.
pub(crate) fn seal(key: Key, next: u64) -> [u8; HEAD_BYTES] {
    let mut record = [0; HEAD_BYTES];
    finish(&mut record, key, Kind::Seal, next, 0);
    record
}

/// The head at the start of `bytes`, or `None` where no record can begin.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let word = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let sequence_low = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let len = (word & 0xffff) as usize;
    let index = word >> 16 & INDEX_MAX;
    let kind = match word >> 30 {
        1 if len <= RECORD_PAYLOAD_MAX_BYTES => Kind::Event,
        2 if len == 0 => Kind::Seal,
        _ => return None,
    };
    Some(Head { kind, len, index: (index < INDEX_MAX).then_some(index), sequence_low })
}

/// Whether the checksum of a whole record (head and payload, nothing behind it) is right.
#[inline]
pub(crate) fn is_whole(record: &[u8], key: Key) -> bool {
    record.len() >= HEAD_BYTES && record[..4] == key.checksum(&record[4..]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(payload: &[u8], key: Key, sequence: u64, index: u64) -> Vec<u8> {
        let mut record = vec![0; HEAD_BYTES];
        record.extend_from_slice(payload);
        finish(&mut record, key, Kind::Event, sequence, index);
        record
    }

    proptest! {
        #[test]
        fn there_and_back(payload in proptest::collection::vec(any::<u8>(), 0..300), salt: u64, base in 0..u64::MAX / 2,
                          ahead in 0..1_u64 << 32, index in 0..20_000_u64) {
            let key = Key::new(salt);
            let bytes = record(&payload, key, base + ahead, index);
            let head = head(&bytes).unwrap();
            prop_assert_eq!(head.kind, Kind::Event);
            prop_assert_eq!(head.record_bytes(), bytes.len());
            prop_assert_eq!(head.sequence(base), base + ahead);
            prop_assert_eq!(head.index, (index < u64::from(INDEX_MAX)).then_some(index as u32));
            prop_assert!(is_whole(&bytes, key));
        }

        #[test]
        fn no_flipped_bit_goes_unseen(payload in proptest::collection::vec(any::<u8>(), 0..200), salt: u64, bit: prop::sample::Index) {
            let key = Key::new(salt);
            let mut bytes = record(&payload, key, 7, 0);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let seen = head(&bytes).is_none_or(|head| head.record_bytes() != bytes.len() || !is_whole(&bytes, key));
            prop_assert!(seen);
        }
    }

    #[test]
    fn zeros_are_no_record_and_another_key_fits_nothing() {
        assert_eq!(head(&[0; 64]), None);
        let bytes = record(b"planted", Key::new(1), 7, 0);
        assert!(!is_whole(&bytes, Key::new(2)));
        assert!(is_whole(&seal(Key::new(9), 3), Key::new(9)));
    }

    #[test]
    fn the_overhead_is_at_most_16_bytes() {
        const { assert!(HEAD_BYTES <= 16) };
    }
}
