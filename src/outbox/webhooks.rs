//! The deliverer: looks for endpoints that have something to do, and visits each of them until nothing is due. And the test of
//! an endpoint, at once and beside the queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, gauge};
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Guard, OutboxError,
    message::{Message, TEST_KIND},
    post::{Answer, Poster},
    schedule::{self, Next, millis},
};
use crate::{
    catalog::{
        Catalog, CatalogError,
        webhooks::{Claim, Delivery, DeliveryResult, Retry, Step, WaitingRow, WebhookState},
    },
    config::outbox,
    core::{
        limits::{
            CATALOG_BACKOFF_MAX, LEASE_MARGIN, OUTBOX_STOP_GRACE, WEBHOOK_BATCH_ROWS, WEBHOOK_FAILURES_TO_REST,
            WEBHOOK_VISIT_MAX, WEBHOOKS_AT_ONCE,
        },
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

/// What a visit needs.
#[derive(Debug)]
struct Visitor {
    catalog: Catalog,
    poster: Poster,
    clock: Clock,
    retries: outbox::Retries,
    /// How long a lease lasts: longer than the longest try.
    lease: Duration,
    /// Names this process in leases.
    holder: String,
}

/// What is sent next.
struct Work {
    row: WaitingRow,
    /// Tries before this one, and when the first was; `None` for a row that was never tried.
    before: Option<(i64, Millis)>,
}

/// What is next at an endpoint.
enum Turn {
    Send(Work),
    /// A row that was set aside, and that the outbox does not keep any more.
    Lost(Retry),
    /// Up to there nothing is for this endpoint.
    Nothing(i64),
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
        let mut visits = JoinSet::new();
        let mut under_way = HashMap::new();
        let (mut pause, mut away) = (self.poll_interval, false);
        self.health.ready(WEBHOOKS);
        while !stop.is_cancelled() {
            pause = match self.look(&mut visits, &mut under_way, &stop).await {
                Ok(()) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("webhooks go on: the catalog answers again");
                    }
                    self.health.ready(WEBHOOKS);
                    self.poll_interval
                }
                Err(error) => {
                    self.health.set(WEBHOOKS, State::Degraded, format!("{error}; webhooks wait"));
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, tag = error.tag(), "webhooks wait for the catalog");
                    }
                    (pause * 2).min(CATALOG_BACKOFF_MAX).max(self.poll_interval)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(ended) = visits.join_next_with_id() => forget(&mut under_way, ended),
                () = stop.cancelled() => {}
            }
            while let Some(ended) = visits.try_join_next_with_id() {
                forget(&mut under_way, ended);
            }
        }
        let finish = async { while visits.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(OUTBOX_STOP_GRACE, finish).await;
    }

    /// Starts a visit of each endpoint that has something to do.
    async fn look(
        &self,
        visits: &mut JoinSet<()>,
        under_way: &mut HashMap<task::Id, String>,
        stop: &CancellationToken,
    ) -> Result<(), CatalogError> {
        let visitor = &self.visitor;
        let now = visitor.clock.now();
        for id in visitor.catalog.webhooks_to_serve(&visitor.holder, now).await? {
            if under_way.len() >= WEBHOOKS_AT_ONCE {
                break;
            }
            if under_way.values().all(|other| *other != id) {
                let (visitor, stop, endpoint) = (Arc::clone(visitor), stop.clone(), id.clone());
                let visit = visits.spawn(async move { visitor.visit(&endpoint, &stop).await });
                under_way.insert(visit.id(), id);
            }
        }
        let oldest = visitor.catalog.oldest_webhook_row().await?;
        let age_ms = oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0));
        gauge!(names::WEBHOOK_OLDEST_SECONDS).set(age_ms as f64 / 1e3);
        Ok(())
    }
}

