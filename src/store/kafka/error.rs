//! What an error of Kafka means for a batch: the one place that sorts them.
//!
//! Codes below zero are the library's own, the others are the protocol's
//! (<https://kafka.apache.org/protocol#protocol_error_codes>).

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::Complaint;
use crate::{config::stores::Kafka, store::SinkError};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same again, later.
    Retry,
    /// A record's own fault: it is set aside, for this reason.
    Record(&'static str),
    /// This producer cannot go on; a new one asks what became of its last transaction.
    Renew,
    /// Another process has our transactional id.
    Fenced,
    /// Somebody has to act first: what to do.
    Operator(&'static str),
}

/// Sorts every code. What is not named is met by trying again: nothing is lost by it, and readiness says the code.
pub(super) fn sort(code: Code) -> Verdict {
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
            Verdict::Record("it is larger than the topic takes (max.message.bytes)")
        }
        Code::InvalidRecord => Verdict::Record("the broker takes it for invalid"),
        Code::InvalidTimestamp => Verdict::Record("its time is outside of what the topic takes (message.timestamp.*)"),
        Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fenced => Verdict::Fenced,
        Code::Fatal
        | Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionalState
        | Code::TransactionCoordinatorFenced
        | Code::State
        | Code::Inconsistent
        | Code::PurgeQueue
        | Code::PurgeInflight => Verdict::Renew,
        Code::Authentication | Code::SaslAuthenticationFailed => Verdict::Operator(
            "the broker refuses the credentials: check kafka.username, kafka.password and kafka.sasl_mechanism",
        ),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            Verdict::Operator("the broker does not know kafka.sasl_mechanism: choose one that it has")
        }
        Code::SSL => Verdict::Operator("TLS fails: check kafka.security and kafka.ca_file"),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Verdict::Operator("a topic is missing: `fingerpost migrate` makes it")
        }
        Code::InvalidTopic => Verdict::Operator("kafka.topic or kafka.checkpoints is not a name for a topic"),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Verdict::Operator("the user may not do this: allow it Write, Read and Describe on both topics (ACLs)")
        }
        Code::GroupAuthorizationFailed => {
            Verdict::Operator("the user may not use the group: allow it Read on kafka.group (ACLs)")
        }
        Code::TransactionalIdAuthorizationFailed => {
            Verdict::Operator("the user may not use this transactional id: allow it Write and Describe on it (ACLs)")
        }
        Code::InvalidTransactionTimeout => {
            Verdict::Operator("kafka.transaction_timeout is more than the broker allows (transaction.max.timeout.ms)")
        }
        Code::InvalidArgument
        | Code::InvalidConfig
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat => Verdict::Operator(
            "the broker does not support what is asked of it: see [kafka] and the broker's version (2.5 or newer)",
        ),
        // The broker, its network, its leaders or its disks: all of them pass.
        _ => Verdict::Retry,
    }
}

/// The code of a call's error.
pub(super) fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

/// The error for the pump. A time-out says less than what the client complained about meanwhile.
pub(super) fn explain(settings: &Kafka, doing: &str, code: Code, complaint: Option<&Complaint>) -> SinkError {
    let told = complaint.filter(|complaint| sort(complaint.code) != Verdict::Retry);
    let code = told.map_or(code, |complaint| complaint.code);
    let why = match (complaint, code) {
        (Some(complaint), _) => complaint.text.clone(),
        (None, Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut) => {
            "there is no answer: see that it runs, and that kafka.brokers is right".to_owned()
        }
        (None, code) => code.to_string(),
    };
    let at = format!("Kafka at {}: {doing}: {why}", settings.brokers);
    metrics::counter!(crate::telemetry::names::KAFKA_ERRORS, "reason" => reason(sort(code))).increment(1);
    match sort(code) {
        Verdict::Operator(mend) => SinkError::Fatal(format!("{at}: {mend}")),
        Verdict::Fenced => SinkError::Fatal(format!(
            "{at}: another process uses this edge's transactional id: give each edge a data folder of its own (a copied \
             one: stop it, remove its `kafka` folder and the lanes in `journal` that the other one has, too), or a \
             kafka.transactional_id of its own"
        )),
        // Of an event, that would be its own fault; a checkpoint has none.
        Verdict::Record(why) => SinkError::Fatal(format!("{at}: {why}: mend the settings of the topic")),
        Verdict::Retry | Verdict::Renew => SinkError::Retry(at),
    }
}

/// The label of a verdict in metrics.
const fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Retry => "retry",
        Verdict::Record(_) => "record",
        Verdict::Renew => "renew",
        Verdict::Fenced => "fenced",
        Verdict::Operator(_) => "operator",
    }
}
