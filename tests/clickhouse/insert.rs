//! Each event is one row and is in each sum once: repeated, cut in half, killed.

use std::{ops::Range, time::Instant};

use fingerpost::{
    core::{
        event::{Class, Event, Kind},
        time::Millis,
    },
    store::clickhouse::{Block, StoreError},
};

use crate::{
    Dice, block_on,
    engine::{Database, kill_now, own, patiently, shared},
    support::stack::Part,
};

/// 2026-10-31T23:00:00Z; offsets are minutes, so that a range of a hundred straddles the month.
const START: i64 = 1_793_487_600_000;

/// The event at an offset, always the same.
pub(crate) fn event(offset: u64) -> Event {
    let kinds = [Kind::Click, Kind::Click, Kind::View, Kind::Share, Kind::Lead, Kind::Missing];
    let classes = [Class::Human, Class::Repeat, Class::Bot];
    let mut id = [0; 16];
    id[8..].copy_from_slice(&offset.to_be_bytes());
    Event {
        id: id.to_vec(),
        kind: kinds[offset as usize % kinds.len()] as i32,
        class: classes[offset as usize / 7 % classes.len()] as i32,
        // Backwards and forwards over midnight.
        time_ms: START + (offset * 37 % 120) as i64 * 60_000,
        program: "spring".into(),
        link: format!("link-{}", offset % 5),
        partner: format!("partner-{}", offset % 11),
        country: if offset.is_multiple_of(3) { "DE".into() } else { "FR".into() },
        visitor: if offset.is_multiple_of(4) { Vec::new() } else { vec![(offset % 50) as u8; 16] },
        reason: if offset.is_multiple_of(13) { "expired".into() } else { String::new() },
        address: vec![203, 0, 113],
        count: if offset % 6 == 5 { 3 } else { 0 },
        ..Event::default()
    }
}

pub(crate) fn block(source: &str, range: Range<u64>) -> Block {
    let mut block = Block::new(source, 0);
    for offset in range {
        block.push(offset, &event(offset).borrow(), Millis(START));
    }
    block
}

#[test]
fn the_same_block_under_the_same_token_counts_once() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        let store = &database.store;
        assert_eq!(store.next_offset("t", 0).await.unwrap(), None);
        for _ in 0..3 {
            store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        }
        assert_eq!(database.audit().await, 100);
        store.insert(&block("t", 100..250), "t/0/100-250").await.unwrap();
        store.insert(&block("u", 0..1), "u/0/0-1").await.unwrap();
        assert_eq!(database.audit().await, 251);
        assert_eq!(store.next_offset("t", 0).await.unwrap(), Some(250));
        assert_eq!(store.next_offset("u", 0).await.unwrap(), Some(1));
        assert_eq!(store.next_offset("u", 1).await.unwrap(), None);
        assert_eq!(store.present("t", 0, 98..102).await.unwrap(), [98, 99, 100, 101]);
        assert!(store.present("t", 0, 250..900).await.unwrap().is_empty());
    });
}

#[test]
fn a_large_block_is_one_part_a_month_in_every_table() {
    block_on(async {
        let engine = own();
        let database = Database::new(&engine).await;
        database.run("SYSTEM STOP MERGES").await;
        let mut block = Block::new("t", 0);
        for offset in 0..200_000 {
            // Every key of every rollup is another.
            let event = Event { partner: format!("p{offset}"), ..event(offset) };
            block.push(offset, &event.borrow(), Millis(START));
        }
        database.store.insert(&block, "t/0/0-200000").await.unwrap();
        let parts = database
            .numbers(
                "count(), uniqExact(table, partition)",
                &format!(
                    "system.parts WHERE active AND database = '{}' AND table != 'schema_versions'",
                    database.settings.database
                ),
            )
            .await;
        assert_eq!(parts, [9, 9], "two months of four tables, and loaded");
        database.run("SYSTEM START MERGES").await;
        assert_eq!(database.audit().await, 200_000);
    });
}

#[test]
fn a_forgotten_token_does_not_count_twice() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        let store = &database.store;
        for table in ["events", "reach_hourly", "funnel_daily", "uniques_daily", "loaded"] {
            database
                .run(&format!("ALTER TABLE DB.{table} MODIFY SETTING non_replicated_deduplication_window = 2"))
                .await;
        }
        store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        for other in 0..5 {
            store.insert(&block("u", other * 10..other * 10 + 10), &format!("u/0/{other}")).await.unwrap();
        }
        // The window is over: a blind repetition would count twice.
        store.insert(&block("probe", 0..10), "probe").await.unwrap();
        store.recover(&block("t", 0..100), "t/0/0-100").await.unwrap();
        store.recover(&block("t", 0..60), "another range").await.unwrap();
        store.recover(&block("t", 90..120), "t/0/90-120").await.unwrap();
        assert_eq!(database.audit().await, 120 + 50 + 10);
        assert_eq!(database.numbers("count()", "DB.events WHERE source = 't'").await, [120]);
        // That it is over was true: this is what `recover` is for.
        store.insert(&block("probe2", 0..10), "probe2").await.unwrap();
        store.insert(&block("probe3", 0..10), "probe3").await.unwrap();
        store.insert(&block("probe4", 0..10), "probe4").await.unwrap();
        store.insert(&block("probe", 0..10), "probe").await.unwrap();
        assert_eq!(database.numbers("count()", "DB.events WHERE source = 'probe'").await, [20]);
    });
}

