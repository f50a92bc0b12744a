//! Who and what brings most; and who would be credited by the first and by the last touch.

use std::collections::{BTreeSet, HashMap};

use super::{Question, Sources, Unanswered};
use crate::{
    catalog::record::{
        figures::{Figure, Key, Sum, Sums, Who},
        report::By,
    },
    store::{
        Dimension, ReachQuery, ReachRow,
        rows::{Cell, Table},
    },
};

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Partner,
    Link,
    Ad,
}

impl Of {
    const fn dimension(self) -> Dimension {
        match self {
            Of::Partner => Dimension::Partner,
            Of::Link => Dimension::Link,
            Of::Ad => Dimension::Ad,
        }
    }

    const fn by(self) -> By {
        let none = By { program: false, partner: false, link: false, ad: false, detail: false };
        match self {
            Of::Partner => By { partner: true, ..none },
            Of::Link => By { link: true, ..none },
            Of::Ad => By { ad: true, ..none },
        }
    }

    fn name(self, who: &Who) -> &str {
        match self {
            Of::Partner => &who.partner,
            Of::Link => &who.link,
            Of::Ad => &who.ad,
        }
    }
}

/// A sum by name, figure and currency.
fn sum(sums: &Sums, of: Of, name: &str, figure: Figure, currency: &str) -> Sum {
    let text = name.to_owned();
    let who = match of {
        Of::Partner => Who { partner: text, ..Who::default() },
        Of::Link => Who { link: text, ..Who::default() },
        Of::Ad => Who { ad: text, ..Who::default() },
    };
    let key = Key { figure, program: String::new(), who, detail: String::new(), currency: currency.to_owned() };
    sums.get(&key).copied().unwrap_or_default()
}

/// The names with most of these figures; the first one decides, the next where it is equal.
fn best(of: Of, sums: &Sums, figures: &[Figure], reach: &HashMap<String, ReachRow>, limit: usize) -> Vec<String> {
    let mut ranks: HashMap<&str, Vec<i64>> = HashMap::new();
    for (key, sum) in sums {
        if let Some(at) = figures.iter().position(|figure| *figure == key.figure) {
            ranks.entry(of.name(&key.who)).or_insert_with(|| vec![0; figures.len() + 1])[at] += sum.count;
        }
    }
    for (name, row) in reach {
        let clicks = i64::try_from(row.clicks).unwrap_or(i64::MAX);
        ranks.entry(name).or_insert_with(|| vec![0; figures.len() + 1])[figures.len()] = clicks;
    }
    // Empty: nobody is credited, or no link or ad is known.
    ranks.remove("");
    let mut ranks: Vec<(&str, Vec<i64>)> = ranks.into_iter().collect();
    ranks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    ranks.into_iter().take(limit).map(|(name, _)| name.to_owned()).collect()
}

pub(super) async fn top(sources: Sources<'_>, question: &Question, of: Of) -> Result<Table, Unanswered> {
    let filter = question.filter.clone();
    let query = ReachQuery { filter, by: vec![of.dimension()], without_visitors: true };
    let reach = sources.events.reach(&query).await?;
    let mut reach: HashMap<String, ReachRow> = reach.into_iter().map(|row| (row.key.concat(), row)).collect();
    let (people, by) = (question.people(), of.by());
    let counts = [Figure::Qualified, Figure::Lead, Figure::Rewarded];
    let counts = sources.catalog.sums(&people, &counts, by, &[]).await?;
    let names = best(of, &counts, &[Figure::Qualified, Figure::Lead], &reach, question.limit);
    // Money is asked of the best only.
    let figures = [Figure::Revenue, Figure::Refunded, Figure::Owed, Figure::Issued, Figure::Lost];
    let sums = if names.is_empty() { Sums::new() } else { sources.catalog.sums(&people, &figures, by, &names).await? };
    let mut rows = Vec::new();
    for name in &names {
        let row = reach.remove(name).unwrap_or_default();
        let own: BTreeSet<&str> = sums
            .keys()
            .filter(|key| of.name(&key.who) == name && !key.currency.is_empty())
            .map(|key| key.currency.as_str())
            .collect();
        // Who has no money has one line, without a currency.
        let own = if own.is_empty() { BTreeSet::from([""]) } else { own };
        for currency in own {
            let count = |figure| Cell::Number(sum(&counts, of, name, figure, "").count.unsigned_abs());
            let amount = |figure| sum(&sums, of, name, figure, currency).amount;
            let cost = amount(Figure::Owed) + amount(Figure::Issued) + amount(Figure::Lost);
            let mut cells = vec![Cell::from(name.as_str())];
            cells.extend([row.views, row.clicks, row.shares].map(Cell::Number));
            cells.extend([Figure::Lead, Figure::Qualified, Figure::Rewarded].map(count));
            cells.push(currency.into());
            cells.push(Cell::money(amount(Figure::Revenue) - amount(Figure::Refunded), currency));
            cells.push(Cell::money(cost, currency));
            rows.push(cells);
        }
    }
    let label = of.dimension().label();
    let columns =
        vec![label, "views", "clicks", "shares", "leads", "qualified", "rewarded", "currency", "revenue", "cost"];
    Ok(Table { columns, rows })
}

pub(super) async fn channels(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let filter = question.filter.clone();
    let query = ReachQuery { filter, by: vec![Dimension::Channel], without_visitors: true };
    let mut rows = sources.events.reach(&query).await?;
    rows.retain(|row| row.shares > 0);
    rows.sort_by(|a, b| b.shares.cmp(&a.shares).then_with(|| a.key.cmp(&b.key)));
    let all: u64 = rows.iter().map(|row| row.shares).sum();
    rows.truncate(question.limit);
    let cells =
        |row: &ReachRow| vec![row.key[0].as_str().into(), Cell::Number(row.shares), Cell::rate(row.shares, all)];
    Ok(Table { columns: vec!["channel", "shares", "part"], rows: rows.iter().map(cells).collect() })
}

pub(super) async fn models(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let figures = [
        Figure::FirstLead,
        Figure::LastLead,
        Figure::Lead,
        Figure::FirstQualified,
        Figure::LastQualified,
        Figure::Qualified,
    ];
    let of = Of::Partner;
    let sums = sources.catalog.sums(&question.people(), &figures, of.by(), &[]).await?;
    // Who is first and last decides.
    let names = best(of, &sums, &figures[..2], &HashMap::new(), question.limit);
    let row = |name: &String| {
        let mut cells = vec![Cell::from(name.as_str())];
        cells.extend(figures.map(|figure| Cell::Number(sum(&sums, of, name, figure, "").count.unsigned_abs())));
        cells
    };
    let columns = vec![
        "partner",
        "first_touch_leads",
        "last_touch_leads",
        "credited_leads",
        "first_touch_qualified",
        "last_touch_qualified",
        "credited_qualified",
    ];
    Ok(Table { columns, rows: names.iter().map(row).collect() })
}
