//! Webhooks and mail, with the real binary and real servers at the other end: signed, retried, never lost, never where they
//! must not go.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod delivery;
mod receiver;

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use support::{Options, Server, api};

/// Retries within milliseconds, and one machine's own addresses allowed.
pub(crate) fn quick() -> Options {
    Options::default()
        .set("webhooks.allow_hosts", "127.0.0.1")
        .set("webhooks.retry_first", "20ms")
        .set("webhooks.retry_longest", "100ms")
        .set("webhooks.timeout", "2s")
        .set("webhooks.poll_interval", "20ms")
}

/// Writes events into the outbox as the rules will: in one transaction, with numbers without a gap. `data` is `{"n": …}`.
pub(crate) fn happen(data: &Path, kind: &str, program: &str, numbers: impl IntoIterator<Item = i64>) {
    let url = format!("sqlite:{}", data.join("catalog.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for n in numbers {
            sqlx::query(
                "INSERT INTO outbox (seq, node, at_ms, kind, program, body) \
                 SELECT next, 'test', 1772366400000, $1, $2, $3 FROM outbox_head",
            )
            .bind(kind)
            .bind(program)
            .bind(json!({ "n": n }).to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
            sqlx::query("UPDATE outbox_head SET next = next + 1").execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    });
}

/// One request to the API that must succeed.
pub(crate) fn call(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let answer = api(server.control, &server.token(), method, path, body);
    assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
    if answer.status == 204 { Value::Null } else { answer.json() }
}

/// A new endpoint: its id and its secret.
pub(crate) fn endpoint(server: &Server, body: &Value) -> (String, String) {
    let made = call(server, "POST", "/v1/webhooks", body);
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

pub(crate) fn shown(server: &Server, id: &str) -> Value {
    call(server, "GET", &format!("/v1/webhooks/{id}"), &Value::Null)
}

/// The log of an endpoint, the newest first.
pub(crate) fn log(server: &Server, id: &str) -> Vec<Value> {
    let page = call(server, "GET", &format!("/v1/webhooks/{id}/deliveries"), &Value::Null);
    page["items"].as_array().unwrap().clone()
}
