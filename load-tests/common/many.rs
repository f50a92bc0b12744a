//! Many machines in one place: edges that write to a real Kafka, loaders that bring it to a real ClickHouse, clicks on all
//! edges, and what came of them.

#![allow(dead_code, reason = "each program takes what it needs")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    clicks,
    client::{Client, metric},
    common::wait,
    server::{self, Options, Server},
    stack::{Part, Stack},
};

/// Partitions of the topic.
const PARTITIONS: u32 = 6;
/// The group has given a dead member's partitions away after its session's time; a broker that was killed as well makes it
/// longer.
const LOADING_PATIENCE: Duration = Duration::from_secs(25);

/// Kafka, ClickHouse, and a folder for everybody.
pub(crate) struct Field {
    pub(crate) stack: Stack,
    pub(crate) folder: TempDir,
    /// Further settings of every process: `("CLICKHOUSE__TIMEOUT", "5s")`.
    pub(crate) settings: Vec<(String, String)>,
}

impl Field {
    /// Brings the parts up and makes topics and tables, as an operator would: with `fingerpost migrate`.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Field {
        let stack = Stack::own(&[Part::Kafka, Part::Clickhouse], &[]);
        let mut all: Vec<(String, String)> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        all.push(("KAFKA__BROKERS".to_owned(), stack.brokers()));
        all.push(("CLICKHOUSE__URL".to_owned(), stack.clickhouse_url()));
        let field = Field { stack, folder: tempfile::tempdir().expect("a temporary folder"), settings: all };
        let partitions = PARTITIONS.to_string();
        let output = field.command("migrate", &["migrate", "--partitions", &partitions]).output().expect("migrate");
        assert!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
        field
    }

    /// A command of the binary, with a data folder of this name.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = server::command(&self.folder.path().join(name), arguments);
        command.envs(self.settings.iter().map(|(key, value)| (format!("FINGERPOST__{key}"), value)));
        command
    }

    pub(crate) fn edge(&self, name: &str) -> Server {
        let mut options = Options::default()
            .demo()
            .set("sink.kind", "kafka")
            .set("edge.workers", "1")
            .set("journal.segment_bytes", "1MiB")
            .set("log.level", "warn,fingerpost::app=info");
        options.settings.extend(self.settings.clone());
        Server::start(&self.folder.path().join(name), &options).expect("an edge that starts")
    }

    pub(crate) fn loader(&self, name: &str) -> Loader {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .expect("a log file");
        let addresses = self.folder.path().join(name).join("load-addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let child = self
            .command(name, &["load"])
            .env("FINGERPOST__OPS__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a loader");
        Loader { child, addresses }
    }

    /// Waits until these loaders have all partitions between them and bring events to ClickHouse, but not longer than
    /// [`LOADING_PATIENCE`]. Gives whether they do.
    pub(crate) fn until_loading(&self, loaders: &[&Loader]) -> bool {
        let before = self.number("SELECT count() FROM events");
        let deadline = Instant::now() + LOADING_PATIENCE;
        loop {
            let partitions: f64 = loaders.iter().filter_map(|loader| loader.partitions()).sum();
            if partitions == f64::from(PARTITIONS) && self.number("SELECT count() FROM events") > before {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            wait(Duration::from_millis(200));
        }
    }

    /// Loads what is left.
    pub(crate) fn load_rest(&self) {
        let output = self.command("rest", &["load", "--once"]).output().expect("load --once");
        assert!(output.status.success(), "load --once: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asks ClickHouse; the answer as lines of tab-separated values.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let url = self.stack.clickhouse_url();
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let mut query = String::new();
        for byte in sql.bytes() {
            query.push_str(&format!("%{byte:02X}"));
        }
        let mut client = Client::connect(address).expect("ClickHouse answers");
        let answer = client.get(&format!("/?database=fingerpost&query={query}")).expect("ClickHouse answers");
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text()
    }

    /// Tells ClickHouse to change something.
    pub(crate) fn order(&self, sql: &str) {
        let url = self.stack.clickhouse_url();
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let mut client = Client::connect(address).expect("ClickHouse answers");
        let answer = client.send("POST", "/?database=fingerpost", &[], sql.as_bytes()).expect("ClickHouse answers");
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }

    pub(crate) fn number(&self, sql: &str) -> u64 {
        let text = self.ask(sql);
        text.trim().parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
    }

    /// How often each tag is in ClickHouse.
    pub(crate) fn tags(&self) -> HashMap<u64, u64> {
        let text = self.ask("SELECT sub1, count() FROM events WHERE kind = 'click' GROUP BY sub1");
        let pair = |line: &str| {
            let (tag, times) = line.split_once('\t')?;
            Some((tag.parse().ok()?, times.parse().ok()?))
        };
        text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("no tag and count: {line}"))).collect()
    }

    /// What disagrees between the rows and each of the rollups, and rows that are there twice; empty when all is well.
    pub(crate) fn disagreements(&self) -> Vec<String> {
        let (reach, funnel) =
            ("hour, kind, class, program, link, partner, ad, channel, country", "day, program, link, partner, kind");
        let rows_by = |keys: &str, time: &str, condition: &str| {
            let columns = keys.replacen(&keys[..keys.find(',').unwrap_or(0)], time, 1);
            format!(
                "SELECT {columns}, sum(count) FROM events WHERE {condition} GROUP BY 1, {}",
                &keys[keys.find(' ').unwrap_or(0) + 1..]
            )
        };
        let sums_by = |keys: &str, view: &str| {
            format!("SELECT {keys}, sum(r.count) AS n FROM {view} AS r GROUP BY {keys} HAVING n > 0")
        };
        let counted = "kind IN ('lead', 'conversion', 'refund', 'reward') OR (kind IN ('click', 'view', 'share') AND class IN ('human', 'repeat'))";
        let mut checks = Vec::new();
        for (name, rows, sums) in [
            ("reach", rows_by(reach, "toStartOfHour(time)", "1"), sums_by(reach, "reach")),
            ("funnel", rows_by(funnel, "toDate(time)", counted), sums_by(funnel, "funnel")),
        ] {
            checks.push((
                format!("rows that {name} does not have"),
                format!("SELECT count() FROM ({rows} EXCEPT {sums})"),
            ));
            checks
                .push((format!("sums of {name} without rows"), format!("SELECT count() FROM ({sums} EXCEPT {rows})")));
        }
        let (by, seen) = ("program, link, partner", "kind IN ('click', 'view') AND class IN ('human', 'repeat')");
        let of_rows = format!(
            "SELECT toDate(time) AS day, {by}, uniqCombined64(visitor) AS n FROM events WHERE {seen} GROUP BY day, {by} HAVING n > 0"
        );
        let of_states = format!(
            "SELECT day, {by}, uniqCombined64Merge(visitors) AS n FROM uniques GROUP BY day, {by} HAVING n > 0"
        );
        let ends =
            |table: &str| format!("SELECT source, partition, max(offset) FROM {table} GROUP BY source, partition");
        for (name, rows, sums) in [("uniques", of_rows, of_states), ("loaded", ends("events"), ends("loaded"))] {
            let differ = format!("SELECT count() FROM (({rows} EXCEPT {sums}) UNION ALL ({sums} EXCEPT {rows}))");
            checks.push((format!("lines of {name} that are not those of the rows"), differ));
        }
        checks.push((
            "rows that are there twice".to_owned(),
            "SELECT count() - uniqExact(source, partition, offset) FROM events".to_owned(),
        ));
        let seen = |name: String, sql: String| match self.number(&sql) {
            0 => None,
            count => Some(format!("{count} {name}")),
        };
        checks.into_iter().filter_map(|(name, sql)| seen(name, sql)).collect()
    }
}

