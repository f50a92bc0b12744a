//! The catalog as its users see it: each test has one of its own, and runs on SQLite and on PostgreSQL.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::core::time::Millis;
use server::Place;

mod on_postgres;
mod on_sqlite;
mod restore;
mod server;
mod snapshot;

/// 2026-03-01T12:00:00Z.
const NOON: Millis = Millis(1_772_366_400_000);

/// Where the catalog of a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

struct Fixture {
    folder: TempDir,
    backend: Backend,
    url: Place,
    catalog: Catalog,
    clock: Clock,
}

impl Fixture {
    /// A place where no catalog is yet.
    async fn nowhere(backend: Backend) -> Fixture {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOON));
        let url = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("catalog.db").display()),
            Backend::Postgres => server::database(None).await,
        };
        let catalog = Catalog::new(&url, false, clock.clone()).unwrap();
        Fixture { folder, backend, url: Place(url), catalog, clock }
    }

    async fn new(backend: Backend) -> Fixture {
        let nowhere = Fixture::nowhere(backend).await;
        let catalog = nowhere.open(true).await.unwrap();
        Fixture { catalog, ..nowhere }
    }

    /// The small catalog that most tests start from.
    async fn spring(backend: Backend) -> Fixture {
        let fixture = Fixture::new(backend).await;
        fixture.put::<Program>(json!({"code": "spring"})).await;
        fixture.put::<Partner>(json!({"code": "abc123", "programs": ["spring"]})).await;
        fixture.put::<Link>(json!({"code": "haircare", "address": "https://shop.example/haircare"})).await;
        fixture.put::<Ad>(json!({"partner": "abc123", "code": "website2"})).await;
        fixture
    }

    /// The catalog at the same place, as another process has it.
    async fn open(&self, create: bool) -> Result<Catalog, CatalogError> {
        Catalog::open(&self.url, create, self.clock.clone()).await
    }

    async fn try_put<T: Entity>(&self, item: Value) -> Result<(T, bool), CatalogError> {
        self.catalog.put(read_json::<T>(item).map_err(CatalogError::Invalid)?).await
    }

    async fn put<T: Entity>(&self, item: Value) -> T {
        self.try_put(item).await.unwrap().0
    }

    async fn share(&self, item: Value) -> (ShareLink, bool) {
        self.catalog.share(read_json(item).unwrap()).await.unwrap()
    }

    fn options(&self) -> FollowerOptions {
        FollowerOptions {
            poll_interval: std::time::Duration::from_millis(5),
            snapshot_interval: std::time::Duration::from_secs(3_600),
            snapshot_file: self.folder.path().join(SNAPSHOT_FILE),
        }
    }
}

fn read_json<T: Entity>(item: Value) -> Result<T, Vec<Mistake>> {
    let Value::Object(object) = item else { panic!("an object is needed") };
    entity::from_json(object)
}

/// The fields that are wrong.
fn wrong<T: Entity>(item: Value) -> Vec<String> {
    read_json::<T>(item).unwrap_err().into_iter().map(|mistake| mistake.field).collect()
}

async fn import<T: Entity>(fixture: &Fixture, items: &[Value]) -> (Bulk<T, ()>, Vec<(u64, String)>) {
    let mut bulk = Bulk::<T, ()>::begin(&fixture.catalog).await.unwrap();
    let mut refused = Vec::new();
    for (rows, at) in items.chunks(2).zip(0u64..) {
        let rows = rows.iter().zip(0..).map(|(item, n)| Row {
            line: 2 + 2 * at + n,
            item: read_json::<T>(item.clone()).unwrap(),
            cargo: (),
        });
        refused.extend(bulk.add(rows.collect()).await.unwrap());
    }
    refused.extend(bulk.settle().await.unwrap());
    let mut refused: Vec<_> = refused.into_iter().map(|r| (r.line, r.mistakes[0].field.clone())).collect();
    refused.sort();
    (bulk, refused)
}
