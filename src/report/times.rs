//! How long it takes, and what becomes of the people of a month.

use super::{
    Question, Sources, Unanswered, count, currencies,
    question::{length, months},
};
use crate::{
    catalog::record::{
        figures::{Figure, MONTHS_AFTER, Sums, WAITS_MS},
        report::{By, People},
    },
    core::time::{DAY_MS, Millis},
    store::rows::{Cell, Table},
};

/// Quantiles that are told.
const QUANTILES: [(&str, u64); 4] = [("p25", 25), ("p50", 50), ("p75", 75), ("p90", 90)];
/// Cohorts of one answer, the youngest.
const COHORTS_MAX: usize = 24;

/// People by the class of their wait.
fn classes(sums: &Sums, figure: Figure) -> Vec<u64> {
    let mut classes = vec![0; WAITS_MS.len() + 1];
    for (key, sum) in sums.iter().filter(|(key, _)| key.figure == figure) {
        if let Some(class) = key.detail.parse().ok().and_then(|at: usize| classes.get_mut(at)) {
            *class += sum.count.unsigned_abs();
        }
    }
    classes
}

/// The upper end of a class in words and seconds; the last one has none.
fn end(class: usize) -> (Cell, Cell) {
    match WAITS_MS.get(class) {
        Some(ms) => (Cell::Text(length(*ms)), Cell::Number(ms.unsigned_abs() / 1_000)),
        None => ("longer".into(), Cell::Unknown),
    }
}

pub(super) async fn time_to_convert(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let figures = [Figure::ClickToLead, Figure::LeadToQualified, Figure::ClickToQualified];
    let by = By { detail: true, ..By::default() };
    let sums = sources.catalog.sums(&question.people(), &figures, by, &[]).await?;
    let mut rows = Vec::new();
    for figure in figures {
        let classes = classes(&sums, figure);
        let all: u64 = classes.iter().sum();
        let mut line = |what: &str, class: usize, people: u64| {
            let (up_to, seconds) = end(class);
            rows.push(vec![
                figure.word().into(),
                what.into(),
                up_to,
                seconds,
                Cell::Number(people),
                Cell::rate(people, all),
            ]);
        };
        if all == 0 {
            continue;
        }
        for (name, percent) in QUANTILES {
            let mut people = 0;
            let reached = |class: &u64| {
                people += class;
                u128::from(people) * 100 >= u128::from(all) * u128::from(percent)
            };
            let class = classes.iter().position(reached).unwrap_or(WAITS_MS.len());
            line(name, class, people);
        }
        for (class, people) in classes.iter().enumerate().filter(|(_, people)| **people > 0) {
            line("histogram", class, *people);
        }
    }
    Ok(Table { columns: vec!["way", "row", "up_to", "seconds", "people", "part"], rows })
}

pub(super) async fn cohorts(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let columns = vec![
        "month",
        "people",
        "months_after",
        "qualified",
        "qualified_by_then",
        "qualification_rate",
        "currency",
        "revenue",
    ];
    let people = question.people();
    let (first, last) = (sources.catalog.first_came().await?, people.until.unwrap_or(question.now));
    let Some(first) = first.max(people.since).filter(|first| *first < last) else {
        return Ok(Table { columns, rows: Vec::new() });
    };
    let months = months(first, last, &question.zone);
    let mut rows = Vec::new();
    for (month, from, to) in &months[months.len().saturating_sub(COHORTS_MAX)..] {
        let since = people.since.map_or(*from, |since| since.max(*from));
        let until = people.until.map_or(*to, |until| until.min(*to));
        let of = People { since: Some(since), until: Some(until), ..people.clone() };
        let figures = [Figure::Lead, Figure::QualifiedAfter, Figure::RevenueAfter];
        let by = By { detail: true, ..By::default() };
        let sums = sources.catalog.sums(&of, &figures, by, &[]).await?;
        let name = month.to_string().chars().take(7).collect::<String>();
        cohort(&name, &sums, since, question.now, &mut rows);
    }
    Ok(Table { columns, rows })
}

/// The lines of one cohort: a line for each month after, and currency.
fn cohort(month: &str, sums: &Sums, since: Millis, now: Millis, rows: &mut Vec<Vec<Cell>>) {
    let people = count(sums, Figure::Lead).unsigned_abs();
    if people == 0 {
        return;
    }
    let age = (now.0 - since.0).max(0) / (30 * DAY_MS);
    let mut lines = currencies(sums);
    if lines.is_empty() {
        lines.push(String::new());
    }
    let mut qualified_by_then = 0;
    for after in 0..=age.min(MONTHS_AFTER) {
        let detail = format!("{after:02}");
        let of = |figure: Figure, currency: &str| {
            let wanted = |key: &crate::catalog::record::figures::Key| {
                key.figure == figure && key.detail == detail && key.currency == currency
            };
            sums.iter().filter(|(key, _)| wanted(key)).map(|(_, sum)| *sum).next().unwrap_or_default()
        };
        let qualified = of(Figure::QualifiedAfter, "").count.unsigned_abs();
        qualified_by_then += qualified;
        for currency in &lines {
            rows.push(vec![
                month.into(),
                Cell::Number(people),
                Cell::Number(after.unsigned_abs()),
                Cell::Number(qualified),
                Cell::Number(qualified_by_then),
                Cell::rate(qualified_by_then, people),
                currency.as_str().into(),
                Cell::money(of(Figure::RevenueAfter, currency).amount, currency),
            ]);
        }
    }
}
