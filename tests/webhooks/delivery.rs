//! From the outbox to the endpoint: signed, in order, tried again, given up.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::{
    call, endpoint, happen, log, quick,
    receiver::{Received, Receiver, Reply},
    shown,
    support::{Server, eventually, metric},
};

/// Try, result and status of each row of a log, the oldest first.
fn tries(log: &[Value]) -> Vec<(i64, &str, i64)> {
    let number = |row: &Value, field: &str| row[field].as_i64().unwrap_or(0);
    log.iter()
        .rev()
        .map(|row| (number(row, "attempt"), row["result"].as_str().unwrap(), number(row, "status")))
        .collect()
}

fn numbers(received: &[Received]) -> Vec<i64> {
    received.iter().map(Received::n).collect()
}

#[test]
fn an_event_arrives_signed_and_a_failure_is_tried_again_with_the_same_id() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    let (id, secret) = endpoint(&server, &json!({ "address": receiver.url("/hooks?a=b") }));
    assert!(secret.starts_with("whsec_"), "{secret}");
    receiver.script([Reply::Status(500), Reply::Status(429), Reply::Status(204)]);
    happen(folder.path(), "reward.due", "spring", [7]);
    let received = receiver.wait_for(3);
    assert!(received.iter().all(|request| request.verifies(&secret)), "{received:#?}");
    assert!(received.iter().all(|request| request.id() == received[0].id() && request.body == received[0].body));
    let expected = json!({ "type": "reward.due", "timestamp": "2026-03-01T12:00:00.001Z", "data": { "n": 7 } });
    assert_eq!(received[0].json(), expected);
    assert_eq!(
        (received[0].target.as_str(), received[0].header("content-type").as_str()),
        ("/hooks?a=b", "application/json")
    );
    assert_eq!(received[0].header("host"), receiver.address.to_string());

    let log = eventually("the log", || Some(log(&server, &id)).filter(|log| log.len() == 3));
    assert_eq!(tries(&log), [(1, "failed", 500), (2, "failed", 429), (3, "delivered", 204)]);
    assert_eq!((&log[2]["answer"], &log[2]["error"]), (&json!("this is 500"), &json!("it answered 500")));
    assert!(log.iter().all(|row| row["message"] == received[0].id() && row["seq"] == 1 && row["type"] == "reward.due"));
    let webhook = shown(&server, &id);
    assert_eq!((&webhook["seq"], &webhook["retries"], &webhook["failures"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(webhook["secret"], Value::Null, "it is shown once");
    let count =
        |result: &str| metric(server.ops, &format!("fingerpost_webhook_deliveries_total{{result=\"{result}\"}}"));
    assert_eq!((count("delivered"), count("failed"), count("gone")), (Some(1.0), Some(2.0), Some(0.0)));
    assert_eq!(metric(server.ops, "fingerpost_webhook_retries_total"), Some(2.0));
    assert!(server.log().iter().all(|line| !line.contains("a=b")), "an address may hold a secret");
    assert!(server.stop().success());
}

#[test]
fn while_secrets_rotate_both_sign() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick().set("webhooks.secret_overlap", "1h")).unwrap();
    let (id, first) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    let rotate = || call(&server, "POST", &format!("/v1/webhooks/{id}/rotate-secret"), &Value::Null);
    let rotated = rotate();
    let second = rotated["secret"].as_str().unwrap();
    assert!(rotated["older_secret_until"].is_string(), "{rotated}");
    happen(folder.path(), "a", "", [1]);
    let received = receiver.wait_for(1);
    assert!(received[0].verifies(&first) && received[0].verifies(second));
    assert_eq!(received[0].header("webhook-signature").split(' ').count(), 2);

    let third = rotate();
    happen(folder.path(), "a", "", [2]);
    let received = receiver.wait_for(2);
    assert!(received[1].verifies(third["secret"].as_str().unwrap()) && received[1].verifies(second));
    assert!(!received[1].verifies(&first), "only the newest two sign");
}

#[test]
fn each_endpoint_gets_what_it_asks_for_in_order() {
    let (folder, [all, some]) = (tempfile::tempdir().unwrap(), [Receiver::start(), Receiver::start()]);
    let server = Server::start(folder.path(), &quick()).unwrap();
    happen(folder.path(), "reward.due", "spring", [0]);
    endpoint(&server, &json!({ "address": all.url("/") }));
    let asked = json!({ "address": some.url("/"), "kinds": ["reward.*"], "programs": ["spring"] });
    let (id, _) = endpoint(&server, &asked);
    happen(folder.path(), "reward.due", "spring", 1..=20);
    happen(folder.path(), "reward.due", "summer", 21..=22);
    happen(folder.path(), "referral.created", "spring", 23..=300);
    happen(folder.path(), "reward.issued", "spring", [301]);
    assert_eq!(numbers(&all.wait_for(301)), (1..=301).collect::<Vec<_>>(), "what was before is not sent");
    let expected: Vec<i64> = (1..=20).chain([301]).collect();
    assert_eq!(numbers(&some.wait_for(21)), expected);
    eventually("the end", || (shown(&server, &id)["seq"] == 302).then_some(()));
    let ids: HashSet<String> = all.received().iter().chain(&some.received()).map(Received::id).collect();
    assert_eq!(ids.len(), 301 + 21, "an id belongs to one event and one endpoint");
}

