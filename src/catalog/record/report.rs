//! The sums, asked. A range of time is cut into whole stretches, which the sums have, and what is left of the days at its ends,
//! which is read from the referrals themselves: so it is exact to the millisecond, in every time zone.

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    super::{Catalog, CatalogError},
    figures::{Figure, Key, Sum, Sums, Who},
    sums::{TOGETHER, read, stretch},
};
use crate::core::time::{DAY_MS, Millis};

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

/// Between the parts of a key: in none of them.
const BETWEEN: char = '\u{1f}';

/// Whole stretches of this length, by their first days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    days: i64,
    from: Option<i64>,
    to: Option<i64>,
}

/// People who came in some hours, to be added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    from: Option<Millis>,
    to: Option<Millis>,
    sign: i64,
}

impl People {
    const fn names_who(&self) -> bool {
        self.partner.is_some() || self.link.is_some() || self.ad.is_some()
    }

    fn fits(&self, key: &Key) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.program, &key.program)
            && is(&self.partner, &key.who.partner)
            && is(&self.link, &key.who.link)
            && is(&self.ad, &key.who.ad)
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

/// The whole days nearest to a range, and what is to be added or taken away at its ends.
fn days(people: &People) -> (Option<i64>, Option<i64>, Vec<End>) {
    let mut ends = Vec::new();
    let mut nearest = |at: Option<Millis>, is_since: bool| {
        let at = at?;
        let day = Millis(at.0 + DAY_MS / 2).day();
        // Before the day: the people between are added to a range that begins here, or taken from one that ends here.
        if at != day {
            let (from, to) = (Some(at.min(day)), Some(at.max(day)));
            ends.push(End { from, to, sign: if (at < day) == is_since { 1 } else { -1 } });
        }
        Some(day.0.div_euclid(DAY_MS))
    };
    let (from, to) = (nearest(people.since, true), nearest(people.until, false));
    (from, to, ends)
}

/// Where the sums of these people stand. `who`: by partner, link or ad.
fn plan(people: &People, who: bool) -> (Vec<Span>, Vec<End>) {
    let (from, to, ends) = days(people);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return (Vec::new(), vec![End { from: people.since, to: people.until, sign: 1 }]);
    }
    if !who {
        return (vec![Span { days: TOGETHER, from, to }], ends);
    }
    if from.is_none() && to.is_none() {
        return (vec![Span { days: 0, from, to }], ends);
    }
    let mut spans = Vec::new();
    cut(28, (from, to), &mut spans);
    (spans, ends)
}

/// Cuts days into stretches of this length, and what is around them into shorter ones.
fn cut(length: i64, (from, to): (Option<i64>, Option<i64>), spans: &mut Vec<Span>) {
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return;
    }
    if length == 1 {
        spans.push(Span { days: 1, from, to });
        return;
    }
    let shorter = if length == 28 { 7 } else { 1 };
    let first = from.map(|day| stretch(length, day + length - 1));
    let last = to.map(|day| stretch(length, day));
    if first.zip(last).is_some_and(|(first, last)| first >= last) {
        return cut(shorter, (from, to), spans);
    }
    spans.push(Span { days: length, from: first, to: last });
    if from.is_some() {
        cut(shorter, (from, first), spans);
    }
    if to.is_some() {
        cut(shorter, (last, to), spans);
    }
}

impl By {
    const fn who(self) -> bool {
        self.partner || self.link || self.ad
    }

    fn of(self, key: Key) -> Key {
        let keep = |wanted: bool, text: String| if wanted { text } else { String::new() };
        let Key { figure, program, who: Who { partner, link, ad }, detail, currency } = key;
        let who = Who { partner: keep(self.partner, partner), link: keep(self.link, link), ad: keep(self.ad, ad) };
        Key { figure, program: keep(self.program, program), who, detail: keep(self.detail, detail), currency }
    }

    /// A sum's key in one text: each column of each row costs the driver as much as the sum does.
    fn key(self) -> String {
        let named = [("program", self.program), ("partner", self.partner), ("link", self.link), ("ad", self.ad)];
        let columns = named.into_iter().chain([("detail", self.detail), ("currency", true)]);
        let rest = columns.map(|(name, wanted)| {
            format!(" || '{BETWEEN}'{}", if wanted { format!(" || {name}") } else { String::new() })
        });
        format!("figure{}", rest.collect::<String>())
    }

