//! Reading: reach and links from the sums, unique visitors and events from the rows.
//!
//! The statements of one question run in one read transaction, so they see the same events.

use std::{collections::BTreeMap, path::Path};

use sqlx::{
    Arguments, AssertSqlSafe, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqlitePool, SqliteRow},
};

use super::{
    super::{
        Arrived, BoxFuture, CreditedClick, Dimension, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery,
        ReachRow, ReportError, Reports, TouchQuery, in_order,
    },
    closed::{self, Source, source},
    error::{Verdict, sort},
    record,
};
use crate::core::{
    code::Code,
    event::{Class, Event, Reason},
    time::{DAY_MS, HOUR_MS, Millis},
};

/// Answers from `events.db`; cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteReports {
    pub(super) pool: SqlitePool,
}

const COUNTED: &str = "class IN (1, 2)";

impl From<sqlx::Error> for ReportError {
    fn from(error: sqlx::Error) -> ReportError {
        match sort(&error) {
            Verdict::Retry(text) | Verdict::Fatal(text) | Verdict::Data(text) => ReportError::Unavailable(text),
        }
    }
}

/// The text of a statement, and its values, grown together.
#[derive(Default)]
struct Statement {
    sql: String,
    arguments: SqliteArguments,
}

impl Statement {
    fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), arguments: SqliteArguments::default() }
    }

    /// Appends text with one `?`, and its value. All text comes from this file; values are always bound.
    fn and<T: for<'q> sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        &mut self,
        text: &str,
        value: T,
    ) -> Result<(), ReportError> {
        self.sql.push_str(text);
        self.arguments.add(value).map_err(|error| ReportError::Invalid(error.to_string()))
    }

    fn codes(&mut self, filter: &Filter) -> Result<(), ReportError> {
        let codes = [
            (" AND program = ?", &filter.program),
            (" AND link = ?", &filter.link),
            (" AND partner = ?", &filter.partner),
            (" AND ad = ?", &filter.ad),
        ];
        for (text, code) in codes {
            if let Some(code) = code {
                self.and(text, code.as_str().to_owned())?;
            }
        }
        Ok(())
    }

    /// Limits a time column to the filter's range, in whole hours.
    fn hours(&mut self, column: &str, filter: &Filter) -> Result<(), ReportError> {
        if let Some(since) = filter.since {
            self.and(&format!(" AND {column} >= ?"), since.hour().0)?;
        }
        if let Some(until) = filter.until {
            self.and(&format!(" AND {column} < ?"), until.plus(HOUR_MS - 1).hour().0)?;
        }
        Ok(())
    }

    /// The same of sums, where their source is not limited yet.
    fn hours_of(&mut self, source: &Source, filter: &Filter) -> Result<(), ReportError> {
        if source.is_limited() { Ok(()) } else { self.hours("hour", filter) }
    }

    async fn all(self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, ReportError> {
        Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).fetch_all(connection).await?)
    }
}

/// A dimension as a column of the view `reach`.
fn of_sums(dimension: Dimension) -> String {
    match dimension {
        Dimension::Day => format!("hour - hour % {DAY_MS}"),
        other => other.label().to_owned(),
    }
}

/// A dimension as an expression over `events`, equal to the one over sums.
fn of_rows(dimension: Dimension) -> String {
    match dimension {
        Dimension::Hour => format!("time_ms - time_ms % {HOUR_MS}"),
        Dimension::Day => format!("time_ms - time_ms % {DAY_MS}"),
        Dimension::Class => "class".to_owned(),
        text => format!("ifnull({}, '')", text.label()),
    }
}

/// `a, b, ` and ` GROUP BY 1, 2`.
fn columns(by: &[Dimension], expression: fn(Dimension) -> String) -> (String, String) {
    let columns = by.iter().map(|dimension| expression(*dimension) + ", ").collect();
    let numbers: Vec<String> = (1..=by.len()).map(|number| number.to_string()).collect();
    (columns, if by.is_empty() { String::new() } else { format!(" GROUP BY {}", numbers.join(", ")) })
}

fn key(row: &SqliteRow, by: &[Dimension]) -> Result<Vec<String>, sqlx::Error> {
    let value = |(at, dimension): (usize, &Dimension)| match dimension {
        Dimension::Hour | Dimension::Day => Ok(Millis(row.try_get(at)?).to_string()),
        Dimension::Class => Ok(Class::try_from(row.try_get::<i32, _>(at)?).unwrap_or_default().label().to_owned()),
        _ => row.try_get(at),
    };
    by.iter().enumerate().map(value).collect()
}

