//! Tagged clicks, and what the reports made of them.

#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{
    client::{Client, metric},
    server::{self, Server},
};

/// Clicks with tags from a shared counter (`?sub1=<n>`) until `stop`, or until the server is gone for good. The tags that
/// were answered with a 302, and how often the answer was 503.
pub fn click_until(edge: SocketAddr, stop: &AtomicBool, next_tag: &AtomicU64) -> (Vec<u64>, u64) {
    let (mut tags, mut refused) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(edge) else { continue };
        while !stop.load(Ordering::Relaxed) {
            let tag = next_tag.fetch_add(1, Ordering::Relaxed);
            match client.get(&format!("/go/haircare/abc123/website2?sub1={tag}")) {
                Ok(answer) if answer.status == 302 => tags.push(tag),
                Ok(answer) if answer.status == 503 => refused += 1,
                Ok(answer) => panic!("tag {tag} was answered {}", answer.status),
                Err(_) => break,
            }
        }
    }
    (tags, refused)
}

/// Until the sink holds everything that the journal does.
pub fn wait_drained(server: &Server) {
    let deadline = Instant::now() + 4 * server::PATIENCE;
    loop {
        let lag = metric(server.ops, "fingerpost_sink_lag_records ");
        let orphans = metric(server.ops, "fingerpost_journal_orphan_lanes ");
        if lag == Some(0.0) && orphans == Some(0.0) {
            return;
        }
        assert!(Instant::now() < deadline, "the journal did not drain: lag {lag:?}, orphan lanes {orphans:?}");
        crate::common::wait(Duration::from_millis(50));
    }
}

/// How often each tag stands in `export events`.
pub fn exported(data: &Path) -> HashMap<u64, u64> {
    let mut child = server::command(data, &["export", "events", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("export events");
    let mut counted = HashMap::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let row: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("a JSON object a line");
        if row["kind"] == "click" {
            let tag = row["sub1"].as_str().and_then(|tag| tag.parse().ok()).expect("a tag in each row");
            *counted.entry(tag).or_insert(0) += 1;
        }
    }
    assert!(child.wait().expect("export events").success());
    counted
}

/// The sums of clicks and of missing clicks, from the reports.
pub fn reported(data: &Path) -> (u64, u64) {
    let sum = |by: &[&str], field: &str| {
        let arguments = [&["report", "reach", "--since", "2000-01-01", "--format", "json"], by].concat();
        let output = server::command(data, &arguments).output().expect("report");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a JSON array");
        rows.iter().filter_map(|row| row[field].as_u64()).sum()
    };
    (sum(&["--by", "class"], "clicks"), sum(&["--by", "hour"], "missing"))
}

/// Answered tags that are not in the export, and tags that are there twice.
pub fn compare(answered: &[u64], counted: &HashMap<u64, u64>) -> (Vec<u64>, Vec<u64>) {
    let lost = answered.iter().filter(|tag| !counted.contains_key(tag)).copied().collect();
    let twice = counted.iter().filter(|(_, times)| **times > 1).map(|(tag, _)| *tag).collect();
    (lost, twice)
}