    fn group(self) -> String {
        let named = [("program", self.program), ("partner", self.partner), ("link", self.link), ("ad", self.ad)];
        let wanted = named.into_iter().chain([("detail", self.detail)]).filter(|(_, wanted)| *wanted);
        wanted.map(|(name, _)| format!(", {name}")).collect()
    }
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
        let (spans, ends) = if who && !figures.iter().all(|figure| figure.is_by_partner()) {
            (Vec::new(), vec![End { from: people.since, to: people.until, sign: 1 }])
        } else {
            plan(people, who)
        };
        let mut sums = Sums::new();
        if !spans.is_empty() {
            for row in self.summed(people, figures, by, &spans, only).await? {
                let (key, sum) = summed(&row)?;
                sums.entry(key).or_default().add(sum);
            }
        }
        for end in ends {
            self.add_end(people, figures, by, end, &mut sums).await?;
        }
        let wanted = |key: &Key| {
            let who = &key.who;
            let name = if by.partner {
                &who.partner
            } else if by.link {
                &who.link
            } else {
                &who.ad
            };
            only.is_empty() || only.contains(name)
        };
        sums.retain(|key, sum| *sum != Sum::default() && wanted(key));
        Ok(sums)
    }

    async fn summed(
        &self,
        people: &People,
        figures: &[Figure],
        by: By,
        spans: &[Span],
        only: &[String],
    ) -> Result<Vec<AnyRow>, CatalogError> {
        let words: Vec<String> = figures.iter().map(|figure| format!("'{}'", figure.word())).collect();
        let (mut conditions, mut values) = people.conditions("", 1);
        if !only.is_empty() {
            let column = if by.partner {
                "partner"
            } else if by.link {
                "link"
            } else {
                "ad"
            };
            let places: Vec<String> = (1..=only.len()).map(|at| format!("${}", values.len() + at)).collect();
            conditions += &format!(" AND {column} IN ({})", places.join(", "));
            values.extend(only.iter().cloned());
        }
        let of = |span: &Span| {
            let from = span.from.map(|day| format!(" AND at_day >= {day}")).unwrap_or_default();
            let to = span.to.map(|day| format!(" AND at_day < {day}")).unwrap_or_default();
            format!(
                "SELECT figure, program, partner, link, ad, detail, currency, count, amount FROM record_sums \
                 WHERE days = {} AND figure IN ({}){from}{to}{conditions}",
                span.days,
                words.join(", ")
            )
        };
        let spans: Vec<String> = spans.iter().map(of).collect();
        let sql = format!(
            "SELECT {}, CAST(sum(count) AS BIGINT), CAST(sum(amount) AS BIGINT) FROM ({}) AS spans \
             GROUP BY figure, currency{}",
            by.key(),
            spans.join(" UNION ALL "),
            by.group()
        );
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        self.rows(query).await
    }

    /// The same of people who came within some hours, from what each adds.
    async fn add_end(
        &self,
        people: &People,
        figures: &[Figure],
        by: By,
        end: End,
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let mut sql =
            "SELECT f.figures FROM referrals AS r JOIN referral_figures AS f ON f.referral = r.id WHERE 1 = 1"
                .to_owned();
        if let Some(from) = end.from {
            sql += &format!(" AND r.since_ms >= {}", from.0);
        }
        if let Some(to) = end.to {
            sql += &format!(" AND r.since_ms < {}", to.0);
        }
        // Who would be credited by another model is not in the referral's own columns.
        let (conditions, values) = if figures.iter().any(|figure| figure.is_by_model()) {
            (String::new(), Vec::new())
        } else {
            people.conditions("r.", 1)
        };
        sql += &conditions;
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        for row in self.rows(query).await? {
            for (key, sum) in read(row.try_get(0)?)?.sums() {
                if figures.contains(&key.figure) && people.fits(&key) {
                    let sum = Sum { count: end.sign * sum.count, amount: end.sign * sum.amount };
                    sums.entry(by.of(key)).or_default().add(sum);
                }
            }
        }
        Ok(())
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

fn summed(row: &AnyRow) -> Result<(Key, Sum), CatalogError> {
    let text: &str = row.try_get(0)?;
    let mut parts = text.split(BETWEEN);
    let mut next = || parts.next().unwrap_or_default();
    let word = next();
    let figure = Figure::from_word(word).ok_or_else(|| CatalogError::Corrupt(format!("`{word}` is no figure")))?;
    let program = next().to_owned();
    let who = Who { partner: next().to_owned(), link: next().to_owned(), ad: next().to_owned() };
    let key = Key { figure, program, who, detail: next().to_owned(), currency: next().to_owned() };
    Ok((key, Sum { count: row.try_get(1)?, amount: row.try_get(2)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each hour of some months: how often it is counted.
    fn counted(people: &People, who: bool) -> Vec<i64> {
        let (spans, ends) = plan(people, who);
        let within = |value: i64, from: Option<i64>, to: Option<i64>| {
            from.is_none_or(|from| from <= value) && to.is_none_or(|to| value < to)
        };
        let of = |hour: i64| {
            let (at, day) = (hour * 3_600_000, hour.div_euclid(24));
            let in_spans = spans.iter().filter(|span| {
                let first = if span.days == TOGETHER { day } else { stretch(span.days, day) };
                within(first, span.from, span.to)
            });
            let in_ends = ends.iter().filter(|end| within(at, end.from.map(|at| at.0), end.to.map(|at| at.0)));
            in_spans.count() as i64 + in_ends.map(|end| end.sign).sum::<i64>()
        };
        (0..24 * 120).map(of).collect()
    }

    #[test]
    fn every_range_is_each_of_its_hours_once() {
        let hours = [0, 1, 11, 13, 24, 36, 37, 24 * 4, 24 * 32 + 5, 24 * 60, 24 * 89 + 23, 24 * 110];
        let bounds = || std::iter::once(None).chain(hours.into_iter().map(Some));
        for (since, until) in bounds().flat_map(|since| bounds().map(move |until| (since, until))) {
            if since.zip(until).is_some_and(|(since, until)| since >= until) {
                continue;
            }
            let at = |hour: Option<i64>| hour.map(|hour| Millis(hour * 3_600_000));
            let people = People { since: at(since), until: at(until), ..People::default() };
            let within = |hour: i64| since.is_none_or(|since| since <= hour) && until.is_none_or(|until| hour < until);
            let expected: Vec<i64> = (0..24 * 120).map(|hour| i64::from(within(hour))).collect();
            for who in [false, true] {
                assert_eq!(counted(&people, who), expected, "{since:?} to {until:?}, who: {who}");
            }
        }
    }

    #[test]
    fn no_more_than_half_a_day_is_read_at_an_end() {
        for hour in 0..48 {
            let people = People { since: Some(Millis(hour * 3_600_000)), ..People::default() };
            let (_, ends) = plan(&people, true);
            let longest = ends.iter().filter_map(|end| Some(end.to?.0 - end.from?.0)).max().unwrap_or(0);
            assert!(longest <= DAY_MS / 2, "{hour}");
        }
    }
}
