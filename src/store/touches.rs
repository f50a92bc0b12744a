//! The clicks that attribution asks for: counted (human, repeat), credited to a partner, of a visitor who is known by a cookie.
//!
//! They are asked for in two ways: by visitor, when somebody leaves a lead; and in the order of their *arrival*, by whoever
//! follows them. Arrival, not time, because an event may reach its store hours after it happened, and a follower that went by
//! time would have to read those hours again and again, and would still not know how many are enough.

use crate::core::{
    code::Code,
    id::{EventId, VisitorId},
    time::Millis,
};

use super::EventCursor;

/// A question about touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchQuery {
    pub visitors: Vec<VisitorId>,
    /// Inclusive.
    pub since: Option<Millis>,
    /// Exclusive.
    pub until: Option<Millis>,
    /// Where the next page goes on: behind this click.
    pub after: Option<EventCursor>,
    pub limit: u32,
}

/// A counted, credited click of a known visitor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreditedClick {
    pub time: Millis,
    pub id: EventId,
    pub visitor: VisitorId,
    /// `None`: neither the link nor the partner names one.
    pub program: Option<Code>,
    pub link: Option<Code>,
    pub partner: Code,
    pub ad: Option<Code>,
}

impl CreditedClick {
    /// From the texts of a row; `None` where they cannot be a credited click.
    pub(super) fn of(
        (time, id, visitor): (i64, &[u8], &[u8]),
        [program, link, partner, ad]: [&str; 4],
    ) -> Option<CreditedClick> {
        let code = |text: &str| text.parse::<Code>().ok();
        Some(CreditedClick {
            time: Millis(time),
            id: EventId(id.try_into().ok()?),
            visitor: VisitorId(visitor.try_into().ok()?),
            program: code(program),
            link: code(link),
            partner: code(partner)?,
            ad: code(ad),
        })
    }
}

/// How far somebody has followed one of the store's logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// A log as the store names it: a topic, a lane; empty where there is one only.
    pub source: String,
    pub partition: u32,
    /// Everything below was told.
    pub next: u64,
}

/// What has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    pub clicks: Vec<CreditedClick>,
    /// The positions that have moved, and where they are now.
    pub positions: Vec<Position>,
    /// There is more behind these positions: ask again.
    pub more: bool,
}
