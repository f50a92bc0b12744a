//! The catalog: programs, partners, links, ads and share links, in SQL; and their way to the edge.
//!
//! **Promise.** A change is in the database, with its row in the change feed, or it is not: one transaction. Sequence
//! numbers of the feed have no gaps and are in the order of commits, because whoever writes first locks the one row that
//! gives them. The edge never waits for the catalog: a [`Follower`] copies changes into [`crate::links::Links`] and writes
//! a snapshot file, from which the edge starts when the catalog is away.
//!
//! **What it takes.** Every way in (API, import) reads items through [`entity::read`], which reports every mistake at once;
//! what an item mentions must exist: a partner's parent (which makes no cycle), a link's partner, the programs of both, an
//! ad's partner, a share link's link, partner and ad. Only `allowed` of a partner may name links that come later, since
//! links may name partners.
//!
//! **What goes.** What others refer to cannot be deleted (the error names who), because a link without its program would be
//! open to all, and a published short link would lead nowhere. `cascade` takes share links, and with a partner its ads,
//! along. History stays: events carry codes, and reports show them for ever. Whoever uses a code again continues its
//! history.
//!
//! **SQL.** One text for SQLite and PostgreSQL: `$1`, ON CONFLICT, BIGINT epoch milliseconds, SMALLINT 0/1, TEXT.
//!
//! | file | |
//! |---|---|
//! | `fields` `entity` `program` `link` `partner` `ad` `share_link` | what an item is, and how it is checked |
//! | `sheet` | items as lines of CSV |
//! | `write` `references` `bulk` | the one writer |
//! | `read` | one, a page, all |
//! | `token` | the admin token's hash |
//! | `feed` `follower` `snapshot` | the way to the edge |

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{AnyConnection, AnyPool, Connection, Executor, any::AnyPoolOptions, migrate::MigrateError};
use tokio::sync::{Notify, OnceCell};

use crate::{config::Config, core::limits::CATALOG_BUSY_TIMEOUT, io::clock::Clock};

mod ad;
mod bulk;
pub mod entity;
mod error;
mod feed;
pub mod fields;
mod follower;
mod link;
mod partner;
mod program;
mod read;
mod references;
mod share_link;
pub mod sheet;
mod snapshot;
mod token;
mod write;

#[cfg(test)]
mod tests;

pub use ad::Ad;
pub use bulk::{Bulk, Refused, Row};
pub use entity::{Entity, Kind};
pub use error::{CatalogError, Mistake};
pub use follower::{Follower, Options as FollowerOptions};
pub use link::Link;
pub use partner::Partner;
pub use program::Program;
pub use read::{ListQuery, Page};
pub use share_link::ShareLink;
pub use snapshot::SnapshotError;
pub use token::TokenState;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/catalog/migrations");

/// Name of the index's snapshot in the data folder.
pub const SNAPSHOT_FILE: &str = "links.snapshot";
/// How often, and after which pause, the schema is tried while another process is at it.
const MIGRATION_TRIES: u32 = 5;
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);
/// Connections that read.
const READERS: u32 = 4;

/// The catalog. Cheap to clone; connects when it is first asked, and again after it was away.
#[derive(Clone, Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The same as a URL.
    address: String,
    writer: AnyPool,
    readers: AnyPool,
    migrated: OnceCell<()>,
    /// A missing file may be made: not when the edge holds a snapshot of the catalog that was there.
    create: AtomicBool,
    /// Told of each commit of this process, so that its own follower need not wait for its next poll.
    committed: Notify,
    clock: Clock,
}

