//! Events in: one transaction a batch, with the positions that it reaches.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    aside::Aside,
    blocking::{drain, insist, off_the_runtime},
    checkpoints, client,
    client::Context,
    error::{self, Verdict},
    slot::{Slot, Slots},
    topics::{self, Topics},
};
use crate::{
    config::stores::Kafka,
    core::{event::EventRef, id::LaneId, limits::REFUSED_ROWS_MAX, time::Millis},
    io::clock::Clock,
    store::{Batch, BoxFuture, Sink, SinkError, Stored},
    telemetry::names,
};

/// A new producer may take that long until the broker has ended what its predecessor left.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// One step of a transaction may take that long; after that the producer is given up.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// Giving up a transaction is not waited for longer than that: the next producer ends it as well.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Who is fenced off twice within that time has a rival, milliseconds.
const FENCED_AGAIN_MS: i64 = 300_000;

/// The Kafka sink of one data folder.
#[allow(missing_debug_implementations, reason = "the library's producer has none")]
pub struct KafkaSink {
    settings: Arc<Kafka>,
    data: PathBuf,
    clock: Clock,
    aside: Aside,
    own: Option<(Slots, Slot)>,
    /// `None`: the next step makes one, and reads the positions anew.
    producer: Option<Arc<BaseProducer<Context>>>,
    /// What the broker holds, as far as this process knows.
    held: HashMap<LaneId, u64>,
    /// Records of the batch in hand that Kafka refused: they are set aside when the rest of it is taken.
    refused: BTreeMap<(LaneId, u64), Refused>,
    /// When the broker last said that somebody else has our transactional id.
    fenced_at: Option<Millis>,
    /// A transaction was begun, and its end is not known.
    open: bool,
    /// Each record is sent alone, after a batch was refused as a whole.
    alone: bool,
    /// The checkpoints topic is known to keep what it holds.
    pub(super) believes_topics: bool,
}

/// One record to send.
#[derive(Clone, Copy)]
struct Record<'a> {
    lane: LaneId,
    sequence: u64,
    body: &'a [u8],
}

/// A record that Kafka does not take.
struct Refused {
    reason: &'static str,
    body: Vec<u8>,
}

