//! Writing: the index, record by record, while it goes on changing.

use std::{
    io::{self, Write},
    path::Path,
    sync::atomic::Ordering,
};

use super::{AD, HEAD_BYTES, LINK, MAGIC, PARTNER, PLAIN_LINK, PROGRAM, SHARE_LINK, VERSION, counter, crc};
use crate::{
    catalog::feed::Position,
    core::{limits::SNAPSHOT_BLOCK_BYTES, preview::Preview, time::Millis},
    links::{Counts, LinkMore, Links},
};

/// Collects records and writes them block by block.
struct Blocks<'w, W> {
    out: &'w mut W,
    block: Vec<u8>,
    counts: [u64; 5],
}

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

    fn preview(&mut self, preview: Option<&Preview>) -> io::Result<()> {
        let text = preview.map(serde_json::to_string).transpose()?;
        self.optional(text.as_deref());
        Ok(())
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
        self.preview(more.preview.as_deref())?;
        self.end()
    }
}

/// Writes the index to `path`. Entries may change meanwhile. Blocking.
pub(in crate::catalog) fn save(path: &Path, links: &Links, position: &Position, saved_at: Millis) -> io::Result<()> {
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
            blocks.text(&program.name);
            blocks.preview(program.preview.as_deref())?;
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
        for entry in links.links.iter() {
            let (code, address) = (entry.key().code(), entry.key().address());
            match entry.value() {
                Some(more) => blocks.link(code, address, more)?,
                None => {
                    blocks.begin(PLAIN_LINK);
                    blocks.text(code);
                    blocks.text(address);
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
    head.extend_from_slice(&position.mark.to_le_bytes());
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
