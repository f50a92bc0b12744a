//! A person is erased from the real engine: reports stay what they were.

use super::engine::Database;
use crate::{
    core::{
        event::{Event, Kind},
        id::{EventId, VisitorId},
        time::{DAY_MS, HOUR_MS, Millis},
    },
    io::clock::Clock,
    store::{
        Dimension, Filter, LinksQuery, ReachQuery, Reports,
        clickhouse::{ClickHouseKeeper, ClickHouseReports, NameRow, Named},
        keep::{Erasure, Keeper},
        model::START,
    },
};

const OLD: VisitorId = VisitorId([1; 16]);
const NEW: VisitorId = VisitorId([0xee; 16]);

fn event(number: u8, kind: Kind, visitor: Option<u8>, at: i64) -> Event {
    Event {
        id: EventId::new(START.plus(at), [number; 10]).0.into(),
        kind: kind as i32,
        class: 1,
        time_ms: START.plus(at).0,
        link: "haircare".to_owned(),
        partner: "abc123".to_owned(),
        country: "DE".to_owned(),
        visitor: visitor.map_or_else(Vec::new, |visitor| vec![visitor; 16]),
        city: "Bonn".to_owned(),
        network: "AS1".to_owned(),
        address: vec![203, 0, 113],
        sub1: "ann".to_owned(),
        count: 1,
        ..Event::default()
    }
}

/// To the end: a mutation takes its time.
async fn erase(keeper: &ClickHouseKeeper, erasure: &mut Erasure) -> u64 {
    let mut rows = 0;
    for _ in 0..600 {
        let done = keeper.erase(erasure).await.unwrap();
        rows += done.events;
        erasure.clicks.extend(done.clicks);
        if done.is_done {
            return rows;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("an erasure without an end");
}

async fn picture(reports: &ClickHouseReports) -> String {
    let mut text = String::new();
    for by in [vec![], vec![Dimension::Day], vec![Dimension::Hour], vec![Dimension::Partner, Dimension::Country]] {
        let query = ReachQuery { by, ..ReachQuery::default() };
        text += &format!("{:?}\n", reports.reach(&query).await.unwrap());
    }
    text + &format!("{:?}", reports.links(&LinksQuery::default()).await.unwrap())
}

#[tokio::test]
async fn an_erasure_leaves_reports_and_rollups_as_they_were() {
    let database = Database::new().await;
    let click = event(1, Kind::Click, Some(1), 0);
    let lead = Event { click: click.id.clone(), ..event(2, Kind::Lead, None, HOUR_MS) };
    let events = [
        click,
        lead,
        event(3, Kind::View, Some(1), DAY_MS),
        event(4, Kind::Click, Some(2), DAY_MS),
        event(5, Kind::Click, Some(1), 3 * DAY_MS),
    ];
    database.insert(&events, 0).await;
    let names = ["abc123", "other"].map(|code| NameRow {
        kind: Named::Partner,
        partner: String::new(),
        code: code.to_owned(),
        name: format!("Name of {code}"),
    });
    database.store.put_names(&names, Millis(0)).await.unwrap();
    let reports = ClickHouseReports::new(database.store.clone());
    let keeper = ClickHouseKeeper::new(database.store.clone(), Clock::manual(START));
    let uniques = "SELECT toUInt64(ifNull(uniqCombined64Merge(u.visitors), 0)) FROM uniques AS u";
    let before = (picture(&reports).await, database.store.rows::<u64>(database.store.ask(uniques)).await.unwrap());
    assert_eq!(keeper.events_of(&[OLD], &[], 10).await.unwrap().len(), 3);

    let mut erasure = Erasure {
        visitors: vec![(OLD, NEW)],
        partners: vec!["abc123".parse().unwrap()],
        until: START.plus(2 * DAY_MS),
        ..Erasure::default()
    };
    assert_eq!(erase(&keeper, &mut erasure).await, 3, "a click, a view, and the lead by its click");
    let after = (picture(&reports).await, database.store.rows::<u64>(database.store.ask(uniques)).await.unwrap());
    // The one event of that browser from after the erasure is a visitor's of its own from now on.
    assert_eq!(after.1, before.1, "rollups are not touched");
    assert_ne!(after.0, before.0, "that of the whole time has one visitor more");
    let filter = Filter { until: Some(START.plus(2 * DAY_MS)), ..Filter::default() };
    let query = ReachQuery { filter, ..ReachQuery::default() };
    let row = reports.reach(&query).await.unwrap().remove(0);
    assert_eq!((row.clicks, row.views, row.unique_visitors), (2, 1, Some(2)));
    let all = reports.events(&Filter::default(), None, 10).await.unwrap();
    let seen: Vec<(bool, bool, bool)> = all
        .iter()
        .map(|event| {
            (event.visitor == OLD.0, event.visitor == NEW.0, event.sub1.is_empty() && event.address.is_empty())
        })
        .collect();
    let (gone, other) = ((false, true, true), (false, false, false));
    assert_eq!(seen, [gone, (false, false, true), gone, other, (true, false, false)]);
    assert!(all[1].click.is_empty(), "the lead names no click");
    let names = "SELECT n.code FROM names_now AS n ORDER BY n.code";
    assert_eq!(database.store.rows::<String>(database.store.ask(names)).await.unwrap(), ["other"]);

    // A late event under the browser's own id.
    database.insert(&[event(6, Kind::Click, Some(1), 5)], 5).await;
    assert_eq!(erase(&keeper, &mut erasure).await, 1);
    assert_eq!(erase(&keeper, &mut erasure).await, 0, "again it changes nothing");

    // Loaded again from Kafka, which still has the browser's own id: what was erased stays so, and nothing counts twice.
    let erased = reports.events(&Filter::default(), None, 10).await.unwrap();
    database.replay(&events, 0).await;
    assert_eq!(reports.events(&Filter::default(), None, 10).await.unwrap(), erased);
    let rollups = database.store.rows::<u64>(database.store.ask(uniques)).await.unwrap();
    assert_eq!(rollups, after.1, "rollups are not touched");
    assert_eq!(keeper.events_of(&[NEW], &[], 10).await.unwrap().len(), 3);
    assert_eq!(keeper.complete_since().await.unwrap(), None);
    database.drop().await;
}
