//! The broker goes away under load, for longer than every time-out of its client, and comes back: visitors do not notice,
//! memory stays where it was, and the journal drains by itself. First it is stopped: it takes connections and says nothing. Then
//! it goes on for as long as it takes to kill it, and is gone: connections are refused.
//!
//! Latency is taken in windows of a second; compared are the medians of the windows' p99, so that a single hiccup of the machine
//! decides nothing. The measure is an edge with nothing but its journal, while the broker has nothing to do: a broker under load takes
//! its share of the two cores, and without it the edge would be fast whatever it did.

use crate::{
    clicks,
    client::{self, Client},
    common,
    many::{self, Field},
    server::{Options, Server},
    stack::Part,
};
use std::{
    net::SocketAddr,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

const CLIENTS: usize = 4;
/// Of each client: the machine is to be busy, not full, or the load generator is what is measured.
const PAUSE: Duration = Duration::from_micros(1_500);
/// What the server may need more while the broker is away, MiB.
const MEMORY_MIB: f64 = 64.0;
/// Latency may be that much worse; at the small size, whose windows are few, only something gross is told from noise.
const P99_RATIO: [f64; 2] = [2.0, 1.10];

/// Answered tags and their latencies, microseconds.
type Seen = Vec<(u64, u32)>;

/// Clicks of all clients for a length of time.
struct Clicks {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Clicks {
    fn start(edge: SocketAddr, next_tag: &Arc<AtomicU64>) -> Clicks {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..CLIENTS)
            .map(|_| {
                let (stop, next_tag) = (Arc::clone(&stop), Arc::clone(next_tag));
                std::thread::spawn(move || click(edge, &stop, &next_tag))
            })
            .collect();
        Clicks { stop, threads }
    }

    fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    }
}

fn click(edge: SocketAddr, stop: &AtomicBool, next_tag: &AtomicU64) -> Seen {
    let mut client = Client::connect(edge).expect("a connection");
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let tag = next_tag.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let answer = client.get(&format!("/go/haircare/abc123/website2?sub1={tag}")).expect("an answer");
        assert_eq!(answer.status, 302, "tag {tag}");
        seen.push((tag, started.elapsed().as_micros() as u32));
        common::wait(PAUSE);
    }
    seen
}

/// The median of the p99 of windows of about a second each.
fn p99(seen: &[Seen]) -> f64 {
    let per_window = 600;
    let mut windows: Vec<u32> = seen
        .iter()
        .flat_map(|seen| seen.chunks_exact(per_window))
        .map(|window| {
            let mut times: Vec<u32> = window.iter().map(|(_, time)| *time).collect();
            times.sort_unstable();
            times[times.len() * 99 / 100]
        })
        .collect();
    windows.sort_unstable();
    f64::from(windows.get(windows.len() / 2).copied().unwrap_or(u32::MAX))
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1_024.0
}

/// An edge whose events go nowhere: there is a folder where the event database should be.
fn journal_only(field: &Field) -> Server {
    let data = field.folder.path().join("journal-only");
    std::fs::create_dir_all(data.join("events.db")).expect("a folder");
    let options = Options::default().demo().set("edge.workers", "1").set("journal.segment_bytes", "1MiB");
    Server::start(&data, &options).expect("an edge that starts")
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|sent| sent.success()), "kill -{name}");
}

/// Whether the edge says what is wrong.
fn says_so(edge: &Server) -> bool {
    let readiness = client::get(edge.ops, "/readyz").text();
    readiness.contains("degraded") && readiness.contains("events wait in the journal")
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    // Silent for longer than a step of a transaction may take, gone for longer than the transaction's time-out.
    let (around, silent, gone) = arguments.size.pick((8, 27, 12), (120, 240, 360));
    println!("broker-away: {silent} s with a silent broker and {gone} s without one, under load");
    let field = Field::new(&[("KAFKA__TRANSACTION_TIMEOUT", arguments.size.pick("10s", "60s"))]);
    let next_tag = Arc::new(AtomicU64::new(0));
    let phase = |edge: &Server, seconds: u64| {
        let clicks = Clicks::start(edge.edge, &next_tag);
        common::wait(Duration::from_secs(seconds));
        let seen = clicks.end();
        let tags: Vec<u64> = seen.iter().flatten().map(|(tag, _)| *tag).collect();
        (p99(&seen), tags)
    };
    let plain = journal_only(&field);
    phase(&plain, 3);
    let (p99_journal_only, _) = phase(&plain, around);
    plain.kill();
    let edge = field.edge("edge");
    let (_, mut answered) = phase(&edge, 3);
    let memory_before = resident_mib(edge.pid());
    let broker = field.stack.pid(Part::Kafka);
    signal(broker, "STOP");
    let (p99_silent, tags) = phase(&edge, silent);
    answered.extend(tags);
    let said_silent = says_so(&edge);
    signal(broker, "CONT");
    field.stack.kill(Part::Kafka);
    let (p99_gone, tags) = phase(&edge, gone);
    answered.extend(tags);
    let said_gone = says_so(&edge);
    let memory_away = resident_mib(edge.pid());
    field.stack.start(Part::Kafka);
    let back = Instant::now();
    let (p99_behind, tags) = phase(&edge, around);
    answered.extend(tags);
    clicks::wait_drained(&edge);
    let drained_s = back.elapsed().as_secs_f64();
    many::drain(vec![edge]);
    field.load_rest();
    let (lost, twice) = clicks::compare(&answered, &field.tags());
    let disagreements = field.disagreements();
    let slower = f64::max(p99_silent, p99_gone) / p99_journal_only;
    let more_mib = memory_away - memory_before;
    let ok = lost.is_empty()
        && twice.is_empty()
        && disagreements.is_empty()
        && said_silent
        && said_gone
        && slower <= arguments.size.pick(P99_RATIO[0], P99_RATIO[1])
        && more_mib <= MEMORY_MIB
        && !answered.is_empty();
    common::report(
        "broker-away",
        arguments.size,
        ok,
        serde_json::json!({
            "silent_seconds": silent, "gone_seconds": gone, "answered": answered.len(), "lost": lost.len(), "twice": twice.len(),
            "disagreements": disagreements, "said_silent": said_silent, "said_gone": said_gone,
            "p99_us_journal_only": p99_journal_only, "p99_us_silent": p99_silent, "p99_us_gone": p99_gone, "p99_us_behind": p99_behind, "p99_ratio": slower, "resident_mib_before": memory_before,
            "resident_mib_away": memory_away, "drained_seconds": drained_s,
        }),
    )
}