/// Why a transaction came to nothing.
enum Failed {
    /// These records (by their number) were refused for their own fault.
    Refused(Vec<(usize, &'static str)>),
    Sink(SinkError),
}

impl KafkaSink {
    /// Nothing is asked of the broker yet.
    pub fn new(settings: &Kafka, data: PathBuf, clock: Clock) -> KafkaSink {
        KafkaSink {
            settings: Arc::new(settings.clone()),
            aside: Aside::new(&data),
            data,
            clock,
            own: None,
            producer: None,
            held: HashMap::new(),
            refused: BTreeMap::new(),
            fenced_at: None,
            open: false,
            alone: false,
            believes_topics: false,
        }
    }

    /// A producer whose predecessor's transaction has ended, and the positions as they were then.
    async fn ready(&mut self) -> Result<Arc<BaseProducer<Context>>, SinkError> {
        if let Some(producer) = &self.producer {
            return Ok(Arc::clone(producer));
        }
        let id = self.transactional_id()?;
        self.look_for_topics().await?;
        let producer = self.start(&id).await?;
        self.end_abandoned().await?;
        metrics::counter!(names::KAFKA_PRODUCERS).increment(1);
        self.held = self.read_positions().await?;
        self.producer = Some(Arc::clone(&producer));
        self.open = false;
        Ok(producer)
    }

    pub(super) fn transactional_id(&mut self) -> Result<String, SinkError> {
        if let Some((_, slot)) = &self.own {
            return Ok(slot.transactional_id.clone());
        }
        let claimed = Slots::new(&self.data, self.settings.transactional_id.as_deref())
            .and_then(|slots| slots.claim().map(|slot| (slots, slot)));
        let (slots, slot) = claimed.map_err(|error| self.in_folder(&error))?;
        let id = slot.transactional_id.clone();
        self.own = Some((slots, slot));
        Ok(id)
    }

    fn in_folder(&self, error: &io::Error) -> SinkError {
        SinkError::Retry(format!("the data folder {}: {error}", self.data.display()))
    }

    /// A missing topic would only show after minutes, when records time out.
    async fn look_for_topics(&mut self) -> Result<(), SinkError> {
        let (settings, clock) = (Arc::clone(&self.settings), self.clock.clone());
        let (topics, missing) = off_the_runtime(move || {
            let topics = Topics::new(&settings, &clock)?;
            let missing = topics.missing(&topics::needed(&settings, 1))?;
            Ok::<_, SinkError>((topics, missing))
        })
        .await?;
        match missing.first() {
            None if self.believes_topics => Ok(()),
            None => {
                topics.check_compaction().await?;
                self.believes_topics = true;
                Ok(())
            }
            Some(topic) => Err(SinkError::Fatal(format!(
                "Kafka at {} has no topic {}: `fingerpost migrate` makes it",
                self.settings.brokers, topic.name
            ))),
        }
    }

    /// A new producer with this id. What an earlier one left open is ended before it is given.
    async fn start(&self, id: &str) -> Result<Arc<BaseProducer<Context>>, SinkError> {
        let config = client::producer(&self.settings, id, self.alone);
        let context = Context::new(&self.settings, self.clock.clone());
        let producer: BaseProducer<Context> = config
            .create_with_context(context)
            .map_err(|error| SinkError::Fatal(format!("[kafka] in the configuration: {error}")))?;
        let producer = Arc::new(producer);
        let starting = Arc::clone(&producer);
        let started = off_the_runtime(move || {
            client::introduce(starting.context(), |time| starting.poll(time));
            insist(START_TIMEOUT, |left| starting.init_transactions(left))
        })
        .await;
        match started {
            Ok(()) => Ok(producer),
            // Nobody can be fenced off by starting: the id itself is refused.
            Err(problem) => Err(self.explain(&producer, "starting a producer", &problem)),
        }
    }

    async fn read_positions(&self) -> Result<HashMap<LaneId, u64>, SinkError> {
        let (settings, clock) = (Arc::clone(&self.settings), self.clock.clone());
        let patience = settings.transaction_timeout + START_TIMEOUT;
        off_the_runtime(move || checkpoints::read(&settings, &clock, patience)).await
    }

    /// Ends at once what dead processes of this folder may have left open; the broker would take its time-out for it.
    async fn end_abandoned(&self) -> Result<(), SinkError> {
        let Some((slots, own)) = &self.own else { return Ok(()) };
        for mut slot in slots.abandoned(own).map_err(|error| self.in_folder(&error))? {
            drop(self.start(&slot.transactional_id).await?);
            slot.ended().map_err(|error| self.in_folder(&error))?;
        }
        Ok(())
    }

    fn explain(&self, producer: &BaseProducer<Context>, doing: &str, problem: &KafkaError) -> SinkError {
        let complaint = client::complaint(producer);
        error::explain(&self.settings, doing, error::code(problem), complaint.as_ref())
    }

    /// What of the batches is still to be sent.
    fn wanted<'a>(&self, batches: &'a [Batch]) -> Vec<Record<'a>> {
        let mut records = Vec::with_capacity(batches.iter().map(|batch| batch.records.len()).sum());
        for Batch { lane, records: bodies, .. } in batches {
            let held = self.held.get(lane).copied().unwrap_or(0);
            let wanted = bodies
                .iter()
                .filter(|(sequence, _)| *sequence >= held && !self.refused.contains_key(&(*lane, *sequence)))
                .map(|(sequence, body)| Record { lane: *lane, sequence: *sequence, body });
            records.extend(wanted);
        }
        records
    }

