//! A report for people: aligned columns, a total, sparklines, and words where figures would mislead.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use super::sparkline::Timeline;
use crate::{
    core::time::Millis,
    store::{
        Filter,
        rows::{Cell, Table},
    },
};

pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) filter: &'a Filter,
    pub(super) table: &'a Table,
    /// Columns that say nothing here.
    pub(super) hidden: &'a [&'a str],
    pub(super) total_name: &'a str,
    pub(super) totals: HashMap<&'static str, u64>,
    pub(super) is_empty: bool,
    /// Clicks that were answered but could not be recorded.
    pub(super) missing: u64,
    pub(super) timeline: Timeline,
}

/// A column, ready to print.
pub(super) struct Column {
    pub(super) head: String,
    pub(super) cells: Vec<String>,
    pub(super) right: bool,
}

impl Page<'_> {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}{}", self.title, range(self.filter))?;
        if self.is_empty {
            writeln!(out, "\nNo views, clicks or shares here. Look further back (--since 30d), or click a link:")?;
            writeln!(out, "what was answered is in the reports within about a second.")?;
        } else {
            writeln!(out)?;
            print(&self.columns(), true, out)?;
        }
        if self.missing > 0 {
            writeln!(
                out,
                "\n{} {} missing from these hours: answered, but not recorded, because the journal's disk was full or failed.",
                thousands(self.missing),
                if self.missing == 1 { "click is" } else { "clicks are" },
            )?;
        }
        Ok(())
    }

    fn columns(&self) -> Vec<Column> {
        let shown = |at: &usize| !self.hidden.contains(&self.table.columns[*at]);
        let mut columns: Vec<Column> = (0..self.table.columns.len()).filter(shown).map(|at| self.column(at)).collect();
        if !self.timeline.step.is_empty() {
            let mut cells = self.timeline.rows.clone();
            cells.push(self.timeline.total.clone());
            columns.push(Column { head: format!("clicks, {} each", self.timeline.step), cells, right: false });
        }
        // Reach without dimensions is its own total.
        if self.table.rows.len() == 1 && columns.first().is_some_and(|column| column.right) {
            columns.iter_mut().for_each(|column| column.cells.truncate(1));
        }
        columns
    }

    fn column(&self, at: usize) -> Column {
        let name = self.table.columns[at];
        let total = match self.totals.get(name) {
            Some(total) => thousands(*total),
            None if at == 0 => self.total_name.to_owned(),
            None => String::new(),
        };
        let right = self.totals.contains_key(name);
        let mut cells: Vec<String> = self.table.rows.iter().map(|row| shown(name, &row[at])).collect();
        cells.push(total);
        Column { head: name.replace('_', " "), cells, right }
    }
}

/// ` from … to …`, in whole hours as reports look at them.
pub(super) fn range(filter: &Filter) -> String {
    let since = filter.since.map(|since| format!(" from {}", minute(since.hour())));
    let until = filter.until.map(|until| format!(" to {}", minute(until.plus(crate::core::time::HOUR_MS - 1).hour())));
    let zone = if since.is_some() || until.is_some() { " (UTC)" } else { "" };
    format!("{}{}{zone}", since.unwrap_or_default(), until.unwrap_or_default())
}

/// `2026-03-01 12:00`
fn minute(time: Millis) -> String {
    time.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

pub(super) fn shown(column: &str, cell: &Cell) -> String {
    match (column, cell) {
        (_, Cell::Number(number)) => thousands(*number),
        (_, Cell::Unknown) => "–".to_owned(),
        (_, Cell::Money { minor, digits }) => amount(*minor, *digits),
        ("revenue_per_cost", Cell::Rate(rate)) => amount(*rate / 100, 2),
        (_, Cell::Rate(rate)) => format!("{} %", amount(*rate / 10, 1)),
        (_, Cell::Text(text)) if text.is_empty() => "–".to_owned(),
        ("day", Cell::Text(text)) => text.chars().take(10).collect(),
        ("hour", Cell::Text(text)) => text.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect(),
        ("last_click", Cell::Text(text)) => text.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect(),
        // A terminal must not obey what a visitor wrote.
        (_, Cell::Text(text)) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
    }
}

/// `1,234.56`
fn amount(minor: i64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    let (sign, number) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    let rest = if digits == 0 { String::new() } else { format!(".{:0width$}", number % unit, width = digits as usize) };
    format!("{sign}{}{rest}", thousands(number / unit))
}

/// `1,234,567`
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn print(columns: &[Column], total: bool, out: &mut impl Write) -> io::Result<()> {
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| column.cells.iter().map(|cell| length(cell)).max().unwrap_or(0).max(length(&column.head)))
        .collect();
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let line = |cell: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            let text = cell(column);
            if column.right { format!("{text:>width$}") } else { format!("{text:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("──");
    writeln!(out, "{}", line(&|column| column.head.clone()))?;
    writeln!(out, "{rule}")?;
    for row in 0..rows {
        if total && row > 0 && row == rows - 1 {
            writeln!(out, "{rule}")?;
        }
        writeln!(out, "{}", line(&|column| column.cells[row].clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_text_has_no_escapes() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(shown("link", &Cell::from("a\u{1b}[31mb")), "a\u{fffd}[31mb");
        assert_eq!(shown("link", &Cell::from("")), "–");
        let money = |minor| shown("cost", &Cell::Money { minor, digits: 2 });
        assert_eq!([money(-5), money(123_456)], ["-0.05", "1,234.56"]);
        assert_eq!(shown("cost", &Cell::Money { minor: 5, digits: 0 }), "5");
        let rate = Cell::rate(1, 8);
        assert_eq!([shown("rate", &rate), shown("revenue_per_cost", &Cell::ratio(7, 2))], ["12.5 %", "3.50"]);
    }
}
