//! The sink without Kafka: journal lanes straight into ClickHouse.
//!
//! A row's source is its lane, its offset the sequence number. ClickHouse cannot store rows and a position in one step, so
//! the order is: records that are no events aside, the rows, then the positions. What may happen in between:
//!
//! - *Killed before the rows are complete, or before the positions are written*: the next start reads from the older
//!   position. A lane that this process has not seen yet is unsure: inserts of it that still run are ended, and below the
//!   highest offset that was ever loaded each batch goes through [`Store::recover`], which asks what is there. The batches
//!   need not be cut as they were before.
//! - *An error, or no answer in time*: the same; every lane is unsure again.
//! - *Damaged sequences*: gaps in the offsets. Nothing counts on their absence.
//! - *Records set aside twice*: one row.
//!
//! One hole is left, and Kafka's way does not have it, because there the exact range is written down before it is tried: an
//! insert of a killed process that something in between (a proxy) holds back until after the next start, and that was cut
//! elsewhere. Let nothing that stores whole requests stand between this sink and ClickHouse.
//!
//! All sure lanes of a batch travel in one insert: each insert makes a part in five tables, and parts are what ClickHouse
//! has to merge.

use std::collections::HashMap;

use super::{
    super::{Batch, BoxFuture, Sink, SinkError, Stored, record},
    Store,
    beside::Aside,
    block::{Block, Rows},
    error::StoreError,
    store::query_name,
};
use crate::{core::id::LaneId, io::clock::Clock};

/// Stores journal lanes in ClickHouse.
#[derive(Debug)]
pub struct ClickHouseSink {
    store: Store,
    clock: Clock,
    checked: bool,
    lanes: Lanes,
}

type Lanes = HashMap<LaneId, Lane>;

/// What is known of a lane.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Everything below is stored.
    next: u64,
    /// From here on nothing was ever tried.
    untried: u64,
}

/// What one call has to store.
#[derive(Default)]
struct Work {
    /// Never tried before.
    fresh: Vec<Block>,
    /// Nobody knows how far it came.
    unsure: Vec<Block>,
    aside: Vec<Aside>,
}

impl ClickHouseSink {
    pub fn new(store: Store, clock: Clock) -> ClickHouseSink {
        ClickHouseSink { store, clock, checked: false, lanes: Lanes::new() }
    }

    async fn check(&mut self) -> Result<(), StoreError> {
        if !self.checked {
            self.store.check_schema().await?;
            self.checked = true;
        }
        Ok(())
    }

    async fn read_positions(&mut self) -> Result<HashMap<LaneId, u64>, StoreError> {
        self.check().await?;
        let positions = self.store.positions().await?;
        Ok(positions.into_iter().filter_map(|(lane, next)| Some((lane.parse().ok()?, next))).collect())
    }

    /// Finds out what is there of lanes that this process does not know yet.
    async fn meet(&mut self, lanes: &mut Lanes, batches: &[Batch]) -> Result<(), StoreError> {
        let strangers: Vec<LaneId> =
            batches.iter().map(|batch| batch.lane).filter(|lane| !lanes.contains_key(lane)).collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let positions = self.read_positions().await?;
        for lane in strangers {
            let source = lane.to_string();
            self.store.fence(&source, 0).await?;
            let next = positions.get(&lane).copied().unwrap_or(0);
            let untried = self.store.next_offset(&source, 0).await?.unwrap_or(0);
            lanes.insert(lane, Lane { next, untried });
        }
        Ok(())
    }

