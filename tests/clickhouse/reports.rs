//! The API and the command line answer from ClickHouse, and say what to do when they cannot.

use serde_json::{Value, json};

use crate::{
    block_on,
    engine::{Database, kill_now, own},
    serve::options,
    support::{self, Server, eventually},
};

#[test]
fn the_api_the_command_line_and_exports_answer_from_clickhouse() {
    let engine = own();
    let database = block_on(Database::new(&engine));
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &options(&database)).unwrap();
    let mut visitor = support::Client::connect(server.edge).unwrap();
    for _ in 0..5 {
        assert_eq!(visitor.get("/go/haircare/abc123/website2").unwrap().status, 302);
    }
    let ask = |path: &str| support::api(server.control, &server.token(), "GET", path, &Value::Null);
    let reach = eventually("the clicks in the report", || {
        let answer = ask("/v1/reports/reach?since=2d&by=link,partner");
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json()[0]["clicks"] == 5).then(|| answer.json())
    });
    // No request brought a cookie along: each is a visitor of its own.
    let expected = json!([{
        "link": "haircare", "partner": "abc123", "views": 0, "clicks": 5, "shares": 0, "unique_visitors": 5, "missing": 0
    }]);
    assert_eq!(reach, expected);

    let from_clickhouse = |arguments: &[&str], format: &str| {
        let output = support::server::command(data.path(), &[arguments, &["--format", format]].concat())
            .env("FINGERPOST__CLICKHOUSE__URL", &database.settings.url)
            .env("FINGERPOST__CLICKHOUSE__DATABASE", &database.settings.database)
            .env("FINGERPOST__REPORTS__FROM", "clickhouse")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = from_clickhouse(&["report", "reach", "--since", "2d", "--by", "link,partner"], "json");
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), expected);
    let lines = from_clickhouse(&["report", "links"], "csv");
    assert!(lines.lines().nth(1).unwrap().starts_with("haircare,abc123,website2,0,5,0,5,0,"), "{lines}");
    let events = from_clickhouse(&["export", "events", "--since", "2d"], "ndjson");
    assert_eq!(events.lines().count(), 5);
    assert!(!data.path().join("events.db").exists(), "nothing went to SQLite");

    // Without it: reports say so, redirects go on, and the end is not held up.
    kill_now(&engine);
    let away = ask("/v1/reports/reach");
    assert_eq!(away.status, 503);
    assert!(away.text().contains("ClickHouse does not answer"), "{}", away.text());
    assert_eq!(visitor.get("/go/haircare/abc123").unwrap().status, 302);
    assert!(server.stop().success());
}

#[test]
fn an_edge_that_only_feeds_kafka_says_what_reports_need() {
    let data = tempfile::tempdir().unwrap();
    for arguments in [&["report", "reach"][..], &["report", "links"], &["export", "events"]] {
        let output = support::server::command(data.path(), arguments)
            .env("FINGERPOST__SINK__KIND", "kafka")
            .env("FINGERPOST__KAFKA__BROKERS", "127.0.0.1:9")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("set clickhouse.url"), "{arguments:?}: {said}");
    }
}
