//! Events of others: each has its effect once, and is written with it.

use super::{super::CatalogError, Recording};

/// An event of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    pub endpoint: &'a str,
    /// What its sender calls it.
    pub event: &'a str,
    /// What sort of event it is, in the sender's words.
    pub kind: &'a str,
    /// Nothing followed from it.
    pub ignored: bool,
}

impl Recording {
    /// Notes an event; false: it had its effect before.
    pub async fn first_time(&mut self, inbound: Inbound<'_>) -> Result<bool, CatalogError> {
        let made = sqlx::query(
            "INSERT INTO inbound_events (endpoint, event, kind, result, at_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (endpoint, event) DO NOTHING",
        )
        .bind(inbound.endpoint.to_owned())
        .bind(inbound.event.to_owned())
        .bind(inbound.kind.to_owned())
        .bind(if inbound.ignored { "ignored" } else { "applied" })
        .bind(self.now().0)
        .execute(self.writing.tx().await?)
        .await?;
        Ok(made.rows_affected() > 0)
    }

    /// The key of hashes that are compared and never shown, made when it is first asked for.
    pub async fn hash_key(&mut self) -> Result<String, CatalogError> {
        use sqlx::Row;
        let fresh = data_encoding::HEXLOWER.encode(&crate::io::random::bytes::<32>()?);
        sqlx::query("INSERT INTO meta (name, value) VALUES ('hash_key', $1) ON CONFLICT (name) DO NOTHING")
            .bind(fresh)
            .execute(self.writing.tx().await?)
            .await?;
        let row =
            sqlx::query("SELECT value FROM meta WHERE name = 'hash_key'").fetch_one(self.writing.tx().await?).await?;
        Ok(row.try_get(0)?)
    }
}
