//! The Kafka sink and the loader with the real broker and the real engine, through the binary: what people see when
//! something is wrong, and that nothing is lost or doubled meanwhile.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{path::Path, process::Output};

mod support;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};
use support::{
    Client, Options, Server, eventually, get, metric, server,
    stack::{Part, Stack, unique},
};

/// Topics and a database of a test's own on a stack.
struct Place {
    brokers: String,
    clickhouse: String,
    topic: String,
    checkpoints: String,
    database: String,
}

impl Place {
    fn new(stack: &Stack) -> Place {
        let name = unique("t").replace('-', "_");
        Place {
            brokers: stack.brokers(),
            clickhouse: stack.clickhouse_url(),
            topic: format!("{name}.events"),
            checkpoints: format!("{name}.checkpoints"),
            database: name,
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        [
            ("SINK__KIND", "kafka"),
            ("KAFKA__BROKERS", &self.brokers),
            ("KAFKA__TOPIC", &self.topic),
            ("KAFKA__CHECKPOINTS", &self.checkpoints),
            ("KAFKA__GROUP", &self.database),
            ("CLICKHOUSE__URL", &self.clickhouse),
            ("CLICKHOUSE__DATABASE", &self.database),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn run(&self, data: &Path, arguments: &[&str]) -> Output {
        let settings = self.settings().into_iter().map(|(key, value)| (format!("FINGERPOST__{key}"), value));
        server::command(data, arguments).envs(settings).output().expect("a command that starts")
    }

    fn migrated(self, data: &Path) -> Place {
        let output = self.run(data, &["migrate", "--partitions", "3"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self
    }

    fn server(&self, data: &Path) -> Server {
        let mut options = Options::default().demo().set("edge.workers", "1");
        options.settings.extend(self.settings());
        Server::start(data, &options).unwrap()
    }

    fn load(&self, data: &Path) -> String {
        let output = self.run(data, &["load", "--once"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks ClickHouse.
    fn ask(&self, sql: &str) -> String {
        let address = self.clickhouse.trim_start_matches("http://").parse().unwrap();
        let query: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(address, &format!("/?database={}&query={query}", self.database));
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().trim().to_owned()
    }

    /// Has ClickHouse change something.
    fn order(&self, sql: &str) {
        let mut client = Client::connect(self.clickhouse.trim_start_matches("http://").parse().unwrap()).unwrap();
        let path = format!("/?database={}", self.database);
        let answer = client.send("POST", &path, &[], sql.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }
}

fn click(server: &Server, tags: std::ops::Range<u64>) {
    let mut client = Client::connect(server.edge).unwrap();
    for tag in tags {
        let answer = client.get(&format!("/go/haircare/abc123/website2?sub1={tag}")).unwrap();
        assert_eq!(answer.status, 302);
    }
}

fn readiness(server: &Server) -> String {
    get(server.ops, "/readyz").text()
}

fn delivered(server: &Server) {
    eventually("the journal's delivery", || {
        (metric(server.ops, "fingerpost_sink_lag_records ") == Some(0.0)).then_some(())
    });
}

#[test]
fn a_click_goes_through_kafka_into_clickhouse_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse])).migrated(folder.path());
    let server = place.server(folder.path());
    click(&server, 0..100);
    delivered(&server);
    assert!(server.stop().success());
    assert!(place.load(folder.path()).starts_with("100 events loaded"));
    // A server that starts again, a loader that runs again, and a group that begins anew add nothing.
    let server = place.server(folder.path());
    click(&server, 100..150);
    delivered(&server);
    assert!(server.stop().success());
    place.load(folder.path());
    let other = Place {
        database: place.database.clone(),
        topic: place.topic.clone(),
        checkpoints: place.checkpoints.clone(),
        ..Place::new(Stack::shared(&[Part::Kafka]))
    };
    let mut settings = other.settings();
    settings.push(("KAFKA__GROUP".to_owned(), "another".to_owned()));
    let again = server::command(folder.path(), &["load", "--once"])
        .envs(settings.into_iter().map(|(key, value)| (format!("FINGERPOST__{key}"), value)))
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let counts = "SELECT count(), uniqExact(source, partition, offset), uniqExact(sub1), countIf(partner = 'abc123') FROM events";
    assert_eq!(place.ask(counts), "150\t150\t150\t150");
    assert_eq!(place.ask("SELECT sum(count) FROM reach WHERE kind = 'click'"), "150");
    assert_eq!(place.ask("SELECT sum(count) FROM funnel WHERE kind = 'click'"), "150");
}

#[test]
fn a_missing_topic_is_said_and_clicks_wait_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse]));
    let server = place.server(folder.path());
    click(&server, 0..20);
    let reason = eventually("degraded readiness", || {
        let text = readiness(&server);
        text.contains("has no topic").then_some(text)
    });
    assert!(reason.contains("degraded") && reason.contains("fingerpost migrate"), "{reason}");
    assert!(reason.contains(&place.topic), "{reason}");
    let place = place.migrated(folder.path());
    delivered(&server);
    assert!(server.stop().success());
    assert!(place.load(folder.path()).starts_with("20 events loaded"));
}

#[test]
fn checkpoints_that_would_be_deleted_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::shared(&[Part::Kafka, Part::Clickhouse]);
    let place = Place::new(stack).migrated(folder.path());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack.brokers()).create().unwrap();
    let deleted = AlterConfig::new(ResourceSpecifier::Topic(&place.checkpoints)).set("cleanup.policy", "delete");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.alter_configs(&[deleted], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let migrated = place.run(folder.path(), &["migrate"]);
    let words = String::from_utf8_lossy(&migrated.stderr);
    assert!(!migrated.status.success() && words.contains("cleanup.policy=compact"), "{words}");
    let server = place.server(folder.path());
    click(&server, 0..3);
    eventually("readiness that names the policy", || {
        readiness(&server).contains("cleanup.policy=compact").then_some(())
    });
    assert!(server.stop().success());
}

