//! What is held until somebody looks at it: most urgent first, with what is at stake.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use super::{
    super::{Catalog, CatalogError, Mistake, Page},
    contact::{self, Contact, id},
    fact::money,
    followed::{REFERRAL_COLUMNS, ReferralRow, referral},
};
use crate::core::{code::Code, fact::FactId, money::Money, review::Signal};

/// A referral that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReviewItem {
    #[serde(flatten)]
    pub referral: ReferralRow,
    pub person: Contact,
    /// What its rewards that wait come to, by currency.
    pub stake: Vec<Money>,
    /// Rewards that wait and are no money.
    pub gifts: u64,
}

/// Which referrals are wanted of those that are held.
#[derive(Clone, Debug, Default)]
pub struct ReviewQuery {
    pub program: Option<Code>,
    pub partner: Option<Code>,
    pub signal: Option<Signal>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    pub limit: u32,
}

/// `score.since.id` of the last one of a page.
fn read_cursor(text: &str) -> Result<(i64, i64, String), CatalogError> {
    let wrong = || {
        let problem = format!("`{text}` is no cursor: give the `next` of the page before");
        CatalogError::Invalid(vec![Mistake::new("cursor", problem)])
    };
    let mut parts = text.splitn(3, '.');
    let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or_else(wrong);
    let (score, since) = (number()?, number()?);
    let id: FactId = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
    Ok((score, since, id.to_string()))
}

impl Catalog {
    /// Referrals that are held: the highest score first, of equal ones the one that came first.
    pub async fn review(&self, wanted: &ReviewQuery) -> Result<Page<ReviewItem>, CatalogError> {
        let (score, since, behind) = match &wanted.cursor {
            Some(text) => read_cursor(text)?,
            None => (i64::MAX, 0, String::new()),
        };
        let sql = format!(
            "SELECT {REFERRAL_COLUMNS} FROM referrals WHERE held = 1 AND ($1 = '' OR program = $1) AND ($2 = '' OR partner = $2) \
             AND ($3 = '' OR reasons LIKE $3) AND (score < $4 OR (score = $4 AND (since_ms > $5 OR (since_ms = $5 AND id > $6)))) \
             ORDER BY score DESC, since_ms, id LIMIT {}",
            wanted.limit + 1
        );
        let text = |code: &Option<Code>| code.as_ref().map(Code::to_string).unwrap_or_default();
        // `_` stands for itself as well.
        let signal = wanted.signal.map(|signal| format!("%\"signal\":\"{}\"%", signal.word())).unwrap_or_default();
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(text(&wanted.program))
            .bind(text(&wanted.partner))
            .bind(signal)
            .bind(score)
            .bind(since)
            .bind(behind);
        let mut found: Vec<ReferralRow> = self.rows(query).await?.iter().map(referral).collect::<Result<_, _>>()?;
        let more = found.len() > wanted.limit as usize;
        found.truncate(wanted.limit as usize);
        let next = found.last().filter(|_| more).map(|last| format!("{}.{}.{}", last.score, last.since.0, last.id));
        Ok(Page { items: self.with_stakes(found).await?, next })
    }

    async fn with_stakes(&self, found: Vec<ReferralRow>) -> Result<Vec<ReviewItem>, CatalogError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<String> = (1..=found.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT referral, currency, CAST(COALESCE(sum(amount), 0) AS BIGINT), CAST(count(*) AS BIGINT) FROM rewards \
             WHERE state = 'pending' AND referral IN ({}) GROUP BY referral, currency ORDER BY referral, currency",
            places.join(", ")
        );
        let query = found.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, row| query.bind(row.id.to_string()));
        let mut stakes: HashMap<FactId, (Vec<Money>, u64)> = HashMap::new();
        for row in self.rows(query.persistent(false)).await? {
            let (stake, gifts) = stakes.entry(id(&row, 0)?).or_default();
            let (currency, count): (Option<&str>, i64) = (row.try_get(1)?, row.try_get(3)?);
            match money(row.try_get(2)?, currency)? {
                Some(money) => stake.push(money),
                None => *gifts += u64::try_from(count).unwrap_or(0),
            }
        }
        let sql = format!("SELECT {} FROM contacts WHERE id IN ({})", contact::COLUMNS, places.join(", "));
        let query =
            found.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, row| query.bind(row.contact.to_string()));
        let mut people: HashMap<FactId, Contact> = HashMap::new();
        for row in self.rows(query.persistent(false)).await? {
            let person = contact::from_row(&row)?;
            people.insert(person.id, person);
        }
        let gone = |id: FactId| CatalogError::Corrupt(format!("the contact {id} of a referral is not there"));
        found
            .into_iter()
            .map(|referral| {
                let (stake, gifts) = stakes.remove(&referral.id).unwrap_or_default();
                let person = people.get(&referral.contact).cloned().ok_or_else(|| gone(referral.contact))?;
                Ok(ReviewItem { referral, person, stake, gifts })
            })
            .collect()
    }
}
