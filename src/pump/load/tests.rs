//! Loaders against a log and a table in memory: loaders die at any step, partitions change hands in the middle of a range,
//! the table fails before and after it has stored, inserts of the dead arrive late or in half, and the group is reset. At the
//! end every record is there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::prelude::*;

use super::*;
use crate::store::{BoxFuture, Range, SinkError, Stored};

const PARTITIONS: u32 = 3;
type Rows = BTreeMap<(u32, u64), u32>;

#[derive(Default)]
struct State {
    /// Offsets that hold a record; the gaps between them are ends of transactions.
    log: Vec<BTreeSet<u64>>,
    /// Offset and note.
    committed: BTreeMap<u32, (u64, String)>,
    /// Which loader has the partition, and the how many-eth time it was given to somebody: the group's generation, which
    /// tells a loader that lost a partition and has it again from one that had it all the time.
    owner: BTreeMap<u32, (u64, u64)>,
    /// How often each record is in the table.
    rows: Rows,
    /// Inserts on their way: partition and number. A recovery ends those of its partition.
    on_their_way: BTreeMap<u64, u32>,
    next_insert: u64,
    /// Of inserts that stored something.
    tokens: BTreeSet<(u32, u64, u64)>,
    random: u64,
}

/// What all loaders share.
#[derive(Default)]
struct World(Mutex<State>);

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn give(&mut self, partition: u32, to: u64) {
        let (owner, generation) = self.owner.entry(partition).or_default();
        if *owner != to {
            (*owner, *generation) = (to, *generation + 1);
        }
    }

    fn end(&self, partition: u32) -> u64 {
        self.log[partition as usize].last().map_or(0, |last| last + 1)
    }
}

/// One loader's side of the log.
struct Topic {
    world: Arc<World>,
    me: u64,
    /// Steps until it dies; then nothing works any more.
    life: Arc<AtomicU64>,
    /// Where each of our partitions is read on (`u64::MAX`: nobody has said so yet), and since which generation it is ours.
    ours: BTreeMap<u32, (u64, u64)>,
    paused: BTreeSet<u32>,
}

impl Topic {
    fn live(&self) -> Result<(), SourceError> {
        let alive = self.life.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |life| life.checked_sub(1)).is_ok();
        if alive { Ok(()) } else { Err(SourceError::Retry("dead".to_owned())) }
    }

    fn check(&self, state: &State, partition: u32) -> Result<(), SourceError> {
        if self
            .generation(state, partition)
            .is_some_and(|now| self.ours.get(&partition).is_some_and(|had| had.1 == now))
        {
            Ok(())
        } else {
            Err(SourceError::Lost(partition))
        }
    }

    /// `None`: it is somebody else's.
    fn generation(&self, state: &State, partition: u32) -> Option<u64> {
        state.owner.get(&partition).filter(|(owner, _)| *owner == self.me).map(|(_, generation)| *generation)
    }
}

impl Source for Topic {
    fn poll(&mut self, _: Duration, events: usize, tell: &mut dyn FnMut(Happened<'_>)) -> Result<(), SourceError> {
        self.live()?;
        let world = Arc::clone(&self.world);
        let mut state = world.lock();
        let mut changed = false;
        for partition in 0..PARTITIONS {
            let generation = self.generation(&state, partition);
            match (generation, self.ours.get(&partition)) {
                (Some(generation), None) => {
                    let (committed, note) = state.committed.get(&partition).cloned().unwrap_or_default();
                    self.ours.insert(partition, (u64::MAX, generation));
                    tell(Happened::Given { partition, committed, note });
                    changed = true;
                }
                (now, Some((_, had))) if now != Some(*had) => {
                    self.ours.remove(&partition);
                    tell(Happened::Taken { partition });
                    changed = true;
                }
                _ => {}
            }
        }
        if changed {
            tell(Happened::Settled);
            return Ok(());
        }
        let most = 1 + state.random(events as u64) as usize;
        for (partition, (next, _)) in &mut self.ours {
            if self.paused.contains(partition) || *next == u64::MAX {
                continue;
            }
            let records: Vec<u64> = state.log[*partition as usize].range(*next..).take(most).copied().collect();
            for offset in &records {
                tell(Happened::Record { partition: *partition, offset: *offset, body: b"" });
                *next = offset + 1;
            }
            if records.is_empty() {
                tell(Happened::End { partition: *partition });
            }
        }
        Ok(())
    }

    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), SourceError> {
        self.live()?;
        self.check(&self.world.lock(), partition)?;
        if let Some((next, _)) = self.ours.get_mut(&partition) {
            *next = offset;
        }
        self.paused.remove(&partition);
        Ok(())
    }

