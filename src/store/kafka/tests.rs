//! The sink against the library's own mock cluster: errors injected into every request of a transaction.
//!
//! The mock keeps what an aborted transaction wrote, so a doubled message says nothing here; that nothing is doubled is shown
//! against the real broker. Here: nothing is missing, the sink counts each record once, and each error is met as
//! `error.rs` says.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use prost::Message as _;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey as Api, RDKafkaRespErr as Err},
};
use tempfile::TempDir;

use super::{KafkaSink, client, client::Context};
use crate::{
    config::{self, stores::Kafka},
    core::{event::Event, id::LaneId, time::Millis},
    io::clock::Clock,
    store::{Batch, Sink, SinkError, Stored},
};

mod probe;

const EVENTS: &str = "events";
const CHECKPOINTS: &str = "checkpoints";
const LANE: LaneId = LaneId(0xa11ce);
const NOON: Millis = Millis(1_772_366_400_000);

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A broker of three, a data folder, and what has been told to the sink so far.
struct World {
    cluster: Cluster,
    data: TempDir,
    settings: Kafka,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> World {
        let cluster = MockCluster::new(3).unwrap();
        cluster.create_topic(EVENTS, 4, 3).unwrap();
        cluster.create_topic(CHECKPOINTS, 1, 3).unwrap();
        let mut settings = config::load(None, [], None).unwrap().kafka;
        settings.brokers = cluster.bootstrap_servers();
        settings.topic = EVENTS.to_owned();
        settings.checkpoints = CHECKPOINTS.to_owned();
        settings.transaction_timeout = Duration::from_secs(10);
        for (name, value) in
            [("retry.backoff.ms", "10"), ("reconnect.backoff.ms", "10"), ("retry.backoff.max.ms", "50")]
        {
            settings.options.insert(name.to_owned(), config::secret::Secret::new(value));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        World { cluster, data: tempfile::tempdir().unwrap(), settings, runtime }
    }

    fn sink(&self) -> KafkaSink {
        let mut sink = KafkaSink::new(&self.settings, self.data.path().to_owned(), Clock::manual(NOON));
        // The mock does not tell how its topics are set up, and takes a time-out to say so.
        sink.believes_topics = true;
        sink
    }

    fn positions(&self, sink: &mut KafkaSink) -> Result<u64, SinkError> {
        let positions = self.runtime.block_on(sink.positions())?;
        Ok(positions.get(&LANE).copied().unwrap_or(0))
    }

    /// As the pump does it: the same batch until the sink holds it. Gives what was stored, and what stood in the way.
    fn store(&self, sink: &mut KafkaSink, batch: Batch) -> (Stored, Vec<SinkError>) {
        let (batches, mut errors) = ([batch], Vec::new());
        loop {
            match self.runtime.block_on(sink.store(&batches)) {
                Ok(stored) => return (stored, errors),
                Err(error) => errors.push(error),
            }
            assert!(errors.len() < 20, "it never gets through: {errors:?}");
        }
    }

    /// How often each sequence number stands in the topic.
    fn written(&self) -> BTreeMap<u64, u32> {
        let consumer: BaseConsumer<Context> = client::consumer(&self.settings, "test", "read_committed")
            .create_with_context(Context::new(&self.settings, Clock::manual(NOON)))
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..4 {
            list.add_partition_offset(EVENTS, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut ends, mut written) = (0, BTreeMap::new());
        while ends < 4 {
            match consumer.poll(Duration::from_secs(10)).expect("the mock answers") {
                Ok(message) => {
                    let event = Event::decode(message.payload().unwrap()).unwrap();
                    assert_eq!(message.key().unwrap(), event.visitor.as_slice());
                    *written.entry(event.sub1.parse().unwrap()).or_default() += 1;
                }
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{error}"),
            }
        }
        written
    }
}

fn body(sequence: u64) -> Vec<u8> {
    let visitor = vec![sequence as u8; 16];
    Event {
        id: vec![1; 16],
        kind: 1,
        class: 1,
        time_ms: NOON.0,
        visitor,
        sub1: sequence.to_string(),
        ..Event::default()
    }
    .encode_to_vec()
}

fn batch(from: u64, to: u64) -> Batch {
    Batch { lane: LANE, records: (from..to).map(|sequence| (sequence, body(sequence))).collect(), next: to }
}

/// How an error shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    /// Not at all: the library or the sink gets over it, or the pump tries once more.
    Passes,
    /// As an error that tells somebody what to do, at least once.
    Tells,
    /// Records are set aside.
    Aside,
}

struct Script {
    name: &'static str,
    api: Api,
    errors: &'static [Err],
    shows: Shows,
}

const fn script(name: &'static str, api: Api, errors: &'static [Err], shows: Shows) -> Script {
    Script { name, api, errors, shows }
}

use Api::{AddPartitionsToTxn, ApiVersion, EndTxn, Fetch, FindCoordinator, InitProducerId, ListOffsets, Produce};
use Err::*;
use Shows::{Aside, Passes, Tells};

/// What may go wrong, in the order of a transaction's requests.
const SCRIPTS: &[Script] = &[
    script("nothing", Produce, &[], Passes),
    // Metadata, into which the mock injects nothing
    script("stale metadata", Produce, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION], Passes),
    script("versions: disconnected", ApiVersion, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    // The coordinator
    script("coordinator: not there", FindCoordinator, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE], Passes),
    script("coordinator: loading", FindCoordinator, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 3], Passes),
    script("coordinator: disconnected", FindCoordinator, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("coordinator: moved before the start", InitProducerId, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR], Passes),
    script(
        "coordinator: moved while partitions are added",
        AddPartitionsToTxn,
        &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
        Passes,
    ),
    script("coordinator: moved at the end", EndTxn, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2], Passes),
    // Starting a producer
    script("start: not available", InitProducerId, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2], Passes),
    script("start: loading", InitProducerId, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script("start: another transaction ends", InitProducerId, &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 3], Passes),
    script("start: disconnected", InitProducerId, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("start: fenced", InitProducerId, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED], Tells),
    script("start: old epoch", InitProducerId, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH], Tells),
    script("start: time-out too long", InitProducerId, &[RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT], Tells),
    script("start: id not allowed", InitProducerId, &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED], Tells),
    script("start: not allowed", InitProducerId, &[RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED], Tells),
    // Adding partitions
    script("partitions: not available", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2], Passes),
    script("partitions: loading", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script(
        "partitions: another transaction ends",
        AddPartitionsToTxn,
        &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 3],
        Passes,
    ),
    script("partitions: unknown for now", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART], Passes),
    script("partitions: disconnected", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script(
        "partitions: transaction timed out",
        AddPartitionsToTxn,
        &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING],
        Passes,
    ),
    script("partitions: old epoch", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH; 8], Tells),
    script("partitions: fenced", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED; 8], Tells),
    script("partitions: wrong state", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_INVALID_TXN_STATE], Passes),
    script("partitions: not allowed", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED], Tells),
    script(
        "partitions: id not allowed",
        AddPartitionsToTxn,
        &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
        Tells,
    ),
    script("partitions: not attempted", AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_OPERATION_NOT_ATTEMPTED], Passes),
    // Producing
    script("produce: no leader", Produce, &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; 2], Passes),
    script("produce: unknown for now", Produce, &[RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART], Passes),
    script("produce: fenced leader", Produce, &[RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH], Passes),
    script("produce: timed out", Produce, &[RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 2], Passes),
    script("produce: too few replicas", Produce, &[RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3], Passes),
    script(
        "produce: replicas lost afterwards",
        Produce,
        &[RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND; 2],
        Passes,
    ),
    script("produce: disconnected", Produce, &[RD_KAFKA_RESP_ERR__TRANSPORT; 2], Passes),
    script("produce: network of the broker", Produce, &[RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION], Passes),
    script("produce: disk of the broker", Produce, &[RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR], Passes),
    script("produce: damaged on the way", Produce, &[RD_KAFKA_RESP_ERR_INVALID_MSG], Passes),
    script("produce: out of order", Produce, &[RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER], Passes),
    script("produce: producer forgotten", Produce, &[RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID], Passes),
    script("produce: transaction timed out", Produce, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING], Passes),
    script("produce: old epoch", Produce, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH; 8], Tells),
    script("produce: fenced", Produce, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED; 8], Tells),
    script("produce: wrong state", Produce, &[RD_KAFKA_RESP_ERR_INVALID_TXN_STATE], Passes),
    script("produce: topic not allowed", Produce, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED], Tells),
    script("produce: too large as a batch", Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE], Passes),
    script("produce: too many as a batch", Produce, &[RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE], Passes),
    script("produce: invalid record", Produce, &[RD_KAFKA_RESP_ERR_INVALID_RECORD; 8], Aside),
    script("produce: too large", Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 8], Aside),
    script("produce: time not taken", Produce, &[RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP; 8], Aside),
    // The end. The mock keeps the checkpoint of a transaction whose end failed, so there is no second try that would tell.
    script("end: not available", EndTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2], Passes),
    script("end: loading", EndTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2], Passes),
    script("end: another one ends", EndTxn, &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 2], Passes),
    script("end: disconnected", EndTxn, &[RD_KAFKA_RESP_ERR__TRANSPORT], Passes),
    script("end: timed out", EndTxn, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING], Passes),
    script("end: old epoch", EndTxn, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH], Passes),
    script("end: fenced", EndTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED], Passes),
    script("end: wrong state", EndTxn, &[RD_KAFKA_RESP_ERR_INVALID_TXN_STATE], Passes),
    script("end: id not allowed", EndTxn, &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED], Tells),
    script("end: unknown trouble", EndTxn, &[RD_KAFKA_RESP_ERR_UNKNOWN], Passes),
    // Reading the checkpoints
    script("checkpoints: no leader", ListOffsets, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION], Passes),
    script("checkpoints: disconnected", Fetch, &[RD_KAFKA_RESP_ERR__TRANSPORT; 2], Passes),
    script("checkpoints: not leader", Fetch, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2], Passes),
];

