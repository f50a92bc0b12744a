//! From a log in partitions to a table: `fingerpost load`.
//!
//! **Promise:** each record below a committed offset is in the table once, through kills of loader, broker and table, lost
//! answers, changes of who has a partition, and a group whose offsets were reset. Several loaders share the partitions.
//!
//! ```text
//! records ─▶ a range is ripe ─▶ intent committed ─▶ loaded ─▶ its end committed ─▶ the next range
//!                                  (start, note: end)            (end, no note)
//! ```
//!
//! - **Intent.** Before anything of a range is loaded, its end is committed as a note beside its start. So whoever has the
//!   partition next knows what may be there already, and loads that as *doubtful*: the table is asked.
//! - **Given.** What is doubtful when a partition is given: the range of its note, and everything below the highest offset that
//!   the table ever held (the group was reset). Of the latter, what is more than one range below was finished, because ranges
//!   of a partition are loaded one after the other: it is skipped. Where the table holds less than was committed (it was
//!   restored from a backup), the loader goes back to where the table is.
//! - **Taken.** From then on nothing is committed for the partition, and what is being loaded is given up where it stands.
//!   Whoever has it now finds the intent. A commit that the group refuses is the same.
//! - One range of a partition is under way at a time; meanwhile the next one fills, and a partition whose next one is full is
//!   paused. So memory is bounded by two ranges a partition.
//!
//! The loader polls on a thread of its own, because the source's calls block; ranges are loaded on the runtime, and tried
//! again there until they are loaded: after a failure nobody knows how far it came, so every further try is doubtful.
//!
//! | file | |
//! |---|---|
//! | `mod.rs` | the loop |
//! | `partition.rs` | one partition: what fills, what is under way, what is doubtful |
//! | `progress.rs` | what a loader did, and how far it is, for who looks on |
//! | `welcome.rs` | partitions that we were given: what of them is in the table, and where to go on |
//! | `work.rs` | loading one range until it is loaded |

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

mod partition;
mod progress;
#[cfg(test)]
mod tests;
mod welcome;
mod work;

use partition::{Partition, Ripeness};
pub use progress::{Loaded, Progress};
use welcome::{New, expired};
use work::{Done, Work};

use super::backoff::Backoff;
use crate::{
    core::limits::{FLUSH_TIMEOUT, RETRY_MAX, RETRY_MIN, SOURCE_RETRY_MAX},
    io::clock::Clock,
    store::{Happened, RangeSink, Source, SourceError},
    telemetry::{
        health::{Health, State},
        names,
    },
};

/// The parts of readiness that the loader speaks for.
const SOURCE: &str = "source";
const TABLE: &str = "table";

/// How long one poll waits. Ranges that are ripe by age, and finished ones, are looked at in between.
const POLL: Duration = Duration::from_millis(50);
/// Events of one poll.
const POLL_EVENTS: usize = 10_000;
/// With `once`, a source that fails for that long fails the run.
const ONCE_PATIENCE: Duration = Duration::from_secs(60);
/// How often the partitions' ends are asked for, to tell the lag.
const LAG_INTERVAL: Duration = Duration::from_secs(2);

/// How a loader works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub batch_max_events: usize,
    pub batch_max_bytes: usize,
    /// The oldest record of a range waits that long for more.
    pub batch_max_age: Duration,
    /// End when everything that was there at the start is loaded.
    pub once: bool,
    /// For how long ranges that are under way may finish after the signal.
    pub flush_timeout: Duration,
    /// First and longest wait between tries.
    pub retry: (Duration, Duration),
    /// For the jitter of retries.
    pub seed: u64,
}

impl Options {
    pub fn new(batch_max_events: usize, batch_max_age: Duration, once: bool, seed: u64) -> Options {
        Options {
            batch_max_events,
            batch_max_bytes: crate::core::limits::LOAD_BATCH_BYTES,
            batch_max_age,
            once,
            flush_timeout: FLUSH_TIMEOUT,
            retry: (RETRY_MIN, RETRY_MAX),
            seed,
        }
    }
}

/// Moves records from a source to a table.
#[allow(missing_debug_implementations, reason = "holds trait objects of other rooms")]
pub struct Loader {
    source: Box<dyn Source>,
    table: Arc<dyn RangeSink>,
    options: Options,
    health: Health,
    clock: Clock,
    runtime: Handle,
    progress: Progress,
}

