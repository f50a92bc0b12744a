//! The real ClickHouse and PostgreSQL for tests that live beside the code, because what they compare with is not public.
//!
//! `FINGERPOST_STACK` names a running stack (`load-tests/stack up --dir DIR`); without it, each part is started once for
//! this test process and ends with it. A part that does not come up is a failure, never a skipped test.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use serde_json::Value;

/// ClickHouse's address, `http://127.0.0.1:…`: user `default`, no password. Each test makes a database of its own.
pub(crate) fn clickhouse() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| url("clickhouse"))
}

fn url(part: &str) -> String {
    let known = if let Some(folder) = std::env::var_os("FINGERPOST_STACK") {
        let file = PathBuf::from(folder).join("stack.json");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text
    } else {
        up(part)
    };
    let known: Value = serde_json::from_str(&known).unwrap_or_else(|error| panic!("{error}: {known}"));
    match known[part]["url"].as_str() {
        Some(url) => url.to_owned(),
        None => panic!("{part} is not part of the stack: {known}"),
    }
}

/// Starts a part that ends with this process; what `stack` says about it.
fn up(part: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/load-tests/stack");
    let id = std::process::id();
    let folder = std::env::temp_dir().join(format!("fingerpost-stack-unit-{id}-{part}"));
    let output = Command::new(script)
        .args(["up", part, "--for", &id.to_string(), "--dir"])
        .arg(folder)
        .output()
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script} up {part}: {}", String::from_utf8_lossy(&output.stderr));
    told.lines().next_back().unwrap_or_default().to_owned()
}
