//! What others read of the record: one referral with its decisions, pages of referrals and rewards.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    super::{Catalog, CatalogError, Page, Partner},
    contact::{self, Contact},
    fact::money,
    followed::{REFERRAL_COLUMNS, REWARD_COLUMNS, ReferralRow, RewardRow, referral, reward},
};
use crate::core::{
    code::Code,
    fact::FactId,
    limits::{LOOKUP_CODES, PARENT_LEVELS},
    money::Money,
    time::Millis,
};

/// A referral and the person it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReferralView {
    #[serde(flatten)]
    pub referral: ReferralRow,
    pub person: Contact,
    /// The partner's parent, its parent, and so on.
    #[schema(value_type = Vec<String>)]
    pub parents: Vec<Code>,
}

/// Which rewards are wanted. Texts that are `None` do not matter.
#[derive(Clone, Debug, Default)]
pub struct RewardQuery {
    pub state: Option<String>,
    pub program: Option<String>,
    pub partner: Option<String>,
    pub referral: Option<String>,
    /// Who gets it: `partner` or `invited`.
    pub side: Option<String>,
    /// The newest first.
    pub newest: bool,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    pub limit: u32,
}

/// One thing that was paid, or paid back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its name; of a refund the reason.
    pub event: String,
    /// None: it had no amount, or all of it went back.
    pub money: Option<Money>,
    pub is_refund: bool,
    pub at: Millis,
}

/// Payments that one look shows.
const PAYMENTS_MAX: u32 = 200;

fn not_found(kind: &'static str, code: FactId) -> CatalogError {
    CatalogError::NotFound { kind, code: code.to_string() }
}

/// A page of what came in one row more than asked for.
fn page<T>(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> FactId) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| id(last).to_string());
    Page { items, next }
}

