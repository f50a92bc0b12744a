//! A ClickHouse to test with, and what the tests ask it.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use fingerpost::{
    config::{
        secret::Secret,
        stores::{ClickHouse, Compression},
    },
    store::clickhouse::{Store, StoreError},
};

use crate::support::PATIENCE;

/// A stack of its own with ClickHouse only; it ends with this process.
pub(crate) struct Engine {
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

fn script() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/load-tests/stack"))
}

impl Engine {
    pub(crate) fn start() -> Engine {
        Engine::with(&["clickhouse"])
    }

    pub(crate) fn with(arguments: &[&str]) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Engine { folder, url: String::new() };
        let owner = std::process::id().to_string();
        let known = engine.stack(&[&["up", "--for", &owner], arguments].concat());
        let known: serde_json::Value = serde_json::from_str(known.lines().last().unwrap()).unwrap();
        engine.url = known["clickhouse"]["url"].as_str().unwrap().to_owned();
        engine
    }

    /// Runs a command of the script; its standard output.
    pub(crate) fn stack(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(script());
        command.args(arguments).arg("--dir").arg(self.folder.path());
        let output = command.output().expect("load-tests/stack starts: python3 is needed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "load-tests/stack {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn kill(&self) {
        self.stack(&["kill", "clickhouse"]);
    }

    /// The same without the script's start in between.
    pub(crate) fn kill_now(&self) {
        let pid = self.known()["clickhouse"]["pid"].as_i64().unwrap();
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Addresses and process ids.
    pub(crate) fn known(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.folder.path().join("stack.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn restart(&self) {
        self.stack(&["start", "clickhouse"]);
    }

    /// A database that no other test has.
    pub(crate) fn settings(&self) -> ClickHouse {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        ClickHouse {
            url: self.url.clone(),
            database: format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            user: String::new(),
            password: Secret::default(),
            cluster: String::new(),
            compression: Compression::Lz4,
            retention: Duration::ZERO,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = Command::new(script()).args(["down", "--remove", "--dir"]).arg(self.folder.path()).output();
    }
}

/// A database with the schema, and a client for questions.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) settings: ClickHouse,
    client: clickhouse::Client,
}

impl Database {
    pub(crate) async fn new(engine: &Engine) -> Database {
        Database::of(engine.settings()).await
    }

    pub(crate) async fn of(settings: ClickHouse) -> Database {
        let database = Database::empty(settings);
        migrate(&database.store).await;
        database
    }

    pub(crate) fn empty(settings: ClickHouse) -> Database {
        let client = clickhouse::Client::default().with_url(&settings.url).with_validation(false);
        Database { store: Store::new(&settings).unwrap(), settings, client }
    }

    fn sql(&self, text: &str) -> String {
        text.replace("DB.", &format!("`{}`.", self.settings.database))
    }

    /// A statement in which `DB.` stands before each table.
    pub(crate) async fn run(&self, text: &str) {
        self.client.query_raw(&self.sql(text)).execute().await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// The numbers of a question's one row, the columns as an array of UInt64.
    pub(crate) async fn numbers(&self, columns: &str, from: &str) -> Vec<u64> {
        let text = self.sql(&format!("SELECT [{columns}]::Array(UInt64) FROM {from}"));
        let ask = || self.client.query_raw(&text).fetch_one();
        match ask().await {
            // A connection of the pool to a server that was killed meanwhile.
            Err(clickhouse::error::Error::Network(_)) => ask().await,
            answer => answer,
        }
        .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Asks until the number is there.
    pub(crate) async fn until(&self, column: &str, from: &str, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.numbers(&self.sql(column), from).await[0];
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {wanted}: {column} is {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Rows are there once, and every rollup's sums are those of the rows.
    pub(crate) async fn audit(&self) -> u64 {
        let rows = self.numbers("count(), uniqExact(source, partition, offset)", "DB.events").await;
        assert_eq!(rows[0], rows[1], "a row is there twice");
        let counted = "class IN ('human', 'repeat')";
        for (rollup, sums, of_rows) in [
            (
                "DB.reach",
                "sum(r.count), toUInt64(toUnixTimestamp64Milli(max(r.last)))",
                "sum(r.count), toUInt64(toUnixTimestamp64Milli(max(r.time)))",
            ),
            (
                "DB.reach",
                "sumIf(r.count, kind = 'click' AND country = 'DE')",
                "sumIf(r.count, kind = 'click' AND country = 'DE')",
            ),
            (
                "DB.funnel",
                "sumIf(r.count, kind = 'click'), sum(over)",
                &format!(
                    "sumIf(r.count, kind = 'click' AND {counted}), sumIf(r.count, kind = 'click' AND {counted} AND reason IN ('expired', 'max_clicks'))"
                ),
            ),
            (
                "DB.uniques",
                "uniqCombined64Merge(visitors)",
                &format!("uniqCombined64If(visitor, kind IN ('click', 'view') AND {counted})"),
            ),
            ("DB.missing", "sum(r.clicks)", "sumIf(r.count, kind = 'missing')"),
        ] {
            let (sums, of_rows) =
                (self.numbers(sums, &format!("{rollup} AS r")).await, self.numbers(of_rows, "DB.events AS r").await);
            assert_eq!(sums, of_rows, "{rollup} against the rows");
        }
        rows[0]
    }
}

/// Does it again after errors that pass.
pub(crate) async fn patiently<F: Future<Output = Result<(), StoreError>>>(work: impl Fn() -> F) {
    for _ in 0..5 {
        match work().await {
            Ok(()) => return,
            Err(StoreError::Retry(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it does not pass");
}

pub(crate) async fn migrate(store: &Store) {
    for change in store.pending().await.unwrap() {
        store.apply(&change).await.unwrap();
    }
}
