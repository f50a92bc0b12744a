//! Readiness with reasons: each part says how it is, under its own name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// How a part is. The worst one is the whole's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ready,
    /// Visitors are answered, but something that was promised is at risk. `/readyz` still says 200.
    Degraded,
    /// Visitors cannot be answered. `/readyz` says 503.
    NotReady,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    pub state: State,
    /// What is wrong and what to do; empty when ready.
    pub reason: String,
}

/// Shared by all parts; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Condition>>>,
}

impl Health {
    pub fn set(&self, part: &str, state: State, reason: impl Into<String>) {
        let condition = Condition { state, reason: reason.into() };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), condition);
    }

    pub fn ready(&self, part: &str) {
        self.set(part, State::Ready, "");
    }

    /// The worst state, and every part's.
    pub fn snapshot(&self) -> (State, BTreeMap<String, Condition>) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (parts.values().map(|condition| condition.state).max().unwrap_or(State::NotReady), parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_speaks_for_the_whole() {
        let health = Health::default();
        assert_eq!(health.snapshot().0, State::NotReady, "nobody has said anything yet");
        health.ready("links");
        health.set("journal", State::Degraded, "the disk is full: make room");
        assert_eq!(health.snapshot().0, State::Degraded);
        health.ready("journal");
        assert_eq!(health.snapshot().0, State::Ready);
    }
}
