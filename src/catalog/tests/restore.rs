//! A backup takes the place of the catalog.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::telemetry::health::Health;

/// Where the follower is when the backup takes the catalog's place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meets {
    Running,
    FromSnapshot,
}

impl Fixture {
    /// URL of a backup as an operator makes it.
    pub(super) async fn back_up(&self) -> String {
        if self.backend == Backend::Postgres {
            let backup = server::database(None).await;
            let there = Catalog::open(&backup, true, self.clock.clone()).await.unwrap();
            self.catalog.copy_to(&there, false, |_| ()).await.unwrap();
            there.close().await;
            return backup;
        }
        let path = self.folder.path().join("backup.db");
        let sql = format!("VACUUM INTO '{}'", path.display());
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&self.catalog.shared.writer).await.unwrap();
        format!("sqlite:{}", path.display())
    }

    /// The backup at a place of its own, with `imports` links written while no edge looked on.
    pub(super) async fn restored(&self, backup: &str, imports: u64) -> Fixture {
        let restored = if self.backend == Backend::Postgres {
            let url = server::database(Some(backup)).await;
            Fixture { url: server::Place(url), ..Fixture::nowhere(self.backend).await }
        } else {
            let nowhere = Fixture::nowhere(self.backend).await;
            std::fs::copy(backup.trim_start_matches("sqlite:"), nowhere.folder.path().join("catalog.db")).unwrap();
            nowhere
        };
        let catalog = Catalog::open(&restored.url, false, self.clock.clone()).await.unwrap();
        let restored = Fixture { catalog, clock: self.clock.clone(), ..restored };
        let items: Vec<_> =
            (0..imports).map(|n| json!({"code": format!("item-{n}"), "address": "https://a.example"})).collect();
        let (bulk, refused) = import::<Link>(&restored, &items).await;
        assert!(refused.is_empty());
        assert_eq!(bulk.commit().await.unwrap(), imports);
        restored
    }

    /// `follower` as it is when the restored catalog is there.
    pub(super) async fn meet(&self, mut follower: Follower, restored: &Fixture, meets: Meets) -> Follower {
        if meets == Meets::Running {
            follower.catalog_is_now(restored.catalog.clone());
            return follower;
        }
        let stop = CancellationToken::new();
        stop.cancel();
        follower.run(stop).await;
        let health = Health::default();
        let again = Follower::start(restored.catalog.clone(), health, self.clock.clone(), self.options()).await;
        assert!(again.is_loaded(), "the snapshot is used");
        again
    }
}
