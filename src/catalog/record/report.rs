//! The sums, asked: whole stretches of days from the tables, and what is left of the days at the ends of a range (see `spans`) from what
//! each referral adds.

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    super::{Catalog, CatalogError},
    figures::{Added, Figure, Key, Sum, Sums, Who},
    spans::{End, conditions, plan},
    sum_tables::{ByWho, MONEY, PEOPLE},
    sums::read,
};
use crate::core::{
    stretch::Piece,
    time::{HOUR_MS, Millis},
};

/// Which people a report is about. `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// They came from then on, and before then.
    pub since: Option<Millis>,
    pub until: Option<Millis>,
    pub program: Option<String>,
    pub partner: Option<String>,
    pub link: Option<String>,
    pub ad: Option<String>,
}

/// What sums are told apart by, beside figure and currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct By {
    pub program: bool,
    pub partner: bool,
    pub link: bool,
    pub ad: bool,
    pub detail: bool,
}

/// Between the parts of a line, and between lines: in none of them. Many rows come as the lines of one text, because each column of
/// each row costs the driver as much as the sum does.
const BETWEEN: char = '\u{1f}';
const END: char = '\u{1e}';

impl People {
    const fn names_who(&self) -> bool {
        self.partner.is_some() || self.link.is_some() || self.ad.is_some()
    }

    fn fits(&self, added: &Added<'_>) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.program, added.program)
            && is(&self.partner, &added.who.partner)
            && is(&self.link, &added.who.link)
            && is(&self.ad, &added.who.ad)
    }

    /// Conditions with their values, for columns of these names.
    fn conditions(&self, table: &str, first: usize) -> (String, Vec<String>) {
        let (mut text, mut values) = (String::new(), Vec::new());
        for (column, wanted) in
            [("program", &self.program), ("partner", &self.partner), ("link", &self.link), ("ad", &self.ad)]
        {
            if let Some(wanted) = wanted {
                text += &format!(" AND {table}{column} = ${}", first + values.len());
                values.push(wanted.clone());
            }
        }
        (text, values)
    }
}

impl By {
    const fn who(self) -> bool {
        self.partner || self.link || self.ad
    }

    fn of(self, added: &Added<'_>) -> Key {
        let keep = |wanted: bool, text: &str| if wanted { text.to_owned() } else { String::new() };
        let Added { figure, program, who, detail, currency, .. } = *added;
        let who = Who {
            partner: keep(self.partner, &who.partner),
            link: keep(self.link, &who.link),
            ad: keep(self.ad, &who.ad),
        };
        let (program, detail) = (keep(self.program, program), keep(self.detail, detail));
        Key { figure, program, who, detail, currency: currency.to_owned() }
    }

    /// The columns that sums are told apart by, in the order of the tables' keys.
    fn columns(self) -> Vec<&'static str> {
        let named = [
            ("partner", self.partner),
            ("link", self.link),
            ("ad", self.ad),
            ("program", self.program),
            ("detail", self.detail),
        ];
        named.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }

    /// The column that says whose sums these are.
    const fn whose(self) -> &'static str {
        if self.partner {
            "partner"
        } else if self.link {
            "link"
        } else {
            "ad"
        }
    }

    fn whose_name(self, who: &Who) -> &str {
        if self.partner {
            &who.partner
        } else if self.link {
            &who.link
        } else {
            &who.ad
        }
    }
}

/// Rows as the lines of one text.
fn lines(columns: &[String], from: &str, group: &[&str]) -> String {
    let line = columns.join(&format!(" || '{BETWEEN}' || "));
    let group = if group.is_empty() { String::new() } else { format!(" GROUP BY {}", group.join(", ")) };
    format!("SELECT string_agg(line, '{END}') FROM (SELECT {line} AS line FROM ({from}) AS pieces{group}) AS lines")
}

/// What a query of [`lines`] answers.
fn each_line(
    rows: &[AnyRow],
    mut take: impl FnMut(&mut std::str::Split<'_, char>) -> Result<(), CatalogError>,
) -> Result<(), CatalogError> {
    for row in rows {
        let text: Option<&str> = row.try_get(0)?;
        // Nobody has no line, and a line is never empty.
        for line in text.into_iter().flat_map(|text| text.split(END)).filter(|line| !line.is_empty()) {
            take(&mut line.split(BETWEEN))?;
        }
    }
    Ok(())
}

fn number(text: Option<&str>) -> Result<i64, CatalogError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| CatalogError::Corrupt(format!("`{text}` is no sum")))
}

