//! Reports that join reach with what came of it, for people: a table, and small bars where a picture says more.

use super::{
    Format,
    table::{Column, print, range, shown},
    write,
};
use crate::{
    core::time::Millis,
    report::{Name, Question, Sources, Words},
    store::{
        question,
        rows::{Cell, Table},
    },
};

/// Signs of the longest bar.
const BAR_SIGNS: u64 = 24;
/// Parts of a sign, from one eighth on.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// People who came since: a length of time until now (7d, 24h) or a time (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Written as --since; not included [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[arg(long, value_name = "CODE")]
    program: Option<String>,
    #[arg(long, value_name = "CODE")]
    link: Option<String>,
    #[arg(long, value_name = "CODE")]
    partner: Option<String>,
    #[arg(long, value_name = "CODE")]
    ad: Option<String>,
    /// The time zone in which days and months begin, for example Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// The customer base that participation is a part of [default: the partners who joined]
    #[arg(long, value_name = "NUMBER")]
    customers: Option<String>,
    /// Rows of a top list [default: 20]
    #[arg(long, value_name = "ROWS")]
    limit: Option<String>,
    /// Count unique visitors in the funnel, which reads the rows of events
    #[arg(long)]
    visitors: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn show(
    sources: Sources<'_>,
    name: Name,
    args: &Args,
    now: Millis,
    out: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let filter = question::Words {
        since: args.since.as_deref(),
        until: args.until.as_deref(),
        program: args.program.as_deref(),
        link: args.link.as_deref(),
        partner: args.partner.as_deref(),
        ad: args.ad.as_deref(),
    };
    let words = Words {
        filter,
        tz: args.tz.as_deref(),
        customers: args.customers.as_deref(),
        limit: args.limit.as_deref(),
        visitors: args.visitors,
    };
    let question = Question::read(&words, now)?;
    let table = sources.answer(name, &question).await?;
    if args.format != Format::Table {
        return Ok(write(&table, args.format, out)?);
    }
    let title = name.word().replace('-', " ");
    let title = title[..1].to_uppercase() + &title[1..];
    page(&(title + &range(&question.filter)), name, &table, out)?;
    Ok(())
}

/// The column whose numbers are drawn, where a picture helps.
const fn drawn(name: Name) -> Option<&'static str> {
    match name {
        Name::Funnel => Some("count"),
        Name::TopPartners | Name::TopLinks | Name::TopAds => Some("qualified"),
        Name::TopChannels => Some("shares"),
        Name::TimeToConvert => Some("people"),
        Name::Cohorts => Some("qualified_by_then"),
        Name::Models => Some("last_touch_leads"),
        Name::Motivators => Some("people"),
        Name::Participation | Name::Rates | Name::Money => None,
    }
}

fn page(title: &str, name: Name, table: &Table, out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(out, "{title}")?;
    writeln!(out)?;
    if table.rows.is_empty() {
        return writeln!(out, "Nothing here yet. Look further back (--since 90d), or ask without a filter.");
    }
    let mut columns: Vec<Column> = (0..table.columns.len()).map(|at| column(table, at)).collect();
    if let Some(at) = drawn(name).and_then(|drawn| table.columns.iter().position(|column| *column == drawn)) {
        // Quantiles count people as well, those of all classes before: only the histogram is a picture.
        let number = |row: &Vec<Cell>| match &row[at] {
            Cell::Number(number) if name != Name::TimeToConvert || row[1] == Cell::from("histogram") => *number,
            _ => 0,
        };
        let numbers: Vec<u64> = table.rows.iter().map(number).collect();
        columns.push(Column { head: String::new(), cells: bars(&numbers), right: false });
    }
    print(&columns, false, out)
}

fn column(table: &Table, at: usize) -> Column {
    let name = table.columns[at];
    let note = |row: &Vec<Cell>| if name == "note" { row[at].csv().into_owned() } else { shown(name, &row[at]) };
    let cells: Vec<String> = table.rows.iter().map(note).collect();
    let right = !table.rows.iter().any(|row| matches!(row[at], Cell::Text(_)));
    Column { head: name.replace('_', " "), cells, right }
}

/// Bars against the longest.
fn bars(numbers: &[u64]) -> Vec<String> {
    let most = u128::from(numbers.iter().copied().max().unwrap_or(0).max(1));
    let bar = |number: &u64| {
        let eighths = (u128::from(*number) * u128::from(BAR_SIGNS) * 8).div_ceil(most);
        let mut bar = "█".repeat((eighths / 8) as usize);
        if eighths % 8 > 0 {
            bar.push(EIGHTHS[(eighths % 8 - 1) as usize]);
        }
        bar
    };
    numbers.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_against_the_longest() {
        assert_eq!(bars(&[24, 12, 0, 1]), ["█".repeat(24), "█".repeat(12), String::new(), "█".to_owned()]);
        assert_eq!(bars(&[192, 3, 1]), ["█".repeat(24), "▍".to_owned(), "▏".to_owned()]);
        assert_eq!(bars(&[0, 0]), ["", ""]);
    }

    #[test]
    fn a_funnel_is_a_picture() {
        let row =
            |step: &str, count: u64, rate: Cell, note: &str| vec![step.into(), Cell::Number(count), rate, note.into()];
        let rows = vec![
            row("clicks", 2_000, Cell::Unknown, ""),
            row("leads", 500, Cell::rate(500, 2_000), "biggest drop"),
            row("qualified", 250, Cell::rate(250, 500), ""),
        ];
        let table = Table { columns: vec!["step", "count", "rate", "note"], rows };
        let mut out = Vec::new();
        page("Funnel", Name::Funnel, &table, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        Funnel

        step       count    rate  note
        ────────────────────────────────────────────────────────────────
        clicks     2,000       –                ████████████████████████
        leads        500  25.0 %  biggest drop  ██████
        qualified    250  50.0 %                ███
        ");
    }
}
