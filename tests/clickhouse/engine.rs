//! A database to test with, and what the tests ask it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use fingerpost::{
    config::{
        secret::Secret,
        stores::{ClickHouse, Compression},
    },
    store::clickhouse::{Store, StoreError},
};

use crate::support::{
    PATIENCE,
    stack::{Part, Stack, unique},
};

/// The engine that the tests share: nobody kills it.
pub(crate) fn shared() -> &'static Stack {
    Stack::shared(&[Part::Clickhouse])
}

/// An engine to kill.
pub(crate) fn own() -> Stack {
    Stack::own(&[Part::Clickhouse], &[])
}

/// kill -9, without the script's start in between.
pub(crate) fn kill_now(stack: &Stack) {
    let pid = stack.pid(Part::Clickhouse).to_string();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

/// A database that no other test has.
pub(crate) fn settings(stack: &Stack) -> ClickHouse {
    ClickHouse {
        url: stack.clickhouse_url(),
        database: unique("test"),
        user: String::new(),
        password: Secret::default(),
        cluster: String::new(),
        compression: Compression::Lz4,
        retention: Duration::ZERO,
        timeout: Duration::from_secs(60),
    }
}

/// A database with the schema, and a client for questions.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) settings: ClickHouse,
    client: clickhouse::Client,
}

impl Database {
    pub(crate) async fn new(stack: &Stack) -> Database {
        Database::of(settings(stack)).await
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
        for by in ["program, link, partner, ad", "day, program, link, partner, ad"] {
            let lines = |day: &str, from: &str| {
                let line =
                    ["view", "click", "share"].map(|kind| format!("sumIf(r.count, kind = '{kind}' AND {counted})"));
                let keys = by.replace("day", day);
                format!(
                    "(SELECT {keys}, [{}]::Array(UInt64) AS n FROM {from} GROUP BY {keys} HAVING arraySum(n) > 0)",
                    line.join(", ")
                )
            };
            let digest = "count(), sum(cityHash64(*))";
            let in_sums = lines("toStartOfDay(hour)", "DB.reach_hourly AS r WHERE source = ''");
            let of_rows = lines("toStartOfDay(toStartOfHour(time))", "DB.events AS r");
            assert_eq!(self.numbers(digest, &in_sums).await, self.numbers(digest, &of_rows).await, "lines by {by}");
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
