//! How fast a backlog goes from the journal to Kafka, and from Kafka to ClickHouse.
//!
//! Clicks pile up in an edge's journal while there is no broker. Then the broker is there, the edge starts again and drains
//! the lanes; then a loader runs once. Rates are over wall time from the first to the last event, and over the process's own
//! CPU time, because broker and engine share the machine's two cores with it.

use crate::{
    clicks,
    client::metric,
    common,
    many::{self, Field},
    stack::Part,
};
use std::{
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const CLIENTS: usize = 4;
/// Three times what one core redirects (`load-tests/cpu-per-redirect`, SQLite sink: 12.7 µs each).
const PUMP_PER_CPU_SECOND: f64 = 3.0 * 1e6 / 12.7;
const LOADER_PER_CPU_SECOND: f64 = 200_000.0;
/// By the clock, beside the engine. A goal, told beside the figure: the engine has its share in it.
const LOADER_PER_SECOND: f64 = 200_000.0;

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let wanted = arguments.size.pick(100_000, 2_000_000);
    println!("many-speed: a backlog of {wanted} clicks");
    let field = Field::new(&[]);
    field.stack.stop(Part::Kafka);
    let backlog = pile_up(&field, wanted);
    field.stack.start(Part::Kafka);
    let (pump_wall, pump_cpu) = pump(&field, backlog);
    let (load_wall, load_cpu) = load(&field);
    let rows = field.number("SELECT count() FROM events");
    let disagreements = field.disagreements();
    let rate = |seconds: f64| rows as f64 / seconds;
    // A small backlog is mostly start-up: it shows that it works, not how fast.
    let whole = arguments.size == common::Size::Full;
    let fast = !whole || (rate(pump_cpu) >= PUMP_PER_CPU_SECOND && rate(load_cpu) >= LOADER_PER_CPU_SECOND);
    let ok = rows == backlog && disagreements.is_empty() && fast;
    common::report(
        "many-speed",
        arguments.size,
        ok,
        serde_json::json!({
            "events": rows, "disagreements": disagreements,
            "pump_to_kafka": { "seconds": pump_wall, "cpu_seconds": pump_cpu, "events_a_second": rate(pump_wall),
                "events_a_cpu_second": rate(pump_cpu), "at_least_a_cpu_second": PUMP_PER_CPU_SECOND },
            "kafka_to_clickhouse": { "seconds": load_wall, "cpu_seconds": load_cpu, "events_a_second": rate(load_wall),
                "events_a_cpu_second": rate(load_cpu), "at_least_a_cpu_second": LOADER_PER_CPU_SECOND,
                "goal_a_second": LOADER_PER_SECOND, "goal_met": whole.then_some(rate(load_wall) >= LOADER_PER_SECOND) },
        }),
    )
}

/// Clicks until so many are in the journal; how many there are.
fn pile_up(field: &Field, wanted: u64) -> u64 {
    let edge = field.edge("edge");
    let (stop, next_tag) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, next_tag, address) = (Arc::clone(&stop), Arc::clone(&next_tag), edge.edge);
            std::thread::spawn(move || clicks::click_until(address, &stop, &next_tag).0.len() as u64)
        })
        .collect();
    while next_tag.load(Ordering::Relaxed) < wanted {
        common::wait(Duration::from_millis(20));
    }
    stop.store(true, Ordering::Relaxed);
    let answered = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    edge.kill();
    answered
}

/// A new edge drains the old one's lanes: seconds by the clock, and of its CPU time.
fn pump(field: &Field, backlog: u64) -> (f64, f64) {
    let edge = field.edge("edge");
    let sent = || metric(edge.ops, "fingerpost_sink_events_total ").unwrap_or(0.0) as u64;
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut first = None;
    while sent() < backlog {
        if sent() > 0 {
            first.get_or_insert_with(|| (Instant::now(), cpu_seconds(edge.pid()), sent()));
        }
        assert!(Instant::now() < deadline, "{} of {backlog} events after 600 s", sent());
        common::wait(Duration::from_millis(10));
    }
    let (since, cpu, before) = first.expect("a backlog that is not gone at once");
    let part = backlog as f64 / (backlog - before).max(1) as f64;
    let seen = (since.elapsed().as_secs_f64() * part, (cpu_seconds(edge.pid()) - cpu) * part);
    many::drain(vec![edge]);
    seen
}

/// Seconds by the clock, and of the loader's CPU time.
fn load(field: &Field) -> (f64, f64) {
    let started = Instant::now();
    let mut child = field
        .command("loader", &["load", "--once"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a loader");
    let mut cpu = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a process") {
            break status;
        }
        cpu = f64::max(cpu, cpu_seconds(child.id()));
        common::wait(Duration::from_millis(5));
    };
    assert!(status.success(), "load --once failed");
    (started.elapsed().as_secs_f64(), cpu)
}

/// User and system time of a process, all its threads (proc(5)); 0 when it is gone.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime are fields 14 and 15; 100 ticks a second on every Linux.
    (ticks(11) + ticks(12)) / 100.0
}
