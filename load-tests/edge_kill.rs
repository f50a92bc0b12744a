//! kill -9 of the edge under load, at random moments: no answered click is lost, none is counted twice.
//!
//! Each request carries a tag (`?sub1=<n>`). A tag whose 302 arrived is *answered*. After all kills the server drains, and the
//! tags in `export events` are compared: every answered tag is there, and no tag is there twice. Tags that were sent and
//! never answered may be there or not.

use crate::{
    clicks,
    common::{self, Random, Size},
    server::{Options, Server},
};
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const CLIENTS: usize = 16;

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let seed = arguments.seed();
    let kills = match arguments.size {
        Size::Ci => 50,
        Size::Full => 1_000,
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut random = Random::new(seed);
    println!("edge-kill: {kills} kills, seed {seed}");
    let mut answered = Vec::new();
    let next_tag = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    for kill in 0..kills {
        // Both durabilities, one and two workers, small segments: each takes its turn.
        let options = Options::default()
            .demo()
            .set("edge.workers", ["1", "2"][kill % 2])
            .set("journal.durability", ["process", "process", "disk"][kill % 3])
            .set("journal.segment_bytes", ["256KiB", "1MiB"][kill / 2 % 2])
            .set("log.level", "warn,fingerpost::app=info");
        let server = Server::start(folder.path(), &options).expect("a server that starts after kill -9");
        let life = Duration::from_micros(random.below(300_000));
        answered.extend(load_then_kill(server, life, &next_tag));
        if (kill + 1) % (kills / 10) == 0 {
            println!(
                "  {} kills, {} clicks answered, {:.0} s",
                kill + 1,
                answered.len(),
                started.elapsed().as_secs_f64()
            );
        }
    }
    let last = Server::start(folder.path(), &Options::default().demo()).expect("a last start");
    clicks::wait_drained(&last);
    assert!(last.stop().success(), "the server ended with an error");
    let counted = clicks::exported(folder.path());
    let (lost, twice) = clicks::compare(&answered, &counted);
    for (what, tags) in [("lost", &lost), ("twice", &twice)] {
        if !tags.is_empty() {
            println!("{what}: {:?}", &tags[..tags.len().min(20)]);
        }
    }
    let rows: u64 = counted.values().sum();
    let (sum, missing) = clicks::reported(folder.path());
    let ok = lost.is_empty() && twice.is_empty() && sum == rows && missing == 0 && !answered.is_empty();
    common::report(
        "edge-kill",
        arguments.size,
        ok,
        serde_json::json!({
            "seed": seed, "kills": kills, "sent": next_tag.load(Ordering::Relaxed), "answered": answered.len(),
            "rows": rows, "sum_of_report": sum, "lost": lost.len(), "twice": twice.len(),
            "seconds": started.elapsed().as_secs(),
        }),
    )
}

/// Clicks from all clients until the server is gone; the tags that were answered.
fn load_then_kill(server: Server, life: Duration, next_tag: &Arc<AtomicU64>) -> Vec<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let edge: SocketAddr = server.edge;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, next_tag) = (Arc::clone(&stop), Arc::clone(next_tag));
            std::thread::spawn(move || clicks::click_until(edge, &stop, &next_tag))
        })
        .collect();
    common::wait(life);
    server.kill();
    stop.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .flat_map(|client| {
            let (tags, refused) = client.join().expect("a client");
            assert_eq!(refused, 0, "nothing was full, and yet clicks were refused");
            tags
        })
        .collect()
}
