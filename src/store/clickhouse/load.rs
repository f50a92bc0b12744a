//! Where the loader's ranges go: a row's source is its topic, its partition and offset are Kafka's.

use tokio::sync::OnceCell;

use super::{
    super::{BoxFuture, Range, RangeSink, SinkError, Stored, record},
    Store,
    beside::Aside,
    block::Block,
    error::StoreError,
};
use crate::io::clock::Clock;

/// Loads the ranges of one topic.
#[derive(Debug)]
pub struct ClickHouseTable {
    store: Store,
    /// Under which name rows carry their topic.
    source: String,
    clock: Clock,
    checked: OnceCell<()>,
}

impl ClickHouseTable {
    /// Nothing is asked of the server yet.
    pub fn new(store: Store, source: String, clock: Clock) -> ClickHouseTable {
        ClickHouseTable { store, source, clock, checked: OnceCell::new() }
    }

    /// The range as rows, and what of it cannot be one.
    fn sort_out(&self, range: &Range) -> (Block, Vec<Aside>) {
        let now = self.clock.now();
        let (mut block, mut aside) = (Block::new(&self.source, range.partition), Vec::new());
        for (offset, body) in &range.records {
            match record::decode(body) {
                Ok(event) => block.push(*offset, &event, now),
                Err(reason) => aside.push(self.aside(range.partition, *offset, body.clone(), reason)),
            }
        }
        (block, aside)
    }

    fn aside(&self, partition: u32, offset: u64, body: Vec<u8>, reason: String) -> Aside {
        Aside { source: self.source.clone(), partition, offset, reason, body, at: self.clock.now() }
    }

    async fn load_all(&self, range: &Range, doubtful: bool) -> Result<Stored, StoreError> {
        let (block, aside) = self.sort_out(range);
        self.store.set_aside(&aside).await?;
        let token = block.token();
        let loaded =
            if doubtful { self.store.recover(&block, &token).await } else { self.store.insert(&block, &token).await };
        let refused = match loaded {
            Ok(()) => Vec::new(),
            Err(StoreError::Data(_)) => self.store.salvage(&block, &token).await?,
            Err(error) => return Err(error),
        };
        let body = |offset| match range.records.binary_search_by_key(&offset, |(offset, _)| *offset) {
            Ok(at) => range.records[at].1.clone(),
            Err(_) => Vec::new(),
        };
        let refused: Vec<Aside> = refused
            .into_iter()
            .map(|(offset, reason)| self.aside(range.partition, offset, body(offset), reason))
            .collect();
        self.store.set_aside(&refused).await?;
        Ok(Stored { events: (block.rows() - refused.len()) as u64, set_aside: (aside.len() + refused.len()) as u64 })
    }
}

impl RangeSink for ClickHouseTable {
    fn take_over(&self, partition: u32) -> BoxFuture<'_, Result<u64, SinkError>> {
        Box::pin(async move {
            self.checked.get_or_try_init(|| self.store.check_schema()).await?;
            self.store.fence(&self.source, partition).await?;
            Ok(self.store.next_offset(&self.source, partition).await?.unwrap_or(0))
        })
    }

    fn load<'a>(&'a self, range: &'a Range, doubtful: bool) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move { Ok(self.load_all(range, doubtful).await?) })
    }
}
