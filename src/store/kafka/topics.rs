//! The two topics: making them, and looking whether they are there.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode as Code,
    metadata::{Metadata, MetadataTopic},
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

/// What is acknowledged is on that many disks: the journal gives it away then. A setting of the topic, which the broker has at 1.
const IN_SYNC: &str = "min.insync.replicas";
/// With two of three, one broker may be away.
const IN_SYNC_WANTED: i32 = 2;
/// Fewer, and a broker that is away would stop everything.
const IN_SYNC_FROM: i32 = 3;

/// A topic that Fingerpost needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    compacted: bool,
}

impl Topic {
    /// What it is made with, where it has so many replicas.
    pub fn settings(&self, replicas: i32) -> Vec<(&'static str, String)> {
        let mut settings: Vec<(&'static str, String)> = Vec::new();
        if self.compacted {
            settings.extend(COMPACTED.map(|(name, value)| (name, value.to_owned())));
        }
        if replicas >= IN_SYNC_FROM {
            settings.push((IN_SYNC, IN_SYNC_WANTED.to_string()));
        }
        settings
    }
}

/// Both topics. Checkpoints have one partition: they are few, and a start reads all of them.
pub fn needed(settings: &Kafka, partitions: i32) -> [Topic; 2] {
    [
        Topic { name: settings.topic.clone(), partitions, compacted: false },
        Topic { name: settings.checkpoints.clone(), partitions: 1, compacted: true },
    ]
}

/// What of it the brokers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub missing: Vec<Topic>,
    /// Of the others, the names, and how many replicas each has.
    there: Vec<(String, usize)>,
}

/// How many replicas the brokers have of the topic; `None`: they do not know it.
pub(super) fn replicas(metadata: &Metadata, name: &str) -> Result<Option<usize>, Code> {
    let found = metadata.topics().iter().find(|found| found.name() == name);
    match found.and_then(MetadataTopic::error).map(Code::from) {
        None => Ok(found.and_then(|found| found.partitions().first()).map(|partition| partition.replicas().len())),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(code),
    }
}

/// What somebody should know of a topic with so many replicas, of which so many must be in sync.
fn warning(name: &str, replicas: usize, in_sync: i32) -> Option<String> {
    (replicas > 1 && in_sync < IN_SYNC_WANTED).then(|| {
        format!(
            "the topic {name} has {replicas} replicas and {IN_SYNC}={in_sync}: with the disk of one broker, what no other has yet may be \
             lost, although the journal has given it away; set {IN_SYNC}={IN_SYNC_WANTED}, with three replicas, so that one may be away"
        )
    })
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

    /// Which of `topics` the brokers have. Blocks.
    pub fn find(&self, topics: &[Topic]) -> Result<Found, SinkError> {
        let mut all = Found::default();
        for topic in topics {
            let metadata = self
                .client
                .client()
                .fetch_metadata(Some(&topic.name), ASK_TIMEOUT)
                .map_err(|problem| self.wrong("looking for topics", error::code(&problem)))?;
            match replicas(&metadata, &topic.name).map_err(|code| self.wrong("looking for topics", code))? {
                Some(replicas) => all.there.push((topic.name.clone(), replicas)),
                None => all.missing.push(topic.clone()),
            }
        }
        Ok(all)
    }

    /// How many brokers there are. Blocks.
    pub fn brokers(&self) -> Result<i32, SinkError> {
        let metadata = self.client.client().fetch_metadata(None, ASK_TIMEOUT);
        let metadata = metadata.map_err(|problem| self.wrong("looking for brokers", error::code(&problem)))?;
        Ok(i32::try_from(metadata.brokers().len()).unwrap_or(i32::MAX))
    }

    /// Makes them, with so many replicas. One that somebody else has made meanwhile is fine.
    pub async fn create(&self, topics: &[Topic], replicas: i32) -> Result<(), SinkError> {
        let settings: Vec<_> = topics.iter().map(|topic| topic.settings(replicas)).collect();
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .zip(&settings)
            .map(|(topic, settings)| {
                let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replicas));
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

    /// Refuses a topic that would lose what it holds, and gives warnings of what might. Whoever may not ask is believed.
    pub async fn check_settings(&self, found: &Found) -> Result<Vec<String>, SinkError> {
        let resources: Vec<_> = found.there.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let answers =
            if resources.is_empty() { Ok(Vec::new()) } else { self.admin.describe_configs(&resources, &options).await };
        let answers = answers.unwrap_or_else(|why| {
            tracing::debug!(%why, "the broker does not tell how the topics are set up");
            Vec::new()
        });
        let mut warnings = Vec::new();
        for answer in answers {
            let described = match answer {
                Ok(described) => described,
                Err(why) => {
                    tracing::debug!(%why, "the broker does not tell how a topic is set up");
                    continue;
                }
            };
            let OwnedResourceSpecifier::Topic(name) = &described.specifier else { continue };
            let setting = |key| described.get(key).and_then(|entry| entry.value.as_deref());
            if *name == self.settings.checkpoints {
                self.check_compaction(setting("cleanup.policy").unwrap_or("compact"))?;
            }
            let in_sync = setting(IN_SYNC).and_then(|value| value.parse().ok());
            let replicas = found.there.iter().find(|(found, _)| found == name).map_or(0, |(_, replicas)| *replicas);
            warnings.extend(in_sync.and_then(|in_sync| warning(name, replicas, in_sync)));
        }
        Ok(warnings)
    }

    /// Checkpoints of a quiet lane stay only in a topic that is compacted: one that somebody else has made may be another.
    fn check_compaction(&self, policy: &str) -> Result<(), SinkError> {
        if policy == "compact" {
            return Ok(());
        }
        Err(SinkError::Fatal(format!(
            "Kafka at {}: the topic {} has cleanup.policy={policy}, so positions would be deleted and clicks counted \
             twice: set cleanup.policy=compact",
            self.settings.brokers, self.settings.checkpoints
        )))
    }

    fn wrong(&self, doing: &str, code: Code) -> SinkError {
        let complaint = client::complaint(&self.client);
        error::explain(&self.settings, doing, code, complaint.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_on_two_disks_where_there_are_three() {
        let settings = crate::config::load(None, [], None).unwrap().kafka;
        for topic in needed(&settings, 12) {
            let in_sync = |replicas| {
                let settings = topic.settings(replicas);
                settings.iter().find(|(name, _)| *name == "min.insync.replicas").map(|(_, value)| value.clone())
            };
            assert_eq!([1, 2, 3, 5].map(in_sync), [None, None, Some("2".to_owned()), Some("2".to_owned())]);
            assert_eq!(topic.settings(3).len(), if topic.name == settings.checkpoints { 5 } else { 1 });
        }
    }

    #[test]
    fn replicas_of_which_one_is_enough_are_worth_a_warning() {
        assert_eq!(warning("events", 1, 1), None, "a single broker: that is known");
        assert!(warning("events", 3, 1).unwrap().contains("set min.insync.replicas=2"));
        assert_eq!(warning("events", 3, 2), None);
    }
}
