//! The sums of the record, brought up to date at the end of each transaction of facts.
//!
//! Whatever changes a referral, its sales or its rewards says so ([`Moved`]). At the end each of these referrals is read
//! once, what it adds is computed anew ([`Figures`]), and the sums get the difference to what was counted before. So it does not
//! matter what was changed or how often; and many facts of one transaction cost a few statements together.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sqlx::{Row, any::AnyRow};

use super::{
    super::{Catalog, CatalogError, trip::statement, write::Writing},
    contact::{ContactId, id},
    figures::{Figures, Granted, Sale, Standing, Who, click_time, months_after},
    sum_tables::{CHUNKS, Differences, Upsert},
};
use crate::core::{fact::FactId, time::Millis};

/// What may have changed in a transaction.
#[derive(Debug, Default)]
pub(in super::super) struct Moved {
    pub(super) referrals: BTreeSet<FactId>,
    pub(super) people: BTreeSet<ContactId>,
}

/// A referral as it stands, and what was counted of it.
struct Subject {
    id: String,
    contact: String,
    before: Option<Figures>,
    now: Figures,
}

/// Brings the sums up to date with everything that moved.
pub(in super::super) async fn follow(writing: &mut Writing) -> Result<(), CatalogError> {
    let Moved { referrals, people } = std::mem::take(&mut writing.moved);
    let mut subjects = BTreeMap::new();
    let people: Vec<String> = people.iter().map(ToString::to_string).collect();
    let referrals: Vec<String> = referrals.iter().map(ToString::to_string).collect();
    for (column, ids) in [("contact", &people), ("id", &referrals)] {
        for row in among(writing, &format!("{SUBJECTS} WHERE r.{column} IN "), ids).await? {
            let subject = subject(&row)?;
            subjects.insert(subject.id.clone(), subject);
        }
    }
    let gone: Vec<String> = referrals.into_iter().filter(|id| !subjects.contains_key(id)).collect();
    let mut differences = Differences::default();
    for row in among(writing, "SELECT referral, figures FROM referral_figures WHERE referral IN ", &gone).await? {
        differences.add(&read(row.try_get(1)?)?, -1);
    }
    among(writing, "DELETE FROM referral_figures WHERE referral IN ", &gone).await?;
    let mut subjects: Vec<Subject> = subjects.into_values().collect();
    add_sales(writing, &mut subjects).await?;
    add_rewards(writing, &mut subjects).await?;
    subjects.retain(|subject| subject.before.as_ref() != Some(&subject.now));
    for subject in &subjects {
        if let Some(before) = &subject.before {
            differences.add(before, -1);
        }
        differences.add(&subject.now, 1);
    }
    keep(writing, &subjects).await?;
    differences.write(writing).await
}

/// Referrals of one transaction when what is missing is counted.
const COUNTED_AT_ONCE: i64 = 512;
/// Of a line of the log.
const COUNTED_A_LINE: u64 = 100_000;

impl Catalog {
    /// Counts the referrals that are in no sum: those of before there were any, or of a record that was written in bulk. Gives how
    /// many. Facts may be told meanwhile.
    pub async fn count_missing(&self) -> Result<u64, CatalogError> {
        let sql = "SELECT r.id FROM referrals AS r WHERE r.id > $1 AND NOT EXISTS \
                   (SELECT 1 FROM referral_figures AS f WHERE f.referral = r.id) ORDER BY r.id LIMIT $2";
        let (mut counted, mut after) = (0, String::new());
        let mut pace = self.pace();
        loop {
            let rows = self.rows(sqlx::query(sql).bind(after.clone()).bind(COUNTED_AT_ONCE)).await?;
            let Some(last) = rows.last() else { return Ok(counted) };
            after = last.try_get(0)?;
            let mut record = self.record().await?;
            for row in &rows {
                record.writing.moved.referrals.insert(id(row, 0)?);
            }
            record.commit().await?;
            pace.rest().await;
            counted += rows.len() as u64;
            if counted % COUNTED_A_LINE < rows.len() as u64 {
                tracing::info!(
                    referrals = counted,
                    "counting referrals that are in no sum: until it is done reports say less"
                );
            }
        }
    }
}

