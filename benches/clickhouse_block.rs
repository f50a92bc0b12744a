//! What an event costs on its way from Kafka's bytes into a ClickHouse block: `push` is the row alone, `decode_and_push` with
//! reading and checking the event, `native` writes the block's columns as they are sent. The floor is 200,000 events a second on one core (5 µs), compression and sending included.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fingerpost::{
    core::{
        event::{Class, Device, Event, EventRef, Kind},
        id::EventId,
        time::Millis,
    },
    store::{clickhouse::Block, record},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 10_000;

/// A click as an edge records it.
fn click(number: u64) -> Vec<u8> {
    let time = Millis(1_772_368_200_250 + (number / 50) as i64);
    let event = Event {
        id: EventId::new(time, [number as u8; 10]).0.into(),
        kind: Kind::Click as i32,
        class: Class::Human as i32,
        time_ms: time.0,
        program: "spring".into(),
        link: format!("link-{}", number % 100),
        partner: format!("partner-{}", number % 10_000),
        ad: "website2".into(),
        visitor: number.to_be_bytes().repeat(2),
        country: "DE".into(),
        region: "BE".into(),
        city: "Berlin".into(),
        network: "AS64500 Example Net".into(),
        address: vec![203, 0, 113],
        referrer: "blog.example.org".into(),
        language: "de-de".into(),
        device: Device::Mobile as i32,
        browser: "Mobile Safari".into(),
        os: "iOS".into(),
        sub1: "newsletter".into(),
        ..Event::default()
    };
    let mut bytes = Vec::new();
    event.borrow().encode(&mut bytes);
    bytes
}

fn blocks(criterion: &mut Criterion) {
    let encoded: Vec<Vec<u8>> = (0..EVENTS).map(click).collect();
    let decoded: Vec<EventRef<'_>> = encoded.iter().map(|bytes| record::decode(bytes).expect("an event")).collect();
    let mut block = Block::new("fingerpost.events", 3);
    let mut group = criterion.benchmark_group("clickhouse_block");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("push", |bench| {
        bench.iter(|| {
            block.clear();
            for (offset, event) in decoded.iter().enumerate() {
                block.push(offset as u64, event, Millis(0));
            }
            black_box(block.bytes())
        });
    });
    group.bench_function("decode_and_push", |bench| {
        bench.iter(|| {
            block.clear();
            for (offset, bytes) in encoded.iter().enumerate() {
                let event = record::decode(bytes).expect("an event");
                block.push(offset as u64, &event, Millis(0));
            }
            black_box(block.bytes())
        });
    });
    group.bench_function("native", |bench| bench.iter(|| black_box(block.native().len())));
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
