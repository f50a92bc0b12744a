//! The sink without Kafka: killed between any two steps, with damaged sequences, poison, and a server that dies too.

use std::{collections::BTreeSet, time::Duration};

use fingerpost::{
    core::{event::Event, id::LaneId, time::Millis},
    io::clock::Clock,
    store::{
        Batch, Sink, SinkError, Stored,
        clickhouse::{ClickHouseSink, Store},
    },
};

use crate::{
    Dice, block_on,
    engine::{Database, own, settings, shared},
    insert::event,
    support::stack::Part,
};

const LANE: LaneId = LaneId(0xa1);
const OTHER: LaneId = LaneId(0xb2);

fn sink(database: &Database) -> ClickHouseSink {
    ClickHouseSink::new(Store::new(&database.settings).unwrap(), Clock::manual(Millis(1_800_000_000_000)))
}

/// Record 17 of each twenty is damaged in the journal, record 13 is poison.
fn record(sequence: u64) -> Option<Vec<u8>> {
    match sequence % 20 {
        17 => None,
        13 => Some(b"poison".to_vec()),
        _ => Some(event(sequence).encode()),
    }
}

trait Encode {
    fn encode(&self) -> Vec<u8>;
}

impl Encode for Event {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.borrow().encode(&mut out);
        out
    }
}

fn batch(lane: LaneId, from: u64, next: u64) -> Batch {
    Batch { lane, records: (from..next).filter_map(|sequence| Some((sequence, record(sequence)?))).collect(), next }
}

fn events(lanes: u64, each: u64) -> u64 {
    lanes * (0..each).filter(|sequence| !matches!(sequence % 20, 13 | 17)).count() as u64
}

#[test]
fn rows_and_positions_are_stored_and_repetitions_are_not() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        let mut sink = sink(&database);
        assert!(sink.positions().await.unwrap().is_empty());
        let both = [batch(LANE, 0, 40), batch(OTHER, 5, 60)];
        assert_eq!(sink.store(&both).await.unwrap(), Stored { events: 36 + 49, set_aside: 5 });
        assert_eq!(sink.positions().await.unwrap(), [(LANE, 40), (OTHER, 60)].into());
        assert_eq!(sink.store(&both).await.unwrap(), Stored::default());
        // A pump that was resumed wrongly, the same lane twice in one call, and a batch that is all damage.
        let twice = [batch(LANE, 30, 45), batch(LANE, 20, 57), batch(OTHER, 77, 78)];
        assert_eq!(sink.store(&twice).await.unwrap(), Stored { events: 16, set_aside: 1 });
        assert_eq!(sink.positions().await.unwrap(), [(LANE, 57), (OTHER, 78)].into());
        assert_eq!(database.audit().await, 36 + 49 + 16);
        assert_eq!(database.numbers("count(), countIf(body = 'poison')", "DB.set_aside FINAL").await, [6, 6]);
        sink.forget(LANE).await.unwrap();
        assert_eq!(sink.positions().await.unwrap(), [(OTHER, 78)].into());
    });
}

#[test]
fn what_a_table_refuses_goes_aside_alone() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        database.run("ALTER TABLE DB.events ADD CONSTRAINT no_seven CHECK partner != 'partner-7'").await;
        let mut sink = sink(&database);
        let refused =
            (0..40).filter(|sequence| sequence % 20 != 13 && sequence % 20 != 17 && sequence % 11 == 7).count() as u64;
        assert!(refused > 1);
        let stored = sink.store(&[batch(LANE, 0, 40)]).await.unwrap();
        assert_eq!(stored, Stored { events: 36 - refused, set_aside: 2 + refused });
        assert_eq!(database.audit().await, 36 - refused);
        let aside = database
            .numbers("count(), countIf(reason LIKE '%no_seven%' AND length(body) > 20)", "DB.set_aside FINAL")
            .await;
        assert_eq!(aside, [2 + refused, refused]);
        assert_eq!(sink.store(&[batch(LANE, 41, 45)]).await.unwrap().events, 4);
    });
}

