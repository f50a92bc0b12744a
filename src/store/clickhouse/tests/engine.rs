//! A database of its own for each case, with the tables of `config/clickhouse`, dropped behind it.

use std::time::Duration;

use clickhouse::Client;
use uuid::Uuid;

use crate::{
    config::{secret::Secret, stores},
    core::event::Event,
    store::rows,
};

pub(super) struct Database {
    pub(super) config: stores::ClickHouse,
    pub(super) client: Client,
}

impl Database {
    pub(super) async fn new() -> Database {
        let config = stores::ClickHouse {
            url: crate::testing::clickhouse().to_owned(),
            database: format!("case_{}", Uuid::new_v4().simple()),
            user: String::new(),
            password: Secret::default(),
            cluster: String::new(),
            compression: stores::Compression::Lz4,
            retention: Duration::ZERO,
            timeout: Duration::from_secs(60),
        };
        let client = Client::default().with_url(&config.url);
        let database = Database { config, client };
        for file in ["000_schema_versions", "001_events", "002_rollups", "003_names"] {
            let text = std::fs::read_to_string(format!("{}/config/clickhouse/{file}.sql", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let text: String = text.lines().map(|l| l.split("--").next().unwrap()).collect::<Vec<_>>().join("\n");
            let text = text.replace("{database}", &database.config.database).replace("{on_cluster}", "").replace("{merge_tree}", "MergeTree")
                .replace("{aggregating}", "AggregatingMergeTree").replace("{replacing:at}", "ReplacingMergeTree(at)").replace("{replacing:written_at}", "ReplacingMergeTree(written_at)")
                .replace("{window}", "non_replicated_deduplication_window = 1000");
            for statement in text.split(';').map(str::trim).filter(|s| !s.is_empty()) {
                database.run(statement).await;
            }
        }
        database
    }

    pub(super) async fn run(&self, text: &str) {
        self.client.query_raw(text).execute().await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    pub(super) async fn insert(&self, events: &[Event], first: u64) {
        if events.is_empty() { return; }
        let mut body = String::new();
        for (offset, event) in (first..).zip(events) {
            let cells = rows::event(event);
            let mut object = serde_json::Map::new();
            for (column, cell) in rows::EVENT_COLUMNS.iter().zip(&cells) {
                let value = match cell {
                    rows::Cell::Number(n) => (*n).into(),
                    rows::Cell::Text(t) if matches!(*column, "visitor" | "click") => if t.is_empty() { serde_json::Value::Null } else { uuid::Uuid::parse_str(t).unwrap().to_string().into() },
                    rows::Cell::Text(t) if *column == "time" => t.trim_end_matches('Z').replace('T', " ").into(),
                    rows::Cell::Text(t) => t.clone().into(),
                };
                object.insert((*column).to_owned(), value);
            }
            object.insert("source".into(), "t".into());
            object.insert("offset".into(), offset.into());
            body += &serde_json::to_string(&object).unwrap();
            body.push('\n');
        }
        self.run(&format!("INSERT INTO {}.events FORMAT JSONEachRow {body}", self.config.database)).await;
    }

    pub(super) async fn drop(self) {
        self.run(&format!("DROP DATABASE {} SYNC", self.config.database)).await;
    }
}