    fn pause(&mut self, partition: u32, paused: bool) -> Result<(), SourceError> {
        if paused {
            self.paused.insert(partition)
        } else {
            self.paused.remove(&partition)
        };
        Ok(())
    }

    fn commit(&mut self, partition: u32, next: u64, note: &str) -> Result<(), SourceError> {
        self.live()?;
        let world = Arc::clone(&self.world);
        let mut state = world.lock();
        self.check(&state, partition)?;
        // The group goes on without us, and the partition stays ours: it is given anew.
        if state.random(12) == 0 {
            self.ours.remove(&partition);
            return Err(SourceError::Lost(partition));
        }
        state.committed.insert(partition, (next, note.to_owned()));
        // The answer may get lost.
        if state.random(10) == 0 { Err(SourceError::Retry("no answer".to_owned())) } else { Ok(()) }
    }

    fn ends(&mut self, partition: u32) -> Result<std::ops::Range<u64>, SourceError> {
        let state = self.world.lock();
        Ok(state.log[partition as usize].first().copied().unwrap_or(0)..state.end(partition))
    }

    fn last(&mut self, partition: u32) -> Result<u64, SourceError> {
        Ok(self.ends(partition)?.end)
    }
}

/// The table: a plain insert stores whatever it is given; only a doubtful one looks first.
struct Table {
    world: Arc<World>,
    /// Of its loader: the dead send nothing.
    life: Arc<AtomicU64>,
}

impl Table {
    /// Asked and acted upon under one lock: whoever was dead when the next loader began sends nothing any more.
    fn alive(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.world.lock();
        (self.life.load(Ordering::Relaxed) > 0).then_some(state)
    }
}

impl RangeSink for Table {
    fn take_over(&self, partition: u32) -> BoxFuture<'_, Result<u64, SinkError>> {
        Box::pin(async move {
            let mut state = self.world.lock();
            state.on_their_way.retain(|_, of| *of != partition);
            if state.random(8) == 0 {
                return Err(SinkError::Retry("away".to_owned()));
            }
            let highest = state.rows.range((partition, 0)..=(partition, u64::MAX)).next_back();
            Ok(highest.map_or(0, |((_, offset), _)| offset + 1))
        })
    }

    fn load<'a>(&'a self, range: &'a Range, doubtful: bool) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move {
            let (world, range) = (Arc::clone(&self.world), range.clone());
            if doubtful {
                let Some(mut state) = self.alive() else { return std::future::pending().await };
                state.on_their_way.retain(|_, partition| *partition != range.partition);
                if state.random(6) == 0 {
                    return Err(SinkError::Retry("away".to_owned()));
                }
                let there =
                    range.records.iter().any(|(offset, _)| state.rows.contains_key(&(range.partition, *offset)));
                if !there {
                    state.tokens.insert((range.partition, range.start, range.end));
                }
                for (offset, _) in &range.records {
                    state.rows.entry((range.partition, *offset)).or_insert(1);
                }
                return Ok(Stored { events: range.records.len() as u64, set_aside: 0 });
            }
            let sent = self.alive().map(|mut state| {
                state.next_insert += 1;
                let number = state.next_insert;
                state.on_their_way.insert(number, range.partition);
                number
            });
            let Some(number) = sent else { return std::future::pending().await };
            // It goes on by itself, also when nobody waits for it any more.
            let (answer, answered) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                let turns = world.lock().random(20);
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                let mut state = world.lock();
                // Half of it may arrive: parts of two months are two parts.
                let all = state.random(4) != 0;
                let known = !state.tokens.insert((range.partition, range.start, range.end));
                if state.on_their_way.remove(&number).is_some() && !known {
                    for (offset, _) in range.records.iter().filter(|(offset, _)| all || offset % 2 == 0) {
                        *state.rows.entry((range.partition, *offset)).or_default() += 1;
                    }
                    let lost = state.random(5) == 0;
                    let _ = answer.send(all && !lost);
                }
            });
            match answered.await {
                Ok(true) => Ok(Stored { events: 0, set_aside: 0 }),
                _ => Err(SinkError::Retry("no answer".to_owned())),
            }
        })
    }
}

