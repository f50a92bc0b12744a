//! `fingerpost migrate`: brings what the configuration names up to this program's version: what is missing is made, and
//! nothing is done twice.

use anyhow::{Context, bail};

use crate::{
    config::Config,
    store::clickhouse::{self, Store},
};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Something that has a schema of its own.
enum Part {
    ClickHouse(Store),
}

impl Part {
    /// Those that the configuration names, in the order in which they are brought up to date.
    fn configured(config: &Config) -> anyhow::Result<Vec<Part>> {
        let mut parts = Vec::new();
        if !config.clickhouse.url.is_empty() {
            parts.push(Part::ClickHouse(Store::new(&config.clickhouse)?));
        }
        Ok(parts)
    }

    fn name(&self) -> &'static str {
        match self {
            Part::ClickHouse(_) => "ClickHouse",
        }
    }

    /// What it has when nothing is missing.
    fn goal(&self) -> String {
        match self {
            Part::ClickHouse(_) => format!("schema version {}", clickhouse::VERSION),
        }
    }

    /// Says each change, and makes it unless this is a dry run.
    async fn migrate(&self, dry_run: bool) -> anyhow::Result<()> {
        let say = |what: &str| println!("{}: {}{what}", self.name(), if dry_run { "would " } else { "" });
        match self {
            Part::ClickHouse(store) => {
                let changes = store.pending().await?;
                for change in &changes {
                    say(&change.what);
                    if !dry_run {
                        store.apply(change).await.with_context(|| format!("could not {}", change.what))?;
                    }
                }
                if changes.is_empty() {
                    println!("{}: up to date ({})", self.name(), self.goal());
                }
                if !dry_run {
                    store.check_schema().await?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let parts = Part::configured(&global.load()?)?;
    if parts.is_empty() {
        bail!("there is nothing to migrate: clickhouse.url is empty (the SQLite files are brought up to date by themselves)");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for part in &parts {
            part.migrate(args.dry_run).await.with_context(|| format!("{} was not migrated", part.name()))?;
        }
        Ok(())
    })
}
