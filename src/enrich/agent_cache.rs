//! What each worker remembers of User-Agents: a few hundred texts make up nearly all clicks of a day, and reading one
//! costs microseconds.
//!
//! [`AGENTS_CACHED`] places, two for each hash value's remainder, the one used longer ago makes room. The hash is keyed
//! at random, and the whole text is compared: nobody can be taken for somebody else, and who sends ever new texts only
//! makes misses.

use std::{fmt, hash::BuildHasher};

use super::{Agent, Agents};
use crate::core::limits::{AGENT_MAX_BYTES, AGENTS_CACHED};

const WAYS: usize = 2;

#[derive(Default)]
struct Slot {
    hash: u64,
    /// Empty in a slot that nobody has used: the empty text is not kept.
    text: Vec<u8>,
    agent: Agent,
}

/// One worker's memory of User-Agents.
pub struct AgentCache {
    hasher: foldhash::fast::RandomState,
    /// In each pair the one used last comes first.
    pairs: Box<[[Slot; WAYS]]>,
    nobody: Agent,
}

impl fmt::Debug for AgentCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCache").finish_non_exhaustive()
    }
}

impl AgentCache {
    pub fn new(agents: &Agents) -> AgentCache {
        AgentCache {
            hasher: foldhash::fast::RandomState::default(),
            pairs: (0..AGENTS_CACHED / WAYS).map(|_| Default::default()).collect(),
            nobody: agents.read(b""),
        }
    }

    /// What this User-Agent tells: remembered, or read now. Copy what is needed beyond the next call.
    pub fn get(&mut self, agents: &Agents, user_agent: &[u8]) -> &Agent {
        let text = &user_agent[..user_agent.len().min(AGENT_MAX_BYTES)];
        if text.is_empty() {
            return &self.nobody;
        }
        let hash = self.hasher.hash_one(text);
        let pair = (hash as usize) & (self.pairs.len() - 1);
        let pair = &mut self.pairs[pair];
        let is_it = |slot: &Slot| slot.hash == hash && slot.text == text;
        if !is_it(&pair[0]) {
            pair.swap(0, 1);
            if !is_it(&pair[0]) {
                let slot = &mut pair[0];
                slot.agent = agents.read(text);
                slot.hash = hash;
                slot.text.clear();
                slot.text.extend_from_slice(text);
            }
        }
        &pair[0].agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::Verdict;

    #[test]
    fn it_answers_as_reading_does_also_when_it_is_too_small() {
        let agents = Agents::load().unwrap();
        let mut cache = AgentCache::new(&agents);
        let texts: Vec<String> = (0..3 * AGENTS_CACHED)
            .map(|n| match n % 3 {
                0 => format!("curl/{n}"),
                1 => format!("Mozilla/5.0 (iPhone; CPU iPhone OS 18_{n} like Mac OS X) Mobile/15E148 Safari/604.1"),
                _ => format!("Novelbot/{n}"),
            })
            .collect();
        for round in 0..2 {
            for text in &texts {
                assert_eq!(*cache.get(&agents, text.as_bytes()), agents.read(text.as_bytes()), "{text} in {round}");
            }
        }
        let kept: usize = cache.pairs.iter().flatten().filter(|slot| !slot.text.is_empty()).count();
        assert!(kept > AGENTS_CACHED / 2, "{kept} are kept");
    }

    #[test]
    fn what_was_used_last_is_still_there() {
        let agents = Agents::load().unwrap();
        let mut cache = AgentCache::new(&agents);
        cache.pairs = cache.pairs.into_iter().take(1).collect();
        for text in ["a", "b", "a", "c", "a"] {
            cache.get(&agents, text.as_bytes());
        }
        let kept: Vec<_> = cache.pairs[0].iter().map(|slot| slot.text.as_slice()).collect();
        assert_eq!(kept, [b"a", b"c"], "b was used longest ago");
    }

    #[test]
    fn nobody_and_very_long_texts_fit() {
        let agents = Agents::load().unwrap();
        let mut cache = AgentCache::new(&agents);
        assert_eq!(cache.get(&agents, b"").verdict, Verdict::Bot);
        let long = [b"curl/8 ".as_slice(), &[b'x'; 10_000]].concat();
        assert_eq!(cache.get(&agents, &long).verdict, Verdict::Browser);
        assert!(cache.pairs.iter().flatten().all(|slot| slot.text.len() <= AGENT_MAX_BYTES));
    }
}
