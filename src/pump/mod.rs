//! From the journal to the sink: the only retry loop.
//!
//! **Promise:** the sink is given every record of every lane, in the lane's order, until it says that it holds them; only
//! then are journal segments deleted. What the sink holds is said by the sink alone: on start each lane is read from
//! [`Sink::positions`]. So the pump keeps nothing of its own, may be killed between any two steps, and never makes the sink
//! count twice.
//!
//! ```text
//! lanes ──next──▶ batch ──store──▶ sink ──its word──▶ delivered (segments deleted)
//!   ▲                      │ retry: the same batch, after a growing, jittered wait
//!   └── changed, orphans   └ fatal: the same, slowly; readiness tells what to do
//! ```
//!
//! A lane that has ended and is drained is removed: **first its folder, durably, then the sink forgets it.** The other way
//! round a crash in between would leave a folder that the sink does not know, and count it again. A crash in between now
//! leaves a position of a lane that is gone, which costs a row: lane ids never come back.
//!
//! | file | what |
//! |---|---|
//! | `lanes.rs` | what the pump needs of a journal: two traits |
//! | `feed.rs` | the lanes in hand: reading batches, progress, removal |
//! | `backoff.rs` | how long to wait |
//! | `load/` | the other pump: from Kafka to ClickHouse |

use std::{io, thread, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

mod backoff;
mod feed;
mod lanes;
pub mod load;
#[cfg(test)]
mod tests;

pub use lanes::{LaneError, LaneSource, Lanes};

use backoff::Backoff;
use feed::Feed;

use crate::{
    core::limits::{BATCH_MAX_BYTES, BATCH_MAX_EVENTS, FLUSH_TIMEOUT, ORPHAN_SCAN_INTERVAL, RETRY_MAX, RETRY_MIN},
    store::{Batch, Sink, SinkError, Stored},
    telemetry::{
        health::{Health, State},
        names,
    },
};

/// The parts of readiness that the pump speaks for.
const SINK: &str = "sink";
const LANES: &str = "journal-reader";

/// How a pump works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A batch waits that long for more events.
    pub linger: Duration,
    pub batch_max_events: usize,
    pub batch_max_bytes: usize,
    /// After the shutdown signal, for how long the rest may be delivered.
    pub flush_timeout: Duration,
    /// How often to look for lanes that nobody owns.
    pub orphan_scan_interval: Duration,
    /// First and longest wait after a sink that does not answer.
    pub retry: (Duration, Duration),
    /// For the jitter of retries.
    pub seed: u64,
}

impl Options {
    pub fn new(linger: Duration, seed: u64) -> Options {
        Options {
            linger,
            batch_max_events: BATCH_MAX_EVENTS,
            batch_max_bytes: BATCH_MAX_BYTES,
            flush_timeout: FLUSH_TIMEOUT,
            orphan_scan_interval: ORPHAN_SCAN_INTERVAL,
            retry: (RETRY_MIN, RETRY_MAX),
            seed,
        }
    }
}

/// How a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink holds everything that the lanes held.
    Drained,
    /// Time was up; these records stay in the journal for the next start.
    Left { records: u64 },
}

/// Moves records from lanes to a sink.
#[allow(missing_debug_implementations, reason = "holds trait objects of other rooms")]
pub struct Pump {
    lanes: Box<dyn Lanes>,
    sink: Box<dyn Sink>,
    options: Options,
    health: Health,
}

impl Pump {
    pub fn new(lanes: Box<dyn Lanes>, sink: Box<dyn Sink>, options: Options, health: Health) -> Pump {
        Pump { lanes, sink, options, health }
    }

