//! What is told to come again: while an edge is clicked on, its name and the folder of its Kafka sink are lost and the edge is
//! killed; one loader is killed, the other ended, and their group thrown away, so that the next ones begin at the start of the topic.
//! Then the same when ClickHouse has long forgotten the tokens. Totals do not change, neither rows nor rollups.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crate::{
    clicks, common,
    many::{self, Field, Load},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

/// Tables that remember tokens.
const TABLES: [&str; 5] = ["events", "reach_hourly", "funnel_daily", "uniques_daily", "loaded"];
const RATE: u64 = 1_500;

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let rounds = arguments.size.pick(2, 12);
    println!("replay: {rounds} rounds with tokens, as many without");
    // An edge that has lost its name cannot end what it left open: the broker does, after this time-out.
    let field = Field::new(&[
        ("LOAD__BATCH_MAX_AGE", "200ms"),
        ("LOAD__BATCH_MAX_EVENTS", "1000"),
        ("KAFKA__TRANSACTION_TIMEOUT", "10s"),
    ]);
    let next_tag = Arc::new(AtomicU64::new(0));
    let mut edge = field.edge("edge");
    let load = Load::start(edge.edge, RATE, &next_tag);
    let mut names = BTreeSet::new();
    for round in 0..2 * rounds {
        if round == rounds {
            forget_tokens(&field);
        }
        let loaders = [field.loader("loader-0"), field.loader("loader-1")];
        common::wait(Duration::from_secs(4));
        // The sink's files go while it runs, its transactional id's name with them, and then the process, without a farewell.
        let data = field.folder.path().join("edge");
        names.insert(std::fs::read_to_string(data.join("node")).expect("the edge's name"));
        std::fs::remove_dir_all(data.join("kafka")).expect("the sink's files");
        std::fs::remove_file(data.join("node")).expect("the edge's name");
        edge.kill();
        edge = field.edge("edge");
        load.moved(edge.edge);
        // One dies in the middle of whatever it does, the other one may finish; then the group is thrown away.
        let [dies, finishes] = loaders;
        dies.kill();
        assert!(finishes.stop(), "a loader ended with an error");
        delete_group(&field);
        println!("  round {} of {}: {} rows", round + 1, 2 * rounds, field.number("SELECT count() FROM events"));
    }
    let answered = load.end();
    many::drain(vec![edge]);
    names.insert(std::fs::read_to_string(field.folder.path().join("edge/node")).expect("the edge's name"));
    field.load_rest();
    let before = totals(&field);
    for _ in 0..2 {
        delete_group(&field);
        field.load_rest();
    }
    let unchanged = before == totals(&field);
    let counted = field.tags();
    let (lost, twice) = clicks::compare(&answered, &counted);
    let disagreements = field.disagreements();
    // As many transactional ids, each with whatever its process left open.
    let renamed = names.len() as u64 == 2 * rounds + 1;
    let ok =
        lost.is_empty() && twice.is_empty() && disagreements.is_empty() && unchanged && renamed && !answered.is_empty();
    common::report(
        "replay",
        arguments.size,
        ok,
        serde_json::json!({
            "rounds": 2 * rounds, "transactional_ids": names.len(), "answered": answered.len(), "rows": counted.values().sum::<u64>(), "lost": lost.len(),
            "twice": twice.len(), "disagreements": disagreements, "totals_unchanged_by_replays": unchanged,
        }),
    )
}

/// Rows, and what each rollup adds up to.
fn totals(field: &Field) -> String {
    field.ask(
        "SELECT (SELECT count() FROM events), (SELECT sum(count) FROM reach), (SELECT sum(count) FROM funnel), \
         (SELECT uniqCombined64Merge(visitors) FROM uniques)",
    )
}

/// From now on ClickHouse remembers the last insert's token only.
fn forget_tokens(field: &Field) {
    for table in TABLES {
        field.order(&format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1"));
    }
}

/// What `kafka-consumer-groups --delete` does: the next loader begins at the start of the topic. Kafka allows it once nobody
/// is in the group, which the dead are until their session ends.
fn delete_group(field: &Field) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", field.stack.brokers()).create().expect("an administrator");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for _ in 0..120 {
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
        let deleted = runtime.block_on(admin.delete_groups(&["fingerpost-load"], &options));
        match deleted.expect("the broker answers").pop() {
            Some(Ok(_)) => return,
            Some(Err((_, rdkafka::error::RDKafkaErrorCode::GroupIdNotFound))) => return,
            _ => common::wait(Duration::from_millis(250)),
        }
    }
    panic!("the group cannot be deleted: somebody is still in it");
}