impl Catalog {
    /// Sums of these figures over people. `only`: of these partners (links, ads) only, whichever of them `by` names first.
    pub async fn sums(
        &self,
        people: &People,
        figures: &[Figure],
        by: By,
        only: &[String],
    ) -> Result<Sums, CatalogError> {
        let who = by.who() || people.names_who();
        let (pieces, ends) = if who && !figures.iter().all(|figure| figure.is_by_partner()) {
            (Vec::new(), vec![End { from: people.since, to: people.until, sign: 1 }])
        } else {
            plan(people.since, people.until, who)
        };
        let mut sums = Sums::new();
        if !pieces.is_empty() && who {
            for table in [PEOPLE, MONEY] {
                self.add_by_who(&table, people, figures, by, (&pieces, only), &mut sums).await?;
            }
        } else if !pieces.is_empty() {
            self.add_together(people, figures, by, &pieces, &mut sums).await?;
        }
        for end in ends {
            self.add_end(people, figures, by, (end, only), &mut sums).await?;
        }
        sums.retain(|_, sum| *sum != Sum::default());
        Ok(sums)
    }

    /// Adds what a table by who is credited says.
    async fn add_by_who(
        &self,
        table: &ByWho,
        people: &People,
        figures: &[Figure],
        by: By,
        (pieces, only): (&[Piece], &[String]),
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let figures: Vec<Figure> = figures.iter().copied().filter(|figure| table.figures.contains(figure)).collect();
        if figures.is_empty() {
            return Ok(());
        }
        let (mut names, mut values) = people.conditions("", 1);
        if !only.is_empty() {
            let places: Vec<String> = (1..=only.len()).map(|at| format!("${}", values.len() + at)).collect();
            names += &format!(" AND {} IN ({})", by.whose(), places.join(", "));
            values.extend(only.iter().cloned());
        }
        let named = people.partner.is_some() || (by.partner && !only.is_empty());
        let mut group: Vec<&str> = by.columns().into_iter().filter(|column| *column != "detail").collect();
        if table.is_money {
            group.push("currency");
        }
        let numbers: Vec<String> = figures.iter().flat_map(|figure| table.columns(*figure)).collect();
        let of = |piece: &Piece| {
            let sign = if piece.sign < 0 { "-" } else { "" };
            let numbers = numbers.iter().map(|number| format!("{sign}{number} AS {number}"));
            let columns: Vec<String> = group.iter().map(|column| (*column).to_owned()).chain(numbers).collect();
            format!("SELECT {} FROM {} WHERE {}{names}", columns.join(", "), table.name, conditions(piece, named))
        };
        let from: Vec<String> = pieces.iter().map(of).collect();
        let sum = |number: &String| format!("CAST(sum({number}) AS BIGINT)");
        let columns: Vec<String> =
            group.iter().map(|column| (*column).to_owned()).chain(numbers.iter().map(sum)).collect();
        // What sums are not told apart by is an empty part: a line has text in it before its numbers.
        let columns: Vec<String> = std::iter::once("''".to_owned()).chain(columns).collect();
        let sql = lines(&columns, &from.join(" UNION ALL "), &group);
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        each_line(&self.rows(query).await?, |parts| {
            parts.next();
            let mut text =
                |wanted: bool| if wanted { parts.next().unwrap_or_default().to_owned() } else { String::new() };
            let who = Who { partner: text(by.partner), link: text(by.link), ad: text(by.ad) };
            let (program, currency) = (text(by.program), text(table.is_money));
            for figure in &figures {
                let count = number(parts.next())?;
                let amount = if table.is_money { number(parts.next())? } else { 0 };
                let (program, currency) = (program.clone(), currency.clone());
                let key = Key { figure: *figure, program, who: who.clone(), detail: String::new(), currency };
                sums.entry(key).or_default().add(Sum { count, amount });
            }
            Ok(())
        })
    }