#[test]
fn a_table_that_refuses_everything_stops_the_sink_and_sets_nothing_aside() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        database.run("ALTER TABLE DB.events ADD CONSTRAINT nothing CHECK rule > 7").await;
        let mut sink = sink(&database);
        let events = |next| Batch {
            lane: LANE,
            records: (0..next).map(|sequence| (sequence, event(sequence).encode())).collect(),
            next,
        };
        let error = sink.store(&[events(40)]).await.unwrap_err();
        assert!(matches!(&error, SinkError::Fatal(text) if text.contains("row after row")), "{error}");
        database.run("ALTER TABLE DB.events DROP CONSTRAINT nothing").await;
        assert_eq!(sink.store(&[events(40)]).await.unwrap(), Stored { events: 40, set_aside: 0 });
        assert_eq!(database.audit().await, 40);
        assert_eq!(database.numbers("count()", "DB.set_aside").await, [0]);
    });
}

#[test]
fn a_schema_that_is_not_there_waits_for_somebody() {
    block_on(async {
        let engine = shared();
        let database = Database::empty(settings(engine));
        let mut sink = sink(&database);
        let error = sink.store(&[batch(LANE, 0, 4)]).await.unwrap_err();
        assert!(matches!(&error, SinkError::Fatal(text) if text.contains("run `fingerpost migrate`")), "{error}");
        crate::engine::migrate(&database.store).await;
        assert_eq!(sink.store(&[batch(LANE, 0, 4)]).await.unwrap().events, 4);
    });
}

/// The process is killed at a random point of any call (its future is dropped, its connection closed), the next one cuts
/// its batches elsewhere; sometimes the server dies as well, in the middle of whatever it does.
#[test]
fn killed_at_random_points_counts_everything_once() {
    const EACH: u64 = 2_000;
    let mut dice = Dice::new();
    block_on(async {
        let engine = own();
        let database = Database::new(&engine).await;
        let (mut kills, mut done, mut deaths) = (0, BTreeSet::new(), 0);
        // How long a call takes on this machine: a life is up to twice that.
        let mut usual = Duration::from_millis(100);
        while done.len() < 2 {
            let mut sink = sink(&database);
            let Ok(positions) = sink.positions().await else {
                // The server is dead: somebody starts it again.
                engine.start(Part::Clickhouse);
                continue;
            };
            let mut next = [LANE, OTHER].map(|lane| (lane, positions.get(&lane).copied().unwrap_or(0)));
            loop {
                let batches: Vec<Batch> = next
                    .iter()
                    .filter(|(_, from)| *from < EACH)
                    .map(|(lane, from)| batch(*lane, *from, (from + 1 + dice.below(200)).min(EACH)))
                    .collect();
                done = next.iter().filter(|(_, from)| *from == EACH).map(|(lane, _)| lane.0).collect();
                if batches.is_empty() {
                    break;
                }
                let life = usual.mul_f64(dice.below(200) as f64 / 100.0);
                let started = std::time::Instant::now();
                if dice.below(12) == 0 {
                    // The server's death comes while the insert is under way, or just before or behind it.
                    let mut call = Box::pin(sink.store(&batches));
                    let ended = tokio::time::timeout(life, &mut call).await;
                    engine.kill(Part::Clickhouse);
                    deaths += 1;
                    if ended.is_err() {
                        let _ = call.await;
                    }
                    break;
                }
                match tokio::time::timeout(life, sink.store(&batches)).await {
                    Ok(Ok(_)) => usual = started.elapsed(),
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => {
                        usual += usual / 10;
                        kills += 1;
                        break;
                    }
                }
                for (lane, from) in &mut next {
                    *from = batches.iter().find(|batch| batch.lane == *lane).map_or(*from, |batch| batch.next);
                }
            }
        }
        println!("{kills} kills of the process, {deaths} of the server");
        assert!(kills > 3);
        assert_eq!(database.audit().await, events(2, EACH));
        let aside = database.numbers("count()", "DB.set_aside FINAL").await;
        assert_eq!(aside, [2 * EACH / 20]);
    });
}
