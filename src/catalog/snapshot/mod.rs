//! The snapshot file: the whole index, so that the edge starts and serves while the catalog is away.
//!
//! ```text
//! file    = head block* end
//! head    = "FPSNAP" version:u16 catalog:[u8;16] sequence:u64 mark:i64 saved_at:i64 counts:[u64;5] crc:u32
//! block   = length:u32 (> 0) crc:u32 record*          SNAPSHOT_BLOCK_BYTES and the record that reaches them
//! end     = 0:u32 crc:u32                               of the five counts as met
//! record  = kind:u8 fields
//! text    = length:varint bytes
//! ```
//! Integers are little-endian; a CRC is CRC-32C of what it stands for. The catalog's id, the sequence number and its mark say
//! which change the file reaches: it may hold some later ones too (it is written while changes come in), which does no harm,
//! since applying a change again gives the same. The file is replaced as a whole or not at all. A file that is damaged, cut
//! or of a version that is not read is said and left aside: the index is empty then, as if there were none.
//!
//! Version 3 has names of programs, and previews of programs and links. Version 2 is read too: what it does not have comes from the
//! catalog, which is loaded as a whole as soon as it answers.

use std::io;

use super::feed::Position;
use crate::core::{
    limits::{SNAPSHOT_BLOCK_BYTES, SNAPSHOT_RECORD_MAX_BYTES},
    time::Millis,
};

mod read;
mod write;

pub(super) use read::load;
pub(super) use write::save;

const MAGIC: &[u8; 6] = b"FPSNAP";
const VERSION: u16 = 3;
/// The oldest version that is read.
const OLDEST_VERSION: u16 = 2;
const HEAD_BYTES: usize = 6 + 2 + 16 + 8 + 8 + 8 + 5 * 8 + 4;
/// A block ends with the record that reaches [`SNAPSHOT_BLOCK_BYTES`].
const BLOCK_MAX_BYTES: usize = SNAPSHOT_BLOCK_BYTES + SNAPSHOT_RECORD_MAX_BYTES;

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no snapshot of the index")]
    NoSnapshot,
    #[error("it has version {0}, this program reads versions {OLDEST_VERSION} to {VERSION}")]
    Version(u16),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) saved_at: Millis,
    /// Whether it has everything that the index holds today.
    pub(super) is_whole: bool,
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

// What a record's first byte says.
const PROGRAM: u8 = 0;
const PARTNER: u8 = 1;
const PLAIN_LINK: u8 = 2;
const LINK: u8 = 3;
const AD: u8 = 4;
const SHARE_LINK: u8 = 5;

/// Which of the five counts a record raises.
const fn counter(kind: u8) -> usize {
    match kind {
        PROGRAM => 0,
        PARTNER => 1,
        PLAIN_LINK | LINK => 2,
        AD => 3,
        _ => 4,
    }
}