const SUBJECTS: &str = "SELECT r.id, r.contact, r.program, r.partner, r.link, r.ad, r.click, r.state, r.state_ms, r.since_ms, \
                        l.decision, f.figures FROM referrals AS r JOIN leads AS l ON l.id = r.lead \
                        LEFT JOIN referral_figures AS f ON f.referral = r.id";

/// The rows of a statement that ends with a list, for all of a list.
async fn among(writing: &mut Writing, sql: &str, ids: &[String]) -> Result<Vec<AnyRow>, CatalogError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(CHUNKS[0]) {
        // The last one is repeated, so that there are few texts.
        let size = CHUNKS.into_iter().rev().find(|size| *size >= chunk.len()).unwrap_or(CHUNKS[0]);
        let places: Vec<String> = (1..=size).map(|at| format!("${at}")).collect();
        let question = statement(format!("{sql}({})", places.join(", ")));
        let question = (0..size).fold(question, |question, at| question.bind(&*chunk[at.min(chunk.len() - 1)]));
        // Nothing of it is known: each is asked when all is written.
        found.extend(question.done(writing, Vec::new()).await?);
    }
    Ok(found)
}

pub(super) fn read(text: &str) -> Result<Figures, CatalogError> {
    serde_json::from_str(text).map_err(|problem| CatalogError::Corrupt(format!("figures `{text}`: {problem}")))
}

fn subject(row: &AnyRow) -> Result<Subject, CatalogError> {
    let text = |at: usize| Ok::<_, CatalogError>(row.try_get::<Option<String>, _>(at)?.unwrap_or_default());
    let (state, state_ms): (&str, i64) = (row.try_get(7)?, row.try_get(8)?);
    let who = Who { partner: text(3)?, link: text(4)?, ad: text(5)? };
    let (first, last) = touches(row.try_get(10)?);
    let other = |touch: Option<Who>| touch.filter(|touch| *touch != who);
    let before: Option<&str> = row.try_get(11)?;
    let now = Figures {
        program: text(2)?,
        since: row.try_get(9)?,
        first: other(first),
        last: other(last),
        who,
        qualified: (state == "qualified").then_some(state_ms),
        rejected: state == "rejected",
        clicked: click_time(&text(6)?),
        sales: Vec::new(),
        granted: Vec::new(),
    };
    Ok(Subject { id: text(0)?, contact: text(1)?, before: before.map(read).transpose()?, now })
}

/// What is read of a decision: who of all candidates could be credited, in the order of time.
#[derive(Deserialize)]
struct Decision {
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    verdict: String,
    partner: String,
    link: Option<String>,
    ad: Option<String>,
}

/// The first and the last touch that could be credited: the winner, and those that lost only by the program's model.
fn touches(decision: &str) -> (Option<Who>, Option<Who>) {
    let Ok(Decision { candidates }) = serde_json::from_str(decision) else { return (None, None) };
    let eligible = |candidate: &&Candidate| matches!(candidate.verdict.as_str(), "won" | "not_first" | "not_last");
    let who = |candidate: &Candidate| Who {
        partner: candidate.partner.clone(),
        link: candidate.link.clone().unwrap_or_default(),
        ad: candidate.ad.clone().unwrap_or_default(),
    };
    let mut eligible = candidates.iter().filter(eligible);
    let first = eligible.next().map(who);
    let last = eligible.next_back().map(who).or_else(|| first.clone());
    (first, last)
}