const RECORDS: u64 = 60;

/// One script, with the error before the start and in the middle: at the end everything is there.
fn play(script: &Script) -> Result<(), String> {
    let world = World::new();
    let mut sink = world.sink();
    let (mut stored, mut aside, mut errors, mut met_by_it) = (0, 0, Vec::new(), 0);
    for step in 0..3 {
        let injected = step == 1 || step == 2 && script.shows != Aside;
        // The first time in the middle of its work, the second time with a producer that must start anew.
        if step == 2 {
            sink = world.sink();
        }
        if injected {
            world.cluster.request_errors(script.api, script.errors);
        }
        if step == 2 {
            while let Err(error) = world.positions(&mut sink) {
                errors.push(error);
                if errors.len() > 20 {
                    return Err(format!("it never starts: {errors:?}"));
                }
            }
        }
        let (from, to) = (step * RECORDS / 3, (step + 1) * RECORDS / 3);
        let (done, met) = world.store(&mut sink, batch(from, to));
        if injected {
            met_by_it += script.errors.len() - probe::left(&world.cluster, script.api, script.errors);
        }
        world.cluster.clear_request_errors(script.api);
        stored += done.events;
        aside += done.set_aside;
        errors.extend(met);
    }
    if met_by_it == 0 && !script.errors.is_empty() {
        return Err("nobody met its errors: it shows nothing".to_owned());
    }
    let tells = errors.iter().any(|error| matches!(error, SinkError::Fatal(_)));
    if tells != (script.shows == Tells) {
        return Err(format!("what it told: {errors:?}"));
    }
    if (aside > 0) != (script.shows == Aside) {
        return Err(format!("{aside} set aside"));
    }
    let written = world.written();
    let kept = std::fs::read_dir(world.data.path().join("set-aside")).map_or(0, Iterator::count) as u64;
    let missing: Vec<u64> = (0..RECORDS).filter(|sequence| !written.contains_key(sequence)).collect();
    // What was set aside may stand in the topic of the mock, too: it keeps what was aborted.
    if kept != aside || missing.len() as u64 > aside {
        return Err(format!("{kept} files for {aside} set aside; missing: {missing:?}"));
    }
    if stored + aside > RECORDS {
        return Err(format!("{stored} stored and {aside} set aside of {RECORDS}"));
    }
    drop(sink);
    match world.positions(&mut world.sink()) {
        Ok(RECORDS) => Ok(()),
        other => Err(format!("positions afterwards: {other:?}; errors on the way: {errors:?}")),
    }
}

