//! Which sink the configuration asks for. None of them needs its store to be there at the start: the edge never waits for it.

use crate::{
    config::{Config, stores::SinkKind},
    io::clock::Clock,
    store::{
        Sink,
        clickhouse::{ClickHouseSink, Store},
        kafka::KafkaSink,
        sqlite,
    },
};

/// The sink of `sink.kind`.
pub(super) fn open(config: &Config, clock: &Clock) -> anyhow::Result<Box<dyn Sink>> {
    Ok(match config.sink.kind {
        SinkKind::Sqlite => Box::new(sqlite::LazySink::new(config.data.join(sqlite::FILE), clock.clone())),
        SinkKind::ClickHouse => Box::new(ClickHouseSink::new(Store::new(&config.clickhouse)?, clock.clone())),
        SinkKind::Kafka => Box::new(KafkaSink::new(&config.kafka, config.data.clone(), clock.clone())),
    })
}
