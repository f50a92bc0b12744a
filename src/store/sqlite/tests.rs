//! The sink and the reports together, on real files.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use sqlx::{Connection, Row, SqliteConnection};
use tempfile::TempDir;

use super::{FILE, SqliteReports, SqliteSink};
use crate::{
    core::{
        code::Code,
        event::{Class, Device, Event, Kind},
        id::{EventId, LaneId},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Batch, EventCursor, Filter, LinksQuery, ReachQuery, ReportError, Reports, Sink, SinkError, Stored,
        model::{self, Model, START},
        rows,
    },
};

const LANE: LaneId = LaneId(0xfeed_0000_0000_0000_0000_0000_0000_0001);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn sink(folder: &TempDir) -> SqliteSink {
    SqliteSink::open(&folder.path().join(FILE), Clock::manual(START)).await.unwrap()
}

async fn reports(folder: &TempDir) -> SqliteReports {
    SqliteReports::open(&folder.path().join(FILE)).await.unwrap()
}

async fn shell(folder: &TempDir) -> SqliteConnection {
    SqliteConnection::connect(folder.path().join(FILE).to_str().unwrap()).await.unwrap()
}

fn batch(lane: LaneId, first: u64, events: &[Event]) -> Batch {
    let records = (first..).zip(events.iter().map(Event::encode_to_vec)).collect();
    Batch { lane, records, next: first + events.len() as u64 }
}

fn click(number: u8) -> Event {
    Event {
        id: EventId::new(START.plus(number.into()), [number; 10]).0.into(),
        kind: Kind::Click as i32,
        class: Class::Human as i32,
        time_ms: START.0 + i64::from(number),
        link: "haircare".into(),
        visitor: vec![number; 16],
        ..Event::default()
    }
}

async fn totals(reports: &SqliteReports) -> (u64, u64) {
    let rows = reports.reach(&ReachQuery::default()).await.unwrap();
    (rows[0].clicks, rows[0].unique_visitors.unwrap())
}

async fn all_events(reports: &SqliteReports, page: u32) -> Vec<Event> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let events = reports.events(&Filter::default(), after, page).await.unwrap();
        let Some(last) = events.last() else { return all };
        after = Some(EventCursor { time: Millis(last.time_ms), id: EventId(last.id.clone().try_into().unwrap()) });
        all.extend(events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Batches of two lanes, with sums written at any distance, the sink reopened at any time, and batches sent again.
    #[test]
    fn answers_equal_a_naive_recount(
        events in model::history(400),
        cuts in proptest::collection::vec((1..90usize, any::<[bool; 3]>()), 1..20),
        lag in 1..200u64,
        questions in proptest::collection::vec(model::question(), 6),
        touches in proptest::collection::vec(model::touch_question(), 4),
        page in 1..50u32,
    ) {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = sink(&folder).await;
            sink.sums_lag = lag;
            sink.visits.run = lag as i64;
            let mut next = [0; 2];
            let mut rest = events.as_slice();
            let (mut followed, mut positions) = (Vec::new(), Vec::new());
            for (size, [lane, again, reopen]) in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, left) = rest.split_at((*size).min(rest.len()));
                rest = left;
                let lane = usize::from(*lane);
                let batches = [batch(LaneId(lane as u128), next[lane], part)];
                next[lane] += part.len() as u64;
                prop_assert_eq!(sink.store(&batches).await.unwrap(), Stored { events: part.len() as u64, set_aside: 0 });
                if *again {
                    prop_assert_eq!(sink.store(&batches).await.unwrap(), Stored::default());
                }
                if *reopen {
                    drop(sink);
                    sink = self::sink(&folder).await;
                    sink.sums_lag = lag;
                    sink.visits.run = lag as i64;
                    followed.extend(model::all_arrived(&reports(&folder).await, &mut positions).await);
                }
            }
            let reports = reports(&folder).await;
            let model = Model::new(events.clone());
            for question in &questions {
                prop_assert_eq!(reports.reach(question).await.unwrap(), model.reach(question).await.unwrap(), "{:?}", question);
                let filter = &question.filter;
                let links = LinksQuery { filter: filter.clone(), without_visitors: question.without_visitors };
                prop_assert_eq!(reports.links(&links).await.unwrap(), model.links(&links).await.unwrap(), "{:?}", links);
                prop_assert_eq!(
                    reports.events(filter, None, 1_000).await.unwrap(), model.events(filter, None, 1_000).await.unwrap()
                );
            }
            for question in &touches {
                let expected = model::all_touches(&model, question).await;
                prop_assert_eq!(model::all_touches(&reports, question).await, expected, "{:?}", question);
            }
            followed.extend(model::all_arrived(&reports, &mut positions).await);
            followed.sort();
            prop_assert_eq!(followed, model::all_arrived(&model, &mut Vec::new()).await);
            let links: Vec<Code> = ["haircare", "suncare", "unknown"].map(|code| code.parse().unwrap()).into();
            prop_assert_eq!(reports.link_clicks(&links).await.unwrap(), model.link_clicks(&links).await.unwrap());
            prop_assert_eq!(all_events(&reports, page).await, model.events(&Filter::default(), None, 1_000).await.unwrap());
            Ok(())
        })?;
    }
}

