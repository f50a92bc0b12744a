//! What an operator is given to deploy with: compose file, image, balancer, alerts, dashboards. There is no container engine
//! here, so each file is checked by its maker's own program (`.ci/tool` fetches what is not on the PATH) and against the
//! things that it names: settings, commands, files, metrics, labels, columns, runbooks.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod balancer;
mod compose;
mod dashboards;
mod image;
mod metrics;
mod panels;
mod units;
mod whole;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_yaml_ng::Value;

/// How deep merge keys stand in each other.
const MERGE_DEPTH: usize = 4;

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A YAML file, with its merge keys (`<<`) applied.
fn yaml(name: &str) -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    // A step resolves one level; what is merged may merge itself.
    for _ in 0..MERGE_DEPTH {
        value.apply_merge().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    value
}

/// The text of a scalar; nothing for what is none.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Key and value of each entry of a mapping; none where there is no mapping.
fn entries(value: &Value) -> impl Iterator<Item = (String, &Value)> {
    value.as_mapping().into_iter().flatten().map(|(key, value)| (text(key).expect("a key"), value))
}

/// The texts of a list, or of the keys of a mapping, or one text.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Sequence(items) => items.iter().filter_map(text).collect(),
        Value::Mapping(_) => entries(value).map(|(name, _)| name).collect(),
        one => text(one).into_iter().collect(),
    }
}

/// A program that `.ci/tool` knows, with its arguments to come.
fn tool(name: &str) -> Command {
    let mut command = Command::new(path(".ci/tool"));
    command.arg(name).current_dir(path(""));
    command
}

/// Runs it; all that it said, or a failed test.
fn accepts(command: &mut Command) -> String {
    let output = command.output().expect("a command that starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
