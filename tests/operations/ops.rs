//! `/healthz`, `/readyz`, `/metrics`.

use std::collections::BTreeSet;

use fingerpost::telemetry::names;

use crate::support::{Client, Options, Server, api, client::BROWSER, eventually, get, rows};

/// One sample of an exposition: name, labels as they stand there, value.
fn samples(text: &str) -> Vec<(&str, &str, f64)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (name, labels.trim_end_matches('}'), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// The sum of all series of a name whose labels hold these texts.
fn total(text: &str, name: &str, labels: &[&str]) -> f64 {
    let fits = |found: &str| labels.iter().all(|label| found.contains(label));
    samples(text).iter().filter(|(found, of, _)| *found == name && fits(of)).map(|(.., value)| value).sum()
}

/// What a server exposes that has no Kafka and is no loader.
fn on_one_machine() -> impl Iterator<Item = &'static names::Metric> {
    let elsewhere = ["fingerpost_kafka_", "fingerpost_load_"];
    names::ALL.iter().filter(move |metric| !elsewhere.iter().any(|part| metric.name.starts_with(part)))
}

#[test]
fn alive_and_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let alive = get(server.ops, "/healthz");
    assert_eq!((alive.status, alive.text().as_str()), (200, "ok\n"));
    let ready = eventually("ready in all parts", || {
        let answer = get(server.ops, "/readyz");
        let parts = answer.json()["parts"].clone();
        let is_ready = |part: &&str| parts[*part]["state"] == "ready";
        ["catalog", "journal", "journal-reader", "links", "outbox", "sink"].iter().all(is_ready).then_some(answer)
    });
    assert_eq!((ready.status, &ready.json()["state"]), (200, &"ready".into()));
    assert_eq!(get(server.ops, "/v1/links").status, 404, "the API is not here");
    assert_eq!(get(server.edge, "/metrics").status, 404, "and this is not where visitors are");
}

#[test]
fn every_metric_is_there_and_moves_with_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo().set("edge.workers", "2")).unwrap();
    let text = get(server.ops, "/metrics").text();
    for metric in on_one_machine().filter(|metric| metric.name.ends_with("_total")) {
        assert!(samples(&text).iter().any(|(name, ..)| *name == metric.name), "{} begins late:\n{text}", metric.name);
    }
    server.signal("HUP");
    server.wait_for_log(&["reloaded", "\"geo\""]);
    let mut client = Client::connect(server.edge).unwrap();
    for (path, status) in
        [("/go/haircare/abc123", 302), ("/demo", 302), ("/go/nothing", 404), ("/demo+", 200), ("/v/demo.gif", 200)]
    {
        assert_eq!(client.get(path).unwrap().status, status);
    }
    let ad = serde_json::json!({ "name": "Another" });
    assert_eq!(api(server.control, &server.token(), "PUT", "/v1/partners/abc123/ads/second", &ad).status, 201);
    rows(&server.data, 3);
    let text = eventually("the pump's and the follower's count", || {
        let text = get(server.ops, "/metrics").text();
        let counted = [names::SINK_EVENTS, names::CATALOG_CHANGES].map(|name| total(&text, name, &[]));
        (counted == [3.0, 1.0]).then_some(text)
    });
    for metric in on_one_machine() {
        assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{} is not exposed:\n{text}", metric.name);
    }
    for (name, labels, value) in [
        (names::REQUESTS, &["outcome=\"redirect\"", "class=\"human\""][..], 2.0),
        (names::REQUESTS, &["outcome=\"not_found\""], 1.0),
        (names::REQUESTS, &["outcome=\"link_page\""], 1.0),
        (names::REQUESTS, &["outcome=\"pixel\""], 1.0),
        ("fingerpost_request_duration_seconds_count", &[], 5.0),
        (names::CONNECTIONS, &[], 1.0),
        (names::CONNECTIONS_ACCEPTED, &[], 1.0),
        (names::JOURNAL_APPENDED, &[], 3.0),
        (names::JOURNAL_LANES, &[], 2.0),
        (names::SINK_EVENTS, &[], 3.0),
        (names::SINK_LAG, &[], 0.0),
        (names::CLICKS_SHED, &[], 0.0),
        (names::LINKS, &["kind=\"links\""], 1.0),
        (names::LINKS, &["kind=\"share_links\""], 1.0),
        (names::LINKS, &["kind=\"ads\""], 2.0),
        (names::READINESS, &["part=\"links\"", "state=\"ready\""], 1.0),
        (names::READINESS, &["part=\"links\"", "state=\"not_ready\""], 0.0),
        (names::BUILD_INFO, &[&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))], 1.0),
        (names::RELOADS, &["what=\"keys\"", "result=\"taken\""], 1.0),
    ] {
        assert_eq!(total(&text, name, labels), value, "{name} {labels:?} in:\n{text}");
    }
    assert!(total(&text, names::JOURNAL_BYTES, &[]) > 0.0 && total(&text, names::JOURNAL_COMMITS, &[]) >= 1.0);
    assert!((0.0..60.0).contains(&total(&text, names::CATALOG_AGE_SECONDS, &[])));
    assert!(total(&text, "process_resident_memory_bytes", &[]) > 0.0);
    let free = total(&text, names::DISK_FREE_BYTES, &[]);
    assert!(free > 0.0 && free <= total(&text, names::DISK_BYTES, &[]), "{free}");
}

#[test]
fn no_label_takes_what_visitors_choose() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let series = || -> BTreeSet<String> {
        let text = get(server.ops, "/metrics").text();
        samples(&text).iter().map(|(name, labels, _)| format!("{name}{{{labels}}}")).collect()
    };
    let mut client = Client::connect(server.edge).unwrap();
    client.get("/go/haircare/abc123").unwrap();
    rows(&server.data, 1);
    let before = series();
    let agent = format!("{BROWSER} zqmark");
    for (method, path) in [
        ("GET", "/go/zqmark"),
        ("GET", "/go/haircare/zqmark/zqmark?sub1=zqmark&zqmark=zqmark"),
        ("GET", "/zqmark/zqmark/zqmark/zqmark"),
        ("GET", "/s/zqmark/demo"),
        ("GET", "/demo?to=https://zqmark.example/"),
        ("ZQMARK", "/demo"),
    ] {
        let headers =
            [("User-Agent", agent.as_str()), ("Referer", "https://zqmark.example/"), ("Host", "zqmark.example")];
        client.send(method, path, &headers, b"").unwrap();
    }
    client.send("POST", "/e", &[("User-Agent", &agent)], br#"{"kind":"zqmark","slug":"zqmark"}"#).unwrap();
    rows(&server.data, 3);
    let after = series();
    assert!(after.iter().all(|series| !series.to_lowercase().contains("zqmark")), "{after:#?}");
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "no new series");
}
