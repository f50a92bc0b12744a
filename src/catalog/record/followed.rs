//! What followed from the facts: referrals and rewards. Written by whoever computed it, in the transaction of the fact.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    super::{
        CatalogError, Entity, Partner, Program,
        entity::RowReader,
        read,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, id},
    fact::{code, money},
};
use crate::core::{
    code::Code,
    fact::FactId,
    id::EventId,
    money::Money,
    program::Status,
    review::Reason,
    terms::{Owed, RewardState, Side},
    time::Millis,
};

/// A person that a partner brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReferralRow {
    #[schema(value_type = String)]
    pub id: FactId,
    #[schema(value_type = String)]
    pub program: Code,
    #[schema(value_type = String)]
    pub contact: ContactId,
    #[schema(value_type = String)]
    pub partner: Code,
    #[schema(value_type = Option<String>)]
    pub link: Option<Code>,
    #[schema(value_type = Option<String>)]
    pub ad: Option<Code>,
    /// The click that it is credited by.
    #[schema(value_type = Option<String>)]
    pub click: Option<EventId>,
    #[schema(value_type = String)]
    pub lead: FactId,
    /// `pending`, `qualified` or `rejected`.
    pub state: String,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    pub state_at: Millis,
    pub reason: String,
    /// When the person came.
    #[schema(value_type = String, format = DateTime)]
    pub since: Millis,
    /// The sum of its reasons' points.
    pub score: u32,
    /// What makes it doubtful.
    pub reasons: Vec<Reason>,
    /// Its rewards wait until somebody approves.
    pub held: bool,
}

/// What somebody is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RewardRow {
    #[schema(value_type = String)]
    pub id: FactId,
    #[schema(value_type = String)]
    pub referral: FactId,
    #[schema(value_type = String)]
    pub program: Code,
    /// Who gets it, or who brought the person that gets it.
    #[schema(value_type = String)]
    pub partner: Code,
    /// The program's rule.
    #[schema(value_type = String)]
    pub rule: Code,
    pub side: Side,
    /// The sale that earned it, or the referral itself.
    #[schema(value_type = String)]
    pub cause: FactId,
    /// 0: the partner who brought the person (or the person); 1: that partner's parent, and so on.
    pub level: u8,
    pub owed: Owed,
    pub state: RewardState,
    /// Why it is reversed, in words.
    pub reason: String,
    /// Which limit of the rule it met; empty: none.
    #[serde(skip)]
    pub withheld: String,
    #[serde(skip)]
    pub auto_issue: bool,
    #[schema(value_type = String, format = DateTime)]
    pub earned_at: Millis,
    /// It is not due before.
    #[schema(value_type = String, format = DateTime)]
    pub held_until: Millis,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub issued_at: Option<Millis>,
    /// What whoever issued it calls it, for example a transfer's number.
    pub reference: String,
}

pub(super) const REFERRAL_COLUMNS: &str = "id, program, contact, partner, link, ad, click, lead, state, state_ms, reason, since_ms, score, \
     reasons, held";
pub(super) const REWARD_COLUMNS: &str = "id, referral, program, partner, rule, side, cause, level, amount, currency, gift, state, \
     reason, withheld, auto_issue, earned_ms, held_ms, issued_ms, reference";

fn optional_code(text: Option<&str>) -> Result<Option<Code>, CatalogError> {
    text.map(code).transpose()
}

fn word<T>(text: &str, from: impl Fn(&str) -> Option<T>) -> Result<T, CatalogError> {
    from(text).ok_or_else(|| CatalogError::Corrupt(format!("`{text}` is no word that is known here")))
}

