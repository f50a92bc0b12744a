//! `DATA/events.db`: rows, hourly sums and journal positions in one SQLite file.
//!
//! **Promise:** a batch's rows and its lanes' positions are committed in one transaction, on the disk
//! (`synchronous = FULL`) before the sink says so, because the journal deletes its segments on that word. Records below a
//! lane's stored position are skipped, inside the same transaction: a pump that was resumed wrongly, or two processes
//! during an upgrade, cannot count twice.
//!
//! **Sums** are exact at any moment, but not all of them are written at any moment. `hourly` holds the events up to
//! `summed.seq`; the view `reach` adds the younger ones (at most [`SUMS_LAG_MAX_EVENTS`]) from their rows. The sink
//! gathers these in memory and writes them together, with the new `summed.seq`, in the transaction of a batch: writing
//! them with every batch costs twice as much where links are many (`benches/sink.rs`). A sink that finds that rows or
//! sums are not as it left them (a restart, another process) gathers anew from the rows.
//!
//! | file | what |
//! |---|---|
//! | `migrations/` | the schema, for analysts too: `event_log`, `reach`, `missing` are views to ask |
//! | `record.rs` | an event to a row and back |
//! | `sums.rs` | the sums that are not written yet |
//! | `closed.rs` | coarse sums of days that are over |
//! | `visits.rs` | where the touches of a visitor stand |
//! | `sink.rs` | writing |
//! | `reports.rs` | reading |
//! | `source.rs` | where the sums for a question stand |
//! | `touches.rs` | the touches of visitors, and what arrived |
//! | `keep.rs` | forgetting |
//! | `error.rs` | which errors are worth another try |
//!
//! [`SUMS_LAG_MAX_EVENTS`]: crate::core::limits::SUMS_LAG_MAX_EVENTS

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};

mod closed;
mod error;
mod keep;
mod lazy;
mod record;
mod reports;
mod sink;
mod source;
mod sums;
#[cfg(test)]
mod tests;
mod touches;
mod visits;

pub use keep::SqliteKeeper;
pub use lazy::{LazyReports, LazySink};
pub use reports::SqliteReports;
pub use sink::SqliteSink;

/// The file's name in the data folder.
pub const FILE: &str = "events.db";

/// Bytes. Measured with sums of many links: 16 KiB writes a third less time than 4 KiB, as neighbours share a page.
const PAGE_BYTES: u32 = 16 * 1024;
/// KiB, negative as SQLite wants it: the pages that sums of the current hour live in.
const WRITER_CACHE: &str = "-65536";
const READER_CACHE: &str = "-16384";
/// Bytes that the write-ahead log keeps after a checkpoint.
const LOG_KEPT_BYTES: &str = "67108864";
/// Another process may hold the file for one batch and a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions answered at the same time.
const READERS: u32 = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/sqlite/migrations");
/// Sink and keeper of one process open the file at about the same time. Switching a new file to WAL is what no time-out waits for.
static OPENING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The one connection that writes; makes the file and brings its tables up to date.
async fn writer(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let _one_at_a_time = OPENING.lock().await;
    let pool = connect(path).await?;
    migrate(&pool).await?;
    Ok(pool)
}

async fn connect(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("journal_size_limit", LOG_KEPT_BYTES)
        .thread_name(|_| "events-writer".to_owned())
        .disable_statement_logging();
    // A ping before each use would be one more thread switch a batch.
    SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await
}

/// sqlx takes no lock for SQLite: two who begin at once would both make the same tables. So whoever migrates is the one who writes
/// from its beginning, and who comes meanwhile, also another process, waits and finds everything done.
async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    use sqlx::migrate::MigrateError;
    let mut transaction = sink::in_write(pool).await?;
    MIGRATIONS.run_direct(None, &mut *transaction, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        error => error.into(),
    })?;
    transaction.commit().await
}

/// Connections that cannot write; they see whole transactions only, and hold up nobody.
async fn readers(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", READER_CACHE)
        .thread_name(|_| "events-reader".to_owned())
        .disable_statement_logging();
    SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await
}
