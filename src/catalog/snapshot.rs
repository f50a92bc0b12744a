//! The snapshot file: the whole index, so that the edge starts and serves while the catalog is away.
//!
//! ```text
//! file    = head block* end
//! head    = "FPSNAP" version:u16 catalog:[u8;16] sequence:u64 saved_at:i64 counts:[u64;5] crc:u32
//! block   = length:u32 (> 0) crc:u32 record*          at most a little over SNAPSHOT_BLOCK_BYTES
//! end     = 0:u32 records:u32 crc of the five counts as met
//! record  = kind:u8 fields
//! text    = length:varint bytes
//! ```
//! Integers are little-endian; a CRC is CRC-32C of what it stands for. The catalog's id and the sequence number say which
//! change the file reaches: it may hold some later ones too (it is written while changes come in), which does no harm, since
//! applying a change again gives the same. The file is replaced as a whole or not at all. A file that is damaged, cut or of
//! another version is said and left aside: the index is empty then, as if there were none.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::feed::Position;
use crate::{
    core::{
        code::Code,
        limits::{SNAPSHOT_BLOCK_BYTES, SNAPSHOT_RECORD_MAX_BYTES},
        program::{Attribution, Status},
        rule::Rule,
        time::Millis,
    },
    links::{Counts, Link, LinkMore, Links, Partner, PartnerMore, Program, ShareLink},
};

const MAGIC: &[u8; 6] = b"FPSNAP";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 6 + 2 + 16 + 8 + 8 + 5 * 8 + 4;
/// A block ends with the record that reaches [`SNAPSHOT_BLOCK_BYTES`].
const BLOCK_MAX_BYTES: usize = SNAPSHOT_BLOCK_BYTES + SNAPSHOT_RECORD_MAX_BYTES;

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no snapshot of the index")]
    NoSnapshot,
    #[error("it has version {0}, this program reads version {VERSION}")]
    Version(u16),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) saved_at: Millis,
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

// === Writing ===

/// Collects records and writes them block by block.
struct Blocks<'w, W> {
    out: &'w mut W,
    block: Vec<u8>,
    counts: [u64; 5],
}

const PROGRAM: u8 = 0;
const PARTNER: u8 = 1;
const PLAIN_LINK: u8 = 2;
const LINK: u8 = 3;
const AD: u8 = 4;
const SHARE_LINK: u8 = 5;

impl<W: Write> Blocks<'_, W> {
    fn begin(&mut self, kind: u8) {
        self.block.push(kind);
        self.counts[counter(kind)] += 1;
    }

    fn end(&mut self) -> io::Result<()> {
        if self.block.len() >= SNAPSHOT_BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let length = u32::try_from(self.block.len()).map_err(|_| io::Error::other("a record is too long"))?;
            self.out.write_all(&length.to_le_bytes())?;
            self.out.write_all(&crc(&self.block).to_le_bytes())?;
            self.out.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.block.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.block.push(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.block.extend_from_slice(text.as_bytes());
    }

    /// Empty means none: no text of ours is both there and empty.
    fn optional(&mut self, text: Option<&str>) {
        self.text(text.unwrap_or_default());
    }

    fn list<T: AsRef<str>>(&mut self, list: &[T]) {
        self.number(list.len() as u64);
        for entry in list {
            self.text(entry.as_ref());
        }
    }

    fn link(&mut self, code: &str, address: &str, more: &LinkMore) -> io::Result<()> {
        self.begin(LINK);
        self.text(code);
        self.text(address);
        self.text(&more.name);
        self.optional(more.partner.as_deref());
        self.list(&more.programs);
        let rules = if more.rules.is_empty() { String::new() } else { serde_json::to_string(&more.rules)? };
        self.text(&rules);
        self.optional(more.fallback.as_deref());
        // 0 is none: one more than the value.
        self.number(more.expires_at.map_or(0, |Millis(at)| (at.max(0) as u64).saturating_add(1)));
        self.number(more.max_clicks.map_or(0, |clicks| clicks.saturating_add(1)));
        self.number(more.clicks.load(Ordering::Relaxed));
        self.list(&more.to_hosts);
        self.optional(more.click_parameter.as_deref());
        self.optional(more.partner_parameter.as_deref());
        self.optional(more.ad_parameter.as_deref());
        self.end()
    }
}

const fn counter(kind: u8) -> usize {
    match kind {
        PROGRAM => 0,
        PARTNER => 1,
        PLAIN_LINK | LINK => 2,
        AD => 3,
        _ => 4,
    }
}

