//! Rows of one insert, written straight from the borrowed event into ClickHouse's columns (`column.rs`): no row type in between.

use std::io::Write as _;

use super::column::{self, Column, Type};
use crate::core::{
    event::{Class, Device, EventRef, Kind},
    time::Millis,
};

/// The columns of `events`, in the order in which [`Block::push`] writes them.
const COLUMNS: [(&str, Type); 35] = [
    ("id", Type::Uuid),
    ("kind", Type::Int8),
    ("class", Type::Int8),
    ("time", Type::Milliseconds),
    ("program", Type::Word),
    ("link", Type::Word),
    ("partner", Type::Text),
    ("ad", Type::Text),
    ("slug", Type::Text),
    ("channel", Type::Word),
    ("visitor", Type::UuidOrNull),
    ("country", Type::Word),
    ("region", Type::Word),
    ("city", Type::Word),
    ("network", Type::Word),
    ("address", Type::Text),
    ("referrer", Type::Text),
    ("language", Type::Word),
    ("device", Type::Int8),
    ("browser", Type::Word),
    ("os", Type::Word),
    ("sub1", Type::Text),
    ("sub2", Type::Text),
    ("sub3", Type::Text),
    ("sub4", Type::Text),
    ("sub5", Type::Text),
    ("reason", Type::Word),
    ("named", Type::Text),
    ("click", Type::UuidOrNull),
    ("rule", Type::UInt32),
    ("count", Type::UInt64),
    ("source", Type::Word),
    ("partition", Type::UInt32),
    ("offset", Type::UInt64),
    ("loaded_at", Type::Seconds),
];

/// The names, as an INSERT has them.
pub(super) fn column_names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

/// Events of one source and partition, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct Block {
    pub(super) source: String,
    pub(super) partition: u32,
    pub(super) rows: Rows,
    pub(super) index: Vec<Row>,
}

/// What an insert sends: rows of any sources, by columns.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    columns: Box<[Column; COLUMNS.len()]>,
    count: usize,
}

/// Where a row stands in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) time: Millis,
}

impl Block {
    pub fn new(source: &str, partition: u32) -> Block {
        Block { source: source.to_owned(), partition, rows: Rows::new(), index: Vec::new() }
    }

    /// The id of the event at this offset.
    pub(super) fn id_at(&self, offset: u64) -> Option<[u8; 16]> {
        let at = self.index.binary_search_by_key(&offset, |row| row.offset).ok()?;
        self.rows.columns[0].uuid_at(at)
    }

    /// Adds an event that [`record::decode`](super::super::record::decode) has checked. Offsets ascend.
    pub fn push(&mut self, offset: u64, event: &EventRef<'_>, loaded_at: Millis) {
        debug_assert!(self.index.last().is_none_or(|last| last.offset < offset), "offsets ascend");
        self.index.push(Row { offset, time: Millis(event.time_ms) });
        self.rows.push(event, (&self.source, self.partition, offset), loaded_at);
    }

    pub fn rows(&self) -> usize {
        self.index.len()
    }

