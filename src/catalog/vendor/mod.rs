//! What SQLite and PostgreSQL do not have in common: how each is opened, set up, asked for its tables, and what its errors
//! mean. Everything else of the catalog is one text for both.

use std::str::FromStr;

use sqlx::{AnyConnection, ConnectOptions, any::AnyConnectOptions, error::DatabaseError, postgres::PgDatabaseError};
use tokio::sync::Notify;

use super::CatalogError;
use crate::{
    config::CatalogUrl,
    core::limits::{BULK_CHANGES, BULK_CHANGES_REMOTE, BULK_ROWS, BULK_ROWS_REMOTE},
};

mod postgres;
mod sqlite;

use postgres::Server;
use sqlite::File;

/// Whose database it is, and where.
#[derive(Clone, Debug)]
pub(super) enum Vendor {
    Sqlite(File),
    Postgres(Server),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Integer,
}

/// A reference from one table to another, which can be taken away and made again.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) drop: String,
    pub(super) add: String,
}

impl Vendor {
    pub(super) fn new(url: &CatalogUrl) -> Vendor {
        match url.sqlite_path() {
            Some(path) => Vendor::Sqlite(File::new(path)),
            None => Vendor::Postgres(Server::new(url.clone())),
        }
    }

    /// Where it is, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Vendor::Sqlite(file) => file.path.display().to_string(),
            Vendor::Postgres(server) => server.url.to_string(),
        }
    }

    /// What the driver connects to. Holds a password, which its `Debug` shows.
    pub(super) fn options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        match self {
            Vendor::Sqlite(file) => options(&file.address),
            Vendor::Postgres(server) => options(server.url.expose()),
        }
    }

    /// SQL that sets up a connection.
    pub(super) const fn settings(&self) -> &'static str {
        match self {
            Vendor::Sqlite(_) => sqlite::SETTINGS,
            Vendor::Postgres(_) => postgres::SETTINGS,
        }
    }

    /// The same, besides, for one that writes or for one that reads.
    pub(super) const fn cache(&self, writes: bool) -> &'static str {
        match (self, writes) {
            (Vendor::Sqlite(_), true) => sqlite::WRITER_CACHE,
            (Vendor::Sqlite(_), false) => sqlite::READER_CACHE,
            (Vendor::Postgres(_), _) => "",
        }
    }

    /// Begins a transaction of which all statements see the same.
    pub(super) const fn begin_reading(&self) -> &'static str {
        match self {
            Vendor::Sqlite(_) => "BEGIN",
            Vendor::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The first statements of a transaction beside which nobody else writes to any of these tables; with `writes` it will itself.
    pub(super) fn lock_tables(&self, tables: &[&str], writes: bool) -> Vec<String> {
        match self {
            Vendor::Sqlite(_) => vec![sqlite::LOCK.to_owned()],
            Vendor::Postgres(_) => postgres::lock_tables(tables, writes),
        }
    }

    /// The last statement of a transaction that changes something: wakes the followers of other processes.
    pub(super) const fn hint(&self) -> Option<&'static str> {
        match self {
            Vendor::Sqlite(_) => None,
            Vendor::Postgres(_) => Some(postgres::HINT),
        }
    }

    /// Whether a connection may be gone without a word: it is asked before each use.
    pub(super) const fn can_be_lost(&self) -> bool {
        matches!(self, Vendor::Postgres(_))
    }

    /// Whether several statements with parameters go in one text.
    pub(super) const fn takes_several(&self) -> bool {
        matches!(self, Vendor::Sqlite(_))
    }

    /// Items, and rows of the change feed, in one statement.
    pub(super) const fn bulk(&self) -> (usize, usize) {
        match self {
            Vendor::Sqlite(_) => (BULK_ROWS, BULK_CHANGES),
            Vendor::Postgres(_) => (BULK_ROWS_REMOTE, BULK_CHANGES_REMOTE),
        }
    }

    /// A connection of its own. The pool would try again and again, and say only that it took too long.
    pub(super) async fn connect(&self, create: bool) -> Result<AnyConnection, CatalogError> {
        match self {
            Vendor::Sqlite(file) => file.connect(create).await,
            Vendor::Postgres(server) => server.connect().await,
        }
    }

    /// Whether there is somebody to talk to, as far as that takes asking.
    pub(super) async fn reach(&self) -> Result<(), CatalogError> {
        match self {
            Vendor::Sqlite(_) => Ok(()),
            Vendor::Postgres(server) => server.reach().await,
        }
    }

    /// Asks for 1 where the table of applied migrations is there, and for 0 where it is not.
    pub(super) const fn has_versions(&self) -> &'static str {
        match self {
            Vendor::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Vendor::Postgres(_) => {
                "SELECT CAST(count(*) AS BIGINT) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')"
            }
        }
    }

    /// Before the migrations: others wait until this connection ends. Without `create`, a place without a catalog is an error.
    pub(super) async fn lock_schema(&self, connection: &mut AnyConnection, create: bool) -> Result<(), CatalogError> {
        match self {
            Vendor::Sqlite(_) => Ok(()),
            Vendor::Postgres(server) => server.lock_schema(connection, create).await,
        }
    }

    /// Behind the migrations: what their common text cannot say.
    pub(super) async fn finish_schema(
        &self,
        connection: &mut AnyConnection,
        tables: &[&str],
    ) -> Result<(), CatalogError> {
        match self {
            Vendor::Sqlite(_) => sqlite::finish_schema(connection).await,
            Vendor::Postgres(_) => postgres::finish_schema(connection, tables).await,
        }
    }

    /// What it means that no connection was made, or that the schema was not.
    pub(super) fn opening(&self, error: sqlx::Error) -> CatalogError {
        match self {
            Vendor::Sqlite(file) => file.opening(error),
            Vendor::Postgres(server) => server.opening(error),
        }
    }

    /// Tells `commits` what it hears of commits by others. Does not end.
    pub(super) async fn listen(&self, commits: &Notify) {
        match self {
            Vendor::Sqlite(_) => std::future::pending().await,
            Vendor::Postgres(server) => server.listen(commits).await,
        }
    }

    /// Names and types of a table's columns, in the order of names.
    pub(super) async fn columns(
        &self,
        connection: &mut AnyConnection,
        table: &str,
    ) -> Result<Vec<(String, ColumnType)>, CatalogError> {
        match self {
            Vendor::Sqlite(_) => sqlite::columns(connection, table).await,
            Vendor::Postgres(_) => postgres::columns(connection, table).await,
        }
    }

    /// The references between tables that stand in the way of a copy in any order.
    pub(super) async fn references(
        &self,
        connection: &mut AnyConnection,
        tables: &[&str],
    ) -> Result<Vec<Reference>, CatalogError> {
        match self {
            Vendor::Sqlite(_) => Ok(sqlite::references()),
            Vendor::Postgres(_) => postgres::references(connection, tables).await,
        }
    }
}

/// Without the driver's log of slow statements: one that waits for another writer is not slow, and an import's are very long.
fn options(address: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    Ok(AnyConnectOptions::from_str(address)?.disable_statement_logging())
}

/// What a database's error means in the middle of work.
pub(super) fn sort(error: &dyn DatabaseError) -> Option<CatalogError> {
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => postgres::sort(error),
        None => sqlite::sort(error),
    }
}

/// A type as a migration names it.
fn column_type(table: &str, column: &str, name: &str) -> Result<ColumnType, CatalogError> {
    match name.to_ascii_lowercase().as_str() {
        "text" => Ok(ColumnType::Text),
        "bigint" | "smallint" => Ok(ColumnType::Integer),
        other => Err(CatalogError::Corrupt(format!(
            "{table}.{column} has the type {other}, which no migration of ours makes"
        ))),
    }
}