impl Loader {
    /// `runtime` is where ranges are loaded; it must not be the thread that the loader runs on.
    pub fn new(
        source: Box<dyn Source>,
        table: Arc<dyn RangeSink>,
        options: Options,
        health: Health,
        clock: Clock,
        runtime: Handle,
    ) -> Loader {
        Loader { source, table, options, health, clock, runtime, progress: Progress::new() }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs on a thread of its own until `stop`, or with `once` until everything is loaded or something cannot be.
    pub fn spawn(self, stop: CancellationToken) -> io::Result<thread::JoinHandle<Result<Loaded, String>>> {
        thread::Builder::new().name("loader".to_owned()).spawn(move || self.run(&stop))
    }

    /// The same on this thread. An error says what somebody must do; what is committed stays.
    pub fn run(self, stop: &CancellationToken) -> Result<Loaded, String> {
        let (done, finished) = mpsc::channel();
        let (work, options) = (Work::new(&self, done), self.options);
        begin_metrics();
        let running = Running {
            backoff: Backoff::new((options.retry.0, options.retry.1.min(SOURCE_RETRY_MAX)), options.seed),
            loader: self,
            partitions: BTreeMap::new(),
            work,
            finished,
            loaded: Loaded::default(),
            lag_due: Instant::now(),
            new: Vec::new(),
            welcome_due: Instant::now(),
            welcome_backoff: Backoff::new(options.retry, options.seed ^ 1),
            failing: None,
            settled: false,
        };
        running.run(stop)
    }
}

/// Alerts look for a rise: each counter is there before the first.
fn begin_metrics() {
    for counter in
        [names::LOAD_EVENTS, names::LOAD_BATCHES, names::LOAD_SET_ASIDE, names::LOAD_RETRIES, names::LOAD_EXPIRED]
    {
        metrics::counter!(counter).increment(0);
    }
    metrics::gauge!(names::LOAD_PARTITIONS).set(0.0);
    metrics::gauge!(names::LOAD_LAG).set(0.0);
}

struct Running {
    loader: Loader,
    partitions: BTreeMap<u32, Partition>,
    work: Work,
    finished: mpsc::Receiver<Result<Done, String>>,
    backoff: Backoff,
    loaded: Loaded,
    lag_due: Instant,
    /// Partitions that we were given, before the table was asked what it holds of them.
    new: Vec<New>,
    /// When those that could not be begun are tried again, after how many tries.
    welcome_due: Instant,
    welcome_backoff: Backoff,
    /// Since when the source fails, with `once`.
    failing: Option<Instant>,
    /// The group has given us what we are to have.
    settled: bool,
}

impl Running {
    fn run(mut self, stop: &CancellationToken) -> Result<Loaded, String> {
        let once = self.loader.options.once;
        let mut failed = None;
        while !stop.is_cancelled() && failed.is_none() {
            match self.turn() {
                Err(SourceError::Fatal(reason)) if once => failed = Some(reason),
                Err(error) => {
                    let since = *self.failing.get_or_insert_with(Instant::now);
                    if once && since.elapsed() > ONCE_PATIENCE {
                        failed = Some(error.to_string());
                    } else {
                        self.pause(&error, stop);
                    }
                }
                Ok(()) if once && self.is_drained() => break,
                Ok(()) => self.failing = None,
            }
        }
        self.finish();
        self.loader.progress.end();
        failed.map_or(Ok(self.loaded), Err)
    }

    fn turn(&mut self) -> Result<(), SourceError> {
        self.poll()?;
        self.welcome()?;
        self.take_finished()?;
        self.start_ripe()?;
        self.tell_lag()?;
        if self.backoff.tries() > 0 {
            tracing::info!("the source answers again");
        }
        self.backoff.reset();
        // What cannot be begun has said so itself.
        if self.new.is_empty() {
            self.loader.health.ready(SOURCE);
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), SourceError> {
        let (partitions, options, now) = (&mut self.partitions, &self.loader.options, Instant::now());
        let (new, settled) = (&mut self.new, &mut self.settled);
        let (mut full, mut taken) = (BTreeSet::new(), Vec::new());
        let polled = self.loader.source.poll(POLL, POLL_EVENTS, &mut |happened| match happened {
            Happened::Record { partition, offset, body } => {
                if let Some(found) = partitions.get_mut(&partition)
                    && found.take(offset, body, now, options)
                {
                    full.insert(partition);
                }
            }
            Happened::End { partition } => {
                if let Some(found) = partitions.get_mut(&partition) {
                    found.reached_end();
                }
            }
            Happened::Given { partition, committed, note } => new.push(New { partition, committed, note }),
            Happened::Taken { partition } => {
                new.retain(|new| new.partition != partition);
                taken.push(partition);
            }
            Happened::Settled => *settled = true,
        });
        for partition in taken {
            self.taken(partition);
        }
        for partition in full {
            self.pause_partition(partition, true)?;
        }
        polled
    }

    fn pause_partition(&mut self, number: u32, paused: bool) -> Result<(), SourceError> {
        match self.loader.source.pause(number, paused) {
            Ok(()) | Err(SourceError::Lost(_)) => {}
            Err(error) => return Err(error),
        }
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.set_paused(paused);
        }
        Ok(())
    }

    fn taken(&mut self, partition: u32) {
        if self.partitions.remove(&partition).is_some() {
            self.work.give_up(partition);
            tracing::info!(partition, "a partition is taken");
        }
        metrics::gauge!(names::LOAD_PARTITIONS).set(self.partitions.len() as f64);
    }

    /// Whose it is now, the source tells.
    fn lost(&mut self, partition: u32) {
        self.settled = false;
        self.taken(partition);
    }

