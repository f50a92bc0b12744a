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
//! **SQL.** One text for SQLite and PostgreSQL: `$1`, ON CONFLICT, BIGINT epoch milliseconds, SMALLINT 0/1, TEXT. What the
//! two do not have in common stands in `vendor`.
//!
//! | file | |
//! |---|---|
//! | `fields` `entity` `program` `link` `partner` `ad` `share_link` | what an item is, and how it is checked |
//! | `sheet` | items as lines of CSV |
//! | `write` `trip` `references` `bulk` | the one writer |
//! | `read` | one, a page, all |
//! | `record` | people, what is told about them, and what followed |
//! | `inbound` `uploads` | doors for webhooks of others; files of facts that are worked off |
//! | `token` `logins` | the admin token's hash; mailed codes and sessions |
//! | `pages` `joining` | how programs' pages look; partners who join by themselves |
//! | `schema` `vendor` | migrations; SQLite and PostgreSQL |
//! | `copy` | from one database to another |
//! | `feed` `follower` `snapshot` | the way to the edge |
//! | `outbox` | what was decided, on its way to journal, webhooks and mail |
//! | `webhooks` `mails` | where it goes outside, and what became of it |
//! | `audit` `persons` | who changed what; a person, told and erased |
//! | `retention` | what is kept for a time only |

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
};

use sqlx::{
    Any, AnyPool, Executor, Transaction,
    any::{AnyArguments, AnyPoolOptions, AnyRow},
    pool::PoolConnection,
    query::Query,
};
use tokio::{
    sync::{Mutex, Notify, OnceCell, watch},
    time::timeout,
};

use crate::{
    config::{CatalogUrl, Config},
    core::limits::{CATALOG_ANSWER_TIMEOUT, CATALOG_BUSY_TIMEOUT, CATALOG_PATIENCE},
    io::clock::Clock,
};
use record::group::Turn;
use vendor::Vendor;

mod ad;
pub mod audit;
mod bulk;
mod copy;
pub mod entity;
mod error;
mod feed;
pub mod fields;
mod follower;
pub mod inbound;
pub mod joining;
mod link;
pub mod logins;
pub mod mails;
pub mod outbox;
pub mod pages;
mod partner;
pub mod persons;
mod program;
mod read;
pub mod record;
mod references;
pub mod retention;
mod schema;
mod share_link;
pub mod sheet;
mod snapshot;
mod token;
mod trip;
pub mod uploads;
mod vendor;
pub mod webhooks;
mod write;

#[cfg(test)]
mod tests;

pub use ad::Ad;
pub use bulk::{Bulk, Refused, Row};
pub use copy::{Copied, CopyError, Progress};
pub use entity::{Entity, Kind};
pub use error::{CatalogError, Mistake};
pub use follower::{Follower, Options as FollowerOptions};
pub use link::Link;
pub use partner::Partner;
pub use program::Program;
pub use read::{ListQuery, Page};
pub use schema::version as schema_version;
pub use share_link::ShareLink;
pub use snapshot::SnapshotError;
pub use token::TokenState;

/// Name of the index's snapshot in the data folder.
pub const SNAPSHOT_FILE: &str = "links.snapshot";
/// Connections that read.
const READERS: u32 = 4;

/// The catalog. Cheap to clone; connects when it is first asked, and again after it was away.
#[derive(Clone, Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vendor: Vendor,
    writer: AnyPool,
    readers: AnyPool,
    migrated: OnceCell<()>,
    /// A missing catalog may be made: not when the edge holds a snapshot of the one that was there.
    create: AtomicBool,
    /// Told of each change that this process commits, and of others where they say so: the follower need not wait for its
    /// next poll.
    committed: Notify,
    /// Number of the last entry of the outbox that this process has committed: wakes who takes them.
    told: watch::Sender<u64>,
    /// Of which the processes that write here are one node.
    data: Option<PathBuf>,
    node: OnceLock<String>,
    /// Facts that share a transaction.
    turn: Turn,
    /// Recordings that have begun.
    begun: AtomicU64,
    /// Held by who asks whether the database is there.
    asking: Mutex<()>,
    clock: Clock,
}

impl Catalog {
    /// A catalog at `sqlite:PATH` or `postgres://…`. Nothing is opened yet. With `create`, a missing one is made.
    pub fn new(url: &str, create: bool, clock: Clock) -> Result<Catalog, CatalogError> {
        let url = CatalogUrl::parse(url)
            .map_err(|problem| CatalogError::Open { place: "the given URL".to_owned(), problem })?;
        Catalog::at(&url, create, clock, None)
    }

