//! Randomness: a secret seed from the kernel, stretched by BLAKE3, so that an id costs no system call.

use std::{cell::RefCell, io};

/// Bytes that are drawn at once.
const POOL_BYTES: usize = 1_024;

/// A cryptographic generator of one thread. The next seed is the first 32 bytes of each pool and never leaves.
#[derive(Debug)]
pub struct Random {
    state: RefCell<State>,
}

struct State {
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({} used)", self.used)
    }
}

impl Random {
    /// Seeded by the kernel.
    pub fn from_kernel() -> io::Result<Random> {
        Ok(Random::from_seed(bytes()?))
    }

    /// The same seed gives the same bytes: for tests.
    pub fn from_seed(seed: [u8; 32]) -> Random {
        let mut pool = [0; POOL_BYTES];
        pool[..32].copy_from_slice(&seed);
        Random { state: RefCell::new(State { pool, used: POOL_BYTES }) }
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= POOL_BYTES - 32) }
        let mut state = self.state.borrow_mut();
        if state.used + N > POOL_BYTES {
            let seed: [u8; 32] = std::array::from_fn(|at| state.pool[at]);
            blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut state.pool);
            state.used = 32;
        }
        let at = state.used;
        state.used += N;
        let mut out = [0; N];
        out.copy_from_slice(&state.pool[at..at + N]);
        state.pool[at..at + N].fill(0);
        out
    }
}

/// Random bytes straight from the kernel: for keys, tokens and slugs.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_no_two_draws_are_alike() {
        let draw = |seed| {
            let random = Random::from_seed([seed; 32]);
            (0..1_000).map(|_| random.bytes::<16>()).collect::<Vec<_>>()
        };
        let mut drawn = draw(1);
        assert_eq!(drawn, draw(1));
        drawn.extend(draw(2));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 2_000);
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
    }
}
