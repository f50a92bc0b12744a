//! kill -9 of edges, loaders and broker under load, at random moments, everything real: what was answered is in ClickHouse
//! once, and the rollups say the same as the rows.
//!
//! Besides, a loader is stopped (SIGSTOP) until the other one has its partitions, and then goes on with what it had in hand.
//!
//! Between kills the loaders are to load: each time it is waited for a while until the group has given all partitions away again
//! and rows arrive. Else the group would wait for the dead all the time, and everything would be loaded at the end, in peace.
//! The result says how often they did, and how many rows came before the end.
//!
//! Two edges write to one Kafka; two loaders share its partitions and bring them to one ClickHouse. Each click carries a tag
//! (`?sub1=<n>`). At the end the edges drain, the rest is loaded, and the tags are compared.

use crate::{
    clicks,
    common::{self, Random},
    many::{self, Field, Load, Loader},
    server::Server,
    stack::Part,
};
use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

/// Clicks a second on each edge.
const RATE: u64 = 1_000;
/// Longest time between two kills, milliseconds.
const LIFE_MS: u64 = 1_500;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Edge,
    Loader,
    Broker,
    LoaderAndBroker,
}

const VICTIMS: [Victim; 4] = [Victim::Edge, Victim::Loader, Victim::Broker, Victim::LoaderAndBroker];

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let seed = arguments.seed();
    let each = arguments.size.pick(5, 100);
    println!("many-kill: {each} kills of edges, of loaders, of the broker, and of loader and broker; seed {seed}");
    let started = Instant::now();
    let field = Field::new(&[
        ("LOAD__BATCH_MAX_AGE", "300ms"),
        ("LOAD__BATCH_MAX_EVENTS", "2000"),
        // The group gives a dead loader's partitions away soon, so that there is loading to be killed in.
        ("KAFKA__OPTIONS__session.timeout.ms", "3000"),
    ]);
    let next_tag = Arc::new(AtomicU64::new(0));
    let mut edges: Vec<Server> = (0..2).map(|one| field.edge(&format!("edge-{one}"))).collect();
    let mut loaders: Vec<Loader> = (0..2).map(|one| field.loader(&format!("loader-{one}"))).collect();
    let loads: Vec<Load> = edges.iter().map(|edge| Load::start(edge.edge, RATE, &next_tag)).collect();
    let mut random = Random::new(seed);
    let mut left: Vec<Victim> = VICTIMS.iter().flat_map(|victim| std::iter::repeat_n(*victim, each)).collect();
    let (all, mut done) = (left.len(), 0);
    let (stops, mut stops_begun) = (arguments.size.pick(1, 20), 0);
    let (mut looks, mut loading) = (0_u64, 0_u64);
    let mut look = |loaders: &[&Loader]| {
        looks += 1;
        loading += u64::from(field.until_loading(loaders));
    };
    look(&loaders.iter().collect::<Vec<_>>());
    while !left.is_empty() {
        common::wait(Duration::from_millis(random.below(LIFE_MS)));
        let victim = left.swap_remove(random.below(left.len() as u64) as usize);
        let one = random.below(2) as usize;
        if stops_begun * all <= done * stops && stops_begun < stops {
            stops_begun += 1;
            loaders[one].signal("STOP");
            look(&[&loaders[1 - one]]);
            loaders[one].signal("CONT");
            look(&loaders.iter().collect::<Vec<_>>());
        }
        if victim == Victim::Edge {
            let old = edges.remove(one);
            old.kill();
            edges.insert(one, field.edge(&format!("edge-{one}")));
            loads[one].moved(edges[one].edge);
        }
        if matches!(victim, Victim::Loader | Victim::LoaderAndBroker) {
            loaders.remove(one).kill();
        }
        if matches!(victim, Victim::Broker | Victim::LoaderAndBroker) {
            field.stack.kill(Part::Kafka);
            common::wait(Duration::from_millis(random.below(1_000)));
            field.stack.start(Part::Kafka);
        }
        if loaders.len() < 2 {
            loaders.insert(one, field.loader(&format!("loader-{one}")));
        }
        if victim != Victim::Edge {
            look(&loaders.iter().collect::<Vec<_>>());
        }
        done += 1;
        if done % (all / 10).max(1) == 0 {
            println!("  {done} of {all} kills, {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    let answered: Vec<u64> = loads.into_iter().flat_map(Load::end).collect();
    let loaded_before_the_end = field.number("SELECT count() FROM events");
    println!("  {} clicks answered, {loaded_before_the_end} of them loaded; draining", answered.len());
    many::drain(edges);
    let ended_well = loaders.into_iter().all(Loader::stop);
    field.load_rest();
    let counted = field.tags();
    let (lost, twice) = clicks::compare(&answered, &counted);
    for (what, tags) in [("lost", &lost), ("twice", &twice)] {
        if !tags.is_empty() {
            println!("{what}: {:?}", &tags[..tags.len().min(20)]);
        }
    }
    let disagreements = field.disagreements();
    let rows: u64 = counted.values().sum();
    let sum = field.number("SELECT sum(count) FROM reach WHERE kind = 'click'");
    let ok = lost.is_empty()
        && twice.is_empty()
        && disagreements.is_empty()
        && sum == rows
        && !answered.is_empty()
        // Else it would be peace in which everything is loaded.
        && loading * 2 > looks
        && loaded_before_the_end * 2 > rows
        && ended_well;
    common::report(
        "many-kill",
        arguments.size,
        ok,
        serde_json::json!({
            "seed": seed, "kills_of_each": each, "loaders_stopped": stops, "answered": answered.len(),
            "looks": looks, "found_loading": loading, "loaded_before_the_end": loaded_before_the_end, "rows": rows, "sum_of_rollup": sum,
            "lost": lost.len(), "twice": twice.len(), "disagreements": disagreements, "loaders_ended_well": ended_well,
            "seconds": started.elapsed().as_secs(),
        }),
    )
}
