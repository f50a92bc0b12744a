//! The journal is full, because the event store is away: what visitors get, what readiness and reports say, and that all of
//! it mends itself.

use std::{fs, path::Path};

use fingerpost::telemetry::names;
use serde_json::Value;

use crate::support::{Client, Options, Response, Server, eventually, get, metric, rows, run};

/// More clicks than two of the smallest segments can hold.
const CLICKS_MAX: usize = 20_000;

/// A server whose journal has room for some thousand clicks, and whose event store cannot be opened.
fn start(data: &Path, when_full: &str) -> Server {
    fs::create_dir_all(data.join("events.db")).unwrap();
    let options = Options::default()
        .demo()
        .set("edge.workers", "1")
        .set("journal.segment_bytes", "256KiB")
        .set("journal.max_bytes", "512KiB")
        .set("journal.when_full", when_full);
    Server::start(data, &options).unwrap()
}

/// Clicks until one is refused; how many were answered before.
fn fill(server: &Server, client: &mut Client) -> (usize, Response) {
    for answered in 0..CLICKS_MAX {
        let answer = client.get("/go/haircare/abc123").unwrap();
        if answer.status == 503 {
            return (answered, answer);
        }
        assert_eq!(answer.status, 302);
    }
    panic!("the journal is not full after {CLICKS_MAX} clicks: {}", get(server.ops, "/metrics").text());
}

fn shed(server: &Server) -> f64 {
    metric(server.ops, names::CLICKS_SHED).unwrap()
}

/// Waits until `/readyz` gives this reason for a part that is degraded.
fn degraded(server: &Server, part: &str, reason: &str) {
    eventually(&format!("/readyz to say of the {part}: {reason}"), || {
        let answer = get(server.ops, "/readyz");
        assert_eq!(answer.status, 200, "degraded is still ready");
        let said = answer.json();
        let of_part = &said["parts"][part];
        let is_so = of_part["state"] == "degraded" && of_part["reason"].as_str().unwrap().contains(reason);
        (is_so && said["state"] == "degraded").then_some(())
    });
}

/// Brings the event store back, and waits until all is well.
fn mend(server: &Server) {
    fs::remove_dir(server.data.join("events.db")).unwrap();
    eventually("/readyz to say ready", || (get(server.ops, "/readyz").json()["state"] == "ready").then_some(()));
}

#[test]
fn refuse_answers_503_and_records_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "refuse");
    let mut client = Client::connect(server.edge).unwrap();
    let (answered, refused) = fill(&server, &mut client);
    assert!(answered > 500, "{answered}");
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!((refused.header("location"), refused.cookie()), (None, None), "nobody arrives uncounted");
    degraded(&server, "journal", "the journal has reached journal.max_bytes");
    degraded(&server, "sink", "wait in the journal");
    for path in ["/demo+", "/fp.js"] {
        assert_eq!(client.get(path).unwrap().status, 200, "{path} needs no record");
    }
    assert_eq!(shed(&server), 0.0);
    mend(&server);
    let after = eventually("a click that is taken again", || {
        let answer = client.get("/go/haircare/abc123").unwrap();
        (answer.status == 302).then_some(answer)
    });
    assert!(after.cookie().is_some());
    assert_eq!(rows(&server.data, answered + 1).len(), answered + 1, "all that were answered, and no other");
    assert!(server.stop().success());
}

#[test]
fn redirect_lets_visitors_go_on_and_the_report_says_how_many_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "redirect");
    let mut client = Client::connect(server.edge).unwrap();
    let mut answered = 0;
    while shed(&server) == 0.0 {
        for _ in 0..200 {
            assert_eq!(client.get("/go/haircare/abc123").unwrap().status, 302);
        }
        answered += 200;
        assert!(answered < CLICKS_MAX);
    }
    degraded(&server, "journal", "the journal has reached journal.max_bytes");
    let missing = shed(&server);
    mend(&server);
    let reports: Value = eventually("the report to say what is missing", || {
        let text = run(&server.data, &["report", "reach", "--format", "json"]);
        let rows: Value = serde_json::from_str(&text).unwrap();
        (rows[0]["missing"].as_f64() == Some(missing)).then(|| rows[0].clone())
    });
    assert_eq!(reports["clicks"].as_u64().unwrap() + missing as u64, answered as u64, "{reports:#}");
    // And from now on they are recorded again.
    eventually("a recorded click", || {
        let before = shed(&server);
        assert_eq!(client.get("/go/haircare/abc123").unwrap().status, 302);
        (shed(&server) == before).then_some(())
    });
    assert!(server.stop().success());
}