#[test]
fn a_copied_data_folder_is_noticed_and_nothing_is_lost_or_doubled() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse])).migrated(one.path());
    let first = place.server(one.path());
    click(&first, 0..10);
    delivered(&first);
    std::fs::create_dir_all(other.path().join("kafka")).unwrap();
    std::fs::copy(one.path().join("node"), other.path().join("node")).unwrap();
    let second = place.server(other.path());
    // Each delivers in its turn, and is fenced off by the other: whoever is fenced off twice says so.
    let mut tag = 10;
    let reason = eventually("somebody who says so", || {
        click(&first, tag..tag + 5);
        click(&second, tag + 5..tag + 10);
        tag += 10;
        [&first, &second].into_iter().map(readiness).find(|text| text.contains("transactional id"))
    });
    assert!(reason.contains("data folder of its own"), "{reason}");
    let _ = second.stop();
    delivered(&first);
    // What the second one could not deliver any more waits in its folder.
    let second = place.server(other.path());
    delivered(&second);
    assert!(second.stop().success() && first.stop().success());
    let third = place.server(one.path());
    delivered(&third);
    assert!(third.stop().success());
    place.load(one.path());
    assert_eq!(place.ask("SELECT count(), uniqExact(sub1) FROM events"), format!("{tag}\t{tag}"));
}

#[test]
fn the_loader_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = server::command(folder.path(), &["load", "--once"]).output().unwrap();
    assert!(String::from_utf8_lossy(&plain.stderr).contains("kafka.brokers is not set"));
    let place = Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse]));
    let early = place.run(folder.path(), &["load", "--once"]);
    let words = String::from_utf8_lossy(&early.stderr);
    assert!(!early.status.success() && words.contains("fingerpost migrate"), "{words}");
}

/// A loader that runs all the time ends for none of these: it says what to do, waits, and goes on when somebody has done it.
#[test]
fn a_running_loader_says_what_is_missing_and_goes_on_when_it_is_there() {
    let (folder, edge) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse]));
    let loader = Loading::start(&place, folder.path());
    loader.says("fingerpost migrate");
    let place = place.migrated(folder.path());
    loader.is_ready();
    place.order("INSERT INTO schema_versions VALUES (7777, '7777_later', 'x', now64(3), '9.9')");
    drop(loader);
    let loader = Loading::start(&place, folder.path());
    let server = place.server(edge.path());
    click(&server, 0..10);
    delivered(&server);
    loader.says("update the program");
    place.order("ALTER TABLE schema_versions DELETE WHERE version = 7777 SETTINGS mutations_sync = 1");
    loader.is_ready();
    eventually("the clicks in ClickHouse", || (place.ask("SELECT count() FROM events") == "10").then_some(()));
    assert!(server.stop().success());
}

/// Long after it has caught up for the first time, a loader still knows how far behind it is.
#[test]
fn an_outage_shows_as_lag_and_as_readiness_and_both_come_right_again() {
    let (folder, edge) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Stack::own(&[Part::Clickhouse], &[]);
    let place =
        Place { clickhouse: engine.clickhouse_url(), ..Place::new(Stack::shared(&[Part::Kafka, Part::Clickhouse])) };
    let place = place.migrated(folder.path());
    let (loader, server) = (Loading::start(&place, folder.path()), place.server(edge.path()));
    let lag = || metric(loader.ops, "fingerpost_load_lag_records ");
    let rows =
        |count: &str| eventually("the rows", || (place.ask("SELECT count() FROM events") == count).then_some(()));
    click(&server, 0..10);
    rows("10");
    eventually("no lag", || (lag() == Some(0.0)).then_some(()));
    engine.kill(Part::Clickhouse);
    click(&server, 10..60);
    eventually("the lag of fifty clicks", || lag().filter(|lag| *lag >= 50.0));
    loader.says("clickhouse");
    engine.start(Part::Clickhouse);
    rows("60");
    loader.is_ready();
    eventually("no lag again", || (lag() == Some(0.0)).then_some(()));
    assert_eq!(metric(loader.ops, "fingerpost_load_expired_offsets_total "), Some(0.0));
    assert_eq!(metric(loader.ops, "fingerpost_load_partitions "), Some(3.0));
    assert!(server.stop().success());
}

/// A running `fingerpost load`; killed when it is dropped.
struct Loading {
    child: std::process::Child,
    ops: std::net::SocketAddr,
}

impl Loading {
    fn start(place: &Place, data: &Path) -> Loading {
        let settings = place.settings().into_iter().map(|(key, value)| (format!("FINGERPOST__{key}"), value));
        let addresses = data.join("load-addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let child = server::command(data, &["load"])
            .envs(settings)
            .env("FINGERPOST__OPS__LISTEN", "127.0.0.1:0")
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let ops = eventually("the loader's address", || {
            let text = std::fs::read_to_string(&addresses).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()?["ops"].as_str()?.parse().ok()
        });
        Loading { child, ops }
    }

    /// As a whole: each of its parts.
    fn is_ready(&self) {
        eventually("a loader that is ready", || (get(self.ops, "/readyz").json()["state"] == "ready").then_some(()));
    }

    fn says(&self, words: &str) {
        eventually(words, || get(self.ops, "/readyz").text().contains(words).then_some(()));
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
