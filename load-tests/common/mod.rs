//! What the programs in `load-tests/` share: `--size ci|full`, `--seed N`, and the last line of output, one JSON object.

#![allow(dead_code, reason = "each program takes what it needs")]

use std::process::ExitCode;

use serde_json::{Value, json};

/// How much of it to run: CI's share, or what QUALITY.md demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Ci,
    Full,
}

impl Size {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Size::Ci => "ci",
            Size::Full => "full",
        }
    }

    pub(crate) fn pick<T>(self, ci: T, full: T) -> T {
        match self {
            Size::Ci => ci,
            Size::Full => full,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    pub(crate) size: Size,
    /// Replay this one only.
    pub(crate) seed: Option<u64>,
}

/// Reads the command line; says how to use it and ends the program where that fails.
pub(crate) fn arguments() -> Arguments {
    let mut arguments = Arguments { size: Size::Ci, seed: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next();
        match (word.as_str(), value.as_deref()) {
            ("--size", Some("ci")) => arguments.size = Size::Ci,
            ("--size", Some("full")) => arguments.size = Size::Full,
            ("--seed", Some(text)) if text.parse::<u64>().is_ok() => arguments.seed = text.parse().ok(),
            _ => {
                eprintln!("usage: [--size ci|full] [--seed N]");
                std::process::exit(2);
            }
        }
    }
    arguments
}

/// Prints the last line, and turns `ok` into the exit code. `fields` is an object.
pub(crate) fn report(program: &str, size: Size, ok: bool, fields: Value) -> ExitCode {
    let mut line = json!({ "program": program, "size": size.label() });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
        line.insert("ok".to_owned(), ok.into());
    }
    println!("{line}");
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
