//! Ranges on their way to the table, each in a task of its own that tries until it is loaded.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Semaphore, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use super::{super::backoff::Backoff, Loader, TABLE};
use crate::{
    core::limits::{LOAD_INSERTS_MAX, LOAD_INTENT_FRESH},
    store::{Range, RangeSink, SinkError, Stored},
    telemetry::{
        health::{Health, State},
        names,
    },
};

/// A range that is loaded.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) partition: u32,
    pub(super) end: u64,
    pub(super) stored: Stored,
    pub(super) started: Instant,
}

/// The ranges that are under way, at most one of each partition.
pub(super) struct Work {
    table: Arc<dyn RangeSink>,
    runtime: Handle,
    health: Health,
    retry: (Duration, Duration),
    seed: u64,
    stop: CancellationToken,
    done: mpsc::Sender<Result<Done, String>>,
    /// What only somebody's act can mend ends the work instead of being tried again.
    once: bool,
    under_way: HashMap<u32, AbortHandle>,
    /// Who may send at the moment: a range that is being sent is held a second time, as rows.
    turns: Arc<Semaphore>,
}

impl Work {
    pub(super) fn new(loader: &Loader, done: mpsc::Sender<Result<Done, String>>) -> Work {
        Work {
            table: Arc::clone(&loader.table),
            runtime: loader.runtime.clone(),
            health: loader.health.clone(),
            retry: loader.options.retry,
            seed: loader.options.seed,
            // Not the signal's own: what is under way may finish after it.
            stop: CancellationToken::new(),
            done,
            once: loader.options.once,
            under_way: HashMap::new(),
            turns: Arc::new(Semaphore::new(LOAD_INSERTS_MAX)),
        }
    }

    /// Ends what others have under way in the partition; then the offset behind the highest that the table ever held of it.
    pub(super) fn take_over(&self, partition: u32) -> Result<u64, SinkError> {
        self.runtime.block_on(self.table.take_over(partition))
    }

    /// `intended` is when the intent was about to be committed.
    pub(super) fn load(&mut self, range: Range, doubtful: bool, intended: Instant) {
        let partition = range.partition;
        let (table, health, done, stop) =
            (Arc::clone(&self.table), self.health.clone(), self.done.clone(), self.stop.clone());
        let (backoff, turns) = (Backoff::new(self.retry, self.seed ^ range.start), Arc::clone(&self.turns));
        let once = self.once;
        let task = self.runtime.spawn(async move {
            tokio::select! {
                ended = load(&*table, &range, (doubtful, intended), backoff, once, &turns, &health) => {
                    // The loader has ended otherwise; whoever goes on finds the intent.
                    let _ = done.send(ended);
                }
                () = stop.cancelled() => {}
            }
        });
        self.under_way.insert(partition, task.abort_handle());
    }

    /// The partition is somebody else's now.
    pub(super) fn give_up(&mut self, partition: u32) {
        if let Some(task) = self.under_way.remove(&partition) {
            task.abort();
        }
    }

    /// Waits, but not longer than until `stop`.
    pub(super) fn wait(&self, time: Duration, stop: &CancellationToken) {
        let _ = self.runtime.block_on(async { tokio::time::timeout(time, stop.cancelled()).await });
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Until it is loaded, or with `once` until it cannot be. After a failure nobody knows how far it came.
async fn load(
    table: &dyn RangeSink,
    range: &Range,
    (mut doubtful, started): (bool, Instant),
    mut backoff: Backoff,
    once: bool,
    turns: &Semaphore,
    health: &Health,
) -> Result<Done, String> {
    loop {
        let turn = turns.acquire().await;
        // A process that was stopped, or that waited long for its turn, may have lost the partition without knowing it.
        doubtful |= started.elapsed() > LOAD_INTENT_FRESH;
        let tried = table.load(range, doubtful).await;
        drop(turn);
        let error = match tried {
            Ok(stored) => {
                if backoff.tries() > 0 {
                    tracing::info!(partition = range.partition, "the table takes events again");
                }
                health.ready(TABLE);
                return Ok(Done { partition: range.partition, end: range.end, stored, started });
            }
            Err(error) => error,
        };
        doubtful = true;
        metrics::counter!(names::LOAD_RETRIES).increment(1);
        health.set(TABLE, State::Degraded, format!("{error}; events wait in Kafka"));
        if backoff.tries() == 0 {
            tracing::warn!(%error, partition = range.partition, "the table does not take events: they wait in Kafka");
        }
        let wait = match error {
            SinkError::Retry(_) => backoff.next(),
            SinkError::Fatal(reason) if once => return Err(reason),
            SinkError::Fatal(_) => backoff.longest(),
        };
        tokio::time::sleep(wait).await;
    }
}