    /// Sends the records and the lanes' new positions in one transaction.
    async fn transaction(
        &mut self,
        producer: &Arc<BaseProducer<Context>>,
        records: &[Record<'_>],
        positions: &[(LaneId, Option<u64>)],
    ) -> Result<(), Failed> {
        if let Err(problem) = producer.begin_transaction() {
            return Err(Failed::Sink(self.give_up(producer, "beginning a transaction", &problem).await));
        }
        self.open = true;
        let mut refused = match self.send(producer, records) {
            Ok(refused) => refused,
            Err(error) => {
                self.producer = None;
                return Err(Failed::Sink(error));
            }
        };
        let sending = Arc::clone(producer);
        let flushed = off_the_runtime(move || drain(&sending, STEP_TIMEOUT)).await;
        let mut problem = flushed.err();
        for (number, code) in producer.context().take_failures() {
            match error::sort(code) {
                Verdict::Record(reason) => refused.push((number, reason)),
                // Swept away with another record's failure, or with the transaction's: that one says why.
                _ if matches!(code, Code::PurgeQueue | Code::PurgeInflight) => {
                    problem = problem.or_else(|| producer.begin_transaction().err());
                }
                _ => problem = Some(KafkaError::MessageProduction(code)),
            }
        }
        if let Some(problem) = problem
            && refused.is_empty()
        {
            return Err(Failed::Sink(self.give_up(producer, "sending events", &problem).await));
        }
        if !refused.is_empty() {
            self.abort(producer).await;
            return Err(Failed::Refused(refused));
        }
        if let Err(error) = self.set_aside() {
            self.abort(producer).await;
            return Err(Failed::Sink(error));
        }
        self.commit(producer, positions).await.map_err(Failed::Sink)
    }

    /// Hands the records to the library. Gives those that it refuses itself.
    fn send(
        &self,
        producer: &BaseProducer<Context>,
        records: &[Record<'_>],
    ) -> Result<Vec<(usize, &'static str)>, SinkError> {
        let mut refused = Vec::new();
        for (number, record) in records.iter().enumerate() {
            // What is no event goes on as well: whoever reads it sets it aside.
            let event = EventRef::decode(record.body).unwrap_or_default();
            // By visitor, so that a history stays in order; who has none is spread.
            let key = if event.visitor.is_empty() { event.id } else { event.visitor };
            let message = BaseRecord::with_opaque_to(&self.settings.topic, number).key(key).payload(record.body);
            if let Err((problem, _)) = producer.send(message.timestamp(event.time_ms)) {
                match error::sort(error::code(&problem)) {
                    Verdict::Record(reason) => refused.push((number, reason)),
                    _ => return Err(self.explain(producer, "sending events", &problem)),
                }
            }
        }
        Ok(refused)
    }

    /// The broker holds the events: now the checkpoints, then the commit.
    async fn commit(
        &mut self,
        producer: &Arc<BaseProducer<Context>>,
        positions: &[(LaneId, Option<u64>)],
    ) -> Result<(), SinkError> {
        for (lane, next) in positions {
            let (key, value) = checkpoints::encode(*lane, next.unwrap_or(0));
            let message = BaseRecord::with_opaque_to(&self.settings.checkpoints, usize::MAX).key(key.as_str());
            let message = if next.is_some() { message.payload(value.as_str()) } else { message };
            if let Err((problem, _)) = producer.send(message) {
                return Err(self.give_up(producer, "sending checkpoints", &problem).await);
            }
        }
        let committing = Arc::clone(producer);
        let committed = off_the_runtime(move || {
            drain(&committing, STEP_TIMEOUT)?;
            insist(STEP_TIMEOUT, |left| committing.commit_transaction(left))
        })
        .await;
        match committed {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(problem) => Err(self.give_up(producer, "committing a transaction", &problem).await),
        }
    }

    /// Ends a transaction in vain. A producer that can go on is kept; of one whose commit is not known to have failed,
    /// only the checkpoints say what became of it.
    async fn give_up(&mut self, producer: &Arc<BaseProducer<Context>>, doing: &str, problem: &KafkaError) -> SinkError {
        let abortable = match problem {
            KafkaError::Transaction(problem) => problem.txn_requires_abort(),
            KafkaError::MessageProduction(code) => !matches!(error::sort(*code), Verdict::Renew | Verdict::Fenced),
            _ => false,
        };
        let error = self.explain(producer, doing, problem);
        if abortable {
            self.abort(producer).await;
        } else {
            self.producer = None;
        }
        if error::sort(error::code(problem)) != Verdict::Fenced {
            return error;
        }
        // The broker also fences who was silent for longer than the transaction's time-out: once is no reason to call.
        let now = self.clock.now();
        match self.fenced_at.replace(now) {
            Some(before) if now.0 - before.0 < FENCED_AGAIN_MS => error,
            _ => SinkError::Retry(error.to_string()),
        }
    }

    async fn abort(&mut self, producer: &Arc<BaseProducer<Context>>) {
        let aborting = Arc::clone(producer);
        let aborted = off_the_runtime(move || insist(ABORT_TIMEOUT, |left| aborting.abort_transaction(left))).await;
        producer.context().take_failures();
        match aborted {
            Ok(()) => self.open = false,
            Err(error) => {
                tracing::debug!(%error, "a transaction could not be aborted: a new producer ends it");
                self.producer = None;
            }
        }
    }

    /// Notes refused records. Where a batch was refused as a whole, it is first sent record by record. Refused one after the
    /// other, it is not the records' fault: then none of them is set aside.
    fn leave_out(&mut self, records: &[Record<'_>], refused: &[(usize, &'static str)]) -> Result<(), SinkError> {
        if refused.len() > 1 && !self.alone {
            self.alone = true;
            self.producer = None;
            return Ok(());
        }
        for (number, reason) in refused {
            if let Some(Record { lane, sequence, body }) = records.get(*number).copied() {
                self.refused.insert((lane, sequence), Refused { reason, body: body.to_vec() });
            }
        }
        if self.refused.len() <= REFUSED_ROWS_MAX {
            return Ok(());
        }
        self.refused.clear();
        let reason = refused.first().map_or("", |(_, reason)| *reason);
        Err(SinkError::Fatal(format!(
            "Kafka at {} refuses record after record of {}: {reason}: mend the settings of the topic, or this machine's clock",
            self.settings.brokers, self.settings.topic
        )))
    }

    /// Keeps what is left out. The checkpoint passes it only afterwards.
    fn set_aside(&self) -> Result<(), SinkError> {
        for ((lane, sequence), Refused { reason, body }) in &self.refused {
            self.aside.keep(*lane, *sequence, body, reason, self.clock.now()).map_err(|error| {
                SinkError::Retry(format!("a record cannot be set aside in DATA/set-aside: {error}"))
            })?;
            tracing::warn!(%lane, sequence, reason, "a record was refused and is set aside");
        }
        Ok(())
    }

    async fn store_all(&mut self, batches: &[Batch]) -> Result<Stored, SinkError> {
        loop {
            let producer = self.ready().await?;
            let records = self.wanted(batches);
            let positions: Vec<(LaneId, Option<u64>)> = batches
                .iter()
                .filter(|batch| self.held.get(&batch.lane).is_none_or(|held| *held < batch.next))
                .map(|batch| (batch.lane, Some(batch.next)))
                .collect();
            if positions.is_empty() {
                return Ok(Stored::default());
            }
            match self.transaction(&producer, &records, &positions).await {
                Ok(()) => {
                    let stored = Stored { events: records.len() as u64, set_aside: self.refused.len() as u64 };
                    self.held.extend(positions.iter().filter_map(|(lane, next)| next.map(|next| (*lane, next))));
                    self.refused.clear();
                    if std::mem::take(&mut self.alone) {
                        self.producer = None;
                    }
                    return Ok(stored);
                }
                Err(Failed::Refused(refused)) => self.leave_out(&records, &refused)?,
                Err(Failed::Sink(error)) => return Err(error),
            }
        }
    }
}

impl Sink for KafkaSink {
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>> {
        Box::pin(async move {
            // Whose lanes are taken over now is dead, or has drained them: see the head of the room.
            if self.producer.is_some() {
                self.end_abandoned().await?;
                self.held = self.read_positions().await?;
            }
            self.ready().await?;
            Ok(self.held.clone())
        })
    }

    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(self.store_all(batches))
    }

    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let producer = self.ready().await?;
            match self.transaction(&producer, &[], &[(lane, None)]).await {
                Ok(()) => drop(self.held.remove(&lane)),
                Err(Failed::Sink(error)) => return Err(error),
                Err(Failed::Refused(_)) => {}
            }
            Ok(())
        })
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        // Where a transaction is open, whoever takes over the lanes ends it.
        if let (Some((_, slot)), false) = (&mut self.own, self.open) {
            let _ = slot.ended();
        }
    }
}
