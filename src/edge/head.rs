//! What the socket sees of HTTP/1 heads before hyper does: how long the one that is arriving is already, and its raw lines.
//!
//! hyper answers 431 where the request line alone is too long (414 is right), and of a request with both Content-Length and
//! Transfer-Encoding it shows the service only the latter (RFC 9112 §6.1 calls for care). Both need the bytes as they came. The usual case, a
//! read that ends with a head's empty line, costs one comparison and one copy.

use std::io;

use super::{
    admit::Refusal,
    counters::CloseReason,
    life::{Life, Phase},
    watched::Watch,
};
use crate::core::limits::{HEAD_MAX_BYTES, REQUEST_LINE_MAX_BYTES};

/// Heads within a read of so many bytes need not be measured.
const SMALL_BYTES: usize =
    if REQUEST_LINE_MAX_BYTES < HEAD_MAX_BYTES { REQUEST_LINE_MAX_BYTES } else { HEAD_MAX_BYTES };

/// How much of a head has arrived, bytes with their line ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    bytes: usize,
    /// The request line's; 0 while it is not whole.
    line: usize,
    /// The line that is arriving.
    run: usize,
}

impl Progress {
    pub(super) fn is_begun(self) -> bool {
        self.bytes > 0
    }

    /// After these bytes too. Heads that end within them are forgotten.
    fn after(mut self, chunk: &[u8]) -> Progress {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let arrived = end + 1 - start;
            let length = self.run + arrived;
            // A line end alone: before a request line it is skipped (RFC 9112 §2.2), after one it ends the head.
            if length <= 2 {
                self = Progress::default();
            } else {
                self.bytes += arrived;
                self.run = 0;
                if self.line == 0 {
                    self.line = self.bytes;
                }
            }
            start = end + 1;
        }
        let rest = chunk.len() - start;
        Progress { bytes: self.bytes + rest, run: self.run + rest, ..self }
    }

    fn too_large(self) -> Option<Refusal> {
        let line = if self.line == 0 { self.bytes } else { self.line };
        if line > REQUEST_LINE_MAX_BYTES + 2 {
            Some(Refusal::TargetTooLong)
        } else if self.bytes - line > HEAD_MAX_BYTES {
            Some(Refusal::HeadTooLarge)
        } else {
            None
        }
    }
}

/// The raw bytes of the last head that a worker read, and whose they are.
#[derive(Debug, Default)]
pub(super) struct LastHead {
    bytes: Vec<u8>,
    owner: usize,
}

/// Watches an HTTP/1 connection's heads.
#[derive(Debug, Default)]
pub(super) struct HeadWatch;

impl Watch for HeadWatch {
    const CLOSES_SOCKET: bool = false;

    fn before_read(&mut self, life: &Life) -> io::Result<()> {
        if life.phase() == Phase::Head
            && let Some(refusal) = life.head.get().too_large()
        {
            life.refusal.set(Some(refusal));
            life.worker.counters.count_closed(CloseReason::Refused);
            return Err(io::Error::other("the head is too large"));
        }
        Ok(())
    }

    fn after_read(&mut self, life: &Life, chunk: &[u8]) -> io::Result<()> {
        if !life.expects_head() {
            return Ok(());
        }
        life.head_bytes_arrived();
        let before = life.head.get();
        remember(life, chunk, before.is_begun());
        let whole = !before.is_begun() && chunk.ends_with(b"\r\n\r\n");
        if !whole {
            life.head.set(before.after(chunk));
        }
        life.set_head_is_small(whole && chunk.len() <= SMALL_BYTES);
        Ok(())
    }
}

fn remember(life: &Life, chunk: &[u8], continues: bool) {
    let owner = std::ptr::from_ref(life).addr();
    let mut last = life.worker.last_head.borrow_mut();
    if !continues || last.owner != owner || last.bytes.len() > REQUEST_LINE_MAX_BYTES + HEAD_MAX_BYTES {
        last.bytes.clear();
        last.owner = owner;
    }
    last.bytes.extend_from_slice(chunk);
}

/// Whether the head that this connection has just read frames its body in two ways. Where other connections' bytes came in between
/// (a head in several packets), the answer is no: hyper then goes by Transfer-Encoding and closes afterwards, as RFC 9112 §6.1 allows.
pub(super) fn is_framed_twice(life: &Life) -> bool {
    let last = life.worker.last_head.borrow();
    last.owner == std::ptr::from_ref(life).addr() && framed_twice(&last.bytes)
}

fn framed_twice(heads: &[u8]) -> bool {
    let named = |line: &[u8], name: &str| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let (mut length, mut encoding) = (false, false);
    for line in heads.split(|byte| *byte == b'\n') {
        if line.is_empty() || line == b"\r" {
            (length, encoding) = (false, false);
        }
        length |= named(line, "content-length:");
        encoding |= named(line, "transfer-encoding:");
        if length && encoding {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "GET / HTTP/1.1\r\n";

    #[test]
    fn a_head_is_measured() {
        let after = |text: &str| Progress::default().after(text.as_bytes());
        assert_eq!(after("GET"), Progress { bytes: 3, line: 0, run: 3 });
        assert_eq!(after("GET / HTTP/1.1\r\nHo"), Progress { bytes: 18, line: 16, run: 2 });
        assert_eq!(after("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Progress::default());
        assert_eq!(after("\r\n\r\nGET"), Progress { bytes: 3, line: 0, run: 3 });
        assert_eq!(after("GET / HTTP/1.1\n\nGET"), Progress { bytes: 3, line: 0, run: 3 });
    }

    #[test]
    fn the_bounds_are_exact() {
        let line = |length: usize| format!("{}\r\n", "x".repeat(length));
        let refusal = |text: String| Progress::default().after(text.as_bytes()).too_large();
        assert_eq!(refusal(line(REQUEST_LINE_MAX_BYTES)), None);
        assert_eq!(refusal(line(REQUEST_LINE_MAX_BYTES + 1)), Some(Refusal::TargetTooLong));
        assert_eq!(refusal("x".repeat(REQUEST_LINE_MAX_BYTES + 2)), None, "the last two may be the line's end");
        assert_eq!(refusal("x".repeat(REQUEST_LINE_MAX_BYTES + 3)), Some(Refusal::TargetTooLong));
        assert_eq!(refusal(format!("{LINE}{}", "x".repeat(HEAD_MAX_BYTES))), None);
        assert_eq!(refusal(format!("{LINE}{}", "x".repeat(HEAD_MAX_BYTES + 1))), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn two_framings_in_one_head_are_seen() {
        assert!(framed_twice(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nA: b\r\nTRANSFER-encoding: chunked\r\n\r\n"));
        assert!(!framed_twice(
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nTransfer-Encoding: x"
        ));
        assert!(!framed_twice(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Content-Length: 3\r\n\r\n"));
    }

    proptest! {
        /// However the bytes are cut into reads, the measure is the same.
        #[test]
        fn cuts_do_not_matter(text in "(\\r|\\n|[a-c]){0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]);
            let by_pieces = pieces.fold(Progress::default(), Progress::after);
            prop_assert_eq!(by_pieces, Progress::default().after(text.as_bytes()));
        }
    }
}
