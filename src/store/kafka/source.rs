//! Events out: a member of the loaders' consumer group. It commits nothing by itself, and each offset with a note beside it.
//!
//! What the group decides is heard in the middle of a poll. A partition that is taken from us is told before anything else,
//! and from then on nothing is committed for it: the broker would take a commit of a member that has lost a partition as
//! long as the group's generation is right.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    client::{self, Change, Context},
    error,
};
use crate::{
    config::stores::Kafka,
    io::clock::Clock,
    store::{Happened, SinkError, Source, SourceError},
};

/// A question to the broker may take that long.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A loader that is silent for that long is dead to the group, milliseconds.
const SESSION_TIMEOUT_MS: &str = "10000";
/// Bytes that the library reads ahead, KiB.
const READ_AHEAD_KIB: &str = "65536";

/// A loader's side of the events topic.
#[allow(missing_debug_implementations, reason = "the library's consumer has none")]
pub struct KafkaSource {
    settings: Arc<Kafka>,
    consumer: BaseConsumer<Context>,
    /// Sees also what waits for the end of a transaction; it is only asked where partitions end.
    all: BaseConsumer<Context>,
    ours: BTreeSet<i32>,
    /// Partitions that the group gave us, and that nobody was told of yet.
    given: VecDeque<i32>,
}

