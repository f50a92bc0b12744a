//! What the deliverer asks and writes: which endpoint has something to do, whose it is, what is next, what became of a try.
//!
//! An endpoint belongs to one process at a time, by a lease: a conditional UPDATE takes it, and every record of a try renews
//! it under the condition that it still holds. Who lost it (to another process because its lease ran out, or to a replay)
//! records nothing, and the next holder tries again: at least once.

use serde::Serialize;
use sqlx::{Any, Row, Transaction, any::AnyRow};

use super::{Webhook, WebhookState, check_id, not_found};
use crate::{
    catalog::{Catalog, CatalogError, Mistake, Page, entity::RowReader},
    config::secret::Secret,
    core::{limits::WEBHOOK_LOG_ROWS, time::Millis},
};

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryResult {
    /// The endpoint answered 2xx.
    Delivered,
    /// It is tried again.
    Failed,
    /// It failed, and so it did for too long: it is not tried again.
    GivenUp,
    /// The endpoint answered 410: it is disabled.
    Gone,
}

impl DeliveryResult {
    pub const ALL: [DeliveryResult; 4] =
        [DeliveryResult::Delivered, DeliveryResult::Failed, DeliveryResult::GivenUp, DeliveryResult::Gone];

    /// In the log's rows and the metric's label.
    pub const fn tag(self) -> &'static str {
        match self {
            DeliveryResult::Delivered => "delivered",
            DeliveryResult::Failed => "failed",
            DeliveryResult::GivenUp => "given_up",
            DeliveryResult::Gone => "gone",
        }
    }

    fn from_tag(tag: &str) -> Option<DeliveryResult> {
        DeliveryResult::ALL.into_iter().find(|result| result.tag() == tag)
    }
}

/// One try, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Delivery {
    /// Of this endpoint, counted from 1.
    pub number: i64,
    /// The event's number in the outbox; null for a test.
    pub seq: Option<i64>,
    #[serde(rename = "type")]
    pub kind: String,
    /// The header `webhook-id`: the same at each try of an event.
    pub message: String,
    /// Counted from 1.
    pub attempt: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Millis,
    pub duration_ms: i64,
    pub result: DeliveryResult,
    /// The answer's status, where there was an answer.
    pub status: Option<i64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
}

/// A row of the outbox that an endpoint may be waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRow {
    pub seq: i64,
    pub at: Millis,
    pub kind: String,
    pub program: String,
    /// JSON.
    pub body: String,
}

/// A row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub seq: i64,
    pub attempts: i64,
    pub first_at: Millis,
    pub due_at: Millis,
    /// None where the outbox does not keep the row any more.
    pub row: Option<WaitingRow>,
}

/// An endpoint that this process may serve until the lease ends.
#[derive(Clone, Debug)]
pub struct Claim {
    pub webhook: Webhook,
    /// The newest first.
    pub secrets: Vec<Secret>,
    /// When the first of its failures was; 0 where there is none.
    pub failing_since: Millis,
    /// Nothing is sent before.
    pub resume_at: Millis,
}

/// What a try, or passing rows over, changes.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where the endpoint is afterwards.
    pub seq: i64,
    pub failures: i64,
    pub failing_since: Millis,
    pub resume_at: Millis,
    /// What the log notes; its number is given here.
    pub log: Option<Delivery>,
    /// A row that is set aside, or set aside again.
    pub set_aside: Option<Retry>,
    /// A row that is no longer set aside.
    pub done: Option<i64>,
    /// The endpoint was away from then on and takes events again: what it has not taken meanwhile is due at once. What it choked
    /// on before keeps to its schedule.
    pub back_since: Option<Millis>,
    /// Why the endpoint is disabled from now on.
    pub disable: Option<String>,
}

/// Of one endpoint, in the order in which they are due.
const DUE: &str = "SELECT r.seq, r.attempts, r.first_at, r.due_at, o.at_ms, o.kind, o.program, o.body \
     FROM webhook_retries r LEFT JOIN outbox o ON o.seq = r.seq \
     WHERE r.webhook = $1 AND r.due_at <= $2 ORDER BY r.due_at, r.seq LIMIT 1";

