//! The same Stripe event and the same conversion, told again and again by several clients at once: one effect. One conversion
//! row each, one set of rewards, one event in the store.
//!
//! Half of the clients send the event, signed anew each time; the other half tell the conversion, some of them under an
//! Idempotency-Key. Every answer must be a success.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    clicks,
    client::{self, Client},
    common,
    server::{self, Options, Server},
    stripe,
};
use serde_json::{Value, json};

const CLIENTS: u64 = 8;
const SECRET: &str = "whsec_replay_replay_replay";

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let replays = arguments.size.pick(400, 10_000);
    println!("conversion-replay: {replays} times the same event, as often the same conversion, {CLIENTS} clients");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &Options::default().demo()).expect("a server");
    let call = |method: &str, path: &str, body: Value| {
        let answer = client::api(server.control, &server.token(), method, path, &body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    };
    call(
        "PUT",
        "/v1/programs/spring",
        json!({"qualification": {"on": "event"}, "rewards": [
        {"code": "welcome", "to": "both", "on": "qualification", "value": {"fixed": {"amount": 500, "currency": "EUR"}}},
        {"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}}]}),
    );
    call("PUT", "/v1/inbound/stripe", json!({"kind": "stripe", "secrets": [SECRET]}));
    for email in ["ann@home.example", "bo@home.example"] {
        call("POST", "/v1/leads", json!({"program": "spring", "email": email, "partner": "abc123"}));
    }
    let started = Instant::now();
    let counts = replay(&server, replays);
    let seconds = started.elapsed().as_secs_f64();
    let rewards = call("GET", "/v1/rewards?limit=1000", Value::Null)["items"].as_array().expect("rewards").clone();
    let door = call("GET", "/v1/inbound/stripe", Value::Null);
    wait_told(&server, folder.path());
    assert!(server.stop().success(), "the server ended with an error");
    let kinds = kinds(folder.path());
    let rows = count(folder.path(), "SELECT COUNT(*) FROM conversions");
    let told = |name: &str| counts.get(name).copied().unwrap_or(0);
    // Whoever told the sale first is told so; under a key, each time.
    let created = (told("created"), told("created under a key").min(1));
    let events = kinds.get("conversion").copied().unwrap_or(0);
    // Two people who both bought once: a welcome for each side, and a share of each sale.
    let ok = told("refused") == 0
        && told("applied") == 1
        && matches!(created, (1, 0) | (0, 1))
        && counts.values().sum::<u64>() == 2 * replays
        && rows == 2
        && events == 2
        && rewards.len() == 6
        && door["applied"] == json!(1);
    common::report(
        "conversion-replay",
        arguments.size,
        ok,
        json!({
            "replays": replays, "clients": CLIENTS, "answers": counts, "conversion_rows": rows, "conversion_events": events,
            "rewards": rewards.len(), "stripe_events_applied": door["applied"], "seconds": (seconds * 100.0).round() / 100.0,
            "answers_per_second": (2.0 * replays as f64 / seconds).round(),
        }),
    )
}

/// Until the event store has everything that was decided. The catalog is asked itself: the metric of the outbox's lag is as old as
/// the last look at it, and may still say 0 when all of this took less time than that.
fn wait_told(server: &Server, folder: &std::path::Path) {
    let waiting = "SELECT COUNT(*) FROM outbox WHERE event IS NOT NULL
        AND seq > (SELECT COALESCE(MAX(seq), 0) FROM outbox_positions WHERE consumer = 'journal')";
    let deadline = Instant::now() + server::PATIENCE;
    while count(folder, waiting) > 0 {
        assert!(Instant::now() < deadline, "the outbox does not empty");
        common::wait(std::time::Duration::from_millis(50));
    }
    clicks::wait_drained(server);
}

/// Tells both from all clients; how often each answer was given.
fn replay(server: &Server, replays: u64) -> BTreeMap<String, u64> {
    let (control, token) = (server.control, server.token());
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, token) = (Arc::clone(&next), token.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(control).expect("a connection");
                let mut counts = BTreeMap::<String, u64>::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 2 * replays {
                        return counts;
                    }
                    let told =
                        if number.is_multiple_of(2) { event(&mut client) } else { sale(&mut client, &token, number) };
                    *counts.entry(told.to_owned()).or_default() += 1;
                }
            })
        })
        .collect();
    let mut all = BTreeMap::new();
    for client in clients {
        for (answer, count) in client.join().expect("a client") {
            *all.entry(answer).or_insert(0) += count;
        }
    }
    all
}

fn event(client: &mut Client) -> &'static str {
    let invoice = json!({"id": "in_replay", "object": "invoice", "amount_paid": 9_990, "currency": "eur", "customer": "cus_1",
        "customer_email": "ann@home.example"});
    let body = json!({"id": "evt_replay", "object": "event", "type": "invoice.paid", "created": 1_772_366_400,
        "data": {"object": invoice}});
    let body = body.to_string();
    let signature = stripe::signature(SECRET, body.as_bytes());
    let headers = [("Stripe-Signature", signature.as_str()), ("Content-Type", "application/json")];
    let answer = client.send("POST", "/v1/inbound/stripe", &headers, body.as_bytes()).expect("an answer");
    match (answer.status, answer.json()["events"][0]["result"].as_str()) {
        (200, Some("applied")) => "applied",
        (200, Some("again")) => "again",
        _ => refused(&answer),
    }
}

fn sale(client: &mut Client, token: &str, number: u64) -> &'static str {
    let body = json!({"email": "bo@home.example", "amount": 9_990, "currency": "EUR", "invoice_id": "sale_replay"})
        .to_string();
    let authorization = format!("Bearer {token}");
    let key = format!("key-{}", number % 3);
    let mut headers = vec![("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    // Each key's first answer is given again: it may be the one that says it is new.
    if number % 4 == 1 {
        headers.push(("Idempotency-Key", &key));
    }
    let answer = client.send("POST", "/v1/conversions", &headers, body.as_bytes()).expect("an answer");
    match (answer.status, answer.json()["again"].as_bool()) {
        (201, Some(false)) if number % 4 == 1 => "created under a key",
        (201, Some(false)) => "created",
        (200, Some(true)) => "again",
        _ => refused(&answer),
    }
}

fn refused(answer: &client::Response) -> &'static str {
    println!("refused: {} {}", answer.status, answer.text());
    "refused"
}

/// Events in the store, by kind.
fn kinds(folder: &std::path::Path) -> BTreeMap<String, u64> {
    let out = server::command(folder, &["export", "events", "--format", "ndjson"]).output().expect("an export");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut kinds = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let row: Value = serde_json::from_str(line).expect("a JSON line");
        *kinds.entry(row["kind"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    kinds
}

/// What a question to the catalog counts.
fn count(folder: &std::path::Path, sql: &'static str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite:{}", folder.join("catalog.db").display());
        let pool = sqlx::AnyPool::connect(&url).await.expect("the catalog");
        let row = sqlx::query(sql).fetch_one(&pool).await.expect("a count");
        sqlx::Row::get(&row, 0)
    })
}
