//! How long reports take on one machine, and how many facts a second its record takes.
//!
//! `--size full`: 1,000,000 referrals with their leads, sales and rewards in the catalog, 10,000,000 events in the event store,
//! both SQLite. Each report is asked over HTTP, of all time and of 30 days: the median of five whole answers is at most 100 ms.
//! Then clients tell leads and sales, the server on core 0, the clients on core 1: at least 1,000 a second. `ci`: the same with
//! smaller numbers, where only answers count.
//!
//! The rows of the record are written in bulk. That they are those which the doors write is proven first: the same facts are
//! told to a desk, and both records must say the same, sums included.

#[path = "reports.d/events.rs"]
mod events;
#[path = "reports.d/people.rs"]
mod people;
#[path = "reports.d/proof.rs"]
mod proof;
#[path = "reports.d/record.rs"]
mod record;
#[path = "reports.d/writes.rs"]
mod writes;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    common::{self, Size},
    server::{Options, Server},
};
use fingerpost::core::time::Millis;
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const GOAL: Duration = Duration::from_millis(100);
const WRITES_GOAL: f64 = 1_000.0;
/// A server that uses less than this part of a core for so long has nothing more to do.
const QUIET_WINDOW: Duration = Duration::from_secs(3);
const QUIET_PART: f64 = 0.05;
const QUIET_WITHIN: Duration = Duration::from_secs(1_800);

/// How much of everything.
struct Plan {
    people: u64,
    events: u64,
    clients: usize,
    write_seconds: u64,
}

/// Path and query of each report.
fn questions() -> Vec<String> {
    let names = [
        "funnel",
        "participation",
        "rates",
        "top-partners",
        "top-links",
        "top-ads",
        "top-channels",
        "money",
        "motivators",
        "time-to-convert",
        "cohorts",
        "models",
    ];
    let mut all = Vec::new();
    for name in names {
        all.push(format!("{name}?"));
        all.push(format!("{name}?since=30d"));
    }
    for by in ["", "&by=day", "&by=partner", "&by=link", "&by=program"] {
        all.push(format!("reach?visitors=false{by}"));
    }
    all.extend(
        [
            "cohorts?tz=Europe/Berlin",
            "money?tz=Asia/Kolkata&since=2026-01-01",
            "funnel?partner=p7",
            "top-links?partner=p7",
        ]
        .map(str::to_owned),
    );
    all
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let plan = match arguments.size {
        Size::Ci => Plan { people: 10_000, events: 100_000, clients: 16, write_seconds: 4 },
        Size::Full => Plan { people: 1_000_000, events: 10_000_000, clients: 32, write_seconds: 20 },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let seed = arguments.seed();
    let different = runtime.block_on(proof::differences(seed));
    for line in different.iter().take(20) {
        eprintln!("{line}");
    }
    let kept = std::env::var_os("REPORTS_FOLDER");
    let folder = tempfile::tempdir().unwrap();
    let data = kept.as_ref().map_or(folder.path(), Path::new);
    let now = Millis(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    let began = Instant::now();
    std::fs::create_dir_all(data).unwrap();
    if !data.join("catalog.db").exists() {
        runtime.block_on(record::fill(data, people::all(seed, plan.people, now), now));
        eprintln!("{} people in {:.0} s", plan.people, began.elapsed().as_secs_f64());
    }
    if !data.join(fingerpost::store::sqlite::FILE).exists() {
        runtime.block_on(events::fill(data, seed, plan.events, now));
        eprintln!("{} events in {:.0} s", plan.events, began.elapsed().as_secs_f64());
    }
    let made = began.elapsed();
    let options = Options { under: ["taskset", "-c", "0"].map(str::to_owned).into(), ..Options::default() };
    let server = Server::start(data, &options.set("edge.workers", "1")).unwrap_or_else(|problem| panic!("{problem}"));
    let behind = quiet(&server);
    eprintln!("what the server had to do in the background took {:.0} s", behind.as_secs_f64());
    let answers = ask_all(&server);
    let told = writes::tell(&server, plan.clients, Duration::from_secs(plan.write_seconds));
    assert!(server.stop().success());
    report(&arguments, &plan, (made, behind), &different, &answers, &told)
}

/// Waits until the server has done what it has to do behind a start: migrations, what is counted or followed in the background.
#[expect(clippy::disallowed_methods, reason = "how busy a process is shows over a time only")]
fn quiet(server: &Server) -> Duration {
    let began = Instant::now();
    let mut before = writes::cpu_us(server.pid());
    loop {
        std::thread::sleep(QUIET_WINDOW);
        let now = writes::cpu_us(server.pid());
        if now - before < QUIET_PART * QUIET_WINDOW.as_micros() as f64 {
            return began.elapsed() - QUIET_WINDOW;
        }
        assert!(began.elapsed() < QUIET_WITHIN, "the server is busy by itself for {QUIET_WITHIN:?}");
        before = now;
    }
}

/// Each question's median time and rows.
fn ask_all(server: &Server) -> Vec<(String, Duration, usize)> {
    let token = format!("Bearer {}", server.token());
    let mut client = Client::connect(server.control).unwrap();
    let mut answers = Vec::new();
    for question in questions() {
        let path = format!("/v1/reports/{question}");
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            let asked = Instant::now();
            let answer = client.send("GET", &path, &[("Authorization", &token)], b"").unwrap();
            times.push(asked.elapsed());
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            rows = answer.json().as_array().map_or(0, Vec::len);
        }
        times.sort();
        let median = times[ROUNDS / 2];
        eprintln!("{question}: {:.1} ms, {rows} rows", median.as_secs_f64() * 1_000.0);
        answers.push((question, median, rows));
    }
    answers
}

fn report(
    arguments: &common::Arguments,
    plan: &Plan,
    (made, behind): (Duration, Duration),
    different: &[String],
    answers: &[(String, Duration, usize)],
    told: &writes::Told,
) -> ExitCode {
    let slower: Vec<&str> =
        answers.iter().filter(|(_, median, _)| *median > GOAL).map(|(question, _, _)| question.as_str()).collect();
    let empty: Vec<&str> =
        answers.iter().filter(|(_, _, rows)| *rows == 0).map(|(question, _, _)| question.as_str()).collect();
    let line = |(question, median, rows): &(String, Duration, usize)| {
        (question.clone(), json!({ "median_ms": (median.as_secs_f64() * 10_000.0).round() / 10.0, "rows": rows }))
    };
    let questions: serde_json::Map<String, Value> = answers.iter().map(line).collect();
    let right = different.is_empty() && empty.is_empty() && told.refused == 0;
    // At the small size a noisy machine would decide: only the answers must be right.
    let quick = slower.is_empty() && told.per_second >= WRITES_GOAL;
    let fields = json!({
        "people": plan.people, "events": plan.events, "made_s": made.as_secs_f64().round(),
        "background_s": behind.as_secs_f64().round(),
        "rows_equal_the_desk": different.is_empty(), "goal_ms": GOAL.as_millis() as u64, "slower": slower, "empty": empty,
        "writes": { "told": told.told, "refused": told.refused, "per_second": told.per_second.round(), "clients": plan.clients,
            "server_cpu_us": told.cpu_us.round(), "median_ms": told.median_ms, "goal_per_second": WRITES_GOAL },
        "questions": questions,
    });
    common::report("reports", arguments.size, right && (arguments.size == Size::Ci || quick), fields)
}