fn number(row: &SqliteRow, at: usize) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(at)?.unwrap_or_default().unsigned_abs())
}

impl SqliteReports {
    /// Opens the file to read. It may be written by another process at the same time.
    pub async fn open(path: &Path) -> Result<SqliteReports, ReportError> {
        if !path.exists() {
            return Err(ReportError::Unavailable(format!("there is no {}: nothing was recorded yet", path.display())));
        }
        Ok(SqliteReports { pool: super::readers(path).await? })
    }

    async fn reach_rows(&self, query: &ReachQuery) -> Result<Vec<ReachRow>, ReportError> {
        let ReachQuery { filter, by, without_visitors } = query;
        let class = if by.contains(&Dimension::Class) { "" } else { " AND class IN (1, 2)" };
        let (sums, group) = columns(by, of_sums);
        let mut transaction = self.pool.begin().await?;
        let source = source(filter, by, closed::until(&mut transaction).await?);
        let from = source.text();
        let mut counts = Statement::new(format!(
            "SELECT {sums}sum(iif(kind = 2, count, 0)), sum(iif(kind = 1, count, 0)), sum(iif(kind = 3, count, 0)) \
             FROM {from} WHERE kind IN (1, 2, 3){class}"
        ));
        counts.hours_of(&source, filter)?;
        counts.codes(filter)?;
        counts.sql.push_str(&group);
        let empty = ReachRow { unique_visitors: (!without_visitors).then_some(0), ..ReachRow::default() };
        let mut rows = BTreeMap::<Vec<String>, ReachRow>::new();
        for row in counts.all(&mut transaction).await? {
            let entry = rows.entry(key(&row, by)?).or_insert_with(|| empty.clone());
            entry.views += number(&row, by.len())?;
            entry.clicks += number(&row, by.len() + 1)?;
            entry.shares += number(&row, by.len() + 2)?;
        }
        if !without_visitors {
            let (expressions, group) = columns(by, of_rows);
            let mut visitors = Statement::new(format!(
                "SELECT {expressions}count(DISTINCT visitor) FROM events WHERE kind IN (1, 2){class}"
            ));
            visitors.hours("time_ms", filter)?;
            visitors.codes(filter)?;
            visitors.sql.push_str(&group);
            for row in visitors.all(&mut transaction).await? {
                let entry = rows.entry(key(&row, by)?).or_default();
                *entry.unique_visitors.get_or_insert(0) += number(&row, by.len())?;
            }
        }
        if filter.is_time_only() && by.iter().all(|dimension| dimension.is_time()) {
            let mut missing = Statement::new(format!("SELECT {sums}sum(count) FROM {from} WHERE kind = 15"));
            missing.hours_of(&source, filter)?;
            missing.sql.push_str(&group);
            for row in missing.all(&mut transaction).await? {
                rows.entry(key(&row, by)?).or_insert_with(|| empty.clone()).missing += number(&row, by.len())?;
            }
        }
        transaction.rollback().await?;
        Ok(in_order(rows.into_iter().map(|(key, row)| ReachRow { key, ..row }).collect(), by))
    }

