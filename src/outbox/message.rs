//! A message as Standard Webhooks has it (standardwebhooks.com, specification 1.0): id, timestamp, signatures, body. Pure.

use serde_json::Value;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

use crate::{
    catalog::webhooks::WaitingRow,
    config::secret::Secret,
    core::time::{Millis, SECOND_MS},
};

/// Bytes of the hash in an id.
const ID_BYTES: usize = 16;

/// One message to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The same at each try, also at one behind a crash or a replay: receivers drop what they have had by it.
    pub(super) id: String,
    pub(super) body: String,
}

/// No secret that was made here fails; a catalog that somebody edited may hold others.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a secret of this endpoint is not usable: rotate it")]
pub(super) struct UnusableSecret;

impl Message {
    /// The id is made from the whole row and not from its number alone: behind the restore of a backup the numbers are given
    /// again, to other events, which no receiver may take for known ones.
    pub(super) fn of_row(webhook: &str, row: &WaitingRow) -> Message {
        let mut hasher = blake3::Hasher::new();
        for part in [webhook.as_bytes(), &row.seq.to_be_bytes(), &row.at.0.to_be_bytes(), row.kind.as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        hasher.update(row.body.as_bytes());
        let id = data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..ID_BYTES]);
        Message { id: format!("msg_{id}"), body: body(&row.kind, row.at, &row.body) }
    }

    /// A message that stands for no event.
    pub(super) fn test(webhook: &str, now: Millis, random: [u8; ID_BYTES]) -> Message {
        let data = serde_json::json!({ "webhook": webhook });
        let id = format!("msg_test_{}", data_encoding::HEXLOWER.encode(&random));
        Message { id, body: body(TEST_KIND, now, &data.to_string()) }
    }

    /// The three headers of a try at this time, with one signature a secret.
    pub(super) fn headers(
        &self,
        secrets: &[Secret],
        now: Millis,
    ) -> Result<[(&'static str, String); 3], UnusableSecret> {
        let timestamp = now.0.div_euclid(SECOND_MS);
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| Webhook::new(secret.expose())?.sign(&self.id, timestamp, self.body.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|_| UnusableSecret)?;
        if signatures.is_empty() {
            return Err(UnusableSecret);
        }
        Ok([
            (HEADER_WEBHOOK_ID, self.id.clone()),
            (HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string()),
            (HEADER_WEBHOOK_SIGNATURE, signatures.join(" ")),
        ])
    }
}

/// Kind of a test.
pub(super) const TEST_KIND: &str = "webhook.test";

/// `data` is JSON already: it is not read again, so that the bytes are the same at each try.
fn body(kind: &str, at: Millis, data: &str) -> String {
    format!("{{\"type\":{},\"timestamp\":\"{at}\",\"data\":{data}}}", Value::from(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use crate::io::clock::Clock;

    fn row() -> WaitingRow {
        let body = r#"{"id":"r1","amount":1250}"#.to_owned();
        WaitingRow {
            seq: 7,
            at: Millis(1_772_366_400_000),
            kind: "reward.due".to_owned(),
            program: "p".to_owned(),
            body,
        }
    }

    fn headers(message: &Message, secrets: &[Secret], now: Millis) -> HeaderMap {
        let headers = message.headers(secrets, now).unwrap();
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn the_body_is_the_standards() {
        let message = Message::of_row("wh_1", &row());
        let expected =
            r#"{"type":"reward.due","timestamp":"2026-03-01T12:00:00.000Z","data":{"id":"r1","amount":1250}}"#;
        assert_eq!(message.body, expected);
    }

    #[test]
    fn an_id_belongs_to_a_row_and_an_endpoint() {
        let id = Message::of_row("wh_1", &row()).id;
        assert_eq!(Message::of_row("wh_1", &row()).id, id);
        assert_ne!(Message::of_row("wh_2", &row()).id, id);
        assert_ne!(Message::of_row("wh_1", &WaitingRow { seq: 8, ..row() }).id, id);
        assert_ne!(Message::of_row("wh_1", &WaitingRow { body: "{}".to_owned(), ..row() }).id, id);
        assert!(id.len() <= 64 && !id.contains('.'), "the standard signs `id.timestamp.body`");
    }

    #[test]
    fn each_secret_signs_and_no_other_verifies() {
        let secret = |byte: u8| Secret::new(format!("whsec_{}", data_encoding::BASE64.encode(&[byte; 32])));
        let (message, now) = (Message::of_row("wh_1", &row()), Clock::System.now());
        let signed = headers(&message, &[secret(1), secret(2)], now);
        let verified = |byte, body: &str| Webhook::new(secret(byte).expose()).unwrap().verify(body.as_bytes(), &signed);
        assert!(verified(1, &message.body).is_ok() && verified(2, &message.body).is_ok());
        assert!(verified(3, &message.body).is_err());
        assert!(verified(1, &message.body.replace("1250", "9999")).is_err());
        assert_eq!(message.headers(&[], now), Err(UnusableSecret));
        assert_eq!(message.headers(&[Secret::new("whsec_!")], now), Err(UnusableSecret));
    }
}
