//! ClickHouse as event store, on the real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod engine;
mod insert;
mod kafka_engine;
mod reports;
mod schema;
mod serve;
mod sink;

use std::future::Future;

/// Runs on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A generator whose seed is printed when a test fails: xorshift64*.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from_le_bytes(fingerpost::io::random::bytes().unwrap()));
        println!("SEED={seed}");
        Dice(seed | 1)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    }
}
