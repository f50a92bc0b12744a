//! Where events live. This file holds the contracts; a vendor's schema, writing and reading stand in its own folder, and
//! nothing of a vendor stands elsewhere.
//!
//! **Exactly once:** a [`Sink`] stores a batch *and* the journal position that the batch reaches in one atomic step, and
//! says on start which position it holds. Whoever feeds it resumes there. Nothing else needs to be clever.

use std::{collections::HashMap, future::Future, pin::Pin, time::Duration};

use crate::core::{
    code::Code,
    event::{Class, Event, Kind},
    id::{EventId, LaneId},
    limits::EXPORT_PAGE_ROWS,
    time::Millis,
};

pub mod clickhouse;
pub mod kafka;
pub mod keep;
#[cfg(test)]
pub(crate) mod model;
pub mod question;
pub mod record;
pub mod rows;
pub mod sqlite;
mod touches;

pub use touches::{Arrived, CreditedClick, Position, TouchQuery};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Records of one lane, in order, and the position behind them.
#[derive(Clone, Debug)]
pub struct Batch {
    pub lane: LaneId,
    /// Encoded events ([`Event`]) with their sequence numbers, ascending. Sequence numbers that are skipped were damaged
    /// in the journal and are gone.
    pub records: Vec<(u64, Vec<u8>)>,
    /// Sequence number behind the batch: what the sink's position becomes.
    pub next: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that are in the sink now.
    pub events: u64,
    /// Records that the sink cannot take, kept beside the events with the reason.
    pub set_aside: u64,
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Try the same batches again later.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help until somebody acts; the message says how.
    #[error("{0}")]
    Fatal(String),
}

/// Where events go. One owner at a time; batches of one lane come in order.
pub trait Sink: Send {
    /// For each lane that the sink knows, the sequence number it wants next.
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>>;
    /// Stores these batches and their positions in one atomic step: all of it or nothing.
    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>>;
    /// Forgets a lane whose folder is gone for good.
    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>>;
}

// === From one store to the next ===

/// What a [`Source`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened<'a> {
    /// This partition is ours from now on, with what was last committed for it: an offset (or where it begins) and a note.
    /// Records from that offset on may have been deleted meanwhile.
    Given {
        partition: u32,
        committed: u64,
        note: String,
    },
    /// It is no longer ours: nothing may be committed for it.
    Taken {
        partition: u32,
    },
    /// All partitions that we are to have at present have been given.
    Settled,
    Record {
        partition: u32,
        offset: u64,
        body: &'a [u8],
    },
    /// Everything was told that was there when it was last sought.
    End {
        partition: u32,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Try again later.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help until somebody acts; the message says how.
    #[error("{0}")]
    Fatal(String),
    /// The partition may be somebody else's now. Where it is still ours, it is given anew.
    #[error("partition {0} may have been given to another loader")]
    Lost(u32),
}

/// A log in partitions, shared with others; offsets are committed with a note beside each. Calls block.
pub trait Source: Send {
    /// Tells what happened, for at most `patience` and about `events` events; ends early when nothing more is there.
    fn poll(
        &mut self,
        patience: Duration,
        events: usize,
        tell: &mut dyn FnMut(Happened<'_>),
    ) -> Result<(), SourceError>;
    /// Goes on with this offset. Also ends a pause.
    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), SourceError>;
    /// Tells no records of this partition until it is resumed.
    fn pause(&mut self, partition: u32, paused: bool) -> Result<(), SourceError>;
    /// Makes it known that everything below `next` is done. It is durable when this returns, and refused when the partition
    /// is not ours any more.
    fn commit(&mut self, partition: u32, next: u64, note: &str) -> Result<(), SourceError>;
    /// The first offset that is still there, and the one behind the last record that can be told now.
    fn ends(&mut self, partition: u32) -> Result<std::ops::Range<u64>, SourceError>;
    /// The offset behind the last record that there is, also one that waits for the end of a transaction.
    fn last(&mut self, partition: u32) -> Result<u64, SourceError>;
}

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub partition: u32,
    /// First offset, and the one behind the last; what is between them and not in `records` does not exist.
    pub start: u64,
    pub end: u64,
    /// Offsets and encoded events, ascending.
    pub records: Vec<(u64, Vec<u8>)>,
}

/// Where ranges go. Ranges of one partition come in ascending order, each when the one before it is loaded.
pub trait RangeSink: Send + Sync {
    /// Takes the partition over: ends what others may still have under way there, then tells the offset behind the highest
    /// that was ever loaded, also when its row is gone by now.
    fn take_over(&self, partition: u32) -> BoxFuture<'_, Result<u64, SinkError>>;
    /// Loads a range once, whatever was loaded of it before. `doubtful`: it may be there already, wholly or in part.
    fn load<'a>(&'a self, range: &'a Range, doubtful: bool) -> BoxFuture<'a, Result<Stored, SinkError>>;
}

// === Reports ===

/// What a reach report has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    Hour,
    Day,
    Program,
    Link,
    Partner,
    Ad,
    Country,
    Channel,
    Class,
}