    pub fn bytes(&self) -> usize {
        self.rows.columns.iter().map(Column::bytes).sum()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.rows.columns.iter_mut().for_each(Column::clear);
        self.rows.count = 0;
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
    pub(super) fn filtered(&self, keep: impl FnMut(&Row) -> bool) -> Block {
        let mut block = Block::new(&self.source, self.partition);
        let kept: Vec<bool> = self.index.iter().map(keep).collect();
        block.index.extend(self.index.iter().zip(&kept).filter_map(|(row, kept)| kept.then_some(*row)));
        block.rows.count = block.index.len();
        for (column, all) in block.rows.columns.iter_mut().zip(self.rows.columns.iter()) {
            column.append_if(all, Some(&kept));
        }
        block
    }

    /// The rows in ClickHouse's Native format.
    pub fn native(&self) -> Vec<u8> {
        self.rows.native()
    }
}

impl Rows {
    pub(super) fn new() -> Rows {
        Rows { columns: Box::new(COLUMNS.map(|(_, kind)| Column::new(kind))), count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn append(&mut self, other: &Rows) {
        self.count += other.count;
        self.columns.iter_mut().zip(other.columns.iter()).for_each(|(column, other)| column.append(other));
    }

    fn push(&mut self, event: &EventRef<'_>, (source, partition, offset): (&str, u32, u64), loaded_at: Millis) {
        self.count += 1;
        let [
            id,
            kind,
            class,
            time,
            program,
            link,
            partner,
            ad,
            slug,
            channel,
            visitor,
            country,
            region,
            city,
            network,
            its_address,
            referrer,
            language,
            device,
            browser,
            os,
            sub1,
            sub2,
            sub3,
            sub4,
            sub5,
            reason,
            named,
            click,
            rule,
            count,
            its_source,
            its_partition,
            its_offset,
            loaded,
        ] = &mut *self.columns;
        id.uuid(event.id);
        // What this version does not know yet is stored without a word, as in every store.
        kind.fixed(&[Kind::try_from(event.kind).unwrap_or(Kind::Unspecified) as u8]);
        class.fixed(&[Class::try_from(event.class).unwrap_or(Class::Unspecified) as u8]);
        device.fixed(&[Device::try_from(event.device).unwrap_or(Device::Unspecified) as u8]);
        time.fixed(&event.time_ms.to_le_bytes());
        for (column, value) in [
            (program, event.program),
            (link, event.link),
            (partner, event.partner),
            (ad, event.ad),
            (slug, event.slug),
            (channel, event.channel),
            (country, event.country),
            (region, event.region),
            (city, event.city),
            (network, event.network),
            (referrer, event.referrer),
            (language, event.language),
            (browser, event.browser),
            (os, event.os),
            (sub1, event.sub1),
            (sub2, event.sub2),
            (sub3, event.sub3),
            (sub4, event.sub4),
            (sub5, event.sub5),
            (reason, event.reason),
            (named, event.named),
            (its_source, source),
        ] {
            column.text(value);
        }
        address(event.address, its_address.encoded());
        visitor.uuid(event.visitor);
        click.uuid(event.click);
        rule.fixed(&event.rule.to_le_bytes());
        count.fixed(&event.count.max(1).to_le_bytes());
        its_partition.fixed(&partition.to_le_bytes());
        its_offset.fixed(&offset.to_le_bytes());
        loaded.fixed(&u32::try_from(loaded_at.0 / 1_000).unwrap_or(0).to_le_bytes());
    }

    /// One block of the Native format.
    pub(super) fn native(&self) -> Vec<u8> {
        let bytes: usize = self.columns.iter().map(|column| column.bytes() + 64).sum();
        let mut out = Vec::with_capacity(bytes);
        column::length(COLUMNS.len(), &mut out);
        column::length(self.count, &mut out);
        for (column, (name, _)) in self.columns.iter().zip(COLUMNS) {
            column.write(name, &mut out);
        }
        out
    }
}

/// `203.0.113.0/24` or `2001:db8:1::/48` behind its length, as [`rows`](super::super::rows) writes it.
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
    fn a_filtered_block_has_the_rows_and_their_ids() {
        let id = [7; 16];
        let mut block = Block::new("t", 3);
        for offset in [4, 5, 9] {
            let sub = offset.to_string();
            block.push(offset, &EventRef { id: &id, sub1: &sub, ..EventRef::default() }, Millis(1_000));
        }
        let mut alone = Block::new("t", 3);
        alone.push(5, &EventRef { id: &id, sub1: "5", ..EventRef::default() }, Millis(1_000));
        assert_eq!(block.filtered(|row| row.offset == 5).native(), alone.native());
        assert_eq!(block.filtered(|_| true).native(), block.native());
        let mut together = block.filtered(|row| row.offset < 5).rows;
        together.append(&block.filtered(|row| row.offset >= 5).rows);
        assert_eq!(together.native(), block.native());
        assert_eq!((block.id_at(9), block.id_at(6)), (Some([7; 16]), None));
        assert_eq!((block.range(), alone.range()), (Some(4..10), Some(5..6)));
    }
}
