//! What is kept for a time only, in small steps: each is one short transaction, so that nobody waits for it.
//!
//! A lead that led to nothing (nobody was credited with it, and the person bought nothing) stays as a number; its person is
//! forgotten: names, keys, browsers and metadata go, as an erasure would take them.

use sqlx::Row;

use super::{
    Catalog, CatalogError,
    audit::{Change, Deed},
    persons::Terms,
    write::Writing,
};
use crate::core::{limits::SWEEP_ROWS, time::Millis};

/// Kinds of data that have a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiring {
    /// Answers under an Idempotency-Key.
    Answers,
    /// Mails that were sent or given up.
    Mails,
    /// The log of webhooks.
    Deliveries,
    /// The metadata of leads.
    Metadata,
    /// Lines of uploaded files that were refused.
    RefusedLines,
    Audit,
}

impl Expiring {
    pub const ALL: &'static [Expiring] = &[
        Expiring::Answers,
        Expiring::Mails,
        Expiring::Deliveries,
        Expiring::Metadata,
        Expiring::RefusedLines,
        Expiring::Audit,
    ];

    /// As metrics and the audit log have it.
    pub const fn label(self) -> &'static str {
        match self {
            Expiring::Answers => "answers",
            Expiring::Mails => "mails",
            Expiring::Deliveries => "deliveries",
            Expiring::Metadata => "metadata",
            Expiring::RefusedLines => "refused_lines",
            Expiring::Audit => "audit",
        }
    }

    /// Takes `$2` rows from before `$1`.
    const fn statement(self) -> &'static str {
        match self {
            Expiring::Answers => {
                "DELETE FROM answers WHERE (scope, token) IN (SELECT scope, token FROM answers WHERE at_ms < $1 \
                 ORDER BY at_ms LIMIT $2)"
            }
            Expiring::Mails => {
                "DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE done_at IS NOT NULL AND done_at < $1 \
                 ORDER BY done_at LIMIT $2)"
            }
            Expiring::Deliveries => {
                "DELETE FROM webhook_deliveries WHERE (webhook, number) IN (SELECT webhook, number FROM webhook_deliveries \
                 WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)"
            }
            Expiring::Metadata => {
                "UPDATE leads SET metadata = '{}' WHERE id IN (SELECT id FROM leads WHERE metadata <> '{}' \
                 AND told_ms < $1 ORDER BY told_ms LIMIT $2)"
            }
            Expiring::RefusedLines => {
                "DELETE FROM upload_refused WHERE (upload, line) IN (SELECT r.upload, r.line FROM upload_refused AS r \
                 JOIN uploads AS u ON u.id = r.upload WHERE u.state = 'done' AND u.updated_at < $1 LIMIT $2)"
            }
            Expiring::Audit => {
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)"
            }
        }
    }
}

impl Catalog {
    /// One step: takes some of what is older than `before`. How many; fewer than [`SWEEP_ROWS`] mean that nothing is left.
    pub async fn expire(&self, what: Expiring, before: Millis) -> Result<u64, CatalogError> {
        // Looking takes no lock from anybody.
        let probe = match what {
            Expiring::Answers => "SELECT 1 FROM answers WHERE at_ms < $1 LIMIT 1",
            Expiring::Mails => "SELECT 1 FROM mails WHERE done_at IS NOT NULL AND done_at < $1 LIMIT 1",
            Expiring::Deliveries => "SELECT 1 FROM webhook_deliveries WHERE at_ms < $1 LIMIT 1",
            Expiring::Metadata => "SELECT 1 FROM leads WHERE metadata <> '{}' AND told_ms < $1 LIMIT 1",
            Expiring::RefusedLines => {
                "SELECT 1 FROM upload_refused AS r JOIN uploads AS u ON u.id = r.upload WHERE u.state = 'done' \
                 AND u.updated_at < $1 LIMIT 1"
            }
            Expiring::Audit => "SELECT 1 FROM audit WHERE at_ms < $1 LIMIT 1",
        };
        if self.rows(sqlx::query(probe).bind(before.0)).await?.is_empty() {
            return Ok(0);
        }
        let mut writing = Writing::begin_facts(self).await?;
        let query = sqlx::query(what.statement()).bind(before.0).bind(i64::from(SWEEP_ROWS));
        let gone = query.execute(writing.tx().await?).await?.rows_affected();
        writing.commit().await?;
        Ok(gone)
    }

    /// Forgets the persons of some leads that are older than `before` and led to nothing; of those behind a contact. How many,
    /// and where the next step goes on; `None`: it was the last.
    pub async fn expire_leads(&self, before: Millis, after: &str) -> Result<(u64, Option<String>), CatalogError> {
        let sql = "SELECT id FROM contacts WHERE id > $1 AND created_at < $2 AND same_as IS NULL \
             AND (email IS NOT NULL OR external IS NOT NULL OR first_name <> '' OR last_name <> '') ORDER BY id LIMIT $3";
        let query = sqlx::query(sql).bind(after.to_owned()).bind(before.0).bind(i64::from(SWEEP_ROWS));
        let rows = self.rows(query).await?;
        let contacts: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let next = contacts.last().filter(|_| contacts.len() == SWEEP_ROWS as usize).cloned();
        let mut old = Vec::new();
        for contact in contacts {
            if self.led_to_nothing(&contact, before).await? {
                old.push(contact);
            }
        }
        if old.is_empty() {
            return Ok((0, next));
        }
        let mut writing = Writing::begin_facts(self).await?;
        let mut gone = 0;
        for contact in old {
            // Somebody may have told of them since.
            let row =
                sqlx::query(NOTHING).bind(contact.clone()).bind(before.0).fetch_optional(writing.tx().await?).await?;
            if row.is_none() {
                continue;
            }
            let mut contacts = vec![contact.clone()];
            let same = sqlx::query("SELECT id FROM contacts WHERE same_as = $1").bind(contact);
            for row in same.fetch_all(writing.tx().await?).await? {
                contacts.push(row.try_get(0)?);
            }
            let terms = Terms { contacts, ..Terms::default() };
            writing.clear_facts(&terms).await?;
            writing.clear_contacts(&terms.contacts).await?;
            gone += 1;
        }
        writing.commit().await?;
        Ok((gone, next))
    }

    async fn led_to_nothing(&self, contact: &str, before: Millis) -> Result<bool, CatalogError> {
        Ok(!self.rows(sqlx::query(NOTHING).bind(contact.to_owned()).bind(before.0)).await?.is_empty())
    }

    /// A row of the audit log for what was taken in many steps.
    pub async fn note_expired(&self, what: &'static str, rows: u64, before: Millis) -> Result<(), CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let changes = vec![
            Change::new("rows", serde_json::Value::Null, rows),
            Change::new("before", serde_json::Value::Null, before.to_string()),
        ];
        writing.audit(Deed::new("expire", what, "").with(changes));
        writing.commit().await
    }
}

/// Whether a contact has old leads only, no referral and no conversion.
const NOTHING: &str = "SELECT 1 FROM contacts AS c WHERE c.id = $1 \
     AND NOT EXISTS (SELECT 1 FROM leads AS l WHERE l.contact = c.id AND l.told_ms >= $2) \
     AND NOT EXISTS (SELECT 1 FROM referrals AS r WHERE r.contact = c.id) \
     AND NOT EXISTS (SELECT 1 FROM conversions AS v WHERE v.contact = c.id)";
