//! The tables that sums are kept in, and how differences get there.
//!
//! | table | a row |
//! |---|---|
//! | `record_people` | people of a stretch of days, by who is credited: a column a figure |
//! | `record_money` | the same of sales and rewards, each currency for itself |
//! | `record_days` | everything of a stretch of days, all partners, links and ads together: a row a figure |
//!
//! By who is credited there are most rows by far. There a fact changes several figures of the same people, and a report asks for several: so
//! they stand beside each other, by partner first, because most questions are about partners.

use std::collections::BTreeMap;

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
        write::Writing,
    },
    figures::{Added, Figure, Figures, Key, Sum, Who},
};
use crate::core::{stretch::stretch, time::DAY_MS};

/// Rows of one statement, largest first: few texts, so that the driver keeps them prepared.
pub(super) const CHUNKS: [usize; 4] = [64, 16, 4, 1];
/// Lengths of the stretches that have sums by partner, link and ad; 0 is all time.
pub(super) const STRETCHES: [i64; 4] = [0, 28, 7, 1];
/// Lengths of those that have all of them together.
pub(super) const STRETCHES_TOGETHER: [i64; 2] = [28, 1];
/// A table of sums by who is credited.
pub(super) struct ByWho {
    pub(super) name: &'static str,
    pub(super) figures: &'static [Figure],
    /// Whether its rows are of one currency each, and its figures have amounts.
    pub(super) is_money: bool,
}

pub(super) const PEOPLE: ByWho = ByWho {
    name: "record_people",
    figures: &[
        Figure::Lead,
        Figure::Qualified,
        Figure::Rejected,
        Figure::Rewarded,
        Figure::FirstLead,
        Figure::FirstQualified,
        Figure::LastLead,
        Figure::LastQualified,
    ],
    is_money: false,
};

pub(super) const MONEY: ByWho = ByWho {
    name: "record_money",
    figures: &[Figure::Revenue, Figure::Refunded, Figure::Owed, Figure::Issued, Figure::Lost],
    is_money: true,
};

/// Numbers of a row at most.
const NUMBERS: usize = 10;
const _: () = assert!(PEOPLE.figures.len() <= NUMBERS && 2 * MONEY.figures.len() <= NUMBERS);

impl ByWho {
    /// The columns of a figure.
    pub(super) fn columns(&self, figure: Figure) -> Vec<String> {
        let word = figure.word();
        if self.is_money { vec![format!("{word}_count"), word.to_owned()] } else { vec![word.to_owned()] }
    }

    fn all_columns(&self) -> Vec<String> {
        self.figures.iter().flat_map(|figure| self.columns(*figure)).collect()
    }

    /// The columns that a row is known by.
    fn key(&self) -> &'static [&'static str] {
        if self.is_money {
            &["days", "at_day", "partner", "link", "ad", "program", "currency"]
        } else {
            &["days", "at_day", "partner", "link", "ad", "program"]
        }
    }
}

/// What a row by who is credited is known by: length, first day, who, program, currency.
type Place = (i64, i64, Who, String, String);

/// What is to be added to the tables.
#[derive(Default)]
pub(super) struct Differences {
    by_who: [BTreeMap<Place, [i64; NUMBERS]>; 2],
    together: BTreeMap<(i64, i64, Key), Sum>,
}

impl Differences {
    /// Adds (1) or takes away (-1) what a referral adds.
    pub(super) fn add(&mut self, figures: &Figures, sign: i64) {
        let day = figures.since.div_euclid(DAY_MS);
        figures.each(|added| {
            let sum = Sum { count: sign * added.sum.count, amount: sign * added.sum.amount };
            self.add_by_who(day, added, sum);
            let key = Key { who: Who::default(), ..added.key() };
            for days in STRETCHES_TOGETHER {
                self.together.entry((days, stretch(days, day), key.clone())).or_default().add(sum);
            }
        });
    }

