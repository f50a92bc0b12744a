//! Forgetting: an erasure is a mutation of the rows; sums stand behind views that no mutation reaches. What is too old goes by the
//! table's own TTL (`fingerpost migrate`).
//!
//! A mutation runs in the server, for as long as it takes: a step counts what still points to the person, begins a mutation where
//! there is something and none runs, and is done when there is nothing. So it does not matter who asks, how often, and what was
//! killed in between.

use clickhouse::query::Query;

use super::{Store, answer::Stored, error::StoreError};
use crate::{
    core::{
        event::Event,
        id::{EventId, VisitorId},
        limits::PERSON_CLICKS_MAX,
        time::Millis,
    },
    io::clock::Clock,
    store::{
        BoxFuture, ReportError,
        keep::{Erased, Erasure, Keeper},
    },
};

/// Forgets in ClickHouse.
#[derive(Clone, Debug)]
pub struct ClickHouseKeeper {
    store: Store,
    clock: Clock,
}

/// Whether a row still points to somebody, its visitor aside.
const POINTS: &str = "(click IS NOT NULL OR address != '' OR network != '' OR region != '' OR city != '' OR referrer != '' \
                      OR sub1 != '' OR sub2 != '' OR sub3 != '' OR sub4 != '' OR sub5 != '')";
const CLEARED: &str = "click = NULL, address = '', network = '', region = '', city = '', referrer = '', \
                       sub1 = '', sub2 = '', sub3 = '', sub4 = '', sub5 = ''";

/// `toUUID('…'), toUUID('…')`: literals of our own bytes; a UUID that no event has where there are none.
fn literals<'a>(ids: impl Iterator<Item = &'a [u8; 16]>) -> String {
    let texts: Vec<String> = ids.map(|id| format!("toUUID('{}')", EventId(*id))).collect();
    if texts.is_empty() { "toUUID('00000000-0000-0000-0000-000000000000')".to_owned() } else { texts.join(", ") }
}

/// Rows that are theirs and still say so.
fn theirs(erasure: &Erasure, clicks: &[EventId]) -> String {
    let old = literals(erasure.visitors.iter().map(|(old, _)| &old.0));
    let new = literals(erasure.visitors.iter().map(|(_, new)| &new.0));
    let clicks = literals(clicks.iter().map(|id| &id.0));
    format!(
        "time <= fromUnixTimestamp64Milli({}, 'UTC') AND (ifNull(visitor IN ({old}), 0) OR {POINTS} AND \
         (ifNull(visitor IN ({new}), 0) OR id IN ({clicks}) OR ifNull(click IN ({clicks}), 0)))",
        erasure.until.0.max(0)
    )
}

impl ClickHouseKeeper {
    pub fn new(store: Store, clock: Clock) -> ClickHouseKeeper {
        ClickHouseKeeper { store, clock }
    }

    fn asked(&self, text: &str) -> Result<Query, StoreError> {
        self.store.query_raw(text)
    }

    async fn clicks_of(&self, erasure: &Erasure) -> Result<Vec<EventId>, StoreError> {
        let both = literals(erasure.visitors.iter().flat_map(|(old, new)| [&old.0, &new.0]));
        let text = format!(
            "SELECT toString(id) FROM {{database}}.events WHERE kind = 'click' AND visitor IN ({both}) \
             ORDER BY time DESC LIMIT {PERSON_CLICKS_MAX}"
        );
        let ids: Vec<String> = self.store.rows(self.asked(&text)?).await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn step(&self, erasure: &Erasure) -> Result<Erased, StoreError> {
        let mut clicks = self.clicks_of(erasure).await?;
        clicks.extend(&erasure.clicks);
        clicks.sort_unstable();
        clicks.dedup();
        let theirs = theirs(erasure, &clicks);
        let erased = |events, is_done| Erased { events, clicks: clicks.clone(), position: String::new(), is_done };
        let running = "SELECT count() FROM system.mutations WHERE database = ? AND table = 'events' AND is_done = 0";
        let running = self.store.query(running)?.bind(&self.store.form().database);
        if self.store.one::<u64>(running).await? > 0 {
            return Ok(erased(0, false));
        }
        let count = self.asked(&format!("SELECT count() FROM {{database}}.events WHERE {theirs}"))?;
        let events: u64 = self.store.one(count).await?;
        if events == 0 {
            self.forget_names(erasure).await?;
            return Ok(erased(0, true));
        }
        let when = |(old, new): &(VisitorId, VisitorId)| {
            format!("visitor = toUUID('{}'), toUUID('{}'), ", EventId(old.0), EventId(new.0))
        };
        let cases: String = erasure.visitors.iter().map(when).collect();
        let visitor = if cases.is_empty() { String::new() } else { format!("visitor = multiIf({cases}visitor), ") };
        let update = format!("ALTER TABLE {{database}}.events{{on_cluster}} UPDATE {visitor}{CLEARED} WHERE {theirs}");
        self.store.execute(self.asked(&update)?.with_setting("mutations_sync", "0")).await?;
        Ok(erased(events, false))
    }

    /// Names of partners, where an operator has copied them.
    async fn forget_names(&self, erasure: &Erasure) -> Result<(), StoreError> {
        if erasure.partners.is_empty() {
            return Ok(());
        }
        let codes: Vec<&str> = erasure.partners.iter().map(|code| code.as_str()).collect();
        let delete = "DELETE FROM {database}.names{on_cluster} WHERE kind = 'partner' AND code IN ?";
        self.store.execute(self.store.query(delete)?.bind(codes)).await
    }

    async fn rows_of(&self, visitors: &[VisitorId], clicks: &[EventId], limit: u32) -> Result<Vec<Event>, StoreError> {
        let (visitors, clicks) = (literals(visitors.iter().map(|id| &id.0)), literals(clicks.iter().map(|id| &id.0)));
        let text = format!(
            "SELECT {} FROM {{database}}.events WHERE ifNull(visitor IN ({visitors}), 0) OR id IN ({clicks}) \
             OR ifNull(click IN ({clicks}), 0) ORDER BY time, UUIDToNum(id) LIMIT {limit}",
            Stored::COLUMNS
        );
        Ok(self.store.rows::<Stored>(self.asked(&text)?).await?.into_iter().map(Event::from).collect())
    }
}

impl Keeper for ClickHouseKeeper {
    fn events_of<'a>(
        &'a self,
        visitors: &'a [VisitorId],
        clicks: &'a [EventId],
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Box::pin(async move { Ok(self.rows_of(visitors, clicks, limit).await?) })
    }

    fn erase<'a>(&'a self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Erased, ReportError>> {
        Box::pin(async move { Ok(self.step(erasure).await?) })
    }

    fn expire(&self, _before: Millis) -> BoxFuture<'_, Result<u64, ReportError>> {
        Box::pin(async { Ok(0) })
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<Option<Millis>, ReportError>> {
        Box::pin(async {
            // What the table says, not what the configuration wants of it.
            let seconds = i64::try_from(self.store.ttl().await?).unwrap_or(0);
            Ok((seconds > 0).then(|| self.clock.now().plus(seconds.saturating_mul(-1_000)).max(Millis(0))))
        })
    }
}
