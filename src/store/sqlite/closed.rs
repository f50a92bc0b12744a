//! Coarse sums of days that are over, so that reports over months look at few rows.
//!
//! A day is closed when the sums are written and it has been over for an hour: it is summed up in SQL, once, and costs the sink
//! next to nothing an event. Sums that come for a closed day are added to both. So the tables `closed_…` hold exactly what `hourly`
//! holds of the days before `closed_until`, at any moment.

use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    record::{Binder, CHUNKS},
    sink::{in_chunks, upserts},
    sums::{Key, Sum},
};
use crate::core::{
    event::{Class, Kind},
    stretch::stretch,
    time::{DAY_MS, HOUR_MS, Millis},
};

/// Lengths of the stretches by link, partner and ad; 0 is all time.
pub(super) const WHO: [i64; 4] = [0, 28, 7, 1];
/// Lengths of those by class, channel and country.
pub(super) const PLACES: [i64; 3] = [364, 28, 1];
/// Days that are closed when the sums are written once: a file of before there were any is caught up with step by step.
const CLOSED_AT_ONCE: usize = 64;

const ADD_WHO: &str = "views = views + excluded.views, clicks = clicks + excluded.clicks, shares = shares + excluded.shares, \
                       not_counted = not_counted + excluded.not_counted, \
                       last_click_ms = max(last_click_ms, excluded.last_click_ms)";
const ADD_PLACE: &str = "count = count + excluded.count";
const ADD_DAY: &str = "views = views + excluded.views, clicks = clicks + excluded.clicks, shares = shares + excluded.shares, \
                       missing = missing + excluded.missing";

/// Values of a row of each table.
const WHO_VALUES: usize = 11;
const PLACE_VALUES: usize = 8;
const DAY_VALUES: usize = 6;
const _: () = assert!(CHUNKS[0] * WHO_VALUES <= 32_766, "SQLite's variables of one statement");

static UPSERT_WHO: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| upserts("closed_who", WHO_VALUES, ADD_WHO));
static UPSERT_PLACES: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| upserts("closed_places", PLACE_VALUES, ADD_PLACE));
static UPSERT_DAYS: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| upserts("closed_days", DAY_VALUES, ADD_DAY));

/// The first day that is not closed; 0 when none is.
pub(super) async fn until(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT day FROM closed_until").fetch_one(connection).await?.try_get(0)
}

/// Views, clicks and shares that a sum stands for.
fn counted(key: &Key<'_>, sum: Sum) -> [i64; 3] {
    let counts = Class::try_from(key.class).is_ok_and(Class::counts);
    [Kind::View, Kind::Click, Kind::Share].map(|kind| if counts && key.kind == kind as i32 { sum.count } else { 0 })
}

