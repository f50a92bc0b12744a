//! Where webhooks may go, and whom they believe.

use serde_json::{Value, json};

use crate::{
    call, endpoint, happen, log, quick,
    receiver::{Receiver, Tls},
    support::{Options, Server, api, eventually, server::command},
};

/// The last row of the log of an endpoint at this address, when one event has happened.
fn tried(server: &Server, address: &str) -> Value {
    let (id, _) = endpoint(server, &json!({ "address": address }));
    happen(&server.data, "a", "", [1]);
    eventually("a try", || log(server, &id).pop())
}

#[test]
fn an_inside_address_is_refused_however_it_is_written() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick().set("webhooks.allow_hosts", "")).unwrap();
    let port = receiver.address.port();
    for inside in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://0x7f.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("http://localhost:{port}/"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "https://10.0.0.1/".to_owned(),
    ] {
        let answer = api(server.control, &server.token(), "POST", "/v1/webhooks", &json!({ "address": inside }));
        assert_eq!(answer.status, 422, "{inside}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["field"], "address");
    }
    // A name is looked up at each try: this one leads inside.
    let row = tried(&server, &receiver.url_by_name("https", "/"));
    let error = row["error"].as_str().unwrap();
    assert!(error.contains("localhost resolves to nothing that is public") && error.contains("127.0.0.1"), "{error}");
    let id = call(&server, "GET", "/v1/webhooks", &Value::Null)["items"][0]["id"].as_str().unwrap().to_owned();
    let test = call(&server, "POST", &format!("/v1/webhooks/{id}/test"), &Value::Null);
    assert!(test["error"].as_str().unwrap().contains("nothing that is public"), "{test}");
    assert!(receiver.received().is_empty());
}

/// The setting may be taken back: what was allowed when the endpoint was made is not from then on.
#[test]
fn an_address_is_judged_at_each_try() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick()).unwrap();
    let (id, _) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", [1]);
    receiver.wait_for(1);
    assert!(server.stop().success());
    let server = Server::start(folder.path(), &quick().set("webhooks.allow_hosts", "other.internal")).unwrap();
    happen(folder.path(), "a", "", [2]);
    let refused = eventually("a refusal", || log(&server, &id).into_iter().find(|row| row["result"] == "failed"));
    assert!(refused["error"].as_str().unwrap().contains("allow_hosts"), "{refused}");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_named_host_inside_may_be_reached_in_clear() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let server = Server::start(folder.path(), &quick().set("webhooks.allow_hosts", "localhost")).unwrap();
    assert_eq!(tried(&server, &receiver.url_by_name("http", "/"))["result"], "delivered");
    let by_address = json!({ "address": receiver.url("/") });
    let answer = api(server.control, &server.token(), "POST", "/v1/webhooks", &by_address);
    assert_eq!(answer.status, 422, "the name is allowed, not what it leads to");
}

#[test]
fn tls_believes_who_it_is_told_to() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let tls = Tls::new(folders[0].path());
    let receiver = Receiver::over(Some(tls.acceptor.clone()));
    let options = || quick().set("webhooks.allow_hosts", "localhost,127.0.0.1");
    let ca_file = tls.ca_file.display().to_string();
    let server = Server::start(folders[0].path(), &options().set("webhooks.ca_file", ca_file)).unwrap();
    assert_eq!(tried(&server, &receiver.url_by_name("https", "/"))["result"], "delivered");
    assert_eq!(receiver.received().len(), 1);
    // The certificate is for the name, and not for the address that it leads to.
    let by_address = tried(&server, &format!("https://{}/", receiver.address));
    assert!(by_address["error"].as_str().unwrap().starts_with("TLS: "), "{by_address}");
    drop(server);

    let stranger = Server::start(folders[1].path(), &options()).unwrap();
    let row = tried(&stranger, &receiver.url_by_name("https", "/"));
    assert!(row["error"].as_str().unwrap().contains("UnknownIssuer"), "{row}");
}

#[test]
fn a_setting_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.pem");
    std::fs::write(&file, "").unwrap();
    for (key, value, said) in [
        ("webhooks.ca_file", file.display().to_string(), "it holds no certificate"),
        ("webhooks.allow_hosts", "*.internal".to_owned(), "neither a host name nor an address"),
        ("mail.from", "nobody".to_owned(), "is not a sender"),
        ("mail.smtp_username", "ann".to_owned(), "mail.smtp_host"),
    ] {
        let refused = Server::start(folder.path(), &Options::default().set(key, &value)).unwrap_err();
        assert!(refused.contains(said), "{key}: {refused}");
        let mut check = command(folder.path(), &["check"]);
        check.env(format!("FINGERPOST__{}", key.to_uppercase().replace('.', "__")), value);
        let checked = String::from_utf8(check.output().unwrap().stderr).unwrap();
        assert!(checked.contains(said), "{key}: {checked}");
    }
}
