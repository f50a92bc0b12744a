//! How long reports take: a history made inside ClickHouse, then each question of people asked five times.
//!
//! `--size ci` 2 million events, `full` 100 million. The claim: questions that the rollups answer take at most 100 ms at the
//! median (PERFORMANCE.md), which is asked of the full size; those that read rows are shown beside them. At any size the sums
//! must equal the rows.

#[path = "report_speed/history.rs"]
mod history;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    common,
    stack::{self, Part, Stack},
};
use fingerpost::{
    config::{
        secret::Secret,
        stores::{ClickHouse, Compression},
    },
    core::{code::Code, time::Millis},
    store::{
        Dimension, Filter, LinksQuery, ReachQuery, Reports,
        clickhouse::{ClickHouseReports, Store},
    },
};
use history::START_S;
use serde_json::json;

const ROUNDS: usize = 5;
/// A question that takes longer is asked once.
const SLOW: Duration = Duration::from_secs(2);
const GOAL: Duration = Duration::from_millis(100);

/// A question, and whether rollups alone answer it.
struct Question {
    name: &'static str,
    by_rollups: bool,
    ask: Ask,
}

enum Ask {
    Reach(ReachQuery),
    Links(LinksQuery),
    Events(Filter),
    Clicks(Vec<Code>),
}

/// `days` is how many the history has.
fn questions(days: u64) -> Vec<Question> {
    let day = |day: u64| Millis(((START_S + day * 86_400) * 1_000) as i64);
    let all = Filter::default();
    let month = Filter { since: Some(day(days.saturating_sub(30)).plus(5 * 3_600_000)), ..Filter::default() };
    let code = |text: &str| Some(text.parse::<Code>().unwrap());
    let link = Filter { link: code("link7"), ..month.clone() };
    let partner = Filter { partner: code("partner49"), ..month.clone() };
    let hours = Filter { since: Some(day(days.saturating_sub(2))), ..Filter::default() };
    let sums = |filter: &Filter, by: &[Dimension]| {
        Ask::Reach(ReachQuery { filter: filter.clone(), by: by.into(), without_visitors: true })
    };
    let visitors = |filter: &Filter, by: &[Dimension]| {
        Ask::Reach(ReachQuery { filter: filter.clone(), by: by.into(), without_visitors: false })
    };
    let links = |filter: &Filter, without_visitors| Ask::Links(LinksQuery { filter: filter.clone(), without_visitors });
    use Dimension::{Class, Country, Day, Hour, Link, Partner};
    let ask = |name, by_rollups, ask| Question { name, by_rollups, ask };
    vec![
        ask("reach, all time", true, sums(&all, &[])),
        ask("reach by day, all time", true, sums(&all, &[Day])),
        ask("reach by link, all time", true, sums(&all, &[Link])),
        ask("reach by partner, all time", true, sums(&all, &[Partner])),
        ask("reach by country, all time", true, sums(&all, &[Country])),
        ask("reach by class, all time", true, sums(&all, &[Class])),
        ask("reach by day and link, 30 days", true, sums(&month, &[Day, Link])),
        ask("reach by hour, 2 days", true, sums(&hours, &[Hour])),
        ask("reach by day of a partner, 30 days", true, sums(&partner, &[Day])),
        ask("reach by country of a link, 30 days", true, sums(&link, &[Country])),
        ask("links, 30 days", true, links(&month, true)),
        ask("links, all time", true, links(&all, true)),
        ask(
            "clicks of 100 limited links",
            true,
            Ask::Clicks((0..100).map(|n| format!("link{n}").parse().unwrap()).collect()),
        ),
        ask("reach with visitors of a link, 30 days", false, visitors(&link, &[])),
        ask("reach with visitors by hour, 2 days", false, visitors(&hours, &[Hour])),
        ask("reach with visitors, all time", false, visitors(&all, &[])),
        ask("links with visitors, 30 days", false, links(&month, false)),
        ask("links with visitors, all time", false, links(&all, false)),
        ask("a page of an export", false, Ask::Events(hours)),
    ]
}

