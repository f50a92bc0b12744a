//! What has had its time goes: every few minutes, in small steps, so that nobody waits.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{
        Catalog, CatalogError,
        audit::{Caller, as_caller},
        retention::Expiring,
    },
    config::Retention,
    core::{
        limits::{RETENTION_INTERVAL, SWEEP_ROWS},
        time::Millis,
    },
    io::clock::Clock,
    store::{ReportError, keep::Keeper},
    telemetry::names,
};

/// What the part needs; [`Sweeper::run`] is the part.
pub(super) struct Sweeper {
    pub(super) catalog: Catalog,
    pub(super) keeper: Arc<dyn Keeper>,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Store(#[from] ReportError),
}

impl Sweeper {
    pub(super) async fn run(self, stop: CancellationToken) {
        for what in Expiring::ALL.iter().map(|what| what.label()).chain([EVENTS, LEADS]) {
            counter!(names::EXPIRED, "kind" => what).increment(0);
        }
        let mut failed = false;
        loop {
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = as_caller(Caller::system("retention"), self.sweep()) => swept,
            };
            match swept {
                Ok(()) => {
                    failed = false;
                    gauge!(names::RETENTION_AT).set(self.clock.now().0 as f64 / 1e3);
                }
                Err(error) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!(%error, "what has had its time cannot go yet");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETENTION_INTERVAL) => {}
            }
        }
    }

    /// The time before which something goes; `None`: never.
    fn before(&self, kept: Duration) -> Option<Millis> {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        (kept > 0).then(|| Millis(self.clock.now().0.saturating_sub(kept)))
    }

    /// Everything once. A store that is away keeps nobody else from going.
    async fn sweep(&self) -> Result<(), SweepError> {
        for what in Expiring::ALL {
            let kept = match what {
                Expiring::Answers => self.retention.answers,
                Expiring::Mails => self.retention.mails,
                Expiring::Deliveries => self.retention.deliveries,
                Expiring::Metadata => self.retention.metadata,
                Expiring::RefusedLines => self.retention.uploads,
                Expiring::Audit => self.retention.audit,
            };
            let Some(before) = self.before(kept) else { continue };
            let mut rows = 0;
            loop {
                let gone = self.catalog.expire(*what, before).await?;
                rows += gone;
                counter!(names::EXPIRED, "kind" => what.label()).increment(gone);
                if gone < u64::from(SWEEP_ROWS) {
                    break;
                }
            }
            self.note(what.label(), rows, before).await?;
        }
        self.leads().await?;
        self.events().await
    }

    async fn leads(&self) -> Result<(), SweepError> {
        let Some(before) = self.before(self.retention.leads) else { return Ok(()) };
        let (mut rows, mut at) = (0, Some(String::new()));
        while let Some(after) = at {
            let (gone, next) = self.catalog.expire_leads(before, &after).await?;
            counter!(names::EXPIRED, "kind" => LEADS).increment(gone);
            (rows, at) = (rows + gone, next);
        }
        self.note(LEADS, rows, before).await
    }

    async fn events(&self) -> Result<(), SweepError> {
        let Some(before) = self.before(self.retention.events) else { return Ok(()) };
        let mut rows = 0;
        loop {
            let gone = self.keeper.expire(before).await?;
            rows += gone;
            counter!(names::EXPIRED, "kind" => EVENTS).increment(gone);
            if gone == 0 {
                return self.note(EVENTS, rows, before.hour()).await;
            }
        }
    }

    async fn note(&self, what: &'static str, rows: u64, before: Millis) -> Result<(), SweepError> {
        if rows > 0 {
            tracing::info!(kind = what, rows, %before, "what had its time is gone");
            self.catalog.note_expired(what, rows, before).await?;
        }
        Ok(())
    }
}

const EVENTS: &str = "events";
const LEADS: &str = "leads";