/// A visit that panicked is somebody's mistake, but not the end of all webhooks.
fn forget(under_way: &mut HashMap<task::Id, String>, ended: Result<(task::Id, ()), JoinError>) {
    let visit = match ended {
        Ok((visit, ())) => visit,
        Err(error) => {
            tracing::error!(%error, "a visit of a webhook has failed");
            error.id()
        }
    };
    under_way.remove(&visit);
}

impl Visitor {
    /// Serves one endpoint until nothing is due, or others should have their turn.
    async fn visit(&self, id: &str, stop: &CancellationToken) {
        match self.serve(id, stop).await {
            Ok(()) => {}
            Err(OutboxError::Catalog(error)) if error.is_passing() => {
                tracing::debug!(webhook = id, %error, "a webhook waits for the catalog");
            }
            Err(error) => tracing::warn!(webhook = id, %error, tag = error.tag(), "a webhook waits"),
        }
    }

    fn lease_end(&self) -> Millis {
        self.clock.now().plus(millis(self.lease))
    }

    async fn serve(&self, id: &str, stop: &CancellationToken) -> Result<(), OutboxError> {
        let (now, lease_end) = (self.clock.now(), self.lease_end());
        let Some(mut claim) = self.catalog.claim_webhook(id, &self.holder, now, lease_end).await? else {
            return Ok(());
        };
        let mut rows = VecDeque::new();
        for _ in 0..WEBHOOK_VISIT_MAX {
            let rests = claim.resume_at > self.clock.now();
            if stop.is_cancelled() || rests || claim.webhook.state != WebhookState::Active {
                break;
            }
            let step = match self.turn(&claim, &mut rows).await? {
                Turn::Nothing(seq) if seq == claim.webhook.seq => break,
                Turn::Nothing(seq) => Step { seq, ..unchanged(&claim) },
                Turn::Lost(retry) => self.lost(&claim, &retry),
                Turn::Send(work) => self.send(&claim, work).await?,
            };
            if !self.catalog.record_webhook(id, &self.holder, self.lease_end(), step).await? {
                // A replay, or another process: whoever is next begins from what is stored.
                return Ok(());
            }
            match self.catalog.webhook_with_secrets(id, self.clock.now()).await? {
                Some(next) => claim = next,
                None => return Ok(()),
            }
        }
        Ok(self.catalog.release_webhook(id, &self.holder).await?)
    }

    /// What is next: a row that was set aside and is due, or a new one. Where the endpoint seems to be away, the new one
    /// first: what was set aside may be what it chokes on.
    async fn turn(&self, claim: &Claim, rows: &mut VecDeque<WaitingRow>) -> Result<Turn, OutboxError> {
        let seems_away = claim.webhook.failures >= WEBHOOK_FAILURES_TO_REST;
        if !seems_away && let Some(turn) = self.due(claim).await? {
            return Ok(turn);
        }
        let turn = self.new_row(claim, rows).await?;
        if seems_away
            && matches!(turn, Turn::Nothing(_))
            && let Some(due) = self.due(claim).await?
        {
            return Ok(due);
        }
        Ok(turn)
    }

    async fn due(&self, claim: &Claim) -> Result<Option<Turn>, OutboxError> {
        let due = self.catalog.due_webhook_retry(&claim.webhook.id, self.clock.now()).await?;
        Ok(due.map(|retry| match &retry.row {
            Some(row) => Turn::Send(Work { row: row.clone(), before: Some((retry.attempts, retry.first_at)) }),
            None => Turn::Lost(retry),
        }))
    }

    /// The next row that the endpoint asks for, of those that were read already or one batch further.
    async fn new_row(&self, claim: &Claim, rows: &mut VecDeque<WaitingRow>) -> Result<Turn, OutboxError> {
        let mut passed = claim.webhook.seq;
        if rows.is_empty() {
            rows.extend(self.catalog.webhook_rows_after(passed, WEBHOOK_BATCH_ROWS).await?);
        }
        while let Some(row) = rows.pop_front() {
            if claim.webhook.wants(&row.kind, &row.program) {
                return Ok(Turn::Send(Work { row, before: None }));
            }
            passed = row.seq;
        }
        Ok(Turn::Nothing(passed))
    }

