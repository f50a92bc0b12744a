//! The source against the mock cluster: errors injected into every request of a member of the loaders' group. At the end
//! everything was told and is committed, whatever the group did meanwhile, and each error was met as `source.rs` says.

use std::{collections::BTreeSet, time::Instant};

use super::*;
use crate::store::{Happened, Source, SourceError, kafka::KafkaSource};

const PARTITIONS: u32 = 4;
const GROUP: &str = "loaders";

/// How an error shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Met {
    /// The library gets over it, or the loader tries once more.
    Passes,
    /// A commit is refused because the partition may be somebody else's.
    Lost,
    /// The same, if there happens to be one meanwhile.
    MayLose,
    /// As an error that tells somebody what to do, at least once.
    Tells,
}

struct Script {
    name: &'static str,
    api: Api,
    errors: &'static [Err],
    met: Met,
}

const fn script(name: &'static str, api: Api, errors: &'static [Err], met: Met) -> Script {
    Script { name, api, errors, met }
}

use Api::{Heartbeat, JoinGroup, OffsetCommit, OffsetFetch, SyncGroup};
use Met::{Lost, MayLose, Passes, Tells};

/// What may go wrong, in the order of a member's requests.
const SCRIPTS: &[Script] = &[
    script("nothing", OffsetCommit, &[], Passes),
    script("coordinator: not there", FindCoordinator, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2], Passes),
    script("coordinator: not allowed", FindCoordinator, &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED], Tells),
    script("join: coordinator moved", JoinGroup, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR], Passes),
    script("join: loading", JoinGroup, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script("join: unknown member", JoinGroup, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID], Passes),
    script("join: disconnected", JoinGroup, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("join: not allowed", JoinGroup, &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED], Tells),
    script("sync: somebody joins", SyncGroup, &[RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS], Passes),
    script("sync: unknown member", SyncGroup, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID], Passes),
    script("sync: disconnected", SyncGroup, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("offsets: coordinator moved", OffsetFetch, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2], Passes),
    script("offsets: loading", OffsetFetch, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script("offsets: transactions are open", OffsetFetch, &[RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT; 2], Passes),
    script("offsets: disconnected", OffsetFetch, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("offsets: not allowed", OffsetFetch, &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 8], Tells),
    script("heartbeat: somebody joins", Heartbeat, &[RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS], MayLose),
    script("heartbeat: the group went on", Heartbeat, &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION], MayLose),
    script("heartbeat: unknown member", Heartbeat, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID], MayLose),
    script("heartbeat: coordinator moved", Heartbeat, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR], Passes),
    script("heartbeat: disconnected", Heartbeat, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("fetch: not leader", Fetch, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2], Passes),
    script("fetch: fenced leader", Fetch, &[RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH], Passes),
    script("fetch: disk of the broker", Fetch, &[RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR], Passes),
    script("fetch: disconnected", Fetch, &[RD_KAFKA_RESP_ERR__TRANSPORT; 2], Passes),
    script("fetch: not allowed", Fetch, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 8], Tells),
    script("commit: the group went on", OffsetCommit, &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION], Lost),
    script("commit: unknown member", OffsetCommit, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID], Lost),
    script("commit: old epoch", OffsetCommit, &[RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH], Lost),
    script("commit: somebody joins", OffsetCommit, &[RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS], Passes),
    script("commit: coordinator moved", OffsetCommit, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR], Passes),
    script("commit: not available", OffsetCommit, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE], Passes),
    script("commit: loading", OffsetCommit, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script("commit: timed out", OffsetCommit, &[RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT], Passes),
    script("commit: disconnected", OffsetCommit, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("commit: not allowed", OffsetCommit, &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED], Tells),
];

const RECORDS: u64 = 60;
/// For each half of the records.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a loader would know.
struct Reader {
    source: KafkaSource,
    /// Of each partition that is ours: where it is read on.
    ours: BTreeMap<u32, u64>,
    /// Given, and not sought yet.
    given: BTreeMap<u32, u64>,
    at_end: BTreeSet<u32>,
    /// Of each partition, what was last committed, and the note.
    committed: BTreeMap<u32, (u64, String)>,
    told: BTreeSet<u64>,
    lost: u32,
    errors: Vec<SourceError>,
}

