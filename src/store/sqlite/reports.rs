//! Reading: reach and links from the sums, unique visitors and events from the rows.
//!
//! The statements of one question run in one read transaction, so they see the same events.

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
use sqlx::{
    Arguments, AssertSqlSafe, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqlitePool, SqliteRow},
};

use super::{
    super::{
        Arrived, BoxFuture, CreditedClick, Dimension, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery,
        ReachRow, ReportError, Reports, TouchQuery, in_order,
    },
    closed,
    error::{Verdict, sort},
    record,
    source::Asked,
};
use crate::core::{
    code::Code,
    event::{Class, Event, Reason},
    time::Millis,
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

    async fn all(self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, ReportError> {
        Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).fetch_all(connection).await?)
    }
}

/// All rows of a query with columns `d0`, `d1`, …, and these numbers: the texts of the dimensions, then the numbers. They come as one text, as
/// each row and each column of it would cost the driver as much as the sum does.
async fn packed<T: DeserializeOwned>(
    query: &str,
    asked: &Asked<'_>,
    numbers: &str,
    connection: &mut SqliteConnection,
) -> Result<Vec<T>, ReportError> {
    let texts: Vec<String> = (0..asked.by.len()).map(|at| format!("CAST(d{at} AS TEXT)")).collect();
    let sql =
        format!("SELECT json_group_array(json_array(json_array({}), {numbers})) FROM ({query})", texts.join(", "));
    let mut statement = Statement::new(sql);
    for (_, name) in asked.names() {
        statement.and("", name)?;
    }
    let row = sqlx::query_with(AssertSqlSafe(statement.sql), statement.arguments).fetch_one(connection).await?;
    serde_json::from_str(row.try_get(0)?).map_err(|error| ReportError::Invalid(format!("sums: {error}")))
}

/// A row's key from the texts of its dimensions.
fn key(texts: Vec<String>, by: &[Dimension]) -> Result<Vec<String>, ReportError> {
    let value = |(text, dimension): (String, &Dimension)| match dimension {
        Dimension::Hour | Dimension::Day => Ok(Millis(whole(&text)?).to_string()),
        Dimension::Class => {
            let class = i32::try_from(whole(&text)?).ok().and_then(|class| Class::try_from(class).ok());
            Ok(class.unwrap_or_default().label().to_owned())
        }
        _ => Ok(text),
    };
    texts.into_iter().zip(by).map(value).collect()
}

fn whole(text: &str) -> Result<i64, ReportError> {
    text.parse().map_err(|_| ReportError::Invalid(format!("`{text}` in a sum is no number")))
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
        let mut transaction = self.pool.begin().await?;
        let asked = Asked { filter, by, all_classes: by.contains(&Dimension::Class), last_click: false };
        let source = asked.source(closed::until(&mut transaction).await?);
        let columns: String = (0..by.len()).map(|at| format!("d{at}, ")).collect();
        let (group, having) = if by.is_empty() {
            (String::new(), "")
        } else {
            let numbers: Vec<String> = (1..=by.len()).map(|number| number.to_string()).collect();
            (format!(" GROUP BY {}", numbers.join(", ")), " HAVING v + c + s + m > 0")
        };
        let counts = format!(
            "SELECT {columns}ifnull(sum(views), 0) AS v, ifnull(sum(clicks), 0) AS c, ifnull(sum(shares), 0) AS s, \
             ifnull(sum(missing), 0) AS m FROM ({source}){group}{having}"
        );
        let empty = ReachRow { unique_visitors: (!without_visitors).then_some(0), ..ReachRow::default() };
        let mut rows = BTreeMap::<Vec<String>, ReachRow>::new();
        type Counts = (Vec<String>, u64, u64, u64, u64);
        for line in packed::<Counts>(&counts, &asked, "v, c, s, m", &mut transaction).await? {
            let (texts, views, clicks, shares, missing) = line;
            let entry = rows.entry(key(texts, by)?).or_insert_with(|| empty.clone());
            entry.views += views;
            entry.clicks += clicks;
            entry.shares += shares;
            entry.missing += missing;
        }
        if !without_visitors {
            let visitors = format!(
                "SELECT {}count(DISTINCT visitor) AS n FROM events WHERE {}{group}",
                asked.of_rows(),
                asked.rows()
            );
            type Visitors = (Vec<String>, u64);
            for (texts, visitors) in packed::<Visitors>(&visitors, &asked, "n", &mut transaction).await? {
                let entry = rows.entry(key(texts, by)?).or_default();
                *entry.unique_visitors.get_or_insert(0) += visitors;
            }
        }
        transaction.rollback().await?;
        Ok(in_order(rows.into_iter().map(|(key, row)| ReachRow { key, ..row }).collect(), by))
    }

    async fn link_rows(&self, query: &LinksQuery) -> Result<Vec<LinkRow>, ReportError> {
        /// Link, partner, ad.
        type Key = (String, String, String);
        let LinksQuery { filter, without_visitors } = query;
        let mut transaction = self.pool.begin().await?;
        let by = [Dimension::Link, Dimension::Partner, Dimension::Ad];
        let asked = Asked { filter, by: &by, all_classes: true, last_click: true };
        let source = asked.source(closed::until(&mut transaction).await?);
        let counts = format!(
            "SELECT d0, d1, d2, sum(views) AS v, sum(clicks) AS c, sum(shares) AS s, sum(not_counted) AS n, \
             max(last_click_ms) AS l FROM ({source}) GROUP BY 1, 2, 3"
        );
        let mut rows = BTreeMap::new();
        type Counts = (Key, u64, u64, u64, u64, i64);
        for line in packed::<Counts>(&counts, &asked, "v, c, s, n, l", &mut transaction).await? {
            let (key, views, clicks, shares, not_counted, last_click) = line;
            let line = LinkRow {
                link: key.0.clone(),
                partner: key.1.clone(),
                ad: key.2.clone(),
                views,
                clicks,
                shares,
                unique_visitors: (!without_visitors).then_some(0),
                not_counted,
                last_click: (clicks > 0).then_some(Millis(last_click)),
            };
            rows.insert(key, line);
        }
        if !without_visitors {
            let asked = Asked { all_classes: false, ..asked };
            let visitors = format!(
                "SELECT {}count(DISTINCT visitor) AS n FROM events WHERE {} GROUP BY 1, 2, 3",
                asked.of_rows(),
                asked.rows()
            );
            for (key, visitors) in packed::<(Key, u64)>(&visitors, &asked, "n", &mut transaction).await? {
                if let Some(line) = rows.get_mut(&key) {
                    line.unique_visitors = Some(visitors);
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
