//! What sends a request, and its class: `cargo bench --bench class`. Prints first what loading the lists costs in time
//! and memory.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{hint::black_box, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::{
    core::event::Class,
    enrich::{Agent, AgentCache, Enrich, GeoFiles, Language, Purpose, Signals, classify},
};

const CHROME: &[u8] =
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36";
const IPHONE: &[u8] = b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const PREVIEW: &[u8] = b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)";
const UNKNOWN: &[u8] =
    b"Nobody Knows Me/7.3 with a text that no list has and that is about as long as those of browsers are";

/// Resident memory, KiB (`/proc/self/statm` counts pages of 4 KiB on what we build for).
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4
}

/// What the edge does for each request with the headers of a browser.
fn whole(agent: &Agent, accept_language: &[u8]) -> (Class, Language) {
    let signals = Signals { purpose: Purpose::of([]), verdict: agent.verdict, ..Signals::default() };
    (classify(signals), Language::preferred(accept_language))
}

fn class(criterion: &mut Criterion) {
    let (before_kib, start) = (resident_kib(), Instant::now());
    let enrich = Enrich::load(GeoFiles::default()).unwrap_or_else(|error| panic!("{error}"));
    println!("load: {:?}, {} KiB", start.elapsed(), resident_kib() - before_kib);
    let agents = &enrich.agents;
    let mut group = criterion.benchmark_group("class");
    for (name, text) in [("Chrome", CHROME), ("iPhone", IPHONE), ("a preview", PREVIEW), ("an unknown", UNKNOWN)] {
        group.bench_function(format!("read {name}"), |bencher| bencher.iter(|| agents.read(black_box(text))));
    }
    let mut cache = AgentCache::new(agents);
    group.bench_function("remembered", |bencher| {
        bencher.iter(|| black_box(cache.get(agents, black_box(CHROME)).verdict));
    });
    let texts: Vec<Vec<u8>> = (0..300).map(|n| [CHROME, format!(" Made/{n}").as_bytes()].concat()).collect();
    let mut next = 0;
    group.bench_function("one of 300 remembered", |bencher| {
        bencher.iter(|| {
            next = (next + 7) % texts.len();
            black_box(cache.get(agents, black_box(&texts[next])).verdict);
        });
    });
    group.bench_function("class and language", |bencher| {
        bencher.iter(|| {
            let agent = *cache.get(agents, black_box(IPHONE));
            whole(&agent, black_box(b"de-DE,de;q=0.9,en;q=0.8"))
        });
    });
    group.finish();
    println!("after reading: {} KiB more than before loading", resident_kib() - before_kib);
}

criterion_group!(benches, class);
criterion_main!(benches);
