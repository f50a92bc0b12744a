//! The catalog as its users see it: on a SQLite file of its own for each test.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::core::time::Millis;

mod bulk;
mod feed;
mod items;
mod snapshot;

/// 2026-03-01T12:00:00Z.
const NOON: Millis = Millis(1_772_366_400_000);

struct Fixture {
    folder: TempDir,
    catalog: Catalog,
    clock: Clock,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOON);
        let catalog = Catalog::open(&url(&folder), true, clock.clone()).await.unwrap();
        Fixture { folder, catalog, clock }
    }

    /// The small catalog that most tests start from.
    async fn spring() -> Fixture {
        let fixture = Fixture::new().await;
        fixture.put::<Program>(json!({"code": "spring"})).await;
        fixture.put::<Partner>(json!({"code": "abc123", "programs": ["spring"]})).await;
        fixture.put::<Link>(json!({"code": "haircare", "address": "https://shop.example/haircare"})).await;
        fixture.put::<Ad>(json!({"partner": "abc123", "code": "website2"})).await;
        fixture
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

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("catalog.db").display())
}

fn read_json<T: Entity>(item: Value) -> Result<T, Vec<Mistake>> {
    let Value::Object(object) = item else { panic!("an object is needed") };
    entity::from_json(object)
}

/// The fields that are wrong.
fn wrong<T: Entity>(item: Value) -> Vec<String> {
    read_json::<T>(item).unwrap_err().into_iter().map(|mistake| mistake.field).collect()
}