#[test]
fn every_field_comes_back() {
    block_on(async {
        let text = |text: &str| text.to_owned();
        let event = Event {
            id: EventId::new(START, [9; 10]).0.into(),
            kind: Kind::Share as i32,
            class: Class::Preview as i32,
            time_ms: START.0 + 7,
            program: text("spring"),
            link: text("haircare"),
            partner: text("abc123"),
            ad: text("website2"),
            slug: text("s8"),
            channel: text("whatsapp"),
            visitor: vec![7; 16],
            country: text("DE"),
            region: text("BY"),
            city: text("München"),
            network: text("AS3320"),
            address: vec![203, 0, 113],
            referrer: text("www.example.com"),
            language: text("de-de"),
            device: Device::Tablet as i32,
            browser: text("Firefox"),
            os: text("Linux"),
            sub1: text("one\0\n'; DROP TABLE events; --"),
            sub2: text("two"),
            sub3: text("three"),
            sub4: text("four"),
            sub5: text("five"),
            reason: text("unknown_ad"),
            named: text("nobody"),
            click: vec![8; 16],
            rule: 3,
            count: 12,
            sequence: 0,
        };
        let folder = tempfile::tempdir().unwrap();
        sink(&folder).await.store(&[batch(LANE, 0, &[event.clone(), click(1)])]).await.unwrap();
        assert_eq!(all_events(&reports(&folder).await, 10).await, [click(1), event]);
    });
}

#[test]
fn the_shell_reads_what_the_export_says() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Vec::new();
        for (at, kind) in (0..).zip(Kind::ALL) {
            events.push(Event { kind: *kind as i32, ..click(at) });
        }
        for (at, class) in (50..).zip(Class::ALL) {
            events.push(Event { class: *class as i32, click: vec![0xc0; 16], ..click(at) });
        }
        for (at, device) in (100..).zip(Device::ALL) {
            events.push(Event { device: *device as i32, partner: "abc123".into(), rule: 1, ..click(at) });
        }
        sink(&folder).await.store(&[batch(LANE, 0, &events)]).await.unwrap();
        let lines =
            sqlx::query("SELECT * FROM event_log ORDER BY time").fetch_all(&mut shell(&folder).await).await.unwrap();
        assert_eq!(lines.len(), events.len());
        for (line, event) in lines.iter().zip(&events) {
            let exported = rows::event(event);
            for (column, cell) in rows::EVENT_COLUMNS.iter().zip(&exported) {
                let shown = match cell {
                    rows::Cell::Number(number) => {
                        assert_eq!(line.get::<Option<i64>, _>(*column).unwrap_or(0) as u64, *number, "{column}");
                        continue;
                    }
                    rows::Cell::Text(text) => text,
                    other => panic!("{column} is {other:?}"),
                };
                // Ids are shown with hyphens where they name the row, else as plain hexadecimal digits.
                let expected = if *column == "click" { shown.replace('-', "") } else { shown.clone() };
                assert_eq!(line.get::<Option<String>, _>(*column).unwrap_or_default(), expected, "{column}");
            }
        }
    });
}

#[test]
fn records_below_the_position_are_skipped_and_gaps_are_kept() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(&folder).await;
        let events: Vec<Event> = (0..10).map(click).collect();
        sink.store(&[batch(LANE, 0, &events[..4])]).await.unwrap();
        // A pump that was resumed at 2, and records 4 and 5 damaged.
        let mut overlapping = batch(LANE, 2, &events[2..]);
        overlapping.records.retain(|(sequence, _)| !matches!(sequence, 4 | 5));
        assert_eq!(sink.store(&[overlapping]).await.unwrap(), Stored { events: 4, set_aside: 0 });
        // The same lane twice in one call, the second time behind its position.
        let twice = [batch(LANE, 10, &[click(20)]), batch(LANE, 10, &[click(20)])];
        assert_eq!(sink.store(&twice).await.unwrap(), Stored { events: 1, set_aside: 0 });
        assert_eq!(sink.positions().await.unwrap(), [(LANE, 11)].into());
        assert_eq!(totals(&reports(&folder).await).await, (9, 9));
        // A batch that is old does not move the position back.
        sink.store(&[batch(LANE, 0, &events[..4])]).await.unwrap();
        assert_eq!(sink.positions().await.unwrap(), [(LANE, 11)].into());
        sink.forget(LANE).await.unwrap();
        assert_eq!(sink.positions().await.unwrap(), [].into());
    });
}

