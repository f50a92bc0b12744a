//! What the programs in `load-tests/` share: `--size ci|full`, `--seed N`, and the last line of output, one JSON object.

#![allow(dead_code, reason = "each program takes what it needs")]

use std::{process::ExitCode, time::Duration};

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

impl Arguments {
    /// The seed that was given, or a new one.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_micros() as u64 & 0xffff_ffff)
        })
    }
}

/// Reads the command line; says how to use it and ends the program where that fails.
pub(crate) fn arguments() -> Arguments {
    let mut arguments = Arguments { size: Size::Ci, seed: None };
    let mut words = std::env::args().skip(2);
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

/// A small generator (SplitMix64) that repeats for a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Lets time pass: between two looks at another process, or as the length of a load.
#[expect(clippy::disallowed_methods, reason = "a load lasts for a length of time")]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Whether a program can be started by its name.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
