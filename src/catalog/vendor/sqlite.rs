//! SQLite: one file, one writer.

use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row, error::DatabaseError};

use super::{super::SNAPSHOT_FILE, CatalogError, ColumnType, Reference, column_type, options};
use crate::core::limits::CATALOG_BUSY_TIMEOUT;

/// WAL: readers never wait for the writer. FULL: a change that was answered survives a power cut. The busy time-out is
/// [`CATALOG_BUSY_TIMEOUT`] in milliseconds.
pub(super) const SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                                   PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
const _: () = assert!(CATALOG_BUSY_TIMEOUT.as_millis() == 5_000);
/// Page caches, KiB. The writer's is for imports, whose codes fall anywhere in the index; readers look at few pages.
pub(super) const WRITER_CACHE: &str = "PRAGMA cache_size = -65536";
pub(super) const READER_CACHE: &str = "PRAGMA cache_size = -4096";

/// Whoever has written holds the file's one write lock until its transaction ends.
pub(super) const LOCK: &str = "UPDATE feed SET next = next WHERE one = 1";

#[derive(Clone, Debug)]
pub(in super::super) struct File {
    pub(super) path: PathBuf,
    /// The same as a URL.
    pub(super) address: String,
}

impl File {
    pub(super) fn new(path: PathBuf) -> File {
        let address = format!("sqlite:{}?mode=rw", encode(&path));
        File { path, address }
    }

    fn open_error(&self, problem: String) -> CatalogError {
        CatalogError::Open { place: self.path.display().to_string(), problem }
    }

    pub(super) async fn connect(&self, create: bool) -> Result<AnyConnection, CatalogError> {
        self.make(create)?;
        let connected = AnyConnection::connect_with(&options(&self.address)?).await;
        let mut connection = connected.map_err(|error| self.opening(error))?;
        connection.execute(SETTINGS).await.map_err(|error| self.opening(error))?;
        Ok(connection)
    }

    /// Makes the file and its folder where they are missing, and says plainly where it cannot.
    fn make(&self, create: bool) -> Result<(), CatalogError> {
        let path = &self.path;
        if !create && !path.exists() {
            return Err(CatalogError::Unavailable(format!(
                "there is no file {}: `fingerpost serve` and `fingerpost import` make it in a new data folder (--data names \
                 another one); where a catalog was, put it back, or remove {SNAPSHOT_FILE} to begin anew",
                path.display()
            )));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                self.open_error(format!("the folder cannot be made ({error}): choose another with --data"))
            })?;
        }
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(
            |error| {
                self.open_error(format!(
                    "{error}: make the folder and the file writable for this user, or choose another with --data"
                ))
            },
        )?;
        Ok(())
    }

    /// SQLITE_READONLY and SQLITE_NOTADB are said plainly; the low byte is the code, what is above it a detail.
    pub(super) fn opening(&self, error: sqlx::Error) -> CatalogError {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            Some(8) => self.open_error("it cannot be written: make the file and its folder writable".to_owned()),
            Some(26) => self.open_error("it is not a SQLite database: restore it, or choose another folder".to_owned()),
            _ => error.into(),
        }
    }
}

/// SQLITE_BUSY and its extended forms, and SQLITE_LOCKED.
pub(super) fn sort(error: &dyn DatabaseError) -> Option<CatalogError> {
    error.code().is_some_and(|code| matches!(&*code, "5" | "261" | "517" | "6")).then_some(CatalogError::Busy)
}

/// Tables whose rows are found by their whole key: in SQLite they stand in its order, in one tree where there would be two. PostgreSQL
/// does not know these words.
const IN_ORDER: [&str; 4] = ["referral_figures", "record_people", "record_money", "record_days"];

/// Behind the migrations: makes the tables anew that are to stand in the order of their keys. They are empty when that happens, but for
/// a table that was kept by somebody else.
pub(super) async fn finish_schema(connection: &mut AnyConnection) -> Result<(), CatalogError> {
    for table in IN_ORDER {
        let sql = "SELECT sql FROM sqlite_master WHERE name = $1 AND sql NOT LIKE '%WITHOUT ROWID'";
        let Some(row) = sqlx::query(sql).bind(table).fetch_optional(&mut *connection).await? else { continue };
        let text: String = row.try_get(0)?;
        let sql = format!(
            "BEGIN IMMEDIATE; ALTER TABLE {table} RENAME TO out_of_order; {text} WITHOUT ROWID; \
             INSERT INTO {table} SELECT * FROM out_of_order; DROP TABLE out_of_order; COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn columns(
    connection: &mut AnyConnection,
    table: &str,
) -> Result<Vec<(String, ColumnType)>, CatalogError> {
    let sql = format!("SELECT name, type FROM pragma_table_info('{table}') ORDER BY name");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let kind = column_type(table, &name, &kind)?;
            Ok((name, kind))
        })
        .collect()
}

/// All at once are looked at when the transaction commits.
pub(super) fn references() -> Vec<Reference> {
    vec![Reference { drop: "PRAGMA defer_foreign_keys = ON".to_owned(), add: String::new() }]
}

/// The path as it stands in a URL.
fn encode(path: &Path) -> String {
    let mut encoded = Vec::new();
    for part in path.to_string_lossy().split_inclusive('/') {
        let (name, slash) = part.strip_suffix('/').map_or((part, ""), |name| (name, "/"));
        crate::core::percent::encode(name.as_bytes(), &mut encoded);
        encoded.extend_from_slice(slash.as_bytes());
    }
    String::from_utf8_lossy(&encoded).into_owned()
}
