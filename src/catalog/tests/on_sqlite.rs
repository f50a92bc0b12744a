//! All of it on SQLite, and what concerns files.

#![allow(clippy::duplicate_mod, reason = "each test runs on both databases")]

use feed::{follower, until};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::telemetry::health::{Health, State};

const BACKEND: Backend = Backend::Sqlite;

#[path = "bulk.rs"]
mod bulk;
#[path = "copy.rs"]
mod copy;
#[path = "feed.rs"]
mod feed;
#[path = "items.rs"]
mod items;
#[path = "logins.rs"]
mod logins;
#[path = "names.rs"]
mod names;
#[path = "outbox.rs"]
mod outbox;
#[path = "persons.rs"]
mod persons;
#[path = "record.rs"]
mod record;
#[path = "touch.rs"]
mod touch;
#[path = "webhooks.rs"]
mod webhooks;
#[path = "writers.rs"]
mod writers;

#[tokio::test]
async fn a_catalog_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let url = |folder: &TempDir| format!("sqlite:{}", folder.path().join("catalog.db").display());
    std::fs::write(folder.path().join("file"), "").unwrap();
    let below_a_file = format!("sqlite:{}", folder.path().join("file/catalog.db").display());
    let error = Catalog::open(&below_a_file, true, Clock::System).await.unwrap_err();
    assert!(matches!(error, CatalogError::Open { .. }), "{error}");
    let error = Catalog::open(&url(&folder), false, Clock::System).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("put it back"), "{error}");
    assert!(!folder.path().join("catalog.db").exists(), "it is not made by the way");

    std::fs::write(folder.path().join("catalog.db"), "x".repeat(8_192)).unwrap();
    let error = Catalog::open(&url(&folder), true, Clock::System).await.unwrap_err();
    assert!(error.to_string().contains("not a SQLite database"), "{error}");
    std::fs::remove_file(folder.path().join("catalog.db")).unwrap();

    let catalog = Catalog::open(&url(&folder), true, Clock::System).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'x', 1, x'00', 0)";
    sqlx::query(newer).execute(&catalog.shared.writer).await.unwrap();
    catalog.close().await;
    let error = Catalog::open(&url(&folder), true, Clock::System).await.unwrap_err();
    assert!(matches!(error, CatalogError::Newer { found: 999, .. }), "{error}");
}

/// At start and while running: the index serves, health tells, and all comes right by itself.
#[tokio::test]
async fn the_edge_goes_on_while_the_catalog_is_away() {
    let fixture = Fixture::spring(BACKEND).await;
    let stop = CancellationToken::new();
    let first = follower(&fixture, &Health::default()).await;
    let links = first.links();
    let task = tokio::spawn(first.run(stop.clone()));
    until("the first load", || links.applied.load(Ordering::Acquire) == 4).await;
    stop.cancel();
    task.await.unwrap();
    fixture.catalog.close().await;

    let (there, away) = (fixture.folder.path().join("catalog.db"), fixture.folder.path().join("away.db"));
    std::fs::rename(&there, &away).unwrap();
    let health = Health::default();
    let catalog = Catalog::new(&fixture.url, false, fixture.clock.clone()).unwrap();
    fixture.clock.advance(60_000);
    let follower = Follower::start(catalog.clone(), health.clone(), fixture.clock.clone(), fixture.options()).await;
    let (links, stop) = (follower.links(), CancellationToken::new());
    let task = tokio::spawn(follower.run(stop.clone()));
    let part = |name: &str| health.snapshot().1.get(name).cloned();
    until("the complaint", || part("catalog").is_some_and(|c| c.state == State::Degraded)).await;
    assert_eq!(part("links").unwrap().state, State::Ready);
    assert!(part("catalog").unwrap().reason.contains("60s ago"), "{:?}", part("catalog"));
    assert!(links.links.contains_key("haircare"), "served from the snapshot");
    assert!(!there.exists(), "no empty catalog takes its place");

    std::fs::rename(&away, &there).unwrap();
    let fixture = Fixture { catalog, ..fixture };
    fixture.put::<Link>(json!({"code": "back", "address": "https://a.example"})).await;
    until("the change", || links.links.contains_key("back")).await;
    until("the all-clear", || part("catalog").is_some_and(|c| c.state == State::Ready)).await;
    stop.cancel();
    task.await.unwrap();
}