impl Reader {
    fn new(world: &World) -> Reader {
        let mut settings = world.settings.clone();
        settings.group = GROUP.to_owned();
        // The mock waits for others for 3 s at first, later for a second less than this.
        for (name, value) in [("session.timeout.ms", "4500"), ("heartbeat.interval.ms", "100")] {
            settings.options.insert(name.to_owned(), config::secret::Secret::new(value));
        }
        let source = KafkaSource::new(&settings, &Clock::manual(NOON)).unwrap();
        let (ours, given, committed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (at_end, told, errors) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Reader { source, ours, given, at_end, committed, told, lost: 0, errors }
    }

    fn poll(&mut self) {
        let (ours, given, at_end) = (&mut self.ours, &mut self.given, &mut self.at_end);
        let (committed, told) = (&self.committed, &mut self.told);
        let polled = self.source.poll(Duration::from_millis(20), 1_000, &mut |happened| match happened {
            Happened::Given { partition, committed: offset, note } => {
                let (before, noted) = committed.get(&partition).cloned().unwrap_or_default();
                assert_eq!((offset, note), (before, noted), "what was committed for {partition}");
                ours.remove(&partition);
                given.insert(partition, offset);
            }
            Happened::Taken { partition } => {
                ours.remove(&partition);
                given.remove(&partition);
            }
            Happened::Record { partition, offset, body } => {
                if let Some(next) = ours.get_mut(&partition).filter(|next| offset >= **next) {
                    *next = offset + 1;
                    told.insert(Event::decode(body).unwrap().sub1.parse().unwrap());
                    at_end.remove(&partition);
                }
            }
            Happened::End { partition } => drop(at_end.insert(partition)),
            Happened::Settled => {}
        });
        self.errors.extend(polled.err());
        for (partition, offset) in self.given.clone() {
            match self.source.seek(partition, offset) {
                Ok(()) => drop(self.ours.insert(partition, offset)),
                Result::Err(SourceError::Lost(_)) => {}
                Result::Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            }
            self.given.remove(&partition);
            self.at_end.remove(&partition);
        }
    }

    /// As the loader does it: the intent, then the end.
    fn commit(&mut self, partition: u32) {
        let next = self.ours[&partition];
        let (before, _) = self.committed.get(&partition).cloned().unwrap_or_default();
        for (offset, note) in [(before, format!("load:{next}")), (next, String::new())] {
            match self.source.commit(partition, offset, &note) {
                Ok(()) => drop(self.committed.insert(partition, (offset, note))),
                Result::Err(SourceError::Lost(lost)) => {
                    assert_eq!(lost, partition);
                    self.ours.remove(&partition);
                    self.lost += 1;
                    return;
                }
                Result::Err(error) => return self.errors.push(error),
            }
        }
    }

    fn has_all(&self) -> bool {
        self.ours.len() == PARTITIONS as usize
    }

    fn is_done(&self, partition: u32) -> bool {
        self.committed
            .get(&partition)
            .is_some_and(|(offset, note)| self.ours.get(&partition) == Some(offset) && note.is_empty())
    }

    fn until(&mut self, what: &str, enough: impl Fn(&Reader) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            self.poll();
            let ripe: Vec<u32> =
                self.ours.keys().copied().filter(|p| self.at_end.contains(p) && !self.is_done(*p)).collect();
            ripe.into_iter().for_each(|partition| self.commit(partition));
            if Instant::now() > deadline {
                return Result::Err(format!(
                    "{what}: {:?}, {:?}; errors: {:?}",
                    self.ours, self.committed, self.errors
                ));
            }
        }
        Ok(())
    }
}

fn play(script: &Script) -> Result<(), String> {
    let world = World::new();
    let mut first = world.sink();
    world.store(&mut first, batch(0, RECORDS / 2));
    // It asks for a coordinator too, and would meet the error of whom it is not meant for.
    drop(first);
    let mut reader = Reader::new(&world);
    let joins = matches!(script.api, FindCoordinator | JoinGroup | SyncGroup | OffsetFetch);
    if joins {
        world.cluster.request_errors(script.api, script.errors);
    }
    let done = |reader: &Reader| reader.has_all() && (0..PARTITIONS).all(|partition| reader.is_done(partition));
    reader.until("the first half", |reader| done(reader) && reader.told.len() as u64 >= RECORDS / 2)?;
    let mut second = world.sink();
    if !joins {
        world.positions(&mut second).map_err(|error| error.to_string())?;
        world.cluster.request_errors(script.api, script.errors);
    }
    world.store(&mut second, batch(RECORDS / 2, RECORDS));
    reader.until("the second half", |reader| done(reader) && reader.told.len() as u64 == RECORDS)?;
    // A heartbeat comes when it comes.
    let (beats, deadline) = (script.api == Heartbeat, Instant::now() + Duration::from_secs(2));
    reader.until("some heartbeats", |_| !beats || Instant::now() > deadline)?;
    reader.until("everything once more", done)?;
    let Reader { source, lost, errors, .. } = reader;
    // Its own requests would take what is counted now.
    drop(source);
    let left = probe::left(&world.cluster, script.api, script.errors);
    if left == script.errors.len() && left > 0 {
        return Result::Err("nobody met its errors: it shows nothing".to_owned());
    }
    let tells = errors.iter().any(|error| matches!(error, SourceError::Fatal(_)));
    let as_said = match script.met {
        Lost => lost > 0,
        MayLose => true,
        Passes | Tells => lost == 0,
    };
    if tells != (script.met == Tells) || !as_said {
        return Result::Err(format!("lost {lost} times, told {errors:?}"));
    }
    Ok(())
}

#[test]
fn every_script_of_errors_in_the_group_ends_with_everything_told_and_committed() {
    let (queue, failed) = (Mutex::new(SCRIPTS.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(script) = queue.lock().unwrap().next() else { break };
                    let started = Instant::now();
                    let result = play(script);
                    eprintln!("{:>6.2} s  {}: {result:?}", started.elapsed().as_secs_f64(), script.name);
                    if let Result::Err(problem) = result {
                        failed.lock().unwrap().push(format!("{}: {problem}", script.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} scripts failed:\n{}", failed.len(), failed.join("\n"));
}