impl Catalog {
    pub async fn referral(&self, wanted: FactId) -> Result<ReferralView, CatalogError> {
        let sql = format!("SELECT {REFERRAL_COLUMNS} FROM referrals WHERE id = $1");
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(wanted.to_string())).await?;
        let found = referral(rows.first().ok_or_else(|| not_found("referral", wanted))?)?;
        let sql = format!("SELECT {} FROM contacts WHERE id = $1", contact::COLUMNS);
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(found.contact.to_string())).await?;
        let person = contact::from_row(rows.first().ok_or_else(|| not_found("contact", found.contact))?)?;
        let parents = self.parents(&found.partner).await?;
        Ok(ReferralView { referral: found, person, parents })
    }

    /// A partner's parent, its parent, and so on: as many as may share in a reward.
    async fn parents(&self, partner: &Code) -> Result<Vec<Code>, CatalogError> {
        let mut parents: Vec<Code> = Vec::new();
        while parents.len() < PARENT_LEVELS {
            match self.get::<Partner>(&[parents.last().unwrap_or(partner)]).await {
                Ok(Partner { parent: Some(parent), .. }) => parents.push(parent),
                // A partner who is gone from the catalog has no parents either.
                Ok(_) | Err(CatalogError::NotFound { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(parents)
    }

    /// The decisions on the leads of a referral, as JSON, in the order of history.
    pub async fn decisions(&self, of: &ReferralRow) -> Result<Vec<String>, CatalogError> {
        let query = sqlx::query(
            "SELECT decision FROM leads WHERE contact = $1 AND program = $2 AND by_click < 2 ORDER BY at_ms, id",
        );
        let rows = self.rows(query.bind(of.contact.to_string()).bind(of.program.to_string())).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Rewards, in the order of their ids: the oldest first, or the newest.
    pub async fn rewards(&self, wanted: &RewardQuery) -> Result<Page<RewardRow>, CatalogError> {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let after = wanted.cursor.as_ref();
        for (condition, value) in [
            ("state = ", &wanted.state),
            ("program = ", &wanted.program),
            ("partner = ", &wanted.partner),
            ("referral = ", &wanted.referral),
            ("side = ", &wanted.side),
        ] {
            if let Some(value) = value {
                values.push(value.clone());
                conditions.push(format!("{condition}${}", values.len()));
            }
        }
        if let Some(after) = after {
            values.push(after.clone());
            conditions.push(format!("id {} ${}", if wanted.newest { "<" } else { ">" }, values.len()));
        }
        let sql = format!(
            "SELECT {REWARD_COLUMNS} FROM rewards WHERE {} ORDER BY id{} LIMIT {}",
            conditions.join(" AND "),
            if wanted.newest { " DESC" } else { "" },
            wanted.limit + 1
        );
        let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        let rows = self.rows(query).await?;
        let items = rows.iter().map(reward).collect::<Result<Vec<_>, _>>()?;
        Ok(page(items, wanted.limit, |reward| reward.id))
    }

    /// The rewards of these ids that there are, the oldest first.
    pub async fn rewards_of_ids(&self, wanted: &[FactId]) -> Result<Vec<RewardRow>, CatalogError> {
        let mut found = Vec::with_capacity(wanted.len());
        for ids in wanted.chunks(LOOKUP_CODES) {
            let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
            let sql = format!("SELECT {REWARD_COLUMNS} FROM rewards WHERE id IN ({}) ORDER BY id", places.join(", "));
            let query = ids.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.to_string()));
            for row in self.rows(query.persistent(false)).await? {
                found.push(reward(&row)?);
            }
        }
        Ok(found)
    }

    /// What a referral's person has paid and was paid back, the oldest first.
    pub async fn payments(&self, of: &ReferralRow) -> Result<Vec<Payment>, CatalogError> {
        let sql = format!(
            "SELECT event, amount, currency, at_ms, 0 AS refunded, id FROM conversions \
             WHERE contact = $1 AND (program IS NULL OR program = $2) \
             UNION ALL \
             SELECT r.reason, r.amount, c.currency, r.at_ms, 1, r.id FROM refunds AS r \
             JOIN conversions AS c ON c.invoice = r.invoice WHERE c.contact = $1 AND (c.program IS NULL OR c.program = $2) \
             ORDER BY 4, 6 LIMIT {PAYMENTS_MAX}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(of.contact.to_string()).bind(of.program.to_string());
        let rows = self.rows(query).await?;
        let payment = |row: &AnyRow| {
            let refunded: i32 = row.try_get(4)?;
            Ok(Payment {
                event: row.try_get(0)?,
                money: money(row.try_get(1)?, row.try_get(2)?)?,
                is_refund: refunded != 0,
                at: Millis(row.try_get(3)?),
            })
        };
        rows.iter().map(payment).collect()
    }

    /// Whether a reward has been held long enough.
    pub async fn has_rewards_to_release(&self) -> Result<bool, CatalogError> {
        let query = sqlx::query("SELECT id FROM rewards WHERE state = 'held' AND held_ms <= $1 LIMIT 1");
        Ok(!self.rows(query.bind(self.shared.clock.now().0)).await?.is_empty())
    }

    /// Referrals, the oldest first; of a program and a partner where they are given.
    pub async fn referrals(
        &self,
        program: Option<&str>,
        partner: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<ReferralRow>, CatalogError> {
        self.referrals_behind([program, partner, cursor], "id > $3 ORDER BY id", limit).await
    }

    /// The same, the newest first.
    pub async fn newest_referrals(
        &self,
        program: Option<&str>,
        partner: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<ReferralRow>, CatalogError> {
        self.referrals_behind([program, partner, cursor], "($3 = '' OR id < $3) ORDER BY id DESC", limit).await
    }

    async fn referrals_behind(
        &self,
        asked: [Option<&str>; 3],
        behind: &str,
        limit: u32,
    ) -> Result<Page<ReferralRow>, CatalogError> {
        let sql = format!(
            "SELECT {REFERRAL_COLUMNS} FROM referrals WHERE ($1 = '' OR program = $1) AND ($2 = '' OR partner = $2) \
             AND {behind} LIMIT {}",
            limit + 1
        );
        let query = asked
            .into_iter()
            .fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value.unwrap_or_default().to_owned()));
        let rows = self.rows(query).await?;
        let items = rows.iter().map(referral).collect::<Result<Vec<_>, _>>()?;
        Ok(page(items, limit, |referral| referral.id))
    }
}
