//! Copies the catalog's changes into the index, and the index into its snapshot file.
//!
//! The index is served in any case: while the catalog is away it stays as it is, health says so, and the follower tries
//! again with growing pauses. What its own process commits it takes at once, and what others commit where the database
//! hints at it; else with its next poll. It loads everything anew when the feed no longer reaches back to where it is, and,
//! with a warning, when the catalog is another one or has another history than it knew (a restored backup).

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Catalog, CatalogError,
    feed::{Lost, Position},
    snapshot::{self, SnapshotError},
};
use crate::{
    core::{
        limits::{CATALOG_BACKOFF_MAX, CHANGES_PER_STEP},
        time::Millis,
    },
    io::clock::Clock,
    links::Links,
    telemetry::{
        health::{Health, State},
        names,
    },
};

/// Part of health that tells of the catalog.
const CATALOG: &str = "catalog";
/// Part of health that tells of the index.
const INDEX: &str = "links";

#[derive(Clone, Debug)]
pub struct Options {
    /// How often the feed is asked.
    pub poll_interval: Duration,
    /// How often the snapshot is written, when something has changed.
    pub snapshot_interval: Duration,
    pub snapshot_file: PathBuf,
}

/// Follows one catalog for one index.
#[derive(Debug)]
pub struct Follower {
    catalog: Catalog,
    links: Arc<Links>,
    health: Health,
    clock: Clock,
    options: Options,
    /// Where the index is; `None` before the first load, and behind a snapshot of an older version.
    position: Option<Position>,
    /// Whether there is something to serve.
    loaded: bool,
    /// What the snapshot file holds.
    saved: Option<Position>,
    heard_at: Option<Millis>,
    /// Whether the last try failed: said once, not at each poll.
    away: bool,
}