/// Endpoints that have something to do and are nobody else's. `$1` is the time, `$2` who asks.
const WORK: &str = "SELECT c.webhook FROM webhook_cursors c JOIN webhooks w ON w.id = c.webhook \
     WHERE w.state = 'active' AND c.resume_at <= $1 AND (c.lease_until <= $1 OR c.holder = $2) \
     AND (c.seq < (SELECT COALESCE(MAX(seq), 0) FROM outbox) \
     OR EXISTS (SELECT 1 FROM webhook_retries r WHERE r.webhook = c.webhook AND r.due_at <= $1)) ORDER BY c.webhook";

/// When the oldest event happened that an active endpoint waits for.
const OLDEST: &str = "SELECT MIN(at_ms) FROM (\
     SELECT MIN(o.at_ms) AS at_ms FROM webhook_cursors c JOIN webhooks w ON w.id = c.webhook JOIN outbox o ON o.seq = c.seq + 1 \
     WHERE w.state = 'active' \
     UNION ALL SELECT MIN(o.at_ms) FROM webhook_retries r JOIN webhooks w ON w.id = r.webhook JOIN outbox o ON o.seq = r.seq \
     WHERE w.state = 'active') AS waiting";

/// Up to where no active endpoint needs the outbox any more.
const PASSED: &str = "SELECT COALESCE(MIN(seq), (SELECT next - 1 FROM outbox_head WHERE one = 1)) FROM (\
     SELECT c.seq AS seq FROM webhook_cursors c JOIN webhooks w ON w.id = c.webhook WHERE w.state = 'active' \
     UNION ALL SELECT r.seq - 1 FROM webhook_retries r JOIN webhooks w ON w.id = r.webhook WHERE w.state = 'active') AS needed";

const LOG: &str = "SELECT number, seq, kind, message, attempt, at_ms, duration_ms, result, status, error, answer \
     FROM webhook_deliveries WHERE webhook = $1 AND number < $2 ORDER BY number DESC LIMIT $3";

