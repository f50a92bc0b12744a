//! The connection, and the questions that whoever loads events asks.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use clickhouse::{Client, Compression, Row, RowOwned, RowRead, query::Query};
use tokio::time::timeout;

use super::{
    block::{Block, Rows, column_names},
    error::{StoreError, sort},
    recover::ROLLUPS,
    schema::{Form, fill},
};
use crate::{
    config::stores::{self, ClickHouse},
    io::random,
};

/// Events in ClickHouse. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    url: String,
    form: Form,
    retention: Duration,
    timeout: Duration,
    /// With a number, names each insert of this process, so that it can be found while it runs.
    process: u64,
    inserts: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} {})", self.shared.url, self.shared.form.database)
    }
}

/// How the query ids of inserts begin.
const QUERY_ID: &str = "fingerpost-insert-";

/// Bytes of a request's body that are compressed and sent at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What makes one insert one block, in the rows and in every rollup.
const INSERT_SETTINGS: [(&str, &str); 13] = [
    ("async_insert", "0"),
    // The status then tells how the insert ended, not how it began.
    ("wait_end_of_query", "1"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("materialized_views_ignore_errors", "0"),
    // No row count splits the block, and what a view makes of it is gathered into one block again.
    ("max_insert_block_size", "100000000"),
    ("min_insert_block_size_rows", "100000000"),
    ("min_insert_block_size_bytes", "0"),
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("group_by_two_level_threshold", "0"),
    ("group_by_two_level_threshold_bytes", "0"),
    // A backfill may hold many months.
    ("max_partitions_per_insert_block", "0"),
];

/// The same on a cluster: an insert is acknowledged when a majority of the replicas has it, in the table and behind each view. Several
/// loaders insert at the same time, so one quorum must not wait for another's (`insert_quorum_parallel`); reads that have to
/// know everything rest on [`Store::fence`] then, not on `select_sequential_consistency`, which needs quorums in a row. A
/// repetition that is dropped by its token waits for the first one's quorum as well.
const QUORUM_SETTINGS: [(&str, &str); 2] = [("insert_quorum", "auto"), ("insert_quorum_parallel", "1")];

impl Store {
    pub fn new(settings: &ClickHouse) -> Result<Store, StoreError> {
        if settings.url.is_empty() {
            return Err(StoreError::Fatal("clickhouse.url is empty: give an address like http://host:8123".to_owned()));
        }
        for (key, name) in [("database", &settings.database), ("cluster", &settings.cluster)] {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if !plain || (name.is_empty() && key == "database") {
                return Err(StoreError::Fatal(format!("clickhouse.{key} `{name}`: use letters, digits, _ and -")));
            }
        }
        let mut client = Client::default().with_url(&settings.url).with_compression(match settings.compression {
            stores::Compression::Lz4 => Compression::Lz4,
            stores::Compression::None | stores::Compression::Zstd => Compression::None,
        });
        if !settings.user.is_empty() {
            client = client.with_user(&settings.user);
        }
        if !settings.password.is_empty() {
            client = client.with_password(settings.password.expose());
        }
        let random = random::bytes::<8>().map_err(|error| StoreError::Retry(format!("no random bytes: {error}")))?;
        let form = Form { database: settings.database.clone(), cluster: settings.cluster.clone() };
        let (retention, timeout) = (settings.retention, settings.timeout);
        let (process, inserts) = (u64::from_le_bytes(random), AtomicU64::new(0));
        let shared = Shared { client, url: settings.url.clone(), form, retention, timeout, process, inserts };
        Ok(Store { shared: Arc::new(shared) })
    }

    pub(super) fn form(&self) -> &Form {
        &self.shared.form
    }

    pub(super) fn retention(&self) -> Duration {
        self.shared.retention
    }

    /// A statement with `{database}` and the like, and `?` for values.
    pub(super) fn query(&self, text: &str) -> Result<Query, StoreError> {
        Ok(self.shared.client.query(&fill(text, &self.shared.form)?))
    }

    /// The same; a `?` is a `?`.
    pub(super) fn query_raw(&self, text: &str) -> Result<Query, StoreError> {
        Ok(self.shared.client.query_raw(&fill(text, &self.shared.form)?))
    }

    pub(super) fn is_cluster(&self) -> bool {
        !self.shared.form.cluster.is_empty()
    }

    /// A question about the tables of this database, with `{name:Type}` for values.
    pub(super) fn ask(&self, text: &str) -> Query {
        let client = self.shared.client.clone().with_database(&self.shared.form.database);
        // Whoever has stopped waiting should not keep the server busy.
        let seconds = self.shared.timeout.as_secs().max(1).to_string();
        client.query_raw(text).with_setting("max_execution_time", seconds)
    }

    /// Waits for an answer, but not for ever; sorts its error.
    pub(super) async fn answered<T>(
        &self,
        work: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, StoreError> {
        let answer = timeout(self.shared.timeout, work).await;
        let answer = answer.unwrap_or(Err(clickhouse::error::Error::TimedOut));
        answer.map_err(|error| sort(&error, &self.shared.url))
    }

    pub(super) async fn execute(&self, query: Query) -> Result<(), StoreError> {
        self.answered(query.execute()).await
    }

    pub(super) async fn rows<T: Row + RowOwned + RowRead>(&self, query: Query) -> Result<Vec<T>, StoreError> {
        self.answered(query.fetch_all()).await
    }

    pub(super) async fn one<T: Row + RowOwned + RowRead>(&self, query: Query) -> Result<T, StoreError> {
        self.answered(query.fetch_one()).await
    }

    /// Inserts a block that was never tried before, under its token. After any error, and whenever nobody knows whether it
    /// was tried, it is [`recover`](Store::recover)'s turn.
    pub async fn insert(&self, block: &Block, token: &str) -> Result<(), StoreError> {
        if block.rows() == 0 {
            return Ok(());
        }
        self.insert_rows(&block.rows, &query_name(&block.source, block.partition), token).await
    }

    /// The same with rows of one or several sources, all named.
    pub(super) async fn insert_rows(&self, rows: &Rows, names: &str, token: &str) -> Result<(), StoreError> {
        let sql = format!("INSERT INTO {{database}}.events ({}) FORMAT Native", column_names());
        self.send(&sql, rows.native(), names, token).await
    }

    /// Sends an INSERT and its data as one block.
    pub(super) async fn send(&self, sql: &str, data: Vec<u8>, name: &str, token: &str) -> Result<(), StoreError> {
        let mut insert = self
            .shared
            .client
            .insert_formatted_with(fill(sql, &self.shared.form)?)
            .with_setting("query_id", self.query_id(name))
            .with_setting("insert_deduplication_token", token);
        for (setting, value) in self.insert_settings() {
            insert = insert.with_setting(setting, value);
        }
        self.answered(async {
            let mut data = Bytes::from(data);
            while !data.is_empty() {
                insert.send(data.split_to(CHUNK_BYTES.min(data.len()))).await?;
            }
            insert.end().await
        })
        .await
    }

    /// The settings of each insert.
    pub(super) fn insert_settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let quorum = if self.is_cluster() { QUORUM_SETTINGS.as_slice() } else { &[] };
        // Half of our own patience, in milliseconds: not every version lets KILL QUERY end an insert that waits for its quorum, and a
        // fence should not wait longer than we do.
        let patience = (self.shared.timeout.as_millis() / 2).max(1).to_string();
        let patience = self.is_cluster().then_some(("insert_quorum_timeout", patience));
        INSERT_SETTINGS.iter().chain(quorum).map(|(name, value)| (*name, (*value).to_owned())).chain(patience)
    }

    /// A name that no other query has, and that says what it inserts.
    pub(super) fn query_id(&self, name: &str) -> String {
        let number = self.shared.inserts.fetch_add(1, Ordering::Relaxed);
        format!("{QUERY_ID}{:016x}-{number}{name}", self.shared.process)
    }

    /// Which of these offsets the table holds.
    pub async fn present(&self, source: &str, partition: u32, range: Range<u64>) -> Result<Vec<u64>, StoreError> {
        let query = self.query(
            "SELECT DISTINCT e.offset FROM {database}.events AS e \
             WHERE e.source = ? AND e.partition = ? AND e.offset >= ? AND e.offset < ? ORDER BY e.offset",
        )?;
        self.rows(query.bind(source).bind(partition).bind(range.start).bind(range.end)).await
    }

    /// The offset behind the highest that was ever loaded, also when its row is gone; `None`: nothing was.
    pub async fn next_offset(&self, source: &str, partition: u32) -> Result<Option<u64>, StoreError> {
        let query = self.query(
            "WITH (SELECT (max(l.offset), count() > 0) FROM {database}.loaded AS l WHERE l.source = ? AND l.partition = ?) AS known \
             SELECT greatest(max(e.offset), known.1), known.2 OR count() > 0 \
             FROM {database}.events AS e WHERE e.source = ? AND e.partition = ? AND e.offset >= known.1",
        )?;
        let query = query.bind(source).bind(partition).bind(source).bind(partition);
        let (highest, any): (u64, bool) = self.one(query).await?;
        Ok(any.then_some(highest + 1))
    }

    /// Ends inserts of this source and partition that still run, whoever began them, and waits for their end. Afterwards
    /// every replica knows what was inserted: the next question may go to any of them.
    pub(super) async fn fence(&self, source: &str, partition: u32) -> Result<(), StoreError> {
        // A replica that is down holds nobody up: with a majority there, somebody knows all that was acknowledged.
        let on_cluster = |query: Query| {
            if self.is_cluster() {
                return query.with_setting("distributed_ddl_output_mode", "none_only_active");
            }
            query
        };
        self.majority().await?;
        let kill = "KILL QUERY{on_cluster} WHERE startsWith(query_id, ?) AND position(query_id, ?) > 0 SYNC";
        let kill = self.query(kill)?.bind(QUERY_ID).bind(query_name(source, partition));
        self.execute(on_cluster(kill)).await?;
        if !self.is_cluster() {
            return Ok(());
        }
        for table in loaded_tables() {
            let sync = format!("SYSTEM SYNC REPLICA{{on_cluster}} {{database}}.{table} LIGHTWEIGHT");
            self.execute(on_cluster(self.query(&sync)?)).await?;
        }
        // Also afterwards, so that what an insert left on too few replicas stands on enough of them now.
        self.majority().await
    }

    /// On a cluster: an error unless a majority of the replicas is there. Two majorities have a replica in common.
    async fn majority(&self) -> Result<(), StoreError> {
        if !self.is_cluster() {
            return Ok(());
        }
        let away = "SELECT count() FROM system.replicas AS r WHERE r.database = ? AND r.table IN ? \
                    AND r.active_replicas * 2 <= r.total_replicas";
        let tables: Vec<&str> = loaded_tables().collect();
        match self.one::<u64>(self.query(away)?.bind(&self.shared.form.database).bind(tables)).await? {
            0 => Ok(()),
            _ => Err(StoreError::Retry(format!(
                "a majority of the replicas of `{}` is away, and with them what they alone know: start them",
                self.shared.form.database
            ))),
        }
    }
}

/// What an insert of events writes to.
fn loaded_tables() -> impl Iterator<Item = &'static str> {
    std::iter::once("events").chain(ROLLUPS.iter().map(|rollup| rollup.table))
}

/// Stands in the query id of each insert of this source and partition.
pub(super) fn query_name(source: &str, partition: u32) -> String {
    format!("/{source}/{partition}/")
}
