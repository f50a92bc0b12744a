//! What the control plane has decided is in the reports exactly once: entries are written into the outbox of a running server,
//! which is killed, stopped, and replaced by another one beside it; and the catalog goes away.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{
    collections::HashSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use data_encoding::BASE64;
use fingerpost::{
    core::{
        event::{Event, Kind},
        id::EventId,
        time::Millis,
    },
    io::sim::Rng,
};
use prost::Message;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use support::stack::{Part, Stack, unique};
use support::{Options, Server, eventually, get, metric, rows};

/// 2026-03-01T12:00:00Z.
const NOON: Millis = Millis(1_772_366_400_000);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Who writes entries as a transaction of the catalog does.
struct Teller {
    url: String,
    node: String,
    told: HashSet<String>,
}

impl Teller {
    /// The node is known as soon as a server has begun there.
    fn new(data: &Path, url: String) -> Teller {
        sqlx::any::install_default_drivers();
        let node = eventually("the folder's name", || std::fs::read_to_string(data.join("node")).ok());
        Teller { url, node, told: HashSet::new() }
    }

    fn on_file(data: &Path) -> Teller {
        Teller::new(data, format!("sqlite:{}", data.join("catalog.db").display()))
    }

    /// One transaction of `count` entries, of which every third is no event.
    fn tell(&mut self, count: u64) {
        let from = self.told.len() as u64;
        let ids: Vec<EventId> = (0..count)
            .map(|n| {
                let mut tail = [0; 10];
                tail[..8].copy_from_slice(&(from + n).to_be_bytes());
                EventId::new(NOON, tail)
            })
            .collect();
        block_on(self.write(&ids));
        self.told.extend(ids.iter().map(ToString::to_string));
    }

    async fn write(&self, ids: &[EventId]) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        if self.url.starts_with("sqlite") {
            connection.execute("PRAGMA busy_timeout = 60000").await.unwrap();
        }
        let mut tx = connection.begin().await.unwrap();
        let rows = 3 * ids.len().div_ceil(2) as i64;
        let sql = "UPDATE outbox_head SET next = next + $1 WHERE one = 1 RETURNING next";
        let next: i64 = sqlx::query(sql).bind(rows).fetch_one(&mut *tx).await.unwrap().get(0);
        let mut ids = ids.iter();
        for (at, seq) in (next - rows..next).enumerate() {
            let event = (at % 3 < 2).then(|| ids.next()).flatten().map(|id| {
                let event = Event { id: id.0.to_vec(), kind: Kind::Lead as i32, time_ms: NOON.0, ..Event::default() };
                BASE64.encode(&event.encode_to_vec())
            });
            let sql = "INSERT INTO outbox (seq, node, at_ms, kind, program, body, event) \
                       VALUES ($1, $2, $3, 'referral.created', 'spring', '{}', $4)";
            let insert = sqlx::query(sql).bind(seq).bind(self.node.clone()).bind(NOON.0).bind(event);
            insert.execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        connection.close().await.unwrap();
    }

    /// Keeps everybody else from writing, as long as it is held.
    fn hold(&self) -> AnyConnection {
        block_on(async {
            let mut connection = AnyConnection::connect(&self.url).await.unwrap();
            connection.execute("PRAGMA busy_timeout = 60000").await.unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            connection
        })
    }

    /// Waits until all is in the event store, and nothing else.
    fn check(&self, data: &Path) {
        let rows = rows(data, self.told.len());
        let found: HashSet<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, self.told);
        assert!(rows.iter().all(|row| row["kind"] == "lead"));
    }
}

fn part(server: &Server) -> serde_json::Value {
    get(server.ops, "/readyz").json()["parts"]["outbox"].clone()
}

/// Waits until the server's journal holds everything.
fn moved(server: &Server) {
    eventually("an empty outbox", || (waiting(server) == 0.0 && part(server)["state"] == "ready").then_some(()));
}

fn waiting(server: &Server) -> f64 {
    metric(server.ops, "fingerpost_outbox_lag_rows").unwrap_or(-1.0)
}

#[test]
fn what_was_decided_is_in_the_reports_once_through_kill_9() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let start =
        || Server::start(data, &Options::default().set("edge.workers", "1").set("sink.linger", "10ms")).unwrap();
    let mut server = start();
    let mut teller = Teller::on_file(data);
    for _ in 0..15 {
        for _ in 0..=rng.below(4) {
            teller.tell(1 + rng.below(30));
        }
        match rng.below(5) {
            0 => moved(&server),
            // It dies behind the append and before the position: the catalog takes nothing meanwhile.
            1 | 2 => {
                let before = events(&server);
                teller.tell(5);
                let held = teller.hold();
                eventually("the append", || (events(&server) > before).then_some(()));
                server.kill();
                drop(held);
                server = start();
                continue;
            }
            _ => {}
        }
        if rng.chance(250) {
            assert!(server.stop().success());
        } else {
            server.kill();
        }
        // What is there when it starts is moved at once: this is when it is killed, most of the time.
        server = start();
    }
    moved(&server);
    teller.check(data);
    assert!(server.stop().success());
    let server = start();
    teller.check(data);
    eventually("the end of all lanes but the worker's", || {
        let names = std::fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().file_name());
        (names.filter(|name| name.to_string_lossy().starts_with("lane-")).count() == 1).then_some(())
    });
    assert!(server.stop().success());
}

#[test]
fn a_process_beside_another_takes_over_what_that_one_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let options = Options::default().set("edge.workers", "1");
    let mut teller = None;
    for is_killed in [false, true] {
        let old = Server::start(data, &options).unwrap();
        let teller = teller.get_or_insert_with(|| Teller::on_file(data));
        let stop = AtomicBool::new(false);
        let new = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // Not for ever, should the other side fail.
                for _ in (0..5_000).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    teller.tell(7);
                }
            });
            let new = Server::start(data, &options).unwrap();
            eventually("events", || (events(&old) > 20.0).then_some(()));
            assert_eq!(events(&new), 0.0, "one of them moves");
            if is_killed {
                old.kill();
            } else {
                assert!(old.stop().success());
            }
            eventually("events", || (events(&new) > 20.0).then_some(()));
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
            new
        });
        moved(&new);
        teller.check(data);
        assert!(new.stop().success());
    }
}

fn events(server: &Server) -> f64 {
    metric(server.ops, "fingerpost_outbox_events_total").unwrap_or(0.0)
}

#[test]
fn while_the_catalog_is_away_entries_wait_and_readiness_says_so() {
    let stack = Stack::own(&[Part::Postgres], &[]);
    let name = unique("outbox");
    block_on(async {
        let mut connection = AnyConnection::connect(&stack.postgres_url()).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    });
    let mut url = url::Url::parse(&stack.postgres_url()).unwrap();
    url.set_path(&name);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &Options::default().set("catalog.url", url.as_str())).unwrap();
    let mut teller = Teller::new(data, url.to_string());
    teller.tell(10);
    moved(&server);
    stack.kill(Part::Postgres);
    eventually("the complaint", || (part(&server)["state"] == "degraded").then_some(()));
    let reason = part(&server)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("waits in the catalog"), "{reason}");
    stack.start(Part::Postgres);
    teller.tell(10);
    eventually("the all-clear", || (part(&server)["state"] == "ready").then_some(()));
    moved(&server);
    teller.check(data);
    assert!(server.stop().success());
}
