//! The background gives way: what it brings to history takes as long as it takes, while facts that somebody waits for come in.
//!
//! Each of its transactions holds up the facts, and its reckoning takes their time on a small machine. So it rests after
//! each one where others have recorded meanwhile, several times as long as that one took; on a quiet machine it never rests.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use super::super::Catalog;
use crate::core::limits::{BACKGROUND_REST_MAX, BACKGROUND_REST_TIMES};

/// The pace of one part of the background.
#[derive(Debug)]
pub struct Pace {
    catalog: Catalog,
    /// Recordings that had begun when the last rest ended.
    begun: u64,
    since: Instant,
}

impl Catalog {
    /// The pace of a part of the background that begins now.
    pub fn pace(&self) -> Pace {
        Pace { catalog: self.clone(), begun: self.begun(), since: Instant::now() }
    }

    fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }
}

impl Pace {
    /// Behind a transaction of the background.
    pub async fn rest(&mut self) {
        // One is its own.
        if self.catalog.begun() > self.begun + 1 {
            sleep(rest(self.since.elapsed())).await;
        }
        (self.begun, self.since) = (self.catalog.begun(), Instant::now());
    }
}

fn rest(worked: Duration) -> Duration {
    (worked * BACKGROUND_REST_TIMES).min(BACKGROUND_REST_MAX)
}
