//! The pictures of the overview, made of reports: reach over time, the funnel, the best of each kind. Pure.

use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};

use super::{
    super::{
        chart::{Column, Columns},
        words::Words,
    },
    bars::{Bars, Line},
};
use crate::{
    core::time::Millis,
    store::{
        ReachRow,
        rows::{Cell, Table},
    },
};

/// Columns of one picture; more days than that are shown by month.
const COLUMNS_MAX: usize = 92;
/// Bars of one picture.
pub(super) const BARS: usize = 8;

fn date(at: Millis, zone: &TimeZone) -> Date {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// A day as [`Words::day`] writes it, or a month.
fn label(words: Words<'_>, day: Date, is_month: bool) -> String {
    let month = words.say(&format!("month_{}", day.month()));
    if is_month {
        return format!("{month} {}", day.year());
    }
    words.day(day.to_zoned(TimeZone::UTC).map_or(Millis(0), |zoned| Millis(zoned.timestamp().as_millisecond())))
}

/// Clicks over time: a column a day from `since` (or the first day with any) to `now`, or a column a month where that is too many.
pub(super) fn reach(
    words: Words<'_>,
    rows: &[ReachRow],
    since: Option<Millis>,
    now: Millis,
    zone: &TimeZone,
) -> Option<Columns> {
    let mut days: BTreeMap<Date, u64> = BTreeMap::new();
    for row in rows {
        // Days come as RFC 3339, in the zone that was asked for.
        let day = row.key.first().and_then(|text| text.get(..10)).and_then(|text| text.parse().ok());
        if let Some(day) = day {
            *days.entry(day).or_default() += row.clicks;
        }
    }
    let last = date(now, zone);
    let first = since.map(|since| date(since, zone)).or_else(|| days.keys().next().copied()).unwrap_or(last);
    let mut all: Vec<(Date, u64)> = Vec::new();
    let mut day = first;
    while day <= last {
        all.push((day, days.get(&day).copied().unwrap_or(0)));
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    let is_month = all.len() > COLUMNS_MAX;
    if is_month {
        let mut months: BTreeMap<Date, u64> = BTreeMap::new();
        for (day, clicks) in &all {
            *months.entry(day.first_of_month()).or_default() += clicks;
        }
        all = months.into_iter().collect();
        all.drain(..all.len().saturating_sub(COLUMNS_MAX));
    }
    let total: u64 = all.iter().map(|(_, clicks)| clicks).sum();
    let (best, most) = all.iter().max_by_key(|(_, clicks)| *clicks).copied().filter(|_| total > 0)?;
    let values = [("total", words.number(total)), ("most", words.number(most)), ("day", label(words, best, is_month))];
    let summary = words.tell("dash_reach_summary", &values);
    let column = |(day, value): &(Date, u64)| Column { label: label(words, *day, is_month), value: *value };
    let columns: Vec<Column> = all.iter().map(column).collect();
    Some(Columns::new(words.say("dash_reach"), summary, words.number(most), &columns))
}

/// Ten-thousandths as people read them: `12.3 %`.
fn percent(words: Words<'_>, ten_thousandths: u64) -> String {
    let point = if words.code() == "de" { ',' } else { '.' };
    let (whole, tenths) = (ten_thousandths / 100, ten_thousandths % 100 / 10);
    if tenths == 0 { format!("{whole} %") } else { format!("{whole}{point}{tenths} %") }
}

fn number(cell: Option<&Cell>) -> Option<u64> {
    match cell {
        Some(Cell::Number(number)) => Some(*number),
        _ => None,
    }
}

/// The report `funnel`, step by step: each one's part of the step before, and where most is lost.
pub(super) fn funnel(words: Words<'_>, table: &Table) -> Option<Bars> {
    let mut lines = Vec::new();
    // Partners who joined, and then people who clicked: each way begins with all of them.
    let mut whole = 0;
    for row in &table.rows {
        let (Some(Cell::Text(step)), Some(count)) = (row.first(), number(row.get(1))) else { continue };
        if matches!(step.as_str(), "joined" | "clicks") {
            whole = count;
        }
        let is_biggest = matches!(row.get(3), Some(Cell::Text(note)) if !note.is_empty());
        let note = match row.get(2).and_then(Cell::basis_points) {
            Some(rate) if is_biggest => {
                words.with("dash_biggest_drop", "part", &percent(words, 10_000 - rate.min(10_000)))
            }
            Some(rate) if rate < 10_000 => format!("−{}", percent(words, 10_000 - rate)),
            _ => String::new(),
        };
        lines.push(Line {
            label: words.say(&format!("dash_step_{step}")),
            value: words.number(count),
            part: (count * 10_000).checked_div(whole).unwrap_or(0),
            note,
            is_marked: is_biggest,
        });
    }
    let is_empty = table.rows.iter().all(|row| number(row.get(1)).unwrap_or(0) == 0);
    (!is_empty).then(|| Bars::new(words.say("dash_funnel"), lines))
}

/// The biggest of some named numbers; what has no name is called so.
pub(super) fn best(words: Words<'_>, title: String, mut numbers: Vec<(String, u64)>) -> Option<Bars> {
    numbers.retain(|(_, number)| *number > 0);
    numbers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    numbers.truncate(BARS);
    let most = numbers.first()?.1;
    let line = |(name, number): &(String, u64)| Line {
        label: if name.is_empty() { words.say("dash_unknown") } else { name.clone() },
        value: words.number(*number),
        part: number * 10_000 / most,
        ..Line::default()
    };
    Some(Bars::new(title, numbers.iter().map(line).collect()))
}

/// A named column of numbers of a report, by its first column. A name that comes again (one line a currency) counts once.
pub(super) fn column(table: &Table, name: &str) -> Vec<(String, u64)> {
    let at = table.columns.iter().position(|column| *column == name).unwrap_or(usize::MAX);
    let mut found: Vec<(String, u64)> = Vec::new();
    for row in &table.rows {
        if let (Some(Cell::Text(key)), Some(number)) = (row.first(), number(row.get(at)))
            && !found.iter().any(|(known, _)| known == key)
        {
            found.push((key.clone(), number));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;
    use crate::core::page::Language;

    const NOW: Millis = Millis(1_772_368_200_250); // 2026-03-01T12:30:00.250Z

    fn words() -> Words<'static> {
        Words::new(Language::En)
    }

    fn day(day: &str, clicks: u64) -> ReachRow {
        ReachRow { key: vec![format!("{day}T00:00:00.000Z")], clicks, ..ReachRow::default() }
    }

    #[test]
    fn every_day_has_its_column_and_many_days_are_months() {
        let rows = [day("2026-02-27", 3), day("2026-03-01", 1_000)];
        let svg = reach(words(), &rows, None, NOW, &TimeZone::UTC).unwrap().render().unwrap();
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert!(svg.contains("1,003 clicks") && svg.contains("1 Mar 2026"), "{svg}");
        let long = [day("2024-03-05", 1), day("2026-03-01", 2)];
        let svg = reach(words(), &long, None, NOW, &TimeZone::UTC).unwrap().render().unwrap();
        assert_eq!(svg.matches("<rect").count(), 25, "{svg}");
        assert!(svg.contains("Mar 2024"));
        assert!(reach(words(), &[], None, NOW, &TimeZone::UTC).is_none());
    }

    #[test]
    fn the_funnel_marks_where_most_is_lost() {
        let row = |step: &str, count: u64, of: u64, note: &str| {
            vec![step.into(), Cell::Number(count), Cell::rate(count, of), note.into()]
        };
        let rows =
            vec![row("clicks", 1_000, 0, ""), row("leads", 25, 1_000, "biggest drop"), row("qualified", 10, 25, "")];
        let table = Table { columns: vec!["step", "count", "rate", "note"], rows };
        let svg = funnel(words(), &table).unwrap().render().unwrap();
        assert!(svg.contains("97.5 %") && svg.contains("−60 %") && svg.contains("1,000"), "{svg}");
        assert_eq!(svg.matches("bar second").count(), 1);
        let nothing = Table { rows: vec![row("clicks", 0, 0, "")], ..table };
        assert!(funnel(words(), &nothing).is_none());
    }

    #[test]
    fn the_best_are_in_order_and_a_line_a_currency_counts_once() {
        let rows = ["EUR", "USD"].map(|currency| vec!["ann".into(), Cell::Number(4), currency.into()]).to_vec();
        let table = Table { columns: vec!["partner", "clicks", "currency"], rows };
        assert_eq!(column(&table, "clicks"), [("ann".to_owned(), 4)]);
        let numbers = vec![("a".to_owned(), 1), (String::new(), 5), ("z".to_owned(), 0)];
        let svg = best(words(), "Countries".to_owned(), numbers).unwrap().render().unwrap();
        assert!(svg.find("unknown").unwrap() < svg.rfind(">a<").unwrap() && !svg.contains(">z<"), "{svg}");
        assert!(best(words(), String::new(), Vec::new()).is_none());
    }
}
