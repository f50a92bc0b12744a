//! What a loader did, and how far it is.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// What a loader did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub events: u64,
    pub set_aside: u64,
    pub ranges: u64,
    /// Partitions that it was given; 0: other loaders had them all.
    pub partitions: u64,
}

/// How far a loader is, for who looks on.
#[derive(Clone, Debug)]
pub struct Progress(Arc<(Mutex<Look>, Condvar)>);

#[derive(Debug, Default)]
struct Look {
    loaded: u64,
    left: u64,
    ended: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress(Arc::default())
    }

    pub(super) fn tell(&self, loaded: u64, left: u64) {
        let mut look = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        (look.loaded, look.left) = (loaded, left);
    }

    pub(super) fn end(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.1.notify_all();
    }

    /// Events that are loaded, and offsets that are not, after that time; `None` when the loader has ended.
    pub fn after(&self, time: Duration) -> Option<(u64, u64)> {
        let look = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(look, time, |look| !look.ended);
        let (look, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!look.ended).then_some((look.loaded, look.left))
    }
}