impl Follower {
    /// Begins with the snapshot where there is one. A snapshot that cannot be used is said and left aside.
    pub async fn start(catalog: Catalog, health: Health, clock: Clock, options: Options) -> Follower {
        health.set(INDEX, State::NotReady, "the links are not loaded yet");
        let file = options.snapshot_file.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let mut links = Links::new();
            let result = snapshot::load(&file, &mut links);
            (links, result)
        })
        .await;
        let (links, result) =
            loaded.unwrap_or_else(|error| (Links::new(), Err(SnapshotError::Io(std::io::Error::other(error)))));
        let snapshot = result.unwrap_or_else(|error| {
            let file = options.snapshot_file.display();
            tracing::warn!(%file, %error, "the snapshot of the index cannot be used; the links come from the catalog");
            None
        });
        // What an older version does not have is in no change to come.
        let position = snapshot.as_ref().filter(|snapshot| snapshot.is_whole).map(|snapshot| snapshot.position.clone());
        if let Some(snapshot) = &snapshot {
            health.ready(INDEX);
            let (sequence, saved_at) = (snapshot.position.last, snapshot.saved_at);
            tracing::info!(links = links.counts().links, sequence, %saved_at, "index restored from its snapshot");
        }
        Follower {
            catalog,
            links: Arc::new(links),
            health,
            clock,
            options,
            saved: position.clone(),
            position,
            loaded: snapshot.is_some(),
            heard_at: snapshot.map(|snapshot| snapshot.saved_at),
            away: false,
        }
    }

    /// The index that this follower keeps.
    pub fn links(&self) -> Arc<Links> {
        Arc::clone(&self.links)
    }

    #[cfg(test)]
    pub(super) fn catalog_is_now(&mut self, catalog: Catalog) {
        self.catalog = catalog;
    }

    /// Whether there is something to serve.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Takes all changes that are there now. Returns how many.
    pub async fn catch_up(&mut self) -> Result<u64, CatalogError> {
        let result = self.step_all().await;
        let now = self.clock.now();
        match &result {
            Ok(_) => {
                self.heard_at = Some(now);
                if std::mem::take(&mut self.away) {
                    tracing::info!("the catalog answers again");
                }
                self.health.ready(CATALOG);
            }
            Err(error) => self.report_away(error, now),
        }
        let age_ms = self.heard_at.map_or(0, |heard| (now.0 - heard.0).max(0));
        metrics::gauge!(names::CATALOG_AGE_SECONDS).set(age_ms as f64 / 1_000.0);
        self.publish_sizes();
        result
    }

    fn report_away(&mut self, error: &CatalogError, now: Millis) {
        let what = if self.is_loaded() { "links are served from memory" } else { "there are no links to serve" };
        let since = self
            .heard_at
            .map_or_else(String::new, |heard| format!(" (last heard {}s ago)", ((now.0 - heard.0) / 1_000).max(0)));
        self.health.set(CATALOG, State::Degraded, format!("{error}; {what}{since}"));
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(%error, tag = error.tag(), "the catalog is away; {what}");
        }
    }

    async fn step_all(&mut self) -> Result<u64, CatalogError> {
        let there = self.catalog.position().await?;
        let mut applied = 0;
        let lost = loop {
            let Some(here) = self.position.clone() else { break Lost::Nowhere };
            if here == there {
                return Ok(applied);
            }
            if here.catalog != there.catalog {
                break Lost::Exchanged;
            }
            if here.last >= there.last {
                break Lost::Restored;
            }
            let changes = match self.catalog.changes_since(&here, CHANGES_PER_STEP).await? {
                Ok(changes) => changes,
                Err(lost) => break lost,
            };
            let Some(last) = changes.last() else { break Lost::Behind };
            self.catalog.apply(&self.links, &changes).await?;
            applied += changes.len() as u64;
            metrics::counter!(names::CATALOG_CHANGES).increment(changes.len() as u64);
            self.reached(Position { last: last.seq, mark: last.mark, catalog: here.catalog });
            if last.seq >= there.last {
                return Ok(applied);
            }
        };
        self.load_all(lost).await?;
        Ok(applied + 1)
    }

    async fn load_all(&mut self, lost: Lost) -> Result<(), CatalogError> {
        let position = self.catalog.load_all(&self.links).await?;
        let (links, sequence) = (self.links.counts().links, position.last);
        tracing::info!(links, sequence, "index loaded from the catalog");
        // Said behind the load: where the catalog goes away meanwhile, the next try would say it again.
        let before = self.position.as_ref().map_or(0, |position| position.last);
        match lost {
            Lost::Nowhere | Lost::Behind => {}
            Lost::Exchanged => {
                tracing::warn!(before, sequence, "the catalog is another one than before: all links were loaded anew");
            }
            Lost::Restored => tracing::warn!(
                before,
                sequence,
                "the catalog has another history than before (a restored backup): all links were loaded anew"
            ),
        }
        self.reached(position);
        Ok(())
    }

    fn reached(&mut self, position: Position) {
        self.links.applied.store(position.last, Ordering::Release);
        self.position = Some(position);
        self.loaded = true;
        self.health.ready(INDEX);
    }

    fn publish_sizes(&self) {
        let counts = self.links.counts();
        for (kind, count) in [
            ("programs", counts.programs),
            ("links", counts.links),
            ("partners", counts.partners),
            ("ads", counts.ads),
            ("share_links", counts.share_links),
        ] {
            metrics::gauge!(names::LINKS, "kind" => kind).set(count as f64);
        }
    }

    /// Follows until `stop`; then writes the snapshot a last time.
    pub async fn run(mut self, stop: CancellationToken) {
        let catalog = self.catalog.clone();
        let mut hints = std::pin::pin!(catalog.listen());
        let mut pause = self.options.poll_interval;
        let mut saving: Option<JoinHandle<Option<Position>>> = None;
        let mut save_at = tokio::time::Instant::now() + self.options.snapshot_interval;
        while !stop.is_cancelled() {
            // A step that is given up half-way does no harm: the position moves behind it.
            let step = tokio::select! {
                step = self.catch_up() => step,
                () = stop.cancelled() => break,
            };
            pause = match step {
                Ok(_) => self.options.poll_interval,
                // A configured pause above the bound stays as it is.
                Err(_) => (pause * 2).min(CATALOG_BACKOFF_MAX).max(self.options.poll_interval),
            };
            if let Some(task) = saving.take_if(|task| task.is_finished()) {
                self.note_saved(task.await.ok().flatten());
            }
            // The first snapshot is written at once: from then on a start without the catalog is possible.
            let due = self.saved.is_none() || tokio::time::Instant::now() >= save_at;
            if saving.is_none() && due && self.saved != self.position {
                saving = self.save();
                save_at = tokio::time::Instant::now() + self.options.snapshot_interval;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.catalog.committed() => {}
                () = &mut hints => {}
                () = stop.cancelled() => {}
            }
        }
        if let Some(task) = saving {
            self.note_saved(task.await.ok().flatten());
        }
        if self.saved != self.position
            && let Some(task) = self.save()
        {
            self.note_saved(task.await.ok().flatten());
        }
    }

    fn note_saved(&mut self, saved: Option<Position>) {
        if saved.is_some() {
            self.saved = saved;
        }
    }

    /// Writes the snapshot beside the following. The position is taken before, so the file never claims too much.
    fn save(&self) -> Option<JoinHandle<Option<Position>>> {
        let position = self.position.clone()?;
        let (links, path, now) = (Arc::clone(&self.links), self.options.snapshot_file.clone(), self.clock.now());
        Some(tokio::task::spawn_blocking(move || match snapshot::save(&path, &links, &position, now) {
            Ok(()) => Some(position),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the snapshot of the index cannot be written");
                None
            }
        }))
    }
}