#[test]
fn every_script_of_injected_errors_ends_with_everything_there() {
    assert!(SCRIPTS.len() >= 50);
    let (queue, failed) = (Mutex::new(SCRIPTS.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(script) = queue.lock().unwrap().next() else { break };
                    let started = std::time::Instant::now();
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

/// The coordinator moves to another broker while a transaction is under way, and the leaders with it.
#[test]
fn the_coordinator_and_the_leaders_move() {
    let world = World::new();
    let mut sink = world.sink();
    world.positions(&mut sink).unwrap();
    let id = sink.transactional_id().unwrap();
    for step in 0..6_u64 {
        let broker = 1 + (step % 3) as i32;
        world.cluster.coordinator(MockCoordinator::Transaction(id.clone()), broker).unwrap();
        for partition in 0..4 {
            world.cluster.partition_leader(EVENTS, partition, Some(1 + ((step + 1) % 3) as i32)).unwrap();
        }
        let (stored, _) = world.store(&mut sink, batch(step * 10, step * 10 + 10));
        assert_eq!(stored.events, 10);
    }
    assert_eq!(world.written().len(), 60);
}

/// All brokers go away in the middle, and come back.
#[test]
fn all_brokers_go_away_and_come_back() {
    let world = World::new();
    let mut sink = world.sink();
    world.store(&mut sink, batch(0, 10));
    (1..=3).for_each(|broker| world.cluster.broker_down(broker).unwrap());
    let error = world.runtime.block_on(sink.store(&[batch(10, 20)])).unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error:?}");
    assert!(error.to_string().contains(&world.settings.brokers), "{error}");
    (1..=3).for_each(|broker| world.cluster.broker_up(broker).unwrap());
    world.store(&mut sink, batch(10, 20));
    drop(sink);
    assert_eq!((world.positions(&mut world.sink()).unwrap(), world.written().len()), (20, 20));
}

/// What the sink holds already is not sent again, also by another process of the same folder.
#[test]
fn what_is_held_is_not_sent_again() {
    let world = World::new();
    let (mut first, mut second) = (world.sink(), world.sink());
    assert_eq!(world.store(&mut first, batch(0, 10)).0, Stored { events: 10, set_aside: 0 });
    assert_eq!(world.store(&mut first, batch(5, 15)).0, Stored { events: 5, set_aside: 0 });
    assert_eq!(world.store(&mut first, batch(0, 15)).0, Stored::default());
    assert_eq!(world.positions(&mut second).unwrap(), 15, "beside one another, with two ids");
    assert_eq!(world.store(&mut second, batch(0, 20)).0, Stored { events: 5, set_aside: 0 });
    assert!(world.written().values().all(|copies| *copies == 1));
    world.runtime.block_on(second.forget(LANE)).unwrap();
    assert_eq!(world.positions(&mut world.sink()).unwrap(), 0, "a lane that is gone leaves nothing");
}

#[test]
fn a_record_that_is_too_large_for_the_client_is_set_aside() {
    let mut world = World::new();
    world.settings.options.insert("message.max.bytes".to_owned(), config::secret::Secret::new("2000"));
    let mut large = batch(0, 10);
    large.records[4].1 = Event { id: vec![2; 16], named: "x".repeat(3_000), ..Event::default() }.encode_to_vec();
    let mut sink = world.sink();
    assert_eq!(world.store(&mut sink, large).0, Stored { events: 9, set_aside: 1 });
    let file = world.data.path().join(format!("set-aside/{LANE}-4.json"));
    assert!(std::fs::read_to_string(file).unwrap().contains("larger than the topic takes"));
}

/// A clock that is wrong, or a topic that takes nothing: that is nobody's to set aside.
#[test]
fn a_topic_that_refuses_everything_stops_the_sink_and_sets_nothing_aside() {
    let mut world = World::new();
    world.settings.options.insert("message.max.bytes".to_owned(), config::secret::Secret::new("1000"));
    let mut large = batch(0, 50);
    for (sequence, body) in &mut large.records {
        *body = Event { id: vec![2; 16], named: "x".repeat(1_500), sub1: sequence.to_string(), ..Event::default() }
            .encode_to_vec();
    }
    let mut sink = world.sink();
    let SinkError::Fatal(text) = world.runtime.block_on(sink.store(&[large])).unwrap_err() else { panic!("not fatal") };
    assert!(text.contains("record after record") && text.contains("larger than the topic takes"), "{text}");
    assert!(!world.data.path().join("set-aside").exists());
    // Mended: everything goes.
    assert_eq!(world.store(&mut sink, batch(0, 50)).0, Stored { events: 50, set_aside: 0 });
}

#[test]
fn a_missing_topic_is_said_with_what_to_do() {
    let mut world = World::new();
    world.settings.checkpoints = "nowhere".to_owned();
    // The mock makes topics that are asked for, unless it is told not to.
    world.cluster.topic_error("nowhere", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let error = world.positions(&mut world.sink()).unwrap_err();
    let SinkError::Fatal(text) = error else { panic!("{error:?}") };
    assert!(text.contains("has no topic nowhere") && text.contains("fingerpost migrate"), "{text}");
}
