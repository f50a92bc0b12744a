//! The event store's clicks, as far as the record needs them: asked for at a lead, and followed as they arrive.
//!
//! **At a lead** the clicks of the person's visitors are asked for before the lead is taken, in bounded time. A store that does not
//! answer holds up nobody for long: the decision says so.
//!
//! **Behind it** a follower sees to it that none is missed, in the order in which clicks *arrive* in the store: an event may be hours
//! late, and would be missed by whoever goes by times. First it asks for the history of each visitor that was bound since; what
//! arrives after that answer is behind its position, where it finds the visitor bound. So each click of a bound visitor comes
//! to the record once, whichever was first, and the leads of that person are judged again with it. The position moves in
//! the transaction of the effects; while there are none it is written now and then only, for what is read again changes nothing.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{Desk, evidence::visitor_of, rejudge::refollow, told::ToldLead};
use crate::{
    catalog::{
        Catalog, CatalogError,
        record::{ClickPosition, Recording, TouchRow, VisitorHistory},
    },
    core::{
        code::Code,
        id::VisitorId,
        limits::{HISTORY_PAUSE, HISTORY_TIMEOUT, TOUCH_PAGE_ROWS, TOUCH_VISITORS_MAX, VISITOR_TOUCHES_MAX},
    },
    io::clock::Clock,
    store::{CreditedClick, EventCursor, Position, ReportError, Reports, TouchQuery},
};

/// Touches of one transaction: it holds up the others.
const BATCH: usize = 100;
/// Pages of one question: all touches that are kept of all its visitors.
const PAGES_MAX: u32 = TOUCH_VISITORS_MAX * VISITOR_TOUCHES_MAX / TOUCH_PAGE_ROWS + 1;
/// After so many turns without an effect the position is written all the same.
const TURNS_UNWRITTEN: u32 = 30;

#[derive(Debug, thiserror::Error)]
pub enum ClicksError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Store(#[from] ReportError),
}

/// Where clicks are asked for.
pub(super) struct Clicks {
    reports: Arc<dyn Reports>,
    /// Milliseconds since the epoch until when nobody waits for a store that has just not answered.
    paused_until: AtomicI64,
}

impl std::fmt::Debug for Clicks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clicks").field("paused_until", &self.paused_until).finish_non_exhaustive()
    }
}

/// What the event store said before a lead.
#[derive(Debug, Default)]
pub(super) struct Asked {
    visitors: Vec<VisitorId>,
    touches: Vec<TouchRow>,
}

impl Asked {
    /// Brings it into the record, where whoever binds these visitors finds it.
    pub(super) async fn keep(self, record: &mut Recording) -> Result<(), CatalogError> {
        for touch in &self.touches {
            record.put_touch(touch).await?;
        }
        record.history_asked(&self.visitors).await
    }
}

fn row(click: CreditedClick) -> TouchRow {
    let CreditedClick { time, id, visitor, program, link, partner, ad } = click;
    TouchRow { click: id, visitor, program, link, partner, ad, at: time }
}

impl Clicks {
    pub(super) fn new(reports: Arc<dyn Reports>) -> Clicks {
        Clicks { reports, paused_until: AtomicI64::new(i64::MIN) }
    }

    /// All touches of these visitors.
    async fn touches(&self, visitors: &[VisitorId]) -> Result<Vec<TouchRow>, ReportError> {
        let mut query = TouchQuery { visitors: visitors.to_vec(), limit: TOUCH_PAGE_ROWS, ..TouchQuery::default() };
        let mut touches = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.reports.touches(&query).await?;
            let Some(last) = page.last() else { break };
            query.after = Some(EventCursor { time: last.time, id: last.id });
            let whole = page.len() < TOUCH_PAGE_ROWS as usize;
            touches.extend(page.into_iter().map(row));
            if whole {
                break;
            }
        }
        Ok(touches)
    }

    /// Counted clicks of links, if the store answers in time.
    pub(super) async fn counted(&self, links: &[Code]) -> Vec<(Code, u64)> {
        match tokio::time::timeout(HISTORY_TIMEOUT, self.reports.link_clicks(links)).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Touches, if the store answers in time.
    async fn soon(&self, visitors: &[VisitorId], clock: &Clock) -> Option<Vec<TouchRow>> {
        if clock.now().0 < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        let problem = match tokio::time::timeout(HISTORY_TIMEOUT, self.touches(visitors)).await {
            Ok(Ok(touches)) => return Some(touches),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", HISTORY_TIMEOUT.as_secs()),
        };
        let pause = i64::try_from(HISTORY_PAUSE.as_millis()).unwrap_or(i64::MAX);
        self.paused_until.store(clock.now().plus(pause).0, Ordering::Relaxed);
        tracing::warn!(problem, "leads are taken without the history of their visitors, and judged again later");
        None
    }
}

impl Desk {
    /// What the event store knows of the visitors of whoever this lead is about. Those that are followed already need no question.
    pub(super) async fn ask_history(&self, told: &ToldLead) -> Result<Asked, CatalogError> {
        let Some(clicks) = &self.clicks else { return Ok(Asked::default()) };
        let mut visitors: BTreeSet<VisitorId> = BTreeSet::new();
        visitors.extend(visitor_of(told, &self.keys.load(), self.clock.now()));
        if visitors.is_empty() {
            // Nothing new is bound by this lead; what was bound before is followed.
            return Ok(Asked::default());
        }
        for (visitor, history) in self.catalog.visitors_of(&told.person).await? {
            match history {
                VisitorHistory::Whole => visitors.remove(&visitor),
                VisitorHistory::Unasked | VisitorHistory::AtLead => visitors.insert(visitor),
            };
        }
        let visitors: Vec<VisitorId> = visitors.into_iter().take(TOUCH_VISITORS_MAX as usize).collect();
        if visitors.is_empty() {
            return Ok(Asked::default());
        }
        let touches = clicks.soon(&visitors, &self.clock).await;
        Ok(touches.map_or_else(Asked::default, |touches| Asked { visitors, touches }))
    }
}

