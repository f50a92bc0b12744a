//! The outbox: what the control plane has decided, as rows that leave for the journal (events), for webhooks and for mail.
//!
//! **Promise.** An entry is there if and only if the transaction that decided it was committed. Numbers have no gaps and are in
//! the order of commits, because whoever writes entries locks the one row of `outbox_head`: who has taken number *n* has missed
//! nothing below it. A row goes when it is older than the retention *and* all consumers have passed it.
//!
//! Whoever decides something tells it in its own transaction ([`Writing::tell`]), begun with [`Writing::begin`] where items change
//! too, else with [`Writing::begin_facts`].
//!
//! A consumer keeps its position here: the journal's is one of each node (a data folder; only there can the event's lane be),
//! that of who takes the rows of all nodes has the empty node. Positions only rise. Writing one locks the outbox as well, so
//! that a copy of the catalog never has a row's effect without its position.

use data_encoding::BASE64;
use prost::Message;
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};
use tokio::sync::watch;

use super::{Catalog, CatalogError, Mistake, Shared, entity::RowReader, trip::statement, write::Writing};
use crate::{
    core::{event::Event, limits::RECORD_PAYLOAD_MAX_BYTES, time::Millis},
    io::node,
};

/// The node of a consumer that takes the rows of all.
pub const ALL_NODES: &str = "";
/// The consumer that brings a node's events to its journal.
pub const JOURNAL: &str = "journal";
/// The consumer that takes the rows of all nodes to webhooks.
pub const WEBHOOKS: &str = "webhooks";

/// The node of a catalog that was opened without a data folder.
const NOBODY: &str = "nobody";
/// The event's number takes that much of its record.
const SEQUENCE_MAX_BYTES: usize = 12;

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As webhooks are asked for: `referral.created`, `reward.due`, ….
    pub kind: &'static str,
    /// The program's code; empty where it is about none.
    pub program: String,
    /// JSON: the webhook's `data`.
    pub body: String,
    /// The row of history that it is, where it is one. Its `sequence` is given when it leaves.
    pub event: Option<Event>,
}

/// An entry as it stands in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub seq: u64,
    /// Whose data folder wrote it.
    pub node: String,
    pub at: Millis,
    pub kind: String,
    pub program: String,
    pub body: String,
    /// An encoded [`Event`] in base64.
    pub event: Option<String>,
}

impl Row {
    const COLUMNS: &str = "seq, node, at_ms, kind, program, body, event";

    fn from_row(row: &AnyRow) -> Result<Row, CatalogError> {
        let mut columns = RowReader::new(row);
        Ok(Row {
            seq: u64::try_from(columns.integer()?).unwrap_or(0),
            node: columns.text()?.to_owned(),
            at: Millis(columns.integer()?),
            kind: columns.text()?.to_owned(),
            program: columns.text()?.to_owned(),
            body: columns.text()?.to_owned(),
            event: columns.optional_text()?.map(str::to_owned),
        })
    }

    /// The event's encoding, or why there is none.
    pub fn event_bytes(&self) -> Result<Vec<u8>, String> {
        let text = self.event.as_deref().unwrap_or_default();
        match BASE64.decode(text.as_bytes()) {
            Ok(bytes) if bytes.is_empty() => Err("it is empty".to_owned()),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(format!("it is not base64: {error}")),
        }
    }
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

// === Writing ===

impl Writing {
    /// Adds an entry, which is there as soon as the transaction is committed.
    pub(super) async fn tell(&mut self, mut entry: Entry) -> Result<(), CatalogError> {
        if let Some(event) = &mut entry.event {
            event.sequence = 0;
            let bytes = event.encoded_len();
            if bytes == 0 || bytes + SEQUENCE_MAX_BYTES > RECORD_PAYLOAD_MAX_BYTES {
                let problem = format!("has {bytes} bytes: a record of the journal has 1 to {RECORD_PAYLOAD_MAX_BYTES}");
                return Err(CatalogError::Invalid(vec![Mistake::new("event", problem)]));
            }
        }
        self.untold.push(entry);
        // Facts that share a transaction are told at its end: what one of them wrote before may still be taken back.
        if self.shares.is_shared {
            return Ok(());
        }
        self.write_outbox(self.rows_max).await
    }

