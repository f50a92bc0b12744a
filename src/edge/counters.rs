//! What one worker counts of its connections. Telemetry adds the workers up at scrape.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why we ended a connection. One that the client ended, or that ended after its last answer, has no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// No first byte, no whole PROXY header or protocol preface in time.
    Preface,
    /// The PROXY header that the listener demands is missing or broken.
    ProxyHeader,
    /// The TLS handshake took too long.
    Handshake,
    /// The TLS handshake failed.
    HandshakeFailed,
    /// A request's head took too long.
    Head,
    /// A request's body took too long.
    Body,
    /// The client does not read.
    Write,
    /// No request for too long.
    Idle,
    /// HTTP/2 frames that only cost us work.
    Flood,
    /// The request was malformed or too large.
    Refused,
    /// The worker holds as many connections as it may.
    TooMany,
    /// The process ends.
    Drain,
}

impl CloseReason {
    pub const ALL: [CloseReason; 12] = [
        CloseReason::Preface,
        CloseReason::ProxyHeader,
        CloseReason::Handshake,
        CloseReason::HandshakeFailed,
        CloseReason::Head,
        CloseReason::Body,
        CloseReason::Write,
        CloseReason::Idle,
        CloseReason::Flood,
        CloseReason::Refused,
        CloseReason::TooMany,
        CloseReason::Drain,
    ];

    /// The metric's label.
    pub const fn tag(self) -> &'static str {
        match self {
            CloseReason::Preface => "preface_timeout",
            CloseReason::ProxyHeader => "proxy_header",
            CloseReason::Handshake => "tls_timeout",
            CloseReason::HandshakeFailed => "tls_failed",
            CloseReason::Head => "head_timeout",
            CloseReason::Body => "body_timeout",
            CloseReason::Write => "write_timeout",
            CloseReason::Idle => "idle_timeout",
            CloseReason::Flood => "flood",
            CloseReason::Refused => "bad_request",
            CloseReason::TooMany => "too_many",
            CloseReason::Drain => "drain",
        }
    }
}

/// Counters of one worker: it alone writes, anybody may read.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    accepted: AtomicU64,
    open: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

impl ConnectionCounters {
    /// Connections taken since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections that we ended for this reason since the start.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].load(Relaxed)
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(super) fn set_open(&self, open: usize) {
        self.open.store(open as u64, Relaxed);
    }

    pub(super) fn count_closed(&self, reason: CloseReason) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_label() {
        let counters = ConnectionCounters::default();
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            (0..=index).for_each(|_| counters.count_closed(reason));
        }
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.closed(reason), index as u64 + 1);
        }
        let mut tags = CloseReason::ALL.map(CloseReason::tag).to_vec();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), CloseReason::ALL.len());
    }
}
