//! Reading: reach and links from the sums, unique visitors and events from the rows.
//!
//! Whole days come from the daily sums inside `reach_hourly` (projections; config/clickhouse/004 and 006), the hours around them
//! from the hourly ones. Sums are always added up here: rows of one key become one only when ClickHouse merges parts.
//!
//! Each question is one statement, so the engine looks at all of its tables at nearly the same moment; an insert that lands
//! just then may be in the rows and not yet in the sums. Nothing hides doubles (no FINAL, no DISTINCT): that there are none
//! is the sink's promise.

use std::collections::BTreeMap;

use super::{
    super::{
        Arrived, BoxFuture, CreditedClick, Dimension, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery,
        ReachRow, ReportError, Reports, TouchQuery, in_order,
    },
    Store,
    answer::{Clicks, Link, Reach, Stored},
    question::{COUNTED, Form, Span, bind, codes, columns, group, hours, key, milliseconds, order, spans, total},
};
use crate::core::{code::Code, event::Event, limits::EXPORT_PAGE_ROWS_CLICKHOUSE, time::Millis};

/// Answers from ClickHouse; cheap to clone. It connects when it is first asked.
#[derive(Clone, Debug)]
pub struct ClickHouseReports {
    pub(super) store: Store,
}

impl ClickHouseReports {
    pub fn new(store: Store) -> ClickHouseReports {
        ClickHouseReports { store }
    }

    async fn reach_rows(&self, query: &ReachQuery) -> Result<Vec<ReachRow>, ReportError> {
        let spans = spans(&query.filter, &query.by);
        let asked = bind(self.store.ask(&reach_text(query, &spans)), &query.filter, &spans);
        let answer = self.store.rows::<Reach>(asked).await?;
        if query.without_visitors {
            return Ok(in_order(answer.into_iter().map(ReachRow::from).collect(), &query.by));
        }
        let empty = ReachRow { unique_visitors: Some(0), ..ReachRow::default() };
        let mut rows = BTreeMap::<Vec<String>, ReachRow>::new();
        for row in answer {
            let entry = rows.entry(row.key).or_insert_with(|| empty.clone());
            entry.views += row.views;
            entry.clicks += row.clicks;
            entry.shares += row.shares;
            entry.unique_visitors = entry.unique_visitors.map(|seen| seen + row.visitors);
            entry.missing += row.missing;
        }
        let rows = rows.into_iter().map(|(key, row)| ReachRow { key, ..row }).collect();
        Ok(in_order(rows, &query.by))
    }

    async fn link_rows(&self, query: &LinksQuery) -> Result<Vec<LinkRow>, ReportError> {
        let LinksQuery { filter, without_visitors } = query;
        let spans = spans(filter, &[]);
        let asked = bind(self.store.ask(&links_text(query, &spans)), filter, &spans);
        let answer = self.store.rows::<Link>(asked).await?;
        let by_key = |a: &LinkRow, b: &LinkRow| (&a.link, &a.partner, &a.ad).cmp(&(&b.link, &b.partner, &b.ad));
        if *without_visitors {
            let mut rows: Vec<LinkRow> = answer.into_iter().map(LinkRow::from).collect();
            rows.sort_by(|a, b| b.clicks.cmp(&a.clicks).then_with(|| by_key(a, b)));
            return Ok(rows);
        }
        let empty = LinkRow { unique_visitors: Some(0), ..LinkRow::default() };
        let mut rows = BTreeMap::<[String; 3], LinkRow>::new();
        for row in answer {
            let line = rows.entry([row.link, row.partner, row.ad]).or_insert_with(|| empty.clone());
            line.views += row.views;
            line.clicks += row.clicks;
            line.shares += row.shares;
            line.unique_visitors = line.unique_visitors.map(|seen| seen + row.visitors);
            line.not_counted += row.not_counted;
            if row.clicks > 0 {
                line.last_click = Some(Millis(row.last_click_ms));
            }
        }
        let mut rows: Vec<LinkRow> =
            rows.into_iter().map(|([link, partner, ad], row)| LinkRow { link, partner, ad, ..row }).collect();
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
        let mut query = bind(self.store.ask(&events_text(filter, after.is_some())), filter, &[]).param("limit", limit);
        if let Some(since) = filter.since {
            query = query.param("since_ms", milliseconds(since));
        }
        if let Some(until) = filter.until {
            query = query.param("until_ms", milliseconds(until));
        }
        if let Some(EventCursor { time, id }) = after {
            let id = data_encoding::HEXLOWER.encode(&id.0);
            query = query.param("after_ms", milliseconds(time)).param("after_id", id);
        }
        Ok(self.store.rows::<Stored>(query).await?.into_iter().map(Event::from).collect())
    }

    async fn clicks_of(&self, links: &[Code]) -> Result<Vec<(Code, u64)>, ReportError> {
        let codes: Vec<&str> = links.iter().map(Code::as_str).collect();
        let text = "SELECT link, toUInt64(sum(f.count) - sum(f.over)) AS clicks FROM funnel_daily AS f \
                    WHERE source = '' AND kind = 'click' AND link IN {links:Array(String)} GROUP BY link";
        let rows = self.store.rows::<Clicks>(self.store.ask(text).param("links", codes)).await?;
        let known: BTreeMap<String, u64> = rows.into_iter().map(|row| (row.link, row.clicks)).collect();
        Ok(links.iter().map(|link| (link.clone(), known.get(link.as_str()).copied().unwrap_or(0))).collect())
    }
}