#[test]
fn poison_goes_aside_with_its_reason_and_the_queue_moves_on() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(&folder).await;
        let poison = [
            Vec::new(),
            b"not protobuf".to_vec(),
            Event { id: vec![1; 15], ..click(1) }.encode_to_vec(),
            Event { time_ms: i64::MIN, ..click(1) }.encode_to_vec(),
            Event { time_ms: i64::MAX, ..click(1) }.encode_to_vec(),
            Event { count: u64::MAX, ..click(1) }.encode_to_vec(),
            Event { address: vec![203, 0, 113, 77], ..click(1) }.encode_to_vec(),
            Event { visitor: vec![1; 3], ..click(1) }.encode_to_vec(),
        ];
        let mut all = batch(LANE, 0, &[click(0)]);
        all.records.extend((1..).zip(poison.iter().cloned()));
        all.records.push((9, click(9).encode_to_vec()));
        all.next = 10;
        assert_eq!(sink.store(&[all.clone()]).await.unwrap(), Stored { events: 2, set_aside: 8 });
        assert_eq!(sink.store(&[all]).await.unwrap(), Stored::default());
        assert_eq!(totals(&reports(&folder).await).await, (2, 2));
        let aside = sqlx::query("SELECT sequence, reason, body, at_ms FROM set_aside ORDER BY sequence")
            .fetch_all(&mut shell(&folder).await)
            .await
            .unwrap();
        let bodies: Vec<Vec<u8>> = aside.iter().map(|row| row.get(2)).collect();
        assert_eq!(bodies, poison);
        assert_eq!(aside[0].get::<i64, _>(0), 1);
        assert_eq!(aside[0].get::<i64, _>(3), START.0);
        let reasons: Vec<String> = aside.iter().map(|row| row.get(1)).collect();
        assert_eq!(reasons[2], "id is not 16 bytes");
        assert!(reasons.iter().all(|reason| reason.len() > 10), "{reasons:?}");
    });
}

#[test]
fn what_sqlite_refuses_goes_aside_alone() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(&folder).await;
        sqlx::query(
            "CREATE TRIGGER no_thirteen BEFORE INSERT ON events WHEN new.sub1 = '13' BEGIN SELECT RAISE(ABORT, 'thirteen'); END",
        )
        .execute(&mut shell(&folder).await)
        .await
        .unwrap();
        let events: Vec<Event> = (0..100).map(|at| Event { sub1: at.to_string(), ..click(at) }).collect();
        assert_eq!(sink.store(&[batch(LANE, 0, &events)]).await.unwrap(), Stored { events: 99, set_aside: 1 });
        assert_eq!(totals(&reports(&folder).await).await, (99, 99));
        assert_eq!(sink.positions().await.unwrap(), [(LANE, 100)].into());
        let reason: String = sqlx::query_scalar("SELECT reason FROM set_aside WHERE sequence = 13")
            .fetch_one(&mut shell(&folder).await)
            .await
            .unwrap();
        assert_eq!(reason, "thirteen");
    });
}

#[test]
fn nothing_of_a_failed_batch_is_stored_and_the_next_try_is_whole() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(&folder).await;
        sink.sums_lag = 3;
        sink.store(&[batch(LANE, 0, &[click(0), click(1)])]).await.unwrap();
        // The sums are due with the next batch, and their table cannot be written: the rows must not stay.
        let mut shell = shell(&folder).await;
        sqlx::query("ALTER TABLE link_clicks RENAME TO away").execute(&mut shell).await.unwrap();
        let failed = sink.store(&[batch(LANE, 2, &[click(2), click(3)])]).await;
        assert!(
            matches!(failed, Err(SinkError::Fatal(ref text)) if text.contains("tables of this version")),
            "{failed:?}"
        );
        assert_eq!(totals(&reports(&folder).await).await, (2, 2));
        sqlx::query("ALTER TABLE away RENAME TO link_clicks").execute(&mut shell).await.unwrap();
        sink.store(&[batch(LANE, 2, &[click(2), click(3)])]).await.unwrap();
        assert_eq!(totals(&reports(&folder).await).await, (4, 4));
        let summed: i64 = sqlx::query_scalar("SELECT sum(count) FROM hourly").fetch_one(&mut shell).await.unwrap();
        assert_eq!(summed, 4, "the sums were written");
    });
}

