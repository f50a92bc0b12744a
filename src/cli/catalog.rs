//! `fingerpost catalog`: the catalog as a whole.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    catalog::{Catalog, Copied, CopyError},
    io::clock::Clock,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy a whole catalog into another database, and prove that nothing was left
    ///
    /// Stop the servers first, and start them with the new `catalog.url` afterwards: nobody can write to either catalog
    /// meanwhile, and what comes behind is not copied. Edges go on from where they were. A password need not stand in the address: PGPASSWORD and ~/.pgpass are
    /// read as well.
    Copy {
        /// sqlite:PATH or postgres://user:password@host/database; `config` is the configured catalog
        source: String,
        /// The same; an empty database
        target: String,
        /// Lose what the target holds
        #[arg(long)]
        replace: bool,
    },
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let What::Copy { source, target, replace } = args.what;
    let resolve = |url: String| match url.as_str() {
        "config" => anyhow::Ok(global.load()?.catalog.url.expose().to_owned()),
        _ => Ok(url),
    };
    let (source, target) = (resolve(source)?, resolve(target)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let source = Catalog::open(&source, false, Clock::System).await.map_err(CopyError::Source)?;
        let target = Catalog::open(&target, true, Clock::System).await.map_err(CopyError::Target)?;
        let bar = bar();
        let result = source
            .copy_to(&target, replace, |progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(progress.table);
            })
            .await;
        bar.finish_and_clear();
        let places = format!("{} to {}", source.place(), target.place());
        source.close().await;
        target.close().await;
        match result {
            Ok(copied) => {
                print(&copied);
                let rows: u64 = copied.iter().map(|table| table.target.rows).sum();
                println!("{rows} rows copied from {places} in {:.1} s; all are there", started.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                if let CopyError::Different(copied) = &error {
                    print(copied);
                }
                Err(error.into())
            }
        }
    })
}

fn print(copied: &[Copied]) {
    println!("{:<16} {:>12} {:>12}  checksum", "table", "source", "target");
    for Copied { table, source, target } in copied {
        let checksum = if source.checksum == target.checksum {
            format!("{:032x}", source.checksum)
        } else {
            format!("{:032x} is not {:032x}", source.checksum, target.checksum)
        };
        println!("{table:<16} {:>12} {:>12}  {checksum}", source.rows, target.rows);
    }
}

/// A bar over the rows, each written and read back; nothing where nobody watches.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {msg}, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