    /// One try, and what follows from it.
    async fn send(&self, claim: &Claim, work: Work) -> Result<Step, OutboxError> {
        let Work { row, before } = work;
        let message = Message::of_row(&claim.webhook.id, &row);
        let tried = try_once(&self.poster, &self.clock, claim, &message).await;
        let (attempts, first_at) = before.map_or((1, tried.at), |(attempts, first_at)| (attempts + 1, first_at));
        if before.is_some() {
            counter!(names::WEBHOOK_RETRIES).increment(1);
        }
        let was_set_aside = before.map(|_| row.seq);
        // A new row takes those before it that the endpoint does not ask for along.
        let behind = if before.is_some() { claim.webhook.seq } else { row.seq };
        let random = u64::from_le_bytes(random::bytes()?);
        let failures = claim.webhook.failures.saturating_add(1);
        let failed = Step {
            failures,
            resume_at: schedule::rest(&self.retries, failures, self.clock.now(), random),
            seq: behind,
            ..unchanged(claim)
        };
        let (result, step) = match tried.verdict() {
            Verdict::Taken => {
                let step = Step { seq: behind, failures: 0, resume_at: Millis(0), done: was_set_aside, ..failed };
                (DeliveryResult::Delivered, step)
            }
            // The event stays where it is: an endpoint that is made active again goes on with it.
            Verdict::Gone => {
                let seq = if before.is_some() { behind } else { row.seq - 1 };
                let reason = "it answered 410 Gone".to_owned();
                (DeliveryResult::Gone, Step { seq, disable: Some(reason), ..unchanged(claim) })
            }
            Verdict::Failed => {
                let now = self.clock.now();
                match schedule::next(&self.retries, attempts, first_at, now, tried.retry_after(), random) {
                    Next::GiveUp => (DeliveryResult::GivenUp, Step { done: was_set_aside, ..failed }),
                    Next::At(due_at) => {
                        let retry = Retry { seq: row.seq, attempts, first_at, due_at, row: None };
                        (DeliveryResult::Failed, Step { set_aside: Some(retry), ..failed })
                    }
                }
            }
        };
        let delivery = tried.log(Some(row.seq), row.kind, message.id, attempts, result);
        tell(&claim.webhook.id, &delivery, step.failures);
        Ok(Step { log: Some(delivery), ..step })
    }

    /// The outbox has dropped a row that was to be tried again.
    fn lost(&self, claim: &Claim, retry: &Retry) -> Step {
        let delivery = Delivery {
            number: 0,
            seq: Some(retry.seq),
            kind: String::new(),
            message: String::new(),
            attempt: retry.attempts,
            at: self.clock.now(),
            duration_ms: 0,
            result: DeliveryResult::GivenUp,
            status: None,
            error: Some("the outbox does not keep this event any more".to_owned()),
            answer: None,
        };
        tell(&claim.webhook.id, &delivery, claim.webhook.failures);
        Step { log: Some(delivery), done: Some(retry.seq), ..unchanged(claim) }
    }
}

fn unchanged(claim: &Claim) -> Step {
    Step {
        seq: claim.webhook.seq,
        failures: claim.webhook.failures,
        resume_at: claim.resume_at,
        log: None,
        set_aside: None,
        done: None,
        disable: None,
    }
}