#[test]
fn an_event_that_is_not_taken_holds_up_nobody_and_is_given_up_in_the_end() {
    let (folder, [choking, other]) = (tempfile::tempdir().unwrap(), [Receiver::start(), Receiver::start()]);
    let server = Server::start(folder.path(), &quick().set("webhooks.give_up_after", "400ms")).unwrap();
    choking.rule(|request, _| Reply::Status(if request.n() == 1 { 500 } else { 200 }));
    let (id, _) = endpoint(&server, &json!({ "address": choking.url("/") }));
    endpoint(&server, &json!({ "address": other.url("/") }));
    happen(folder.path(), "a", "", 1..=4);
    assert_eq!(numbers(&other.wait_for(4)), [1, 2, 3, 4]);
    let all =
        choking.wait("the other three", |received| received.iter().filter(|request| request.n() != 1).count() == 3);
    let first_tries: Vec<i64> = numbers(&all).into_iter().filter(|n| *n != 1).collect();
    assert_eq!((all[0].n(), first_tries), (1, vec![2, 3, 4]));

    server.wait_for_log(&["a webhook is given up", &id]);
    let log = log(&server, &id);
    let given_up: Vec<_> = log.iter().filter(|row| row["result"] == "given_up").collect();
    assert_eq!((given_up.len(), &given_up[0]["seq"], &given_up[0]["error"]), (1, &json!(1), &json!("it answered 500")));
    assert!(given_up[0]["attempt"].as_i64() > Some(2), "{log:#?}");
    let webhook = shown(&server, &id);
    assert_eq!((&webhook["retries"], &webhook["seq"], &webhook["state"]), (&json!(0), &json!(4), &json!("active")));
    let given_up = metric(server.ops, "fingerpost_webhook_deliveries_total{result=\"given_up\"}");
    assert_eq!(given_up, Some(1.0));
    let tried = choking.received().iter().filter(|request| request.n() == 1).count();
    happen(folder.path(), "a", "", [5]);
    choking.wait("the next event", |received| received.iter().any(|request| request.n() == 5));
    let tried_since = choking.received().iter().filter(|request| request.n() == 1).count();
    assert_eq!(tried_since, tried, "given up is given up");
}

/// Five failures in a row, and the endpoint is away: the others wait untried, until it is back or somebody says that it is.
#[test]
fn an_endpoint_that_is_away_rests() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let options = quick().set("webhooks.retry_first", "1h").set("webhooks.retry_longest", "1h");
    let server = Server::start(folder.path(), &options).unwrap();
    receiver.rule(|_, _| Reply::Status(503));
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", 1..=200);
    server.wait_for_log(&["an endpoint takes nothing", &id]);
    let away = shown(&server, &id);
    assert_eq!((&away["seq"], &away["retries"], &away["failures"]), (&json!(5), &json!(5), &json!(5)));
    eventually("the age of what waits", || {
        metric(server.ops, "fingerpost_webhook_oldest_waiting_age_seconds").filter(|age| *age > 3_600.0)
    });
    assert_eq!(receiver.received().len(), 5, "what is behind them was not tried");

    receiver.rule(|_, _| Reply::Status(200));
    call(&server, "PUT", &format!("/v1/webhooks/{id}"), &json!({ "address": receiver.url("/") }));
    let mut all = numbers(&receiver.wait_for(205)[5..]);
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<_>>(), "also what was to be tried in an hour");
    eventually("nothing waits", || {
        (metric(server.ops, "fingerpost_webhook_oldest_waiting_age_seconds") == Some(0.0)).then_some(())
    });
    assert_eq!(receiver.received().len(), 205);
}

#[test]
fn an_endpoint_that_is_back_gets_what_it_missed_at_once() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick().set("webhooks.retry_longest", "1h")).unwrap();
    // It asks for an hour, and is back sooner.
    receiver.rule(|_, _| Reply::Later(3_600));
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", 1..=100);
    receiver.wait_for(8);
    receiver.rule(|_, _| Reply::Status(200));
    let back = eventually("the end", || Some(shown(&server, &id)).filter(|it| it["retries"] == 0 && it["seq"] == 100));
    assert_eq!(back["failures"], 0);
    let received = receiver.received();
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    received.iter().for_each(|request| *times.entry(request.n()).or_default() += 1);
    assert!(times.len() == 100 && times.values().all(|times| *times <= 2), "{times:?}");
    assert!(received.len() >= 108, "what failed was sent again: {}", received.len());
}

#[test]
fn a_replay_sends_again_with_the_same_ids() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", 1..=5);
    let first = receiver.wait_for(5);
    eventually("the last record", || (shown(&server, &id)["seq"] == 5).then_some(()));
    let replay = |from: Value| call(&server, "POST", &format!("/v1/webhooks/{id}/replay"), &json!({ "from": from }));
    replay(json!(4));
    let again = receiver.wait_for(7);
    assert_eq!(numbers(&again[5..]), [4, 5]);
    assert_eq!((again[5].id(), again[6].id()), (first[3].id(), first[4].id()));
    eventually("the last record", || (shown(&server, &id)["seq"] == 5).then_some(()));
    // Events are a millisecond apart.
    replay(json!("2026-03-01T12:00:00.003Z"));
    assert_eq!(numbers(&receiver.wait_for(10)[7..]), [3, 4, 5]);

    // While it is off, something happens that nobody wants any more.
    let off = json!({ "address": receiver.url("/"), "state": "disabled" });
    assert_eq!(call(&server, "PUT", &format!("/v1/webhooks/{id}"), &off)["reason"], "by hand");
    happen(folder.path(), "a", "", 6..=8);
    replay(json!(8));
    let on = json!({ "address": receiver.url("/"), "state": "active" });
    call(&server, "PUT", &format!("/v1/webhooks/{id}"), &on);
    assert_eq!(numbers(&receiver.wait_for(11)[10..]), [8]);
}