fn options(seed: u64, once: bool) -> Options {
    Options {
        batch_max_events: 1 + (seed % 7) as usize,
        batch_max_bytes: 1 << 20,
        batch_max_age: Duration::from_micros(seed % 300),
        once,
        flush_timeout: Duration::from_millis(seed % 3),
        retry: (Duration::from_micros(10), Duration::from_micros(200)),
        seed,
    }
}

fn loader(world: &Arc<World>, me: u64, life: u64, once: bool, runtime: &Handle) -> (Loader, Arc<AtomicU64>) {
    let life = Arc::new(AtomicU64::new(life));
    let topic =
        Topic { world: Arc::clone(world), me, life: Arc::clone(&life), ours: BTreeMap::new(), paused: BTreeSet::new() };
    let table = Arc::new(Table { world: Arc::clone(world), life: Arc::clone(&life) });
    let options = options(me.wrapping_mul(0x9E37_79B9), once);
    let clock = Clock::manual(crate::core::time::Millis(0));
    (Loader::new(Box::new(topic), table, options, Health::default(), clock, runtime.clone()), life)
}

/// Several generations of loaders, two at a time, each dying after some steps; then one that finishes.
fn live_through(seed: u64, generations: u64) -> Rows {
    let world = Arc::new(World::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    {
        let mut state = world.lock();
        state.random = seed | 1;
        for _ in 0..PARTITIONS {
            let mut offset = 0;
            let records = (0..40).map(|_| {
                offset += 1 + state.random(2);
                offset
            });
            let records = records.collect();
            state.log.push(records);
        }
    }
    for generation in 0..generations {
        let stop = CancellationToken::new();
        let mut threads = Vec::new();
        for one in 0..2 {
            let (me, life) = (seed ^ (generation * 2 + one + 1), 5 + world.lock().random(60));
            let (loader, life) = loader(&world, me, life, false, runtime.handle());
            threads.push((me, life, loader.spawn(stop.clone()).unwrap()));
        }
        // Partitions change hands until both are dead.
        while threads.iter().any(|(_, life, _)| life.load(Ordering::Relaxed) > 0) {
            let mut state = world.lock();
            let (partition, owner) = (state.random(u64::from(PARTITIONS)) as u32, state.random(2) as usize);
            state.give(partition, threads[owner].0);
            drop(state);
            thread::yield_now();
        }
        stop.cancel();
        for (_, _, thread) in threads {
            thread.join().unwrap().unwrap();
        }
        // Somebody resets the group, which Kafka allows while nobody is in it.
        let mut state = world.lock();
        if state.random(4) == 0 {
            state.committed.clear();
        }
    }
    for partition in 0..PARTITIONS {
        world.lock().give(partition, u64::MAX);
    }
    let (last, _) = loader(&world, u64::MAX, u64::MAX, true, runtime.handle());
    last.run(&CancellationToken::new()).unwrap();
    let state = world.lock();
    for partition in 0..PARTITIONS {
        assert_eq!(state.committed[&partition], (state.end(partition), String::new()));
        for offset in &state.log[partition as usize] {
            assert!(state.rows.contains_key(&(partition, *offset)), "{partition}/{offset} is missing, seed {seed}");
        }
    }
    state.rows.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_record_is_loaded_once_whoever_dies(seed: u64, generations in 0..5_u64) {
        for ((partition, offset), copies) in live_through(seed, generations) {
            prop_assert_eq!(copies, 1, "{}/{}, seed {}", partition, offset, seed);
        }
    }
}

#[test]
fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    let world = Arc::new(World::default());
    {
        let mut state = world.lock();
        state.random = 7;
        state.log = (0..PARTITIONS).map(|_| BTreeSet::from([1, 2])).collect();
        state.rows.insert((0, 99), 1);
        state.owner = (0..PARTITIONS).map(|partition| (partition, (5, 1))).collect();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (loader, _) = loader(&world, 5, u64::MAX, false, runtime.handle());
    let health = loader.health.clone();
    let stop = CancellationToken::new();
    let thread = loader.spawn(stop.clone()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !health.snapshot().1.values().any(|part| part.reason.contains("load.source")) {
        assert!(Instant::now() < deadline, "{:?}", health.snapshot());
        thread::yield_now();
    }
    stop.cancel();
    thread.join().unwrap().unwrap();
    assert_eq!(world.lock().rows.keys().filter(|(partition, _)| *partition == 0).count(), 1);
}
