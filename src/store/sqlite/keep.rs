//! Forgetting: an erasure goes through the rows span by span, in the order of arrival; the retention deletes by time.
//!
//! The sink is the one who writes sums, and knows by `summed.seq` and the newest row whether they are still its own. An erasure
//! changes neither, nor any column that is summed. The retention deletes only rows that are in the sums; where they are not yet,
//! it has them written by a sink of its own.
//!
//! **An erasure's position** is `visitors:A:C` or `clicks:A:C`: rows up to `A` were looked through for visitors, those up to `C`
//! for clicks. A click that is found sends the second look back to the beginning, because what names it may have come before it.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Row, sqlite::SqlitePool};
use tokio::sync::OnceCell;

use super::{SqliteSink, record, sink::in_write};
use crate::{
    core::{
        event::{Event, Kind},
        id::{EventId, VisitorId},
        limits::{ERASE_SPAN_ROWS, EXPIRE_ROWS},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        BoxFuture, ReportError, SinkError,
        keep::{Erased, Erasure, Keeper},
    },
};

/// Rows of one statement.
const ROWS: usize = 500;

/// Forgets in `events.db`; opens it when it is first needed.
#[derive(Debug)]
pub struct SqliteKeeper {
    path: PathBuf,
    pool: OnceCell<SqlitePool>,
    clock: Clock,
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    looks_for_clicks: bool,
    visitors: i64,
    clicks: i64,
}

impl Position {
    fn read(text: &str) -> Position {
        let mut parts = text.split(':');
        let looks_for_clicks = parts.next() == Some("clicks");
        let mut number = || parts.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Position { looks_for_clicks, visitors: number(), clicks: number() }
    }

    fn text(self) -> String {
        let what = if self.looks_for_clicks { "clicks" } else { "visitors" };
        format!("{what}:{}:{}", self.visitors, self.clicks)
    }
}

/// `x'0a…', x'0b…'`: literals of our own bytes.
fn literals<'a>(ids: impl Iterator<Item = &'a [u8; 16]>) -> String {
    let texts: Vec<String> = ids.map(|id| format!("x'{}'", data_encoding::HEXLOWER.encode(id))).collect();
    texts.join(", ")
}

impl SqliteKeeper {
    pub fn new(path: &Path, clock: Clock) -> SqliteKeeper {
        SqliteKeeper { path: path.to_path_buf(), pool: OnceCell::new(), clock }
    }

    async fn pool(&self) -> Result<&SqlitePool, ReportError> {
        Ok(self.pool.get_or_try_init(|| super::writer(&self.path)).await?)
    }