impl KafkaSource {
    /// Joins the group with the first poll.
    pub fn new(settings: &Kafka, clock: &Clock) -> Result<KafkaSource, SinkError> {
        let mut config = client::consumer(settings, &settings.group, "read_committed");
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT_MS)
            .set("heartbeat.interval.ms", "1000")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", READ_AHEAD_KIB);
        let in_settings = |error: KafkaError| SinkError::Fatal(format!("[kafka] in the configuration: {error}"));
        let context = || Context::new(settings, clock.clone());
        let consumer: BaseConsumer<Context> =
            client::finish(config, settings).create_with_context(context()).map_err(in_settings)?;
        let all = client::consumer(settings, &settings.group, "read_uncommitted");
        let all = all.create_with_context(context()).map_err(in_settings)?;
        consumer.subscribe(&[&settings.topic]).map_err(in_settings)?;
        Ok(KafkaSource {
            settings: Arc::new(settings.clone()),
            consumer,
            all,
            ours: BTreeSet::new(),
            given: VecDeque::new(),
        })
    }

    fn wrong(&self, doing: &str, problem: &KafkaError) -> SourceError {
        let complaint = self.consumer.context().take_complaint();
        match error::explain(&self.settings, doing, error::code(problem), complaint.as_ref()) {
            SinkError::Retry(text) => SourceError::Retry(text),
            SinkError::Fatal(text) => SourceError::Fatal(text),
        }
    }

    fn list(&self, partition: i32, offset: Offset) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.settings.topic, partition, offset)
            .map_err(|problem| self.wrong("naming a partition", &problem))?;
        Ok(list)
    }

    /// What the group has decided since the last poll. Gives whether anything was told.
    fn tell_changes(&mut self, tell: &mut dyn FnMut(Happened<'_>)) -> Result<bool, SourceError> {
        let mut told = false;
        while let Some(change) = self.consumer.context().next_change() {
            told = true;
            match change {
                Change::Given(partitions) => self.given.extend(partitions),
                Change::Taken(partitions) => self.tell_taken(&partitions, tell),
                Change::Failed => {
                    let all: Vec<i32> = self.ours.iter().chain(&self.given).copied().collect();
                    self.tell_taken(&all, tell);
                }
            }
        }
        while let Some(partition) = self.given.front().copied() {
            told = true;
            // A question that fails is asked again with the next poll.
            let (committed, note) = self.committed(partition)?;
            self.given.pop_front();
            self.ours.insert(partition);
            tell(Happened::Given { partition: number(partition), committed, note });
        }
        if told {
            tell(Happened::Settled);
        }
        Ok(told)
    }

    fn tell_taken(&mut self, partitions: &[i32], tell: &mut dyn FnMut(Happened<'_>)) {
        for partition in partitions {
            self.given.retain(|given| given != partition);
            if self.ours.remove(partition) {
                tell(Happened::Taken { partition: number(*partition) });
            }
        }
    }

    /// What was last committed for the partition, or where it begins.
    fn committed(&self, partition: i32) -> Result<(u64, String), SourceError> {
        let doing = "asking for committed offsets";
        let asked = self
            .consumer
            .committed_offsets(self.list(partition, Offset::Invalid)?, ASK_TIMEOUT)
            .map_err(|problem| self.wrong(doing, &problem))?;
        let found = asked.find_partition(&self.settings.topic, partition);
        if let Some(Err(problem)) = found.as_ref().map(|found| found.error()) {
            return Err(self.wrong(doing, &problem));
        }
        Ok(match found.as_ref().map(|found| (found.offset(), found.metadata())) {
            Some((Offset::Offset(offset), note)) => (unsigned(offset), note.to_owned()),
            _ => (self.watermarks(partition)?.start, String::new()),
        })
    }

    fn watermarks(&self, partition: i32) -> Result<std::ops::Range<u64>, SourceError> {
        let ends = self.consumer.fetch_watermarks(&self.settings.topic, partition, ASK_TIMEOUT);
        let (low, high) = ends.map_err(|problem| self.wrong("asking where a partition ends", &problem))?;
        Ok(unsigned(low)..unsigned(high))
    }

    fn still_ours(&self, partition: u32) -> Result<i32, SourceError> {
        let wanted = signed(partition);
        if self.ours.contains(&wanted) { Ok(wanted) } else { Err(SourceError::Lost(partition)) }
    }
}

impl Source for KafkaSource {
    fn poll(
        &mut self,
        patience: Duration,
        events: usize,
        tell: &mut dyn FnMut(Happened<'_>),
    ) -> Result<(), SourceError> {
        let deadline = Instant::now() + patience;
        let mut left = patience;
        let mut problem = None;
        for _ in 0..events {
            let polled = self.consumer.poll(left);
            let nothing = polled.is_none();
            match polled {
                None => {}
                // A message of a partition that is not told of yet is read again when it is: whoever is told seeks.
                Some(Ok(message)) if self.ours.contains(&message.partition()) => {
                    problem = None;
                    let (partition, offset) = (number(message.partition()), unsigned(message.offset()));
                    tell(Happened::Record { partition, offset, body: message.payload().unwrap_or_default() });
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(partition))) if self.ours.contains(&partition) => {
                    problem = None;
                    tell(Happened::End { partition: number(partition) });
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                // The library goes on by itself, and says so with each of its tries: what waits behind is heard first.
                Some(Err(found)) => problem = Some(found),
            }
            if self.tell_changes(tell)? {
                return Ok(());
            }
            left = deadline.saturating_duration_since(Instant::now());
            if nothing || left.is_zero() {
                break;
            }
        }
        problem.map_or(Ok(()), |problem| Err(self.wrong("reading events", &problem)))
    }

    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), SourceError> {
        let wanted = self.still_ours(partition)?;
        self.consumer
            .seek(&self.settings.topic, wanted, Offset::Offset(offset as i64), ASK_TIMEOUT)
            .map_err(|problem| self.wrong("going to an offset", &problem))?;
        self.pause(partition, false)
    }

    fn pause(&mut self, partition: u32, paused: bool) -> Result<(), SourceError> {
        let list = self.list(self.still_ours(partition)?, Offset::Invalid)?;
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(|problem| self.wrong("pausing a partition", &problem))
    }

    fn commit(&mut self, partition: u32, next: u64, note: &str) -> Result<(), SourceError> {
        let wanted = self.still_ours(partition)?;
        let list = self.list(wanted, Offset::Offset(next as i64))?;
        if let Some(mut element) = list.find_partition(&self.settings.topic, wanted)
            && !note.is_empty()
        {
            element.set_metadata(note);
        }
        let refused = match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        Err(match error::code(&refused) {
            // The group has gone on without us. Whether the partition is still ours is not known yet: unless the group takes
            // it, it is given anew, with whatever is committed for it by then.
            Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
            | Code::AssignmentLost => {
                self.ours.remove(&wanted);
                self.given.push_back(wanted);
                SourceError::Lost(partition)
            }
            _ => self.wrong("committing offsets", &refused),
        })
    }

    fn ends(&mut self, partition: u32) -> Result<std::ops::Range<u64>, SourceError> {
        self.watermarks(self.still_ours(partition)?)
    }

    fn last(&mut self, partition: u32) -> Result<u64, SourceError> {
        let wanted = self.still_ours(partition)?;
        client::introduce(self.all.context(), |time| drop(self.all.poll(time)));
        let ends = self.all.fetch_watermarks(&self.settings.topic, wanted, ASK_TIMEOUT);
        Ok(unsigned(ends.map_err(|problem| self.wrong("asking where a partition ends", &problem))?.1))
    }
}

fn number(partition: i32) -> u32 {
    u32::try_from(partition).unwrap_or(0)
}

fn signed(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