impl Catalog {
    /// Ids of endpoints that have something to do and are not somebody else's.
    pub async fn webhooks_to_serve(&self, holder: &str, now: Millis) -> Result<Vec<String>, CatalogError> {
        let rows = self.rows(sqlx::query(WORK).bind(now.0).bind(holder.to_owned())).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Up to where no active endpoint needs the outbox any more. A disabled one keeps nothing from being purged.
    pub async fn webhooks_passed(&self) -> Result<u64, CatalogError> {
        let rows = self.rows(sqlx::query(PASSED)).await?;
        let seq: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    /// When the oldest event happened that still waits for an active endpoint.
    pub async fn oldest_webhook_row(&self) -> Result<Option<Millis>, CatalogError> {
        let rows = self.rows(sqlx::query(OLDEST)).await?;
        let oldest: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get(0))?;
        Ok(oldest.map(Millis))
    }

    /// Takes an endpoint until `lease_until`; `None` where it is somebody else's, or not to be served.
    pub async fn claim_webhook(
        &self,
        id: &str,
        holder: &str,
        now: Millis,
        lease_until: Millis,
    ) -> Result<Option<Claim>, CatalogError> {
        let mut tx = self.writing().await?;
        let taken = sqlx::query(
            "UPDATE webhook_cursors SET holder = $2, lease_until = $3 \
             WHERE webhook = $1 AND (holder = $2 OR lease_until <= $4)",
        )
        .bind(id.to_owned())
        .bind(holder.to_owned())
        .bind(lease_until.0)
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if taken.rows_affected() == 0 {
            return Ok(None);
        }
        let claim = self.webhook_with_secrets(id, now).await?;
        Ok(claim.filter(|claim| claim.webhook.state == WebhookState::Active))
    }

    /// An endpoint with what signs its messages at this time.
    pub async fn webhook_with_secrets(&self, id: &str, now: Millis) -> Result<Option<Claim>, CatalogError> {
        let webhook = match self.webhook(id).await {
            Err(CatalogError::NotFound { .. }) => return Ok(None),
            webhook => webhook?,
        };
        let sql = "SELECT secret, CASE WHEN older_until > $2 THEN older_secret END, failing_since, resume_at \
             FROM webhooks JOIN webhook_cursors ON webhook = id WHERE id = $1";
        let rows = self.rows(sqlx::query(sql).bind(id.to_owned()).bind(now.0)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (secret, older): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let secrets = [Some(secret), older].into_iter().flatten().map(Secret::new).collect();
        let (failing_since, resume_at) = (Millis(row.try_get(2)?), Millis(row.try_get(3)?));
        Ok(Some(Claim { webhook, secrets, failing_since, resume_at }))
    }

    /// Lets go of an endpoint, so that others need not wait for the lease's end.
    pub async fn release_webhook(&self, id: &str, holder: &str) -> Result<(), CatalogError> {
        let mut tx = self.writing().await?;
        sqlx::query("UPDATE webhook_cursors SET holder = '', lease_until = 0 WHERE webhook = $1 AND holder = $2")
            .bind(id.to_owned())
            .bind(holder.to_owned())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The row that was set aside and is due first.
    pub async fn due_webhook_retry(&self, id: &str, now: Millis) -> Result<Option<Retry>, CatalogError> {
        let rows = self.rows(sqlx::query(DUE).bind(id.to_owned()).bind(now.0)).await?;
        rows.first().map(retry).transpose()
    }

    /// Rows of the outbox behind `seq`, in order.
    pub async fn webhook_rows_after(&self, seq: i64, limit: u32) -> Result<Vec<WaitingRow>, CatalogError> {
        let sql = "SELECT seq, at_ms, kind, program, body FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.rows(sqlx::query(sql).bind(seq).bind(i64::from(limit))).await?;
        rows.iter()
            .map(|row| {
                let mut row = RowReader::new(row);
                Ok(WaitingRow {
                    seq: row.integer()?,
                    at: Millis(row.integer()?),
                    kind: row.text()?.to_owned(),
                    program: row.text()?.to_owned(),
                    body: row.text()?.to_owned(),
                })
            })
            .collect()
    }

    /// Writes down what became of a try, under the condition that the endpoint is still this holder's, and renews the lease.
    /// `false`: it is not, and nothing was written.
    pub async fn record_webhook(
        &self,
        id: &str,
        holder: &str,
        lease_until: Millis,
        step: Step,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.writing().await?;
        let row = sqlx::query(
            "UPDATE webhook_cursors SET seq = $3, failures = $4, failing_since = $5, resume_at = $6, lease_until = $7, \
             logged = logged + $8 WHERE webhook = $1 AND holder = $2 RETURNING logged",
        )
        .bind(id.to_owned())
        .bind(holder.to_owned())
        .bind(step.seq)
        .bind(step.failures)
        .bind(step.failing_since.0)
        .bind(step.resume_at.0)
        .bind(lease_until.0)
        .bind(i64::from(step.log.is_some()))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        if let Some(delivery) = &step.log {
            log(&mut tx, id, row.try_get(0)?, delivery).await?;
        }
        if let Some(retry) = &step.set_aside {
            sqlx::query(
                "INSERT INTO webhook_retries (webhook, seq, attempts, first_at, due_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (webhook, seq) DO UPDATE SET attempts = excluded.attempts, due_at = excluded.due_at",
            )
            .bind(id.to_owned())
            .bind(retry.seq)
            .bind(retry.attempts)
            .bind(retry.first_at.0)
            .bind(retry.due_at.0)
            .execute(&mut *tx)
            .await?;
        }
        if let Some(seq) = step.done {
            let sql = "DELETE FROM webhook_retries WHERE webhook = $1 AND seq = $2";
            sqlx::query(sql).bind(id.to_owned()).bind(seq).execute(&mut *tx).await?;
        }
        let now = self.shared.clock.now().0;
        if let Some(since) = step.back_since {
            let sql = "UPDATE webhook_retries SET due_at = $2 WHERE webhook = $1 AND due_at > $2 AND first_at >= $3";
            sqlx::query(sql).bind(id.to_owned()).bind(now).bind(since.0).execute(&mut *tx).await?;
        }
        if let Some(reason) = step.disable {
            let sql = "UPDATE webhooks SET state = 'disabled', reason = $2, updated_at = $3 WHERE id = $1";
            sqlx::query(sql).bind(id.to_owned()).bind(reason).bind(now).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Writes a test into the log, whoever serves the endpoint. Returns it with its number.
    pub async fn log_webhook_test(&self, id: &str, mut delivery: Delivery) -> Result<Delivery, CatalogError> {
        let mut tx = self.writing().await?;
        let sql = "UPDATE webhook_cursors SET logged = logged + 1 WHERE webhook = $1 RETURNING logged";
        let row = sqlx::query(sql).bind(id.to_owned()).fetch_optional(&mut *tx).await?;
        delivery.number = row.ok_or_else(|| not_found(id))?.try_get(0)?;
        log(&mut tx, id, delivery.number, &delivery).await?;
        tx.commit().await?;
        Ok(delivery)
    }

    /// The log of an endpoint, the newest first.
    pub async fn webhook_deliveries(
        &self,
        id: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Delivery>, CatalogError> {
        check_id(id)?;
        let before = match cursor {
            None => i64::MAX,
            Some(cursor) => cursor.parse().map_err(|_| {
                CatalogError::Invalid(vec![Mistake::new("cursor", "is not one of ours: use `next` of the page before")])
            })?,
        };
        // An endpoint that is not there has no log either, and says so.
        self.webhook(id).await?;
        let rows = self.rows(sqlx::query(LOG).bind(id.to_owned()).bind(before).bind(i64::from(limit) + 1)).await?;
        let items: Vec<Delivery> = rows.iter().take(limit as usize).map(delivery).collect::<Result<_, _>>()?;
        let more = rows.len() > limit as usize;
        let next = items.last().filter(|_| more).map(|last| last.number.to_string());
        Ok(Page { items, next })
    }
}

fn retry(row: &AnyRow) -> Result<Retry, CatalogError> {
    let mut columns = RowReader::new(row);
    let (seq, attempts) = (columns.integer()?, columns.integer()?);
    let (first_at, due_at) = (Millis(columns.integer()?), Millis(columns.integer()?));
    let row = match columns.optional_integer()? {
        None => None,
        Some(at) => Some(WaitingRow {
            seq,
            at: Millis(at),
            kind: columns.text()?.to_owned(),
            program: columns.text()?.to_owned(),
            body: columns.text()?.to_owned(),
        }),
    };
    Ok(Retry { seq, attempts, first_at, due_at, row })
}

fn delivery(row: &AnyRow) -> Result<Delivery, CatalogError> {
    let mut row = RowReader::new(row);
    Ok(Delivery {
        number: row.integer()?,
        seq: row.optional_integer()?,
        kind: row.text()?.to_owned(),
        message: row.text()?.to_owned(),
        attempt: row.integer()?,
        at: Millis(row.integer()?),
        duration_ms: row.integer()?,
        result: row.word(DeliveryResult::from_tag)?,
        status: row.optional_integer()?,
        error: row.optional_text()?.map(str::to_owned),
        answer: row.optional_text()?.map(str::to_owned),
    })
}

/// Adds to the log, and takes away what is too old.
async fn log(
    tx: &mut Transaction<'static, Any>,
    id: &str,
    number: i64,
    delivery: &Delivery,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO webhook_deliveries \
         (webhook, number, seq, kind, message, attempt, at_ms, duration_ms, result, status, error, answer) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(id.to_owned())
    .bind(number)
    .bind(delivery.seq)
    .bind(delivery.kind.clone())
    .bind(delivery.message.clone())
    .bind(delivery.attempt)
    .bind(delivery.at.0)
    .bind(delivery.duration_ms)
    .bind(delivery.result.tag())
    .bind(delivery.status)
    .bind(delivery.error.clone())
    .bind(delivery.answer.clone())
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM webhook_deliveries WHERE webhook = $1 AND number <= $2")
        .bind(id.to_owned())
        .bind(number - WEBHOOK_LOG_ROWS)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
