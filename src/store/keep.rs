//! What an event store forgets, and what it tells about a person: the contract. Each vendor's folder has its own `keep.rs`.
//!
//! **What an erasure leaves.** Rows stay, because reports count them: time, program, link, partner, ad, class, country, channel,
//! language and device are what many share. What points to somebody goes: click id, sub values, referrer, address, network, region
//! and city; and the visitor's id becomes a random one that no cookie holds. So unique visitors stay what they were, in every
//! report, and nobody can say who they are. Sums are not touched at all.

use crate::{
    core::{
        code::Code,
        event::Event,
        id::{EventId, VisitorId},
        time::Millis,
    },
    store::{BoxFuture, ReportError},
};

/// A person whose events lose what points to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Each of their browsers, and the random id that takes its place.
    pub visitors: Vec<(VisitorId, VisitorId)>,
    /// Clicks that are known to be theirs.
    pub clicks: Vec<EventId>,
    /// Partners that they were: their names.
    pub partners: Vec<Code>,
    /// Younger events are somebody's whom nobody has erased.
    pub until: Millis,
    /// Where the last step ended; empty at first.
    pub position: String,
}

/// What one step has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows that lost something.
    pub events: u64,
    /// Clicks of theirs that were found: later rows may name them.
    pub clicks: Vec<EventId>,
    pub position: String,
    /// Everything that is there now has been looked through. A later look begins at `position`.
    pub is_done: bool,
}

/// An event store, as far as it forgets.
pub trait Keeper: Send + Sync {
    /// Events of these browsers, and of these clicks, the oldest first.
    fn events_of<'a>(
        &'a self,
        visitors: &'a [VisitorId],
        clicks: &'a [EventId],
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>>;
    /// One bounded step of an erasure. A step that is repeated changes nothing more.
    fn erase<'a>(&'a self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Erased, ReportError>>;
    /// Deletes some rows from before a time, but never before they are in the sums. How many; 0: none are left, or the store
    /// does so by itself.
    fn expire(&self, before: Millis) -> BoxFuture<'_, Result<u64, ReportError>>;
    /// Rows from before this time may be gone; `None`: none ever went.
    fn complete_since(&self) -> BoxFuture<'_, Result<Option<Millis>, ReportError>>;
}