pub(super) fn referral(row: &AnyRow) -> Result<ReferralRow, CatalogError> {
    let click: Option<&str> = row.try_get(6)?;
    let click = click.map(str::parse).transpose();
    let (score, reasons, held): (i64, &str, i32) = (row.try_get(12)?, row.try_get(13)?, row.try_get(14)?);
    let corrupt = |problem: serde_json::Error| CatalogError::Corrupt(format!("`{reasons}`: {problem}"));
    Ok(ReferralRow {
        id: id(row, 0)?,
        program: code(row.try_get(1)?)?,
        contact: id(row, 2)?,
        partner: code(row.try_get(3)?)?,
        link: optional_code(row.try_get(4)?)?,
        ad: optional_code(row.try_get(5)?)?,
        click: click.map_err(|problem: uuid::Error| CatalogError::Corrupt(problem.to_string()))?,
        lead: id(row, 7)?,
        state: row.try_get(8)?,
        state_at: Millis(row.try_get(9)?),
        reason: row.try_get(10)?,
        since: Millis(row.try_get(11)?),
        score: u32::try_from(score).unwrap_or(u32::MAX),
        reasons: serde_json::from_str(reasons).map_err(corrupt)?,
        held: held != 0,
    })
}

pub(super) fn reward(row: &AnyRow) -> Result<RewardRow, CatalogError> {
    let level: i32 = row.try_get(7)?;
    let gift: Option<String> = row.try_get(10)?;
    let owed = match (money(row.try_get(8)?, row.try_get(9)?)?, gift) {
        (Some(money), _) => Owed::Money(money),
        (None, Some(gift)) => Owed::Gift(gift),
        (None, None) => return Err(CatalogError::Corrupt("a reward owes nothing".to_owned())),
    };
    let auto_issue: i32 = row.try_get(14)?;
    let issued: Option<i64> = row.try_get(17)?;
    Ok(RewardRow {
        id: id(row, 0)?,
        referral: id(row, 1)?,
        program: code(row.try_get(2)?)?,
        partner: code(row.try_get(3)?)?,
        rule: code(row.try_get(4)?)?,
        side: word(row.try_get(5)?, Side::from_word)?,
        cause: id(row, 6)?,
        level: u8::try_from(level).unwrap_or(0),
        owed,
        state: word(row.try_get(11)?, RewardState::from_word)?,
        reason: row.try_get(12)?,
        withheld: row.try_get(13)?,
        auto_issue: auto_issue != 0,
        earned_at: Millis(row.try_get(15)?),
        held_until: Millis(row.try_get(16)?),
        issued_at: issued.map(Millis),
        reference: row.try_get(18)?,
    })
}

impl RewardRow {
    fn money(&self) -> Option<Money> {
        match self.owed {
            Owed::Money(money) => Some(money),
            Owed::Gift(_) => None,
        }
    }
}

/// The item of this code.
pub(super) fn item<T: Entity>(key: &str) -> Statement {
    statement(read::select::<T>(&read::key_is::<T>())).bind(key)
}

impl Recording {
    /// An item of the catalog, as this transaction sees it.
    pub async fn item<T: Entity>(&mut self, key: &str) -> Result<Option<T>, CatalogError> {
        if let Some(known) = self.writing.seen.item(key) {
            return Ok(known);
        }
        let row = item::<T>(key).first(&mut self.writing).await?;
        let item = row.map(|row| T::from_row(&mut RowReader::new(&row))).transpose()?;
        self.writing.seen.put_item(key, item.clone());
        Ok(item)
    }

    pub async fn program(&mut self, program: &Code) -> Result<Option<Program>, CatalogError> {
        self.item(program).await
    }

    /// A partner's parents that are active, the nearest first.
    pub async fn parents(&mut self, partner: &Code, levels: usize) -> Result<Vec<Option<Code>>, CatalogError> {
        let (mut parents, mut next) = (Vec::new(), partner.clone());
        while parents.len() < levels {
            let Some(Partner { parent: Some(parent), .. }) = self.item::<Partner>(&next).await? else { break };
            let active = self.item::<Partner>(&parent).await?.is_some_and(|found| found.status == Status::Active);
            parents.push(active.then(|| parent.clone()));
            next = parent;
        }
        Ok(parents)
    }

    pub async fn referral_of(
        &mut self,
        contact: ContactId,
        program: &Code,
    ) -> Result<Option<ReferralRow>, CatalogError> {
        Ok(self.referrals_of(contact).await?.remove(program))
    }

    pub async fn referral_by_id(&mut self, wanted: FactId) -> Result<Option<ReferralRow>, CatalogError> {
        let sql = format!("SELECT {REFERRAL_COLUMNS} FROM referrals WHERE id = $1");
        let row = statement(sql).bind(wanted.to_string()).first(&mut self.writing).await?;
        row.map(|row| referral(&row)).transpose()
    }

