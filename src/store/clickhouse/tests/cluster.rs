//! The form for a cluster, as far as one server shows it: everything that is sent goes through a door that writes it down, takes
//! `ON CLUSTER` away and hands it to the real engine. So each statement is one to ClickHouse's parser, is sent with what it
//! needs, and has its right on the page for operators.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use prost::Message;
use url::Url;

use super::engine::Database;
use crate::{
    config::{secret::Secret, stores},
    core::{
        event::{Event, Kind},
        id::{LaneId, VisitorId},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Batch, Sink,
        clickhouse::{Aside, Block, ClickHouseKeeper, ClickHouseSink, NameRow, Named, Store, StoreError},
        keep::{Erasure, Keeper},
        record,
    },
    testing::{Part, Stack},
};

const ON_CLUSTER: &str = " ON CLUSTER `main`";

/// A request: its statement, and its settings.
#[derive(Clone, Debug)]
struct Seen {
    sql: String,
    settings: Vec<(String, String)>,
}

impl Seen {
    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Told {
    seen: Vec<Seen>,
    /// What stands in the place of `system.replicas`.
    replicas: Option<String>,
}

/// Stands in front of the engine.
struct Door {
    url: String,
    told: Arc<Mutex<Told>>,
}

impl Door {
    fn open() -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behind = Stack::shared(&[Part::Clickhouse]).clickhouse_url();
        let told = Arc::new(Mutex::new(Told::default()));
        let door = Door { url, told: Arc::clone(&told) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (behind, told) = (behind.clone(), Arc::clone(&told));
                std::thread::spawn(move || while pass(&stream, &behind, &told).is_some() {});
            }
        });
        door
    }

    fn store(&self, database: &Database, cluster: &str, retention: Duration) -> Store {
        Store::new(&stores::ClickHouse {
            url: self.url.clone(),
            database: database.name.clone(),
            user: String::new(),
            password: Secret::default(),
            cluster: cluster.to_owned(),
            compression: stores::Compression::None,
            retention,
            timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    /// What came since the last time.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.told.lock().unwrap().seen)
    }
}

/// One request, and its answer; nothing when the client is gone.
fn pass(mut stream: &TcpStream, behind: &str, told: &Mutex<Told>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<&TcpStream>| {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line(&mut reader)?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(&mut reader)?.to_ascii_lowercase();
        match header.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    while chunked {
        length = usize::from_str_radix(&line(&mut reader)?, 16).unwrap();
        reader.by_ref().take(length as u64).read_to_end(&mut body).ok()?;
        line(&mut reader)?;
        chunked = length > 0;
    }
    reader.by_ref().take(length as u64).read_to_end(&mut body).ok()?;

    let url = Url::parse(&format!("{behind}{}", first.split(' ').nth(1)?)).unwrap();
    let settings: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let in_url = settings.iter().find(|(name, _)| name == "query").map(|(_, sql)| sql.clone());
    let sql = in_url.clone().unwrap_or_else(|| String::from_utf8(body.clone()).unwrap());
    let replicas = {
        let mut told = told.lock().unwrap();
        told.seen.push(Seen { sql: sql.clone(), settings });
        told.replicas.clone()
    };
    // A table that is not replicated has nothing to wait for.
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    if !sql.starts_with("SYSTEM SYNC REPLICA") {
        if in_url.is_none() {
            let sql = sql.replace(ON_CLUSTER, "");
            body = sql.replace("system.replicas", replicas.as_deref().unwrap_or("system.replicas")).into_bytes();
        }
        let mut engine = TcpStream::connect(behind.trim_start_matches("http://")).unwrap();
        let target = &url[url::Position::BeforePath..];
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        engine.write_all(head.as_bytes()).ok()?;
        engine.write_all(&body).ok()?;
        answer.clear();
        engine.read_to_end(&mut answer).ok()?;
    }
    stream.write_all(&answer).ok()
}

fn event(offset: u64) -> Event {
    Event {
        id: offset.to_be_bytes().repeat(2),
        kind: Kind::Click as i32,
        class: 1,
        time_ms: 1_793_487_600_000,
        link: "haircare".to_owned(),
        visitor: vec![7; 16],
        count: 1,
        ..Event::default()
    }
}

fn batch(lane: u128, next: u64) -> Batch {
    let mut records: Vec<(u64, Vec<u8>)> = (0..next).map(|n| (n, event(n).encode_to_vec())).collect();
    records.push((next, b"no event".to_vec()));
    Batch { lane: LaneId(lane), records, next: next + 1 }
}

fn rows(source: &str, next: u64) -> Block {
    let mut block = Block::new(source, 0);
    for n in 0..next {
        let bytes = event(n).encode_to_vec();
        block.push(n, &record::decode(&bytes).unwrap(), Millis(0));
    }
    block
}

/// Everything that is ever sent, by a store with `cluster`.
async fn everything(door: &Door, database: &Database, cluster: &str) -> Vec<Seen> {
    let store = door.store(database, cluster, Duration::from_secs(60 * 86_400));
    let plain = door.store(database, cluster, Duration::ZERO);
    for store in [&store, &plain] {
        for change in store.pending().await.unwrap() {
            store.apply(&change).await.unwrap();
        }
    }
    let mut sink = ClickHouseSink::new(store.clone(), Clock::System);
    sink.store(&[batch(0xa, 5), batch(0xab, 7), batch(0xb, 3)]).await.unwrap();
    sink.forget(LaneId(0xb)).await.unwrap();
    let aside = Aside { source: "t".into(), partition: 0, offset: 9, reason: "r".into(), body: vec![1], at: Millis(1) };
    store.set_aside(&[aside]).await.unwrap();
    let name = NameRow { kind: Named::Partner, partner: String::new(), code: "ann".into(), name: "Ann".into() };
    store.put_names(&[name], Millis(1)).await.unwrap();
    // Sums that are behind their rows are completed.
    let run = async |sql: &str| database.run(sql).await;
    run(&format!("DETACH TABLE {}.reach_hourly_mv", database.name)).await;
    store.insert(&rows("t", 10), "t/0/0-10").await.unwrap();
    run(&format!("ATTACH TABLE {}.reach_hourly_mv", database.name)).await;
    store.recover(&rows("t", 10), "t/0/0-10").await.unwrap();
    let keeper = ClickHouseKeeper::new(store, Clock::System);
    let mut erasure = Erasure {
        visitors: vec![(VisitorId([7; 16]), VisitorId([8; 16]))],
        clicks: Vec::new(),
        partners: vec!["ann".parse().unwrap()],
        until: Millis(i64::MAX / 1_000_000),
        position: String::new(),
    };
    while !keeper.erase(&erasure).await.unwrap().is_done {
        erasure.position.clear();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    door.seen()
}

async fn number(database: &Database, expression: &str) -> u64 {
    database
        .store
        .ask(&format!("SELECT toUInt64({expression})"))
        .fetch_one()
        .await
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The page's block of rights.
fn page() -> Vec<&'static str> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operator.md"));
    let block = page.split("```sql\n").find(|block| block.starts_with("GRANT CREATE DATABASE")).unwrap();
    let lines = block.split("```").next().unwrap().lines().filter(|line| line.starts_with("GRANT "));
    lines.map(|line| line.split(';').next().unwrap()).collect()
}

/// What a user needs for a statement: <https://clickhouse.com/docs/sql-reference/statements/grant>.
fn rights(sql: &str) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    let mut need = |right: &str| rights.insert(right.to_owned());
    if sql.contains(ON_CLUSTER) {
        need("CLUSTER ON *.*");
    }
    let words: Vec<&str> = sql.split_whitespace().take(3).collect();
    match words[..] {
        // Whose they are is asked of system.processes, as the user; on a cluster the right itself is asked for.
        ["KILL", "QUERY", _] => {
            need("SELECT ON system.processes");
            need("KILL QUERY ON *.*");
        }
        ["SYSTEM", "SYNC", "REPLICA"] => drop(need("SYSTEM SYNC REPLICA ON fingerpost.*")),
        ["SELECT" | "WITH", ..] => drop(need("SELECT ON fingerpost.*")),
        ["INSERT", "INTO", _] => {
            need("INSERT ON fingerpost.*");
            need("SELECT ON fingerpost.*");
        }
        // DELETE FROM needs ALTER DELETE.
        ["ALTER", "TABLE", _] | ["DELETE", "FROM", _] => drop(need("ALTER ON fingerpost.*")),
        ["CREATE", "DATABASE" | "TABLE" | "VIEW", _] => drop(need(&format!("CREATE {} ON fingerpost.*", words[1]))),
        ["CREATE", "MATERIALIZED", "VIEW"] => drop(need("CREATE VIEW ON fingerpost.*")),
        _ => panic!("which right does it need? {sql}"),
    }
    for after in sql.split("system.").skip(1) {
        let table: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
        need(&format!("SELECT ON system.{table}"));
    }
    rights
}

#[tokio::test]
async fn each_statement_for_a_cluster_is_one_and_its_right_is_on_the_page() {
    let (door, database) = (Door::open(), Database::new().await);
    let seen = everything(&door, &database, "main").await;
    let mut kinds = BTreeSet::new();
    let granted: BTreeSet<String> = page()
        .iter()
        .flat_map(|grant| {
            let (rights, place) = grant.strip_prefix("GRANT ").unwrap().split_once(" ON ").unwrap();
            let place = place.strip_suffix(" TO fingerpost").unwrap();
            rights.split(", ").map(|right| format!("{right} ON {place}")).collect::<Vec<_>>()
        })
        .collect();
    let schema = door.store(&database, "main", Duration::ZERO).statements().unwrap();
    for sql in seen.iter().map(|seen| &seen.sql).chain(&schema) {
        let parsed = match sql.split_once(" FORMAT ") {
            // Its data is not part of it.
            Some((insert, _)) => format!("{insert} VALUES"),
            None => sql.clone(),
        };
        assert!(number(&database, &format!("length(formatQuery({}))", quoted(&parsed))).await > 0, "{sql}");
        for right in rights(sql) {
            assert!(granted.contains(&right), "docs/operator.md does not grant {right}: {sql}");
        }
        let reads = ["SELECT", "WITH", "INSERT"].iter().any(|word| sql.starts_with(word));
        assert_eq!(sql.contains(ON_CLUSTER), !reads, "{sql}");
        for kind in ["KILL QUERY", "SYSTEM SYNC", "DELETE FROM", " UPDATE ", " MODIFY TTL ", " REMOVE TTL"] {
            if sql.contains(kind) {
                kinds.insert(kind);
            }
        }
    }
    assert_eq!(kinds.len(), 6, "not all were sent: {kinds:?}");
    for grant in page() {
        assert!(number(&database, &format!("length(formatQuery({}))", quoted(grant))).await > 0, "{grant}");
    }
    // Tables of the system that only some way leads to.
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/clickhouse")).unwrap() {
        let path = file.unwrap().path();
        let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for after in line.split(" system.").skip(1) {
                let table: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
                assert!(granted.contains(&format!("SELECT ON system.{table}")), "{}: {line}", path.display());
            }
        }
    }
    database.drop().await;
}

