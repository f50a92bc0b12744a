//! From which sums the real engine answers. A question finds the coarse ones only by the same words: another word, and it reads every
//! hour's sums, a thousand times as many, with the same answer.

use super::engine::Database;
use crate::{
    core::{
        event::{Event, Kind},
        id::EventId,
        time::{DAY_MS, HOUR_MS},
    },
    store::{
        Dimension::{self, Ad, Channel, Class, Country, Day, Hour, Link, Partner, Program},
        Filter, LinksQuery, ReachQuery, Reports,
        clickhouse::ClickHouseReports,
        model::START,
    },
};

const EVENTS: u64 = 2_000;

/// Countries and hours make every event a sum of its own.
fn event(number: u64) -> Event {
    let country = (number / 240) as u8;
    Event {
        id: EventId::new(START, [0; 10]).0.into(),
        kind: if number.is_multiple_of(3) { Kind::View } else { Kind::Click } as i32,
        class: 1 + i32::from(number.is_multiple_of(5)) * 2,
        time_ms: START.plus((number % 240) as i64 * HOUR_MS).0,
        program: "spring".to_owned(),
        link: format!("link{}", number % 2),
        partner: "ann".to_owned(),
        country: String::from_utf8_lossy(&[b'A' + country / 26, b'A' + country % 26]).into_owned(),
        count: 1,
        ..Event::default()
    }
}

fn filter(link: Option<&str>) -> Filter {
    let code = |code: &str| code.parse().unwrap();
    Filter { since: Some(START.plus(DAY_MS).day()), link: link.map(code), ..Filter::default() }
}

#[tokio::test]
async fn each_question_finds_its_sums() {
    let database = Database::new().await;
    let events: Vec<Event> = (0..EVENTS).map(event).collect();
    database.insert(&events, 0).await;
    let reports = ClickHouseReports::new(database.store.clone());
    let by = |by: &[Dimension], filter: Filter| ReachQuery { filter, by: by.into(), without_visitors: true };
    // Where several have as few rows here, the engine takes the one that was made first.
    let (lines, lines_by_day): (&[&str], &[&str]) = (&["lines"], &["lines_by_day"]);
    let days = &["days", "by_day", "by_hour", "by_country"];
    let reach: [(&[&str], ReachQuery); 11] = [
        (lines, by(&[Link], Filter::default())),
        (lines, by(&[Program, Partner, Ad], Filter::default())),
        (lines, by(&[], Filter { since: None, ..filter(Some("link1")) })),
        (lines_by_day, by(&[Day, Link], filter(None))),
        (lines_by_day, by(&[Partner], filter(None))),
        (days, by(&[], Filter::default())),
        (days, by(&[Day, Class], filter(None))),
        (days, by(&[Program], filter(None))),
        (&["by_hour"], by(&[Hour], filter(None))),
        (&["by_day"], by(&[Class, Partner], filter(None))),
        (&["by_country"], by(&[Country, Channel], filter(None))),
    ];
    for (sums, question) in reach {
        assert!(!reports.reach(&question).await.unwrap().is_empty());
        let read = reports.sums_of_reach(&question).await;
        assert!(read.len() == 1 && sums.contains(&read[0].as_str()), "{question:?} reads {read:?}");
    }
    let links = |since| LinksQuery { filter: Filter { since, ..Filter::default() }, without_visitors: true };
    assert_eq!(reports.sums_of_links(&links(None)).await, ["lines"]);
    assert_eq!(reports.sums_of_links(&links(Some(START.plus(DAY_MS).day()))).await, ["lines_by_day"]);
    database.drop().await;
}
