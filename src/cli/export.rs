//! `fingerpost export`: the catalog as CSV (which `import` reads back without loss) or as one JSON object a line.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;

use super::export_events;
use crate::{
    catalog::{Ad, Catalog, Entity, Link, ListQuery, Partner, Program, ShareLink, sheet::neutralise},
    core::limits::PAGE_MAX_ROWS,
    io::clock::Clock,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Programs
    Programs(Out),
    /// Links
    Links(Out),
    /// Partners
    Partners(Out),
    /// Ads of all partners
    Ads(Out),
    /// Share links
    ShareLinks(Out),
    /// The rows of history
    Events(export_events::Args),
}

#[derive(Debug, clap::Args)]
struct Out {
    /// The file to write; standard output where none is given
    file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    if let What::Events(args) = args.what {
        return export_events::run(global, args);
    }
    let config = global.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let catalog = Catalog::open(config.catalog.url.expose(), false, Clock::System).await?;
        let result = match &args.what {
            What::Programs(out) => export::<Program>(&catalog, out).await,
            What::Links(out) => export::<Link>(&catalog, out).await,
            What::Partners(out) => export::<Partner>(&catalog, out).await,
            What::Ads(out) => export::<Ad>(&catalog, out).await,
            What::ShareLinks(out) => export::<ShareLink>(&catalog, out).await,
            What::Events(_) => Ok(()),
        };
        catalog.close().await;
        result
    })
}

/// Page by page, in the order of codes: items that are written meanwhile may be in or not.
async fn export<T: Entity>(catalog: &Catalog, out: &Out) -> anyhow::Result<()> {
    let mut file: Box<dyn Write> = match &out.file {
        Some(path) => Box::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?),
        None => Box::new(io::stdout().lock()),
    };
    match pages::<T>(catalog, out.format, &mut BufWriter::with_capacity(1 << 16, &mut file)).await {
        // Whoever reads has seen enough, for example `head`.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

async fn pages<T: Entity>(catalog: &Catalog, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    let mut query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
    if format == Format::Csv {
        csv::Writer::from_writer(&mut *out).write_record(T::FIELDS)?;
    }
    loop {
        let page = catalog.list::<T>(&query).await?;
        match format {
            Format::Csv => {
                let mut sheet = csv::Writer::from_writer(&mut *out);
                for item in &page.items {
                    sheet.write_record(item.cells().iter().map(|cell| neutralise(cell).into_owned()))?;
                }
                sheet.flush()?;
            }
            Format::Ndjson => {
                for item in &page.items {
                    serde_json::to_writer(&mut *out, item)?;
                    out.write_all(b"\n")?;
                }
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(out.flush()?);
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |io: &io::Error| io.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(kind)
            || cause.downcast_ref::<csv::Error>().is_some_and(
                |error| matches!(error.kind(), csv::ErrorKind::Io(io) if io.kind() == io::ErrorKind::BrokenPipe),
            )
    })
}
