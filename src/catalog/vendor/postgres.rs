//! PostgreSQL: a server that several control planes and edges share.
//!
//! Order and comparison are as in SQLite, byte by byte: every text column gets the collation C, whatever the database has.
//! So pages of a list begin and end at the same items, and the primary keys' indexes serve them.
//!
//! A commit sends NOTIFY inside its transaction; followers LISTEN on a connection of their own. That is a hint: a listener
//! that is lost costs latency only, because the feed is polled all the same.

use std::{io, str::FromStr, time::Duration};

use sqlx::{
    AnyConnection, AssertSqlSafe, Connection, Executor, Row,
    postgres::{PgConnectOptions, PgDatabaseError, PgListener, PgPoolOptions},
};
use tokio::{sync::Notify, time::timeout};

use super::{CatalogError, ColumnType, Reference, column_type, options};
use crate::{
    config::CatalogUrl,
    core::limits::{CATALOG_BACKOFF_MAX, CATALOG_BUSY_TIMEOUT, CATALOG_SILENCE_MAX},
};

/// Whoever writes second waits [`CATALOG_BUSY_TIMEOUT`] for the feed's row, and then sees what the first one has committed
/// (read committed). The server notices within a minute that a writer's machine is gone, and lets go of its locks.
pub(super) const SETTINGS: &str = "SET lock_timeout = 5000; SET default_transaction_isolation = 'read committed'; \
     SET standard_conforming_strings = on; SET client_min_messages = warning; SET application_name = 'fingerpost'; \
     SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
const _: () = assert!(CATALOG_BUSY_TIMEOUT.as_millis() == 5_000);

const CHANNEL: &str = "fingerpost_changes";
pub(super) const HINT: &str = "NOTIFY fingerpost_changes";
/// First pause before a lost listener comes back.
const LISTEN_PAUSE: Duration = Duration::from_millis(100);
/// Of the advisory lock under which the schema is made: "fingerpo" in ASCII.
const SCHEMA_LOCK: i64 = 0x6669_6e67_6572_706f;

#[derive(Clone, Debug)]
pub(in super::super) struct Server {
    pub(super) url: CatalogUrl,
}

impl Server {
    pub(super) fn new(url: CatalogUrl) -> Server {
        Server { url }
    }

    fn open_error(&self, problem: String) -> CatalogError {
        CatalogError::Open { place: self.url.to_string(), problem }
    }

    pub(super) async fn connect(&self) -> Result<AnyConnection, CatalogError> {
        let connected = timeout(CATALOG_BUSY_TIMEOUT, async {
            let mut connection = AnyConnection::connect_with(&options(self.url.expose())?).await?;
            connection.execute(SETTINGS).await?;
            Ok(connection)
        });
        match connected.await {
            Ok(result) => result.map_err(|error| self.opening(error)),
            Err(_) => Err(CatalogError::Unavailable(format!(
                "no word from {} within {CATALOG_BUSY_TIMEOUT:?}: look at the network and the server",
                self.url
            ))),
        }
    }

    pub(super) async fn reach(&self) -> Result<(), CatalogError> {
        // Whoever answers once is there; how the connection ends does not matter.
        let _ = self.connect().await?.close().await;
        Ok(())
    }

    pub(super) async fn lock_schema(&self, connection: &mut AnyConnection, create: bool) -> Result<(), CatalogError> {
        sqlx::query("SELECT pg_advisory_lock($1)").bind(SCHEMA_LOCK).execute(&mut *connection).await?;
        let there = sqlx::query("SELECT to_regclass('feed') IS NOT NULL").fetch_one(connection).await?;
        if create || there.try_get(0)? {
            return Ok(());
        }
        Err(CatalogError::Unavailable(format!(
            "there is no catalog in {}: `fingerpost migrate`, `serve` and `import` make it from a new data folder, \
             `fingerpost catalog copy` from another catalog; where one was, restore it",
            self.url
        )))
    }

