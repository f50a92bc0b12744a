//! The touches of visitors, and the clicks that arrived.
//!
//! **By visitor.** The runs of `visits` say where a visitor's clicks stand, up to `visited.seq`; younger events, at most a run and a
//! batch, are looked through. All of it in one read transaction: the answer is exact at any moment.
//!
//! **By arrival.** `seq` rises in the order of commits, and there is one writer: whoever has seen all up to a number has missed
//! nothing below it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    super::{Arrived, CreditedClick, EventCursor, Position, ReportError, TouchQuery},
    record::Binder,
    reports::SqliteReports,
    visits::{BUCKETS, hits, place},
};
use crate::core::{id::VisitorId, limits::ARRIVED_MAX_EVENTS};

pub(super) const CREDITED: &str = "kind = 1 AND class IN (1, 2) AND partner IS NOT NULL AND visitor IS NOT NULL";
const COLUMNS: &str =
    "e.time_ms, e.id, e.visitor, ifnull(e.program, ''), ifnull(e.link, ''), e.partner, ifnull(e.ad, '')";

fn click(row: &SqliteRow) -> Result<Option<CreditedClick>, sqlx::Error> {
    let texts = [row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?];
    Ok(CreditedClick::of((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?), texts))
}

fn clicks(rows: &[SqliteRow]) -> Result<Vec<CreditedClick>, ReportError> {
    Ok(rows.iter().filter_map(|row| click(row).transpose()).collect::<Result<_, _>>()?)
}

/// Numbers of events that may be these visitors'.
async fn found(connection: &mut SqliteConnection, visitors: &BTreeSet<VisitorId>) -> Result<Vec<i64>, ReportError> {
    let mut by_bucket: BTreeMap<u8, Vec<VisitorId>> = BTreeMap::new();
    for visitor in visitors {
        by_bucket.extend(place(&visitor.0).map(|(bucket, _)| (bucket, Vec::new())));
    }
    for visitor in visitors {
        if let Some(of_bucket) = place(&visitor.0).and_then(|(bucket, _)| by_bucket.get_mut(&bucket)) {
            of_bucket.push(*visitor);
        }
    }
    let mut found = Vec::new();
    for (bucket, visitors) in by_bucket {
        let sql = format!(
            "WITH RECURSIVE run (n) AS (SELECT (SELECT min(n) FROM visits) / {BUCKETS} * {BUCKETS} + ? \
             UNION ALL SELECT n + {BUCKETS} FROM run WHERE n < (SELECT max(n) FROM visits)) \
             SELECT visits.first, visits.entries FROM run CROSS JOIN visits ON visits.n = run.n"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(bucket)).fetch_all(&mut *connection).await?;
        for row in &rows {
            let (first, entries): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            for visitor in &visitors {
                found.extend(hits(*visitor, first, entries));
            }
        }
    }
    Ok(found)
}

impl SqliteReports {
    pub(super) async fn touch_page(&self, query: &TouchQuery) -> Result<Vec<CreditedClick>, ReportError> {
        let visitors: BTreeSet<VisitorId> = query.visitors.iter().copied().collect();
        if visitors.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.pool.begin().await?;
        let found = found(&mut transaction, &visitors).await?;
        let mut values = Binder::default();
        let wanted = |values: &mut Binder| {
            visitors.iter().for_each(|visitor| values.bytes(&visitor.0));
            let mut text = format!("{CREDITED} AND visitor IN ({})", vec!["?"; visitors.len()].join(", "));
            for (condition, bound) in [(" AND time_ms >= ?", query.since), (" AND time_ms < ?", query.until)] {
                if let Some(bound) = bound {
                    text.push_str(condition);
                    values.number(bound.0);
                }
            }
            if let Some(EventCursor { time, id }) = query.after {
                text.push_str(" AND (time_ms, id) > (?, ?)");
                values.number(time.0);
                values.bytes(&id.0);
            }
            text
        };
        let numbers = serde_json::to_string(&found).map_err(|error| ReportError::Invalid(error.to_string()))?;
        values.text(&numbers);
        let pointed = wanted(&mut values);
        let young = wanted(&mut values);
        let sql = format!(
            "SELECT * FROM (SELECT {COLUMNS} FROM events AS e WHERE seq IN (SELECT value FROM json_each(?)) AND {pointed} \
             UNION ALL SELECT {COLUMNS} FROM events AS e NOT INDEXED WHERE seq > (SELECT seq FROM visited) AND {young}) \
             ORDER BY 1, 2 LIMIT ?"
        );
        values.number(i64::from(query.limit));
        let rows = sqlx::query_with(AssertSqlSafe(sql), values.finish()?).fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        clicks(&rows)
    }

    pub(super) async fn arrived_behind(&self, behind: &[Position]) -> Result<Arrived, ReportError> {
        let mut transaction = self.pool.begin().await?;
        let ends = sqlx::query("SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)");
        let ends = ends.fetch_one(&mut *transaction).await?;
        let (first, last): (Option<i64>, Option<i64>) = (ends.try_get(0)?, ends.try_get(1)?);
        let (Some(first), Some(last)) = (first, last) else { return Ok(Arrived::default()) };
        let known = behind.iter().find(|position| position.source.is_empty()).map_or(0, |position| position.next);
        let known = i64::try_from(known).unwrap_or(i64::MAX);
        // A position beyond the end is one of another file, which is gone: this one is followed from its beginning.
        let from = if known > last + 1 { first } else { known.max(first) };
        let to = (last + 1).min(from + ARRIVED_MAX_EVENTS);
        if from >= to {
            return Ok(Arrived::default());
        }
        let sql =
            format!("SELECT {COLUMNS} FROM events AS e NOT INDEXED WHERE e.seq >= ? AND e.seq < ? AND {CREDITED}");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(from).bind(to).fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        let moved = Position { source: String::new(), partition: 0, next: to.unsigned_abs() };
        Ok(Arrived { clicks: clicks(&rows)?, positions: vec![moved], more: to <= last })
    }
}