#[tokio::test]
async fn each_insert_for_a_cluster_waits_for_a_majority() {
    let (door, database) = (Door::open(), Database::new().await);
    let mut tables = BTreeSet::new();
    for seen in everything(&door, &database, "main").await {
        let Some(into) = seen.sql.strip_prefix("INSERT INTO ") else { continue };
        let table = into.split([' ', '.']).nth(1).unwrap().to_owned();
        assert_eq!(seen.setting("insert_quorum"), Some("auto"), "{}", seen.sql);
        assert_eq!(seen.setting("insert_quorum_parallel"), Some("1"));
        assert_eq!(seen.setting("insert_quorum_timeout"), Some("30000"), "it ends before we stop waiting");
        tables.insert(table);
    }
    let all = ["events", "names", "positions", "reach_hourly", "set_aside"];
    assert_eq!(tables, all.map(str::to_owned).into());
    database.drop().await;

    let database = Database::new().await;
    let one_server = everything(&door, &database, "").await;
    assert!(one_server.iter().all(|seen| seen.setting("insert_quorum").is_none()));
    database.drop().await;
}

#[tokio::test]
async fn nobody_takes_over_while_a_majority_is_away() {
    let (door, database) = (Door::open(), Database::new().await);
    let store = door.store(&database, "main", Duration::ZERO);
    for (active, all, works) in [(1, 3, false), (1, 2, false), (2, 3, true), (2, 2, true), (1, 1, true), (0, 3, false)]
    {
        let table = format!(
            "(SELECT '{}' AS database, 'loaded' AS table, toUInt8({active}) AS active_replicas, toUInt8({all}) AS total_replicas)",
            database.name
        );
        door.told.lock().unwrap().replicas = Some(table);
        let fenced = store.fence("t", 0).await;
        match fenced {
            Ok(()) => assert!(works, "{active} of {all}"),
            Err(StoreError::Retry(said)) => assert!(!works && said.contains("majority"), "{active} of {all}: {said}"),
            Err(error) => panic!("{error}"),
        }
    }
    database.drop().await;
}

