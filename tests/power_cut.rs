//! The journal over a power cut, on the simulated disk; `load-tests/power_cut.rs` runs many more seeds.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "../load-tests/common/crash.rs"]
mod crash;

use fingerpost::io::sim::Lie;

#[test]
fn no_acknowledged_record_is_lost() {
    let mut tally = crash::Tally::default();
    for seed in 0..300 {
        tally.add(crash::live(seed, Lie::None).unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    assert!(tally.acknowledged > 5_000 && tally.recovered > 3_000, "the seeds must do something: {tally:?}");
    assert!(
        tally.failed_syncs > 20 && tally.failed_writes > 20 && tally.torn_bytes > 0 && tally.kills > 10,
        "{tally:?}"
    );
}

/// A test that cannot fail proves nothing: with a disk whose sync does nothing, records must get lost.
#[test]
fn acknowledging_without_a_sync_is_caught() {
    for lie in [Lie::Sync, Lie::SyncDir] {
        assert!((0..300).any(|seed| crash::live(seed, lie).is_err()), "{lie:?}");
    }
}