/// Writes the index to `path`. Entries may change meanwhile. Blocking.
pub(super) fn save(path: &Path, links: &Links, position: &Position, saved_at: Millis) -> io::Result<()> {
    crate::io::disk::replace_file(path, 0o600, |out| {
        out.write_all(&head(position, saved_at, links.counts()))?;
        let mut blocks = Blocks { out, block: Vec::with_capacity(2 * SNAPSHOT_BLOCK_BYTES), counts: [0; 5] };
        for entry in &links.programs {
            let program = entry.value();
            blocks.begin(PROGRAM);
            blocks.text(entry.key());
            blocks.text(program.status.word());
            blocks.text(program.attribution.word());
            blocks.number(u64::from(program.window_days));
            blocks.optional(program.domain.as_deref());
            blocks.end()?;
        }
        for entry in &links.partners {
            blocks.begin(PARTNER);
            blocks.text(entry.key());
            blocks.text(entry.value().status.word());
            let more = entry.value().more.as_deref();
            blocks.list(more.map_or(&[][..], |more| &more.programs));
            blocks.list(more.map_or(&[][..], |more| &more.allowed));
            blocks.end()?;
        }
        for entry in &links.links {
            match &entry.value().more {
                Some(more) => blocks.link(entry.key(), &entry.value().address, more)?,
                None => {
                    blocks.begin(PLAIN_LINK);
                    blocks.text(entry.key());
                    blocks.text(&entry.value().address);
                    blocks.end()?;
                }
            }
        }
        for entry in links.ads.iter() {
            blocks.begin(AD);
            blocks.text(entry.key());
            blocks.end()?;
        }
        for entry in &links.share_links {
            blocks.begin(SHARE_LINK);
            blocks.text(entry.key());
            blocks.text(&entry.value().link);
            blocks.text(&entry.value().partner);
            blocks.optional(entry.value().ad.as_deref());
            blocks.end()?;
        }
        blocks.flush()?;
        let counts = blocks.counts;
        out.write_all(&end(counts))
    })
}

fn head(position: &Position, saved_at: Millis, counts: Counts) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    let mut id = [0; 16];
    if let Ok(bytes) = data_encoding::HEXLOWER.decode(position.catalog.as_bytes())
        && bytes.len() == id.len()
    {
        id.copy_from_slice(&bytes);
    }
    head.extend_from_slice(&id);
    head.extend_from_slice(&position.last.to_le_bytes());
    head.extend_from_slice(&saved_at.0.to_le_bytes());
    for count in [counts.programs, counts.partners, counts.links, counts.ads, counts.share_links] {
        head.extend_from_slice(&(count as u64).to_le_bytes());
    }
    head.extend_from_slice(&crc(&head).to_le_bytes());
    head
}

fn end(counts: [u64; 5]) -> Vec<u8> {
    let mut end = 0u32.to_le_bytes().to_vec();
    let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    end.extend_from_slice(&crc(&counts).to_le_bytes());
    end
}

// === Reading ===

/// Fills an empty index from `path`; after an error it is empty again. `None` when there is no file. Blocking.
pub(super) fn load(path: &Path, links: &mut Links) -> Result<Option<Snapshot>, SnapshotError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match read(BufReader::with_capacity(1 << 20, file), links) {
        Ok(snapshot) => {
            links.applied.store(snapshot.position.last, Ordering::Release);
            Ok(Some(snapshot))
        }
        Err(error) => {
            *links = Links::new();
            Err(error)
        }
    }
}

fn read(mut file: impl Read, links: &mut Links) -> Result<Snapshot, SnapshotError> {
    let (snapshot, expected) = read_head(&mut file)?;
    links.reserve(expected);
    let mut counts = [0; 5];
    let mut block = Vec::new();
    loop {
        let length = u32::from_le_bytes(array(&mut file)?) as usize;
        let sum = u32::from_le_bytes(array(&mut file)?);
        if length == 0 {
            let met: Vec<u8> = counts.iter().flat_map(|count: &u64| count.to_le_bytes()).collect();
            return if sum == crc(&met) { Ok(snapshot) } else { Err(SnapshotError::Damaged("records are missing")) };
        }
        if length > BLOCK_MAX_BYTES {
            return Err(SnapshotError::Damaged("a block is too long"));
        }
        block.resize(length, 0);
        file.read_exact(&mut block).map_err(cut)?;
        if crc(&block) != sum {
            return Err(SnapshotError::Damaged("a checksum does not fit"));
        }
        let mut cursor = Cursor { rest: &block };
        while !cursor.rest.is_empty() {
            let kind = cursor.record(links).ok_or(SnapshotError::Damaged("a record makes no sense"))?;
            counts[counter(kind)] += 1;
        }
    }
}

