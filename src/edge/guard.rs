//! HTTP/2 frame accounting: ends a connection that sends frames which only cost us work.
//!
//! h2 bounds some floods (resets of streams that nobody has accepted, endless CONTINUATION), but takes any number of PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, empty DATA and unknown frames. A browser sends a handful a request. The guard reads nothing but the nine
//! bytes of each frame's head (RFC 9113 §4.1) as they pass.

use std::io;

use super::{counters::CloseReason, life::Life, watched::Watch};
use crate::core::limits::{H2_CONTROL_FRAMES_FREE, H2_RESETS_FREE, H2_TINY_DATA_BYTES};

/// What a client sends before its first frame (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// Control frames that one request allows.
const CONTROL_PER_REQUEST: u32 = 4;
/// Requests that allow one reset.
const REQUESTS_PER_RESET: u32 = 4;

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameGuard {
    /// Bytes of the preface or of a payload that are still to pass.
    skip: usize,
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of `head` that are there.
    have: usize,
    header_block: bool,
    requests: u32,
    control: u32,
    resets: u32,
}

impl FrameGuard {
    pub(super) fn new() -> FrameGuard {
        FrameGuard {
            skip: PREFACE.len(),
            head: [0; FRAME_HEAD_BYTES],
            have: 0,
            header_block: false,
            requests: 0,
            control: 0,
            resets: 0,
        }
    }

    /// Takes the next bytes; false when they are too much.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            if bytes.is_empty() {
                return true;
            }
            let taken = (FRAME_HEAD_BYTES - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.have += taken;
            if self.have < FRAME_HEAD_BYTES {
                return true;
            }
            self.have = 0;
            if !self.count() {
                return false;
            }
        }
    }

    fn count(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length as usize;
        match kind {
            HEADERS => {
                self.requests = self.requests.saturating_add(1);
                self.header_block = flags & END_HEADERS == 0;
                return true;
            }
            DATA if length >= H2_TINY_DATA_BYTES || flags & END_STREAM != 0 => return true,
            CONTINUATION | PUSH_PROMISE => self.header_block = flags & END_HEADERS == 0,
            RST_STREAM => self.resets = self.resets.saturating_add(1),
            _ => {}
        }
        self.control = self.control.saturating_add(1);
        self.control <= H2_CONTROL_FRAMES_FREE.saturating_add(self.requests.saturating_mul(CONTROL_PER_REQUEST))
            && self.resets <= H2_RESETS_FREE.saturating_add(self.requests / REQUESTS_PER_RESET)
    }

    /// Whether the bytes so far end between two frames, with no header block open.
    fn is_whole(&self) -> bool {
        self.skip == 0 && self.have == 0 && !self.header_block
    }
}

impl Watch for FrameGuard {
    const CLOSES_SOCKET: bool = true;

    fn before_read(&mut self, _: &Life) -> io::Result<()> {
        Ok(())
    }

    fn after_read(&mut self, life: &Life, chunk: &[u8]) -> io::Result<()> {
        if !self.take(chunk) {
            life.end(CloseReason::Flood);
            return Err(io::Error::other("too many frames that carry no request"));
        }
        life.frames_whole(self.is_whole());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let bytes = u32::try_from(length).unwrap().to_be_bytes();
        [&bytes[1..], &[kind, flags, 0, 0, 0, 1], &vec![0xff; length]].concat()
    }

    fn opened() -> FrameGuard {
        let mut guard = FrameGuard::new();
        assert!(guard.take(PREFACE));
        guard
    }

    /// How many of this frame pass.
    fn passing(guard: &mut FrameGuard, frame: &[u8]) -> u32 {
        (0..1_000_000).find(|_| !guard.take(frame)).expect("there is no bound")
    }

    #[test]
    fn frames_without_a_request_are_bounded() {
        let kinds =
            [(8, 0, 4), (6, 0, 8), (4, 0, 6), (2, 0, 5), (9, 0, 100), (DATA, 0, 0), (DATA, 0, 31), (0xbb, 0, 9)];
        for (kind, flags, length) in kinds {
            let mut guard = opened();
            assert_eq!(passing(&mut guard, &frame(kind, flags, length)), H2_CONTROL_FRAMES_FREE, "kind {kind}");
        }
        assert_eq!(passing(&mut opened(), &frame(RST_STREAM, 0, 4)), H2_RESETS_FREE);
    }

    #[test]
    fn requests_allow_more() {
        let mut guard = opened();
        for _ in 0..10_000 {
            assert!(guard.take(&frame(HEADERS, END_HEADERS, 200)));
            assert!(guard.take(&frame(DATA, END_STREAM, 0)));
            (0..4).for_each(|_| assert!(guard.take(&frame(8, 0, 4))));
            assert!(guard.take(&frame(DATA, 0, 1_000)));
        }
        assert_eq!(passing(&mut guard, &frame(6, 0, 8)), H2_CONTROL_FRAMES_FREE);
    }

    #[test]
    fn a_reset_for_each_request_is_a_flood() {
        let mut guard = opened();
        let pair = [frame(HEADERS, END_HEADERS | END_STREAM, 20), frame(RST_STREAM, 0, 4)].concat();
        let pairs = passing(&mut guard, &pair);
        assert!((H2_RESETS_FREE..2 * H2_RESETS_FREE).contains(&pairs), "{pairs}");
    }

    #[test]
    fn what_is_unfinished_is_known() {
        let mut guard = opened();
        assert!(guard.is_whole());
        for (bytes, whole) in [
            (&frame(HEADERS, 0, 5)[..], false),
            (&frame(CONTINUATION, END_HEADERS, 5)[..], true),
            (&[0, 0, 3], false),
            (&[6, 0, 0, 0, 0, 0], false),
            (&[1, 2], false),
            (&[3], true),
        ] {
            assert!(guard.take(bytes));
            assert_eq!(guard.is_whole(), whole, "{bytes:?}");
        }
    }

    proptest! {
        /// However the bytes are cut into reads, the counts are the same.
        #[test]
        fn cuts_do_not_matter(
            frames in prop::collection::vec((0u8..11, any::<u8>(), 0usize..40), 0..20),
            cuts in prop::collection::vec(0usize..400, 0..9),
        ) {
            let mut bytes = PREFACE.to_vec();
            frames.iter().for_each(|(kind, flags, length)| bytes.extend(frame(*kind, *flags, *length)));
            let mut whole = FrameGuard::new();
            whole.take(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut cut = FrameGuard::new();
            cuts.windows(2).for_each(|pair| { cut.take(&bytes[pair[0]..pair[1]]); });
            prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        }
    }
}
