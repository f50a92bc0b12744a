//! Record: the event's encoding, as it goes into the journal's buffer.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::core::event::{Class, Device, EventRef, Kind};

fn benches(criterion: &mut Criterion) {
    let event = EventRef {
        id: &[1; 16],
        kind: Kind::Click as i32,
        class: Class::Human as i32,
        time_ms: 1_772_368_200_250,
        program: "spring",
        link: "haircare",
        partner: "abc123",
        ad: "website2",
        visitor: &[2; 16],
        country: "DE",
        address: &[203, 0, 113],
        referrer: "www.instagram.com",
        language: "de-de",
        device: Device::Mobile as i32,
        browser: "Chrome",
        os: "Android",
        ..EventRef::default()
    };
    println!("one click is {} bytes in the journal, without the record's head", event.encoded_len());
    let mut buffer = Vec::with_capacity(1 << 20);
    criterion.bench_function("record/encode", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            black_box(&event).encode(&mut buffer);
        });
    });
}

criterion_group!(group, benches);
criterion_main!(group);
