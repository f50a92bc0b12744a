//! Answers under an Idempotency-Key: stored with their effect, in one transaction, so that the same request gets the same
//! answer however often it is sent.

use sqlx::Row;

use super::{
    super::{CatalogError, trip::statement},
    ERASED, Recording,
};

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    No,
    /// The same request was answered so.
    Yes(Answer),
    /// Another request used this key, and was answered so.
    Otherwise(Answer),
}

impl Recording {
    /// What was answered under this key of a scope; `digest` is that of the request.
    pub async fn answered(&mut self, scope: &str, key: &str, digest: &str) -> Result<Answered, CatalogError> {
        let row = statement("SELECT digest, status, body FROM answers WHERE scope = $1 AND token = $2")
            .bind(scope.to_owned())
            .bind(key.to_owned())
            .first(&mut self.writing)
            .await?;
        let Some(row) = row else { return Ok(Answered::No) };
        let (known, status): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        let answer = Answer { status: u16::try_from(status).unwrap_or(200), body: row.try_get(2)? };
        Ok(if known == digest || known == ERASED { Answered::Yes(answer) } else { Answered::Otherwise(answer) })
    }

    pub async fn keep_answer(
        &mut self,
        scope: &str,
        key: &str,
        digest: &str,
        answer: &Answer,
    ) -> Result<(), CatalogError> {
        statement("INSERT INTO answers (scope, token, digest, status, body, at_ms) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(scope.to_owned())
            .bind(key.to_owned())
            .bind(digest.to_owned())
            .bind(i64::from(answer.status))
            .bind(answer.body.clone())
            .bind(self.now().0)
            .later(&mut self.writing);
        Ok(())
    }
}
