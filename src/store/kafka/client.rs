//! How we speak to brokers: the library's settings, its statistics as metrics, and what it last complained about.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Statistics, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, DeliveryResult, Producer, ProducerContext},
};

use super::oauth;
use crate::{
    config::stores::{Compression, Kafka, Mechanism, Security},
    io::clock::Clock,
    telemetry::names,
};

/// How often the library tells its statistics, milliseconds.
const STATISTICS_INTERVAL_MS: &str = "5000";
/// A broker that came back is tried again within that time, milliseconds.
const RECONNECT_MAX_MS: &str = "2000";

/// What every client of ours has in common. `kafka.options` come last, and win.
pub(super) fn base(settings: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "fingerpost")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
        .set("security.protocol", protocol(settings.security));
    if matches!(settings.security, Security::SaslPlaintext | Security::SaslSsl) {
        config.set("sasl.mechanism", mechanism(settings.sasl_mechanism));
        if settings.sasl_mechanism != Mechanism::OauthBearer {
            config.set("sasl.username", &settings.username).set("sasl.password", settings.password.expose());
        }
    }
    if matches!(settings.security, Security::Ssl | Security::SaslSsl) {
        // A library that brings its own OpenSSL does not look for the system's certificates unless it is told to.
        config.set("ssl.ca.location", if settings.ca_file.is_empty() { "probe" } else { &settings.ca_file });
    }
    config
}

/// The settings that `kafka.options` asks for.
pub(super) fn finish(mut config: ClientConfig, settings: &Kafka) -> ClientConfig {
    for (name, value) in &settings.options {
        config.set(name, value.expose());
    }
    config
}

const fn protocol(security: Security) -> &'static str {
    match security {
        Security::Plaintext => "plaintext",
        Security::Ssl => "ssl",
        Security::SaslPlaintext => "sasl_plaintext",
        Security::SaslSsl => "sasl_ssl",
    }
}

const fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Plain => "PLAIN",
        Mechanism::ScramSha256 => "SCRAM-SHA-256",
        Mechanism::ScramSha512 => "SCRAM-SHA-512",
        Mechanism::OauthBearer => "OAUTHBEARER",
    }
}

/// A transactional producer. With `alone`, each record is a batch of its own, so that a refusal names one record.
pub(super) fn producer(settings: &Kafka, transactional_id: &str, alone: bool) -> ClientConfig {
    let mut config = base(settings);
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().to_string())
        .set("acks", "all")
        .set("compression.type", compression(settings.compression))
        .set("partitioner", "murmur2_random")
        .set("delivery.report.only.error", "true")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("linger.ms", if alone { "0" } else { "2" })
        .set("batch.num.messages", if alone { "1" } else { "10000" })
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    finish(config, settings)
}

const fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

/// A consumer that reads what it is told to, and commits only what it is told to.
pub(super) fn consumer(settings: &Kafka, group: &str, isolation: &str) -> ClientConfig {
    let mut config = base(settings);
    config
        .set("group.id", group)
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true");
    finish(config, settings)
}

/// The last complaint of a client: the calls themselves often say no more than that time was up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
}

/// A client asks for its token soon after it was made.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets a new client have its token: it asks for it in a poll, and the calls that need it do not poll.
pub(super) fn introduce(context: &Context, poll: impl Fn(Duration)) {
    let deadline = Instant::now() + TOKEN_TIMEOUT;
    while !context.token_file.is_empty() && !context.token_asked.load(Ordering::Relaxed) && Instant::now() < deadline {
        poll(Duration::from_millis(10));
    }
}

/// Events of a client that are taken in at once, to hear its complaints.
const EVENTS_HEARD: usize = 64;

/// What a producer last complained about.
pub(super) fn complaint(producer: &BaseProducer<Context>) -> Option<Complaint> {
    for _ in 0..EVENTS_HEARD {
        producer.poll(Duration::ZERO);
    }
    producer.context().take_complaint()
}

/// What the library calls back.
#[derive(Debug)]
pub(super) struct Context {
    /// Of OAUTHBEARER; empty with other mechanisms.
    token_file: String,
    /// The library has asked for a token and has got an answer.
    token_asked: AtomicBool,
    clock: Clock,
    complaint: Mutex<Option<Complaint>>,
    /// Records that the broker did not take: the number each was sent with, and why.
    failures: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    changes: Mutex<VecDeque<Change>>,
}

impl Context {
    pub(super) fn new(settings: &Kafka, clock: Clock) -> Context {
        let bearer = settings.sasl_mechanism == Mechanism::OauthBearer;
        let token_file = if bearer { settings.token_file.clone() } else { String::new() };
        let token_asked = AtomicBool::new(false);
        let (complaint, failures, changes) = (Mutex::default(), Mutex::default(), Mutex::default());
        Context { token_file, token_asked, clock, complaint, failures, changes }
    }

    pub(super) fn take_complaint(&self) -> Option<Complaint> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn take_failures(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// The library repeats itself with each try; what matters is said once, by whoever asked.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn stats(&self, statistics: Statistics) {
        metrics::gauge!(names::KAFKA_QUEUE_MESSAGES).set(statistics.msg_cnt as f64);
        metrics::gauge!(names::KAFKA_QUEUE_BYTES).set(statistics.msg_size as f64);
        let slowest = statistics.brokers.values().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.avg).max();
        // Microseconds.
        metrics::gauge!(names::KAFKA_BROKER_RTT_SECONDS).set(slowest.unwrap_or(0) as f64 / 1e6);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        // That everything was read is told the same way.
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down says less than why.
        if code != RDKafkaErrorCode::AllBrokersDown || complaint.is_none() {
            *complaint = Some(Complaint { code, text: reason.to_owned() });
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token_asked.store(true, Ordering::Relaxed);
        Ok(oauth::token(&self.token_file, self.clock.now())?)
    }
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Context>, rebalance: &Rebalance<'_>) {
        let list = |list: &TopicPartitionList| list.elements().iter().map(|element| element.partition()).collect();
        let change = match rebalance {
            Rebalance::Assign(given) => Change::Given(list(given)),
            Rebalance::Revoke(taken) => Change::Taken(list(taken)),
            Rebalance::Error(error) => {
                tracing::warn!(%error, "the loaders' group could not share its partitions out: it is done again");
                Change::Failed
            }
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }
}

/// What the group has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Given(Vec<i32>),
    Taken(Vec<i32>),
    /// It could not: nothing is ours until it says so again.
    Failed,
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            tracing::debug!(target: "librdkafka", ?code, topic = message.topic(), number, "a record was not taken");
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push((number, code));
        }
    }
}
