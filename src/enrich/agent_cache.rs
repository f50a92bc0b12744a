//! What each worker remembers of User-Agents: a few hundred texts make up nearly all clicks of a day, and reading one
//! costs a microsecond.
//!
//! [`AGENTS_CACHED`] places in sets of four; a text may stand in one set only, which its hash names, and there a place
//! that was not used since the hand last passed makes room (the CLOCK rule). The hash is keyed at random, and the whole
//! text is compared: nobody can be taken for somebody else, and who sends ever new texts only makes misses.

use std::{fmt, hash::BuildHasher};

use super::{Agent, Agents};
use crate::core::limits::{AGENT_MAX_BYTES, AGENTS_CACHED};

const WAYS: usize = 4;

/// The hashes stand together, so that one cache line says where to look.
#[derive(Default)]
struct Set {
    hashes: [u64; WAYS],
    used: [bool; WAYS],
    hand: usize,
    entries: [Entry; WAYS],
}

#[derive(Default)]
struct Entry {
    /// Empty in a place that nobody has taken: the empty text is not kept.
    text: Vec<u8>,
    agent: Agent,
}

/// One worker's memory of User-Agents.
pub struct AgentCache {
    hasher: foldhash::fast::RandomState,
    sets: Box<[Set]>,
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
            sets: (0..AGENTS_CACHED / WAYS).map(|_| Set::default()).collect(),
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
        let set = (hash as usize) & (self.sets.len() - 1);
        let set = &mut self.sets[set];
        let way = set.find(hash, text).unwrap_or_else(|| set.replace(hash, text, agents));
        set.used[way] = true;
        &set.entries[way].agent
    }
}

impl Set {
    fn find(&self, hash: u64, text: &[u8]) -> Option<usize> {
        (0..WAYS).find(|way| self.hashes[*way] == hash && self.entries[*way].text == text)
    }

    fn replace(&mut self, hash: u64, text: &[u8], agents: &Agents) -> usize {
        while std::mem::take(&mut self.used[self.hand]) {
            self.hand = (self.hand + 1) % WAYS;
        }
        let way = self.hand;
        self.hand = (self.hand + 1) % WAYS;
        self.hashes[way] = hash;
        let entry = &mut self.entries[way];
        entry.agent = agents.read(text);
        entry.text.clear();
        entry.text.extend_from_slice(text);
        way
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
        let kept: usize = cache.sets.iter().flat_map(|set| &set.entries).filter(|entry| !entry.text.is_empty()).count();
        assert!(kept > AGENTS_CACHED / 2, "{kept} are kept");
    }

    #[test]
    fn what_is_used_stays() {
        let agents = Agents::load().unwrap();
        let mut cache = AgentCache::new(&agents);
        cache.sets = cache.sets.into_iter().take(1).collect();
        for text in ["a", "b", "c", "d", "e"] {
            cache.get(&agents, text.as_bytes());
        }
        // The hand has passed all of them and stands behind `e`, which took the place of `a`.
        for text in ["b", "f", "g"] {
            cache.get(&agents, text.as_bytes());
        }
        let mut kept: Vec<_> = cache.sets[0].entries.iter().map(|entry| entry.text.as_slice()).collect();
        kept.sort_unstable();
        assert_eq!(kept, [b"b", b"e", b"f", b"g"], "b was used in between, c and d were not");
    }

    #[test]
    fn nobody_and_very_long_texts_fit() {
        let agents = Agents::load().unwrap();
        let mut cache = AgentCache::new(&agents);
        assert_eq!(cache.get(&agents, b"").verdict, Verdict::Bot);
        let long = [b"curl/8 ".as_slice(), &[b'x'; 10_000]].concat();
        assert_eq!(cache.get(&agents, &long).verdict, Verdict::Browser);
        assert!(cache.sets.iter().flat_map(|set| &set.entries).all(|entry| entry.text.len() <= AGENT_MAX_BYTES));
    }
}