    fn add_by_who(&mut self, day: i64, added: Added<'_>, sum: Sum) {
        for (table, rows) in [PEOPLE, MONEY].iter().zip(&mut self.by_who) {
            let Some(at) = table.figures.iter().position(|figure| *figure == added.figure) else { continue };
            for days in STRETCHES {
                let texts = (added.program.to_owned(), added.currency.to_owned());
                let row = rows.entry((days, stretch(days, day), added.who.clone(), texts.0, texts.1)).or_default();
                let mut add = |at: usize, number: i64| row[at] = row[at].saturating_add(number);
                if table.is_money {
                    add(2 * at, sum.count);
                    add(2 * at + 1, sum.amount);
                } else {
                    add(at, sum.count);
                }
            }
        }
    }

    /// Adds all of it to what the tables hold.
    pub(super) async fn write(self, writing: &mut Writing) -> Result<(), CatalogError> {
        for (table, rows) in [PEOPLE, MONEY].iter().zip(self.by_who) {
            let (key, numbers) = (table.key(), table.all_columns());
            let changed: Vec<_> = rows.into_iter().filter(|(_, row)| row.iter().any(|number| *number != 0)).collect();
            let upsert = Upsert::adding(table.name, key, &numbers);
            upsert
                .run(writing, &changed, |((days, day, who, program, currency), row), write| {
                    let write = write.bind(*days).bind(*day);
                    let texts = [&who.partner, &who.link, &who.ad, program].into_iter();
                    let write =
                        texts.chain(table.is_money.then_some(currency)).fold(write, |write, text| write.bind(&**text));
                    row[..numbers.len()].iter().fold(write, |write, number| write.bind(*number))
                })
                .await?;
        }
        let changed: Vec<_> = self.together.into_iter().filter(|(_, sum)| *sum != Sum::default()).collect();
        let key = ["days", "figure", "at_day", "program", "detail", "currency"];
        let upsert = Upsert::adding("record_days", &key, &["count".to_owned(), "amount".to_owned()]);
        upsert
            .run(writing, &changed, |((days, day, key), sum), write| {
                let write = write.bind(*days).bind(key.figure.word()).bind(*day);
                let texts = [&key.program, &key.detail, &key.currency];
                texts.into_iter().fold(write, |write, text| write.bind(&**text)).bind(sum.count).bind(sum.amount)
            })
            .await
    }
}

/// INSERT … ON CONFLICT DO UPDATE.
pub(super) struct Upsert {
    /// `INSERT INTO table (columns)`.
    into: String,
    columns: usize,
    conflict: String,
}

impl Upsert {
    pub(super) fn new(table: &str, columns: &[&str], conflict: String) -> Upsert {
        let into = format!("INSERT INTO {table} ({})", columns.join(", "));
        Upsert { into, columns: columns.len(), conflict }
    }

    /// Adds the numbers to those of the row that is there.
    fn adding(table: &str, key: &[&str], numbers: &[String]) -> Upsert {
        let add: Vec<String> =
            numbers.iter().map(|number| format!("{number} = {table}.{number} + excluded.{number}")).collect();
        let columns: Vec<&str> = key.iter().copied().chain(numbers.iter().map(String::as_str)).collect();
        let conflict = format!("ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), add.join(", "));
        Upsert::new(table, &columns, conflict)
    }

    pub(super) async fn run<T>(
        &self,
        writing: &mut Writing,
        mut rows: &[T],
        bind: impl Fn(&T, Statement) -> Statement,
    ) -> Result<(), CatalogError> {
        while !rows.is_empty() {
            // Full chunks stay prepared; what is left is prepared for once.
            let size = rows.len().min(CHUNKS[0]);
            let (chunk, rest) = rows.split_at(size);
            let values = |row: usize| {
                let places: Vec<String> =
                    (1..=self.columns).map(|at| format!("${}", row * self.columns + at)).collect();
                format!("({})", places.join(", "))
            };
            let values: Vec<String> = (0..size).map(values).collect();
            let sql = format!("{} VALUES {} {}", self.into, values.join(", "), self.conflict);
            let write = chunk.iter().fold(statement(sql), |write, item| bind(item, write));
            let write = if CHUNKS.contains(&size) { write } else { write.once() };
            write.done(writing, Vec::new()).await?;
            rows = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_by_partner_has_its_table() {
        for figure in Figure::WORDS.iter().filter_map(|word| Figure::from_word(word)) {
            let tables = [PEOPLE, MONEY].iter().filter(|table| table.figures.contains(&figure)).count();
            assert_eq!(tables, usize::from(figure.is_by_partner()), "{figure:?}");
        }
    }
}
