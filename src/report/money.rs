//! What came in and what it cost. Each currency for itself; whole minor units throughout.

use std::collections::BTreeSet;

use super::{Question, Sources, Unanswered, count, currencies};
use crate::{
    catalog::record::{
        figures::{Figure, Sum, Sums},
        report::By,
    },
    store::rows::{Cell, Table},
};

fn of(sums: &Sums, figure: Figure, currency: &str) -> Sum {
    let mut all = Sum::default();
    let wanted = |key: &crate::catalog::record::figures::Key| key.figure == figure && key.currency == currency;
    sums.iter().filter(|(key, _)| wanted(key)).for_each(|(_, sum)| all.add(*sum));
    all
}

pub(super) async fn money(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let figures = [Figure::Qualified, Figure::Revenue, Figure::Refunded, Figure::Owed, Figure::Issued, Figure::Lost];
    let sums = sources.catalog.sums(&question.people(), &figures, By::default(), &[]).await?;
    let qualified = count(&sums, Figure::Qualified);
    let row = |currency: &String| {
        let amount = |figure| of(&sums, figure, currency).amount;
        let net = amount(Figure::Revenue) - amount(Figure::Refunded);
        let cost = amount(Figure::Owed) + amount(Figure::Issued) + amount(Figure::Lost);
        let rewards: i64 =
            [Figure::Owed, Figure::Issued, Figure::Lost].map(|figure| of(&sums, figure, currency).count).iter().sum();
        let mut cells = vec![Cell::from(currency.as_str())];
        cells.push(Cell::Number(of(&sums, Figure::Revenue, currency).count.unsigned_abs()));
        cells.push(Cell::money(amount(Figure::Revenue), currency));
        cells.push(Cell::money(amount(Figure::Refunded), currency));
        cells.push(Cell::money(net, currency));
        cells.push(Cell::Number(rewards.unsigned_abs()));
        cells.extend([Figure::Owed, Figure::Issued, Figure::Lost].map(|figure| Cell::money(amount(figure), currency)));
        cells.push(Cell::money(cost, currency));
        cells.push(Cell::Number(qualified.unsigned_abs()));
        cells.push(if qualified > 0 { Cell::money(rounded(cost, qualified), currency) } else { Cell::Unknown });
        cells.push(Cell::ratio(net - cost, cost));
        cells
    };
    let columns = vec![
        "currency",
        "sales",
        "gross_revenue",
        "refunded",
        "revenue",
        "rewards",
        "owed",
        "issued",
        "lost",
        "cost",
        "qualified",
        "cost_per_qualified",
        "roi",
    ];
    Ok(Table { columns, rows: currencies(&sums).iter().map(row).collect() })
}

/// To the nearest minor unit.
const fn rounded(amount: i64, parts: i64) -> i64 {
    (amount + parts / 2).div_euclid(parts)
}

pub(super) async fn motivators(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let figures = [Figure::Rule, Figure::RulePeople, Figure::RuleQualified, Figure::RuleRevenue];
    let by = By { program: true, detail: true, ..By::default() };
    let sums = sources.catalog.sums(&question.people(), &figures, by, &[]).await?;
    let rules: BTreeSet<(String, String)> = sums.keys().map(|key| (key.program.clone(), key.detail.clone())).collect();
    let mut rows = Vec::new();
    for (program, rule) in rules {
        let own: Sums = sums
            .iter()
            .filter(|(key, _)| key.program == program && key.detail == rule)
            .map(|(key, sum)| (key.clone(), *sum))
            .collect();
        let mut lines = currencies(&own);
        // Gifts have no currency.
        if of(&own, Figure::Rule, "").count > 0 || lines.is_empty() {
            lines.insert(0, String::new());
        }
        for currency in lines {
            let rule_of = of(&own, Figure::Rule, &currency);
            let revenue = of(&own, Figure::RuleRevenue, &currency).amount;
            rows.push(vec![
                program.as_str().into(),
                rule.as_str().into(),
                currency.as_str().into(),
                Cell::Number(rule_of.count.unsigned_abs()),
                Cell::money(rule_of.amount, &currency),
                Cell::Number(count(&own, Figure::RulePeople).unsigned_abs()),
                Cell::Number(count(&own, Figure::RuleQualified).unsigned_abs()),
                Cell::money(revenue, &currency),
                Cell::ratio(revenue, rule_of.amount),
            ]);
        }
    }
    let columns =
        vec!["program", "rule", "currency", "rewards", "cost", "people", "qualified", "revenue", "revenue_per_cost"];
    Ok(Table { columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_rounded_to_the_nearest_minor_unit() {
        assert_eq!([(10, 4), (9, 4), (11, 4), (0, 3)].map(|(amount, parts)| rounded(amount, parts)), [3, 2, 3, 0]);
    }
}
