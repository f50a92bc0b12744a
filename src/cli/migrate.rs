//! `fingerpost migrate`: brings what the configuration names up to this program's version: what is missing is made, and
//! nothing is done twice.

use anyhow::{Context, bail};

use crate::{
    catalog::{self, Catalog},
    config::{Config, stores::Kafka},
    io::clock::Clock,
    store::{
        clickhouse::{self, Store},
        kafka::topics::{self, Topics},
    },
};

/// Copies of a topic, where there are enough brokers.
const REPLICAS: i32 = 3;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Partitions of the events topic, when it is made: as many loaders can share it
    #[arg(long, value_name = "COUNT", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Copies of a topic, when it is made [default: 3, or as many as there are brokers]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=100))]
    replicas: Option<i32>,
}

/// Something that has a schema of its own.
enum Part {
    Kafka(Box<Kafka>),
    ClickHouse(Store),
    PostgreSql(Catalog),
}

impl Part {
    /// Those that the configuration names, in the order in which they are brought up to date.
    fn configured(config: &Config) -> anyhow::Result<Vec<Part>> {
        let mut parts = Vec::new();
        if !config.kafka.brokers.is_empty() {
            parts.push(Part::Kafka(Box::new(config.kafka.clone())));
        }
        if !config.clickhouse.url.is_empty() {
            parts.push(Part::ClickHouse(Store::new(&config.clickhouse)?));
        }
        if config.catalog.url.sqlite_path().is_none() {
            parts.push(Part::PostgreSql(Catalog::configured(config, Clock::System)?));
        }
        Ok(parts)
    }

    fn name(&self) -> &'static str {
        match self {
            Part::Kafka(_) => "Kafka",
            Part::ClickHouse(_) => "ClickHouse",
            Part::PostgreSql(_) => "PostgreSQL",
        }
    }

    /// Says each change, and makes it unless this is a dry run.
    async fn migrate(&self, args: Args) -> anyhow::Result<()> {
        let dry_run = args.dry_run;
        let say = |what: &str| println!("{}: {}{what}", self.name(), if dry_run { "would " } else { "" });
        match self {
            Part::Kafka(settings) => {
                let topics = Topics::new(settings, &Clock::System)?;
                let missing = topics.missing(&topics::needed(settings, args.partitions))?;
                let replicas = match args.replicas {
                    Some(replicas) => replicas,
                    None => topics.brokers()?.clamp(1, REPLICAS),
                };
                for topic in &missing {
                    let (name, partitions) = (&topic.name, topic.partitions);
                    say(&format!("make the topic {name} ({partitions} partitions, {replicas} replicas)"));
                }
                if missing.is_empty() {
                    println!("Kafka: up to date (topics {} and {})", settings.topic, settings.checkpoints);
                } else if !dry_run {
                    topics.create(&missing, replicas).await?;
                }
                if missing.iter().all(|topic| topic.name != settings.checkpoints) {
                    topics.check_compaction().await?;
                }
            }
            Part::ClickHouse(store) => {
                let changes = store.pending().await?;
                for change in &changes {
                    say(&change.what);
                    if !dry_run {
                        store.apply(change).await.with_context(|| format!("could not {}", change.what))?;
                    }
                }
                if changes.is_empty() {
                    println!("{}: up to date (schema version {})", self.name(), clickhouse::VERSION);
                }
                if !dry_run {
                    store.check_schema().await?;
                }
            }
            Part::PostgreSql(catalog) => {
                let changes = catalog.pending().await?;
                for change in &changes {
                    say(change);
                }
                if changes.is_empty() {
                    println!("{}: up to date (schema version {})", self.name(), catalog::schema_version());
                } else if !dry_run {
                    catalog.ready().await?;
                }
                catalog.close().await;
            }
        }
        Ok(())
    }
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let parts = Part::configured(&config)?;
        if parts.is_empty() {
            bail!(
                "there is nothing to migrate: kafka.brokers and clickhouse.url are empty, and the catalog is in SQLite (SQLite \
                 files are brought up to date by themselves)"
            );
        }
        for part in &parts {
            part.migrate(args).await.with_context(|| format!("{} was not migrated", part.name()))?;
        }
        Ok(())
    })
}
