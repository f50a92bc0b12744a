//! From the outbox to the endpoint.

use serde_json::{Value, json};

use crate::{
    call, endpoint, happen, log, quick,
    receiver::{Receiver, Reply},
    shown,
    support::{Server, eventually, metric},
};

#[test]
fn an_event_arrives_signed_and_a_failure_is_tried_again_with_the_same_id() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    let (id, secret) = endpoint(&server, &json!({ "address": receiver.url("/hooks?a=b") }));
    assert!(secret.starts_with("whsec_"), "{secret}");
    receiver.script([Reply::Status(500), Reply::Status(503), Reply::Status(204)]);
    happen(folder.path(), "reward.due", "spring", [1]);
    let received = receiver.wait_for(3);
    assert!(received.iter().all(|request| request.verifies(&secret)), "{received:#?}");
    assert!(received.iter().all(|request| request.id() == received[0].id() && request.body == received[0].body));
    let expected = json!({ "type": "reward.due", "timestamp": "2026-03-01T12:00:00.000Z", "data": { "n": 1 } });
    assert_eq!(received[0].json(), expected);
    assert_eq!((received[0].path.as_str(), received[0].header("content-type").as_str()), ("/hooks", "application/json"));

    let log = eventually("the log", || Some(log(&server, &id)).filter(|log| log.len() == 3));
    let tries: Vec<(i64, &str, i64)> = log
        .iter()
        .rev()
        .map(|row| (row["attempt"].as_i64().unwrap(), row["result"].as_str().unwrap(), row["status"].as_i64().unwrap()))
        .collect();
    assert_eq!(tries, [(1, "failed", 500), (2, "failed", 503), (3, "delivered", 204)]);
    assert_eq!((&log[2]["answer"], &log[2]["error"]), (&json!("this is 500"), &json!("it answered 500")));
    assert!(log.iter().all(|row| row["message"] == received[0].id() && row["seq"] == 1 && row["type"] == "reward.due"));
    let webhook = shown(&server, &id);
    assert_eq!((&webhook["seq"], &webhook["retries"], &webhook["failures"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(webhook["secret"], Value::Null, "it is shown once");
    let count = |result: &str| metric(server.ops, &format!("fingerpost_webhook_deliveries_total{{result=\"{result}\"}}"));
    assert_eq!((count("delivered"), count("failed"), count("gone")), (Some(1.0), Some(2.0), Some(0.0)));
    assert_eq!(metric(server.ops, "fingerpost_webhook_retries_total"), Some(2.0));
    call(&server, "DELETE", &format!("/v1/webhooks/{id}"), &Value::Null);
    assert!(server.stop().success());
}
