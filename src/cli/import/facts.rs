//! `fingerpost import leads|conversions`: facts from a CSV file.
//!
//! A fact that is told again changes nothing, so lines are told some at a time: whoever breaks off begins anew. By default all
//! lines are tried first, and nothing is told when one is bad.

use std::{io::Read, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use csv::ByteRecord;
use indicatif::ProgressBar;

use super::{Args, Aside, open, progress};
use crate::{
    app::keys,
    catalog::{
        Catalog,
        uploads::{RefusedLine, UploadKind},
    },
    config::Config,
    core::limits::FACT_LINES,
    io::clock::Clock,
    referral::{
        Desk,
        inbound::sheet::Header,
        upload::{self, Beginning},
    },
};

/// A file and how it is read.
struct File<'f> {
    text: &'f str,
    header: Header,
    beginning: Beginning,
}

#[derive(Default)]
struct Told {
    taken: i64,
    known: i64,
}

pub(super) async fn import(config: &Config, catalog: &Catalog, kind: UploadKind, args: &Args) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let text = read(&args.file)?;
    let beginning = upload::begin(kind, &text).map_err(|wrong| anyhow::anyhow!("{name}, line 1: {}", wrong.problem))?;
    let header = Header::new(kind, beginning.header.iter().map(String::as_str));
    let header = header.map_err(|problem| anyhow::anyhow!("{name}, line 1: {problem}"))?;
    let keys = keys::load_or_create(&config.keys.file, Clock::System.now())?;
    let desk = Desk::new(catalog.clone(), Arc::new(ArcSwap::from_pointee(keys)), Clock::System);
    let file = File { text: &text, header, beginning };
    let started = Instant::now();
    let bar = progress(&args.file);
    let what = kind.word();

    if !args.skip_bad || args.dry_run {
        let mut aside = Aside::new(args, csv::StringRecord::from(file.beginning.header.clone()));
        let told = tell(&desk, &file, true, &mut aside, &bar).await?;
        let (bad, summary) = (aside.count, aside.finish()?);
        if bad > 0 && !args.skip_bad {
            bar.finish_and_clear();
            bail!(
                "{name}: {bad} of {} lines are bad, nothing was imported:\n{summary}\nmend them, or use --skip-bad to import the others",
                bad + (told.taken + told.known).unsigned_abs()
            );
        }
        if args.dry_run {
            bar.finish_and_clear();
            println!(
                "{} {what} could be imported, {} are known already; nothing was changed (--dry-run)",
                told.taken, told.known
            );
            return refused(bad, &summary, &aside);
        }
    }
    let mut aside = Aside::new(args, csv::StringRecord::from(file.beginning.header.clone()));
    let told = tell(&desk, &file, false, &mut aside, &bar).await?;
    bar.finish_and_clear();
    let (seconds, summary) = (started.elapsed().as_secs_f64(), aside.finish()?);
    println!("{} {what} imported, {} were known already, in {seconds:.1} s", told.taken, told.known);
    refused(aside.count, &summary, &aside)
}

fn refused(count: u64, summary: &str, aside: &Aside) -> anyhow::Result<()> {
    if count > 0 {
        println!("{count} lines refused, see {}:\n{summary}", aside.path.display());
    }
    Ok(())
}

/// Goes through the file once.
async fn tell(
    desk: &Desk,
    file: &File<'_>,
    dry_run: bool,
    aside: &mut Aside,
    bar: &ProgressBar,
) -> anyhow::Result<Told> {
    let mut told = Told::default();
    let (mut position, mut line) = (file.beginning.position, file.beginning.line);
    loop {
        let read = upload::read(&file.header, file.text, position, line, FACT_LINES);
        let done = desk.import(&read.lines, dry_run).await?;
        told.taken += done.taken;
        told.known += done.known;
        let mut refused: Vec<RefusedLine> = read.refused.into_iter().chain(done.refused).collect();
        refused.sort_by_key(|refused| refused.line);
        for RefusedLine { line, reason, cells } in refused {
            aside.take_line(line.unsigned_abs(), &reason, &ByteRecord::from(cells))?;
        }
        (position, line) = (read.position, read.line);
        bar.set_position(position as u64);
        if read.done {
            return Ok(told);
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    open(file)?.read_to_end(&mut bytes).with_context(|| format!("{} cannot be read", file.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{} is not UTF-8 at byte {at}: save the file as UTF-8", file.display())
    })
}