#[cfg(test)]
impl ClickHouseReports {
    pub(super) async fn sums_of_reach(&self, query: &ReachQuery) -> Vec<String> {
        let spans = spans(&query.filter, &query.by);
        self.sums_of(&reach_text(query, &spans), &query.filter, &spans).await
    }

    pub(super) async fn sums_of_links(&self, query: &LinksQuery) -> Vec<String> {
        let spans = spans(&query.filter, &[]);
        self.sums_of(&links_text(query, &spans), &query.filter, &spans).await
    }

    /// The projections, or tables, that the engine would read.
    async fn sums_of(&self, text: &str, filter: &Filter, spans: &[Span]) -> Vec<String> {
        let asked = bind(self.store.ask(&format!("EXPLAIN {text}")), filter, spans);
        let plan: Vec<String> = self.store.rows(asked).await.unwrap();
        let read = plan.iter().filter_map(|line| line.trim().strip_prefix("ReadFromMergeTree (")?.strip_suffix(')'));
        read.map(str::to_owned).collect()
    }
}

fn reach_text(query: &ReachQuery, spans: &[Span]) -> String {
    let ReachQuery { filter, by, without_visitors } = query;
    let class = if by.contains(&Dimension::Class) { String::new() } else { format!(" AND {COUNTED}") };
    // What is missing has no dimension but time.
    let with_missing = filter.is_time_only() && by.iter().all(|dimension| dimension.is_time());
    let missing = if with_missing { " OR kind = 'missing'" } else { "" };
    let (codes, key, form) = (codes(filter), key(by), Form::of(filter, by));
    let (sums, condition) = match form {
        Form::Kinds => (
            ["view", "click", "share", "missing"].map(|kind| total(&format!("sumIf(n, kind = '{kind}')"))),
            format!(" AND ((kind IN ('click', 'view', 'share'){class}){missing}){codes}"),
        ),
        Form::Lines | Form::WholeLines => {
            let [v, c, s] = ["sum(v)", "sum(c)", "sum(s)"].map(total);
            ([v, c, s, "toUInt64(0)".to_owned()], codes.clone())
        }
    };
    let [views, clicks, shares, missing] = sums;
    let mut text = format!(
        "SELECT {key} AS key, {views} AS views, {clicks} AS clicks, {shares} AS shares, toUInt64(0) AS visitors, \
         {missing} AS missing FROM ({}){}",
        form.sums(by, &condition, spans),
        // A line of which nothing counts has sums, too, and what is taken away leaves nothing behind.
        group(by, " HAVING views + clicks + shares + missing > 0"),
    );
    if *without_visitors {
        return text + &order(by);
    }
    text += &format!(
        " UNION ALL SELECT {key} AS key, 0, 0, 0, seen, 0 FROM (SELECT {}uniqExact(visitor) AS seen \
         FROM events WHERE kind IN ('click', 'view'){class}{}{codes}{})",
        columns(by, "toStartOfHour(time)"),
        hours("time", filter),
        group(by, ""),
    );
    text
}

fn links_text(query: &LinksQuery, spans: &[Span]) -> String {
    let LinksQuery { filter, without_visitors } = query;
    let by = [Dimension::Link, Dimension::Partner, Dimension::Ad];
    let codes = codes(filter);
    let [views, clicks, shares, not_counted] = ["sum(v)", "sum(c)", "sum(s)", "sum(o)"].map(total);
    let mut text = format!(
        "SELECT d0 AS link, d1 AS partner, d2 AS ad, {views} AS views, {clicks} AS clicks, {shares} AS shares, \
         toUInt64(0) AS visitors, {not_counted} AS not_counted, toUnixTimestamp64Milli(max(l)) AS last_click_ms \
         FROM ({}){}",
        Form::WholeLines.sums(&by, &codes, spans),
        group(&by, " HAVING views + clicks + shares + not_counted > 0"),
    );
    if *without_visitors {
        return text + &order(&by);
    }
    text += &format!(
        " UNION ALL SELECT link, partner, ad, 0, 0, 0, uniqExact(visitor), 0, 0 \
         FROM events WHERE kind IN ('click', 'view') AND {COUNTED}{}{codes} GROUP BY link, partner, ad",
        hours("time", filter)
    );
    text
}

/// A page in the order of (time, id). The table is in the order of days: sorted by them first, the engine stops reading
/// behind the day that fills the page.
fn events_text(filter: &Filter, goes_on: bool) -> String {
    let mut text = format!("SELECT {} FROM events WHERE 1{}", Stored::COLUMNS, codes(filter));
    let time = |name| format!("fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')");
    if filter.since.is_some() {
        text += &format!(" AND time >= {}", time("since_ms"));
    }
    if filter.until.is_some() {
        text += &format!(" AND time < {}", time("until_ms"));
    }
    if goes_on {
        let after = time("after_ms");
        text += &format!(
            " AND time >= {after} AND (time > {after} OR UUIDToNum(id) > CAST(unhex({{after_id:String}}), 'FixedString(16)'))"
        );
    }
    text + " ORDER BY toDate(time), time, UUIDToNum(id) LIMIT {limit:UInt32}"
}

impl Reports for ClickHouseReports {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        Box::pin(self.reach_rows(query))
    }

    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        Box::pin(self.link_rows(query))
    }

    fn page_rows(&self) -> u32 {
        EXPORT_PAGE_ROWS_CLICKHOUSE
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
