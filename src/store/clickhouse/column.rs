//! One column of a block, in ClickHouse's Native format.
//!
//! Native (<https://clickhouse.com/docs/interfaces/formats/Native>) goes column by column: what a server reads as it stands, where
//! rows cost it a call a value (an insert of 100,000 events: 0.4 µs an event to read instead of 12). Numbers are little endian, a string
//! stands behind its length (LEB128), a UUID is two little-endian halves, a Nullable has a byte a row before its values.
//! LowCardinality is a dictionary and a number a row
//! (<https://github.com/ClickHouse/ClickHouse/blob/v25.8.2.1-lts/src/DataTypes/Serializations/SerializationLowCardinality.cpp>).

use std::collections::HashMap;

/// How many bytes a UUID has.
const UUID: usize = 16;

/// The dictionary's version: keys of the block beside those that the table shares.
const DICTIONARY_VERSION: u64 = 1;
/// The block brings keys of its own, and they are new.
const OWN_KEYS: u64 = 1 << 9 | 1 << 10;

/// What a column holds. The names are those of the table's types; a number may stand for an enum's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int8,
    UInt32,
    UInt64,
    Seconds,
    Milliseconds,
    Uuid,
    UuidOrNull,
    Text,
    /// Text of which few are different.
    Word,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Int8 => "Int8",
            Type::UInt32 => "UInt32",
            Type::UInt64 => "UInt64",
            Type::Seconds => "DateTime('UTC')",
            Type::Milliseconds => "DateTime64(3, 'UTC')",
            Type::Uuid => "UUID",
            Type::UuidOrNull => "Nullable(UUID)",
            Type::Text => "String",
            Type::Word => "LowCardinality(String)",
        }
    }

    /// Bytes of a value; `None` where each has its own length.
    fn width(self) -> Option<usize> {
        Some(match self {
            Type::Int8 => 1,
            Type::UInt32 | Type::Seconds => 4,
            Type::UInt64 | Type::Milliseconds => 8,
            Type::Uuid | Type::UuidOrNull => UUID,
            Type::Text | Type::Word => return None,
        })
    }
}

/// Values of one type, a row each.
#[derive(Clone, Debug)]
pub(super) struct Column {
    kind: Type,
    /// Values, or with [`Type::Word`] the dictionary's.
    data: Vec<u8>,
    /// With [`Type::UuidOrNull`], 1 for a row without a value.
    nulls: Vec<u8>,
    words: Words,
}

/// A dictionary in the making, and the rows' numbers in it.
#[derive(Clone, Debug, Default)]
struct Words {
    /// Keyed hashing: visitors choose some of them.
    numbers: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    rows: Vec<u32>,
    /// The last row's, which is often the next one's too.
    last: String,
}

impl Column {
    pub(super) fn new(kind: Type) -> Column {
        Column { kind, data: Vec::new(), nulls: Vec::new(), words: Words::default() }
    }

    /// A value of fixed width, as its bytes.
    #[inline]
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.kind.width(), Some(bytes.len()), "{:?}", self.kind);
        self.data.extend_from_slice(bytes);
    }

    /// 16 bytes, big endian; anything else is the nil UUID, or no value.
    #[inline]
    pub(super) fn uuid(&mut self, bytes: &[u8]) {
        if self.kind == Type::UuidOrNull {
            self.nulls.push(u8::from(bytes.is_empty()));
        }
        self.fixed(&halves(<[u8; UUID]>::try_from(bytes).unwrap_or_default()));
    }

    /// Big endian.
    pub(super) fn uuid_at(&self, row: usize) -> Option<[u8; UUID]> {
        Some(halves(self.data.get(row * UUID..(row + 1) * UUID)?.try_into().ok()?))
    }

    #[inline]
    pub(super) fn text(&mut self, value: &str) {
        if self.kind == Type::Word { self.word(value) } else { text(value, &mut self.data) }
    }

    /// Where text goes that comes behind its length already.
    pub(super) fn encoded(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.kind, Type::Text);
        &mut self.data
    }

    #[inline]
    fn word(&mut self, value: &str) {
        let words = &mut self.words;
        let number = match words.rows.last() {
            Some(last) if words.last == value => *last,
            _ => {
                let next = words.numbers.len() as u32;
                let number = words.numbers.get(value).copied().unwrap_or_else(|| {
                    words.numbers.insert(value.into(), next);
                    text(value, &mut self.data);
                    next
                });
                words.last.clear();
                words.last.push_str(value);
                number
            }
        };
        words.rows.push(number);
    }

    /// Adds another block's rows.
    pub(super) fn append(&mut self, other: &Column) {
        self.append_if(other, None);
    }

    /// Adds those rows of another block that are kept.
    pub(super) fn append_if(&mut self, other: &Column, keep: Option<&[bool]>) {
        let is_kept = |row: usize| keep.is_none_or(|keep| keep[row]);
        let kept = |(row, value): (usize, &u8)| is_kept(row).then_some(*value);
        self.nulls.extend(other.nulls.iter().enumerate().filter_map(kept));
        match self.kind.width() {
            Some(width) => {
                let values = other.data.chunks_exact(width).enumerate().filter(|(row, _)| is_kept(*row));
                values.for_each(|(_, value)| self.data.extend_from_slice(value));
            }
            None if self.kind == Type::Text => {
                let values = Texts(&other.data).enumerate().filter(|(row, _)| is_kept(*row));
                values.for_each(|(_, value)| bytes(value, &mut self.data));
            }
            None => {
                let mut known: Vec<&str> = vec![""; other.words.numbers.len()];
                other.words.numbers.iter().for_each(|(word, number)| known[*number as usize] = word);
                let rows = other.words.rows.iter().enumerate().filter(|(row, _)| is_kept(*row));
                rows.for_each(|(_, number)| self.word(known[*number as usize]));
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.nulls.len() + size_of_val(&*self.words.rows)
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.nulls.clear();
        self.words.numbers.clear();
        self.words.rows.clear();
    }

    /// Name, type and values, as a block of the Native format has them.
    pub(super) fn write(&self, name: &str, out: &mut Vec<u8>) {
        text(name, out);
        text(self.kind.name(), out);
        if self.kind == Type::Word {
            return self.words.write(&self.data, out);
        }
        out.extend_from_slice(&self.nulls);
        out.extend_from_slice(&self.data);
    }
}

impl Words {
    fn write(&self, keys: &[u8], out: &mut Vec<u8>) {
        // How wide the rows' numbers are: 1, 2 or 4 bytes.
        let count = self.numbers.len();
        let wide: u64 = if count <= 1 << 8 {
            0
        } else if count <= 1 << 16 {
            1
        } else {
            2
        };
        for number in [DICTIONARY_VERSION, OWN_KEYS | wide, count as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(keys);
        out.extend_from_slice(&(self.rows.len() as u64).to_le_bytes());
        match wide {
            0 => out.extend(self.rows.iter().map(|number| *number as u8)),
            1 => self.rows.iter().for_each(|number| out.extend_from_slice(&(*number as u16).to_le_bytes())),
            _ => self.rows.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes())),
        }
    }
}

