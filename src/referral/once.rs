//! Requests that have their effect once: the answer is kept in the transaction of the effect.

use serde::Serialize;

use super::DeskError;
use crate::catalog::record::{Answer, Answered, Recording};

/// A request that has its effect once, however often it is sent: the same key gets the same answer.
#[derive(Clone, Debug)]
pub struct Once {
    /// What the key belongs to: the same one may stand for one thing at each door.
    pub scope: &'static str,
    pub key: String,
    /// Of the request.
    pub digest: String,
}

/// What was answered under this key.
pub(super) async fn answered(record: &mut Recording, once: Option<&Once>) -> Result<Option<Answer>, DeskError> {
    let Some(Once { scope, key, digest }) = once else { return Ok(None) };
    match record.answered(scope, key, digest).await? {
        Answered::No => Ok(None),
        Answered::Yes(answer) => Ok(Some(answer)),
        Answered::Otherwise(answer) => {
            let known = serde_json::from_str(&answer.body).unwrap_or_default();
            Err(DeskError::Conflict { what: "Idempotency-Key", name: key.clone(), known })
        }
    }
}

/// Keeps the answer with its effect.
pub(super) async fn finish(
    mut record: Recording,
    once: Option<&Once>,
    status: u16,
    body: &impl Serialize,
) -> Result<Answer, DeskError> {
    let answer = Answer { status, body: serde_json::to_string(body).unwrap_or_default() };
    if let Some(Once { scope, key, digest }) = once {
        record.keep_answer(scope, key, digest, &answer).await?;
    }
    record.commit().await?;
    Ok(answer)
}
