//! Where an address is: `cargo bench --bench geo`. Addresses are drawn at random from the whole of IPv4 and from
//! 2001::/16, which is worse than visitors are: no look-up finds its path in the cache.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::enrich::{Geo, GeoFiles, prefix};

/// The same numbers in each run (Steele's and Vigna's splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn geo(criterion: &mut Criterion) {
    let mut state = 7;
    let v4: Vec<IpAddr> = (0..4_096).map(|_| Ipv4Addr::from(random(&mut state) as u32).into()).collect();
    let v6: Vec<IpAddr> = (0..4_096)
        .map(|_| {
            let low = u128::from(random(&mut state)) << 64 | u128::from(random(&mut state));
            Ipv6Addr::from(0x2001 << 112 | low >> 16).into()
        })
        .collect();
    let mut group = criterion.benchmark_group("geo");
    group.bench_function("load", |bencher| bencher.iter(|| Geo::load(GeoFiles::default())));
    let geo = Geo::load(GeoFiles::default()).unwrap_or_else(|error| panic!("{error}"));
    for (name, addresses) in [("country of an IPv4 address", &v4), ("country of an IPv6 address", &v6)] {
        let mut reader = geo.reader();
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % addresses.len();
                black_box(reader.lookup(black_box(addresses[next])));
            });
        });
    }
    group.bench_function("prefix", |bencher| bencher.iter(|| prefix(black_box(v4[0]))));
    group.finish();
}

criterion_group!(benches, geo);
criterion_main!(benches);
