//! How many facts a second the API takes: each client tells a lead, then a sale of the same person, and so on.

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::people::{PARTNERS, PROGRAMS, currency};
use crate::{client::Client, server::Server};

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) told: u64,
    pub(crate) refused: u64,
    pub(crate) per_second: f64,
    /// Of the whole server, for one fact.
    pub(crate) cpu_us: f64,
    pub(crate) median_ms: f64,
}

pub(crate) fn tell(server: &Server, clients: usize, time: Duration) -> Told {
    // This program's threads, those that come later too.
    let pinned = Command::new("taskset").args(["-acp", "1", &std::process::id().to_string()]).output();
    assert!(pinned.is_ok_and(|output| output.status.success()), "taskset (of util-linux) is needed");
    let (next, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = cpu_us(server.pid());
    let began = Instant::now();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| client(server, began + time, &next, &refused))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    waits.sort();
    let told = waits.len() as u64;
    Told {
        told,
        refused: refused.into_inner(),
        per_second: told as f64 / seconds,
        cpu_us: (cpu_us(server.pid()) - before) / told.max(1) as f64,
        median_ms: waits.get(waits.len() / 2).map_or(0.0, |wait| (wait.as_secs_f64() * 10_000.0).round() / 10.0),
    }
}

/// User and system time of a process, microseconds (`/proc/PID/stat`, 100 ticks a second).
pub(crate) fn cpu_us(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("ticks") * 10_000.0).sum()
}

fn client(server: &Server, until: Instant, next: &AtomicU64, refused: &AtomicU64) -> Vec<Duration> {
    let authorization = format!("Bearer {}", server.token());
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let mut client = Client::connect(server.control).expect("a connection");
    let mut waits = Vec::new();
    let run = std::process::id();
    while Instant::now() < until {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (program, email) = (number % PROGRAMS, format!("writer{run}-{number}@home.example"));
        let partner = number * 7 % PARTNERS;
        let currency = currency(program);
        let lead = format!(r#"{{"program":"program{program}","email":"{email}","partner":"p{partner}"}}"#);
        let sale = format!(
            r#"{{"email":"{email}","event":"sale","amount":4990,"currency":"{currency}","invoice_id":"w-{run}-{number}"}}"#
        );
        for (path, body) in [("/v1/leads", lead), ("/v1/conversions", sale)] {
            let asked = Instant::now();
            let answer = client.send("POST", path, &headers, body.as_bytes()).expect("an answer");
            waits.push(asked.elapsed());
            if answer.status != 201 {
                eprintln!("{path}: {} {}", answer.status, answer.text());
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    waits
}
