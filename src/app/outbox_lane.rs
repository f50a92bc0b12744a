//! The task that brings the catalog's outbox to the journal: waits for its turn, moves, says what is wrong, deletes what is
//! old. Why each row gets there once stands in [`mover`].
//!
//! Redirects know nothing of all this. With the catalog away the task waits and says so; what was decided waits in the catalog.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, CatalogError, outbox::JOURNAL},
    core::{
        limits::{
            CATALOG_BACKOFF_MAX, LANE_RETRY_INTERVAL, OUTBOX_LINGER, OUTBOX_POLL_INTERVAL, OUTBOX_PURGE_INTERVAL,
            OUTBOX_PURGE_ROWS,
        },
        time::Millis,
    },
    io::clock::Clock,
    journal::Journal,
    telemetry::health::{Health, State},
};

mod mover;
#[cfg(test)]
mod tests;

pub(super) use mover::Moved;
use mover::{MoveError, Mover};

/// Part of readiness.
const OUTBOX: &str = "outbox";

/// What the task needs; [`OutboxLane::run`] is the task.
pub(super) struct OutboxLane {
    pub(super) catalog: Catalog,
    pub(super) journal: Journal,
    pub(super) moved: Arc<Moved>,
    pub(super) health: Health,
    pub(super) clock: Clock,
    /// How long rows are kept that everybody has taken; zero: for ever.
    pub(super) retention: Duration,
}

impl OutboxLane {
    /// Moves rows until `stop`. What is not moved by then waits for the next start.
    pub(super) async fn run(self, stop: CancellationToken) {
        self.health.ready(OUTBOX);
        let told = self.catalog.told();
        let Some(mut mover) = self.wait_for_turn(&stop).await else { return };
        self.work(&mut mover, told, &stop).await;
        mover.end().await;
    }

    /// Waits until no other process moves this folder's rows. `None`: it is told to stop.
    async fn wait_for_turn(&self, stop: &CancellationToken) -> Option<Mover> {
        let mut is_said = false;
        while !stop.is_cancelled() {
            match Mover::take_over(&self.catalog, &self.journal, &self.moved) {
                Ok(Some(mover)) => return Some(mover),
                Ok(None) => self.health.ready(OUTBOX),
                Err(error) => self.complain(&error, &mut is_said),
            }
            // Lanes that this process drains may wait for the other one's word.
            let look = async {
                if self.moved.is_asked()
                    && let Ok(node) = self.catalog.node()
                    && let Ok(position) = self.catalog.outbox_position(node, JOURNAL).await
                {
                    self.moved.know(position);
                }
                sleep(OUTBOX_POLL_INTERVAL).await;
            };
            tokio::select! {
                () = look => {}
                () = stop.cancelled() => {}
            }
        }
        None
    }

    async fn work(&self, mover: &mut Mover, mut told: watch::Receiver<u64>, stop: &CancellationToken) {
        let (mut pause, mut is_said) = (OUTBOX_POLL_INTERVAL, false);
        let mut purge_at = Instant::now();
        while !stop.is_cancelled() {
            // A step that is given up half-way is as good as a kill.
            let step = tokio::select! {
                step = mover.step() => step,
                () = stop.cancelled() => return,
            };
            match step {
                Ok(step) => {
                    if std::mem::take(&mut is_said) {
                        tracing::info!("the outbox is brought to the journal again");
                    }
                    self.health.ready(OUTBOX);
                    pause = OUTBOX_POLL_INTERVAL;
                    if step.has_more {
                        continue;
                    }
                }
                Err(error) => {
                    self.complain(&error, &mut is_said);
                    pause = match error {
                        MoveError::Append(_) | MoveError::Journal(_) => LANE_RETRY_INTERVAL,
                        _ => (pause * 2).min(CATALOG_BACKOFF_MAX),
                    };
                }
            }
            if Instant::now() >= purge_at && self.purge(stop).await {
                purge_at = Instant::now() + OUTBOX_PURGE_INTERVAL;
            }
            // Each step is a transaction beside those that tell: a moment's entries go together.
            let word = async {
                if told.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                sleep(OUTBOX_LINGER).await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                // While something is wrong only time helps.
                () = word, if !is_said => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Deletes what is old and has been taken by all. `false`: not all of it, this time.
    async fn purge(&self, stop: &CancellationToken) -> bool {
        if self.retention.is_zero() {
            return true;
        }
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let before = Millis(self.clock.now().0.saturating_sub(retention_ms));
        while !stop.is_cancelled() {
            match self.catalog.outbox_purge(before, OUTBOX_PURGE_ROWS).await {
                Ok(deleted) if deleted < u64::from(OUTBOX_PURGE_ROWS) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Says what is wrong, once in the log. Somebody else who writes to the catalog is nothing to worry about.
    fn complain(&self, error: &MoveError, is_said: &mut bool) {
        if matches!(error, MoveError::Catalog(CatalogError::Busy)) {
            return;
        }
        let reason = format!("{error}; what was decided waits in the catalog for its way into the reports");
        self.health.set(OUTBOX, State::Degraded, reason);
        if !std::mem::replace(is_said, true) {
            tracing::warn!(%error, "the outbox cannot be brought to the journal: it is tried again");
        }
    }
}