    /// Decodes what is not stored yet, and moves the lanes on.
    fn sort_out(&self, lanes: &mut Lanes, batches: &[Batch]) -> Work {
        let now = self.clock.now();
        let mut work = Work::default();
        for batch in batches {
            let Some(lane) = lanes.get_mut(&batch.lane) else { continue };
            let source = batch.lane.to_string();
            let mut block = Block::new(&source, 0);
            for (sequence, body) in batch.records.iter().filter(|(sequence, _)| *sequence >= lane.next) {
                match record::decode(body) {
                    Ok(event) => block.push(*sequence, &event, now),
                    Err(reason) => {
                        let (source, body) = (source.clone(), body.clone());
                        work.aside.push(Aside { source, partition: 0, offset: *sequence, reason, body, at: now });
                    }
                }
            }
            lane.next = lane.next.max(batch.next);
            if let Some(range) = block.range() {
                if range.start < lane.untried {
                    work.unsure.push(block);
                } else {
                    work.fresh.push(block);
                }
                lane.untried = lane.untried.max(range.end);
            }
        }
        work
    }

    async fn store_all(&mut self, lanes: &mut Lanes, batches: &[Batch]) -> Result<Stored, StoreError> {
        self.check().await?;
        self.meet(lanes, batches).await?;
        let work = self.sort_out(lanes, batches);
        self.store.set_aside(&work.aside).await?;
        let rows: usize = work.fresh.iter().chain(&work.unsure).map(Block::rows).sum();
        let mut refused = Vec::new();
        for block in &work.unsure {
            refused.extend(self.carefully(block, batches).await?);
        }
        match self.insert_together(&work.fresh).await {
            Err(StoreError::Data(_)) => {
                for block in &work.fresh {
                    refused.extend(self.carefully(block, batches).await?);
                }
            }
            result => result?,
        }
        self.store.set_aside(&refused).await?;
        let moved = batches.iter().filter_map(|batch| Some((batch.lane.to_string(), lanes.get(&batch.lane)?.next)));
        self.store.set_positions(&moved.collect::<Vec<_>>()).await?;
        Ok(Stored { events: (rows - refused.len()) as u64, set_aside: (work.aside.len() + refused.len()) as u64 })
    }

    /// One insert for blocks of several lanes.
    async fn insert_together(&self, blocks: &[Block]) -> Result<(), StoreError> {
        let (mut rows, mut tokens, mut names) = (Rows::new(), Vec::new(), Vec::new());
        for block in blocks {
            rows.append(&block.rows);
            tokens.push(block.token());
            names.push(query_name(&block.source, block.partition));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let token = blake3::hash(tokens.join(" ").as_bytes()).to_hex();
        self.store.insert_rows(&rows, &names.concat(), &token).await
    }

    /// Completes a block that may be there in part; what the tables refuse comes back.
    async fn carefully(&self, block: &Block, batches: &[Batch]) -> Result<Vec<Aside>, StoreError> {
        match self.store.recover(block, &block.token()).await {
            Err(StoreError::Data(_)) => {}
            result => return result.map(|()| Vec::new()),
        }
        let refused = self.store.salvage(block, &block.token()).await?;
        let body = |offset: u64| {
            let mut records = batches.iter().filter(|batch| batch.lane.to_string() == block.source);
            let found = records.find_map(|batch| batch.records.iter().find(|(sequence, _)| *sequence == offset));
            found.map(|(_, body)| body.clone()).unwrap_or_default()
        };
        let aside = |(offset, reason)| Aside {
            source: block.source.clone(),
            partition: block.partition,
            offset,
            reason,
            body: body(offset),
            at: self.clock.now(),
        };
        Ok(refused.into_iter().map(aside).collect())
    }
}

impl Sink for ClickHouseSink {
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>> {
        Box::pin(async { Ok(self.read_positions().await?) })
    }

    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move {
            // Until this ends well nobody knows what of these lanes is there, also when this future is dropped.
            let mut lanes = std::mem::take(&mut self.lanes);
            match self.store_all(&mut lanes, batches).await {
                Ok(stored) => {
                    self.lanes = lanes;
                    Ok(stored)
                }
                Err(error) => {
                    lanes.retain(|lane, _| batches.iter().all(|batch| batch.lane != *lane));
                    self.lanes = lanes;
                    self.checked = false;
                    Err(error.into())
                }
            }
        })
    }

    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.lanes.remove(&lane);
            Ok(self.store.forget_position(&lane.to_string()).await?)
        })
    }
}