    /// Makes a referral, or changes it to be so.
    pub async fn put_referral(&mut self, row: &ReferralRow) -> Result<(), CatalogError> {
        self.writing.moved.referrals.insert(row.id);
        self.writing.seen.put_referral(row.clone());
        let sql = format!(
            "INSERT INTO referrals ({REFERRAL_COLUMNS}, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16) \
             ON CONFLICT (id) DO UPDATE SET \
             partner = excluded.partner, link = excluded.link, ad = excluded.ad, click = excluded.click, \
             lead = excluded.lead, state = excluded.state, state_ms = excluded.state_ms, reason = excluded.reason, \
             since_ms = excluded.since_ms, score = excluded.score, reasons = excluded.reasons, \
             held = excluded.held, updated_at = excluded.updated_at"
        );
        statement(sql)
            .bind(row.id.to_string())
            .bind(row.program.to_string())
            .bind(row.contact.to_string())
            .bind(row.partner.to_string())
            .bind(row.link.as_ref().map(Code::to_string))
            .bind(row.ad.as_ref().map(Code::to_string))
            .bind(row.click.map(|click| click.to_string()))
            .bind(row.lead.to_string())
            .bind(row.state.clone())
            .bind(row.state_at.0)
            .bind(row.reason.clone())
            .bind(row.since.0)
            .bind(i64::from(row.score))
            .bind(serde_json::to_string(&row.reasons).unwrap_or_default())
            .bind(i32::from(row.held))
            .bind(self.now().0)
            .later(&mut self.writing);
        Ok(())
    }

    pub async fn rewards_of(&mut self, referral: FactId) -> Result<Vec<RewardRow>, CatalogError> {
        self.rewards_where("referral = $1", &[referral.to_string()]).await
    }

    /// What a rule owes from a place of history on, in its order, without parents' shares; of one partner where one is named.
    pub async fn ledger_from(
        &mut self,
        program: &Code,
        rule: &Code,
        partner: Option<&Code>,
        (at, cause): (Millis, FactId),
        limit: Option<u32>,
    ) -> Result<Vec<RewardRow>, CatalogError> {
        let limit = limit.map_or(i64::MAX, i64::from);
        let sql = format!(
            "SELECT {REWARD_COLUMNS} FROM rewards WHERE program = $1 AND rule = $2 AND ($3 = '' OR partner = $3) AND level = 0 \
             AND (earned_ms > $4 OR (earned_ms = $4 AND cause >= $5)) ORDER BY earned_ms, cause, side LIMIT {limit}"
        );
        let rows = statement(sql)
            .bind(program.to_string())
            .bind(rule.to_string())
            .bind(partner.map(Code::to_string).unwrap_or_default())
            .bind(at.0)
            .bind(cause.to_string())
            .rows(&mut self.writing)
            .await?;
        rows.iter().map(reward).collect()
    }

    /// Of a partner's ledger of a rule before a place: how many took a place, and how many of these were granted since.
    pub async fn counted_before(
        &mut self,
        program: &Code,
        rule: &Code,
        (side, partner): (Side, &Code),
        (at, cause): (Millis, FactId),
        since: Millis,
    ) -> Result<(u32, u32), CatalogError> {
        let row = statement("SELECT CAST(COALESCE(sum(CASE WHEN state <> 'reversed' OR withheld <> '' THEN 1 ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(sum(CASE WHEN state <> 'reversed' AND earned_ms >= $7 THEN 1 ELSE 0 END), 0) AS BIGINT) \
             FROM rewards WHERE program = $1 AND rule = $2 AND side = $3 AND partner = $4 AND level = 0 \
             AND (earned_ms < $5 OR (earned_ms = $5 AND cause < $6))")
            .bind(program.to_string())
            .bind(rule.to_string())
            .bind(side.word())
            .bind(partner.to_string())
            .bind(at.0)
            .bind(cause.to_string())
            .bind(since.0)
            .only(&mut self.writing).await?;
        let number = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok((number(row.try_get(0)?), number(row.try_get(1)?)))
    }

