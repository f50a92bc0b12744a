//! What an endpoint may answer, and what the API says of it.

use serde_json::{Value, json};

use crate::{
    call, endpoint, happen, log, quick,
    receiver::{Receiver, Reply},
    shown,
    support::{Server, api, eventually},
};

#[test]
fn who_is_gone_is_disabled_and_misses_nothing_when_it_is_back() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    receiver.rule(|_, _| Reply::Status(410));
    let address = receiver.url("/");
    let (id, _) = endpoint(&server, &json!({ "address": address }));
    happen(folder.path(), "a", "", [1, 2]);
    server.wait_for_log(&["gone (410)", &id]);
    let gone = eventually("the end", || Some(shown(&server, &id)).filter(|webhook| webhook["state"] == "disabled"));
    assert_eq!((&gone["reason"], &gone["seq"]), (&json!("it answered 410 Gone"), &json!(0)));
    assert_eq!(log(&server, &id)[0]["result"], "gone");
    assert_eq!(receiver.received().len(), 1, "nothing more is sent");

    receiver.rule(|_, _| Reply::Status(200));
    call(&server, "PUT", &format!("/v1/webhooks/{id}"), &json!({ "address": address }));
    let received = receiver.wait_for(3);
    assert_eq!(received.iter().map(|request| request.n()).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(received[0].id(), received[1].id());
    assert_eq!(shown(&server, &id)["reason"], Value::Null);
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let (folder, [receiver, elsewhere]) = (tempfile::tempdir().unwrap(), [Receiver::start(), Receiver::start()]);
    let server = Server::start(folder.path(), &quick()).unwrap();
    receiver.script([Reply::Redirect(elsewhere.url("/"))]);
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", [1]);
    receiver.wait_for(2);
    let log = eventually("the log", || Some(log(&server, &id)).filter(|log| log.len() == 2));
    assert_eq!((&log[1]["result"], &log[1]["status"]), (&json!("failed"), &json!(302)));
    assert!(log[1]["error"].as_str().unwrap().contains("not followed"), "{log:#?}");
    assert!(elsewhere.received().is_empty());
}

#[test]
fn an_answer_that_does_not_end_costs_little() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick().set("webhooks.timeout", "300ms")).unwrap();
    receiver.script([Reply::Silence, Reply::Long(200, 10_000_000)]);
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", [1]);
    receiver.wait_for(2);
    let log = eventually("the log", || Some(log(&server, &id)).filter(|log| log.len() == 2));
    assert_eq!((&log[1]["error"], &log[1]["status"]), (&json!("no answer within 300ms"), &Value::Null));
    assert!(log[1]["duration_ms"].as_i64() >= Some(300), "{log:#?}");
    assert_eq!((&log[0]["result"], log[0]["answer"].as_str().unwrap().len()), (&json!("delivered"), 1_024));
}

#[test]
fn a_test_is_sent_at_once_and_changes_nothing() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    let (id, secret) =
        endpoint(&server, &json!({ "address": receiver.url("/"), "state": "disabled", "kinds": ["reward.due"] }));
    receiver.script([Reply::Status(410), Reply::Status(200)]);
    let test = || call(&server, "POST", &format!("/v1/webhooks/{id}/test"), &Value::Null);
    assert_eq!(test()["result"], "gone");
    let delivery = test();
    assert_eq!(
        (&delivery["result"], &delivery["status"], &delivery["seq"]),
        (&json!("delivered"), &json!(200), &Value::Null)
    );
    let received = receiver.received();
    assert!(received[1].verifies(&secret) && received[0].id() != received[1].id());
    assert_eq!(received[1].json()["type"], "webhook.test");
    assert_eq!(received[1].json()["data"]["webhook"], id.as_str());
    assert_eq!(log(&server, &id)[0], delivery);
    let webhook = shown(&server, &id);
    assert_eq!((&webhook["state"], &webhook["failures"]), (&json!("disabled"), &json!(0)));
}

#[test]
fn bad_input_says_what_is_wrong_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &quick()).unwrap();
    let ask = |method: &str, path: &str, body: &Value| {
        let answer = api(server.control, &server.token(), method, path, body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
        (answer.status, answer.json())
    };
    let (status, problem) = ask(
        "POST",
        "/v1/webhooks",
        &json!({ "address": "http://shop.example/", "kinds": ["Reward"], "programs": ["a b"], "state": "on", "colour": 1 }),
    );
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (422, vec!["address", "kinds[0]", "programs[0]", "state", "colour"]));
    assert!(problem["errors"][0]["problem"].as_str().unwrap().contains("use https"), "{problem}");
    assert_eq!(ask("POST", "/v1/webhooks", &json!({})).0, 422);

    for (method, path) in [
        ("GET", "/v1/webhooks/wh_0"),
        ("DELETE", "/v1/webhooks/wh_0"),
        ("POST", "/v1/webhooks/wh_0/rotate-secret"),
        ("POST", "/v1/webhooks/wh_0/test"),
        ("GET", "/v1/webhooks/wh_0/deliveries"),
    ] {
        let (status, problem) = ask(method, path, &Value::Null);
        assert_eq!(
            (status, problem["type"].as_str()),
            (404, Some("urn:fingerpost:problem:not_found")),
            "{method} {path}"
        );
    }
    let (id, _) = endpoint(&server, &json!({ "address": "https://shop.example/" }));
    for wrong in [json!({}), json!({ "from": 0 }), json!({ "from": "soon" }), json!({ "from": 1, "to": 2 })] {
        assert_eq!(ask("POST", &format!("/v1/webhooks/{id}/replay"), &wrong).0, 422, "{wrong}");
    }
    assert_eq!(ask("GET", &format!("/v1/webhooks/{id}/deliveries?limit=0"), &Value::Null).0, 400);
    assert_eq!(ask("GET", &format!("/v1/webhooks/{id}/deliveries?cursor=x"), &Value::Null).0, 400);
    // What GET gave can be sent back.
    let webhook = shown(&server, &id);
    assert_eq!(call(&server, "PUT", &format!("/v1/webhooks/{id}"), &webhook)["address"], webhook["address"]);
    assert_eq!(call(&server, "GET", "/v1/webhooks", &Value::Null)["items"][0]["id"], id.as_str());
    call(&server, "DELETE", &format!("/v1/webhooks/{id}"), &Value::Null);
    assert_eq!(ask("GET", &format!("/v1/webhooks/{id}"), &Value::Null).0, 404);
}
