//! What every load test shares: its arguments, its randomness, its last line.

#![allow(dead_code, reason = "each program uses its part")]

use std::{process::ExitCode, time::Duration};

/// How much a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// About a minute.
    Ci,
    /// What QUALITY and PERFORMANCE ask for.
    Full,
}

impl Size {
    pub fn word(self) -> &'static str {
        match self {
            Size::Ci => "ci",
            Size::Full => "full",
        }
    }
}

/// `--size ci|full` and `--seed N`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub size: Size,
    /// The same seed makes the same choices.
    pub seed: u64,
    /// Whether the seed was given, to replay one run.
    pub replay: bool,
}

impl Arguments {
    /// Reads the command line; ends the program with a usage line when it is wrong.
    pub fn parse(program: &str) -> Arguments {
        let clock = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
        let mut parsed = Arguments { size: Size::Ci, seed: clock & 0xffff_ffff, replay: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next();
            match (argument.as_str(), value.as_deref()) {
                ("--size", Some("ci")) => parsed.size = Size::Ci,
                ("--size", Some("full")) => parsed.size = Size::Full,
                ("--seed", Some(seed)) if seed.parse::<u64>().is_ok() => {
                    parsed.seed = seed.parse().unwrap_or_default();
                    parsed.replay = true;
                }
                _ => {
                    eprintln!("usage: {program} [--size ci|full] [--seed N]");
                    std::process::exit(2);
                }
            }
        }
        parsed
    }
}

/// Prints the last line, one JSON object, and turns the claim into an exit code.
pub fn report(program: &str, size: Size, ok: bool, fields: serde_json::Value) -> ExitCode {
    let mut line = serde_json::json!({ "program": program, "size": size.word(), "ok": ok });
    if let (Some(line), serde_json::Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    println!("{line}");
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A small generator (SplitMix64) that repeats for a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (u128::from(self.next()) * u128::from(bound) >> 64) as u64
    }
}

/// Lets time pass: between two looks at another process, or as the length of a load.
#[expect(clippy::disallowed_methods, reason = "a load lasts for a length of time")]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Whether a program can be started by its name.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
