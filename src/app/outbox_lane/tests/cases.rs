//! The property, what would break it, and single cases.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_arrives_exactly_once() {
    for seed in 0..300 {
        run(seed, Broken::Nothing).await.unwrap();
    }
}

/// Each of the three things that the promise rests on is needed: without it the same test fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_of_its_reasons_the_promise_is_broken() {
    for broken in [Broken::Look, Broken::Removal, Broken::Durability] {
        let mut seeds = 0..2_000;
        loop {
            let seed = seeds.next().unwrap_or_else(|| panic!("{broken:?} was not noticed"));
            if run(seed, broken).await.is_err() {
                eprintln!("{broken:?} was noticed with seed {seed}");
                break;
            }
        }
    }
}
