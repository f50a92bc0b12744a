//! A lane of this process as the pump sees it: how far it is committed, and how old the oldest record is that the sink does
//! not hold yet.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::record::Key;
use crate::{
    core::{
        id::LaneId,
        time::{Millis, SECOND_MS},
    },
    io::disk::LockGuard,
};

/// Marks that tell the age of unsent records; when there are more, every second one goes.
const MARKS_MAX: usize = 1_024;

#[derive(Debug)]
pub struct LaneWatch {
    pub id: LaneId,
    pub(crate) folder: PathBuf,
    pub(crate) key: Key,
    pub(crate) salt: u64,
    committed: AtomicU64,
    closed: AtomicBool,
    unsent: Mutex<Unsent>,
    /// Keeps other claimers away for as long as anybody here knows the lane.
    _claim: Box<dyn LockGuard>,
}

#[derive(Debug, Default)]
struct Unsent {
    delivered: u64,
    /// Up to this sequence number (not included) everything was committed by then; ascending.
    marks: VecDeque<(u64, Millis)>,
}

impl LaneWatch {
    pub(crate) fn new(id: LaneId, folder: PathBuf, salt: u64, claim: Box<dyn LockGuard>) -> LaneWatch {
        LaneWatch {
            id,
            folder,
            key: Key::new(salt),
            salt,
            committed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            unsent: Mutex::default(),
            _claim: claim,
        }
    }

    /// Where its files lie.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Everything below this sequence number may be read and delivered; nothing at or above it may.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn commit(&self, next: u64) {
        debug_assert!(next >= self.committed());
        self.committed.store(next, Ordering::Release);
    }

    /// No record will follow the committed ones.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The sink holds everything below `next`.
    pub(crate) fn delivered(&self, next: u64) {
        let mut unsent = self.unsent();
        unsent.delivered = unsent.delivered.max(next);
        while unsent.marks.front().is_some_and(|(mark, _)| *mark <= next) {
            unsent.marks.pop_front();
        }
    }

    /// Records that are committed and that the sink does not hold.
    pub fn lag(&self) -> u64 {
        self.committed().saturating_sub(self.unsent().delivered)
    }

    /// How long the oldest of them has waited, milliseconds, as exact as this is called often. Whoever looks also notes
    /// what is there, so call it at least once a second.
    pub fn oldest_unsent_ms(&self, now: Millis) -> u64 {
        let committed = self.committed();
        let mut unsent = self.unsent();
        let newest = unsent.marks.back().copied();
        let due = newest.is_none_or(|(mark, at)| mark < committed && now.0 - at.0 >= SECOND_MS);
        if committed > unsent.delivered && due {
            unsent.marks.push_back((committed, now));
        }
        if unsent.marks.len() > MARKS_MAX {
            let mut keep = false;
            unsent.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        if committed <= unsent.delivered {
            return 0;
        }
        unsent.marks.front().map_or(0, |(_, at)| u64::try_from(now.0 - at.0).unwrap_or(0))
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;
    impl LockGuard for Nobody {}

    #[test]
    fn the_oldest_unsent_record_ages_until_it_is_delivered() {
        let watch = LaneWatch::new(LaneId(1), PathBuf::new(), 0, Box::new(Nobody));
        assert_eq!(watch.oldest_unsent_ms(Millis(0)), 0);
        watch.commit(10);
        assert_eq!(watch.oldest_unsent_ms(Millis(1_000)), 0);
        watch.commit(20);
        assert_eq!(watch.oldest_unsent_ms(Millis(3_000)), 2_000);
        assert_eq!(watch.lag(), 20);
        watch.delivered(10);
        assert_eq!(watch.oldest_unsent_ms(Millis(7_000)), 4_000, "since the second look");
        watch.delivered(20);
        assert_eq!((watch.oldest_unsent_ms(Millis(9_000)), watch.lag()), (0, 0));
        for at in 0..100_000_i64 {
            watch.commit(21 + at as u64);
            watch.oldest_unsent_ms(Millis(10_000 + at * 1_000));
        }
        assert!(watch.unsent().marks.len() <= MARKS_MAX + 1);
        assert!(watch.oldest_unsent_ms(Millis(110_010_000)) >= 99_000_000, "the oldest mark is never thinned away");
    }
}
