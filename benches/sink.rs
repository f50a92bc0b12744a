//! What an event costs in the SQLite sink, all in all: decoding, row, index, sums, position, commit and checkpoint.
//!
//! The figure is CPU time (user and system, all threads), because the machine's disk and neighbours make wall time jump.
//! `few-links`: 100 links of 10 partners. `many-links`: 100,000 links of 1,000 partners drawn at random, so that nearly
//! every event has a sum of its own: the worst case. `no-touches`: few links, but bots, for whom nobody asks by visitor. A
//! file of some hundred thousand events grows in each.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fingerpost::{
    core::{
        event::{Class, Device, Event, Kind},
        id::{EventId, LaneId},
        limits::BATCH_MAX_EVENTS,
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Batch, Sink,
        sqlite::{FILE, SqliteSink},
    },
};
use prost::Message;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// xorshift64*: the same history each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn batch(random: &mut Random, sequence: &mut u64, (links, partners, class): (u64, u64, Class)) -> Batch {
    let first = *sequence;
    *sequence += BATCH_MAX_EVENTS as u64;
    let records =
        (first..*sequence).map(|sequence| (sequence, click(random, sequence, (links, partners, class)))).collect();
    Batch { lane: LaneId(1), records, next: *sequence }
}

fn click(random: &mut Random, sequence: u64, (links, partners, class): (u64, u64, Class)) -> Vec<u8> {
    // 50 clicks a millisecond.
    let time = Millis(1_772_368_200_250 + (sequence / 50) as i64);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    let visitor = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
    let event = Event {
        id: EventId::new(time, bytes).0.into(),
        kind: Kind::Click as i32,
        class: class as i32,
        time_ms: time.0,
        program: "spring".to_owned(),
        link: format!("link{:06}", random.next() % links),
        partner: format!("p{:05}", random.next() % partners),
        ad: "website2".to_owned(),
        visitor,
        country: "DE".to_owned(),
        network: "AS3320".to_owned(),
        address: vec![203, 0, 113],
        referrer: "www.example.com".to_owned(),
        language: "de-de".to_owned(),
        device: Device::Mobile as i32,
        browser: "Chrome".to_owned(),
        os: "Android".to_owned(),
        ..Event::default()
    };
    event.encode_to_vec()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn sink(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("sink, CPU time");
    group.sample_size(20).throughput(Throughput::Elements(BATCH_MAX_EVENTS as u64));
    for (name, about) in [
        ("few-links", (100, 10, Class::Human)),
        ("no-touches", (100, 10, Class::Bot)),
        ("many-links", (100_000, 1_000, Class::Human)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = runtime.block_on(SqliteSink::open(&folder.path().join(FILE), Clock::System)).unwrap();
        let (mut random, mut sequence) = (Random(88_172_645_463_325_252), 0);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let batches = [batch(&mut random, &mut sequence, about)];
                    let before = cpu();
                    black_box(runtime.block_on(sink.store(&batches)).unwrap());
                    spent += cpu() - before;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, sink);
criterion_main!(benches);
