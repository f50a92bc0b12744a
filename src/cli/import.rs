//! `fingerpost import`: items from a CSV file, in one transaction.
//!
//! A thread reads and checks lines while the catalog stores the ones before. By default nothing is imported when a line is
//! bad; with `--skip-bad` the good ones are, and the bad ones go to a file of their own with the reason. Facts about people (leads,
//! conversions) have a way of their own (`facts`), with the same switches.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use csv::{ByteRecord, StringRecord};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::{
    catalog::{
        Ad, Bulk, Catalog, Entity, Link, Mistake, Partner, Program, Refused, Row, ShareLink,
        audit::{Caller, as_caller},
        entity,
        sheet::{Header, Line, REASON},
        uploads::UploadKind,
    },
    io::{clock::Clock, user::user},
};

mod facts;

/// Bad lines that are printed.
const PRINTED_MAX: usize = 20;
/// Lines of one step.
const BATCH_LINES: usize = 1_024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the file holds
    kind: Kind,
    /// The CSV file; its first line names the columns like the API's fields, in any order; `-` reads standard input
    file: PathBuf,
    /// Import the good lines and put the bad ones aside
    #[arg(long)]
    skip_bad: bool,
    /// Where bad lines go, with the reason [default: FILE.refused.csv]
    #[arg(long, value_name = "FILE", requires = "skip_bad")]
    refused: Option<PathBuf>,
    /// Check everything, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Programs,
    Links,
    Partners,
    Ads,
    ShareLinks,
    Leads,
    Conversions,
}

impl Kind {
    const fn plural(self) -> &'static str {
        match self {
            Kind::Programs => "programs",
            Kind::Links => "links",
            Kind::Partners => "partners",
            Kind::Ads => "ads",
            Kind::ShareLinks => "share links",
            Kind::Leads => "leads",
            Kind::Conversions => "conversions",
        }
    }
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let catalog = Catalog::configured(&config, Clock::System)?;
        catalog.ready().await?;
        let import = async |args: &Args| match args.kind {
            Kind::Programs => import::<Program>(&catalog, args).await,
            Kind::Links => import::<Link>(&catalog, args).await,
            Kind::Partners => import::<Partner>(&catalog, args).await,
            Kind::Ads => import::<Ad>(&catalog, args).await,
            Kind::ShareLinks => import::<ShareLink>(&catalog, args).await,
            Kind::Leads => facts::import(&config, &catalog, UploadKind::Leads, args).await,
            Kind::Conversions => facts::import(&config, &catalog, UploadKind::Conversions, args).await,
        };
        let result = Box::pin(as_caller(Caller::cli(&user()), import(&args))).await;
        catalog.close().await;
        result
    })
}

async fn import<T: Entity>(catalog: &Catalog, args: &Args) -> anyhow::Result<()> {
    let (name, progress) = (args.file.display().to_string(), progress(&args.file));
    let mut sheet = csv::ReaderBuilder::new().flexible(true).from_reader(progress.wrap_read(open(&args.file)?));
    let names = sheet.headers().with_context(|| format!("{name} cannot be read"))?.clone();
    let header = Header::new::<T>(names.iter()).map_err(|problem| anyhow::anyhow!("{name}, line 1: {problem}"))?;
    let mut aside = Aside::new(args, names);
    let started = Instant::now();

    let mut bulk: Bulk<T, ByteRecord> = Bulk::begin(catalog).await?;
    let (send, mut batches) = mpsc::channel(4);
    let reader = std::thread::spawn(move || read_lines::<T>(sheet, &header, &send));
    while let Some(Lines { good, bad }) = batches.recv().await {
        aside.take(bad)?;
        aside.take(bulk.add(good).await?)?;
    }
    reader.join().map_err(|_| anyhow::anyhow!("the reading thread ended early"))??;
    aside.take(bulk.settle().await?)?;
    progress.finish_and_clear();

    let (kind, stored) = (args.kind.plural(), bulk.stored());
    let summary = aside.finish()?;
    if aside.count > 0 && !args.skip_bad {
        bulk.rollback().await?;
        bail!(
            "{name}: {} of {} lines are bad, nothing was imported:\n{summary}\nmend them, or use --skip-bad to import the others",
            aside.count,
            aside.count + stored
        );
    }
    if args.dry_run {
        bulk.rollback().await?;
        println!("{stored} {kind} could be imported; nothing was changed (--dry-run)");
    } else {
        bulk.commit().await?;
        println!("{stored} {kind} imported in {:.1} s", started.elapsed().as_secs_f64());
    }
    if aside.count > 0 {
        println!("{} lines refused, see {}:\n{summary}", aside.count, aside.path.display());
    }
    Ok(())
}

