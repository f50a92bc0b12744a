//! Settings of where events go and where reports come from: `[sink]`, `[kafka]`, `[clickhouse]`, `[load]`, `[reports]`.

use std::{collections::BTreeMap, time::Duration};

use super::{reader::Reader, secret::Secret};
use crate::core::limits;

/// Where the journal's events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// `events.db` in the data folder.
    Sqlite,
    Kafka,
    ClickHouse,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub kind: SinkKind,
    /// A batch waits that long for more events.
    pub linger: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

/// How a connection to a broker is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// `host:port`, several with commas; empty: there is no Kafka.
    pub brokers: String,
    /// Events, one a message.
    pub topic: String,
    /// Positions of lanes; compacted.
    pub checkpoints: String,
    /// Of this edge's transactions; `None` takes one from the data folder.
    pub transactional_id: Option<String>,
    /// After that long without a word the broker gives up an edge's open transaction.
    pub transaction_timeout: Duration,
    pub compression: Compression,
    /// Consumer group of the loaders.
    pub group: String,
    pub security: Security,
    pub sasl_mechanism: Mechanism,
    pub username: String,
    pub password: Secret,
    /// File with the token of OAUTHBEARER; read again before the token ends.
    pub token_file: String,
    /// PEM file of who may sign the broker's certificate; empty takes the system's.
    pub ca_file: String,
    /// Further settings of librdkafka, by their own names. They win over ours.
    pub options: BTreeMap<String, Secret>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClickHouse {
    /// `http://host:8123`; empty: there is no ClickHouse.
    pub url: String,
    pub database: String,
    pub user: String,
    pub password: Secret,
    /// Makes every table on this cluster, replicated; empty: one server.
    pub cluster: String,
    pub compression: Compression,
    /// How long raw rows are kept; zero: for ever. Rollups stay.
    pub retention: Duration,
    /// An answer that takes longer is given up.
    pub timeout: Duration,
}

/// `fingerpost load`.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Events of one partition in one insert.
    pub batch_max_events: u64,
    /// The oldest event of a batch waits that long for more.
    pub batch_max_age: Duration,
    /// Under which name rows carry their topic; `None` takes the topic's. A topic that was made anew needs a new one,
    /// because its offsets begin again.
    pub source: Option<String>,
}

/// Who answers reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportsFrom {
    Sqlite,
    ClickHouse,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stores {
    pub(super) sink: Sink,
    pub(super) kafka: Kafka,
    pub(super) clickhouse: ClickHouse,
    pub(super) load: Load,
    pub(super) reports: ReportsFrom,
}

pub(super) fn read(reader: &mut Reader) -> Stores {
    let kinds = [("sqlite", SinkKind::Sqlite), ("kafka", SinkKind::Kafka), ("clickhouse", SinkKind::ClickHouse)];
    let kind = reader.word("sink.kind", SinkKind::Sqlite, &kinds);
    // Each batch is a part in five tables of ClickHouse, which has to merge them.
    let linger = Duration::from_millis(if kind == SinkKind::ClickHouse { 1_000 } else { 200 });
    let sink = Sink { kind, linger: reader.duration("sink.linger", linger) };
    let kafka = read_kafka(reader);
    let clickhouse = read_clickhouse(reader);
    let load = Load {
        batch_max_events: reader.integer(
            "load.batch_max_events",
            limits::LOAD_BATCH_EVENTS,
            1..=limits::LOAD_BATCH_EVENTS_MAX,
        ),
        batch_max_age: reader.duration("load.batch_max_age", Duration::from_secs(1)),
        source: reader.optional("load.source", |text| Ok(text.to_owned())),
    };
    let own = if sink.kind == SinkKind::Sqlite { ReportsFrom::Sqlite } else { ReportsFrom::ClickHouse };
    let from = [("auto", own), ("sqlite", ReportsFrom::Sqlite), ("clickhouse", ReportsFrom::ClickHouse)];
    let reports = reader.word("reports.from", own, &from);
    let stores = Stores { sink, kafka, clickhouse, load, reports };
    check_together(&stores, reader);
    stores
}

