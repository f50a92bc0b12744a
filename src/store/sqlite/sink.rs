//! Writing: one transaction for everything that [`Sink::store`] is given.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock},
};

use sqlx::{AssertSqlSafe, Connection, Row, Sqlite, SqliteConnection, Transaction, sqlite::SqlitePool};

use super::{
    super::{Batch, BoxFuture, Sink, SinkError, Stored, record as shared},
    closed,
    error::{Verdict, sort},
    record::{self, Binder, CHUNKS, COLUMNS},
    sums::{Key, Sum, Sums},
    visits::Visits,
};
use crate::{
    core::{
        event::{EventRef, Reason},
        id::LaneId,
        limits::{SUMS_KEYS_MAX, SUMS_LAG_MAX_EVENTS},
    },
    io::clock::Clock,
};

/// The SQLite sink.
#[derive(Debug)]
pub struct SqliteSink {
    pub(super) pool: SqlitePool,
    clock: Clock,
    sums: Sums,
    pub(super) visits: Visits,
    /// Events after which the sums are written.
    pub(super) sums_lag: u64,
    /// What `sums` and `visits` belong to; `None` when that is not known, and they are gathered anew.
    gathered: Option<Gathered>,
}

/// Sums of the events behind `summed` up to `newest`, and the touches among those behind `visited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gathered {
    summed: i64,
    visited: i64,
    newest: i64,
}

/// A record that is an event.
struct Decoded<'a> {
    lane: LaneId,
    sequence: u64,
    body: &'a [u8],
    event: EventRef<'a>,
}

/// How rows go in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    ManyAtOnce,
    /// After SQLite refused something: one by one, and what it refuses goes aside.
    OneByOne,
}

const HOURLY_VALUES: usize = 11;
const _: () = assert!(CHUNKS[0] * HOURLY_VALUES <= 32_766, "SQLite's variables of one statement");

static HOURLY: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| {
    upserts("hourly", HOURLY_VALUES, "count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)")
});
static LINK_CLICKS: LazyLock<[Arc<str>; 4]> =
    LazyLock::new(|| upserts("link_clicks", 2, "clicks = clicks + excluded.clicks"));

/// No row of theirs is ever there already.
pub(super) static VISITS: LazyLock<[Arc<str>; 4]> =
    LazyLock::new(|| upserts("visits", 4, "entries = excluded.entries"));

/// One statement for each size of [`CHUNKS`].
pub(super) fn upserts(table: &str, values: usize, update: &str) -> [Arc<str>; 4] {
    CHUNKS.map(|rows| {
        let row = format!("({})", vec!["?"; values].join(","));
        format!("INSERT INTO {table} VALUES {} ON CONFLICT DO UPDATE SET {update}", vec![row; rows].join(",")).into()
    })
}

/// Runs prepared statements of [`CHUNKS`] sizes over all rows; gives the last row's id.
pub(super) async fn in_chunks<T>(
    connection: &mut SqliteConnection,
    statements: &[Arc<str>; 4],
    values: usize,
    mut rows: &[T],
    bind: impl Fn(&T, &mut Binder),
) -> Result<Option<i64>, sqlx::Error> {
    let mut last = None;
    for (size, statement) in CHUNKS.into_iter().zip(statements) {
        while let Some((chunk, rest)) = rows.split_at_checked(size) {
            let mut binder = Binder::with_capacity(size * values);
            chunk.iter().for_each(|row| bind(row, &mut binder));
            let sql = AssertSqlSafe(Arc::clone(statement));
            let done = sqlx::query_with(sql, binder.finish()?).execute(&mut *connection).await?;
            last = Some(done.last_insert_rowid());
            rows = rest;
        }
    }
    Ok(last)
}

