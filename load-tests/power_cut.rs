//! `power-cut`: the power goes at a random moment, on a simulated disk that loses, reorders and tears what was not synced.
//! Durability "disk" must lose no acknowledged record. `--size full` is 100,000 seeds; `--seed N` replays one.
//!
//! First it shows that it can fail: with a disk whose syncs do nothing, records must get lost.

#[path = "common/crash.rs"]
mod crash;

use std::process::ExitCode;

use crate::common;
use crash::Tally;
use fingerpost::io::sim::Lie;
use serde_json::json;

/// A lie that stays unseen for so many seeds means that this program proves nothing.
const LIE_SEEDS_MAX: u64 = 500;

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => 0..arguments.size.pick(1_000, 100_000),
    };
    for lie in [Lie::Sync, Lie::SyncDir] {
        match (0..LIE_SEEDS_MAX).find_map(|seed| Some((seed, crash::live(seed, lie).err()?))) {
            Some((seed, error)) => println!("a disk that lies ({lie:?}) is caught at seed {seed}: {error}"),
            None => {
                println!("a disk that lies ({lie:?}) was not caught");
                return common::report("power-cut", arguments.size, false, json!({ "uncaught": format!("{lie:?}") }));
            }
        }
    }
    let mut tally = Tally::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match crash::live(seed, Lie::None) {
            Ok(life) => tally.add(life),
            Err(error) => {
                println!("seed {seed}: {error}\nreplay it with --seed {seed}");
                return common::report("power-cut", arguments.size, false, json!({ "seed": seed, "error": error }));
            }
        }
        if (seed + 1).is_multiple_of(10_000) {
            println!("{} seeds, {} records acknowledged, none lost", seed + 1, tally.acknowledged);
        }
    }
    let fields = json!({
        "seeds": count, "acknowledged": tally.acknowledged, "lost": 0, "refused": tally.refused,
        "recovered": tally.recovered, "torn_bytes": tally.torn_bytes, "kills": tally.kills,
        "failed_syncs": tally.failed_syncs, "failed_writes": tally.failed_writes,
    });
    common::report("power-cut", arguments.size, true, fields)
}
