//! The real server with all the links: ready from its snapshot, answering links at random, and following changes meanwhile.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::link;
use crate::{
    client::{self, Client},
    common::{Random, wait},
    server::{Options, Server},
};

const CLIENTS: u64 = 4;
const LIVE_CHANGES: u64 = 20;

/// What was seen of the server.
pub(crate) fn measure(data: &Path, links: u64, time: Duration) -> anyhow::Result<Value> {
    let started = Instant::now();
    let options = Options::default().set("log.level", "warn,fingerpost::app=info");
    let server = Server::start(data, &options).map_err(anyhow::Error::msg)?;
    let start_seconds = started.elapsed().as_secs_f64();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let (stop, edge) = (Arc::clone(&stop), server.edge);
            std::thread::spawn(move || click_at_random(edge, links, seed, &stop))
        })
        .collect();
    let flushes = Flushes::beside(data)?;
    let (mut answer, mut live) = (Duration::ZERO, Duration::ZERO);
    for number in 0..LIVE_CHANGES {
        // The last links, which the random clicks leave out.
        let change = change(&server, links - 1 - number)?;
        // Spread over the whole time: the disk is at its slowest once the load has filled its cache.
        wait(time / (LIVE_CHANGES as u32 + 4));
        (answer, live) = (answer.max(change.answered), live.max(change.live));
    }
    let slowest_flush = flushes.slowest()?;
    wait(time.saturating_sub(started.elapsed()));
    let resident = resident_bytes(server.pid())?;
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += client.join().map_err(|_| anyhow::anyhow!("a client failed: the message is above"))??;
    }
    if !server.stop().success() {
        bail!("the server ended with an error");
    }
    Ok(json!({
        "start_seconds": start_seconds, "answered": answered, "live_seconds": live.as_secs_f64(),
        "change_answered_seconds": answer.as_secs_f64(), "disk_flush_seconds": slowest_flush.as_secs_f64(),
        "resident_mib_under_load": resident / 1_048_576.0,
    }))
}

/// Links drawn at random; each answer must lead to its own address.
fn click_at_random(edge: SocketAddr, links: u64, seed: u64, stop: &AtomicBool) -> anyhow::Result<u64> {
    let mut random = Random::new(seed);
    let mut client = Client::connect(edge)?;
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let (code, address) = link(random.below(links - LIVE_CHANGES));
        let answer = client.get(&format!("/go/{code}"))?;
        let location = answer.header("location").unwrap_or_default();
        if answer.status != 302 || !(location.starts_with(&address) || location.contains("/live/")) {
            bail!("{code} was answered {} {location}", answer.status);
        }
        answered += 1;
    }
    Ok(answered)
}

/// How long one change took.
struct Change {
    /// Until the API said 200: the change is in the catalog, and the disk has said so.
    answered: Duration,
    /// From then until the edge answered with the new address.
    live: Duration,
}

/// Changes a link through the API.
fn change(server: &Server, number: u64) -> anyhow::Result<Change> {
    let (code, _) = link(number);
    let address = format!("https://shop.example/live/{code}");
    let started = Instant::now();
    let body = json!({ "address": address });
    let answer = client::api(server.control, &server.token(), "PUT", &format!("/v1/links/{code}"), &body);
    if answer.status != 200 {
        bail!("PUT of {code}: {}", answer.text());
    }
    let answered = started.elapsed();
    let mut client = Client::connect(server.edge)?;
    loop {
        let answer = client.get(&format!("/go/{code}"))?;
        if answer.header("location").is_some_and(|location| location.starts_with(&address)) {
            return Ok(Change { answered, live: started.elapsed() - answered });
        }
        if started.elapsed() > Duration::from_secs(30) {
            bail!("the change of {code} was not live within 30 s");
        }
        wait(Duration::from_millis(2));
    }
}

/// Small writes to the same disk beside the server, each made durable: what this disk asks of anybody who waits for it
/// under this load. The API's answer waits for one of them.
struct Flushes {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<std::io::Result<Duration>>,
}

impl Flushes {
    fn beside(data: &Path) -> anyhow::Result<Flushes> {
        let mut file = tempfile::tempfile_in(data)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                file.write_all(&[0; 4_096])?;
                let started = Instant::now();
                file.sync_data()?;
                slowest = slowest.max(started.elapsed());
                wait(Duration::from_millis(20));
            }
            Ok(slowest)
        });
        Ok(Flushes { stop, thread })
    }

    fn slowest(self) -> anyhow::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| anyhow::anyhow!("the flushes failed"))??)
    }
}

/// `VmRSS` of a process, bytes.
fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib * 1_024.0)
}
