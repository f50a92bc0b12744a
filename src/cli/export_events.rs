//! `fingerpost export events`: one flat object (or CSV line) an event, in the order of time, in pages: memory stays the same
//! for ten events and for ten million.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Global, report::Opened};
use crate::{
    core::{
        event::{Event, Kind},
        id::EventId,
        time::Millis,
    },
    io::clock::Clock,
    store::{
        EventCursor, Filter, Reports,
        question::{self, Words},
        rows::{self, EVENT_COLUMNS},
    },
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A length of time until now (7d, 24h) or a time (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Written as --since; not included
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only events of this kind: click, view, share, lead, conversion, refund, reward, missing
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// Where to write [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One JSON object a line
    #[default]
    Ndjson,
    Csv,
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_label(word).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.label()).collect();
        format!("choose from {}", known.join(", "))
    })
}

pub(crate) fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let Args { since, until, format, kind, file } = args;
    let now = Clock::System.now();
    let words = Words { since: since.as_deref(), until: until.as_deref(), ..Words::default() };
    let filter = question::filter(&words, now)?;
    let store = Opened::configured(global)?;
    let name = file.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let out: Box<dyn Write> = match &file {
        Some(path) => Box::new(File::create(path).with_context(|| format!("{name} cannot be made"))?),
        None => Box::new(io::stdout().lock()),
    };
    let progress = progress(io::stderr().is_terminal() && file.is_some(), &filter, now);
    let export = Export { filter, kind, format, page: store.reports.page_rows() };
    let written = store.runtime.block_on(export.write(&*store.reports, BufWriter::new(out), &progress));
    progress.finish_and_clear();
    match written {
        Ok(events) if file.is_some() => {
            eprintln!("{events} events written to {name}");
            Ok(())
        }
        Ok(_) => Ok(()),
        // The reader of a pipe (`| head`) has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) => Err(error.context(format!("the export to {name} is not complete"))),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |io: &io::Error| io.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}

/// Time is known before the number of events: the bar moves through the range.
fn progress(is_shown: bool, filter: &Filter, now: Millis) -> ProgressBar {
    let (Some(since), true) = (filter.since, is_shown) else {
        return if is_shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    };
    let length = filter.until.unwrap_or(now).0.saturating_sub(since.0);
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(0));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {msg} ({eta} left)") {
        bar.set_style(style);
    }
    bar
}

struct Export {
    filter: Filter,
    kind: Option<Kind>,
    format: Format,
    /// Events held in memory.
    page: u32,
}

impl Export {
    /// Writes all events of the filter; gives their number.
    async fn write(&self, reports: &dyn Reports, mut out: impl Write, progress: &ProgressBar) -> anyhow::Result<u64> {
        let mut after = None;
        let mut written = 0;
        if self.format == Format::Csv {
            csv_line(&mut out, EVENT_COLUMNS.map(Into::into).iter())?;
        }
        loop {
            let page = reports.events(&self.filter, after, self.page).await?;
            let Some(last) = page.last() else { break };
            after = Some(cursor(last)?);
            for event in page.iter().filter(|event| self.kind.is_none_or(|kind| event.kind() == kind)) {
                let cells = rows::event(event);
                match self.format {
                    Format::Ndjson => rows::write_event_json(&mut out, &cells)?,
                    Format::Csv => csv_line(&mut out, cells.iter())?,
                }
                written += 1;
            }
            let done = last.time_ms - self.filter.since.map_or(0, |since| since.0);
            progress.set_position(u64::try_from(done).unwrap_or(0));
            progress.set_message(format!("{written} events"));
        }
        out.flush()?;
        Ok(written)
    }
}

fn cursor(last: &Event) -> anyhow::Result<EventCursor> {
    let id = last.id.as_slice().try_into().context("an event in the store has a broken id")?;
    Ok(EventCursor { time: Millis(last.time_ms), id: EventId(id) })
}

fn csv_line<'a>(out: &mut impl Write, cells: impl Iterator<Item = &'a rows::Cell>) -> io::Result<()> {
    let mut line = csv::WriterBuilder::new().from_writer(Vec::with_capacity(512));
    line.write_record(cells.map(|cell| cell.csv().into_owned()))?;
    out.write_all(&line.into_inner().map_err(|error| io::Error::other(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::{self, Model};
    use proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    };

    fn exported(events: &[Event], export: &Export) -> String {
        let mut out = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Model::new(events.to_vec());
        let written = runtime.block_on(export.write(&store, &mut out, &ProgressBar::hidden())).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(written as usize, text.lines().count() - usize::from(export.format == Format::Csv));
        text
    }

    fn history() -> Vec<Event> {
        let runner = &mut TestRunner::deterministic();
        proptest::collection::vec(model::event(), 100).new_tree(runner).unwrap().current()
    }

    #[test]
    fn pages_of_any_size_give_each_event_once_in_order() {
        let events = history();
        let all =
            |page| exported(&events, &Export { filter: Filter::default(), kind: None, format: Format::Ndjson, page });
        let whole = all(1_000);
        assert_eq!(whole.lines().count(), events.len());
        let times: Vec<String> = whole
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].as_str().unwrap().to_owned())
            .collect();
        assert!(times.is_sorted());
        for page in [1, 7, 99, 100] {
            assert_eq!(all(page), whole, "{page}");
        }
    }

    #[test]
    fn csv_has_a_header_and_no_formulas() {
        let event = Event { sub1: "=1+1".to_owned(), sub2: "a,b".to_owned(), id: vec![1; 16], ..Event::default() };
        let export = Export { filter: Filter::default(), kind: None, format: Format::Csv, page: 10 };
        let text = exported(&[event], &export);
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), EVENT_COLUMNS.join(","));
        assert!(lines.next().unwrap().contains(",'=1+1,\"a,b\","));
    }

    #[test]
    fn a_kind_leaves_the_others_out() {
        let events = history();
        let export = Export { filter: Filter::default(), kind: Some(Kind::View), format: Format::Ndjson, page: 10 };
        let views = events.iter().filter(|event| event.kind() == Kind::View).count();
        assert!(views > 0);
        assert_eq!(exported(&events, &export).lines().count(), views);
        assert!(kind("click").is_ok() && kind("clicks").unwrap_err().contains("click, view"));
    }
}