    /// Commits the ends of ranges that are loaded.
    fn take_finished(&mut self) -> Result<(), SourceError> {
        while let Ok(done) = self.finished.try_recv() {
            let done = done.map_err(SourceError::Fatal)?;
            if let Some(partition) = self.partitions.get_mut(&done.partition) {
                partition.loaded(&done);
            }
        }
        let ready: Vec<u32> =
            self.partitions.values().filter(|p| p.to_commit().is_some()).map(Partition::number).collect();
        for number in ready {
            self.commit(number)?;
        }
        Ok(())
    }

    fn commit(&mut self, number: u32) -> Result<(), SourceError> {
        let Some(partition) = self.partitions.get_mut(&number) else { return Ok(()) };
        let Some((done, note)) = partition.to_commit() else { return Ok(()) };
        match self.loader.source.commit(number, done.end, &note) {
            Ok(()) => partition.committed(),
            Err(SourceError::Lost(_)) => {
                self.lost(number);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.loaded.events += done.stored.events;
        self.loaded.set_aside += done.stored.set_aside;
        self.loaded.ranges += 1;
        metrics::counter!(names::LOAD_EVENTS).increment(done.stored.events);
        metrics::counter!(names::LOAD_SET_ASIDE).increment(done.stored.set_aside);
        metrics::counter!(names::LOAD_BATCHES).increment(1);
        metrics::histogram!(names::LOAD_BATCH_SECONDS).record(done.started.elapsed().as_secs_f64());
        metrics::gauge!(names::LOAD_LAST_COMMIT).set(self.loader.clock.now().0 as f64 / 1_000.0);
        Ok(())
    }

    /// Writes the intent of each ripe range, and has it loaded.
    fn start_ripe(&mut self) -> Result<(), SourceError> {
        let ripe: Vec<u32> = self
            .partitions
            .values()
            .filter(|partition| partition.ripe(Instant::now(), &self.loader.options) == Ripeness::Ripe)
            .map(Partition::number)
            .collect();
        for number in ripe {
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            let intended = Instant::now();
            let (start, note) = partition.intent();
            match self.loader.source.commit(number, start, &note) {
                Ok(()) => {}
                Err(SourceError::Lost(_)) => {
                    self.lost(number);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let (range, doubtful) = partition.start(&self.loader.options);
            self.work.load(range, doubtful, intended);
        }
        let resumed: Vec<u32> =
            self.partitions.values().filter(|partition| partition.may_resume()).map(Partition::number).collect();
        for number in resumed {
            self.pause_partition(number, false)?;
        }
        Ok(())
    }

    fn tell_lag(&mut self) -> Result<(), SourceError> {
        if Instant::now() < self.lag_due {
            return Ok(());
        }
        self.lag_due = Instant::now() + LAG_INTERVAL;
        let mut lag = 0;
        for partition in self.partitions.values_mut() {
            let there = match self.loader.source.ends(partition.number()) {
                Ok(there) => there,
                Err(SourceError::Lost(_)) => continue,
                Err(error) => return Err(error),
            };
            lag += partition.lag(there.end);
            if let Some(gap) = partition.take_gap().filter(|gap| there.start >= gap.end) {
                expired(partition.number(), gap);
            }
            if partition.can_be_read_to(there.end) {
                match self.loader.source.seek(partition.number(), partition.next()) {
                    Ok(()) | Err(SourceError::Lost(_)) => {}
                    Err(error) => return Err(error),
                }
                partition.set_paused(false);
            }
        }
        metrics::gauge!(names::LOAD_LAG).set(lag as f64);
        self.loader.progress.tell(self.loaded.events, lag);
        Ok(())
    }

    /// Everything that was there when the partitions were given is loaded and committed.
    fn is_drained(&self) -> bool {
        self.settled && self.new.is_empty() && self.partitions.values().all(Partition::is_drained)
    }

    fn pause(&mut self, error: &SourceError, stop: &CancellationToken) {
        metrics::counter!(names::LOAD_RETRIES).increment(1);
        let wait = match error {
            SourceError::Fatal(_) => self.backoff.longest(),
            SourceError::Retry(_) | SourceError::Lost(_) => self.backoff.next(),
        };
        if self.backoff.tries() <= 1 {
            tracing::warn!(%error, "the source does not give events");
        } else {
            tracing::debug!(%error, "the source does not give events");
        }
        self.loader.health.set(SOURCE, State::Degraded, error.to_string());
        self.work.wait(wait, stop);
    }

    /// Ranges that are under way may finish; what does not is doubtful for whoever goes on.
    fn finish(&mut self) {
        let deadline = Instant::now() + self.loader.options.flush_timeout;
        while self.partitions.values().any(Partition::is_busy) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(Ok(done)) = self.finished.recv_timeout(left) else { break };
            if let Some(partition) = self.partitions.get_mut(&done.partition) {
                partition.loaded(&done);
            }
            let _ = self.commit(done.partition);
        }
        self.work.stop();
    }
}
