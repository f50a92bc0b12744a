//! What a scrape reads that no part reports by itself: connections, journal, index. Also turns the journal's condition into
//! readiness.

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::{reload, workers::Workers};
use crate::{
    edge::listener::{CloseReason, ConnectionCounters},
    io::{clock::Clock, disk},
    journal::{Condition, Journal},
    links::Links,
    telemetry::{
        edge::EdgeCounters,
        health::{Health, State},
        metrics::Metrics,
        names,
    },
};

/// How often samples are folded and the journal's condition is told.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Readiness says so when a click has waited that long for the sink.
const BACKLOG_DEGRADED: Duration = Duration::from_secs(30);
const JOURNAL: &str = "journal";
const DELIVERY: &str = "delivery";

#[derive(Clone)]
pub(super) struct Scrape {
    metrics: Arc<Metrics>,
    workers: Vec<Arc<EdgeCounters>>,
    connections: Vec<Arc<ConnectionCounters>>,
    journal: Journal,
    health: Health,
    links: Arc<Links>,
    data: PathBuf,
    clock: Clock,
}

impl Scrape {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        workers: &Workers,
        journal: Journal,
        health: Health,
        links: Arc<Links>,
        data: PathBuf,
        clock: Clock,
    ) -> Scrape {
        let scrape = Scrape {
            metrics,
            workers: workers.counters.clone(),
            connections: workers.connections.clone(),
            journal,
            health,
            links,
            data,
            clock,
        };
        scrape.tell_condition();
        begin();
        scrape
    }

    pub(super) fn render(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let scrape = self.clone();
        Arc::new(move || {
            scrape.collect();
            scrape.metrics.render(&scrape.workers)
        })
    }

    pub(super) async fn upkeep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    self.metrics.upkeep();
                    self.tell_condition();
                    self.tell_backlog();
                }
            }
        }
    }

    fn tell_condition(&self) {
        match self.journal.condition() {
            Condition::Good => self.health.ready(JOURNAL),
            // Visitors go on while the journal takes nothing, or get a 503 that says so: the machine stays in.
            Condition::Degraded(reason) | Condition::Refusing(reason) => {
                self.health.set(JOURNAL, State::Degraded, reason);
            }
        }
    }

    /// What waits for the sink, whatever the sink does: read from the lanes, so that a sink that hangs is seen too.
    fn tell_backlog(&self) {
        let now = self.clock.now();
        let lanes = self.journal.live();
        let waiting: u64 = lanes.iter().map(|lane| lane.lag()).sum();
        // Nobody knows how much a lane of another process holds before it is read.
        let others = self.journal.other_lanes().unwrap_or_default() as u64;
        gauge!(names::SINK_LAG).set((waiting + others) as f64);
        let oldest_ms = lanes.iter().map(|lane| lane.oldest_unsent_ms(now)).max().unwrap_or(0);
        gauge!(names::OLDEST_UNSENT_SECONDS).set(oldest_ms as f64 / 1e3);
        if oldest_ms > BACKLOG_DEGRADED.as_millis() as u64 {
            let reason = format!(
                "clicks wait for the event store since {} s: see `sink`, and whether it is busy",
                oldest_ms / 1_000
            );
            self.health.set(DELIVERY, State::Degraded, reason);
        } else {
            self.health.ready(DELIVERY);
        }
    }

    fn collect(&self) {
        self.tell_backlog();
        self.health.publish();
        if let Ok(space) = disk::space(&self.data) {
            gauge!(names::DISK_BYTES).set(space.total as f64);
            gauge!(names::DISK_FREE_BYTES).set(space.free as f64);
        }
        let sum =
            |read: &dyn Fn(&ConnectionCounters) -> u64| self.connections.iter().map(|worker| read(worker)).sum::<u64>();
        gauge!(names::CONNECTIONS).set(sum(&ConnectionCounters::open) as f64);
        counter!(names::CONNECTIONS_ACCEPTED).absolute(sum(&ConnectionCounters::accepted));
        for reason in CloseReason::ALL {
            counter!(names::CONNECTIONS_CLOSED, "reason" => reason.tag())
                .absolute(sum(&|worker| worker.closed(reason)));
        }
        let stats = self.journal.stats();
        gauge!(names::JOURNAL_BYTES).set(stats.bytes as f64);
        gauge!(names::JOURNAL_LANES).set(stats.lanes as f64);
        if let Ok(lanes) = self.journal.other_lanes() {
            gauge!(names::JOURNAL_ORPHANS).set(lanes as f64);
        }
        counter!(names::JOURNAL_APPENDED).absolute(stats.appended);
        counter!(names::JOURNAL_COMMITS).absolute(stats.commits);
        counter!(names::JOURNAL_SYNCS).absolute(stats.syncs);
        for (kind, count) in
            [("write", stats.failed_writes), ("sync", stats.failed_syncs), ("reserve", stats.failed_reservations)]
        {
            counter!(names::JOURNAL_FAILURES, "kind" => kind).absolute(count);
        }
        counter!(names::JOURNAL_DAMAGED).absolute(stats.damaged);
        counter!(names::JOURNAL_TORN_BYTES).absolute(stats.torn_bytes);
        let counts = self.links.counts();
        for (kind, count) in [
            ("programs", counts.programs),
            ("links", counts.links),
            ("partners", counts.partners),
            ("ads", counts.ads),
            ("share_links", counts.share_links),
        ] {
            gauge!(names::LINKS, "kind" => kind).set(count as f64);
        }
    }
}

/// What counts rare things is there from the start: an alert on its rise would not see the first one otherwise.
fn begin() {
    for name in [
        names::SINK_EVENTS,
        names::SINK_SET_ASIDE,
        names::SINK_RETRIES,
        names::CATALOG_CHANGES,
        names::OUTBOX_EVENTS,
        names::OUTBOX_SET_ASIDE,
    ] {
        counter!(name).increment(0);
    }
    // The pump may have set it already.
    gauge!(names::OLDEST_UNSENT_SECONDS).increment(0.0);
    for what in reload::PARTS {
        for result in reload::RESULTS {
            counter!(names::RELOADS, "what" => what, "result" => result).increment(0);
        }
    }
}