/// Lines that were read together.
struct Lines<T> {
    good: Vec<Row<T, ByteRecord>>,
    bad: Vec<Refused<ByteRecord>>,
}

/// Reads to the end of the file, or until nobody listens any more.
fn read_lines<T: Entity>(
    mut sheet: csv::Reader<impl Read>,
    header: &Header,
    send: &mpsc::Sender<Lines<T>>,
) -> anyhow::Result<()> {
    loop {
        let mut lines = Lines { good: Vec::with_capacity(BATCH_LINES), bad: Vec::new() };
        let mut more = true;
        while more && lines.good.len() + lines.bad.len() < BATCH_LINES {
            let mut cargo = ByteRecord::new();
            more = sheet.read_byte_record(&mut cargo)?;
            if more {
                let line = cargo.position().map_or(0, csv::Position::line);
                match read_line::<T>(header, &cargo) {
                    Ok(item) => lines.good.push(Row { line, item, cargo }),
                    Err(mistakes) => lines.bad.push(Refused { line, mistakes, cargo }),
                }
            }
        }
        if send.blocking_send(lines).is_err() || !more {
            return Ok(());
        }
    }
}

fn read_line<T: Entity>(header: &Header, record: &ByteRecord) -> Result<T, Vec<Mistake>> {
    if record.len() != header.len() {
        let problem =
            format!("has {} cells, the first line has {}: check commas and quotes", record.len(), header.len());
        return Err(vec![Mistake::new("line", problem)]);
    }
    let record = StringRecord::from_byte_record(record.clone()).map_err(|error| {
        let cell = error.utf8_error().field() + 1;
        vec![Mistake::new("line", format!("is not UTF-8 in cell {cell}: save the file as UTF-8"))]
    })?;
    entity::read(&mut Line::new(header, &record))
}

fn open(file: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Box::new(opened))
}

/// A bar over the bytes of the file; nothing where nobody watches.
fn progress(file: &Path) -> ProgressBar {
    let length = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The bad lines: the first ones for the screen, all of them for the file.
struct Aside {
    header: StringRecord,
    path: PathBuf,
    write: bool,
    file: Option<csv::Writer<File>>,
    printed: Vec<String>,
    count: u64,
}

impl Aside {
    fn new(args: &Args, header: StringRecord) -> Aside {
        let path = args.refused.clone().unwrap_or_else(|| {
            let name = if args.file == Path::new("-") { "stdin".as_ref() } else { args.file.as_os_str() };
            let mut name = name.to_owned();
            name.push(".refused.csv");
            name.into()
        });
        Aside { header, path, write: args.skip_bad, file: None, printed: Vec::new(), count: 0 }
    }

    fn take(&mut self, refused: Vec<Refused<ByteRecord>>) -> anyhow::Result<()> {
        for Refused { line, mistakes, cargo } in refused {
            let reasons: Vec<String> = mistakes.iter().map(|m| format!("{}: {}", m.field, m.problem)).collect();
            self.take_line(line, &reasons.join("; "), &cargo)?;
        }
        Ok(())
    }

    fn take_line(&mut self, line: u64, reason: &str, cargo: &ByteRecord) -> anyhow::Result<()> {
        self.count += 1;
        let reason = format!("line {line}: {reason}");
        if self.write {
            self.write_line(cargo, &reason)?;
        }
        if self.printed.len() < PRINTED_MAX {
            self.printed.push(format!("  {reason}"));
        }
        Ok(())
    }

    fn write_line(&mut self, cargo: &ByteRecord, reason: &str) -> anyhow::Result<()> {
        let had_reason = self.header.iter().position(|name| name == REASON);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let created = File::create(&self.path);
                let created = created.with_context(|| format!("{} cannot be written", self.path.display()))?;
                let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(created);
                let names = self.header.iter().filter(|name| *name != REASON).chain([REASON]);
                writer.write_record(names)?;
                self.file.insert(writer)
            }
        };
        let cells = cargo.iter().enumerate().filter(|(at, _)| Some(*at) != had_reason).map(|(_, cell)| cell);
        Ok(file.write_record(cells.chain([reason.as_bytes()]))?)
    }

    /// The text for the screen.
    fn finish(&mut self) -> anyhow::Result<String> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            file.get_ref().sync_all()?;
        }
        let more = self.count - self.printed.len() as u64;
        if more > 0 {
            self.printed.push(format!("  and {more} more"));
        }
        Ok(self.printed.join("\n"))
    }
}