    /// Locks the outbox: from here to the end nobody else writes there.
    pub(super) async fn lock_outbox(&mut self) -> Result<(), CatalogError> {
        sqlx::query("UPDATE outbox_head SET next = next WHERE one = 1").execute(self.tx().await?).await?;
        Ok(())
    }

    /// Writes the entries that wait, if there are at least so many.
    pub(super) async fn write_outbox(&mut self, at_least: usize) -> Result<(), CatalogError> {
        if self.untold.is_empty() || self.untold.len() < at_least {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.untold);
        for chunk in entries.chunks(self.rows_max) {
            self.write_entries(chunk).await?;
        }
        Ok(())
    }

    async fn write_entries(&mut self, entries: &[Entry]) -> Result<(), CatalogError> {
        let sql = "UPDATE outbox_head SET next = next + $1 WHERE one = 1 RETURNING next";
        let next: i64 = sqlx::query(sql).bind(entries.len() as i64).fetch_one(self.tx().await?).await?.try_get(0)?;
        let mut write = statement(insert_sql(entries.len()))
            .bind(next - entries.len() as i64)
            .bind(self.shared.node()?)
            .bind(self.now.0);
        for entry in entries {
            let event = entry.event.as_ref().map(|event| BASE64.encode(&event.encode_to_vec()));
            write = write.bind(entry.kind).bind(&*entry.program).bind(&*entry.body).bind(event);
        }
        let persistent = entries.len() == 1 || entries.len() == self.rows_max;
        let write = if persistent { write } else { write.once() };
        write.done(self, Vec::new()).await?;
        self.told = Some(next - 1);
        Ok(())
    }
}

/// `$1` is the first number, `$2` the node, `$3` the time; then kind, program, body and event each.
fn insert_sql(rows: usize) -> String {
    let row = |row: usize| {
        let [kind, program, body, event] = [4, 5, 6, 7].map(|first| first + 4 * row);
        format!("(CAST($1 AS BIGINT) + {row}, $2, $3, ${kind}, ${program}, ${body}, ${event})")
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO outbox ({}) VALUES {}", Row::COLUMNS, rows.join(", "))
}

impl Shared {
    fn node(&self) -> Result<&str, CatalogError> {
        if let Some(node) = self.node.get() {
            return Ok(node);
        }
        let name = self.data.as_deref().map_or_else(|| Ok(NOBODY.to_owned()), node::name)?;
        Ok(self.node.get_or_init(|| name))
    }
}

// === Taking ===

impl Catalog {
    /// The name of this catalog's data folder in the outbox. A catalog that was opened without one has the name of nobody: its
    /// entries reach webhooks, and no journal.
    pub fn node(&self) -> Result<&str, CatalogError> {
        self.shared.node()
    }

    /// Tells what goes with no other change.
    pub async fn tell(&self, entries: impl IntoIterator<Item = Entry> + Send) -> Result<(), CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        for entry in entries.into_iter().collect::<Vec<_>>() {
            writing.tell(entry).await?;
        }
        writing.commit().await
    }

    /// Changes with each commit of this process that has entries; what others commit is found by asking.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.shared.told.subscribe()
    }