/// Counts a try, and says what an operator should know. Never the address: its query may hold a secret.
fn tell(webhook: &str, delivery: &Delivery, failures: i64) {
    counter!(names::WEBHOOK_DELIVERIES, "result" => delivery.result.tag()).increment(1);
    let Delivery { seq, attempt, .. } = *delivery;
    let (kind, error) = (&delivery.kind, delivery.error.as_deref().unwrap_or_default());
    match delivery.result {
        DeliveryResult::Delivered => tracing::debug!(webhook, seq, kind, attempt, "delivered"),
        DeliveryResult::Failed => {
            tracing::info!(webhook, seq, kind, attempt, error, "a webhook was not taken; it is tried again");
        }
        DeliveryResult::GivenUp => tracing::warn!(webhook, seq, kind, attempt, error, "a webhook is given up"),
        DeliveryResult::Gone => {
            tracing::warn!(webhook, seq, kind, "a webhook's endpoint is gone (410): it is disabled")
        }
    }
    if failures == WEBHOOK_FAILURES_TO_REST && delivery.result == DeliveryResult::Failed {
        tracing::warn!(webhook, failures, error, "an endpoint takes nothing: its events wait until it is back");
    }
}

/// A try, and how it ended.
struct Tried {
    at: Millis,
    duration_ms: i64,
    outcome: Result<Answer, String>,
}

enum Verdict {
    Taken,
    Gone,
    Failed,
}

async fn try_once(poster: &Poster, clock: &Clock, claim: &Claim, message: &Message) -> Tried {
    let (at, began) = (clock.now(), Instant::now());
    let outcome = match message.headers(&claim.secrets, at) {
        Ok(headers) => {
            let posted = poster.post(&claim.webhook.address, &headers, message.body.clone()).await;
            posted.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    Tried { at, duration_ms: millis(began.elapsed()), outcome }
}

impl Tried {
    fn verdict(&self) -> Verdict {
        match &self.outcome {
            Ok(Answer { status: 200..=299, .. }) => Verdict::Taken,
            Ok(Answer { status: 410, .. }) => Verdict::Gone,
            Ok(_) | Err(_) => Verdict::Failed,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.outcome.as_ref().ok().and_then(|answer| answer.retry_after)
    }

    fn log(self, seq: Option<i64>, kind: String, message: String, attempt: i64, result: DeliveryResult) -> Delivery {
        let Tried { at, duration_ms, outcome } = self;
        let (status, error, answer) = match outcome {
            Ok(Answer { status, body, .. }) => {
                let error = match status {
                    200..=299 => None,
                    300..=399 => Some(format!("it answered {status}, a redirect, which is not followed")),
                    _ => Some(format!("it answered {status}")),
                };
                (Some(i64::from(status)), error, Some(body))
            }
            Err(error) => (None, Some(error), None),
        };
        Delivery { number: 0, seq, kind, message, attempt, at, duration_ms, result, status, error, answer }
    }
}

/// Sends a message that stands for no event, at once, also to a disabled endpoint; its state and its queue stay as they are.
#[derive(Clone, Debug)]
pub struct Tester {
    catalog: Catalog,
    poster: Poster,
    clock: Clock,
}

impl Tester {
    pub fn new(
        settings: &outbox::Webhooks,
        guard: Arc<Guard>,
        catalog: Catalog,
        clock: Clock,
    ) -> Result<Tester, OutboxError> {
        Ok(Tester { catalog, poster: Poster::new(settings, guard)?, clock })
    }

    /// The try as the log has it.
    pub async fn test(&self, id: &str) -> Result<Delivery, OutboxError> {
        let now = self.clock.now();
        let Some(claim) = self.catalog.webhook_with_secrets(id, now).await? else {
            return Err(CatalogError::NotFound { kind: "webhook", code: id.to_owned() }.into());
        };
        let message = Message::test(id, now, random::bytes()?);
        let tried = try_once(&self.poster, &self.clock, &claim, &message).await;
        let result = match tried.verdict() {
            Verdict::Taken => DeliveryResult::Delivered,
            Verdict::Gone => DeliveryResult::Gone,
            Verdict::Failed => DeliveryResult::Failed,
        };
        let delivery = tried.log(None, TEST_KIND.to_owned(), message.id, 1, result);
        Ok(self.catalog.log_webhook_test(id, delivery).await?)
    }
}
