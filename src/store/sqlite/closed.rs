//! Coarse sums of days that are over, so that reports over months look at few rows.
//!
//! A day is closed when the sums are written and it has been over for an hour: it is summed up in SQL, once, and costs the sink
//! next to nothing an event. Sums that come for a closed day are added to both. So `closed` holds exactly what `hourly` holds of
//! the days before `closed_until`, at any moment.

use std::sync::{Arc, LazyLock};

use sqlx::{Row, SqliteConnection};

use super::{
    super::{Dimension, Filter},
    sums::{Key, Sum},
};
use crate::core::{
    event::Class,
    time::{DAY_MS, HOUR_MS, Millis},
};

/// Lengths of the stretches by link, partner and ad; 0 is all time.
const STRETCHES: [i64; 4] = [0, 28, 7, 1];
/// In the place of a length: one day, by class, channel and country.
const PLACES: i64 = -1;
/// 1970-01-05 was a Monday.
const MONDAY: i64 = 4;
/// Days that are closed when the sums are written once: a file of before there were any is caught up with step by step.
const CLOSED_AT_ONCE: usize = 64;
/// Values of a row of `closed`.
pub(super) const VALUES: usize = 12;
const ADD: &str = "ON CONFLICT DO UPDATE SET count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)";

const fn stretch(days: i64, day: i64) -> i64 {
    if days == 0 { 0 } else { day - (day - MONDAY).rem_euclid(days) }
}

// === Writing ===

pub(super) static UPSERTS: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| {
    super::sink::upserts("closed", VALUES, "count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)")
});

/// The first day that is not closed; 0 when none is.
pub(super) async fn until(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT day FROM closed_until").fetch_one(connection).await?.try_get(0)
}

/// A row of `closed` without count and time: length, first day, kind, class, and six texts.
pub(super) type Place<'a> = (i64, i64, i32, i32, [&'a str; 6]);

/// What sums of closed days add to `closed`.
pub(super) fn late<'a>(sums: &[(Key<'a>, Sum)], until: i64) -> Vec<(Place<'a>, Sum)> {
    let mut rows = Vec::new();
    for (key, sum) in sums.iter().filter(|(key, _)| key.hour < until * DAY_MS) {
        let day = key.hour.div_euclid(DAY_MS);
        let [program, link, partner, ad, channel, country] = key.texts;
        rows.push(((PLACES, day, key.kind, key.class, [program, "", "", "", channel, country]), *sum));
        if matches!(key.kind, 1..=3) {
            let class = if Class::try_from(key.class).is_ok_and(Class::counts) { 1 } else { 3 };
            for days in STRETCHES {
                let texts = [program, link, partner, ad, "", ""];
                rows.push(((days, stretch(days, day), key.kind, class, texts), *sum));
            }
        }
    }
    rows
}

/// Closes the days that are over. Everything that `hourly` has of them is in `closed` afterwards.
pub(super) async fn close(connection: &mut SqliteConnection, now: Millis) -> Result<(), sqlx::Error> {
    let end = now.plus(-HOUR_MS).day().0;
    for _ in 0..CLOSED_AT_ONCE {
        let until = until(connection).await?;
        // Straight to the next day of which there is anything.
        let next = sqlx::query("SELECT min(hour) FROM hourly WHERE hour >= ? AND hour < ?")
            .bind(until * DAY_MS)
            .bind(end)
            .fetch_one(&mut *connection)
            .await?;
        let Some(hour) = next.try_get::<Option<i64>, _>(0)? else { return Ok(()) };
        close_day(connection, hour.div_euclid(DAY_MS)).await?;
    }
    Ok(())
}

