//! Rows of one insert, encoded as ClickHouse's RowBinary straight from the borrowed event: no row type in between.
//!
//! RowBinary (<https://clickhouse.com/docs/interfaces/formats/RowBinary>): columns in the statement's order, numbers little
//! endian, a string behind its length (LEB128), a UUID as two little-endian halves, a Nullable behind a byte that is 1 for
//! NULL. LowCardinality does not show.

use std::io::Write as _;

use crate::core::{
    event::{Class, Device, EventRef, Kind},
    time::Millis,
};

/// The columns of `events`, in the order in which [`Block`] writes them.
pub(super) const COLUMNS: &str = "id, kind, class, time, program, link, partner, ad, slug, channel, visitor, country, \
     region, city, network, address, referrer, language, device, browser, os, sub1, sub2, sub3, sub4, sub5, reason, \
     named, click, rule, count, source, partition, offset, loaded_at";

/// Events of one source and partition, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct Block {
    pub(super) source: String,
    pub(super) partition: u32,
    pub(super) data: Vec<u8>,
    pub(super) index: Vec<Row>,
}

/// Where a row stands in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) time: Millis,
    /// Its first byte.
    pub(super) start: usize,
}

impl Block {
    pub fn new(source: &str, partition: u32) -> Block {
        Block { source: source.to_owned(), partition, data: Vec::new(), index: Vec::new() }
    }

    /// The id of the event at this offset.
    pub(super) fn id_at(&self, offset: u64) -> Option<[u8; 16]> {
        let at = self.index.binary_search_by_key(&offset, |row| row.offset).ok()?;
        let start = self.index[at].start;
        let mut id = <[u8; 16]>::try_from(self.data.get(start..start + 16)?).ok()?;
        id[..8].reverse();
        id[8..].reverse();
        Some(id)
    }

    /// Adds an event that [`record::decode`](super::super::record::decode) has checked. Offsets ascend.
    pub fn push(&mut self, offset: u64, event: &EventRef<'_>, loaded_at: Millis) {
        debug_assert!(self.index.last().is_none_or(|last| last.offset < offset), "offsets ascend");
        self.index.push(Row { offset, time: Millis(event.time_ms), start: self.data.len() });
        let Block { source, partition, data, .. } = self;
        uuid(event.id, data);
        // What this version does not know yet is stored without a word, as in every store.
        data.push(Kind::try_from(event.kind).unwrap_or(Kind::Unspecified) as u8);
        data.push(Class::try_from(event.class).unwrap_or(Class::Unspecified) as u8);
        data.extend_from_slice(&event.time_ms.to_le_bytes());
        for value in [event.program, event.link, event.partner, event.ad, event.slug, event.channel] {
            text(value, data);
        }
        uuid_or_null(event.visitor, data);
        for value in [event.country, event.region, event.city, event.network] {
            text(value, data);
        }
        address(event.address, data);
        text(event.referrer, data);
        text(event.language, data);
        data.push(Device::try_from(event.device).unwrap_or(Device::Unspecified) as u8);
        for value in [
            event.browser,
            event.os,
            event.sub1,
            event.sub2,
            event.sub3,
            event.sub4,
            event.sub5,
            event.reason,
            event.named,
        ] {
            text(value, data);
        }
        uuid_or_null(event.click, data);
        data.extend_from_slice(&event.rule.to_le_bytes());
        data.extend_from_slice(&event.count.max(1).to_le_bytes());
        text(source, data);
        data.extend_from_slice(&partition.to_le_bytes());
        data.extend_from_slice(&offset.to_le_bytes());
        data.extend_from_slice(&u32::try_from(loaded_at.0 / 1_000).unwrap_or(0).to_le_bytes());
    }

    pub fn rows(&self) -> usize {
        self.index.len()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.index.clear();
    }

    /// From the first row's offset to behind the last one's; `None` when it is empty.
    pub fn range(&self) -> Option<std::ops::Range<u64>> {
        Some(self.index.first()?.offset..self.index.last()?.offset + 1)
    }

    /// What names these rows among all: the deduplication token of a block without gaps of ours.
    pub fn token(&self) -> String {
        let range = self.range().unwrap_or_default();
        format!("{}/{}/{}-{}", self.source, self.partition, range.start, range.end)
    }

    /// The rows that pass, as a block.
    pub(super) fn filtered(&self, mut keep: impl FnMut(&Row) -> bool) -> Block {
        let mut block = Block::new(&self.source, self.partition);
        for (at, row) in self.index.iter().enumerate() {
            if keep(row) {
                let end = self.index.get(at + 1).map_or(self.data.len(), |next| next.start);
                block.index.push(Row { start: block.data.len(), ..*row });
                block.data.extend_from_slice(&self.data[row.start..end]);
            }
        }
        block
    }
}

pub(super) fn text(value: &str, out: &mut Vec<u8>) {
    bytes(value.as_bytes(), out);
}

pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    length(value.len(), out);
    out.extend_from_slice(value);
}

#[inline]
fn length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// 16 bytes, big endian; anything else is the nil UUID.
fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    let mut bytes = <[u8; 16]>::try_from(bytes).unwrap_or_default();
    bytes[..8].reverse();
    bytes[8..].reverse();
    out.extend_from_slice(&bytes);
}

fn uuid_or_null(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.push(1);
    } else {
        out.push(0);
        uuid(bytes, out);
    }
}

/// `203.0.113.0/24` or `2001:db8:1::/48`, as [`rows`](super::super::rows) writes it.
fn address(cut: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    // Both forms are shorter than 128 bytes, so the length is one byte.
    out.push(0);
    match *cut {
        [a, b, c] => {
            for part in [a, b, c] {
                decimal(part, out);
                out.push(b'.');
            }
            out.extend_from_slice(b"0/24");
        }
        // Rare beside the rest; writing into a Vec does not fail.
        [_, _, _, _, _, _] => drop(out.write_all(super::super::rows::address(cut).as_bytes())),
        _ => {}
    }
    out[at] = (out.len() - at - 1) as u8;
}

fn decimal(value: u8, out: &mut Vec<u8>) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_exports_write_them() {
        for cut in [&[203, 0, 113][..], &[9, 99, 100], &[0x20, 1, 0x0d, 0xb8, 0, 1], &[]] {
            let mut out = Vec::new();
            address(cut, &mut out);
            assert_eq!(out[0] as usize, out.len() - 1);
            assert_eq!(String::from_utf8(out[1..].to_vec()).unwrap(), super::super::super::rows::address(cut));
        }
    }

    #[test]
    fn lengths_are_leb128() {
        for (number, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (16_384, &[0x80, 0x80, 1])] {
            let mut out = Vec::new();
            length(number, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn a_filtered_block_has_the_rows_bytes() {
        let id = [7; 16];
        let mut block = Block::new("t", 3);
        for offset in [4, 5, 9] {
            let sub = offset.to_string();
            block.push(offset, &EventRef { id: &id, sub1: &sub, ..EventRef::default() }, Millis(1_000));
        }
        let mut alone = Block::new("t", 3);
        alone.push(5, &EventRef { id: &id, sub1: "5", ..EventRef::default() }, Millis(1_000));
        assert_eq!(block.filtered(|row| row.offset == 5).data, alone.data);
        assert_eq!(block.filtered(|_| true).data, block.data);
        assert_eq!((block.range(), alone.range()), (Some(4..10), Some(5..6)));
    }
}
