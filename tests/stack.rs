//! `load-tests/stack` itself, and what tests use of it: the real parts come up, survive kill -9, and leave nothing behind.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "support/stack.rs"]
mod stack;

use std::{path::Path, process::Command};

use stack::{Part, Stack};

#[test]
fn the_script_does_what_it_says() {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/load-tests/stack.d/test.py"))
        .output()
        .expect("python3 runs the script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_dropped_stack_leaves_nothing() {
    let stack = Stack::own(&[Part::Clickhouse], &[]);
    let (dir, pid, url) = (stack.dir().to_owned(), stack.pid(Part::Clickhouse), stack.clickhouse_url());
    stack.kill(Part::Clickhouse);
    stack.start(Part::Clickhouse);
    assert_ne!(stack.pid(Part::Clickhouse), pid, "it was started again");
    assert_eq!(stack.clickhouse_url(), url, "on the same port");
    let pid = stack.pid(Part::Clickhouse);
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    drop(stack);
    assert!(!dir.exists(), "{} is still there", dir.display());
    assert!(!runs(pid), "process {pid} still runs");
}

#[test]
fn tests_share_one_stack() {
    let (first, second) = (Stack::shared(&[Part::Postgres]), Stack::shared(&[Part::Postgres]));
    assert_eq!(first.postgres_url(), second.postgres_url());
    assert_ne!(stack::unique("events"), stack::unique("events"));
}

/// A zombie that nobody has waited for yet does not run.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}
