//! `fingerpost journal inspect`: what lies in a journal, lane by lane. It only looks: a running server does not notice.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    io::disk::SystemDisk,
    journal::{self, LaneSummary},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show lanes, positions and damage
    Inspect {
        /// The journal folder, or a data folder [default: the data folder's journal]
        dir: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let Command::Inspect { dir, format } = args.command;
    let dir = match dir {
        Some(dir) => dir,
        None => global.load()?.data,
    };
    let folder = journal_in(&dir);
    let lanes = journal::inspect(&SystemDisk::shared(), &folder)
        .context("give the journal folder (it holds lane-… folders) or the data folder")?;
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&lanes)?)?,
        Format::Table => table(&mut out, &folder, &lanes)?,
    }
    Ok(())
}

/// A data folder stands for the journal in it.
fn journal_in(dir: &Path) -> PathBuf {
    let inside = dir.join("journal");
    if inside.is_dir() { inside } else { dir.to_path_buf() }
}

fn table(out: &mut impl Write, folder: &Path, lanes: &[LaneSummary]) -> io::Result<()> {
    if lanes.is_empty() {
        return writeln!(out, "{}: no lanes, everything has been delivered", folder.display());
    }
    let heads =
        ["lane", "state", "segments", "first", "next", "records", "damaged", "unreadable", "torn bytes", "bytes"];
    let rows: Vec<[String; 10]> = lanes.iter().map(row).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].len()).chain([heads[column].len()]).max().unwrap_or_default();
    let widths: [usize; 10] = std::array::from_fn(width);
    let mut line = |cells: &[&str]| {
        let text: Vec<String> = std::iter::zip(cells, widths)
            .enumerate()
            // Words to the left, numbers to the right.
            .map(|(at, (cell, width))| if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect();
        writeln!(out, "{}", text.join("  ").trim_end())
    };
    line(&heads)?;
    for row in &rows {
        line(&row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn row(lane: &LaneSummary) -> [String; 10] {
    [
        lane.lane.clone(),
        if lane.live { "live" } else { "orphan" }.to_owned(),
        lane.segments.to_string(),
        lane.first.to_string(),
        lane.next.to_string(),
        lane.records.to_string(),
        lane.damaged.to_string(),
        lane.unreadable_segments.to_string(),
        lane.torn_bytes.to_string(),
        lane.bytes.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let lane = LaneSummary {
            lane: "0".repeat(32),
            live: true,
            segments: 2,
            first: 0,
            next: 1_000,
            bytes: 32 << 20,
            records: 999,
            damaged: 1,
            unreadable_segments: 0,
            torn_bytes: 0,
            created: None,
        };
        let mut out = Vec::new();
        table(&mut out, Path::new("j"), &[lane.clone(), LaneSummary { live: false, ..lane }]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[2].contains("orphan") && lines[1].ends_with("33554432"), "{text}");
    }
}