    /// What a rule has granted before a place in this currency, minor units, without parents' shares.
    pub async fn spent_before(
        &mut self,
        program: &Code,
        rule: &Code,
        currency: &str,
        (at, cause): (Millis, FactId),
    ) -> Result<i64, CatalogError> {
        let row = statement("SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM rewards WHERE program = $1 AND rule = $2 AND level = 0 \
             AND state <> 'reversed' AND currency = $3 AND (earned_ms < $4 OR (earned_ms = $4 AND cause < $5))")
            .bind(program.to_string())
            .bind(rule.to_string())
            .bind(currency.to_owned())
            .bind(at.0)
            .bind(cause.to_string())
            .only(&mut self.writing).await?;
        Ok(row.try_get(0)?)
    }

    pub async fn rewards_where(
        &mut self,
        condition: &'static str,
        values: &[String],
    ) -> Result<Vec<RewardRow>, CatalogError> {
        let sql = format!("SELECT {REWARD_COLUMNS} FROM rewards WHERE {condition}");
        let query = values.iter().fold(statement(sql), |query, value| query.bind(value.clone()));
        query.rows(&mut self.writing).await?.iter().map(reward).collect()
    }

    /// Rewards whose time has come, the longest waiting first.
    pub async fn rewards_to_release(&mut self, limit: i64) -> Result<Vec<RewardRow>, CatalogError> {
        let sql = format!(
            "SELECT {REWARD_COLUMNS} FROM rewards WHERE state = 'held' AND held_ms <= $1 ORDER BY held_ms LIMIT $2"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(self.now().0).bind(limit);
        query.fetch_all(self.writing.tx().await?).await?.iter().map(reward).collect()
    }

    pub async fn reward_by_id(&mut self, wanted: FactId) -> Result<Option<RewardRow>, CatalogError> {
        if let Some(put) = self.put.get(&wanted) {
            return Ok(Some(put.clone()));
        }
        Ok(self.rewards_where("id = $1", &[wanted.to_string()]).await?.pop())
    }

    pub async fn remove_reward(&mut self, id: FactId) -> Result<(), CatalogError> {
        self.put.remove(&id);
        statement("DELETE FROM rewards WHERE id = $1").bind(id.to_string()).later(&mut self.writing);
        Ok(())
    }

    /// Makes a reward, or changes it to be so.
    pub async fn put_reward(&mut self, row: &RewardRow) -> Result<(), CatalogError> {
        self.put.insert(row.id, row.clone());
        self.writing.moved.referrals.insert(row.referral);
        let sql = format!(
            "INSERT INTO rewards ({REWARD_COLUMNS}, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
             $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20) ON CONFLICT (id) DO UPDATE SET \
             partner = excluded.partner, amount = excluded.amount, currency = excluded.currency, gift = excluded.gift, \
             state = excluded.state, reason = excluded.reason, withheld = excluded.withheld, \
             auto_issue = excluded.auto_issue, earned_ms = excluded.earned_ms, held_ms = excluded.held_ms, \
             issued_ms = excluded.issued_ms, reference = excluded.reference, updated_at = excluded.updated_at"
        );
        let gift = match &row.owed {
            Owed::Gift(gift) => Some(gift.clone()),
            Owed::Money(_) => None,
        };
        statement(sql)
            .bind(row.id.to_string())
            .bind(row.referral.to_string())
            .bind(row.program.to_string())
            .bind(row.partner.to_string())
            .bind(row.rule.to_string())
            .bind(row.side.word())
            .bind(row.cause.to_string())
            .bind(i32::from(row.level))
            .bind(row.money().map(|money| money.amount))
            .bind(row.money().map(|money| money.currency.code()))
            .bind(gift)
            .bind(row.state.word())
            .bind(row.reason.clone())
            .bind(row.withheld.clone())
            .bind(i32::from(row.auto_issue))
            .bind(row.earned_at.0)
            .bind(row.held_until.0)
            .bind(row.issued_at.map(|at| at.0))
            .bind(row.reference.clone())
            .bind(self.now().0)
            .later(&mut self.writing);
        Ok(())
    }
}