fn cut(error: io::Error) -> SnapshotError {
    if error.kind() == io::ErrorKind::UnexpectedEof { SnapshotError::Damaged("it is cut off") } else { error.into() }
}

fn array<const N: usize>(file: &mut impl Read) -> Result<[u8; N], SnapshotError> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

fn read_head(file: &mut impl Read) -> Result<(Snapshot, Counts), SnapshotError> {
    let head: [u8; HEAD_BYTES] = array(file)?;
    let mut cursor = Cursor { rest: &head };
    let damaged = SnapshotError::Damaged("its head is too short");
    let mut take = |count: usize| cursor.bytes(count).map(<[u8]>::to_vec).unwrap_or_default();
    if take(MAGIC.len()) != MAGIC {
        return Err(SnapshotError::NoSnapshot);
    }
    let version = u16::from_le_bytes(take(2).try_into().unwrap_or_default());
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let catalog = data_encoding::HEXLOWER.encode(&take(16));
    let mut number = || take(8).try_into().map(u64::from_le_bytes).ok();
    let (Some(last), Some(saved_at)) = (number(), number()) else { return Err(damaged) };
    let mut count = || number().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let counts = Counts { programs: count(), partners: count(), links: count(), ads: count(), share_links: count() };
    if crc(&head[..HEAD_BYTES - 4]).to_le_bytes() != head[HEAD_BYTES - 4..] {
        return Err(SnapshotError::Damaged("the checksum of its head does not fit"));
    }
    Ok((Snapshot { position: Position { catalog, last }, saved_at: Millis(saved_at as i64) }, counts))
}

/// Reads one block. `None` means that it makes no sense.
struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn optional(&mut self) -> Option<Option<Box<str>>> {
        let text = self.text()?;
        Some((!text.is_empty()).then(|| text.into()))
    }

    fn code(&mut self) -> Option<Code> {
        self.text()?.parse().ok()
    }

    fn optional_code(&mut self) -> Option<Option<Code>> {
        match self.text()? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }
    }

    fn list<T>(&mut self, mut entry: impl FnMut(&mut Self) -> Option<T>) -> Option<Box<[T]>> {
        (0..self.number()?).map(|_| entry(self)).collect()
    }

    /// Puts one record into the index; returns its kind.
    fn record(&mut self, links: &Links) -> Option<u8> {
        let kind = self.bytes(1)?[0];
        match kind {
            PROGRAM => {
                let code = self.code()?;
                let program = Program {
                    status: Status::from_word(self.text()?)?,
                    attribution: Attribution::from_word(self.text()?)?,
                    window_days: u32::try_from(self.number()?).ok()?,
                    domain: self.optional()?.map(Into::into),
                };
                links.programs.insert(code, program);
            }
            PARTNER => {
                let code = self.code()?;
                let status = Status::from_word(self.text()?)?;
                let (programs, allowed) = (self.list(Cursor::code)?, self.list(Cursor::code)?);
                let more =
                    (!programs.is_empty() || !allowed.is_empty()).then(|| Arc::new(PartnerMore { programs, allowed }));
                links.partners.insert(code, Partner { status, more });
            }
            PLAIN_LINK => {
                let code = self.code()?;
                links.links.insert(code, Link { address: self.text()?.into(), more: None });
            }
            LINK => {
                let code = self.code()?;
                let (address, more) = (self.text()?.into(), Some(Arc::new(self.more()?)));
                links.links.insert(code, Link { address, more });
            }
            AD => {
                links.ads.insert(self.text()?.into());
            }
            SHARE_LINK => {
                let slug = self.code()?;
                let (link, partner, ad) = (self.code()?, self.code()?, self.optional_code()?);
                links.share_links.insert(slug, ShareLink { link, partner, ad });
            }
            _ => return None,
        }
        Some(kind)
    }

    fn more(&mut self) -> Option<LinkMore> {
        Some(LinkMore {
            name: self.text()?.into(),
            partner: self.optional_code()?,
            programs: self.list(Cursor::code)?,
            rules: match self.text()? {
                "" => Box::default(),
                text => serde_json::from_str::<Vec<Rule>>(text).ok()?.into(),
            },
            fallback: self.optional()?,
            expires_at: self.number()?.checked_sub(1).map(|at| Millis(at as i64)),
            max_clicks: self.number()?.checked_sub(1),
            clicks: self.number()?.into(),
            to_hosts: self.list(|cursor| cursor.text().map(Into::into))?,
            click_parameter: self.optional()?,
            partner_parameter: self.optional()?,
            ad_parameter: self.optional()?,
        })
    }
}
