//! Reports on the command line: the real binary on a data folder that a sink has open.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use assert_cmd::Command;
use fingerpost::{
    core::{
        event::{Class, Event, Kind},
        id::{EventId, LaneId},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Batch, Sink,
        sqlite::{FILE, SqliteSink},
    },
};
use prost::Message;
use tempfile::TempDir;

const NOON: Millis = Millis(1_772_366_400_000); // 2026-03-01T12:00:00Z

fn fingerpost(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("fingerpost")
        .unwrap()
        .args(arguments)
        .arg("--data")
        .arg(folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn click(number: u8, class: Class) -> Event {
    Event {
        id: EventId::new(NOON, [number; 10]).0.into(),
        kind: Kind::Click as i32,
        class: class as i32,
        time_ms: NOON.0 + i64::from(number),
        link: "haircare".to_owned(),
        partner: "abc123".to_owned(),
        country: "DE".to_owned(),
        visitor: vec![1; 16],
        ..Event::default()
    }
}

#[test]
fn reports_work_while_the_sink_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sink = runtime.block_on(SqliteSink::open(&folder.path().join(FILE), Clock::System)).unwrap();
    let events = [click(1, Class::Human), click(2, Class::Repeat), click(3, Class::Bot)];
    let records = (0..).zip(events.iter().map(Event::encode_to_vec)).collect();
    runtime.block_on(sink.store(&[Batch { lane: LaneId(1), records, next: 3 }])).unwrap();

    let (code, out, err) =
        fingerpost(&folder, &["report", "reach", "--since", "2026-03-01", "--by", "link", "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = serde_json::json!([
        { "link": "haircare", "views": 0, "clicks": 2, "shares": 0, "unique_visitors": 1, "missing": 0 }
    ]);
    assert_eq!(rows, expected);

    let (code, out, _) = fingerpost(&folder, &["report", "links", "--format", "csv"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().nth(1), Some("haircare,abc123,,0,2,0,1,1,2026-03-01T12:00:00.002Z"));

    let (code, out, _) = fingerpost(&folder, &["report", "links", "--no-visitors", "--format", "csv"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().nth(1), Some("haircare,abc123,,0,2,0,,1,2026-03-01T12:00:00.002Z"), "empty, and not 0");
    let (code, out, _) = fingerpost(&folder, &["report", "links", "--no-visitors"]);
    assert!(code == 0 && out.contains("haircare") && !out.contains("visitors"), "{out}");
    let (code, out, _) = fingerpost(&folder, &["report", "reach", "--no-visitors", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, rows[0].get("unique_visitors")), (0, Some(&serde_json::Value::Null)), "{out}");

    let (code, out, _) = fingerpost(&folder, &["report", "reach", "--by", "class"]);
    assert!(code == 0 && out.contains("human and repeat") && out.contains("bot"), "{out}");
}

#[test]
fn what_cannot_be_answered_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = fingerpost(&folder, &["report", "reach"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("nothing was recorded yet") && err.contains("fingerpost serve"), "{err}");
    assert!(!folder.path().join(FILE).exists(), "asking makes no file");

    std::fs::write(folder.path().join(FILE), "this is a letter, and no database".repeat(100)).unwrap();
    let (code, _, err) = fingerpost(&folder, &["report", "links"]);
    assert!(code == 1 && err.contains("not a database"), "{err}");

    let (code, _, err) = fingerpost(&folder, &["report", "reach", "--format", "xml"]);
    assert!(code != 0 && err.contains("table, json, csv"), "{err}");
}
