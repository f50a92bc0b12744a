//! A journal and a sink in memory, which can crash the pump at every single step, and check its every call.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

mod cases;

use super::{LaneError, LaneSource, Lanes, Options, Outcome, Pump};
use crate::{
    core::id::LaneId,
    store::{Batch, BoxFuture, Sink, SinkError, Stored},
    telemetry::health::{Health, State},
};

/// What survives a crash, and the faults to come.
#[derive(Default)]
struct World {
    lanes: BTreeMap<LaneId, Lane>,
    positions: HashMap<LaneId, u64>,
    /// How often the sink counted each record.
    counted: HashMap<(LaneId, u64), u32>,
    /// Everything that was ever appended.
    appended: Vec<(LaneId, u64)>,
    /// Steps until the pump is killed; the last one happens, or does not.
    crash_in: Option<(u32, bool)>,
    crashed: bool,
    /// What the sink answers next; empty is success.
    faults: Vec<Fault>,
    /// Lanes of which the sink stored a batch and said that it failed.
    unsure: Vec<LaneId>,
    stores: u32,
    largest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    BeforeCommit,
    AfterCommit,
    Fatal,
    Never,
}

#[derive(Default)]
struct Lane {
    owner: u32,
    sealed: bool,
    /// First record that is not deleted.
    first: u64,
    /// `None` is a damaged record.
    records: Vec<Option<Vec<u8>>>,
    unreadable: bool,
}

impl Lane {
    fn committed(&self) -> u64 {
        self.records.len() as u64
    }
}

#[derive(Clone, Default)]
struct Shared {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
}

impl Shared {
    /// One step of the pump against the world: `None` when the process is dead.
    fn step<T>(&self, act: impl FnOnce(&mut World) -> T) -> Option<T> {
        let mut world = self.world.lock().unwrap();
        if world.crashed {
            return None;
        }
        if let Some((steps, happens)) = world.crash_in {
            if steps == 0 {
                world.crashed = true;
                self.changed.notify_waiters();
                if happens {
                    act(&mut world);
                }
                return None;
            }
            world.crash_in = Some((steps - 1, happens));
        }
        Some(act(&mut world))
    }

    fn look<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    fn append(&self, lane: LaneId, owner: u32, damaged: bool) {
        self.look(|world| {
            let lane_state = world.lanes.entry(lane).or_insert_with(|| Lane { owner, ..Lane::default() });
            let sequence = lane_state.committed();
            lane_state.records.push((!damaged).then(|| sequence.to_be_bytes().to_vec()));
            if !damaged {
                world.appended.push((lane, sequence));
            }
        });
        self.changed.notify_one();
    }

    async fn crash(&self) {
        loop {
            let changed = self.changed.notified();
            if self.look(|world| world.crashed) {
                return;
            }
            changed.await;
        }
    }
}

struct Source {
    shared: Shared,
    id: LaneId,
    owner: u32,
    at: u64,
}

fn dead<T>() -> Result<T, LaneError> {
    Err(LaneError("the process is dead".to_owned()))
}

impl LaneSource for Source {
    fn id(&self) -> LaneId {
        self.id
    }

    fn seek(&mut self, next: u64) -> Result<(), LaneError> {
        self.shared.look(|world| {
            let Some(lane) = world.lanes.get(&self.id) else { return dead() };
            self.at = next.clamp(lane.first, lane.committed());
            Ok(())
        })
    }

    fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, LaneError> {
        self.shared.look(|world| {
            let Some(lane) = world.lanes.get(&self.id).filter(|_| !world.crashed) else { return dead() };
            if lane.unreadable {
                return Err(LaneError("bad sector".to_owned()));
            }
            let (mut found, mut bytes) = (Vec::new(), 0);
            while let Some(record) = lane.records.get(self.at as usize) {
                if let Some(body) = record {
                    if found.len() == max_events || (!found.is_empty() && bytes + body.len() > max_bytes) {
                        break;
                    }
                    bytes += body.len();
                    found.push((self.at, body.clone()));
                }
                self.at += 1;
            }
            Ok(found)
        })
    }