/// Follows the clicks of one event store.
#[derive(Debug)]
pub struct ClickFollower {
    catalog: Catalog,
    clicks: Arc<Clicks>,
    /// The store's name in the catalog.
    store: String,
    /// As the catalog has them; `None`: not read yet.
    stored: Option<Vec<ClickPosition>>,
    /// As far as everything was looked through.
    reached: Vec<ClickPosition>,
    unwritten: u32,
}

impl ClickFollower {
    /// `store` tells this event store from others whose clicks come to the same catalog.
    pub fn new(catalog: Catalog, reports: Arc<dyn Reports>, store: impl Into<String>) -> ClickFollower {
        let clicks = Arc::new(Clicks::new(reports));
        ClickFollower { catalog, clicks, store: store.into(), stored: None, reached: Vec::new(), unwritten: 0 }
    }

    /// One turn. Gives whether there is more to do at once.
    pub async fn turn(&mut self) -> Result<bool, ClicksError> {
        let asked = self.ask_about_the_new().await?;
        Ok(self.look_at_arrived().await? || asked)
    }

    /// The history of visitors that were bound since.
    async fn ask_about_the_new(&self) -> Result<bool, ClicksError> {
        let visitors = self.catalog.unasked_visitors(TOUCH_VISITORS_MAX).await?;
        if visitors.is_empty() {
            return Ok(false);
        }
        let touches = self.clicks.touches(&visitors).await?;
        // Each visitor that may be spoken of differently now, also where no click is new: that it was asked about is news.
        let mut record = self.catalog.record().await?;
        for touch in &touches {
            record.put_touch(touch).await?;
        }
        record.history_is(&visitors, VisitorHistory::Whole).await?;
        for contact in record.contacts_of(&visitors.iter().copied().collect()).await? {
            refollow(&mut record, contact).await?;
        }
        record.commit().await?;
        Ok(visitors.len() == TOUCH_VISITORS_MAX as usize)
    }

    async fn look_at_arrived(&mut self) -> Result<bool, ClicksError> {
        if self.stored.is_none() {
            let stored = self.catalog.click_positions(&self.store).await?;
            self.reached.clone_from(&stored);
            self.stored = Some(stored);
        }
        let behind: Vec<Position> = self
            .reached
            .iter()
            .map(|position| Position { source: position.source.clone(), partition: position.log, next: position.next })
            .collect();
        let arrived = self.clicks.reports.arrived(&behind).await?;
        if arrived.positions.is_empty() {
            return Ok(false);
        }
        let mut reached = self.reached.clone();
        for Position { source, partition, next } in arrived.positions {
            reached.retain(|known| (&known.source, known.log) != (&source, partition));
            reached.push(ClickPosition { source, log: partition, next });
        }
        let visitors: BTreeSet<VisitorId> = arrived.clicks.iter().map(|click| click.visitor).collect();
        let bound = self.catalog.bound_among(&visitors).await?;
        let clicks = arrived.clicks.into_iter().filter(|click| bound.contains(&click.visitor));
        let touches: Vec<TouchRow> = clicks.map(row).collect();
        self.unwritten += 1;
        if touches.is_empty() && self.unwritten < TURNS_UNWRITTEN {
            self.reached = reached;
            return Ok(arrived.more);
        }
        let known = self.take(touches, &reached).await?;
        self.unwritten = 0;
        if known {
            self.reached.clone_from(&reached);
            self.stored = Some(reached);
        } else {
            // Somebody else follows too: on from where they are.
            self.stored = None;
        }
        Ok(arrived.more)
    }

    /// Brings touches into the record, a few at a time, and the position with the last of them. Gives whether it was ours to move.
    async fn take(&self, touches: Vec<TouchRow>, reached: &[ClickPosition]) -> Result<bool, CatalogError> {
        let stored = self.stored.as_deref().unwrap_or_default();
        let moved: Vec<ClickPosition> = reached.iter().filter(|now| !stored.contains(now)).cloned().collect();
        let mut batches = touches.chunks(BATCH).peekable();
        loop {
            let batch = batches.next().unwrap_or_default();
            let is_last = batches.peek().is_none();
            let mut record = self.catalog.record().await?;
            let mut news = BTreeSet::new();
            for touch in batch {
                if record.put_touch(touch).await? {
                    news.insert(touch.visitor);
                }
            }
            for contact in record.contacts_of(&news).await? {
                refollow(&mut record, contact).await?;
            }
            let ours = !is_last || record.move_click_positions(&self.store, stored, &moved).await?;
            if !ours {
                // What whoever was faster has seen is in the record, and what they have not they will see.
                record.rollback().await?;
                return Ok(false);
            }
            record.commit().await?;
            if is_last {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
impl ClickFollower {
    /// Turns until there is nothing more to do.
    pub(super) async fn catch_up(&mut self) -> Result<(), ClicksError> {
        while self.turn().await? {}
        Ok(())
    }
}
