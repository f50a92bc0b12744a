//! TLS and SASL to the real broker: the right credentials deliver, wrong ones are said in a line that tells what to check,
//! and clicks wait in the journal. Needs a build with `--features kafka-ssl`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::path::Path;

mod support;

use support::{
    Client, Options, Server, eventually, get, metric, server,
    stack::{Part, Stack},
};

fn options(settings: &[(&str, &str)]) -> Options {
    let all = [("sink.kind", "kafka"), ("edge.workers", "1")];
    all.iter().chain(settings).fold(Options::default().demo(), |options, (key, value)| options.set(key, *value))
}

fn click(server: &Server) {
    let answer = Client::connect(server.edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
    assert_eq!(answer.status, 302);
}

/// A click is delivered with these settings.
fn delivers(settings: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options(settings)).unwrap();
    click(&server);
    eventually("delivery", || (metric(server.ops, "fingerpost_sink_events_total ") == Some(1.0)).then_some(()));
    assert!(server.stop().success());
}

/// With these settings the click waits, and readiness says why.
fn says(settings: &[(&str, &str)], words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options(settings)).unwrap();
    click(&server);
    let said = eventually(words, || {
        let text = get(server.ops, "/readyz").text();
        text.contains(words).then_some(text)
    });
    assert!(said.contains("degraded") && !said.contains("not-this"), "{said}");
    click(&server);
    assert_eq!(metric(server.ops, "fingerpost_sink_events_total "), Some(0.0));
    server.kill();
}

/// A token that Kafka's own validator for tests takes: unsecured, with an end.
fn token(folder: &Path, subject: &str) -> String {
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = format!(r#"{{"sub":"{subject}","iat":{now},"exp":{}}}"#, now + 600);
    let file = folder.join("token");
    std::fs::write(&file, format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims))).unwrap();
    file.display().to_string()
}

#[test]
fn credentials_and_certificates() {
    let stack = Stack::own(&[Part::Kafka], &["--sasl", "--tls"]);
    let (sasl, tls, both) = (stack.sasl_brokers(), stack.kafka("tls_brokers"), stack.kafka("sasl_tls_brokers"));
    let ca = stack.kafka("tls_ca");
    let folder = tempfile::tempdir().unwrap();
    let plain = stack.brokers();
    let migrated = server::command(folder.path(), &["migrate", "--partitions", "3"])
        .env("FINGERPOST__KAFKA__BROKERS", &plain)
        .status();
    assert!(migrated.unwrap().success());
    let user = [("kafka.username", "fingerpost"), ("kafka.password", "secret")];
    let scram = [("kafka.brokers", sasl.as_str()), ("kafka.security", "sasl_plaintext")];
    let login = |mechanism, user: [(&'static str, &'static str); 2]| {
        [&scram[..], &[("kafka.sasl_mechanism", mechanism)], &user].concat()
    };
    delivers(&login("SCRAM-SHA-256", user));
    delivers(&login("PLAIN", user));
    let wrong = [("kafka.username", "fingerpost"), ("kafka.password", "not-this")];
    says(&login("SCRAM-SHA-256", wrong), "check kafka.username, kafka.password and kafka.sasl_mechanism");
    let file = token(folder.path(), "fingerpost");
    delivers(&[&scram[..], &[("kafka.sasl_mechanism", "OAUTHBEARER"), ("kafka.token_file", file.as_str())]].concat());
    let over_tls = [("kafka.brokers", tls.as_str()), ("kafka.security", "ssl")];
    delivers(&[&over_tls[..], &[("kafka.ca_file", ca.as_str())]].concat());
    says(&over_tls, "check kafka.security and kafka.ca_file");
    let all = [("kafka.brokers", both.as_str()), ("kafka.security", "sasl_ssl"), ("kafka.ca_file", ca.as_str())];
    delivers(&[&all[..], &user].concat());
}
