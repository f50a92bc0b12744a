//! The programs of this folder, in one binary, so that they are built and linked once: `load-tests/NAME` runs one of them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a program ends at the first surprise")]

use std::process::ExitCode;

mod broker_away;
mod catalog_away;
#[path = "common/clicks.rs"]
mod clicks;
#[path = "../tests/support/client.rs"]
mod client;
mod common;
mod conversion_replay;
mod cpu_per_redirect;
mod damage;
mod disk_full;
mod edge_kill;
#[path = "common/many.rs"]
mod many;
mod many_kill;
mod many_speed;
mod million_links;
mod power_cut;
mod replay;
mod report_speed;
mod reports;
#[path = "../tests/support/server.rs"]
mod server;
#[path = "../tests/support/stack.rs"]
mod stack;
#[path = "../tests/support/stripe.rs"]
mod stripe;

type Program = fn() -> ExitCode;

/// Each program, by the name of its link in this folder.
const PROGRAMS: [(&str, Program); 14] = [
    ("broker-away", broker_away::main),
    ("catalog-away", catalog_away::main),
    ("conversion-replay", conversion_replay::main),
    ("cpu-per-redirect", cpu_per_redirect::main),
    ("damage", damage::main),
    ("disk-full", disk_full::main),
    ("edge-kill", edge_kill::main),
    ("many-kill", many_kill::main),
    ("many-speed", many_speed::main),
    ("million-links", million_links::main),
    ("power-cut", power_cut::main),
    ("replay", replay::main),
    ("report-speed", report_speed::main),
    ("reports", reports::main),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, program)) = PROGRAMS.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: load NAME [--size ci|full] [--seed N], where NAME is one of: {}", names.join(", "));
        return ExitCode::from(2);
    };
    program()
}
