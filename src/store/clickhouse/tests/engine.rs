//! A database of its own for each case, dropped behind it: one engine serves them all.

use std::time::Duration;

use prost::Message;

use crate::{
    config::{secret::Secret, stores},
    core::{event::Event, time::Millis},
    store::{
        clickhouse::{Block, Store},
        record,
    },
    testing::{Part, Stack, unique},
};

pub(super) struct Database {
    pub(super) store: Store,
    pub(super) name: String,
}

impl Database {
    pub(super) async fn new() -> Database {
        let name = unique("case");
        let settings = stores::ClickHouse {
            url: Stack::shared(&[Part::Clickhouse]).clickhouse_url(),
            database: name.clone(),
            user: String::new(),
            password: Secret::default(),
            cluster: String::new(),
            compression: stores::Compression::Lz4,
            retention: Duration::ZERO,
            timeout: Duration::from_secs(60),
        };
        let store = Store::new(&settings).unwrap();
        for change in store.pending().await.unwrap() {
            store.apply(&change).await.unwrap();
        }
        Database { store, name }
    }

    /// As one block of one source, as the loader does.
    pub(super) async fn insert(&self, events: &[Event], first: u64) {
        self.store.insert(&block(events, first), &format!("from {first}")).await.unwrap();
    }

    /// The same by a loader that does not know whether it was loaded, under a token that nobody remembers.
    pub(super) async fn replay(&self, events: &[Event], first: u64) {
        self.store.recover(&block(events, first), &format!("again from {first}")).await.unwrap();
    }

    pub(super) async fn run(&self, text: &str) {
        self.store.ask(text).execute().await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    pub(super) async fn drop(self) {
        self.run(&format!("DROP DATABASE {}", self.name)).await;
    }
}

fn block(events: &[Event], first: u64) -> Block {
    let mut block = Block::new("tests", 0);
    for (offset, event) in (first..).zip(events) {
        let bytes = event.encode_to_vec();
        block.push(offset, &record::decode(&bytes).unwrap(), Millis(0));
    }
    block
}