    /// Runs on a thread of its own, with a runtime of its own: reading segments blocks, and must block nobody else.
    pub fn spawn(self, shutdown: CancellationToken) -> io::Result<thread::JoinHandle<io::Result<Outcome>>> {
        thread::Builder::new().name("pump".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(self.run(shutdown));
            // A call of the sink that was given up may still block a thread of the runtime: it is not waited for.
            runtime.shutdown_background();
            Ok(outcome)
        })
    }

    /// Runs until `shutdown`, then delivers what is left, for at most `flush_timeout`. Cancel it after the journal is
    /// sealed: what is appended later is not waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Outcome {
        let mut running = Running {
            feed: Feed::default(),
            backoff: Backoff::new(self.options.retry, self.options.seed),
            orphans_due: Instant::now(),
            deadline: None,
            shutdown,
            pump: self,
        };
        let outcome = running.run().await;
        match outcome {
            Outcome::Drained => tracing::info!("everything is delivered"),
            Outcome::Left { records } => {
                tracing::warn!(
                    records,
                    "not everything could be delivered in time: the journal keeps it for the next start"
                );
            }
        }
        outcome
    }
}

struct Running {
    pump: Pump,
    feed: Feed,
    backoff: Backoff,
    orphans_due: Instant,
    /// Set when the shutdown signal was seen.
    deadline: Option<Instant>,
    shutdown: CancellationToken,
}

/// Why a step ended.
enum Step {
    Done,
    /// The deadline passed.
    TimeUp,
}

impl Running {
    async fn run(&mut self) -> Outcome {
        // The sink is asked also where there is no lane: readiness says whether it answers.
        let mut is_first = true;
        loop {
            let live = self.pump.lanes.live();
            if (is_first || !live.is_empty()) && matches!(self.take_in(live).await, Step::TimeUp) {
                return self.left();
            }
            is_first = false;
            if matches!(self.claim_orphans().await, Step::TimeUp) {
                return self.left();
            }
            let batches = self.feed.read(&self.pump.options, &self.pump.health);
            let full = self.feed.was_full;
            if !batches.is_empty() && matches!(self.deliver(&batches).await, Step::TimeUp) {
                return self.left();
            }
            if matches!(self.retire().await, Step::TimeUp) {
                return self.left();
            }
            if full {
                // There is more: no wait, but let a signal through.
                tokio::task::yield_now().await;
            } else if self.shutdown.is_cancelled() {
                // One more look after the signal: what was committed before it is there to be read.
                if self.deadline.is_some() && batches.is_empty() {
                    return if self.feed.is_stuck() { self.left() } else { Outcome::Drained };
                }
                self.start_deadline();
            } else {
                self.wait().await;
            }
        }
    }

    /// Takes lanes in hand, each where the sink says. Asked anew each time: whoever owned an orphan may have moved it on.
    async fn take_in(&mut self, lanes: Vec<Box<dyn LaneSource>>) -> Step {
        loop {
            let asked = bounded(&self.shutdown, &mut self.deadline, self.pump.options, self.pump.sink.positions());
            let error = match asked.await {
                Some(Ok(positions)) => {
                    self.recovered();
                    self.feed.add(lanes, &positions, &self.pump.health);
                    return Step::Done;
                }
                Some(Err(error)) => error,
                None => return Step::TimeUp,
            };
            if matches!(self.pause(&error).await, Step::TimeUp) {
                return Step::TimeUp;
            }
        }
    }

    async fn claim_orphans(&mut self) -> Step {
        if Instant::now() < self.orphans_due {
            return Step::Done;
        }
        self.orphans_due = Instant::now() + self.pump.options.orphan_scan_interval;
        match self.pump.lanes.claim_orphans() {
            Ok(orphans) if orphans.is_empty() => Step::Done,
            Ok(orphans) => {
                tracing::info!(lanes = orphans.len(), "draining lanes that another process left");
                self.take_in(orphans).await
            }
            Err(error) => {
                self.pump.health.set(LANES, State::Degraded, error.to_string());
                Step::Done
            }
        }
    }

    /// Gives the sink a batch until it holds it, then lets the lanes delete.
    async fn deliver(&mut self, batches: &[Batch]) -> Step {
        loop {
            let started = Instant::now();
            let stored = bounded(&self.shutdown, &mut self.deadline, self.pump.options, self.pump.sink.store(batches));
            let error = match stored.await {
                Some(Ok(stored)) => {
                    self.count(stored, started.elapsed());
                    self.recovered();
                    self.feed.delivered(batches, &self.pump.health);
                    return Step::Done;
                }
                Some(Err(error)) => error,
                None => return Step::TimeUp,
            };
            metrics::counter!(names::SINK_RETRIES).increment(1);
            if matches!(self.pause(&error).await, Step::TimeUp) {
                return Step::TimeUp;
            }
        }
    }