    /// Adds what the table of all partners, links and ads together says.
    async fn add_together(
        &self,
        people: &People,
        figures: &[Figure],
        by: By,
        pieces: &[Piece],
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let words: Vec<String> = figures.iter().map(|figure| format!("'{}'", figure.word())).collect();
        let (names, values) = people.conditions("", 1);
        let of = |piece: &Piece| {
            let sign = if piece.sign < 0 { "-" } else { "" };
            format!(
                "SELECT figure, program, detail, currency, {sign}count AS count, {sign}amount AS amount FROM record_days \
                 WHERE {} AND figure IN ({}){names}",
                conditions(piece, false),
                words.join(", ")
            )
        };
        let from: Vec<String> = pieces.iter().map(of).collect();
        let group: Vec<&str> = ["figure", "currency"].into_iter().chain(by.columns()).collect();
        let sum = |number: &&str| format!("CAST(sum({number}) AS BIGINT)");
        let columns: Vec<String> =
            group.iter().map(|column| (*column).to_owned()).chain(["count", "amount"].iter().map(sum)).collect();
        let sql = lines(&columns, &from.join(" UNION ALL "), &group);
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        each_line(&self.rows(query).await?, |parts| {
            let word = parts.next().unwrap_or_default();
            let figure =
                Figure::from_word(word).ok_or_else(|| CatalogError::Corrupt(format!("`{word}` is no figure")))?;
            let mut text =
                |wanted: bool| if wanted { parts.next().unwrap_or_default().to_owned() } else { String::new() };
            let (currency, program, detail) = (text(true), text(by.program), text(by.detail));
            let key = Key { figure, program, who: Who::default(), detail, currency };
            sums.entry(key).or_default().add(Sum { count: number(parts.next())?, amount: number(parts.next())? });
            Ok(())
        })
    }

    /// The same of people who came within some hours, from what each adds.
    async fn add_end(
        &self,
        people: &People,
        figures: &[Figure],
        by: By,
        (end, only): (End, &[String]),
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let mut from = "FROM referrals AS r JOIN referral_figures AS f ON f.referral = r.id WHERE 1 = 1".to_owned();
        if let Some(since) = end.from {
            from += &format!(" AND r.since_ms >= {}", since.0);
        }
        if let Some(until) = end.to {
            from += &format!(" AND r.since_ms < {}", until.0);
        }
        // Who would be credited by another model is not in the referral's own columns.
        let (conditions, values) = if figures.iter().any(|figure| figure.is_by_model()) {
            (String::new(), Vec::new())
        } else {
            people.conditions("r.", 1)
        };
        // A line a person; a row an hour, so that no text has everybody.
        let sql = format!("SELECT string_agg(f.figures, '{END}') {from}{conditions} GROUP BY r.since_ms / {HOUR_MS}");
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        each_line(&self.rows(query).await?, |line| {
            read(line.next().unwrap_or_default())?.each(|added| {
                let is_wanted = figures.contains(&added.figure) && people.fits(&added);
                if is_wanted && (only.is_empty() || only.iter().any(|name| name == by.whose_name(added.who))) {
                    let sum = Sum { count: end.sign * added.sum.count, amount: end.sign * added.sum.amount };
                    sums.entry(by.of(&added)).or_default().add(sum);
                }
            });
            Ok(())
        })
    }

    /// When the first person came.
    pub async fn first_came(&self) -> Result<Option<Millis>, CatalogError> {
        let rows = self.rows(sqlx::query("SELECT min(since_ms) FROM referrals")).await?;
        let first: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(first.map(Millis))
    }

    /// Active partners who had joined before a time; of a program where one is named.
    pub async fn joined(&self, program: Option<&str>, until: Option<Millis>) -> Result<u64, CatalogError> {
        let listed = program.map(|program| format!("%\"{program}\"%")).unwrap_or_default();
        let sql = "SELECT count(*) FROM partners WHERE status = 'active' AND created_at < $1 \
                   AND ($2 = '' OR programs = '[]' OR programs LIKE $2)";
        let query = sqlx::query(sql).bind(until.map_or(i64::MAX, |until| until.0)).bind(listed);
        let rows = self.rows(query).await?;
        let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        Ok(count.unsigned_abs())
    }
}