    fn at(url: &CatalogUrl, create: bool, clock: Clock, data: Option<&Path>) -> Result<Catalog, CatalogError> {
        sqlx::any::install_default_drivers();
        let vendor = Vendor::new(url);
        let options = vendor.options().map_err(|error| vendor.opening(error))?;
        let pool = |connections: u32, cache: &'static str| {
            let settings = vendor.settings();
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(CATALOG_BUSY_TIMEOUT)
                .test_before_acquire(vendor.can_be_lost())
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        connection.execute(settings).await?;
                        connection.execute(cache).await?;
                        Ok(())
                    })
                })
                .connect_lazy_with(options.clone())
        };
        let (writer, readers) = (pool(1, vendor.cache(true)), pool(READERS, vendor.cache(false)));
        let (migrated, create, committed) = (OnceCell::new(), AtomicBool::new(create), Notify::new());
        let (told, _) = watch::channel(0);
        let shared = Shared {
            vendor,
            writer,
            readers,
            migrated,
            create,
            committed,
            told,
            data: data.map(Path::to_path_buf),
            node: OnceLock::new(),
            turn: Turn::default(),
            begun: AtomicU64::new(0),
            asking: Mutex::new(()),
            clock,
        };
        Ok(Catalog { shared: Arc::new(shared) })
    }

    /// The catalog that the configuration names. A missing one is made on a first start only: where the edge has a
    /// snapshot there was a catalog, and an empty one in its place would take every link away.
    pub fn configured(config: &Config, clock: Clock) -> Result<Catalog, CatalogError> {
        Catalog::at(&config.catalog.url, !config.data.join(SNAPSHOT_FILE).exists(), clock, Some(&config.data))
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

    /// Where the catalog is, for messages: without a password.
    pub fn place(&self) -> String {
        self.shared.vendor.place()
    }

    /// Ends behind a change that this process commits, also behind one before the call that nobody has waited for yet; and,
    /// where there are hints and somebody [listens](Catalog::listen), behind a commit of others. What is written is found by
    /// asking the feed in any case.
    async fn committed(&self) {
        self.shared.committed.notified().await;
    }

    /// Takes hints of what others commit, as long as it is polled. Does not end.
    async fn listen(&self) {
        self.shared.vendor.listen(&self.shared.committed).await;
    }

    /// Closes all connections, so that a SQLite database is left in one file.
    pub async fn close(&self) {
        self.shared.readers.close().await;
        self.shared.writer.close().await;
    }

    /// All rows that a query finds.
    async fn rows(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>, CatalogError> {
        let mut connection = self.reader().await?;
        if let Ok(rows) = timeout(CATALOG_ANSWER_TIMEOUT, query.fetch_all(&mut *connection)).await {
            return Ok(rows?);
        }
        connection.close_on_drop();
        Err(no_answer())
    }

    async fn reader(&self) -> Result<PoolConnection<Any>, CatalogError> {
        self.ask_pool(&self.shared.readers, self.shared.readers.acquire()).await
    }

    /// Begins the one transaction of this process that writes.
    async fn writing(&self) -> Result<Transaction<'static, Any>, CatalogError> {
        self.ask_pool(&self.shared.writer, self.shared.writer.begin()).await
    }

    /// A pool that cannot connect tries until its time-out, and then says only that it took too long. So somebody has to
    /// answer before an empty one is asked, and when it takes long; a time-out means busy only where somebody does.
    async fn ask_pool<T>(
        &self,
        pool: &AnyPool,
        take: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, CatalogError> {
        self.ready().await?;
        let vendor = &self.shared.vendor;
        if pool.size() == 0 {
            vendor.reach().await?;
        }
        let mut take = std::pin::pin!(take);
        let taken = match timeout(CATALOG_PATIENCE, &mut take).await {
            Ok(taken) => taken,
            Err(_) => {
                // One asks for all who wait: a server that is merely busy is not to be flooded.
                if let Ok(_one) = self.shared.asking.try_lock() {
                    vendor.reach().await?;
                }
                take.await
            }
        };
        match taken {
            Err(sqlx::Error::PoolTimedOut) => {
                vendor.reach().await?;
                Err(CatalogError::Busy)
            }
            other => other.map_err(|error| vendor.opening(error)),
        }
    }
}

/// A connection whose other end is gone without a word says nothing for ever.
fn no_answer() -> CatalogError {
    CatalogError::Unavailable(format!("no answer within {CATALOG_ANSWER_TIMEOUT:?}"))
}
