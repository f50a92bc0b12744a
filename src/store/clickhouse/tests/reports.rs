//! The same random histories in ClickHouse, in SQLite and in the naive model: every question has one answer.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;

use super::engine::Database;
use crate::{
    core::{
        code::Code,
        event::Event,
        id::{EventId, LaneId},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Batch, EventCursor, Filter, LinksQuery, ReachQuery, Reports, Sink, TouchQuery,
        clickhouse::ClickHouseReports,
        model::{self, Model, START},
        sqlite::{FILE, SqliteReports, SqliteSink},
    },
};

/// Each costs the engine a database of twenty tables.
const CASES: u32 = 12;
const LANE: LaneId = LaneId(7);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A count of 0 means 1: ClickHouse keeps the meaning, SQLite the bytes.
fn weighed(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        event.count = event.weight();
    }
    events
}

async fn all_events(reports: &dyn Reports, filter: &Filter, page: u32) -> Vec<Event> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let events = reports.events(filter, after, page).await.unwrap();
        assert!(events.len() <= page as usize);
        let Some(last) = events.last() else { return weighed(all) };
        after = Some(EventCursor { time: Millis(last.time_ms), id: EventId(last.id.clone().try_into().unwrap()) });
        all.extend(events);
    }
}

async fn sqlite(folder: &tempfile::TempDir, events: &[Event]) -> SqliteReports {
    let path = folder.path().join(FILE);
    let mut sink = SqliteSink::open(&path, Clock::manual(START)).await.unwrap();
    let records = (0..).zip(events.iter().map(Event::encode_to_vec)).collect();
    sink.store(&[Batch { lane: LANE, records, next: events.len() as u64 }]).await.unwrap();
    SqliteReports::open(&path).await.unwrap()
}

async fn compare(
    events: Vec<Event>,
    cut: usize,
    (questions, touches): (&[ReachQuery], &[TouchQuery]),
    page: u32,
) -> Result<(), TestCaseError> {
    let database = Database::new().await;
    let (first, second) = events.split_at(cut.min(events.len()));
    database.insert(first, 0).await;
    let (mut followed, mut positions) = (Vec::new(), Vec::new());
    followed.extend(model::all_arrived(&ClickHouseReports::new(database.store.clone()), &mut positions).await);
    database.insert(second, first.len() as u64).await;
    let folder = tempfile::tempdir().unwrap();
    let sqlite = sqlite(&folder, &events).await;
    let clickhouse = ClickHouseReports::new(database.store.clone());
    let model = Model::new(events.clone());
    for question in questions {
        let expected = model.reach(question).await.unwrap();
        prop_assert_eq!(&sqlite.reach(question).await.unwrap(), &expected, "SQLite: {:?}", question);
        prop_assert_eq!(&clickhouse.reach(question).await.unwrap(), &expected, "ClickHouse: {:?}", question);
        let filter = &question.filter;
        let links = LinksQuery { filter: filter.clone(), without_visitors: question.without_visitors };
        let expected = model.links(&links).await.unwrap();
        prop_assert_eq!(&sqlite.links(&links).await.unwrap(), &expected, "SQLite: {:?}", links);
        prop_assert_eq!(&clickhouse.links(&links).await.unwrap(), &expected, "ClickHouse: {:?}", links);
        let expected = weighed(model.events(filter, None, 100_000).await.unwrap());
        prop_assert_eq!(&all_events(&sqlite, filter, page).await, &expected, "SQLite: {:?}", filter);
        prop_assert_eq!(&all_events(&clickhouse, filter, page).await, &expected, "ClickHouse: {:?}", filter);
    }
    for question in touches {
        let expected = model::all_touches(&model, question).await;
        prop_assert_eq!(&model::all_touches(&sqlite, question).await, &expected, "SQLite: {:?}", question);
        prop_assert_eq!(&model::all_touches(&clickhouse, question).await, &expected, "ClickHouse: {:?}", question);
    }
    followed.extend(model::all_arrived(&clickhouse, &mut positions).await);
    followed.sort();
    prop_assert_eq!(&followed, &model::all_arrived(&model, &mut Vec::new()).await);
    let links: Vec<Code> = ["unknown", "haircare", "suncare", "haircare"].map(|code| code.parse().unwrap()).into();
    let expected = model.link_clicks(&links).await.unwrap();
    prop_assert_eq!(&sqlite.link_clicks(&links).await.unwrap(), &expected);
    prop_assert_eq!(&clickhouse.link_clicks(&links).await.unwrap(), &expected);
    database.drop().await;
    Ok(())
}

#[test]
fn the_three_stores_give_the_same_answers() {
    let config = Config { cases: CASES, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    // A case that fails is printed whole, and tried again smaller.
    let seed = rand_seed();
    println!("FINGERPOST_SEED={}", data_encoding::HEXLOWER.encode(&seed));
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let questions =
        (proptest::collection::vec(model::question(), 8), proptest::collection::vec(model::touch_question(), 4));
    let case = (model::history(300), 0..300usize, questions, 1..60u32);
    let result = runner.run(&case, |(events, cut, (questions, touches), page)| {
        block_on(compare(events, cut, (&questions, &touches), page))
    });
    if let Err(error) = result {
        panic!("{error}\nseed {}", data_encoding::HEXLOWER.encode(&seed));
    }
}

/// The seed that `FINGERPOST_SEED` names, or a new one.
fn rand_seed() -> [u8; 32] {
    match std::env::var("FINGERPOST_SEED") {
        Ok(text) => data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap(),
        Err(_) => crate::io::random::bytes().unwrap(),
    }
}