    fn position(&self) -> u64 {
        self.at
    }

    fn committed(&self) -> u64 {
        self.shared.look(|world| world.lanes.get(&self.id).map_or(self.at, Lane::committed))
    }

    fn delivered(&mut self, next: u64) -> Result<(), LaneError> {
        let done = self.shared.step(|world| {
            assert!(next <= world.positions[&self.id], "deleted before the sink's word");
            world.lanes.get_mut(&self.id).unwrap().first = next;
        });
        done.map_or_else(dead, Ok)
    }

    fn finished(&self) -> bool {
        self.shared.look(|world| {
            let Some(lane) = world.lanes.get(&self.id) else { return false };
            (lane.sealed || lane.owner != self.owner) && self.at >= lane.committed()
        })
    }

    fn remove(&mut self) -> Result<(), LaneError> {
        let done = self.shared.step(|world| {
            let lane = &world.lanes[&self.id];
            let held = world.positions.get(&self.id).copied().unwrap_or(0);
            assert!(held >= lane.committed(), "removed at {held} of {}", lane.committed());
            world.lanes.remove(&self.id);
        });
        done.map_or_else(dead, Ok)
    }
}

struct Journal {
    shared: Shared,
    owner: u32,
    given: Vec<LaneId>,
}

impl Journal {
    fn hand_out(&mut self, ids: Vec<LaneId>) -> Vec<Box<dyn LaneSource>> {
        self.given.extend(&ids);
        let source = |id| {
            let at = self.shared.look(|world| world.lanes[&id].first);
            Box::new(Source { shared: self.shared.clone(), id, owner: self.owner, at }) as Box<dyn LaneSource>
        };
        ids.into_iter().map(source).collect()
    }
}

impl Lanes for Journal {
    fn live(&mut self) -> Vec<Box<dyn LaneSource>> {
        let mine = |world: &mut World| -> Vec<LaneId> {
            let new = |id: &LaneId, lane: &Lane| lane.owner == self.owner && !self.given.contains(id);
            world.lanes.iter().filter(|(id, lane)| new(id, lane)).map(|(id, _)| *id).collect()
        };
        let ids = self.shared.look(mine);
        self.hand_out(ids)
    }

    fn claim_orphans(&mut self) -> Result<Vec<Box<dyn LaneSource>>, LaneError> {
        // A process that is alive still holds its lanes.
        let orphans = |world: &mut World| -> Vec<LaneId> {
            let free = |id: &LaneId, lane: &Lane| lane.owner < self.owner && !self.given.contains(id);
            world.lanes.iter().filter(|(id, lane)| free(id, lane)).map(|(id, _)| *id).collect()
        };
        let ids = self.shared.look(orphans);
        Ok(self.hand_out(ids))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.changed.notified())
    }
}

struct Memory(Shared);

impl World {
    fn store(&mut self, batches: &[Batch]) {
        for batch in batches {
            let held = self.positions.entry(batch.lane).or_insert(0);
            if !self.unsure.contains(&batch.lane) {
                let again = batch.records.iter().find(|(sequence, _)| sequence < held);
                assert!(again.is_none(), "record {again:?} was sent again without need");
            }
            for (sequence, body) in batch.records.iter().filter(|(sequence, _)| *sequence >= *held) {
                assert_eq!(body.as_slice(), sequence.to_be_bytes());
                *self.counted.entry((batch.lane, *sequence)).or_default() += 1;
            }
            *held = batch.next.max(*held);
        }
        self.unsure.clear();
    }
}

