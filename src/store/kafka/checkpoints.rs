//! Positions of lanes in the checkpoints topic. Reading blocks: it is done off the runtime.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    client::{self, Complaint, Context},
    error,
};
use crate::{config::stores::Kafka, core::id::LaneId, io::clock::Clock, store::SinkError};

/// A question to the broker may take that long.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the end of an open transaction is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a checkpoint holds.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Checkpoint {
    /// The sequence number that the lane goes on with.
    next: u64,
}

/// Key and value of a lane's checkpoint.
pub(super) fn encode(lane: LaneId, next: u64) -> (String, String) {
    (lane.to_string(), format!(r#"{{"next":{next}}}"#))
}

/// The positions that committed transactions reached. Call it when the transactions that may matter have ended, or their
/// owners are dead: see the head of the room.
pub(super) fn read(settings: &Kafka, clock: &Clock, patience: Duration) -> Result<HashMap<LaneId, u64>, SinkError> {
    let deadline = Instant::now() + patience;
    Reader::new(settings, clock)?.read(deadline)
}

struct Reader<'a> {
    settings: &'a Kafka,
    /// Sees transactions that are still open, to know where the topic ends.
    all: BaseConsumer<Context>,
    /// Sees what is committed only.
    committed: BaseConsumer<Context>,
}

impl<'a> Reader<'a> {
    fn new(settings: &'a Kafka, clock: &Clock) -> Result<Reader<'a>, SinkError> {
        let consumer = |isolation: &str| {
            let consumer: BaseConsumer<Context> = client::consumer(settings, "fingerpost-checkpoints", isolation)
                .create_with_context(Context::new(settings, clock.clone()))
                .map_err(|error| SinkError::Fatal(format!("[kafka] in the configuration: {error}")))?;
            client::introduce(consumer.context(), |time| drop(consumer.poll(time)));
            Ok::<_, SinkError>(consumer)
        };
        Ok(Reader { settings, all: consumer("read_uncommitted")?, committed: consumer("read_committed")? })
    }

    fn wrong(&self, doing: &str, problem: &KafkaError) -> SinkError {
        // A consumer's complaints come as what a poll gives.
        let complaint = match self.committed.poll(Duration::ZERO) {
            Some(Err(told)) if !matches!(told, KafkaError::PartitionEOF(_)) => {
                Some(Complaint { code: error::code(&told), text: told.to_string() })
            }
            _ => None,
        };
        error::explain(self.settings, doing, error::code(problem), complaint.as_ref())
    }

    fn read(&self, deadline: Instant) -> Result<HashMap<LaneId, u64>, SinkError> {
        let topic = &self.settings.checkpoints;
        let mut list = TopicPartitionList::new();
        let mut unread = HashSet::new();
        for partition in self.partitions()? {
            let low = self.wait_for_open_transactions(partition, deadline)?;
            if let Some(low) = low {
                list.add_partition_offset(topic, partition, Offset::Offset(low))
                    .map_err(|problem| self.wrong("reading the checkpoints", &problem))?;
                unread.insert(partition);
            }
        }
        self.committed.assign(&list).map_err(|problem| self.wrong("reading the checkpoints", &problem))?;
        let mut positions = HashMap::new();
        while !unread.is_empty() {
            match self.committed.poll(LOOK_INTERVAL) {
                Some(Ok(message)) => take(&message, &mut positions),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
                Some(Err(problem)) if Instant::now() >= deadline => {
                    return Err(self.wrong("reading the checkpoints", &problem));
                }
                None if Instant::now() >= deadline => {
                    let late = KafkaError::MessageConsumption(Code::OperationTimedOut);
                    return Err(self.wrong("reading the checkpoints", &late));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(positions)
    }

    fn partitions(&self) -> Result<Vec<i32>, SinkError> {
        let topic = &self.settings.checkpoints;
        let doing = format!("looking for the topic {topic}");
        let metadata =
            self.committed.fetch_metadata(Some(topic), ASK_TIMEOUT).map_err(|problem| self.wrong(&doing, &problem))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if let Some(problem) = found.and_then(rdkafka::metadata::MetadataTopic::error) {
            return Err(self.wrong(&doing, &KafkaError::MetadataFetch(problem.into())));
        }
        let partitions: Vec<i32> =
            found.map_or_else(Vec::new, |topic| topic.partitions().iter().map(|p| p.id()).collect());
        if partitions.is_empty() {
            return Err(self.wrong(&doing, &KafkaError::MetadataFetch(Code::UnknownTopicOrPartition)));
        }
        Ok(partitions)
    }

    /// Waits until nothing below the partition's present end is undecided. Gives its beginning; `None` where it is empty.
    fn wait_for_open_transactions(&self, partition: i32, deadline: Instant) -> Result<Option<i64>, SinkError> {
        let topic = &self.settings.checkpoints;
        let ends = |consumer: &BaseConsumer<Context>| {
            consumer
                .fetch_watermarks(topic, partition, ASK_TIMEOUT)
                .map_err(|problem| self.wrong("looking for the end of the checkpoints", &problem))
        };
        let (_, end) = ends(&self.all)?;
        loop {
            let (low, stable) = ends(&self.committed)?;
            if stable >= end {
                return Ok((low < stable).then_some(low));
            }
            if Instant::now() >= deadline {
                return Err(SinkError::Retry(format!(
                    "Kafka at {}: a transaction of a process that is gone is still open; the broker ends it within \
                     kafka.transaction_timeout",
                    self.settings.brokers
                )));
            }
            // Nothing is assigned yet: this only waits.
            let _ = self.committed.poll(LOOK_INTERVAL);
        }
    }
}

fn take(message: &impl Message, positions: &mut HashMap<LaneId, u64>) {
    let lane = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
    let Some(lane) = lane else {
        tracing::warn!(offset = message.offset(), "a checkpoint without a lane is passed over");
        return;
    };
    match message.payload().map(serde_json::from_slice::<Checkpoint>) {
        None => drop(positions.remove(&lane)),
        // Positions only grow; a topic that somebody made with several partitions tells them in no order.
        Some(Ok(Checkpoint { next })) => {
            positions.entry(lane).and_modify(|known| *known = next.max(*known)).or_insert(next);
        }
        Some(Err(error)) => tracing::warn!(%lane, %error, "a checkpoint that cannot be read is passed over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back() {
        let (key, value) = encode(LaneId(0xab), u64::MAX);
        assert_eq!(key.parse::<LaneId>().unwrap(), LaneId(0xab));
        assert_eq!(serde_json::from_str::<Checkpoint>(&value).unwrap().next, u64::MAX);
    }
}
