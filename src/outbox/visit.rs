//! One visit of one endpoint: what is next, one try, what follows from it; until nothing is due, or others should have their
//! turn.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use metrics::counter;
use tokio_util::sync::CancellationToken;

use super::{
    OutboxError,
    attempt::{Verdict, try_once},
    message::Message,
    post::Poster,
    schedule::{self, Next, millis},
};
use crate::{
    catalog::{
        Catalog,
        webhooks::{Claim, Delivery, DeliveryResult, Retry, Step, WaitingRow, WebhookState},
    },
    config::outbox,
    core::{
        limits::{WEBHOOK_BATCH_ROWS, WEBHOOK_FAILURES_TO_REST, WEBHOOK_VISIT_TIME},
        time::Millis,
    },
    io::{clock::Clock, random},
    telemetry::names,
};

/// What a visit needs.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) catalog: Catalog,
    pub(super) poster: Poster,
    pub(super) clock: Clock,
    pub(super) retries: outbox::Retries,
    /// How long a lease lasts: longer than the longest try.
    pub(super) lease: Duration,
    /// Names this process in leases.
    pub(super) holder: String,
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

impl Visitor {
    /// Serves one endpoint until nothing is due, or others should have their turn. Says whether it went well.
    pub(super) async fn visit(&self, id: &str, stop: &CancellationToken) -> bool {
        let served = self.serve(id, stop).await;
        match &served {
            Ok(()) => {}
            Err(OutboxError::Catalog(error)) if error.is_passing() => {
                tracing::debug!(webhook = id, %error, "a webhook waits for the catalog");
            }
            Err(error) => tracing::warn!(webhook = id, %error, tag = error.tag(), "a webhook waits"),
        }
        served.is_ok()
    }

    fn lease_end(&self) -> Millis {
        self.clock.now().plus(millis(self.lease))
    }

    async fn serve(&self, id: &str, stop: &CancellationToken) -> Result<(), OutboxError> {
        let (now, lease_end) = (self.clock.now(), self.lease_end());
        let Some(mut claim) = self.catalog.claim_webhook(id, &self.holder, now, lease_end).await? else {
            return Ok(());
        };
        let (mut rows, began) = (VecDeque::new(), Instant::now());
        while began.elapsed() < WEBHOOK_VISIT_TIME {
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
            let (tried, failures) = (step.log.clone(), step.failures);
            if !self.catalog.record_webhook(id, &self.holder, self.lease_end(), step).await? {
                // A replay, or another process: whoever is next begins from what is stored.
                return Ok(());
            }
            if let Some(delivery) = tried {
                tell(id, &delivery, failures);
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
        let message = Message::of_row(&claim.webhook.id, &work.row);
        let tried = try_once(&self.poster, &self.clock, claim, &message).await;
        let attempt = work.before.map_or(1, |(attempts, _)| attempts + 1);
        // A new row takes those before it that the endpoint does not ask for along.
        let seq = if work.before.is_some() { claim.webhook.seq } else { work.row.seq };
        let done = work.before.map(|_| work.row.seq);
        let (result, step) = match tried.verdict() {
            Verdict::Taken => {
                let was_away = claim.webhook.failures >= WEBHOOK_FAILURES_TO_REST;
                let (failures, failing_since, resume_at) = (0, Millis(0), Millis(0));
                let back_since = was_away.then_some(claim.failing_since);
                let step = Step { seq, failures, failing_since, resume_at, done, back_since, ..unchanged(claim) };
                (DeliveryResult::Delivered, step)
            }
            // The event stays where it is: an endpoint that is made active again goes on with it.
            Verdict::Gone => {
                let seq = if work.before.is_some() { seq } else { seq - 1 };
                let reason = "it answered 410 Gone".to_owned();
                (DeliveryResult::Gone, Step { seq, disable: Some(reason), ..unchanged(claim) })
            }
            Verdict::Failed => {
                let random = u64::from_le_bytes(random::bytes()?);
                let failed = self.failed(claim, tried.at, random);
                let first_at = work.before.map_or(tried.at, |(_, first_at)| first_at);
                match schedule::next(&self.retries, attempt, first_at, self.clock.now(), tried.retry_after(), random) {
                    Next::GiveUp => (DeliveryResult::GivenUp, Step { seq, done, ..failed }),
                    Next::At(due_at) => {
                        let retry = Retry { seq: work.row.seq, attempts: attempt, first_at, due_at, row: None };
                        (DeliveryResult::Failed, Step { seq, set_aside: Some(retry), ..failed })
                    }
                }
            }
        };
        let delivery = tried.log(Some(work.row.seq), work.row.kind, message.id, attempt, result);
        Ok(Step { log: Some(delivery), ..step })
    }

    /// What a failure means for the endpoint.
    fn failed(&self, claim: &Claim, at: Millis, random: u64) -> Step {
        let failures = claim.webhook.failures.saturating_add(1);
        Step {
            failures,
            failing_since: if claim.webhook.failures == 0 { at } else { claim.failing_since },
            resume_at: schedule::rest(&self.retries, failures, self.clock.now(), random),
            ..unchanged(claim)
        }
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
        Step { log: Some(delivery), done: Some(retry.seq), ..unchanged(claim) }
    }
}

fn unchanged(claim: &Claim) -> Step {
    Step {
        seq: claim.webhook.seq,
        failures: claim.webhook.failures,
        failing_since: claim.failing_since,
        resume_at: claim.resume_at,
        log: None,
        set_aside: None,
        done: None,
        back_since: None,
        disable: None,
    }
}

/// Counts a try when it is recorded, and says what an operator should know. Never the address: its query may hold a secret.
fn tell(webhook: &str, delivery: &Delivery, failures: i64) {
    counter!(names::WEBHOOK_DELIVERIES, "result" => delivery.result.tag()).increment(1);
    let Delivery { seq, attempt, .. } = *delivery;
    if attempt > 1 {
        counter!(names::WEBHOOK_RETRIES).increment(1);
    }
    let (kind, error) = (&delivery.kind, delivery.error.as_deref().unwrap_or_default());
    match delivery.result {
        DeliveryResult::Delivered => tracing::debug!(webhook, seq, kind, attempt, "delivered"),
        DeliveryResult::Failed => {
            tracing::info!(webhook, seq, kind, attempt, error, "a webhook was not taken; it is tried again");
        }
        DeliveryResult::GivenUp => tracing::warn!(webhook, seq, kind, attempt, error, "a webhook is given up"),
        DeliveryResult::Gone => {
            tracing::warn!(webhook, seq, kind, "a webhook's endpoint is gone (410): it is disabled");
        }
    }
    let failed = matches!(delivery.result, DeliveryResult::Failed | DeliveryResult::GivenUp);
    if failed && failures == WEBHOOK_FAILURES_TO_REST {
        tracing::warn!(webhook, failures, error, "an endpoint takes nothing: its events wait until it is back");
    }
}
