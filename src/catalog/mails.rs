//! Mails that wait for their delivery: written in the transaction of the change that causes them, so that there is a mail
//! exactly where there is the change.
//!
//! A mail belongs to one process at a time, by a lease, as an endpoint of webhooks does. What was sent or given up is kept
//! for a time (`retention.mails`).

use sqlx::{AnyConnection, Row};

use super::{Catalog, CatalogError, entity::RowReader, write::Writing};
use crate::core::{id::EventId, time::Millis};

/// A mail as it is asked for. It does not print: addresses and contents stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct NewMail {
    /// One address.
    pub recipient: String,
    pub subject: String,
    pub text: String,
    /// The same as HTML, where there is more to show.
    pub html: Option<String>,
}

impl std::fmt::Debug for NewMail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewMail({} bytes)", self.text.len())
    }
}

/// A mail whose turn it is.
#[derive(Clone, Debug)]
pub struct QueuedMail {
    pub id: String,
    pub mail: NewMail,
    /// Tries so far.
    pub attempts: i64,
    pub created_at: Millis,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    Sent,
    /// It is tried again.
    Later {
        due_at: Millis,
        error: String,
    },
    GivenUp {
        error: String,
    },
}

/// State of a mail that is never sent: a log-in code for nobody (see `logins`).
pub(super) const SILENT: &str = "silent";

/// Puts a mail into the queue. It leaves when the transaction is committed, and not before `due`. Returns its id.
pub(super) async fn insert(
    tx: &mut AnyConnection,
    mail: &NewMail,
    state: &str,
    now: Millis,
    due: Millis,
) -> Result<String, CatalogError> {
    let id = EventId::new(now, crate::io::random::bytes()?).to_string();
    let done = (state == SILENT).then_some(now.0);
    sqlx::query(
        "INSERT INTO mails \
         (id, recipient, subject, text_body, html_body, state, attempts, created_at, due_at, done_at, holder, lease_until) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, '', 0)",
    )
    .bind(id.clone())
    .bind(mail.recipient.clone())
    .bind(mail.subject.clone())
    .bind(mail.text.clone())
    .bind(mail.html.clone())
    .bind(state.to_owned())
    .bind(now.0)
    .bind(due.0)
    .bind(done)
    .execute(tx)
    .await?;
    Ok(id)
}

impl Writing {
    /// The mail leaves when this transaction is committed, and only then. Returns its id.
    pub(super) async fn mail(&mut self, mail: &NewMail) -> Result<String, CatalogError> {
        let now = self.now;
        insert(self.tx().await?, mail, "waiting", now, now).await
    }
}

impl Catalog {
    /// A mail that no other change causes. Returns its id.
    pub async fn queue_mail(&self, mail: &NewMail) -> Result<String, CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let id = writing.mail(mail).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// Takes mails that are due, at most `limit`, until `lease_until`.
    pub async fn claim_mails(
        &self,
        holder: &str,
        now: Millis,
        lease_until: Millis,
        limit: u32,
    ) -> Result<Vec<QueuedMail>, CatalogError> {
        let due = "SELECT id FROM mails WHERE state = 'waiting' AND due_at <= $1 AND lease_until <= $1 \
             ORDER BY due_at, id LIMIT $2";
        let due = self.rows(sqlx::query(due).bind(now.0).bind(i64::from(limit))).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.writing().await?;
        let mut claimed = Vec::with_capacity(due.len());
        for id in &due {
            let row = sqlx::query(
                "UPDATE mails SET holder = $2, lease_until = $3 WHERE id = $1 AND state = 'waiting' AND lease_until <= $4 \
                 RETURNING id, recipient, subject, text_body, html_body, attempts, created_at",
            )
            .bind(id.try_get::<String, _>(0)?)
            .bind(holder.to_owned())
            .bind(lease_until.0)
            .bind(now.0)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else { continue };
            let mut row = RowReader::new(&row);
            claimed.push(QueuedMail {
                id: row.text()?.to_owned(),
                mail: NewMail {
                    recipient: row.text()?.to_owned(),
                    subject: row.text()?.to_owned(),
                    text: row.text()?.to_owned(),
                    html: row.optional_text()?.map(str::to_owned),
                },
                attempts: row.integer()?,
                created_at: Millis(row.integer()?),
            });
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Writes down what became of a try, under the condition that the mail is still this holder's.
    pub async fn record_mail(&self, id: &str, holder: &str, outcome: &MailOutcome) -> Result<bool, CatalogError> {
        let (now, (state, due_at, error)) = (
            self.shared.clock.now(),
            match outcome {
                MailOutcome::Sent => ("sent", None, None),
                MailOutcome::Later { due_at, error } => ("waiting", Some(due_at.0), Some(error.clone())),
                MailOutcome::GivenUp { error } => ("given_up", None, Some(error.clone())),
            },
        );
        let mut tx = self.writing().await?;
        let changed = sqlx::query(
            "UPDATE mails SET state = $3, due_at = COALESCE($4, due_at), error = $5, done_at = $6, attempts = attempts + 1, \
             holder = '', lease_until = 0 WHERE id = $1 AND holder = $2 AND state = 'waiting'",
        )
        .bind(id.to_owned())
        .bind(holder.to_owned())
        .bind(state)
        .bind(due_at)
        .bind(error)
        .bind(due_at.is_none().then_some(now.0))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(changed.rows_affected() > 0)
    }

    /// When the oldest mail was asked for that waits.
    pub async fn oldest_mail(&self) -> Result<Option<Millis>, CatalogError> {
        let rows = self.rows(sqlx::query("SELECT MIN(created_at) FROM mails WHERE state = 'waiting'")).await?;
        let oldest: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get(0))?;
        Ok(oldest.map(Millis))
    }
}