    /// Number of the last entry; 0 before the first.
    pub async fn outbox_last(&self) -> Result<u64, CatalogError> {
        let rows = self.rows(sqlx::query("SELECT next FROM outbox_head WHERE one = 1")).await?;
        let row = rows.first().ok_or_else(|| CatalogError::Corrupt("the outbox has no head".to_owned()))?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or(0))
    }

    /// Entries of all nodes behind a number, in order.
    pub async fn outbox_after(&self, seq: u64, limit: u32) -> Result<Vec<Row>, CatalogError> {
        let sql = format!("SELECT {} FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2", Row::COLUMNS);
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(number(seq)).bind(i64::from(limit))).await?;
        rows.iter().map(Row::from_row).collect()
    }

    /// Events of a node that its journal does not hold as far as the catalog knows, in order.
    pub async fn outbox_events(&self, node: &str, limit: u32) -> Result<Vec<Row>, CatalogError> {
        let sql = format!(
            "SELECT {} FROM outbox WHERE node = $1 AND event IS NOT NULL AND seq > {POSITION} ORDER BY seq LIMIT $3",
            Row::COLUMNS
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(node.to_owned()).bind(JOURNAL).bind(i64::from(limit));
        self.rows(query).await?.iter().map(Row::from_row).collect()
    }

    /// How many they are, counted up to `limit`.
    pub async fn outbox_waiting(&self, node: &str, limit: u32) -> Result<u64, CatalogError> {
        let sql = format!(
            "SELECT CAST(count(*) AS BIGINT) FROM (SELECT 1 FROM outbox WHERE node = $1 AND event IS NOT NULL \
             AND seq > {POSITION} LIMIT $3) AS waiting"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(node.to_owned()).bind(JOURNAL).bind(i64::from(limit));
        let rows = self.rows(query).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// How far a consumer is; 0 before its first word.
    pub async fn outbox_position(&self, node: &str, consumer: &str) -> Result<u64, CatalogError> {
        let sql = "SELECT seq FROM outbox_positions WHERE node = $1 AND consumer = $2";
        let rows = self.rows(sqlx::query(sql).bind(node.to_owned()).bind(consumer.to_owned())).await?;
        let seq: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    /// A consumer is done with everything up to `seq`. A lower number than before changes nothing, but 0 makes a consumer
    /// known that nothing may be deleted before.
    pub async fn outbox_passed(&self, node: &str, consumer: &str, seq: u64) -> Result<(), CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let sql = "INSERT INTO outbox_positions (node, consumer, seq) VALUES ($1, $2, $3) ON CONFLICT (node, consumer) \
                   DO UPDATE SET seq = excluded.seq WHERE outbox_positions.seq < excluded.seq";
        let query = sqlx::query(sql).bind(node.to_owned()).bind(consumer.to_owned()).bind(number(seq));
        query.execute(writing.tx().await?).await?;
        writing.commit().await
    }

    /// A consumer is no more: nothing waits for it.
    pub async fn outbox_forget(&self, node: &str, consumer: &str) -> Result<(), CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let query = sqlx::query("DELETE FROM outbox_positions WHERE node = $1 AND consumer = $2");
        query.bind(node.to_owned()).bind(consumer.to_owned()).execute(writing.tx().await?).await?;
        writing.commit().await
    }

    /// Deletes up to `limit` entries from before a time that every consumer has passed: those of all nodes, and where it is an
    /// event its node's journal. Returns how many.
    pub async fn outbox_purge(&self, before: Millis, limit: u32) -> Result<u64, CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let query = sqlx::query(PURGE).bind(before.0).bind(ALL_NODES).bind(JOURNAL).bind(i64::from(limit));
        let deleted = query.execute(writing.tx().await?).await?.rows_affected();
        writing.commit().await?;
        Ok(deleted)
    }
}

/// The position of `$1` and `$2`.
const POSITION: &str = "COALESCE((SELECT seq FROM outbox_positions WHERE node = $1 AND consumer = $2), 0)";

const PURGE: &str = "DELETE FROM outbox WHERE seq IN (SELECT old.seq FROM outbox AS old WHERE old.at_ms < $1 \
    AND NOT EXISTS (SELECT 1 FROM outbox_positions AS behind WHERE behind.node = $2 AND behind.seq < old.seq) \
    AND (old.event IS NULL OR EXISTS (SELECT 1 FROM outbox_positions AS journal WHERE journal.node = old.node \
    AND journal.consumer = $3 AND journal.seq >= old.seq)) ORDER BY old.at_ms LIMIT $4)";
