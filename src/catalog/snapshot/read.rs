//! Reading: block by block into an empty index, each block only after its checksum.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{
    AD, BLOCK_MAX_BYTES, HEAD_BYTES, LINK, MAGIC, OLDEST_VERSION, PARTNER, PLAIN_LINK, PROGRAM, SHARE_LINK, Snapshot,
    SnapshotError, VERSION, counter, crc,
};
use crate::{
    catalog::feed::Position,
    core::{
        code::{Code, CodeBuf},
        preview::Preview,
        program::{Attribution, Status},
        rule::Rule,
        time::Millis,
    },
    links::{Counts, LinkMore, Links, Partner, PartnerMore, Program, ShareLink},
};

/// Fills an empty index from `path`; after an error it is empty again. `None` when there is no file. Blocking.
pub(in crate::catalog) fn load(path: &Path, links: &mut Links) -> Result<Option<Snapshot>, SnapshotError> {
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
        let mut cursor = Cursor { rest: &block, is_whole: snapshot.is_whole };
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
    let mut cursor = Cursor { rest: &head, is_whole: false };
    let damaged = SnapshotError::Damaged("its head is too short");
    let mut take = |count: usize| cursor.bytes(count).map(<[u8]>::to_vec).unwrap_or_default();
    if take(MAGIC.len()) != MAGIC {
        return Err(SnapshotError::NoSnapshot);
    }
    let version = u16::from_le_bytes(take(2).try_into().unwrap_or_default());
    if !(OLDEST_VERSION..=VERSION).contains(&version) {
        return Err(SnapshotError::Version(version));
    }
    let catalog = data_encoding::HEXLOWER.encode(&take(16));
    let mut number = || take(8).try_into().map(u64::from_le_bytes).ok();
    let (Some(last), Some(mark), Some(saved_at)) = (number(), number(), number()) else { return Err(damaged) };
    let mut count = || number().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let counts = Counts { programs: count(), partners: count(), links: count(), ads: count(), share_links: count() };
    if crc(&head[..HEAD_BYTES - 4]).to_le_bytes() != head[HEAD_BYTES - 4..] {
        return Err(SnapshotError::Damaged("the checksum of its head does not fit"));
    }
    let position = Position { catalog, last, mark: mark as i64 };
    Ok((Snapshot { position, saved_at: Millis(saved_at as i64), is_whole: version == VERSION }, counts))
}

/// Reads one block. `None` means that it makes no sense.
struct Cursor<'b> {
    rest: &'b [u8],
    /// Whether the records have the fields of today's version.
    is_whole: bool,
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

    /// Missing in older files.
    fn preview(&mut self) -> Option<Option<Box<Preview>>> {
        match if self.is_whole { self.text()? } else { "" } {
            "" => Some(None),
            text => serde_json::from_str(text).ok().map(Some),
        }
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
                    name: if self.is_whole { self.text()?.into() } else { Box::default() },
                    preview: self.preview()?,
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
                let code = CodeBuf::new(self.text()?.as_bytes())?;
                links.links.insert(&code, self.text()?, None);
            }
            LINK => {
                let code = self.code()?;
                let (address, more) = (self.text()?, Some(Arc::new(self.more()?)));
                links.links.insert(&code, address, more);
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
            preview: self.preview()?,
        })
    }
}