/// A running `fingerpost load`.
pub(crate) struct Loader {
    child: Child,
    /// Where it says where it listens.
    addresses: PathBuf,
}

impl Loader {
    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Kafka partitions that it has; `None` as long as nobody answers.
    fn partitions(&self) -> Option<f64> {
        let text = std::fs::read_to_string(&self.addresses).ok()?;
        let addresses: serde_json::Value = serde_json::from_str(&text).ok()?;
        metric(addresses["ops"].as_str()?.parse().ok()?, "fingerpost_load_partitions ")
    }

    /// Sends a signal: `STOP`, `CONT`, …
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// SIGTERM, then its end.
    pub(crate) fn stop(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().is_ok_and(|status| status.success())
    }
}

/// Clicks on one edge at a steady rate, wherever it is at the moment.
pub(crate) struct Load {
    address: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Load {
    /// About `rate` clicks a second with tags from `next_tag`.
    pub(crate) fn start(edge: SocketAddr, rate: u64, next_tag: &Arc<AtomicU64>) -> Load {
        let (address, stop) = (Arc::new(Mutex::new(edge)), Arc::new(AtomicBool::new(false)));
        let (to, until, next_tag) = (Arc::clone(&address), Arc::clone(&stop), Arc::clone(next_tag));
        let thread = std::thread::spawn(move || click(&to, rate, &until, &next_tag));
        Load { address, stop, thread }
    }

    pub(crate) fn moved(&self, edge: SocketAddr) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = edge;
    }

    /// The tags that were answered.
    pub(crate) fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the clicks")
    }
}

/// Clicks come in small bursts, so that a burst shares a group of the journal.
const BURST: u64 = 20;

fn click(address: &Mutex<SocketAddr>, rate: u64, stop: &AtomicBool, next_tag: &AtomicU64) -> Vec<u64> {
    let mut tags = Vec::new();
    let pause = Duration::from_micros(1_000_000 * BURST / rate.max(1));
    while !stop.load(Ordering::Relaxed) {
        let edge = *address.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut client) = Client::connect(edge) else {
            wait(Duration::from_millis(5));
            continue;
        };
        'connected: while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            for _ in 0..BURST {
                let tag = next_tag.fetch_add(1, Ordering::Relaxed);
                match client.get(&format!("/go/haircare/abc123/website2?sub1={tag}")) {
                    Ok(answer) if answer.status == 302 => tags.push(tag),
                    Ok(answer) => panic!("tag {tag} was answered {}", answer.status),
                    Err(_) => break 'connected,
                }
            }
            wait(pause.saturating_sub(started.elapsed()));
        }
    }
    tags
}

/// The edges deliver what they hold, and end.
pub(crate) fn drain(edges: Vec<Server>) {
    for edge in &edges {
        clicks::wait_drained(edge);
    }
    for edge in edges {
        assert!(edge.stop().success(), "an edge ended with an error");
    }
}