/// A transaction that is the one who writes from its beginning.
pub(super) async fn in_write(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

fn position(next: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(next).map_err(|_| sqlx::Error::InvalidArgument(format!("journal position {next} is impossible")))
}

impl SqliteSink {
    /// Opens the file, or makes it, and brings its tables up to date.
    pub async fn open(path: &Path, clock: Clock) -> Result<SqliteSink, SinkError> {
        match super::writer(path).await {
            Ok(pool) => {
                let (sums, visits) = (Sums::default(), Visits::default());
                Ok(SqliteSink { pool, clock, sums, visits, sums_lag: SUMS_LAG_MAX_EVENTS, gathered: None })
            }
            Err(error) => Err(match sort(&error) {
                Verdict::Retry(text) => SinkError::Retry(format!("{}: {text}", path.display())),
                Verdict::Fatal(text) | Verdict::Data(text) => SinkError::Fatal(format!("{}: {text}", path.display())),
            }),
        }
    }

    /// Closes the file; what was stored is on the disk already.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Writes the sums of all rows that there are, so that rows may go.
    pub(super) async fn settle(&mut self) -> Result<(), SinkError> {
        let settled = async {
            let mut transaction = in_write(&self.pool).await?;
            let mut state = Self::state(&mut transaction).await?;
            self.gathered = None;
            if state.newest > state.summed {
                self.gather(&mut transaction, state).await?;
                self.write_sums(&mut transaction, &mut state).await?;
            }
            transaction.commit().await
        };
        settled.await.map_err(|error| sort(&error).into())
    }

    async fn read_positions(connection: &mut SqliteConnection) -> Result<HashMap<LaneId, u64>, sqlx::Error> {
        let rows = sqlx::query("SELECT lane, next FROM positions").fetch_all(connection).await?;
        rows.iter()
            .map(|row| {
                let lane: Vec<u8> = row.try_get(0)?;
                let lane: [u8; 16] = lane
                    .try_into()
                    .map_err(|_| sqlx::Error::InvalidArgument("a lane in `positions` is not 16 bytes".to_owned()))?;
                Ok((LaneId(u128::from_be_bytes(lane)), row.try_get::<i64, _>(1)?.unsigned_abs()))
            })
            .collect()
    }

    async fn store_all(&mut self, batches: &[Batch], care: Care) -> Result<Stored, sqlx::Error> {
        let mut transaction = in_write(&self.pool).await?;
        // Until the commit is known, nobody knows what the sums belong to.
        let before = self.gathered.take();
        let mut state = Self::state(&mut transaction).await?;
        if before != Some(state) {
            self.gather(&mut transaction, state).await?;
            state.visited = self.visits.gather(&mut transaction, state.visited, state.newest).await?;
        }
        let mut positions = Self::read_positions(&mut transaction).await?;
        let mut stored = Stored::default();
        let mut decoded = Vec::with_capacity(CHUNKS[0]);
        for batch in batches {
            let next = positions.entry(batch.lane).or_default();
            for (sequence, body) in batch.records.iter().filter(|(sequence, _)| sequence >= next) {
                match shared::decode(body) {
                    Ok(event) => decoded.push(Decoded { lane: batch.lane, sequence: *sequence, body, event }),
                    Err(reason) => {
                        self.set_aside(&mut transaction, batch.lane, *sequence, body, &reason).await?;
                        stored.set_aside += 1;
                    }
                }
                if decoded.len() == CHUNKS[0] {
                    self.insert(&mut transaction, &mut decoded, care, &mut state, &mut stored).await?;
                }
            }
            *next = batch.next.max(*next);
            sqlx::query("INSERT INTO positions VALUES (?, ?) ON CONFLICT DO UPDATE SET next = excluded.next")
                .bind(batch.lane.0.to_be_bytes().to_vec())
                .bind(position(*next)?)
                .execute(&mut *transaction)
                .await?;
        }
        self.insert(&mut transaction, &mut decoded, care, &mut state, &mut stored).await?;
        if self.sums.events >= self.sums_lag || self.sums.len() >= SUMS_KEYS_MAX {
            self.write_sums(&mut transaction, &mut state).await?;
        }
        state.visited = self.visits.write_due(&mut transaction, state.visited, state.newest).await?;
        transaction.commit().await?;
        self.gathered = Some(state);
        Ok(stored)
    }

    async fn state(connection: &mut SqliteConnection) -> Result<Gathered, sqlx::Error> {
        let row = sqlx::query(
            "SELECT (SELECT seq FROM summed), (SELECT seq FROM visited), (SELECT ifnull(max(seq), 0) FROM events)",
        )
        .fetch_one(connection)
        .await?;
        Ok(Gathered { summed: row.try_get(0)?, visited: row.try_get(1)?, newest: row.try_get(2)? })
    }

    /// Sums the rows that `hourly` does not hold yet.
    async fn gather(&mut self, connection: &mut SqliteConnection, state: Gathered) -> Result<(), sqlx::Error> {
        self.sums.clear();
        let rows = sqlx::query(
            "SELECT time_ms - time_ms % 3600000, kind, class, ifnull(program, ''), ifnull(link, ''), \
             ifnull(partner, ''), ifnull(ad, ''), ifnull(channel, ''), ifnull(country, ''), sum(ifnull(count, 1)), \
             max(time_ms), count(*) FROM events WHERE seq > ? GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
        )
        .bind(state.summed)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let texts = [3, 4, 5, 6, 7, 8].map(|at| row.try_get::<&str, _>(at));
            let [program, link, partner, ad, channel, country] = texts;
            let key = Key {
                hour: row.try_get(0)?,
                kind: row.try_get(1)?,
                class: row.try_get(2)?,
                texts: [program?, link?, partner?, ad?, channel?, country?],
            };
            let sum = Sum { count: row.try_get(9)?, last_ms: row.try_get(10)? };
            self.sums.add(&key, sum, row.try_get::<i64, _>(11)?.unsigned_abs());
        }
        let over = sqlx::query(
            "SELECT link, sum(ifnull(count, 1)) FROM events \
             WHERE seq > ? AND kind = 1 AND class IN (1, 2) AND reason IN (?, ?) AND link IS NOT NULL GROUP BY link",
        )
        .bind(state.summed)
        .bind(Reason::OVER[0])
        .bind(Reason::OVER[1])
        .fetch_all(connection)
        .await?;
        for row in &over {
            self.sums.add_over(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(())
    }

    async fn insert(
        &mut self,
        connection: &mut SqliteConnection,
        decoded: &mut Vec<Decoded<'_>>,
        care: Care,
        state: &mut Gathered,
        stored: &mut Stored,
    ) -> Result<(), sqlx::Error> {
        if care == Care::ManyAtOnce {
            let bind = |row: &Decoded<'_>, binder: &mut Binder| record::bind(&row.event, binder);
            let last = in_chunks(connection, &record::INSERTS, COLUMNS.len(), decoded, bind).await?;
            state.newest = last.unwrap_or(state.newest);
        }
        // One writer numbers the rows of a statement, and those of the next one, without a gap.
        let before = state.newest - decoded.len() as i64;
        for (at, row) in decoded.drain(..).enumerate() {
            let mut seq = before + 1 + at as i64;
            if care == Care::OneByOne {
                match Self::insert_one(connection, &row.event).await {
                    Ok(newest) => (seq, state.newest) = (newest, newest),
                    Err(error) => {
                        let Verdict::Data(reason) = sort(&error) else { return Err(error) };
                        self.set_aside(connection, row.lane, row.sequence, row.body, &reason).await?;
                        stored.set_aside += 1;
                        continue;
                    }
                }
            }
            self.sums.add_event(&row.event);
            self.visits.add_event(&row.event, seq);
            stored.events += 1;
        }
        Ok(())
    }

    async fn insert_one(connection: &mut SqliteConnection, event: &EventRef<'_>) -> Result<i64, sqlx::Error> {
        let mut savepoint = connection.begin().await?;
        let mut binder = Binder::with_capacity(COLUMNS.len());
        record::bind(event, &mut binder);
        let sql = AssertSqlSafe(Arc::clone(&record::INSERTS[CHUNKS.len() - 1]));
        let done = sqlx::query_with(sql, binder.finish()?).execute(&mut *savepoint).await?;
        savepoint.commit().await?;
        Ok(done.last_insert_rowid())
    }

    async fn set_aside(
        &self,
        connection: &mut SqliteConnection,
        lane: LaneId,
        sequence: u64,
        body: &[u8],
        reason: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO set_aside VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(lane.0.to_be_bytes().to_vec())
            .bind(position(sequence)?)
            .bind(reason.to_owned())
            .bind(body.to_vec())
            .bind(self.clock.now().0)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Moves the gathered sums into their tables.
    async fn write_sums(&mut self, connection: &mut SqliteConnection, state: &mut Gathered) -> Result<(), sqlx::Error> {
        let sums = self.sums.sorted();
        in_chunks(connection, &HOURLY, HOURLY_VALUES, &sums, |(key, sum), row| {
            row.number(key.hour);
            row.number(i64::from(key.kind));
            row.number(i64::from(key.class));
            key.texts.iter().for_each(|text| row.key_text(text));
            row.number(sum.count);
            row.number(sum.last_ms);
        })
        .await?;
        closed::add_late(connection, &sums).await?;
        closed::close(connection, self.clock.now()).await?;
        let clicks = self.sums.link_clicks();
        in_chunks(connection, &LINK_CLICKS, 2, &clicks, |(link, clicks), row| {
            row.key_text(link);
            row.number(*clicks);
        })
        .await?;
        sqlx::query("UPDATE summed SET seq = ?").bind(state.newest).execute(connection).await?;
        state.summed = state.newest;
        self.sums.clear();
        Ok(())
    }
}

impl Sink for SqliteSink {
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>> {
        Box::pin(async {
            let positions = async { Self::read_positions(&mut *self.pool.acquire().await?).await };
            positions.await.map_err(|error| sort(&error).into())
        })
    }

    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move {
            let error = match self.store_all(batches, Care::ManyAtOnce).await {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            match sort(&error) {
                Verdict::Data(_) => self.store_all(batches, Care::OneByOne).await.map_err(|error| sort(&error).into()),
                verdict => Err(verdict.into()),
            }
        })
    }

    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let lane = lane.0.to_be_bytes().to_vec();
            let deleted = sqlx::query("DELETE FROM positions WHERE lane = ?").bind(lane).execute(&self.pool).await;
            deleted.map(|_| ()).map_err(|error| sort(&error).into())
        })
    }
}