    /// Removes lanes that have ended and are drained: the folder first, then the sink's memory of it.
    async fn retire(&mut self) -> Step {
        for lane in self.feed.remove_finished(&self.pump.health) {
            loop {
                let forgot =
                    bounded(&self.shutdown, &mut self.deadline, self.pump.options, self.pump.sink.forget(lane));
                let error = match forgot.await {
                    Some(Ok(())) => break,
                    Some(Err(error)) => error,
                    None => return Step::TimeUp,
                };
                if matches!(self.pause(&error).await, Step::TimeUp) {
                    return Step::TimeUp;
                }
            }
            self.recovered();
            tracing::info!(%lane, "a lane is drained and removed");
        }
        Step::Done
    }

    /// Waits for new records, and then a while for more of them.
    async fn wait(&mut self) {
        let changed = async {
            self.pump.lanes.changed().await;
            tokio::time::sleep(self.pump.options.linger).await;
        };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            // Lanes that could not be read, and orphans, are looked at again in any case.
            _ = timeout(self.pump.options.orphan_scan_interval.max(self.pump.options.linger), changed) => {}
        }
    }

    /// Waits before the next try, and says why.
    async fn pause(&mut self, error: &SinkError) -> Step {
        let wait = match error {
            SinkError::Retry(_) => self.backoff.next(),
            SinkError::Fatal(_) => self.backoff.longest(),
        };
        if self.backoff.tries() == 1 {
            tracing::warn!(%error, "the sink does not take events: they wait in the journal");
        }
        self.pump.health.set(SINK, State::Degraded, format!("{error}; events wait in the journal"));
        let deadline = match self.deadline {
            Some(deadline) => deadline,
            None => tokio::select! {
                () = tokio::time::sleep(wait) => return Step::Done,
                // The signal ends the wait: try once more at once.
                () = self.shutdown.cancelled() => {
                    self.start_deadline();
                    return Step::Done;
                }
            },
        };
        tokio::time::sleep_until(deadline.min(Instant::now() + wait)).await;
        if Instant::now() >= deadline { Step::TimeUp } else { Step::Done }
    }

    fn start_deadline(&mut self) {
        self.deadline.get_or_insert_with(|| Instant::now() + self.pump.options.flush_timeout);
    }

    fn recovered(&mut self) {
        if self.backoff.tries() > 0 {
            tracing::info!("the sink takes events again");
        }
        self.backoff.reset();
        self.pump.health.ready(SINK);
    }

    fn count(&self, stored: Stored, took: Duration) {
        metrics::counter!(names::SINK_EVENTS).increment(stored.events);
        metrics::counter!(names::SINK_SET_ASIDE).increment(stored.set_aside);
        metrics::histogram!(names::SINK_BATCH_SECONDS).record(took.as_secs_f64());
        if stored.set_aside > 0 {
            tracing::warn!(records = stored.set_aside, "the sink could not take records and keeps them aside");
        }
    }

    fn left(&self) -> Outcome {
        Outcome::Left { records: self.feed.lag() }
    }
}

/// Waits for the sink, but after the shutdown signal no longer than the flush may take; `None` is time up. Giving up is
/// safe at any point: what the sink did all the same, its positions say on the next start.
async fn bounded<T>(
    shutdown: &CancellationToken,
    deadline: &mut Option<Instant>,
    options: Options,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    if deadline.is_none() {
        tokio::select! {
            biased;
            result = &mut work => return Some(result),
            () = shutdown.cancelled() => {}
        }
    }
    let deadline = *deadline.get_or_insert_with(|| Instant::now() + options.flush_timeout);
    tokio::time::timeout_at(deadline, work).await.ok()
}
