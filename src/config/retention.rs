//! `[retention]`: how long each kind of data is kept. Zero, or the word `never`, means that it never goes.

use std::time::Duration;

use super::reader::Reader;
use crate::core::limits::OUTBOX_RETENTION;

const DAY: Duration = Duration::from_secs(86_400);

/// How long things are kept; zero: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows of events; sums stay.
    pub events: Duration,
    /// Rows of the outbox that everybody has taken.
    pub outbox: Duration,
    /// The persons of leads that led to nothing.
    pub leads: Duration,
    /// Metadata of leads.
    pub metadata: Duration,
    /// Mails that were sent or given up.
    pub mails: Duration,
    /// The log of webhooks.
    pub deliveries: Duration,
    /// Answers under an Idempotency-Key.
    pub answers: Duration,
    /// Lines of uploaded files that were refused.
    pub uploads: Duration,
    pub audit: Duration,
    /// How late an event may come: for that long an erasure remembers whose events it looks for.
    pub late_events: Duration,
}

/// The one place that knows how long events are kept, in whatever store.
pub(super) fn events(reader: &mut Reader) -> Duration {
    reader.kept("retention.events", 400 * DAY)
}

pub(super) fn read(reader: &mut Reader) -> Retention {
    Retention {
        events: events(reader),
        outbox: reader.kept("retention.outbox", OUTBOX_RETENTION),
        leads: reader.kept("retention.leads", 400 * DAY),
        metadata: reader.kept("retention.metadata", 400 * DAY),
        mails: reader.kept("retention.mails", 30 * DAY),
        deliveries: reader.kept("retention.deliveries", 30 * DAY),
        answers: reader.kept("retention.answers", 30 * DAY),
        uploads: reader.kept("retention.uploads", 30 * DAY),
        audit: reader.kept("retention.audit", 730 * DAY),
        late_events: reader.duration("retention.late_events", 8 * DAY),
    }
}
