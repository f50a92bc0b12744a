//! What the tests of the whole binary share.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses its part")]

pub mod client;
pub mod operator;
pub mod people;
pub mod server;
pub mod stack;

use std::time::{Duration, Instant};

pub use client::{Client, Response, api, get, metric};
pub use operator::Operator;
pub use server::{Options, PATIENCE, Server};

/// Waits until `look` finds something.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks at another process, bounded by a deadline")]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command of the binary; its standard output, or panics with its errors.
pub fn run(data: &std::path::Path, arguments: &[&str]) -> String {
    let output = server::command(data, arguments).output().expect("a command that starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "fingerpost {arguments:?}: {err}{out}");
    out.into_owned()
}

/// Runs a command that must fail; what it says on standard error.
pub fn fails(data: &std::path::Path, arguments: &[&str]) -> String {
    let output = server::command(data, arguments).output().expect("a command that starts");
    assert!(!output.status.success(), "fingerpost {arguments:?} should fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rows of `export events`, once there are `count` of them.
pub fn rows(data: &std::path::Path, count: usize) -> Vec<serde_json::Value> {
    let rows = eventually("exported events", || {
        let output = server::command(data, &["export", "events", "--format", "ndjson"]).output().expect("export");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
        (rows.len() >= count).then_some(rows)
    });
    assert_eq!(rows.len(), count, "{rows:#?}");
    rows
}