/// Between a UUID's bytes and ClickHouse's two little-endian halves.
fn halves(mut bytes: [u8; UUID]) -> [u8; UUID] {
    bytes[..UUID / 2].reverse();
    bytes[UUID / 2..].reverse();
    bytes
}

pub(super) fn text(value: &str, out: &mut Vec<u8>) {
    bytes(value.as_bytes(), out);
}

pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    length(value.len(), out);
    out.extend_from_slice(value);
}

#[inline]
pub(super) fn length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Strings behind their lengths, as [`bytes`] has written them.
struct Texts<'a>(&'a [u8]);

impl<'a> Iterator for Texts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let length = self.0[..end].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        let (value, rest) = self.0[end..].split_at(length);
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_leb128() {
        for (number, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (16_384, &[0x80, 0x80, 1])] {
            let mut out = Vec::new();
            length(number, &mut out);
            assert_eq!(out, bytes);
        }
    }

    /// What the engine answers to `SELECT … FORMAT Native`, but for the empty key that it always has.
    #[test]
    fn a_dictionary_is_written_as_the_engine_writes_it() {
        let mut column = Column::new(Type::Word);
        ["a", "a", "b", "a"].iter().for_each(|word| column.text(word));
        let mut out = Vec::new();
        column.write("x", &mut out);
        let mut expected = b"\x01x\x16LowCardinality(String)".to_vec();
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 6, 0, 0, 0, 0, 0, 0]);
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"\x01a\x01b");
        expected.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 0, 1, 0]);
        assert_eq!(out, expected);
    }

    #[test]
    fn numbers_of_a_dictionary_are_as_wide_as_it_needs() {
        for (words, width) in [(256, 1), (257, 2), (65_536, 2), (65_537, 4)] {
            let mut column = Column::new(Type::Word);
            (0..words).for_each(|word| column.text(&format!("{word:05}")));
            let mut out = Vec::new();
            column.write("x", &mut out);
            assert_eq!(out.len(), 1 + 1 + 1 + 22 + 4 * 8 + words * (6 + width), "{words} words");
        }
    }

    #[test]
    fn kept_rows_are_as_if_there_had_been_no_others() {
        let long = "x".repeat(300);
        let rows = ["", "a", &long, "a", "b"];
        let keep = [false, true, true, false, true];
        for kind in [Type::Text, Type::Word, Type::UuidOrNull, Type::UInt32] {
            let push = |column: &mut Column, row: &str| match kind {
                Type::UuidOrNull => column.uuid(row.as_bytes()),
                Type::UInt32 => column.fixed(&(row.len() as u32).to_le_bytes()),
                _ => column.text(row),
            };
            let (mut all, mut some) = (Column::new(kind), Column::new(kind));
            rows.iter().for_each(|row| push(&mut all, row));
            rows.iter().zip(keep).filter(|(_, keep)| *keep).for_each(|(row, _)| push(&mut some, row));
            let written = |column: &Column| {
                let mut out = Vec::new();
                column.write("x", &mut out);
                out
            };
            let (mut kept, mut twice) = (Column::new(kind), all.clone());
            kept.append_if(&all, Some(&keep));
            assert_eq!(written(&kept), written(&some), "{kind:?}");
            twice.append(&some);
            rows.iter().zip(keep).filter(|(_, keep)| *keep).for_each(|(row, _)| push(&mut all, row));
            assert_eq!(written(&twice), written(&all), "{kind:?}");
        }
    }
}
