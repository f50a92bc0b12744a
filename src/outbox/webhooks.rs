//! The deliverer: looks for endpoints that have something to do, and sends a visitor to each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Guard, OutboxError, post::Poster, schedule::millis, visit::Visitor};
use crate::{
    catalog::{
        Catalog, CatalogError,
        outbox::{ALL_NODES, WEBHOOKS as CONSUMER},
        webhooks::DeliveryResult,
    },
    config::outbox,
    core::{
        limits::{CATALOG_BACKOFF_MAX, LEASE_MARGIN, OUTBOX_STOP_GRACE, WEBHOOK_POSITION_INTERVAL, WEBHOOKS_AT_ONCE},
        time::Millis,
    },
    io::{clock::Clock, random},
    telemetry::{
        health::{Health, State},
        names,
    },
};

/// Part of health.
const WEBHOOKS: &str = "webhooks";

/// Delivers the outbox to all endpoints.
#[derive(Debug)]
pub struct Webhooks {
    visitor: Arc<Visitor>,
    health: Health,
    poll_interval: Duration,
}

impl Webhooks {
    pub fn new(
        settings: &outbox::Webhooks,
        guard: Arc<Guard>,
        catalog: Catalog,
        health: Health,
        clock: Clock,
    ) -> Result<Webhooks, OutboxError> {
        for result in DeliveryResult::ALL {
            counter!(names::WEBHOOK_DELIVERIES, "result" => result.tag()).increment(0);
        }
        counter!(names::WEBHOOK_RETRIES).increment(0);
        gauge!(names::WEBHOOK_OLDEST_SECONDS).set(0.0);
        let visitor = Visitor {
            catalog,
            poster: Poster::new(settings, guard)?,
            clock,
            retries: settings.retries,
            lease: settings.timeout + LEASE_MARGIN,
            holder: data_encoding::HEXLOWER.encode(&random::bytes::<16>()?),
        };
        Ok(Webhooks { visitor: Arc::new(visitor), health, poll_interval: settings.poll_interval })
    }

    /// Delivers until `stop`; tries that are under way then may finish for a moment.
    pub async fn run(self, stop: CancellationToken) {
        let (mut visits, mut passed) = (Visits::default(), Passed::default());
        let (mut pause, mut away) = (self.poll_interval, false);
        let mut told = self.visitor.catalog.told();
        self.health.ready(WEBHOOKS);
        while !stop.is_cancelled() {
            let looked = match visits.look(&self.visitor, &stop).await {
                Ok(()) => passed.tell(&self.visitor).await,
                Err(error) => Err(error),
            };
            self.say(looked.as_ref().err(), &mut away);
            pause = match looked {
                Ok(()) => self.poll_interval,
                Err(_) => (pause * 2).min(CATALOG_BACKOFF_MAX).max(self.poll_interval),
            };
            let rush = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                Ok(()) = told.changed() => looked.is_err(),
                went_well = visits.one_ends() => !went_well,
                () = stop.cancelled() => false,
            };
            // What has just failed is not tried again at once.
            if rush {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        visits.end(&self.visitor).await;
    }

    /// Health at each look, the log once.
    fn say(&self, error: Option<&CatalogError>, away: &mut bool) {
        match error {
            None => {
                if std::mem::take(away) {
                    tracing::info!("webhooks go on: the catalog answers again");
                }
                self.health.ready(WEBHOOKS);
            }
            Some(error) => {
                self.health.set(WEBHOOKS, State::Degraded, format!("{error}; webhooks wait"));
                if !std::mem::replace(away, true) {
                    tracing::warn!(%error, tag = error.tag(), "webhooks wait for the catalog");
                }
            }
        }
    }
}

/// The visits that are under way.
#[derive(Default)]
struct Visits {
    tasks: JoinSet<bool>,
    /// Whose visit each task is.
    of: HashMap<task::Id, String>,
    /// When each endpoint was last visited, as a number that rises: who was not visited for longest is first.
    last: HashMap<String, u64>,
    count: u64,
}

impl Visits {
    /// Starts a visit of each endpoint that has something to do, as far as there is room.
    async fn look(&mut self, visitor: &Arc<Visitor>, stop: &CancellationToken) -> Result<(), CatalogError> {
        let now = visitor.clock.now();
        let mut endpoints = visitor.catalog.webhooks_to_serve(&visitor.holder, now).await?;
        endpoints.sort_by_key(|id| self.last.get(id).copied().unwrap_or(0));
        self.last.retain(|id, _| endpoints.contains(id));
        for id in endpoints {
            if self.of.len() >= WEBHOOKS_AT_ONCE {
                break;
            }
            if self.of.values().any(|other| *other == id) {
                continue;
            }
            self.count += 1;
            self.last.insert(id.clone(), self.count);
            let (visitor, stop, endpoint) = (Arc::clone(visitor), stop.clone(), id.clone());
            let visit = self.tasks.spawn(async move { visitor.visit(&endpoint, &stop).await });
            self.of.insert(visit.id(), id);
        }
        let oldest = visitor.catalog.oldest_webhook_row().await?;
        let age_ms = oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0));
        gauge!(names::WEBHOOK_OLDEST_SECONDS).set(age_ms as f64 / 1e3);
        Ok(())
    }

    /// Ends when a visit does, and says whether it went well. Does not end where there is none.
    async fn one_ends(&mut self) -> bool {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(ended),
            None => std::future::pending().await,
        }
    }

    /// What is under way may finish for a moment. What does not is cut off, and its endpoint let go, so that the next process
    /// need not wait for the lease's end.
    async fn end(mut self, visitor: &Visitor) {
        let finish = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.of.remove(&ended.map_or_else(|error| error.id(), |(visit, _)| visit));
            }
        };
        let _ = tokio::time::timeout(OUTBOX_STOP_GRACE, finish).await;
        self.tasks.shutdown().await;
        for id in self.of.values() {
            let _ = visitor.catalog.release_webhook(id, &visitor.holder).await;
        }
    }

    /// A visit that panicked is our mistake, but not the end of all webhooks.
    fn forget(&mut self, ended: Result<(task::Id, bool), JoinError>) -> bool {
        let (visit, went_well) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "the visit of a webhook has failed");
            (error.id(), false)
        });
        self.of.remove(&visit);
        went_well
    }
}

/// How far all webhooks are, as the outbox knows it: what they have passed it may purge.
#[derive(Default)]
struct Passed {
    known: Option<u64>,
    again_at: Millis,
}

impl Passed {
    /// Tells it from time to time, where it has changed; also 0 at first, so that nothing is purged before.
    async fn tell(&mut self, visitor: &Visitor) -> Result<(), CatalogError> {
        let now = visitor.clock.now();
        if now < self.again_at {
            return Ok(());
        }
        let seq = visitor.catalog.webhooks_passed().await?;
        if self.known != Some(seq) {
            visitor.catalog.outbox_passed(ALL_NODES, CONSUMER, seq).await?;
            self.known = Some(seq);
        }
        self.again_at = now.plus(millis(WEBHOOK_POSITION_INTERVAL));
        Ok(())
    }
}