impl Catalog {
    /// A catalog at `sqlite:PATH`. Nothing is opened yet. With `create`, a missing file is made.
    pub fn new(url: &str, create: bool, clock: Clock) -> Result<Catalog, CatalogError> {
        sqlx::any::install_default_drivers();
        let path = url.strip_prefix("sqlite:").unwrap_or(url).trim_start_matches("//");
        let path = PathBuf::from(path.split('?').next().unwrap_or(path));
        let address = format!("sqlite:{}?mode=rw", encode(&path));
        let pool = |connections: u32, cache: &'static str| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(CATALOG_BUSY_TIMEOUT)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        connection.execute(PRAGMAS).await?;
                        connection.execute(cache).await?;
                        Ok(())
                    })
                })
                .connect_lazy(&address)
        };
        let (writer, readers) = (pool(1, WRITER_CACHE)?, pool(READERS, READER_CACHE)?);
        let (migrated, create, committed) = (OnceCell::new(), AtomicBool::new(create), Notify::new());
        let shared = Shared { path, address, writer, readers, migrated, create, committed, clock };
        Ok(Catalog { shared: Arc::new(shared) })
    }

    /// The catalog that the configuration names. A missing file is made on a first start only: where the edge has a
    /// snapshot there was a catalog, and an empty one in its place would take every link away.
    pub fn configured(config: &Config, clock: Clock) -> Result<Catalog, CatalogError> {
        Catalog::new(&config.catalog.url, !config.data.join(SNAPSHOT_FILE).exists(), clock)
    }

    /// A catalog that is there and has this version's schema.
    pub async fn open(url: &str, create: bool, clock: Clock) -> Result<Catalog, CatalogError> {
        let catalog = Catalog::new(url, create, clock)?;
        catalog.ready().await?;
        Ok(catalog)
    }

    /// Makes sure that the database is there and has this version's schema; does so once.
    pub async fn ready(&self) -> Result<(), CatalogError> {
        self.shared.migrated.get_or_try_init(|| self.migrate()).await.copied()
    }

    /// Where the catalog is, for messages.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Ends behind a commit of this process, also of one before the call that nobody has waited for yet. A hint: what
    /// others write is found by asking the feed.
    async fn committed(&self) {
        self.shared.committed.notified().await;
    }

    /// Closes all connections, so that the database is left in one file.
    pub async fn close(&self) {
        self.shared.readers.close().await;
        self.shared.writer.close().await;
    }

    async fn migrate(&self) -> Result<(), CatalogError> {
        self.make_file()?;
        // Another process may be making the same tables: then ours are there when we look again.
        let mut tries = 1..MIGRATION_TRIES;
        while let Err(error) = self.make_tables().await {
            match self.opening(error) {
                error if error.is_passing() && tries.next().is_some() => tokio::time::sleep(MIGRATION_PAUSE).await,
                error => return Err(error),
            }
        }
        let id: String = data_encoding::HEXLOWER.encode(&crate::io::random::bytes::<16>()?);
        sqlx::query("UPDATE feed SET catalog = $1 WHERE catalog = ''").bind(id).execute(&self.shared.writer).await?;
        self.shared.create.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// On a connection of its own: the pool would try again and again, and say only that it took too long.
    async fn make_tables(&self) -> Result<(), MigrateError> {
        let mut connection = AnyConnection::connect(&self.shared.address).await?;
        sqlx::raw_sql(PRAGMAS).execute(&mut connection).await?;
        let result = MIGRATIONS.run_direct(None, &mut connection, false).await;
        connection.close().await?;
        result
    }

    /// What a failed migration means.
    fn opening(&self, error: MigrateError) -> CatalogError {
        let open = |problem: String| CatalogError::Open { path: self.shared.path.clone(), problem };
        match error {
            MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) => {
                let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
                CatalogError::Newer { found, known }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                // SQLITE_READONLY and SQLITE_NOTADB; the low byte is the code, what is above it a detail.
                let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
                match code.map(|code| code & 0xff) {
                    Some(8) => open("it cannot be written: make the file and its folder writable".to_owned()),
                    Some(26) => open("it is not a SQLite database: restore it, or choose another folder".to_owned()),
                    _ => error.into(),
                }
            }
            other => open(other.to_string()),
        }
    }

    /// Makes the file and its folder where they are missing, and says plainly where it cannot.
    fn make_file(&self) -> Result<(), CatalogError> {
        let path = &self.shared.path;
        let open = |problem: String| CatalogError::Open { path: path.clone(), problem };
        if !self.shared.create.load(Ordering::Relaxed) && !path.exists() {
            return Err(CatalogError::Unavailable(format!(
                "there is no file {}: `fingerpost serve` and `fingerpost import` make it in a new data folder (--data names \
                 another one); where a catalog was, put it back, or remove {SNAPSHOT_FILE} to begin anew",
                path.display()
            )));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| open(format!("the folder cannot be made ({error}): choose another with --data")))?;
        }
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(
            |error| {
                open(format!(
                    "{error}: make the folder and the file writable for this user, or choose another with --data"
                ))
            },
        )?;
        Ok(())
    }

    async fn readers(&self) -> Result<&AnyPool, CatalogError> {
        self.ready().await?;
        Ok(&self.shared.readers)
    }

    async fn writer(&self) -> Result<&AnyPool, CatalogError> {
        self.ready().await?;
        Ok(&self.shared.writer)
    }
}

/// WAL: readers never wait for the writer. FULL: a change that was answered survives a power cut. The busy time-out is
/// [`CATALOG_BUSY_TIMEOUT`] in milliseconds.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                       PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
const _: () = assert!(CATALOG_BUSY_TIMEOUT.as_millis() == 5_000);
/// Page caches, KiB. The writer's is for imports, whose codes fall anywhere in the index; readers look at few pages.
const WRITER_CACHE: &str = "PRAGMA cache_size = -65536";
const READER_CACHE: &str = "PRAGMA cache_size = -4096";

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