#[test]
fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    block_on(async {
        let database = Database::new(shared()).await;
        let store = &database.store;
        store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        let mut anew = Block::new("t", 0);
        for offset in 50..200 {
            let event = Event { id: vec![7; 16], ..event(offset) };
            anew.push(offset, &event.borrow(), Millis(START));
        }
        let refused = store.recover(&anew, "t/0/50-200").await.unwrap_err();
        assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
        assert!(refused.to_string().contains("load.source"), "{refused}");
        assert_eq!(database.audit().await, 100);
    });
}

/// Every state that a killed server can leave: rows of one month and not of the other; rows, and only some of the rollups.
#[test]
fn a_block_that_was_cut_in_half_is_completed() {
    block_on(async {
        let engine = shared();
        let rollups = ["reach_hourly", "funnel_daily", "uniques_daily", "loaded"];
        for cut in 0..16_u32 {
            let database = Database::new(engine).await;
            let store = &database.store;
            store.insert(&block("t", 0..50), "t/0/0-50").await.unwrap();
            // Views that are away see nothing: as if the server died before their part was written.
            let away: Vec<&str> =
                rollups.iter().enumerate().filter(|(at, _)| cut >> at & 1 == 1).map(|(_, table)| *table).collect();
            for table in &away {
                database.run(&format!("DETACH TABLE DB.{table}_mv")).await;
            }
            let whole = block("t", 50..150);
            let mut half = Block::new("t", 0);
            for offset in 50..150 {
                let event = event(offset);
                if event.time_ms < START + 3_600_000 {
                    half.push(offset, &event.borrow(), Millis(START));
                }
            }
            assert!(half.rows() > 10 && half.rows() < 90);
            store.insert(&half, "half").await.unwrap();
            for table in &away {
                database.run(&format!("ATTACH TABLE DB.{table}_mv")).await;
            }
            store.recover(&whole, "t/0/50-150").await.unwrap();
            assert_eq!(database.audit().await, 150, "without {away:?}");
            store.recover(&whole, "t/0/50-150").await.unwrap();
            assert_eq!(database.audit().await, 150, "again, without {away:?}");
            assert_eq!(store.next_offset("t", 0).await.unwrap(), Some(150));
        }
    });
}

#[test]
fn rows_that_have_had_their_time_do_not_come_back() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        let store = &database.store;
        store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        let sums = database.numbers("sum(r.count)", "DB.reach AS r").await;
        database.run("ALTER TABLE DB.events DROP PARTITION 202610").await;
        database.run("ALTER TABLE DB.events DROP PARTITION 202611").await;
        store.recover(&block("t", 0..100), "t/0/0-100").await.unwrap();
        store.recover(&block("t", 20..100), "t/0/20-100").await.unwrap();
        assert_eq!(database.numbers("count()", "DB.events").await, [0]);
        assert_eq!(database.numbers("sum(r.count)", "DB.reach AS r").await, sums);
        assert_eq!(store.next_offset("t", 0).await.unwrap(), Some(100), "known without rows");
    });
}

/// The real thing: kill -9 of the server at a random moment of an insert that takes it a while.
#[test]
fn a_server_killed_in_mid_insert_has_everything_once_afterwards() {
    const ROWS: u64 = 60_000;
    let mut dice = Dice::new();
    block_on(async {
        let engine = own();
        let database = Database::new(&engine).await;
        let store = &database.store;
        let began = Instant::now();
        store.insert(&block("t", 0..ROWS), "t/0/0").await.unwrap();
        let usual = began.elapsed();
        let (mut nothing, mut half, mut whole) = (0, 0, 0);
        for round in 1..=8 {
            let block = block("t", round * ROWS..(round + 1) * ROWS);
            let life = usual.mul_f64((20 + dice.below(100)) as f64 / 100.0);
            let token = block.token();
            let mut call = Box::pin(store.insert(&block, &token));
            let ended = tokio::time::timeout(life, &mut call).await;
            kill_now(&engine);
            if ended.is_err() {
                let _ = call.await;
            }
            engine.start(Part::Clickhouse);
            let there = database.numbers("count()", "DB.events").await[0] - round * ROWS;
            let sums = database.numbers("max(l.offset)", "DB.loaded AS l").await[0] + 1;
            match (there, sums == (round + 1) * ROWS) {
                (0, false) => nothing += 1,
                (ROWS, true) => whole += 1,
                _ => half += 1,
            }
            patiently(|| store.recover(&block, &token)).await;
            assert_eq!(database.audit().await, (round + 1) * ROWS);
        }
        println!("usually {usual:?}; after the kill: nothing {nothing}, half {half}, everything {whole}");
    });
}