/// Rows of the answer.
async fn answer(reports: &ClickHouseReports, ask: &Ask) -> usize {
    match ask {
        Ask::Reach(query) => reports.reach(query).await.unwrap().len(),
        Ask::Links(query) => reports.links(query).await.unwrap().len(),
        Ask::Events(filter) => reports.events(filter, None, reports.page_rows()).await.unwrap().len(),
        Ask::Clicks(links) => reports.link_clicks(links).await.unwrap().len(),
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let events = arguments.size.pick(2_000_000, 100_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(arguments.size, events))
}

async fn run(size: common::Size, events: u64) -> ExitCode {
    let settings = ClickHouse {
        url: Stack::shared(&[Part::Clickhouse]).clickhouse_url(),
        database: std::env::var("REPORT_SPEED_DATABASE").unwrap_or_else(|_| stack::unique("speed")),
        user: String::new(),
        password: Secret::default(),
        cluster: String::new(),
        compression: Compression::Lz4,
        retention: Duration::ZERO,
        timeout: Duration::from_secs(600),
    };
    let store = Store::new(&settings).unwrap();
    let client = clickhouse::Client::default().with_url(&settings.url);
    let pending = store.pending().await.unwrap();
    let began = Instant::now();
    if !pending.is_empty() {
        for change in pending {
            store.apply(&change).await.unwrap();
        }
        history::generate(&client, &settings, events).await;
    }
    let made = began.elapsed();
    // What is there: a history that was cut short is a smaller one.
    let known = format!("SELECT count(), uniqExact(toDate(time)) FROM `{}`.events", settings.database);
    let (events, days): (u64, u64) = client.query_raw(&known).fetch_one().await.unwrap();
    let reports = ClickHouseReports::new(store);
    let whole = is_whole(&client, &settings, &reports).await;
    let mut told = serde_json::Map::new();
    let mut slow = Vec::new();
    for Question { name, by_rollups, ask } in questions(days) {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            let asked = Instant::now();
            rows = answer(&reports, &ask).await;
            times.push(asked.elapsed());
            if asked.elapsed() > SLOW {
                break;
            }
        }
        times.sort();
        let median = times[times.len() / 2];
        eprintln!("{name}: {} ms, {rows} rows", median.as_millis());
        if by_rollups && median > GOAL {
            slow.push(name);
        }
        let line = json!({ "median_ms": median.as_micros() as f64 / 1_000.0, "rows": rows, "by_rollups": by_rollups });
        told.insert(name.to_owned(), line);
    }
    let fields = json!({
        "events": events, "days": days, "made_s": made.as_secs_f64(), "goal_ms": GOAL.as_millis() as u64, "slower": slow, "sums_equal_rows": whole, "questions": told,
    });
    // At the small size a noisy machine would decide: only the sums must be right.
    common::report("report-speed", size, whole && (size == common::Size::Ci || slow.is_empty()), fields)
}

/// Whether the sums hold as many clicks, views and shares as the rows.
async fn is_whole(client: &clickhouse::Client, settings: &ClickHouse, reports: &ClickHouseReports) -> bool {
    let text = format!(
        "SELECT sum(e.count) FROM `{}`.events AS e WHERE kind IN ('click', 'view', 'share')",
        settings.database
    );
    let in_rows: u64 = client.query_raw(&text).fetch_one().await.unwrap();
    let query = ReachQuery { by: vec![Dimension::Class], without_visitors: true, ..ReachQuery::default() };
    let in_sums: u64 = reports.reach(&query).await.unwrap().iter().map(|row| row.clicks + row.views + row.shares).sum();
    if in_rows != in_sums {
        eprintln!("{in_rows} clicks, views and shares are in the rows, {in_sums} in the sums");
    }
    in_rows == in_sums
}
