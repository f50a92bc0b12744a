//! Decode: a path to what it asks for, and a query to what it says to us.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::edge::{decode, query::Query};

fn benches(criterion: &mut Criterion) {
    for (name, path) in [
        ("decode/go link partner ad", &b"/go/haircare/abc123/website2"[..]),
        ("decode/slug", b"/k3vw9xq2"),
        ("decode/percent-encoded", b"/go/hair%63are/abc%31%32%33"),
    ] {
        criterion.bench_function(name, |bencher| bencher.iter(|| decode::route(black_box(path))));
    }
    let query = b"utm_source=instagram&utm_medium=social&sub1=story&sub2=a%20b";
    criterion.bench_function("decode/query", |bencher| bencher.iter(|| Query(black_box(query)).own()));
}

criterion_group!(group, benches);
criterion_main!(group);