    async fn link_rows(&self, query: &LinksQuery) -> Result<Vec<LinkRow>, ReportError> {
        let LinksQuery { filter, without_visitors } = query;
        let mut transaction = self.pool.begin().await?;
        let by = [Dimension::Link, Dimension::Partner, Dimension::Ad];
        let source = source(filter, &by, closed::until(&mut transaction).await?);
        let from = source.text();
        let mut counts = Statement::new(format!(
            "SELECT link, partner, ad, sum(iif(kind = 2 AND {COUNTED}, count, 0)), \
             sum(iif(kind = 1 AND {COUNTED}, count, 0)), sum(iif(kind = 3 AND {COUNTED}, count, 0)), \
             sum(iif({COUNTED}, 0, count)), max(iif(kind = 1 AND {COUNTED}, last_ms, NULL)) \
             FROM {from} WHERE kind IN (1, 2, 3)"
        ));
        counts.hours_of(&source, filter)?;
        counts.codes(filter)?;
        counts.sql.push_str(" GROUP BY 1, 2, 3");
        let mut rows = BTreeMap::new();
        for row in counts.all(&mut transaction).await? {
            let [link, partner, ad] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
            let key: (String, String, String) = (link, partner, ad);
            let line = LinkRow {
                link: key.0.clone(),
                partner: key.1.clone(),
                ad: key.2.clone(),
                views: number(&row, 3)?,
                clicks: number(&row, 4)?,
                shares: number(&row, 5)?,
                unique_visitors: (!without_visitors).then_some(0),
                not_counted: number(&row, 6)?,
                last_click: row.try_get::<Option<i64>, _>(7)?.map(Millis),
            };
            rows.insert(key, line);
        }
        if !without_visitors {
            let mut visitors = Statement::new(format!(
                "SELECT ifnull(link, ''), ifnull(partner, ''), ifnull(ad, ''), count(DISTINCT visitor) \
                 FROM events WHERE kind IN (1, 2) AND {COUNTED}"
            ));
            visitors.hours("time_ms", filter)?;
            visitors.codes(filter)?;
            visitors.sql.push_str(" GROUP BY 1, 2, 3");
            for row in visitors.all(&mut transaction).await? {
                if let Some(line) = rows.get_mut(&(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) {
                    line.unique_visitors = Some(number(&row, 3)?);
                }
            }
        }
        transaction.rollback().await?;
        let mut rows: Vec<LinkRow> = rows.into_values().collect();
        // Stable: lines with the same clicks stay in the order of their keys.
        rows.sort_by_key(|row| std::cmp::Reverse(row.clicks));
        Ok(rows)
    }

    async fn event_page(
        &self,
        filter: &Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> Result<Vec<Event>, ReportError> {
        let mut page = Statement::new(format!("SELECT {} FROM events WHERE 1", record::COLUMNS.join(", ")));
        if let Some(EventCursor { time, id }) = after {
            page.and(" AND (time_ms, id) > (?", time.0)?;
            page.and(", ?)", id.0.to_vec())?;
        }
        // SQLite starts at one bound of an index only: behind the cursor, the range's own start would make it read all
        // former pages again.
        if let Some(since) = filter.since.filter(|since| after.is_none_or(|after| after.time < *since)) {
            page.and(" AND time_ms >= ?", since.0)?;
        }
        if let Some(until) = filter.until {
            page.and(" AND time_ms < ?", until.0)?;
        }
        page.codes(filter)?;
        page.and(" ORDER BY time_ms, id LIMIT ?", i64::from(limit))?;
        let mut connection = self.pool.acquire().await.map_err(ReportError::from)?;
        let rows = page.all(&mut connection).await?;
        Ok(rows.iter().map(record::read).collect::<Result<_, _>>()?)
    }

    async fn clicks_of(&self, links: &[Code]) -> Result<Vec<(Code, u64)>, ReportError> {
        let codes = serde_json::to_string(links).map_err(|error| ReportError::Invalid(error.to_string()))?;
        let mut clicks = Statement::new("WITH asked (link) AS (SELECT value FROM json_each(");
        clicks.and("?", codes)?;
        clicks.sql.push_str(&format!(
            ")), young AS (SELECT link, sum(ifnull(count, 1)) AS clicks FROM events \
             WHERE seq > (SELECT seq FROM summed) AND kind = 1 AND {COUNTED} \
             AND ifnull(reason, '') NOT IN ('{}', '{}') GROUP BY link) \
             SELECT asked.link, ifnull(link_clicks.clicks, 0) + ifnull(young.clicks, 0) \
             FROM asked LEFT JOIN link_clicks ON link_clicks.link = asked.link LEFT JOIN young ON young.link = asked.link",
            Reason::OVER[0],
            Reason::OVER[1]
        ));
        let mut connection = self.pool.acquire().await.map_err(ReportError::from)?;
        let rows = clicks.all(&mut connection).await?;
        rows.iter()
            .map(|row| {
                let code: String = row.try_get(0)?;
                let code = code.parse().map_err(|error| ReportError::Invalid(format!("link {code}: {error}")))?;
                Ok((code, number(row, 1)?))
            })
            .collect()
    }
}

impl Reports for SqliteReports {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        Box::pin(self.reach_rows(query))
    }

    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        Box::pin(self.link_rows(query))
    }

    fn events<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Box::pin(self.event_page(filter, after, limit))
    }

    fn link_clicks<'a>(&'a self, links: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        Box::pin(self.clicks_of(links))
    }

    fn touches<'a>(&'a self, query: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        Box::pin(self.touch_page(query))
    }

    fn arrived<'a>(&'a self, behind: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        Box::pin(self.arrived_behind(behind))
    }
}