/// Sales count where they are of the person, and of the program or of none. A rejected referral brings nothing.
async fn add_sales(writing: &mut Writing, subjects: &mut [Subject]) -> Result<(), CatalogError> {
    let people: BTreeSet<&String> = subjects.iter().map(|subject| &subject.contact).collect();
    let people: Vec<String> = people.into_iter().cloned().collect();
    // Refunds of a sale beyond its amount are as good as the amount.
    let sql = "SELECT c.contact, c.program, c.at_ms, c.amount, c.currency, \
               CAST((SELECT COALESCE(sum(COALESCE(r.amount, c.amount)), 0) FROM refunds AS r WHERE r.invoice = c.invoice) AS BIGINT) \
               FROM conversions AS c WHERE c.amount IS NOT NULL AND c.contact IN ";
    let mut sales: BTreeMap<String, Vec<(Option<String>, i64, Sale)>> = BTreeMap::new();
    for row in among(writing, sql, &people).await? {
        let (amount, back): (i64, i64) = (row.try_get(3)?, row.try_get(5)?);
        let currency: Option<String> = row.try_get(4)?;
        let paid_back = back.clamp(0, amount.max(0));
        let sale = Sale { months_after: 0, currency: currency.unwrap_or_default(), amount, paid_back };
        sales.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?, sale));
    }
    for subject in subjects.iter_mut().filter(|subject| !subject.now.rejected) {
        let since = Millis(subject.now.since);
        for (program, at, sale) in sales.get(&subject.contact).into_iter().flatten() {
            if program.as_ref().is_none_or(|program| *program == subject.now.program) {
                let months_after = months_after(since, Millis(*at));
                subject.now.sales.push(Sale { months_after, ..sale.clone() });
            }
        }
        subject.now.sales.sort();
    }
    Ok(())
}

async fn add_rewards(writing: &mut Writing, subjects: &mut [Subject]) -> Result<(), CatalogError> {
    let ids: Vec<String> = subjects.iter().map(|subject| subject.id.clone()).collect();
    let sql = "SELECT referral, rule, amount, currency, state FROM rewards WHERE state <> 'pending' \
               AND (state <> 'reversed' OR issued_ms IS NOT NULL) AND referral IN ";
    let mut granted: BTreeMap<String, Vec<Granted>> = BTreeMap::new();
    for row in among(writing, sql, &ids).await? {
        let (amount, currency): (Option<i64>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
        let standing = match row.try_get(4)? {
            "issued" => Standing::Issued,
            "reversed" => Standing::Lost,
            _ => Standing::Owed,
        };
        let (amount, currency) = (amount.unwrap_or(0), currency.unwrap_or_default());
        let reward = Granted { rule: row.try_get(1)?, currency, amount, standing };
        granted.entry(row.try_get(0)?).or_default().push(reward);
    }
    for subject in subjects {
        subject.now.granted = granted.remove(&subject.id).unwrap_or_default();
        subject.now.granted.sort();
    }
    Ok(())
}

async fn keep(writing: &mut Writing, subjects: &[Subject]) -> Result<(), CatalogError> {
    let conflict = "ON CONFLICT (referral) DO UPDATE SET figures = excluded.figures";
    let upsert = Upsert::new("referral_figures", &["referral", "figures"], conflict.to_owned());
    upsert
        .run(writing, subjects, |subject, row| {
            row.bind(&*subject.id).bind(serde_json::to_string(&subject.now).unwrap_or_default())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_are_those_that_could_be_credited() {
        let candidate = |verdict: &str, partner: &str| serde_json::json!({"verdict": verdict, "partner": partner, "source": "cookie"});
        let of = |candidates: &[serde_json::Value]| {
            let (first, last) = touches(&serde_json::json!({"candidates": candidates}).to_string());
            (first.map(|who| who.partner), last.map(|who| who.partner))
        };
        let some = |text: &str| Some(text.to_owned());
        let three =
            [candidate("too_old", "a"), candidate("not_last", "b"), candidate("won", "c"), candidate("too_late", "d")];
        assert_eq!(of(&three), (some("b"), some("c")));
        assert_eq!(of(&[candidate("won", "b")]), (some("b"), some("b")));
        assert_eq!(of(&[candidate("same_click", "b")]), (None, None));
        assert_eq!(touches("{}"), (None, None));
    }
}
