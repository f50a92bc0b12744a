//! Changes without a restart: the catalog through the API, signing keys by rotation.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::{Client, Options, Server, api, client::BROWSER, eventually, rows, run},
    within,
};

/// A bound for a busy machine that runs all tests at once; load-tests/million-links measures against the second that is
/// promised.
const LIVE: Duration = Duration::from_secs(2);

#[test]
fn a_change_is_live_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let token = server.token();
    let call = |method: &str, body: &Value| api(server.control, &token, method, "/v1/links/shoes", body).status;
    let mut location = |status: u16, expected: Option<&str>| {
        eventually("the edge to follow", || {
            let answer = client.send("HEAD", "/go/shoes", &[("Sec-GPC", "1")], b"").unwrap();
            (answer.status == status && answer.header("location") == expected).then_some(())
        });
    };
    location(404, None);
    for (address, created) in [("https://shop.example/shoes", 201), ("https://shop.example/boots", 200)] {
        assert_eq!(call("PUT", &json!({ "name": "Shoes", "address": address })), created);
        within(&format!("PUT ({created}) until it is live"), LIVE, || location(302, Some(address)));
    }
    assert_eq!(call("DELETE", &Value::Null), 204);
    within("DELETE until it is live", LIVE, || location(404, None));
}

#[test]
fn keys_rotate_and_nobody_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let old = client.get("/go/haircare/abc123").unwrap().cookie().unwrap().to_owned();
    let key_of = |cookie: &str| {
        let value = cookie.strip_prefix("fp=").unwrap();
        data_encoding::BASE64URL_NOPAD.decode(value.as_bytes()).unwrap()[1]
    };
    assert_eq!(key_of(&old), 1);
    assert!(run(folder.path(), &["keys", "rotate"]).contains("Key 2 was added"));
    let before = client.get("/go/haircare/abc123").unwrap();
    assert_eq!(key_of(before.cookie().unwrap()), 1, "it signs from the next reload on");
    server.signal("HUP");
    server.wait_for_log(&["reloaded", "\"keys\""]);
    let headers = [("User-Agent", BROWSER), ("Cookie", old.as_str())];
    let again = client.send("GET", "/go/haircare/abc123", &headers, b"").unwrap();
    assert_eq!(key_of(again.cookie().unwrap()), 2);
    let rows = rows(folder.path(), 3);
    assert_eq!((&rows[2]["class"], &rows[2]["visitor"]), (&json!("repeat"), &rows[0]["visitor"]));
}
