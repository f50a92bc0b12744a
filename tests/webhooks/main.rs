//! Webhooks and mail, with the real binary and real servers at the other end: signed, retried, never lost, never where they
//! must not go.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod delivery;
mod endpoints;
mod faults;
mod mail;
mod places;
mod receiver;
mod smtp;

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection, Row};
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

/// Runs something on the catalog of a data folder, beside the server.
pub(crate) fn with_catalog<T>(url: &str, work: impl AsyncFnOnce(&mut AnyConnection) -> T) -> T {
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = AnyConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        work(&mut connection).await
    })
}

/// The catalog in a data folder.
pub(crate) fn catalog_of(data: &Path) -> String {
    format!("sqlite:{}", data.join("catalog.db").display())
}

/// Writes events into the outbox as the rules do: in one transaction, with numbers without a gap. `data` is `{"n": …}`.
pub(crate) fn happen_in(url: &str, kind: &str, program: &str, numbers: impl IntoIterator<Item = i64>) {
    with_catalog(url, async |connection| {
        let mut tx = connection.begin().await.unwrap();
        for n in numbers {
            let head = sqlx::query("UPDATE outbox_head SET next = next + 1 WHERE one = 1 RETURNING next");
            let seq = head.fetch_one(&mut *tx).await.unwrap().get::<i64, _>(0) - 1;
            let sql = "INSERT INTO outbox (seq, node, at_ms, kind, program, body) VALUES ($1, 'test', $2, $3, $4, $5)";
            sqlx::query(sql)
                .bind(seq)
                .bind(HAPPENED_MS + seq)
                .bind(kind.to_owned())
                .bind(program.to_owned())
                .bind(json!({ "n": n }).to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    });
}

/// 2026-03-01T12:00:00Z. Each event is as many milliseconds later as its number says.
pub(crate) const HAPPENED_MS: i64 = 1_772_366_400_000;

pub(crate) fn happen(data: &Path, kind: &str, program: &str, numbers: impl IntoIterator<Item = i64>) {
    happen_in(&catalog_of(data), kind, program, numbers);
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
