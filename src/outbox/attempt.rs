//! One try to hand a message over, and what it means; and the test of an endpoint, at once and beside the queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Guard, OutboxError,
    message::{Message, TEST_KIND},
    post::{Answer, Poster},
    schedule::millis,
};
use crate::{
    catalog::{
        Catalog, CatalogError,
        webhooks::{Claim, Delivery, DeliveryResult},
    },
    config::outbox,
    core::time::Millis,
    io::{clock::Clock, random},
};

/// A try, and how it ended.
pub(super) struct Tried {
    pub(super) at: Millis,
    duration_ms: i64,
    outcome: Result<Answer, String>,
}

pub(super) enum Verdict {
    Taken,
    Gone,
    Failed,
}

pub(super) async fn try_once(poster: &Poster, clock: &Clock, claim: &Claim, message: &Message) -> Tried {
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
    pub(super) fn verdict(&self) -> Verdict {
        match &self.outcome {
            Ok(Answer { status: 200..=299, .. }) => Verdict::Taken,
            Ok(Answer { status: 410, .. }) => Verdict::Gone,
            Ok(_) | Err(_) => Verdict::Failed,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.outcome.as_ref().ok().and_then(|answer| answer.retry_after)
    }

    pub(super) fn log(
        self,
        seq: Option<i64>,
        kind: String,
        message: String,
        attempt: i64,
        result: DeliveryResult,
    ) -> Delivery {
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