fn read_kafka(reader: &mut Reader) -> Kafka {
    Kafka {
        brokers: reader.text("kafka.brokers", ""),
        topic: reader.text("kafka.topic", "fingerpost.events"),
        checkpoints: reader.text("kafka.checkpoints", "fingerpost.checkpoints"),
        transactional_id: reader.optional("kafka.transactional_id", |text| Ok(text.to_owned())),
        transaction_timeout: reader.duration("kafka.transaction_timeout", Duration::from_secs(60)),
        compression: reader.word("kafka.compression", Compression::Lz4, &COMPRESSIONS),
        group: reader.text("kafka.group", "fingerpost-load"),
        security: reader.word(
            "kafka.security",
            Security::Plaintext,
            &[
                ("plaintext", Security::Plaintext),
                ("ssl", Security::Ssl),
                ("sasl_plaintext", Security::SaslPlaintext),
                ("sasl_ssl", Security::SaslSsl),
            ],
        ),
        sasl_mechanism: reader.word(
            "kafka.sasl_mechanism",
            Mechanism::ScramSha256,
            &[
                ("PLAIN", Mechanism::Plain),
                ("SCRAM-SHA-256", Mechanism::ScramSha256),
                ("SCRAM-SHA-512", Mechanism::ScramSha512),
                ("OAUTHBEARER", Mechanism::OauthBearer),
            ],
        ),
        username: reader.text("kafka.username", ""),
        password: reader.secret("kafka.password"),
        token_file: reader.text("kafka.token_file", ""),
        ca_file: reader.text("kafka.ca_file", ""),
        options: reader.table("kafka.options"),
    }
}

const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];

fn read_clickhouse(reader: &mut Reader) -> ClickHouse {
    ClickHouse {
        url: reader
            .optional("clickhouse.url", |text| match url::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                    Ok(text.trim_end_matches('/').to_owned())
                }
                _ => Err(format!("`{text}` is not an address: use one like http://127.0.0.1:8123")),
            })
            .unwrap_or_default(),
        database: reader.text("clickhouse.database", "fingerpost"),
        user: reader.text("clickhouse.user", ""),
        password: reader.secret("clickhouse.password"),
        cluster: reader.text("clickhouse.cluster", ""),
        compression: reader.word("clickhouse.compression", Compression::Lz4, &COMPRESSIONS[..2]),
        retention: super::retention::events(reader),
        timeout: reader.duration("clickhouse.timeout", Duration::from_secs(60)),
    }
}

/// Settings of librdkafka that the promise rests on: they are not to be changed.
const RESERVED: [&str; 13] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "partition.assignment.strategy",
    "partitioner",
    "transactional.id",
];

/// What no single key can tell.
fn check_together(stores: &Stores, reader: &mut Reader) {
    if stores.sink.kind == SinkKind::Kafka && stores.kafka.brokers.is_empty() {
        reader.mistake("kafka.brokers", "is empty, but sink.kind is kafka: give at least one host:port");
    }
    if stores.sink.kind == SinkKind::ClickHouse && stores.clickhouse.url.is_empty() {
        reader
            .mistake("clickhouse.url", "is empty, but sink.kind is clickhouse: give an address like http://host:8123");
    }
    for name in stores.kafka.options.keys().filter(|name| RESERVED.contains(&name.as_str())) {
        let key = format!("kafka.options.{name}");
        reader.mistake(&key, "is not to be changed: that events are counted once rests on it; remove it");
    }
    let protected = stores.kafka.security != Security::Plaintext;
    if protected && cfg!(not(feature = "kafka-ssl")) && cfg!(not(feature = "kafka-ssl-vendored")) {
        reader.mistake(
            "kafka.security",
            "needs TLS and SASL, which this program was built without: build it with --features kafka-ssl",
        );
    }
    let sasl = matches!(stores.kafka.security, Security::SaslPlaintext | Security::SaslSsl);
    if sasl && stores.kafka.sasl_mechanism != Mechanism::OauthBearer && stores.kafka.username.is_empty() {
        reader.mistake("kafka.username", "is empty, but kafka.security asks for SASL: give the user and its password");
    }
    if sasl && stores.kafka.sasl_mechanism == Mechanism::OauthBearer && stores.kafka.token_file.is_empty() {
        reader.mistake("kafka.token_file", "is empty, but kafka.sasl_mechanism is OAUTHBEARER: name the token's file");
    }
}