/// The fence ends those inserts that the predicate of its KILL QUERY finds: what it finds is asked of the engine.
#[tokio::test]
async fn the_fence_knows_each_insert_of_its_lane_and_no_other() {
    let (door, database) = (Door::open(), Database::new().await);
    let store = door.store(&database, "", Duration::ZERO);
    let mut sink = ClickHouseSink::new(store.clone(), Clock::System);
    let lanes: Vec<u128> = (0..200).map(|n| n * 0x11).collect();
    let batches: Vec<Batch> = lanes.iter().map(|lane| batch(*lane, 2)).collect();
    sink.store(&batches).await.unwrap();
    store.insert(&rows("fingerpost.events", 3), "x").await.unwrap();
    let is_insert = |seen: &&Seen| seen.sql.starts_with("INSERT INTO") && seen.sql.contains(".events");
    let ids: Vec<String> =
        door.seen().iter().filter(is_insert).map(|seen| seen.setting("query_id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2, "the lanes together, and the topic's partition: {ids:?}");

    let lane = |number: u128| LaneId(number).to_string();
    let others = [lane(0x11 * 200), lane(1), "fingerpost".to_owned(), String::new()];
    let asked = lanes.iter().map(|number| (lane(*number), 0, [true, false]));
    let asked = asked.chain([("fingerpost.events".to_owned(), 0, [false, true])]);
    let asked = asked.chain([("fingerpost.events".to_owned(), 1, [false; 2]), (lane(0), 1, [false; 2])]);
    for (source, partition, expected) in asked.chain(others.map(|source| (source, 0, [false; 2]))) {
        store.fence(&source, partition).await.unwrap();
        let kill = door.seen().into_iter().find(|seen| seen.sql.starts_with("KILL QUERY")).unwrap().sql;
        let predicate = kill.split_once(" WHERE ").unwrap().1.strip_suffix(" SYNC").unwrap().to_owned();
        assert_eq!(predicate.matches("query_id").count(), 2, "{predicate}");
        for (id, expected) in ids.iter().zip(expected) {
            let found = number(&database, &predicate.replace("query_id", &quoted(id))).await;
            assert_eq!(found == 1, expected, "{source}, {partition}: {predicate}, {id}");
        }
    }
    database.drop().await;
}
