//! The two topics: making them, and looking whether they are there.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode as Code,
    producer::{BaseProducer, Producer},
};

use super::{
    client::{self, Context},
    error,
};
use crate::{config::stores::Kafka, io::clock::Clock, store::SinkError};

/// A question to the brokers may take that long.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the checkpoints topic: small segments, cleaned often, so that a start reads little.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "600000"),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// A topic that Fingerpost needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    compacted: bool,
}

/// Both topics. Checkpoints have one partition: they are few, and a start reads all of them.
pub fn needed(settings: &Kafka, partitions: i32) -> [Topic; 2] {
    [
        Topic { name: settings.topic.clone(), partitions, compacted: false },
        Topic { name: settings.checkpoints.clone(), partitions: 1, compacted: true },
    ]
}

/// The administrator's side of Kafka.
#[allow(missing_debug_implementations, reason = "the library's client has none")]
pub struct Topics {
    settings: Kafka,
    admin: AdminClient<Context>,
    /// Asks: the administrator's client does not tell what it complains about.
    client: BaseProducer<Context>,
}

impl Topics {
    pub fn new(settings: &Kafka, clock: &Clock) -> Result<Topics, SinkError> {
        let config = client::finish(client::base(settings), settings);
        let context = || Context::new(settings, clock.clone());
        let in_settings = |error| SinkError::Fatal(format!("[kafka] in the configuration: {error}"));
        let admin = config.create_with_context(context()).map_err(in_settings)?;
        let client: BaseProducer<Context> = config.create_with_context(context()).map_err(in_settings)?;
        client::introduce(client.context(), |time| client.poll(time));
        Ok(Topics { settings: settings.clone(), admin, client })
    }

    /// Those of `topics` that the brokers do not have. Blocks.
    pub fn missing(&self, topics: &[Topic]) -> Result<Vec<Topic>, SinkError> {
        let mut missing = Vec::new();
        for topic in topics {
            let metadata = self
                .client
                .client()
                .fetch_metadata(Some(&topic.name), ASK_TIMEOUT)
                .map_err(|problem| self.wrong("looking for topics", error::code(&problem)))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic.name);
            match found.and_then(rdkafka::metadata::MetadataTopic::error).map(Code::from) {
                None if found.is_some_and(|found| !found.partitions().is_empty()) => {}
                None | Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => missing.push(topic.clone()),
                Some(code) => return Err(self.wrong("looking for topics", code)),
            }
        }
        Ok(missing)
    }

    /// How many brokers there are. Blocks.
    pub fn brokers(&self) -> Result<i32, SinkError> {
        let metadata = self.client.client().fetch_metadata(None, ASK_TIMEOUT);
        let metadata = metadata.map_err(|problem| self.wrong("looking for brokers", error::code(&problem)))?;
        Ok(i32::try_from(metadata.brokers().len()).unwrap_or(i32::MAX))
    }

    /// Makes them, with so many replicas. One that somebody else has made meanwhile is fine.
    pub async fn create(&self, topics: &[Topic], replicas: i32) -> Result<(), SinkError> {
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replicas));
                let settings: &[(&str, &str)] = if topic.compacted { &COMPACTED } else { &[] };
                settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT)).operation_timeout(Some(ASK_TIMEOUT));
        let results = self.admin.create_topics(&new, &options).await;
        for result in results.map_err(|problem| self.wrong("making topics", error::code(&problem)))? {
            match result {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, Code::InvalidReplicationFactor)) => {
                    return Err(SinkError::Fatal(format!(
                        "Kafka at {}: {replicas} replicas of {name} need as many brokers: ask for fewer with --replicas",
                        self.settings.brokers
                    )));
                }
                Err((name, code)) => return Err(self.wrong(&format!("making the topic {name}"), code)),
            }
        }
        Ok(())
    }

    /// Checkpoints of a quiet lane stay only in a topic that is compacted: one that somebody else has made may be another.
    /// Whoever may not ask is believed.
    pub async fn check_compaction(&self) -> Result<(), SinkError> {
        let topic = &self.settings.checkpoints;
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let asked = self.admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
        let described = match asked.map(|answers| answers.into_iter().next()) {
            Ok(Some(Ok(described))) => Ok(described),
            Ok(Some(Err(code))) => Err(code.to_string()),
            Ok(None) => Err("no answer".to_owned()),
            Err(problem) => Err(problem.to_string()),
        };
        let described = match described {
            Ok(described) => described,
            Err(why) => {
                tracing::debug!(topic, why, "the broker does not tell whether the topic is compacted");
                return Ok(());
            }
        };
        let policy = described.get("cleanup.policy").and_then(|entry| entry.value.as_deref()).unwrap_or("compact");
        if policy == "compact" {
            return Ok(());
        }
        Err(SinkError::Fatal(format!(
            "Kafka at {}: the topic {topic} has cleanup.policy={policy}, so positions would be deleted and clicks counted \
             twice: set cleanup.policy=compact",
            self.settings.brokers
        )))
    }

    fn wrong(&self, doing: &str, code: Code) -> SinkError {
        let complaint = client::complaint(&self.client);
        error::explain(&self.settings, doing, code, complaint.as_ref())
    }
}