    pub(super) fn opening(&self, error: sqlx::Error) -> CatalogError {
        match &error {
            sqlx::Error::Database(refusal) => {
                let said = refusal.message().to_owned();
                match refusal.code().as_deref() {
                    Some("28P01" | "28000") => {
                        self.open_error(format!("{said}: mend user and password in catalog.url, or pg_hba.conf"))
                    }
                    Some("3D000") => {
                        self.open_error(format!("{said}: make it (`createdb`), or name another one in catalog.url"))
                    }
                    Some("42501") => self.open_error(format!(
                        "{said}: make the user the owner of its database, or GRANT CREATE ON SCHEMA public to it"
                    )),
                    Some("25006") => self.open_error(format!("{said}: name the primary server in catalog.url")),
                    _ => error.into(),
                }
            }
            sqlx::Error::Io(problem) if problem.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                self.open_error(format!("TLS: {problem}: mend sslmode and sslrootcert in catalog.url"))
            }
            sqlx::Error::Io(problem) if problem.kind() == io::ErrorKind::ConnectionRefused => {
                CatalogError::Unavailable(format!(
                    "nobody listens at {} ({problem}): start PostgreSQL, or mend catalog.url",
                    self.url
                ))
            }
            sqlx::Error::Io(problem) => CatalogError::Unavailable(format!(
                "{} cannot be reached ({problem}): start PostgreSQL, look at the network, or mend catalog.url",
                self.url
            )),
            sqlx::Error::Tls(problem) => {
                self.open_error(format!("TLS: {problem}: mend sslmode and sslrootcert in catalog.url"))
            }
            sqlx::Error::Configuration(problem) => self.open_error(format!("{problem}: mend catalog.url")),
            _ => error.into(),
        }
    }

    /// Listens, and comes back with growing pauses when that ends. Whenever it begins anew it tells of a commit: there may
    /// have been one.
    pub(super) async fn listen(&self, commits: &Notify) {
        let mut pause = LISTEN_PAUSE;
        loop {
            match self.listener().await {
                Ok(mut listener) => {
                    pause = LISTEN_PAUSE;
                    commits.notify_one();
                    let problem = hear(&mut listener, commits).await;
                    tracing::debug!(%problem, "the catalog's hints are lost; the feed is polled");
                }
                Err(problem) => tracing::debug!(%problem, "the catalog gives no hints; the feed is polled"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(CATALOG_BACKOFF_MAX);
        }
    }

    async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        let options = PgConnectOptions::from_str(self.url.expose())?.application_name("fingerpost hints");
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.acquire_timeout(CATALOG_BUSY_TIMEOUT).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

/// Passes hints on until the connection is lost. After a long silence it asks whether the other end is still there.
async fn hear(listener: &mut PgListener, commits: &Notify) -> sqlx::Error {
    loop {
        match timeout(CATALOG_SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(_))) => commits.notify_one(),
            Ok(Ok(None)) => return sqlx::Error::Io(io::ErrorKind::ConnectionAborted.into()),
            Ok(Err(error)) => return error,
            Err(_) => match timeout(CATALOG_BUSY_TIMEOUT, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return sqlx::Error::Io(io::ErrorKind::TimedOut.into()),
            },
        }
    }
}

/// Sorts by SQLSTATE (PostgreSQL, appendix A): lock_not_available, serialization_failure and deadlock_detected pass when the
/// other one is through. Everything else is the server's trouble.
pub(super) fn sort(error: &PgDatabaseError) -> Option<CatalogError> {
    match error.code() {
        "55P03" | "40001" | "40P01" => Some(CatalogError::Busy),
        _ => None,
    }
}

/// Gives every text column the collation C. Needs no time: where it is not so the tables are new.
pub(super) async fn finish_schema(connection: &mut AnyConnection, tables: &[&str]) -> Result<(), CatalogError> {
    const ALTERS: &str = "SELECT format('ALTER TABLE %I ', $1) || \
         string_agg(format('ALTER COLUMN %I TYPE TEXT COLLATE \"C\"', attname), ', ') \
         FROM pg_attribute WHERE attrelid = to_regclass($1) AND atttypid = 'text'::regtype AND attnum > 0 \
         AND NOT attisdropped AND attcollation <> '\"C\"'::regcollation";
    for table in tables {
        let row = sqlx::query(ALTERS).bind((*table).to_owned()).fetch_one(&mut *connection).await?;
        if let Some(alter) = row.try_get::<Option<String>, _>(0)? {
            sqlx::raw_sql(AssertSqlSafe(alter)).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

pub(super) async fn columns(
    connection: &mut AnyConnection,
    table: &str,
) -> Result<Vec<(String, ColumnType)>, CatalogError> {
    let sql = "SELECT attname::text COLLATE \"C\", format_type(atttypid, NULL) FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY 1";
    let rows = sqlx::query(sql).bind(table.to_owned()).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let kind = column_type(table, &name, &kind)?;
            Ok((name, kind))
        })
        .collect()
}

/// Tables, not only the rows of feed and outbox: log-ins, mails, pages and deliveries are written without them. SHARE keeps
/// writers out, EXCLUSIVE also those that lock rows. Most writers take the feed or the outbox first, others a younger table
/// before an older one: in the same order nobody waits for somebody who waits for us. A writer that goes another way ends for a deadlock, as
/// [`CatalogError::Busy`], or this does.
pub(super) fn lock_tables(tables: &[&str], writes: bool) -> Vec<String> {
    const FIRST: [&str; 2] = ["feed", "outbox_head"];
    let mode = if writes { "EXCLUSIVE" } else { "SHARE" };
    let others = tables.iter().rev().filter(|table| !FIRST.contains(table));
    FIRST.iter().chain(others).map(|table| format!("LOCK TABLE {table} IN {mode} MODE")).collect()
}

/// Each is dropped and made again, which looks at all rows at once; that is also much faster than row by row.
pub(super) async fn references(
    connection: &mut AnyConnection,
    tables: &[&str],
) -> Result<Vec<Reference>, CatalogError> {
    let sql = "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname), \
               format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) \
               FROM pg_constraint WHERE contype = 'f' AND conrelid = to_regclass($1)";
    let mut references = Vec::new();
    for table in tables {
        for row in sqlx::query(sql).bind((*table).to_owned()).fetch_all(&mut *connection).await? {
            references.push(Reference { drop: row.try_get(0)?, add: row.try_get(1)? });
        }
    }
    Ok(references)
}
