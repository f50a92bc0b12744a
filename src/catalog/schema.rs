//! The schema: made and brought up to date by the migrations, once a process, by one process at a time.

use std::{
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

use sqlx::{AnyConnection, Connection, Row, migrate::MigrateError};

use super::{Catalog, CatalogError};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/catalog/migrations");

/// How often, and after which pause, the schema is tried while another process is at it.
const MIGRATION_TRIES: u32 = 5;
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);

/// The version that this program works with.
pub fn version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The tables that the migrations make and leave, in that order.
pub(super) fn tables() -> &'static [&'static str] {
    static TABLES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let dropped = behind("DROP TABLE ");
        behind("CREATE TABLE ").into_iter().filter(|table| !dropped.contains(table)).collect()
    });
    &TABLES
}

/// Those that have rows from the beginning.
pub(super) fn seeded() -> &'static [&'static str] {
    static SEEDED: LazyLock<Vec<&'static str>> = LazyLock::new(|| behind("INSERT INTO "));
    &SEEDED
}

/// The names behind these words where they begin a line.
fn behind(words: &str) -> Vec<&'static str> {
    let lines = MIGRATIONS.iter().flat_map(|migration| migration.sql.as_str().lines());
    lines.filter_map(|line| line.strip_prefix(words)?.split([' ', '(', ';']).next()).collect()
}

impl Catalog {
    /// What [`ready`](Catalog::ready) would do to the schema, in words and in its order. Changes nothing.
    pub async fn pending(&self) -> Result<Vec<String>, CatalogError> {
        let create = self.shared.create.load(Ordering::Relaxed);
        let mut connection = self.shared.vendor.connect(false).await?;
        let applied = self.applied(&mut connection, create).await;
        let _ = connection.close().await;
        let applied = applied?;
        if let Some(found) = applied.iter().copied().filter(|applied| *applied > version()).max() {
            return Err(CatalogError::Newer { found, known: version() });
        }
        let missing = MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version));
        Ok(missing.map(|one| format!("apply version {} ({})", one.version, one.description)).collect())
    }

    /// Versions that the database has.
    async fn applied(&self, connection: &mut AnyConnection, create: bool) -> Result<Vec<i64>, CatalogError> {
        let vendor = &self.shared.vendor;
        vendor.lock_schema(connection, create).await?;
        let there = sqlx::query(vendor.has_versions()).fetch_one(&mut *connection).await?;
        if there.try_get::<i64, _>(0)? == 0 {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT version FROM _sqlx_migrations ORDER BY version").fetch_all(connection).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) async fn migrate(&self) -> Result<(), CatalogError> {
        let create = self.shared.create.load(Ordering::Relaxed);
        let mut tries = 1..MIGRATION_TRIES;
        loop {
            let error = match self.shared.vendor.connect(create).await {
                Ok(connection) => match self.make_tables(connection, create).await {
                    Ok(()) => break,
                    // Another process may be making the same tables: then ours are there when we look again.
                    Err(error) if error.is_passing() => error,
                    Err(error) => return Err(error),
                },
                Err(CatalogError::Busy) => CatalogError::Busy,
                Err(error) => return Err(error),
            };
            if tries.next().is_none() {
                return Err(error);
            }
            tokio::time::sleep(MIGRATION_PAUSE).await;
        }
        self.shared.create.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn make_tables(&self, mut connection: AnyConnection, create: bool) -> Result<(), CatalogError> {
        let result = self.make_tables_over(&mut connection, create).await;
        // Lets go of the lock in any case.
        let _ = connection.close().await;
        result
    }

    async fn make_tables_over(&self, connection: &mut AnyConnection, create: bool) -> Result<(), CatalogError> {
        let vendor = &self.shared.vendor;
        vendor.lock_schema(connection, create).await?;
        MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| self.opening(error))?;
        vendor.finish_schema(connection, tables()).await?;
        let id: String = data_encoding::HEXLOWER.encode(&crate::io::random::bytes::<16>()?);
        sqlx::query("UPDATE feed SET catalog = $1 WHERE catalog = ''").bind(id).execute(connection).await?;
        Ok(())
    }

    /// What a failed migration means.
    fn opening(&self, error: MigrateError) -> CatalogError {
        match error {
            MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) => {
                CatalogError::Newer { found, known: version() }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                self.shared.vendor.opening(error)
            }
            other => CatalogError::Open { place: self.place(), problem: other.to_string() },
        }
    }
}