/// Adds sums of closed days to what was closed.
pub(super) async fn add_late(connection: &mut SqliteConnection, sums: &[(Key<'_>, Sum)]) -> Result<(), sqlx::Error> {
    let until = until(connection).await?;
    let late: Vec<(i64, &Key<'_>, Sum)> = sums
        .iter()
        .filter(|(key, _)| key.hour < until * DAY_MS)
        .map(|(key, sum)| (key.hour.div_euclid(DAY_MS), key, *sum))
        .collect();
    let reach: Vec<_> = late.iter().filter(|(_, key, _)| matches!(key.kind, 1..=3)).collect();
    let who: Vec<_> = reach.iter().flat_map(|late| WHO.map(|days| (days, *late))).collect();
    in_chunks(connection, &UPSERT_WHO, WHO_VALUES, &who, |(days, (day, key, sum)), row| {
        let [program, link, partner, ad, ..] = key.texts;
        let counts = counted(key, *sum);
        row.number(*days);
        row.number(stretch(*days, *day));
        [partner, link, ad, program].iter().for_each(|text| row.key_text(text));
        counts.iter().for_each(|count| row.number(*count));
        row.number(if counts == [0; 3] { sum.count } else { 0 });
        row.number(if counts[1] > 0 { sum.last_ms } else { 0 });
    })
    .await?;
    let places: Vec<_> = late.iter().flat_map(|late| PLACES.map(|days| (days, late))).collect();
    in_chunks(connection, &UPSERT_PLACES, PLACE_VALUES, &places, |(days, (day, key, sum)), row| {
        let [program, _, _, _, channel, country] = key.texts;
        row.number(*days);
        row.number(stretch(*days, *day));
        row.number(i64::from(key.kind));
        row.number(i64::from(key.class));
        [program, channel, country].iter().for_each(|text| row.key_text(text));
        row.number(sum.count);
    })
    .await?;
    in_chunks(connection, &UPSERT_DAYS, DAY_VALUES, &late, |(day, key, sum), row: &mut Binder| {
        row.number(*day);
        row.key_text(key.texts[0]);
        counted(key, *sum).iter().for_each(|count| row.number(*count));
        row.number(if key.kind == Kind::Missing as i32 { sum.count } else { 0 });
    })
    .await?;
    Ok(())
}

/// Closes the days that are over. Everything that `hourly` has of them is in the tables afterwards.
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
    let hours = format!("hour >= {} AND hour < {}", day * DAY_MS, (day + 1) * DAY_MS);
    let mut statements = vec![
        format!(
            "INSERT INTO closed_who SELECT 1, {day}, partner, link, ad, program, \
             sum(iif(kind = 2 AND class IN (1, 2), count, 0)), sum(iif(kind = 1 AND class IN (1, 2), count, 0)), \
             sum(iif(kind = 3 AND class IN (1, 2), count, 0)), sum(iif(class IN (1, 2), 0, count)), \
             max(iif(kind = 1 AND class IN (1, 2), last_ms, 0)) \
             FROM hourly WHERE {hours} AND kind IN (1, 2, 3) GROUP BY partner, link, ad, program"
        ),
        format!(
            "INSERT INTO closed_places SELECT 1, {day}, kind, class, program, channel, country, sum(count) \
             FROM hourly WHERE {hours} GROUP BY kind, class, program, channel, country"
        ),
        format!(
            "INSERT INTO closed_days SELECT {day}, program, sum(iif(kind = 2 AND class IN (1, 2), count, 0)), \
             sum(iif(kind = 1 AND class IN (1, 2), count, 0)), sum(iif(kind = 3 AND class IN (1, 2), count, 0)), \
             sum(iif(kind = 15, count, 0)) FROM closed_places WHERE days = 1 AND at_day = {day} GROUP BY program"
        ),
    ];
    for days in WHO.into_iter().filter(|days| *days != 1) {
        statements.push(format!(
            "INSERT INTO closed_who SELECT {days}, {}, partner, link, ad, program, views, clicks, shares, not_counted, last_click_ms \
             FROM closed_who WHERE days = 1 AND at_day = {day} ON CONFLICT DO UPDATE SET {ADD_WHO}",
            stretch(days, day)
        ));
    }
    for days in PLACES.into_iter().filter(|days| *days != 1) {
        statements.push(format!(
            "INSERT INTO closed_places SELECT {days}, {}, kind, class, program, channel, country, count \
             FROM closed_places WHERE days = 1 AND at_day = {day} ON CONFLICT DO UPDATE SET {ADD_PLACE}",
            stretch(days, day)
        ));
    }
    for sql in statements {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE closed_until SET day = ?").bind(day + 1).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{
        super::{
            Batch, Dimension, Filter, LinksQuery, ReachQuery, Reports, Sink,
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
                sink.close().await;
                let model = Model::new(events);
                let mut before = Vec::new();
                // The same of a file that an older version has written.
                for is_older in [false, true] {
                    if is_older {
                        go_back(&path).await;
                        SqliteSink::open(&path, clock.clone()).await.unwrap().close().await;
                    }
                    let reports = SqliteReports::open(&path).await.unwrap();
                    for filter in &filters {
                        for by in QUESTIONS {
                            let query = ReachQuery { filter: filter.clone(), by: by.to_vec(), without_visitors: true };
                            prop_assert_eq!(reports.reach(&query).await.unwrap(), model.reach(&query).await.unwrap(), "{:?}", query);
                        }
                        let query = LinksQuery { filter: filter.clone(), without_visitors: true };
                        prop_assert_eq!(reports.links(&query).await.unwrap(), model.links(&query).await.unwrap(), "{:?}", query);
                    }
                    let mut connection = reports.pool.acquire().await.unwrap();
                    let closed = until(&mut connection).await.unwrap();
                    prop_assert!(lag > 100 || closed > START.0 / DAY_MS, "{closed}: no day was closed");
                    before.push(rows(&mut connection).await);
                }
                prop_assert_eq!(&before[0], &before[1], "what was closed, and what became of the older version's");
                Ok(())
            })?;
        }
    }

    use Dimension::{Ad, Channel, Class, Country, Day, Link, Partner, Program};
    const QUESTIONS: [&[Dimension]; 11] = [
        &[],
        &[Partner],
        &[Partner, Program],
        &[Link, Ad],
        &[Day],
        &[Day, Program],
        &[Day, Link],
        &[Day, Country],
        &[Channel],
        &[Class, Country],
        &[Class, Link],
    ];

    /// All rows of the tables of closed days.
    async fn rows(connection: &mut SqliteConnection) -> Vec<String> {
        let mut rows = Vec::new();
        for (table, columns) in [
            (
                "closed_who",
                "days, at_day, partner, link, ad, program, views, clicks, shares, not_counted, last_click_ms",
            ),
            ("closed_places", "days, at_day, kind, class, program, channel, country, count"),
            ("closed_days", "at_day, program, views, clicks, shares, missing"),
        ] {
            let sql = format!("SELECT '{table} ' || json_array({columns}) FROM {table} ORDER BY 1");
            let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap();
            rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
        }
        rows
    }

    /// Makes of a file what the version before `0008_closed_by_who.sql` would have written.
    async fn go_back(path: &std::path::Path) {
        let pool = super::super::writer(path).await.unwrap();
        let old = include_str!("migrations/0003_closed.sql");
        let table = &old[old.find("CREATE TABLE closed (").unwrap()..];
        let table = &table[..table.find(';').unwrap()];
        let texts = "program, link, partner, ad, '', ''";
        let of_closed = format!("FROM hourly WHERE hour < (SELECT day FROM closed_until) * {DAY_MS}");
        let mut sql = format!(
            "DROP TABLE closed_who; DROP TABLE closed_places; DROP TABLE closed_days; DELETE FROM _sqlx_migrations WHERE version = 8; \
             {table}; INSERT INTO closed SELECT -1, hour / {DAY_MS} AS day, kind, class, program, '', '', '', channel, country, \
             sum(count), max(last_ms) {of_closed} GROUP BY day, kind, class, program, channel, country;"
        );
        for days in WHO {
            let first =
                if days == 0 { "0".to_owned() } else { format!("hour / {DAY_MS} - (hour / {DAY_MS} - 4) % {days}") };
            sql += &format!(
                "INSERT INTO closed SELECT {days}, {first} AS day, kind, iif(class IN (1, 2), 1, 3) AS counted, {texts}, sum(count), \
                 max(last_ms) {of_closed} AND kind IN (1, 2, 3) GROUP BY day, kind, counted, program, link, partner, ad;"
            );
        }
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        pool.close().await;
    }
}