impl Sink for Memory {
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>> {
        Box::pin(async {
            match self.0.step(|world| (world.faults.pop(), world.positions.clone())) {
                Some((None | Some(Fault::None), positions)) => Ok(positions),
                Some(_) => Err(SinkError::Retry("away".to_owned())),
                None => std::future::pending().await,
            }
        })
    }

    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move {
            let fault = self.0.look(|world| world.faults.pop().unwrap_or(Fault::None));
            let done = self.0.step(|world| {
                world.stores += 1;
                world.largest = world.largest.max(batches.iter().map(|batch| batch.records.len()).sum());
                if matches!(fault, Fault::None | Fault::AfterCommit) {
                    world.store(batches);
                }
                if fault == Fault::AfterCommit {
                    world.unsure = batches.iter().map(|batch| batch.lane).collect();
                }
            });
            match (done, fault) {
                (None, _) | (_, Fault::Never) => std::future::pending().await,
                (_, Fault::None) => Ok(Stored::default()),
                (_, Fault::Fatal) => Err(SinkError::Fatal("it is broken: mend it".to_owned())),
                (_, Fault::BeforeCommit | Fault::AfterCommit) => Err(SinkError::Retry("away".to_owned())),
            }
        })
    }

    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let done = self.0.step(|world| {
                assert!(!world.lanes.contains_key(&lane), "forgotten before the folder was gone");
                world.positions.remove(&lane);
            });
            match done {
                Some(()) => Ok(()),
                None => std::future::pending().await,
            }
        })
    }
}

fn options() -> Options {
    Options {
        linger: Duration::ZERO,
        batch_max_events: 7,
        batch_max_bytes: 40,
        flush_timeout: Duration::from_secs(60),
        orphan_scan_interval: Duration::from_millis(1),
        retry: (Duration::from_micros(1), Duration::from_micros(20)),
        seed: 1,
    }
}

fn pump(shared: &Shared, owner: u32, options: Options, health: &Health) -> Pump {
    let journal = Journal { shared: shared.clone(), owner, given: Vec::new() };
    Pump::new(Box::new(journal), Box::new(Memory(shared.clone())), options, health.clone())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// One life of the process: it appends to two lanes while its pump runs, until it is killed or shut down.
async fn live(shared: &Shared, owner: u32, appends: &[(bool, bool)]) -> Option<Outcome> {
    let lane = |second: bool| LaneId(u128::from(owner) * 2 + u128::from(second));
    shared.look(|world| {
        world.crashed = false;
        for second in [false, true] {
            world.lanes.insert(lane(second), Lane { owner, ..Lane::default() });
        }
    });
    let shutdown = CancellationToken::new();
    let mut run = std::pin::pin!(pump(shared, owner, options(), &Health::default()).run(shutdown.clone()));
    let work = async {
        for (second, damaged) in appends {
            shared.append(lane(*second), owner, *damaged);
            tokio::task::yield_now().await;
        }
        shared.look(|world| world.lanes.values_mut().filter(|l| l.owner == owner).for_each(|l| l.sealed = true));
        shutdown.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = shared.crash() => None,
        outcome = &mut run => Some(outcome),
        () = work => None,
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    proptest::sample::select(vec![Fault::None, Fault::None, Fault::BeforeCommit, Fault::AfterCommit, Fault::Fatal])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Killed at any step, before or after it took effect (between store and delivered, between remove and forget, …),
    /// with a sink that fails before or after its commit: each record is counted exactly once.
    #[test]
    fn each_record_is_counted_exactly_once(
        lives in proptest::collection::vec((
            proptest::collection::vec((any::<bool>(), proptest::bool::weighted(0.1)), 0..40),
            (0..30u32, any::<bool>()),
            proptest::collection::vec(fault(), 0..10),
        ), 1..8),
    ) {
        let shared = Shared::default();
        block_on(async {
            for (owner, (appends, crash, faults)) in (0..).zip(&lives) {
                shared.look(|world| {
                    world.crash_in = Some(*crash);
                    world.faults.clone_from(faults);
                });
                live(&shared, owner, appends).await;
            }
            shared.look(|world| {
                world.crash_in = None;
                world.faults.clear();
            });
            prop_assert_eq!(live(&shared, 1_000, &[(true, false)]).await, Some(Outcome::Drained));
            Ok(())
        })?;
        let world = shared.world.lock().unwrap();
        for record in &world.appended {
            prop_assert_eq!(world.counted.get(record), Some(&1), "{:?}", record);
        }
        prop_assert_eq!(world.counted.len(), world.appended.len());
        prop_assert!(world.lanes.is_empty(), "all lanes are drained and removed");
        prop_assert!(world.largest <= options().batch_max_events);
    }
}
