//! A source and a table that do not answer: what a loader says meanwhile, and for how long it is silent.

use std::sync::atomic::AtomicU32;

use super::{
    super::{SOURCE, TABLE},
    *,
};
use crate::telemetry::health;

/// How a table answers when a partition is to be taken over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answers {
    /// At once, that it is away.
    Away,
    /// That it is away for the first partition; of the others it holds nothing.
    AwayForOne,
    /// Not at all, as a server behind a firewall that drops everything.
    Never,
}

struct Table {
    answers: Answers,
    asked: AtomicU32,
}

impl RangeSink for Table {
    fn take_over(&self, partition: u32) -> BoxFuture<'_, Result<u64, SinkError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.answers {
            Answers::AwayForOne if partition > 0 => Box::pin(async { Ok(10) }),
            Answers::Away | Answers::AwayForOne => Box::pin(async { Err(SinkError::Retry("away".to_owned())) }),
            Answers::Never => Box::pin(std::future::pending()),
        }
    }

    fn load<'a>(&'a self, _: &'a Range, _: bool) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(std::future::pending())
    }
}

/// A log that gives its partitions once, and then has nothing to tell.
struct Log {
    given: Option<u32>,
    /// How often it may be polled; then the loader is told to stop.
    polls: u32,
    stop: CancellationToken,
    /// Partitions that were begun.
    begun: Arc<Mutex<BTreeSet<u32>>>,
    /// How many questions it still leaves unanswered, where no partition was given.
    unanswered: u32,
    /// At each poll: whether it leaves any unanswered, and what readiness says.
    seen: Arc<Mutex<Vec<(bool, health::State)>>>,
    health: Health,
}

impl Log {
    fn of(partitions: u32, polls: u32, stop: &CancellationToken) -> Log {
        let (begun, seen, health) = (Arc::default(), Arc::default(), Health::default());
        Log { given: Some(partitions), polls, stop: stop.clone(), begun, unanswered: 0, seen, health }
    }
}

impl Source for Log {
    fn poll(&mut self, _: Duration, _: usize, tell: &mut dyn FnMut(Happened<'_>)) -> Result<(), SourceError> {
        self.seen.lock().unwrap().push((self.unanswered > 0, self.health.snapshot().0));
        if let Some(given) = self.given.take() {
            for partition in 0..given {
                tell(Happened::Given { partition, committed: 10, note: String::new() });
            }
            tell(Happened::Settled);
        }
        match self.polls.checked_sub(1) {
            Some(left) => self.polls = left,
            None => self.stop.cancel(),
        }
        Ok(())
    }

    fn find(&mut self) -> Result<(), SourceError> {
        match self.unanswered.checked_sub(1) {
            Some(left) => self.unanswered = left,
            None => return Ok(()),
        }
        Err(SourceError::Retry("no answer".to_owned()))
    }

    fn seek(&mut self, partition: u32, _: u64) -> Result<(), SourceError> {
        self.begun.lock().unwrap().insert(partition);
        Ok(())
    }

    fn pause(&mut self, _: u32, _: bool) -> Result<(), SourceError> {
        Ok(())
    }

    fn commit(&mut self, _: u32, _: u64, _: &str) -> Result<(), SourceError> {
        Ok(())
    }

    fn ends(&mut self, _: u32) -> Result<std::ops::Range<u64>, SourceError> {
        Ok(5..25)
    }

    fn last(&mut self, partition: u32) -> Result<u64, SourceError> {
        Ok(self.ends(partition)?.end)
    }
}

fn table(answers: Answers) -> Arc<Table> {
    Arc::new(Table { answers, asked: AtomicU32::new(0) })
}

/// A loader that waits for an hour between two tries.
fn patient(source: Log, table: &Arc<Table>, runtime: &Handle) -> Loader {
    let hour = Duration::from_secs(3_600);
    let options = Options { retry: (hour, hour), ..options(3, false) };
    let table: Arc<dyn RangeSink> = Arc::clone(table) as _;
    let (clock, health) = (Clock::manual(crate::core::time::Millis(0)), source.health.clone());
    Loader::new(Box::new(source), table, options, health, clock, runtime.clone())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Each question may take the whole time-out of the table's client.
#[test]
fn a_table_that_is_away_is_asked_once_not_once_a_partition() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::Away));
    patient(Log::of(12, 20, &stop), &table, runtime.handle()).run(&stop).unwrap();
    assert_eq!(table.asked.load(Ordering::SeqCst), 1);
}

/// Whatever comes before them.
#[test]
fn partitions_are_begun_beside_one_for_which_there_is_no_answer() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::AwayForOne));
    let log = Log::of(3, 200, &stop);
    let begun = Arc::clone(&log.begun);
    let mut loader = patient(log, &table, runtime.handle());
    loader.options.retry = (Duration::ZERO, Duration::ZERO);
    loader.run(&stop).unwrap();
    assert_eq!(*begun.lock().unwrap(), BTreeSet::from([1, 2]));
}

#[test]
fn the_signal_is_heard_while_the_table_does_not_answer() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::Never));
    let thread = patient(Log::of(12, u32::MAX, &stop), &table, runtime.handle()).spawn(stop.clone()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while table.asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nobody asks the table");
        thread::yield_now();
    }
    stop.cancel();
    while !thread.is_finished() {
        assert!(Instant::now() < deadline, "it waits for the table");
        thread::yield_now();
    }
    thread.join().unwrap().unwrap();
}

/// The alert that reports stand still wants to know whether events wait.
#[test]
fn events_wait_also_where_no_partition_can_be_begun() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::Away));
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        patient(Log::of(3, 20, &stop), &table, runtime.handle()).run(&stop).unwrap();
    });
    let text = recorder.handle().render();
    let lag = text.lines().find_map(|line| line.strip_prefix("fingerpost_load_lag_records "));
    assert_eq!(lag, Some("45"), "three times from 10 to 25, {text}");
}

/// A poll without an error says nothing: the library does not repeat itself.
#[test]
fn a_source_is_not_ready_before_it_answers() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::Away));
    let log = Log { unanswered: 5, ..Log::of(0, 20, &stop) };
    let seen = Arc::clone(&log.seen);
    let mut loader = patient(log, &table, runtime.handle());
    loader.options.retry = (Duration::ZERO, Duration::ZERO);
    loader.run(&stop).unwrap();
    let seen = seen.lock().unwrap();
    let ready = seen.iter().position(|(_, state)| *state == health::State::Ready).expect("ready at last");
    assert!(ready > 5 && seen[..ready].iter().all(|(_, state)| *state == health::State::Degraded), "{seen:?}");
    assert!(seen[ready..].iter().all(|(unanswered, state)| !unanswered && *state == health::State::Ready), "{seen:?}");
}

/// A table that is away is not the source's fault.
#[test]
fn a_source_whose_partitions_wait_for_the_table_is_ready() {
    let (runtime, stop, table) = (runtime(), CancellationToken::new(), table(Answers::Away));
    let log = Log::of(3, 20, &stop);
    let health = log.health.clone();
    patient(log, &table, runtime.handle()).run(&stop).unwrap();
    let parts = health.snapshot().1;
    assert_eq!((parts[SOURCE].state, parts[TABLE].state), (health::State::Ready, health::State::Degraded), "{parts:?}");
}