    async fn rows_of(&self, visitors: &[VisitorId], clicks: &[EventId], limit: u32) -> Result<Vec<Event>, ReportError> {
        let (visitors, clicks) = (literals(visitors.iter().map(|id| &id.0)), literals(clicks.iter().map(|id| &id.0)));
        let sql = format!(
            "SELECT {} FROM events WHERE visitor IN ({visitors}) OR click IN ({clicks}) OR id IN ({clicks}) \
             ORDER BY time_ms, id LIMIT {limit}",
            record::COLUMNS.join(", ")
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(self.pool().await?).await?;
        Ok(rows.iter().map(record::read).collect::<Result<_, _>>()?)
    }

    async fn erase_span(&self, erasure: &Erasure) -> Result<Erased, ReportError> {
        let pool = self.pool().await?;
        let ends =
            sqlx::query("SELECT ifnull(min(seq), 1) - 1, ifnull(max(seq), 0) FROM events").fetch_one(pool).await?;
        let (beginning, end): (i64, i64) = (ends.try_get(0)?, ends.try_get(1)?);
        let mut position = Position::read(&erasure.position);
        let nothing = erasure.visitors.is_empty() && erasure.clicks.is_empty();
        if !position.looks_for_clicks && (position.visitors >= end || nothing) {
            (position.looks_for_clicks, position.visitors) = (true, end);
        }
        let from = if position.looks_for_clicks { position.clicks } else { position.visitors }.max(beginning);
        let to = (from + ERASE_SPAN_ROWS).min(end);
        if position.looks_for_clicks && (from >= end || nothing) {
            let position = Position { looks_for_clicks: false, visitors: position.visitors, clicks: end }.text();
            return Ok(Erased { position, is_done: true, ..Erased::default() });
        }
        let (rows, clicks) = self.find(erasure, position.looks_for_clicks, from, to).await?;
        self.strip(erasure, &rows).await?;
        if position.looks_for_clicks {
            position.clicks = to;
        } else {
            position.visitors = to;
        }
        let fresh = clicks.iter().any(|click| !erasure.clicks.contains(click));
        if fresh {
            position.clicks = 0;
        }
        Ok(Erased { events: rows.len() as u64, clicks, position: position.text(), is_done: false })
    }

    /// Rows of a span that are theirs and still say so, and the clicks among all that are theirs.
    async fn find(
        &self,
        erasure: &Erasure,
        by_clicks: bool,
        from: i64,
        to: i64,
    ) -> Result<(Vec<i64>, Vec<EventId>), ReportError> {
        let theirs = if by_clicks {
            let clicks = literals(erasure.clicks.iter().map(|id| &id.0));
            format!("(id IN ({clicks}) OR click IN ({clicks}))")
        } else {
            let both = erasure.visitors.iter().flat_map(|(old, new)| [&old.0, &new.0]);
            format!("visitor IN ({})", literals(both))
        };
        let old = literals(erasure.visitors.iter().map(|(old, _)| &old.0));
        let sql = format!(
            "SELECT seq, id, kind, ifnull(visitor IN ({old}), 0) OR {POINTS} FROM events \
             WHERE seq > ? AND seq <= ? AND time_ms <= ? AND {theirs}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(from).bind(to).bind(erasure.until.0);
        let (mut stripped, mut clicks) = (Vec::new(), Vec::new());
        for row in query.fetch_all(self.pool().await?).await? {
            if row.try_get::<i64, _>(3)? != 0 {
                stripped.push(row.try_get(0)?);
            }
            let id: Vec<u8> = row.try_get(1)?;
            if row.try_get::<i64, _>(2)? == Kind::Click as i64
                && let Ok(id) = id.try_into()
            {
                clicks.push(EventId(id));
            }
        }
        Ok((stripped, clicks))
    }

    async fn strip(&self, erasure: &Erasure, rows: &[i64]) -> Result<(), ReportError> {
        let mut visitor = String::from("visitor");
        if !erasure.visitors.is_empty() {
            let when = |(old, new): &(VisitorId, VisitorId)| {
                format!(" WHEN {} THEN {}", literals(std::iter::once(&old.0)), literals(std::iter::once(&new.0)))
            };
            let cases: String = erasure.visitors.iter().map(when).collect();
            visitor = format!("CASE visitor{cases} ELSE visitor END");
        }
        for rows in rows.chunks(ROWS) {
            let numbers: Vec<String> = rows.iter().map(i64::to_string).collect();
            let sql = format!("UPDATE events SET visitor = {visitor}, {CLEARED} WHERE seq IN ({})", numbers.join(", "));
            sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(self.pool().await?).await?;
        }
        Ok(())
    }

    async fn expire_some(&self, before: Millis) -> Result<u64, ReportError> {
        let pool = self.pool().await?;
        let before = before.hour().0;
        let young = "SELECT 1 FROM events WHERE time_ms < ? AND seq > (SELECT seq FROM summed) LIMIT 1";
        if sqlx::query(young).bind(before).fetch_optional(pool).await?.is_some() {
            let mut sink =
                SqliteSink::open(&self.path, self.clock.clone()).await.map_err(|error| unavailable(&error))?;
            let settled = sink.settle().await;
            sink.close().await;
            settled.map_err(|error| unavailable(&error))?;
        }
        let mut transaction = in_write(pool).await?;
        let deleted = sqlx::query(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE time_ms < ? \
             AND seq <= (SELECT seq FROM summed) ORDER BY time_ms LIMIT ?)",
        )
        .bind(before)
        .bind(EXPIRE_ROWS)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if deleted > 0 {
            sqlx::query(
                "INSERT INTO kept VALUES (1, ?) ON CONFLICT DO UPDATE SET since_ms = max(since_ms, excluded.since_ms)",
            )
            .bind(before)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(deleted)
    }
}

/// Whether a row still points to somebody, its visitor aside.
const POINTS: &str =
    "coalesce(click, address, network, region, city, referrer, sub1, sub2, sub3, sub4, sub5) IS NOT NULL";
const CLEARED: &str = "click = NULL, address = NULL, network = NULL, region = NULL, city = NULL, referrer = NULL, \
                       sub1 = NULL, sub2 = NULL, sub3 = NULL, sub4 = NULL, sub5 = NULL";

fn unavailable(error: &SinkError) -> ReportError {
    ReportError::Unavailable(error.to_string())
}

impl Keeper for SqliteKeeper {
    fn events_of<'a>(
        &'a self,
        visitors: &'a [VisitorId],
        clicks: &'a [EventId],
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Box::pin(self.rows_of(visitors, clicks, limit))
    }

    fn erase<'a>(&'a self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Erased, ReportError>> {
        Box::pin(self.erase_span(erasure))
    }

    fn expire(&self, before: Millis) -> BoxFuture<'_, Result<u64, ReportError>> {
        Box::pin(self.expire_some(before))
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<Option<Millis>, ReportError>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT since_ms FROM kept").fetch_optional(self.pool().await?).await?;
            Ok(row.map(|row| row.try_get(0).map(Millis)).transpose()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::{
        core::id::LaneId,
        store::{
            Batch, Filter, LinksQuery, ReachQuery, Reports, Sink,
            model::{self, START},
            sqlite::{FILE, SqliteReports},
        },
    };

    const OLD: VisitorId = VisitorId([1; 16]);
    const NEW: VisitorId = VisitorId([0xee; 16]);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Events that point to people in every way there is; leads name the click before them.
    fn pointing(mut events: Vec<Event>) -> Vec<Event> {
        let mut click = vec![9; 16];
        for event in &mut events {
            (event.address, event.city, event.network) = (vec![1, 2, 3], "Bonn".to_owned(), "AS1".to_owned());
            (event.referrer, event.sub1, event.sub5) = ("a.example".to_owned(), "ann".to_owned(), "x".to_owned());
            match event.kind() {
                Kind::Click => click = event.id.clone(),
                Kind::Lead => (event.click, event.visitor) = (click.clone(), Vec::new()),
                _ => {}
            }
        }
        events
    }

    async fn store(sink: &mut SqliteSink, first: u64, events: &[Event]) {
        let records: Vec<_> = (first..).zip(events.iter().map(Event::encode_to_vec)).collect();
        let next = first + events.len() as u64;
        sink.store(&[Batch { lane: LaneId(7), records, next }]).await.unwrap();
    }

    /// To the end; how many rows were changed.
    async fn erase(keeper: &SqliteKeeper, erasure: &mut Erasure) -> u64 {
        let mut rows = 0;
        for _ in 0..1_000 {
            let done = keeper.erase(erasure).await.unwrap();
            rows += done.events;
            erasure.position = done.position;
            for click in done.clicks {
                if !erasure.clicks.contains(&click) {
                    erasure.clicks.push(click);
                }
            }
            if done.is_done {
                return rows;
            }
        }
        panic!("an erasure without an end");
    }

    fn of_ann(until: Millis) -> Erasure {
        Erasure { visitors: vec![(OLD, NEW)], until, ..Erasure::default() }
    }

    async fn all(reports: &SqliteReports) -> Vec<Event> {
        reports.events(&Filter::default(), None, 10_000).await.unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reports_are_what_they_were_and_nothing_points_to_the_person(
            events in model::history(80), questions in prop::collection::vec(model::question(), 1..5), lag in 1..100u64,
        ) {
            block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join(FILE);
                let events = pointing(events);
                let mut sink = SqliteSink::open(&path, Clock::manual(START)).await.unwrap();
                sink.sums_lag = lag;
                store(&mut sink, 0, &events).await;
                let (keeper, reports) =
                    (SqliteKeeper::new(&path, Clock::manual(START)), SqliteReports::open(&path).await.unwrap());
                let mut before = Vec::new();
                for question in &questions {
                    before.push(reports.reach(question).await.unwrap());
                }
                let links = reports.links(&LinksQuery::default()).await.unwrap();
                let theirs = keeper.events_of(&[OLD], &[], 1_000).await.unwrap().len();
                let rows = erase(&keeper, &mut of_ann(START.plus(i64::MAX / 4))).await;
                prop_assert!(rows >= theirs as u64);
                prop_assert!(keeper.events_of(&[OLD], &[], 1_000).await.unwrap().is_empty());
                for (question, before) in questions.iter().zip(&before) {
                    prop_assert_eq!(&reports.reach(question).await.unwrap(), before, "{:?}", question);
                }
                prop_assert_eq!(&reports.links(&LinksQuery::default()).await.unwrap(), &links);
                let clicks: Vec<Vec<u8>> = events
                    .iter()
                    .filter(|event| event.kind() == Kind::Click && event.visitor == OLD.0)
                    .map(|event| event.id.clone())
                    .collect();
                let after = all(&reports).await;
                prop_assert_eq!(after.len(), events.len());
                for event in &after {
                    prop_assert!(event.visitor != OLD.0 && !clicks.contains(&event.click), "{:?}", event);
                    let bare = event.address.is_empty() && event.sub1.is_empty() && event.city.is_empty();
                    let named = events.iter().any(|e| e.id == event.id && clicks.contains(&e.click));
                    prop_assert_eq!(bare, event.visitor == NEW.0 || named, "{:?}", event);
                }
                // Again it changes nothing, and the sink goes on as if nothing had been.
                prop_assert_eq!(erase(&keeper, &mut of_ann(START.plus(i64::MAX / 4))).await, 0);
                store(&mut sink, events.len() as u64, &events).await;
                let whole = ReachQuery { without_visitors: true, ..ReachQuery::default() };
                let twice = reports.reach(&whole).await.unwrap()[0].clicks;
                let once: u64 = events.iter().filter(|e| e.kind() == Kind::Click && e.class().counts()).map(Event::weight).sum();
                prop_assert_eq!(twice, 2 * once);
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_late_event_is_found_by_the_next_look_and_a_younger_one_is_left_alone() {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE);
            let click = |number: u8, at: i64| Event {
                id: EventId::new(START.plus(at), [number; 10]).0.into(),
                kind: Kind::Click as i32,
                class: 1,
                time_ms: START.plus(at).0,
                visitor: OLD.0.to_vec(),
                sub1: "ann".to_owned(),
                ..Event::default()
            };
            let mut sink = SqliteSink::open(&path, Clock::manual(START)).await.unwrap();
            let late = click(2, 2);
            let lead = Event { kind: Kind::Lead as i32, visitor: Vec::new(), click: late.id.clone(), ..click(9, 3) };
            store(&mut sink, 0, &[click(1, 1), lead]).await;
            let keeper = SqliteKeeper::new(&path, Clock::manual(START));
            let mut erasure = of_ann(START.plus(100));
            assert_eq!(erase(&keeper, &mut erasure).await, 1, "nobody knows yet whose the lead's click is");
            // The click that the lead names comes last.
            store(&mut sink, 2, &[late, click(3, 101)]).await;
            assert_eq!(erase(&keeper, &mut erasure).await, 2, "the late click, and the lead before it");
            let reports = SqliteReports::open(&path).await.unwrap();
            let visitors: Vec<Vec<u8>> = all(&reports).await.into_iter().map(|event| event.visitor).collect();
            let new = NEW.0.to_vec();
            assert_eq!(visitors, [new.clone(), new, Vec::new(), OLD.0.to_vec()]);
            assert_eq!(erase(&keeper, &mut erasure).await, 0);
        });
    }

    #[test]
    fn rows_that_had_their_time_go_and_their_sums_stay() {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE);
            let hour = crate::core::time::HOUR_MS;
            let click = |number: u8, at: i64| Event {
                id: EventId::new(START.plus(at), [number; 10]).0.into(),
                kind: Kind::Click as i32,
                class: 1,
                time_ms: START.plus(at).0,
                link: "haircare".to_owned(),
                visitor: vec![number; 16],
                ..Event::default()
            };
            let mut sink = SqliteSink::open(&path, Clock::manual(START)).await.unwrap();
            store(&mut sink, 0, &[click(1, 0), click(2, hour - 1), click(3, hour)]).await;
            let keeper = SqliteKeeper::new(&path, Clock::manual(START));
            let reports = SqliteReports::open(&path).await.unwrap();
            let totals = async || {
                let row = reports.reach(&ReachQuery::default()).await.unwrap().remove(0);
                (row.clicks, row.unique_visitors)
            };
            assert_eq!((keeper.complete_since().await.unwrap(), totals().await), (None, (3, Some(3))));
            let before = START.plus(hour + 5);
            assert_eq!(keeper.expire(before).await.unwrap(), 2, "whole hours");
            assert_eq!(keeper.expire(before).await.unwrap(), 0);
            assert_eq!(totals().await, (3, Some(1)), "sums stay, visitors are counted from rows");
            assert_eq!(keeper.complete_since().await.unwrap(), Some(START.plus(hour)));
            // All rows gone, and the sink that was open all the time goes on.
            assert_eq!(keeper.expire(START.plus(9 * hour)).await.unwrap(), 1);
            store(&mut sink, 3, &[click(4, 2 * hour)]).await;
            assert_eq!(totals().await, (4, Some(1)));
            let clicks = reports.link_clicks(&["haircare".parse().unwrap()]).await.unwrap();
            assert_eq!(clicks[0].1, 4);
        });
    }
}