async fn close_day(connection: &mut SqliteConnection, day: i64) -> Result<(), sqlx::Error> {
    let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
    let places = format!(
        "INSERT INTO closed SELECT {PLACES}, {day}, kind, class, program, '', '', '', channel, country, sum(count), max(last_ms) \
         FROM hourly WHERE hour >= {from} AND hour < {to} GROUP BY kind, class, program, channel, country"
    );
    let one = format!(
        "INSERT INTO closed SELECT 1, {day}, kind, iif(class IN (1, 2), 1, 3) AS counted, program, link, partner, ad, '', '', \
         sum(count), max(last_ms) FROM hourly WHERE hour >= {from} AND hour < {to} AND kind IN (1, 2, 3) \
         GROUP BY kind, counted, program, link, partner, ad"
    );
    for sql in [places, one] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    for days in STRETCHES.into_iter().filter(|days| *days != 1) {
        let sql = format!(
            "INSERT INTO closed SELECT {days}, {}, kind, class, program, link, partner, ad, channel, country, count, last_ms \
             FROM closed WHERE days = 1 AND at_day = {day} {ADD}",
            stretch(days, day)
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE closed_until SET day = ?").bind(day + 1).execute(connection).await?;
    Ok(())
}

// === Reading ===

/// Where the sums for a question stand.
pub(super) enum Source {
    /// In the view `reach`, to be limited to the filter's hours.
    Reach,
    /// In this subquery, which is limited already. Its columns are those of `reach`.
    Closed(String),
}

impl Source {
    pub(super) fn text(&self) -> String {
        match self {
            Source::Reach => "reach".to_owned(),
            Source::Closed(text) => format!("({text})"),
        }
    }

    pub(super) const fn is_limited(&self) -> bool {
        matches!(self, Source::Closed(_))
    }
}

/// The coarsest sums that answer a question; days before `until` are closed.
pub(super) fn source(filter: &Filter, by: &[Dimension], until: i64) -> Source {
    use Dimension::{Ad, Channel, Class, Country, Day, Hour, Link, Partner};
    let asks = |wanted: &[Dimension]| wanted.iter().any(|dimension| by.contains(dimension));
    let who = asks(&[Link, Partner, Ad]) || filter.link.is_some() || filter.partner.is_some() || filter.ad.is_some();
    let from = filter.since.map(|since| since.hour().0);
    let to = filter.until.map(|until| until.plus(HOUR_MS - 1).hour().0);
    let first = from.map(|from| (from + DAY_MS - 1).div_euclid(DAY_MS));
    let last = to.map_or(until, |to| to.div_euclid(DAY_MS).min(until));
    if asks(&[Hour]) || (who && asks(&[Channel, Country, Class])) || first.unwrap_or(0) >= last {
        return Source::Reach;
    }
    // Nothing stands behind the last closed day: an open end needs no shorter stretches.
    let days = (first, (last < until).then_some(last));
    let mut parts = Vec::new();
    match (who, asks(&[Day])) {
        (false, _) => parts.push(span(PLACES, days)),
        (true, true) => parts.push(span(1, days)),
        (true, false) if days == (None, None) => parts.push(span(0, days)),
        (true, false) => cut(28, days, &mut parts),
    }
    let hours = |table: &str, from: Option<i64>, to: Option<i64>| {
        let from = from.map(|from| format!(" AND hour >= {from}")).unwrap_or_default();
        let to = to.map(|to| format!(" AND hour < {to}")).unwrap_or_default();
        format!("SELECT {COLUMNS} FROM {table} WHERE 1{from}{to}")
    };
    if let (Some(from), Some(first)) = (from, first)
        && from < first * DAY_MS
    {
        parts.push(hours("hourly", Some(from), Some(first * DAY_MS)));
    }
    parts.push(hours("hourly", Some(last * DAY_MS), to));
    parts.push(hours("young_reach", from, to));
    Source::Closed(parts.join(" UNION ALL "))
}

const COLUMNS: &str = "hour, kind, class, program, link, partner, ad, channel, country, count, last_ms";

/// Stretches of this length, by their first days.
fn span(days: i64, (from, to): (Option<i64>, Option<i64>)) -> String {
    let from = from.map(|day| format!(" AND at_day >= {day}")).unwrap_or_default();
    let to = to.map(|day| format!(" AND at_day < {day}")).unwrap_or_default();
    format!(
        "SELECT at_day * {DAY_MS} AS hour, kind, class, program, link, partner, ad, channel, country, count, last_ms \
         FROM closed WHERE days = {days}{from}{to}"
    )
}

/// Cuts days into stretches of this length, and what is around them into shorter ones.
fn cut(length: i64, (from, to): (Option<i64>, Option<i64>), parts: &mut Vec<String>) {
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return;
    }
    if length == 1 {
        parts.push(span(1, (from, to)));
        return;
    }
    let shorter = if length == 28 { 7 } else { 1 };
    let first = from.map(|day| stretch(length, day + length - 1));
    let last = to.map(|day| stretch(length, day));
    if first.zip(last).is_some_and(|(first, last)| first >= last) {
        return cut(shorter, (from, to), parts);
    }
    parts.push(span(length, (first, last)));
    if from.is_some() {
        cut(shorter, (from, first), parts);
    }
    if to.is_some() {
        cut(shorter, (last, to), parts);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{
        super::{
            Batch, LinksQuery, ReachQuery, Reports, Sink,
            model::{Model, START, event},
        },
        FILE, SqliteReports, SqliteSink,
    };
    use super::*;
    use crate::{
        core::{event::Event, id::LaneId},
        io::clock::Clock,
    };
    use prost::Message;

    /// An event of some months instead of two days.
    fn of_months() -> impl Strategy<Value = Event> {
        (event(), 0..100i64).prop_map(|(event, days)| Event { time_ms: event.time_ms + days * DAY_MS, ..event })
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let at = || proptest::option::of((0..102 * 24i64).prop_map(|hour| START.plus(hour * HOUR_MS + 5)));
        let partner = proptest::option::weighted(0.3, Just("abc123".parse().unwrap()));
        (at(), at(), partner).prop_map(|(since, until, partner)| Filter { since, until, partner, ..Filter::default() })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

        /// Days are closed while events of any day still come.
        #[test]
        fn months_equal_a_naive_recount(
            events in proptest::collection::vec(of_months(), 200..400), filters in proptest::collection::vec(filter(), 8), lag in 1..120u64
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join(FILE);
                let clock = Clock::manual(START.plus(80 * DAY_MS));
                let mut sink = SqliteSink::open(&path, clock.clone()).await.unwrap();
                sink.sums_lag = lag;
                for (chunk, next) in events.chunks(40).zip((40..).step_by(40)) {
                    let records = (next - 40..).zip(chunk).map(|(number, event)| (number, event.encode_to_vec()));
                    sink.store(&[Batch { lane: LaneId(1), records: records.collect(), next }]).await.unwrap();
                    clock.advance(DAY_MS);
                }
                let (reports, model) = (SqliteReports::open(&path).await.unwrap(), Model::new(events));
                use Dimension::{Ad, Class, Country, Day, Link, Partner, Program};
                for filter in &filters {
                    for by in [vec![], vec![Partner], vec![Link, Ad], vec![Day, Program], vec![Day, Link], vec![Class, Country], vec![Class, Link]] {
                        let query = ReachQuery { filter: filter.clone(), by, without_visitors: true };
                        prop_assert_eq!(reports.reach(&query).await.unwrap(), model.reach(&query).await.unwrap(), "{:?}", query);
                    }
                    let query = LinksQuery { filter: filter.clone(), without_visitors: true };
                    prop_assert_eq!(reports.links(&query).await.unwrap(), model.links(&query).await.unwrap(), "{:?}", query);
                }
                let mut connection = reports.pool.acquire().await.unwrap();
                let closed = until(&mut connection).await.unwrap();
                prop_assert!(lag > 100 || closed > START.0 / DAY_MS, "{closed}: no day was closed");
                Ok(())
            })?;
        }
    }
}