#[test]
fn two_processes_during_an_upgrade_count_each_event_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (mut old, mut new) = (sink(&folder).await, sink(&folder).await);
        (old.sums_lag, new.sums_lag) = (3, 5);
        let other = LaneId(2);
        let reports = reports(&folder).await;
        for at in 0..20 {
            let sink = if at % 3 == 0 { &mut old } else { &mut new };
            let lane = if at % 3 == 0 { LANE } else { other };
            let next = sink.positions().await.unwrap().get(&lane).copied().unwrap_or(0);
            sink.store(&[batch(lane, next, &[click(at)])]).await.unwrap();
            assert_eq!(totals(&reports).await, (u64::from(at) + 1, u64::from(at) + 1));
        }
    });
}

/// Rows, sums and position become visible together: a reader never sees one without the others.
#[test]
fn a_reader_sees_whole_batches_only() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sink = sink(&folder).await;
        sink.sums_lag = 25;
        let reports = Arc::new(reports(&folder).await);
        let done = tokio_util::sync::CancellationToken::new();
        let reader = tokio::spawn({
            let (reports, done) = (Arc::clone(&reports), done.clone());
            async move {
                let mut seen = 0;
                let mut different = 0;
                while !done.is_cancelled() {
                    let (clicks, visitors) = totals(&reports).await;
                    assert_eq!((clicks % 10, visitors), (0, clicks));
                    assert!(clicks >= seen);
                    different += u32::from(clicks > seen);
                    seen = clicks;
                }
                different
            }
        });
        for at in 0..25u8 {
            let events: Vec<Event> = (0..10).map(|n| click(at * 10 + n)).collect();
            sink.store(&[batch(LANE, u64::from(at) * 10, &events)]).await.unwrap();
            tokio::task::yield_now().await;
        }
        done.cancel();
        assert!(reader.await.unwrap() > 0, "the reader ran beside the writer");
        assert_eq!(totals(&reports).await, (250, 250));
    });
}

#[test]
fn a_reader_needs_no_writer_and_makes_no_file() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let missing = SqliteReports::open(&folder.path().join(FILE)).await.unwrap_err();
        assert!(matches!(missing, ReportError::Unavailable(ref text) if text.contains("nothing was recorded yet")));
        assert!(!folder.path().join(FILE).exists());
        let mut sink = sink(&folder).await;
        sink.store(&[batch(LANE, 0, &[click(1)])]).await.unwrap();
        sink.close().await;
        assert!(!folder.path().join("events.db-wal").exists(), "the last one to close takes the log away");
        assert_eq!(totals(&reports(&folder).await).await, (1, 1));
    });
}

#[test]
fn a_file_that_is_no_database_says_what_to_do() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [b'x'; 8192]).unwrap();
        let error = SqliteSink::open(&folder.path().join(FILE), Clock::System).await.unwrap_err();
        assert!(matches!(error, SinkError::Fatal(ref text) if text.contains("move it away")), "{error}");
        let nowhere = SqliteSink::open(&folder.path().join("no/such/folder"), Clock::System).await.unwrap_err();
        assert!(matches!(nowhere, SinkError::Retry(ref text) if text.contains("cannot be opened")), "{nowhere}");
    });
}

#[test]
fn another_writer_means_try_again() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(&folder).await;
        sqlx::query("PRAGMA busy_timeout = 0").execute(&sink.pool).await.unwrap();
        let mut shell = shell(&folder).await;
        let lock = shell.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let busy = sink.store(&[batch(LANE, 0, &[click(1)])]).await;
        assert!(matches!(busy, Err(SinkError::Retry(ref text)) if text.contains("another process")), "{busy:?}");
        lock.rollback().await.unwrap();
        assert_eq!(sink.store(&[batch(LANE, 0, &[click(1)])]).await.unwrap().events, 1);
    });
}

/// Does the same in several threads at once, each with a runtime of its own.
fn at_once<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let all = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        let run = |at| {
            let (all, work) = (&all, &work);
            scope.spawn(move || {
                all.wait();
                work(at)
            })
        };
        let threads: Vec<_> = (0..6).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn who_opens_a_new_file_at_the_same_time_finds_the_same_tables() {
    for round in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let opened = at_once(|_| {
            block_on(async {
                let sink = SqliteSink::open(&path, Clock::manual(START)).await.map_err(|error| error.to_string())?;
                sink.close().await;
                Ok::<(), String>(())
            })
        });
        assert!(opened.iter().all(Result::is_ok), "round {round}: {opened:?}");
    }
}

/// As other processes do it, which share nothing but the file.
#[test]
fn who_makes_the_tables_at_the_same_time_makes_them_once() {
    for round in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        // Only one process at a time makes the file itself.
        block_on(async { super::connect(&path).await.unwrap().close().await });
        let made = at_once(|_| {
            block_on(async {
                let pool = super::connect(&path).await?;
                let made = super::migrate(&pool).await;
                pool.close().await;
                made
            })
        });
        assert!(made.iter().all(Result::is_ok), "round {round}: {made:?}");
    }
}
