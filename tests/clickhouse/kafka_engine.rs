//! `config/clickhouse/kafka-engine.sql`, the way without a loader, on the real engine with the real broker.

use std::time::Duration;

use fingerpost::{
    core::{event::Event, time::Millis},
    store::clickhouse::Block,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{
    block_on,
    engine::Database,
    insert::event,
    support::stack::{Part, Stack, unique},
};

const FILE: &str = include_str!("../../config/clickhouse/kafka-engine.sql");

fn events() -> Vec<Vec<u8>> {
    let all = (0..100).map(|offset| Event {
        address: if offset % 2 == 0 { vec![203, 0, 113] } else { vec![0x20, 1, 0x0d, 0xb8, 0, 1] },
        click: if offset % 3 == 0 { vec![offset as u8; 16] } else { Vec::new() },
        kind: if offset == 50 { 99 } else { event(offset).kind },
        sub1: format!("ä{offset}"),
        rule: 3,
        device: 2,
        ..event(offset)
    });
    all.map(|event| encoded(&event)).collect()
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    event.borrow().encode(&mut out);
    out
}

/// One transaction, as an edge writes.
fn produce(brokers: &str, topic: &str, messages: &[Vec<u8>], commit: bool) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("transactional.id", topic).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    for message in messages {
        producer.send(BaseRecord::<(), _>::to(topic).payload(message)).map_err(|(error, _)| error).unwrap();
    }
    // They are in the topic, whatever becomes of them.
    producer.flush(Duration::from_secs(30)).unwrap();
    if commit {
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
    } else {
        producer.abort_transaction(Duration::from_secs(30)).unwrap();
    }
}

#[test]
fn the_kafka_engine_fills_the_same_tables() {
    block_on(async {
        let engine = Stack::shared(&[Part::Clickhouse, Part::Kafka]);
        let topic = unique("engine");
        engine.topics(&[&format!("{topic}:1")]);
        let brokers = engine.brokers();
        let database = Database::new(engine).await;
        let messages = events();
        let mut all = messages.clone();
        all.push(b"not protobuf".to_vec());
        all.push(encoded(&Event { id: vec![1; 15], ..event(1) }));
        all.push(encoded(&Event { address: vec![203, 0, 113, 77], ..event(1) }));
        produce(&brokers, &topic, &messages[..5], false);
        produce(&brokers, &topic, &all, true);
        let file = FILE
            .replace("kafka:9092", &brokers)
            .replace("'fingerpost.events'", &format!("'{topic}'"))
            .replace("'fingerpost-engine'", &format!("'{topic}'"))
            .replace("fingerpost.", "DB.")
            .replace("package DB.v1", "package fingerpost.v1");
        let bare: Vec<&str> = file.lines().filter(|line| !line.starts_with("--")).collect();
        for statement in bare.join("\n").split(";\n\n").filter(|statement| !statement.trim().is_empty()) {
            database.run(statement.trim().trim_end_matches(';')).await;
        }
        database.until("count() + (SELECT count() FROM DB.set_aside)", "DB.events", 100 + 3).await;
        // The sums come behind the rows, the commit behind both.
        database
            .until(
                "sum(num_commits) > 0",
                &format!("system.kafka_consumers WHERE database = '{}'", database.settings.database),
                1,
            )
            .await;
        assert_eq!(database.audit().await, 100);

        // The same rows as the loader's, column by column.
        let offsets = database.store.present(&topic, 0, 0..1_000).await.unwrap();
        assert_eq!(offsets.len(), 100, "what was aborted is not there");
        let mut block = Block::new("loader", 0);
        for (message, offset) in messages.iter().zip(&offsets) {
            block.push(*offset, &Event::decode_ref(message).borrow(), Millis(0));
        }
        database.store.insert(&block, "loader").await.unwrap();
        let columns = "* EXCEPT (source, partition, loaded_at)";
        let different = database
            .numbers(
                "count()",
                &format!(
                    "(SELECT {columns} FROM DB.events WHERE source = 'loader' EXCEPT \
                      SELECT {columns} FROM DB.events WHERE source = '{topic}')"
                ),
            )
            .await;
        assert_eq!(different, [0]);
        // Not to be in the way of the next consumer.
        database.run("DROP TABLE DB.kafka_events").await;
    });
}

trait DecodeRef {
    fn decode_ref(bytes: &[u8]) -> Event;
}

impl DecodeRef for Event {
    fn decode_ref(bytes: &[u8]) -> Event {
        prost::Message::decode(bytes).unwrap()
    }
}

#[test]
fn its_schema_is_that_of_the_proto_file() {
    let (_, text) = FILE.split_once("format_schema = '").unwrap();
    let (text, _) = text.split_once("';\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fingerpost.proto"), text).unwrap();
    let ours = protox::compile(["fingerpost.proto"], [folder.path()]).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/proto");
    let mut file = protox::compile(["fingerpost.proto"], [path]).unwrap().file.remove(0);
    let mut theirs = ours.file.into_iter().next().unwrap();
    (file.source_code_info, theirs.source_code_info) = (None, None);
    assert_eq!(theirs, file);
}