impl Dimension {
    pub const ALL: &'static [Dimension] = &[
        Dimension::Hour,
        Dimension::Day,
        Dimension::Program,
        Dimension::Link,
        Dimension::Partner,
        Dimension::Ad,
        Dimension::Country,
        Dimension::Channel,
        Dimension::Class,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Dimension::Hour => "hour",
            Dimension::Day => "day",
            Dimension::Program => "program",
            Dimension::Link => "link",
            Dimension::Partner => "partner",
            Dimension::Ad => "ad",
            Dimension::Country => "country",
            Dimension::Channel => "channel",
            Dimension::Class => "class",
        }
    }

    /// Whether its values are points in time.
    pub const fn is_time(self) -> bool {
        matches!(self, Dimension::Hour | Dimension::Day)
    }

    pub fn from_label(label: &str) -> Option<Dimension> {
        Dimension::ALL.iter().copied().find(|d| d.label() == label)
    }
}

/// Which events a report looks at. `None` and empty mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Inclusive. Reports by sums round it down to the hour.
    pub since: Option<Millis>,
    /// Exclusive. Reports by sums round it up to the hour.
    pub until: Option<Millis>,
    pub program: Option<Code>,
    pub link: Option<Code>,
    pub partner: Option<Code>,
    pub ad: Option<Code>,
}

impl Filter {
    /// Whether it names no program, link, partner or ad.
    pub const fn is_time_only(&self) -> bool {
        self.program.is_none() && self.link.is_none() && self.partner.is_none() && self.ad.is_none()
    }
}

/// A question about reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachQuery {
    pub filter: Filter,
    /// Dimensions of a row, in the order of its columns; none gives one row with the totals.
    pub by: Vec<Dimension>,
    /// Leaves unique visitors out. They alone need the rows of events; the rest comes from sums, in no time.
    pub without_visitors: bool,
}

/// A question about links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinksQuery {
    pub filter: Filter,
    /// As in [`ReachQuery`].
    pub without_visitors: bool,
}

/// One row of reach. By class, every class has its row; else only human and repeat requests count. Rows come with times
/// ascending, then most clicks first, then by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachRow {
    /// One value for each dimension that was asked for. Hours and days in RFC 3339; empty means none.
    pub key: Vec<String>,
    pub views: u64,
    pub clicks: u64,
    pub shares: u64,
    /// Different visitors (with a cookie) among the views and clicks that count; `None` when nobody asked for them.
    pub unique_visitors: Option<u64>,
    /// Clicks that were answered but could not be recorded in these hours. They have no dimension but time: 0 in a row by
    /// anything else, and where the filter names a program, link, partner or ad.
    pub missing: u64,
}

/// One line for each link × partner × ad, most clicks first, then by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkRow {
    pub link: String,
    /// Empty: nobody was credited.
    pub partner: String,
    pub ad: String,
    pub views: u64,
    pub clicks: u64,
    pub shares: u64,
    /// As in [`ReachRow`].
    pub unique_visitors: Option<u64>,
    /// Requests of bots, previews, prefetches and the like, which do not count.
    pub not_counted: u64,
    pub last_click: Option<Millis>,
}

/// Where a page of events goes on: behind this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    pub time: Millis,
    pub id: EventId,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the event store does not answer: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Invalid(String),
}

/// Questions that the event store answers; one method a question. All stores give the same answers on the same events.
pub trait Reports: Send + Sync {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>>;
    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>>;
    /// The limit of [`Reports::events`] with which all of them are read in good time and little memory.
    fn page_rows(&self) -> u32 {
        EXPORT_PAGE_ROWS
    }
    /// Up to `limit` events in order of (time, id), behind the cursor.
    fn events<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>>;
    /// Counted clicks of these links since ever, without those that came when the link was over.
    fn link_clicks<'a>(&'a self, links: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>>;
    /// The counted, credited clicks of some visitors, in order of (time, click), up to the query's limit.
    fn touches<'a>(&'a self, query: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>>;
    /// The counted, credited clicks that arrived behind these positions, whatever their times are: a part of them that is
    /// read in good time. Clicks may come again; none is left out.
    fn arrived<'a>(&'a self, behind: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>>;
}

/// Orders rows as every store does: times ascending; then clicks, most first; then the key.
pub(crate) fn in_order(mut rows: Vec<ReachRow>, by: &[Dimension]) -> Vec<ReachRow> {
    let times: Vec<usize> = (0..by.len()).filter(|at| by[*at].is_time()).collect();
    rows.sort_by(|a, b| {
        let time = times.iter().map(|at| &a.key[*at]).cmp(times.iter().map(|at| &b.key[*at]));
        time.then(b.clicks.cmp(&a.clicks)).then_with(|| a.key.cmp(&b.key))
    });
    rows
}

/// Whether an event raises a count of reach.
pub const fn counts(kind: Kind, class: Class) -> bool {
    class.counts() && matches!(kind, Kind::Click | Kind::View | Kind::Share)
}
