//! How long to wait before the next try: twice as long each time, up to a cap, less up to half of it at random, so that
//! many pumps do not come back at once.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration), seed: u64) -> Backoff {
        Backoff { first, longest, tries: 0, random: seed | 1 }
    }

    /// Tries that failed since the last success.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.tries.min(16)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        self.jittered(full)
    }

    /// For what will not mend itself.
    pub(super) fn longest(&mut self) -> Duration {
        self.tries = self.tries.saturating_add(1);
        self.jittered(self.longest)
    }

    fn jittered(&mut self, full: Duration) -> Duration {
        // xorshift64: spread is all that is wanted.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        full.mul_f64(0.5 + (self.random >> 11) as f64 / (1u64 << 54) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::limits::{RETRY_MAX, RETRY_MIN};

    #[test]
    fn waits_grow_to_the_cap_and_start_again() {
        let mut backoff = Backoff::new((RETRY_MIN, RETRY_MAX), 7);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        for (at, wait) in waits.iter().enumerate() {
            let full = RETRY_MIN.saturating_mul(1 << at.min(16)).min(RETRY_MAX);
            assert!(*wait >= full / 2 && *wait <= full, "try {at}: {wait:?} of {full:?}");
        }
        assert_ne!(waits[30], waits[31], "jitter");
        backoff.reset();
        assert!(backoff.next() <= RETRY_MIN);
        assert!(backoff.longest() >= RETRY_MAX / 2);
    }
}
