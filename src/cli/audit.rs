//! `fingerpost audit`: who changed what, on the machine that has the catalog.

use std::io;

use crate::{
    api::audit::table,
    catalog::{Catalog, audit::AuditQuery},
    core::limits::PAGE_MAX_ROWS,
    io::clock::Clock,
    store::question::{self, Words},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who did it: token:admin, cli:jane, system:retention; "cli:*" for all that begin so
    #[arg(long)]
    who: Option<String>,
    /// program, link, partner, ad, share_link, webhook, referral, reward, person, …
    #[arg(long)]
    kind: Option<String>,
    /// The item's code, or id
    #[arg(long)]
    code: Option<String>,
    /// create, update, delete, import, issue, qualify, reject, erase, …
    #[arg(long)]
    action: Option<String>,
    /// A length of time until now (7d) or a time
    #[arg(long)]
    since: Option<String>,
    /// The same, not included
    #[arg(long)]
    until: Option<String>,
    /// At most so many rows, the newest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX_ROWS)))]
    limit: u32,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let words = Words { since: args.since.as_deref(), until: args.until.as_deref(), ..Words::default() };
    let times = question::filter(&words, Clock::System.now())?;
    let query = AuditQuery {
        who: args.who,
        kind: args.kind,
        code: args.code.map(|code| code.to_lowercase()),
        action: args.action,
        since: times.since,
        until: times.until,
        cursor: None,
        limit: args.limit,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let catalog = Catalog::open(config.catalog.url.expose(), false, Clock::System).await?;
        let rows = table(&catalog.audit(&query).await?.items);
        catalog.close().await;
        match args.format {
            Format::Csv => rows.write_csv(io::stdout().lock())?,
            Format::Json => rows.write_json(io::stdout().lock())?,
        }
        Ok(())
    })
}
