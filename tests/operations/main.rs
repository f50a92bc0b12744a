//! What an operator sees: a start that says what is wrong, health and metrics, a full journal, a clean end, live changes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod full;
mod live;
mod ops;
mod start;
mod stop;
mod upgrade;

use std::{
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

/// Runs a command that ends by itself, or is ended after a while.
fn output(data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = support::server::command(data, arguments);
    for (key, value) in settings {
        command.env(format!("FINGERPOST__{}", key.to_uppercase().replace('.', "__")), value);
    }
    assert_cmd::Command::from_std(command).timeout(support::PATIENCE).output().unwrap()
}

/// Listeners that are in nobody's way.
const FREE: [(&str, &str); 3] =
    [("edge.listen", "127.0.0.1:0"), ("control.listen", "127.0.0.1:0"), ("ops.listen", "127.0.0.1:0")];

/// Starts a server that must not start; what it says on standard error.
fn refused_start(data: &Path, settings: &[(&str, &str)]) -> String {
    let output = output(data, &["serve"], &[&FREE[..], settings].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// How long something took, for the record, and as a condition.
fn within<T>(what: &str, bound: Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    let took = started.elapsed();
    println!("{what}: {} ms", took.as_millis());
    assert!(took < bound, "{what} took {took:?}, more than {bound:?}");
    result
}
