//! Readiness with reasons: each part says how it is, under its own name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::gauge;
use serde::Serialize;

use super::names;

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

impl State {
    pub const ALL: [State; 3] = [State::Ready, State::Degraded, State::NotReady];

    /// As `/readyz` and the metric's label say it.
    pub const fn tag(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::NotReady => "not_ready",
        }
    }
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

    /// Every part's state as a metric, so that a degraded part can be seen without asking `/readyz`. To be called at
    /// each scrape. Parts are names in our own code: their number is fixed.
    pub fn publish(&self) {
        for (part, condition) in self.snapshot().1 {
            for state in State::ALL {
                let is_it = if state == condition.state { 1.0 } else { 0.0 };
                gauge!(names::READINESS, "part" => part.clone(), "state" => state.tag()).set(is_it);
            }
        }
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

    #[test]
    fn a_tag_is_what_readyz_says() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.tag());
        }
    }

    #[test]
    fn a_part_is_in_one_state_at_a_time() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let health = Health::default();
        metrics::with_local_recorder(&recorder, || {
            health.set("journal", State::Degraded, "the disk is full: make room");
            health.publish();
            health.ready("journal");
            health.publish();
        });
        let text = recorder.handle().render();
        for (state, value) in [("ready", 1), ("degraded", 0), ("not_ready", 0)] {
            let line = format!("fingerpost_readiness{{part=\"journal\",state=\"{state}\"}} {value}");
            assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
        }
    }
}
